//! Functions on text.

use std::borrow::Cow;

use crate::{
    error::EvalError,
    eval::{CELLS_MAX, whole},
    functions::{
        Function,
        arguments::{self, text},
        convert::TEXT_MAX,
        declare,
        helpers::{case, strings},
    },
    host::Host,
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("trim(string, ?string) string", |_, args| {
            let whole = text(args, 0, "trim")?;
            if args.len() < 2 {
                return part(args, whole.trim());
            }
            let set = text(args, 1, "trim")?;
            part(args, whole.trim_matches(|c| set.contains(c)))
        }),
        ("trimPrefix(string, ?string) string", |_, args| {
            let (whole, prefix) = (text(args, 0, "trimPrefix")?, affix(args, "trimPrefix")?);
            part(args, whole.strip_prefix(prefix).unwrap_or(whole))
        }),
        ("trimSuffix(string, ?string) string", |_, args| {
            let (whole, suffix) = (text(args, 0, "trimSuffix")?, affix(args, "trimSuffix")?);
            part(args, whole.strip_suffix(suffix).unwrap_or(whole))
        }),
        ("upper(string) string", |_, args| changed(args, case::upper(text(args, 0, "upper")?))),
        ("lower(string) string", |_, args| changed(args, case::lower(text(args, 0, "lower")?))),
        ("split(string, string, ?int) []string", |_, args| split(args, "split", false)),
        ("splitAfter(string, string, ?int) []string", |_, args| split(args, "splitAfter", true)),
        ("replace(string, string, string, ?int) string", |_, args| {
            let what = "replace";
            let limit = limit(args, 3, what)?;
            let (old, new) = (text(args, 1, what)?, text(args, 2, what)?);
            changed(args, strings::replace(text(args, 0, what)?, old, new, limit)?)
        }),
        ("repeat(string, int) string", repeat),
        ("join(any, ?string) string", join),
        ("indexOf(string, string) int", |_, args| {
            Ok(offset(text(args, 0, "indexOf")?.find(text(args, 1, "indexOf")?)))
        }),
        ("lastIndexOf(string, string) int", |_, args| {
            Ok(offset(text(args, 0, "lastIndexOf")?.rfind(text(args, 1, "lastIndexOf")?)))
        }),
        ("hasPrefix(string, string) bool", |_, args| {
            Ok(Value::Bool(text(args, 0, "hasPrefix")?.starts_with(text(args, 1, "hasPrefix")?)))
        }),
        ("hasSuffix(string, string) bool", |_, args| {
            Ok(Value::Bool(text(args, 0, "hasSuffix")?.ends_with(text(args, 1, "hasSuffix")?)))
        }),
    ])
}

/// A part of the first argument: that argument itself where it is all of it.
fn part(args: &[Value], part: &str) -> Result<Value, EvalError> {
    changed(args, Cow::Borrowed(part))
}

fn changed(args: &[Value], text: Cow<'_, str>) -> Result<Value, EvalError> {
    Ok(match (arguments::value(args, 0), text) {
        (Value::Str(whole), Cow::Borrowed(part)) if whole.len() == part.len() => Value::Str(whole.clone()),
        (_, text) => Value::Str(text.into()),
    })
}

/// What to cut off; a space where it is not given.
fn affix<'a>(args: &'a [Value], what: &'static str) -> Result<&'a str, EvalError> {
    if args.len() < 2 { Ok(" ") } else { text(args, 1, what) }
}

/// An optional count; a float is cut.
fn limit(args: &[Value], at: usize, what: &'static str) -> Result<i64, EvalError> {
    args.get(at).map_or(Ok(-1), |value| whole(value, what))
}

fn split(args: &[Value], what: &'static str, keep: bool) -> Result<Value, EvalError> {
    let limit = limit(args, 2, what)?;
    Ok(Value::strings(strings::split(text(args, 0, what)?, text(args, 1, what)?, limit, keep)))
}

fn repeat(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let part = text(args, 0, "repeat")?;
    let times = whole(arguments::value(args, 1), "repeat")?;
    let times = usize::try_from(times).map_err(|_| EvalError::Input("repeat takes no negative count"))?;
    if times > CELLS_MAX || part.len().saturating_mul(times) >= CELLS_MAX {
        return Err(EvalError::Budget);
    }
    Ok(part.repeat(times).into())
}

fn join(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let parts = arguments::texts(args, 0, "join")?;
    let glue = if args.len() < 2 { "" } else { text(args, 1, "join")? };
    let size: usize = parts.iter().map(|part| part.len() + glue.len()).sum();
    if size > TEXT_MAX {
        return Err(EvalError::Budget);
    }
    Ok(parts.join(glue).into())
}

fn offset(at: Option<usize>) -> Value {
    Value::Int(at.map_or(-1, |at| at as i64))
}
