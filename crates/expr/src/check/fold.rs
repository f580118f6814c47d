//! Constants: a node without effects whose parts are all constant is replaced by its value.

use crate::{
    core::{Kind, Node},
    error::Span,
    eval,
    host::NoHost,
    schema::{Effects, Type},
    value::Value,
};

/// Elements, entries or bytes of the largest value that is kept instead of what makes it.
const MAX_FOLDED: usize = 10_000;

/// A node of this kind with `own` effects beside those of its parts, or the constant that it is.
///
/// What fails when it is computed stays as it is, so that it fails when it runs, if it runs.
pub(super) fn node(kind: Kind, ty: Type, span: Span, own: Effects) -> Node {
    let mut node = Node { kind, ty, span, effects: own };
    let mut effects = own;
    let mut constant = foldable(&node.kind);
    node.for_each_child(&mut |part| {
        effects = effects.and(part.effects);
        constant &= matches!(part.kind, Kind::Const(_));
    });
    node.effects = effects;
    if !constant || effects != Effects::PURE {
        return node;
    }
    match eval::eval(&node, &mut NoHost) {
        Ok(value) if may_be_kept(&value) => Node { kind: Kind::Const(value), ..node },
        _ => node,
    }
}

/// Whether the value depends on nothing but the parts.
fn foldable(kind: &Kind) -> bool {
    match kind {
        Kind::Negate(..)
        | Kind::Not(_)
        | Kind::Binary(..)
        | Kind::Matches(..)
        | Kind::InStrings(..)
        | Kind::List(_)
        | Kind::Map(_)
        | Kind::Index { .. }
        | Kind::Slice { .. }
        | Kind::Chain(_)
        | Kind::Coalesce(..)
        | Kind::Call { .. }
        | Kind::Method { .. } => true,
        // Conditionals and logic are folded where they are built, on part of their operands.
        Kind::Const(_)
        | Kind::Variable(_)
        | Kind::Env
        | Kind::Local(_)
        | Kind::Element(_)
        | Kind::ElementIndex(_)
        | Kind::Accumulator(_)
        | Kind::Field { .. }
        | Kind::HostCall { .. }
        | Kind::And(_)
        | Kind::Or(_)
        | Kind::Cond(..)
        | Kind::Let(..)
        | Kind::Sequence(_)
        | Kind::Loop { .. } => false,
    }
}

fn may_be_kept(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Str(text) => text.len() <= MAX_FOLDED,
        Value::Bytes(bytes) => bytes.len() <= MAX_FOLDED,
        Value::List(items) => items.len() <= MAX_FOLDED,
        Value::Map(entries) => entries.len() <= MAX_FOLDED,
        _ => true,
    }
}
