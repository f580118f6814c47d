//! Operators on two values: arithmetic, order, equality, membership, text tests.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    core::Binary,
    error::EvalError,
    eval::{CELLS_MAX, access},
    functions::{arguments::wrong, convert::TEXT_MAX},
    host::Host,
    value::Value,
};

/// `left operator right`.
pub(crate) fn binary(
    host: &dyn Host,
    operator: Binary,
    left: &Value,
    right: &Value,
) -> Result<Value, EvalError> {
    Ok(match operator {
        Binary::Eq => Value::Bool(equal(left, right)),
        Binary::Ne => Value::Bool(!equal(left, right)),
        Binary::Lt => Value::Bool(order(left, right, "<")? == Some(Ordering::Less)),
        Binary::Le => Value::Bool(order(left, right, "<=")?.is_some_and(Ordering::is_le)),
        Binary::Gt => Value::Bool(order(left, right, ">")? == Some(Ordering::Greater)),
        Binary::Ge => Value::Bool(order(left, right, ">=")?.is_some_and(Ordering::is_ge)),
        Binary::Add => add(left, right)?,
        Binary::Sub => subtract(left, right)?,
        Binary::Mul => multiply(left, right)?,
        Binary::Div => Value::Float(float(left, "/")? / float(right, "/")?),
        Binary::Rem => remainder(left, right)?,
        Binary::Pow => Value::Float(float(left, "**")?.powf(float(right, "**")?)),
        Binary::Range => range(left, right)?,
        Binary::Contains => text_test(left, right, "contains", |text, part| text.contains(part))?,
        Binary::StartsWith => text_test(left, right, "startsWith", |text, part| text.starts_with(part))?,
        Binary::EndsWith => text_test(left, right, "endsWith", |text, part| text.ends_with(part))?,
        Binary::In => Value::Bool(contained(host, left, right)?),
        Binary::Matches => matches(left, right)?,
    })
}

/// `==`: numbers by value whatever their kind, lists element by element, maps deeply.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        _ => same(left, right),
    }
}

/// Equality inside maps: there an integer is never a float.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Time(a), Value::Time(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => a == b,
        _ => false,
    }
}

/// The order of two values; none where one of them is not a number.
pub(crate) fn order(left: &Value, right: &Value, what: &'static str) -> Result<Option<Ordering>, EvalError> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) | (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            float(left, what)?.partial_cmp(&float(right, what)?)
        }
        _ => return Err(mismatch(left, right, what)),
    })
}

/// The order in which to take `keys` so that they ascend, equal ones as they stand.
pub(crate) fn ascending(keys: &[Value], descending: bool) -> Result<Vec<usize>, EvalError> {
    let mut indexes: Vec<usize> = (0..keys.len()).collect();
    let Some((first, rest)) = keys.split_first() else { return Ok(indexes) };
    for key in rest {
        order(first, key, "sort")?;
    }
    // A sort needs a total order: numbers of mixed kinds all count as floats.
    let floats = keys.iter().any(|key| matches!(key, Value::Float(_)));
    let compare = |a: &Value, b: &Value| match (a, b) {
        _ if floats => number(a).total_cmp(&number(b)),
        _ => order(a, b, "sort").ok().flatten().unwrap_or(Ordering::Equal),
    };
    indexes.sort_by(|a, b| {
        let (a, b) = if descending { (b, a) } else { (a, b) };
        compare(&keys[*a], &keys[*b])
    });
    Ok(indexes)
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Int(i) => *i as f64,
        Value::Float(x) => *x,
        _ => f64::NAN,
    }
}

fn float(value: &Value, what: &'static str) -> Result<f64, EvalError> {
    match value {
        Value::Int(_) | Value::Float(_) => Ok(number(value)),
        other => Err(wrong(what, other)),
    }
}

/// Blames the operand that cannot be ordered or computed with at all, else the right one.
fn mismatch(left: &Value, right: &Value, what: &'static str) -> EvalError {
    let usual = |v: &Value| {
        matches!(v, Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::Time(_) | Value::Duration(_))
    };
    wrong(what, if usual(left) { right } else { left })
}

/// `+`.
pub(crate) fn add(left: &Value, right: &Value) -> Result<Value, EvalError> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_add(*b)),
        (Value::Str(a), Value::Str(b)) => return concatenate(a, b),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            Value::Float(number(left) + number(right))
        }
        (Value::Time(t), Value::Duration(d)) | (Value::Duration(d), Value::Time(t)) => {
            Value::Time(t.add_nanos(*d))
        }
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.wrapping_add(*b)),
        _ => return Err(mismatch(left, right, "+")),
    })
}

fn concatenate(left: &Arc<str>, right: &Arc<str>) -> Result<Value, EvalError> {
    if left.is_empty() {
        return Ok(Value::Str(right.clone()));
    }
    if right.is_empty() {
        return Ok(Value::Str(left.clone()));
    }
    if left.len() + right.len() > TEXT_MAX {
        return Err(EvalError::Budget);
    }
    Ok(Value::from([&**left, &**right].concat()))
}

fn subtract(left: &Value, right: &Value) -> Result<Value, EvalError> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_sub(*b)),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            Value::Float(number(left) - number(right))
        }
        (Value::Time(a), Value::Time(b)) => Value::Duration(a.nanos_since(*b)),
        (Value::Time(t), Value::Duration(d)) => Value::Time(t.add_nanos(d.wrapping_neg())),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.wrapping_sub(*b)),
        _ => return Err(mismatch(left, right, "-")),
    })
}

fn multiply(left: &Value, right: &Value) -> Result<Value, EvalError> {
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.wrapping_mul(*b)),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            Value::Float(number(left) * number(right))
        }
        (Value::Int(a) | Value::Duration(a), Value::Duration(b)) | (Value::Duration(a), Value::Int(b)) => {
            Value::Duration(a.wrapping_mul(*b))
        }
        // A fraction of a duration is a plain number of nanoseconds.
        (Value::Float(x), Value::Duration(d)) | (Value::Duration(d), Value::Float(x)) => {
            Value::Float(x * *d as f64)
        }
        _ => return Err(mismatch(left, right, "*")),
    })
}

fn remainder(left: &Value, right: &Value) -> Result<Value, EvalError> {
    match (left, right) {
        (Value::Int(_), Value::Int(0)) => Err(EvalError::Input("integer divide by zero")),
        (Value::Int(a), Value::Int(b)) => Ok(Value::Int(a.wrapping_rem(*b))),
        (Value::Int(_), other) | (other, _) => Err(wrong("%", other)),
    }
}

/// `-x`.
pub(super) fn negate(value: &Value) -> Result<Value, EvalError> {
    match value {
        Value::Int(i) => Ok(Value::Int(i.wrapping_neg())),
        Value::Float(x) => Ok(Value::Float(-x)),
        other => Err(wrong("-", other)),
    }
}

fn range(left: &Value, right: &Value) -> Result<Value, EvalError> {
    let (from, to) = (access::whole(left, "..")?, access::whole(right, "..")?);
    if from > to {
        return Ok(Value::List(Arc::default()));
    }
    // Refused before it takes memory.
    if to.checked_sub(from).is_none_or(|steps| steps >= CELLS_MAX as i64) {
        return Err(EvalError::Budget);
    }
    Ok(Value::list((from..=to).map(Value::Int).collect()))
}

fn text_test(
    left: &Value,
    right: &Value,
    what: &'static str,
    test: impl Fn(&str, &str) -> bool,
) -> Result<Value, EvalError> {
    match (left, right) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(Value::Bool(false)),
        (Value::Str(text), Value::Str(part)) => Ok(Value::Bool(test(text, part))),
        (Value::Str(_), other) | (other, _) => Err(wrong(what, other)),
    }
}

fn matches(left: &Value, right: &Value) -> Result<Value, EvalError> {
    let what = "matches";
    let pattern = match (left, right) {
        (Value::Nil, _) | (_, Value::Nil) => return Ok(Value::Bool(false)),
        (_, Value::Str(pattern)) => pattern,
        (_, other) => return Err(wrong(what, other)),
    };
    let regex = testudo_pattern::compile(pattern).map_err(|error| EvalError::other(error.to_string()))?;
    match left {
        Value::Str(text) => Ok(Value::Bool(regex.is_match(text))),
        Value::Bytes(bytes) => Ok(Value::Bool(regex.is_match(&String::from_utf8_lossy(bytes)))),
        other => Err(wrong(what, other)),
    }
}

/// `needle in haystack`.
fn contained(host: &dyn Host, needle: &Value, haystack: &Value) -> Result<bool, EvalError> {
    match haystack {
        Value::Nil => Ok(false),
        Value::List(items) => Ok(items.iter().any(|item| equal(needle, item))),
        Value::Map(map) => match needle {
            Value::Str(key) => Ok(map.contains_key(key)),
            Value::Nil => Ok(map.contains_key("")),
            _ if access::lookup(map, needle).is_some() => Ok(true),
            other => Err(wrong("in", other)),
        },
        Value::Object(handle) => match needle {
            Value::Str(key) => match host.entry(*handle, key) {
                Ok(entry) => Ok(entry.is_some()),
                // A record has fields.
                Err(_) => Ok(host.field(*handle, key).is_ok()),
            },
            Value::Nil => Ok(false),
            other => Err(wrong("in", other)),
        },
        other => Err(wrong("in", other)),
    }
}
