//! The stream of a container's log: frames of standard output and error, or raw bytes of a
//! terminal, with a time in front of every message.

use testudo_event::Timestamp;

/// Bytes in front of a frame: kind, three of nothing, length.
const HEADER_BYTES: usize = 8;

/// Longest time in front of a message.
const STAMP_BYTES: usize = 40;

/// The number of standard error among the streams.
const ERROR_STREAM: usize = 2;

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// When it was written, in nanoseconds after 1970: the last part of it, if it came in several.
    pub(super) time: Option<i64>,
    /// The line without its end.
    pub(super) text: &'l [u8],
}

/// Takes a log apart.
#[derive(Debug)]
pub(super) struct Decoder {
    /// A terminal has no frames.
    raw: bool,
    header: Vec<u8>,
    /// Bytes of the current frame that are still to come.
    left: usize,
    /// Which stream the current frame is of.
    current: usize,
    streams: [Assembler; ERROR_STREAM + 1],
    limit: usize,
}

/// The line of one stream that is not whole yet.
#[derive(Debug, Default)]
struct Assembler {
    /// The next bytes may be a time.
    expects_stamp: bool,
    stamp: Vec<u8>,
    time: Option<i64>,
    text: Vec<u8>,
    skipping: bool,
}

impl Decoder {
    /// Of a terminal, or of framed streams; with lines of at most `limit` bytes.
    pub(super) fn new(raw: bool, limit: usize) -> Self {
        let mut streams: [Assembler; ERROR_STREAM + 1] = Default::default();
        for stream in &mut streams {
            stream.expects_stamp = true;
        }
        Decoder { raw, header: Vec::new(), left: 0, current: 0, streams, limit }
    }

    /// Takes the next bytes. `line` gets every line that is not empty. Says how many were too long.
    pub(super) fn feed(&mut self, mut bytes: &[u8], line: &mut impl FnMut(Line<'_>)) -> u64 {
        if self.raw {
            return self.streams[0].feed(bytes, self.limit, line);
        }
        let mut too_long = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                let wanted = (HEADER_BYTES - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[wanted..];
                if let [kind, _, _, _, a, b, c, d] = self.header[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.current = usize::from(kind).min(ERROR_STREAM);
                    self.streams[self.current].begin_frame();
                    self.header.clear();
                }
                continue;
            }
            let length = self.left.min(bytes.len());
            too_long += self.streams[self.current].feed(&bytes[..length], self.limit, line);
            self.left -= length;
            bytes = &bytes[length..];
        }
        too_long
    }

    /// The log is over: lines that were not ended are lines.
    pub(super) fn finish(&mut self, line: &mut impl FnMut(Line<'_>)) -> u64 {
        let limit = self.limit;
        self.streams.iter_mut().map(|stream| stream.finish(limit, line)).sum()
    }
}

impl Assembler {
    /// A message has a time of its own even if it is only a part of a line.
    fn begin_frame(&mut self) {
        self.end_stamp();
        self.expects_stamp = true;
    }

    fn feed(&mut self, mut bytes: &[u8], limit: usize, line: &mut impl FnMut(Line<'_>)) -> u64 {
        let mut too_long = 0;
        while !bytes.is_empty() {
            if self.expects_stamp {
                let end = bytes.iter().position(|byte| *byte == b' ' || *byte == b'\n');
                let length = end.unwrap_or(bytes.len());
                let length = length.min(STAMP_BYTES - self.stamp.len().min(STAMP_BYTES));
                self.stamp.extend_from_slice(&bytes[..length]);
                bytes = &bytes[length..];
                if let Some(next) = bytes.first() {
                    let had_space = *next == b' ';
                    if self.end_stamp() && had_space {
                        bytes = &bytes[1..];
                    }
                }
                continue;
            }
            let end = memchr::memchr(b'\n', bytes);
            let length = end.unwrap_or(bytes.len());
            self.push(&bytes[..length], limit);
            bytes = &bytes[length..];
            if end.is_some() {
                too_long += self.end_line(limit, line);
                self.expects_stamp = true;
                bytes = &bytes[1..];
            }
        }
        too_long
    }

    /// What was taken for a time is one, or text. Says whether it was one.
    fn end_stamp(&mut self) -> bool {
        if !std::mem::take(&mut self.expects_stamp) {
            return false;
        }
        let stamp = std::mem::take(&mut self.stamp);
        let time = std::str::from_utf8(&stamp).ok().and_then(Timestamp::parse_rfc3339);
        if let Some(time) = time {
            self.time = Some(time.unix_nanos());
        } else {
            self.text.extend_from_slice(&stamp);
        }
        time.is_some()
    }

    fn push(&mut self, bytes: &[u8], limit: usize) {
        if self.text.len() + bytes.len() > limit + 1 {
            self.skipping = true;
        }
        if self.skipping {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, limit: usize, line: &mut impl FnMut(Line<'_>)) -> u64 {
        let text = std::mem::take(&mut self.text);
        let text = text.strip_suffix(b"\r").unwrap_or(&text);
        let too_long = std::mem::take(&mut self.skipping) || text.len() > limit;
        if !too_long && !text.is_empty() {
            line(Line { time: self.time, text });
        }
        u64::from(too_long)
    }

    fn finish(&mut self, limit: usize, line: &mut impl FnMut(Line<'_>)) -> u64 {
        self.end_stamp();
        self.end_line(limit, line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::pieces;

    const STAMP: &str = "2026-01-02T03:04:05.000000006Z";
    const TIME: i64 = 1_767_323_045_000_000_006;

    fn frame(kind: u8, payload: &str) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload.as_bytes());
        frame
    }

    fn decode(raw: bool, pieces: &[&[u8]], limit: usize) -> (Vec<(Option<i64>, String)>, u64) {
        let mut decoder = Decoder::new(raw, limit);
        let mut lines = Vec::new();
        let mut push =
            |line: Line<'_>| lines.push((line.time, String::from_utf8_lossy(line.text).into_owned()));
        let mut too_long = 0;
        for piece in pieces {
            too_long += decoder.feed(piece, &mut push);
        }
        too_long += decoder.finish(&mut push);
        (lines, too_long)
    }

    fn texts(raw: bool, bytes: &[u8]) -> Vec<String> {
        decode(raw, &[bytes], 1_000).0.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn frames() {
        let bytes = [
            frame(1, &format!("{STAMP} one\n")),
            frame(2, &format!("{STAMP} error ")),
            frame(1, &format!("{STAMP} two\n{STAMP} three\n\n")),
            frame(2, &format!("{STAMP} goes on\n")),
            frame(1, "no time\n"),
            frame(1, ""),
            frame(1, &format!("{STAMP} last")),
        ]
        .concat();
        let (lines, _) = decode(false, &[&bytes], 1_000);
        let expected = ["one", "two", "three", "error goes on", "no time", "last"];
        assert_eq!(lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(lines[0].0, Some(TIME));
    }

    #[test]
    fn terminals() {
        let text = format!("{STAMP} one\r\n{STAMP} two words\r\n{STAMP} \r\nbare\n");
        assert_eq!(texts(true, text.as_bytes()), ["one", "two words", "bare"]);
    }

    #[test]
    fn long_lines() {
        let bytes = [frame(1, &"x".repeat(30)), frame(1, &"y".repeat(30)), frame(1, "\nshort\n")].concat();
        assert_eq!(decode(false, &[&bytes], 40), (vec![(None, "short".to_owned())], 1));
        // The head of a frame may promise more than ever comes.
        assert_eq!(decode(false, &[&[1, 0, 0, 0, 255, 255, 255, 255, b'a']], 40).0[0].1, "a");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), raw: bool) {
            let (lines, _) = decode(raw, &[&bytes], 50);
            prop_assert!(lines.iter().map(|(_, line)| line.len()).all(|length| length <= 3 * 50));
        }

        #[test]
        fn pieces_make_no_difference(
            lines in prop::collection::vec("[a-z ]{0,20}\n?", 0..8),
            raw: bool,
            cuts in prop::collection::vec(0..400usize, 0..8),
        ) {
            let bytes: Vec<u8> = lines
                .iter()
                .enumerate()
                .flat_map(|(at, line)| {
                    let text = format!("{STAMP} {line}");
                    if raw { text.into_bytes() } else { frame(1 + (at % 2) as u8, &text) }
                })
                .collect();
            let pieces = pieces(&bytes, cuts);
            prop_assert_eq!(decode(raw, &pieces, 100), decode(raw, &[&bytes], 100));
        }
    }
}
