//! Rules and data of the public hub, where they are at hand, and lines run through a compiled set.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use testudo_engine::{
    ASN_DATABASE, Batch, CITY_DATABASE, Counters, DataSource, Dump, Engine, EventKind, Keys, Line,
    LineOutcome, NoObserver, Node, Observer, Options, Record, Replay, Sink, Source,
};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_hub::{DataFolders, Hub, Selection};
use testudo_oracle::{EventDump, Outcome, Plain, WorldFiles};
use testudo_rules::{
    plan::{DataFile, ParserNode},
    set::RuleSet,
};

use crate::input;

/// Dates without a year are in this one.
const YEAR: i32 = 2026;

/// The present until a line tells the time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_794_744_000, 0)
}

/// The folder with the hub and what belongs to it, if it is there.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("TESTUDO_SHARED").map_or_else(beside, PathBuf::from);
    shared.join("hub").is_dir().then_some(shared)
}

/// A compiled set of rules, and what else is needed to run lines through it.
pub(crate) struct Ready {
    pub(crate) engine: Engine,
    rules: RuleSet,
    files: WorldFiles,
    types: Vec<String>,
}

impl Ready {
    /// The whole hub. `None` where there is no hub.
    pub(crate) fn whole_hub() -> Option<Ready> {
        let shared = shared()?;
        let hub = Hub::open(shared.join("hub")).ok()?;
        let mut selection = Selection::default();
        selection.whole_hub(&hub);
        Some(Ready::new(selection.load().rules, &shared, options()))
    }

    /// Collections of the hub, so that whole events can be compared: everything is captured, and scenarios
    /// whose filter writes the event are left out, since the two interpreters show it at different moments.
    pub(crate) fn comparable(collections: &[&str]) -> Option<Ready> {
        let shared = shared()?;
        let hub = Hub::open(shared.join("hub")).ok()?;
        let mut selection = Selection::default();
        selection.collections(&hub, collections).ok()?;
        let mut rules = selection.load().rules;
        rules.scenarios.retain(|scenario| !scenario.filter.node.effects.mutates);
        Some(Ready::new(rules, &shared, Options { capture_all: true, ..options() }))
    }

    fn new(rules: RuleSet, shared: &Path, options: Options) -> Ready {
        let folders = DataFolders::new(&[shared.join("lists"), shared.join("geo/hub")]);
        let data = data_files(&rules).into_iter();
        let files = WorldFiles {
            data: data.filter_map(|file| Some((file.dest_file.to_string(), folders.find(file)?))).collect(),
            city: folders.database(CITY_DATABASE),
            asn: folders.database(ASN_DATABASE),
        };
        let (engine, _) = Engine::new(&rules, &folders, options);
        let types = engine.line_types().into_iter().collect();
        Ready { engine, rules, files, types }
    }

    /// A plain interpreter of the same rules, with the same files.
    pub(crate) fn plain(&self) -> Plain {
        plain(&self.rules, &self.files)
    }

    /// The first line names the type of the lines after it; whatever else stands there chooses one.
    pub(crate) fn source<'t>(&self, text: &'t str) -> (Source, &'t str) {
        let (head, lines) = text.split_once('\n').unwrap_or(("", text));
        let chosen = || self.types.get(input::hash(head) as usize % self.types.len().max(1));
        let kind = self.types.iter().find(|kind| *kind == head).or_else(chosen);
        (source(kind.map_or("syslog", String::as_str)), lines)
    }
}

/// How sets are compiled.
pub(crate) fn options() -> Options {
    Options::new(YearClock::Current(YEAR))
}

/// A source of lines of a type.
pub(crate) fn source(kind: &str) -> Source {
    Source {
        name: "fuzz.log".to_owned(),
        module: "file".to_owned(),
        labels: BTreeMap::from([("type".to_owned(), kind.to_owned())]),
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

/// What a run gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) outcomes: Vec<LineOutcome>,
    pub(crate) overflows: Vec<Overflow>,
}

impl Sink for Seen {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.outcomes.push(outcome);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.overflows.push(overflow.clone());
    }
}

/// Runs lines one by one.
pub(crate) fn one_by_one(engine: &Engine, source: &Source, lines: &str) -> (Seen, Counters) {
    let sources = std::slice::from_ref(source);
    let mut replay = Replay::new(engine, sources, now());
    let mut seen = Seen::default();
    for (number, line) in (1..).zip(lines.lines()) {
        replay.line(0, number, line, &mut NoObserver, &mut seen);
    }
    (seen, replay.counters())
}

/// Keeps the event of a line as the last parser left it.
#[derive(Default)]
struct LastEvent(Option<Dump>);

impl Observer for LastEvent {
    fn leave(&mut self, _: &str, _: &Node, depth: usize, _: bool, record: &Record, keys: &Keys) {
        if depth == 0 && record.kind == EventKind::Log {
            self.0 = Some(record.dump(keys));
        }
    }
}

/// Runs lines one by one, and gives for each that is not empty its event, if a parser took it up.
pub(crate) fn watched(engine: &Engine, source: &Source, lines: &str) -> (Seen, Vec<Option<Dump>>) {
    let mut replay = Replay::new(engine, std::slice::from_ref(source), now());
    let mut seen = Seen::default();
    let lines = (1..).zip(lines.lines()).filter(|(_, line)| !line.is_empty());
    let events = lines.map(|(number, line)| {
        let mut last = LastEvent::default();
        replay.line(0, number, line, &mut last, &mut seen);
        last.0
    });
    let events = events.collect();
    (seen, events)
}

/// The event of the plain interpreter holds the same texts as that of an engine that captures all.
pub(crate) fn same_event(fast: &Dump, plain: &EventDump) {
    let maps = [
        ("Parsed", &fast.parsed, &plain.parsed),
        ("Meta", &fast.meta, &plain.meta),
        ("Enriched", &fast.enriched, &plain.enriched),
        ("Labels", &fast.labels, &plain.labels),
    ];
    for (name, fast, plain) in maps {
        assert_eq!(fast, plain, "evt.{name} of engine and plain interpreter (right)");
    }
    let texts = [
        ("StrTime", &plain.str_time),
        ("StrTimeFormat", &plain.str_time_format),
        ("MarshaledTime", &plain.marshaled_time),
    ];
    for (name, plain) in texts {
        assert_eq!(fast.fields.get(name), Some(plain), "evt.{name} of engine and plain interpreter (right)");
    }
    let unmarshaled: BTreeMap<_, _> =
        fast.unmarshaled.iter().map(|(k, v)| (k.to_string(), v.0.clone())).collect();
    assert_eq!(unmarshaled, plain.unmarshaled, "evt.Unmarshaled of engine and plain interpreter (right)");
    assert_eq!(
        fast.whitelisted, plain.whitelisted,
        "evt.Whitelisted of engine and plain interpreter (right)"
    );
}

/// Runs lines in batches, as large logs are run.
pub(crate) fn batched(engine: &Engine, source: &Source, lines: &str) -> Seen {
    const BATCH_LINES: usize = 3;
    let lines: Vec<&str> = lines.lines().collect();
    let batches = lines.chunks(BATCH_LINES).zip((1..).step_by(BATCH_LINES)).map(|(lines, first_line)| {
        let mut batch = Batch { first_line, ..Batch::default() };
        for line in lines {
            batch.text.push_str(line);
            batch.ends.push(batch.text.len() as u32);
        }
        batch
    });
    let mut seen = Seen::default();
    Replay::new(engine, std::slice::from_ref(source), now()).run(batches, &mut seen, &mut |_| {});
    seen
}

/// The counters say what was seen.
pub(crate) fn counters_add_up(seen: &Seen, counters: &Counters) {
    let count = |outcome| seen.outcomes.iter().filter(|seen| **seen == outcome).count() as u64;
    let (parsed, whitelisted) = (count(LineOutcome::Parsed), count(LineOutcome::Whitelisted));
    assert_eq!(counters.lines, seen.outcomes.len() as u64, "{counters:?}");
    assert_eq!(counters.parsed, parsed + whitelisted, "{counters:?}");
    assert_eq!(counters.whitelisted, whitelisted, "{counters:?}");
    assert!(counters.dropped >= count(LineOutcome::Dropped), "{counters:?}");
    assert_eq!(counters.overflows, seen.overflows.len() as u64 + counters.discarded, "{counters:?}");
}

/// A plain interpreter of the same rules.
pub(crate) fn plain(rules: &RuleSet, files: &WorldFiles) -> Plain {
    let options = options();
    Plain::new(rules, files, now()).with_years(options.years).with_v6_bits(options.v6_key_bits)
}

/// The plain interpreter sees the same as the engine.
pub(crate) fn plain_agrees(plain: &mut Plain, source: &Source, lines: &str, seen: &Seen) -> Outcome {
    let lines: Vec<testudo_oracle::Line> = lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|raw| testudo_oracle::Line {
            raw: raw.to_owned(),
            source: source.name.clone(),
            labels: source.labels.clone(),
            module: source.module.clone(),
        })
        .collect();
    plain.restart();
    let outcome = plain.run(&lines);
    for ((line, plain), fast) in lines.iter().zip(&outcome.lines).zip(&seen.outcomes) {
        let fast_parsed = matches!(fast, LineOutcome::Parsed | LineOutcome::Whitelisted);
        let fast_white = *fast == LineOutcome::Whitelisted;
        assert_eq!(
            (fast_parsed, fast_white),
            (plain.parsed, plain.parsed && plain.whitelisted),
            "engine and plain interpreter (right) on {:?} of type {:?}",
            line.raw,
            source.labels.get("type"),
        );
    }
    let names = |overflows: &[Overflow]| -> Vec<String> {
        overflows.iter().map(|overflow| overflow.alert.scenario.clone()).collect()
    };
    assert_eq!(names(&seen.overflows), names(&outcome.overflows), "engine and plain interpreter (right)");
    for (fast, plain) in seen.overflows.iter().zip(&outcome.overflows) {
        assert_eq!(fast, plain, "engine and plain interpreter (right)");
    }
    outcome
}
