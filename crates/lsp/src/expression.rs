//! What stands at a place of an expression: the variable, field or function that is being written. Read from the
//! text before the place alone, so that it works while the expression is unfinished.

use testudo_expr::{Schema, Type, schema::Record};
use testudo_rules::{keys::Variables, schema};

/// The schema of an expression.
pub(crate) fn schema_of(variables: Variables) -> &'static Schema {
    match variables {
        Variables::Event => &schema::EVENT,
        Variables::Condition => &schema::CONDITION,
        Variables::Overflow => &schema::OVERFLOW,
        Variables::Context => &schema::CONTEXT,
        Variables::Profile => &schema::PROFILE,
        Variables::Contributor => &schema::CONTRIBUTOR,
    }
}

/// What is being written at the end of a text.
#[derive(Debug, PartialEq)]
pub(crate) enum Writing<'t> {
    /// A variable, function or keyword.
    Name(&'t str),
    /// A member of what these names lead to.
    Member(Vec<&'t str>, &'t str),
    /// A text that is compared with what these names lead to.
    Text(Vec<&'t str>, &'t str),
    /// Something else.
    Nothing,
}

/// What is being written at the end of `before`.
pub(crate) fn writing(before: &str) -> Writing<'_> {
    if let Some(open) = open_quote(before) {
        let written = &before[open + 1..];
        let head = before[..open].trim_end();
        let head = ["==", "!=", "contains", "startsWith", "endsWith"]
            .iter()
            .find_map(|operator| head.strip_suffix(operator))
            .or_else(|| in_list(head));
        return match head.map(|head| chain(head.trim_end())) {
            Some(names) if names.len() > 1 => Writing::Text(names, written),
            _ => Writing::Nothing,
        };
    }
    let mut names = chain(before);
    match names.pop() {
        None => Writing::Name(""),
        Some(last) if names.is_empty() => Writing::Name(last),
        Some(last) => Writing::Member(names, last),
    }
}

/// Where a quote is open at the end of a text.
fn open_quote(text: &str) -> Option<usize> {
    let mut open: Option<(usize, char)> = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match open {
            _ if escaped => escaped = false,
            Some((_, '"' | '\'')) if character == '\\' => escaped = true,
            Some((_, quote)) if character == quote => open = None,
            None if matches!(character, '"' | '\'' | '`') => open = Some((at, character)),
            _ => {}
        }
    }
    open.map(|(at, _)| at)
}

/// What stands before `in [ 'a', `.
fn in_list(head: &str) -> Option<&str> {
    let (before, list) = head.rsplit_once('[')?;
    let only_texts = list.chars().all(|c| !matches!(c, ']' | '(' | '{'));
    let before = before.trim_end();
    only_texts.then(|| before.strip_suffix(" in")).flatten().map(|of| of.strip_suffix(" not").unwrap_or(of))
}

/// The names at the end of a text that are joined by dots; the last one may be empty.
pub(crate) fn chain(text: &str) -> Vec<&str> {
    let from = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric() || matches!(c, '_' | '.' | '?' | '#'))
        .last()
        .map_or(text.len(), |(at, _)| at);
    let chain = text[from..].trim_start_matches(['?', '.']);
    if chain.is_empty() {
        return Vec::new();
    }
    chain.split('.').map(|name| name.trim_end_matches('?')).collect()
}

/// The type that names lead to, from a variable on.
pub(crate) fn type_of<'s>(schema: &'s Schema, names: &[&str]) -> Option<&'s Type> {
    let (first, rest) = names.split_first()?;
    let mut ty = schema.variable(first)?.1;
    for name in rest {
        ty = match ty {
            Type::Record { .. } => {
                &record_of(schema, ty)?.fields.iter().find(|field| field.name == *name)?.ty
            }
            Type::Map(of) => of,
            _ => return None,
        };
    }
    Some(ty)
}

/// The record of a type.
pub(crate) fn record_of<'s>(schema: &'s Schema, ty: &Type) -> Option<&'s Record> {
    match ty {
        Type::Record { index, .. } => schema.records.get(usize::from(*index)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written() {
        let check = |before: &str, expected: Writing<'_>| assert_eq!(writing(before), expected, "{before}");
        check("", Writing::Name(""));
        check("evt.Meta.a == 'x' && Upp", Writing::Name("Upp"));
        check("(evt.", Writing::Member(vec!["evt"], ""));
        check("evt.Meta.log", Writing::Member(vec!["evt", "Meta"], "log"));
        check("evt?.Meta?.log", Writing::Member(vec!["evt", "Meta"], "log"));
        check("evt.Meta.log_type == 'ss", Writing::Text(vec!["evt", "Meta", "log_type"], "ss"));
        check("evt.Meta.service in ['a', \"", Writing::Text(vec!["evt", "Meta", "service"], ""));
        check("evt.Meta.service not in [\"", Writing::Text(vec!["evt", "Meta", "service"], ""));
        check("Lower('", Writing::Nothing);
        check("'it\\'s", Writing::Nothing);
        check("'a' == 'b' || é", Writing::Name("é"));
    }

    #[test]
    fn types() {
        let check = |names: &[&str], expected: Option<&str>| {
            let schema = schema_of(Variables::Event);
            let found = type_of(schema, names).map(crate::functions::name_of);
            assert_eq!(found.as_deref(), expected, "{names:?}");
        };
        check(&["evt"], Some("Event"));
        check(&["evt", "Meta"], Some("map[string]string"));
        check(&["evt", "Meta", "x"], Some("string"));
        check(&["evt", "Overflow", "Alert", "Source"], Some("Source"));
        check(&["evt", "Nothing"], None);
        check(&[], None);
    }
}
