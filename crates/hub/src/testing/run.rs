//! Runs tests: rules, log, engine, assertions.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use serde::Serialize;
use testudo_engine::{Batch, Engine, Line, NoObserver, Options, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_rules::{Diagnostic, Severity};

use super::{
    asserts::{self, About, FalseLine, Verdict},
    config::{self, Config},
    dump::Collector,
    items::{self, Cache, TestData, TestRules},
    results::Results,
    sort,
};
use crate::{DataFolders, Hub, HubError, files, load::in_parallel};

/// How the logs of a test go through the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Line by line, every field captured, every node watched: all assertions are evaluated.
    Watched,
    /// In batches, on all cores, with only the fields that rules read, as logs are run outside of
    /// tests: assertions on scenarios alone are evaluated.
    Plain,
}

/// Lines of a batch in [`Way::Plain`]: few, so that small logs are cut too.
const BATCH_LINES: usize = 16;

/// What a test gave.
#[derive(Clone, Debug, Serialize)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// No error, and no false assertion that the reference would record.
    pub passed: bool,
    /// How many assertions were evaluated.
    pub assertions: usize,
    /// Every assertion that is false.
    pub false_lines: Vec<FalseLine>,
    /// Why the test could not run, or an assertion could not be evaluated.
    pub errors: Vec<String>,
    /// What may explain a failure.
    pub warnings: Vec<String>,
    /// Wall time.
    pub milliseconds: f64,
}

impl TestResult {
    /// The false assertions for which the test fails.
    pub fn failures(&self) -> impl Iterator<Item = &FalseLine> {
        self.false_lines.iter().filter(|line| line.recorded)
    }
}

/// Runs tests of a hub on all cores: those named, or all. Results are in the order of the names.
/// Dates without a year belong to the year of `now`.
///
/// # Errors
/// The folder of tests cannot be read, or a name is none of a test.
pub fn run_tests(
    hub: &Hub,
    names: Option<&[String]>,
    data: &DataFolders,
    now: Timestamp,
    way: Way,
) -> Result<Vec<TestResult>, HubError> {
    let known = hub.tests()?;
    let names = match names {
        Some(names) => names.to_vec(),
        None => known.clone(),
    };
    if let Some(name) = names.iter().find(|name| known.binary_search(name).is_err()) {
        return Err(HubError::UnknownTest { name: name.clone() });
    }
    let cache = Cache::default();
    Ok(in_parallel(&names, |name| {
        let start = Instant::now();
        let test = Test { hub, data, now, way, cache: &cache, folder: hub.tests_folder().join(name) };
        let mut outcome = Outcome::default();
        if let Err(error) = test.run(&mut outcome) {
            outcome.errors.push(error);
        }
        let Outcome { assertions, false_lines, errors, warnings } = outcome;
        TestResult {
            name: name.clone(),
            passed: errors.is_empty() && !false_lines.iter().any(|line| line.recorded),
            assertions,
            false_lines,
            errors,
            warnings,
            milliseconds: start.elapsed().as_secs_f64() * 1e3,
        }
    }))
}

struct Test<'t> {
    hub: &'t Hub,
    data: &'t DataFolders,
    now: Timestamp,
    way: Way,
    cache: &'t Cache,
    folder: PathBuf,
}

#[derive(Default)]
struct Outcome {
    assertions: usize,
    false_lines: Vec<FalseLine>,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Outcome {
    fn add(&mut self, verdict: Verdict) {
        self.assertions += verdict.assertions;
        self.false_lines.extend(verdict.false_lines);
        self.errors.extend(verdict.errors);
    }

    fn tell(&mut self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            let Diagnostic { code, severity, message, place, hint } = diagnostic;
            let mut text = format!("{}:{}: [{code}] {message}", place.file.path, place.line);
            if let Some(hint) = hint {
                text = format!("{text} ({hint})");
            }
            match severity {
                Severity::Error => self.errors.push(text),
                Severity::Warning => self.warnings.push(text),
            }
        }
    }
}

impl Test<'_> {
    fn run(&self, outcome: &mut Outcome) -> Result<(), String> {
        let config = Config::parse(&read(&self.folder.join("config.yaml"))?)?;
        let TestRules { rules, diagnostics } = items::load(self.hub, &self.folder, &config, self.cache)?;
        outcome.tell(&diagnostics);
        let year = i32::try_from(self.now.year()).unwrap_or(i32::MAX);
        let mut options = Options::new(YearClock::Current(year));
        options.capture_all = self.way == Way::Watched;
        // Results are compared with those of an engine that takes each address for itself.
        options.v6_key_bits = 128;
        let (engine, diagnostics) = Engine::new(&rules, &TestData::new(self.data, &rules), options);
        outcome.tell(&diagnostics);

        if !files::is_safe(config.log_file()) {
            return Err(format!("`log_file` is no file of the test: `{}`", config.log_file()));
        }
        let log = self.folder.join(config.log_file());
        let text = read(&log)?;
        if text.is_empty() {
            return Err(format!("the log {} is empty", log.display()));
        }
        let lines = config::log_lines(&text)?;
        let source =
            Source { name: log.display().to_string(), module: "file".to_owned(), labels: config.labels() };
        let parsers = !config.ignores_parsers() && self.way == Way::Watched;
        let (collected, overflows) = self.replay(&engine, source, &lines, parsers);
        if parsers {
            self.assert(About::Parsers, &mut Results::of_parsers(collected), outcome)?;
        }
        if config.scenarios().next().is_some() {
            self.assert(About::Scenarios, &mut Results::Scenarios(overflows), outcome)?;
        }
        Ok(())
    }

    /// Sends the lines through the engine: what the nodes made of them, and the overflows in order.
    fn replay(
        &self,
        engine: &Engine,
        source: Source,
        lines: &[&str],
        dump: bool,
    ) -> (Collector, Vec<Overflow>) {
        let sources = [source];
        let mut replay = Replay::new(engine, &sources, self.now);
        let mut sink = Overflows::default();
        let mut collector = Collector::default();
        match self.way {
            Way::Plain => {
                let batches =
                    lines.chunks(BATCH_LINES).zip((1..).step_by(BATCH_LINES)).map(|(lines, first)| {
                        let mut batch = Batch { first_line: first, ..Batch::default() };
                        for line in lines {
                            batch.text.push_str(line);
                            batch.ends.push(batch.text.len() as u32);
                        }
                        batch
                    });
                replay.run(batches, &mut sink, &mut |_| {});
            }
            Way::Watched => {
                for (number, line) in (1..).zip(lines) {
                    if dump {
                        replay.line(0, number, line, &mut collector, &mut sink);
                    } else {
                        replay.line(0, number, line, &mut NoObserver, &mut sink);
                    }
                }
            }
        }
        let mut keyed: Vec<(String, Overflow)> = sink.0.into_iter().map(|o| (key(&o), o)).collect();
        sort::sort(&mut keyed, |a, b| a.0 > b.0);
        (collector, keyed.into_iter().map(|(_, overflow)| overflow).collect())
    }

    fn assert(&self, about: About, results: &mut Results, outcome: &mut Outcome) -> Result<(), String> {
        let text = read(&self.folder.join(about.file()))?;
        let verdict = asserts::evaluate(&text, about, results);
        if verdict.assertions == 0 {
            return Err(format!("{} holds no assertion: write some", about.file()));
        }
        outcome.add(verdict);
        Ok(())
    }
}

/// What results are sorted by: the scenario's name and the sources'.
fn key(overflow: &Overflow) -> String {
    let sources: Vec<&str> = overflow.sources.keys().map(String::as_str).collect();
    format!("{}{}", overflow.alert.scenario, sources.join("@"))
}

fn read(path: &Path) -> Result<String, String> {
    config::read(path).map_err(|error| error.to_string())
}

/// Keeps every overflow.
#[derive(Default)]
struct Overflows(Vec<Overflow>);

impl Sink for Overflows {
    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.0.push(overflow.clone());
    }
}
