//! `ParseKV` and `ParseKVLax`: `key=value` pairs of a line, merged into a map of texts that is an
//! entry of the map given.

use std::{borrow::Cow, sync::Arc};

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    host::Host,
    value::{Map, Value},
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("ParseKV(string, map[string]any, string) any mutates", |host, args| {
            let pairs = pairs(arguments::text(args, 0, "ParseKV")?);
            merge(host, args, "ParseKV", pairs.map(|(key, value)| (key, Cow::Borrowed(value))))
        }),
        ("ParseKVLax(string, map[string]any, string) any mutates", |host, args| {
            let pairs = lax_pairs(arguments::text(args, 0, "ParseKVLax")?);
            merge(host, args, "ParseKVLax", pairs.into_iter())
        }),
    ])
}

fn merge<'a>(
    host: &mut dyn Host,
    args: &[Value],
    what: &'static str,
    pairs: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
) -> Result<Value, EvalError> {
    let mut pairs = pairs.peekable();
    if pairs.peek().is_none() {
        return Err(EvalError::Input("no key=value pairs"));
    }
    let name = arguments::text(args, 2, what)?;
    let target = match arguments::value(args, 1) {
        Value::Object(handle) => Some(*handle),
        // A map made by the expression itself: what would be stored there nobody could see.
        Value::Map(_) => None,
        other => return Err(arguments::wrong(what, other)),
    };
    let Some(handle) = target else { return Ok(Value::Nil) };
    let mut entry = match host.entry(handle, name)? {
        None => Arc::<Map>::default(),
        Some(Value::Map(map)) if map.values().all(|v| matches!(v, Value::Str(_))) => map,
        Some(_) => return Err(EvalError::Input("the entry exists and holds something else than texts")),
    };
    let map = Arc::make_mut(&mut entry);
    for (key, value) in pairs {
        map.insert(key.into(), Value::Str(value.into()));
    }
    host.store(handle, name, Value::Map(entry))?;
    Ok(Value::Nil)
}

/// White space as `\s` of RE2 has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

/// The pairs that `ParseKV` sees. A key is a run without `=` and white space before a `=`; a value
/// is a quoted text (given without its quotes, escapes kept), else such a run, else empty.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let equals = from + memchr::memchr(b'=', &bytes[from..])?;
            let key = equals - bytes[from..equals].iter().rev().take_while(|b| !is_space(**b)).count();
            let start = equals + 1;
            from = start;
            if key == equals {
                continue;
            }
            let value = if let Some(end) = quoted(bytes, start) {
                from = end + 1;
                start + 1..end
            } else {
                let run = bytes[start..].iter().take_while(|b| **b != b'=' && !is_space(**b)).count();
                from = start + run;
                start..from
            };
            return Some((&text[key..equals], &text[value]));
        }
    })
}

/// Where the quoted text that begins at `at` ends: the place of its closing quote. A backslash
/// takes the next character with it, but not a line feed.
fn quoted(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        // One byte of a longer code point is enough: its others are neither quotes nor backslashes.
        if matches!(bytes.get(at + 1), None | Some(b'\n')) {
            return None;
        }
        at += 2;
    }
}

/// The pairs that `ParseKVLax` sees. A key is an identifier (with `.` and `-`) before a `=` outside
/// quotes; its value is everything up to the next key, without white space around it, without the
/// quotes if it is all quoted, `\\` and `\"` decoded then.
pub(crate) fn lax_pairs(text: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let bytes = text.as_bytes();
    // The key whose value is being read, and where that value begins.
    let mut open: Option<(&str, usize)> = None;
    let mut word = None;
    let mut quotes = false;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        match byte {
            b'\\' if quotes => at += 1,
            b'"' => {
                quotes = !quotes;
                word = None;
            }
            _ if quotes => {}
            b'=' => {
                if let Some(start) = word.take() {
                    pairs.extend(open.map(|(key, from)| (key, lax_value(&text[from..start]))));
                    open = Some((&text[start..at - 1], at));
                }
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => word = word.or(Some(at - 1)),
            b'0'..=b'9' | b'.' | b'-' => {}
            _ => word = None,
        }
    }
    pairs.extend(open.map(|(key, from)| (key, lax_value(&text[from..]))));
    pairs
}

fn lax_value(raw: &str) -> Cow<'_, str> {
    let value = raw.trim();
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let escaped = after.starts_with(['\\', '"']);
        out.push_str(if escaped { &after[..1] } else { "\\" });
        rest = &after[usize::from(escaped)..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;
    use crate::functions::helpers::testing::{TestHost, call_on, fails_on};

    fn check(text: &str, expected: &[(&str, &str)]) {
        assert_eq!(pairs(text).collect::<Vec<_>>(), expected, "{text}");
    }

    fn check_lax(text: &str, expected: &[(&str, &str)]) {
        let found = lax_pairs(text);
        let found: Vec<_> = found.iter().map(|(k, v)| (*k, &**v)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn strict_pairs() {
        check("", &[]);
        check("no pair", &[]);
        check("IN=eth0 OUT= SRC=10.0.0.1 DF", &[("IN", "eth0"), ("OUT", ""), ("SRC", "10.0.0.1")]);
        check(r#"msg="a \"b\" c" x=1"#, &[("msg", r#"a \"b\" c"#), ("x", "1")]);
        check(r#"msg="" x="a b"y=2"#, &[("msg", ""), ("x", "a b"), ("y", "2")]);
        check(r#"msg="open x=1"#, &[("msg", r#""open"#), ("x", "1")]);
        check("a=b=c", &[("a", "b")]);
        check("a==b =c", &[("a", "")]);
        check("k= v=1", &[("k", ""), ("v", "1")]);
        check("\u{e9}(2)=\u{e8}", &[("\u{e9}(2)", "\u{e8}")]);
    }

    #[test]
    fn lax() {
        check_lax("", &[]);
        check_lax("no pair", &[]);
        check_lax("MSG=two words SRC=10.0.0.1", &[("MSG", "two words"), ("SRC", "10.0.0.1")]);
        check_lax(r#"d="[a] b=c" E= F=1 "#, &[("d", "[a] b=c"), ("E", ""), ("F", "1")]);
        check_lax(r#"d="a \"b\" \\ \n""#, &[("d", r#"a "b" \ \n"#)]);
        check_lax("a.b-c=1 9x=2", &[("a.b-c", "1 9"), ("x", "2")]);
        check_lax(r#"a="open b=1"#, &[("a", r#""open b=1"#)]);
        check_lax("1=2 =3", &[]);
    }

    #[test]
    fn storing() {
        let mut host = TestHost::default();
        let store = |host: &mut TestHost, text: &str, key: &str| {
            assert!(call_on(host, "ParseKV", &[text.into(), TestHost::MAP, key.into()]).is_nil());
        };
        store(&mut host, "a=1 b=2", "kv");
        store(&mut host, "b=3", "kv");
        assert_eq!(host.shown("kv"), r#"{"a": "1", "b": "3"}"#);
        let refused = |host: &mut TestHost, function: &str, text: &str, key: &str| {
            fails_on(host, function, &[text.into(), TestHost::MAP, key.into()])
        };
        assert_eq!(refused(&mut host, "ParseKV", "nothing", "new"), EvalError::Input("no key=value pairs"));
        assert_eq!(refused(&mut host, "ParseKVLax", "nothing", "kv"), EvalError::Input("no key=value pairs"));
        assert_eq!(host.shown("new"), "absent");
        host.map.insert("number".into(), 1.into());
        assert!(matches!(refused(&mut host, "ParseKV", "a=1", "number"), EvalError::Input(_)));
        let written = call_on(&mut host, "ParseKVLax", &["A=x y".into(), TestHost::MAP, "lax".into()]);
        assert!(written.is_nil());
        assert_eq!(host.shown("lax"), r#"{"A": "x y"}"#);
    }

    proptest! {
        #[test]
        fn strict_pairs_agree_with_a_regex(text in r#"[ab=" \\\n\u{e9}]{0,24}"#) {
            let blank = r"\t\n\x0C\r ";
            let form = format!(
                r#"([^={blank}]+)=(?:"((?:[^"\\]|\\[^\n])*)"|([^={blank}]+)|[{blank}]*)"#
            );
            let form = Regex::new(&form).expect("the pattern is one");
            let expected: Vec<_> = form
                .captures_iter(&text)
                .map(|c| {
                    let value = c.get(2).or(c.get(3)).map_or("", |m| m.as_str());
                    (c.get(1).map_or("", |m| m.as_str()).to_owned(), value.to_owned())
                })
                .collect();
            let found: Vec<_> = pairs(&text).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn lax_pairs_take_anything(text in r#"[ab1.=" \\\u{e9}]{0,24}"#) {
            let _ = lax_pairs(&text);
        }
    }
}
