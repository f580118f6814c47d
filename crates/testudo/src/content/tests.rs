//! Runs the samples in `content/samples` through the embedded rules.
//!
//! A sample file names its rule. For a parser it lists lines that the rule must understand, with
//! what must come out (the true address, whatever the line pretends), and lines that it must
//! refuse. For a scenario it lists logs that must overflow and logs in which nothing at all may.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use testudo_engine::{
    Dump, Engine, Keys, Line, LineOutcome, ListBuilder, ListTable, Listed, NoData, NoObserver, Node,
    Observer, Options, Record, Replay, Sink, Source, Step,
};
use testudo_event::{Overflow, Prefix, Timestamp, YearClock};
use testudo_expr::host::Listing;

use super::{FILES, rules};

mod afterwards;
mod collections;
mod hostile;

/// A file of samples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    /// Name of the rule.
    rule: String,
    /// Type of the lines that name none.
    #[serde(rename = "type")]
    kind: String,
    /// Lines that a parser must understand.
    #[serde(default)]
    matches: Vec<Match>,
    /// Lines that a parser must refuse.
    #[serde(default)]
    refuses: Vec<Refuse>,
    /// Lines of a parser with places for texts of attackers; see `hostile`.
    #[serde(default)]
    hostile: Vec<Hostile>,
    /// Logs in which a scenario must find its source.
    #[serde(default)]
    overflows: Vec<Log>,
    /// Logs in which no scenario may find anything.
    #[serde(default)]
    quiet: Vec<Log>,
    /// Confirmed names of addresses, for postoverflows.
    #[serde(default)]
    names: BTreeMap<String, String>,
    /// Logs in which scenarios find somebody whom a postoverflow lets off.
    #[serde(default)]
    lets_off: Vec<Log>,
    /// Logs in which they find somebody whom it does not.
    #[serde(default)]
    blames: Vec<Log>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    line: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Values of `evt.Meta`; `""` stands for absent, too.
    #[serde(default)]
    meta: BTreeMap<String, String>,
    /// Values of `evt.Parsed`.
    #[serde(default)]
    parsed: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refuse {
    line: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hostile {
    line: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Whether the text makes the address uncertain, so that the line must not be read whatever it says.
    #[serde(default)]
    unread: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    /// What it is.
    about: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Who must be found, and nobody else.
    #[serde(default)]
    source: String,
    /// Who is listed.
    #[serde(default)]
    listed: Vec<OnList>,
    steps: Vec<Lines>,
}

/// A network on a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnList {
    network: String,
    #[serde(default = "lists")]
    origin: String,
}

fn lists() -> String {
    "lists".to_owned()
}

/// A line, or several that differ in `{clock}` (HH:MM:SS), `{n}` (from 0) and `{m}`, which is `{n}` modulo `among`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    line: String,
    #[serde(default = "one")]
    count: u32,
    /// Seconds from one to the next.
    #[serde(default = "one")]
    every: u32,
    #[serde(default = "one")]
    among: u32,
}

fn one() -> u32 {
    1
}

impl Log {
    fn list(&self) -> ListTable {
        let mut builder = ListBuilder::default();
        for OnList { network, origin } in &self.listed {
            let network = Prefix::parse(network).unwrap_or_else(|| panic!("{}: {network}", self.about));
            let listing = Listing { origin, scenario: "sample", kind: "ban", since: 0, until: i64::MAX };
            builder.add(network, &listing);
        }
        builder.build()
    }

    fn lines(&self) -> Vec<String> {
        let mut clock = 0;
        let mut lines = Vec::new();
        for step in &self.steps {
            for n in 0..step.count {
                let now = format!("{:02}:{:02}:{:02}", clock / 3600, clock / 60 % 60, clock % 60);
                let line = step.line.replace("{clock}", &now).replace("{n}", &n.to_string());
                lines.push(line.replace("{m}", &(n % step.among).to_string()));
                clock += step.every;
            }
        }
        assert!(clock <= 24 * 3600, "{}: the sample is longer than a day", self.about);
        lines
    }
}

fn content() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content")
}

/// Paths of files below a folder, relative to `content/`, sorted.
fn files(folder: &str) -> Vec<String> {
    fn walk(path: &Path, root: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, into);
            } else {
                into.push(path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let root = content();
    let mut paths = Vec::new();
    walk(&root.join(folder), &root, &mut paths);
    paths.sort();
    paths
}

fn samples() -> Vec<Samples> {
    let read = |path: &String| -> Samples {
        let text = fs::read_to_string(content().join(path)).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    files("samples").iter().map(read).collect()
}

fn engine() -> Engine {
    let (rules, diagnostics) = rules();
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let options = Options { capture_all: true, ..Options::new(YearClock::Current(2026)) };
    let (engine, diagnostics) = Engine::new(&rules, &NoData, options);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    engine
}

fn source(kind: &str) -> Source {
    let labels = BTreeMap::from([("type".to_owned(), kind.to_owned())]);
    Source { name: "sample.log".to_owned(), module: "file".to_owned(), labels }
}

/// Takes down which rules a line met.
#[derive(Default)]
struct Watch {
    succeeded: BTreeSet<String>,
    whitelisted: BTreeSet<String>,
    last: Option<Dump>,
}

impl Observer for Watch {
    fn step(&mut self, node: &Node, step: Step, _: Option<&str>) {
        if step == Step::Whitelisted {
            self.whitelisted.insert(node.name.to_string());
        }
    }

    fn leave(&mut self, _: &str, node: &Node, depth: usize, ok: bool, record: &Record, keys: &Keys) {
        if depth == 0 {
            if ok {
                self.succeeded.insert(node.name.to_string());
            }
            self.last = Some(record.dump(keys));
        }
    }
}

/// Collects scenario and sources of overflows.
#[derive(Default)]
struct Found {
    overflows: BTreeSet<(String, String)>,
    outcomes: Vec<LineOutcome>,
}

impl Sink for Found {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.outcomes.push(outcome);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        for source in overflow.sources.keys() {
            self.overflows.insert((overflow.alert.scenario.clone(), source.clone()));
        }
    }
}

fn watch(engine: &Engine, kind: &str, line: &str) -> (Watch, Found) {
    let sources = [source(kind)];
    let (mut watch, mut found) = (Watch::default(), Found::default());
    Replay::new(engine, &sources, Timestamp::default()).line(0, 1, line, &mut watch, &mut found);
    (watch, found)
}

fn overflows(engine: &Engine, kind: &str, log: &Log) -> BTreeSet<(String, String)> {
    let sources = [source(kind)];
    let mut replay = Replay::new(engine, &sources, Timestamp::default());
    let mut found = Found::default();
    for (number, line) in (1..).zip(log.lines()) {
        replay.line(0, number, &line, &mut NoObserver, &mut found);
        let outcome = found.outcomes.pop();
        assert_eq!(outcome, Some(LineOutcome::Parsed), "{}: not parsed: {line}", log.about);
    }
    found.overflows
}

#[test]
fn the_list_is_the_folder() {
    let mut expected = files("parsers");
    expected.extend(files("postoverflows"));
    expected.extend(files("scenarios"));
    expected.sort();
    let listed: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(listed, expected);
}

/// Whatever a hub is told of them: each file is an item, and a collection names what is there.
#[test]
fn all_files_are_items_of_a_hub() {
    let items = testudo_hub::embedded::items(&super::files(), "1.0");
    assert_eq!(items.len(), super::files().len());
    let mut collections = files("collections");
    collections.sort();
    let listed: Vec<&str> = super::COLLECTIONS.iter().map(|(path, _)| *path).collect();
    assert_eq!(listed, collections);
    for item in &items {
        for (kind, name) in &item.dependencies {
            let is_it = |other: &testudo_hub::Item| other.kind == *kind && other.name == *name;
            assert!(items.iter().any(is_it), "{} names {name}", item.name);
        }
        assert_eq!(
            item.dependencies.is_empty(),
            item.kind != testudo_hub::ItemKind::Collection,
            "{}",
            item.name
        );
    }
}

#[test]
fn names_follow_the_files() {
    let (rules, diagnostics) = rules();
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let names = rules.parsers.iter().chain(&rules.postoverflows).map(|parser| &*parser.node.name);
    let names: Vec<&str> = names.chain(rules.scenarios.iter().map(|scenario| &*scenario.name)).collect();
    let stems = FILES.iter().map(|(path, _)| Path::new(path).file_stem().unwrap().to_string_lossy());
    let expected: Vec<String> = stems.map(|stem| format!("testudo/{stem}")).collect();
    assert_eq!(names, expected, "one document per file, named like it");
}

#[test]
fn every_rule_has_samples_of_both_kinds() {
    let (rules, _) = rules();
    let samples = samples();
    let of = |name: &str| -> &Samples {
        let mut found = samples.iter().filter(|samples| samples.rule == name);
        let first = found.next().unwrap_or_else(|| panic!("no samples for {name}"));
        assert!(found.next().is_none(), "two files of samples for {name}");
        first
    };
    for parser in &rules.parsers {
        let samples = of(&parser.node.name);
        assert!(!samples.matches.is_empty() && !samples.refuses.is_empty(), "{}", samples.rule);
    }
    for scenario in &rules.scenarios {
        let samples = of(&scenario.name);
        assert!(!samples.overflows.is_empty() && !samples.quiet.is_empty(), "{}", samples.rule);
    }
    for postoverflow in &rules.postoverflows {
        let samples = of(&postoverflow.node.name);
        assert!(!samples.lets_off.is_empty() && !samples.blames.is_empty(), "{}", samples.rule);
    }
    let expected = rules.parsers.len() + rules.postoverflows.len() + rules.scenarios.len();
    assert_eq!(samples.len(), expected, "samples of no rule");
}

#[test]
fn parsers_do_as_their_samples_say() {
    let engine = engine();
    let (rules, _) = rules();
    for samples in samples() {
        let parser = rules.parsers.iter().find(|parser| *parser.node.name == *samples.rule);
        let whitelists = parser.is_some_and(|parser| parser.node.whitelist.is_some());
        let matched = |watch: &Watch| {
            if whitelists { &watch.whitelisted } else { &watch.succeeded }.contains(&samples.rule)
        };
        for sample in &samples.matches {
            let kind = sample.kind.as_ref().unwrap_or(&samples.kind);
            let (watch, _) = watch(&engine, kind, &sample.line);
            assert!(matched(&watch), "{} does not understand: {}", samples.rule, sample.line);
            let dump = watch.last.unwrap();
            let maps = [("Meta", &sample.meta, &dump.meta), ("Parsed", &sample.parsed, &dump.parsed)];
            for (map, expected, actual) in maps {
                for (key, expected) in expected {
                    let actual = actual.get(key).map_or("", String::as_str);
                    assert_eq!(actual, expected, "{}: evt.{map}.{key} of: {}", samples.rule, sample.line);
                }
            }
        }
        for sample in &samples.refuses {
            let kind = sample.kind.as_ref().unwrap_or(&samples.kind);
            let (watch, _) = watch(&engine, kind, &sample.line);
            assert!(!matched(&watch), "{} must refuse: {}", samples.rule, sample.line);
        }
    }
}

#[test]
fn scenarios_do_as_their_samples_say() {
    let mut engine = engine();
    let listed = Arc::new(Listed::default());
    engine.world_mut().set_listed(Arc::clone(&listed));
    let overflows = |kind: &str, log: &Log| {
        listed.set(log.list());
        overflows(&engine, kind, log)
    };
    for samples in samples() {
        for log in &samples.overflows {
            let kind = log.kind.as_ref().unwrap_or(&samples.kind);
            let found = overflows(kind, log);
            let wanted = (samples.rule.clone(), log.source.clone());
            assert!(found.contains(&wanted), "{}: {}: only {found:?}", samples.rule, log.about);
            let others: Vec<_> = found.iter().filter(|(_, source)| *source != log.source).collect();
            assert!(others.is_empty(), "{}: {}: {others:?}", samples.rule, log.about);
        }
        for log in &samples.quiet {
            let kind = log.kind.as_ref().unwrap_or(&samples.kind);
            let found = overflows(kind, log);
            assert!(found.is_empty(), "{}: {}: {found:?}", samples.rule, log.about);
        }
    }
}
