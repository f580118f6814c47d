//! The checks, a file for each thing that is looked at. A check tells what is true of the rule, in words that say
//! what to do about it; one that would often be wrong is none.

pub(crate) mod conditions;
pub(crate) mod labels;
pub(crate) mod names;
pub(crate) mod parsers;
pub(crate) mod patterns;
pub(crate) mod scenarios;

use testudo_rules::{Diagnostic, Place, Severity};

/// A piece of advice.
pub(crate) fn advice(
    code: &'static str,
    place: Place,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Diagnostic {
    Diagnostic { code, severity: Severity::Warning, message: message.into(), place, hint: Some(hint.into()) }
}

/// The name among `known` that `name` is likely a slip of.
pub(crate) fn similar<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = 1 + name.len() / 6;
    known
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The same where others may know `name`: the two differ by one letter, and are no short words.
pub(crate) fn slip<'k>(name: &str, mut known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let is_long = name.chars().count() > 5;
    known.find(|candidate| is_long && strsim::osa_distance(name, candidate) == 1)
}

/// The place of a key of a document that begins at `document`; the document, where it is not written at the
/// beginning of a line.
pub(crate) fn key_place(document: &Place, key: &str) -> Place {
    let text = &document.file.text;
    let start = text[..(document.offset as usize).min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let mut at = start;
    for line in text[start..].split_inclusive('\n') {
        if at > start && (line.starts_with("---") || line.starts_with("...")) {
            break;
        }
        if line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')) {
            return Place::of(&document.file, at..at + key.len());
        }
        at += line.len();
    }
    document.clone()
}
