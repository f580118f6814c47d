//! Alerts: as the API shows them, and as agents and tools post them.

use serde::{Deserialize, Serialize};
use testudo_event::{Contributor, alert::Bystanders};

use crate::decision::{AlertDecision, PostedDecision};
use crate::invalid::Checker;
use crate::spelling::{is_false, is_zero, lenient, null_if_empty, nullable, number32};

/// A key and a value of an event's meta or an alert's context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pair {
    /// The key.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub key: String,
    /// The value.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub value: String,
}

/// Who an alert that is read is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Name of the autonomous system.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub as_name: String,
    /// Number of the autonomous system, as text.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub as_number: String,
    /// ISO code of the country.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub cn: String,
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub ip: String,
    /// Degrees north.
    #[serde(skip_serializing_if = "is_zero", serialize_with = "number32", deserialize_with = "nullable")]
    pub latitude: f32,
    /// Degrees east.
    #[serde(skip_serializing_if = "is_zero", serialize_with = "number32", deserialize_with = "nullable")]
    pub longitude: f32,
    /// The network around the address.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub range: String,
    /// `Ip`, `Range`, or what the scenario names.
    pub scope: String,
    /// The address, range, user ….
    pub value: String,
}

/// One event of an alert that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// What is known about it.
    #[serde(deserialize_with = "nullable")]
    pub meta: Vec<Pair>,
    /// Its time in Go's default form, `2026-11-21 20:50:01 +0000 UTC`.
    pub timestamp: String,
}

/// An alert that is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// Capacity of the bucket as declared.
    pub capacity: i32,
    /// When it was stored, RFC 3339.
    pub created_at: String,
    /// What was decided about it; `null` when nothing.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "nullable")]
    pub decisions: Vec<AlertDecision>,
    /// Its events; `null` when none.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "nullable")]
    pub events: Vec<Event>,
    /// How many events there were.
    pub events_count: i32,
    /// Its number.
    pub id: i64,
    /// `crowdsec`, `waf`, `cscli`, ….
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub kind: String,
    /// Always `null`: labels are not stored.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "nullable")]
    pub labels: Vec<String>,
    /// Leak speed of the bucket as Go duration text.
    pub leakspeed: String,
    /// The machine that reported it; `N/A` when it is unknown or gone.
    pub machine_id: String,
    /// One sentence for people.
    pub message: String,
    /// Context for people.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub meta: Vec<Pair>,
    /// Whether a remedy is called for.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "nullable")]
    pub remediation: bool,
    /// Name of the scenario.
    pub scenario: String,
    /// Hash of the scenario.
    pub scenario_hash: String,
    /// Version of the scenario.
    pub scenario_version: String,
    /// Whether it is only for show.
    pub simulated: bool,
    /// Who it is about.
    pub source: Source,
    /// Time of the first event, RFC 3339.
    pub start_at: String,
    /// Time of the overflow, RFC 3339.
    pub stop_at: String,
    /// Its identity.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub uuid: String,
}

/// Who a posted alert is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostedSource {
    /// Name of the autonomous system.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub as_name: String,
    /// Number of the autonomous system, as text.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub as_number: String,
    /// ISO code of the country.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub cn: String,
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub ip: String,
    /// Degrees north.
    #[serde(skip_serializing_if = "is_zero", serialize_with = "number32", deserialize_with = "nullable")]
    pub latitude: f32,
    /// Degrees east.
    #[serde(skip_serializing_if = "is_zero", serialize_with = "number32", deserialize_with = "nullable")]
    pub longitude: f32,
    /// The network around the address.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub range: String,
    /// `Ip`, `Range`, or what the scenario names. Required.
    pub scope: Option<String>,
    /// The address, range, user …. Required.
    pub value: Option<String>,
}

/// One event of a posted alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostedEvent {
    /// What is known about it. Required.
    pub meta: Option<Vec<Pair>>,
    /// Its time, mostly RFC 3339. Required.
    pub timestamp: Option<String>,
}

/// An alert that is posted. Number, machine and creation time are given by the receiver; what a sender says
/// about them is not read. Identity, contributors and bystanders are additions of ours, which other
/// receivers pass over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostedAlert {
    /// How many good sources were lately seen in the networks around the contributors. An addition.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub bystanders: Vec<Bystanders>,
    /// Capacity of the bucket as declared. Required.
    pub capacity: Option<i32>,
    /// Who poured how much into the bucket. An addition.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub contributors: Vec<Contributor>,
    /// Decisions that are already taken; `null` lets the receiver's profiles decide.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "nullable")]
    pub decisions: Vec<PostedDecision>,
    /// Its events. Required, may be empty.
    pub events: Option<Vec<PostedEvent>>,
    /// How many events there were. Required.
    pub events_count: Option<i32>,
    /// `crowdsec`, `waf`, `cscli`, ….
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub kind: String,
    /// Not stored by receivers.
    #[serde(serialize_with = "null_if_empty", deserialize_with = "nullable")]
    pub labels: Vec<String>,
    /// Leak speed of the bucket as Go duration text. Required.
    pub leakspeed: Option<String>,
    /// One sentence for people. Required.
    pub message: Option<String>,
    /// Context for people.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub meta: Vec<Pair>,
    /// Whether a remedy is called for.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "nullable")]
    pub remediation: bool,
    /// Name of the scenario. Required.
    pub scenario: Option<String>,
    /// Hash of the scenario. Required.
    pub scenario_hash: Option<String>,
    /// Version of the scenario. Required.
    pub scenario_version: Option<String>,
    /// Whether it is only for show. Required.
    pub simulated: Option<bool>,
    /// Who it is about. Required.
    pub source: Option<PostedSource>,
    /// Time of the first event, RFC 3339. Required.
    pub start_at: Option<String>,
    /// Time of the overflow, RFC 3339. Required.
    pub stop_at: Option<String>,
    /// Its identity, by which it is known again when it is sent once more. An addition: receivers look at it
    /// when the sender is one of ours.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "lenient")]
    pub uuid: String,
}

impl PostedAlert {
    /// What is missing in the alert that stands at place `at` of a request, one line each:
    /// `0.scenario in body is required`. Empty when it is complete.
    pub fn problems(&self, at: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let path = at.to_string();
        let mut checker = Checker::new(&path, &mut problems);
        checker.required("capacity", self.capacity.as_ref());
        checker.each("decisions", &self.decisions, PostedDecision::check);
        checker.required("events", self.events.as_ref());
        checker.each("events", self.events.as_deref().unwrap_or_default(), |event, checker| {
            checker.required("meta", event.meta.as_ref());
            checker.required("timestamp", event.timestamp.as_ref());
        });
        checker.required("events_count", self.events_count.as_ref());
        checker.required("leakspeed", self.leakspeed.as_ref());
        checker.required("message", self.message.as_ref());
        checker.required("scenario", self.scenario.as_ref());
        checker.required("scenario_hash", self.scenario_hash.as_ref());
        checker.required("scenario_version", self.scenario_version.as_ref());
        checker.required("simulated", self.simulated.as_ref());
        checker.required("source", self.source.as_ref());
        if let Some(source) = &self.source {
            checker.part("source", |checker| {
                checker.required("scope", source.scope.as_ref());
                checker.required("value", source.value.as_ref());
            });
        }
        checker.required("start_at", self.start_at.as_ref());
        checker.required("stop_at", self.stop_at.as_ref());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;
    use crate::invalid::Invalid;

    const AGENT: &str = r#"[{"capacity":5,"decisions":null,"events":[{"timestamp":"2026-11-21T20:49:58Z","meta":[{"key":"log_type","value":"ssh_failed-auth"},{"key":"source_ip","value":"192.0.2.10"}]}],
      "events_count":6,"kind":"crowdsec","labels":null,"leakspeed":"10s","message":"Ip 192.0.2.10 performed 'demo/ssh-bf' (6 events over 14s)",
      "meta":[{"key":"target_user","value":"[\"root\"]"}],"remediation":true,"scenario":"demo/ssh-bf","scenario_hash":"9f2c","scenario_version":"0.3","simulated":false,
      "source":{"scope":"Ip","value":"192.0.2.10","ip":"192.0.2.10","range":"192.0.2.0/24","as_number":"64500","as_name":"EXAMPLE-AS","cn":"NL","latitude":52.3,"longitude":4.9},
      "start_at":"2026-11-21T20:49:44Z","stop_at":"2026-11-21T20:49:58Z"}]"#;

    fn posted(text: &str) -> Vec<PostedAlert> {
        body::read(text.as_bytes()).expect(text)
    }

    #[test]
    fn an_agents_alert() {
        let alerts = posted(AGENT);
        let alert = &alerts[0];
        assert_eq!(alert.problems(0), Vec::<String>::new());
        assert_eq!(alert.decisions, []);
        let source = alert.source.as_ref().expect("a source");
        assert_eq!((source.cn.as_str(), source.latitude), ("NL", 52.3));
        let written = body::write(&alerts).expect("JSON");
        assert_eq!(posted(&String::from_utf8(written.clone()).expect("UTF-8")), alerts);
        let same = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
        assert_eq!(same(&written), same(AGENT.as_bytes()));
    }

    #[test]
    fn empty_texts_and_zeros_are_there() {
        let text = r#"[{"capacity":0,"decisions":[{"duration":"4h","origin":"cscli","scenario":"manual 'ban' from 'edge-07'","scope":"Ip","type":"ban","value":"192.0.2.77","id":7,"uuid":"x","until":"y"}],
            "events":[],"events_count":0,"id":"ignored","uuid":1,"machine_id":[],"kind":"cscli","leakspeed":"0","message":"","remediation":true,"scenario":"","scenario_hash":"","scenario_version":"",
            "simulated":false,"source":{"scope":"","value":""},"start_at":"","stop_at":"","unknown":{"deep":[1,{}]}}]"#;
        assert_eq!(posted(text)[0].problems(0), Vec::<String>::new());
    }

    #[test]
    fn additions_are_read_from_anyone() {
        let with = |text: &str| {
            let alerts = posted(&AGENT.replacen(r#""capacity":5"#, &format!(r#""capacity":5,{text}"#), 1));
            (alerts[0].uuid.clone(), alerts[0].contributors.len(), alerts[0].bystanders.len())
        };
        let contributors =
            r#""contributors":[{"value":"192.0.2.1","count":3,"last_seen":"2026-11-21T20:49:58Z"}]"#;
        let bystanders = r#""bystanders":[{"network":"192.0.2.0/24","count":9}]"#;
        assert_eq!(with(&format!(r#""uuid":"x",{contributors},{bystanders}"#)), ("x".to_owned(), 1, 1));
        // Whatever others mean by these names does not cost them their alert.
        let other = r#""uuid":7,"contributors":{"a":[1]},"bystanders":[3]"#;
        assert_eq!(with(other), (String::new(), 0, 0));
        assert_eq!(with(r#""uuid":null,"contributors":null,"bystanders":null"#), (String::new(), 0, 0));
    }

    #[test]
    fn what_is_missing_is_listed() {
        let check = |text: &str, at: usize, expected: &[&str]| {
            assert_eq!(posted(text)[at].problems(at), expected, "{text}");
        };
        check(
            "[{}]",
            0,
            &[
                "0.capacity in body is required",
                "0.events in body is required",
                "0.events_count in body is required",
                "0.leakspeed in body is required",
                "0.message in body is required",
                "0.scenario in body is required",
                "0.scenario_hash in body is required",
                "0.scenario_version in body is required",
                "0.simulated in body is required",
                "0.source in body is required",
                "0.start_at in body is required",
                "0.stop_at in body is required",
            ],
        );
        let nulled = AGENT
            .replace(r#""scope":"Ip","#, "")
            .replace(r#""timestamp":"2026-11-21T20:49:58Z""#, r#""timestamp":null"#)
            .replace(r#""decisions":null"#, r#""decisions":[{}]"#);
        let two = format!("[{{}},{}", nulled.trim_start().trim_start_matches('['));
        check(
            &two,
            1,
            &[
                "1.decisions.0.duration in body is required",
                "1.decisions.0.origin in body is required",
                "1.decisions.0.scenario in body is required",
                "1.decisions.0.scope in body is required",
                "1.decisions.0.type in body is required",
                "1.decisions.0.value in body is required",
                "1.events.0.timestamp in body is required",
                "1.source.scope in body is required",
            ],
        );
        let invalid =
            Invalid::check(posted(&AGENT.replace(r#""scenario":"demo/ssh-bf","#, ""))[0].problems(0));
        assert_eq!(
            invalid.map_err(|invalid| invalid.to_string()),
            Err("validation failure list:\n0.scenario in body is required".to_owned())
        );
    }

    #[test]
    fn wrong_shapes_are_refused() {
        for text in
            ["{}", r#"[{"capacity":"5"}]"#, r#"[{"capacity":5.5}]"#, r#"[{"events":{}}]"#, "[3]", "[null]"]
        {
            assert!(body::read::<Vec<PostedAlert>>(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_alert_without_anything() {
        let expected = r#"{"capacity":0,"created_at":"","decisions":null,"events":null,"events_count":0,"id":0,"labels":null,"leakspeed":"","machine_id":"","message":"","scenario":"","scenario_hash":"","scenario_version":"","simulated":false,"source":{"scope":"","value":""},"start_at":"","stop_at":""}"#;
        assert_eq!(body::write(&Alert::default()).expect("JSON"), expected.as_bytes());
        assert_eq!(body::read::<Alert>(expected.as_bytes()).expect("JSON"), Alert::default());
    }

    #[test]
    fn numbers_as_go_prints_them() {
        let check = |latitude: f32, expected: &str| {
            let source = Source { latitude, ..Source::default() };
            let written = String::from_utf8(body::write(&source).expect("JSON")).expect("UTF-8");
            assert_eq!(written, format!(r#"{{{expected}"scope":"","value":""}}"#));
        };
        check(52.3, r#""latitude":52.3,"#);
        check(-5.0, r#""latitude":-5,"#);
        check(0.0, "");
    }
}
