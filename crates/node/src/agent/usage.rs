//! What the agent part reports about itself to the API: how much it read, with what.

use std::collections::BTreeMap;
use std::fs;

use testudo_engine::Tallies;
use testudo_intake::Status;
use testudo_wire::metrics::{Batch, BatchMeta, Counter, HubItem, LogProcessor, Os};

/// Counters are reported as differences; this is what was reported last.
#[derive(Default)]
pub(crate) struct Usage {
    before: BTreeMap<Key, u64>,
    reported_s: Option<i64>,
}

type Key = (&'static str, BTreeMap<String, String>);

/// The system that we run on, by its release file.
fn os() -> Os {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    Os {
        family: std::env::consts::OS.to_owned(),
        name: Some(value("ID").unwrap_or_else(|| "unknown".to_owned())),
        version: Some(value("VERSION_ID").unwrap_or_default()),
    }
}

fn counts(statuses: &[Status], tallies: &Tallies) -> BTreeMap<Key, u64> {
    let mut counts: BTreeMap<Key, u64> = BTreeMap::new();
    let mut add = |name, labels: &[(&str, &str)], value: u64| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        *counts.entry((name, labels)).or_default() += value;
    };
    for status in statuses {
        let (kind, acquis) = (status.settings.kind.name(), status.settings.labels.get("type"));
        let acquis = acquis.map_or("", String::as_str);
        for (stream, read) in status.counters.streams() {
            let labels = [("datasource_type", kind), ("source", &*stream), ("acquis_type", acquis)];
            add("read", &labels, read);
        }
    }
    for row in tallies.sources.iter().filter(|row| row.hits > 0) {
        let labels = [
            ("datasource_type", row.module.as_str()),
            ("source", row.name.as_str()),
            ("acquis_type", row.kind.as_str()),
        ];
        add("parsed", &labels, row.ok);
        add("unparsed", &labels, row.ko);
        add("global_parsed", &[], row.ok);
        add("global_unparsed", &[], row.ko);
        for node in &row.nodes {
            if let Some((reason, hits)) = &node.whitelist {
                let labels = [("whitelist_name", &*node.name), ("whitelist_reason", &**reason)];
                add("whitelisted", &labels, *hits);
            }
        }
    }
    counts
}

impl Usage {
    /// The report as of now.
    pub(crate) fn report(
        &mut self,
        statuses: &[Status],
        tallies: &Tallies,
        hub_items: &BTreeMap<String, Vec<HubItem>>,
        version: &str,
        started_s: i64,
        now_s: i64,
    ) -> LogProcessor {
        let now = counts(statuses, tallies);
        let items = now
            .iter()
            .map(|((name, labels), value)| {
                let before = self.before.get(&(*name, labels.clone())).copied().unwrap_or_default();
                // A reload begins to count anew.
                let more = value.checked_sub(before).unwrap_or(*value);
                Counter {
                    labels: labels.clone(),
                    name: Some((*name).to_owned()),
                    unit: Some("event".to_owned()),
                    value: Some(more as f64),
                }
            })
            .collect();
        self.before = now;
        let window = now_s - self.reported_s.replace(now_s).unwrap_or(started_s);
        let mut datasources: BTreeMap<String, i64> = BTreeMap::new();
        for status in statuses {
            *datasources.entry(status.settings.kind.name().to_owned()).or_default() += 1;
        }
        LogProcessor {
            datasources: Some(datasources),
            hub_items: Some(
                hub_items.iter().map(|(kind, items)| (kind.clone(), Some(items.clone()))).collect(),
            ),
            metrics: vec![Batch {
                items,
                meta: Some(BatchMeta {
                    utc_now_timestamp: Some(now_s),
                    window_size_seconds: Some(window.max(0)),
                }),
            }],
            os: Some(os()),
            utc_startup_timestamp: Some(started_s),
            version: Some(version.to_owned()),
            ..LogProcessor::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use testudo_engine::SourceTallies;
    use testudo_wire::metrics::UsageMetrics;

    use super::*;

    #[test]
    fn counters_are_differences() {
        let mut usage = Usage::default();
        let tallies = |ok, ko| Tallies {
            sources: vec![SourceTallies {
                name: "/var/log/auth.log".to_owned(),
                hits: ok + ko,
                ok,
                ko,
                ..SourceTallies::default()
            }],
            ..Tallies::default()
        };
        let mut values = |tallies: &Tallies, now_s| {
            let report = usage.report(&[], tallies, &BTreeMap::new(), "1", 100, now_s);
            UsageMetrics { log_processors: vec![report.clone()], ..UsageMetrics::default() }
                .check()
                .expect("an API takes it");
            let batch = &report.metrics[0];
            let window = batch.meta.as_ref().and_then(|meta| meta.window_size_seconds);
            let parsed = batch.items.iter().find(|item| item.name.as_deref() == Some("parsed"));
            (parsed.and_then(|item| item.value), window)
        };
        assert_eq!(values(&tallies(5, 1), 110), (Some(5.0), Some(10)));
        assert_eq!(values(&tallies(8, 1), 140), (Some(3.0), Some(30)));
        // After a reload.
        assert_eq!(values(&tallies(2, 0), 150), (Some(2.0), Some(10)));
    }
}
