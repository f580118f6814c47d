//! The decisions that are held: what an API has told and not taken back, until it ends.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use testudo_event::Prefix;

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An address or a network, without bits after the prefix.
    Net(Prefix),
    /// An autonomous system.
    System(u32),
    /// A country, by its two letters in upper case.
    Country([u8; 2]),
}

impl Subject {
    /// What scope and value of a decision say, if it is something that is known at the edge of the network.
    pub fn parse(scope: &str, value: &str) -> Option<Subject> {
        match scope.to_ascii_lowercase().as_str() {
            "ip" | "range" => {
                let net = match value.parse::<IpAddr>() {
                    Ok(addr) => Prefix::single(addr.to_canonical()),
                    Err(_) => Prefix::parse(value)?.canonical().network(),
                };
                Some(Subject::Net(net))
            }
            "as" => {
                let digits = value.strip_prefix("AS").or(value.strip_prefix("as")).unwrap_or(value);
                digits.parse().ok().map(Subject::System)
            }
            "country" => match value.as_bytes() {
                [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                    Some(Subject::Country([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Net(net) => f.write_str(&net_text(*net)),
            Subject::System(number) => write!(f, "{number}"),
            Subject::Country([a, b]) => write!(f, "{}{}", char::from(*a), char::from(*b)),
        }
    }
}

/// A network as the API writes it: an address without the number of its bits.
pub(crate) fn net_text(net: Prefix) -> String {
    let is_host = net.bits() == if net.addr().is_ipv4() { 32 } else { 128 };
    if is_host { net.addr().to_string() } else { net.to_string() }
}

/// The network that such a text names.
pub(crate) fn net_of(text: &str) -> Option<Prefix> {
    match Subject::parse("ip", text) {
        Some(Subject::Net(net)) => Some(net),
        _ => None,
    }
}

/// How much a decision matters when there is no room for all. The later one matters more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Danger {
    /// It is on a list that somebody publishes, or was imported.
    Listed,
    /// Others have seen it.
    Reported,
    /// It was seen here, or somebody here has decided.
    Seen,
}

impl Danger {
    /// What the origin of a decision says.
    pub fn of(origin: &str) -> Danger {
        match origin {
            "lists" | "cscli-import" => Danger::Listed,
            "CAPI" | "console" => Danger::Reported,
            _ => Danger::Seen,
        }
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The number that the API gave it.
    pub id: i64,
    /// What it is about.
    pub subject: Subject,
    /// `ban`, `captcha` ….
    pub kind: Arc<str>,
    /// The origin; for lists `lists:` and the name of the list.
    pub origin: Arc<str>,
    /// How much it matters.
    pub danger: Danger,
    /// When it ends, in milliseconds of a clock that only goes forward.
    pub until_ms: u64,
}

impl Decision {
    /// Whether its type is among these.
    pub fn is_one_of(&self, kinds: &[String]) -> bool {
        kinds.iter().any(|kind| **kind == *self.kind)
    }
}

/// What an API tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Whether it is everything: what is held and not among it is over.
    pub full: bool,
    /// Held from now on.
    pub new: Vec<Decision>,
    /// Over, before `new` is taken.
    pub deleted: Vec<(Subject, i64)>,
}

/// All decisions that are held.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    held: BTreeMap<(Subject, i64), Decision>,
    ends: BTreeSet<(u64, Subject, i64)>,
}

impl Decisions {
    /// Takes what was told.
    pub fn take(&mut self, update: Update) {
        if update.full {
            *self = Decisions::default();
        }
        for key in update.deleted {
            self.remove(key);
        }
        for decision in update.new {
            let key = (decision.subject, decision.id);
            self.remove(key);
            self.ends.insert((decision.until_ms, key.0, key.1));
            self.held.insert(key, decision);
        }
    }

    fn remove(&mut self, key: (Subject, i64)) {
        if let Some(decision) = self.held.remove(&key) {
            self.ends.remove(&(decision.until_ms, key.0, key.1));
        }
    }

    /// Gives up what is over; says whether that was anything.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let before = self.held.len();
        while let Some((until, subject, id)) = self.ends.first().copied() {
            if until > now_ms {
                break;
            }
            self.remove((subject, id));
        }
        self.held.len() < before
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// All of them, by what they are about.
    pub fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.held.values()
    }

    /// How many there are of each origin, about IPv4, IPv6 and anything else.
    pub fn counts(&self) -> BTreeMap<&str, [u64; 3]> {
        let mut counts: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
        for decision in self.held.values() {
            let family = match decision.subject {
                Subject::Net(net) => usize::from(net.addr().is_ipv6()),
                Subject::System(_) | Subject::Country(_) => 2,
            };
            counts.entry(&decision.origin).or_default()[family] += 1;
        }
        counts
    }
}

/// Orders by what matters more: more dangerous first, then what is kept longer.
pub(crate) fn weight(danger: Danger, until_ms: u64) -> Reverse<(Danger, u64)> {
    Reverse((danger, until_ms))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn decision(id: i64, value: &str, kind: &str, origin: &str, until_ms: u64) -> Decision {
        let scope = match value {
            _ if value.starts_with("AS") => "AS",
            _ if value.len() == 2 => "Country",
            _ => "Range",
        };
        Decision {
            id,
            subject: Subject::parse(scope, value).expect(value),
            kind: kind.into(),
            origin: origin.into(),
            danger: Danger::of(origin),
            until_ms,
        }
    }

    #[test]
    fn subjects() {
        let shown = |scope, value| Subject::parse(scope, value).map(|subject| subject.to_string());
        assert_eq!(shown("Ip", "192.0.2.1/32").as_deref(), Some("192.0.2.1"));
        assert_eq!(shown("ip", "::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(shown("Range", "192.0.2.7/24").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(shown("Ip", "2001:db8::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(shown("AS", "AS64500").as_deref(), Some("64500"));
        assert_eq!(shown("as", "64500").as_deref(), Some("64500"));
        assert_eq!(shown("Country", "fr").as_deref(), Some("FR"));
        for (scope, value) in
            [("Country", "é"), ("Country", "FRA"), ("AS", "AS"), ("AS", "-1"), ("Ip", "x"), ("username", "a")]
        {
            assert_eq!(shown(scope, value), None, "{scope} {value}");
        }
    }

    #[test]
    fn held_until_lifted_or_over() {
        let mut held = Decisions::default();
        let new = vec![
            decision(1, "192.0.2.1", "ban", "crowdsec", 100),
            decision(2, "192.0.2.1", "ban", "CAPI", 200),
            decision(3, "FR", "captcha", "cscli", 300),
        ];
        held.take(Update { full: true, new, deleted: vec![] });
        assert_eq!(held.len(), 3);
        assert_eq!(held.counts()["CAPI"], [1, 0, 0]);
        assert!(!held.expire(99) && held.expire(100));
        // It is told anew, and lasts longer.
        let again = vec![decision(2, "192.0.2.1", "ban", "CAPI", 900)];
        held.take(Update { full: false, new: again, deleted: vec![] });
        assert!(!held.expire(250));
        let deleted = vec![(Subject::Country(*b"FR"), 3), (Subject::Country(*b"FR"), 7)];
        held.take(Update { full: false, new: vec![], deleted });
        assert_eq!(held.iter().map(|decision| decision.id).collect::<Vec<_>>(), [2]);
        held.take(Update { full: true, ..Update::default() });
        assert!(held.is_empty() && !held.expire(u64::MAX));
    }
}
