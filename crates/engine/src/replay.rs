//! Runs lines of the past through a set of rules: parsing on all cores, pouring in order.
//!
//! Lines come in batches of one source. Workers parse them, run the filters and freeze the events;
//! the merge lane takes the batches back in their order and pours. A line that asked for something
//! that depends on the lines before it (a stash, the time without a date of its own) is parsed
//! again on the merge lane, where all lines before it are done. So the result is the same on one
//! core and on many.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    thread,
};

use crossbeam_channel::bounded;
use testudo_event::{Overflow, Timestamp};

use crate::{
    counters::Counters,
    detect::{Alerts, Buckets, Emission, Frozen, Held, Pouring, Pours, Selector},
    engine::Engine,
    keys::{self, Space},
    parse::{NoObserver, Observer, Worker},
    record::{EventKind, Mode},
};

/// How often an overflow of an overflow is poured again.
const MAX_REPROCESS_DEPTH: usize = 8;

/// Overflows that are poured again for one line. Real rules pour a handful; rules that feed each other
/// would pour the power of their number.
const MAX_REPROCESSED: usize = 256;

/// Batches that may wait for a worker, per worker.
const WAITING_BATCHES: usize = 2;

/// Where lines come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// An assignment gave something that is no text.
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
    engine: &'e Engine,
    sources: &'e [Source],
    now: Timestamp,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    worker: Worker,
    selector: Selector,
    /// For lines that are parsed here.
    pours: Pours,
    buckets: Buckets,
    emissions: Vec<Emission>,
    /// Overflows that were poured again for the present line.
    reprocessed: usize,
}

/// What a worker made of a line.
enum Parsed {
    /// Not through the stages, or harmless; at this time.
    Ended(LineOutcome, Option<Timestamp>),
    /// Through, at this time, wanted by these scenarios.
    Through(Option<Timestamp>, Option<Held>),
    /// It depends on the lines before it.
    NeedsOrder,
    /// Nothing at all: not even counted.
    Empty,
}

/// What a worker made of a batch: one for each line.
struct Done {
    parsed: Vec<Parsed>,
    pours: Pours,
}

impl<'e> Replay<'e> {
    /// A run over lines of these sources. `now` stands for the present until a line tells the time. Of what
    /// earlier runs put into stashes it sees nothing, so that an engine serves one run at a time.
    pub fn new(engine: &'e Engine, sources: &'e [Source], now: Timestamp) -> Self {
        engine.world.lock_stashes().clear();
        Replay {
            engine,
            sources,
            now,
            since: None,
            until: None,
            worker: Worker::new(&engine.keys),
            selector: Selector::default(),
            pours: Pours::default(),
            buckets: Buckets::new(engine.options.bucket_bytes),
            emissions: Vec::new(),
            reprocessed: 0,
        }
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
        self.worker.counters
    }

    /// How many buckets are open.
    pub fn open_buckets(&self) -> usize {
        self.buckets.len()
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
        let now = self.buckets.clock(source).unwrap_or(self.now);
        let task = Task { engine: self.engine, sources: self.sources, now, ordered: true };
        let mut pours = std::mem::take(&mut self.pours);
        pours.clear();
        let parsed = task.parse(&mut self.worker, &mut self.selector, source, text, observer, &mut pours);
        let record = &mut self.worker.record;
        if *record.needs_order.get_mut() {
            self.engine.world.lock_stashes().settle(record.time);
        }
        self.merge(Line { source, number, text, time: None }, parsed, &pours, observer, sink);
        self.pours = pours;
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
        let (outcome, time, mut held) = match parsed {
            Parsed::NeedsOrder | Parsed::Empty => return,
            Parsed::Ended(outcome, time) => (outcome, time, None),
            Parsed::Through(time, held) => (LineOutcome::Parsed, time, held),
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
        self.reprocessed = 0;
        // A worker does not know when the line was read: that is the time of the lines before it.
        if let Some(event) = held.as_mut().and_then(|held| Arc::get_mut(&mut held.event)) {
            event.set_arrival(self.buckets.clock(line.source).unwrap_or(self.now));
        }
        let mut emissions = std::mem::take(&mut self.emissions);
        {
            let pouring = pouring(self.engine, line.source, time.unwrap_or(self.now));
            let Worker { counters, .. } = &mut self.worker;
            self.buckets.advance(line.source, time, &pouring, counters, &mut emissions);
        }
        for emission in emissions.drain(..) {
            self.emit(emission, line, 0, observer, sink);
        }
        self.emissions = emissions;
        if let Some(held) = held {
            self.pour(&pours.of(&held), line, 0, observer, sink);
        }
    }

    fn pour<O: Observer, S: Sink>(
        &mut self,
        frozen: &Frozen<'_>,
        line: Line<'_>,
        depth: usize,
        observer: &mut O,
        sink: &mut S,
    ) {
        for pour in frozen.pours {
            let now = self.buckets.clock(line.source).unwrap_or(self.now);
            let pouring = pouring(self.engine, line.source, now);
            let emission = self.buckets.pour(frozen, pour, &pouring, &mut self.worker.counters);
            if let Some(emission) = emission {
                self.emit(emission, line, depth, observer, sink);
            }
        }
        self.buckets.settle(frozen);
    }

    /// Sends an overflow through the postoverflow stages, tells it, and pours it again if it wants that.
    fn emit<O: Observer, S: Sink>(
        &mut self,
        emission: Emission,
        line: Line<'_>,
        depth: usize,
        observer: &mut O,
        sink: &mut S,
    ) {
        let Emission { overflow, mode, time } = emission;
        let now = self.buckets.clock(line.source).unwrap_or(self.now);
        self.worker.source = None;
        let record = &mut self.worker.record;
        record.clear();
        record.kind = EventKind::Overflow;
        record.mode = mode;
        record.now = now;
        record.arrival = time;
        record.time = Some(time);
        let span = record.write(|buffer| time.write_rfc3339_nano(buffer));
        record.marshaled = Some((span, time));
        record.assign(keys::MARSHALED_TIME, span);
        record.set(keys::OVERFLOW_SOURCE_IP, &overflow.alert.source.ip);
        record.overflow = Some(Box::new(overflow));
        // A node that drops the event leaves the overflow as it was before it.
        if self.engine.parser(true, true).run(&mut self.worker, observer).is_err() {
            self.worker.counters.dropped += 1;
        }
        if *self.worker.record.needs_order.get_mut() {
            self.engine.world.lock_stashes().settle(Some(now));
        }
        let Some(overflow) = &self.worker.record.overflow else { return };
        sink.overflow(overflow, line);
        let too_many = depth >= MAX_REPROCESS_DEPTH || self.reprocessed >= MAX_REPROCESSED;
        if overflow.whitelisted || !overflow.reprocess || too_many {
            return;
        }
        self.reprocessed += 1;
        let Worker { record, counters, .. } = &mut self.worker;
        let engine = self.engine;
        let mut pours = Pours::default();
        let held = self.selector.select(
            &engine.scenarios,
            record,
            &engine.keys,
            &engine.world,
            &engine.known,
            true,
            counters,
            observer,
            &mut pours,
        );
        if let Some(held) = held {
            self.pour(&pours.of(&held), line, depth + 1, observer, sink);
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
        self.run_on(workers, batches, sink, progress);
    }

    fn run_on<S: Sink>(
        &mut self,
        workers: usize,
        batches: impl Iterator<Item = Batch> + Send,
        sink: &mut S,
        progress: &mut dyn FnMut(&Batch),
    ) {
        let task = Task { engine: self.engine, sources: self.sources, now: self.now, ordered: false };
        let (to_workers, work) = bounded::<(u64, Batch)>(workers * WAITING_BATCHES);
        let (to_merge, done) = bounded::<(u64, Batch, Done)>(workers * WAITING_BATCHES);
        // Batches in flight are bounded, so that one slow batch does not let the others pile up.
        let (give_permit, permits) = bounded::<()>(workers * WAITING_BATCHES * 2);
        let counters = thread::scope(|scope| {
            scope.spawn(move || {
                for numbered in (0..).zip(batches) {
                    if give_permit.send(()).is_err() || to_workers.send(numbered).is_err() {
                        return;
                    }
                }
            });
            let parsers: Vec<_> = (0..workers)
                .map(|_| {
                    let (work, to_merge) = (work.clone(), to_merge.clone());
                    scope.spawn(move || task.run(&work, &to_merge))
                })
                .collect();
            drop((work, to_merge));
            let mut waiting: BTreeMap<u64, (Batch, Done)> = BTreeMap::new();
            let mut next = 0;
            for (number, batch, done) in done {
                waiting.insert(number, (batch, done));
                while let Some((batch, done)) = waiting.remove(&next) {
                    next += 1;
                    self.merge_batch(&batch, done, sink);
                    progress(&batch);
                    let _ = permits.recv();
                }
            }
            let mut sum = Counters::default();
            for parser in parsers {
                match parser.join() {
                    Ok(counters) => sum.add(&counters),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            sum
        });
        self.worker.counters.add(&counters);
    }

    fn merge_batch<S: Sink>(&mut self, batch: &Batch, done: Done, sink: &mut S) {
        for ((number, text), parsed) in batch.lines().zip(done.parsed) {
            if matches!(parsed, Parsed::NeedsOrder) {
                self.worker.counters.ordered += 1;
                self.line(batch.source, number, text, &mut NoObserver, sink);
            } else {
                let line = Line { source: batch.source, number, text, time: None };
                self.merge(line, parsed, &done.pours, &mut NoObserver, sink);
            }
        }
    }
}

fn pouring(engine: &Engine, source: u32, now: Timestamp) -> Pouring<'_> {
    Pouring {
        scenarios: &engine.scenarios,
        alerts: Alerts {
            keys: &engine.keys,
            world: &engine.world,
            known: &engine.known,
            context: &engine.scenarios.context,
            now,
        },
        source,
    }
}

/// What a thread needs to parse lines.
#[derive(Clone, Copy)]
struct Task<'e> {
    engine: &'e Engine,
    sources: &'e [Source],
    now: Timestamp,
    ordered: bool,
}

type Results = crossbeam_channel::Sender<(u64, Batch, Done)>;

impl Task<'_> {
    fn run(self, work: &crossbeam_channel::Receiver<(u64, Batch)>, results: &Results) -> Counters {
        let mut worker = Worker::new(&self.engine.keys);
        let mut selector = Selector::default();
        for (number, batch) in work {
            let mut pours = Pours::default();
            let parsed = batch
                .lines()
                .map(|(_, text)| {
                    let before = worker.counters;
                    let (source, observer) = (batch.source, &mut NoObserver);
                    let parsed = self.parse(&mut worker, &mut selector, source, text, observer, &mut pours);
                    if matches!(parsed, Parsed::NeedsOrder) {
                        // It is parsed, and counted, again.
                        worker.counters = before;
                    }
                    parsed
                })
                .collect();
            if results.send((number, batch, Done { parsed, pours })).is_err() {
                break;
            }
        }
        worker.counters
    }

    fn parse<O: Observer>(
        self,
        worker: &mut Worker,
        selector: &mut Selector,
        source: u32,
        text: &str,
        observer: &mut O,
        pours: &mut Pours,
    ) -> Parsed {
        if text.is_empty() {
            return Parsed::Empty;
        }
        let engine = self.engine;
        worker.counters.lines += 1;
        self.fill(worker, source, text);
        let outcome = engine.parser(false, self.ordered).run(worker, observer);
        let Worker { record, counters, .. } = worker;
        let parsed = match outcome {
            Err(_) => {
                counters.dropped += 1;
                Parsed::Ended(LineOutcome::Dropped, record.time)
            }
            Ok(false) => Parsed::Ended(LineOutcome::Unparsed, record.time),
            Ok(true) if record.whitelisted => {
                counters.parsed += 1;
                counters.whitelisted += 1;
                Parsed::Ended(LineOutcome::Whitelisted, record.time)
            }
            Ok(true) => {
                counters.parsed += 1;
                // From here on it is the time of the line.
                record.now = record.time.unwrap_or(record.now);
                if self.ordered && *record.needs_order.get_mut() {
                    engine.world.lock_stashes().settle(record.time);
                }
                let held = selector.select(
                    &engine.scenarios,
                    record,
                    &engine.keys,
                    &engine.world,
                    &engine.known,
                    self.ordered,
                    counters,
                    observer,
                    pours,
                );
                if held.is_some() && record.time.is_none() {
                    *record.needs_order.get_mut() = true;
                }
                Parsed::Through(record.time, held)
            }
        };
        observer.done(record, &engine.keys);
        if !self.ordered && record.needs_order.load(Ordering::Relaxed) { Parsed::NeedsOrder } else { parsed }
    }

    /// Puts a line into a worker's record.
    fn fill(self, worker: &mut Worker, source: u32, text: &str) {
        let record = &mut worker.record;
        if worker.source == Some(source) {
            record.rewind();
        } else {
            record.clear();
            if let Some(source) = self.sources.get(source as usize) {
                record.set(keys::LINE_SRC, &source.name);
                record.set(keys::LINE_MODULE, &source.module);
                for (key, text) in &source.labels {
                    record.set_key(&self.engine.keys, Space::Labels, key, text);
                }
            }
            worker.source = record.set_base().then_some(source);
        }
        record.mode = Mode::Replay;
        record.now = self.now;
        record.arrival = self.now;
        record.set(keys::LINE_RAW, text);
    }
}
