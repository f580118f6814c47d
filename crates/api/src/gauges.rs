//! Figures about what the store holds, for an exporter of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::service::Service;

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
    /// `cs_alerts`: scenario, and how many alerts there are; without those about lists. A few seconds old.
    pub alerts: Arc<Vec<(String, u64)>>,
    /// `cs_machines_last_heartbeat_timestamp`: machine, and Unix seconds.
    pub last_heartbeats: Vec<(String, i64)>,
    /// `cs_bouncer_last_pull_timestamp`: bouncer, and Unix seconds.
    pub last_pulls: Vec<(String, i64)>,
    /// How many clients listen to events.
    pub listeners: usize,
}

impl Service {
    /// What the store holds, as of now. Costs as much as there are kinds of decisions and clients, not
    /// decisions; every few seconds it waits for the database.
    pub fn gauges(&self) -> Gauges {
        let now_ms = self.now_ms();
        let seconds = |name: String, at: Option<i64>| Some((name, at?.div_euclid(1000)));
        let machines = self.store().machines().list().into_iter();
        let bouncers = self.store().bouncers().list().into_iter();
        Gauges {
            active_decisions: self.active_decisions(now_ms),
            alerts: self.store().alert_counts(),
            last_heartbeats: machines
                .filter_map(|machine| seconds(machine.name, machine.last_heartbeat_ms))
                .collect(),
            last_pulls: bouncers.filter_map(|bouncer| seconds(bouncer.name, bouncer.last_pull_ms)).collect(),
            listeners: self.events().listeners(),
        }
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
}
