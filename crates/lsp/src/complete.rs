//! What can be written at a place.

use serde_json::{Value, json};
use testudo_expr::functions;
use testudo_lint::{Facts, Kind, Space};
use testudo_rules::keys::{Shape, Variables};

use crate::{
    expression::{self, Writing},
    functions::{name_of, notes, signature, text as describe},
    hover,
    spot::{self, Spot},
};

/// Most proposals of one answer; what is more is found by typing on.
const MAX_ITEMS: usize = 500;

/// The kinds of proposals, by their numbers in the protocol.
#[derive(Clone, Copy)]
enum As {
    Method = 2,
    Function = 3,
    Field = 5,
    Variable = 6,
    Property = 10,
    Value = 12,
    Keyword = 14,
    Reference = 18,
}

/// A proposal, and what it is for.
fn item(label: &str, as_: As, detail: &str, text: &str) -> Value {
    let mut item = json!({ "label": label, "kind": as_ as u8 });
    if !detail.is_empty() {
        item["detail"] = detail.into();
    }
    if !text.is_empty() {
        item["documentation"] = json!({ "kind": "markdown", "value": text });
    }
    item
}

/// What can be written at a byte of a text.
pub(crate) fn complete(kind: Kind, text: &str, offset: usize, facts: &Facts) -> Vec<Value> {
    let mut items = match spot::at(kind, text, offset) {
        None => Vec::new(),
        Some(Spot::Key { keys, taken, .. }) => keys
            .keys
            .iter()
            .filter(|key| !taken.iter().any(|name| name == key.name))
            .map(|key| {
                let mut proposal = item(key.name, As::Property, "", &hover::key(key));
                proposal["insertText"] = format!("{}:{}", key.name, after_colon(&key.shape)).into();
                // What must be there comes first.
                proposal["sortText"] = format!("{}{}", u8::from(!key.required), key.name).into();
                proposal
            })
            .collect(),
        Some(Spot::Value { shape, before, .. }) => value(shape, &before, facts),
    };
    items.truncate(MAX_ITEMS);
    items
}

/// What follows a key: its value stands behind it, or below it.
fn after_colon(shape: &Shape) -> &'static str {
    match shape {
        Shape::List(_) | Shape::Map(_) | Shape::Open(_) | Shape::Table(_) => "",
        _ => " ",
    }
}

fn value(shape: &'static Shape, before: &str, facts: &Facts) -> Vec<Value> {
    match shape {
        Shape::Choice(choices) => {
            choices.iter().map(|(name, text)| item(name, As::Value, "", text)).collect()
        }
        Shape::Flag => ["true", "false"].iter().map(|name| item(name, As::Value, "", "")).collect(),
        Shape::Expression(variables) => expression(*variables, unquoted(before), facts),
        Shape::Pattern => pattern(before, facts),
        Shape::PatternName => patterns(facts),
        Shape::Source => {
            let line = item("Line.Raw", As::Field, "", "The whole line.");
            std::iter::once(line).chain(cells(Space::Parsed, facts)).collect()
        }
        Shape::Cell(name) => {
            let space = Space::ALL.into_iter().find(|space| space.name() == *name);
            space.map_or_else(Vec::new, |space| cells(space, facts))
        }
        Shape::Path => {
            let fixed =
                ["evt.StrTime", "evt.StrTimeFormat", "evt.Stage", "evt.Line.Module", "evt.WhitelistReason"];
            fixed.iter().map(|name| item(name, As::Field, "", "")).collect()
        }
        Shape::Item(folder) => {
            let kind = Kind::ALL.into_iter().find(|kind| format!("{}s", kind.name()) == *folder);
            let names = kind.into_iter().flat_map(|kind| facts.items(kind));
            names.map(|name| item(name, As::Reference, "", "")).collect()
        }
        Shape::Either(shapes) => shapes.iter().flat_map(|shape| value(shape, before, facts)).collect(),
        _ => Vec::new(),
    }
}

/// The text of a value without the quote that it begins with.
fn unquoted(before: &str) -> &str {
    before.strip_prefix(['\'', '"']).unwrap_or(before)
}

fn cells(space: Space, facts: &Facts) -> Vec<Value> {
    facts
        .cells(space)
        .map(|name| item(name, As::Field, space.name(), &hover::cell(space, name, facts)))
        .collect()
}

fn expression(variables: Variables, before: &str, facts: &Facts) -> Vec<Value> {
    let schema = expression::schema_of(variables);
    let space = |names: &[&str]| match names {
        ["evt", space] => Space::ALL.into_iter().find(|known| known.name() == *space),
        _ => None,
    };
    match expression::writing(before) {
        Writing::Nothing => Vec::new(),
        Writing::Text(names, _) => match &names[..] {
            [head @ .., key] => {
                let texts = space(head).into_iter().flat_map(|space| facts.known_texts(space, key));
                texts.map(|text| item(text, As::Value, "", "")).collect()
            }
            [] => Vec::new(),
        },
        Writing::Member(names, _) => {
            if let Some(space) = space(&names) {
                return cells(space, facts);
            }
            let record = expression::type_of(schema, &names).and_then(|ty| expression::record_of(schema, ty));
            let Some(record) = record else { return Vec::new() };
            let fields =
                record.fields.iter().map(|field| item(&field.name, As::Field, &name_of(&field.ty), ""));
            let methods = record.methods.iter().map(|method| {
                let parameters: Vec<String> = method.parameters.iter().map(name_of).collect();
                let signature =
                    format!("{}({}) {}", method.name, parameters.join(", "), name_of(&method.returns));
                item(&method.name, As::Method, &signature, "")
            });
            fields.chain(methods).collect()
        }
        Writing::Name(_) => {
            let variables =
                schema.variables.iter().map(|known| item(&known.name, As::Variable, &name_of(&known.ty), ""));
            let functions = functions::names().into_iter().filter_map(functions::lookup).map(|function| {
                let mut text = describe(function.name).unwrap_or_default().to_owned();
                for note in notes(function) {
                    text.push_str("\n\n");
                    text.push_str(note);
                }
                item(function.name, As::Function, &signature(function), text.trim_start())
            });
            let words = ["and", "or", "not", "in", "contains", "startsWith", "endsWith", "matches", "nil"];
            let loops = ["all", "any", "none", "one", "filter", "map", "count", "find"];
            variables
                .chain(functions)
                .chain(words.iter().map(|word| item(word, As::Keyword, "", "")))
                .chain(
                    loops.iter().map(|name| item(name, As::Function, "", describe(name).unwrap_or_default())),
                )
                .collect()
        }
    }
}

/// Inside of `%{`.
fn pattern(before: &str, facts: &Facts) -> Vec<Value> {
    let open = before.rfind("%{").filter(|at| !before[*at..].contains(['}', ':']));
    if open.is_some() { patterns(facts) } else { Vec::new() }
}

fn patterns(facts: &Facts) -> Vec<Value> {
    let library = facts.library();
    let mut names: Vec<&str> = library.names().collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let mut proposal = item(name, As::Reference, "", &hover::definition(name, &library));
            // Those of the rules at hand come first.
            proposal["sortText"] = format!("{}{name}", u8::from(facts.pattern(name).is_none())).into();
            proposal
        })
        .collect()
}
