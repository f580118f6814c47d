//! Patterns: addresses that can be forged, captures that never are, work for nothing.

use std::{collections::BTreeSet, sync::Arc};

use testudo_expr::core::{Binary, Kind as Core, Node};
use testudo_pattern::{Expanded, Library};
use testudo_rules::{
    Diagnostic, Place,
    plan::{Grok, GrokPattern, Parser, StaticValue, Target},
};

use super::advice;
use crate::{
    cells::{self, Space},
    codes, documents,
    facts::references,
    forge::{self, Where},
};

/// Longest part of a forged line that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Looks at the patterns of a parser. `library`: the patterns of the whole set.
pub(crate) fn check(parser: &Parser, library: &Library, into: &mut Vec<Diagnostic>) {
    let addresses = address_fields(parser);
    documents::each_node(&parser.node, &mut |node| {
        let Some(grok) = &node.grok else { return };
        let text = match &grok.pattern {
            Some(GrokPattern::Inline(text)) => text.clone(),
            Some(GrokPattern::Name(name)) => format!("%{{{name}}}"),
            None => return,
        };
        if let Some(GrokPattern::Inline(text)) = &grok.pattern {
            written(text, &grok.pattern_place, into);
        }
        let Ok(expanded) = library.expand(&text) else { return };
        fields(grok, &text, &expanded, into);
        // The first field that can be forged says enough about the pattern.
        let forged = addresses.iter().find_map(|field| Some((field, forge::forge(&expanded, field)?)));
        if let Some((field, forgery)) = forged {
            into.push(forged_advice(grok, &text, field, &forgery));
        }
    });
}

/// The fields of `evt.Parsed` from which a parser takes the address of a source.
fn address_fields(parser: &Parser) -> BTreeSet<Arc<str>> {
    let mut fields = BTreeSet::new();
    documents::each_node(&parser.node, &mut |node| {
        for item in documents::statics(node) {
            let StaticValue::Expression(expression) = &item.value else { continue };
            if item.target == Target::Meta("source_ip".into()) {
                taken_from(&expression.node, &mut fields);
            }
        }
    });
    fields
}

/// The fields of `evt.Parsed` whose text, or a part of it, may be what an expression gives; not those that it only
/// compares.
fn taken_from(node: &Node, into: &mut BTreeSet<Arc<str>>) {
    if let Some((space, key)) = cells::cell(node) {
        if space == Space::Parsed {
            into.insert(key.clone());
        }
        return;
    }
    match &node.kind {
        Core::Cond(_, yes, no) => {
            taken_from(yes, into);
            taken_from(no, into);
        }
        Core::Coalesce(a, b) | Core::Binary(Binary::Add, a, b) => {
            taken_from(a, into);
            taken_from(b, into);
        }
        // `Split(text, ':')[0]`, `TrimPrefix(text, '::ffff:')`: the text comes first.
        Core::Call { arguments, .. } => arguments.iter().take(1).for_each(|first| taken_from(first, into)),
        Core::Index { of, .. } | Core::Slice { of, .. } | Core::Chain(of) | Core::Method { of, .. } => {
            taken_from(of, into);
        }
        Core::Let(_, value, body) => {
            taken_from(value, into);
            taken_from(body, into);
        }
        _ => {}
    }
}

fn forged_advice(grok: &Grok, text: &str, field: &str, forgery: &forge::Forgery) -> Diagnostic {
    let place = field_place(grok, text, field);
    let mut shown: String = forgery.line.chars().take(MAX_SHOWN).collect();
    if shown.len() < forgery.line.len() {
        shown.push('…');
    }
    let reads = format!("it reads 203.0.113.99 in `{shown}`");
    match &forgery.where_ {
        Where::Free(name) => {
            let who = name.as_ref().map_or("free text of the pattern".to_owned(), |name| format!("`{name}`"));
            advice(
                codes::FORGEABLE,
                place,
                format!("whoever chooses {who} chooses the address: {reads}"),
                "bind the pattern to `^` and `$`, so that only the server's own address fits",
            )
        }
        Where::Before => advice(
            codes::UNBOUND,
            place,
            format!("text before the pattern can hold another address: {reads}"),
            "begin the pattern with `^`, so that it matches the text from its beginning on",
        ),
        Where::Behind => advice(
            codes::UNBOUND,
            place,
            format!("text behind the pattern can hold another address: {reads}"),
            "end the pattern with `$`, or with text of the server that no client can write",
        ),
    }
}

/// Where a field stands in a pattern; the pattern, where it is named by one that the pattern refers to.
fn field_place(grok: &Grok, text: &str, field: &str) -> Place {
    match &grok.pattern {
        Some(GrokPattern::Inline(_)) => references(text)
            .find(|reference| reference.field == Some(field))
            .map_or(grok.pattern_place.clone(), |reference| {
                let length = reference.name.len() + field.len() + "%{:}".len();
                grok.pattern_place.within(text, reference.at..reference.at + length)
            }),
        _ => grok.pattern_place.clone(),
    }
}

/// What the pattern captures, and what it does not.
fn fields(grok: &Grok, text: &str, expanded: &Expanded, into: &mut Vec<Diagnostic>) {
    if expanded.captures.is_empty() {
        into.push(advice(
            codes::NO_FIELD,
            grok.pattern_place.clone(),
            "the pattern names no field, and a pattern that captures nothing never succeeds",
            "name one, e.g. `%{IP:source_ip}`; to ask for text alone, use a `filter`",
        ));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for reference in references(text) {
        let Some(field) = reference.field else { continue };
        if seen.contains(&field) {
            let length = reference.name.len() + field.len() + "%{:}".len();
            into.push(advice(
                codes::LOST_FIELD,
                grok.pattern_place.within(text, reference.at..reference.at + length),
                format!("`{field}` stands twice in the pattern, and only the last one sets the field"),
                "give each a name of its own, or write one node for each alternative",
            ));
        }
        seen.push(field);
    }
}

/// Slips of the pen in a pattern that is written out.
fn written(text: &str, place: &Place, into: &mut Vec<Diagnostic>) {
    for opener in ["(?P<", "(?<"] {
        for (at, _) in text.match_indices(opener) {
            let Some((name, _)) = text[at + opener.len()..].split_once('>') else { continue };
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                into.push(advice(
                    codes::GROUP_NAME,
                    place.within(text, at..at + opener.len() + name.len() + 1),
                    format!("the group `{name}` sets no field: only references do"),
                    "define its pattern under `pattern_syntax`, and refer to it: `%{MY_PATTERN:field}`",
                ));
            }
        }
    }
    let known: Vec<usize> = references(text).map(|reference| reference.at).collect();
    for (at, _) in text.match_indices("%{") {
        let Some((inner, _)) = text[at + 2..].split_once('}') else { continue };
        if known.contains(&at) || at.checked_sub(1).is_some_and(|before| text.as_bytes()[before] == b'\\') {
            continue;
        }
        let hint = match inner.split(':').collect::<Vec<_>>()[..] {
            [name, field, _] => format!("fields have no type: write `%{{{name}:{field}}}`"),
            _ => "a reference is a name of letters, digits and `_`, and perhaps a field: `%{NAME:field}`"
                .to_owned(),
        };
        into.push(advice(
            codes::NO_REFERENCE,
            place.within(text, at..at + inner.len() + 3),
            format!("`%{{{inner}}}` is no reference: it matches this very text"),
            hint,
        ));
    }
}

/// Patterns of `matches` that look for more than they need.
pub(crate) fn matches(expression: &testudo_rules::plan::Expression, into: &mut Vec<Diagnostic>) {
    let mut open = vec![&*expression.node];
    while let Some(node) = open.pop() {
        if let Core::Matches(_, regex) = &node.kind
            && (regex.as_str().starts_with(".*") || regex.as_str().starts_with("^.*"))
            && !regex.as_str().starts_with(".*?")
        {
            into.push(advice(
                codes::IDLE_WORK,
                expression.place_of(node.span),
                "the pattern begins with `.*`, and `matches` looks everywhere anyway",
                "leave the `.*` out: the answer is the same, and found without going through the text twice",
            ));
        }
        node.for_each_child(&mut |child| open.push(child));
    }
}
