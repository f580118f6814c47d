//! What infix operators do to values.

use std::cmp::Ordering;

use testudo_expr::{EvalError, Host, Value, ast::Binary};

use super::{BUDGET, Eval, Halt, Step, fail};
use crate::scene::{Scene, kind};

impl Eval<'_, '_> {
    pub(super) fn binary(&mut self, operator: Binary, left: &Value, right: &Value) -> Step {
        match operator {
            Binary::Eq => Ok(self.equal(left, right)?.into()),
            Binary::Ne => Ok((!self.equal(left, right)?).into()),
            Binary::Lt => Ok((order(left, right)? == Some(Ordering::Less)).into()),
            Binary::Le => Ok(matches!(order(left, right)?, Some(Ordering::Less | Ordering::Equal)).into()),
            Binary::Gt => Ok((order(left, right)? == Some(Ordering::Greater)).into()),
            Binary::Ge => Ok(matches!(order(left, right)?, Some(Ordering::Greater | Ordering::Equal)).into()),
            Binary::Matches => match texts(left, right, "matches")? {
                None => Ok(false.into()),
                Some((text, pattern)) => Ok(self.scene.world.matches(text, pattern)?.into()),
            },
            Binary::Contains => {
                Ok(texts(left, right, "contains")?.is_some_and(|(a, b)| a.contains(b)).into())
            }
            Binary::StartsWith => {
                Ok(texts(left, right, "startsWith")?.is_some_and(|(a, b)| a.starts_with(b)).into())
            }
            Binary::EndsWith => {
                Ok(texts(left, right, "endsWith")?.is_some_and(|(a, b)| a.ends_with(b)).into())
            }
            Binary::Range => match (left, right) {
                (Value::Int(from), Value::Int(to)) => {
                    let count = to.saturating_sub(*from).saturating_add(1).max(0);
                    self.spend(usize::try_from(count).unwrap_or(BUDGET + 1))?;
                    let items = Value::list((*from..=*to).map(Value::Int).collect());
                    self.note_typed(&items);
                    Ok(items)
                }
                (Value::Int(_), other) | (other, _) => fail("..", other),
            },
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Rem | Binary::Pow => {
                arithmetic(operator, left, right)
            }
            // These two need more than values, the caller has done them.
            Binary::In | Binary::Coalesce => Err(EvalError::Input("an operator out of place").into()),
        }
    }

    /// `needle in haystack`; `all_texts`: the haystack was written as a list of nothing but texts.
    pub(super) fn is_in(&mut self, needle: &Value, haystack: &Value, all_texts: bool) -> Step {
        match haystack {
            Value::Nil => Ok(false.into()),
            Value::List(items) => {
                let needle = match needle {
                    Value::Nil if all_texts => &"".into(),
                    Value::Str(_) => needle,
                    other if all_texts => return fail("in", other),
                    other => other,
                };
                for item in items.iter() {
                    if self.equal(needle, item)? {
                        return Ok(true.into());
                    }
                }
                Ok(false.into())
            }
            Value::Map(map) => Ok(map.contains_key(key(needle)?).into()),
            Value::Object(handle) => {
                let key = key(needle)?;
                match handle.kind {
                    kind::LABELS
                    | kind::PARSED
                    | kind::ENRICHED
                    | kind::META
                    | kind::VARS
                    | kind::UNMARSHALED
                    | kind::SOURCES
                    | kind::MATCH => Ok(self.scene.entry(*handle, key)?.is_some().into()),
                    _ => Ok(self.scene.field(*handle, key).is_ok().into()),
                }
            }
            other => fail("in", other),
        }
    }

    pub(super) fn equal(&self, left: &Value, right: &Value) -> Result<bool, Halt> {
        equal(self.scene, left, right)
    }
}

fn key(needle: &Value) -> Result<&str, Halt> {
    match needle {
        Value::Str(text) => Ok(text),
        Value::Nil => Ok(""),
        other => fail("in", other),
    }
}

fn equal(scene: &Scene<'_>, left: &Value, right: &Value) -> Result<bool, Halt> {
    Ok(match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Time(a), Value::Time(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b.iter()) {
                if !equal(scene, a, b)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(a), Value::Object(b)) if a == b => true,
        (Value::Map(_) | Value::Object(_), Value::Map(_) | Value::Object(_)) => {
            let (a, b) = (entries(scene, left)?, entries(scene, right)?);
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((ka, va), (kb, vb)) in a.iter().zip(b.iter()) {
                if ka != kb || !equal(scene, va, vb)? {
                    return Ok(false);
                }
            }
            true
        }
        _ => false,
    })
}

fn entries(scene: &Scene<'_>, map: &Value) -> Result<Vec<(std::sync::Arc<str>, Value)>, Halt> {
    match map {
        Value::Map(map) => Ok(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
        Value::Object(handle) => Ok(scene.entries(*handle)?),
        other => fail("a map", other),
    }
}

/// Two operands of a text operator; `None` where one is nil.
fn texts<'v>(
    left: &'v Value,
    right: &'v Value,
    what: &'static str,
) -> Result<Option<(&'v str, &'v str)>, Halt> {
    match (left, right) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(None),
        (Value::Str(a), Value::Str(b)) => Ok(Some((a, b))),
        (Value::Str(_), other) | (other, _) => fail(what, other),
    }
}

/// How two values stand to each other; `None` only where a NaN takes part.
pub(super) fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, Halt> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Int(a), Value::Float(b)) => Ok((*a as f64).partial_cmp(b)),
        (Value::Float(a), Value::Int(b)) => Ok(a.partial_cmp(&(*b as f64))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Str(a), Value::Str(b)) => Ok(Some(a.as_bytes().cmp(b.as_bytes()))),
        (Value::Time(a), Value::Time(b)) => Ok(Some(a.cmp(b))),
        (Value::Duration(a), Value::Duration(b)) => Ok(Some(a.cmp(b))),
        (Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::Time(_) | Value::Duration(_), other)
        | (other, _) => fail("a comparison", other),
    }
}

/// `+ - * / % **`
pub(super) fn arithmetic(operator: Binary, left: &Value, right: &Value) -> Step {
    let what = "arithmetic";
    let floats = match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            return match operator {
                Binary::Add => Ok(a.wrapping_add(*b).into()),
                Binary::Sub => Ok(a.wrapping_sub(*b).into()),
                Binary::Mul => Ok(a.wrapping_mul(*b).into()),
                Binary::Div => Ok((*a as f64 / *b as f64).into()),
                Binary::Rem if *b == 0 => Err(EvalError::Input("division by zero").into()),
                Binary::Rem => Ok(a.wrapping_rem(*b).into()),
                _ => Ok((*a as f64).powf(*b as f64).into()),
            };
        }
        (Value::Str(a), Value::Str(b)) if operator == Binary::Add => return Ok(format!("{a}{b}").into()),
        (Value::Time(t), Value::Duration(d)) | (Value::Duration(d), Value::Time(t))
            if operator == Binary::Add =>
        {
            return Ok(Value::Time(t.add_nanos(*d)));
        }
        (Value::Time(t), Value::Duration(d)) if operator == Binary::Sub => {
            return Ok(Value::Time(t.add_nanos(d.saturating_neg())));
        }
        (Value::Time(a), Value::Time(b)) if operator == Binary::Sub => {
            return Ok(Value::Duration(a.nanos_since(*b)));
        }
        (Value::Duration(a), Value::Duration(b)) => {
            return match operator {
                Binary::Add => Ok(Value::Duration(a.wrapping_add(*b))),
                Binary::Sub => Ok(Value::Duration(a.wrapping_sub(*b))),
                Binary::Mul => Ok(Value::Duration(a.wrapping_mul(*b))),
                _ => fail(what, left),
            };
        }
        (Value::Duration(d), Value::Int(i)) | (Value::Int(i), Value::Duration(d))
            if operator == Binary::Mul =>
        {
            return Ok(Value::Duration(d.wrapping_mul(*i)));
        }
        (Value::Duration(d), Value::Float(x)) | (Value::Float(x), Value::Duration(d))
            if operator == Binary::Mul =>
        {
            return Ok((*d as f64 * x).into());
        }
        (Value::Int(a), Value::Float(b)) => (*a as f64, *b),
        (Value::Float(a), Value::Int(b)) => (*a, *b as f64),
        (Value::Float(a), Value::Float(b)) => (*a, *b),
        (Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::Time(_) | Value::Duration(_), other)
        | (other, _) => return fail(what, other),
    };
    let (a, b) = floats;
    match operator {
        Binary::Add => Ok((a + b).into()),
        Binary::Sub => Ok((a - b).into()),
        Binary::Mul => Ok((a * b).into()),
        Binary::Div => Ok((a / b).into()),
        Binary::Pow => Ok(a.powf(b).into()),
        _ => fail("%", left),
    }
}
