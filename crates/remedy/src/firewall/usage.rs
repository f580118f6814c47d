//! What the firewall reports to the API, in the terms of the ecosystem: `cscli metrics` shows it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use testudo_wire::metrics::{Batch, BatchMeta, Counter, Os, RemediationComponent, UsageMetrics};

use crate::backend::{Backend, Traffic};
use crate::enforcer::Enforcer;

/// How the kinds of addresses are called.
pub(super) const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// What was reported before: counts are told as what came since.
#[derive(Debug)]
pub(super) struct Usage {
    started: i64,
    reported: i64,
    before: Traffic,
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Usage {
    pub(super) fn new() -> Self {
        let now = now_secs();
        Usage { started: now, reported: now, before: Traffic::default() }
    }

    /// What is to be reported now.
    pub(super) fn report<B: Backend>(&mut self, enforcer: &Enforcer<B>, traffic: Traffic) -> UsageMetrics {
        let now = now_secs();
        let meta = BatchMeta {
            utc_now_timestamp: Some(now),
            window_size_seconds: Some((now - self.reported).max(0)),
        };
        let items = items(enforcer, &traffic, &self.before);
        self.before = traffic;
        self.reported = now;
        UsageMetrics {
            remediation_components: vec![RemediationComponent {
                kind: "testudo-firewall".to_owned(),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                os: Some(Os {
                    name: Some(std::env::consts::OS.to_owned()),
                    version: Some(std::env::consts::ARCH.to_owned()),
                    ..Os::default()
                }),
                utc_startup_timestamp: Some(self.started),
                metrics: vec![Batch { items, meta: Some(meta) }],
                ..RemediationComponent::default()
            }],
            ..UsageMetrics::default()
        }
    }
}

fn items<B: Backend>(enforcer: &Enforcer<B>, now: &Traffic, before: &Traffic) -> Vec<Counter> {
    let mut items = Vec::new();
    let held = enforcer.held().counts();
    for (at, group) in enforcer.groups().all().iter().enumerate() {
        for (family, kind) in FAMILIES.iter().enumerate() {
            let labels = [("origin", group.origin.as_str()), ("ip_type", *kind)];
            let active = held.get(at).map_or(0, |counts| counts[family]);
            if active > 0 {
                items.push(item("active_decisions", "ip", &labels, active));
            }
            let count = |traffic: &Traffic| traffic.denied.get(at).map_or((0, 0), |counts| counts[family]);
            items.extend(came("dropped", &labels, count(now), count(before)));
        }
    }
    for (family, kind) in FAMILIES.iter().enumerate() {
        items.extend(came(
            "processed",
            &[("ip_type", *kind)],
            now.processed[family],
            before.processed[family],
        ));
    }
    items
}

/// Packets and bytes that came; counters that are less than before began anew.
fn came(name: &str, labels: &[(&str, &str)], now: (u64, u64), before: (u64, u64)) -> Vec<Counter> {
    let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
    [("packet", since(now.0, before.0)), ("byte", since(now.1, before.1))]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(unit, count)| item(name, unit, labels, count))
        .collect()
}

fn item(name: &str, unit: &str, labels: &[(&str, &str)], value: u64) -> Counter {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Counter { labels, name: Some(name.to_owned()), unit: Some(unit.to_owned()), value: Some(value as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_as_what_came_since() {
        let told = |now, before| {
            let items = came("dropped", &[("origin", "CAPI")], now, before);
            items.iter().map(|item| (item.unit.clone().unwrap_or_default(), item.value)).collect::<Vec<_>>()
        };
        assert_eq!(
            told((7, 700), (5, 500)),
            [("packet".to_owned(), Some(2.0)), ("byte".to_owned(), Some(200.0))]
        );
        assert_eq!(
            told((1, 60), (5, 500)),
            [("packet".to_owned(), Some(1.0)), ("byte".to_owned(), Some(60.0))]
        );
        assert_eq!(told((5, 500), (5, 500)), []);
    }
}
