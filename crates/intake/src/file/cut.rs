//! Cuts bytes into lines: holds the partial last line until its end comes, skips lines that are
//! too long, and knows the offset after every line.

use memchr::memchr;

/// Room that is kept between lines; what a longer line needed is given back.
const KEPT_BYTES: usize = 64 << 10;

/// What happened while bytes were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Lines that were skipped for their length.
    pub(crate) too_long: u64,
}

/// The state between two pieces of a stream of bytes.
#[derive(Debug)]
pub(crate) struct Cutter {
    limit: usize,
    /// Offset after the last line that is done.
    done: u64,
    /// Offset after the last byte that was fed.
    read: u64,
    /// The partial last line, if it is not skipped.
    partial: Vec<u8>,
    skipping: bool,
}

impl Cutter {
    /// Begins at an offset, with lines of at most `limit` bytes.
    pub(crate) fn new(offset: u64, limit: usize) -> Self {
        Cutter { limit, done: offset, read: offset, partial: Vec::new(), skipping: false }
    }

    /// Offset after the last line that is done: where to begin again.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Offset of the next byte to feed.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Takes the next bytes. `line` gets each line that is not empty, without its end, and the offset
    /// after it.
    pub(crate) fn feed(&mut self, bytes: &[u8], line: &mut impl FnMut(&[u8], u64)) -> Cut {
        let mut cut = Cut::default();
        let base = self.read;
        let mut start = 0;
        while let Some(length) = memchr(b'\n', &bytes[start..]) {
            let end = start + length;
            self.done = base + end as u64 + 1;
            if self.skipping {
                self.skipping = false;
                cut.too_long += 1;
            } else if self.partial.is_empty() {
                hand_out(&bytes[start..end], self.limit, self.done, &mut cut, line);
            } else {
                self.partial.extend_from_slice(&bytes[start..end]);
                hand_out(&self.partial, self.limit, self.done, &mut cut, line);
                self.partial.clear();
                self.partial.shrink_to(KEPT_BYTES);
            }
            start = end + 1;
        }
        self.read = base + bytes.len() as u64;
        if !self.skipping {
            let mut rest = &bytes[start..];
            if self.partial.is_empty() {
                rest = without_holes(rest);
            }
            if self.partial.len() + rest.len() > self.limit + 1 {
                self.skipping = true;
                self.partial = Vec::new();
            } else {
                self.partial.extend_from_slice(rest);
            }
        }
        cut
    }

    /// The stream is over: its partial last line is a line.
    pub(crate) fn finish(&mut self, line: &mut impl FnMut(&[u8], u64)) -> Cut {
        let mut cut = Cut::default();
        self.done = self.read;
        if std::mem::take(&mut self.skipping) {
            cut.too_long += 1;
        }
        let partial = std::mem::take(&mut self.partial);
        hand_out(&partial, self.limit, self.done, &mut cut, line);
        cut
    }

    /// Whether a partial line is held.
    pub(crate) fn holds(&self) -> bool {
        self.skipping || !self.partial.is_empty()
    }
}

/// A file that was truncated under a writer that keeps its own offset begins with a hole, which
/// reads as zeros.
fn without_holes(line: &[u8]) -> &[u8] {
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    &line[zeros..]
}

fn hand_out(line: &[u8], limit: usize, offset: u64, cut: &mut Cut, give: &mut impl FnMut(&[u8], u64)) {
    let line = without_holes(line.strip_suffix(b"\r").unwrap_or(line));
    if line.len() > limit {
        cut.too_long += 1;
    } else if !line.is_empty() {
        give(line, offset);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::pieces;

    fn cut(pieces: &[&[u8]], limit: usize, finish: bool) -> (Vec<(String, u64)>, u64, u64) {
        let mut cutter = Cutter::new(0, limit);
        let mut lines = Vec::new();
        let mut push = |line: &[u8], at| lines.push((String::from_utf8_lossy(line).into_owned(), at));
        let mut too_long = 0;
        for piece in pieces {
            too_long += cutter.feed(piece, &mut push).too_long;
        }
        if finish {
            too_long += cutter.finish(&mut push).too_long;
        }
        (lines, cutter.done(), too_long)
    }

    #[test]
    fn lines_and_offsets() {
        let check = |pieces: &[&[u8]], finish: bool, lines: &[(&str, u64)], done: u64, too_long: u64| {
            let lines: Vec<_> = lines.iter().map(|(line, at)| ((*line).to_owned(), *at)).collect();
            assert_eq!(cut(pieces, 8, finish), (lines, done, too_long), "{pieces:?}");
        };
        check(&[b"a\nb\n"], false, &[("a", 2), ("b", 4)], 4, 0);
        check(&[b"a\r\n\n\r\nb"], false, &[("a", 3)], 6, 0);
        check(&[b"a\r\n\n\r\nb"], true, &[("a", 3), ("b", 7)], 7, 0);
        check(&[b"ab", b"c\nd", b"", b"e\n"], false, &[("abc", 4), ("de", 7)], 7, 0);
        check(&[b"12345678\n"], false, &[("12345678", 9)], 9, 0);
        check(&[b"12345678\r\n"], false, &[("12345678", 10)], 10, 0);
        check(&[b"123456789\nb\n"], false, &[("b", 12)], 12, 1);
        check(&[b"1234567", b"89", b"0123", b"45\nb\n"], false, &[("b", 18)], 18, 1);
        check(&[b"0123456789"], false, &[], 0, 0);
        check(&[b"0123456789"], true, &[], 10, 1);
        check(&[b"\0\0\0\0\0\0\0", b"\0\0\0\0\0\0a\nb\n"], false, &[("a", 15), ("b", 17)], 17, 0);
    }

    proptest! {
        /// However the bytes come, the lines are the same.
        #[test]
        fn pieces_make_no_difference(text in "[ab\r\n]{0,60}", cuts in prop::collection::vec(0..60usize, 0..6)) {
            let bytes = text.as_bytes();
            let pieces = pieces(bytes, cuts);
            prop_assert_eq!(cut(&pieces, 5, true), cut(&[bytes], 5, true));
        }
    }
}
