//! What assertions name: `results`, as they are after a detour through YAML, and `basename`.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use testudo_engine::{Dump, EventKind, PlainValue};
use testudo_event::Overflow;
use testudo_expr::{
    Effects, EvalError, Handle, Host, Schema, Services, Slot, Type, Value,
    host::NoServices,
    schema::{Field, Method, Record},
    value::Map,
};
use testudo_rules::{objects, schema};

use super::dump::{Collector, Entry};

/// An evaluation of a node; `a` is its position.
const ENTRY: u16 = 1;
/// The event of an evaluation, or of a scenario result.
const EVENT: u16 = 2;
const LINE: u16 = 3;
/// A text map of an event; `b` tells which.
const PARSED: u16 = 4;
const META: u16 = 5;
const ENRICHED: u16 = 6;
const LABELS: u16 = 7;
/// How many results handles can tell apart.
const MAX_RESULTS: usize = objects::MAX_NUMBERED;

/// The environment of assertions on parsers.
pub(super) static PARSERS: LazyLock<Schema> = LazyLock::new(|| {
    let mut schema = schema::EVENT.clone();
    let event = schema.record("Event").unwrap_or(Type::Any);
    let field = |name: &str, ty| Field { name: name.to_owned(), ty };
    schema.records.push(Record {
        name: "ParserResult".to_owned(),
        fields: vec![field("Success", Type::Bool), field("Idx", Type::Int), field("Evt", event)],
        methods: Vec::new(),
    });
    let entry = schema.record("ParserResult").unwrap_or(Type::Any);
    let nodes = Type::Map(Box::new(Type::List(Box::new(entry))));
    with_results(schema, Type::Map(Box::new(nodes)))
});

/// The environment of assertions on scenarios.
pub(super) static SCENARIOS: LazyLock<Schema> = LazyLock::new(|| {
    let schema = schema::EVENT.clone();
    let event = schema.record("Event").unwrap_or(Type::Any);
    with_results(schema, Type::List(Box::new(event)))
});

fn with_results(schema: Schema, ty: Type) -> Schema {
    let mut schema = schema.with_variables(vec![Field { name: "results".to_owned(), ty }]);
    schema.functions.push(Method {
        name: "basename".to_owned(),
        parameters: vec![Type::String],
        returns: Type::String,
        effects: Effects::PURE,
    });
    schema
}

/// Results of a run, as assertions see them.
pub(super) enum Results {
    /// Of the parsers.
    Parsers {
        /// `results`.
        value: Value,
        entries: Vec<ReadEntry>,
    },
    /// Of the scenarios, in order.
    Scenarios(Vec<Overflow>),
}

/// An evaluation as it comes back from the dump.
pub(super) struct ReadEntry {
    entry: Entry,
    unmarshaled: Value,
}

impl Results {
    pub(super) fn of_parsers(collected: Collector) -> Results {
        let mut entries = Vec::new();
        let mut stages = Map::new();
        for (stage, nodes) in collected.stages {
            let mut by_name = Map::new();
            for (name, of_node) in nodes {
                let first = entries.len();
                entries.extend(of_node.into_iter().map(ReadEntry::new));
                let handles = (first..entries.len()).map(|at| handle(ENTRY, at)).collect();
                by_name.insert(name, Value::list(handles));
            }
            stages.insert(stage.into(), Value::Map(Arc::new(by_name)));
        }
        // The dump always ends with a stage of this name that holds one empty list.
        let success = Map::from([(Arc::from(""), Value::list(Vec::new()))]);
        stages.insert("success".into(), Value::Map(Arc::new(success)));
        Results::Parsers { value: Value::Map(Arc::new(stages)), entries }
    }

    fn event(&self, object: Handle) -> Result<&Dump, EvalError> {
        match self {
            Results::Parsers { entries, .. } => {
                let read = entries.get(object.a as usize).ok_or(EvalError::OutOfRange)?;
                Ok(&read.entry.event)
            }
            Results::Scenarios(_) => Err(EvalError::other("an overflow has no event of its own")),
        }
    }

    /// The overflow that a handle belongs to, with the handle as [`objects`] knows it.
    fn overflow(&self, object: Handle) -> Option<(&Overflow, Handle, u16)> {
        let Results::Scenarios(overflows) = self else { return None };
        let (at, inner) = objects::number_of(object)?;
        Some((overflows.get(usize::from(at))?, inner, at))
    }
}

impl ReadEntry {
    fn new(entry: Entry) -> ReadEntry {
        let map = &entry.event.unmarshaled;
        let read = map.iter().map(|(key, PlainValue(value))| (key.clone(), reread(value))).collect();
        ReadEntry { unmarshaled: Value::Map(Arc::new(read)), entry }
    }
}

fn handle(kind: u16, at: usize) -> Value {
    Value::Object(Handle { kind, a: at as u32, b: 0 })
}

/// A value as it is after it was written to YAML and read again: whole numbers below a million,
/// written without an exponent, come back as integers.
fn reread(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::String(s) => Value::str(s.as_str()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(float)) if float.fract() == 0.0 && float.abs() < 1e6 => Value::Int(float as i64),
            (None, float) => Value::Float(float.unwrap_or(f64::NAN)),
        },
        Json::Array(items) => Value::list(items.iter().map(reread).collect()),
        Json::Object(map) => Value::Map(Arc::new(
            map.iter().map(|(key, value)| (key.as_str().into(), reread(value))).collect(),
        )),
    }
}

/// The last part of a path.
fn base_name(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/";
    }
    crate::files::base_name(trimmed)
}

fn unknown(name: &str) -> EvalError {
    EvalError::other(format!("results do not carry `{name}`"))
}

impl Host for Results {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        match self {
            Results::Parsers { value, .. } => Ok(value.clone()),
            Results::Scenarios(overflows) if overflows.len() > MAX_RESULTS => {
                Err(EvalError::other(format!("more than {MAX_RESULTS} results")))
            }
            Results::Scenarios(overflows) => {
                Ok(Value::list((0..overflows.len()).map(|at| handle(EVENT, at)).collect()))
            }
        }
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        if let Some((overflow, inner, at)) = self.overflow(object) {
            return objects::field(overflow, inner, name).map(|value| objects::numbered(value, at));
        }
        let at = object.a as usize;
        match (self, object.kind, name) {
            (Results::Scenarios(_), EVENT, "Overflow") => {
                Ok(objects::numbered(Value::Object(objects::overflow()), object.a as u16))
            }
            (Results::Scenarios(overflows), EVENT, _) => {
                let overflow = overflows.get(at).ok_or(EvalError::OutOfRange)?;
                Ok(match name {
                    "Type" => Value::Int(EventKind::Overflow as i64),
                    "Whitelisted" => Value::Bool(overflow.whitelisted),
                    "WhitelistReason" => Value::str(overflow.whitelist_reason.as_str()),
                    _ => return Err(unknown(name)),
                })
            }
            (Results::Parsers { entries, .. }, ENTRY | EVENT, _) => {
                let read = entries.get(at).ok_or(EvalError::OutOfRange)?;
                let event = &read.entry.event;
                let text = |name: &str| Value::str(event.fields.get(name).map_or("", String::as_str));
                Ok(match (object.kind, name) {
                    (ENTRY, "Success") => Value::Bool(read.entry.success),
                    (ENTRY, "Idx") => Value::Int(read.entry.index),
                    (ENTRY, "Evt") => handle(EVENT, at),
                    (_, "Parsed") => handle(PARSED, at),
                    (_, "Meta") => handle(META, at),
                    (_, "Enriched") => handle(ENRICHED, at),
                    (_, "Unmarshaled") => read.unmarshaled.clone(),
                    (_, "Line") => handle(LINE, at),
                    (_, "Whitelisted") => Value::Bool(event.whitelisted),
                    (_, "WhitelistReason") => Value::str(event.whitelist_reason.as_str()),
                    (_, "Stage") => Value::str(event.stage.as_str()),
                    (_, "StrTime" | "StrTimeFormat" | "MarshaledTime") => text(name),
                    // Nodes run before an event is let through.
                    (_, "Process") => Value::Bool(false),
                    _ => return Err(unknown(name)),
                })
            }
            (Results::Parsers { .. }, LINE, _) => {
                let event = self.event(object)?;
                let text = |path: &str| Value::str(event.fields.get(path).map_or("", String::as_str));
                Ok(match name {
                    "Raw" => text("Line.Raw"),
                    "Src" => text("Line.Src"),
                    "Module" => text("Line.Module"),
                    "Labels" => handle(LABELS, at),
                    _ => return Err(unknown(name)),
                })
            }
            _ => Err(unknown(name)),
        }
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        if let Some((overflow, inner, at)) = self.overflow(object) {
            return Ok(objects::entry(overflow, inner, key)?.map(|value| objects::numbered(value, at)));
        }
        Ok(self.texts(object)?.get(key).map(|text| Value::str(text.as_str())))
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        if let Some((overflow, inner, at)) = self.overflow(object) {
            let entries = objects::entries(overflow, inner)?;
            return Ok(entries.into_iter().map(|(key, value)| (key, objects::numbered(value, at))).collect());
        }
        let texts = self.texts(object)?.iter();
        Ok(texts.map(|(key, text)| (key.as_str().into(), Value::str(text.as_str()))).collect())
    }

    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        if object == Schema::FUNCTIONS {
            return match (name, arguments) {
                ("basename", [Value::Str(path)]) => Ok(Value::str(base_name(path))),
                ("basename", [other, ..]) => Err(EvalError::Kind { what: "basename", got: other.kind() }),
                _ => Err(unknown(name)),
            };
        }
        if let Some((overflow, inner, at)) = self.overflow(object) {
            return objects::method(overflow, inner, name, arguments)
                .map(|value| objects::numbered(value, at));
        }
        match (object.kind, name, arguments) {
            (EVENT, "GetMeta", [Value::Str(key)]) => Ok(Value::str(match self {
                Results::Scenarios(overflows) => {
                    overflows.get(object.a as usize).ok_or(EvalError::OutOfRange)?.event_meta(key)
                }
                Results::Parsers { .. } => self.event(object)?.meta.get(&**key).map_or("", String::as_str),
            })),
            _ => Err(unknown(name)),
        }
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        Err(EvalError::other("results cannot be changed"))
    }

    fn services(&self) -> &dyn Services {
        &NoServices
    }
}

impl Results {
    fn texts(&self, object: Handle) -> Result<&BTreeMap<String, String>, EvalError> {
        let event = self.event(object)?;
        Ok(match object.kind {
            PARSED => &event.parsed,
            META => &event.meta,
            ENRICHED => &event.enriched,
            LABELS => &event.labels,
            _ => return Err(EvalError::Kind { what: "a look-up by key", got: "record" }),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_come_back_from_yaml() {
        let check = |value: serde_json::Value, expected: &str| {
            let read = reread(&value);
            assert_eq!(format!("{} {read}", read.kind()), expected, "{value}");
        };
        check(json!(3.0), "int 3");
        check(json!(-999_999.0), "int -999999");
        check(json!(1_000_000.0), "float 1000000");
        check(json!(2.5), "float 2.5");
        check(json!(7), "int 7");
        check(json!(12_345_678), "int 12345678");
        check(json!(true), "bool true");
        check(json!(null), "nil nil");
        check(json!("1"), "string \"1\"");
    }

    #[test]
    fn last_parts_of_paths() {
        let check = |path: &str, expected: &str| assert_eq!(base_name(path), expected, "{path:?}");
        check("/var/log/auth.log", "auth.log");
        check("auth.log", "auth.log");
        check("a/b//", "b");
        check("", ".");
        check("//", "/");
    }
}
