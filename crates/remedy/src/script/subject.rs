//! What a script is told about: a value with its scope and type; and how that is written down for it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use testudo_event::{Prefix, net::canonical, text::ascii_json};
use testudo_wire::Decision as Told;

/// The longest value, scenario, scope, type or origin that a script is told, in bytes: a list of arguments has a limit,
/// and nothing that is banned has a longer name.
const TEXT_MOST: usize = 4_096;

/// What decisions are about that a script cannot tell apart: a script that has one entry for each value has to hear
/// `add` once, and `del` when the last decision is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Subject {
    /// The scope: `Ip`, `Range`, `Country` and `AS` in this spelling, others as the API told them.
    pub(super) scope: String,
    /// The type: `ban`, `captcha` ….
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// An address or network in its usual spelling; of other scopes, the value as it was told.
    pub(super) value: String,
}

/// Why a script is not told of a decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0:?} is no address")]
    Address(String),
    #[error("{0:?} is no network")]
    Network(String),
    #[error("a text of {0} bytes is too long for a script")]
    Long(usize),
    #[error("{0:?} cannot be the argument of a script: it has control characters, or begins with `-`")]
    Argument(String),
    #[error("{0:?} is no duration")]
    Duration(String),
}

impl Subject {
    /// What a decision is about; `as_argument`: the value has to be one that a command line can carry.
    pub(super) fn of(told: &Told, as_argument: bool) -> Result<Subject, Refusal> {
        let texts = [&told.value, &told.scenario, &told.scope, &told.kind, &told.origin];
        if let Some(long) = texts.iter().map(|text| text.len()).find(|len| *len > TEXT_MOST) {
            return Err(Refusal::Long(long));
        }
        let scope =
            ["Ip", "Range", "Country", "AS"].into_iter().find(|known| told.scope.eq_ignore_ascii_case(known));
        let value = if scope == Some("Ip") {
            address(&told.value).ok_or_else(|| Refusal::Address(told.value.clone()))?
        } else if scope == Some("Range") {
            network(&told.value).ok_or_else(|| Refusal::Network(told.value.clone()))?
        } else {
            let value = &told.value;
            if as_argument && (value.starts_with('-') || value.chars().any(char::is_control)) {
                return Err(Refusal::Argument(value.clone()));
            }
            value.clone()
        };
        let scope = scope.map_or_else(|| told.scope.clone(), str::to_owned);
        Ok(Subject { scope, kind: told.kind.clone(), value })
    }

    /// How the kind of its value is called in reports; nothing for what is no address.
    pub(super) fn family(&self) -> Option<&'static str> {
        matches!(self.scope.as_str(), "Ip" | "Range")
            .then(|| crate::report::FAMILIES[usize::from(self.value.contains(':'))])
    }
}

/// An address; one that is written as a network of a single address, without its length.
fn address(text: &str) -> Option<String> {
    let prefix = match text.parse::<IpAddr>() {
        Ok(addr) => Prefix::single(addr),
        Err(_) => Prefix::parse(text)?,
    };
    let prefix = prefix.canonical();
    (prefix == Prefix::single(prefix.addr())).then(|| prefix.addr().to_string())
}

fn network(text: &str) -> Option<String> {
    match text.parse::<IpAddr>() {
        Ok(addr) => Some(canonical(addr).to_string()),
        Err(_) => Prefix::parse(text).map(|net| net.canonical().network().to_string()),
    }
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Add,
    Del,
}

impl Act {
    pub(super) fn name(self) -> &'static str {
        match self {
            Act::Add => "add",
            Act::Del => "del",
        }
    }
}

/// A decision as scripts of the ecosystem read it, in the order in which they know it.
#[derive(Serialize)]
struct Line<'a> {
    duration: String,
    id: i64,
    origin: &'a str,
    scenario: &'a str,
    scope: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uuid: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

/// Something to tell a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) act: Act,
    pub(super) subject: Subject,
    /// The number of the decision that lasts longest, or of the one that was told as added; 0 where it is not known.
    pub(super) id: i64,
    pub(super) uuid: String,
    pub(super) origin: String,
    pub(super) scenario: String,
    /// Until it is over; 0 for what is.
    pub(super) seconds: u64,
}

impl Message {
    /// The JSON of the decision, in ASCII and without a line break of any kind; `with_action` for scripts that read
    /// lines, as they have no other way to know.
    pub(super) fn json(&self, with_action: bool) -> String {
        let line = Line {
            duration: testudo_wire::decision::seconds_text(i64::try_from(self.seconds).unwrap_or(i64::MAX)),
            origin: &self.origin,
            scenario: &self.scenario,
            scope: &self.subject.scope,
            kind: &self.subject.kind,
            value: &self.subject.value,
            id: self.id,
            uuid: &self.uuid,
            action: with_action.then(|| self.act.name()),
        };
        // Texts and numbers always serialise.
        ascii_json(&serde_json::to_string(&line).unwrap_or_default())
    }

    /// The arguments after the program: `add|del VALUE SECONDS SCENARIO JSON`.
    pub(super) fn arguments(&self) -> [String; 5] {
        let scenario = self.scenario.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let value = self.subject.value.clone();
        [self.act.name().to_owned(), value, self.seconds.to_string(), scenario, self.json(false)]
    }

    /// The same for the environment.
    pub(super) fn environment(&self) -> [(&'static str, String); 8] {
        // A variable cannot hold a zero byte.
        let clean = |text: &str| text.replace('\0', " ");
        [
            ("TESTUDO_ACTION", self.act.name().to_owned()),
            ("TESTUDO_VALUE", clean(&self.subject.value)),
            ("TESTUDO_SCOPE", clean(&self.subject.scope)),
            ("TESTUDO_TYPE", clean(&self.subject.kind)),
            ("TESTUDO_SECONDS", self.seconds.to_string()),
            ("TESTUDO_ORIGIN", clean(&self.origin)),
            ("TESTUDO_SCENARIO", clean(&self.scenario)),
            ("TESTUDO_ID", self.id.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(scope: &str, value: &str) -> Told {
        Told { scope: scope.to_owned(), value: value.to_owned(), kind: "ban".to_owned(), ..Told::default() }
    }

    #[test]
    fn values() {
        let check = |scope: &str, value: &str, expected: &str| {
            let got = Subject::of(&told(scope, value), true).map(|subject| subject.value);
            assert_eq!(got.unwrap_or_else(|refusal| refusal.to_string()), expected, "{scope} {value:?}");
        };
        check("Ip", "192.0.2.1", "192.0.2.1");
        check("ip", "192.0.2.1/32", "192.0.2.1");
        check("Ip", "::ffff:192.0.2.1", "192.0.2.1");
        check("Ip", "2001:DB8:0::1", "2001:db8::1");
        check("Ip", "192.0.2.0/24", "\"192.0.2.0/24\" is no address");
        check("Ip", "$(reboot)", "\"$(reboot)\" is no address");
        check("Range", "192.0.2.7/24", "192.0.2.0/24");
        check("Range", "192.0.2.7/32", "192.0.2.7/32");
        check("Range", "192.0.2.7/24\n", "\"192.0.2.7/24\\n\" is no network");
        check("username", "al ice; rm", "al ice; rm");
        let no_argument = "cannot be the argument of a script: it has control characters, or begins with `-`";
        check("username", "-rf", &format!("\"-rf\" {no_argument}"));
        check("username", "a\nb", &format!("\"a\\nb\" {no_argument}"));
        assert_eq!(
            Subject::of(&told("username", "a\nb"), false).map(|subject| subject.value),
            Ok("a\nb".to_owned())
        );
        check("AS", &"9".repeat(5_000), "a text of 5000 bytes is too long for a script");
    }

    #[test]
    fn one_line_whatever_the_texts() {
        let subject =
            Subject::of(&told("username", "a\nb\u{85}c\u{2028}d\u{1f980}\"\\\0"), false).expect("a subject");
        let message = Message {
            act: Act::Add,
            subject,
            id: 7,
            uuid: String::new(),
            origin: "cscli".to_owned(),
            scenario: "x\r\ny".to_owned(),
            seconds: 3_661,
        };
        let json = message.json(true);
        assert!(json.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["value"], "a\nb\u{85}c\u{2028}d\u{1f980}\"\\\0");
        assert_eq!(
            (&read["duration"], &read["action"], &read["id"]),
            (&"1h1m1s".into(), &"add".into(), &7.into())
        );
        assert_eq!(message.arguments()[..4], ["add", "a\nb\u{85}c\u{2028}d\u{1f980}\"\\\0", "3661", "x  y"]);
        assert!(!message.json(false).contains("action"));
    }
}
