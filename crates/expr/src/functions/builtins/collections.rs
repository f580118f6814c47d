//! Functions on lists and maps.

use std::{collections::HashSet, sync::Arc};

use crate::{
    error::EvalError,
    eval::{CELLS_MAX, descending, lookup, operators, position},
    functions::{
        Function,
        arguments::{self, int, list, wrong},
        declare,
    },
    host::Host,
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("first(any) any", |_, args| Ok(element(arguments::value(args, 0), End::First))),
        ("last(any) any", |_, args| Ok(element(arguments::value(args, 0), End::Last))),
        ("take(any, any) []any", take),
        ("reverse(any) []any", |_, args| {
            Ok(Value::list(list(args, 0, "reverse")?.iter().rev().cloned().collect()))
        }),
        ("uniq(any) []any", uniq),
        ("concat(any, ...any) []any", concat),
        ("flatten(any) []any", flatten),
        ("sort(any, ?any) []any", sort),
        ("keys(any) []any", |host, args| {
            let map = arguments::map(host, args, 0, "keys")?;
            Ok(Value::list(map.keys().map(|key| Value::Str(key.clone())).collect()))
        }),
        ("values(any) []any", |host, args| {
            let map = arguments::map(host, args, 0, "values")?;
            Ok(Value::list(map.values().cloned().collect()))
        }),
        ("len(any) int", len),
        ("get(any, any) any", get),
    ])
}

#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// An end of a list or the byte at an end of text; nil for everything else.
fn element(value: &Value, end: End) -> Value {
    let byte = |bytes: &[u8]| {
        let byte = match end {
            End::First => bytes.first(),
            End::Last => bytes.last(),
        };
        byte.map_or(Value::Nil, |byte| Value::Int((*byte).into()))
    };
    match (value, end) {
        (Value::List(items), End::First) => items.first().cloned().unwrap_or_default(),
        (Value::List(items), End::Last) => items.last().cloned().unwrap_or_default(),
        (Value::Str(text), _) => byte(text.as_bytes()),
        (Value::Bytes(bytes), _) => byte(bytes),
        _ => Value::Nil,
    }
}

fn take(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let (items, count) = (list(args, 0, "take")?, int(args, 1, "take")?);
    let count = usize::try_from(count).map_err(|_| EvalError::OutOfRange)?;
    if count >= items.len() {
        return Ok(Value::List(items.clone()));
    }
    Ok(Value::list(items[..count].to_vec()))
}

fn uniq(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let mut texts = HashSet::new();
    let mut others: Vec<&Value> = Vec::new();
    let mut kept = Vec::new();
    for item in list(args, 0, "uniq")?.iter() {
        let fresh = if let Value::Str(text) = item {
            texts.insert(text)
        } else {
            let fresh = !others.iter().any(|other| operators::equal(other, item));
            if fresh {
                others.push(item);
            }
            fresh
        };
        if fresh {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn concat(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let mut all = Vec::new();
    for at in 0..args.len() {
        let items = list(args, at, "concat")?;
        if all.len() + items.len() >= CELLS_MAX {
            return Err(EvalError::Budget);
        }
        all.extend(items.iter().cloned());
    }
    Ok(Value::list(all))
}

fn flatten(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let mut flat = Vec::new();
    let mut open = vec![list(args, 0, "flatten")?.iter()];
    // Shared lists can unfold to far more than they take in memory, also without elements.
    let mut steps = 0;
    while let Some(items) = open.last_mut() {
        steps += 1;
        if steps >= 2 * CELLS_MAX || flat.len() >= CELLS_MAX {
            return Err(EvalError::Budget);
        }
        match items.next() {
            None => {
                open.pop();
            }
            Some(Value::List(inner)) => open.push(inner.iter()),
            Some(item) => flat.push(item.clone()),
        }
    }
    Ok(Value::list(flat))
}

fn sort(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let descending = descending(args.get(1))?;
    // What is no list sorts to nothing, as in the reference.
    let Value::List(items) = arguments::value(args, 0) else { return Ok(Value::List(Arc::default())) };
    let indexes = operators::ascending(items, descending)?;
    Ok(Value::list(indexes.into_iter().map(|at| items[at].clone()).collect()))
}

fn len(host: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let len = match arguments::value(args, 0) {
        Value::Str(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::Object(handle) => host.entries(*handle)?.len(),
        other => return Err(wrong("len", other)),
    };
    Ok(Value::Int(len as i64))
}

/// Like an element access, but nil for whatever is not there.
fn get(host: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let key = arguments::value(args, 1);
    let at = |len: usize| match position(key, len) {
        Err(EvalError::OutOfRange) => Ok(None),
        other => other.map(Some),
    };
    let byte = |bytes: &[u8]| Ok(at(bytes.len())?.map_or(Value::Nil, |at| Value::Int(bytes[at].into())));
    match arguments::value(args, 0) {
        Value::List(items) => Ok(at(items.len())?.map_or(Value::Nil, |at| items[at].clone())),
        Value::Str(text) => byte(text.as_bytes()),
        Value::Bytes(bytes) => byte(bytes),
        Value::Map(map) => match (lookup(map, key), key) {
            (Some(value), _) => Ok(value.clone()),
            (None, Value::Str(_) | Value::Nil) => Ok(Value::Nil),
            (None, other) => Err(wrong("get", other)),
        },
        Value::Object(handle) => {
            let name = arguments::text(args, 1, "get")?;
            match host.entry(*handle, name) {
                Ok(entry) => Ok(entry.unwrap_or_default()),
                // A record has fields.
                Err(_) => Ok(host.field(*handle, name).unwrap_or_default()),
            }
        }
        _ => Ok(Value::Nil),
    }
}
