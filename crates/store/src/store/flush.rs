//! Letting go of what is old.

use std::net::IpAddr;

use crate::db::{alerts, allowlists, clients, decisions, items};
use crate::error::StoreError;

use super::{Store, write};

/// For how long the identities of deleted alerts are remembered: nobody tries for longer to send one that
/// he holds.
const REMEMBER_DELETED_MS: i64 = 30 * 86_400_000;

/// What is let go of. Ages are in milliseconds; `None` keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushPolicy {
    /// How many alerts are kept.
    pub alerts_most: Option<u64>,
    /// How old alerts may become.
    pub alerts_age_ms: Option<i64>,
    /// How long decisions are kept that have ended; never shorter than the memory of the index.
    pub decisions_age_ms: Option<i64>,
    /// How old usage metrics may become.
    pub metrics_age_ms: Option<i64>,
    /// How long bouncers with a key are kept that do not ask.
    pub key_bouncers_age_ms: Option<i64>,
    /// How long bouncers with a certificate are kept that do not ask.
    pub tls_bouncers_age_ms: Option<i64>,
    /// How long machines with a password are kept that give no sign, and have no alerts.
    pub password_machines_age_ms: Option<i64>,
    /// How long machines with a certificate are kept that give no sign, and have no alerts.
    pub tls_machines_age_ms: Option<i64>,
}

/// How many of each were let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Alerts.
    pub alerts: u64,
    /// Decisions, in the database.
    pub decisions: u64,
    /// Decisions, in memory.
    pub remembered: usize,
    /// Reports of usage metrics.
    pub metrics: u64,
    /// Bouncers.
    pub bouncers: u64,
    /// Machines.
    pub machines: u64,
    /// Items of allowlists.
    pub allowlist_items: u64,
}

impl Store {
    /// Lets go of what is old: to be called every minute. Alerts with a decision in force stay.
    ///
    /// # Errors
    /// The database fails; what was let go of until then is gone.
    pub fn flush(&self, policy: &FlushPolicy, now_ms: i64) -> Result<Flushed, StoreError> {
        let before = |age: i64| now_ms.saturating_sub(age);
        let mut flushed = Flushed::default();
        if policy.alerts_most.is_some() || policy.alerts_age_ms.is_some() {
            flushed.alerts = self.commit("flush alerts", |connection, _| {
                let created = policy.alerts_age_ms.map(before);
                let old = alerts::old(connection, policy.alerts_most, created, now_ms)?;
                decisions::detach(connection, &old)?;
                alerts::delete(connection, &old, now_ms)
            })?;
        }
        if let Some(age) = policy.decisions_age_ms {
            let age = age.max(self.options.keep_ms);
            flushed.decisions = self.commit("flush decisions", |connection, counters| {
                let (purged, floor) = decisions::purge(connection, before(age))?;
                counters.floor = counters.floor.max(floor);
                Ok(purged)
            })?;
        }
        if let Some(age) = policy.metrics_age_ms {
            flushed.metrics = self.commit("flush usage metrics", |connection, _| {
                items::purge_metrics(connection, before(age))
            })?;
        }
        self.commit("forget deleted alerts", |connection, _| {
            alerts::forget_deleted(connection, before(REMEMBER_DELETED_MS))
        })?;
        flushed.allowlist_items = self.flush_allowlists(now_ms)?;
        flushed.bouncers = self.flush_bouncers(policy, now_ms)?;
        flushed.machines = self.flush_machines(policy, now_ms)?;
        let mut index = write(&self.index);
        index.advance(now_ms);
        flushed.remembered = index.compact(before(self.options.keep_ms));
        Ok(flushed)
    }

    fn flush_allowlists(&self, now_ms: i64) -> Result<u64, StoreError> {
        let is_over = |item: &crate::records::AllowlistItem| item.expires_ms.is_some_and(|end| end < now_ms);
        if !self.allowlists().iter().flat_map(|list| &list.items).any(is_over) {
            return Ok(0);
        }
        self.commit("flush allowlists", |connection, counters| {
            // Others, and we ourselves, read them again.
            counters.clients += 1;
            allowlists::purge(connection, now_ms)
        })
    }

    fn flush_bouncers(&self, policy: &FlushPolicy, now_ms: i64) -> Result<u64, StoreError> {
        let old = self.bouncers().find(|bouncer| {
            let is_tls = bouncer.auth_type == "tls";
            let age = if is_tls { policy.tls_bouncers_age_ms } else { policy.key_bouncers_age_ms };
            is_older(bouncer.last_pull_ms, age, now_ms)
        });
        for bouncer in &old {
            self.bouncers().delete(&bouncer.name)?;
        }
        Ok(old.len() as u64)
    }

    fn flush_machines(&self, policy: &FlushPolicy, now_ms: i64) -> Result<u64, StoreError> {
        let mut old = self.machines().find(|machine| {
            let is_tls = machine.auth_type == "tls";
            let age = if is_tls { policy.tls_machines_age_ms } else { policy.password_machines_age_ms };
            let is_local = machine.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            !is_local && is_older(machine.last_heartbeat_ms, age, now_ms)
        });
        if old.is_empty() {
            return Ok(0);
        }
        let busy = self.ask("look for machines with alerts", clients::machines_with_alerts)?;
        old.retain(|machine| !busy.contains(&machine.id));
        for machine in &old {
            self.machines().delete(&machine.name)?;
        }
        Ok(old.len() as u64)
    }
}

/// What never gave a sign is not old.
fn is_older(last: Option<i64>, age: Option<i64>, now_ms: i64) -> bool {
    matches!((last, age), (Some(last), Some(age)) if last < now_ms.saturating_sub(age))
}
