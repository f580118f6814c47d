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

use detect::{Detector, Selected};
use event::{Event, EventLine};
use parse::Stages;
use statics::Enricher;
use world::World;

/// How often in a row an overflow may lead to another. Rules that feed themselves would never end.
pub const MAX_DEPTH: usize = 8;

/// How many overflows are poured again for one line. Rules that feed each other would be very many.
pub const MAX_REPOURED: usize = 256;

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
    /// An assignment gave something that is no text, which ends its way.
    pub dropped: bool,
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

    /// The same with only the first `bits` of an IPv6 address counting in bucket keys; 64 by default.
    #[must_use]
    pub fn with_v6_bits(mut self, bits: u8) -> Plain {
        self.detector.v6_bits = bits;
        self
    }

    /// Forgets all lines that were run: buckets, clocks and stashes are as in a new interpreter.
    pub fn restart(&mut self) {
        self.clocks.clear();
        self.detector.restart();
        self.world.stashes().clear();
        self.world.set_now(self.now);
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
        let dropped = self.parsers.run(&mut event, &enricher).is_err();
        event.process &= !dropped;
        if let Some(date) = event.dated {
            self.clocks.insert(line.source.clone(), date);
            self.world.set_now(date);
        }
        self.world.stashes().settle(event.dated);
        let mut outcome = LineOutcome {
            parsed: event.process,
            dropped,
            whitelisted: event.whitelisted,
            ..LineOutcome::default()
        };
        // All filters before all pours: afterwards the event does not change any more.
        let mut selected = Vec::new();
        if event.process && !event.whitelisted {
            selected = self.detector.select(&mut event, &self.world);
        }
        outcome.poured = self.detector.names(&selected);
        self.world.stashes().settle(None);
        let mut run = Run { source: &line.source, told, names: &mut outcome.repoured, repoured: 0 };
        for overflow in self.detector.advance(&line.source, event.dated, &self.clocks, &self.world) {
            self.tell(overflow, 0, &mut run);
        }
        self.pour(&selected, &event, 0, &mut run);
        outcome.last_event = event.dump();
        outcome
    }

    /// Pours an event into the buckets of the scenarios that take it, each with all that follows from it
    /// before the next.
    fn pour(&mut self, selected: &[Selected], event: &Event, depth: usize, run: &mut Run<'_>) {
        for one in selected {
            if let Some(overflow) = self.detector.pour(one, selected, event, run.source, &self.world) {
                self.tell(overflow, depth, run);
            }
        }
    }

    /// Runs an overflow through the postoverflows, tells it, and pours it again if it is to be.
    fn tell(&mut self, mut event: Event, depth: usize, run: &mut Run<'_>) {
        let enricher = Enricher { world: &self.world, years: self.years };
        // Whatever becomes of the parse, the overflow is told.
        if self.postoverflows.run(&mut event, &enricher).is_err() {
            event.process = false;
        }
        self.world.stashes().settle(None);
        run.told.push(event.overflow.clone());
        let few = depth < MAX_DEPTH && run.repoured < MAX_REPOURED;
        if event.overflow.reprocess && !event.overflow.whitelisted && few {
            run.repoured += 1;
            let selected = self.detector.select(&mut event, &self.world);
            run.names.extend(self.detector.names(&selected));
            self.pour(&selected, &event, depth + 1, run);
        }
    }
}

/// What the pours of one line come from and lead to.
struct Run<'r> {
    source: &'r str,
    told: &'r mut Vec<Overflow>,
    /// Scenarios that overflows were offered to.
    names: &'r mut Vec<String>,
    /// Overflows that were poured again.
    repoured: usize,
}
