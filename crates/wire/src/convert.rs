//! Between the records of an alert and what is posted or shown of them.

use testudo_event::{
    Alert as Record, AlertEvent, Decision as DecisionRecord, Overflow, Source as SourceRecord, Timestamp,
    duration::{self, DurationError},
};

use crate::alert::{Alert, Event, Pair, PostedAlert, PostedEvent, PostedSource, Source};
use crate::decision::{AlertDecision, PostedDecision};

/// Contributors or bystanders of one alert: more than any bucket of ours tells.
const ADDITIONS_MOST: usize = 4096;

/// The machine of an alert whose machine is unknown or gone.
pub const NO_MACHINE: &str = "N/A";

/// What an agent posts about an overflow: one alert for each of its sources. An identity of the overflow
/// becomes one of each: those after the first get their place behind it.
pub fn posted_alerts(overflow: &Overflow) -> Vec<PostedAlert> {
    let identity = |place: usize| match (overflow.alert.uuid.as_str(), place) {
        (uuid, 0) => uuid.to_owned(),
        ("", _) => String::new(),
        (uuid, place) => format!("{uuid}.{place}"),
    };
    let posted = |(place, source)| PostedAlert {
        source: Some(PostedSource::from(source)),
        uuid: identity(place),
        ..PostedAlert::from(&overflow.alert)
    };
    overflow.alert_sources().enumerate().map(posted).collect()
}

fn pairs<'p>(items: impl Iterator<Item = (&'p str, &'p str)>) -> Vec<Pair> {
    items.map(|(key, value)| Pair { key: key.to_owned(), value: value.to_owned() }).collect()
}

fn context(items: &[(String, String)]) -> Vec<Pair> {
    pairs(items.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

impl From<&SourceRecord> for PostedSource {
    fn from(source: &SourceRecord) -> Self {
        PostedSource {
            as_name: source.as_name.clone(),
            as_number: source.as_number.clone(),
            cn: source.cn.clone(),
            ip: source.ip.clone(),
            latitude: source.latitude,
            longitude: source.longitude,
            range: source.range.clone(),
            scope: Some(source.scope.clone()),
            value: Some(source.value.clone()),
        }
    }
}

impl From<&PostedSource> for SourceRecord {
    fn from(source: &PostedSource) -> Self {
        SourceRecord {
            scope: source.scope.clone().unwrap_or_default(),
            value: source.value.clone().unwrap_or_default(),
            ip: source.ip.clone(),
            range: source.range.clone(),
            as_number: source.as_number.clone(),
            as_name: source.as_name.clone(),
            cn: source.cn.clone(),
            latitude: source.latitude,
            longitude: source.longitude,
        }
    }
}

impl From<&SourceRecord> for Source {
    fn from(source: &SourceRecord) -> Self {
        Source {
            as_name: source.as_name.clone(),
            as_number: source.as_number.clone(),
            cn: source.cn.clone(),
            ip: source.ip.clone(),
            latitude: source.latitude,
            longitude: source.longitude,
            range: source.range.clone(),
            scope: source.scope.clone(),
            value: source.value.clone(),
        }
    }
}

impl From<&DecisionRecord> for PostedDecision {
    fn from(decision: &DecisionRecord) -> Self {
        PostedDecision {
            duration: Some(decision.duration.clone()),
            origin: Some(decision.origin.clone()),
            scenario: Some(decision.scenario.clone()),
            scope: Some(decision.scope.clone()),
            simulated: decision.simulated.then_some(true),
            kind: Some(decision.kind.clone()),
            value: Some(decision.value.clone()),
        }
    }
}

impl From<&Record> for PostedAlert {
    fn from(alert: &Record) -> Self {
        let events = alert.events.iter().map(|event| PostedEvent {
            meta: Some(pairs(event.meta.iter())),
            timestamp: Some(event.timestamp.clone()),
        });
        PostedAlert {
            bystanders: alert.bystanders.clone(),
            capacity: Some(alert.capacity),
            contributors: alert.contributors.clone(),
            decisions: alert.decisions.iter().map(PostedDecision::from).collect(),
            events: Some(events.collect()),
            events_count: Some(alert.events_count),
            kind: alert.kind.clone(),
            labels: Vec::new(),
            leakspeed: Some(alert.leakspeed.clone()),
            message: Some(alert.message.clone()),
            meta: context(&alert.context),
            remediation: alert.remediation,
            scenario: Some(alert.scenario.clone()),
            scenario_hash: Some(alert.scenario_hash.clone()),
            scenario_version: Some(alert.scenario_version.clone()),
            simulated: Some(alert.simulated),
            source: Some((&alert.source).into()),
            start_at: Some(alert.start_at.to_rfc3339_nano()),
            stop_at: Some(alert.stop_at.to_rfc3339_nano()),
            uuid: alert.uuid.clone(),
        }
    }
}

impl PostedDecision {
    /// The record of a posted decision that ends its duration after `stop_at`, the time of its alert.
    /// Whether it is simulated is said by its alert alone.
    ///
    /// # Errors
    /// The duration is none.
    pub fn record(&self, stop_at: Timestamp, simulated: bool) -> Result<DecisionRecord, DurationError> {
        let text = self.duration.clone().unwrap_or_default();
        let nanos = duration::parse_with_days(&text)?;
        Ok(DecisionRecord {
            kind: self.kind.clone().unwrap_or_default(),
            scope: self.scope.clone().unwrap_or_default(),
            value: self.value.clone().unwrap_or_default(),
            duration: text,
            duration_ns: nanos,
            origin: self.origin.clone().unwrap_or_default(),
            scenario: self.scenario.clone().unwrap_or_default(),
            simulated,
            until: stop_at.add_nanos(nanos),
        })
    }
}

impl PostedAlert {
    /// The record of a posted alert, without its decisions (see [`PostedDecision::record`]). What is absent
    /// is empty; times that cannot be read are `now`. All times are in UTC. Of contributors and bystanders
    /// only the first few thousand are taken.
    pub fn record(&self, now: Timestamp) -> Record {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let time = |field: Option<&String>| {
            field.and_then(|text| Timestamp::parse_rfc3339(text)).unwrap_or(now).utc()
        };
        let events = self.events.as_deref().unwrap_or_default().iter().map(|event| AlertEvent {
            meta: event.meta.iter().flatten().map(|pair| (&pair.key, &pair.value)).collect(),
            timestamp: time(event.timestamp.as_ref()).to_rfc3339_nano(),
        });
        Record {
            kind: self.kind.clone(),
            scenario: text(&self.scenario),
            scenario_hash: text(&self.scenario_hash),
            scenario_version: text(&self.scenario_version),
            message: text(&self.message),
            capacity: self.capacity.unwrap_or_default(),
            leakspeed: text(&self.leakspeed),
            events_count: self.events_count.unwrap_or_default(),
            start_at: time(self.start_at.as_ref()),
            stop_at: time(self.stop_at.as_ref()),
            remediation: self.remediation,
            simulated: self.simulated.unwrap_or_default(),
            source: self.source.as_ref().map(SourceRecord::from).unwrap_or_default(),
            events: events.collect(),
            context: self.meta.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
            contributors: self.contributors.iter().take(ADDITIONS_MOST).cloned().collect(),
            bystanders: self.bystanders.iter().take(ADDITIONS_MOST).copied().collect(),
            uuid: self.uuid.clone(),
            ..Record::default()
        }
    }
}

impl Alert {
    /// How an alert is shown, with these of its decisions. The times of its events are spelled as Go prints
    /// them; one that cannot be read stays as it is.
    pub fn shown(alert: &Record, decisions: Vec<AlertDecision>) -> Self {
        let events = alert.events.iter().map(|event| Event {
            meta: pairs(event.meta.iter()),
            timestamp: Timestamp::parse_rfc3339(&event.timestamp)
                .map_or_else(|| event.timestamp.clone(), Timestamp::to_go_string),
        });
        let machine = Some(&alert.machine_id).filter(|name| !name.is_empty());
        Alert {
            capacity: alert.capacity,
            created_at: alert.created_at.clone(),
            decisions,
            events: events.collect(),
            events_count: alert.events_count,
            id: alert.id,
            kind: alert.kind.clone(),
            labels: Vec::new(),
            leakspeed: alert.leakspeed.clone(),
            machine_id: machine.map_or(NO_MACHINE, String::as_str).to_owned(),
            message: alert.message.clone(),
            meta: context(&alert.context),
            remediation: alert.remediation,
            scenario: alert.scenario.clone(),
            scenario_hash: alert.scenario_hash.clone(),
            scenario_version: alert.scenario_version.clone(),
            simulated: alert.simulated,
            source: (&alert.source).into(),
            start_at: alert.start_at.to_rfc3339(),
            stop_at: alert.stop_at.to_rfc3339(),
            uuid: alert.uuid.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::body;
    use proptest::prelude::*;
    use testudo_event::Contributor;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect(text)
    }

    fn source(value: &str) -> SourceRecord {
        SourceRecord { scope: "Ip".to_owned(), value: value.to_owned(), ..SourceRecord::default() }
    }

    fn alert() -> Record {
        Record {
            kind: "crowdsec".to_owned(),
            scenario: "demo/ssh-bf".to_owned(),
            message: "m".to_owned(),
            capacity: 5,
            leakspeed: "10s".to_owned(),
            events_count: 6,
            start_at: at("2026-11-21T20:49:44.5Z"),
            stop_at: at("2026-11-21T20:49:58Z"),
            remediation: true,
            source: source("192.0.2.10"),
            events: [AlertEvent {
                meta: [("log_type", "ssh_failed-auth")].as_slice().into(),
                timestamp: "2026-11-21T20:49:58Z".to_owned(),
            }]
            .into(),
            context: vec![("target_user".to_owned(), r#"["root"]"#.to_owned())],
            ..Record::default()
        }
    }

    #[test]
    fn an_overflow_is_posted_once_for_each_source() {
        let sources: BTreeMap<String, SourceRecord> =
            ["192.0.2.10", "192.0.2.11"].map(|value| (value.to_owned(), source(value))).into();
        let overflow = Overflow::new("key".to_owned(), sources, alert()).expect("a source");
        let posted = posted_alerts(&overflow);
        let values: Vec<_> =
            posted.iter().filter_map(|alert| alert.source.as_ref()?.value.as_deref()).collect();
        assert_eq!(values, ["192.0.2.10", "192.0.2.11"]);
        assert!(posted.iter().all(|alert| alert.problems(0).is_empty()));
        let identified = Overflow { alert: Record { uuid: "x".to_owned(), ..alert() }, ..overflow };
        let identities: Vec<String> =
            posted_alerts(&identified).into_iter().map(|alert| alert.uuid).collect();
        assert_eq!(identities, ["x", "x.1"]);
        assert_eq!(
            String::from_utf8(body::write(&posted[0]).expect("JSON")).expect("UTF-8"),
            r#"{"capacity":5,"decisions":null,"events":[{"meta":[{"key":"log_type","value":"ssh_failed-auth"}],"timestamp":"2026-11-21T20:49:58Z"}],"events_count":6,"kind":"crowdsec","labels":null,"leakspeed":"10s","message":"m","meta":[{"key":"target_user","value":"[\"root\"]"}],"remediation":true,"scenario":"demo/ssh-bf","scenario_hash":"","scenario_version":"","simulated":false,"source":{"scope":"Ip","value":"192.0.2.10"},"start_at":"2026-11-21T20:49:44.5Z","stop_at":"2026-11-21T20:49:58Z"}"#
        );
    }

    #[test]
    fn posted_alerts_become_records_again() {
        let posted = PostedAlert::from(&alert());
        assert_eq!(posted.record(Timestamp::zero()), alert());
    }

    #[test]
    fn unreadable_times_are_now() {
        let now = at("2026-11-21T21:00:00Z");
        let posted = PostedAlert {
            start_at: Some("yesterday".to_owned()),
            stop_at: Some("2026-11-21T22:49:58+02:00".to_owned()),
            ..PostedAlert::from(&alert())
        };
        let record = posted.record(now);
        assert_eq!((record.start_at, record.stop_at), (now, at("2026-11-21T20:49:58Z")));
        assert_eq!(record.stop_at.offset(), 0);
    }

    #[test]
    fn decisions_end_their_duration_after_the_overflow() {
        let stop = at("2026-11-21T20:49:58Z");
        let check = |duration: &str, until: Option<&str>| {
            let posted = PostedDecision { duration: Some(duration.to_owned()), ..PostedDecision::default() };
            let end = posted.record(stop, true).ok().map(|record| record.until.to_rfc3339());
            assert_eq!(end.as_deref(), until, "{duration}");
        };
        check("4h", Some("2026-11-22T00:49:58Z"));
        check("1d12h", Some("2026-11-23T08:49:58Z"));
        check("-5m", Some("2026-11-21T20:44:58Z"));
        check("4 hours", None);
        check("", None);
        let record = PostedDecision {
            duration: Some("1h".to_owned()),
            simulated: Some(false),
            ..PostedDecision::default()
        };
        assert!(record.record(stop, true).is_ok_and(|record| record.simulated));
    }

    #[test]
    fn shown_times() {
        let shown = Alert::shown(&alert(), Vec::new());
        assert_eq!(shown.events[0].timestamp, "2026-11-21 20:49:58 +0000 UTC");
        assert_eq!((shown.start_at.as_str(), shown.machine_id.as_str()), ("2026-11-21T20:49:44Z", "N/A"));
    }

    proptest! {
        #[test]
        fn records_survive_the_wire(
            texts in prop::array::uniform8(".{0,12}"),
            uuid in "[a-z]{0,4}",
            numbers in prop::array::uniform2(any::<i32>()),
            flags in prop::array::uniform2(any::<bool>()),
            meta in prop::collection::vec(("[a-z]{1,4}", ".{0,6}"), 0..3),
            secs in 0_i64..4_000_000_000,
            latitude in -90_f32..90.0,
        ) {
            let [kind, scenario, scenario_hash, scenario_version, message, leakspeed, value, ip] = texts;
            let time = Timestamp::from_unix(secs, 123_000);
            let alert = Record {
                kind, scenario, scenario_hash, scenario_version, message, leakspeed,
                capacity: numbers[0],
                events_count: numbers[1],
                remediation: flags[0],
                simulated: flags[1],
                source: SourceRecord { value, ip, latitude, ..SourceRecord::default() },
                events: [AlertEvent { meta: meta.as_slice().into(), timestamp: time.to_rfc3339_nano() }].into(),
                context: meta,
                start_at: time,
                stop_at: time,
                uuid,
                contributors: vec![Contributor { value: "192.0.2.1".to_owned(), count: 3, last_seen: time }],
                ..Record::default()
            };
            let bytes = body::write(&[PostedAlert::from(&alert)]).expect("JSON");
            let posted: Vec<PostedAlert> = body::read(&bytes).expect("JSON");
            prop_assert_eq!(posted[0].record(Timestamp::zero()), alert);
        }
    }
}
