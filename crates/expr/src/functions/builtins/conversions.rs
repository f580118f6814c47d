//! Conversions between kinds of values.

use std::sync::Arc;

use crate::{
    error::EvalError,
    functions::{
        Function,
        arguments::{self, wrong},
        convert, declare,
    },
    host::Host,
    value::{Map, Value},
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("int(any) int", int),
        ("float(any) float", float),
        ("string(any) string", |host, args| {
            Ok(match arguments::value(args, 0) {
                text @ Value::Str(_) => text.clone(),
                other => convert::text(host, other).into(),
            })
        }),
        ("type(any) string", |host, args| Ok(type_name(host, arguments::value(args, 0)).into())),
        ("toJSON(any) string", |host, args| {
            Ok(convert::json_indented(host, arguments::value(args, 0))?.into())
        }),
        ("fromJSON(string) any", |_, args| convert::parse_json(arguments::text(args, 0, "fromJSON")?)),
        ("toPairs(any) []any", |host, args| {
            let map = arguments::map(host, args, 0, "toPairs")?;
            let pair =
                |(key, value): (&Arc<str>, &Value)| Value::list(vec![Value::Str(key.clone()), value.clone()]);
            Ok(Value::list(map.iter().map(pair).collect()))
        }),
        ("fromPairs(any) map[string]any", from_pairs),
    ])
}

fn int(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    match arguments::value(args, 0) {
        Value::Int(i) | Value::Duration(i) => Ok(Value::Int(*i)),
        Value::Float(x) => Ok(Value::Int(convert::float_to_int(*x))),
        Value::Str(text) => text.parse().map(Value::Int).map_err(|_| EvalError::Input("not an integer")),
        other => Err(wrong("int", other)),
    }
}

fn float(_: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    match arguments::value(args, 0) {
        Value::Int(i) => Ok(Value::Float(*i as f64)),
        Value::Float(x) => Ok(Value::Float(*x)),
        Value::Str(text) => convert::parse_float(text)
            // Infinity may be asked for by name only.
            .filter(|x| !x.is_infinite() || !text.bytes().any(|b| b.is_ascii_digit()))
            .map(Value::Float)
            .ok_or(EvalError::Input("not a number")),
        other => Err(wrong("float", other)),
    }
}

fn type_name(host: &dyn Host, value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Str(_) => "string",
        Value::Bytes(_) | Value::List(_) => "array",
        Value::Map(_) => "map",
        Value::Time(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Object(handle) if host.entries(*handle).is_ok() => "map",
        Value::Object(_) => "struct",
    }
}

fn from_pairs(host: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let mut map = Map::new();
    for pair in arguments::list(args, 0, "fromPairs")?.iter() {
        let Value::List(pair) = pair else { return Err(wrong("fromPairs", pair)) };
        let [key, value] = pair.as_slice() else {
            return Err(EvalError::Input("a pair has two elements"));
        };
        let key = match key {
            Value::Str(key) => key.clone(),
            other => convert::text(host, other).into(),
        };
        map.insert(key, value.clone());
    }
    Ok(Value::Map(Arc::new(map)))
}
