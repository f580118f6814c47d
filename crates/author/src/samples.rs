//! Files of samples: what a rule must understand, what it must refuse, and who must be found.
//!
//! `docs/rule-tests.md` describes the format for people.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use serde::Deserialize;
use testudo_config::{ConfigError, Document, codes, decode::At, tree::Spot};
use testudo_engine::{ListBuilder, ListTable};
use testudo_event::Prefix;
use testudo_expr::host::Listing;

/// Longest log of a sample: its clock starts at midnight and shows hours, minutes and seconds.
const MAX_SECONDS: u64 = 24 * 3600;

/// Most lines of one log of a sample.
const MAX_LINES: u64 = 100_000;

/// A file of samples.
#[derive(Debug)]
pub struct Samples {
    /// The file, as it was named.
    pub path: String,
    /// Name of the rule.
    pub rule: String,
    /// Type of the lines that name none.
    pub kind: String,
    /// Lines that a parser must understand.
    pub matches: Vec<Numbered<Match>>,
    /// Lines that a parser must refuse.
    pub refuses: Vec<Numbered<Refuse>>,
    /// Lines of a parser with places for texts of attackers.
    pub hostile: Vec<Numbered<Hostile>>,
    /// Logs in which a scenario must find its source.
    pub overflows: Vec<Numbered<Log>>,
    /// Logs in which no scenario may find anything.
    pub quiet: Vec<Numbered<Log>>,
    /// Confirmed names of addresses, for postoverflows.
    pub names: BTreeMap<IpAddr, String>,
    /// Logs in which scenarios find somebody whom a postoverflow lets off.
    pub lets_off: Vec<Numbered<Log>>,
    /// Logs in which they find somebody whom it does not.
    pub blames: Vec<Numbered<Log>>,
}

/// An entry and the line of the file at which it begins, from 1.
#[derive(Debug)]
pub struct Numbered<T> {
    /// The line.
    pub line: u32,
    /// The entry.
    pub entry: T,
}

/// A line that a parser must understand, and what must come out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The line.
    pub line: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The log that it comes from, where that matters.
    pub log: Option<String>,
    /// Values of `evt.Meta`; `""` stands for absent, too.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// Values of `evt.Parsed`.
    #[serde(default)]
    pub parsed: BTreeMap<String, String>,
}

/// A line that a parser must refuse.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refuse {
    /// The line.
    pub line: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The log that it comes from, where that matters.
    pub log: Option<String>,
}

/// A line with `{truth}` for the address of the peer and places for texts of the peer's choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hostile {
    /// The line.
    pub line: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The log that it comes from, where that matters.
    pub log: Option<String>,
    /// Whether the text makes the address uncertain, so that no address may be taken from the line whatever it says.
    #[serde(default)]
    pub unread: bool,
    /// Length in bytes of a line that the service itself cuts off, envelope and all.
    pub cut: Option<usize>,
}

/// A log of a scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What it is.
    pub about: String,
    /// Type of its lines.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Who must be found, and nobody else; of a postoverflow, who took part and is let off, or is not.
    #[serde(default)]
    pub source: String,
    /// Who is listed, for rules that ask.
    #[serde(default)]
    pub listed: Vec<OnList>,
    /// Its lines.
    pub steps: Vec<Lines>,
}

/// A network on a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnList {
    /// The network.
    pub network: String,
    /// Whose list it is.
    #[serde(default = "lists")]
    pub origin: String,
}

fn lists() -> String {
    "lists".to_owned()
}

/// A line, or several that differ in `{clock}` (HH:MM:SS), `{n}` (from 0) and `{m}`, which is `{n}` modulo `among`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// The line.
    pub line: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// Seconds from one to the next.
    #[serde(default = "one")]
    pub every: u32,
    /// Of how many `{m}` is one.
    #[serde(default = "one")]
    pub among: u32,
}

fn one() -> u32 {
    1
}

impl Log {
    /// The lines, one after the other.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let mut clock = 0_u64;
        self.steps.iter().flat_map(|step| (0..step.count).map(move |n| (step, n))).map(move |(step, n)| {
            let now = format!("{:02}:{:02}:{:02}", clock / 3600, clock / 60 % 60, clock % 60);
            clock += u64::from(step.every);
            let line = step.line.replace("{clock}", &now).replace("{n}", &n.to_string());
            line.replace("{m}", &(n % step.among.max(1)).to_string())
        })
    }

    /// Who is listed.
    pub(crate) fn list(&self) -> ListTable {
        let mut builder = ListBuilder::default();
        for OnList { network, origin } in &self.listed {
            let listing = Listing { origin, scenario: "sample", kind: "ban", since: 0, until: i64::MAX };
            if let Some(network) = Prefix::parse(network) {
                builder.add(network, &listing);
            }
        }
        builder.build()
    }

    /// Why it cannot be run.
    fn fault(&self) -> Option<String> {
        if let Some(OnList { network, .. }) =
            self.listed.iter().find(|on| Prefix::parse(&on.network).is_none())
        {
            return Some(format!("`{network}` is no network; write 192.0.2.1/32"));
        }
        let sum = |of: fn(&Lines) -> u64| self.steps.iter().map(of).sum::<u64>();
        let seconds = sum(|step| u64::from(step.count) * u64::from(step.every));
        let lines = sum(|step| u64::from(step.count));
        if seconds > MAX_SECONDS {
            return Some(format!("the log takes {seconds} seconds, longer than a day"));
        }
        (lines > MAX_LINES).then(|| format!("the log has {lines} lines; {MAX_LINES} are the most"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    matches: Vec<At<Match>>,
    #[serde(default)]
    refuses: Vec<At<Refuse>>,
    #[serde(default)]
    hostile: Vec<At<Hostile>>,
    #[serde(default)]
    overflows: Vec<At<Log>>,
    #[serde(default)]
    quiet: Vec<At<Log>>,
    #[serde(default)]
    names: BTreeMap<IpAddr, String>,
    #[serde(default)]
    lets_off: Vec<At<Log>>,
    #[serde(default)]
    blames: Vec<At<Log>>,
}

impl Samples {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is not as it must be: every unknown key is told with its line.
    pub fn read(path: &Path) -> Result<Samples, ConfigError> {
        // Logs are full of dollar signs: the environment has no say here.
        Samples::of(Document::alone(path, &|_| None)?, path.display().to_string())
    }

    /// Reads a text; `name` stands for the path.
    ///
    /// # Errors
    /// As those of [`Samples::read`].
    pub fn parse(name: &str, text: &str) -> Result<Samples, ConfigError> {
        Samples::of(Document::from_text(name, text)?, name.to_owned())
    }

    fn of(document: Document, path: String) -> Result<Samples, ConfigError> {
        let file: File = document.decode()?;
        let spot = &document.root.spot;
        let faulty: Vec<_> = file
            .overflows
            .iter()
            .chain(&file.quiet)
            .chain(&file.lets_off)
            .chain(&file.blames)
            .filter_map(|log| Some((log, log.value.fault()?)))
            .map(|(log, fault)| spot.with_span(log.span.clone()).complain(codes::VALUE, fault, None))
            .collect();
        if !faulty.is_empty() {
            return Err(faulty.into());
        }
        Ok(Samples {
            path,
            rule: file.rule,
            kind: file.kind,
            matches: numbered(spot, file.matches),
            refuses: numbered(spot, file.refuses),
            hostile: numbered(spot, file.hostile),
            overflows: numbered(spot, file.overflows),
            quiet: numbered(spot, file.quiet),
            names: file.names,
            lets_off: numbered(spot, file.lets_off),
            blames: numbered(spot, file.blames),
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let logs = [&self.overflows, &self.quiet, &self.lets_off, &self.blames];
        self.matches.len()
            + self.refuses.len()
            + self.hostile.len()
            + logs.map(Vec::len).iter().sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn numbered<T>(spot: &Spot, entries: Vec<At<T>>) -> Vec<Numbered<T>> {
    entries
        .into_iter()
        .map(|at| Numbered { line: spot.with_span(at.span).place().line, entry: at.value })
        .collect()
}

#[cfg(test)]
mod tests {
    use testudo_config::decode::keys_of;
    use testudo_rules::keys::{self, Keys};

    use super::*;

    /// What editors are told is what is read.
    #[test]
    fn the_table_of_keys_is_that_of_the_types() {
        let check = |table: &Keys, read: &[&str]| {
            let (mut told, mut read) = (table.names(), read.to_vec());
            told.sort_unstable();
            read.sort_unstable();
            assert_eq!(told, read, "{}", table.what);
        };
        check(&keys::SAMPLES, keys_of::<File>());
        check(&keys::MATCH, keys_of::<Match>());
        check(&keys::REFUSE, keys_of::<Refuse>());
        check(&keys::HOSTILE, keys_of::<Hostile>());
        check(&keys::LOG, keys_of::<Log>());
        check(&keys::ON_LIST, keys_of::<OnList>());
        check(&keys::STEP, keys_of::<Lines>());
    }

    #[test]
    fn entries_know_their_lines() {
        let text = "rule: me/x\ntype: x\nmatches:\n  - line: a $b ${c}\n    meta: {log_type: '1'}\nquiet:\n  - about: q\n    steps: [{line: '{clock} {n}', count: 2, every: 61}]\n";
        let samples = Samples::parse("s.yaml", text).expect("it is read");
        assert_eq!((samples.matches[0].line, samples.quiet[0].line, samples.len()), (4, 7, 2));
        assert_eq!(samples.matches[0].entry.line, "a $b ${c}");
        let lines: Vec<String> = samples.quiet[0].entry.lines().collect();
        assert_eq!(lines, ["00:00:00 0", "00:01:01 1"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            (
                "rule: me/x\ntype: x\nmatches:\n  - line: a\n    metta: {a: b}\n",
                "s.yaml:5:5: unknown key `metta` (did you mean `meta`?)",
            ),
            ("rule: me/x\n", "missing `type`"),
            (
                "rule: me/x\ntype: x\nquiet:\n  - about: q\n    steps: [{line: a, count: 4000, every: 60}]\n",
                "s.yaml:4:5: the log takes 240000 seconds, longer than a day",
            ),
        ];
        for (text, expected) in cases {
            let error = Samples::parse("s.yaml", text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
