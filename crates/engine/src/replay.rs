//! Runs lines of the past through a set of rules: parsing on all cores, pouring in order.
//!
//! Lines come in batches of one source. Workers parse them, run the filters and freeze the events;
//! the merge lane takes the batches back in their order and pours. A line that asked for something
//! that depends on the lines before it (a stash, the time without a date of its own) is parsed
//! again on the merge lane, where all lines before it are done. So the result is the same on one
//! core and on many.

use std::{collections::BTreeMap, convert::Infallible, sync::LazyLock, thread};

use testudo_event::{Overflow, Timestamp};

use crate::{
    counters::Counters,
    crew::{self, Back, Item},
    detect::{Pours, Selector},
    engine::Engine,
    lane::{self, Lane, Place, Tell},
    line::{Found, Moment, Parsed, Task},
    parse::{NoObserver, Observer, Worker},
};

/// Where lines come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// `evt.Line.Src`: the path as given.
    pub name: String,
    /// `evt.Line.Module`: `file`, `journalctl` …
    pub module: String,
    /// `evt.Line.Labels`; `type` steers the first stage.
    pub labels: BTreeMap<String, String>,
}

/// A batch of lines of one source, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Position in the list of sources.
    pub source: u32,
    /// Number of the first line, from 1.
    pub first_line: u64,
    /// The lines, without their ends, one after the other.
    pub text: String,
    /// Where each line ends in `text`.
    pub ends: Vec<u32>,
}

impl Batch {
    /// The lines with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &str)> {
        (0..self.ends.len()).map(|at| (self.first_line + at as u64, self.line(at)))
    }

    fn line(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]) as usize;
        &self.text[start..self.ends[at] as usize]
    }
}

/// A line as it is told to a [`Sink`].
#[derive(Clone, Copy, Debug)]
pub struct Line<'l> {
    /// Position in the list of sources.
    pub source: u32,
    /// Number of the line in its source, from 1.
    pub number: u64,
    /// The line.
    pub text: &'l str,
    /// The time found in it.
    pub time: Option<Timestamp>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOutcome {
    /// It went through all stages.
    Parsed,
    /// No parser wanted it.
    Unparsed,
    /// An assignment gave something that is no text; or, live, handling it failed in a way that is a defect.
    Dropped,
    /// It is harmless.
    Whitelisted,
    /// Its time is outside of the asked window.
    Outside,
}

/// Takes what a run finds, in the order of the lines.
#[expect(unused_variables, reason = "the names of the parameters document the hooks")]
pub trait Sink {
    /// A line is done.
    fn line(&mut self, line: Line<'_>, outcome: LineOutcome) {}

    /// A bucket ran over. Whitelisted ones are told too.
    fn overflow(&mut self, overflow: &Overflow, line: Line<'_>);
}

/// One run over lines of the past.
#[derive(Debug)]
pub struct Replay<'e> {
    sources: &'e [Source],
    now: Timestamp,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    lane: Lane<'e>,
}

/// What a worker made of a batch: one for each line.
struct Done {
    parsed: Vec<Parsed>,
    pours: Pours,
    counters: Counters,
}

/// Tells a sink of what a line led to.
struct Telling<'t, S> {
    sink: &'t mut S,
    line: Line<'t>,
}

impl<S: Sink> Tell for Telling<'_, S> {
    fn overflow(&mut self, overflow: &Overflow, _: bool) {
        self.sink.overflow(overflow, self.line);
    }
}

impl<'e> Replay<'e> {
    /// A run over lines of these sources. `now` stands for the present until a line tells the time. Of what
    /// earlier runs put into stashes it sees nothing, so that an engine serves one run at a time.
    pub fn new(engine: &'e Engine, sources: &'e [Source], now: Timestamp) -> Self {
        Replay { sources, now, since: None, until: None, lane: Lane::new(engine, false) }
    }

    /// Leaves out lines before `since` and from `until` on.
    #[must_use]
    pub fn window(mut self, since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        self.since = since;
        self.until = until;
        self
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.lane.worker.counters
    }

    /// How many buckets are open.
    pub fn open_buckets(&self) -> usize {
        self.lane.buckets.len()
    }

    /// Handles one line, watched.
    pub fn line<O: Observer, S: Sink>(
        &mut self,
        source: u32,
        number: u64,
        text: &str,
        observer: &mut O,
        sink: &mut S,
    ) {
        let now = self.lane.buckets.clock(source).unwrap_or(self.now);
        let task = task(self.lane.engine, self.sources, source, now, true);
        let mut pours = std::mem::take(&mut self.lane.pours);
        pours.clear();
        let Lane { worker, selector, engine, .. } = &mut self.lane;
        let parsed = task.parse(worker, selector, text, observer, &mut pours);
        let record = &mut worker.record;
        if *record.needs_order.get_mut() {
            engine.world.lock_stashes().settle(record.time);
        }
        self.merge(Line { source, number, text, time: None }, parsed, &pours, observer, sink);
        self.lane.pours = pours;
    }

    /// Pours what a line gave, after all lines before it.
    fn merge<O: Observer, S: Sink>(
        &mut self,
        mut line: Line<'_>,
        parsed: Parsed,
        pours: &Pours,
        observer: &mut O,
        sink: &mut S,
    ) {
        let (outcome, Found { time, .. }, mut held) = match parsed {
            Parsed::NeedsOrder | Parsed::Empty => return,
            Parsed::Ended(outcome, found) => (outcome, found, None),
            Parsed::Through(found, held) => (LineOutcome::Parsed, found, held),
        };
        line.time = time;
        let outside = time.is_some_and(|time| {
            self.since.is_some_and(|since| time < since) || self.until.is_some_and(|until| time >= until)
        });
        if outside {
            let outcome = if outcome == LineOutcome::Parsed { LineOutcome::Outside } else { outcome };
            return sink.line(line, outcome);
        }
        sink.line(line, outcome);
        // A worker does not know when the line was read: that is the time of the lines before it.
        lane::set_arrival(&mut held, self.lane.buckets.clock(line.source).unwrap_or(self.now));
        let mut tell = Telling { sink, line };
        let place = Place { source: line.source, now: self.now, timed: false };
        let start = Place { now: time.unwrap_or(self.now), ..place };
        self.lane.advance(start, observer, &mut tell, |buckets, pouring, worker, emit| {
            buckets.advance(line.source, time, pouring, &mut worker.counters, emit);
        });
        if let Some(held) = held {
            self.lane.pour_line(&held, pours, place, observer, &mut tell);
        }
    }

    /// Runs all batches, on all cores. `progress` is told the number of lines of each batch that is done.
    pub fn run<S: Sink>(
        &mut self,
        batches: impl Iterator<Item = Batch> + Send,
        sink: &mut S,
        progress: &mut dyn FnMut(&Batch),
    ) {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        self.run_with(workers, batches, sink, progress);
    }

    /// The same with this many threads that parse; with one, everything runs on the calling thread. The
    /// result does not depend on it.
    pub fn run_with<S: Sink>(
        &mut self,
        workers: usize,
        batches: impl Iterator<Item = Batch> + Send,
        sink: &mut S,
        progress: &mut dyn FnMut(&Batch),
    ) {
        if workers <= 1 {
            for batch in batches {
                for (number, text) in batch.lines() {
                    self.line(batch.source, number, text, &mut NoObserver, sink);
                }
                progress(&batch);
            }
            return;
        }
        let (engine, sources, now) = (self.lane.engine, self.sources, self.now);
        crew::run(
            workers,
            batches.map(Item::<Batch, Infallible>::Batch),
            || (Worker::new(&engine.keys), Selector::default()),
            |(worker, selector), batch| parse(engine, sources, now, worker, selector, batch),
            |back| match back {
                Back::Batch(batch, done) => {
                    self.merge_batch(&batch, done, sink);
                    progress(&batch);
                }
                Back::Other(never) => match never {},
            },
        );
    }

    fn merge_batch<S: Sink>(&mut self, batch: &Batch, done: Done, sink: &mut S) {
        self.lane.worker.counters.add(&done.counters);
        for (at, ((number, text), parsed)) in batch.lines().zip(done.parsed).enumerate() {
            self.lane
                .store(&done.pours.notes, at, |lane| lane.buckets.clock(batch.source).unwrap_or(self.now));
            if matches!(parsed, Parsed::NeedsOrder) {
                self.lane.worker.counters.ordered += 1;
                self.line(batch.source, number, text, &mut NoObserver, sink);
            } else {
                let line = Line { source: batch.source, number, text, time: None };
                self.merge(line, parsed, &done.pours, &mut NoObserver, sink);
            }
        }
    }
}

/// What a source is that nobody told of.
static NO_SOURCE: LazyLock<Source> = LazyLock::new(Source::default);

fn task<'t>(
    engine: &'t Engine,
    sources: &'t [Source],
    number: u32,
    now: Timestamp,
    ordered: bool,
) -> Task<'t> {
    Task {
        engine,
        source: sources.get(number as usize).unwrap_or(&NO_SOURCE),
        number,
        moment: Moment { arrival: now, now, live: false, late: false },
        ordered,
        years: engine.options.years,
        skip: None,
    }
}

fn parse(
    engine: &Engine,
    sources: &[Source],
    now: Timestamp,
    worker: &mut Worker,
    selector: &mut Selector,
    batch: &Batch,
) -> Done {
    let task = task(engine, sources, batch.source, now, false);
    let mut pours = Pours::default();
    let lines = batch.lines().enumerate().map(|(at, (_, text))| {
        let before = worker.counters;
        let parsed = task.parse(worker, selector, text, &mut NoObserver, &mut pours);
        if matches!(parsed, Parsed::NeedsOrder) {
            // It is parsed, and counted, again.
            worker.counters = before;
            worker.notes.clear();
        }
        worker.hand_over(&mut pours.notes, at);
        parsed
    });
    let parsed = lines.collect();
    Done { parsed, pours, counters: std::mem::take(&mut worker.counters) }
}
