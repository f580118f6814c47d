//! Many lines, grouped by what became of them.

use std::{collections::HashMap, fmt::Write as _};

use serde::Serialize;
use testudo_author::{mine, suggest::Catalogue};
use testudo_engine::{Engine, Keys, Line, LineOutcome, Node, Observer, Record, Replay, Sink, Source, Space};
use testudo_event::{Overflow, Timestamp};

use super::way::{self, Way};
use crate::table::{Align, Table, cut, grouped, printable};

/// Groups that are told apart; further ones are counted together.
const MAX_GROUPS: usize = 500;

/// Characters of a line that are kept as an example.
const EXAMPLE_CHARS: usize = 2000;

/// Groups of lines that are not parsed for which help is looked for.
const EXPLAINED: usize = 10;

/// Characters of an example that are shown.
const SHOWN: usize = 150;

/// What the lines of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Key {
    outcome: &'static str,
    /// The top nodes that took the line on.
    nodes: Vec<String>,
    /// Those that are neither of the first stage, which takes off envelopes, nor of the last, which adds to events.
    #[serde(skip)]
    by: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    log_type: String,
    /// Scenarios that got the event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scenarios: Vec<String>,
    /// Of lines that are not parsed, what they look like.
    #[serde(skip_serializing_if = "String::is_empty")]
    form: String,
}

/// A group.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    #[serde(flatten)]
    key: Key,
    count: u64,
    /// Part of all lines, in percent.
    share: f64,
    /// Number of its first line.
    first_line: u64,
    example: String,
    /// The way of the first line, where it is not parsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<Way>,
}

/// All groups, those of most lines first.
#[derive(Debug, Serialize)]
pub(super) struct Groups {
    schema: u32,
    file: String,
    #[serde(rename = "type")]
    kind: String,
    lines: u64,
    /// Lines that are not parsed.
    pub(super) unparsed: u64,
    #[serde(rename = "groups")]
    found: Vec<Group>,
    /// Lines in groups beyond those that are told apart.
    beyond: u64,
}

/// Collects groups.
pub(super) struct Collector<'e> {
    engine: &'e Engine,
    sources: &'e [Source],
    replay: Replay<'e>,
    now: Timestamp,
    /// The first and the last stage.
    ends: (&'e str, &'e str),
    found: Vec<Group>,
    numbers: HashMap<Key, usize>,
    lines: u64,
    unparsed: u64,
    beyond: u64,
}

/// What is noted of one line.
#[derive(Default)]
struct Note<'e> {
    ends: (&'e str, &'e str),
    nodes: Vec<String>,
    by: Vec<String>,
    scenarios: Vec<String>,
    log_type: String,
    /// The line is through; what follows are overflows.
    is_done: bool,
    outcome: Option<LineOutcome>,
}

impl Observer for Note<'_> {
    fn leave(&mut self, stage: &str, node: &Node, depth: usize, ok: bool, _: &Record, _: &Keys) {
        if depth == 0 && ok && !self.is_done {
            self.nodes.push(node.label.to_string());
            if stage != self.ends.0 && stage != self.ends.1 {
                self.by.push(node.label.to_string());
            }
        }
    }

    fn poured(&mut self, scenario: &str) {
        if !self.scenarios.iter().any(|known| known == scenario) {
            self.scenarios.push(scenario.to_owned());
        }
    }

    fn done(&mut self, record: &Record, keys: &Keys) {
        self.is_done = true;
        record.key(keys, Space::Meta, "log_type").unwrap_or_default().clone_into(&mut self.log_type);
    }
}

/// Takes the outcome.
#[derive(Default)]
struct Outcome(Option<LineOutcome>);

impl Sink for Outcome {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.0 = Some(outcome);
    }

    fn overflow(&mut self, _: &Overflow, _: Line<'_>) {}
}

impl<'e> Collector<'e> {
    /// A run; `ends` are the first and the last stage.
    pub(super) fn new(
        engine: &'e Engine,
        ends: (&'e str, &'e str),
        sources: &'e [Source],
        now: Timestamp,
    ) -> Collector<'e> {
        Collector {
            ends,
            engine,
            sources,
            replay: Replay::new(engine, sources, now),
            now,
            found: Vec::new(),
            numbers: HashMap::new(),
            lines: 0,
            unparsed: 0,
            beyond: 0,
        }
    }

    /// Takes a line.
    pub(super) fn line(&mut self, number: u64, line: &str) {
        let (mut note, mut end) = (Note { ends: self.ends, ..Note::default() }, Outcome::default());
        self.replay.line(0, number, line, &mut note, &mut end);
        note.outcome = end.0;
        self.lines += 1;
        let outcome = way::name(note.outcome);
        let is_unparsed = !matches!(outcome, "parsed" | "whitelisted");
        self.unparsed += u64::from(is_unparsed);
        let form = if is_unparsed { cut(&mine::sketch(line), SHOWN) } else { String::new() };
        let key = Key {
            outcome,
            nodes: note.nodes,
            by: note.by,
            log_type: note.log_type,
            scenarios: note.scenarios,
            form,
        };
        if let Some(&at) = self.numbers.get(&key) {
            self.found[at].count += 1;
        } else if self.found.len() < MAX_GROUPS {
            self.numbers.insert(key.clone(), self.found.len());
            let example = line.chars().take(EXAMPLE_CHARS).collect();
            self.found.push(Group { key, count: 1, share: 0.0, first_line: number, example, way: None });
        } else {
            self.beyond += 1;
        }
    }

    /// The groups, with help for lines that are not parsed.
    pub(super) fn finish(mut self, file: &str, catalogue: &Catalogue) -> Groups {
        self.found.sort_by_key(|group| (std::cmp::Reverse(group.count), group.first_line));
        let lines = self.lines.max(1) as f64;
        let mut explained = 0;
        for group in &mut self.found {
            group.share = (group.count as f64 * 1000.0 / lines).round() / 10.0;
            if !matches!(group.key.outcome, "parsed" | "whitelisted") && explained < EXPLAINED {
                explained += 1;
                let line = &group.example;
                group.way = Some(way::of_line(
                    self.engine,
                    catalogue,
                    self.sources,
                    self.now,
                    group.first_line,
                    line,
                ));
            }
        }
        let kind = self.sources.first().and_then(|source| source.labels.get("type").cloned());
        Groups {
            schema: 1,
            file: file.to_owned(),
            kind: kind.unwrap_or_default(),
            lines: self.lines,
            unparsed: self.unparsed,
            found: self.found,
            beyond: self.beyond,
        }
    }
}

impl Groups {
    /// For people, in so many columns.
    pub(super) fn render(&self, failures_only: bool, columns: usize) -> String {
        let mut text = format!("{}: {} lines of type {}\n\n", self.file, grouped(self.lines), self.kind);
        let is_shown =
            |group: &&Group| !failures_only || !matches!(group.key.outcome, "parsed" | "whitelisted");
        let shown = || self.found.iter().filter(is_shown);
        let mut table = Table::new(&[
            ("LINES", Align::Right),
            ("SHARE", Align::Right),
            ("OUTCOME", Align::Left),
            ("BY", Align::Left),
            ("LOG TYPE", Align::Left),
            ("FIRST", Align::Right),
        ]);
        for group in shown() {
            let Key { outcome, nodes, by, log_type, .. } = &group.key;
            table.row(vec![
                grouped(group.count),
                format!("{:.1} %", group.share),
                (*outcome).to_owned(),
                if by.is_empty() { nodes } else { by }.join(" → "),
                log_type.clone(),
                group.first_line.to_string(),
            ]);
        }
        text.push_str(&table.render());
        if self.beyond > 0 {
            let _ = writeln!(text, "\nand {} lines in more groups than are told apart", grouped(self.beyond));
        }
        for group in shown() {
            let Key { outcome, scenarios, form, .. } = &group.key;
            let _ = write!(text, "\n{} × {outcome}", grouped(group.count));
            if !form.is_empty() {
                let _ = write!(text, ": {}", printable(form));
            }
            let head = format!("  line {}: ", group.first_line);
            let shown = SHOWN.min(columns.saturating_sub(head.len()));
            let _ = writeln!(text, "\n{head}{}", cut(&group.example, shown));
            if *outcome == "parsed" {
                let into = if scenarios.is_empty() { "no scenario".to_owned() } else { scenarios.join(", ") };
                let _ = writeln!(text, "  poured into {into}");
            }
            if let Some(way) = &group.way {
                way.render_help(&mut text, "  ", columns);
            }
        }
        text
    }
}
