//! RE2 and Go regex syntax, rewritten for the `regex` crate with the same meaning.
//!
//! A single pass over the text: every construct is read as RE2 reads it and written in the narrow part of the
//! `regex` syntax that means the same, so the output needs no further check. Flags are tracked rather than
//! copied (`(?U)` becomes explicit laziness), which also lets the pass record where each capturing group and
//! each top-level piece of the pattern went.

mod class;
mod escape;
mod outline;

use std::collections::HashSet;
use std::ops::Range;

use regex_syntax::hir::Hir;

use crate::PatternError;

pub(crate) use self::outline::{Alternative, Outline};

/// Largest repeat count, and largest product of nested ones, as in RE2.
pub const MAX_REPEAT: u32 = 1000;

/// Deepest nesting of groups. Chosen so that the output stays below the default nesting limit of the `regex`
/// crate (250 syntax nodes; a group costs at most six); the deepest standard definition needs 20.
pub const MAX_GROUP_DEPTH: usize = 40;

/// Largest compiled program in bytes; the largest standard definition needs 0.7 MB.
pub const REGEX_SIZE_LIMIT: usize = 10 << 20;

/// Memory that the lazy automaton of one regex may use per thread before it starts over, in bytes.
pub const DFA_CACHE_LIMIT: usize = 2 << 20;

/// Rewrites a regex in RE2 (or Go) syntax for the `regex` crate, with the same meaning: `\d \w \s \b` and their
/// negations are ASCII, everything else knows Unicode.
///
/// # Errors
/// What RE2 refuses is refused, with the byte offset into `re2`. So are nesting beyond [`MAX_GROUP_DEPTH`],
/// escapes that name surrogates or single bytes (neither occurs in text that is valid UTF-8), and a third
/// repetition of the same thing across flags that stand between.
pub fn translate(re2: &str) -> Result<String, PatternError> {
    Ok(scan(re2)?.regex)
}

/// [`translate()`]s and compiles a regex under [`REGEX_SIZE_LIMIT`] and [`DFA_CACHE_LIMIT`].
///
/// # Errors
/// Those of [`translate()`], and [`PatternError::TooBig`].
pub fn compile(re2: &str) -> Result<regex::Regex, PatternError> {
    compile_translated(&translate(re2)?)
}

/// Compiles text that [`scan`] wrote.
pub(crate) fn compile_translated(regex: &str) -> Result<regex::Regex, PatternError> {
    regex::RegexBuilder::new(regex)
        .size_limit(REGEX_SIZE_LIMIT)
        .dfa_size_limit(DFA_CACHE_LIMIT)
        .build()
        .map_err(|error| PatternError::TooBig { reason: error.to_string() })
}

/// Parses text that [`scan`] wrote into the structure that engines are built from.
pub(crate) fn parse_translated(regex: &str) -> Result<Hir, PatternError> {
    regex_syntax::Parser::new()
        .parse(regex)
        .map_err(|error| PatternError::TooBig { reason: error.to_string() })
}

/// The result of [`scan`].
#[derive(Debug)]
pub(crate) struct Translation {
    /// In the syntax of the `regex` crate.
    pub(crate) regex: String,
    /// The capturing groups in order: the first entry is group 1.
    pub(crate) groups: Vec<Group>,
    /// The top-level pieces.
    pub(crate) outline: Outline,
}

/// Where a capturing group stands.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Byte offset of its `(` in the source.
    pub(crate) source: usize,
    /// Its `(` or `(?P<name>` in the output.
    pub(crate) opener: Range<usize>,
}

/// Rewrites `re2` and notes where things went.
pub(crate) fn scan(re2: &str) -> Result<Translation, PatternError> {
    Scanner::new(re2).run()
}

/// Flags that are on at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u8);

impl Flags {
    const FOLD_CASE: u8 = 1;
    const MULTI_LINE: u8 = 2;
    const DOT_ALL: u8 = 4;
    /// `U`; never written out, it turns the laziness of each repetition round.
    const SWAP_GREED: u8 = 8;
    const WRITTEN: [(u8, char); 3] = [(Self::FOLD_CASE, 'i'), (Self::MULTI_LINE, 'm'), (Self::DOT_ALL, 's')];

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Writes the letters that lead from `self` to `to`, such as `i-s`.
    fn write_change(self, to: Self, out: &mut String) {
        out.extend(Self::WRITTEN.iter().filter(|(bit, _)| !self.has(*bit) && to.has(*bit)).map(|(_, c)| c));
        let mut off = Self::WRITTEN.iter().filter(|(bit, _)| self.has(*bit) && !to.has(*bit)).peekable();
        if off.peek().is_some() {
            out.push('-');
            out.extend(off.map(|(_, c)| c));
        }
    }

    /// Whether the two differ in anything that is written out.
    fn differs(self, other: Self) -> bool {
        (self.0 ^ other.0) & !Self::SWAP_GREED != 0
    }
}

/// The piece that a following `*` would repeat.
#[derive(Debug)]
struct Atom {
    /// Where it begins in the output.
    start: usize,
    /// Where it begins in the source.
    source: usize,
    /// The largest product of nested repeat counts inside.
    weight: u32,
    /// How many repetitions stand behind it already.
    repeats: u8,
}

/// What to restore when a group closes.
struct Frame {
    start: usize,
    source: usize,
    flags: Flags,
    written: Flags,
    weight: u32,
}

struct Scanner<'a> {
    text: &'a str,
    pos: usize,
    out: String,
    /// Flags in force at `pos`.
    flags: Flags,
    /// Flags in force at the end of `out`; brought up to date when the next atom is written.
    written: Flags,
    atom: Option<Atom>,
    /// The token before this one was a repetition: a second one is an error.
    after_repeat: bool,
    /// Largest repeat product seen in the current group.
    weight: u32,
    frames: Vec<Frame>,
    names: HashSet<&'a str>,
    groups: Vec<Group>,
    outline: Outline,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            out: String::with_capacity(text.len() + text.len() / 4),
            flags: Flags::default(),
            written: Flags::default(),
            atom: None,
            after_repeat: false,
            weight: 1,
            frames: Vec::new(),
            names: HashSet::new(),
            groups: Vec::new(),
            outline: Outline::new(),
        }
    }

    fn run(mut self) -> Result<Translation, PatternError> {
        while let Some(c) = self.rest().chars().next() {
            let start = self.pos;
            let after_repeat = std::mem::take(&mut self.after_repeat);
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => self.alternative(),
                '^' | '$' | '.' => {
                    self.pos += 1;
                    self.begin_atom(start);
                    self.out.push(c);
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '*' | '+' | '?' => {
                    self.pos += 1;
                    self.repeat(start, after_repeat)?;
                }
                '{' => self.counted_repeat(after_repeat)?,
                _ => {
                    self.pos += c.len_utf8();
                    self.literal(start, c);
                }
            }
        }
        if let Some(frame) = self.frames.last() {
            return Err(PatternError::syntax(
                frame.source,
                "this group is never closed",
                "write `\\(` for a parenthesis",
            ));
        }
        self.finish_atom();
        self.outline.end(self.pos);
        Ok(Translation { regex: self.out, groups: self.groups, outline: self.outline })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }

    /// Closes the account of the atom before: its piece is complete.
    fn finish_atom(&mut self) {
        if let Some(atom) = self.atom.take() {
            self.weight = self.weight.max(atom.weight);
            if self.frames.is_empty() {
                self.outline.piece(self.out.len(), atom.source);
            }
        }
    }

    /// Prepares for an atom that begins at `source`: the caller writes it to `out` next.
    fn begin_atom(&mut self, source: usize) {
        self.finish_atom();
        if self.written.differs(self.flags) {
            self.out.push_str("(?");
            self.written.write_change(self.flags, &mut self.out);
            self.out.push(')');
        }
        self.written = self.flags;
        self.atom = Some(Atom { start: self.out.len(), source, weight: 1, repeats: 0 });
    }

    fn literal(&mut self, source: usize, c: char) {
        self.begin_atom(source);
        escape::write_literal(c, &mut self.out);
    }

    fn alternative(&mut self) {
        self.finish_atom();
        if self.frames.is_empty() {
            let mut flags = String::new();
            Flags::default().write_change(self.written, &mut flags);
            self.outline.end(self.pos);
            self.outline.begin(self.out.len() + 1, &flags);
        }
        self.pos += 1;
        self.out.push('|');
    }

    /// `(…`: a group of any kind, or flags for the rest of the enclosing group.
    fn open(&mut self) -> Result<(), PatternError> {
        let source = self.pos;
        let Some(after) = self.rest().strip_prefix("(?") else {
            self.pos += 1;
            return self.open_group(source, "(");
        };
        for (prefix, skip) in [("P<", 4), ("<", 3)] {
            // The shortest forms that RE2 takes for a name; below them the error is about flags.
            if after.starts_with(prefix) && self.rest().len() > skip {
                return self.open_named(source, skip);
            }
        }
        let (flags, end) = self.flag_letters(source + 2)?;
        self.pos = end;
        if self.text.as_bytes()[end - 1] == b')' {
            self.flags = flags;
            return Ok(());
        }
        self.finish_atom();
        self.push_frame(source)?;
        self.out.push_str("(?");
        self.written.write_change(flags, &mut self.out);
        self.out.push(':');
        self.flags = flags;
        self.written = flags;
        Ok(())
    }

    fn open_named(&mut self, source: usize, skip: usize) -> Result<(), PatternError> {
        let begin = source + skip;
        let name = match self.text[begin..].split_once('>') {
            Some((name, _))
                if !name.is_empty() && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) =>
            {
                name
            }
            _ => {
                let hint = "a name is made of letters, digits and `_`: `(?P<name>…)`";
                return Err(PatternError::syntax(source, "invalid name of a group", hint));
            }
        };
        self.pos = begin + name.len() + 1;
        // The `regex` crate wants names that are unique and begin with no digit. A group that cannot keep its
        // name keeps its number: nobody asks for such a group by name.
        if self.names.insert(name) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            self.open_group(source, &format!("(?P<{name}>"))
        } else {
            self.open_group(source, "(")
        }
    }

    /// Writes a capturing group's opener.
    fn open_group(&mut self, source: usize, opener: &str) -> Result<(), PatternError> {
        self.begin_atom(source);
        self.atom = None;
        self.push_frame(source)?;
        let start = self.out.len();
        self.out.push_str(opener);
        self.groups.push(Group { source, opener: start..self.out.len() });
        Ok(())
    }

    fn push_frame(&mut self, source: usize) -> Result<(), PatternError> {
        if self.frames.len() >= MAX_GROUP_DEPTH {
            let problem = format!("groups are nested more than {MAX_GROUP_DEPTH} deep");
            return Err(PatternError::syntax(source, problem, "take out groups that hold only one thing"));
        }
        let weight = std::mem::replace(&mut self.weight, 1);
        let (flags, written) = (self.flags, self.written);
        self.frames.push(Frame { start: self.out.len(), source, flags, written, weight });
        Ok(())
    }

    /// Reads flags from `pos` up to and including `:` or `)`; gives the new flags and the offset behind.
    fn flag_letters(&self, pos: usize) -> Result<(Flags, usize), PatternError> {
        let mut flags = self.flags;
        let mut negative = false;
        let mut letters_since_sign = false;
        for (at, c) in self.text[pos..].char_indices() {
            let bit = match c {
                'i' => Flags::FOLD_CASE,
                'm' => Flags::MULTI_LINE,
                's' => Flags::DOT_ALL,
                'U' => Flags::SWAP_GREED,
                '-' if !negative => {
                    negative = true;
                    letters_since_sign = false;
                    continue;
                }
                ':' | ')' if !negative || letters_since_sign => return Ok((flags, pos + at + 1)),
                _ => break,
            };
            letters_since_sign = true;
            if negative {
                flags.0 &= !bit;
            } else {
                flags.0 |= bit;
            }
        }
        let after = &self.text[pos..];
        let hint = if after.starts_with(['=', '!', '>']) || after.starts_with("<=") || after.starts_with("<!")
        {
            "look-around and atomic groups do not exist in RE2"
        } else {
            "known are `(?:…)`, `(?P<name>…)` and the flags i, m, s and U"
        };
        Err(PatternError::syntax(pos - 2, "unknown kind of group", hint))
    }

    fn close(&mut self) -> Result<(), PatternError> {
        self.finish_atom();
        let Some(frame) = self.frames.pop() else {
            return Err(PatternError::syntax(self.pos, "`)` without `(`", "write `\\)` for a parenthesis"));
        };
        self.pos += 1;
        self.out.push(')');
        self.flags = frame.flags;
        self.written = frame.written;
        let weight = std::mem::replace(&mut self.weight, frame.weight);
        self.atom = Some(Atom { start: frame.start, source: frame.source, weight, repeats: 0 });
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; any other brace is a literal.
    fn counted_repeat(&mut self, after_repeat: bool) -> Result<(), PatternError> {
        let start = self.pos;
        let Some((min, max, len)) = counts(self.rest()) else {
            self.pos += 1;
            self.literal(start, '{');
            return Ok(());
        };
        let invalid = min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min);
        let weight = match (&self.atom, max) {
            (_, Some(0)) => 1,
            (Some(atom), _) => atom.weight.saturating_mul(max.unwrap_or(min).max(1)),
            (None, _) => 1,
        };
        if invalid || weight > MAX_REPEAT {
            let problem = format!("repeat count {} is out of range", &self.rest()[..len]);
            let hint = "counts go up to 1000, also as the product of nested ones, smaller one first";
            return Err(PatternError::syntax(start, problem, hint));
        }
        self.pos += len;
        self.repeat(start, after_repeat)?;
        if let Some(atom) = &mut self.atom {
            atom.weight = weight;
        }
        Ok(())
    }

    /// Writes the repetition that stands at `start..pos`, and its `?`.
    fn repeat(&mut self, start: usize, after_repeat: bool) -> Result<(), PatternError> {
        let operator = &self.text[start..self.pos];
        let lazy = self.rest().starts_with('?');
        self.pos += usize::from(lazy);
        let Some(atom) = &mut self.atom else {
            return Err(PatternError::syntax(
                start,
                format!("nothing to repeat before `{operator}`"),
                "escape it: it is an operator",
            ));
        };
        // Flags or an empty quotation may stand between two repetitions of the same thing, once.
        if after_repeat || atom.repeats > 1 {
            let problem = format!("`{operator}` behind another repetition");
            return Err(PatternError::syntax(
                start,
                problem,
                "RE2 has no possessive repetition; wrap the first in `(?:…)`",
            ));
        }
        if atom.repeats == 1 {
            let begin = atom.start;
            self.out.insert_str(begin, "(?:");
            self.out.push(')');
            for group in self.groups.iter_mut().rev().take_while(|group| group.opener.start >= begin) {
                group.opener = group.opener.start + 3..group.opener.end + 3;
            }
        }
        atom.repeats += 1;
        self.out.push_str(operator);
        if lazy != self.flags.has(Flags::SWAP_GREED) {
            self.out.push('?');
        }
        self.after_repeat = true;
        Ok(())
    }
}

/// Reads `{n}`, `{n,}` or `{n,m}` at the start of `text`: both counts, and the length in bytes. Counts too big
/// to hold come back as the largest number.
fn counts(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        (plain && !leading_zero).then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (min, max) = match inside.split_once(',') {
        None => (number(inside)?, Some(number(inside)?)),
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((min, max, inside.len() + 2))
}

#[cfg(test)]
mod tests;
