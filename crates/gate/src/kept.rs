//! What a visitor sent and what is kept of it while a challenge is answered: in the page, not in the gate.
//!
//! It is kept as text that a page can hold, and sent on by a form of the same kind, so that the site gets what it would have
//! got. What a browser could not send again in the same way is not kept: files, and what programs send.

use std::fmt::Write as _;

use hyper::header::{CONTENT_TYPE, HeaderValue};

use crate::{form, page, visit::Visit};

/// The most fields of a form that is no plain one; plain ones have a limit of their own.
const MAX_FIELDS: usize = 256;

/// What the answer to a challenge may need beyond three bytes for one of the form that is kept: the mark, and what has to be
/// encoded twice.
const MORE: usize = 16 << 10;

/// What stands in front of a kept form that is no plain one. No plain one is kept that begins like this.
const MARK: char = '|';

/// How a form is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-www-form-urlencoded`, which is what is usual.
    Plain,
    /// `multipart/form-data`.
    Parts,
    /// `text/plain`.
    Text,
}

impl Encoding {
    /// As HTML names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "application/x-www-form-urlencoded",
            Self::Parts => "multipart/form-data",
            Self::Text => "text/plain",
        }
    }
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
    /// It is for a file, and none was chosen.
    pub(crate) is_file: bool,
}

/// A form that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) encoding: Encoding,
    pub(crate) fields: Vec<Field>,
}

/// The form that a visitor sent, as text, if it can go to the browser and come back as it is, and has at most `most` bytes.
/// What comes back in a form has at most three times as many, and 16 KiB.
pub(crate) fn keep(visit: &Visit<'_>, body: &[u8], most: usize) -> Option<String> {
    let kind =
        visit.headers.get(CONTENT_TYPE).map_or("", |value: &HeaderValue| value.to_str().unwrap_or_default());
    let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    if visit.method != "POST" || body.is_empty() || body.len() > most {
        return None;
    }
    let kind = kind.trim().to_ascii_lowercase();
    let kept = match kind.as_str() {
        "application/x-www-form-urlencoded" => {
            let text = str::from_utf8(body).ok()?;
            let is_plain = !text.starts_with(MARK) && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
            is_plain.then(|| text.to_owned())?
        }
        "multipart/form-data" => marked("m", &parts(body, boundary(parameters)?)?),
        "text/plain" => marked("p", &lines(body)?),
        _ => return None,
    };
    let fields = read(&kept)?.fields.into_iter().map(|field| (field.name, field.value)).collect::<Vec<_>>();
    (sent_back(&kept) <= most * 3 + MORE && page::survives(&fields)).then_some(kept)
}

/// The form that a text stands for.
pub(crate) fn read(kept: &str) -> Option<Form> {
    let Some(rest) = kept.strip_prefix(MARK) else {
        let fields = form::fields(kept.as_bytes()).ok()?;
        let fields = fields.into_iter().map(|(name, value)| Field { name, value, is_file: false });
        return Some(Form { encoding: Encoding::Plain, fields: fields.collect() });
    };
    let (kind, text) = rest.split_once(MARK)?;
    let encoding = match kind {
        "m" => Encoding::Parts,
        "p" => Encoding::Text,
        _ => return None,
    };
    // The first letter of a name tells whether it is for a file.
    let field = |(name, value): (String, String)| {
        let is_file = name.starts_with('f');
        let name = name.strip_prefix(['f', 't'])?.to_owned();
        Some(Field { name, value, is_file })
    };
    let fields = form::fields(text.as_bytes()).ok()?.into_iter().map(field).collect::<Option<_>>()?;
    Some(Form { encoding, fields })
}

fn marked(kind: &str, fields: &[Field]) -> String {
    let mut text = format!("{MARK}{kind}{MARK}");
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            text.push('&');
        }
        text.push(if field.is_file { 'f' } else { 't' });
        encode(&field.name, &mut text);
        text.push('=');
        encode(&field.value, &mut text);
    }
    text
}

/// Encodes what would be read as something else, or not come back as it is. The page encodes the rest.
fn encode(text: &str, encoded: &mut String) {
    for character in text.chars() {
        if character.is_ascii_control() || "%&=+".contains(character) {
            let _ = write!(encoded, "%{:02X}", u32::from(character));
        } else {
            encoded.push(character);
        }
    }
}

/// The bytes that a browser sends as the value of a field with this text.
fn sent_back(text: &str) -> usize {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -._*".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
}

/// The boundary of the parts.
fn boundary(parameters: &str) -> Option<&str> {
    let (name, value) = parameters.trim().split_once('=')?;
    let value = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let is_boundary = name.eq_ignore_ascii_case("boundary")
        && (1..=70).contains(&value.len())
        && value.bytes().all(is_fine);
    is_boundary.then_some(value)
}

/// The fields of `multipart/form-data`, as browsers write it. None if there is a file, or anything else that they do not write.
fn parts(body: &[u8], boundary: &str) -> Option<Vec<Field>> {
    let text = str::from_utf8(body).ok()?;
    let line = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    let mut rest = text.strip_prefix(line.get(2..)?)?;
    while !matches!(rest, "--" | "--\r\n") {
        if fields.len() == MAX_FIELDS {
            return None;
        }
        let (part, after) = rest.strip_prefix("\r\n")?.split_once(line.as_str())?;
        let (head, value) = part.split_once("\r\n\r\n")?;
        fields.push(part_field(head, value)?);
        rest = after;
    }
    Some(fields)
}

fn part_field(head: &str, value: &str) -> Option<Field> {
    let (disposition, more) = head.split_once("\r\n").unwrap_or((head, ""));
    let (header, disposition) = disposition.split_once(": ")?;
    let quoted = disposition.strip_prefix("form-data; name=\"")?;
    let (name, after) = quoted.split_once('"')?;
    let is_file = match (after, more) {
        ("", "") => false,
        // What a browser sends where no file was chosen.
        ("; filename=\"\"", "Content-Type: application/octet-stream") if value.is_empty() => true,
        _ => return None,
    };
    let is_fine = header.eq_ignore_ascii_case("content-disposition");
    is_fine.then(|| Field { name: name.to_owned(), value: value.to_owned(), is_file })
}

/// The fields of `text/plain`: a line for each.
fn lines(body: &[u8]) -> Option<Vec<Field>> {
    let text = str::from_utf8(body).ok()?.strip_suffix("\r\n")?;
    let field = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some(Field { name: name.to_owned(), value: value.to_owned(), is_file: false })
    };
    let fields: Vec<Field> = text.split("\r\n").map(field).collect::<Option<_>>()?;
    (fields.len() <= MAX_FIELDS).then_some(fields)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, net::IpAddr};

    use hyper::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 64 << 10;

    fn kept(kind: &str, body: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).expect("a type"));
        let visit = Visit {
            address: IpAddr::from([198, 51, 100, 1]),
            host: "example.org".to_owned(),
            method: "POST".into(),
            target: "/".into(),
            is_https: false,
            from_proxy: false,
            headers: &headers,
        };
        keep(&visit, body.as_bytes(), MOST)
    }

    /// The form in which what was kept is sent on.
    fn form(kind: &str, body: &str) -> Option<(Encoding, Vec<Field>)> {
        let form = read(&kept(kind, body)?).expect("what is kept can be read");
        Some((form.encoding, form.fields))
    }

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned(), is_file: false }
    }

    #[test]
    fn plain_forms_are_kept_as_they_are() {
        let kind = "application/x-www-form-urlencoded; charset=UTF-8";
        assert_eq!(kept(kind, "a=1&b=%C3%A9+x").as_deref(), Some("a=1&b=%C3%A9+x"));
        assert_eq!(form(kind, "a=1"), Some((Encoding::Plain, vec![field("a", "1")])));
        for bad in ["", "a=\u{e9}", "a=%ff", "a=%00", "a=%0a", "|m|ta=1", "|", "_charset_=x"] {
            assert_eq!(kept(kind, bad), None, "{bad}");
        }
        assert_eq!(kept(kind, &"a".repeat(MOST + 1)), None);
    }

    /// As Chromium 150 and Firefox 140 write it.
    fn parts(parts: &[(&str, &str)]) -> String {
        let mut body = String::new();
        for (head, value) in parts {
            let _ = write!(body, "--xYz\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
        }
        body + "--xYz--\r\n"
    }

    #[test]
    fn parts_without_files_are_kept() {
        let kind = "multipart/form-data; boundary=xYz";
        let empty_file = "name=\"up\"; filename=\"\"\r\nContent-Type: application/octet-stream";
        let body = parts(&[("name=\"a\"", "J\u{f6}rg & Co\r\n--x"), ("name=\"b%22\"", ""), (empty_file, "")]);
        let mut expected = vec![field("a", "J\u{f6}rg & Co\r\n--x"), field("b%22", ""), field("up", "")];
        expected[2].is_file = true;
        assert_eq!(form(kind, &body), Some((Encoding::Parts, expected.clone())));
        assert_eq!(form("multipart/form-data; boundary=\"xYz\"", &body), Some((Encoding::Parts, expected)));
        assert_eq!(form(kind, "--xYz--\r\n"), Some((Encoding::Parts, vec![])));
        let file = "name=\"up\"; filename=\"a.txt\"\r\nContent-Type: text/plain";
        for bad in [
            parts(&[(file, "x")]),
            parts(&[(empty_file, "x")]),
            parts(&[("name=\"a\"\r\nContent-Type: text/plain", "x")]),
            parts(&[("name=\"a\"", "x")]).replace("--xYz--", "--xYz"),
            parts(&[("name=\"a\"", "lone\nend")]),
            parts(&[("name=a", "x")]),
            format!("preamble\r\n{}", parts(&[("name=\"a\"", "x")])),
            format!("{}epilogue", parts(&[("name=\"a\"", "x")])),
            parts(&[("name=\"a\"", "x"); 257]),
        ] {
            assert_eq!(kept(kind, &bad), None, "{bad}");
        }
        for kind in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=xYz"]
        {
            assert_eq!(kept(kind, &parts(&[("name=\"a\"", "x")])), None, "{kind}");
        }
    }

    #[test]
    fn lines_are_kept() {
        let found = form("text/plain", "a=b=c\r\n=\r\n\u{e9}=&\r\n");
        assert_eq!(
            found,
            Some((Encoding::Text, vec![field("a", "b=c"), field("", ""), field("\u{e9}", "&")]))
        );
        for bad in ["", "a=b", "a\r\n", "a=b\r\n\r\n", "a=b\nc=d\r\n"] {
            assert_eq!(kept("text/plain", bad), None, "{bad:?}");
        }
    }

    /// The limit is that of the form as it is sent, whatever its letters are: what the page makes of it is larger.
    #[test]
    fn the_body_is_measured() {
        let kinds = ["multipart/form-data; boundary=xYz", "text/plain"];
        let body = |kind: &str, value: &str| match kind {
            "text/plain" => format!("a={value}\r\n"),
            _ => parts(&[("name=\"a\"", value)]),
        };
        for kind in kinds {
            let room = MOST - body(kind, "").len();
            for letter in ["a", " ", "\u{e9}", "\u{4e2d}", "\u{1f422}"] {
                let value = letter.repeat(room / letter.len()) + &"a".repeat(room % letter.len());
                assert_eq!(body(kind, &value).len(), MOST);
                let found = form(kind, &body(kind, &value)).expect("it is kept");
                assert!(found.1 == [field("a", &value)], "{kind} of {letter:?}");
                assert!(kept(kind, &body(kind, &format!("{value}a"))).is_none(), "{kind} of {letter:?}");
            }
            // Nobody could send as much back as would be made of this.
            assert!(kept(kind, &body(kind, &"%".repeat(room))).is_none());
            assert!(kept(kind, &body(kind, &"%".repeat(room / 2))).is_some());
        }
        let text = "x".repeat(78) + "\r\n";
        assert!(kept(kinds[0], &body(kinds[0], &text.repeat(800))).is_some());
        let plain = "a=".to_owned() + &"%C3%A9".repeat((MOST - 2) / 6);
        assert!(kept("application/x-www-form-urlencoded", &plain).is_some());
    }

    #[test]
    fn what_programs_send_is_not_kept() {
        for kind in ["application/json", "application/octet-stream", "", "text/xml"] {
            assert_eq!(kept(kind, "{\"a\": 1}"), None);
        }
    }

    proptest! {
        #[test]
        fn parts_come_back(fields in proptest::collection::vec(("[a-z\u{e4}%]{1,6}", "[ -~\u{e4}]{0,12}"), 0..6)) {
            let named: Vec<_> = fields.iter().map(|(name, value)| (format!("name=\"{name}\""), value)).collect();
            let body = parts(&named.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>());
            let expected = fields.iter().map(|(name, value)| field(name, value)).collect::<Vec<_>>();
            prop_assert_eq!(form("multipart/form-data; boundary=xYz", &body), Some((Encoding::Parts, expected)));
        }

        #[test]
        fn anything_is_kept_or_lost(kind in 0_usize..3, body in "(--xYz|\r\n|Content-Disposition: form-data; name=\"a\"|[ -~]|=){0,12}") {
            let kinds = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=xYz", "text/plain"];
            let _ = form(kinds[kind], &body);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = read(&text);
            let _ = read(&format!("|m|{text}"));
        }
    }
}
