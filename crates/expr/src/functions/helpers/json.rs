//! Helpers over JSON: parts of a text that need not be JSON as a whole, whole documents into a map,
//! values as text.

use super::json_scan::{self, Kind, extract};
use crate::{
    error::EvalError,
    functions::{Function, arguments, convert, declare},
    host::Host,
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("JsonExtract(string, string) string", |_, args| {
            let blob = arguments::text(args, 0, "JsonExtract")?;
            Ok(extract(blob, arguments::text(args, 1, "JsonExtract")?).unwrap_or_default().into())
        }),
        // Further names are accepted and ignored, as rules may have them.
        ("JsonExtractUnescape(string, string, ...string) string", |_, args| {
            let blob = arguments::text(args, 0, "JsonExtractUnescape")?;
            let name = arguments::text(args, 1, "JsonExtractUnescape")?;
            Ok(extract_unescaped(blob, name).unwrap_or_default().into())
        }),
        ("JsonExtractLib(string, ...string) string", |_, args| {
            let path: Vec<_> = (1..args.len())
                .map(|at| arguments::text(args, at, "JsonExtractLib"))
                .collect::<Result<_, _>>()?;
            let found = json_scan::find(arguments::text(args, 0, "JsonExtractLib")?, &path);
            Ok(found.map(|f| f.text).unwrap_or_default().into())
        }),
        ("JsonExtractSlice(string, string) []any", |_, args| document(args, "JsonExtractSlice", Kind::Array)),
        ("JsonExtractObject(string, string) map[string]any", |_, args| {
            document(args, "JsonExtractObject", Kind::Object)
        }),
        ("ToJsonString(any) string", |host, args| {
            Ok(convert::json(host, arguments::value(args, 0)).unwrap_or_default().into())
        }),
        ("UnmarshalJSON(string, map[string]any, string) any mutates", unmarshal),
    ])
}

/// `JsonExtractUnescape`: a string value by its name, escapes decoded.
pub(crate) fn extract_unescaped(blob: &str, name: &str) -> Option<String> {
    let found = json_scan::find(blob, &[name]).filter(|found| found.kind == Kind::String)?;
    json_scan::unescape(found.text).map(Into::into)
}

/// The array or object at a path; nil where something else is there.
fn document(args: &[Value], what: &'static str, kind: Kind) -> Result<Value, EvalError> {
    let found = json_scan::find_path(arguments::text(args, 0, what)?, arguments::text(args, 1, what)?);
    let found = found.filter(|found| found.kind == kind);
    Ok(found.and_then(|found| convert::parse_json(found.text).ok()).unwrap_or_default())
}

fn unmarshal(host: &mut dyn Host, args: &[Value]) -> Result<Value, EvalError> {
    let blob = arguments::text(args, 0, "UnmarshalJSON")?;
    let name = arguments::text(args, 2, "UnmarshalJSON")?;
    // Rules ask this of every line to learn whether it is JSON: most are not, and show it at once.
    if !blob.trim_start().starts_with(|c: char| "{[\"-tfn0123456789".contains(c)) {
        return Err(convert::NOT_JSON);
    }
    let value = convert::parse_json(blob)?;
    match arguments::value(args, 1) {
        Value::Object(map) => host.store(*map, name, value)?,
        // A map made by the expression itself: what would be stored there nobody could see.
        Value::Map(_) => {}
        other => return Err(arguments::wrong("UnmarshalJSON", other)),
    }
    Ok(Value::Nil)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::helpers::testing::{TestHost, call, call_on, fails_on, show};

    fn check(function: &str, args: &[&str], expected: &str) {
        let args: Vec<_> = args.iter().map(|a| Value::from(*a)).collect();
        assert_eq!(show(&call(function, &args)), expected, "{function}{args:?}");
    }

    #[test]
    fn extracting() {
        let blob = r#"{"a":{"b":"x\"y"},"n":1.50,"l":[1,"two",{"k":null}],"u":"\u00e9\n","l":2}"#;
        check("JsonExtract", &[blob, "a.b"], r#""x\\\"y""#);
        check("JsonExtract", &[blob, "n"], r#""1.50""#);
        check("JsonExtract", &[blob, "l[1]"], r#""two""#);
        check("JsonExtract", &[blob, "nothing"], r#""""#);
        check("JsonExtractUnescape", &[blob, "u"], r#""é\n""#);
        check("JsonExtractUnescape", &[blob, "u", "ignored"], r#""é\n""#);
        check("JsonExtractUnescape", &[blob, "n"], r#""""#);
        check("JsonExtractUnescape", &[blob, "a.b"], r#""""#);
        check("JsonExtractLib", &[blob, "l", "[2]", "k"], r#""null""#);
        check("JsonExtractSlice", &[blob, "l"], r#"[1.0, "two", {"k": nil}]"#);
        check("JsonExtractSlice", &[blob, "a"], "nil");
        check("JsonExtractObject", &[blob, "a"], r#"{"b": "x\"y"}"#);
        check("JsonExtractObject", &[blob, "l"], "nil");
        check("JsonExtractObject", &[r#"{"a":{"b":}}"#, "a"], "nil");
    }

    #[test]
    fn unmarshalling() {
        let mut host = TestHost::default();
        let args = |text: &str| [text.into(), TestHost::MAP, "x".into()];
        assert!(call_on(&mut host, "UnmarshalJSON", &args(r#" {"a":[1,null]} "#)).is_nil());
        assert_eq!(host.shown("x"), r#"{"a": [1.0, nil]}"#);
        for text in ["", "plain", "{", r#"{"a":1} x"#, "{'a':1}", "nul"] {
            assert_eq!(fails_on(&mut host, "UnmarshalJSON", &args(text)), convert::NOT_JSON, "{text}");
        }
        assert_eq!(host.shown("x"), r#"{"a": [1.0, nil]}"#);
        for (text, expected) in
            [("7", "7.0"), ("\"s\"", "\"s\""), ("true", "true"), ("-1", "-1.0"), ("[]", "[]")]
        {
            call_on(&mut host, "UnmarshalJSON", &args(text));
            assert_eq!(host.shown("x"), expected);
        }
    }

    #[test]
    fn writing() {
        let list = Value::list(vec![1.into(), Value::Nil, "<a>".into(), 1.5.into()]);
        assert_eq!(call("ToJsonString", &[list]).as_str(), Some(r#"[1,null,"\u003ca\u003e",1.5]"#));
        assert_eq!(call("ToJsonString", &[f64::NAN.into()]).as_str(), Some(""));
    }
}
