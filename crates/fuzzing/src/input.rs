//! How inputs are written, so that those that are kept can be read by people.

use std::borrow::Cow;

/// Stands alone on the line between the two parts of an input.
const SEPARATOR: &str = "\n===\n";

/// Bytes as text: what is not UTF-8 is replaced, as intake does it.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What stands before the first separator, and what after it.
pub(crate) fn parts(text: &str) -> (&str, &str) {
    text.split_once(SEPARATOR).unwrap_or((text, ""))
}

/// A number that depends on nothing but the text: FNV-1a.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
