//! `B64Decode`: the standard alphabet with padding, as Go's `StdEncoding` reads it: line breaks are
//! skipped, everything else outside the alphabet is refused.

use crate::{
    error::EvalError,
    functions::{Function, arguments, declare},
    value::Value,
};

pub(crate) fn table() -> Vec<Function> {
    declare(&[("B64Decode(string) string", |_, args| {
        let bytes = decode(arguments::text(args, 0, "B64Decode")?).ok_or(EvalError::Input("not base64"))?;
        // Text of the language is UTF-8: what the bytes are not becomes U+FFFD.
        Ok(Value::from(String::from_utf8_lossy(&bytes).as_ref()))
    })])
}

/// The bytes that `text` stands for; `None` where it is not padded standard base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut digits = text.bytes().filter(|b| !matches!(b, b'\r' | b'\n'));
    loop {
        let mut group = [0u8; 4];
        let mut count = 0;
        let mut padded = 0;
        for place in &mut group {
            match (digits.next(), count) {
                (None, 0) if padded == 0 => return Some(out),
                (Some(b'='), 2..) => padded += 1,
                (Some(byte), _) if padded == 0 => {
                    *place = digit(byte)?;
                    count += 1;
                }
                _ => return None,
            }
        }
        let [a, b, c, d] = group;
        let bytes = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
        out.extend_from_slice(&bytes[..3 - padded]);
        if padded > 0 {
            return digits.next().is_none().then_some(out);
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::functions::helpers::testing::{call, fails};

    #[test]
    fn decoding() {
        let table: [(&str, Option<&[u8]>); 16] = [
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9v\r\nYmFy\n", Some(b"foobar")),
            ("Zh==", Some(b"f")),
            ("+/+/", Some(b"\xfb\xff\xbf")),
            ("Zg", None),
            ("Zg=", None),
            ("Zg=\n=", Some(b"f")),
            ("Zg==Zg==", None),
            ("Zg===", None),
            ("=", None),
            ("Z===", None),
            ("Zm9_", None),
            ("Zm 9v", None),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn helper() {
        assert_eq!(call("B64Decode", &["SGVsbG8=".into()]).as_str(), Some("Hello"));
        assert_eq!(call("B64Decode", &["/w==".into()]).as_str(), Some("\u{fffd}"));
        assert_eq!(fails("B64Decode", &["?".into()]), EvalError::Input("not base64"));
    }

    proptest! {
        #[test]
        fn whole_groups_of_digits_decode(text in "([A-Za-z0-9+/]{4}){0,6}") {
            prop_assert_eq!(decode(&text).map(|b| b.len()), Some(text.len() / 4 * 3));
        }

        #[test]
        fn nothing_panics(text in "[A-D=\r\n+\u{e9}]{0,12}") {
            let _ = decode(&text);
        }
    }
}
