//! From an offset in the decoded text of a scalar back to its place in the file.
//!
//! YAML decoding only ever changes white space (indentation, folding), quotes and escapes. So the
//! n-th character that is not white space is the same one on both sides, in every style.

use std::ops::Range;

/// Byte offset in `file` of the character at byte `at` of `decoded`, which is the value of the
/// scalar at `span`. Past the end of the text: just behind its last character.
pub(crate) fn locate(file: &str, span: &Range<usize>, decoded: &str, at: usize) -> usize {
    let Some(source) = file.get(span.clone()) else { return span.start };
    let at = floor_char_boundary(decoded, at);
    let visible = decoded[..at].chars().filter(|c| !c.is_whitespace()).count();
    let units = Units::of(source, decoded);
    let inside = units.at;
    let mut end = span.start + inside;
    for (index, (offset, length)) in units.enumerate() {
        if index == visible && decoded[at..].chars().next().is_some_and(|c| !c.is_whitespace()) {
            return span.start + offset;
        }
        if index >= visible {
            break;
        }
        end = span.start + offset + length;
    }
    // White space or the end: as far behind the last visible character as in the decoded text, but
    // on its line.
    let before = &decoded[..at];
    let blanks = before.len() - before.trim_end().len();
    let available = file[end..span.end].bytes().take_while(|b| matches!(b, b' ' | b'\t')).count();
    end + blanks.min(available)
}

/// Whether a scalar is written in quotes. The text of a block scalar may begin with one, too, but
/// then it is still there once decoded.
pub(crate) fn is_quoted(source: &str, decoded: &str) -> bool {
    fn visible(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|c| !c.is_whitespace())
    }
    source.starts_with(['"', '\'']) && !visible(source).eq(visible(decoded))
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The visible characters of a scalar's source: offset and length of each.
struct Units<'s> {
    source: &'s str,
    quote: Option<char>,
    at: usize,
}

impl<'s> Units<'s> {
    fn of(source: &'s str, decoded: &str) -> Self {
        let quote = is_quoted(source, decoded).then(|| source.chars().next()).flatten();
        Units { source, quote, at: usize::from(quote.is_some()) }
    }

    /// The character at the cursor and the length of its source.
    fn character(&self) -> Option<(char, usize)> {
        let rest = &self.source[self.at..];
        let first = rest.chars().next()?;
        match (self.quote, first) {
            (Some('\''), '\'') => rest.starts_with("''").then_some(('\'', 2)),
            (Some('"'), '"') => None,
            (Some('"'), '\\') => {
                let kind = rest[1..].chars().next()?;
                let digits = match kind {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                let code = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let character = match kind {
                    'n' | 't' | 'r' | 'v' | 'f' | 'N' | 'L' | 'P' | '_' | ' ' | '\n' | '\t' | '\r' => ' ',
                    _ if digits > 0 => code.and_then(char::from_u32)?,
                    other => other,
                };
                Some((character, 1 + kind.len_utf8() + digits))
            }
            _ => Some((first, first.len_utf8())),
        }
    }
}

impl Iterator for Units<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (character, length) = self.character()?;
            let at = self.at;
            self.at += length;
            if !character.is_whitespace() {
                return Some((at, length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::{Kind, Node, documents};

    fn value(text: &str) -> (Range<usize>, String) {
        let Ok(Node { kind: Kind::Map(entries), .. }) = documents(text).remove(0) else {
            panic!("{text:?} is no map")
        };
        let Kind::Scalar(scalar) = &entries[0].1.kind else { panic!("{text:?} holds no scalar") };
        (entries[0].1.span.clone(), scalar.text.clone())
    }

    /// Looks for the `needle` of the value; it must be found at the ⟦mark⟧ of the file.
    fn check(marked: &str, needle: &str) {
        let expected = marked.find('⟦').expect("a mark");
        let file = marked.replace('⟦', "");
        let (span, decoded) = value(&file);
        let at = decoded.find(needle).expect("the needle");
        let got = locate(&file, &span, &decoded, at);
        assert_eq!((got, &file[got..]), (expected, &file[expected..]), "{decoded:?}");
    }

    #[test]
    fn every_style() {
        check("a: ⟦foo bar", "foo");
        check("a: foo ⟦bar # c", "bar");
        check("a: foo⟦ bar", " bar");
        check("a: foo\n   ⟦bar", "bar");
        check("a: |\n  ⟦foo\n  bar\n", "foo");
        check("a: |\n  foo\n    ⟦bar\n", "bar");
        check("a: |2\n    foo\n\n  ⟦bar\n", "bar");
        check("a: |-\r\n  foo\r\n  ⟦bar\r\n", "bar");
        check("a: |\n  'x' == ⟦'y'\n", "'y'");
        check("a: >\n  foo\n  ⟦bar\n", "bar");
        check("a: 'it⟦''s it'", "'");
        check("a: 'it''s ⟦so'", "so");
        check("a: \"x\\\\y \\x41\\u00e9\\n⟦z\"", "z");
        check("a: \"x\\\n   ⟦y\"", "y");
        check("a: 'é ⟦x'", "x");
    }

    #[test]
    fn the_end() {
        let (span, decoded) = value("a: 'foo'\n");
        assert_eq!(locate("a: 'foo'\n", &span, &decoded, 3), 7);
        assert_eq!(locate("a: 'foo'\n", &span, &decoded, 99), 7);
        let (span, decoded) = value("a: ''\n");
        assert_eq!(locate("a: ''\n", &span, &decoded, 0), 4);
    }

    proptest! {
        /// In a literal block, each character stands where the file has that very character.
        #[test]
        fn literal_blocks(lines in proptest::collection::vec("[a-zé'\"]{1,5}( [a-z]{1,4})?", 1..5)) {
            let mut file = String::from("a: |\n");
            for line in &lines {
                file.push_str("    ");
                file.push_str(line);
                file.push('\n');
            }
            let (span, decoded) = value(&file);
            for (at, c) in decoded.char_indices() {
                let found = locate(&file, &span, &decoded, at);
                prop_assert_eq!(file[found..].chars().next(), Some(c));
            }
        }

        #[test]
        fn never_panics(file in "[a'\"\\\\xu \né0]{0,20}", decoded in "[a' \né]{0,20}", at in 0usize..30) {
            let span = 0..file.len();
            prop_assert!(locate(&file, &span, &decoded, at) <= file.len());
        }
    }
}
