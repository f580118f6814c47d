//! One line through parsers and filters: what every thread can do by itself, whatever the lines before it.

use std::net::IpAddr;

use testudo_event::{Timestamp, YearClock, net};

use crate::{
    detect::{Held, Pours, Selector},
    engine::Engine,
    keys::{self, Space},
    parse::{Observer, Worker},
    record::Mode,
    replay::{LineOutcome, Source},
};

/// What a line of a test says that is to be a defect.
#[cfg(test)]
pub(crate) const PANIC: &str = "panic-in-a-test";

/// When a line is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// When it arrived.
    pub(crate) arrival: Timestamp,
    /// What "now" is for it: the time of the lines before it, where that is not its arrival.
    pub(crate) now: Timestamp,
    /// Whether its arrival is when it happened, unless it says otherwise.
    pub(crate) live: bool,
    /// Whether the lines of its source tell of the past.
    pub(crate) late: bool,
}

/// What a worker made of a line.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Not through the stages, or harmless.
    Ended(LineOutcome, Found),
    /// Through, and wanted by these scenarios.
    Through(Found, Option<Held>),
    /// It depends on the lines before it.
    NeedsOrder,
    /// Nothing at all: not even counted.
    Empty,
}

/// What was found in a line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// The time that it tells; of a line of the past, the time at which it is poured.
    pub(crate) time: Option<Timestamp>,
    /// Whether a live line goes by its own time.
    pub(crate) late: bool,
    /// Whether a live line has asked what time it is.
    pub(crate) asked: bool,
    /// `evt.Meta.source_ip` of a live line.
    pub(crate) address: Option<IpAddr>,
    /// Whether it is not poured because of that address.
    pub(crate) skipped: bool,
}

/// What a thread needs to parse a line.
#[derive(Clone, Copy)]
pub(crate) struct Task<'t> {
    pub(crate) engine: &'t Engine,
    /// Where the line comes from, and a number that tells it from others.
    pub(crate) source: &'t Source,
    pub(crate) number: u32,
    pub(crate) moment: Moment,
    /// Whether all lines before this one are done.
    pub(crate) ordered: bool,
    /// How dates without a year get one.
    pub(crate) years: YearClock,
    /// Whose live lines need not be poured.
    pub(crate) skip: Option<&'t dyn Skip>,
}

/// Says whose lines need not be poured: under overload, those of addresses about which enough is known.
pub trait Skip: Send + Sync {
    /// Whether the lines of this address are left out. Asked for every parsed line, by several threads.
    fn skips(&self, address: IpAddr) -> bool;
}

impl Task<'_> {
    pub(crate) fn parse<O: Observer>(
        self,
        worker: &mut Worker,
        selector: &mut Selector,
        text: &str,
        observer: &mut O,
        pours: &mut Pours,
    ) -> Parsed {
        if text.is_empty() {
            return Parsed::Empty;
        }
        let Moment { live, late, .. } = self.moment;
        let engine = self.engine;
        worker.counters.lines += 1;
        self.fill(worker, text);
        #[cfg(test)]
        assert!(!text.contains(PANIC), "a line of a test");
        let outcome = engine.parser(false, self.ordered, self.years).run(worker, observer);
        let Worker { record, counters, .. } = worker;
        let mut found = Found::default();
        if live {
            found.time = record.settle_clock(late);
            found.late = record.mode == Mode::Replay;
        } else {
            found.time = record.time;
        }
        let parsed = match outcome {
            Err(_) => {
                counters.dropped += 1;
                Parsed::Ended(LineOutcome::Dropped, found)
            }
            Ok(false) => Parsed::Ended(LineOutcome::Unparsed, found),
            Ok(true) => {
                counters.parsed += 1;
                if live {
                    found.address = net::parse_addr(record.text(engine.known.source_ip));
                }
                found.skipped =
                    self.skip.zip(found.address).is_some_and(|(skip, address)| skip.skips(address));
                if record.whitelisted {
                    counters.whitelisted += 1;
                    Parsed::Ended(LineOutcome::Whitelisted, found)
                } else if found.skipped {
                    counters.skipped += 1;
                    Parsed::Through(found, None)
                } else {
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
                    if held.is_some() && found.time.is_none() {
                        *record.needs_clock.get_mut() = true;
                    }
                    Parsed::Through(found, held)
                }
            }
        };
        observer.done(record, &engine.keys);
        let asked = *record.needs_clock.get_mut();
        if !self.ordered && (*record.needs_order.get_mut() || (asked && !live)) {
            return Parsed::NeedsOrder;
        }
        match parsed {
            Parsed::Ended(outcome, found) => Parsed::Ended(outcome, Found { asked, ..found }),
            Parsed::Through(found, held) => Parsed::Through(Found { asked, ..found }, held),
            other => other,
        }
    }

    /// Puts a line into a worker's record.
    fn fill(self, worker: &mut Worker, text: &str) {
        let record = &mut worker.record;
        if worker.source == Some(self.number) {
            record.rewind();
        } else {
            record.clear();
            record.set(keys::LINE_SRC, &self.source.name);
            record.set(keys::LINE_MODULE, &self.source.module);
            for (key, text) in &self.source.labels {
                record.set_key(&self.engine.keys, Space::Labels, key, text);
            }
            worker.source = record.set_base().then_some(self.number);
        }
        let Moment { arrival, now, live, .. } = self.moment;
        record.mode = if live { Mode::Live } else { Mode::Replay };
        record.live = live;
        record.now = now;
        record.arrival = arrival;
        record.set(keys::LINE_RAW, text);
    }
}
