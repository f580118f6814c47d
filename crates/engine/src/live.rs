//! Runs lines as they are written: what a daemon stands on.
//!
//! Batches come with the time at which they arrived. A line happens when it arrives; one that says that it
//! is older than ten seconds (after downtime, out of a backlog) is poured at the time that it tells, as a
//! replay would, so that a backlog is no burst. Everything else is as in a [`Replay`](crate::Replay), and done
//! by the same code.
//!
//! Results depend on the lines, their arrivals and the [`Input::Tick`]s alone. The clock of the machine is read
//! only to tell how long things take.

mod sources;
mod state;
mod tallies;
#[cfg(test)]
mod tests;
mod types;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use testudo_event::{Overflow, Timestamp, YearClock};

pub use self::state::{Restored, StateError};
pub use self::tallies::{
    Board, Histogram, NodeTallies, OTHER_SOURCES, PARSING_BOUNDS, POURING_BOUNDS, ScenarioTallies,
    SourceTallies, Tallies,
};
pub use self::types::{Input, LiveBatch, LiveSink, LiveSource, Seen, Spot};
use self::{
    sources::{Gone, Known, Sources},
    tallies::{BatchTally, Ledger},
};
use crate::{
    counters::Counters,
    crew::{self, Back, Item},
    detect::{Clocks, Pours, Selector},
    engine::Engine,
    lane::{self, Lane, Place, Tell},
    line::{Found, Moment, Parsed, Skip, Task},
    parse::{NODE_COUNTS, NoObserver, Worker},
    replay::LineOutcome,
};

/// Time between two moments at which the tallies are shown: nanoseconds of the clock of arrivals.
const SHOW_EVERY: i64 = 500_000_000;

/// Who has not run for longer than this has a backlog before him: nanoseconds.
const MIN_DOWNTIME: i64 = 300_000_000_000;

/// After a restart, a backlog begins to be read within this time: nanoseconds of the clock of arrivals.
const BACKLOG_BEGINS: i64 = 60_000_000_000;

/// A run over lines as they are written.
pub struct Live<'e> {
    lane: Lane<'e>,
    sources: Sources,
    ledger: Ledger,
    board: Board,
    /// The latest arrival or tick.
    now: Timestamp,
    shown: Timestamp,
    /// When what came back was saved, and, once it is known that nothing ran for long, from when on no backlog is
    /// waited for any more.
    back: Option<(Timestamp, Option<Timestamp>)>,
    skip: Option<Arc<dyn Skip>>,
}

impl fmt::Debug for Live<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, buckets) = (self.now, self.open_buckets());
        f.debug_struct("Live").field("now", &now).field("buckets", &buckets).finish_non_exhaustive()
    }
}

/// A thread that parses.
struct Hand {
    worker: Worker,
    selector: Selector,
    /// The source whose name and labels the worker's record begins with.
    last: Option<Arc<LiveSource>>,
    skip: Option<Arc<dyn Skip>>,
}

/// What a thread made of a batch: one for each line.
struct Done {
    parsed: Vec<Parsed>,
    pours: Pours,
    counters: Counters,
    nodes: Vec<(u32, [u32; NODE_COUNTS])>,
    nanos: u64,
}

/// Tells a sink, and the ledger, of what a line or the time led to.
struct Telling<'t, S> {
    engine: &'t Engine,
    sink: &'t mut S,
    spot: Spot,
    ledger: &'t mut Ledger,
    row: Option<usize>,
}

impl<S: LiveSink> Tell for Telling<'_, S> {
    fn poured(&mut self, scenario: u32, of_line: bool) {
        if let Some(row) = self.row {
            self.ledger.poured(row, scenario);
        }
        if of_line && let Some(scenario) = self.engine.scenarios.all.get(scenario as usize) {
            self.sink.poured(&scenario.plan.name);
        }
    }

    fn overflow(&mut self, overflow: &Overflow, timed: bool) {
        self.sink.overflow(overflow, if timed { Spot::Time } else { self.spot });
    }
}

impl<'e> Live<'e> {
    /// A run that has seen nothing yet. Of what earlier runs put into stashes it sees nothing, so that an engine
    /// serves one run at a time.
    pub fn new(engine: &'e Engine) -> Self {
        let mut lane = Lane::new(engine, true);
        lane.worker.nodes.on = true;
        Live {
            lane,
            sources: Sources::default(),
            ledger: Ledger::new(),
            board: Board::default(),
            now: Timestamp::default(),
            shown: Timestamp::default(),
            back: None,
            skip: None,
        }
    }

    /// Asks `skip` from now on whose lines need not be poured. They are parsed, told and counted all the same.
    /// Which lines it is asked for, and when, depends on the threads: this is for times of overload.
    pub fn set_skip(&mut self, skip: Option<Arc<dyn Skip>>) {
        self.skip = skip;
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.lane.worker.counters
    }

    /// How many buckets are open.
    pub fn open_buckets(&self) -> usize {
        self.lane.buckets.len()
    }

    /// Where other threads can read what is counted.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// What is counted, as it is now.
    pub fn tallies(&self) -> Tallies {
        let engine = self.lane.engine;
        self.ledger.tallies(engine, self.lane.buckets.counts(), self.counters(), self.now)
    }

    /// Runs until `inputs` ends. With one worker, everything happens on the calling thread; with more, they parse
    /// and the calling thread pours. The result does not depend on it. A batch is handled as soon as it is given:
    /// nothing waits for another line.
    pub fn run<S: LiveSink>(
        &mut self,
        workers: usize,
        inputs: impl Iterator<Item = Input> + Send,
        sink: &mut S,
    ) {
        let (engine, skip) = (self.lane.engine, self.skip.clone());
        let hand = || Hand::new(engine, skip.clone());
        if workers <= 1 {
            let mut hand = hand();
            for input in inputs {
                match input {
                    Input::Lines(batch) => {
                        let done = hand.parse(engine, &batch);
                        self.batch(batch, done, sink);
                    }
                    other => self.other(&other, sink),
                }
            }
        } else {
            let items = inputs.map(|input| match input {
                Input::Lines(batch) => Item::Batch(batch),
                other => Item::Other(other),
            });
            crew::run(
                workers,
                items,
                hand,
                |hand, batch| hand.parse(engine, batch),
                |back| match back {
                    Back::Batch(batch, done) => self.batch(batch, done, sink),
                    Back::Other(other) => self.other(&other, sink),
                },
            );
        }
        self.show();
    }

    fn other<S: LiveSink>(&mut self, input: &Input, sink: &mut S) {
        match input {
            Input::Lines(_) => {}
            Input::Tick(now) => self.tick(*now, sink),
            Input::Checkpoint => sink.checkpoint(self.save()),
        }
    }

    /// Time has passed.
    fn tick<S: LiveSink>(&mut self, now: Timestamp, sink: &mut S) {
        self.now = now;
        self.come_back(now);
        let caught_up = self.sources.caught_up(now);
        let idle = self.sources.forget_idle(now);
        self.release(&idle);
        self.set_floor(now);
        let place = Place { source: Clocks::COMMON, now, timed: true };
        let engine = self.lane.engine;
        let mut tell = Telling { engine, sink, spot: Spot::Time, ledger: &mut self.ledger, row: None };
        let lane = &mut self.lane;
        let ticked = catch_unwind(AssertUnwindSafe(|| {
            lane.advance(place, &mut NoObserver, &mut tell, |buckets, pouring, worker, emit| {
                for source in caught_up {
                    buckets.catch_up(source);
                }
                buckets.advance_common(now, pouring, &mut worker.counters, emit);
                buckets.sweep_at(now, pouring);
            });
        }));
        if ticked.is_err() {
            self.lane.worker.recover(&self.lane.engine.keys);
        }
        self.count_overflows();
        self.show_now_and_then();
    }

    /// Pours a batch, after all batches before it.
    fn batch<S: LiveSink>(&mut self, batch: LiveBatch, done: Done, sink: &mut S) {
        let start = Instant::now();
        self.now = batch.arrival;
        self.come_back(batch.arrival);
        let source = self.number(&batch);
        let row = self.sources.get(source).map_or(0, |known| known.tally);
        let Done { parsed, pours, counters, nodes, nanos } = done;
        let panics_before = self.counters().panics;
        self.lane.worker.counters.add(&counters);
        let (mut lines, mut ok) = (0, 0);
        for (at, parsed) in parsed.into_iter().enumerate() {
            if matches!(parsed, Parsed::Empty) {
                continue;
            }
            lines += 1;
            let outcome =
                catch_unwind(AssertUnwindSafe(|| self.line(source, row, &batch, at, parsed, &pours, sink)));
            match outcome {
                Ok(LineOutcome::Parsed | LineOutcome::Whitelisted) => ok += 1,
                Ok(_) => {}
                Err(_) => self.lane.worker.recover(&self.lane.engine.keys),
            }
        }
        let pour_nanos = start.elapsed().as_nanos() as u64;
        let panics = self.counters().panics - panics_before;
        let tally = BatchTally { lines, ok, panics, parse_nanos: nanos, pour_nanos, nodes: &nodes };
        self.ledger.batch(row, &tally);
        self.count_overflows();
        sink.done(batch);
        self.show_now_and_then();
    }

    /// The number of the source of a batch.
    fn number(&mut self, batch: &LiveBatch) -> u32 {
        if let Some(number) = self.sources.find(&batch.source, batch.arrival) {
            return number;
        }
        let gone = self.sources.make_room();
        self.release(&gone);
        let tally = self.ledger.row(&batch.source);
        let source = Arc::clone(&batch.source);
        self.sources.add(Known { source, last: batch.arrival, late: false, tally })
    }

    /// The first input after a state has come back tells for how long nothing ran.
    fn come_back(&mut self, now: Timestamp) {
        if let Some((saved, None)) = self.back {
            let was_down = now.nanos_since(saved) > MIN_DOWNTIME;
            self.back = was_down.then(|| (saved, Some(now.add_nanos(BACKLOG_BEGINS))));
            self.set_floor(now);
        }
    }

    /// Says how far back lines may still come from that want buckets of the common clock: out of a backlog that is
    /// being read, or one that is still to be read after a restart.
    fn set_floor(&mut self, now: Timestamp) {
        let mut floor = self.sources.late().filter_map(|source| self.lane.buckets.clocks.own(source)).min();
        match self.back {
            Some((saved, Some(end))) if now < end => {
                floor = Some(floor.map_or(saved, |floor| floor.min(saved)));
            }
            Some((_, Some(_))) => self.back = None,
            _ => {}
        }
        self.lane.buckets.clocks.set_floor(floor);
    }

    /// Sources are gone: their buckets go by the common clock, their counts are folded.
    fn release(&mut self, gone: &[Gone]) {
        if gone.is_empty() {
            return;
        }
        let numbers: Vec<u32> = gone.iter().map(|gone| gone.number).collect();
        self.lane.buckets.release(&numbers);
        for Gone { tally, .. } in gone {
            if !self.sources.counts_at(*tally) {
                self.ledger.fold(*tally);
            }
        }
    }

    /// Pours what a line gave, after all lines before it.
    #[expect(clippy::too_many_arguments, reason = "a line, its batch and what was made of them")]
    fn line<S: LiveSink>(
        &mut self,
        source: u32,
        row: usize,
        batch: &LiveBatch,
        at: usize,
        parsed: Parsed,
        pours: &Pours,
        sink: &mut S,
    ) -> LineOutcome {
        let late = self.sources.get(source).is_some_and(|known| known.late);
        let again = match &parsed {
            Parsed::NeedsOrder => true,
            // What it was told of the time is not right.
            Parsed::Ended(_, found) | Parsed::Through(found, _) => late && found.asked,
            Parsed::Empty => false,
        };
        if !again {
            self.lane.store(&pours.notes, at, |_| self.clock_before(source, batch));
            return self.merge(source, row, batch, at, parsed, pours, sink);
        }
        let mut own = std::mem::take(&mut self.lane.pours);
        own.clear();
        let parsed = self.parse_here(source, late, batch, at, matches!(parsed, Parsed::NeedsOrder), &mut own);
        let outcome = self.merge(source, row, batch, at, parsed, &own, sink);
        self.lane.pours = own;
        outcome
    }

    /// What time it is for a line: that of the lines before it, where its source tells of the past.
    fn clock_before(&self, source: u32, batch: &LiveBatch) -> Timestamp {
        let is_past = batch.source.time_machine || self.sources.get(source).is_some_and(|known| known.late);
        let clock = if is_past { self.lane.buckets.clocks.own(source) } else { None };
        clock.unwrap_or(batch.arrival)
    }

    /// Parses a line that depends on those before it. `counts`: nobody has counted it yet.
    fn parse_here(
        &mut self,
        source: u32,
        late: bool,
        batch: &LiveBatch,
        at: usize,
        counts: bool,
        pours: &mut Pours,
    ) -> Parsed {
        let live = !batch.source.time_machine;
        let now = self.clock_before(source, batch);
        let Lane { worker, selector, engine, .. } = &mut self.lane;
        let task = Task {
            engine,
            source: &batch.source.source,
            number: source,
            moment: Moment { arrival: batch.arrival, now, live, late },
            ordered: true,
            years: YearClock::NotAfter(batch.arrival),
            skip: self.skip.as_deref(),
        };
        let before = worker.counters;
        // What it holds of another source may be of one that had this number.
        worker.source = None;
        worker.enricher.set_years(task.years);
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            task.parse(worker, selector, batch.line(at), &mut NoObserver, pours)
        }));
        let parsed = parsed.unwrap_or_else(|_| {
            worker.counters = before;
            fail(worker, selector, engine);
            pours.clear();
            Parsed::Ended(LineOutcome::Dropped, Found::default())
        });
        worker.nodes.end_line(false);
        if !counts {
            worker.counters = Counters { panics: worker.counters.panics, ..before };
        }
        worker.counters.ordered += 1;
        let record = &mut worker.record;
        if *record.needs_order.get_mut() {
            engine.world.lock_stashes().settle(record.time);
        }
        parsed
    }

    #[expect(clippy::too_many_arguments, reason = "a line, its batch and what was made of them")]
    fn merge<S: LiveSink>(
        &mut self,
        source: u32,
        row: usize,
        batch: &LiveBatch,
        at: usize,
        parsed: Parsed,
        pours: &Pours,
        sink: &mut S,
    ) -> LineOutcome {
        let arrival = batch.arrival;
        let (outcome, found, mut held) = match parsed {
            Parsed::NeedsOrder | Parsed::Empty => return LineOutcome::Dropped,
            Parsed::Ended(outcome, found) => (outcome, found, None),
            Parsed::Through(found, held) => (LineOutcome::Parsed, found, held),
        };
        let Found { time, late, address, skipped, .. } = found;
        let text = batch.line(at);
        let seen = Seen { text, outcome, time, source_ip: address, poured: held.is_some(), late, skipped };
        sink.line(batch, at, seen);
        if let Some(time) = time {
            self.ledger.lag(row, arrival.nanos_since(time));
        }
        let machine = batch.source.time_machine;
        let Some(known) = self.sources.get_mut(source) else { return outcome };
        // A line without a date says nothing of where its source stands.
        let caught_up = known.late && time.is_some() && !late && !machine;
        known.late = (known.late || late || machine) && !caught_up;
        let clock = if known.late { source } else { Clocks::COMMON };
        let place = Place { source: clock, now: arrival, timed: false };
        let mut tell = Telling {
            engine: self.lane.engine,
            sink,
            spot: Spot::Line { batch: batch.number, line: at },
            ledger: &mut self.ledger,
            row: Some(row),
        };
        if machine {
            lane::set_arrival(&mut held, self.lane.buckets.clocks.own(source).unwrap_or(arrival));
        }
        self.lane.advance(place, &mut NoObserver, &mut tell, |buckets, pouring, worker, emit| {
            let counters = &mut worker.counters;
            if clock == Clocks::COMMON {
                if caught_up {
                    buckets.catch_up(source);
                }
                buckets.count_line(pouring);
                buckets.advance_common(arrival, pouring, counters, emit);
            } else {
                buckets.advance(source, time, pouring, counters, emit);
            }
        });
        if let Some(held) = held {
            self.lane.pour_line(&held, pours, place, &mut NoObserver, &mut tell);
        }
        outcome
    }

    /// Counts what the stages of overflows did.
    fn count_overflows(&mut self) {
        let nodes = self.lane.worker.nodes.take();
        if !nodes.is_empty() {
            self.ledger.overflows(&nodes);
        }
    }

    fn show_now_and_then(&mut self) {
        let since = self.now.nanos_since(self.shown);
        if !(0..SHOW_EVERY).contains(&since) {
            self.show();
        }
    }

    fn show(&mut self) {
        self.shown = self.now;
        self.board.show(self.tallies());
    }
}

/// Begins anew after a line that cannot be parsed without a panic, and counts it.
fn fail(worker: &mut Worker, selector: &mut Selector, engine: &Engine) {
    worker.counters.lines += 1;
    worker.counters.dropped += 1;
    worker.recover(&engine.keys);
    *selector = Selector::default();
}

impl Hand {
    fn new(engine: &Engine, skip: Option<Arc<dyn Skip>>) -> Hand {
        let mut worker = Worker::new(&engine.keys);
        worker.nodes.on = true;
        Hand { worker, selector: Selector::default(), last: None, skip }
    }

    /// Parses a batch. A line that makes it panic is dropped.
    fn parse(&mut self, engine: &Engine, batch: &LiveBatch) -> Done {
        let start = Instant::now();
        let Hand { worker, selector, last, skip } = self;
        let skip = skip.as_deref();
        let years = YearClock::NotAfter(batch.arrival);
        worker.enricher.set_years(years);
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &batch.source)) {
            worker.source = None;
            *last = Some(Arc::clone(&batch.source));
        }
        let live = !batch.source.time_machine;
        let moment = Moment { arrival: batch.arrival, now: batch.arrival, live, late: false };
        let task =
            Task { engine, source: &batch.source.source, number: 0, moment, ordered: false, years, skip };
        let mut pours = Pours::default();
        let mut parsed = Vec::with_capacity(batch.len());
        for at in 0..batch.len() {
            let (before, mark) = (worker.counters, pours.mark());
            let line = catch_unwind(AssertUnwindSafe(|| {
                task.parse(worker, selector, batch.line(at), &mut NoObserver, &mut pours)
            }));
            let line = line.unwrap_or_else(|_| {
                worker.counters = before;
                fail(worker, selector, engine);
                pours.rewind(mark);
                Parsed::Ended(LineOutcome::Dropped, Found::default())
            });
            let again = matches!(line, Parsed::NeedsOrder);
            if again {
                // It is parsed, and counted, again.
                worker.counters = before;
                worker.notes.clear();
            }
            worker.hand_over(&mut pours.notes, at);
            worker.nodes.end_line(true);
            parsed.push(line);
        }
        let (counters, nodes) = (std::mem::take(&mut worker.counters), worker.nodes.take());
        Done { parsed, pours, counters, nodes, nanos: start.elapsed().as_nanos() as u64 }
    }
}
