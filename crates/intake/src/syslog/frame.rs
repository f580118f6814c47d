//! Messages in a stream: counted octets, or ended by a line feed, as each message says itself.

/// Longest count of octets, in digits.
const MAX_DIGITS: usize = 7;

/// Cuts a stream into messages.
#[derive(Debug)]
pub(super) struct Framer {
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes that are still to come of a message and are thrown away.
    skip: usize,
    /// What comes up to the next line feed is thrown away.
    skip_line: bool,
}

impl Framer {
    /// With messages of at most `limit` bytes; what is longer is cut.
    pub(super) fn new(limit: usize) -> Self {
        Framer { limit, buffer: Vec::new(), skip: 0, skip_line: false }
    }

    /// Takes the next bytes. `message` gets every message that is whole.
    pub(super) fn feed(&mut self, bytes: &[u8], message: &mut impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self.next(start, message) {
            start += length;
        }
        self.buffer.drain(..start.min(self.buffer.len()));
    }

    /// The stream has ended: what is left is a message.
    pub(super) fn finish(mut self, message: &mut impl FnMut(&[u8])) {
        if self.skip == 0 && !self.skip_line {
            let rest = std::mem::take(&mut self.buffer);
            let start = if let Count::Octets { digits, .. } = count(&rest) { digits + 1 } else { 0 };
            self.hand_out(&rest[start..], message);
        }
    }

    /// Takes one message from `start` on. Says how many bytes that were; nothing if it is not whole.
    fn next(&mut self, start: usize, message: &mut impl FnMut(&[u8])) -> Option<usize> {
        let rest = &self.buffer[start..];
        if rest.is_empty() {
            return None;
        }
        if self.skip > 0 {
            let length = self.skip.min(rest.len());
            self.skip -= length;
            return Some(length);
        }
        if self.skip_line {
            let end = memchr::memchr(b'\n', rest);
            self.skip_line = end.is_none();
            return Some(end.map_or(rest.len(), |end| end + 1));
        }
        match count(rest) {
            Count::Octets { digits, length } => {
                let begin = digits + 1;
                if length > self.limit && rest.len() >= begin + self.limit {
                    self.skip = length - self.limit;
                    let cut = rest[begin..begin + self.limit].to_vec();
                    self.hand_out(&cut, message);
                    return Some(begin + self.limit);
                }
                let whole = rest.get(begin..begin + length)?.to_vec();
                self.hand_out(&whole, message);
                Some(begin + length)
            }
            Count::Unclear => None,
            Count::None => {
                if let Some(end) = memchr::memchr(b'\n', rest) {
                    let line = rest[..end].to_vec();
                    self.hand_out(&line, message);
                    return Some(end + 1);
                }
                if rest.len() > self.limit {
                    self.skip_line = true;
                    let cut = rest[..self.limit].to_vec();
                    self.hand_out(&cut, message);
                    return Some(self.buffer.len() - start);
                }
                None
            }
        }
    }

    fn hand_out(&self, bytes: &[u8], message: &mut impl FnMut(&[u8])) {
        let trimmed = bytes[..bytes.len().min(self.limit)].trim_ascii();
        if trimmed.iter().any(|byte| *byte != 0) {
            message(trimmed);
        }
    }
}

/// How a message says where it ends.
enum Count {
    /// So many octets follow the digits and a space.
    Octets { digits: usize, length: usize },
    /// It cannot be told yet.
    Unclear,
    /// By a line feed.
    None,
}

fn count(bytes: &[u8]) -> Count {
    let digits = bytes.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > MAX_DIGITS || bytes[0] == b'0' {
        return Count::None;
    }
    match (bytes.get(digits), bytes.get(digits + 1)) {
        (None, _) | (Some(b' '), None) => Count::Unclear,
        (Some(b' '), Some(b'<')) => {
            let number =
                bytes[..digits].iter().fold(0, |number, byte| number * 10 + usize::from(byte - b'0'));
            Count::Octets { digits, length: number }
        }
        _ => Count::None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::pieces;

    fn frames(pieces: &[&[u8]], limit: usize) -> Vec<String> {
        let mut framer = Framer::new(limit);
        let mut found = Vec::new();
        let mut push = |message: &[u8]| found.push(String::from_utf8_lossy(message).into_owned());
        for piece in pieces {
            framer.feed(piece, &mut push);
        }
        framer.finish(&mut push);
        found
    }

    #[test]
    fn framings() {
        let check = |bytes: &[u8], expected: &[&str]| assert_eq!(frames(&[bytes], 12), expected, "{bytes:?}");
        check(b"<1>a\n<2>b\r\n\n<3>c", &["<1>a", "<2>b", "<3>c"]);
        check(b"4 <1>a5 <2>bc<3>d\n", &["<1>a", "<2>bc", "<3>d"]);
        check(b"6 <1>a\nb\n4 <2>c", &["<1>a\nb", "<2>c"]);
        check(b"123 text\n0 <1>a\n", &["123 text", "0 <1>a"]);
        check(b"<1>23456789abcdef\n<2>b\n", &["<1>23456789a", "<2>b"]);
        check(b"16 <1>23456789abcde4 <2>b", &["<1>23456789a", "<2>b"]);
        check(b"<1>a\0\n\0\n", &["<1>a\0"]);
        check(b"99 <1>not whole", &["<1>not whole"]);
        check(b"9 <1>n", &["<1>n"]);
    }

    proptest! {
        /// However the bytes come, the messages are the same, and no more than the limit is held.
        #[test]
        fn pieces_make_no_difference(text in "[<>0-9 a\n]{0,80}", cuts in prop::collection::vec(0..80usize, 0..8)) {
            let bytes = text.as_bytes();
            let pieces = pieces(bytes, cuts);
            let found = frames(&pieces, 9);
            prop_assert!(found.iter().all(|message| message.len() <= 9));
            prop_assert_eq!(found, frames(&[bytes], 9));
        }
    }
}
