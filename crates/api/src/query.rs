//! The parameters of a request, as they stand after the `?` of its path.

use testudo_event::alert::normalise_scope;

/// Parameters in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads them; what cannot be decoded stays as it is.
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As [`Query::get`], an empty value counts as none.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The items of a list with commas; `None` when there are none.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        let items: Vec<String> =
            self.filled(name)?.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect();
        Some(items).filter(|items| !items.is_empty())
    }

    /// As [`Query::list`], with scopes spelled as they are stored.
    pub(crate) fn scopes(&self, name: &str) -> Option<Vec<String>> {
        let scopes = self.list(name)?;
        Some(scopes.iter().map(|scope| normalise_scope(scope).to_owned()).collect())
    }

    /// The first parameter that is none of these.
    pub(crate) fn unknown<'q>(&'q self, known: &[&str]) -> Option<(&'q str, &'q str)> {
        let pair = self.0.iter().find(|(name, _)| !known.contains(&name.as_str()))?;
        Some((&pair.0, &pair.1))
    }

    /// The first parameter without a value.
    pub(crate) fn empty_value(&self) -> Option<&str> {
        self.0.iter().find(|(_, value)| value.is_empty()).map(|(name, _)| name.as_str())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A truth value as Go reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Decodes `%41`, and `+` where it means a blank; what is broken stays as it is, and bytes that are no UTF-8
/// are replaced.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|pair| Some((hex(pair[0])?, hex(pair[1])?)));
        match (bytes[at], digits) {
            (b'%', Some((high, low))) => {
                out.push(high << 4 | low);
                at += 3;
                continue;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query = Query::parse("a=1&b=x%2Fy&a=2&c&d=a+b&e=%zz&scopes=ip,RANGE,user&&f=%ff");
        let check = |name: &str, expected: Option<&str>| assert_eq!(query.get(name), expected, "{name}");
        check("a", Some("1"));
        check("b", Some("x/y"));
        check("c", Some(""));
        check("d", Some("a b"));
        check("e", Some("%zz"));
        check("f", Some("\u{fffd}"));
        check("g", None);
        assert_eq!(query.filled("c"), None);
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.scopes("scopes"), Some(vec!["Ip".into(), "Range".into(), "user".into()]));
        assert_eq!(query.list("c"), None);
        assert_eq!(query.unknown(&["a", "b", "c"]), Some(("d", "a b")));
        assert!(Query::parse("").is_empty());
    }

    #[test]
    fn truth_is_gos() {
        for (text, expected) in
            [("1", Some(true)), ("True", Some(true)), ("f", Some(false)), ("yes", None), ("tRUE", None)]
        {
            assert_eq!(parse_bool(text), expected, "{text}");
        }
    }
}
