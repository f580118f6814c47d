//! Escapes and queries of URLs by the rules of Go's `net/url`, and a query parser that takes
//! anything, as web servers do.
//!
//! Text of the language is UTF-8: escaped bytes that are not become U+FFFD.

use std::{borrow::Cow, collections::BTreeMap};

use super::{strings::reuse, uri};
use crate::{
    functions::{Function, arguments, declare},
    value::{Map, Value},
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[
        ("PathEscape(string) string", |_, args| {
            reuse(args, path_escape(arguments::text(args, 0, "PathEscape")?))
        }),
        ("QueryEscape(string) string", |_, args| {
            reuse(args, query_escape(arguments::text(args, 0, "QueryEscape")?))
        }),
        ("PathUnescape(string) string", |_, args| {
            reuse(args, path_unescape(arguments::text(args, 0, "PathUnescape")?))
        }),
        ("QueryUnescape(string) string", |_, args| {
            reuse(args, query_unescape(arguments::text(args, 0, "QueryUnescape")?))
        }),
        ("ParseUri(string) map[string][]string", |_, args| {
            let query = uri::query(arguments::text(args, 0, "ParseUri")?);
            Ok(query.and_then(strict_pairs).map_or_else(|| grouped(Vec::new()), grouped))
        }),
        ("ParseQuery(string) map[string][]string", |_, args| {
            Ok(grouped(lenient_pairs(arguments::text(args, 0, "ParseQuery")?).collect()))
        }),
        ("ExtractQueryParam(string, string) []string", |_, args| {
            let uri = arguments::text(args, 0, "ExtractQueryParam")?;
            let name = arguments::text(args, 1, "ExtractQueryParam")?;
            let named = lenient_pairs(query_of(uri)).filter(|(key, _)| key == name);
            Ok(Value::strings(named.map(|(_, value)| value)))
        }),
    ])
}

/// `PathEscape`: text as one segment of a path.
pub(crate) fn path_escape(text: &str) -> Cow<'_, str> {
    escape(text, |b| is_unreserved(b) || b"$&+=:@".contains(&b), false)
}

/// `QueryEscape`: text as a key or value of a query.
pub(crate) fn query_escape(text: &str) -> Cow<'_, str> {
    escape(text, is_unreserved, true)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn escape(text: &str, kept: impl Fn(u8) -> bool, plus: bool) -> Cow<'_, str> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if text.bytes().all(&kept) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if kept(byte) {
            out.push(byte as char);
        } else if plus && byte == b' ' {
            out.push('+');
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
    }
    Cow::Owned(out)
}

/// `PathUnescape`: escapes decoded; the text itself where one of them is malformed.
pub(crate) fn path_unescape(text: &str) -> Cow<'_, str> {
    unescape(text, false, true).unwrap_or(Cow::Borrowed(text))
}

/// `QueryUnescape`: escapes and `+` decoded; the text itself where an escape is malformed.
pub(crate) fn query_unescape(text: &str) -> Cow<'_, str> {
    unescape(text, true, true).unwrap_or(Cow::Borrowed(text))
}

/// Decodes escapes, and `+` where `plus`. A malformed escape gives `None` where `strict` and stays
/// as it is elsewhere.
pub(super) fn unescape(text: &str, plus: bool, strict: bool) -> Option<Cow<'_, str>> {
    let bytes = text.as_bytes();
    let first = if plus { memchr::memchr2(b'%', b'+', bytes) } else { memchr::memchr(b'%', bytes) };
    let Some(first) = first else { return Some(Cow::Borrowed(text)) };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut at = first;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match (hex(bytes.get(at)), hex(bytes.get(at + 1))) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    at += 2;
                }
                _ if strict => return None,
                _ => out.push(byte),
            },
            b'+' if plus => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Some(Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }))
}

pub(super) fn hex(byte: Option<&u8>) -> Option<u8> {
    char::from(*byte?).to_digit(16).map(|digit| digit as u8)
}

/// A pair of a query.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The query of a URI that need not be a valid one: what stands between the first `?` and `#`.
fn query_of(uri: &str) -> &str {
    let uri = uri.split('#').next().unwrap_or(uri);
    uri.split_once('?').map_or("", |(_, query)| query)
}

/// The pairs of a query, whatever it looks like: `;` separates nothing, a malformed escape stands
/// for itself, a name without `=` has an empty value.
pub(crate) fn lenient_pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let decode = |text| unescape(text, true, false).unwrap_or(Cow::Borrowed(text));
        (decode(key), decode(value))
    })
}

/// The pairs of a query without any mistake.
fn strict_pairs(query: &str) -> Option<Vec<Pair<'_>>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            if part.contains(';') {
                return None;
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((unescape(key, true, true)?, unescape(value, true, true)?))
        })
        .collect()
}

fn grouped(pairs: Vec<Pair<'_>>) -> Value {
    let mut lists: BTreeMap<Cow<'_, str>, Vec<Value>> = BTreeMap::new();
    for (key, value) in pairs {
        lists.entry(key).or_default().push(Value::Str(value.into()));
    }
    let map: Map = lists.into_iter().map(|(key, values)| (key.into(), Value::list(values))).collect();
    Value::Map(map.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::functions::helpers::testing::{call, show};

    #[test]
    fn escapes() {
        let table = [
            ("", "", ""),
            ("abc-_.~09", "abc-_.~09", "abc-_.~09"),
            ("a b/c", "a%20b%2Fc", "a+b%2Fc"),
            ("$&+=:@", "$&+=:@", "%24%26%2B%3D%3A%40"),
            (";,?!*'()", "%3B%2C%3F%21%2A%27%28%29", "%3B%2C%3F%21%2A%27%28%29"),
            ("\u{e9}%\n", "%C3%A9%25%0A", "%C3%A9%25%0A"),
        ];
        for (text, path, query) in table {
            assert_eq!(path_escape(text), path, "{text}");
            assert_eq!(query_escape(text), query, "{text}");
        }
    }

    #[test]
    fn unescapes() {
        let table = [
            ("", "", ""),
            ("abc", "abc", "abc"),
            ("a+b%20c", "a+b c", "a b c"),
            ("%2e%2E%2f", "../", "../"),
            ("%C3%A9", "\u{e9}", "\u{e9}"),
            ("%ff", "\u{fffd}", "\u{fffd}"),
            ("%", "%", "%"),
            ("a%2", "a%2", "a%2"),
            ("%20%zz+", "%20%zz+", "%20%zz+"),
            ("%25252e", "%252e", "%252e"),
        ];
        for (text, path, query) in table {
            assert_eq!(path_unescape(text), path, "{text}");
            assert_eq!(query_unescape(text), query, "{text}");
        }
        assert!(matches!(query_unescape("/index.html"), Cow::Borrowed(_)));
    }

    fn check(function: &str, args: &[&str], expected: &str) {
        let args: Vec<_> = args.iter().map(|a| Value::from(*a)).collect();
        assert_eq!(show(&call(function, &args)), expected, "{function}{args:?}");
    }

    #[test]
    fn queries() {
        check("ParseQuery", &["a=1&b=2&a=3"], r#"{"a": ["1", "3"], "b": ["2"]}"#);
        check("ParseQuery", &["a;b=1%&c+d&&=x"], r#"{"": ["x"], "a;b": ["1%"], "c d": [""]}"#);
        check("ParseQuery", &["%41=%4"], r#"{"A": ["%4"]}"#);
        check("ParseQuery", &[""], "{}");
        check("ExtractQueryParam", &["/x?a=1&b=2&a=%20", "a"], r#"["1", " "]"#);
        check("ExtractQueryParam", &["/x?a=1#?b=2", "b"], "[]");
        check("ExtractQueryParam", &["/x", "a"], "[]");
        check("ParseUri", &["/foo?a=1&b=2&a=3"], r#"{"a": ["1", "3"], "b": ["2"]}"#);
        check("ParseUri", &["https://h/foo?a#a=2"], r#"{"a": [""]}"#);
        check("ParseUri", &["/foo?a=1;b"], "{}");
        check("ParseUri", &["/foo?a=%zz"], "{}");
        check("ParseUri", &["/fo%o?a=1"], "{}");
        check("ParseUri", &["/foo"], "{}");
    }

    proptest! {
        #[test]
        fn escapes_are_undone(text in "\\PC{0,12}") {
            let (path, query) = (path_escape(&text), query_escape(&text));
            prop_assert_eq!(path_unescape(&path), text.as_str());
            prop_assert_eq!(query_unescape(&query), text.as_str());
        }

        #[test]
        fn anything_is_a_query(text in "[%0-9A-F+=&;\u{e9}]{0,16}") {
            let _ = grouped(lenient_pairs(&text).collect());
            let _ = (path_unescape(&text), query_unescape(&text), strict_pairs(&text));
        }
    }
}
