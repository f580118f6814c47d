//! The event as a plain record: what a line becomes on its way, and what an overflow travels in.

use std::{collections::BTreeMap, sync::Arc};

use testudo_event::{Overflow, Timestamp, net};
use testudo_expr::Value;

/// Text keys and values.
pub type Texts = BTreeMap<String, String>;

/// What an event stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A line of a log.
    #[default]
    Log,
    /// A bucket that overflowed.
    Overflow,
}

/// The line that an event came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventLine {
    /// The text.
    pub(crate) raw: String,
    /// Path of its file, or what its kind of source calls itself.
    pub(crate) src: String,
    /// When it was read.
    pub(crate) time: Timestamp,
    /// Labels of its source: a copy of this line's own.
    pub(crate) labels: Texts,
    /// The kind of source, e.g. `file`.
    pub(crate) module: String,
}

/// An event. Every field is what rules know by the same name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    /// Line or overflow.
    pub(crate) kind: EventKind,
    /// Whether buckets take the event's own time.
    pub(crate) replay: bool,
    /// Set by the first whitelist that matches.
    pub(crate) whitelisted: bool,
    /// Why.
    pub(crate) whitelist_reason: String,
    /// The stage that it is in.
    pub(crate) stage: String,
    /// The line.
    pub(crate) line: EventLine,
    /// What groks and `parsed` statics gave.
    pub(crate) parsed: Texts,
    /// What enrichers gave.
    pub(crate) enriched: Texts,
    /// What alerts will carry.
    pub(crate) meta: Texts,
    /// What JSON, XML and key-value helpers gave.
    pub(crate) unmarshaled: BTreeMap<Arc<str>, Value>,
    /// The overflow; empty for a line.
    pub(crate) overflow: Overflow,
    /// `Overflow.BucketId`, which nothing but a static sets.
    pub(crate) bucket_id: String,
    /// The time of the event; unset until parsing begins.
    pub(crate) time: Option<Timestamp>,
    /// The date as the line has it.
    pub(crate) str_time: String,
    /// The Go layout of that date, if the rules know it.
    pub(crate) str_time_format: String,
    /// The date in RFC 3339: the time that buckets use in replay.
    pub(crate) marshaled_time: String,
    /// Whether parsing succeeded.
    pub(crate) process: bool,
    /// The last date that `ParseDate` could read in this event.
    pub(crate) dated: Option<Timestamp>,
}

impl Event {
    /// Whether `Overflow.Alert` is there.
    pub(crate) fn has_alert(&self) -> bool {
        self.kind == EventKind::Overflow
    }

    /// `evt.GetMeta(key)`.
    pub(crate) fn get_meta(&self, key: &str) -> &str {
        match self.kind {
            EventKind::Log => self.meta.get(key).map_or("", String::as_str),
            EventKind::Overflow => self.overflow.event_meta(key),
        }
    }

    /// `evt.ParseIPSources()`, the addresses as they print.
    pub(crate) fn ip_sources(&self) -> Vec<std::net::IpAddr> {
        match self.kind {
            EventKind::Log => {
                self.meta.get("source_ip").and_then(|text| net::parse_addr(text)).into_iter().collect()
            }
            EventKind::Overflow => {
                self.overflow.sources.keys().filter_map(|text| net::parse_addr(text)).collect()
            }
        }
    }

    /// The instant in `MarshaledTime`, if there is a readable one.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        Timestamp::parse_rfc3339(&self.marshaled_time)
    }

    /// Everything that two interpreters can be compared by.
    pub(crate) fn dump(&self) -> EventDump {
        EventDump {
            stage: self.stage.clone(),
            process: self.process,
            whitelisted: self.whitelisted,
            whitelist_reason: self.whitelist_reason.clone(),
            module: self.line.module.clone(),
            labels: self.line.labels.clone(),
            parsed: self.parsed.clone(),
            enriched: self.enriched.clone(),
            meta: self.meta.clone(),
            unmarshaled: self.unmarshaled.iter().map(|(k, v)| (k.to_string(), json(v))).collect(),
            time: self.time,
            str_time: self.str_time.clone(),
            str_time_format: self.str_time_format.clone(),
            marshaled_time: self.marshaled_time.clone(),
        }
    }
}

/// An event as it was at some point of its way, in comparable form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventDump {
    /// The stage that it is in.
    pub stage: String,
    /// Whether parsing succeeded.
    pub process: bool,
    /// Whether a whitelist matched.
    pub whitelisted: bool,
    /// The reason of the first one that did.
    pub whitelist_reason: String,
    /// `Line.Module`
    pub module: String,
    /// `Line.Labels`
    pub labels: Texts,
    /// `Parsed`
    pub parsed: Texts,
    /// `Enriched`
    pub enriched: Texts,
    /// `Meta`
    pub meta: Texts,
    /// `Unmarshaled`, as JSON; values that JSON has no form for are their texts.
    pub unmarshaled: BTreeMap<String, serde_json::Value>,
    /// `Time`
    pub time: Option<Timestamp>,
    /// `StrTime`
    pub str_time: String,
    /// `StrTimeFormat`
    pub str_time_format: String,
    /// `MarshaledTime`
    pub marshaled_time: String,
}

/// A value as JSON, for dumps only.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(x) => (*x).into(),
        Value::Str(s) => (**s).into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map.iter().map(|(k, v)| (k.to_string(), json(v))).collect(),
        Value::Bytes(_) | Value::Time(_) | Value::Duration(_) | Value::Object(_) => value.to_string().into(),
    }
}
