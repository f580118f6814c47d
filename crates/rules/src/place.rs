//! Where something stands in a rule file, and what is wrong there.

use std::{ops::Range, sync::Arc};

use crate::spot;

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

impl Place {
    /// The place of a byte range of a file.
    pub fn of(file: &Arc<SourceFile>, span: Range<usize>) -> Place {
        let text = &file.text;
        let start = (0..=span.start.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        let before = &text[..start.unwrap_or(0)];
        let before = before.strip_prefix('\u{feff}').unwrap_or(before);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place {
            file: Arc::clone(file),
            line: before.matches('\n').count() as u32 + 1,
            column: line.chars().count() as u32 + 1,
            offset: span.start as u32,
            length: span.len() as u32,
        }
    }

    /// The place of a byte range of `decoded`, which is the text of the scalar at this place.
    pub fn within(&self, decoded: &str, span: Range<usize>) -> Place {
        let scalar = self.offset as usize..(self.offset + self.length) as usize;
        let start = spot::locate(&self.file.text, &scalar, decoded, span.start);
        let end = spot::locate(&self.file.text, &scalar, decoded, span.end).max(start);
        Place::of(&self.file, start..end)
    }
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
