//! What is asked for behind the `?` of a list: the parameters of the ecosystem's mirror, and the key.

use testudo_mirror::Family;

/// The longest query, in bytes.
const QUERY_MOST: usize = 1_024;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Query {
    pub(super) family: Family,
    pub(super) unsorted: bool,
    pub(super) origin: Option<String>,
    pub(super) types: Vec<String>,
    pub(super) name: Option<String>,
}

/// Reads a query; the key that may be in it stands apart. Nothing for one that is too long or no text.
pub(super) fn read(text: &str) -> Option<(Query, Option<String>)> {
    let (mut query, mut key) = (Query::default(), None);
    if text.len() > QUERY_MOST {
        return None;
    }
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        // A switch is on where it stands, whatever its value; only a plain no is none.
        let is_on = !matches!(value.as_str(), "false" | "0" | "no");
        match name.as_str() {
            "ipv4only" if is_on => query.family = Family::V4,
            "ipv6only" if is_on => query.family = Family::V6,
            "nosort" if is_on => query.unsorted = true,
            "origin" if !value.is_empty() => query.origin = Some(value),
            "supported_decisions_types" => {
                query.types = value
                    .split(',')
                    .map(str::trim)
                    .filter(|kind| !kind.is_empty())
                    .map(str::to_owned)
                    .collect();
            }
            "listname" if !value.is_empty() => query.name = Some(value),
            "key" => key = Some(value),
            _ => {}
        }
    }
    Some((query, key))
}

/// A part of a query without its escapes.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let (query, key) = read("ipv4only&nosort=1&origin=cscli&supported_decisions_types=ban,+captcha&listname=a%2Db&x=y&key=a%20b").expect("a query");
        assert_eq!((query.family, query.unsorted), (Family::V4, true));
        assert_eq!(
            (query.origin.as_deref(), query.name.as_deref(), key.as_deref()),
            (Some("cscli"), Some("a-b"), Some("a b"))
        );
        assert_eq!(query.types, ["ban", "captcha"]);
        assert_eq!(read("ipv6only=true").expect("a query").0.family, Family::V6);
        assert_eq!(read("ipv6only=false&nosort=0").expect("a query").0, Query::default());
        assert_eq!(read("").expect("a query"), (Query::default(), None));
        for bad in ["a=%", "a=%f", "a=%zz", "a=%ff", &"x".repeat(2_000)] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
