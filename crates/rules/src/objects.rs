//! An overflow as expressions see it: the records `Overflow`, `Alert`, `Source`, `AlertEvent` … of
//! [`schema`](crate::schema), answered from [`testudo_event::Overflow`].
//!
//! Every [`Host`](testudo_expr::Host) that shows an overflow hands calls on handles of these kinds
//! to the functions here.

use std::sync::Arc;

use testudo_event::{Alert, AlertEvent, Overflow, Source};
use testudo_expr::{EvalError, Handle, Value};

/// Handles of this kind and above belong to this module.
pub const FIRST_KIND: u16 = 100;

const OVERFLOW: u16 = FIRST_KIND;
const SOURCES: u16 = FIRST_KIND + 1;
const SOURCE: u16 = FIRST_KIND + 2;
const ALERT: u16 = FIRST_KIND + 3;
const ALERT_EVENT: u16 = FIRST_KIND + 4;
const EVENT_META: u16 = FIRST_KIND + 5;
const CONTEXT: u16 = FIRST_KIND + 6;
const DECISION: u16 = FIRST_KIND + 7;
const ALERT_SOURCE: u16 = FIRST_KIND + 8;
const LAST_KIND: u16 = ALERT_SOURCE;

/// Kinds that one of several overflows takes.
const KINDS: u16 = 16;
/// How many overflows handles can tell apart, see [`numbered`].
pub const MAX_NUMBERED: usize = ((u16::MAX - FIRST_KIND) / KINDS) as usize;

/// Turns the handles of a value into those of one overflow among several; number 0 leaves them as they are.
pub fn numbered(value: Value, number: u16) -> Value {
    match value {
        Value::Object(object) if owns(object) => {
            Value::Object(Handle { kind: object.kind + number * KINDS, ..object })
        }
        Value::List(items) if number > 0 && items.iter().any(|item| matches!(item, Value::Object(_))) => {
            Value::list(items.iter().map(|item| numbered(item.clone(), number)).collect())
        }
        other => other,
    }
}

/// The number of the overflow that a handle belongs to, and the handle as the functions here know it.
/// `None`: it is not one of this module's.
pub fn number_of(object: Handle) -> Option<(u16, Handle)> {
    let above = object.kind.checked_sub(FIRST_KIND)?;
    let inner = Handle { kind: FIRST_KIND + above % KINDS, ..object };
    // The handle of the schema's functions, among others, is none of these.
    owns(inner).then_some((above / KINDS, inner))
}

/// The overflow itself.
pub const fn overflow() -> Handle {
    Handle::of(OVERFLOW)
}

/// The alert of the first source.
pub const fn alert() -> Handle {
    Handle::of(ALERT)
}

/// The alert of the source at this position, 0 for the first.
pub const fn alert_of(source: u32) -> Handle {
    Handle { kind: ALERT, a: source, b: 0 }
}

/// Whether a handle is one of this module's.
pub fn owns(object: Handle) -> bool {
    (FIRST_KIND..=LAST_KIND).contains(&object.kind)
}

fn unknown(name: &str) -> EvalError {
    EvalError::other(format!("there is no `{name}` here"))
}

fn text(s: &str) -> Value {
    Value::str(s)
}

fn handles(kind: u16, count: usize, b: u32) -> Value {
    Value::list((0..count as u32).map(|a| Value::Object(Handle { kind, a, b })).collect())
}

/// A field of a record of the overflow.
///
/// # Errors
/// The record has no such field, or the handle leads nowhere.
pub fn field(of: &Overflow, object: Handle, name: &str) -> Result<Value, EvalError> {
    match object.kind {
        OVERFLOW => Ok(match name {
            "Mapkey" => text(&of.mapkey),
            "BucketId" => text(""),
            "Whitelisted" => Value::Bool(of.whitelisted),
            "Reprocess" => Value::Bool(of.reprocess),
            "Sources" => Value::Object(Handle::of(SOURCES)),
            "Alert" => Value::Object(alert()),
            "APIAlerts" => handles(ALERT, of.sources.len().max(1), 0),
            _ => return Err(unknown(name)),
        }),
        ALERT => alert_field(of, object.a, name),
        SOURCE | ALERT_SOURCE => source_field(source(of, object)?, name),
        ALERT_EVENT => {
            let event = event(&of.alert, object.a)?;
            match name {
                "Meta" => Ok(Value::list(
                    (0..event.meta.len() as u32)
                        .map(|b| Value::Object(Handle { kind: EVENT_META, a: object.a, b }))
                        .collect(),
                )),
                "Timestamp" => Ok(text(&event.timestamp)),
                _ => Err(unknown(name)),
            }
        }
        EVENT_META => pair(event(&of.alert, object.a)?.meta.get(object.b as usize), name),
        CONTEXT => {
            let found = of.alert.context.get(object.a as usize);
            pair(found.map(|(key, value)| (key.as_str(), value.as_str())), name)
        }
        DECISION => {
            let decision = of.alert.decisions.get(object.a as usize).ok_or(EvalError::OutOfRange)?;
            Ok(match name {
                "Duration" => text(&decision.duration),
                "Origin" => text(&decision.origin),
                "Scenario" => text(&decision.scenario),
                "Scope" => text(&decision.scope),
                "Simulated" => Value::Bool(decision.simulated),
                "Type" => text(&decision.kind),
                "Until" => text(&decision.until.to_rfc3339_nano()),
                "Value" => text(&decision.value),
                "UUID" => text(""),
                "ID" => Value::Int(0),
                _ => return Err(unknown(name)),
            })
        }
        _ => Err(unknown(name)),
    }
}

fn event(alert: &Alert, at: u32) -> Result<&AlertEvent, EvalError> {
    alert.events.get(at as usize).ok_or(EvalError::OutOfRange)
}

fn pair(pair: Option<(&str, &str)>, name: &str) -> Result<Value, EvalError> {
    let (key, value) = pair.ok_or(EvalError::OutOfRange)?;
    match name {
        "Key" => Ok(text(key)),
        "Value" => Ok(text(value)),
        _ => Err(unknown(name)),
    }
}

fn source(of: &Overflow, object: Handle) -> Result<&Source, EvalError> {
    let at = object.a as usize;
    let found = match object.kind {
        ALERT_SOURCE => of.alert_sources().nth(at),
        _ => of.sources.values().nth(at),
    };
    found.ok_or(EvalError::NilAccess)
}

fn source_field(source: &Source, name: &str) -> Result<Value, EvalError> {
    Ok(match name {
        "AsName" => text(&source.as_name),
        "AsNumber" => text(&source.as_number),
        "Cn" => text(&source.cn),
        "IP" => text(&source.ip),
        "Range" => text(&source.range),
        "Latitude" => Value::Float(f64::from(source.latitude)),
        "Longitude" => Value::Float(f64::from(source.longitude)),
        "Scope" => text(&source.scope),
        "Value" => text(&source.value),
        _ => return Err(unknown(name)),
    })
}

fn alert_field(of: &Overflow, at: u32, name: &str) -> Result<Value, EvalError> {
    let alert = &of.alert;
    Ok(match name {
        "Capacity" => Value::Int(i64::from(alert.capacity)),
        "CreatedAt" => text(&alert.created_at),
        "Decisions" => handles(DECISION, alert.decisions.len(), 0),
        "Events" => handles(ALERT_EVENT, alert.events.len(), 0),
        "EventsCount" => Value::Int(i64::from(alert.events_count)),
        "ID" => Value::Int(alert.id),
        "Kind" => text(&alert.kind),
        "Labels" => Value::list(Vec::new()),
        "Leakspeed" => text(&alert.leakspeed),
        "MachineID" => text(&alert.machine_id),
        "Message" => text(&alert.message),
        "Meta" => handles(CONTEXT, alert.context.len(), 0),
        "Remediation" => Value::Bool(alert.remediation),
        "Scenario" => text(&alert.scenario),
        "ScenarioHash" => text(&alert.scenario_hash),
        "ScenarioVersion" => text(&alert.scenario_version),
        "Simulated" => Value::Bool(alert.simulated),
        "Source" => Value::Object(Handle { kind: ALERT_SOURCE, a: at, b: 0 }),
        "StartAt" => text(&alert.start_at.to_rfc3339_nano()),
        "StopAt" => text(&alert.stop_at.to_rfc3339_nano()),
        "UUID" => text(&alert.uuid),
        _ => return Err(unknown(name)),
    })
}

/// An entry of a map of the overflow: the only one is `Sources`.
///
/// # Errors
/// The handle is no map.
pub fn entry(of: &Overflow, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
    if object.kind != SOURCES {
        return Err(EvalError::Kind { what: "a look-up by key", got: "record" });
    }
    let at = of.sources.keys().position(|k| k == key);
    Ok(at.map(|at| Value::Object(Handle { kind: SOURCE, a: at as u32, b: 0 })))
}

/// All entries of a map of the overflow.
///
/// # Errors
/// The handle is no map.
pub fn entries(of: &Overflow, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
    if object.kind != SOURCES {
        return Err(EvalError::Kind { what: "a walk over entries", got: "record" });
    }
    let handle = |a: usize| Value::Object(Handle { kind: SOURCE, a: a as u32, b: 0 });
    Ok(of.sources.keys().enumerate().map(|(at, key)| (Arc::from(key.as_str()), handle(at))).collect())
}

/// A method of a record of the overflow.
///
/// # Errors
/// The record has no such method, or the handle leads nowhere.
pub fn method(of: &Overflow, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
    let key = arguments.first().and_then(Value::as_str).unwrap_or("");
    match (object.kind, name) {
        (OVERFLOW, "GetSources") => Ok(Value::strings(of.sources.keys().map(String::as_str))),
        (ALERT, "GetScope") => source_field(source(of, Handle { kind: ALERT_SOURCE, ..object })?, "Scope"),
        (ALERT, "GetValue") => source_field(source(of, Handle { kind: ALERT_SOURCE, ..object })?, "Value"),
        (ALERT, "GetScenario") => Ok(text(&of.alert.scenario)),
        (ALERT, "GetEventsCount") => Ok(Value::Int(i64::from(of.alert.events_count))),
        (ALERT, "GetMeta") => Ok(text(of.alert.meta(key))),
        (ALERT_EVENT, "GetMeta") => Ok(text(event(&of.alert, object.a)?.meta(key))),
        (SOURCE | ALERT_SOURCE, "GetScope") => source_field(source(of, object)?, "Scope"),
        (SOURCE | ALERT_SOURCE, "GetValue") => source_field(source(of, object)?, "Value"),
        (SOURCE | ALERT_SOURCE, "GetAsNumberName") => Ok(text(&source(of, object)?.as_number_name())),
        (SOURCE | ALERT_SOURCE, "String") => Ok(text(&source(of, object)?.to_string())),
        _ => Err(unknown(name)),
    }
}
