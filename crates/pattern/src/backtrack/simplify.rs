//! Rewriting the tree so that there is less to try, without changing which way is tried first.

use super::node::{Look, Node, Repeat, concat, first, nullable};
use super::set::ByteSet;

/// Alternations nested deeper than this keep their alternatives as they are, ...
const MAX_FACTORED_NESTING: usize = 16;
/// ... and prefixes are shared so many times in a row: both so that trees stay shallow enough for recursion.
const MAX_FACTORINGS: usize = 8;

/// An alternation of several parts, `depth` levels deep in the expression.
pub(super) fn alternation(mut alternatives: Vec<Node>, depth: usize) -> Node {
    drop_redundant(&mut alternatives);
    factor(alternatives, if depth < MAX_FACTORED_NESTING { MAX_FACTORINGS } else { 0 })
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

/// An alternation in which neighbours that start with the same things share them, like the eight forms of an IPv6
/// address that all begin with a group of digits and a colon. Only things that match in at most one way are shared:
/// then `XA|XB` and `X(A|B)` try the same ways in the same order.
fn factor(alternatives: Vec<Node>, factorings: usize) -> Node {
    if factorings == 0 {
        return Node::Alternation(alternatives);
    }
    let mut done: Vec<Node> = Vec::with_capacity(alternatives.len());
    let mut rest = alternatives.into_iter().map(|node| (sequence(node.clone()), node)).peekable();
    while let Some((list, node)) = rest.next() {
        let shared = rest.peek().map(|(next, _)| shared_prefix(&list, next)).unwrap_or_default();
        if shared.is_empty() {
            done.push(node);
            continue;
        }
        let mut tails = vec![concat(strip(list, &shared))];
        while let Some((next, _)) = rest.next_if(|(next, _)| shared_prefix(&shared, next) == shared) {
            tails.push(concat(strip(next, &shared)));
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

#[cfg(test)]
mod tests {
    use super::super::node::lower;
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
    fn drops_what_is_always_there() {
        let check = |pattern: &str, same_as: &str| {
            assert_eq!(drop_boundaries(node(pattern)), drop_boundaries(node(same_as)), "{pattern}");
        };
        check(r" (?-u:\b)[a-z]+(?-u:\b) ", " [a-z]+ ");
        check(r"-(?:(?-u:\b)a|(?-u:\b)_)(?-u:\b)$", "-(?:a|_)$");
        check(r"x(?:\.?|(?-u:\b))y", r"x\.?y");
        let kept = |pattern: &str| assert_eq!(drop_boundaries(node(pattern)), node(pattern), "{pattern}");
        kept(r"(?-u:\b)[a-z]+");
        kept(r" (?-u:\b)[a-z-]+x");
        kept(r"-(?:(?-u:\b)a(?-u:\b))+-");
        kept(r" ?(?-u:\b)a");
    }
}
