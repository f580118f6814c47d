//! The way of one line: what each node did, and for patterns that failed how far they came and what would help.

use std::fmt::Write as _;

use serde::Serialize;
use testudo_author::suggest::{Catalogue, Change};
use testudo_engine::{
    Dump, Engine, Keys, Line, LineOutcome, Node, Observer, Record, Replay, Sink, Source, Step,
};
use testudo_event::{Overflow, Timestamp};
use testudo_pattern::Furthest;

use crate::table::{cut, printable};

/// Characters of a value that are shown.
const VALUE_WIDTH: usize = 100;

/// Characters of a text before and behind the place where a pattern fails.
const BEFORE: usize = 70;
const BEHIND: usize = 40;

/// Patterns for which a change is looked for, those that came furthest first.
const CHANGES_TRIED: usize = 4;

/// What became of a line, and how.
#[derive(Debug, Serialize)]
pub(super) struct Way {
    pub(super) line: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) whitelist_reason: String,
    pub(super) nodes: Vec<Visit>,
    pub(super) scenarios: Vec<String>,
    pub(super) overflows: Vec<String>,
    /// Of a line that is not parsed, the pattern that came furthest, among those of nodes whose filter let it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) furthest: Option<Failed>,
    /// And a pattern of any other node that comes nearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nearest: Option<Nearest>,
    /// What is amiss with the line as such.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// A pattern that a text follows further than others.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Nearest {
    rule: String,
    pattern: String,
    /// Up to which byte.
    reached: usize,
    matches: bool,
}

/// A node that was visited.
#[derive(Debug, Default, Serialize)]
pub(super) struct Visit {
    stage: String,
    name: String,
    depth: usize,
    ok: bool,
    /// Its filter did not hold.
    filtered: bool,
    whitelisted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
    changes: Vec<String>,
}

/// A pattern that failed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failed {
    /// The node.
    pub(super) node: String,
    /// The pattern as it is written.
    pub(super) pattern: String,
    /// What it was applied on.
    input: String,
    /// Up to which byte the input follows it.
    reached: usize,
    /// The piece of it that comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<String>,
    /// What would make it match, in words, and the pattern with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<String>,
}

/// Remembers the way of one line.
#[derive(Default)]
struct Trace {
    visits: Vec<Visit>,
    open: Vec<usize>,
    last: Dump,
    scenarios: Vec<String>,
}

impl Observer for Trace {
    const ACTIVE: bool = true;

    fn enter(&mut self, stage: &str, node: &Node, depth: usize) {
        self.open.push(self.visits.len());
        let name = if depth == 0 { node.label.to_string() } else { node.label.within_rule() };
        let visit = Visit { stage: stage.to_owned(), name, depth, ..Visit::default() };
        self.visits.push(visit);
    }

    fn step(&mut self, node: &Node, step: Step, text: Option<&str>) {
        let Some(visit) = self.open.last().and_then(|at| self.visits.get_mut(*at)) else { return };
        match step {
            Step::Filtered => visit.filtered = true,
            Step::Whitelisted => visit.whitelisted = true,
            Step::NoMatch => {
                if let (Some((pattern, grok)), Some(text)) = (node.pattern(), text) {
                    let (reached, wanted) = from_word(pattern, text, grok.furthest(text));
                    visit.failed = Some(Failed {
                        node: node.label.to_string(),
                        pattern: pattern.to_owned(),
                        input: text.to_owned(),
                        reached,
                        wanted,
                        change: None,
                        changed: None,
                    });
                }
            }
            Step::NoSource | Step::Matched => {}
        }
    }

    fn leave(&mut self, _: &str, _: &Node, _: usize, ok: bool, record: &Record, keys: &Keys) {
        let Some(visit) = self.open.pop().and_then(|at| self.visits.get_mut(at)) else { return };
        visit.ok = ok;
        if ok {
            let now = record.dump(keys);
            visit.changes = changes(&self.last, &now);
            self.last = now;
        }
    }

    fn poured(&mut self, scenario: &str) {
        self.scenarios.push(scenario.to_owned());
    }
}

/// How far a text follows a pattern, and what comes next in that; not from the middle of a word on.
fn from_word(pattern: &str, text: &str, furthest: Furthest) -> (usize, Option<String>) {
    let Furthest { end, failed: Some(wanted), piece: Some(piece) } = furthest else {
        return (furthest.end, furthest.failed);
    };
    let (Some(before), Some(done)) = (pattern.get(..piece), text.get(..end)) else {
        return (end, Some(wanted));
    };
    let mut same = 0;
    if wanted.starts_with(char::is_alphanumeric) {
        let pairs = before.chars().rev().zip(done.chars().rev());
        same = pairs.take_while(|(a, b)| a == b && a.is_alphanumeric()).map(|(c, _)| c.len_utf8()).sum();
    }
    let (above, word) = before.split_at(before.len() - same);
    // What stands behind it is a class, such as `\d`, and no letter.
    if above.ends_with('\\') {
        return (end, Some(wanted));
    }
    (end - same, Some(format!("{word}{wanted}")))
}

/// What became of the line.
#[derive(Default)]
struct End {
    outcome: Option<LineOutcome>,
    overflows: Vec<String>,
}

impl Sink for End {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.outcome = Some(outcome);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.overflows.push(overflow.alert.message.clone());
    }
}

/// The differences of two states of an event, one a line.
fn changes(before: &Dump, after: &Dump) -> Vec<String> {
    let mut lines = Vec::new();
    let maps = [
        ("Parsed", &before.parsed, &after.parsed),
        ("Meta", &before.meta, &after.meta),
        ("Enriched", &before.enriched, &after.enriched),
    ];
    for (name, before, after) in maps {
        for (key, value) in after {
            match before.get(key) {
                None => lines.push(format!("+ {name}.{key} = {}", cut(value, VALUE_WIDTH))),
                Some(old) if old != value => {
                    lines.push(format!(
                        "~ {name}.{key} = {}  (was {})",
                        cut(value, VALUE_WIDTH),
                        cut(old, 30)
                    ));
                }
                Some(_) => {}
            }
        }
    }
    for (key, value) in &after.unmarshaled {
        if before.unmarshaled.get(key) != Some(value) {
            lines.push(format!("+ Unmarshaled.{key} = {}", cut(&value.0.to_string(), VALUE_WIDTH)));
        }
    }
    for (name, value) in &after.fields {
        let old = before.fields.get(name).map_or("", String::as_str);
        if !name.starts_with("Line.") && old != value {
            lines.push(format!("~ {name} = {}", cut(value, VALUE_WIDTH)));
        }
    }
    lines
}

/// Follows a line, alone.
pub(super) fn of_line(
    engine: &Engine,
    catalogue: &Catalogue,
    source: &[Source],
    now: Timestamp,
    number: u64,
    line: &str,
) -> Way {
    let mut replay = Replay::new(engine, source, now);
    follow(&mut replay, catalogue, source, number, line)
}

/// Follows a line behind those that the run has seen.
pub(super) fn follow(
    replay: &mut Replay<'_>,
    catalogue: &Catalogue,
    source: &[Source],
    number: u64,
    line: &str,
) -> Way {
    let (mut trace, mut end) = (Trace::default(), End::default());
    replay.line(0, number, line, &mut trace, &mut end);
    let kind = source.first().and_then(|source| source.labels.get("type").cloned()).unwrap_or_default();
    let mut way = Way {
        line: line.to_owned(),
        kind,
        outcome: name(end.outcome),
        whitelist_reason: trace.last.whitelist_reason.clone(),
        nodes: trace.visits,
        scenarios: trace.scenarios,
        overflows: end.overflows,
        furthest: None,
        nearest: None,
        hint: None,
    };
    if !matches!(end.outcome, Some(LineOutcome::Parsed | LineOutcome::Whitelisted)) {
        way.look_for_help(catalogue, trace.last.parsed.get("message").map(String::as_str));
    }
    way
}

/// An outcome as programs read it.
pub(super) fn name(outcome: Option<LineOutcome>) -> &'static str {
    match outcome {
        Some(LineOutcome::Parsed) => "parsed",
        Some(LineOutcome::Whitelisted) => "whitelisted",
        Some(LineOutcome::Dropped) => "dropped",
        Some(LineOutcome::Outside) => "outside",
        Some(LineOutcome::Unparsed) | None => "unparsed",
    }
}

impl Way {
    pub(super) fn is_parsed(&self) -> bool {
        matches!(self.outcome, "parsed" | "whitelisted")
    }

    /// Finds the pattern that came furthest, a change that would help, and another pattern that comes nearer.
    fn look_for_help(&mut self, catalogue: &Catalogue, message: Option<&str>) {
        // Envelopes fail by the way; what counts is the stage to which the line came.
        let last_stage =
            self.nodes.iter().rev().find(|visit| visit.failed.is_some()).map(|visit| &visit.stage);
        let of_stage = |visit: &&Visit| Some(&visit.stage) == last_stage;
        let mut candidates: Vec<&Failed> =
            self.nodes.iter().filter(of_stage).filter_map(|visit| visit.failed.as_ref()).collect();
        candidates.sort_by_cached_key(|failed| {
            std::cmp::Reverse((failed.reached, catalogue.likeness(&failed.pattern, &failed.input)))
        });
        let mut best = candidates.first().map(|failed| (*failed).clone());
        if self.kind == "syslog" && last_stage == self.nodes.first().map(|visit| &visit.stage) {
            // A change of what takes off envelopes would be none that an author wants.
            self.hint = Some("it is no line of a syslog: name the type of its log with `--type NAME`");
            candidates.clear();
        }
        for failed in candidates.into_iter().take(CHANGES_TRIED) {
            let Some(reach) = catalogue.reach(&failed.pattern, &failed.input) else { continue };
            if let Some(Change { what, pattern, .. }) = reach.change {
                let (change, changed) = (Some(what), Some(pattern));
                best = Some(Failed { reached: reach.end, change, changed, ..failed.clone() });
                break;
            }
        }
        self.furthest = best;
        let (key, text, except) = match (&self.furthest, message) {
            (Some(failed), _) => (
                catalogue.key_of(&failed.pattern).unwrap_or(Some("message")),
                failed.input.as_str(),
                failed.pattern.as_str(),
            ),
            (None, Some(message)) => (Some("message"), message, ""),
            (None, None) => (None, self.line.as_str(), ""),
        };
        // A pattern for which a change is known is near enough.
        let reached = self.furthest.as_ref().map_or(0, |failed| match failed.change {
            Some(_) => usize::MAX,
            None => failed.reached,
        });
        self.nearest = catalogue
            .nearest(key, text, except)
            .filter(|near| near.matches || near.end > reached)
            .map(|near| Nearest {
                rule: near.rule,
                pattern: near.pattern,
                reached: near.end,
                matches: near.matches,
            });
    }

    /// For people, in so many columns.
    pub(super) fn render(&self, all_nodes: bool, columns: usize) -> String {
        let mut text = format!("line: {}\ntype: {}\n", cut(&self.line, 400), self.kind);
        let mut stage = "";
        for visit in &self.nodes {
            if visit.filtered && !all_nodes {
                continue;
            }
            if visit.stage != stage {
                stage = &visit.stage;
                let _ = writeln!(text, "├ {stage}");
            }
            render_visit(&mut text, visit, columns);
        }
        let verdict = match self.outcome {
            "parsed" => "parsed".to_owned(),
            "whitelisted" => format!("parsed, and whitelisted: {}", printable(&self.whitelist_reason)),
            "dropped" => "dropped: an assignment gave something that is no text".to_owned(),
            "outside" => "outside of the time window".to_owned(),
            _ => "not parsed: no node took it to the last stage".to_owned(),
        };
        let _ = writeln!(text, "├ {verdict}");
        if self.outcome == "parsed" {
            if self.scenarios.is_empty() {
                text.push_str("└ no scenario wants it\n");
            } else {
                text.push_str("└ poured into\n");
                for scenario in &self.scenarios {
                    let _ = writeln!(text, "    {scenario}");
                }
            }
        }
        for message in &self.overflows {
            let _ = writeln!(text, "    overflow: {}", printable(message));
        }
        self.render_help(&mut text, "", columns);
        text.push('\n');
        text
    }

    /// The pattern that came furthest, what would help, and what comes nearer.
    pub(super) fn render_help(&self, text: &mut String, indent: &str, columns: usize) {
        if let Some(hint) = self.hint {
            let _ = writeln!(text, "{indent}└ {hint}");
            return;
        }
        if let Some(failed) = &self.furthest {
            let _ = writeln!(text, "{indent}└ furthest came a pattern of {}", failed.node);
            let _ = writeln!(text, "{indent}    {}", printable(&failed.pattern));
            render_place(text, failed, &format!("{indent}    "), columns);
            if let (Some(change), Some(changed)) = (&failed.change, &failed.changed) {
                let _ = writeln!(text, "{indent}    change: {}", printable(change));
                let _ = writeln!(text, "{indent}    then it matches: {}", printable(changed));
            }
        }
        if let Some(near) = &self.nearest {
            let _ = if near.matches {
                writeln!(text, "{indent}└ a pattern of {} would match, if it were asked", near.rule)
            } else {
                writeln!(text, "{indent}└ it follows a pattern of {} to byte {}", near.rule, near.reached)
            };
            let _ = writeln!(text, "{indent}    {}", printable(&near.pattern));
        }
    }
}

fn render_visit(text: &mut String, visit: &Visit, columns: usize) {
    let indent = "  ".repeat(visit.depth);
    let mark = if visit.ok { "✓" } else { "✗" };
    let note = match visit {
        Visit { filtered: true, .. } => "  (filter is false)",
        Visit { whitelisted: true, .. } => "  (whitelisted)",
        _ => "",
    };
    let _ = writeln!(text, "│   {indent}{mark} {}{note}", visit.name);
    for change in &visit.changes {
        let _ = writeln!(text, "│   {indent}    {change}");
    }
    if let Some(failed) = &visit.failed {
        render_place(text, failed, &format!("│   {indent}    "), columns);
    }
}

/// The text with a mark below the place up to which it follows the pattern.
fn render_place(text: &mut String, failed: &Failed, indent: &str, columns: usize) {
    // The mark must stand below its place: no line may be longer than the terminal is wide.
    let room = columns.saturating_sub(indent.chars().count() + 1);
    let (before, behind) = (BEFORE.min((room * 2 / 3).saturating_sub(2)), BEHIND.min(room / 3));
    let reached = failed.input.floor_char_boundary(failed.reached);
    let (done, rest) = failed.input.split_at(reached);
    let from = done.char_indices().rev().nth(before).map_or(0, |(at, _)| at);
    let dots = if from > 0 { "…" } else { "" };
    let shown = format!("{dots}{}", printable(&done[from..]));
    let _ = writeln!(text, "{indent}{shown}{}", cut(rest, behind));
    let wanted = match &failed.wanted {
        Some(piece) if piece == "$" => "then it should end".to_owned(),
        Some(piece) => format!("then it wants {}", cut(piece, VALUE_WIDTH)),
        None => "and that is all of it".to_owned(),
    };
    let note = format!("followed to byte {reached}, {wanted}");
    let (at, length) = (shown.chars().count(), note.chars().count());
    // Behind the mark, before it, or below.
    let _ = if at + 2 + length <= room {
        writeln!(text, "{indent}{}▲ {note}", " ".repeat(at))
    } else if length < at {
        writeln!(text, "{indent}{note:>0$} ▲", at - 1)
    } else {
        writeln!(text, "{indent}{}▲\n{indent}{note}", " ".repeat(at))
    };
}

#[cfg(test)]
mod tests {
    use testudo_pattern::{Grok, Library};

    use super::*;

    /// However wide the terminal is.
    #[test]
    fn the_mark_stands_below_its_place() {
        let input = "0123456789".repeat(20);
        for columns in 40..150 {
            for reached in 0..200 {
                let failed = Failed {
                    node: "x".into(),
                    pattern: "x".into(),
                    input: input.clone(),
                    reached,
                    wanted: Some("y".into()),
                    change: None,
                    changed: None,
                };
                let mut text = String::new();
                render_place(&mut text, &failed, "│   ", columns);
                let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
                assert!(lines[..2].iter().all(|line| line.len() <= columns), "{columns}: {text}");
                let at = lines[1].iter().position(|c| *c == '▲').expect("a mark");
                let shown = lines[0].get(at).and_then(|c| c.to_digit(10));
                assert_eq!(shown, Some(reached as u32 % 10), "{columns}: {text}");
            }
        }
    }

    #[test]
    fn what_is_wanted_begins_with_a_word() {
        let check = |pattern: &str, text: &str, expected: (usize, &str)| {
            let expanded = Library::standard().expand(pattern).expect(pattern);
            let grok = Grok::new(&expanded, &|_| false).expect(pattern);
            let (reached, wanted) = from_word(pattern, text, grok.furthest(text));
            assert_eq!((reached, wanted.as_deref().unwrap_or_default()), expected, "{pattern} {text}");
        };
        check("^sign-in rejected for %{WORD:x}$", "sign-in refused for x", (8, "rejected for "));
        check("^user %{WORD:x} in$", "user x is", (7, "in$"));
        check(r"^a\dbc$", "a1xc", (2, "bc$"));
        check(r"^\wx$", "wz", (1, "x$"));
        check("^%{WORD:x} a$", "-", (0, "%{WORD:x}"));
    }
}
