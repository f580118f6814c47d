//! Finding one value in JSON text without reading the rest of it, and without asking that the rest
//! be JSON: what rules do with every line that might be a JSON one.
//!
//! The scanner follows strings and brackets only. Among equal keys the first that leads to a value
//! wins. Nothing is copied: what is found is a slice of the text.

use std::borrow::Cow;

/// What a value is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Number,
    Bool,
    Null,
    Object,
    Array,
}

/// A value inside a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its source text, for a string what stands between its quotes, escapes kept.
    pub(crate) text: &'a str,
}

/// Names of a path that are kept without an allocation.
const SEGMENTS_INLINE: usize = 8;

/// `JsonExtract`: the source text of the value at a dotted path such as `a.b[0].c`.
pub(crate) fn extract<'a>(blob: &'a str, path: &str) -> Option<&'a str> {
    find_path(blob, path).map(|found| found.text)
}

/// The value at a dotted path.
pub(crate) fn find_path<'a>(blob: &'a str, path: &str) -> Option<Found<'a>> {
    let mut inline = [""; SEGMENTS_INLINE];
    let mut count = 0;
    for segment in segments(path) {
        let Some(place) = inline.get_mut(count) else {
            return find(blob, &segments(path).collect::<Vec<_>>());
        };
        *place = segment;
        count += 1;
    }
    find(blob, &inline[..count])
}

/// The segments of a dotted path. A `[` begins a segment of its own, except in a path that begins
/// with one: there only dots separate.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let bracketed = path.starts_with('[');
    let mut rest = Some(path);
    let mut dotted = false;
    std::iter::from_fn(move || {
        let text = rest?;
        // The bracket that begins this segment does not end it. Behind a dot it ends an empty one.
        let skip = usize::from(text.starts_with('[') && !bracketed && !dotted);
        let end = text.bytes().skip(skip).position(|b| b == b'.' || b == b'[' && !bracketed);
        let Some(end) = end.map(|e| e + skip) else {
            rest = None;
            return Some(text);
        };
        dotted = text.as_bytes()[end] == b'.';
        rest = Some(&text[end + usize::from(dotted)..]);
        Some(&text[..end])
    })
}

/// The value at a path of names; a name such as `[2]` is a place in an array.
pub(crate) fn find<'a>(blob: &'a str, path: &[&str]) -> Option<Found<'a>> {
    let bytes = blob.as_bytes();
    let from = if path.is_empty() { 0 } else { outermost(bytes, path)? };
    let start = skip_space(bytes, from);
    let (kind, end) = value_end(bytes, start)?;
    let range = if kind == Kind::String { start + 1..end - 1 } else { start..end };
    Some(Found { kind, text: blob.get(range)? })
}

/// Where the value at `path` begins, looking for the outermost object or array behind whatever
/// stands before it.
fn outermost(bytes: &[u8], path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'{' => return member(bytes, at + 1, first, rest).ok()?,
            b'[' if first.starts_with('[') => return element(bytes, at + 1, first, rest).ok()?,
            b'[' => at = block_end(bytes, at)?,
            b'"' => {
                at = skip_space(bytes, string_end(bytes, at)?);
                if bytes.get(at) == Some(&b':') {
                    return None;
                }
            }
            b':' | b'}' => return None,
            _ => at += 1,
        }
    }
}

/// The text is broken in a way that ends the search.
struct Broken;

type Search = Result<Option<usize>, Broken>;

/// Where the value at `path` begins, in the value that begins at `at`.
fn descend(bytes: &[u8], at: usize, path: &[&str]) -> Search {
    let Some((first, rest)) = path.split_first() else { return Ok(Some(at)) };
    let at = skip_space(bytes, at);
    match bytes.get(at) {
        Some(b'{') => member(bytes, at + 1, first, rest),
        Some(b'[') if first.starts_with('[') => element(bytes, at + 1, first, rest),
        _ => Ok(None),
    }
}

fn member(bytes: &[u8], mut at: usize, name: &str, rest: &[&str]) -> Search {
    loop {
        match bytes.get(at).ok_or(Broken)? {
            b'"' => {
                let end = string_end(bytes, at).ok_or(Broken)?;
                let key = &bytes[at + 1..end - 1];
                at = skip_space(bytes, end);
                if bytes.get(at) != Some(&b':') {
                    continue;
                }
                at += 1;
                if is_named(key, name)?
                    && let Some(found) = descend(bytes, at, rest)?
                {
                    return Ok(Some(found));
                }
                at = skip_space(bytes, at);
                at = match bytes.get(at).ok_or(Broken)? {
                    b'{' | b'[' => block_end(bytes, at).ok_or(Broken)?,
                    b'"' => string_end(bytes, at).ok_or(Broken)?,
                    _ => at,
                };
            }
            b'{' | b'[' => at = block_end(bytes, at).ok_or(Broken)?,
            b'}' => return Ok(None),
            b':' => return Err(Broken),
            _ => at += 1,
        }
    }
}

fn element(bytes: &[u8], mut at: usize, place: &str, rest: &[&str]) -> Search {
    let place = place.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
    let place: usize = place.and_then(|p| p.parse().ok()).ok_or(Broken)?;
    for _ in 0..place {
        let (_, end) = value_end(bytes, skip_space(bytes, at)).ok_or(Broken)?;
        at = skip_space(bytes, end);
        if bytes.get(at) != Some(&b',') {
            return Err(Broken);
        }
        at += 1;
    }
    at = skip_space(bytes, at);
    value_end(bytes, at).ok_or(Broken)?;
    descend(bytes, at, rest)
}

fn is_named(key: &[u8], name: &str) -> Result<bool, Broken> {
    if !key.contains(&b'\\') {
        return Ok(key == name.as_bytes());
    }
    let key = std::str::from_utf8(key).ok().and_then(unescape).ok_or(Broken)?;
    Ok(key == name)
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// One past the closing quote of the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// One past the bracket that closes the one at `at`. Only brackets of that sort are counted.
fn block_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (open, close) = if *bytes.get(at)? == b'{' { (b'{', b'}') } else { (b'[', b']') };
    let mut depth = 0u32;
    let mut at = at;
    loop {
        at += memchr::memchr3(open, close, b'"', bytes.get(at..)?)?;
        let byte = bytes[at];
        at += 1;
        if byte == b'"' {
            at = string_end(bytes, at - 1)?;
        } else if byte == open {
            depth += 1;
        } else {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
}

/// The sort of the value that begins at `at`, and its end.
fn value_end(bytes: &[u8], at: usize) -> Option<(Kind, usize)> {
    let first = bytes.get(at)?;
    match first {
        b'"' => return Some((Kind::String, string_end(bytes, at)?)),
        b'{' => return Some((Kind::Object, block_end(bytes, at)?)),
        b'[' => return Some((Kind::Array, block_end(bytes, at)?)),
        _ => {}
    }
    let ends = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'}' | b']');
    let end = bytes[at..].iter().position(ends).map_or(bytes.len(), |n| at + n);
    let kind = match &bytes[at..end] {
        b"true" | b"false" => Kind::Bool,
        b"null" => Kind::Null,
        [b'0'..=b'9' | b'-', ..] => Kind::Number,
        _ => return None,
    };
    Some((kind, end))
}

/// The text of a JSON string from what stands between its quotes; `None` where an escape is
/// malformed or half of a surrogate pair is missing.
pub(crate) fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let Some(first) = raw.find('\\') else { return Some(Cow::Borrowed(raw)) };
    let mut out = String::with_capacity(raw.len());
    out.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let (c, length) = match escape.as_bytes().first()? {
            b'"' => ('"', 1),
            b'\\' => ('\\', 1),
            b'/' => ('/', 1),
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{c}', 1),
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => unicode_escape(escape)?,
            _ => return None,
        };
        out.push(c);
        rest = &escape[length..];
        let next = rest.find('\\').unwrap_or(rest.len());
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Some(Cow::Owned(out))
}

/// The character of `uXXXX` or `uXXXX\uXXXX` at the start of `text`, and how long that is.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = hex4(text.get(1..5)?)?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, 5));
    }
    let low = hex4(text.get(5..11)?.strip_prefix("\\u")?)?;
    if unit >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, 11))
}

fn hex4(digits: &str) -> Option<u32> {
    digits.bytes().try_fold(0, |n, b| Some(n << 4 | char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn paths() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[""]),
            ("a", &["a"]),
            ("a.b.c", &["a", "b", "c"]),
            ("a.b[0].c", &["a", "b", "[0]", "c"]),
            ("a[0][1]", &["a", "[0]", "[1]"]),
            ("a.[0]", &["a", "", "[0]"]),
            ("[0].a", &["[0]", "a"]),
            ("[0].a[1]", &["[0]", "a[1]"]),
            ("a.", &["a", ""]),
        ];
        for (path, expected) in table {
            assert_eq!(segments(path).collect::<Vec<_>>(), expected, "{path}");
        }
    }

    #[test]
    fn extracting() {
        let table = [
            (r#"{"a":"b"}"#, "a", Some("b")),
            (r#"{"a":"b"}"#, "c", None),
            (r#" { "a" : { "b" : -1.5e3 } }"#, "a.b", Some("-1.5e3")),
            (r#"{"a":{"b":[1,{"c":true}]}}"#, "a.b[1].c", Some("true")),
            (r#"{"a":[1, [2, "x"], 3]}"#, "a[1]", Some(r#"[2, "x"]"#)),
            (r#"{"a":[1, [2, "x"], 3]}"#, "a[1][1]", Some("x")),
            (r#"{"a":[1]}"#, "a[1]", None),
            (r#"{"a":[1]}"#, "a[x]", None),
            (r#"{"a":[]}"#, "a[0]", None),
            (r#"[{"a":1},{"a":2}]"#, "[1].a", Some("2")),
            (r#"[{"a":1}]"#, "a", None),
            (r#"{"a":"say \"hi\" \u00e9"}"#, "a", Some(r#"say \"hi\" \u00e9"#)),
            (r#"{"a\"b":1,"\u0061":2}"#, "a", Some("2")),
            (r#"{"a":1,"a":2}"#, "a", Some("1")),
            (r#"{"a":{"x":1},"a":{"b":2}}"#, "a.b", Some("2")),
            (r#"{"x":{"a":1},"a":2}"#, "a", Some("2")),
            (r#"{"x":"a","a":null}"#, "a", Some("null")),
            (r#"{"x":"\\","a":{"b":"}"},"c":1}"#, "a", Some(r#"{"b":"}"}"#)),
            (r#"{"a":1,"#, "a", Some("1")),
            (r#"{"a":"open"#, "a", None),
            (r#"{"a":nope}"#, "a", None),
            (r#"{"a":"#, "a", None),
            (r#"host [x] {"a":1}"#, "a", Some("1")),
            (r#"msg: {"a":1}"#, "a", None),
            (r#"{"t":{"$date":"2020"}}"#, "t.$date", Some("2020")),
            (r#"{"":{"a":1}}"#, ".a", Some("1")),
            ("not json", "a", None),
            ("", "a", None),
            ("", "", None),
            (r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":7}}}}}}}}}"#, "a.b.c.d.e.f.g.h.i", Some("7")),
            ("{\"a\":\"\u{e9}\u{4e16}\"}", "a", Some("\u{e9}\u{4e16}")),
        ];
        for (blob, path, expected) in table {
            assert_eq!(extract(blob, path), expected, "{path} of {blob}");
        }
    }

    #[test]
    fn escapes() {
        let table = [
            ("plain", Some("plain")),
            (r#"a\"b\\c\/d"#, Some(r#"a"b\c/d"#)),
            (r"\b\f\n\r\t", Some("\u{8}\u{c}\n\r\t")),
            (r"\u00e9\u4E16", Some("\u{e9}\u{4e16}")),
            (r"\ud83d\ude00", Some("\u{1f600}")),
            (r"\ud83d", None),
            (r"\ud83dx", None),
            (r"\ude00\ude00", None),
            (r"\ud83d\ud83d", None),
            (r"\u00g0", None),
            (r"\u00", None),
            (r"\x41", None),
            ("\\", None),
            ("\\u\u{e9}\u{e9}", None),
        ];
        for (raw, expected) in table {
            assert_eq!(unescape(raw).as_deref(), expected, "{raw}");
        }
    }

    fn documents() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            "[a-c\"\\\\{}\\[\\]:, \u{e9}]{0,6}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|m| Json::Object(m.into_iter().collect())),
            ]
        })
    }

    /// Every value of `document`, with its path.
    fn places(document: &Json, path: &str, out: &mut Vec<(String, Json)>) {
        match document {
            Json::Object(members) => {
                for (key, value) in members {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    out.push((path.clone(), value.clone()));
                    places(value, &path, out);
                }
            }
            // A path that begins with a bracket has no second one.
            Json::Array(items) if !path.starts_with('[') && !path.is_empty() => {
                for (at, value) in items.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    out.push((path.clone(), value.clone()));
                    places(value, &path, out);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn every_value_of_a_document_is_found(document in documents(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let text = text.expect("a value can be written");
            let mut all = Vec::new();
            places(&document, "", &mut all);
            for (path, value) in all {
                let found = find_path(&text, &path).map(|f| match f.kind {
                    Kind::String => unescape(f.text).map(|s| Json::from(s.as_ref())),
                    _ => serde_json::from_str(f.text).ok(),
                });
                prop_assert_eq!(found, Some(Some(value)), "{} of {}", path, text);
            }
        }

        #[test]
        fn anything_may_be_searched(blob in "[{}\\[\\]\":,a1\\\\ \u{e9}]{0,24}", path in "[a.\\[\\]0-2]{0,8}") {
            let _ = find_path(&blob, &path);
            let _ = unescape(&blob);
        }
    }
}
