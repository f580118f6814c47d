//! The records of an alert: who did it, what was seen, what is decided; and the texts made of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::net::Prefix;
use crate::pairs::Pairs;
use crate::time::Timestamp;

/// The scope of single addresses.
pub const SCOPE_IP: &str = "Ip";
/// The scope of address ranges.
pub const SCOPE_RANGE: &str = "Range";
/// The scope of countries.
pub const SCOPE_COUNTRY: &str = "Country";
/// The scope of autonomous systems.
pub const SCOPE_AS: &str = "AS";

/// The name of a scope as alerts carry it: `Ip`, `Range`, `Country` and `AS` are recognised in any case, every
/// other scope stays as it is. Scenarios compare scopes without this.
pub fn normalise_scope(scope: &str) -> &str {
    let known = [SCOPE_IP, SCOPE_RANGE, SCOPE_COUNTRY, SCOPE_AS];
    known.into_iter().find(|name| name.eq_ignore_ascii_case(scope)).unwrap_or(scope)
}

/// Who an alert is about. An empty text means "not known".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// `Ip`, `Range`, or what the scenario names.
    pub scope: String,
    /// The address, range, user … that the scope speaks of.
    pub value: String,
    /// The address, for the scopes `Ip` and `Range`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The network around the address, in CIDR notation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub range: String,
    /// Number of the autonomous system, in decimal; `0` when the database does not know it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub as_number: String,
    /// Name of the autonomous system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub as_name: String,
    /// ISO code of the country.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cn: String,
    /// Degrees north.
    #[serde(skip_serializing_if = "is_zero")]
    pub latitude: f32,
    /// Degrees east.
    #[serde(skip_serializing_if = "is_zero")]
    pub longitude: f32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(degrees: &f32) -> bool {
    *degrees == 0.0
}

impl Source {
    /// The scope, empty when unset.
    pub fn get_scope(&self) -> &str {
        &self.scope
    }

    /// The value, empty when unset.
    pub fn get_value(&self) -> &str {
        &self.value
    }

    /// Number and name of the autonomous system, `64500 Example`; a number of `0` and what is unknown are
    /// left out.
    pub fn as_number_name(&self) -> String {
        let mut out = String::new();
        if self.as_number != "0" {
            out.push_str(&self.as_number);
        }
        if !self.as_name.is_empty() {
            out.push(' ');
            out.push_str(&self.as_name);
        }
        out
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.scope.as_str() {
            "" => return f.write_str("empty source"),
            SCOPE_IP => "ip",
            SCOPE_RANGE => "range",
            other => return write!(f, "{other} {}", self.value),
        };
        write!(f, "{name} {}", self.value)?;
        match (self.cn.as_str(), self.as_number.as_str()) {
            ("", "") => Ok(()),
            (cn, "") => write!(f, " ({cn})"),
            ("", number) => write!(f, " ({number})"),
            (cn, number) => write!(f, " ({cn}/{number})"),
        }
    }
}

/// One event of an alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertEvent {
    /// Keys and values, sorted by key (bytewise).
    pub meta: Pairs,
    /// The event's time as its rules left it: mostly RFC 3339.
    pub timestamp: String,
}

impl AlertEvent {
    /// The first value of a key, empty when there is none.
    pub fn meta(&self, key: &str) -> &str {
        self.meta.value(key)
    }
}

/// Who poured how much into the bucket that overflowed. Rules cannot see this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contributor {
    /// The source's value: the address, range, user ….
    pub value: String,
    /// Accepted pours within the bucket's life.
    pub count: u64,
    /// The time of the last of them.
    pub last_seen: Timestamp,
}

/// How many good sources were lately seen in a network: what a decision about all of it would cost others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bystanders {
    /// The network.
    pub network: Prefix,
    /// Good sources in it.
    pub count: u32,
}

/// What is to be done about a source, and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// `ban`, `captcha`, or another remedy.
    #[serde(rename = "type")]
    pub kind: String,
    /// The scope of `value`.
    pub scope: String,
    /// The address, range, user … that is concerned.
    pub value: String,
    /// How long, as it was configured: `4h`.
    pub duration: String,
    /// How long, in nanoseconds.
    pub duration_ns: i64,
    /// Who decided: `crowdsec`, a list, a command ….
    pub origin: String,
    /// The scenario behind it.
    pub scenario: String,
    /// Whether it is only for show.
    pub simulated: bool,
    /// When it ends.
    pub until: Timestamp,
}

/// What a scenario has found. The zero of every field means "unset".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// Number given by the store.
    #[serde(skip_serializing_if = "is_unset")]
    pub id: i64,
    /// Identity given by whoever receives the alert.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The machine that reported it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// When it was stored, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// `crowdsec` for alerts from logs, `waf` for those of the WAF.
    pub kind: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Hash of the scenario's file.
    pub scenario_hash: String,
    /// Version of the scenario.
    pub scenario_version: String,
    /// One sentence for people, see [`message`].
    pub message: String,
    /// Capacity of the bucket as declared: -1, 0 or more.
    pub capacity: i32,
    /// Leak speed of the bucket as Go duration text.
    pub leakspeed: String,
    /// Events that were poured, more than `events` may hold.
    pub events_count: i32,
    /// Time of the first event.
    pub start_at: Timestamp,
    /// Time of the overflow.
    pub stop_at: Timestamp,
    /// Whether a remedy is called for.
    pub remediation: bool,
    /// Whether the scenario only simulates.
    pub simulated: bool,
    /// Who it is about.
    pub source: Source,
    /// The events that the bucket still held, oldest first: shared by the alerts of one overflow.
    pub events: Arc<[AlertEvent]>,
    /// Context for people: key, and a JSON list of values; sorted by key.
    #[serde(with = "items")]
    pub context: Vec<(String, String)>,
    /// What was decided about it.
    pub decisions: Vec<Decision>,
    /// Who poured how much.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<Contributor>,
    /// How many good sources were lately seen in the networks around the contributors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bystanders: Vec<Bystanders>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_unset(id: &i64) -> bool {
    *id == 0
}

impl Alert {
    /// The scope of the source, empty when unset.
    pub fn get_scope(&self) -> &str {
        &self.source.scope
    }

    /// The value of the source, empty when unset.
    pub fn get_value(&self) -> &str {
        &self.source.value
    }

    /// The first value of a context key, empty when there is none.
    pub fn meta(&self, key: &str) -> &str {
        self.context.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }
}

/// A bucket that overflowed: one alert for each of its sources. The alerts differ only in their source, so
/// the record holds one of them, and makes the others on demand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overflow {
    /// The bucket's key.
    pub mapkey: String,
    /// Whether the scenario wants its overflows poured again.
    pub reprocess: bool,
    /// Whether a whitelist took it out.
    pub whitelisted: bool,
    /// The reason given by the first whitelist that did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub whitelist_reason: String,
    /// All sources by their values.
    pub sources: BTreeMap<String, Source>,
    /// The alert of the first source. Rules may change its source, `sources` then keeps the original.
    pub alert: Alert,
}

impl Overflow {
    /// An overflow whose alert is about the first of the sources. `None` without any source: such an
    /// overflow is discarded.
    pub fn new(mapkey: String, sources: BTreeMap<String, Source>, alert: Alert) -> Option<Self> {
        let source = sources.values().next()?.clone();
        Some(Overflow { mapkey, sources, alert: Alert { source, ..alert }, ..Overflow::default() })
    }

    /// The source of each alert, that of [`Overflow::alert`] first.
    pub fn alert_sources(&self) -> impl Iterator<Item = &Source> {
        std::iter::once(&self.alert.source).chain(self.sources.values().skip(1))
    }

    /// The alerts, one per source. The first is the one that the record holds, the others are copies of it, but only the
    /// first tells of everybody who contributed: each of the others of its own source.
    pub fn into_alerts(self) -> Vec<Alert> {
        let mut alert = self.alert;
        let contributors = std::mem::take(&mut alert.contributors);
        let bystanders = std::mem::take(&mut alert.bystanders);
        let mut alerts = vec![alert];
        for source in self.sources.into_values().skip(1) {
            let own = contributors.iter().filter(|contributor| contributor.value == source.value);
            let contributors = own.cloned().collect();
            alerts.push(Alert { source, contributors, ..alerts[0].clone() });
        }
        alerts[0].contributors = contributors;
        alerts[0].bystanders = bystanders;
        alerts
    }

    /// The first non-empty value of a meta key over the events, as `evt.GetMeta` reads an overflow; empty when
    /// there is none.
    pub fn event_meta(&self, key: &str) -> &str {
        let values = self.alert.events.iter().map(|event| event.meta(key));
        values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
    }
}

/// The sentence of an alert: `Ip 192.0.2.1 performed 'a/b' (6 events over 5s) at 2026-02-12 14:10:24 +0000 UTC`.
///
/// `span_nanos` is the time from the first event to the overflow, `last` the time of the last event.
pub fn message(
    sources: &BTreeMap<String, Source>,
    scenario: &str,
    events: i32,
    span_nanos: i64,
    last: Timestamp,
) -> String {
    let scope = sources.values().next().map_or("", Source::get_scope);
    let mut keys = sources.keys();
    let who = match (keys.next(), sources.len()) {
        (None, _) => "UNKNOWN".to_owned(),
        (Some(only), 1) => only.clone(),
        (Some(_), count) => format!("{count} sources"),
    };
    let span = duration::format(span_nanos);
    let last = last.to_go_string();
    format!("{scope} {who} performed '{scenario}' ({events} events over {span}) at {last}")
}

/// Ordered keys and values as a list of `{"key": …, "value": …}`.
mod items {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::pairs::Item;

    pub(super) fn serialize<S: Serializer>(
        items: &[(String, String)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(items.iter().map(|(key, value)| Item { key, value }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, String)>, D::Error> {
        let items = Vec::<Item<String>>::deserialize(deserializer)?;
        Ok(items.into_iter().map(|item| (item.key, item.value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(scope: &str, value: &str) -> Source {
        Source { scope: scope.to_owned(), value: value.to_owned(), ..Source::default() }
    }

    fn sources(values: &[&str]) -> BTreeMap<String, Source> {
        values.iter().map(|&value| (value.to_owned(), source(SCOPE_IP, value))).collect()
    }

    #[test]
    fn scopes_in_any_case() {
        for (scope, expected) in [
            ("ip", "Ip"),
            ("RANGE", "Range"),
            ("as", "AS"),
            ("country", "Country"),
            ("User", "User"),
            ("", ""),
        ] {
            assert_eq!(normalise_scope(scope), expected);
        }
    }

    #[test]
    fn sources_as_text() {
        let check = |scope: &str, cn: &str, number: &str, expected: &str| {
            let source =
                Source { cn: cn.to_owned(), as_number: number.to_owned(), ..source(scope, "1.2.3.4") };
            assert_eq!(source.to_string(), expected);
        };
        check("Ip", "FR", "1234", "ip 1.2.3.4 (FR/1234)");
        check("Ip", "FR", "", "ip 1.2.3.4 (FR)");
        check("Ip", "", "", "ip 1.2.3.4");
        check("Range", "FR", "1234", "range 1.2.3.4 (FR/1234)");
        check("user", "FR", "1234", "user 1.2.3.4");
        check("", "FR", "1234", "empty source");
    }

    #[test]
    fn autonomous_systems_as_text() {
        let check = |number: &str, name: &str, expected: &str| {
            let source =
                Source { as_number: number.to_owned(), as_name: name.to_owned(), ..Source::default() };
            assert_eq!(source.as_number_name(), expected);
        };
        check("64500", "Example", "64500 Example");
        check("64500", "", "64500");
        check("0", "Example", " Example");
        check("", "", "");
    }

    #[test]
    fn alert_sentence() {
        let last = Timestamp::parse_rfc3339("2026-02-12T15:10:24+01:00").expect("a time");
        let check = |values: &[&str], span: i64, last: Timestamp, expected: &str| {
            assert_eq!(message(&sources(values), "a/b", 6, span, last), expected);
        };
        check(
            &["192.0.2.1"],
            5_000_000_000,
            last.utc(),
            "Ip 192.0.2.1 performed 'a/b' (6 events over 5s) at 2026-02-12 14:10:24 +0000 UTC",
        );
        check(
            &["192.0.2.1", "192.0.2.2"],
            62_500_000_000,
            last,
            "Ip 2 sources performed 'a/b' (6 events over 1m2.5s) at 2026-02-12 15:10:24 +0100 +0100",
        );
        check(
            &[],
            0,
            last.utc(),
            " UNKNOWN performed 'a/b' (6 events over 0s) at 2026-02-12 14:10:24 +0000 UTC",
        );
    }

    fn overflow() -> Overflow {
        let pairs =
            |items: &[(&str, &str)]| items.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let events = [&[("a", ""), ("b", "1")][..], &[("a", "2"), ("a", "3")]]
            .map(|meta| AlertEvent { meta: meta.into(), timestamp: String::new() });
        let alert = Alert {
            scenario: "a/b".to_owned(),
            events: events.into(),
            context: pairs(&[("target", "[\"x\"]"), ("target", "[]")]),
            ..Alert::default()
        };
        Overflow::new("key".to_owned(), sources(&["192.0.2.2", "192.0.2.1"]), alert).expect("has sources")
    }

    #[test]
    fn first_values_of_meta() {
        let overflow = overflow();
        assert_eq!(overflow.event_meta("a"), "2");
        assert_eq!(overflow.event_meta("b"), "1");
        assert_eq!(overflow.event_meta("c"), "");
        assert_eq!(overflow.alert.events[0].meta("a"), "");
        assert_eq!(overflow.alert.meta("target"), r#"["x"]"#);
        assert_eq!(overflow.alert.meta("other"), "");
    }

    #[test]
    fn one_alert_per_source() {
        let mut overflow = overflow();
        assert_eq!((overflow.alert.get_scope(), overflow.alert.get_value()), ("Ip", "192.0.2.1"));
        // A rule rewrites the source of the first alert; the other keeps its own.
        overflow.alert.source = source(SCOPE_RANGE, "192.0.2.0/24");
        let values: Vec<&str> = overflow.alert_sources().map(Source::get_value).collect();
        assert_eq!(values, ["192.0.2.0/24", "192.0.2.2"]);
        let alerts = overflow.clone().into_alerts();
        assert!(alerts.iter().zip(overflow.alert_sources()).all(|(alert, source)| alert.source == *source));
        assert_eq!(alerts.len(), 2);
        assert_eq!(alerts[1].scenario, "a/b");
        assert_eq!(Overflow::new(String::new(), BTreeMap::new(), Alert::default()), None);
    }

    #[test]
    fn json_names_and_round_trip() {
        let mut overflow = overflow();
        overflow.alert.decisions.push(Decision { kind: "ban".to_owned(), ..Decision::default() });
        let json = serde_json::to_value(&overflow).expect("serialises");
        assert_eq!(json["alert"]["events"][0]["meta"][1]["key"], "b");
        assert_eq!(json["alert"]["decisions"][0]["type"], "ban");
        assert_eq!(json["alert"]["source"]["value"], "192.0.2.1");
        assert_eq!(json["alert"]["start_at"], "1970-01-01T00:00:00Z");
        assert!(json["alert"]["source"].get("cn").is_none());
        assert_eq!(serde_json::from_value::<Overflow>(json).expect("reads back"), overflow);
    }
}
