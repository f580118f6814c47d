//! Text that is computed without writing anything and without failing.

use std::borrow::Cow;

use super::{Compiler, Pure};
use crate::{
    core::{Binary, Kind, Node},
    eval::access,
    functions::helpers::{case, url},
    host::{Host, Slot},
    schema::Type,
    value::Value,
};

/// Bytes that few joined texts exceed: keys, names, paths.
const USUAL_BYTES: usize = 64;

/// A text expression.
#[derive(Debug)]
pub enum Text {
    /// Fixed.
    Const(Box<str>),
    /// A cell of the host.
    Slot(Slot),
    /// `Upper(…)`
    Upper(Box<Text>),
    /// `Lower(…)`
    Lower(Box<Text>),
    /// `TrimSpace(…)`
    TrimSpace(Box<Text>),
    /// `QueryUnescape(…)`
    QueryUnescape(Box<Text>),
    /// `PathUnescape(…)`
    PathUnescape(Box<Text>),
    /// `text[2:5]`
    Slice(Box<Text>, Option<i64>, Option<i64>),
    /// `a + b + …`
    Concat(Vec<Text>),
    /// `test ? a : b`
    Cond(Box<(Pure, Text, Text)>),
}

/// What a text is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) slot: Slot,
    /// Upper or lower case, at some step.
    pub(super) changes_case: bool,
    /// `%xx` or `+` may stand for other bytes.
    pub(super) unescapes: bool,
}

impl Text {
    /// The text, borrowed where it exists already.
    pub fn get<'h, H: Host + ?Sized>(&'h self, host: &'h H) -> Cow<'h, str> {
        match self {
            Text::Const(text) => Cow::Borrowed(text),
            Text::Slot(slot) => Cow::Borrowed(host.text(*slot)),
            Text::Upper(of) => chain(of.get(host), case::upper),
            Text::Lower(of) => chain(of.get(host), case::lower),
            Text::TrimSpace(of) => chain(of.get(host), |s| Cow::Borrowed(s.trim())),
            Text::QueryUnescape(of) => chain(of.get(host), url::query_unescape),
            Text::PathUnescape(of) => chain(of.get(host), url::path_unescape),
            Text::Slice(of, from, to) => {
                chain(of.get(host), |s| access::cut(s, access::range(s.len(), *from, *to)))
            }
            Text::Concat(parts) => {
                let mut whole = String::with_capacity(USUAL_BYTES);
                for part in parts {
                    whole.push_str(&part.get(host));
                }
                Cow::Owned(whole)
            }
            Text::Cond(parts) => {
                let (test, yes, no) = &**parts;
                if test.holds(host) { yes.get(host) } else { no.get(host) }
            }
        }
    }

    /// The slot that it is made from, if it is that slot, or trims, unescapes or changes the case of it.
    pub(super) fn origin(&self) -> Option<Origin> {
        match self {
            Text::Slot(slot) => Some(Origin { slot: *slot, changes_case: false, unescapes: false }),
            Text::Upper(of) | Text::Lower(of) => Some(Origin { changes_case: true, ..of.origin()? }),
            Text::QueryUnescape(of) | Text::PathUnescape(of) => {
                Some(Origin { unescapes: true, ..of.origin()? })
            }
            Text::TrimSpace(of) => of.origin(),
            Text::Const(_) | Text::Slice(..) | Text::Concat(_) | Text::Cond(_) => None,
        }
    }

    /// Collects the slots it reads.
    pub fn slots(&self, into: &mut Vec<Slot>) {
        match self {
            Text::Const(_) => {}
            Text::Slot(slot) => into.push(*slot),
            Text::Upper(of)
            | Text::Lower(of)
            | Text::TrimSpace(of)
            | Text::QueryUnescape(of)
            | Text::PathUnescape(of)
            | Text::Slice(of, ..) => of.slots(into),
            Text::Concat(parts) => parts.iter().for_each(|part| part.slots(into)),
            Text::Cond(parts) => {
                parts.0.slots(into);
                parts.1.slots(into);
                parts.2.slots(into);
            }
        }
    }
}

/// Applies a function that may give a piece of its input, keeping the borrow where there is one.
fn chain<'h>(text: Cow<'h, str>, change: impl for<'s> Fn(&'s str) -> Cow<'s, str>) -> Cow<'h, str> {
    match text {
        Cow::Borrowed(text) => change(text),
        Cow::Owned(text) => {
            let changed = match change(&text) {
                Cow::Borrowed(part) if part.len() == text.len() => None,
                part => Some(part.into_owned()),
            };
            Cow::Owned(changed.unwrap_or(text))
        }
    }
}

impl Compiler<'_> {
    pub(super) fn text(&mut self, node: &Node) -> Option<Text> {
        if let Some(value) = self.through(node) {
            return self.text(&value);
        }
        if node.effects.mutates || !matches!(node.ty, Type::String) {
            return None;
        }
        match &node.kind {
            Kind::Const(Value::Str(text)) => Some(Text::Const(text.as_ref().into())),
            Kind::Field { .. } | Kind::Index { .. } | Kind::Method { .. } => self.slot(node).map(Text::Slot),
            Kind::Call { function, arguments } => {
                let [argument] = arguments.as_slice() else { return None };
                let of = Box::new(self.text(argument)?);
                match function.name {
                    "Upper" | "upper" => Some(Text::Upper(of)),
                    "Lower" | "lower" => Some(Text::Lower(of)),
                    "TrimSpace" => Some(Text::TrimSpace(of)),
                    "QueryUnescape" => Some(Text::QueryUnescape(of)),
                    "PathUnescape" => Some(Text::PathUnescape(of)),
                    _ => None,
                }
            }
            Kind::Slice { of, from, to } => {
                let fixed = |bound: &Option<Box<Node>>| match bound.as_deref().map(|node| &node.kind) {
                    None => Some(None),
                    Some(Kind::Const(Value::Int(at))) => Some(Some(*at)),
                    Some(_) => None,
                };
                Some(Text::Slice(Box::new(self.text(of)?), fixed(from)?, fixed(to)?))
            }
            Kind::Binary(Binary::Add, left, right) => {
                let mut parts = Vec::new();
                for side in [left, right] {
                    match self.text(side)? {
                        Text::Concat(inner) => parts.extend(inner),
                        part => parts.push(part),
                    }
                }
                Some(Text::Concat(parts))
            }
            Kind::Cond(test, yes, no) => {
                Some(Text::Cond(Box::new((self.pure(test)?, self.text(yes)?, self.text(no)?))))
            }
            _ => None,
        }
    }

    /// The slot of a chain of names that starts at a variable, or of a method of it.
    pub(super) fn slot(&mut self, node: &Node) -> Option<Slot> {
        let mut names: Vec<&str> = Vec::new();
        let mut at = node;
        if let Kind::Method { of, name, arguments, optional: false } = &at.kind
            && arguments.is_empty()
        {
            names.extend(["()", name]);
            at = of;
        }
        loop {
            match &at.kind {
                Kind::Field { of, name, optional: false } => {
                    names.push(name);
                    at = of;
                }
                Kind::Index { of, key, optional: false } => {
                    let Kind::Const(Value::Str(key)) = &key.kind else { return None };
                    names.push(key);
                    at = of;
                }
                Kind::Variable(variable) => {
                    names.reverse();
                    return self.resolver.slot(*variable, &names);
                }
                _ => return None,
            }
        }
    }
}
