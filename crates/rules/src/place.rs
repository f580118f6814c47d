//! Where something stands in a rule file, and what is wrong there.

use std::sync::Arc;

/// A rule file's path and text, kept for messages.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As given by whoever loaded it.
    pub path: String,
    /// The whole file.
    pub text: String,
}

/// A place in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte offset of the value in the file's text, if it is known.
    pub offset: u32,
    /// Length of the value in bytes, if it is known.
    pub length: u32,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The document is not used.
    Error,
    /// It is used, but not as its author may think.
    Warning,
}

/// Something wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code, e.g. `R004`; each has a line in `docs/codes.md`.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What: a lower-case fragment.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to do.
    pub hint: Option<String>,
}
