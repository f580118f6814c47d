//! One acquisition file: its documents, and everything that is wrong with them.

use std::{ops::Range, sync::Arc};

use serde::de::DeserializeOwned;
use serde_saphyr::{DefaultMessageFormatter, Error, Location, MessageFormatter, Spanned};
use testudo_rules::{Diagnostic, Place, Severity, SourceFile};

use super::{codes, expand::Expanded};

/// Nesting of lists and maps in one document.
const MAX_DEPTH: usize = 32;
/// Values in one document after aliases are replaced.
const MAX_NODES: usize = 20_000;

/// What was found wrong while a file is read.
pub(super) struct Loading<'l> {
    pub(super) file: &'l Arc<SourceFile>,
    pub(super) expanded: &'l Expanded,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One document of a file: its range in the expanded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) range: Range<usize>,
    /// What the kind of source adds to messages.
    pub(super) prefix: String,
}

/// The documents of a stream, without empty ones. YAML allows no document marker at the beginning of
/// a line inside of a document, so no parsing is needed to find them.
pub(super) fn documents(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut at = start;
    for line in text[start..].split_inclusive('\n') {
        let marker = ["---", "..."].into_iter().find(|marker| {
            line.strip_prefix(marker)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        });
        if let Some(marker) = marker {
            ranges.push(start..at);
            // Content may follow the marker on its line.
            start = at + marker.len();
        }
        at += line.len();
    }
    ranges.push(start..text.len());
    ranges.retain(|range| {
        text[range.clone()]
            .lines()
            .map(str::trim)
            .any(|line| !line.is_empty() && !line.starts_with(['#', '%']))
    });
    ranges
}

impl Loading<'_> {
    /// Decodes a document.
    pub(super) fn decode<T: DeserializeOwned>(&mut self, document: &Document) -> Option<T> {
        let text = &self.expanded.text[document.range.clone()];
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: MAX_DEPTH,
                flow_nesting_limit: MAX_DEPTH,
                max_nodes: MAX_NODES,
                max_events: MAX_NODES * 3,
            },
            legacy_octal_numbers: true,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options(text, options) {
            Ok(decoded) => Some(decoded),
            Err(error) => {
                self.describe(&error, document);
                None
            }
        }
    }

    fn describe(&mut self, error: &Error, document: &Document) {
        let mut error = error.without_snippet();
        while let Error::AliasError { error: inner, .. } = error {
            error = inner;
        }
        let text = &self.expanded.text;
        let span = error.location().map_or(document.range.start..document.range.start, |location| {
            if location.span().byte_offset().is_some() {
                return range_of(location, document, text.len());
            }
            let at = document.range.start + offset_of(&text[document.range.clone()], location);
            at..at
        });
        let (code, message, hint) = match error {
            Error::SerdeUnknownField { field, expected, .. } => {
                (codes::UNKNOWN_KEY, format!("unknown key `{field}`"), suggestion(field, expected))
            }
            Error::SerdeInvalidType { unexpected, expected, .. }
            | Error::SerdeInvalidValue { unexpected, expected, .. } => {
                let hint = expected.contains("sequence").then(|| "write it as a list: `- value`".to_owned());
                (codes::VALUE, format!("{unexpected} stands where {expected} is expected"), hint)
            }
            Error::InvalidScalar { ty, .. } => (codes::VALUE, format!("{ty} is expected here"), None),
            error => {
                let message: String = DefaultMessageFormatter.format_message(error).replace('`', "'");
                if message.contains("sequence start") {
                    let hint = "write it as a list: `- value`".to_owned();
                    (codes::VALUE, "a list is expected here".to_owned(), Some(hint))
                } else {
                    (codes::YAML, message, None)
                }
            }
        };
        self.report(code, Severity::Error, document, span, &message, hint);
    }

    /// Reports something for which the document cannot be used, at a value or at its beginning.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        document: &Document,
        at: Option<&Range<usize>>,
        message: &str,
        hint: Option<&str>,
    ) {
        let span = at.cloned().unwrap_or_else(|| self.first_line(document));
        self.report(code, Severity::Error, document, span, message, hint.map(str::to_owned));
    }

    /// Reports something that may not be what the author means.
    pub(super) fn warn(
        &mut self,
        code: &'static str,
        document: &Document,
        at: Option<&Range<usize>>,
        message: &str,
        hint: Option<&str>,
    ) {
        let span = at.cloned().unwrap_or_else(|| self.first_line(document));
        self.report(code, Severity::Warning, document, span, message, hint.map(str::to_owned));
    }

    /// The first line of a document that has content.
    pub(super) fn first_line(&self, document: &Document) -> Range<usize> {
        let text = &self.expanded.text[document.range.clone()];
        let mut at = document.range.start;
        for line in text.split_inclusive('\n') {
            let content = line.trim();
            if !content.is_empty() && !content.starts_with('#') {
                let start = at + line.len() - line.trim_start().len();
                return start..start + content.len();
            }
            at += line.len();
        }
        document.range.start..document.range.start
    }

    fn report(
        &mut self,
        code: &'static str,
        severity: Severity,
        document: &Document,
        span: Range<usize>,
        message: &str,
        hint: Option<String>,
    ) {
        let place = self.place(&span);
        let message = format!("{}{message}", document.prefix);
        self.diagnostics.push(Diagnostic { code, severity, message, place, hint });
    }

    /// The place of a range of the expanded text.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let text = &self.file.text;
        let mut span = self.expanded.original(span);
        span.start = text.floor_char_boundary(span.start.min(text.len()));
        let before = &text[..span.start];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: Arc::clone(self.file),
            line: before.matches('\n').count() as u32 + 1,
            column: before[line..].chars().count() as u32 + 1,
            offset: span.start as u32,
            length: span.len() as u32,
        }
    }
}

/// Byte offset of a line and a column, both counted from 1.
fn offset_of(text: &str, location: Location) -> usize {
    let (line, column) = (location.line().max(1) as usize, location.column().max(1) as usize);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(offset, _)| offset)
}

/// The range of a value in the expanded text.
pub(super) fn span_of<T>(value: &Spanned<T>, document: &Document, end: usize) -> Range<usize> {
    range_of(value.defined, document, end)
}

fn range_of(location: Location, document: &Document, end: usize) -> Range<usize> {
    let span = location.span();
    let start = (document.range.start + span.byte_offset().unwrap_or(0) as usize).min(end);
    start..(start + span.byte_len().unwrap_or(0) as usize).min(end)
}

/// A hint for a name that is not known: the closest one, or all of them.
pub(super) fn suggestion(name: &str, known: &[&str]) -> Option<String> {
    let closest = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), other)).min()?;
    if closest.0 <= name.chars().count().div_ceil(4) {
        return Some(format!("did you mean `{}`?", closest.1));
    }
    let mut names = known.to_vec();
    names.sort_unstable();
    Some(format!("known here: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<_> = documents(text).into_iter().map(|range| text[range].trim()).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("", &[]);
        check("# only\n---\n\n# comments\n", &[]);
        check("a: 1", &["a: 1"]);
        check("---\na: 1\n---\nb: 2\n---\n", &["a: 1", "b: 2"]);
        check("a: 1\n...\n---\nb: |\n  --- x\n--- c: 3\n", &["a: 1", "b: |\n  --- x", "c: 3"]);
        check("\u{feff}a: 1\n----\n", &["a: 1\n----"]);
    }
}
