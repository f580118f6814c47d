//! What stands around messages: the envelope of a syslog, or nothing.

use std::{collections::BTreeMap, sync::LazyLock};

use testudo_pattern::compile;

/// How the lines of a log are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// By a syslog daemon.
    Syslog,
    /// Not at all.
    None,
    /// Each line is an object of JSON.
    Json,
}

/// The envelopes that the parser of syslog lines takes off: with a date, a machine, a program; of RFC 5424.
const SYSLOG: [&str; 3] = [
    r"^(?:<[0-9]{1,3}>)?(?:[A-Z][a-z]{2} [ 0-3]?[0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?) \S*[^\s:] ([^\s:\[\]]+)(?:\[[0-9]+\])?: ?(.*)$",
    r"^<[0-9]{1,3}>[A-Z][a-z]{2} [ 0-3]?[0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)? ([^\s:\[\]]+)(?:\[[0-9]+\])?: ?(.*)$",
    r#"^<[0-9]{1,3}>[0-9]{1,2} \S+ \S+ (\S+) \S+ \S+ (?:-|(?:\[(?:[^"\]]|"(?:[^"\\]|\\.)*")*\])+)(?: \x{FEFF}?(.*))?$"#,
];

/// Program and message of a syslog line.
pub(super) fn syslog(line: &str) -> Option<(&str, &str)> {
    static PATTERNS: LazyLock<Vec<regex::Regex>> =
        LazyLock::new(|| SYSLOG.iter().filter_map(|pattern| compile(pattern).ok()).collect());
    PATTERNS.iter().find_map(|pattern| {
        let found = pattern.captures(line)?;
        Some((found.get(1)?.as_str(), found.get(2).map_or("", |message| message.as_str())))
    })
}

/// How most of the lines are wrapped.
pub(super) fn of_lines(lines: &[&str]) -> Envelope {
    // A look at some says it of all.
    let step = (lines.len() / 200).max(1);
    let some: Vec<&str> = lines.iter().step_by(step).copied().collect();
    let most = |count: usize| count * 2 > some.len();
    if most(some.iter().filter(|line| is_object(line)).count()) {
        return Envelope::Json;
    }
    if most(some.iter().filter(|line| syslog(line).is_some()).count()) {
        Envelope::Syslog
    } else {
        Envelope::None
    }
}

pub(super) fn is_object(line: &str) -> bool {
    line.starts_with('{') && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).is_ok()
}

/// How many lines each program wrote, the one with most first.
pub(super) fn programs(lines: &[&str]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (program, _) in lines.iter().filter_map(|line| syslog(line)) {
        *counts.entry(program).or_default() += 1;
    }
    let mut sorted: Vec<(String, usize)> = counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes() {
        for line in [
            "Nov 30 09:14:00 web-1 dropbear[1]: hello there",
            "<38>Nov  3 09:14:00 web-1 dropbear: hello there",
            "<38>Nov  3 09:14:00 dropbear: hello there",
            "2026-11-30T09:14:00.123456+01:00 web-1 dropbear[1]: hello there",
            "<86>1 2026-03-01T22:14:15.003Z web-1 dropbear 4711 - - hello there",
        ] {
            assert_eq!(syslog(line), Some(("dropbear", "hello there")), "{line}");
        }
        for line in ["[1] Nov 30 09:14:00 hello", "hello", "", "{\"a\":1}"] {
            assert_eq!(syslog(line), None, "{line}");
        }
        assert_eq!(of_lines(&["{\"a\":1}"]), Envelope::Json);
        assert_eq!(of_lines(&["{\"a\":1", "[1] x"]), Envelope::None);
    }
}
