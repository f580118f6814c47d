//! The merge lane: everything that happens in the order of the lines. Pours events, lets buckets run over,
//! sends overflows through their stages, and pours again those that want it. Replays and live runs share it.

use std::sync::Arc;

use testudo_event::{Overflow, Timestamp};

use crate::{
    detect::{Alerts, Buckets, Clocks, Emission, Frozen, Held, Pouring, Pours, Selector},
    engine::Engine,
    keys,
    parse::{NoObserver, Observer, Worker},
    record::{EventKind, Mode, Record, is_late},
    stash::Notes,
};

/// How often an overflow of an overflow is poured again.
const MAX_REPROCESS_DEPTH: usize = 8;

/// Overflows that are poured again for one line. Real rules pour a handful; rules that feed each other
/// would pour the power of their number.
const MAX_REPROCESSED: usize = 256;

/// Is told what the lane finds.
pub(crate) trait Tell {
    /// An event was handed to a scenario, by its number: that of the line itself, or an overflow that is poured again.
    #[inline]
    fn poured(&mut self, _scenario: u32, _of_line: bool) {}

    /// A bucket ran over, at the line that is being poured or, `timed`, because its time was up.
    fn overflow(&mut self, overflow: &Overflow, timed: bool);
}

/// Where and when something is poured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of the clock.
    pub(crate) source: u32,
    /// The present where that clock does not tell.
    pub(crate) now: Timestamp,
    /// Whether the buckets' own time led here.
    pub(crate) timed: bool,
}

/// The merge lane of a run.
#[derive(Debug)]
pub(crate) struct Lane<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) worker: Worker,
    pub(crate) selector: Selector,
    /// For lines that are parsed here.
    pub(crate) pours: Pours,
    pub(crate) buckets: Buckets,
    emissions: Vec<Emission>,
    /// Overflows that were poured again for the present line.
    reprocessed: usize,
}

impl<'e> Lane<'e> {
    /// An empty one. Of what earlier runs put into stashes it sees nothing, so that an engine serves one run at
    /// a time.
    pub(crate) fn new(engine: &'e Engine, live: bool) -> Self {
        engine.world.lock_stashes().clear();
        let (budget, scenarios) = (engine.options.bucket_bytes, engine.scenarios.all.len());
        Lane {
            engine,
            worker: Worker::new(&engine.keys),
            selector: Selector::default(),
            pours: Pours::default(),
            buckets: if live { Buckets::live(budget, scenarios) } else { Buckets::new(budget, scenarios) },
            emissions: Vec::new(),
            reprocessed: 0,
        }
    }

    /// What pouring needs, at this time.
    pub(crate) fn pouring(&self, now: Timestamp) -> Pouring<'e> {
        pouring(self.engine, Clocks::COMMON, now)
    }

    /// The present at a place.
    pub(crate) fn now(&self, place: Place) -> Timestamp {
        self.buckets.clock(place.source).unwrap_or(place.now)
    }

    /// Stores what a line of a batch had to store, now that it is its turn: the lines before it have this time.
    #[inline]
    pub(crate) fn store(&self, notes: &Notes, line: usize, now: impl FnOnce(&Self) -> Timestamp) {
        let of_line = notes.of(line);
        if !of_line.is_empty() {
            self.engine.world.lock_stashes().store(notes, of_line, now(self));
        }
    }

    /// Moves clocks: `advance` is given the buckets, and the overflows of those whose time is up are told.
    pub(crate) fn advance<O: Observer>(
        &mut self,
        place: Place,
        observer: &mut O,
        tell: &mut impl Tell,
        advance: impl FnOnce(&mut Buckets, &Pouring<'_>, &mut Worker, &mut Vec<Emission>),
    ) {
        self.reprocessed = 0;
        let mut emissions = std::mem::take(&mut self.emissions);
        let pouring = pouring(self.engine, place.source, place.now);
        advance(&mut self.buckets, &pouring, &mut self.worker, &mut emissions);
        for emission in emissions.drain(..) {
            self.emit(emission, Place { timed: true, ..place }, 0, observer, tell);
        }
        self.emissions = emissions;
    }

    /// Pours what a line gave.
    pub(crate) fn pour_line<O: Observer>(
        &mut self,
        held: &Held,
        pours: &Pours,
        place: Place,
        observer: &mut O,
        tell: &mut impl Tell,
    ) {
        self.pour(&pours.of(held), place, 0, observer, tell);
    }

    fn pour<O: Observer>(
        &mut self,
        frozen: &Frozen<'_>,
        place: Place,
        depth: usize,
        observer: &mut O,
        tell: &mut impl Tell,
    ) {
        for pour in frozen.pours {
            let pouring = pouring(self.engine, place.source, self.now(place));
            tell.poured(pour.scenario, depth == 0);
            let emission = self.buckets.pour(frozen, pour, &pouring, &mut self.worker.counters);
            if let Some(emission) = emission {
                self.emit(emission, place, depth, observer, tell);
            }
        }
        self.buckets.settle(frozen);
    }

    /// Sends an overflow through the postoverflow stages, tells it, and pours it again if it wants that.
    fn emit<O: Observer>(
        &mut self,
        emission: Emission,
        place: Place,
        depth: usize,
        observer: &mut O,
        tell: &mut impl Tell,
    ) {
        let Emission { overflow, mut mode, time } = emission;
        // What ran over long ago, though it began as a matter of now, is one of the past.
        if self.buckets.clocks.common().is_some_and(|now| is_late(time, now)) {
            mode = Mode::Replay;
        }
        let now = self.now(place);
        let engine = self.engine;
        self.worker.source = None;
        present(&mut self.worker.record, overflow, mode, now, time);
        // A node that drops the event leaves the overflow as it was before it.
        if engine.parser(true, true, engine.options.years).run(&mut self.worker, observer).is_err() {
            self.worker.counters.dropped += 1;
        }
        self.worker.nodes.end_line(true);
        if *self.worker.record.needs_order.get_mut() {
            engine.world.lock_stashes().settle(Some(now));
        }
        let Some(overflow) = &self.worker.record.overflow else { return };
        tell.overflow(overflow, place.timed);
        let too_many = depth >= MAX_REPROCESS_DEPTH || self.reprocessed >= MAX_REPROCESSED;
        if overflow.whitelisted || !overflow.reprocess || too_many {
            return;
        }
        self.reprocessed += 1;
        let Worker { record, counters, .. } = &mut self.worker;
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
            self.pour(&pours.of(&held), place, depth + 1, observer, tell);
        }
    }
}

/// Says when an event was read, unless somebody else holds it already.
pub(crate) fn set_arrival(held: &mut Option<Held>, arrival: Timestamp) {
    if let Some(event) = held.as_mut().and_then(|held| Arc::get_mut(&mut held.event)) {
        event.set_arrival(arrival);
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

/// Makes a record of an overflow, as its stages see it.
fn present(record: &mut Record, overflow: Overflow, mode: Mode, now: Timestamp, time: Timestamp) {
    record.clear();
    record.set_kind(EventKind::Overflow);
    record.mode = mode;
    record.now = now;
    record.arrival = time;
    record.time = Some(time);
    let span = record.write(|buffer| time.write_rfc3339_nano(buffer));
    record.marshaled = Some((span, time));
    record.assign(keys::MARSHALED_TIME, span);
    record.set(keys::OVERFLOW_SOURCE_IP, &overflow.alert.source.ip);
    record.overflow = Some(Box::new(overflow));
}

impl Engine {
    /// Sends an overflow of a live run through its stages once more: when something is known by now that they
    /// asked for, such as a name. Nothing is poured again.
    pub fn reconsider(&self, overflow: Overflow, now: Timestamp) -> Overflow {
        let mut worker = Worker::new(&self.keys);
        let time = overflow.alert.stop_at;
        let before = overflow.clone();
        present(&mut worker.record, overflow, Mode::Live, now, time);
        // As in a run, a node that drops the event leaves the overflow as it is.
        let _ = self.parser(true, true, self.options.years).run(&mut worker, &mut NoObserver);
        worker.record.overflow.take().map_or(before, |overflow| *overflow)
    }
}
