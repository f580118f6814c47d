//! Conditions: those that never or always hold, those that have to be asked for every event, and what they read
//! that nobody writes.

use std::{collections::HashMap, sync::Arc};

use testudo_expr::{
    Program, Services, Slot, Value,
    core::{Binary, Kind as Core, Node},
    program::Resolver,
};
use testudo_rules::{Diagnostic, plan::Expression};

use super::{advice, similar, slip};
use crate::{
    cells::{self, Space},
    codes,
    facts::{Facts, Texts},
};

/// An expression that selects: the filter of a node or a scenario. `what` names it.
pub(crate) fn filter(expression: &Expression, what: &str, facts: &Facts, into: &mut Vec<Diagnostic>) {
    if let Core::Const(Value::Bool(false)) = expression.node.kind {
        into.push(advice(
            codes::NEVER,
            expression.place.clone(),
            format!("{what} never holds"),
            "mend the condition, or remove the rule",
        ));
    } else if let Some(diagnostic) = impossible(expression, &expression.node, facts, &mut HashMap::new()) {
        into.push(diagnostic);
    }
}

/// What keeps a condition from ever holding, if something does. `required`: what its cells must hold by the
/// conjuncts around it.
fn impossible<'n>(
    expression: &Expression,
    node: &'n Node,
    facts: &Facts,
    required: &mut HashMap<(Space, &'n str), &'n str>,
) -> Option<Diagnostic> {
    match &node.kind {
        Core::And(parts) => {
            let mut required = required.clone();
            for part in parts {
                if let Some((space, key, text)) = equality(part)
                    && let Some(other) = required.insert((space, key), text)
                    && other != text
                {
                    return Some(advice(
                        codes::NEVER,
                        expression.place_of(part.span),
                        format!("`evt.{}.{key}` cannot be `{other}` and `{text}` at once", space.name()),
                        "join the two with `||`, or with `in [ … ]`",
                    ));
                }
            }
            parts.iter().find_map(|part| impossible(expression, part, facts, &mut required))
        }
        Core::Or(parts) => {
            let mut first = None;
            for part in parts {
                let found = impossible(expression, part, facts, required)?;
                first.get_or_insert(found);
            }
            first
        }
        Core::Binary(Binary::Eq, ..) => {
            let (space, key, text) = equality(node)?;
            not_given(expression, node, space, key, &[text], facts)
        }
        Core::InStrings(of, texts) => {
            let (space, key) = cells::cell(of)?;
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            not_given(expression, node, space, key, &texts, facts)
        }
        _ => None,
    }
}

/// `evt.Meta.a == 'text'`, in either order.
fn equality(node: &Node) -> Option<(Space, &str, &str)> {
    let Core::Binary(Binary::Eq, a, b) = &node.kind else { return None };
    let (of, text) = match (&a.kind, &b.kind) {
        (_, Core::Const(Value::Str(text))) => (a, text),
        (Core::Const(Value::Str(text)), _) => (b, text),
        _ => return None,
    };
    let (space, key) = cells::cell(of)?;
    Some((space, key, text))
}

/// Advice if a cell holds none of some texts, whatever the line.
fn not_given(
    expression: &Expression,
    node: &Node,
    space: Space,
    key: &str,
    texts: &[&str],
    facts: &Facts,
) -> Option<Diagnostic> {
    if texts.contains(&"") {
        return None;
    }
    let Some(Texts::Only(known)) = facts.texts(space, key) else { return None };
    if texts.iter().any(|text| known.contains(*text)) {
        return None;
    }
    let wanted = texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or ");
    let known = || known.iter().map(|text| &**text);
    let meant = texts.iter().find_map(|text| {
        // Parsers that are elsewhere may give it.
        if facts.reads_lines { similar(text, known()) } else { slip(text, known()) }
    });
    let hint = match meant {
        Some(text) => format!("did you mean `{text}`?"),
        None if !facts.reads_lines => return None,
        None => "correct the text, or add the parser that gives it".to_owned(),
    };
    Some(advice(
        codes::NOT_GIVEN,
        expression.place_of(node.span),
        format!("no parser here gives `evt.{}.{key}` the text {wanted}", space.name()),
        hint,
    ))
}

/// Cells that an expression uses and nobody fills.
pub(crate) fn reads(expression: &Expression, facts: &Facts, into: &mut Vec<Diagnostic>) {
    let mut told: Vec<(Space, Arc<str>)> = Vec::new();
    cells::used(&expression.node, &mut |node, space, key| {
        if facts.texts(space, key).is_some() || told.contains(&(space, key.clone())) {
            return;
        }
        let mut message = format!("no parser here sets `evt.{}.{key}`", space.name());
        if facts.reads_lines {
            message.push_str(": it is always empty");
        } else if slip(key, facts.cells(space)).is_none() {
            // One that is elsewhere may do.
            return;
        }
        told.push((space, key.clone()));
        let hint = not_set_hint(space, key, facts);
        into.push(advice(codes::NOT_SET, expression.place_of(node.span), message, hint));
    });
}

/// What may be meant by a cell that nobody fills.
pub(crate) fn not_set_hint(space: Space, key: &str, facts: &Facts) -> String {
    if let Some(known) = similar(key, facts.cells(space)) {
        return format!("did you mean `evt.{}.{known}`?", space.name());
    }
    let elsewhere = Space::ALL.into_iter().find(|other| facts.cells(*other).any(|known| known == key));
    match elsewhere {
        Some(other) => format!("did you mean `evt.{}.{key}`?", other.name()),
        None => "correct the name, or add the parser that sets it".to_owned(),
    }
}

/// Whether an index can tell for which events a filter may hold.
pub(crate) fn is_indexed(expression: &Expression) -> bool {
    struct Slots(HashMap<String, u32>);
    impl Resolver for Slots {
        fn slot(&mut self, variable: u16, path: &[&str]) -> Option<Slot> {
            let cell = match path {
                ["Parsed" | "Meta" | "Enriched", _] | ["Line", "Labels", _] => true,
                ["Line", name] => ["Raw", "Src", "Module"].contains(name),
                [name] => {
                    ["StrTime", "StrTimeFormat", "MarshaledTime", "WhitelistReason", "Stage"].contains(name)
                }
                _ => false,
            };
            let next = self.0.len() as u32;
            (variable == 0 && cell).then(|| Slot(*self.0.entry(path.join(".")).or_insert(next)))
        }
    }
    struct Nothing;
    impl Services for Nothing {}
    let program = Program::new(&expression.node, &mut Slots(HashMap::new()), &Nothing);
    program.guards().next().is_some() || program.needs().is_some()
}
