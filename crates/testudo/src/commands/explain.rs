//! `testudo explain`: the way of a line through every stage and node, what each changed, which
//! scenarios it reached, and for a pattern that failed the furthest point it came to.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use testudo_engine::{
    Dump, Keys, Line, LineOutcome, Node, Observer, Options, Record, Replay, Sink, Source, Step,
};
use testudo_event::{Overflow, YearClock};

use super::replay::present;
use crate::{
    args::ExplainArgs,
    failure::{self, Failure},
    replay::{guess, input},
    rules,
    table::{cut, printable},
};

/// Lines of a file that are explained.
const MAX_LINES: usize = 100;

/// Characters of a value that are shown.
const VALUE_WIDTH: usize = 100;

pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let now = args.now.unwrap_or_else(present);
    let options = Options { capture_all: true, ..Options::new(YearClock::NotAfter(now)) };
    let engine = rules::engine(&args.rules, options)?;
    let path = Path::new(&args.input);
    let lines = if path == Path::new("-") || path.is_file() {
        input::first_lines(path, MAX_LINES + 1)
    } else {
        vec![args.input.clone()]
    };
    if lines.is_empty() {
        return Err(Failure::new(format!("there is no line in {}", args.input)));
    }
    let kind = match &args.kind {
        Some(kind) => kind.clone(),
        None => guess::guess(&engine, path, &lines).unwrap_or_else(|| "syslog".to_owned()),
    };
    let labels = BTreeMap::from([("type".to_owned(), kind.clone())]);
    let sources = [Source { name: "explain".to_owned(), module: "file".to_owned(), labels }];
    let mut replay = Replay::new(&engine, &sources, now);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut all_parsed = true;
    for (number, line) in (1..).zip(lines.iter().take(MAX_LINES)) {
        let mut trace = Trace::default();
        let mut end = End::default();
        replay.line(0, number, line, &mut trace, &mut end);
        let parsed = matches!(end.outcome, Some(LineOutcome::Parsed | LineOutcome::Whitelisted));
        all_parsed &= parsed;
        if args.failures && parsed {
            continue;
        }
        let text = render(line, &kind, &trace, &end, args.all_nodes);
        out.write_all(text.as_bytes()).map_err(|error| failure::output(&error))?;
    }
    if lines.len() > MAX_LINES {
        writeln!(out, "Only the first {MAX_LINES} lines are explained.")
            .map_err(|error| failure::output(&error))?;
    }
    out.flush().map_err(|error| failure::output(&error))?;
    Ok(if all_parsed { ExitCode::SUCCESS } else { ExitCode::from(failure::FINDINGS) })
}

/// A node that was visited.
#[derive(Default)]
struct Visit {
    stage: String,
    name: String,
    depth: usize,
    ok: bool,
    filtered: bool,
    whitelisted: bool,
    /// The pattern's text, its input, and how far it came.
    failed: Option<FailedPattern>,
    changes: Vec<String>,
}

struct FailedPattern {
    input: String,
    reached: usize,
    piece: Option<String>,
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
        let visit = Visit { stage: stage.to_owned(), name: node.name.to_string(), depth, ..Visit::default() };
        self.visits.push(visit);
    }

    fn step(&mut self, node: &Node, step: Step, text: Option<&str>) {
        let Some(visit) = self.open.last().and_then(|at| self.visits.get_mut(*at)) else { return };
        match step {
            Step::Filtered => visit.filtered = true,
            Step::Whitelisted => visit.whitelisted = true,
            Step::NoMatch => {
                if let (Some((_, grok)), Some(text)) = (node.pattern(), text) {
                    let furthest = grok.furthest(text);
                    visit.failed = Some(FailedPattern {
                        input: text.to_owned(),
                        reached: furthest.end,
                        piece: furthest.failed,
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

fn render(line: &str, kind: &str, trace: &Trace, end: &End, all_nodes: bool) -> String {
    let mut text = format!("line: {}\ntype: {kind}\n", cut(line, 400));
    let mut stage = "";
    for visit in &trace.visits {
        if visit.filtered && !all_nodes {
            continue;
        }
        if visit.stage != stage {
            stage = &visit.stage;
            let _ = writeln!(text, "├ {stage}");
        }
        render_visit(&mut text, visit);
    }
    let verdict = match end.outcome {
        Some(LineOutcome::Parsed) => "parsed".to_owned(),
        Some(LineOutcome::Whitelisted) => {
            format!("parsed, and whitelisted: {}", printable(&trace.last.whitelist_reason))
        }
        Some(LineOutcome::Dropped) => "dropped: an assignment gave something that is no text".to_owned(),
        Some(LineOutcome::Outside) => "outside of the time window".to_owned(),
        Some(LineOutcome::Unparsed) | None => "not parsed: no node took it to the last stage".to_owned(),
    };
    let _ = writeln!(text, "├ {verdict}");
    if end.outcome == Some(LineOutcome::Parsed) {
        if trace.scenarios.is_empty() {
            text.push_str("└ no scenario wants it\n");
        } else {
            text.push_str("└ poured into\n");
            for scenario in &trace.scenarios {
                let _ = writeln!(text, "    {scenario}");
            }
        }
    }
    for message in &end.overflows {
        let _ = writeln!(text, "    overflow: {}", printable(message));
    }
    text.push('\n');
    text
}

fn render_visit(text: &mut String, visit: &Visit) {
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
        let reached = (0..=failed.reached).rev().find(|at| failed.input.is_char_boundary(*at)).unwrap_or(0);
        let (done, rest) = failed.input.split_at(reached.min(failed.input.len()));
        let tail: String = done.chars().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect();
        let dots = if tail.len() < done.len() { "…" } else { "" };
        let tail = printable(&tail);
        let _ = writeln!(
            text,
            "│   {indent}    pattern came to byte {reached}: {dots}{tail}⟦here⟧{}",
            cut(rest, 60)
        );
        if let Some(piece) = &failed.piece {
            let _ = writeln!(text, "│   {indent}    and then wanted: {}", cut(piece, VALUE_WIDTH));
        }
    }
}
