//! Looking into values: fields, elements, slices.

use std::{borrow::Cow, ops::Range, sync::Arc};

use testudo_event::Timestamp;

use crate::{
    error::EvalError,
    functions::{arguments::wrong, convert},
    host::Host,
    schema::Type,
    value::{Map, Value},
};

/// A field of a record.
pub(super) fn field(host: &dyn Host, of: &Value, name: &str) -> Result<Value, EvalError> {
    match of {
        Value::Object(handle) => host.field(*handle, name),
        Value::Map(map) => Ok(map.get(name).cloned().unwrap_or_default()),
        Value::Nil => Err(EvalError::NilAccess),
        other => Err(wrong("field access", other)),
    }
}

/// `of[key]`, where the container was checked to be of type `ty`.
pub(super) fn member(host: &dyn Host, of: &Value, key: &Value, ty: &Type) -> Result<Value, EvalError> {
    match of {
        Value::Map(map) => match lookup(map, key) {
            Some(value) => Ok(value.clone()),
            None => absent(key, ty),
        },
        Value::Object(handle) => {
            let text = key_text(key);
            match host.entry(*handle, &text) {
                Ok(Some(value)) => Ok(value),
                Ok(None) => absent(key, ty),
                // Reached through an untyped value, a record looks like a map.
                Err(error) => host.field(*handle, &text).map_err(|_| error),
            }
        }
        Value::List(items) => {
            let at = position(key, items.len())?;
            items.get(at).cloned().ok_or(EvalError::OutOfRange)
        }
        Value::Str(text) => byte(text.as_bytes(), key),
        Value::Bytes(bytes) => byte(bytes, key),
        Value::Nil => Err(EvalError::NilAccess),
        other => Err(wrong("element access", other)),
    }
}

/// The entry of a map under any key.
pub(crate) fn lookup<'m>(map: &'m Map, key: &Value) -> Option<&'m Value> {
    match key {
        Value::Str(key) => map.get(key),
        _ => map.get(&*key_text(key)),
    }
}

/// A key as text: maps that `groupBy` made from numbers keep their keys as text, and nil stands
/// for the empty text.
fn key_text(key: &Value) -> Cow<'_, str> {
    match key {
        Value::Str(text) => Cow::Borrowed(text),
        Value::Nil => Cow::Borrowed(""),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => Cow::Owned(convert::scalar_text(key)),
        // No map has such a key.
        _ => Cow::Borrowed("\0"),
    }
}

/// What an absent key gives: the zero of a typed map, nil of an untyped one.
fn absent(key: &Value, ty: &Type) -> Result<Value, EvalError> {
    let of = match ty {
        Type::Map(of) => &**of,
        _ => &Type::Any,
    };
    Ok(match (of, key) {
        // Groups are kept under keys of any kind.
        (Type::List(_), _) => Value::List(Arc::default()),
        (_, Value::Str(_) | Value::Nil) => zero(of),
        (_, other) => return Err(wrong("key of a map", other)),
    })
}

/// What a variable of type `ty` holds before anything is stored in it.
fn zero(ty: &Type) -> Value {
    match ty {
        Type::String => Value::Str(Arc::default()),
        Type::Int => Value::Int(0),
        Type::Float => Value::Float(0.0),
        Type::Bool => Value::Bool(false),
        Type::Duration => Value::Duration(0),
        Type::Bytes => Value::Bytes(Arc::default()),
        Type::List(_) => Value::List(Arc::default()),
        Type::Map(_) => Value::Map(Arc::default()),
        Type::Time => Value::Time(Timestamp::zero()),
        Type::Any | Type::Nil | Type::Record { .. } => Value::Nil,
    }
}

/// The position that `key` names in a list of `len` elements; negative ones count from the end.
pub(crate) fn position(key: &Value, len: usize) -> Result<usize, EvalError> {
    let at = whole(key, "index")?;
    let at = if at < 0 { at.saturating_add(len as i64) } else { at };
    usize::try_from(at).ok().filter(|at| *at < len).ok_or(EvalError::OutOfRange)
}

fn byte(bytes: &[u8], key: &Value) -> Result<Value, EvalError> {
    Ok(Value::Int(i64::from(bytes[position(key, bytes.len())?])))
}

/// A number as a position; floats are cut.
pub(crate) fn whole(value: &Value, what: &'static str) -> Result<i64, EvalError> {
    match value {
        Value::Int(i) => Ok(*i),
        Value::Float(x) => Ok(convert::float_to_int(*x)),
        other => Err(wrong(what, other)),
    }
}

/// `of[from:to]`; bounds are clamped, never a failure.
pub(super) fn slice(of: &Value, from: Option<&Value>, to: Option<&Value>) -> Result<Value, EvalError> {
    Ok(match of {
        Value::List(items) => Value::list(items[bounds(items.len(), from, to)?].to_vec()),
        Value::Str(text) => {
            let range = bounds(text.len(), from, to)?;
            if range == (0..text.len()) {
                return Ok(of.clone());
            }
            Value::str(cut(text, range).as_ref())
        }
        Value::Bytes(bytes) => Value::Bytes(bytes[bounds(bytes.len(), from, to)?].into()),
        other => return Err(wrong("slice", other)),
    })
}

/// Bytes of a text. A cut inside a code point leaves replacement characters.
pub(crate) fn cut(text: &str, range: Range<usize>) -> Cow<'_, str> {
    match text.get(range.clone()) {
        Some(part) => Cow::Borrowed(part),
        None => String::from_utf8_lossy(text.as_bytes().get(range).unwrap_or_default()),
    }
}

fn bounds(len: usize, from: Option<&Value>, to: Option<&Value>) -> Result<Range<usize>, EvalError> {
    let bound = |value: Option<&Value>| value.map(|value| whole(value, "slice")).transpose();
    let to = bound(to)?;
    Ok(range(len, bound(from)?, to))
}

/// What a slice takes of so many elements: negative bounds count from the end, all are clamped.
pub(crate) fn range(len: usize, from: Option<i64>, to: Option<i64>) -> Range<usize> {
    let bound = |at: i64| {
        let at = if at < 0 { at.saturating_add(len as i64).max(0) } else { at };
        usize::try_from(at).unwrap_or(usize::MAX).min(len)
    };
    let to = to.map_or(len, bound);
    from.map_or(0, bound).min(to)..to
}
