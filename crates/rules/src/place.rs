//! Where something stands in a rule file, and what is wrong there.

use std::{
    cell::RefCell,
    ops::Range,
    sync::{Arc, Weak},
};

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
        let (line, column) = LAST.with_borrow_mut(|last| {
            if !std::ptr::eq(last.file.as_ptr(), Arc::as_ptr(file)) {
                *last = Lines::of(file);
            }
            last.at(&file.text, span.start)
        });
        let (offset, length) = (span.start as u32, span.len() as u32);
        Place { file: Arc::clone(file), line, column, offset, length }
    }

    /// The place of a byte range of `decoded`, which is the text of the scalar at this place.
    pub fn within(&self, decoded: &str, span: Range<usize>) -> Place {
        let scalar = self.offset as usize..(self.offset + self.length) as usize;
        let start = spot::locate(&self.file.text, &scalar, decoded, span.start);
        let end = spot::locate(&self.file.text, &scalar, decoded, span.end).max(start);
        Place::of(&self.file, start..end)
    }
}

thread_local! {
    /// The file in which a place was looked for last: a file of megabytes with a place for each of its values must not
    /// be read from its beginning for each.
    static LAST: RefCell<Lines> = const { RefCell::new(Lines { file: Weak::new(), starts: Vec::new(), last: (0, 1, 1) }) };
}

/// The lines of a file.
struct Lines {
    file: Weak<SourceFile>,
    /// Where they begin, in bytes.
    starts: Vec<u32>,
    /// A byte with its line and column.
    last: (usize, u32, u32),
}

impl Lines {
    fn of(file: &Arc<SourceFile>) -> Lines {
        let text = &file.text;
        // A mark of the byte order takes no place.
        let mark = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
        let newlines = text.match_indices('\n').map(|(at, _)| at as u32 + 1);
        let starts = std::iter::once(mark as u32).chain(newlines).collect();
        Lines { file: Arc::downgrade(file), starts, last: (mark, 1, 1) }
    }

    /// Line and column of a byte.
    fn at(&mut self, text: &str, to: usize) -> (u32, u32) {
        let count = |range: Range<usize>| text[range].chars().count() as u32;
        let to = text.floor_char_boundary(to);
        let line = self.starts.partition_point(|start| *start as usize <= to).max(1);
        let start = self.starts[line - 1] as usize;
        let to = to.max(start);
        let (last, last_line, last_column) = self.last;
        // Within a line, which may be long as well, from the nearer side.
        let column = if last_line as usize != line || last.abs_diff(to) > to - start {
            count(start..to) + 1
        } else if to >= last {
            last_column + count(last..to)
        } else {
            last_column - count(to..last)
        };
        self.last = (to, line as u32, column);
        (line as u32, column)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same from the beginning each time.
    fn plain(text: &str, at: usize) -> (u32, u32) {
        let before = &text[..text.floor_char_boundary(at)];
        let before = before.strip_prefix('\u{feff}').unwrap_or(before);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() as u32 + 1, line.chars().count() as u32 + 1)
    }

    proptest! {
        #[test]
        fn in_any_order(
            texts in proptest::collection::vec("\u{feff}?[aé\r\n]{0,12}", 2),
            asked in proptest::collection::vec((0..2_usize, 0..16_usize), 1..12),
        ) {
            let files: Vec<Arc<SourceFile>> = texts
                .into_iter()
                .map(|text| Arc::new(SourceFile { path: String::new(), text }))
                .collect();
            for (file, at) in asked {
                let place = Place::of(&files[file], at..at);
                prop_assert_eq!((place.line, place.column), plain(&files[file].text, at));
            }
        }
    }
}
