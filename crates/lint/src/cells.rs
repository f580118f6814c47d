//! The text cells of an event (`evt.Parsed.x`, `evt.Meta.x`, `evt.Enriched.x`) in checked expressions.

use std::sync::Arc;

use testudo_expr::{
    Type, Value,
    core::{Binary, Kind, Node},
};
use testudo_rules::schema;

/// The text maps of an event that rules fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// What patterns capture.
    Parsed,
    /// What rules agree on, and what alerts carry.
    Meta,
    /// What enrichers answer.
    Enriched,
}

impl Space {
    /// All of them.
    pub const ALL: [Space; 3] = [Space::Parsed, Space::Meta, Space::Enriched];

    /// Its name in expressions.
    pub fn name(self) -> &'static str {
        match self {
            Space::Parsed => "Parsed",
            Space::Meta => "Meta",
            Space::Enriched => "Enriched",
        }
    }

    fn named(name: &str) -> Option<Space> {
        Space::ALL.into_iter().find(|space| space.name() == name)
    }
}

/// The text cell that a node stands for.
pub(crate) fn cell(node: &Node) -> Option<(Space, &Arc<str>)> {
    let Kind::Index { of, key, .. } = &node.kind else { return None };
    let (space, Kind::Const(Value::Str(key))) = (space(of)?, &key.kind) else { return None };
    Some((space, key))
}

/// The text map that a node stands for.
fn space(node: &Node) -> Option<Space> {
    let Kind::Field { of, name, .. } = &node.kind else { return None };
    Space::named(name).filter(|_| is_event(of))
}

fn is_event(node: &Node) -> bool {
    let Some(Type::Record { index: event, .. }) = schema::EVENT.record("Event") else { return false };
    matches!(node.ty, Type::Record { index, .. } if index == event)
}

/// Calls `visit` for every cell whose text an expression uses. A question whether a cell is there is no use.
pub(crate) fn used<'n>(node: &'n Node, visit: &mut dyn FnMut(&'n Node, Space, &'n Arc<str>)) {
    if let Some((space, key)) = cell(node) {
        visit(node, space, key);
    }
    if let Kind::Binary(Binary::In, key, of) = &node.kind
        && space(of).is_some()
    {
        return used(key, visit);
    }
    node.for_each_child(&mut |child| used(child, visit));
}

/// The texts of which a node is one, where all of them are constant: `a ? 'x' : 'y'`.
pub(crate) fn constants(node: &Node) -> Option<Vec<&Arc<str>>> {
    match &node.kind {
        Kind::Const(Value::Str(text)) => Some(vec![text]),
        Kind::Cond(_, yes, no) => {
            let mut texts = constants(yes)?;
            texts.extend(constants(no)?);
            Some(texts)
        }
        _ => None,
    }
}

/// What an expression writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Write<'n> {
    /// A cell; its text too, where that is constant.
    Cell(Space, &'n Arc<str>, Option<&'n Arc<str>>),
    /// Some cell of this map.
    Any(Space),
}

/// Calls `visit` for everything that an expression writes into text maps.
pub(crate) fn written<'n>(node: &'n Node, visit: &mut dyn FnMut(Write<'n>)) {
    let method = match &node.kind {
        Kind::Method { of, name, arguments, .. } if is_event(of) => Some((&**name, arguments)),
        Kind::Call { function, arguments } if node.effects.mutates => Some((function.name, arguments)),
        _ => None,
    };
    if let Some((name, arguments)) = method {
        let to = match name {
            "SetMeta" => Some(Space::Meta),
            "SetParsed" => Some(Space::Parsed),
            _ => None,
        };
        if let Some(to) = to {
            visit(match &arguments[..] {
                [Node { kind: Kind::Const(Value::Str(key)), .. }, value] => {
                    let text = match &value.kind {
                        Kind::Const(Value::Str(text)) => Some(text),
                        _ => None,
                    };
                    Write::Cell(to, key, text)
                }
                _ => Write::Any(to),
            });
        } else {
            // A whole map that is handed to something that writes.
            arguments.iter().filter_map(space).for_each(|space| visit(Write::Any(space)));
        }
    }
    node.for_each_child(&mut |child| written(child, visit));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Node {
        testudo_expr::compile_text(text, &schema::EVENT, None).expect(text).1
    }

    #[test]
    fn uses() {
        let check = |text: &str, expected: &[&str]| {
            let mut found = Vec::new();
            let node = compile(text);
            used(&node, &mut |_, space, key| found.push(format!("{}.{key}", space.name())));
            assert_eq!(found, expected, "{text}");
        };
        check(
            "evt.Meta.a == 'x' && evt.Parsed['b'] contains evt.Enriched.c",
            &["Meta.a", "Parsed.b", "Enriched.c"],
        );
        check("'a' in evt.Meta and evt.Parsed.b in ['1', '2']", &["Parsed.b"]);
        check("evt.Unmarshaled.a == nil || evt.Line.Labels.type == ''", &[]);
        check("evt.SetMeta('a', Upper(evt.Parsed.b))", &["Parsed.b"]);
    }

    #[test]
    fn alternatives() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let node = compile(text);
            let found = constants(&node).map(|texts| texts.iter().map(|text| &***text).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        let some: Option<&[&str]> = Some(&["x", "y", "z"]);
        check("evt.Meta.a == '' ? 'x' : (evt.Meta.b == '' ? 'y' : 'z')", some);
        check("'x'", Some(&["x"]));
        check("evt.Meta.a == '' ? 'x' : evt.Meta.b", None);
    }

    #[test]
    fn writes() {
        let check = |text: &str, expected: &[&str]| {
            let mut found = Vec::new();
            let node = compile(text);
            written(&node, &mut |write| {
                found.push(match write {
                    Write::Cell(space, key, text) => format!("{}.{key}={text:?}", space.name()),
                    Write::Any(space) => space.name().to_owned(),
                });
            });
            assert_eq!(found, expected, "{text}");
        };
        check(
            "evt.SetMeta('a', 'x') && evt.SetParsed('b', evt.Meta.c)",
            &["Meta.a=Some(\"x\")", "Parsed.b=None"],
        );
        check("evt.SetMeta(evt.Parsed.k, 'x')", &["Meta"]);
        check("UnmarshalJSON(evt.Line.Raw, evt.Unmarshaled, 'j') != nil", &[]);
    }
}
