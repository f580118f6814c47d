//! The tree between regex-syntax's HIR and the program: only wanted groups, classes as byte sets, and what can be
//! said about its parts without looking at a text.

use regex_syntax::hir::{self, Hir, HirKind};

use super::set::{ByteSet, END};
use super::{Unsupported, simplify};

/// Repetitions are written out if that takes at most this many instructions, else counted.
pub(super) const MAX_UNROLLED: usize = 24;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Empty,
    Literal(Vec<u8>),
    Class(Class),
    Look(Look),
    Repeat(Repeat),
    /// A wanted group and its place in the list of wanted groups, or a mark of the tracer.
    Group(usize, Box<Node>),
    Concat(Vec<Node>),
    Alternation(Vec<Node>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Repeat {
    pub(super) node: Box<Node>,
    pub(super) min: u32,
    pub(super) max: Option<u32>,
    pub(super) greedy: bool,
}

/// One character out of a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Class {
    /// Bytes that belong to a run of the class: the ASCII members, and every byte above when `high` is `All`.
    pub(super) bytes: ByteSet,
    /// Bytes with which a member starts.
    pub(super) first: ByteSet,
    pub(super) high: High,
}

/// The members of a class beyond ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum High {
    None,
    All,
    Some(Vec<(char, char)>),
}

/// Assertions without width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Look {
    Start,
    End,
    LineStart,
    LineEnd,
    Word,
    NotWord,
}

/// Translates an expression; `place` says where a group's span goes, if anyone wants it.
pub(super) fn lower(hir: &Hir, place: &dyn Fn(u32) -> Option<usize>) -> Result<Node, Unsupported> {
    lower_at(hir, place, 0)
}

fn lower_at(hir: &Hir, place: &dyn Fn(u32) -> Option<usize>, depth: usize) -> Result<Node, Unsupported> {
    let lower = |hir: &Hir, place| lower_at(hir, place, depth + 1);
    Ok(match hir.kind() {
        HirKind::Empty => Node::Empty,
        HirKind::Literal(hir::Literal(bytes)) => Node::Literal(bytes.to_vec()),
        HirKind::Class(class) => Node::Class(lower_class(class)?),
        HirKind::Look(look) => Node::Look(match look {
            hir::Look::Start => Look::Start,
            hir::Look::End => Look::End,
            hir::Look::StartLF => Look::LineStart,
            hir::Look::EndLF => Look::LineEnd,
            hir::Look::WordAscii => Look::Word,
            hir::Look::WordAsciiNegate => Look::NotWord,
            _ => return Err(Unsupported::Assertion),
        }),
        HirKind::Repetition(repetition) => {
            let node = lower(&repetition.sub, place)?;
            match (repetition.min, repetition.max) {
                (_, Some(0)) => Node::Empty,
                (1, Some(1)) => node,
                (min, max) => {
                    Node::Repeat(Repeat { node: Box::new(node), min, max, greedy: repetition.greedy })
                }
            }
        }
        HirKind::Capture(capture) => {
            let node = lower(&capture.sub, place)?;
            match place(capture.index) {
                Some(at) => Node::Group(at, Box::new(node)),
                None => node,
            }
        }
        HirKind::Concat(parts) => {
            let parts = parts.iter().map(|part| lower(part, place)).collect::<Result<_, _>>()?;
            concat(parts)
        }
        HirKind::Alternation(parts) => {
            let mut alternatives = Vec::new();
            for part in parts {
                match lower(part, place)? {
                    Node::Alternation(nested) => alternatives.extend(nested),
                    node => alternatives.push(node),
                }
            }
            simplify::alternation(alternatives, depth)
        }
    })
}

fn lower_class(class: &hir::Class) -> Result<Class, Unsupported> {
    let mut bytes = ByteSet::EMPTY;
    let mut high = Vec::new();
    match class {
        hir::Class::Bytes(class) => {
            for range in class.ranges() {
                if range.end() > 0x7F {
                    return Err(Unsupported::Bytes);
                }
                bytes.insert_range(range.start(), range.end());
            }
        }
        hir::Class::Unicode(class) => {
            for range in class.ranges() {
                let (start, end) = (range.start(), range.end());
                if start <= '\x7F' {
                    bytes.insert_range(start as u8, end.min('\x7F') as u8);
                }
                if end > '\x7F' {
                    high.push((start.max('\u{80}'), end));
                }
            }
        }
    }
    let mut first = bytes;
    for &(start, end) in &high {
        first.insert_range(lead_byte(start), lead_byte(end));
    }
    let high = match high.as_slice() {
        [] => High::None,
        [('\u{80}', char::MAX)] => {
            bytes.insert_range(0x80, END - 1);
            High::All
        }
        _ => High::Some(high),
    };
    Ok(Class { bytes, first, high })
}

fn lead_byte(c: char) -> u8 {
    let mut buffer = [0; 4];
    c.encode_utf8(&mut buffer);
    buffer[0]
}

/// A sequence, flattened, with neighbouring literals joined.
pub(super) fn concat(parts: Vec<Node>) -> Node {
    let mut joined: Vec<Node> = Vec::with_capacity(parts.len());
    let mut pending: Vec<Node> = parts.into_iter().rev().collect();
    while let Some(part) = pending.pop() {
        match part {
            Node::Empty => {}
            Node::Concat(nested) => pending.extend(nested.into_iter().rev()),
            Node::Literal(bytes) => match joined.last_mut() {
                Some(Node::Literal(before)) => before.extend(bytes),
                _ => joined.push(Node::Literal(bytes)),
            },
            part => joined.push(part),
        }
    }
    match joined.len() {
        0 => Node::Empty,
        1 => joined.swap_remove(0),
        _ => Node::Concat(joined),
    }
}

/// Whether the node can match without consuming anything.
pub(super) fn nullable(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Look(_) => true,
        Node::Literal(bytes) => bytes.is_empty(),
        Node::Class(_) => false,
        Node::Repeat(repeat) => repeat.min == 0 || nullable(&repeat.node),
        Node::Group(_, node) => nullable(node),
        Node::Concat(parts) => parts.iter().all(nullable),
        Node::Alternation(parts) => parts.iter().any(nullable),
    }
}

/// The bytes that may come next when the node is about to match and `after` may come next after it.
pub(super) fn first(node: &Node, after: &ByteSet) -> ByteSet {
    match node {
        Node::Empty => *after,
        Node::Literal(bytes) => bytes.first().map_or(*after, |&byte| ByteSet::of(byte)),
        Node::Class(class) => class.first,
        Node::Look(look) => look_first(*look, after),
        Node::Repeat(repeat) => {
            let inside = first(&repeat.node, after);
            if repeat.min == 0 { inside.union(after) } else { inside }
        }
        Node::Group(_, node) => first(node, after),
        Node::Concat(parts) => parts.iter().rev().fold(*after, |after, part| first(part, &after)),
        Node::Alternation(parts) => {
            parts.iter().fold(ByteSet::EMPTY, |all, part| all.union(&first(part, after)))
        }
    }
}

/// The same for an assertion alone.
pub(super) fn look_first(look: Look, after: &ByteSet) -> ByteSet {
    match look {
        Look::End => after.intersection(&ByteSet::of(END)),
        Look::LineEnd => after.intersection(&ByteSet::of(END).union(&ByteSet::of(b'\n'))),
        Look::Start | Look::LineStart | Look::Word | Look::NotWord => *after,
    }
}

/// About how many instructions a node takes.
pub(super) fn size(node: &Node) -> usize {
    match node {
        Node::Empty => 0,
        Node::Literal(_) | Node::Class(_) | Node::Look(_) => 1,
        Node::Group(_, node) => 2 + size(node),
        Node::Concat(parts) => parts.iter().map(size).sum(),
        Node::Alternation(parts) => 1 + parts.iter().map(size).sum::<usize>(),
        Node::Repeat(repeat) if matches!(*repeat.node, Node::Class(_)) => 1,
        Node::Repeat(repeat) => {
            let inner = 1 + size(&repeat.node);
            let rounds = repeat.max.unwrap_or(repeat.min + 1) as usize;
            inner.saturating_mul(rounds).min(inner.max(MAX_UNROLLED) + 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pattern: &str) -> Node {
        let hir = regex_syntax::parse(pattern).expect("the test's pattern");
        lower(&hir, &|_| None).expect("supported")
    }

    #[test]
    fn first_bytes() {
        let check = |pattern: &str, after: &[u8], expected: &[u8]| {
            let mut set = ByteSet::EMPTY;
            for &byte in after {
                set.insert(byte);
            }
            assert_eq!(first(&node(pattern), &set).iter().collect::<Vec<_>>(), expected, "{pattern}");
        };
        check("ab|c?", b"x", b"acx");
        check("(?:ab)*", b"x", b"ax");
        check("$", b"x", b"");
        check("$", &[END, b'x'], &[END]);
        check(r"(?-u:\b)[ä]", b"x", &[0xC3]);
    }
}
