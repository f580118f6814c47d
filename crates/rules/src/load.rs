//! What the loaders share: they walk the tree of a document, take typed values out of it, and
//! report everything that is wrong with it, each thing with its place.

use std::{collections::HashMap, fmt, ops::Range, sync::Arc};

use testudo_event::duration;

use crate::{
    codes,
    keys::Keys,
    place::{Diagnostic, Place, Severity, SourceFile},
    yaml::{self, Kind, Node, Resolved, Scalar},
};

/// What a file gave: the documents that can be used, and everything that was found wrong.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The documents without errors, in file order.
    pub items: Vec<T>,
    /// Errors and warnings, in file order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads every document of a file. A document for which an error was reported is left out.
pub(crate) fn documents<T>(
    file: Arc<SourceFile>,
    mut read: impl FnMut(&mut Loading, &Node) -> Option<T>,
) -> Loaded<T> {
    let mut load = Loading::new(file);
    let mut items = Vec::new();
    for document in yaml::documents(&Arc::clone(&load.file).text) {
        match document {
            Ok(node) => {
                let (errors, first) = (load.errors, load.diagnostics.len());
                let item = read(&mut load, &node);
                load.diagnostics[first..].sort_by_key(|diagnostic| diagnostic.place.offset);
                if load.errors == errors {
                    items.extend(item);
                }
            }
            Err(error) => {
                let code = if error.too_large { codes::TOO_LARGE } else { codes::YAML };
                load.error(code, error.span, error.message, error.hint.map(str::to_owned));
            }
        }
    }
    Loaded { items, diagnostics: load.diagnostics }
}

/// The state of loading one file.
pub(crate) struct Loading {
    pub(crate) file: Arc<SourceFile>,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
}

impl Loading {
    fn new(file: Arc<SourceFile>) -> Self {
        Loading { file, diagnostics: Vec::new(), errors: 0 }
    }

    /// How many errors were reported so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The place of a byte range.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        Place::of(&self.file, span.clone())
    }

    /// Reports something for which the document cannot be used.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.errors += 1;
        self.report(code, Severity::Error, span, message.into(), hint.into());
    }

    /// Reports something that may not be what the author means.
    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.report(code, Severity::Warning, span, message.into(), hint.into());
    }

    fn report(
        &mut self,
        code: &'static str,
        severity: Severity,
        span: Range<usize>,
        message: String,
        hint: Option<String>,
    ) {
        let place = self.place(&span);
        self.diagnostics.push(Diagnostic { code, severity, message, place, hint });
    }

    /// A value of another kind than the key takes.
    pub(crate) fn wrong_type(&mut self, node: &Node, what: impl fmt::Display, wants: &str, hint: &str) {
        let message = format!("{what} takes {wants}, not {}", node.kind_name());
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.error(codes::WRONG_TYPE, node.span.clone(), message, hint);
    }

    /// Any single value as the text that it is written with.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: impl fmt::Display) -> Option<Text<'n>> {
        if let Kind::Scalar(scalar) = &node.kind {
            return Some(Text { text: &scalar.text, span: &node.span });
        }
        self.wrong_type(
            node,
            what,
            "text",
            "put the value into quotes if its brackets or braces belong to it",
        );
        None
    }

    /// A list; nothing is an empty one.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: impl fmt::Display) -> &'n [Node] {
        match &node.kind {
            Kind::List(items) => items,
            _ if node.is_null() => &[],
            _ => {
                self.wrong_type(node, what, "a list", "begin each item on its own line with `- `");
                &[]
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts<'n>(&mut self, node: &'n Node, what: &str) -> Vec<Text<'n>> {
        let items = self.list(node, format_args!("`{what}`"));
        items.iter().filter_map(|item| self.text(item, format_args!("an item of `{what}`"))).collect()
    }

    /// A map whose keys the rule's author chooses; nothing is an empty one. Reports repeated keys.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, what: impl fmt::Display) -> Vec<(Text<'n>, &'n Node)> {
        let entries = match &node.kind {
            Kind::Map(entries) => entries,
            _ if node.is_null() => return Vec::new(),
            _ => {
                self.wrong_type(node, what, "a map", "write `key: value` lines below it, indented");
                return Vec::new();
            }
        };
        let mut seen: HashMap<&str, &Range<usize>> = HashMap::new();
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Kind::Scalar(Scalar { text, .. }) = &key.kind else { continue };
            if let Some(first) = seen.insert(text, &key.span) {
                let line = self.place(first).line;
                let hint = format!("it stands in line {line} already: keep one of them");
                self.error(
                    codes::DUPLICATE_KEY,
                    key.span.clone(),
                    format!("key `{text}` is given twice"),
                    hint,
                );
                continue;
            }
            map.push((Text { text, span: &key.span }, value));
        }
        map
    }

    /// A duration in nanoseconds.
    pub(crate) fn duration(&mut self, text: Text<'_>, what: &str) -> Option<i64> {
        if let Ok(nanoseconds) = duration::parse(text.text) {
            return Some(nanoseconds);
        }
        let message = format!("`{what}` is no duration: `{}`", text.text);
        let hint = if text.text.ends_with('d') {
            "write days as hours, e.g. `48h`"
        } else {
            "write a number and a unit, e.g. `30s`, `5m`, `1h30m`"
        };
        self.error(codes::DURATION, text.span.clone(), message, hint.to_owned());
        None
    }

    /// Checks the `format` of a document: the versions from 1.0 to 3.0 are read.
    pub(crate) fn format(&mut self, fields: &Fields<'_>) {
        let Some(format) = fields.text(self, "format") else { return };
        let parts: Option<Vec<u64>> =
            format.text.trim_start_matches('v').split('.').map(|part| part.parse().ok()).collect();
        let readable = parts.is_some_and(|mut parts| {
            parts.resize(parts.len().max(3), 0);
            parts[..] >= [1, 0, 0][..] && parts[..] <= [3, 0, 0][..]
        });
        if !readable {
            let message = format!("format `{}` is not readable", format.text);
            self.error(codes::FORMAT, format.span.clone(), message, "formats 1.0 to 3.0 are read".to_owned());
        }
    }
}

/// The text of a value, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'n> {
    pub(crate) text: &'n str,
    pub(crate) span: &'n Range<usize>,
}

/// A map with known keys.
pub(crate) struct Fields<'n> {
    /// Where it begins.
    pub(crate) span: Range<usize>,
    entries: Vec<(Text<'n>, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// Reads a map, reporting every key that is not known there.
    pub(crate) fn read(load: &mut Loading, node: &'n Node, keys: &Keys) -> Self {
        let entries = load.map(node, keys.what);
        for (key, _) in &entries {
            if keys.get(key.text).is_none() {
                let message = format!("unknown key `{}` in {}", key.text, keys.what);
                let hint = suggestion(key.text, &keys.names());
                load.error(codes::UNKNOWN_KEY, key.span.clone(), message, hint);
            }
        }
        Fields { span: node.span.clone(), entries }
    }

    /// The value of a key, if one is given.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| name.text == key).map(|&(_, node)| node).filter(|n| !n.is_null())
    }

    /// The text of a key; none and the empty one are the same.
    pub(crate) fn text(&self, load: &mut Loading, key: &str) -> Option<Text<'n>> {
        let text = load.text(self.get(key)?, format_args!("`{key}`"))?;
        (!text.text.is_empty()).then_some(text)
    }

    /// The text of a key that must have one.
    pub(crate) fn require(&self, load: &mut Loading, key: &str, what: &str, hint: &str) -> Option<Text<'n>> {
        let text = match self.get(key) {
            Some(node) => load.text(node, format_args!("`{key}`"))?,
            None => Text { text: "", span: &const { 0..0 } },
        };
        if !text.text.is_empty() {
            return Some(text);
        }
        load.error(codes::MISSING_KEY, self.span.clone(), format!("{what} has no `{key}`"), hint.to_owned());
        None
    }

    /// The integer of a key.
    pub(crate) fn integer(&self, load: &mut Loading, key: &str) -> Option<i64> {
        let node = self.get(key)?;
        match &node.kind {
            Kind::Scalar(Scalar { resolved: Resolved::Int(value), .. }) => Some(*value),
            Kind::Scalar(Scalar { resolved: Resolved::Float(value), .. })
                if value.fract() == 0.0 && value.abs() < 9e18 =>
            {
                Some(*value as i64)
            }
            Kind::Scalar(Scalar { resolved: Resolved::Float(_), text }) => {
                let message = format!("`{key}` takes a whole number, not {text}");
                let hint = "write digits alone; the largest are about 9 trillion million".to_owned();
                load.error(codes::WRONG_TYPE, node.span.clone(), message, Some(hint));
                None
            }
            _ => {
                load.wrong_type(node, format_args!("`{key}`"), "a whole number", unquote(node));
                None
            }
        }
    }

    /// The number of a key.
    pub(crate) fn float(&self, load: &mut Loading, key: &str) -> Option<f64> {
        let node = self.get(key)?;
        match &node.kind {
            Kind::Scalar(Scalar { resolved: Resolved::Int(value), .. }) => Some(*value as f64),
            Kind::Scalar(Scalar { resolved: Resolved::Float(value), .. }) => Some(*value),
            _ => {
                load.wrong_type(node, format_args!("`{key}`"), "a number", unquote(node));
                None
            }
        }
    }

    /// The boolean of a key; false where there is none.
    pub(crate) fn flag(&self, load: &mut Loading, key: &str) -> bool {
        let Some(node) = self.get(key) else { return false };
        if let Kind::Scalar(Scalar { resolved: Resolved::Bool(value), .. }) = node.kind {
            return value;
        }
        load.wrong_type(
            node,
            format_args!("`{key}`"),
            "a boolean",
            "write `true` or `false`, without quotes",
        );
        false
    }

    /// The choice of a key among `choices`; the first one where none is given or it is unknown.
    pub(crate) fn choice<T: Copy>(&self, load: &mut Loading, key: &str, choices: &[(&str, T)]) -> T {
        let default = choices[0].1;
        let Some(text) = self.text(load, key) else { return default };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text.text) {
            return *choice;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let message = format!("`{key}` cannot be `{}`", text.text);
        load.error(codes::UNKNOWN_VALUE, text.span.clone(), message, suggestion(text.text, &names));
        default
    }

    /// Decodes keys that the engine has no use for, so that a wrong type is still reported.
    pub(crate) fn ignore(&self, load: &mut Loading, texts: &[&str], flags: &[&str], lists: &[&str]) {
        for key in texts {
            self.text(load, key);
        }
        for key in flags {
            self.flag(load, key);
        }
        for key in lists {
            if let Some(node) = self.get(key) {
                load.texts(node, key);
            }
        }
    }
}

fn unquote(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Scalar(Scalar { resolved: Resolved::Text, text }) if text.parse::<f64>().is_ok() => {
            "write it without quotes"
        }
        _ => "",
    }
}

/// A hint for a name that is not among the `known`: the closest one, or all of them.
pub(crate) fn suggestion(name: &str, known: &[&str]) -> Option<String> {
    let folded = name.to_lowercase().replace(['-', '_'], "");
    let closest = known
        .iter()
        .map(|candidate| (distance(&folded, &candidate.to_lowercase().replace(['-', '_'], "")), *candidate))
        .min_by_key(|(distance, _)| *distance)?;
    if closest.0 <= folded.chars().count().div_ceil(4) {
        return Some(format!("did you mean `{}`?", closest.1));
    }
    let mut names = known.to_vec();
    names.sort_unstable();
    Some(format!("known here: {}", names.join(", ")))
}

/// Edits (insert, delete, replace, swap of neighbours) between two names.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let replace = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, expected: usize| assert_eq!(distance(a, b), expected, "{a} {b}");
        check("", "", 0);
        check("", "abc", 3);
        check("fitler", "filter", 1);
        check("filte", "filter", 1);
        check("groupbby", "groupby", 1);
        check("abc", "xyz", 3);
    }

    #[test]
    fn suggestions() {
        let known = ["filter", "leakspeed", "groupby"];
        let check =
            |name: &str, expected: &str| assert_eq!(suggestion(name, &known).as_deref(), Some(expected));
        check("leak_speed", "did you mean `leakspeed`?");
        check("Filter", "did you mean `filter`?");
        check("gruopby", "did you mean `groupby`?");
        check("whatever", "known here: filter, groupby, leakspeed");
    }
}
