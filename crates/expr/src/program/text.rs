//! Text that is computed without writing anything and without failing.

use std::borrow::Cow;

use testudo_event::net;

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
    /// `IpToRange(…, '64')`
    IpToRange(Box<Text>, Box<str>),
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
    #[inline]
    pub fn get<'h, H: Host + ?Sized>(&'h self, host: &'h H) -> Cow<'h, str> {
        match self {
            Text::Const(text) => Cow::Borrowed(text),
            Text::Slot(slot) => Cow::Borrowed(host.text(*slot)),
            _ => self.made(host),
        }
    }

    /// Text that has to be made.
    fn made<'h, H: Host + ?Sized>(&'h self, host: &'h H) -> Cow<'h, str> {
        match self {
            Text::Const(_) | Text::Slot(_) => self.get(host),
            Text::Upper(of) => chain(of.get(host), case::upper),
            Text::Lower(of) => chain(of.get(host), case::lower),
            Text::TrimSpace(of) => chain(of.get(host), |s| Cow::Borrowed(s.trim())),
            Text::QueryUnescape(of) => chain(of.get(host), url::query_unescape),
            Text::PathUnescape(of) => chain(of.get(host), url::path_unescape),
            Text::Slice(of, from, to) => {
                chain(of.get(host), |s| access::cut(s, access::range(s.len(), *from, *to)))
            }
            Text::IpToRange(of, bits) => {
                Cow::Owned(net::ip_to_range(&of.get(host), bits).unwrap_or_default())
            }
            Text::Concat(parts) => {
                let mut whole = String::with_capacity(USUAL_BYTES);
                parts.iter().for_each(|part| part.write(host, &mut whole));
                Cow::Owned(whole)
            }
            Text::Cond(parts) => {
                let (test, yes, no) = &**parts;
                if test.holds(host) { yes.get(host) } else { no.get(host) }
            }
        }
    }

    /// Adds the text to another.
    pub(super) fn write<H: Host + ?Sized>(&self, host: &H, into: &mut String) {
        match self {
            Text::Const(text) => into.push_str(text),
            Text::Slot(slot) => into.push_str(host.text(*slot)),
            Text::Upper(of) => of.write_changed(host, into, str::make_ascii_uppercase, case::upper),
            Text::Lower(of) => of.write_changed(host, into, str::make_ascii_lowercase, case::lower),
            Text::Concat(parts) => parts.iter().for_each(|part| part.write(host, into)),
            Text::Cond(parts) => {
                let (test, yes, no) = &**parts;
                if test.holds(host) { yes.write(host, into) } else { no.write(host, into) }
            }
            _ => into.push_str(&self.get(host)),
        }
    }

    /// Adds the text in another case, where it is ASCII without a copy of its own.
    fn write_changed<H: Host + ?Sized>(
        &self,
        host: &H,
        into: &mut String,
        ascii: impl Fn(&mut str),
        change: impl for<'s> Fn(&'s str) -> Cow<'s, str>,
    ) {
        let start = into.len();
        self.write(host, into);
        let Some(added) = into.get_mut(start..) else { return };
        if added.is_ascii() {
            ascii(added);
        } else {
            let changed = change(added).into_owned();
            into.truncate(start);
            into.push_str(&changed);
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
            Text::Const(_) | Text::Slice(..) | Text::IpToRange(..) | Text::Concat(_) | Text::Cond(_) => None,
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
            | Text::Slice(of, ..)
            | Text::IpToRange(of, _) => of.slots(into),
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
                if let ("IpToRange", [address, bits]) = (function.name, arguments.as_slice()) {
                    let Kind::Const(Value::Str(bits)) = &bits.kind else { return None };
                    return Some(Text::IpToRange(Box::new(self.text(address)?), bits.as_ref().into()));
                }
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
