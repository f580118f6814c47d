//! What something means: keys, functions, fields, patterns.

use std::ops::Range;

use testudo_expr::functions;
use testudo_lint::{Facts, Kind, Space, schema::names_of};
use testudo_pattern::Library;
use testudo_rules::keys::{Key, Shape, Variables};

use crate::{
    expression,
    functions::{name_of, notes, signature, text as describe},
    spot::{self, Spot},
};

/// Longest part of a pattern that is shown, in characters.
const MAX_PATTERN: usize = 600;

/// What stands at a byte means, as Markdown, and where it stands.
pub(crate) fn hover(kind: Kind, text: &str, offset: usize, facts: &Facts) -> Option<(String, Range<usize>)> {
    if let Some((found, range)) = spot::key_at(kind, text, offset) {
        return Some((format!("**{}**\n\n{}", found.name, key(found)), range));
    }
    if let Some((name, range)) = pattern_at(text, offset) {
        let text = pattern(name, facts);
        return (!text.is_empty()).then_some((text, range));
    }
    let Spot::Value { shape, key: of, .. } = spot::at(kind, text, offset)? else { return None };
    let range = word(text, offset)?;
    let name = &text[range.clone()];
    let meaning = match shape {
        Shape::Choice(choices) => choices
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(name, text)| format!("**{name}**\n\n{text}")),
        Shape::Expression(variables) => of_expression(*variables, text, &range, facts),
        Shape::PatternName => Some(pattern(name, facts)),
        Shape::Cell(space) => {
            let space = Space::ALL.into_iter().find(|known| known.name() == *space)?;
            Some(cell(space, name, facts))
        }
        _ => None,
    };
    // Where the word itself means nothing, what the value is for.
    let meaning = meaning.filter(|meaning| !meaning.is_empty());
    Some((meaning.unwrap_or_else(|| format!("**{}**\n\n{}", of.name, key(of))), range))
}

/// What a key is for.
pub(crate) fn key(key: &Key) -> String {
    let mut text = key.text.to_owned();
    match key.shape {
        Shape::Expression(variables) => {
            text = format!("{text}\n\nAn expression over {}.", names_of(variables));
        }
        Shape::Duration => text.push_str("\n\nA duration: `30s`, `5m`, `1h30m`."),
        Shape::Choice(choices) => {
            text.push('\n');
            for (name, meaning) in choices {
                text = format!("{text}\n- `{name}`: {meaning}");
            }
        }
        _ => {}
    }
    if let Some(default) = key.default {
        text = format!("{text}\n\nWithout it: `{default}`.");
    }
    if key.required {
        text.push_str("\n\nIt must be given.");
    }
    text
}

/// A pattern as it is defined; empty if it is not.
pub(crate) fn definition(name: &str, library: &Library) -> String {
    let Some(body) = library.get(name) else { return String::new() };
    format!("**%{{{name}}}**\n\n```\n{}\n```", shorten(body))
}

fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_PATTERN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A pattern as it is defined and with all references written out; empty if it is not defined.
fn pattern(name: &str, facts: &Facts) -> String {
    let library = facts.library();
    let Some(body) = library.get(name) else { return String::new() };
    let mut text = definition(name, &library);
    if body.contains("%{")
        && let Ok(expanded) = library.expand(body)
    {
        text = format!("{text}\n\nWritten out:\n\n```\n{}\n```", shorten(&expanded.regex));
    }
    text
}

/// What rules make of a cell.
pub(crate) fn cell(space: Space, name: &str, facts: &Facts) -> String {
    let known: Vec<String> =
        facts.known_texts(space, name).take(20).map(|text| format!("`{text}`")).collect();
    if known.is_empty() {
        String::new()
    } else {
        format!("`evt.{}.{name}` is one of {}.", space.name(), known.join(", "))
    }
}

/// The name of the pattern whose reference a byte is in.
pub(crate) fn pattern_at(text: &str, offset: usize) -> Option<(&str, Range<usize>)> {
    let range = word(text, offset)?;
    let before = &text[..range.start];
    before.ends_with("%{").then(|| (&text[range.clone()], range))
}

fn of_expression(variables: Variables, text: &str, range: &Range<usize>, facts: &Facts) -> Option<String> {
    let schema = expression::schema_of(variables);
    let names = expression::chain(&text[..range.end]);
    let (last, head) = names.split_last()?;
    if head.is_empty() {
        if let Some(function) = functions::lookup(last) {
            let mut meaning = format!("```\n{}\n```", signature(function));
            for line in describe(last).into_iter().chain(notes(function)) {
                meaning = format!("{meaning}\n\n{line}");
            }
            return Some(meaning);
        }
        if let Some(text) = describe(last) {
            return Some(format!("**{last}**\n\n{text}"));
        }
        let (_, ty) = schema.variable(last)?;
        return Some(format!("**{last}** {}", name_of(ty)));
    }
    if let ["evt", space] = head
        && let Some(space) = Space::ALL.into_iter().find(|known| known.name() == *space)
    {
        let meaning = cell(space, last, facts);
        if meaning.is_empty() {
            let set = facts.cells(space).any(|known| known == *last);
            let what = if set { "Some parser here sets it." } else { "No parser here sets it." };
            return Some(format!("`evt.{}.{last}`\n\n{what}", space.name()));
        }
        return Some(meaning);
    }
    let record = expression::record_of(schema, expression::type_of(schema, head)?)?;
    let field = record.fields.iter().find(|field| field.name == *last);
    let method = record.methods.iter().find(|method| method.name == *last);
    let field = field.map(|field| format!("**{}.{}** {}", record.name, field.name, name_of(&field.ty)));
    field.or_else(|| {
        method.map(|method| format!("**{}.{}()** {}", record.name, method.name, name_of(&method.returns)))
    })
}

/// The word that a byte is in.
pub(crate) fn word(text: &str, offset: usize) -> Option<Range<usize>> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let before = text[..offset].chars().rev().take_while(|c| part(*c)).map(char::len_utf8).sum::<usize>();
    let after = text[offset..].chars().take_while(|c| part(*c)).map(char::len_utf8).sum::<usize>();
    (before + after > 0).then(|| offset - before..offset + after)
}
