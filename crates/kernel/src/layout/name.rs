//! Names of groups as the kernel's tools can read them.

use std::fmt::Write;

/// Whether a name can stand in the kernel as it is.
pub(crate) fn plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(is_plain)
}

/// The name of a group's chain: letters, digits, `-` and `_` as they are, `:` as `/`, and any other byte as `.`
/// and two digits. Different names stay different, none is a word of nft's language, and what begins with a dot
/// and another letter can be put behind it.
pub(crate) fn legal(group: &str) -> String {
    let mut name = "g/".to_owned();
    for byte in group.bytes() {
        match byte {
            b':' => name.push('/'),
            _ if is_plain(byte) => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, ".{byte:02x}");
            }
        }
    }
    name
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_stay_different() {
        for (group, expected) in [
            ("crowdsec", "g/crowdsec"),
            ("lists:firehol", "g/lists/firehol"),
            ("lists/firehol", "g/lists.2ffirehol"),
            ("drop", "g/drop"),
            ("a b.c", "g/a.20b.2ec"),
            ("ü", "g/.c3.bc"),
        ] {
            assert_eq!(legal(group), expected);
        }
    }
}
