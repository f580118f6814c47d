//! Runs files of samples through a set of rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use testudo_engine::{
    DataSource, Dump, Engine, Keys, Line, LineOutcome, Listed, NoObserver, Node, Observer, Options, Record,
    Replay, ReverseDns, Sink, Source, Step,
};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_rules::{Diagnostic, plan::ParserNode, set::RuleSet};

use crate::{
    hostile::{self, PEERS, Template},
    samples::{Hostile, Log, Match, Numbered, Refuse, Samples},
};

/// The year of dates in samples that have none.
pub(crate) const SAMPLE_YEAR: i32 = 2026;

/// Failures that are kept of one entry: more of them say nothing new.
const MAX_FAILURES: usize = 20;

/// The lists of a file of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file as a whole.
    File,
    /// A line that must be understood.
    Matches,
    /// A line that must be refused.
    Refuses,
    /// A line with hostile texts.
    Hostile,
    /// A log in which a source must be found.
    Overflows,
    /// A log in which nothing may be found.
    Quiet,
    /// A log whose source a postoverflow must let off.
    LetsOff,
    /// A log whose source it must not.
    Blames,
}

impl Part {
    /// The key in the file.
    pub fn name(self) -> &'static str {
        match self {
            Part::File => "file",
            Part::Matches => "matches",
            Part::Refuses => "refuses",
            Part::Hostile => "hostile",
            Part::Overflows => "overflows",
            Part::Quiet => "quiet",
            Part::LetsOff => "lets_off",
            Part::Blames => "blames",
        }
    }
}

/// What came of one entry.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of the rule.
    pub rule: String,
    /// The file of samples.
    pub file: String,
    /// The line at which the entry begins, from 1.
    pub line: u32,
    /// Its list.
    pub part: Part,
    /// The sample line, or what its log is about.
    pub about: String,
    /// Log lines that were run.
    pub lines: usize,
    /// What is not as it must be; none where it passed. At most twenty are kept.
    pub failures: Vec<String>,
    /// How many there were.
    pub failed: usize,
}

impl Case {
    fn new(samples: &Samples, line: u32, part: Part, about: &str) -> Case {
        Case {
            rule: samples.rule.clone(),
            file: samples.path.clone(),
            line,
            part,
            about: about.to_owned(),
            lines: 0,
            failures: Vec::new(),
            failed: 0,
        }
    }

    fn fail(&mut self, message: impl FnOnce() -> String) {
        self.failed += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(message());
        }
    }

    /// Whether all is as it must be.
    pub fn passed(&self) -> bool {
        self.failed == 0
    }
}

/// Confirmed names of addresses, as a file of samples tells them.
#[derive(Debug, Default)]
struct Names(Mutex<BTreeMap<IpAddr, Arc<str>>>);

impl ReverseDns for Names {
    fn name(&self, address: IpAddr) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }
}

/// A set of rules, ready for samples.
#[derive(Debug)]
pub struct Trial {
    engine: Engine,
    names: Arc<Names>,
    listed: Arc<Listed>,
    /// Reasons of postoverflows that let somebody off.
    reasons: BTreeMap<String, String>,
    /// Parsers that are whitelists: they "match" what they let pass.
    whitelists: BTreeSet<String>,
    parsers: BTreeSet<String>,
    scenarios: BTreeSet<String>,
}

impl Trial {
    /// Compiles a set; what is wrong with it is told, and left out.
    pub fn new(rules: &RuleSet, data: &dyn DataSource) -> (Trial, Vec<Diagnostic>) {
        let options = Options { capture_all: true, ..Options::new(YearClock::Current(SAMPLE_YEAR)) };
        let (mut engine, diagnostics) = Engine::new(rules, data, options);
        let names = Arc::new(Names::default());
        engine.world_mut().set_reverse_dns(names.clone());
        let listed = Arc::new(Listed::default());
        engine.world_mut().set_listed(Arc::clone(&listed));
        let reason =
            |node: &ParserNode| Some((node.name.to_string(), node.whitelist.as_ref()?.reason.to_string()));
        let reasons =
            rules.postoverflows.iter().filter_map(|postoverflow| reason(&postoverflow.node)).collect();
        let parsers = || rules.parsers.iter().chain(&rules.postoverflows).map(|parser| &parser.node);
        let trial = Trial {
            engine,
            names,
            listed,
            reasons,
            whitelists: parsers()
                .filter(|node| node.whitelist.is_some())
                .map(|n| n.name.to_string())
                .collect(),
            parsers: parsers().map(|node| node.name.to_string()).collect(),
            scenarios: rules.scenarios.iter().map(|scenario| scenario.name.to_string()).collect(),
        };
        (trial, diagnostics)
    }

    /// Runs a file of samples; one case for each entry, in the order of the lists.
    pub fn run(&self, samples: &Samples) -> Vec<Case> {
        if !self.parsers.contains(&samples.rule) && !self.scenarios.contains(&samples.rule) {
            let mut case = Case::new(samples, 1, Part::File, &samples.rule);
            case.fail(|| format!("there is no rule `{}` in what is loaded", samples.rule));
            return vec![case];
        }
        if samples.is_empty() {
            let mut case = Case::new(samples, 1, Part::File, &samples.rule);
            case.fail(|| "there is no sample in it; add lines under `matches` and `refuses`".to_owned());
            return vec![case];
        }
        let names = samples.names.iter().map(|(address, name)| (*address, name.as_str().into())).collect();
        *self.names.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
        let mut cases = Vec::with_capacity(samples.len());
        cases.extend(samples.matches.iter().map(|sample| self.matches(samples, sample)));
        cases.extend(samples.refuses.iter().map(|sample| self.refuses(samples, sample)));
        let texts = if samples.hostile.is_empty() { BTreeSet::new() } else { hostile::texts(samples) };
        cases.extend(samples.hostile.iter().map(|sample| self.hostile(samples, sample, &texts)));
        cases.extend(samples.overflows.iter().map(|log| self.log(samples, log, Part::Overflows)));
        cases.extend(samples.quiet.iter().map(|log| self.log(samples, log, Part::Quiet)));
        cases.extend(samples.lets_off.iter().map(|log| self.afterwards(samples, log, Part::LetsOff)));
        cases.extend(samples.blames.iter().map(|log| self.afterwards(samples, log, Part::Blames)));
        cases
    }

    fn watch(&self, source: &Source, line: &str) -> Watch {
        let sources = std::slice::from_ref(source);
        let mut watch = Watch::default();
        Replay::new(&self.engine, sources, Timestamp::default()).line(
            0,
            1,
            line,
            &mut watch,
            &mut Found::default(),
        );
        watch
    }

    fn matched(&self, rule: &str, watch: &Watch) -> bool {
        let met = if self.whitelists.contains(rule) { &watch.whitelisted } else { &watch.succeeded };
        met.contains(rule)
    }

    fn matches(&self, samples: &Samples, sample: &Numbered<Match>) -> Case {
        let Numbered { line, entry } = sample;
        let mut case = Case::new(samples, *line, Part::Matches, &entry.line);
        case.lines = 1;
        let watch = self.watch(&source(samples, entry.kind.as_ref(), entry.log.as_ref()), &entry.line);
        if !self.matched(&samples.rule, &watch) {
            case.fail(|| match watch.succeeded.iter().next_back() {
                Some(other) => format!("it does not understand the line; `{other}` does"),
                None => "it does not understand the line".to_owned(),
            });
            return case;
        }
        let dump = watch.last.unwrap_or_default();
        let maps = [("Meta", &entry.meta, &dump.meta), ("Parsed", &entry.parsed, &dump.parsed)];
        for (map, expected, actual) in maps {
            for (key, expected) in expected {
                let actual = actual.get(key).map_or("", String::as_str);
                if actual != expected {
                    case.fail(|| format!("evt.{map}.{key} is '{actual}', not '{expected}'"));
                }
            }
        }
        case
    }

    fn refuses(&self, samples: &Samples, sample: &Numbered<Refuse>) -> Case {
        let Numbered { line, entry } = sample;
        let mut case = Case::new(samples, *line, Part::Refuses, &entry.line);
        case.lines = 1;
        let watch = self.watch(&source(samples, entry.kind.as_ref(), entry.log.as_ref()), &entry.line);
        if self.matched(&samples.rule, &watch) {
            case.fail(|| "it must refuse the line".to_owned());
        }
        case
    }

    fn address(&self, source: &Source, line: &str) -> String {
        let dump = self.watch(source, line).last;
        dump.and_then(|dump| dump.meta.get("source_ip").cloned()).unwrap_or_default()
    }

    fn hostile(&self, samples: &Samples, sample: &Numbered<Hostile>, texts: &BTreeSet<String>) -> Case {
        let Numbered { line, entry: hostile } = sample;
        let mut case = Case::new(samples, *line, Part::Hostile, &hostile.line);
        let source = source(samples, hostile.kind.as_ref(), hostile.log.as_ref());
        let template = Template::new(&hostile.line);
        let places = template.ways().len();
        if places == 0 {
            case.fail(|| format!("there is no place for text in it; places are {}", place_names()));
            return case;
        }
        for peer in PEERS {
            let plain = template.plain(peer);
            let expected = if hostile.unread { "" } else { peer };
            let address = self.address(&source, &plain);
            if address != expected {
                case.fail(|| format!("evt.Meta.source_ip is '{address}', not '{expected}', of: {plain}"));
                continue;
            }
            let mut entries = hostile::cut(&template, peer, hostile.cut);
            for text in texts {
                entries.extend((0..places).map(|place| template.with(peer, Some(place), text)));
                if places > 1 {
                    entries.push(template.with(peer, None, text));
                }
            }
            for line in entries.iter().flat_map(|entry| entry.split('\n')) {
                case.lines += 1;
                let address = self.address(&source, line);
                if !["", peer].contains(&&*address) {
                    case.fail(|| format!("somebody else, {address}, is blamed by: {}", shortened(line)));
                }
            }
        }
        case
    }

    fn log(&self, samples: &Samples, log: &Numbered<Log>, part: Part) -> Case {
        let Numbered { line, entry: log } = log;
        let mut case = Case::new(samples, *line, part, &log.about);
        let found = self.replay(samples, log, &mut case, |case, line, outcome| {
            if outcome != Some(LineOutcome::Parsed) {
                case.fail(|| format!("no parser understands: {line}"));
            }
        });
        let is_wanted = |(scenario, source, _): &Blame| *scenario == samples.rule && *source == log.source;
        if part == Part::Overflows && !found.overflows.iter().any(is_wanted) {
            case.fail(|| format!("it does not find {}", log.source));
        }
        for (scenario, source, _) in &found.overflows {
            if part == Part::Quiet || *source != log.source {
                case.fail(|| format!("{scenario} finds {source}"));
            }
        }
        case
    }

    /// Who is found in a log; `read` hears what became of each line.
    fn replay(
        &self,
        samples: &Samples,
        log: &Log,
        case: &mut Case,
        read: impl Fn(&mut Case, &str, Option<LineOutcome>),
    ) -> Found {
        self.listed.set(log.list());
        let sources = [source(samples, log.kind.as_ref(), None)];
        let mut replay = Replay::new(&self.engine, &sources, Timestamp::default());
        let mut found = Found::default();
        for (number, line) in (1..).zip(log.lines()) {
            replay.line(0, number, &line, &mut NoObserver, &mut found);
            case.lines += 1;
            read(case, &line, found.outcome.take());
        }
        found
    }

    /// What a postoverflow makes of whom scenarios find.
    fn afterwards(&self, samples: &Samples, log: &Numbered<Log>, part: Part) -> Case {
        let Numbered { line, entry: log } = log;
        let mut case = Case::new(samples, *line, part, &log.about);
        let found = self.replay(samples, log, &mut case, |_, _, _| ());
        if found.overflows.is_empty() {
            case.fail(|| "no scenario finds anybody".to_owned());
        }
        if !log.source.is_empty() {
            // One of those who took part, in an alert that stands.
            let is_found = found.contributors.contains(&log.source);
            match part {
                Part::Blames if !is_found => case.fail(|| format!("{} is let off", log.source)),
                Part::LetsOff if is_found => case.fail(|| format!("{} is blamed with others", log.source)),
                Part::LetsOff if !log.steps.iter().any(|step| step.line.contains(&log.source)) => {
                    case.fail(|| format!("{} is in none of the lines", log.source));
                }
                _ => {}
            }
            return case;
        }
        let wanted = self.reasons.get(&samples.rule);
        for (scenario, source, reason) in &found.overflows {
            match (part, reason) {
                (Part::LetsOff, None) => case.fail(|| format!("{source} is blamed by {scenario}")),
                (Part::LetsOff, Some(reason)) if wanted.is_some_and(|wanted| wanted != reason) => {
                    case.fail(|| format!("{source} is let off by another one: {reason}"));
                }
                (Part::LetsOff, Some(_)) | (_, None) => {}
                (_, Some(reason)) => case.fail(|| format!("{source} is let off: {reason}")),
            }
        }
        case
    }
}

fn place_names() -> String {
    let names: Vec<String> = hostile::WAYS.iter().map(|way| format!("{{{way}}}")).collect();
    names.join(", ")
}

/// A line whose padding is left out.
fn shortened(line: &str) -> String {
    line.replace(&"A".repeat(100), "…")
}

/// Where a line comes from; what an entry does not say is said by its file.
fn source(samples: &Samples, kind: Option<&String>, log: Option<&String>) -> Source {
    let labels = BTreeMap::from([("type".to_owned(), kind.unwrap_or(&samples.kind).clone())]);
    let name = log.map_or("sample.log", String::as_str).to_owned();
    Source { name, module: "file".to_owned(), labels }
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

/// Scenario, source and, where a postoverflow lets it off, why.
type Blame = (String, String, Option<String>);

/// Collects overflows.
#[derive(Default)]
struct Found {
    overflows: BTreeSet<Blame>,
    /// Who poured into the buckets of those that no whitelist took out.
    contributors: BTreeSet<String>,
    outcome: Option<LineOutcome>,
}

impl Sink for Found {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.outcome = Some(outcome);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        for source in overflow.sources.keys() {
            let reason = overflow.whitelisted.then(|| overflow.whitelist_reason.clone());
            self.overflows.insert((overflow.alert.scenario.clone(), source.clone(), reason));
        }
        if !overflow.whitelisted {
            self.contributors.extend(overflow.alert.contributors.iter().map(|one| one.value.clone()));
        }
    }
}
