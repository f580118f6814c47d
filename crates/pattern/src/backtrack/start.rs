//! Where a match can start: quick refusals, and jumps to the next candidate.

use memchr::{memchr, memchr2, memchr3, memmem};

use super::node::{Class, High, Look, Node, Repeat, first};
use super::run::next_in;
use super::set::{ByteSet, END, char_width};

/// What is known about the starts of matches.
#[derive(Debug)]
pub(super) struct Start {
    /// Matches start at the start of the text only.
    anchored: bool,
    /// Bytes with which a match can start.
    first: ByteSet,
    find: Find,
    /// Every match contains this, not at its start.
    required: Option<memmem::Finder<'static>>,
    /// Every match contains these, in this order and apart. The first is preceded by at least `before_chain` bytes.
    chain: Vec<memmem::Finder<'static>>,
    before_chain: usize,
    /// Matches are at least this long.
    min_len: usize,
    /// The expression begins with an unbounded run of these bytes.
    leading_run: Option<ByteSet>,
}

/// How to find the next candidate.
#[derive(Debug)]
enum Find {
    Literal(Box<memmem::Finder<'static>>),
    Byte1(u8),
    Byte2(u8, u8),
    Byte3(u8, u8, u8),
    Table,
}

impl Start {
    pub(super) fn new(node: &Node, min_len: Option<usize>) -> Self {
        let anchored = is_anchored(node);
        let first = first(node, &ByteSet::any());
        let prefix = prefix(node).filter(|prefix| prefix.len() > 1);
        let bytes: Vec<u8> = first.iter().take(4).collect();
        let find = match (prefix, bytes.as_slice()) {
            (Some(prefix), _) => Find::Literal(Box::new(memmem::Finder::new(prefix).into_owned())),
            (None, &[a]) if a != END => Find::Byte1(a),
            (None, &[a, b]) if b != END => Find::Byte2(a, b),
            (None, &[a, b, c]) if c != END => Find::Byte3(a, b, c),
            _ => Find::Table,
        };
        let required = required(node)
            .filter(|literal| Some(*literal) != prefix && worth(literal) > 1)
            .map(|literal| memmem::Finder::new(literal).into_owned());
        let mut chain = Chain::default();
        // Where a literal leads to the candidates, they are few.
        if !anchored && !matches!(find, Find::Literal(_)) {
            chain.collect(node);
        }
        Self {
            anchored,
            first,
            find,
            required,
            chain: chain.literals.iter().map(|literal| memmem::Finder::new(literal).into_owned()).collect(),
            before_chain: chain.before,
            min_len: min_len.unwrap_or(0),
            leading_run: leading_run(node),
        }
    }

    /// Whether a look at the whole text says that there is no match.
    #[inline]
    pub(super) fn hopeless(&self, text: &str) -> bool {
        text.len() < self.min_len
            || self.required.as_ref().is_some_and(|required| required.find(text.as_bytes()).is_none())
    }

    /// The last place where a match can start, given that none starts up to `after`; or `None` if none can. Costs
    /// more than [`Self::hopeless`].
    #[cold]
    pub(super) fn last(&self, text: &str, after: usize) -> Option<usize> {
        let text = text.as_bytes();
        let mut at = after;
        for literal in &self.chain {
            at += literal.find(text.get(at..)?)? + literal.needle().len();
        }
        let last = text.len().checked_sub(self.min_len)?;
        match self.chain.first() {
            Some(literal) => {
                Some(last.min(memmem::rfind(text, literal.needle())?.checked_sub(self.before_chain)?))
            }
            None => Some(last),
        }
    }

    /// The first place in `from..=until` where a match can start.
    #[inline]
    pub(super) fn next(&self, text: &str, from: usize, until: usize) -> Option<usize> {
        let text = text.as_bytes();
        if self.anchored {
            return (from == 0).then_some(0);
        }
        let rest = text.get(from..)?;
        let at = match &self.find {
            Find::Literal(finder) => finder.find(rest),
            Find::Byte1(a) => memchr(*a, rest),
            Find::Byte2(a, b) => memchr2(*a, *b, rest),
            Find::Byte3(a, b, c) => memchr3(*a, *b, *c, rest),
            Find::Table => return next_in(&self.first, text, from, text.len()).filter(|&at| at <= until),
        };
        at.map(|at| from + at).filter(|&at| at <= until)
    }

    /// Where to look on after an attempt at `at` has failed.
    #[inline]
    pub(super) fn after(&self, text: &str, at: usize) -> Option<usize> {
        if self.anchored {
            return None;
        }
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let next = at + rest.first().map_or(1, |&byte| char_width(byte));
        if let Some(run) = &self.leading_run {
            // Any later start in the same run leads to ends that have been tried.
            let len = rest.iter().position(|&byte| !run.contains(byte)).unwrap_or(rest.len());
            return Some(next.max(at + len));
        }
        Some(next)
    }
}

fn is_anchored(node: &Node) -> bool {
    match node {
        Node::Look(Look::Start) => true,
        Node::Group(_, node) => is_anchored(node),
        Node::Repeat(repeat) => repeat.min > 0 && is_anchored(&repeat.node),
        Node::Concat(parts) => parts.first().is_some_and(is_anchored),
        Node::Alternation(parts) => parts.iter().all(is_anchored),
        _ => false,
    }
}

/// The literal with which every match starts.
fn prefix(node: &Node) -> Option<&[u8]> {
    match node {
        Node::Literal(bytes) => Some(bytes),
        Node::Group(_, node) => prefix(node),
        Node::Repeat(repeat) if repeat.min > 0 => prefix(&repeat.node),
        Node::Concat(parts) => prefix(parts.first()?),
        _ => None,
    }
}

/// The bytes of the unbounded run with which the node begins, if it does.
fn leading_run(node: &Node) -> Option<ByteSet> {
    match node {
        Node::Group(_, node) => leading_run(node),
        Node::Concat(parts) => leading_run(parts.first()?),
        Node::Repeat(Repeat { node, max: None, .. }) => match &**node {
            Node::Class(Class { bytes, high: High::None | High::All, .. }) => Some(*bytes),
            _ => None,
        },
        _ => None,
    }
}

/// The most telling literal that every match contains.
fn required(node: &Node) -> Option<&[u8]> {
    match node {
        Node::Literal(bytes) => Some(bytes),
        Node::Group(_, node) => required(node),
        Node::Repeat(repeat) if repeat.min > 0 => required(&repeat.node),
        Node::Concat(parts) => parts.iter().filter_map(required).max_by_key(|literal| worth(literal)),
        _ => None,
    }
}

/// Literals that every match contains one after the other.
#[derive(Default)]
struct Chain<'a> {
    literals: Vec<&'a [u8]>,
    /// Least number of bytes in front of the first.
    before: usize,
}

impl<'a> Chain<'a> {
    /// Appends the literals of `node`. Single bytes are too frequent to be worth a look.
    fn collect(&mut self, node: &'a Node) {
        match node {
            Node::Literal(bytes) if bytes.len() > 1 => self.literals.push(bytes),
            Node::Group(_, node) => self.collect(node),
            Node::Concat(parts) => {
                for part in parts {
                    self.collect(part);
                }
            }
            node if self.literals.is_empty() => self.before += min_len(node),
            _ => {}
        }
    }
}

/// Length of the shortest text that the node matches, in bytes.
fn min_len(node: &Node) -> usize {
    match node {
        Node::Empty | Node::Look(_) => 0,
        Node::Literal(bytes) => bytes.len(),
        Node::Class(_) => 1,
        Node::Repeat(repeat) => min_len(&repeat.node).saturating_mul(repeat.min as usize),
        Node::Group(_, node) => min_len(node),
        Node::Concat(parts) => parts.iter().map(min_len).fold(0, usize::saturating_add),
        Node::Alternation(parts) => parts.iter().map(min_len).min().unwrap_or(0),
    }
}

/// How much the presence of a literal tells: its length without what is in every line.
fn worth(literal: &[u8]) -> usize {
    literal.len() - literal.iter().filter(|byte| b" \"-.:,/".contains(byte)).count().min(literal.len() - 1)
}
