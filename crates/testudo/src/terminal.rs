//! How wide the terminal is.

use std::io::IsTerminal;

use console::Term;

/// Columns where there is no terminal: of files, and of what other programs read.
const COLUMNS: usize = 140;

/// Columns below which nothing is laid out.
const LEAST: usize = 40;

/// The columns of a stream, the standard output or the one for errors.
pub(crate) fn columns(stream: &impl IsTerminal) -> usize {
    if !stream.is_terminal() {
        return COLUMNS;
    }
    // Either is that of the terminal in which the command runs.
    let size = Term::stderr().size_checked().or_else(|| Term::stdout().size_checked());
    size.map_or(COLUMNS, |(_, columns)| usize::from(columns).max(LEAST))
}
