//! What bouncers have reported, added up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use testudo_event::Timestamp;
use testudo_store::Metrics;
use testudo_wire::metrics::{Batch, Counter};

use crate::output::{Align, Table};

use super::sections::number;

/// The kind of reports that bouncers send.
const FROM_BOUNCERS: &str = "RC";

/// The name of what is in force, which is told anew with each report.
const ACTIVE: &str = "active_decisions";

/// What one bouncer has reported.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Reported {
    bouncer: String,
    /// Since when, Unix seconds.
    since: Option<i64>,
    /// By name and unit, then by origin; an empty origin for what has none.
    sums: BTreeMap<(String, String), BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    metrics: Vec<Batch>,
}

/// What tells a point from all others: time, name, unit and labels.
type Point = (i64, String, String, BTreeMap<String, String>);

/// Adds up stored reports, oldest first, by bouncer. What cannot be read is passed over.
pub(super) fn collect(reports: &[Metrics]) -> Vec<Reported> {
    let mut all: BTreeMap<&str, Reported> = BTreeMap::new();
    let mut seen: BTreeSet<(&str, Point)> = BTreeSet::new();
    // The last value of each gauge, as a point at no time.
    let mut gauges: BTreeMap<(&str, Point), f64> = BTreeMap::new();
    for report in reports.iter().filter(|report| report.kind == FROM_BOUNCERS) {
        let Ok(payload) = serde_json::from_str::<Payload>(&report.payload) else { continue };
        let sender = report.sender.as_str();
        let reported = all.entry(sender).or_default();
        sender.clone_into(&mut reported.bouncer);
        for batch in payload.metrics {
            let meta = batch.meta.unwrap_or_default();
            let now = meta.utc_now_timestamp.unwrap_or_default();
            let begun = now - meta.window_size_seconds.unwrap_or_default();
            reported.since = Some(reported.since.map_or(begun, |since| since.min(begun)));
            for Counter { labels, name, unit, value } in batch.items {
                let (name, unit) = (name.unwrap_or_default(), unit.unwrap_or_default());
                let value = value.unwrap_or_default();
                if !seen.insert((sender, (now, name.clone(), unit.clone(), labels.clone()))) {
                    continue;
                }
                if name == ACTIVE || name.ends_with("_gauge") {
                    gauges.insert((sender, (0, name, unit, labels)), value);
                } else {
                    let origin = labels.get("origin").cloned().unwrap_or_default();
                    *reported.sums.entry((name, unit)).or_default().entry(origin).or_default() += value;
                }
            }
        }
    }
    for ((sender, (_, name, unit, labels)), value) in gauges {
        let Some(reported) = all.get_mut(sender) else { continue };
        let origin = labels.get("origin").cloned().unwrap_or_default();
        *reported.sums.entry((name, unit)).or_default().entry(origin).or_default() += value;
    }
    all.into_values().collect()
}

/// By bouncer, name, origin and unit.
pub(super) fn as_json(all: &[Reported]) -> Value {
    let mut map = Map::new();
    for reported in all {
        let mut names = Value::Object(Map::new());
        for ((name, unit), origins) in &reported.sums {
            for (origin, value) in origins {
                names[name.as_str()][origin.as_str()][unit.as_str()] = number(value.trunc());
            }
        }
        map.insert(reported.bouncer.clone(), names);
    }
    Value::Object(map)
}

/// An origin with what it means.
fn origin_text(origin: &str) -> String {
    match origin {
        "CAPI" => "CAPI (community blocklist)".to_owned(),
        "cscli" => "cscli (manual decisions)".to_owned(),
        "crowdsec" => "crowdsec (security engine)".to_owned(),
        other => other.to_owned(),
    }
}

fn plural(unit: &str) -> String {
    if unit.is_empty() || unit.ends_with('s') { unit.to_owned() } else { format!("{unit}s") }
}

/// A table for each bouncer: its origins, and a total.
pub(super) fn tables(all: &[Reported], format: &impl Fn(f64) -> String) -> Vec<Table> {
    all.iter().filter(|reported| !reported.sums.is_empty()).map(|reported| table(reported, format)).collect()
}

fn table(reported: &Reported, format: &impl Fn(f64) -> String) -> Table {
    let heads: Vec<String> = reported
        .sums
        .keys()
        .map(|(name, unit)| {
            let unit = plural(unit);
            if name == ACTIVE { name.replace('_', " ") } else { format!("{} {unit}", name.replace('_', " ")) }
        })
        .collect();
    let since = reported.since.map(|since| Timestamp::from_unix(since, 0).to_go_string()).unwrap_or_default();
    let head = std::iter::once("Origin").chain(heads.iter().map(String::as_str));
    let mut table = Table::new(head)
        .titled(format!("Bouncer Metrics ({}) since {since}:", reported.bouncer))
        .aligned(std::iter::once(Align::Left).chain(heads.iter().map(|_| Align::Right)));
    let origins: BTreeSet<&String> = reported.sums.values().flat_map(BTreeMap::keys).collect();
    for origin in origins.into_iter().filter(|origin| !origin.is_empty()) {
        let values =
            reported.sums.values().map(|values| format(values.get(origin).copied().unwrap_or(0.0).trunc()));
        table.row(std::iter::once(origin_text(origin)).chain(values));
    }
    let totals = reported.sums.values().map(|values| format(values.values().sum::<f64>().trunc()));
    table.row(std::iter::once("Total".to_owned()).chain(totals));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(now: i64, items: &str) -> Metrics {
        Metrics {
            id: 0,
            kind: FROM_BOUNCERS.to_owned(),
            sender: "fw".to_owned(),
            received_ms: 0,
            pushed_ms: None,
            payload: format!(
                r#"{{"metrics":[{{"meta":{{"window_size_seconds":900,"utc_now_timestamp":{now}}},"items":[{items}]}}],"type":"x"}}"#
            ),
        }
    }

    #[test]
    fn counters_add_up_and_gauges_are_replaced() {
        let active = |value: u32, family: &str| {
            format!(
                r#"{{"name":"active_decisions","unit":"ip","value":{value},"labels":{{"origin":"CAPI","ip_type":"{family}"}}}}"#
            )
        };
        let dropped =
            r#"{"name":"dropped","unit":"packet","value":48,"labels":{"origin":"cscli","ip_type":"ipv4"}}"#;
        let processed = r#"{"name":"processed","unit":"packet","value":1000,"labels":{"ip_type":"ipv4"}}"#;
        let first = report(1000, &[&active(10, "ipv4"), &active(1, "ipv6"), dropped, processed].join(","));
        // The same once more counts once.
        let second = report(1900, &[&active(20, "ipv4"), dropped].join(","));
        let broken = Metrics { payload: "nonsense".to_owned(), ..report(0, "") };
        let all = collect(&[first.clone(), first, broken, second]);
        assert_eq!(
            as_json(&all),
            serde_json::json!({"fw": {
                "active_decisions": {"CAPI": {"ip": 21}},
                "dropped": {"cscli": {"packet": 96}},
                "processed": {"": {"packet": 1000}},
            }})
        );
        let shown: String =
            tables(&all, &|number| format!("{number}")).iter().map(|table| table.render(false)).collect();
        assert_eq!(
            shown,
            "\
Bouncer Metrics (fw) since 1970-01-01 00:01:40 +0000 UTC:
+----------------------------+------------------+-----------------+-------------------+
| Origin                     | active decisions | dropped packets | processed packets |
+----------------------------+------------------+-----------------+-------------------+
| CAPI (community blocklist) |               21 |               0 |                 0 |
| cscli (manual decisions)   |                0 |              96 |                 0 |
| Total                      |               21 |              96 |              1000 |
+----------------------------+------------------+-----------------+-------------------+
"
        );
    }
}
