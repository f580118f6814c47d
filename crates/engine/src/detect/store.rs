//! All buckets, the silence after overflows, and the clocks by which both end.
//!
//! The table is bounded by a budget in bytes: when it is full the buckets whose last event is the
//! oldest go, then by key, and are counted. Clocks are those of the lines; nothing here reads the
//! time of the machine, so the same lines give the same result at any speed.

mod blackhole;
mod clocks;
mod seam;
mod state;
mod table;
#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use testudo_event::{Overflow, Timestamp};
use testudo_expr::program::Program;
use testudo_rules::plan::BucketKind;

pub(crate) use self::clocks::Clocks;
use self::{
    blackhole::Blackhole,
    table::{Key, Tables},
};
use super::{
    Frozen, Scenario, Scenarios,
    alert::{Alerts, mapkey},
    bucket::{Bucket, Deadline, Poured, Scoped},
    select::{Pour, ScopeText},
};
use crate::{
    counters::Counters,
    host::{BUCKET_VARIABLES, BucketHost, BucketView},
    record::Mode,
    snapshot::Snapshot,
};

/// Bytes that all buckets together may take before the oldest go.
pub(crate) const DEFAULT_BUCKET_BYTES: usize = 192 << 20;

/// Lines between two searches for buckets whose time is up.
const SWEEP_EVERY: u64 = 8_192;

/// An overflow that was not discarded.
#[derive(Debug)]
pub(crate) struct Emission {
    pub(crate) overflow: Overflow,
    pub(crate) mode: Mode,
    /// When the bucket ran over.
    pub(crate) time: Timestamp,
}

/// The buckets of a set of scenarios.
#[derive(Debug)]
pub(crate) struct Buckets {
    tables: Tables,
    /// Bytes of the buckets, and of their events: an event counts once, however many buckets have it.
    bytes: usize,
    budget: usize,
    /// Until when a bucket's key stays silent, by scenario.
    blackholes: HashMap<u32, Blackhole>,
    deadlines: Deadlines,
    next_deadline: u64,
    /// The latest good time of each source.
    pub(crate) clocks: Clocks,
    /// Whether lines come as they are written, so that those of the past are told apart.
    live: bool,
    seen: u64,
    /// When it was last swept because time has passed.
    swept: Timestamp,
    /// By scenario.
    counts: Vec<BucketCounts>,
}

/// Deadlines of buckets that overflow when their time is up: class, key, and whether it is one for lines of
/// the past beside one for live lines.
type Deadlines = BTreeMap<Deadline, (u32, Box<str>, bool)>;

/// What became of the buckets of a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketCounts {
    /// Made.
    pub(crate) instantiated: u64,
    /// Ran over and were told.
    pub(crate) overflowed: u64,
    /// Ended by `cancel_on`.
    pub(crate) canceled: u64,
    /// Ended without having run over.
    pub(crate) underflowed: u64,
    /// There now.
    pub(crate) open: u64,
}

/// What pouring needs of the engine.
pub(crate) struct Pouring<'p> {
    pub(crate) scenarios: &'p Scenarios,
    pub(crate) alerts: Alerts<'p>,
    /// Number of the source of the line.
    pub(crate) source: u32,
}

impl Buckets {
    /// For `scenarios` scenarios and this many bytes.
    pub(crate) fn new(budget: usize, scenarios: usize) -> Buckets {
        Buckets {
            tables: Tables::default(),
            bytes: 0,
            budget,
            blackholes: HashMap::new(),
            deadlines: BTreeMap::new(),
            next_deadline: 0,
            clocks: Clocks::default(),
            live: false,
            seen: 0,
            swept: Timestamp::zero(),
            counts: vec![BucketCounts::default(); scenarios],
        }
    }

    /// The same for lines that come as they are written.
    pub(crate) fn live(budget: usize, scenarios: usize) -> Buckets {
        Buckets { live: true, ..Buckets::new(budget, scenarios) }
    }

    /// What became of the buckets of each scenario.
    pub(crate) fn counts(&self) -> &[BucketCounts] {
        &self.counts
    }

    /// How many buckets there are.
    pub(crate) fn len(&self) -> usize {
        self.tables.len()
    }

    /// The latest good time of a source.
    pub(crate) fn clock(&self, source: u32) -> Option<Timestamp> {
        self.clocks.get(source)
    }

    /// Moves the clock of a source, lets timed buckets of that source overflow, and now and then
    /// forgets what is over. Called once for every line, before it is poured.
    pub(crate) fn advance(
        &mut self,
        source: u32,
        time: Option<Timestamp>,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
        emit: &mut Vec<Emission>,
    ) {
        self.seen += 1;
        if let Some(time) = time {
            self.clocks.set(source, Some(time));
            self.fire(source, time, pouring, counters, emit);
        }
        if self.seen.is_multiple_of(SWEEP_EVERY) {
            self.sweep(pouring.scenarios);
        }
    }

    fn fire(
        &mut self,
        source: u32,
        now: Timestamp,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
        emit: &mut Vec<Emission>,
    ) {
        loop {
            let due = self
                .deadlines
                .range((source, Timestamp::zero(), 0)..=(source, now, u64::MAX))
                .next()
                .map(|(at, _)| *at);
            let Some(at) = due else { return };
            let Some((class, group, late)) = self.deadlines.remove(&at) else { return };
            let key = self.tables.key(class, &group).of(late);
            let Some(bucket) = self.tables.remove(key) else { return };
            emit.extend(self.overflow(&bucket, &group, at.1, pouring, counters));
            self.end(bucket, End::Overflow);
        }
    }

    /// Forgets a bucket that is no longer in the table.
    fn end(&mut self, mut bucket: Box<Bucket>, how: End) {
        let bytes = end(&mut bucket, &mut self.deadlines, &mut self.counts, how);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn remove(&mut self, key: Key<'_>, how: End) {
        if let Some(bucket) = self.tables.remove(key) {
            self.end(bucket, how);
        }
    }

    /// Forgets buckets whose life ended a good while ago by the clock of their source.
    fn sweep(&mut self, scenarios: &Scenarios) {
        let Buckets { tables, clocks, deadlines, bytes, counts, .. } = self;
        tables.sweep(scenarios, clocks, |bucket| {
            *bytes = bytes.saturating_sub(end(bucket, deadlines, counts, End::Underflow));
        });
    }

    /// Makes room: the oldest eighth goes.
    fn evict(&mut self, counters: &mut Counters) {
        let Buckets { tables, deadlines, bytes, counts, .. } = self;
        tables.evict((tables.len() / 8).max(1), |bucket| {
            *bytes = bytes.saturating_sub(end(bucket, deadlines, counts, End::Underflow));
            counters.evicted += 1;
        });
    }

    /// Counts the bytes of an event that was poured, if a bucket has kept it. Called when all that wanted
    /// it have got it, while nothing else holds it.
    pub(crate) fn settle(&mut self, frozen: &Frozen<'_>) {
        if Arc::strong_count(frozen.event) > 1 {
            self.bytes += frozen.event.bytes();
        }
    }

    /// Pours a frozen event into the bucket of one of its scenarios.
    pub(crate) fn pour(
        &mut self,
        frozen: &Frozen<'_>,
        pour: &Pour,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
    ) -> Option<Emission> {
        let scenario = &pouring.scenarios.all[pour.scenario as usize];
        let event = frozen.event;
        let group = frozen.piece(pour.group);
        let mut key = self.tables.key(scenario.class, group);
        let mut time = match event.mode() {
            Mode::Live => Some(event.arrival()),
            Mode::Replay => event.marshaled(),
        };
        if self.live {
            (key, time) = self.seam(key, event.mode(), time);
        }
        let mut taken = self.tables.get_mut(key);
        if let (Some(bucket), Some(time)) = (&taken, time) {
            let owner = &pouring.scenarios.all[bucket.owner as usize];
            if bucket.is_expired(owner, time) && !owner.timed {
                self.remove(key, End::Underflow);
                taken = None;
            }
        }
        if taken.is_none() && scenario.plan.kind == BucketKind::Trigger {
            return self.trigger(frozen, pour, time, pouring, counters);
        }
        let is_fresh = taken.is_none();
        if is_fresh {
            if self.bytes >= self.budget {
                self.evict(counters);
            }
            let value = pour.distinct.map(|value| frozen.piece(value));
            let bucket = Bucket::new(pour.scenario, scenario, group, value, event.mode(), pouring.source);
            self.bytes += bucket.bytes();
            self.counts[pour.scenario as usize].instantiated += 1;
            self.counts[pour.scenario as usize].open += 1;
            self.tables.insert(key, Box::new(bucket));
        }
        let bucket = self.tables.get_mut(key)?;
        let owner = &pouring.scenarios.all[bucket.owner as usize];
        // Another document of the same name may have made the bucket: its hooks count.
        let pour = if bucket.owner == pour.scenario {
            pour
        } else {
            frozen.pours.iter().find(|p| p.scenario == bucket.owner).unwrap_or(pour)
        };
        bucket.source = pouring.source;
        if self.live && event.mode() == Mode::Live {
            bucket.mode = Mode::Live;
        }
        let (before, count) = (bucket.bytes(), bucket.count);
        let outcome = Step { scenario: owner, frozen, pour, time, pouring, group }.take(
            bucket,
            is_fresh,
            &mut self.bytes,
            counters,
        );
        // Every event that was taken in puts the deadline off; a counter's stands from its first.
        let counts = owner.plan.kind == BucketKind::Counter && count > 0;
        if owner.timed && outcome == Outcome::Stays && bucket.count > count && !counts {
            let at = (pouring.source, bucket.last.add_nanos(owner.lifetime), self.next_deadline);
            self.next_deadline += 1;
            if let Some(old) = bucket.set_deadline(at) {
                self.deadlines.remove(&old);
            }
            self.deadlines.insert(at, (key.class, group.into(), key.late));
        }
        self.bytes = (self.bytes + bucket.bytes()).saturating_sub(before);
        match outcome {
            Outcome::Stays => {
                let last = bucket.last;
                self.tables.note(key.class, owner, last);
                None
            }
            Outcome::Cancelled => {
                self.remove(key, End::Cancel);
                None
            }
            Outcome::Overflows => {
                let bucket = self.tables.remove(key)?;
                let emission = self.overflow(&bucket, group, bucket.last, pouring, counters);
                self.end(bucket, End::Overflow);
                emission
            }
        }
    }

    /// A trigger overflows at its only event: no bucket is ever stored.
    fn trigger(
        &mut self,
        frozen: &Frozen<'_>,
        pour: &Pour,
        time: Option<Timestamp>,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
    ) -> Option<Emission> {
        let scenario = &pouring.scenarios.all[pour.scenario as usize];
        let mode = frozen.event.mode();
        self.counts[pour.scenario as usize].instantiated += 1;
        let mut bucket = Bucket::new(pour.scenario, scenario, "", None, mode, pouring.source);
        bucket.trigger(time.unwrap_or(pouring.alerts.now), &poured(frozen, pour));
        self.overflow(&bucket, frozen.piece(pour.group), bucket.last, pouring, counters)
    }

    /// Builds the alert of a bucket that ran over at `time` and asks the hooks whether it is told.
    fn overflow(
        &mut self,
        bucket: &Bucket,
        group: &str,
        time: Timestamp,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
    ) -> Option<Emission> {
        counters.overflows += 1;
        let scenario = &pouring.scenarios.all[bucket.owner as usize];
        let build = || pouring.alerts.build(scenario, bucket, time, || mapkey(scenario, group));
        // Most overflows are silenced: unless somebody looks at them before, or building them does
        // something, they are built after that.
        let early = scenario.overflow_filter.is_some() || !pouring.alerts.are_pure();
        let mut overflow = early.then(build);
        if let Some(filter) = &scenario.overflow_filter {
            let mut host = host(pouring, None, scenario, bucket, group, time);
            // Where no alert could be made the filter sees an empty one.
            host.signal = overflow.as_ref().and_then(Option::as_ref);
            if matches!(filter.test(&mut host), Ok(false)) {
                counters.discarded += 1;
                return None;
            }
        }
        if scenario.plan.blackhole > 0 {
            // Filter and name are those of the scenario, so that the group stands for the whole key.
            let blackhole = self.blackholes.entry(bucket.owner).or_default();
            let horizon = self.clocks.horizon(time);
            if blackhole.silences(group, time, scenario.plan.blackhole, horizon) {
                counters.discarded += 1;
                return None;
            }
        }
        match overflow.take().unwrap_or_else(build) {
            Some(overflow) => {
                self.counts[bucket.owner as usize].overflowed += 1;
                Some(Emission { overflow, mode: bucket.mode, time })
            }
            None => {
                counters.discarded += 1;
                None
            }
        }
    }
}

/// How a bucket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Overflow,
    Cancel,
    /// Its time was up, or its room was needed.
    Underflow,
}

/// Forgets what a bucket has elsewhere, and gives the bytes that this frees.
fn end(bucket: &mut Bucket, deadlines: &mut Deadlines, counts: &mut [BucketCounts], how: End) -> usize {
    if let Some(counts) = counts.get_mut(bucket.owner as usize) {
        counts.open = counts.open.saturating_sub(1);
        match how {
            End::Overflow => {}
            End::Cancel => counts.canceled += 1,
            End::Underflow => counts.underflowed += 1,
        }
    }
    if let Some(deadline) = bucket.deadline() {
        deadlines.remove(&deadline);
    }
    let mut bytes = bucket.bytes();
    bucket.end(|event| bytes += released(event));
    bytes
}

/// Bytes that are free when an event has left a queue: none while another queue, or whoever is pouring
/// it, holds it.
fn released(event: Arc<Snapshot>) -> usize {
    if Arc::strong_count(&event) == 1 { event.bytes() } else { 0 }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stays,
    Cancelled,
    Overflows,
}

fn poured<'e>(frozen: &Frozen<'e>, pour: &Pour) -> Poured<'e> {
    Poured {
        event: frozen.event,
        address: frozen.address,
        scope: match pour.scope {
            ScopeText::None => Scoped::None,
            ScopeText::Failed => Scoped::Failed,
            ScopeText::Text(piece) => Scoped::Text(frozen.piece(piece)),
        },
    }
}

/// One event on its way into one bucket.
#[derive(Clone, Copy)]
struct Step<'s> {
    scenario: &'s Scenario,
    frozen: &'s Frozen<'s>,
    pour: &'s Pour,
    time: Option<Timestamp>,
    pouring: &'s Pouring<'s>,
    group: &'s str,
}

impl<'s> Step<'s> {
    /// Distinct, cancel, pour, condition, belief. `is_fresh`: the bucket was made for this event. The bytes
    /// of events that fall out of the queue are taken from `bytes`.
    fn take(
        self,
        bucket: &mut Bucket,
        is_fresh: bool,
        bytes: &mut usize,
        counters: &mut Counters,
    ) -> Outcome {
        let Step { scenario, frozen, pour, .. } = self;
        if let Some(distinct) = pour.distinct
            && !is_fresh
            && !bucket.is_new(frozen.piece(distinct))
        {
            return Outcome::Stays;
        }
        if pour.cancel {
            return Outcome::Cancelled;
        }
        match self.time {
            Some(time) => {
                let always = scenario.plan.kind == BucketKind::Conditional;
                let leave = |event| *bytes = bytes.saturating_sub(released(event));
                if bucket.pour(scenario, time, &poured(frozen, pour), always, leave) {
                    return Outcome::Overflows;
                }
            }
            None => counters.undated += 1,
        }
        if scenario.condition.is_none() && scenario.bayesian.is_empty() {
            return Outcome::Stays;
        }
        if let Some(condition) = self.condition(bucket) {
            match self.test(condition, bucket) {
                Some(true) => return Outcome::Overflows,
                Some(false) => {}
                None => counters.failed_expressions += 1,
            }
        }
        if self.believes(bucket, counters) { Outcome::Overflows } else { Outcome::Stays }
    }

    /// What an expression of the scenario says of the bucket; `None`: it failed.
    fn test(self, program: &Program, bucket: &Bucket) -> Option<bool> {
        let event = Some(&**self.frozen.event);
        let mut host = host(self.pouring, event, self.scenario, bucket, self.group, Timestamp::zero());
        program.test(&mut host).ok()
    }

    /// The condition in the form that can be asked now: the quick one, unless a predicate failed. `None`: there is
    /// none, or it cannot hold.
    fn condition(self, bucket: &mut Bucket) -> Option<&'s Program> {
        let scenario = self.scenario;
        let Some(quick) = &scenario.quick_condition else { return scenario.condition.as_ref() };
        // An event without a time has not entered the queue.
        if scenario.tally.keeps() && self.time.is_some() {
            let mut tallies = std::mem::take(&mut bucket.tallies);
            let programs = &scenario.tally.programs;
            let marks = tallies.enter(&scenario.tally, |at| self.test(&programs[at], bucket));
            bucket.tallies = tallies;
            bucket.mark(scenario, marks);
        }
        if !scenario.tally.asks_at(bucket.count) {
            return None;
        }
        if bucket.tallies.are_good() { Some(quick) } else { scenario.condition.as_ref() }
    }

    /// Weighs the evidence anew, in 32-bit floats as the reference does; true above the threshold.
    fn believes(self, bucket: &mut Bucket, counters: &mut Counters) -> bool {
        let Some(plan) = &self.scenario.plan.bayesian else { return false };
        let mut belief = plan.prior;
        for (at, (evidence, program)) in plan.conditions.iter().zip(&self.scenario.bayesian).enumerate() {
            let bit = 1_u64.checked_shl(at as u32).unwrap_or(0);
            let held = if evidence.guillotine && bucket.guillotined() & bit != 0 {
                true
            } else {
                match self.test(program, bucket) {
                    Some(held) => held,
                    None => {
                        counters.failed_expressions += 1;
                        continue;
                    }
                }
            };
            if held && evidence.guillotine {
                bucket.guillotine(bit);
            }
            let (evil, benign) = if held {
                (evidence.given_evil, evidence.given_benign)
            } else {
                (1.0 - evidence.given_evil, 1.0 - evidence.given_benign)
            };
            belief = evil * belief / (evil * belief + benign * (1.0 - belief));
        }
        belief > plan.threshold
    }
}

/// What expressions see of a bucket that ran over at `overflowed`; the zero instant: it did not.
fn host<'h>(
    pouring: &'h Pouring<'_>,
    event: Option<&'h Snapshot>,
    scenario: &'h Scenario,
    bucket: &'h Bucket,
    group: &'h str,
    overflowed: Timestamp,
) -> BucketHost<'h> {
    BucketHost {
        event,
        bucket: Some(BucketView {
            scenario,
            queue: &bucket.queue,
            bound: scenario.bound.map_or(-1, |bound| bound as i64),
            group,
            tallies: &bucket.tallies,
            first: bucket.first,
            last: bucket.last,
            overflowed,
            count: bucket.count,
            mode: bucket.mode,
        }),
        signal: None,
        keys: pouring.alerts.keys,
        world: pouring.alerts.world,
        now: pouring.alerts.now,
        variables: BUCKET_VARIABLES,
    }
}
