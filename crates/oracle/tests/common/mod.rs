//! The same lines through the engine and through the plain interpreter, and what they tell of them side by
//! side.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each of the test programs uses a part of this, and one that panics has failed"
)]

pub(crate) mod generated;
pub(crate) mod logs;
pub(crate) mod mutate;
pub(crate) mod random;

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use testudo_engine::{
    ASN_DATABASE, CITY_DATABASE, DataSource, Dump, Engine, Keys, Line, LineOutcome, NoObserver, Observer,
    Options, Record, Replay, Sink, Source,
};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_hub::{DataFolders, Hub, Selection};
use testudo_oracle::{Outcome, Plain, WorldFiles};
use testudo_rules::{
    plan::{DataFile, ParserNode},
    set::RuleSet,
};

/// Dates without a year are in this one.
pub(crate) const YEAR: i32 = 2026;

/// The present until a line tells the time: 2026-11-15T12:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_794_744_000, 0)
}

/// How sets are compiled here.
pub(crate) fn options(capture_all: bool) -> Options {
    Options { capture_all, ..Options::new(YearClock::Current(YEAR)) }
}

/// A plain interpreter that goes with [`options`].
pub(crate) fn plain(rules: &RuleSet, files: &WorldFiles) -> Plain {
    Plain::new(rules, files, now()).with_years(YearClock::Current(YEAR))
}

/// Files that tests may read but that are not part of the project.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var_os("TESTUDO_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if !shared.join("hub").is_dir() {
        println!("skipped: no hub at {}", shared.join("hub").display());
        return None;
    }
    Some(shared)
}

/// The whole public hub, with its data.
pub(crate) struct WholeHub {
    pub(crate) hub: Hub,
    pub(crate) rules: RuleSet,
    pub(crate) folders: DataFolders,
    pub(crate) files: WorldFiles,
}

impl WholeHub {
    /// `None` where there is no hub.
    pub(crate) fn load() -> Option<WholeHub> {
        let shared = shared()?;
        let hub = Hub::open(shared.join("hub")).unwrap();
        let mut selection = Selection::default();
        selection.whole_hub(&hub);
        let rules = selection.load().rules;
        let folders = DataFolders::new(&[shared.join("lists"), shared.join("geo/hub")]);
        let data = data_files(&rules).into_iter();
        let files = WorldFiles {
            data: data.filter_map(|file| Some((file.dest_file.to_string(), folders.find(file)?))).collect(),
            city: folders.database(CITY_DATABASE),
            asn: folders.database(ASN_DATABASE),
        };
        Some(WholeHub { hub, rules, folders, files })
    }

    pub(crate) fn engine(&self, capture_all: bool) -> Engine {
        Engine::new(&self.rules, &self.folders, options(capture_all)).0
    }
}

fn data_files(rules: &RuleSet) -> Vec<&DataFile> {
    fn of_node<'n>(node: &'n ParserNode, into: &mut Vec<&'n DataFile>) {
        into.extend(&node.data);
        node.nodes.iter().for_each(|child| of_node(child, into));
    }
    let mut files = Vec::new();
    rules.parsers.iter().chain(&rules.postoverflows).for_each(|parser| of_node(&parser.node, &mut files));
    rules.scenarios.iter().for_each(|scenario| files.extend(&scenario.data));
    files
}

/// A source of lines of a type.
pub(crate) fn source(name: &str, kind: &str) -> Source {
    Source {
        name: name.to_owned(),
        module: "file".to_owned(),
        labels: BTreeMap::from([("type".to_owned(), kind.to_owned())]),
    }
}

/// A line of one of several sources.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) source: usize,
    pub(crate) text: String,
}

/// What the engine made of a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct FastLine {
    pub(crate) outcome: Option<LineOutcome>,
    /// Scenarios that the line was offered to.
    pub(crate) poured: Vec<String>,
    /// Scenarios that its overflows were offered to.
    pub(crate) repoured: Vec<String>,
    pub(crate) event: Dump,
}

/// What the engine made of lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fast {
    pub(crate) lines: Vec<FastLine>,
    pub(crate) overflows: Vec<Overflow>,
}

#[derive(Default)]
struct Watch {
    line: FastLine,
    dumps: bool,
    done: bool,
}

impl Observer for Watch {
    fn poured(&mut self, scenario: &str) {
        let names = if self.done { &mut self.line.repoured } else { &mut self.line.poured };
        names.push(scenario.to_owned());
    }

    fn done(&mut self, record: &Record, keys: &Keys) {
        self.done = true;
        if self.dumps {
            self.line.event = record.dump(keys);
        }
    }
}

#[derive(Default)]
struct Told {
    outcome: Option<LineOutcome>,
    overflows: Vec<Overflow>,
}

impl Sink for Told {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.outcome = Some(outcome);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.overflows.push(overflow.clone());
    }
}

/// Runs lines one by one, watched. `dumps`: keep the events too.
pub(crate) fn run_fast(engine: &Engine, sources: &[Source], lines: &[Input], dumps: bool) -> Fast {
    let mut replay = Replay::new(engine, sources, now());
    let mut told = Told::default();
    let mut seen = Vec::with_capacity(lines.len());
    for (number, line) in (1..).zip(lines) {
        let mut watch = Watch { dumps, ..Watch::default() };
        replay.line(line.source as u32, number, &line.text, &mut watch, &mut told);
        watch.line.outcome = told.outcome.take();
        seen.push(watch.line);
    }
    Fast { lines: seen, overflows: told.overflows }
}

/// Runs lines as large logs are run, unwatched, and gives the overflows.
pub(crate) fn run_quick(engine: &Engine, sources: &[Source], lines: &[Input]) -> Vec<Overflow> {
    let mut replay = Replay::new(engine, sources, now());
    let mut told = Told::default();
    for (number, line) in (1..).zip(lines) {
        replay.line(line.source as u32, number, &line.text, &mut NoObserver, &mut told);
    }
    told.overflows
}

/// Runs lines through the plain interpreter, from the beginning.
pub(crate) fn run_plain(plain: &mut Plain, sources: &[Source], lines: &[Input]) -> Outcome {
    plain.restart();
    let lines: Vec<testudo_oracle::Line> = lines
        .iter()
        .map(|line| {
            let source = &sources[line.source];
            testudo_oracle::Line {
                raw: line.text.clone(),
                source: source.name.clone(),
                labels: source.labels.clone(),
                module: source.module.clone(),
            }
        })
        .collect();
    plain.run(&lines)
}

/// An overflow as it is compared: instants with their offsets, numbers to the last digit.
pub(crate) fn written(overflow: &Overflow) -> String {
    serde_json::to_string(overflow).unwrap()
}

/// A short name for an overflow.
fn named(overflow: &Overflow) -> String {
    format!(
        "{} of {} at {}",
        overflow.alert.scenario,
        overflow.alert.get_value(),
        overflow.alert.stop_at.to_rfc3339_nano()
    )
}

/// Where the first of two texts differs from the second, with some text around it.
fn difference(fast: &str, plain: &str) -> String {
    let same = fast.bytes().zip(plain.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        let bytes = text.as_bytes();
        let piece = &bytes[same.saturating_sub(40).min(bytes.len())..(same + 120).min(bytes.len())];
        String::from_utf8_lossy(piece).into_owned()
    };
    format!("fast …{:?}…, plain …{:?}…", around(fast), around(plain))
}

fn texts(what: &str, fast: &BTreeMap<String, String>, plain: &BTreeMap<String, String>, out: &mut String) {
    if fast == plain {
        return;
    }
    let keys: std::collections::BTreeSet<&String> = fast.keys().chain(plain.keys()).collect();
    for key in keys {
        if fast.get(key) != plain.get(key) {
            let _ = writeln!(out, "    {what}.{key}: fast {:?}, plain {:?}", fast.get(key), plain.get(key));
        }
    }
}

/// Compares what became of a line.
fn line_differences(fast: &FastLine, plain: &testudo_oracle::LineOutcome, dumps: bool) -> String {
    let mut out = String::new();
    let expected = match (plain.dropped, plain.parsed, plain.whitelisted) {
        (true, ..) => LineOutcome::Dropped,
        (_, false, _) => LineOutcome::Unparsed,
        (_, true, true) => LineOutcome::Whitelisted,
        (_, true, false) => LineOutcome::Parsed,
    };
    if fast.outcome != Some(expected) {
        let _ = writeln!(out, "    outcome: fast {:?}, plain {expected:?}", fast.outcome);
    }
    for (what, fast, plain) in
        [("poured", &fast.poured, &plain.poured), ("poured again", &fast.repoured, &plain.repoured)]
    {
        if fast != plain {
            let _ = writeln!(out, "    {what}: fast {fast:?}, plain {plain:?}");
        }
    }
    if !dumps {
        return out;
    }
    let (event, other) = (&fast.event, &plain.last_event);
    texts("Parsed", &event.parsed, &other.parsed, &mut out);
    texts("Meta", &event.meta, &other.meta, &mut out);
    texts("Enriched", &event.enriched, &other.enriched, &mut out);
    texts("Labels", &event.labels, &other.labels, &mut out);
    let field = |name: &str| event.fields.get(name).map_or("", String::as_str);
    for (name, fast, plain) in [
        ("Stage", event.stage.as_str(), &other.stage),
        ("WhitelistReason", &event.whitelist_reason, &other.whitelist_reason),
        ("Line.Module", field("Line.Module"), &other.module),
        ("StrTime", field("StrTime"), &other.str_time),
        ("StrTimeFormat", field("StrTimeFormat"), &other.str_time_format),
        ("MarshaledTime", field("MarshaledTime"), &other.marshaled_time),
    ] {
        if fast != plain {
            let _ = writeln!(out, "    {name}: fast {fast:?}, plain {plain:?}");
        }
    }
    if event.whitelisted != other.whitelisted {
        let _ = writeln!(out, "    Whitelisted: fast {}, plain {}", event.whitelisted, other.whitelisted);
    }
    let fast: BTreeMap<&str, &serde_json::Value> =
        event.unmarshaled.iter().map(|(key, value)| (&**key, &value.0)).collect();
    let plain: BTreeMap<&str, &serde_json::Value> =
        other.unmarshaled.iter().map(|(key, value)| (key.as_str(), value)).collect();
    if fast != plain {
        let difference = difference(&format!("{fast:?}"), &format!("{plain:?}"));
        let _ = writeln!(out, "    Unmarshaled: {difference}");
    }
    out
}

/// Compares overflows, in order.
pub(crate) fn overflow_differences(fast: &[Overflow], plain: &[Overflow]) -> String {
    let mut out = String::new();
    for at in 0..fast.len().max(plain.len()) {
        match (fast.get(at), plain.get(at)) {
            (Some(a), Some(b)) => {
                let (fast, plain) = (written(a), written(b));
                if fast != plain {
                    let difference = difference(&fast, &plain);
                    let _ = writeln!(out, "  overflow {at} ({} / {}): {difference}", named(a), named(b));
                }
            }
            (Some(a), None) => drop(writeln!(out, "  overflow {at}: only fast has {}", named(a))),
            (None, Some(b)) => drop(writeln!(out, "  overflow {at}: only plain has {}", named(b))),
            (None, None) => {}
        }
    }
    out
}

/// Everything that two runs differ in; empty if nothing. `dumps`: events are compared too.
pub(crate) fn differences(fast: &Fast, plain: &Outcome, lines: &[Input], dumps: bool) -> String {
    let mut out = String::new();
    for (at, (line, (fast, plain))) in lines.iter().zip(fast.lines.iter().zip(&plain.lines)).enumerate() {
        let differences = line_differences(fast, plain, dumps);
        if !differences.is_empty() {
            let _ = writeln!(out, "  line {} {:?}:\n{differences}", at + 1, line.text);
        }
    }
    out + &overflow_differences(&fast.overflows, &plain.overflows)
}
