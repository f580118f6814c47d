//! The tree between regex-syntax's HIR and the program: only wanted groups, classes as byte sets, common prefixes
//! of alternatives shared where that cannot change which way is tried first.

use regex_syntax::hir::{self, Hir, HirKind};

use super::Unsupported;
use super::set::{ByteSet, END};

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

/// Alternations nested deeper than this keep their alternatives as they are, ...
const MAX_FACTORED_NESTING: usize = 16;
/// ... and prefixes are shared so many times in a row: both so that trees stay shallow enough for recursion.
const MAX_FACTORINGS: usize = 8;

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
            drop_redundant(&mut alternatives);
            let factorings = if depth < MAX_FACTORED_NESTING { MAX_FACTORINGS } else { 0 };
            factor(alternatives, factorings)
        }
    })
}

/// Drops alternatives that match nothing but the empty text behind one that can do so unconditionally.
fn drop_redundant(alternatives: &mut Vec<Node>) {
    if let Some(empty) = alternatives.iter().position(matches_empty) {
        let mut at = 0;
        alternatives.retain(|node| {
            at += 1;
            at <= empty + 1 || !matches!(node, Node::Empty | Node::Look(_))
        });
    }
}

/// Whether the node can match the empty text wherever it is.
fn matches_empty(node: &Node) -> bool {
    match node {
        Node::Empty => true,
        Node::Literal(_) | Node::Class(_) | Node::Look(_) => false,
        Node::Repeat(repeat) => repeat.min == 0 || matches_empty(&repeat.node),
        Node::Group(_, node) => matches_empty(node),
        Node::Concat(parts) => parts.iter().all(matches_empty),
        Node::Alternation(parts) => parts.iter().any(matches_empty),
    }
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
fn concat(parts: Vec<Node>) -> Node {
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

/// An alternation in which neighbours that start with the same things share them, like the eight forms of an IPv6
/// address that all begin with a group of digits and a colon. Only things that match in at most one way are shared:
/// then `XA|XB` and `X(A|B)` try the same ways in the same order.
fn factor(alternatives: Vec<Node>, factorings: usize) -> Node {
    if factorings == 0 {
        return Node::Alternation(alternatives);
    }
    let mut lists: Vec<Vec<Node>> = alternatives.into_iter().map(sequence).collect();
    let mut done: Vec<Node> = Vec::with_capacity(lists.len());
    lists.reverse();
    while let Some(list) = lists.pop() {
        let shared = lists.last().map(|next| shared_prefix(&list, next)).unwrap_or_default();
        if shared.is_empty() {
            done.push(concat(list));
            continue;
        }
        let mut tails = vec![concat(strip(list, &shared))];
        while lists.last().is_some_and(|next| shared_prefix(&shared, next) == shared) {
            tails.extend(lists.pop().map(|next| concat(strip(next, &shared))));
        }
        let mut parts = shared;
        parts.push(factor(tails, factorings - 1));
        done.push(concat(parts));
    }
    if done.len() == 1 { done.swap_remove(0) } else { Node::Alternation(done) }
}

/// The parts of a node in order; a leading repetition shows its first round.
fn sequence(node: Node) -> Vec<Node> {
    match node {
        Node::Empty => Vec::new(),
        Node::Concat(parts) => {
            let mut parts = parts.into_iter();
            let mut all = parts.next().map(sequence).unwrap_or_default();
            all.extend(parts);
            all
        }
        Node::Repeat(Repeat { node, min, max, greedy }) if min > 0 && !matches!(*node, Node::Class(_)) => {
            let rest = match (min - 1, max.map(|max| max - 1)) {
                (_, Some(0)) => None,
                (1, Some(1)) => Some((*node).clone()),
                (min, max) => Some(Node::Repeat(Repeat { node: node.clone(), min, max, greedy })),
            };
            let mut all = sequence(*node);
            all.extend(rest);
            all
        }
        node => vec![node],
    }
}

/// The longest common prefix of two sequences that matches in at most one way.
fn shared_prefix(left: &[Node], right: &[Node]) -> Vec<Node> {
    let mut shared = Vec::new();
    for pair in left.iter().zip(right) {
        match pair {
            (Node::Literal(left), Node::Literal(right)) if left != right => {
                let mut len = left.iter().zip(right).take_while(|(a, b)| a == b).count();
                // Split between characters only.
                while [left, right].iter().any(|bytes| bytes.get(len).is_some_and(|byte| byte & 0xC0 == 0x80))
                {
                    len -= 1;
                }
                if len > 0 {
                    shared.push(Node::Literal(left[..len].to_vec()));
                }
                break;
            }
            (left, right) if left == right => shared.push(left.clone()),
            _ => break,
        }
    }
    while !parts_match_one_way(&shared) {
        shared.pop();
    }
    // Sharing an assertion alone gains nothing.
    if shared.iter().all(nullable) { Vec::new() } else { shared }
}

/// What is left of a sequence after a prefix that [`shared_prefix`] found in it.
fn strip(list: Vec<Node>, prefix: &[Node]) -> Vec<Node> {
    let mut rest = list.into_iter().skip(prefix.len().saturating_sub(1));
    let mut left = match (prefix.last(), rest.next()) {
        (Some(Node::Literal(shared)), Some(Node::Literal(bytes))) if bytes.len() > shared.len() => {
            vec![Node::Literal(bytes[shared.len()..].to_vec())]
        }
        _ => Vec::new(),
    };
    left.extend(rest);
    left
}

/// Whether there is at most one way to match the node at any position.
fn matches_one_way(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Literal(_) | Node::Class(_) | Node::Look(_) => true,
        Node::Group(..) | Node::Alternation(_) => false,
        Node::Repeat(repeat) => repeat.max == Some(repeat.min) && matches_one_way(&repeat.node),
        Node::Concat(parts) => parts_match_one_way(parts),
    }
}

fn parts_match_one_way(parts: &[Node]) -> bool {
    parts.iter().enumerate().all(|(i, part)| match (part, parts.get(i + 1)) {
        (Node::Repeat(Repeat { node, .. }), Some(next)) if !nullable(next) => match &**node {
            Node::Class(class) => class.first.is_disjoint(&first(next, &ByteSet::EMPTY)),
            _ => matches_one_way(part),
        },
        _ => matches_one_way(part),
    })
}

/// What is known about the character in front of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Unknown,
    Word,
    NotWord,
}

impl Side {
    fn of(set: &ByteSet) -> Self {
        match (set.is_disjoint(&ByteSet::WORD), set.is_disjoint(&ByteSet::WORD.complement())) {
            (true, false) => Self::NotWord,
            (false, true) => Self::Word,
            _ => Self::Unknown,
        }
    }

    fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

/// Drops word boundaries that are always there, as in `"\b\w+\b `: most of grok's.
pub(super) fn drop_boundaries(node: Node) -> Node {
    drop_in(node, Side::Unknown, &ByteSet::any())
}

fn drop_in(node: Node, before: Side, after: &ByteSet) -> Node {
    match node {
        Node::Look(Look::Word) => match (before, Side::of(after)) {
            (Side::Word, Side::NotWord) | (Side::NotWord, Side::Word) => Node::Empty,
            _ => Node::Look(Look::Word),
        },
        Node::Group(place, node) => Node::Group(place, Box::new(drop_in(*node, before, after))),
        Node::Alternation(parts) => {
            Node::Alternation(parts.into_iter().map(|part| drop_in(part, before, after)).collect())
        }
        Node::Repeat(repeat) => {
            let once = repeat.max == Some(1);
            let before = if once { before } else { before.or(last_side(&repeat.node, Side::Unknown)) };
            let after = if once { *after } else { after.union(&first(&repeat.node, after)) };
            Node::Repeat(Repeat { node: Box::new(drop_in(*repeat.node, before, &after)), ..repeat })
        }
        Node::Concat(parts) => {
            let mut afters = vec![*after];
            for part in parts.iter().skip(1).rev() {
                let after = first(part, &afters[afters.len() - 1]);
                afters.push(after);
            }
            let mut before = before;
            let mut dropped = Vec::with_capacity(parts.len());
            for (part, after) in parts.into_iter().zip(afters.iter().rev()) {
                let next = last_side(&part, before);
                dropped.push(drop_in(part, before, after));
                before = next;
            }
            concat(dropped)
        }
        node => node,
    }
}

/// What is known in front of the place after the node.
fn last_side(node: &Node, before: Side) -> Side {
    match node {
        Node::Empty | Node::Look(_) => before,
        Node::Literal(bytes) => bytes.last().map_or(before, |&byte| Side::of(&ByteSet::of(byte))),
        Node::Class(class) => Side::of(&class.first),
        Node::Repeat(repeat) => {
            let inside = last_side(&repeat.node, before);
            if repeat.min == 0 { inside.or(before) } else { inside }
        }
        Node::Group(_, node) => last_side(node, before),
        Node::Concat(parts) => parts.iter().fold(before, |before, part| last_side(part, before)),
        Node::Alternation(parts) => {
            parts.iter().map(|part| last_side(part, before)).reduce(Side::or).unwrap_or(Side::Unknown)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(pattern: &str) -> Node {
        let hir = regex_syntax::parse(pattern).expect("the test's pattern");
        lower(&hir, &|_| None).expect("supported")
    }

    #[test]
    fn shares_prefixes_that_match_one_way() {
        let forms = node("(?:(?:[0-9a-f]{1,4}:){7}x)|(?:(?:[0-9a-f]{1,4}:){2}y)|(?:(?:[0-9a-f]{1,4}:)z)");
        let Node::Concat(parts) = forms else { panic!("not shared: {forms:?}") };
        assert!(matches!(parts.as_slice(), [Node::Repeat(_), Node::Literal(_), Node::Alternation(_)]));
        // `a+` can give back what it took: `a+ab|a+c` must stay as it is.
        assert!(matches!(node("(?:a|b)+ab|(?:a|b)+c|x"), Node::Alternation(parts) if parts.len() == 3));
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
