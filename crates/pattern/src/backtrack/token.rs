//! Tokens: parts like a date, a number or an address that end where their alphabet ends. If what follows a part
//! begins with no byte that occurs inside of it, the part can end at one place only; then there is nothing to try
//! twice, and a small automaton that reads each byte once decides.

use std::sync::Arc;

use hashbrown::HashMap;
use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_syntax::hir::{self, Hir};

use super::node::{Class, High, Node, Repeat, size};
use super::set::ByteSet;

/// Instructions that a token must replace.
const MIN_TOKEN_STEPS: usize = 3;
/// Instructions that it may replace. An address in all its forms takes a third of this.
const MAX_TOKEN_STEPS: usize = 1024;
/// Largest table of an automaton, in entries. An address in all its forms takes a quarter of this.
const MAX_ENTRIES: usize = 1 << 14;
/// Memory for building one, in bytes.
const MAX_BUILD_BYTES: usize = 1 << 20;
/// The state from which nothing can match.
const DEAD: u16 = u16::MAX;

/// An automaton over bytes. A state is the place of its row in the table, the start state the first.
#[derive(Debug)]
pub(super) struct Token {
    classes: Box<[u8; 256]>,
    /// Number of byte classes.
    width: usize,
    /// One row per state: for each byte class the next state or [`DEAD`], then 1 if the part may end here.
    table: Vec<u16>,
}

/// Automata of tokens: addresses, numbers and dates occur in most patterns of a rule set. Patterns that are compiled
/// with the same collection share them.
#[derive(Debug, Default)]
pub struct Tokens(HashMap<Vec<Node>, Option<Arc<Token>>>);

impl Tokens {
    /// The automaton of a sequence of parts, if it has one of reasonable size.
    pub(super) fn get(&mut self, parts: &[Node]) -> Option<Arc<Token>> {
        if let Some(known) = self.0.get(parts) {
            return known.clone();
        }
        let token = Token::new(parts).map(Arc::new);
        self.0.insert(parts.to_vec(), token.clone());
        token
    }
}

impl Token {
    /// Size of the table.
    pub(super) fn entries(&self) -> usize {
        self.table.len()
    }

    /// Where the token that starts at `from` ends, and whether it is complete.
    #[inline]
    pub(super) fn end(&self, text: &[u8], from: usize) -> (usize, bool) {
        let mut state = 0;
        let mut at = from;
        for &byte in text.get(from..).unwrap_or_default() {
            let class = usize::from(self.classes[usize::from(byte)]);
            match self.table.get(state + class) {
                Some(&next) if next != DEAD => state = usize::from(next),
                _ => break,
            }
            at += 1;
        }
        (at, self.table.get(state + self.width) == Some(&1))
    }

    fn new(parts: &[Node]) -> Option<Self> {
        let hir = Hir::concat(parts.iter().map(to_hir).collect::<Option<_>>()?);
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(MAX_BUILD_BYTES)),
            )
            .build_from_hir(&hir)
            .ok()?;
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(regex_automata::MatchKind::All)
            .accelerate(false)
            .dfa_size_limit(Some(MAX_BUILD_BYTES))
            .determinize_size_limit(Some(MAX_BUILD_BYTES));
        let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()?;
        Self::from_dfa(&dfa)
    }

    fn from_dfa(dfa: &dense::DFA<Vec<u32>>) -> Option<Self> {
        let mut classes = Box::new([0; 256]);
        let mut representatives = Vec::new();
        for byte in 0..=u8::MAX {
            let class = dfa.byte_classes().get(byte);
            classes[usize::from(byte)] = class;
            if usize::from(class) == representatives.len() {
                representatives.push(byte);
            }
        }
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).ok()?;
        let width = representatives.len();
        let mut states = vec![start];
        let mut rows: HashMap<StateID, u16> = [(start, 0)].into_iter().collect();
        let mut table = Vec::new();
        let mut done = 0;
        while let Some(&state) = states.get(done) {
            done += 1;
            for &byte in &representatives {
                let next = dfa.next_state(state, byte);
                // Matches are reported one byte late, by a state that may have nothing else to do.
                let goes_on = |&byte: &u8| !dfa.is_dead_state(dfa.next_state(next, byte));
                let ends = dfa.is_match_state(dfa.next_eoi_state(next));
                if !ends && !representatives.iter().any(goes_on) {
                    table.push(DEAD);
                    continue;
                }
                let row = *rows.entry(next).or_insert_with(|| {
                    states.push(next);
                    ((states.len() - 1) * (width + 1)) as u16
                });
                table.push(row);
            }
            table.push(u16::from(dfa.is_match_state(dfa.next_eoi_state(state))));
            if states.len() * (width + 1) > MAX_ENTRIES {
                return None;
            }
        }
        Some(Self { classes, width, table })
    }
}

/// Where in a sequence the longest token starts that reaches its end, if one is worth it. Literals at its edges are
/// not part of it: they are quicker to compare, and to search.
pub(super) fn token_start(parts: &[Node], follow: &ByteSet) -> Option<usize> {
    if let Some(Node::Literal(_)) = parts.last() {
        return None;
    }
    let mut inside = ByteSet::EMPTY;
    let (mut start, mut steps) = (parts.len(), 0);
    let mut steps_with_literals = 0;
    for (at, part) in parts.iter().enumerate().rev() {
        let Some(bytes) = alphabet(part) else { break };
        inside = inside.union(&bytes);
        steps_with_literals += size(part);
        if !inside.is_disjoint(follow) || steps_with_literals > MAX_TOKEN_STEPS {
            break;
        }
        if !matches!(part, Node::Literal(_)) {
            (start, steps) = (at, steps_with_literals);
        }
    }
    (steps >= MIN_TOKEN_STEPS).then_some(start)
}

/// All bytes that can occur in a match of the node, or `None` if a token cannot contain it: what it stores or looks
/// at, and runs of almost anything, which are faster to search than to read.
fn alphabet(node: &Node) -> Option<ByteSet> {
    match node {
        Node::Empty => Some(ByteSet::EMPTY),
        Node::Literal(bytes) => {
            Some(bytes.iter().fold(ByteSet::EMPTY, |all, &byte| all.union(&ByteSet::of(byte))))
        }
        Node::Class(class) => match class.high {
            High::None => Some(class.bytes),
            High::All => None,
            High::Some(_) => {
                let mut bytes = class.bytes;
                bytes.insert_range(0x80, 0xF4);
                Some(bytes)
            }
        },
        Node::Look(_) | Node::Group(..) => None,
        Node::Repeat(repeat) => alphabet(&repeat.node),
        Node::Concat(parts) | Node::Alternation(parts) => {
            parts.iter().try_fold(ByteSet::EMPTY, |all, part| Some(all.union(&alphabet(part)?)))
        }
    }
}

fn to_hir(node: &Node) -> Option<Hir> {
    Some(match node {
        Node::Empty => Hir::empty(),
        Node::Literal(bytes) => Hir::literal(bytes.as_slice()),
        Node::Class(class) => Hir::class(hir::Class::Unicode(to_class(class))),
        Node::Look(_) | Node::Group(..) => return None,
        Node::Repeat(Repeat { node, min, max, .. }) => Hir::repetition(hir::Repetition {
            min: *min,
            max: *max,
            greedy: true,
            sub: Box::new(to_hir(node)?),
        }),
        Node::Concat(parts) => Hir::concat(parts.iter().map(to_hir).collect::<Option<_>>()?),
        Node::Alternation(parts) => Hir::alternation(parts.iter().map(to_hir).collect::<Option<_>>()?),
    })
}

fn to_class(class: &Class) -> hir::ClassUnicode {
    let ascii = (0..=0x7F_u8).filter(|&byte| class.bytes.contains(byte)).map(char::from);
    let ascii = ascii.map(|c| hir::ClassUnicodeRange::new(c, c));
    let high: &[(char, char)] = match &class.high {
        High::None => &[],
        High::All => &[('\u{80}', char::MAX)],
        High::Some(ranges) => ranges,
    };
    let high = high.iter().map(|&(start, end)| hir::ClassUnicodeRange::new(start, end));
    hir::ClassUnicode::new(ascii.chain(high))
}

#[cfg(test)]
mod tests {
    use super::super::node::lower;
    use super::*;

    #[test]
    fn reads_up_to_the_end_of_its_alphabet() {
        let check = |pattern: &str, text: &str, expected: (usize, bool)| {
            let hir = regex_syntax::parse(pattern).expect("the test's pattern");
            let node = lower(&hir, &|_| None).expect("supported");
            let token = Token::new(&[node]).expect("small");
            assert_eq!(token.end(text.as_bytes(), 0), expected, "{pattern} on {text}");
        };
        check("[0-9]{1,3}(?:\\.[0-9]{1,3}){3}", "10.20.30.40 x", (11, true));
        check("[0-9]{1,3}(?:\\.[0-9]{1,3}){3}", "10.20.30 x", (8, false));
        check("ab|a", "ab", (2, true));
        check("ab|a", "a", (1, true));
        check("M[aä]r", "Mär", (4, true));
        check("M[aä]r", "Mör", (2, false));
        check("a*", "", (0, true));
    }
}
