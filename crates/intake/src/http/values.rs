//! Cuts a body into JSON values, each with its text as it was received.

use serde_json::value::RawValue;

use crate::batch::MAX_LINE_BYTES;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is no sequence of JSON values.
    Syntax,
    /// One value is longer than a line may be.
    TooLong,
}

/// The values of a body that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// What is not a whole value yet.
    rest: Vec<u8>,
}

impl Values {
    /// Takes the next piece. `value` gets every value that is whole.
    pub(super) fn feed(&mut self, bytes: &[u8], value: &mut impl FnMut(&[u8])) -> Result<(), Bad> {
        self.rest.extend_from_slice(bytes);
        self.cut(false, value)
    }

    /// The body is over.
    pub(super) fn finish(&mut self, value: &mut impl FnMut(&[u8])) -> Result<(), Bad> {
        self.cut(true, value)?;
        if self.rest.trim_ascii().is_empty() { Ok(()) } else { Err(Bad::Syntax) }
    }

    fn cut(&mut self, is_last: bool, value: &mut impl FnMut(&[u8])) -> Result<(), Bad> {
        let mut done = 0;
        let mut result = Ok(());
        let mut values = serde_json::Deserializer::from_slice(&self.rest).into_iter::<&RawValue>();
        while let Some(next) = values.next() {
            match next {
                Ok(raw) => {
                    let end = values.byte_offset();
                    let text = raw.get().as_bytes();
                    // A number that ends with the piece may go on in the next one.
                    let is_closed = matches!(text.last(), Some(b'}' | b']' | b'"'));
                    if end == self.rest.len() && !is_closed && !is_last {
                        break;
                    }
                    if text.len() > MAX_LINE_BYTES {
                        result = Err(Bad::TooLong);
                        break;
                    }
                    value(text);
                    done = end;
                }
                Err(error) => {
                    if !error.is_eof() {
                        result = Err(Bad::Syntax);
                    }
                    break;
                }
            }
        }
        self.rest.drain(..done);
        if result.is_ok() && self.rest.len() > MAX_LINE_BYTES + 1 {
            result = Err(if self.rest.trim_ascii().is_empty() { Bad::Syntax } else { Bad::TooLong });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::pieces;

    fn values(pieces: &[&[u8]]) -> (Vec<String>, Result<(), Bad>) {
        let mut cutter = Values::default();
        let mut found = Vec::new();
        let mut push = |value: &[u8]| found.push(String::from_utf8_lossy(value).into_owned());
        for piece in pieces {
            if let Err(bad) = cutter.feed(piece, &mut push) {
                return (found, Err(bad));
            }
        }
        let result = cutter.finish(&mut push);
        (found, result)
    }

    #[test]
    fn bodies() {
        let check = |body: &str, expected: &[&str], result: Result<(), Bad>| {
            let found = values(&[body.as_bytes()]);
            // Some bodies are too long to be printed.
            assert!(found == (expected.iter().map(ToString::to_string).collect(), result), "{body:.80}");
        };
        check("", &[], Ok(()));
        check(" \n", &[], Ok(()));
        check("{\"a\": 1}\n{ \"b\" : [1, 2] }\n", &["{\"a\": 1}", "{ \"b\" : [1, 2] }"], Ok(()));
        check("{}{}[]\"x\" 12 true", &["{}", "{}", "[]", "\"x\"", "12", "true"], Ok(()));
        check("{\"a\": 1} plain text", &["{\"a\": 1}"], Err(Bad::Syntax));
        check("{\"a\": 1} {\"b\":", &["{\"a\": 1}"], Err(Bad::Syntax));
        check("plain", &[], Err(Bad::Syntax));
        check(&format!("1 [{}1]", "1,".repeat(MAX_LINE_BYTES)), &["1"], Err(Bad::TooLong));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        check(&deep, &[&deep], Ok(()));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            parts in prop::collection::vec("(\\{\"a\": ?[0-9]{1,3}\\}|[0-9]{1,4} |\"é[a-z]{0,5}\"|\\[1, 2\\]|null |x)\n?", 0..6),
            cuts in prop::collection::vec(0..80usize, 0..6),
        ) {
            let body = parts.concat();
            let bytes = body.as_bytes();
            let pieces = pieces(bytes, cuts);
            prop_assert_eq!(values(&pieces), values(&[bytes]));
        }
    }
}
