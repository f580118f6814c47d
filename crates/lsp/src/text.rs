//! Places in a text: the lines and UTF-16 columns of the protocol, and bytes. Addresses of files.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// The byte of a line and a column, both from 0; what lies outside is moved to the nearest place inside.
pub(crate) fn offset(text: &str, line: u64, column: u64) -> usize {
    let mut start = 0;
    for _ in 0..line {
        match text[start..].find('\n') {
            Some(at) => start += at + 1,
            None => return text.len(),
        }
    }
    let line = text[start..].split(['\n', '\r']).next().unwrap_or_default();
    let mut units = 0;
    for (at, character) in line.char_indices() {
        if units >= column {
            return start + at;
        }
        units += character.len_utf16() as u64;
    }
    start + line.len()
}

/// The position of a byte, as the protocol has it.
pub(crate) fn position(text: &str, offset: usize) -> Value {
    let offset = (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column: usize = before[start..].chars().map(char::len_utf16).sum();
    json!({ "line": before.matches('\n').count(), "character": column })
}

/// A range of bytes, as the protocol has it.
pub(crate) fn range(text: &str, start: usize, end: usize) -> Value {
    json!({ "start": position(text, start), "end": position(text, end) })
}

/// The path of a `file:` address.
pub(crate) fn path_of(uri: &str) -> Option<PathBuf> {
    let encoded = uri.strip_prefix("file://")?;
    // An authority, if any, ends at the first slash.
    let encoded = &encoded[encoded.find('/')?..];
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0')).map(PathBuf::from)
}

/// The `file:` address of a path.
pub(crate) fn uri_of(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        // Writing to a text never fails.
        let _ = if plain { write!(uri, "{}", char::from(byte)) } else { write!(uri, "%{byte:02X}") };
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_utf_16() {
        let text = "a𝕏b\r\né: x\n";
        let check = |line, column, expected: usize| {
            assert_eq!(offset(text, line, column), expected, "{line}:{column}");
        };
        check(0, 0, 0);
        check(0, 1, 1);
        check(0, 3, 5);
        check(0, 99, 6);
        check(1, 1, 10);
        check(1, 99, 13);
        check(2, 0, 14);
        check(99, 0, 14);
        assert_eq!(position(text, 5), json!({ "line": 0, "character": 3 }));
        assert_eq!(position(text, 9), json!({ "line": 1, "character": 0 }), "inside a character");
        assert_eq!(position(text, 99), json!({ "line": 2, "character": 0 }));
    }

    #[test]
    fn addresses_of_files() {
        let check =
            |uri: &str, path: Option<&str>| assert_eq!(path_of(uri).as_deref(), path.map(Path::new), "{uri}");
        check("file:///a%20b/%C3%A9.yaml", Some("/a b/é.yaml"));
        check("file://host/a", Some("/a"));
        check("file:///a%2", Some("/a%2"));
        check("file:///a%00b", None);
        check("file:///%ff", None);
        check("untitled:x", None);
        check("file://", None);
        assert_eq!(uri_of(Path::new("/a b/é.yaml")), "file:///a%20b/%C3%A9.yaml");
    }
}
