//! Bodies of forms, `application/x-www-form-urlencoded`.

/// The most fields that a form may have.
const MAX_FIELDS: usize = 256;

/// Why a form is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadForm {
    /// More than [`MAX_FIELDS`] fields.
    TooMany,
    /// Something that is not UTF-8 once it is decoded.
    NotText,
}

/// The names and values of a form, in order.
pub(crate) fn fields(body: &[u8]) -> Result<Vec<(String, String)>, BadForm> {
    let mut fields = Vec::new();
    for part in body.split(|&byte| byte == b'&').filter(|part| !part.is_empty()) {
        if fields.len() == MAX_FIELDS {
            return Err(BadForm::TooMany);
        }
        let equals = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
        let value = part.get(equals + 1..).unwrap_or_default();
        fields.push((decode(&part[..equals])?, decode(value)?));
    }
    Ok(fields)
}

/// The value of the only field with this name. Two of them are none: it is not clear which one is meant.
pub(crate) fn only<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let mut found = fields.iter().filter(|(other, _)| other == name);
    let first = found.next();
    first.filter(|_| found.next().is_none()).map(|(_, value)| value.as_str())
}

fn decode(text: &[u8]) -> Result<String, BadForm> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        let digit = |at: usize| rest.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'+', ..) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                left = &rest[2..];
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| BadForm::NotText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let check = |body: &str, expected: &[(&str, &str)]| {
            let found = fields(body.as_bytes()).expect("a form");
            let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{body}");
        };
        check("", &[]);
        check("a=1&b=&c&&=d", &[("a", "1"), ("b", ""), ("c", ""), ("", "d")]);
        check("a+b=%C3%A9%26&x=1=2", &[("a b", "é&"), ("x", "1=2")]);
        check("a=%4&b=%zz&c=%", &[("a", "%4"), ("b", "%zz"), ("c", "%")]);
        assert_eq!(fields(b"a=%ff"), Err(BadForm::NotText));
        assert_eq!(fields(&b"a&".repeat(MAX_FIELDS + 1)), Err(BadForm::TooMany));
    }

    #[test]
    fn a_field_that_is_there_twice_is_none() {
        let fields = fields(b"a=1&b=2&a=3").expect("a form");
        assert_eq!(only(&fields, "a"), None);
        assert_eq!(only(&fields, "b"), Some("2"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,40}") {
            prop_assert_eq!(fields(format!("a={}", testudo_event::text::url_part(&text)).as_bytes()), Ok(vec![("a".to_owned(), text)]));
        }

        #[test]
        fn anything_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&body);
        }
    }
}
