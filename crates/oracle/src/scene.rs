//! What one evaluation sees: an event, perhaps a bucket, and the world; and how handles name their parts.

use std::sync::Arc;

use testudo_event::{Overflow, Source, Timestamp};
use testudo_expr::{EvalError, Handle, Host, Services, Slot, Value};

use crate::{
    event::{Event, EventKind, Texts},
    world::World,
};

/// The sorts of handles. `a` says which event (0 the current one, `1 + i` the queue's, [`SIGNAL`] the
/// overflow under way), `b` which part of it.
pub(crate) mod kind {
    pub(crate) const EVENT: u16 = 1;
    pub(crate) const LINE: u16 = 2;
    pub(crate) const LABELS: u16 = 3;
    pub(crate) const PARSED: u16 = 4;
    pub(crate) const ENRICHED: u16 = 5;
    pub(crate) const META: u16 = 6;
    pub(crate) const UNMARSHALED: u16 = 7;
    pub(crate) const OVERFLOW: u16 = 8;
    pub(crate) const SOURCES: u16 = 9;
    pub(crate) const SOURCE: u16 = 10;
    pub(crate) const ALERT: u16 = 11;
    pub(crate) const ALERT_SOURCE: u16 = 12;
    pub(crate) const ALERT_EVENT: u16 = 13;
    pub(crate) const APPSEC: u16 = 14;
    pub(crate) const MATCHED_RULES: u16 = 15;
    pub(crate) const VARS: u16 = 16;
    pub(crate) const QUEUE: u16 = 17;
    pub(crate) const LEAKY: u16 = 18;
    pub(crate) const FACTORY: u16 = 19;
    pub(crate) const SPEC: u16 = 20;
    pub(crate) const MATCH: u16 = 21;
    pub(crate) const REQUEST: u16 = 22;
    pub(crate) const HEADER: u16 = 23;
}

/// `a` of the overflow under way.
const SIGNAL: u32 = u32::MAX;
/// `b` of the empty source that a missing key of `Sources` gives.
pub(crate) const NO_SOURCE: u32 = u32::MAX;

/// The bucket as conditions see it.
#[derive(Clone, Debug)]
pub(crate) struct BucketView {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) description: String,
    pub(crate) filter: String,
    pub(crate) group_by: String,
    pub(crate) distinct: String,
    pub(crate) capacity: i64,
    pub(crate) leak_speed: String,
    pub(crate) duration_text: String,
    pub(crate) lifetime: i64,
    pub(crate) mode: i64,
    pub(crate) mapkey: String,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) overflow: Timestamp,
    pub(crate) count: i64,
    /// Bound of the queue; −1: none.
    pub(crate) bound: i64,
    pub(crate) queue: Vec<Event>,
}

/// The data of one evaluation.
pub(crate) struct Scene<'a> {
    /// `evt`; nil where it is `None`.
    pub(crate) event: Option<&'a mut Event>,
    /// `queue` and `leaky`.
    pub(crate) bucket: Option<&'a BucketView>,
    /// `signal`.
    pub(crate) signal: Option<&'a Overflow>,
    /// `contributor`.
    pub(crate) contributor: Option<&'a str>,
    /// The world behind the helpers.
    pub(crate) world: &'a World,
}

impl<'a> Scene<'a> {
    /// A scene with nothing but an event.
    pub(crate) fn of(event: &'a mut Event, world: &'a World) -> Self {
        Scene { event: Some(event), bucket: None, signal: None, contributor: None, world }
    }

    /// A variable by its name.
    pub(crate) fn named(&self, name: &str) -> Option<Value> {
        let object = |kind| Some(Value::Object(Handle::of(kind)));
        match name {
            "evt" if self.event.is_some() => object(kind::EVENT),
            "evt" => Some(Value::Nil),
            "queue" if self.bucket.is_some() => object(kind::QUEUE),
            "leaky" if self.bucket.is_some() => object(kind::LEAKY),
            "signal" if self.signal.is_some() => Some(Value::Object(at(kind::OVERFLOW, SIGNAL, 0))),
            "contributor" => self.contributor.map(Value::str),
            "match" => object(kind::MATCH),
            "req" => object(kind::REQUEST),
            _ => None,
        }
    }

    fn event(&self, a: u32) -> Result<&Event, EvalError> {
        if a == 0 {
            return self.event.as_deref().ok_or(EvalError::NilAccess);
        }
        let queue = self.bucket.map_or(&[][..], |b| &b.queue);
        queue.get(a as usize - 1).ok_or(EvalError::OutOfRange)
    }

    fn event_mut(&mut self, a: u32) -> Result<&mut Event, EvalError> {
        if a != 0 {
            return Err(EvalError::Input("events of a queue cannot be written"));
        }
        self.event.as_deref_mut().ok_or(EvalError::NilAccess)
    }

    fn overflow(&self, a: u32) -> Result<&Overflow, EvalError> {
        if a == SIGNAL { self.signal.ok_or(EvalError::NilAccess) } else { Ok(&self.event(a)?.overflow) }
    }

    /// The text map behind a handle, if it is one.
    fn texts(&self, object: Handle) -> Result<Option<&Texts>, EvalError> {
        static EMPTY: Texts = Texts::new();
        Ok(Some(match object.kind {
            kind::LABELS => &self.event(object.a)?.line.labels,
            kind::PARSED => &self.event(object.a)?.parsed,
            kind::ENRICHED => &self.event(object.a)?.enriched,
            kind::META => &self.event(object.a)?.meta,
            kind::VARS => &EMPTY,
            _ => return Ok(None),
        }))
    }

    fn event_field(&self, a: u32, name: &str) -> Result<Value, EvalError> {
        let event = self.event(a)?;
        let part = |kind| Value::Object(at(kind, a, 0));
        Ok(match name {
            "Type" => Value::Int(i64::from(event.kind == EventKind::Overflow)),
            "ExpectMode" => Value::Int(i64::from(event.replay)),
            "Whitelisted" => event.whitelisted.into(),
            "WhitelistReason" => event.whitelist_reason.as_str().into(),
            "Stage" => event.stage.as_str().into(),
            "Line" => part(kind::LINE),
            "Parsed" => part(kind::PARSED),
            "Enriched" => part(kind::ENRICHED),
            "Meta" => part(kind::META),
            "Unmarshaled" => part(kind::UNMARSHALED),
            "Overflow" => part(kind::OVERFLOW),
            "Appsec" => part(kind::APPSEC),
            "Time" => Value::Time(event.time.unwrap_or(Timestamp::zero())),
            "StrTime" => event.str_time.as_str().into(),
            "StrTimeFormat" => event.str_time_format.as_str().into(),
            "MarshaledTime" => event.marshaled_time.as_str().into(),
            "Process" => event.process.into(),
            _ => return unknown(name),
        })
    }

    fn overflow_field(&self, a: u32, name: &str) -> Result<Value, EvalError> {
        let overflow = self.overflow(a)?;
        let has_alert = if a == SIGNAL { !overflow.sources.is_empty() } else { self.event(a)?.has_alert() };
        Ok(match name {
            "Mapkey" => overflow.mapkey.as_str().into(),
            "BucketId" if a == SIGNAL => "".into(),
            "BucketId" => self.event(a)?.bucket_id.as_str().into(),
            "Whitelisted" => overflow.whitelisted.into(),
            "Reprocess" => overflow.reprocess.into(),
            "Sources" => Value::Object(at(kind::SOURCES, a, 0)),
            "Alert" if has_alert => Value::Object(at(kind::ALERT, a, 0)),
            "Alert" => Value::Nil,
            "APIAlerts" => {
                let count = if has_alert { overflow.sources.len() as u32 } else { 0 };
                Value::list((0..count).map(|b| Value::Object(at(kind::ALERT, a, b))).collect())
            }
            _ => return unknown(name),
        })
    }

    fn source(&self, object: Handle) -> Result<Source, EvalError> {
        let overflow = self.overflow(object.a)?;
        let nth = |b: u32| overflow.sources.values().nth(b as usize).cloned().unwrap_or_default();
        Ok(match (object.kind, object.b) {
            (kind::ALERT_SOURCE, 0) => overflow.alert.source.clone(),
            (_, NO_SOURCE) => Source::default(),
            (_, b) => nth(b),
        })
    }

    fn alert_field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        let alert = &self.overflow(object.a)?.alert;
        Ok(match name {
            "Capacity" => i64::from(alert.capacity).into(),
            "CreatedAt" => alert.created_at.as_str().into(),
            "Decisions" | "Labels" => Value::list(Vec::new()),
            "Events" => {
                let all = 0..alert.events.len() as u32;
                Value::list(all.map(|b| Value::Object(at(kind::ALERT_EVENT, object.a, b))).collect())
            }
            "EventsCount" => i64::from(alert.events_count).into(),
            "ID" => alert.id.into(),
            "Kind" => alert.kind.as_str().into(),
            "Leakspeed" => alert.leakspeed.as_str().into(),
            "MachineID" => alert.machine_id.as_str().into(),
            "Message" => alert.message.as_str().into(),
            "Meta" => pairs(alert.context.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
            "Remediation" => alert.remediation.into(),
            "Scenario" => alert.scenario.as_str().into(),
            "ScenarioHash" => alert.scenario_hash.as_str().into(),
            "ScenarioVersion" => alert.scenario_version.as_str().into(),
            "Simulated" => alert.simulated.into(),
            "Source" => Value::Object(Handle { kind: kind::ALERT_SOURCE, ..object }),
            "StartAt" => alert.start_at.to_rfc3339_nano().into(),
            "StopAt" => alert.stop_at.to_rfc3339_nano().into(),
            "UUID" => alert.uuid.as_str().into(),
            _ => return unknown(name),
        })
    }

    fn bucket_field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        let bucket = self.bucket.ok_or(EvalError::NilAccess)?;
        Ok(match (object.kind, name) {
            (kind::QUEUE, "Queue") => queue(bucket),
            (kind::QUEUE, "L") => bucket.bound.into(),
            (kind::LEAKY, "Name") => bucket.name.as_str().into(),
            (kind::LEAKY, "Mode") => bucket.mode.into(),
            (kind::LEAKY, "Queue") => Value::Object(Handle::of(kind::QUEUE)),
            (kind::LEAKY, "Mapkey") => bucket.mapkey.as_str().into(),
            // Buckets have random names in the reference, for its log only.
            (kind::LEAKY, "Uuid") => "".into(),
            (kind::LEAKY, "First_ts") => Value::Time(bucket.first),
            (kind::LEAKY, "Last_ts") => Value::Time(bucket.last),
            (kind::LEAKY, "Ovflw_ts") => Value::Time(bucket.overflow),
            (kind::LEAKY, "Total_count") => bucket.count.into(),
            (kind::LEAKY, "Duration") => Value::Duration(bucket.lifetime),
            (kind::LEAKY, "SerializedState") => Value::Nil,
            (kind::LEAKY, "Factory") => Value::Object(Handle::of(kind::FACTORY)),
            (kind::FACTORY, "Spec") => Value::Object(Handle::of(kind::SPEC)),
            (kind::SPEC, "Name") => bucket.name.as_str().into(),
            (kind::SPEC, "Type") => bucket.kind.into(),
            (kind::SPEC, "Description") => bucket.description.as_str().into(),
            (kind::SPEC, "Capacity") => bucket.capacity.into(),
            (kind::SPEC, "LeakSpeed") => bucket.leak_speed.as_str().into(),
            (kind::SPEC, "Duration") => bucket.duration_text.as_str().into(),
            (kind::SPEC, "GroupBy") => bucket.group_by.as_str().into(),
            (kind::SPEC, "Distinct") => bucket.distinct.as_str().into(),
            (kind::SPEC, "Filter") => bucket.filter.as_str().into(),
            _ => return unknown(name),
        })
    }
}

fn at(kind: u16, a: u32, b: u32) -> Handle {
    Handle { kind, a, b }
}

fn unknown<T>(name: &str) -> Result<T, EvalError> {
    Err(EvalError::other(format!("there is no {name}")))
}

fn queue(bucket: &BucketView) -> Value {
    let all = 1..=bucket.queue.len() as u32;
    Value::list(all.map(|a| Value::Object(at(kind::EVENT, a, 0))).collect())
}

/// A list of `{Key, Value}` records.
fn pairs<'p>(items: impl Iterator<Item = (&'p str, &'p str)>) -> Value {
    let pair = |(key, value): (&str, &str)| {
        let fields = [("Key", key), ("Value", value)];
        Value::Map(Arc::new(fields.into_iter().map(|(k, v)| (k.into(), v.into())).collect()))
    };
    Value::list(items.map(pair).collect())
}

fn argument<'v>(arguments: &'v [Value], at: usize, what: &'static str) -> Result<&'v str, EvalError> {
    match arguments.get(at) {
        Some(Value::Str(text)) => Ok(text),
        other => Err(EvalError::Kind { what, got: other.map_or("nil", Value::kind) }),
    }
}

impl Host for Scene<'_> {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        Err(EvalError::other("variables are asked for by name here"))
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        match object.kind {
            kind::EVENT => self.event_field(object.a, name),
            kind::LINE => {
                let line = &self.event(object.a)?.line;
                Ok(match name {
                    "Raw" => line.raw.as_str().into(),
                    "Src" => line.src.as_str().into(),
                    "Time" => Value::Time(line.time),
                    "Labels" => Value::Object(Handle { kind: kind::LABELS, ..object }),
                    "Process" => true.into(),
                    "Module" => line.module.as_str().into(),
                    _ => return unknown(name),
                })
            }
            kind::OVERFLOW => self.overflow_field(object.a, name),
            kind::ALERT => self.alert_field(object, name),
            kind::SOURCE | kind::ALERT_SOURCE => {
                let source = self.source(object)?;
                Ok(match name {
                    "AsName" => source.as_name.into(),
                    "AsNumber" => source.as_number.into(),
                    "Cn" => source.cn.into(),
                    "IP" => source.ip.into(),
                    "Range" => source.range.into(),
                    "Latitude" => f64::from(source.latitude).into(),
                    "Longitude" => f64::from(source.longitude).into(),
                    "Scope" => source.scope.into(),
                    "Value" => source.value.into(),
                    _ => return unknown(name),
                })
            }
            kind::ALERT_EVENT => {
                let events = &self.overflow(object.a)?.alert.events;
                let event = events.get(object.b as usize).ok_or(EvalError::OutOfRange)?;
                match name {
                    "Meta" => Ok(pairs(event.meta.iter())),
                    "Timestamp" => Ok(event.timestamp.as_str().into()),
                    _ => unknown(name),
                }
            }
            kind::APPSEC => match name {
                "HasInBandMatches" | "HasOutBandMatches" => Ok(false.into()),
                "MatchedRules" => Ok(Value::Object(Handle { kind: kind::MATCHED_RULES, ..object })),
                "Vars" | "HookVars" => Ok(Value::Object(Handle { kind: kind::VARS, ..object })),
                _ => unknown(name),
            },
            kind::QUEUE | kind::LEAKY | kind::FACTORY | kind::SPEC => self.bucket_field(object, name),
            kind::REQUEST => match name {
                "Host" | "Method" | "Proto" | "RequestURI" | "RemoteAddr" => Ok("".into()),
                "ContentLength" => Ok(0.into()),
                "URL" => Ok(Value::Nil),
                "Header" => Ok(Value::Object(Handle::of(kind::HEADER))),
                _ => unknown(name),
            },
            _ => unknown(name),
        }
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        if let Some(texts) = self.texts(object)? {
            return Ok(texts.get(key).map(|text| text.as_str().into()));
        }
        match object.kind {
            kind::UNMARSHALED => Ok(self.event(object.a)?.unmarshaled.get(key).cloned()),
            kind::SOURCES => {
                let place = self.overflow(object.a)?.sources.keys().position(|known| known == key);
                Ok(place.map(|b| Value::Object(at(kind::SOURCE, object.a, b as u32))))
            }
            kind::MATCH => Ok(None),
            _ => self.field(object, key).map(Some),
        }
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        if let Some(texts) = self.texts(object)? {
            return Ok(texts.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect());
        }
        match object.kind {
            kind::UNMARSHALED => {
                Ok(self.event(object.a)?.unmarshaled.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            kind::SOURCES => {
                let keys = self.overflow(object.a)?.sources.keys().enumerate();
                let entry = |(b, key): (usize, &String)| {
                    (key.as_str().into(), Value::Object(at(kind::SOURCE, object.a, b as u32)))
                };
                Ok(keys.map(entry).collect())
            }
            kind::MATCH => Ok(Vec::new()),
            _ => Err(EvalError::Kind { what: "a map", got: "object" }),
        }
    }

    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        let strings = |items: Vec<String>| Ok(Value::strings(items));
        match (object.kind, name) {
            (kind::EVENT, "GetType") => Ok(match self.event(object.a)?.kind {
                EventKind::Log => "log".into(),
                EventKind::Overflow => "overflow".into(),
            }),
            (kind::EVENT, "GetMeta") => {
                Ok(self.event(object.a)?.get_meta(argument(arguments, 0, "GetMeta")?).into())
            }
            (kind::EVENT, "SetMeta" | "SetParsed") => {
                let key = argument(arguments, 0, "SetMeta")?.to_owned();
                let value = argument(arguments, 1, "SetMeta")?.to_owned();
                let event = self.event_mut(object.a)?;
                let map = if name == "SetMeta" { &mut event.meta } else { &mut event.parsed };
                map.insert(key, value);
                Ok(true.into())
            }
            (kind::EVENT, "ParseIPSources") => {
                strings(self.event(object.a)?.ip_sources().iter().map(ToString::to_string).collect())
            }
            (kind::OVERFLOW, "GetSources") => {
                strings(self.overflow(object.a)?.sources.keys().cloned().collect())
            }
            (kind::SOURCE | kind::ALERT_SOURCE, "GetScope") => Ok(self.source(object)?.scope.into()),
            (kind::SOURCE | kind::ALERT_SOURCE, "GetValue") => Ok(self.source(object)?.value.into()),
            (kind::SOURCE | kind::ALERT_SOURCE, "GetAsNumberName") => {
                Ok(self.source(object)?.as_number_name().into())
            }
            (kind::SOURCE | kind::ALERT_SOURCE, "String") => Ok(self.source(object)?.to_string().into()),
            (kind::ALERT, "GetScope" | "GetValue") => {
                self.method(Handle { kind: kind::ALERT_SOURCE, ..object }, name, arguments)
            }
            (kind::ALERT, "GetScenario") => self.alert_field(object, "Scenario"),
            (kind::ALERT, "GetEventsCount") => self.alert_field(object, "EventsCount"),
            (kind::ALERT, "GetMeta") => {
                Ok(self.overflow(object.a)?.alert.meta(argument(arguments, 0, "GetMeta")?).into())
            }
            (kind::ALERT_EVENT, "GetMeta") => {
                let events = &self.overflow(object.a)?.alert.events;
                let event = events.get(object.b as usize).ok_or(EvalError::OutOfRange)?;
                Ok(event.meta(argument(arguments, 0, "GetMeta")?).into())
            }
            (kind::QUEUE, "GetQueue") => Ok(queue(self.bucket.ok_or(EvalError::NilAccess)?)),
            (kind::APPSEC, "GetVar") => Ok("".into()),
            (kind::APPSEC | kind::MATCHED_RULES, _) => match name {
                "ByID" | "ByKind" | "ByTag" | "ByTags" | "ByTagRx" | "ByDisruptiveness" | "BySeverity"
                | "ByAccuracy" => Ok(Value::Object(Handle { kind: kind::MATCHED_RULES, ..object })),
                "GetURI" | "GetHash" | "GetVersion" | "GetName" | "GetMethod" | "GetHighestSeverity" => {
                    Ok("".into())
                }
                "GetField" | "GetNames" | "GetRuleIDs" | "Kinds" | "GetMatchedZones" => strings(Vec::new()),
                _ => unknown(name),
            },
            (kind::REQUEST, "UserAgent" | "Referer") | (kind::HEADER, "Get") => Ok("".into()),
            (kind::HEADER, "Values") => strings(Vec::new()),
            _ => unknown(name),
        }
    }

    fn store(&mut self, object: Handle, key: &str, value: Value) -> Result<(), EvalError> {
        if object.kind != kind::UNMARSHALED {
            return Err(EvalError::Input("this map cannot be written"));
        }
        self.event_mut(object.a)?.unmarshaled.insert(key.into(), value);
        Ok(())
    }

    fn services(&self) -> &dyn Services {
        self.world
    }
}
