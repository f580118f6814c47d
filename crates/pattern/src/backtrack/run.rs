//! Repetitions of a class: where a run ends, and where in it the rest can begin.

use memchr::{memchr, memchr2, memchr3, memrchr};

use super::program::{Program, Run, Scan, Seek};
use super::set::{ByteSet, END, char_width};

/// The byte at a position, or [`END`].
#[inline]
pub(super) fn symbol(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(END)
}

/// The character at a position in front of the end of the text.
#[inline]
pub(super) fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// Whether the character is in one of the ranges.
pub(super) fn in_ranges(ranges: &[(char, char)], c: char) -> bool {
    ranges
        .binary_search_by(|&(start, end)| {
            if end < c {
                std::cmp::Ordering::Less
            } else if start > c {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        })
        .is_ok()
}

impl Run {
    /// Where the run of the class that starts at `from` ends, at most at `limit`.
    #[inline]
    pub(super) fn end(&self, program: &Program, text: &str, from: usize, limit: usize) -> usize {
        let Some(part) = text.as_bytes().get(from..limit) else { return from };
        let len = match self.scan {
            Scan::Table => part.iter().position(|&byte| !self.set.contains(byte)),
            Scan::All => None,
            Scan::Until1(a) => memchr(a, part),
            Scan::Until2(a, b) => memchr2(a, b, part),
            Scan::Until3(a, b, c) => memchr3(a, b, c, part),
            Scan::Chars(ranges) => return self.end_of_chars(program, ranges, text, from, limit),
        };
        len.map_or(limit, |len| from + len)
    }

    #[inline(never)]
    fn end_of_chars(&self, program: &Program, ranges: u32, text: &str, from: usize, limit: usize) -> usize {
        let mut at = from;
        while at < limit {
            let byte = symbol(text.as_bytes(), at);
            if byte < 0x80 {
                if !self.set.contains(byte) {
                    break;
                }
                at += 1;
            } else {
                let inside = char_at(text, at)
                    .is_some_and(|c| program.ranges.get(ranges as usize).is_some_and(|r| in_ranges(r, c)));
                if !inside {
                    break;
                }
                at += char_width(byte);
            }
        }
        at
    }

    /// The place after the least number of characters, given where the run ends, or `None` if it is too short.
    #[inline]
    pub(super) fn low(&self, text: &[u8], from: usize, end: usize) -> Option<usize> {
        match self.min {
            0 => Some(from),
            1 if end > from => Some(from + char_width(symbol(text, from))),
            _ => {
                let mut at = from;
                for _ in 0..self.min {
                    if at >= end {
                        return None;
                    }
                    at += char_width(symbol(text, at));
                }
                Some(at)
            }
        }
    }

    /// The last place in `low..=high` where the rest can begin.
    #[inline]
    pub(super) fn last(&self, text: &[u8], low: usize, high: usize) -> Option<usize> {
        if self.follow.contains(symbol(text, high)) {
            return Some(high);
        }
        let part = text.get(low..high)?;
        match self.seek {
            Seek::Byte(byte) => memrchr(byte, part),
            _ => part.iter().rposition(|&byte| self.follow.contains(byte)),
        }
        .map(|at| low + at)
    }

    /// The first place from `from` on, up to `limit`, where the rest can begin and before which all is in the class.
    #[inline]
    pub(super) fn next(&self, program: &Program, text: &str, from: usize, limit: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let found = match &self.seek {
            Seek::Literal(finder) => from + finder.find(bytes.get(from..)?)?,
            Seek::Byte(byte) => from + memchr(*byte, bytes.get(from..)?)?,
            Seek::Table if matches!(self.scan, Scan::Chars(_)) => {
                let end = self.end(program, text, from, limit);
                let part = bytes.get(from..end)?;
                let inside = part.iter().position(|&byte| self.follow.contains(byte));
                let at = inside.map_or(end, |at| from + at);
                return self.follow.contains(symbol(bytes, at)).then_some(at);
            }
            Seek::Table => return self.next_by_table(bytes, from, limit),
        };
        (found <= limit && self.end(program, text, from, found) == found).then_some(found)
    }

    fn next_by_table(&self, text: &[u8], from: usize, limit: usize) -> Option<usize> {
        let stop = self.follow.union(&self.set.complement());
        next_in(&stop, text, from, limit).filter(|&at| self.follow.contains(symbol(text, at)))
    }
}

/// The first place in `from..=limit` whose byte, or the end of the text, is in the set.
#[inline]
pub(super) fn next_in(set: &ByteSet, text: &[u8], from: usize, limit: usize) -> Option<usize> {
    let part = text.get(from..limit)?;
    let at = part.iter().position(|&byte| set.contains(byte)).map_or(limit, |at| from + at);
    set.contains(symbol(text, at)).then_some(at)
}
