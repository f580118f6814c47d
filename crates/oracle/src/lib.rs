//! A plain, slow, obviously right interpreter of the rules, for tests: the fast engine must agree with it
//! on everything.
//!
//! It walks the plans of [`testudo_rules`] and the syntax trees of their expressions as they stand, tries
//! every rule on every line, copies whatever it likes, and knows no slots, indexes, shards or threads. With
//! the engine it shares the parser of the language, the bodies of its functions, the expansion of groks and
//! the loader of rules, and nothing else. It runs in replay only: its clock is that of the lines.
//!
//! [`Plain`] is the interpreter, [`Outcome`] what it saw.

mod detect;
mod eval;
mod event;
mod limiter;
mod overflow;
mod parse;
mod scene;
mod stash;
mod statics;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;

use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_rules::set::RuleSet;

pub use detect::MAX_CONTRIBUTORS;
pub use event::{EventDump, Texts};
pub use world::WorldFiles;

use detect::Detector;
use event::{Event, EventLine};
use parse::Stages;
use statics::Enricher;
use world::World;

/// How often in a row an overflow may lead to another. Rules that feed themselves would never end.
pub const MAX_DEPTH: usize = 8;

/// A line to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The text, without its end.
    pub raw: String,
    /// Path of its file. Lines of one source share a clock.
    pub source: String,
    /// Labels of the source.
    pub labels: Texts,
    /// The kind of source: `file`.
    pub module: String,
}

/// What became of a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineOutcome {
    /// It came through all stages.
    pub parsed: bool,
    /// A whitelist took it out.
    pub whitelisted: bool,
    /// The event as parsing and the scenario filters left it.
    pub last_event: EventDump,
    /// Names of the scenarios that it was offered to, in order.
    pub poured: Vec<String>,
    /// Names of the scenarios that its overflows were offered to, in order.
    pub repoured: Vec<String>,
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One for each line.
    pub lines: Vec<LineOutcome>,
    /// All overflows in the order in which they were told, as the postoverflows left them, those included
    /// that a whitelist took out. The events of an overflow are those of its alert.
    pub overflows: Vec<Overflow>,
}

/// The interpreter, and the state of its run.
pub struct Plain {
    world: World,
    now: Timestamp,
    years: YearClock,
    parsers: Stages,
    postoverflows: Stages,
    detector: Detector,
    /// The last date that could be read, by source.
    clocks: BTreeMap<String, Timestamp>,
    disabled: Vec<String>,
}

impl Plain {
    /// An interpreter of `rules`. It is `now` for a source until one of its lines has a date; dates without
    /// a year are in the year of `now`.
    pub fn new(rules: &RuleSet, files: &WorldFiles, now: Timestamp) -> Plain {
        let mut world = World::new(files, now);
        let mut disabled = Vec::new();
        let parsers = Stages::new(&rules.parsers, &mut world, files, &mut disabled);
        let postoverflows = Stages::new(&rules.postoverflows, &mut world, files, &mut disabled);
        let detector = Detector::new(rules, &mut world, files);
        let years = YearClock::Current(now.utc().year() as i32);
        let clocks = BTreeMap::new();
        Plain { world, now, years, parsers, postoverflows, detector, clocks, disabled }
    }

    /// The same with another rule for dates without a year.
    #[must_use]
    pub fn with_years(self, years: YearClock) -> Plain {
        Plain { years, ..self }
    }

    /// The same with only the first `bits` of an IPv6 address counting in bucket keys; 128 by default.
    #[must_use]
    pub fn with_v6_bits(mut self, bits: u8) -> Plain {
        self.detector.v6_bits = bits;
        self
    }

    /// Documents that could not be used, with the reason.
    pub fn disabled(&self) -> &[String] {
        &self.disabled
    }

    /// Runs lines. Buckets stay as they are at the end, so that a later call goes on from there.
    pub fn run(&mut self, lines: &[Line]) -> Outcome {
        let mut overflows = Vec::new();
        let lines = lines.iter().map(|line| self.line(line, &mut overflows)).collect();
        Outcome { lines, overflows }
    }

    fn line(&mut self, line: &Line, told: &mut Vec<Overflow>) -> LineOutcome {
        let now = self.clocks.get(&line.source).copied().unwrap_or(self.now);
        self.world.set_now(now);
        let mut event = Event {
            replay: true,
            line: EventLine {
                raw: line.raw.clone(),
                src: line.source.clone(),
                time: now,
                labels: line.labels.clone(),
                module: line.module.clone(),
            },
            ..Event::default()
        };
        let enricher = Enricher { world: &self.world, years: self.years };
        if self.parsers.run(&mut event, &enricher).is_err() {
            event.process = false;
        }
        if let Some(date) = event.dated {
            self.clocks.insert(line.source.clone(), date);
            self.world.set_now(date);
        }
        let mut outcome =
            LineOutcome { parsed: event.process, whitelisted: event.whitelisted, ..LineOutcome::default() };
        if event.process && !event.whitelisted {
            let overflows = self.pour(&mut event, &mut outcome.poured);
            self.tell(overflows, 0, told, &mut outcome.repoured);
        }
        outcome.last_event = event.dump();
        outcome
    }

    /// Offers an event to all scenarios; gives the overflows in the order of the scenarios.
    fn pour(&mut self, event: &mut Event, names: &mut Vec<String>) -> Vec<Event> {
        // All filters before all pours: afterwards the event does not change any more.
        let selected = self.detector.select(event, &self.world);
        let mut overflows = Vec::new();
        for (scenario, group) in selected {
            names.push(self.detector.name(scenario));
            overflows.extend(self.detector.pour(scenario, &group, event, &self.world));
        }
        overflows
    }

    /// Runs overflows through the postoverflows, tells them, and pours them again if they are to be: each
    /// with all that follows from it before the next.
    fn tell(
        &mut self,
        overflows: Vec<Event>,
        depth: usize,
        told: &mut Vec<Overflow>,
        names: &mut Vec<String>,
    ) {
        for mut event in overflows {
            let enricher = Enricher { world: &self.world, years: self.years };
            // Whatever becomes of the parse, the overflow is told.
            if self.postoverflows.run(&mut event, &enricher).is_err() {
                event.process = false;
            }
            told.push(event.overflow.clone());
            if event.overflow.reprocess && !event.overflow.whitelisted && depth < MAX_DEPTH {
                let next = self.pour(&mut event, names);
                self.tell(next, depth + 1, told, names);
            }
        }
    }
}
