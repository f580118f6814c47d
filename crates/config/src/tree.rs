//! A YAML document as a tree in which every value knows the file and the place that it came from,
//! whatever was put into the text by the environment or over it by another file.

use std::{collections::HashMap, ops::Range, sync::Arc};

use testudo_rules::{
    Diagnostic, Place, Severity, SourceFile,
    yaml::{self, Kind, Resolved},
};

use crate::{
    codes,
    expand::{Expanded, expand},
};

/// A file's text as it stands there, and as it is read.
#[derive(Debug)]
pub(crate) struct Text {
    file: Arc<SourceFile>,
    expanded: Expanded,
}

/// A range of a file.
#[derive(Clone, Debug)]
pub struct Spot {
    text: Arc<Text>,
    pub(crate) span: Range<usize>,
}

impl Spot {
    /// The place in the file as it was typed.
    pub fn place(&self) -> Place {
        let text = &self.text.file.text;
        let mut span = self.text.expanded.original(&self.span);
        span.start = text.floor_char_boundary(span.start.min(text.len()));
        let before = &text[..span.start];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: Arc::clone(&self.text.file),
            line: before.matches('\n').count() as u32 + 1,
            column: before[line..].chars().count() as u32 + 1,
            offset: span.start as u32,
            length: span.len() as u32,
        }
    }

    /// The range in the text of the file with the variables put in.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Another range of the same file, of the text with the variables put in.
    pub fn with_span(&self, span: Range<usize>) -> Self {
        Self { text: Arc::clone(&self.text), span }
    }

    /// Something wrong here.
    pub fn complain(
        &self,
        code: &'static str,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Diagnostic {
        Diagnostic { code, severity: Severity::Error, message: message.into(), place: self.place(), hint }
    }

    /// Something here that may not be what the author means.
    pub fn warn(&self, code: &'static str, message: impl Into<String>, hint: Option<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..self.complain(code, message, hint) }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where.
    pub spot: Spot,
    /// What.
    pub value: Value,
}

/// The shapes of values.
#[derive(Clone, Debug)]
pub enum Value {
    /// A single value: its literal text, and what YAML takes it for.
    Scalar(String, Resolved),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file, each key once.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub spot: Spot,
    /// The value.
    pub value: Node,
}

impl Node {
    /// What an empty file holds.
    pub(crate) fn null(path: String) -> Self {
        let file = Arc::new(SourceFile { path, text: String::new() });
        let text = Arc::new(Text { file, expanded: expand("", &|_| None) });
        Self { spot: Spot { text, span: 0..0 }, value: Value::Scalar(String::new(), Resolved::Null) }
    }

    /// No value is given.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(_, Resolved::Null))
    }

    /// The kind in words, for messages.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(_, Resolved::Null) => "nothing",
            Value::Scalar(_, Resolved::Bool(_)) => "a boolean",
            Value::Scalar(_, Resolved::Int(_) | Resolved::Float(_)) => "a number",
            Value::Scalar(_, Resolved::Text) => "text",
        }
    }

    /// The text of a single value, as it is written.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The value of a key; none where it is missing or null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// Where a path of keys leads; where it ends early, the last place on the way.
    pub fn spot_of(&self, path: &[&str]) -> &Spot {
        let mut node = self;
        let mut spot = &self.spot;
        for key in path {
            let Value::Map(entries) = &node.value else {
                break;
            };
            let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
                break;
            };
            node = &entry.value;
            spot = match node.value {
                Value::Scalar(..) if !node.is_null() => &node.spot,
                _ => &entry.spot,
            };
        }
        spot
    }
}

/// The documents of a file, with the variables of the environment put in. Each is read by itself: one
/// that is broken spoils no other. An empty file has none.
pub fn documents(
    file: SourceFile,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<Result<Node, Box<Diagnostic>>> {
    let expanded = expand(&file.text, variable);
    let text = Arc::new(Text { file: Arc::new(file), expanded });
    yaml::documents(&text.expanded.text)
        .into_iter()
        .map(|document| {
            let at = |span: Range<usize>| Spot { text: Arc::clone(&text), span };
            let node = document.map_err(|error| {
                at(error.span).complain(codes::YAML, error.message, error.hint.map(str::to_owned))
            })?;
            convert(node, &at).map_err(Box::new)
        })
        .collect()
}

fn convert(node: yaml::Node, at: &dyn Fn(Range<usize>) -> Spot) -> Result<Node, Diagnostic> {
    let value = match node.kind {
        Kind::Scalar(scalar) => Value::Scalar(scalar.text, scalar.resolved),
        Kind::List(items) => {
            Value::List(items.into_iter().map(|item| convert(item, at)).collect::<Result<_, _>>()?)
        }
        Kind::Map(pairs) => {
            let mut seen = HashMap::new();
            let mut entries = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let spot = at(key.span);
                let Kind::Scalar(scalar) = key.kind else {
                    return Err(spot.complain(codes::YAML, "a list or map cannot be a key", None));
                };
                let key = scalar.text;
                if let Some(line) = seen.insert(key.clone(), spot.place().line) {
                    let hint = format!("the first one is in line {line}: keep one of the two");
                    return Err(spot.complain(codes::YAML, format!("duplicate key `{key}`"), Some(hint)));
                }
                entries.push(Entry { key, spot, value: convert(value, at)? });
            }
            Value::Map(entries)
        }
    };
    Ok(Node { spot: at(node.span), value })
}
