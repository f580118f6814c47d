//! Usage metrics of bouncers and agents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::invalid::{Checker, Invalid};
use crate::spelling::{nullable, optional_number};

/// The longest name, unit, label or version, in characters.
pub const TEXT_MOST: usize = 255;

/// A whole report. Senders give exactly one item on exactly one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageMetrics {
    /// From agents.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub log_processors: Vec<LogProcessor>,
    /// From bouncers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub remediation_components: Vec<RemediationComponent>,
}

/// The system that a component runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Os {
    /// Family, such as `linux`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub family: String,
    /// Name, such as `debian`. Required.
    pub name: Option<String>,
    /// Version. Required.
    pub version: Option<String>,
}

/// When a batch of counters was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchMeta {
    /// When it was taken, Unix seconds. Required.
    pub utc_now_timestamp: Option<i64>,
    /// Seconds since the one before. Required.
    pub window_size_seconds: Option<i64>,
}

/// One counter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counter {
    /// What tells it from others of the name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// What is counted. Required.
    pub name: Option<String>,
    /// `event`, `packet`, `byte`, `request`, `ip`. Required.
    pub unit: Option<String>,
    /// The difference to the last report; absolute for `active_decisions` and names that end in `_gauge`.
    /// Required.
    #[serde(serialize_with = "optional_number")]
    pub value: Option<f64>,
}

/// Counters that were taken at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// The counters.
    #[serde(deserialize_with = "nullable")]
    pub items: Vec<Counter>,
    /// When. Required.
    pub meta: Option<BatchMeta>,
}

/// An item of the hub that an agent has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HubItem {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub name: String,
    /// `official`, `custom`, `tainted`, ….
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub status: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub version: String,
}

/// The report of a bouncer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemediationComponent {
    /// Features that are switched on.
    #[serde(deserialize_with = "nullable")]
    pub feature_flags: Vec<String>,
    /// When it last asked, Unix seconds; told by the server that passes the report on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pull: Option<i64>,
    /// Its counters.
    #[serde(deserialize_with = "nullable")]
    pub metrics: Vec<Batch>,
    /// Its name; told by the server that passes the report on.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub name: String,
    /// The system that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// What it is, such as `crowdsec-firewall-bouncer`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub kind: String,
    /// When it was started, Unix seconds. Required.
    pub utc_startup_timestamp: Option<i64>,
    /// Its version. Required.
    pub version: Option<String>,
}

/// The report of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogProcessor {
    /// Kinds of sources and how many there are. Required.
    pub datasources: Option<BTreeMap<String, i64>>,
    /// Features that are switched on.
    #[serde(deserialize_with = "nullable")]
    pub feature_flags: Vec<String>,
    /// Items of the hub by their kind. Required.
    pub hub_items: Option<BTreeMap<String, Option<Vec<HubItem>>>>,
    /// When it last sent alerts, Unix seconds; told by the server that passes the report on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_push: Option<i64>,
    /// When it was last updated, Unix seconds; told by the server that passes the report on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<i64>,
    /// Its counters.
    #[serde(deserialize_with = "nullable")]
    pub metrics: Vec<Batch>,
    /// Its name; told by the server that passes the report on.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub name: String,
    /// The system that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// When it was started, Unix seconds. Required.
    pub utc_startup_timestamp: Option<i64>,
    /// Its version. Required.
    pub version: Option<String>,
}

impl UsageMetrics {
    /// Whether everything required is there.
    ///
    /// # Errors
    /// What is missing or too long.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut problems = Vec::new();
        let mut checker = Checker::new("", &mut problems);
        checker.each("log_processors", &self.log_processors, |item, checker| {
            checker.required("datasources", item.datasources.as_ref());
            checker.required("hub_items", item.hub_items.as_ref());
            common(
                checker,
                &item.metrics,
                item.os.as_ref(),
                item.utc_startup_timestamp,
                item.version.as_deref(),
            );
        });
        checker.each("remediation_components", &self.remediation_components, |item, checker| {
            common(
                checker,
                &item.metrics,
                item.os.as_ref(),
                item.utc_startup_timestamp,
                item.version.as_deref(),
            );
        });
        Invalid::check(problems)
    }
}

fn common(
    checker: &mut Checker<'_>,
    metrics: &[Batch],
    os: Option<&Os>,
    started: Option<i64>,
    version: Option<&str>,
) {
    checker.each("metrics", metrics, |batch, checker| {
        checker.each("items", &batch.items, |counter, checker| {
            for (key, value) in &counter.labels {
                checker.part("labels", |checker| checker.length(key, value, 0, TEXT_MOST));
            }
            text(checker, "name", counter.name.as_deref());
            text(checker, "unit", counter.unit.as_deref());
            checker.required("value", counter.value.as_ref());
        });
        checker.required("meta", batch.meta.as_ref());
        if let Some(meta) = &batch.meta {
            checker.part("meta", |checker| {
                checker.required("utc_now_timestamp", meta.utc_now_timestamp.as_ref());
                checker.required("window_size_seconds", meta.window_size_seconds.as_ref());
            });
        }
    });
    if let Some(os) = os {
        checker.part("os", |checker| {
            checker.required("name", os.name.as_ref());
            checker.required("version", os.version.as_ref());
        });
    }
    checker.required("utc_startup_timestamp", started.as_ref());
    text(checker, "version", version);
}

fn text(checker: &mut Checker<'_>, name: &str, field: Option<&str>) {
    checker.required(name, field.as_ref());
    checker.length(name, field.unwrap_or_default(), 0, TEXT_MOST);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    const BOUNCER: &str = r#"{"remediation_components":[{"type":"crowdsec-firewall-bouncer","version":"v0.0.34","os":{"name":"debian","version":"12"},"feature_flags":[],"utc_startup_timestamp":1795290000,
      "metrics":[{"meta":{"window_size_seconds":900,"utc_now_timestamp":1795294800},"items":[
        {"name":"active_decisions","unit":"ip","value":15231,"labels":{"origin":"CAPI","ip_type":"ipv4"}},
        {"name":"dropped","unit":"packet","value":48,"labels":{"origin":"lists:firehol_demo","ip_type":"ipv4"}},
        {"name":"processed","unit":"packet","value":90211.5,"labels":{"ip_type":"ipv4"}}]}]}]}"#;
    const AGENT: &str = r#"{"log_processors":[{"version":"v1.7.8","os":{"name":"debian","version":"12","family":"linux"},"feature_flags":[],"utc_startup_timestamp":1795290000,"datasources":{"file":2},
      "hub_items":{"scenarios":[{"name":"demo/ssh-bf","version":"0.3","status":"official"}]},
      "metrics":[{"meta":{"window_size_seconds":1800,"utc_now_timestamp":1795294800},"items":[{"name":"read","unit":"event","value":312,"labels":{"source":"/var/log/auth.log","datasource_type":"file","acquis_type":"syslog"}}]}]}]}"#;

    fn read(text: &str) -> UsageMetrics {
        body::read(text.as_bytes()).expect(text)
    }

    #[test]
    fn reports_read_and_write() {
        for text in [BOUNCER, AGENT] {
            let report = read(text);
            assert_eq!(report.check(), Ok(()));
            let written = body::write(&report).expect("JSON");
            let same = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
            assert_eq!(same(&written), same(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_missing_is_listed() {
        let check = |text: &str, problems: &[&str]| {
            let expected = if problems.is_empty() {
                Ok(())
            } else {
                Err(format!("validation failure list:\n{}", problems.join("\n")))
            };
            assert_eq!(read(text).check().map_err(|invalid| invalid.to_string()), expected, "{text}");
        };
        check(
            &AGENT.replace(r#""datasources":{"file":2},"#, ""),
            &["log_processors.0.datasources in body is required"],
        );
        // What web interfaces of the ecosystem send.
        check(
            r#"{"log_processors":[{"datasources":{},"hub_items":{},"metrics":[],"utc_startup_timestamp":0,"version":""}],"remediation_components":null}"#,
            &[],
        );
        check(r#"{"log_processors":null}"#, &[]);
        check(
            r#"{"remediation_components":[{"os":{},"metrics":[{"items":[{"name":"a","unit":"b","value":0}]},{"meta":{},"items":[{}]}]}]}"#,
            &[
                "remediation_components.0.metrics.0.meta in body is required",
                "remediation_components.0.metrics.1.items.0.name in body is required",
                "remediation_components.0.metrics.1.items.0.unit in body is required",
                "remediation_components.0.metrics.1.items.0.value in body is required",
                "remediation_components.0.metrics.1.meta.utc_now_timestamp in body is required",
                "remediation_components.0.metrics.1.meta.window_size_seconds in body is required",
                "remediation_components.0.os.name in body is required",
                "remediation_components.0.os.version in body is required",
                "remediation_components.0.utc_startup_timestamp in body is required",
                "remediation_components.0.version in body is required",
            ],
        );
        let long = BOUNCER.replace("firehol_demo", &"x".repeat(300));
        check(
            &long,
            &[
                "remediation_components.0.metrics.0.items.1.labels.origin in body should be at most 255 chars long",
            ],
        );
    }

    #[test]
    fn wrong_types_are_refused() {
        for text in
            [r#"{"log_processors":{}}"#, r#"{"remediation_components":[{"utc_startup_timestamp":"x"}]}"#]
        {
            assert!(body::read::<UsageMetrics>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
