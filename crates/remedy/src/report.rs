//! What a component reports to the API of what it did, in the terms of the ecosystem: `cscli metrics` shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use testudo_wire::metrics::{Batch, BatchMeta, Counter, Os, RemediationComponent, UsageMetrics};

use crate::clock::wall_secs;

/// Between two reports, as the bouncers of the ecosystem do.
pub(crate) const REPORT_EVERY: Duration = Duration::from_mins(15);

/// How the kinds of addresses are called.
pub(crate) const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// Who reports, and when that was done last.
#[derive(Debug)]
pub(crate) struct Reporter {
    kind: &'static str,
    started: i64,
    reported: i64,
}

impl Reporter {
    /// A component of a kind, such as `testudo-firewall`, that starts now.
    pub(crate) fn new(kind: &'static str) -> Self {
        let now = wall_secs();
        Reporter { kind, started: now, reported: now }
    }

    /// A report of what came since the last one, and of what there is.
    pub(crate) fn report(&mut self, items: Vec<Counter>) -> UsageMetrics {
        let now = wall_secs();
        let meta = BatchMeta {
            utc_now_timestamp: Some(now),
            window_size_seconds: Some((now - self.reported).max(0)),
        };
        self.reported = now;
        UsageMetrics {
            remediation_components: vec![RemediationComponent {
                kind: self.kind.to_owned(),
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

/// One figure of a report.
pub(crate) fn item(name: &str, unit: &str, labels: &[(&str, &str)], value: u64) -> Counter {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Counter { labels, name: Some(name.to_owned()), unit: Some(unit.to_owned()), value: Some(value as f64) }
}
