//! Reading and writing whole bodies.

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Why a body cannot be read. As text it is what the API says in its answer.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// There is nothing in it.
    #[error("EOF")]
    Empty,
    /// It is no JSON, or JSON of another shape.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is no body of the decision stream.
    #[error("{problem} at byte {at}")]
    Stream {
        /// What is wrong.
        problem: &'static str,
        /// Bytes before it.
        at: u64,
    },
}

/// Reads the first JSON value of a body; what follows it is ignored, and `null` is the default.
///
/// # Errors
/// The body is empty, broken, or of another shape.
pub fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, BodyError> {
    if body.trim_ascii().is_empty() {
        return Err(BodyError::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Ok(Option::<T>::deserialize(&mut deserializer)?.unwrap_or_default())
}

/// A body of one JSON value: compact, no newline at its end, and `<`, `>`, `&` written as escapes.
///
/// # Errors
/// A map with keys that are no texts; the types of this crate have none.
pub fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(128);
    append(&mut out, value)?;
    Ok(out)
}

/// Appends what [`write()`] gives.
///
/// # Errors
/// As [`write()`].
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    value.serialize(&mut Serializer::with_formatter(out, HtmlSafe(CompactFormatter)))
}

/// Appends a JSON text, quoted, with the same escapes as [`write()`].
pub fn append_text(out: &mut Vec<u8>, text: &str) {
    // Values, scopes and names are nearly always free of what needs an escape.
    if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if append(out, text).is_err() {
        // Writing a text into memory cannot fail; were it to, the document must stay well-formed.
        out.extend_from_slice(b"\"\"");
    }
}

/// Compact JSON that can stand inside a page: the characters of markup, and the two line ends that scripts
/// do not take, are escapes.
struct HtmlSafe(CompactFormatter);

impl Formatter for HtmlSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = tail.chars();
            if let Some(special) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_is_escaped() {
        let check = |text: &str, expected: &str| {
            assert_eq!(String::from_utf8(write(text).expect("text")).expect("UTF-8"), expected);
            let mut out = Vec::new();
            append_text(&mut out, text);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        };
        check("a<b>&c", r#""a\u003cb\u003e\u0026c""#);
        check("say \"hi\"\n\\", r#""say \"hi\"\n\\""#);
        check("\u{2028}é€", "\"\\u2028é€\"");
        check("", r#""""#);
    }

    #[test]
    fn only_the_first_value_counts() {
        let read = |body: &str| read::<Vec<i32>>(body.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read("[1,2] trailing"), Ok(vec![1, 2]));
        assert_eq!(read("null"), Ok(vec![]));
        assert_eq!(read(" \n"), Err("EOF".to_owned()));
        assert!(read("{}").is_err_and(|message| message.starts_with("invalid type: map")));
        assert!(read("[1,").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(read::<Vec<serde_json::Value>>(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let mut out = Vec::new();
            append_text(&mut out, &text);
            prop_assert_eq!(&write(&text).expect("text"), &out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), text);
        }
    }
}
