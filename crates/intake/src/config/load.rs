//! One acquisition file: its documents, and everything that is wrong with them.

use std::ops::Range;

use serde::de::DeserializeOwned;
pub(super) use testudo_config::decode::suggestion;
use testudo_config::{
    decode::{At, decode},
    tree::Node,
};
use testudo_rules::{Diagnostic, Severity};

use super::codes;

/// What was found wrong while a file is read.
#[derive(Default)]
pub(super) struct Loading {
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One document of a file.
pub(super) struct Document {
    pub(super) root: Node,
    /// What the kind of source adds to messages.
    pub(super) prefix: String,
}

impl Loading {
    /// Decodes a document.
    pub(super) fn decode<T: DeserializeOwned>(&mut self, document: &Document) -> Option<T> {
        let wrong = match decode(&document.root) {
            Ok(decoded) => return Some(decoded),
            Err(wrong) => wrong,
        };
        for diagnostic in wrong {
            self.take(diagnostic, &document.prefix);
        }
        None
    }

    /// Takes over what was found wrong with a file as such.
    pub(super) fn take(&mut self, diagnostic: Diagnostic, prefix: &str) {
        use testudo_config::codes::{MISSING_KEY, UNKNOWN_KEY, YAML};
        let code = match diagnostic.code {
            YAML => codes::YAML,
            UNKNOWN_KEY => codes::UNKNOWN_KEY,
            MISSING_KEY => codes::MISSING_KEY,
            _ => codes::VALUE,
        };
        let message = format!("{prefix}{}", diagnostic.message);
        self.diagnostics.push(Diagnostic { code, message, ..diagnostic });
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
        self.report(code, Severity::Error, document, at, message, hint);
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
        self.report(code, Severity::Warning, document, at, message, hint);
    }

    fn report(
        &mut self,
        code: &'static str,
        severity: Severity,
        document: &Document,
        at: Option<&Range<usize>>,
        message: &str,
        hint: Option<&str>,
    ) {
        let begin = &document.root.spot;
        let place = at.map_or_else(|| begin.place(), |span| begin.with_span(span.clone()).place());
        let message = format!("{}{message}", document.prefix);
        self.diagnostics.push(Diagnostic { code, severity, message, place, hint: hint.map(str::to_owned) });
    }
}

/// The range of a value.
pub(super) fn span_of<T>(value: &At<T>) -> Range<usize> {
    value.span.clone()
}
