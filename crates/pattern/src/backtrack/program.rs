//! The program: small instructions over bytes, each knowing where it goes next. Whatever can be decided by looking at
//! one byte is decided at compile time and stored here as a set or a table.

use std::sync::Arc;

use memchr::memmem;

use super::node::Look;
use super::set::ByteSet;
use super::token::Token;

/// Index of an instruction.
pub(super) type Pc = u32;

/// Where to go on: an instruction, perhaps one byte further ([`ADVANCE`]) because the first instruction of the way
/// would only look again at the byte that has selected it.
pub(super) type Entry = u32;

/// Marks the last entry of a list in [`Program::targets`].
pub(super) const LAST: u32 = 1 << 31;
/// Marks an entry whose first byte has been seen.
pub(super) const ADVANCE: u32 = 1 << 30;

/// The instruction of an entry and how many bytes to skip.
#[inline]
pub(super) fn split_entry(entry: Entry) -> (Pc, usize) {
    (entry & !(LAST | ADVANCE), usize::from(entry & ADVANCE != 0))
}

/// Stands for an instruction whose failures are not remembered.
pub(super) const NO_MEMO: u32 = u32::MAX;

/// Stands for a part that is no group of its own.
pub(super) const NO_GROUP: u32 = u32::MAX;

/// A compiled expression.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) code: Vec<Inst>,
    pub(super) entry: Pc,
    /// Long literals, end to end.
    pub(super) pool: Vec<u8>,
    pub(super) sets: Vec<ByteSet>,
    /// Ranges beyond ASCII of classes that have some of them.
    pub(super) ranges: Vec<Vec<(char, char)>>,
    pub(super) runs: Vec<Run>,
    /// One row per byte for each switch: where its list starts in `targets`.
    pub(super) switches: Vec<[u16; 256]>,
    pub(super) targets: Vec<Entry>,
    pub(super) counts: Vec<Count>,
    pub(super) tokens: Vec<Arc<Token>>,
    /// Registers: two per wanted group, then the counters.
    pub(super) registers: usize,
    /// For each instruction that can open ways, outside of counted repetitions, its number among those; else
    /// [`NO_MEMO`].
    pub(super) memos: Vec<u32>,
    pub(super) memo_count: usize,
    /// For the tracer: the mark under which each instruction was compiled.
    pub(super) marks: Vec<u32>,
}

/// One step of a match. Unless said otherwise, goes on at `next`.
#[derive(Clone, Debug)]
pub(super) enum Inst {
    /// The whole expression has matched.
    Match,
    Byte {
        byte: u8,
        next: Pc,
    },
    /// Up to eight bytes: those of the text under `mask` are `value`.
    Word {
        value: u64,
        mask: u64,
        len: u8,
        next: Pc,
    },
    /// `pool[start..start + len]`.
    Literal {
        start: u32,
        len: u32,
        next: Pc,
    },
    /// One byte that is a whole character.
    Set {
        set: u32,
        next: Pc,
    },
    /// One character of a class that has all of them beyond ASCII.
    Wide {
        set: u32,
        next: Pc,
    },
    /// One character of a class that has some of them beyond ASCII.
    Char {
        set: u32,
        ranges: u32,
        next: Pc,
    },
    Look {
        look: Look,
        next: Pc,
    },
    /// Stores the position.
    Save {
        register: u32,
        next: Pc,
    },
    /// A repetition of a class.
    Run {
        run: u32,
    },
    /// A part that ends where its alphabet ends, in front of a byte of the set `follow`; `group` is the first
    /// register of the group that it is, or [`NO_GROUP`].
    Token {
        token: u32,
        follow: u32,
        group: u32,
        next: Pc,
    },
    /// Two ways, in order, each open to the bytes in its set.
    Split {
        first: Pc,
        second: Pc,
        first_set: u32,
        second_set: u32,
    },
    /// Many ways: the next byte selects a list.
    Switch {
        switch: u32,
    },
    /// Starts a counted repetition.
    CountFrom {
        register: u32,
        next: Pc,
    },
    /// Between two rounds of a counted repetition.
    Count {
        count: u32,
    },
}

/// A repetition of something that is not a class, with a counter.
#[derive(Clone, Debug)]
pub(super) struct Count {
    pub(super) register: u32,
    pub(super) min: u32,
    /// `u32::MAX` stands for no limit.
    pub(super) max: u32,
    pub(super) greedy: bool,
    pub(super) body: Entry,
    pub(super) body_set: ByteSet,
    pub(super) exit: Entry,
    pub(super) exit_set: ByteSet,
}

/// A repetition of a class.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) set: ByteSet,
    pub(super) scan: Scan,
    pub(super) min: u32,
    /// `u32::MAX` stands for no limit; other limits occur with ASCII-only classes alone.
    pub(super) max: u32,
    pub(super) mode: Mode,
    /// Bytes with which the rest can begin.
    pub(super) follow: ByteSet,
    pub(super) seek: Seek,
    /// The first register of the group that the run is, or [`NO_GROUP`].
    pub(super) group: u32,
    pub(super) next: Pc,
}

/// What a repetition of a class may give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing: the rest cannot begin inside of the run.
    Possessive,
    Greedy,
    Lazy,
}

/// How to find the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// By looking at each byte.
    Table,
    /// The run ends where the text ends.
    All,
    /// The run ends before this byte, or before one of these.
    Until1(u8),
    Until2(u8, u8),
    Until3(u8, u8, u8),
    /// By looking at each character; the ranges beyond ASCII are in [`Program::ranges`].
    Chars(u32),
}

/// How to find the places where the rest can begin.
#[derive(Clone, Debug)]
pub(super) enum Seek {
    /// By looking at each byte.
    Table,
    /// The rest begins with this byte.
    Byte(u8),
    /// The rest begins with this literal.
    Literal(Box<memmem::Finder<'static>>),
}
