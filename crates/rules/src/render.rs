//! Diagnostics as people read them: message, file, line, a caret below the words, and what to do.

use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str, renderer::DecorStyle,
};

use crate::place::{Diagnostic, Place, Severity};

/// Columns of what is drawn for no terminal: logs and reports.
const COLUMNS: usize = 140;

/// Draws a diagnostic, with colours if `colour`.
pub fn render(diagnostic: &Diagnostic, colour: bool) -> String {
    render_within(diagnostic, colour, COLUMNS)
}

/// The same for a terminal with so many columns: what is underlined stands above its mark.
pub fn render_within(diagnostic: &Diagnostic, colour: bool, columns: usize) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = normalize_untrusted_str(&diagnostic.message);
    let place = &diagnostic.place;
    let text = &place.file.text;
    let (mut mark, mut number) = (underline(place), place.line as usize);
    if number > 1 && mark.start == text.len() && text.ends_with('\n') {
        // Behind the last line there is nothing to be shown.
        let end = text.len() - 1;
        (mark, number) = (end..end, number - 1);
    }
    // Not the whole file, which would be searched for its lines each time.
    let line = line_of(text, &mark);
    let mut group = level.primary_title(message).id(diagnostic.code).element(
        Snippet::source(&text[line.clone()])
            .path(&place.file.path)
            .line_start(number)
            .annotation(AnnotationKind::Primary.span(mark.start - line.start..mark.end - line.start)),
    );
    let hint = diagnostic.hint.as_deref().map(normalize_untrusted_str);
    if let Some(hint) = hint {
        group = group.element(Level::HELP.message(hint));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).term_width(columns).render(&[group])
}

/// The line of a range.
fn line_of(text: &str, range: &Range<usize>) -> Range<usize> {
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[range.end..].find('\n').map_or(text.len(), |at| range.end + at);
    let end = text[..end].strip_suffix('\r').map_or(end, str::len);
    start..end.max(range.end)
}

/// What to underline: the place on its first line, without the white space around it; at least one
/// character, if there is one.
fn underline(place: &Place) -> Range<usize> {
    let text = &place.file.text;
    let start = text.len().min(place.offset as usize);
    let start = (0..=start).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let line = text[start..].lines().next().unwrap_or_default();
    let length = (0..=line.len().min(place.length as usize)).rev().find(|&at| line.is_char_boundary(at));
    let shown = line[..length.unwrap_or(0)].trim_end().len();
    let first = line.chars().next().map_or(0, char::len_utf8);
    start..start + shown.max(first)
}
