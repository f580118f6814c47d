//! Access to the arguments of a function by their kind; the wrong kind is an error of the caller.

use std::sync::Arc;

use crate::{
    error::EvalError,
    host::Host,
    value::{Map, Value},
};

/// The argument itself; nil where it is not given.
pub(crate) fn value(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Nil)
}

/// The failure that `value` is of a kind that `what` does not take.
pub(crate) fn wrong(what: &'static str, value: &Value) -> EvalError {
    EvalError::Kind { what, got: value.kind() }
}

/// A text argument.
pub(crate) fn text<'a>(args: &'a [Value], at: usize, what: &'static str) -> Result<&'a str, EvalError> {
    shared_text(args, at, what).map(|s| &**s)
}

/// A text argument that may be kept without a copy.
pub(crate) fn shared_text<'a>(
    args: &'a [Value],
    at: usize,
    what: &'static str,
) -> Result<&'a Arc<str>, EvalError> {
    match value(args, at) {
        Value::Str(s) => Ok(s),
        other => Err(wrong(what, other)),
    }
}

/// An integer argument. A float is not one, whole or not.
pub(crate) fn int(args: &[Value], at: usize, what: &'static str) -> Result<i64, EvalError> {
    match value(args, at) {
        Value::Int(i) => Ok(*i),
        other => Err(wrong(what, other)),
    }
}

/// A number of either kind.
pub(crate) fn number(args: &[Value], at: usize, what: &'static str) -> Result<f64, EvalError> {
    match value(args, at) {
        Value::Float(x) => Ok(*x),
        Value::Int(i) => Ok(*i as f64),
        other => Err(wrong(what, other)),
    }
}

/// A list argument.
pub(crate) fn list<'a>(
    args: &'a [Value],
    at: usize,
    what: &'static str,
) -> Result<&'a Arc<Vec<Value>>, EvalError> {
    match value(args, at) {
        Value::List(items) => Ok(items),
        other => Err(wrong(what, other)),
    }
}

/// A list of texts.
pub(crate) fn texts<'a>(args: &'a [Value], at: usize, what: &'static str) -> Result<Vec<&'a str>, EvalError> {
    list(args, at, what)?.iter().map(|v| v.as_str().ok_or_else(|| wrong(what, v))).collect()
}

/// A map argument, as a snapshot where the map belongs to the host.
pub(crate) fn map(
    host: &dyn Host,
    args: &[Value],
    at: usize,
    what: &'static str,
) -> Result<Arc<Map>, EvalError> {
    match value(args, at) {
        Value::Map(map) => Ok(map.clone()),
        Value::Object(handle) => Ok(Arc::new(host.entries(*handle)?.into_iter().collect())),
        other => Err(wrong(what, other)),
    }
}
