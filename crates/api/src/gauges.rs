//! Figures about what the store holds, for an exporter of metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use testudo_store::StoreError;

use crate::service::Service;

/// How long the counts of alerts, for which the database is asked, are good, in milliseconds.
const ALERTS_FRESH_MS: i64 = 60_000;

/// Decisions in force of one kind; simulated ones do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveDecisions {
    /// The scenario.
    pub reason: String,
    /// Who decided.
    pub origin: String,
    /// The type.
    pub action: String,
    /// How many.
    pub count: u64,
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// `cs_active_decisions`.
    pub active_decisions: Vec<ActiveDecisions>,
    /// `cs_alerts`: scenario, and how many alerts there are; without those about lists. At most a minute old.
    pub alerts: Arc<Vec<(String, u64)>>,
    /// `cs_machines_last_heartbeat_timestamp`: machine, and Unix seconds.
    pub last_heartbeats: Vec<(String, i64)>,
    /// `cs_bouncer_last_pull_timestamp`: bouncer, and Unix seconds.
    pub last_pulls: Vec<(String, i64)>,
    /// How many clients listen to events.
    pub listeners: usize,
}

/// The counts of alerts, and when they were made.
#[derive(Default)]
pub(crate) struct AlertCounts(Mutex<Option<(i64, Arc<Vec<(String, u64)>>)>>);

impl Service {
    /// What the store holds, as of now. Costs as much as there are kinds of decisions and clients, not
    /// decisions; once a minute it waits for the database.
    ///
    /// # Errors
    /// The database fails.
    pub fn gauges(&self) -> Result<Gauges, StoreError> {
        let now_ms = self.now_ms();
        let seconds = |name: String, at: Option<i64>| Some((name, at?.div_euclid(1000)));
        let machines = self.store().machines().list().into_iter();
        let bouncers = self.store().bouncers().list().into_iter();
        Ok(Gauges {
            active_decisions: self.active_decisions(now_ms),
            alerts: self.alert_counts(now_ms)?,
            last_heartbeats: machines
                .filter_map(|machine| seconds(machine.name, machine.last_heartbeat_ms))
                .collect(),
            last_pulls: bouncers.filter_map(|bouncer| seconds(bouncer.name, bouncer.last_pull_ms)).collect(),
            listeners: self.events().listeners(),
        })
    }

    fn active_decisions(&self, now_ms: i64) -> Vec<ActiveDecisions> {
        let index = self.store().index(now_ms);
        let mut counts: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
        for active in index.active_counts().filter(|active| !active.label.simulated) {
            let label = active.label;
            *counts.entry((label.scenario, label.origin, label.kind)).or_default() += active.count;
        }
        let shown = |((reason, origin, action), count): ((&str, &str, &str), u64)| ActiveDecisions {
            reason: reason.to_owned(),
            origin: origin.to_owned(),
            action: action.to_owned(),
            count,
        };
        counts.into_iter().map(shown).collect()
    }

    fn alert_counts(&self, now_ms: i64) -> Result<Arc<Vec<(String, u64)>>, StoreError> {
        let mut kept = self.kept_alert_counts().0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_ms, counts)) = &*kept
            && now_ms.abs_diff(*made_ms) < ALERTS_FRESH_MS.unsigned_abs()
        {
            return Ok(Arc::clone(counts));
        }
        let counts = Arc::new(self.store().alert_counts()?);
        *kept = Some((now_ms, Arc::clone(&counts)));
        Ok(counts)
    }
}
