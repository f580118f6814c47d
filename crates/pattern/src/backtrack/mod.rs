//! A fast matcher for the expressions that rules are made of: mostly literals and runs of simple classes.
//!
//! It backtracks, over bytes, and reports what [`regex::Regex`] would: leftmost match, first alternative, same
//! groups. Deciding with the next byte which ways are open at all, it rarely has to take a step back on a real line;
//! when it does so too often, it gives up ([`Outcome::GaveUp`]) and the caller asks the `regex` crate, which takes
//! linear time on anything. Expressions outside of what is supported are refused when compiled.
//!
//! The way of an expression: `node` makes a tree of it, `simplify` leaves less to try in it, `compile` turns it into
//! the instructions of `program`, with parts that can end in one place only as automata (`token`). A search asks
//! `start` where a match can start, and `machine` tries there, with `run` for repetitions of a class. `trace` does the
//! same to find out what stops an expression.

mod compile;
mod machine;
mod node;
mod program;
mod run;
mod set;
mod simplify;
mod start;
mod token;
mod trace;

use regex_syntax::hir::Hir;

use machine::{Attempt, Budget, Frame, Furthest};
use program::Program;
use start::Start;

pub use token::Tokens;
pub use trace::{Stop, Tracer};

/// A register that holds no position.
const NO_POSITION: u32 = u32::MAX;

/// A compiled expression and the groups that its user wants.
#[derive(Debug)]
pub struct Matcher {
    program: Program,
    start: Start,
    /// For each wanted group its registers' place; the whole match has none.
    places: Vec<Option<usize>>,
}

/// Working memory of searches, to be used again.
#[derive(Debug, Default)]
pub struct Scratch {
    frames: Vec<Frame>,
    registers: Vec<u32>,
    /// One bit per instruction that can open ways and position: whether it has been tried there.
    visited: Vec<u64>,
}

/// Result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Found; the spans are set.
    Match,
    /// There is no match.
    NoMatch,
    /// Too many steps back: nobody knows. Ask the `regex` crate.
    GaveUp,
}

/// Why an expression has no fast matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The expression is not valid.
    #[error("not a valid expression: {0}")]
    Syntax(String),
    /// An assertion other than the text's and lines' ends and ASCII word boundaries.
    #[error("an assertion that the fast matcher does not know")]
    Assertion,
    /// Something that matches parts of characters.
    #[error("a class of bytes beyond ASCII")]
    Bytes,
    /// An unbounded repetition of something that can match nothing.
    #[error("an unbounded repetition of something that can match nothing")]
    EmptyRound,
    /// The program would be too large.
    #[error("too large for the fast matcher")]
    Size,
    /// A group that does not exist.
    #[error("the expression has no group {0}")]
    Group(usize),
}

impl Matcher {
    /// Compiles `pattern`, in the syntax of [`regex::Regex`]. `wanted` are the numbers of the groups whose spans
    /// searches report; 0 is the whole match. Fewer groups make faster searches.
    pub fn new(pattern: &str, wanted: &[usize]) -> Result<Self, Unsupported> {
        let hir = regex_syntax::parse(pattern).map_err(|error| Unsupported::Syntax(error.to_string()))?;
        Self::from_hir(&hir, wanted)
    }

    /// The same for an expression that has been parsed already (for `str`, as [`regex_syntax::parse`] does it).
    pub fn from_hir(hir: &Hir, wanted: &[usize]) -> Result<Self, Unsupported> {
        Self::with_tokens(hir, wanted, &mut Tokens::default())
    }

    /// The same, sharing what can be shared with other patterns: less time and memory for a set of rules.
    pub fn with_tokens(hir: &Hir, wanted: &[usize], tokens: &mut Tokens) -> Result<Self, Unsupported> {
        let groups = hir.properties().explicit_captures_len();
        if let Some(&group) = wanted.iter().find(|&&group| group > groups) {
            return Err(Unsupported::Group(group));
        }
        let mut distinct: Vec<usize> = wanted.iter().copied().filter(|&group| group != 0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let place = |group: u32| distinct.binary_search(&(group as usize)).ok();
        let node = simplify::drop_boundaries(node::lower(hir, &place)?);
        Ok(Self {
            program: compile::compile(&node, distinct.len(), Some(tokens))?,
            start: Start::new(&node, hir.properties().minimum_len()),
            places: wanted.iter().map(|group| distinct.binary_search(group).ok()).collect(),
        })
    }

    /// Looks for the leftmost match in `text`. On [`Outcome::Match`] the first spans are those of the wanted groups
    /// in their order, in bytes; those that took no part are `None`. Otherwise `spans` keeps what it was.
    /// Spans that do not fit are left out.
    pub fn search(&self, text: &str, scratch: &mut Scratch, spans: &mut [Option<(u32, u32)>]) -> Outcome {
        if self.start.hopeless(text) {
            return Outcome::NoMatch;
        }
        let mut budget = budget(text, SEARCH_STEPS);
        let mut from = 0;
        let mut until = text.len();
        while let Some(at) = self.start.next(text, from, until) {
            match self.attempt(text, at, scratch, &mut budget, spans) {
                Outcome::NoMatch => {}
                outcome => return outcome,
            }
            if from == 0 {
                // The first candidate was none: now it pays to look further before trying on.
                match self.start.last(text, at) {
                    Some(last) => until = last,
                    None => break,
                }
            }
            match self.start.after(text, at) {
                Some(next) => from = next,
                None => break,
            }
        }
        Outcome::NoMatch
    }

    /// Matches at `start` only, for callers who know from elsewhere that this is where the leftmost match starts:
    /// after [`Outcome::GaveUp`], `regex::Regex::find` is much faster than its captures.
    pub fn search_at(
        &self,
        text: &str,
        start: usize,
        scratch: &mut Scratch,
        spans: &mut [Option<(u32, u32)>],
    ) -> Outcome {
        self.attempt(text, start, scratch, &mut budget(text, KNOWN_START_STEPS), spans)
    }

    fn attempt(
        &self,
        text: &str,
        at: usize,
        scratch: &mut Scratch,
        budget: &mut Budget,
        spans: &mut [Option<(u32, u32)>],
    ) -> Outcome {
        if text.len() >= NO_POSITION as usize || !text.is_char_boundary(at) {
            return Outcome::GaveUp;
        }
        scratch.registers.resize(self.program.registers, NO_POSITION);
        let mut furthest = Furthest::default();
        match machine::attempt::<false>(&self.program, text, at, scratch, budget, &mut furthest) {
            Attempt::Matched(end) => {
                self.report(at, end, &scratch.registers, spans);
                Outcome::Match
            }
            Attempt::Failed => Outcome::NoMatch,
            Attempt::OutOfBudget => Outcome::GaveUp,
        }
    }

    fn report(&self, start: usize, end: usize, registers: &[u32], spans: &mut [Option<(u32, u32)>]) {
        for (span, place) in spans.iter_mut().zip(&self.places) {
            *span = match place {
                None => Some((start as u32, end as u32)),
                Some(place) => match (registers[place * 2], registers[place * 2 + 1]) {
                    (NO_POSITION, _) | (_, NO_POSITION) => None,
                    span => Some(span),
                },
            };
        }
    }
}

/// Steps back per byte of text that a search may take. Real lines take few; beyond this the `regex` crate is the
/// faster one to find out that nothing matches.
const SEARCH_STEPS: u64 = 8;
/// The same where a match is known to start: the alternative is to extract captures, which is slow.
const KNOWN_START_STEPS: u64 = 32;

fn budget(text: &str, steps_per_byte: u64) -> Budget {
    let len = text.len() as u64;
    Budget::new(64 + steps_per_byte * len, 64 + len)
}
