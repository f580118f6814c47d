//! What somebody expects of a backtest, in a file.

use std::{net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use testudo_config::{ConfigError, Document, codes, decode::At};
use testudo_event::Prefix;

use super::Findings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    min_hits: Option<At<u64>>,
    min_overflows: Option<At<u64>>,
    max_overflows: Option<At<u64>>,
    max_suspected: Option<At<u64>>,
    max_banned: Option<At<u64>>,
    #[serde(default)]
    banned: Vec<At<String>>,
    #[serde(default)]
    not_banned: Vec<At<String>>,
}

/// What is expected.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// The file.
    pub path: String,
    bounds: Vec<Bound>,
    banned: Vec<(u32, Prefix)>,
    not_banned: Vec<(u32, Prefix)>,
}

/// A number that is expected.
#[derive(Clone, Debug)]
struct Bound {
    line: u32,
    name: &'static str,
    what: Counted,
    least: bool,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    Hits,
    Overflows,
    Suspected,
    Banned,
}

impl Counted {
    fn of(self, findings: &Findings) -> u64 {
        match self {
            Counted::Hits => findings.hits.max(findings.poured),
            Counted::Overflows => findings.overflows.values().sum(),
            Counted::Suspected => findings.suspected as u64,
            Counted::Banned => findings.banned.len() as u64,
        }
    }
}

/// Whether an expectation is met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is expected.
    pub name: String,
    /// Its line in the file.
    pub line: u32,
    /// What is the case instead; `None` where it is met.
    pub failure: Option<String>,
}

impl Expectations {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not as it must be.
    pub fn read(path: &Path) -> Result<Expectations, ConfigError> {
        Expectations::of(&Document::alone(path, &|_| None)?, path.display().to_string())
    }

    /// Reads a text; `name` stands for the path.
    ///
    /// # Errors
    /// As those of [`Expectations::read`].
    pub fn parse(name: &str, text: &str) -> Result<Expectations, ConfigError> {
        Expectations::of(&Document::from_text(name, text)?, name.to_owned())
    }

    fn of(document: &Document, path: String) -> Result<Expectations, ConfigError> {
        let file: File = document.decode()?;
        let spot = |span: &std::ops::Range<usize>| document.root.spot.with_span(span.clone());
        let mut wrong = Vec::new();
        let mut prefixes = |values: &[At<String>]| {
            let mut read = Vec::new();
            for At { value, span } in values {
                match prefix(value) {
                    Some(prefix) => read.push((spot(span).place().line, prefix)),
                    None => wrong.push(spot(span).complain(
                        codes::VALUE,
                        format!("`{value}` is no address and no network"),
                        Some("write 203.0.113.7 or 203.0.113.0/24".to_owned()),
                    )),
                }
            }
            read
        };
        let (banned, not_banned) = (prefixes(&file.banned), prefixes(&file.not_banned));
        if !wrong.is_empty() {
            return Err(wrong.into());
        }
        let bounds = [
            ("min_hits", Counted::Hits, true, &file.min_hits),
            ("min_overflows", Counted::Overflows, true, &file.min_overflows),
            ("max_overflows", Counted::Overflows, false, &file.max_overflows),
            ("max_suspected", Counted::Suspected, false, &file.max_suspected),
            ("max_banned", Counted::Banned, false, &file.max_banned),
        ];
        let bounds = bounds
            .into_iter()
            .filter_map(|(name, what, least, at)| {
                let At { value, span } = at.as_ref()?;
                Some(Bound { line: spot(span).place().line, name, what, least, number: *value })
            })
            .collect();
        Ok(Expectations { path, bounds, banned, not_banned })
    }

    /// Compares.
    pub fn check(&self, findings: &Findings) -> Vec<Check> {
        let mut checks = Vec::new();
        for Bound { line, name, what, least, number } in &self.bounds {
            let there = what.of(findings);
            let met = if *least { there >= *number } else { there <= *number };
            let failure = (!met).then(|| format!("{there} are there"));
            checks.push(Check { name: format!("{name}: {number}"), line: *line, failure });
        }
        let bans: Vec<Prefix> = findings.banned.iter().filter_map(|ban| prefix(&ban.value)).collect();
        for (line, wanted) in &self.banned {
            let met = bans.iter().any(|ban| ban.bits() <= wanted.bits() && ban.contains(wanted.addr()));
            let failure = (!met).then(|| "it would not be banned".to_owned());
            checks.push(Check { name: format!("banned: {wanted}"), line: *line, failure });
        }
        for (line, spared) in &self.not_banned {
            let hit = bans.iter().find(|ban| ban.contains(spared.addr()) || spared.contains(ban.addr()));
            let failure = hit.map(|ban| format!("{ban} would be banned"));
            checks.push(Check { name: format!("not_banned: {spared}"), line: *line, failure });
        }
        checks
    }
}

/// A network, or an address as one.
pub(super) fn prefix(text: &str) -> Option<Prefix> {
    Prefix::parse(text).or_else(|| text.parse::<IpAddr>().ok().map(Prefix::single))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What editors are told is what is read.
    #[test]
    fn the_table_of_keys_is_that_of_the_type() {
        let mut told = testudo_rules::keys::EXPECTATIONS.names();
        let mut read = testudo_config::decode::keys_of::<File>().to_vec();
        told.sort_unstable();
        read.sort_unstable();
        assert_eq!(told, read);
    }
}
