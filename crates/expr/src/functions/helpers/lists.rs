//! Helpers over lists, maps and numbers of any kind.

use std::collections::HashSet;

use crate::{
    error::EvalError,
    functions::{Function, arguments, convert::TEXT_MAX, declare},
    host::Host,
    value::Value,
};

/// Longest list that flattening may make, which is also what an evaluation may use.
const ITEMS_MAX: usize = 1_000_000;

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("Flatten(...any) []any", |_, args| flatten(args).map(Value::list)),
        ("Distinct(any) any", |_, args| match arguments::value(args, 0) {
            Value::List(items) => distinct(items.to_vec()).map(Value::list),
            _ => Ok(Value::Nil),
        }),
        ("FlattenDistinct(...any) []any", |_, args| distinct(flatten(args)?).map(Value::list)),
        ("KeyExists(string, map[string]any) bool", key_exists),
        ("FloatApproxEqual(float, float) bool", |_, args| {
            let a = arguments::number(args, 0, "FloatApproxEqual")?;
            let b = arguments::number(args, 1, "FloatApproxEqual")?;
            Ok(((a - b).abs() < 1e-6).into())
        }),
    ])
}

/// The items of all lists in `values`, of lists in them, and so on.
fn flatten(values: &[Value]) -> Result<Vec<Value>, EvalError> {
    let mut out = Vec::new();
    let mut open = vec![values.iter()];
    while let Some(items) = open.last_mut() {
        match items.next() {
            None => {
                open.pop();
            }
            Some(Value::List(inner)) => open.push(inner.iter()),
            Some(item) => out.push(item.clone()),
        }
        if out.len() > ITEMS_MAX || open.len() > ITEMS_MAX {
            return Err(EvalError::Budget);
        }
    }
    Ok(out)
}

/// The items without repetitions, in the order of their first appearance.
fn distinct(items: Vec<Value>) -> Result<Vec<Value>, EvalError> {
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let mut out = Vec::new();
    for item in items {
        let mut key = Vec::new();
        write_key(&mut key, &item)?;
        if seen.insert(key) {
            out.push(item);
        }
    }
    Ok(out)
}

/// Writes what is equal only for equal values of the same kind.
fn write_key(key: &mut Vec<u8>, value: &Value) -> Result<(), EvalError> {
    if key.len() > TEXT_MAX {
        return Err(EvalError::Budget);
    }
    let mut put = |tag: u8, bytes: &[u8]| {
        key.push(tag);
        key.extend_from_slice(&bytes.len().to_le_bytes());
        key.extend_from_slice(bytes);
    };
    match value {
        Value::Nil => put(0, &[]),
        Value::Bool(b) => put(1, &[u8::from(*b)]),
        Value::Int(i) => put(2, &i.to_le_bytes()),
        // Zeros are equal whatever their sign.
        Value::Float(x) => put(3, &(x + 0.0).to_le_bytes()),
        Value::Str(text) => put(4, text.as_bytes()),
        Value::Bytes(bytes) => put(5, bytes),
        Value::Time(time) => {
            put(6, &time.unix().to_le_bytes());
            put(6, &time.nanosecond().to_le_bytes());
        }
        Value::Duration(nanos) => put(7, &nanos.to_le_bytes()),
        Value::Object(handle) => {
            put(8, &handle.kind.to_le_bytes());
            put(8, &handle.a.to_le_bytes());
            put(8, &handle.b.to_le_bytes());
        }
        Value::List(items) => {
            put(9, &items.len().to_le_bytes());
            for item in items.iter() {
                write_key(key, item)?;
            }
        }
        Value::Map(map) => {
            put(10, &map.len().to_le_bytes());
            for (name, value) in map.iter() {
                write_key(key, &Value::Str(name.clone()))?;
                write_key(key, value)?;
            }
        }
    }
    Ok(())
}

fn key_exists(host: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let key = arguments::text(args, 0, "KeyExists")?;
    Ok(match arguments::value(args, 1) {
        Value::Map(map) => map.contains_key(key),
        Value::Object(handle) => host.entry(*handle, key)?.is_some(),
        Value::Nil => false,
        other => return Err(arguments::wrong("KeyExists", other)),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::functions::helpers::testing::{TestHost, call, call_on, fails, show};

    fn nested() -> Value {
        let inner = Value::list(vec![1.into(), "a".into(), Value::list(vec![1.into(), 1.0.into()])]);
        Value::list(vec![inner, "a".into(), Value::Nil])
    }

    #[test]
    fn flat_and_distinct() {
        let table: [(&str, &[Value], &str); 7] = [
            ("Flatten", &[nested(), 2.into()], r#"[1, "a", 1, 1.0, "a", nil, 2]"#),
            ("Flatten", &[], "[]"),
            ("FlattenDistinct", &[nested(), 1.into()], r#"[1, "a", 1.0, nil]"#),
            ("Distinct", &[Value::strings(["a", "b", "a"])], r#"["a", "b"]"#),
            ("Distinct", &[Value::list(vec![nested(), nested()])], r#"[[[1, "a", [1, 1.0]], "a", nil]]"#),
            ("Distinct", &["a".into()], "nil"),
            ("Distinct", &[Value::list(vec![0.0.into(), (-0.0).into()])], "[0.0]"),
        ];
        for (function, args, expected) in table {
            assert_eq!(show(&call(function, args)), expected, "{function}");
        }
    }

    #[test]
    fn flattening_is_bounded() {
        let doubled = |list: Value, _| Value::list(vec![list.clone(), list]);
        let huge = (0..40).fold(Value::list(vec![1.into()]), doubled);
        assert_eq!(fails("Flatten", std::slice::from_ref(&huge)), EvalError::Budget);
        assert_eq!(fails("Distinct", &[Value::list(vec![huge])]), EvalError::Budget);
    }

    #[test]
    fn keys() {
        let map = Value::Map(Arc::new([("a".into(), Value::Nil)].into()));
        assert_eq!(show(&call("KeyExists", &["a".into(), map.clone()])), "true");
        assert_eq!(show(&call("KeyExists", &["b".into(), map])), "false");
        let mut host = TestHost::default();
        host.map.insert("x".into(), 1.into());
        assert_eq!(show(&call_on(&mut host, "KeyExists", &["x".into(), TestHost::MAP])), "true");
        assert_eq!(show(&call_on(&mut host, "KeyExists", &["y".into(), TestHost::MAP])), "false");
        assert_eq!(
            fails("KeyExists", &["y".into(), "text".into()]),
            EvalError::Kind { what: "KeyExists", got: "string" }
        );
    }

    #[test]
    fn nearly_equal() {
        let table = [(1.0, 1.000_000_5, "true"), (1.0, 1.000_002, "false"), (f64::NAN, f64::NAN, "false")];
        for (a, b, expected) in table {
            assert_eq!(show(&call("FloatApproxEqual", &[a.into(), b.into()])), expected, "{a} {b}");
        }
        assert_eq!(show(&call("FloatApproxEqual", &[1.into(), 1.0.into()])), "true");
        fails("FloatApproxEqual", &["1".into(), 1.0.into()]);
    }
}
