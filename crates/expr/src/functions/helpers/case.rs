//! Upper and lower case by code point, as Go maps it: one code point gives one code point, so
//! neither `ß` nor a final sigma changes the number of letters.
//!
//! Letters that Unicode gained after version 15 follow the tables of the Rust library.

use std::borrow::Cow;

/// `Upper`: every code point in its simple upper case.
pub(crate) fn upper(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|b| b.is_ascii_lowercase()) {
            Cow::Owned(text.to_ascii_uppercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    mapped(text, upper_char)
}

/// `Lower`: every code point in its simple lower case.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    mapped(text, lower_char)
}

fn mapped(text: &str, map: fn(char) -> char) -> Cow<'_, str> {
    let Some((first, _)) = text.char_indices().find(|(_, c)| map(*c) != *c) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    out.extend(text[first..].chars().map(map));
    Cow::Owned(out)
}

fn upper_char(c: char) -> char {
    // Greek letters with iota subscript: the full mapping has two letters, the simple one is the
    // title-case letter.
    let title = match c {
        '\u{1F80}'..='\u{1F87}' | '\u{1F90}'..='\u{1F97}' | '\u{1FA0}'..='\u{1FA7}' => 8,
        '\u{1FB3}' | '\u{1FC3}' | '\u{1FF3}' => 9,
        _ => return single(c.to_uppercase(), c),
    };
    char::from_u32(c as u32 + title).unwrap_or(c)
}

fn lower_char(c: char) -> char {
    if c == '\u{130}' { 'i' } else { single(c.to_lowercase(), c) }
}

/// The only character of a full mapping, or `c` itself where the mapping has several.
fn single(mut mapping: impl Iterator<Item = char>, c: char) -> char {
    match (mapping.next(), mapping.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_mappings() {
        let table = [
            ("", "", ""),
            ("SSHD", "SSHD", "sshd"),
            ("Sshd[12]", "SSHD[12]", "sshd[12]"),
            ("stra\u{df}e", "STRA\u{df}E", "stra\u{df}e"),
            ("\u{39f}\u{3a3}", "\u{39f}\u{3a3}", "\u{3bf}\u{3c3}"),
            ("\u{e9}\u{c9}", "\u{c9}\u{c9}", "\u{e9}\u{e9}"),
            ("\u{130}\u{131}", "\u{130}I", "i\u{131}"),
            ("\u{1f80}\u{1fb3}\u{1ff3}", "\u{1f88}\u{1fbc}\u{1ffc}", "\u{1f80}\u{1fb3}\u{1ff3}"),
            ("\u{149}\u{fb01}", "\u{149}\u{fb01}", "\u{149}\u{fb01}"),
            ("\u{1e9e}", "\u{1e9e}", "\u{df}"),
            ("\u{1c5}", "\u{1c4}", "\u{1c6}"),
        ];
        for (text, up, low) in table {
            assert_eq!(upper(text), up, "{text}");
            assert_eq!(lower(text), low, "{text}");
        }
    }

    #[test]
    fn unchanged_text_is_not_copied() {
        assert!(matches!(upper("GET /\u{c9}"), Cow::Borrowed(_)));
        assert!(matches!(lower("get /1"), Cow::Borrowed(_)));
    }
}
