//! What a set is made as: of what `ipset list -t` tells.

use super::{IpsetKind, making};
use crate::program::ProgramError;
use crate::rule::Family;

/// How a set was made, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `hash:net` and the like.
    kind: String,
    /// `inet` or `inet6`.
    family: String,
    /// So many elements fit.
    pub(super) room: u32,
    /// Whether elements end.
    is_timed: bool,
}

/// How ipset calls a family.
pub(crate) fn inet(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}

impl Header {
    pub(super) fn new(kind: IpsetKind, family: Family, room: u32) -> Header {
        Header { kind: kind.name().to_owned(), family: inet(family).to_owned(), room, is_timed: true }
    }

    /// The words of a command that makes it.
    pub(super) fn words(&self) -> Vec<String> {
        let room = self.room.to_string();
        // Elements bring their own times; the one of the set is for those that come without.
        [&self.kind, "family", &self.family, "maxelem", &room, "timeout", "300"].map(str::to_owned).to_vec()
    }

    pub(super) fn read(text: &str) -> Result<Header, ProgramError> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let words: Vec<&str> = value("Header:").unwrap_or_default().split_whitespace().collect();
        let after = |key: &str| {
            let at = words.iter().position(|word| *word == key)?;
            words.get(at + 1).copied()
        };
        Ok(Header {
            kind: value("Type:").unwrap_or_default().to_owned(),
            family: after("family").unwrap_or("inet").to_owned(),
            room: after("maxelem").and_then(|text| text.parse().ok()).unwrap_or(u32::MAX),
            is_timed: after("timeout").is_some(),
        })
    }

    /// What a set holds, if it can be used for a family.
    pub(super) fn usable(&self, name: &str, family: Family) -> Result<IpsetKind, ProgramError> {
        let problem = if self.family != inet(family) {
            format!("is of family {}, not {}", self.family, inet(family))
        } else if !self.is_timed {
            "lets nothing end".to_owned()
        } else {
            match self.kind.as_str() {
                "hash:net" => return Ok(IpsetKind::Nets),
                "hash:ip" => return Ok(IpsetKind::Hosts),
                other => format!("is of type {other}"),
            }
        };
        let problem = format!("{problem}; destroy it, and make it with `{}`", making(name, family));
        Err(ProgramError::Kind { what: format!("the set '{name}'"), problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_used_is_told() {
        let check = |text: &str, family, expected: Result<IpsetKind, &str>| {
            let header = Header::read(text).expect("it is read");
            let found = header.usable("s", family).map_err(|error| error.to_string());
            match expected {
                Ok(kind) => assert_eq!(found, Ok(kind), "{text}"),
                Err(begin) => {
                    let told = found.expect_err(text);
                    assert!(
                        told.starts_with(begin) && told.contains("`ipset create s hash:net family"),
                        "{told}"
                    );
                }
            }
        };
        let timed = "Name: s\nType: hash:net\nRevision: 7\nHeader: family inet hashsize 1024 maxelem 65536 timeout 300 bucketsize 12 initval 0x1\nReferences: 0\n";
        check(timed, Family::V4, Ok(IpsetKind::Nets));
        check(&timed.replace("hash:net", "hash:ip"), Family::V4, Ok(IpsetKind::Hosts));
        check(timed, Family::V6, Err("the set 's' is of family inet, not inet6"));
        check(&timed.replace("timeout 300 ", ""), Family::V4, Err("the set 's' lets nothing end"));
        check(
            &timed.replace("hash:net", "hash:ip,port"),
            Family::V4,
            Err("the set 's' is of type hash:ip,port"),
        );
        assert_eq!(Header::read(timed).expect("it is read").room, 65_536);
    }
}
