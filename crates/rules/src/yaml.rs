//! YAML text to a tree with places: the only module that knows the YAML library.
//!
//! The tree keeps the literal text of every scalar beside what YAML takes it for, so that a text
//! field holding `1.0` or `off` reads `1.0` and `off` while a boolean field holding `off` reads
//! false. Every node carries its byte range in the file. A file is cut at its document markers
//! before any document is decoded, so that a broken one does not spoil the others.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DefaultMessageFormatter, Error, Location, MessageFormatter, Spanned,
    budget::BudgetBreach,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

use crate::spot;

/// Nesting of lists and maps in one document; real rules reach 8.
const MAX_DEPTH: usize = 48;
/// Values in one document after aliases are replaced; the largest public rule has about 1,500.
const MAX_NODES: usize = 100_000;
/// Parser events that aliases may add to a document.
const MAX_REPLAYED: usize = 20_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Byte range in the file. Of a block scalar it begins at the first character of the content,
    /// of a map it is its first key.
    pub span: Range<usize>,
    /// The value.
    pub kind: Kind,
}

/// The shapes of values.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map in file order; keys may repeat.
    Map(Vec<(Node, Node)>),
}

/// A single value.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its text: decoded for quoted and block scalars, literal for plain ones, empty for null.
    pub text: String,
    /// What YAML takes it for.
    pub resolved: Resolved,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resolved {
    /// Nothing.
    Null,
    /// `true`, `off`, `yes` …
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text,
}

/// A document that could not be decoded.
#[derive(Debug)]
pub struct YamlError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What to do about it.
    pub hint: Option<&'static str>,
    /// It is refused for its size, not for its syntax.
    pub too_large: bool,
}

impl Node {
    /// The kind in words, for messages.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Scalar(scalar) => match scalar.resolved {
                Resolved::Null => "nothing",
                Resolved::Bool(_) => "a boolean",
                Resolved::Int(_) | Resolved::Float(_) => "a number",
                Resolved::Text => "text",
            },
        }
    }

    /// No value is given.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(Scalar { resolved: Resolved::Null, .. }))
    }
}

/// All documents of a file, in order. A file without any content has none; a marker without
/// content after it makes a null document, except for the one that opens the file's first document.
pub fn documents(text: &str) -> Vec<Result<Node, YamlError>> {
    split(text).into_iter().map(|range| document(text, range)).collect()
}

/// Cuts a file at its document markers. YAML allows neither `---` nor `...` at the beginning of a
/// line inside a document, whatever surrounds it, so no parsing is needed to find them.
fn split(text: &str) -> Vec<Range<usize>> {
    let mut documents = Vec::new();
    let mut start = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut at = start;
    // Whether a document is open: it has content, or a `---` announced it.
    let mut open = false;
    for line in text[start..].split_inclusive('\n') {
        let content = line.trim_end();
        if is_marker(content, "---") {
            if open {
                documents.push(start..at);
                start = at;
            }
            open = true;
        } else if is_marker(content, "...") {
            if open {
                documents.push(start..at);
            }
            start = at + line.len();
            open = false;
        } else if !open {
            let trimmed = content.trim_start();
            // Directives belong to the document that follows.
            open = !(trimmed.is_empty() || trimmed.starts_with('#') || content.starts_with('%'));
        }
        at += line.len();
    }
    if open {
        documents.push(start..text.len());
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

fn document(file: &str, range: Range<usize>) -> Result<Node, YamlError> {
    let text = &file[range.clone()];
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES * 3,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
            max_replay_stack_depth: 16,
        },
        // Repeated keys reach the loaders, which know both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let tree = serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options)
        .map_err(|error| describe(&error, text, range.start))?;
    Ok(place(tree, file, range.start))
}

/// A value as the YAML library resolves it.
enum Raw {
    Scalar(Resolved, Option<String>),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Null, None))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Null, None))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Bool(value), None))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Int(value), None))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        let resolved = i64::try_from(value).map_or(Resolved::Float(value as f64), Resolved::Int);
        Ok(Raw::Scalar(resolved, None))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Float(value), None))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Text, Some(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(Resolved::Text, Some(value)))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Raw, E> {
        Err(E::custom("binary values have no use in rules"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<Raw>, Spanned<Raw>>()? {
            if !matches!(key.value, Raw::Scalar(..)) {
                return Err(A::Error::custom("a list or map cannot be a key"));
            }
            entries.push((key, value));
        }
        Ok(Raw::Map(entries))
    }
}

/// Gives a decoded tree its places in the file.
fn place(raw: Spanned<Raw>, file: &str, base: usize) -> Node {
    let span = range_of(raw.defined, file.len(), base);
    match raw.value {
        Raw::List(items) => {
            let items = items.into_iter().map(|item| place(item, file, base)).collect();
            Node { span, kind: Kind::List(items) }
        }
        Raw::Map(entries) => {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| (place(key, file, base), place(value, file, base)))
                .collect();
            let span = entries.first().map_or(span, |(key, _)| key.span.clone());
            Node { span, kind: Kind::Map(entries) }
        }
        Raw::Scalar(resolved, decoded) => {
            let source = file.get(span.clone()).unwrap_or_default();
            let text = match (resolved, decoded) {
                (Resolved::Null, _) => String::new(),
                (_, Some(text)) => without_invented_newline(text, source, span.end == file.len()),
                // A quoted number that a tag turned into one.
                (_, None) => source.trim_matches(['"', '\'']).to_owned(),
            };
            Node { span, kind: Kind::Scalar(Scalar { text, resolved }) }
        }
    }
}

/// A block scalar that the end of the file cuts off without a line break has none: decoders differ
/// here, and this is how the reference reads it.
fn without_invented_newline(mut text: String, source: &str, at_end: bool) -> String {
    if at_end && !spot::is_quoted(source, &text) && text.ends_with('\n') && !source.ends_with('\n') {
        text.pop();
    }
    text
}

fn range_of(location: Location, end: usize, base: usize) -> Range<usize> {
    let span = location.span();
    let start = (base + span.byte_offset().unwrap_or(0) as usize).min(end);
    start..(start + span.byte_len().unwrap_or(0) as usize).min(end)
}

/// The library's error in our words and places.
fn describe(error: &Error, text: &str, base: usize) -> YamlError {
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner;
    }
    let start = error.location().map_or(0, |location| {
        location
            .span()
            .byte_offset()
            .map_or_else(|| offset_of(text, location), |offset| (offset as usize).min(text.len()))
    });
    let length = text[start..].chars().next().map_or(0, |c| if c == '\n' { 0 } else { c.len_utf8() });
    let message: Cow<'_, str> = DefaultMessageFormatter.format_message(error);
    let span = base + start..base + start + length;
    if let Some((message, hint)) = too_large(error, &message) {
        return YamlError { message, span, hint: Some(hint), too_large: true };
    }
    YamlError {
        message: message.replace('`', "'"),
        span,
        hint: hint(text, start, &message),
        too_large: false,
    }
}

/// Which bound a document goes over, and what to do.
fn too_large(error: &Error, message: &str) -> Option<(String, &'static str)> {
    let deep = || (format!("lists and maps are nested more than {MAX_DEPTH} deep"), "nest less");
    let aliases = || {
        let message = "anchors and aliases make the document too large".to_owned();
        (message, "write out what they stand for, or split the document")
    };
    match error {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => Some(deep()),
        Error::Budget {
            breach:
                BudgetBreach::Aliases { .. }
                | BudgetBreach::Anchors { .. }
                | BudgetBreach::AliasAnchorRatio { .. },
            ..
        }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => Some(aliases()),
        Error::Budget { .. } => {
            let message = format!("the document holds more than {MAX_NODES} values");
            Some((message, "split it; long lists belong in a data file"))
        }
        _ if message.contains("recursion limit") => Some(deep()),
        _ => None,
    }
}

/// Byte offset of a line and column, both counted from 1 and in characters.
fn offset_of(text: &str, location: Location) -> usize {
    let (line, column) = (location.line().max(1) as usize, location.column().max(1) as usize);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(offset, _)| offset)
}

/// What usually is behind a syntax error.
fn hint(text: &str, at: usize, message: &str) -> Option<&'static str> {
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        return Some("indent with spaces: YAML does not take tabs");
    }
    if text[at..].starts_with(['@', '`', '%']) {
        return Some("put the value into quotes: it begins with a character that YAML reserves");
    }
    let known: &[(&str, &str)] = &[
        ("found a tab", "indent with spaces: YAML does not take tabs"),
        ("mapping values", "put the value into quotes if its `: ` belongs to it; else check the indentation"),
        ("unclosed bracket", "close it, or put the value into quotes if the bracket belongs to it"),
        ("unclosed quote", "close the quote"),
        ("multiline quoted scalar", "close the quote, or indent the lines that follow"),
        ("after single-quoted", "inside single quotes, write a quote twice"),
        ("after double-quoted", "inside double quotes, write a quote as `\\\"`"),
        ("unknown anchor", "put the value into quotes if its `*` belongs to it"),
        ("recursive references", "an anchor cannot stand for a part of itself: write out what is meant"),
        ("tabs disallowed", "indent with spaces: YAML does not take tabs"),
        (r"\u{0}", "the file holds a NUL byte: remove it, or save the file as UTF-8 text"),
        ("cannot be a key", "write a single word before the colon, in quotes if it has brackets"),
    ];
    known.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar(s) => match s.resolved {
                Resolved::Null => "null".to_owned(),
                Resolved::Text => format!("{:?}", s.text),
                Resolved::Bool(b) => format!("{b}({})", s.text),
                Resolved::Int(i) => format!("{i}({})", s.text),
                Resolved::Float(x) => format!("{x}({})", s.text),
            },
            Kind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
            Kind::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(k, v)| format!("{}: {}", show(k), show(v))).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn read(text: &str) -> Vec<String> {
        documents(text)
            .iter()
            .map(|document| match document {
                Ok(node) => show(node),
                Err(error) => format!("{}@{}", error.message, error.span.start),
            })
            .collect()
    }

    #[test]
    fn scalars_keep_their_text() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), [expected], "{text:?}");
        check("a: 1.0", r#"{"a": 1(1.0)}"#);
        check("a: off", r#"{"a": false(off)}"#);
        check("a: 'off'", r#"{"a": "off"}"#);
        check("a: 0644", r#"{"a": 420(0644)}"#);
        check("a: .nan", r#"{"a": NaN(.nan)}"#);
        check("a: ~\nb:\nc: ''", r#"{"a": null, "b": null, "c": ""}"#);
        check(r#"a: "x\ty""#, r#"{"a": "x\ty"}"#);
        check("a: !!str 5", r#"{"a": "5"}"#);
        check("a: 18446744073709551615", r#"{"a": 18446744073709552000(18446744073709551615)}"#);
        check("a: |\n  x\n   y\n\nb: 1", r#"{"a": "x\n y\n", "b": 1(1)}"#);
        check("a: >-\n  x\n  y\n", r#"{"a": "x y"}"#);
        check("a: 1\na: 2", r#"{"a": 1(1), "a": 2(2)}"#);
        check("u: &x {a: 1}\nv: {<<: *x, b: 2}", r#"{"u": {"a": 1(1)}, "v": {"b": 2(2), "a": 1(1)}}"#);
    }

    #[test]
    fn block_at_end_of_file_gets_no_newline() {
        let check = |text: &str, expected: &str| assert_eq!(read(text), [expected], "{text:?}");
        check("a: |\n  x", r#"{"a": "x"}"#);
        check("a: |\n  x\n", r#"{"a": "x\n"}"#);
        check("a: |\n  'x'\n  y", r#"{"a": "'x'\ny"}"#);
        check(r#"a: "x\n""#, r#"{"a": "x\n"}"#);
    }

    #[test]
    fn documents_are_separate() {
        let check = |text: &str, expected: &[&str]| assert_eq!(read(text), expected, "{text:?}");
        check("", &[]);
        check("# only a comment\n\n", &[]);
        check("---\na: 1\n", &[r#"{"a": 1(1)}"#]);
        check("# c\n---\na: 1\n", &[r#"{"a": 1(1)}"#]);
        check("%YAML 1.1\n---\na: 1\n", &[r#"{"a": 1(1)}"#]);
        check("\u{feff}a: 1\n", &[r#"{"a": 1(1)}"#]);
        check("a: 1\n---\nb: 2\n", &[r#"{"a": 1(1)}"#, r#"{"b": 2(2)}"#]);
        check("a: 1\r\n---\r\nb: 2\r\n", &[r#"{"a": 1(1)}"#, r#"{"b": 2(2)}"#]);
        check("a: 1\n---\n# nothing\n---\nb: 2\n", &[r#"{"a": 1(1)}"#, "null", r#"{"b": 2(2)}"#]);
        check("a: 1\n---\n", &[r#"{"a": 1(1)}"#, "null"]);
        check("a: 1\n...\n# end\n", &[r#"{"a": 1(1)}"#]);
        check("a: 1\n...\nb: 2\n", &[r#"{"a": 1(1)}"#, r#"{"b": 2(2)}"#]);
        check("a: |\n  x\n  ---\n  y\n", &[r#"{"a": "x\n---\ny\n"}"#]);
        check(
            "a: 1\n---\nb: [\n---\nc: 3\n",
            &[r#"{"a": 1(1)}"#, "unclosed bracket '['@12", r#"{"c": 3(3)}"#],
        );
    }

    #[test]
    fn bombs_are_refused() {
        let lines = ('a'..'i').zip('b'..='i').map(|(from, to)| {
            let list = vec![format!("*{from}"); 9].join(", ");
            format!("{to}: &{to} [{list}]\n")
        });
        let bomb: String = std::iter::once("a: &a [x, x]\n".to_owned()).chain(lines).collect();
        for text in [bomb, "[".repeat(500), format!("a: {}", "- ".repeat(500)), "- x\n".repeat(MAX_NODES)] {
            let documents = documents(&text);
            assert!(matches!(&documents[..], [Err(_)]), "{text:.60}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-a:|>\"'\\\\#&*!%@{}\\[\\],. \t\r\né\u{feff}]{0,60}") {
            for node in documents(&text).into_iter().flatten() {
                prop_assert!(text.get(node.span).is_some());
            }
        }
    }
}
