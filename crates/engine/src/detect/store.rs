//! All buckets, the silence after overflows, and the clocks by which both end.
//!
//! The table is bounded by a budget in bytes: when it is full the buckets whose last event is the
//! oldest go, then by key, and are counted. Clocks are those of the lines; nothing here reads the
//! time of the machine, so the same lines give the same result at any speed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap as StdHashMap},
    sync::Arc,
};

use hashbrown::HashMap;
use testudo_event::{Overflow, Timestamp};
use testudo_expr::{Value, eval::eval, program::Program};
use testudo_rules::plan::BucketKind;

use super::{
    Frozen, Scenario, Scenarios,
    alert::{Alerts, mapkey},
    bucket::{Bucket, Deadline, Queued, Scoped},
    select::{Pour, ScopeText},
    tally::Marks,
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

/// Nanoseconds that a bucket is kept beyond its life, for lines that come out of order.
const GRACE: i64 = 60_000_000_000;

/// An overflow that was not discarded.
#[derive(Debug)]
pub(crate) struct Emission {
    pub(crate) overflow: Overflow,
    pub(crate) mode: Mode,
    /// When the bucket ran over.
    pub(crate) time: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    class: u32,
    group: Box<str>,
}

/// A key that is not owned yet.
#[derive(Hash)]
struct KeyRef<'k> {
    class: u32,
    group: &'k str,
}

impl hashbrown::Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.class == key.class && *self.group == *key.group
    }
}

impl From<&KeyRef<'_>> for Key {
    fn from(key: &KeyRef<'_>) -> Key {
        Key { class: key.class, group: key.group.into() }
    }
}

/// The buckets of a set of scenarios.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// Boxed: a table grows by doubling, and most of it is air.
    table: HashMap<Key, Box<Bucket>>,
    bytes: usize,
    budget: usize,
    /// Until when a bucket's key stays silent, by scenario.
    blackholes: StdHashMap<u32, Blackhole>,
    /// Deadlines of buckets that overflow when their time is up.
    deadlines: BTreeMap<Deadline, Key>,
    next_deadline: u64,
    /// The latest good time of each source.
    clocks: Vec<Option<Timestamp>>,
    seen: u64,
}

#[derive(Debug, Default)]
struct Blackhole {
    until: StdHashMap<Arc<str>, Timestamp>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Blackhole {
    /// Whether an overflow of this key at this time is silenced; if not, arms it. What has ended by
    /// this time is forgotten, whatever its key: a later overflow may lie before it.
    fn silences(&mut self, key: &str, time: Timestamp, length: i64) -> bool {
        while let Some((_, over)) = self.order.first().filter(|(until, _)| *until <= time).cloned() {
            self.order.pop_first();
            self.until.remove(&over);
        }
        if self.until.contains_key(key) {
            return true;
        }
        let (key, until) = (Arc::<str>::from(key), time.add_nanos(length));
        self.order.insert((until, Arc::clone(&key)));
        self.until.insert(key, until);
        false
    }
}

/// What pouring needs of the engine.
pub(crate) struct Pouring<'p> {
    pub(crate) scenarios: &'p Scenarios,
    pub(crate) alerts: Alerts<'p>,
    /// Number of the source of the line.
    pub(crate) source: u32,
}

impl Buckets {
    pub(crate) fn new(budget: usize) -> Buckets {
        Buckets {
            table: HashMap::new(),
            bytes: 0,
            budget,
            blackholes: StdHashMap::new(),
            deadlines: BTreeMap::new(),
            next_deadline: 0,
            clocks: Vec::new(),
            seen: 0,
        }
    }

    /// How many buckets there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The latest good time of a source.
    pub(crate) fn clock(&self, source: u32) -> Option<Timestamp> {
        self.clocks.get(source as usize).copied().flatten()
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
        if self.clocks.len() <= source as usize {
            self.clocks.resize(source as usize + 1, None);
        }
        if let Some(time) = time {
            self.clocks[source as usize] = Some(time);
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
            let Some(key) = self.deadlines.remove(&at) else { return };
            let Some(mut bucket) = self.remove(&key) else { return };
            bucket.overflowed = Some(at.1);
            emit.extend(self.overflow(&bucket, &key.group, pouring, counters));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Box<Bucket>> {
        let bucket = self.table.remove(key)?;
        if let Some(deadline) = bucket.deadline {
            self.deadlines.remove(&deadline);
        }
        self.bytes = self.bytes.saturating_sub(bucket.bytes + key.group.len());
        Some(bucket)
    }

    /// Forgets buckets whose life ended a good while ago by the clock of their source.
    fn sweep(&mut self, scenarios: &Scenarios) {
        let clocks = &self.clocks;
        let bytes = &mut self.bytes;
        self.table.retain(|key, bucket| {
            let scenario = &scenarios.all[bucket.owner as usize];
            let over = clocks.get(bucket.source as usize).copied().flatten().is_some_and(|clock| {
                !scenario.timed && clock > bucket.last.add_nanos(scenario.lifetime).add_nanos(GRACE)
            });
            if over {
                *bytes = bytes.saturating_sub(bucket.bytes + key.group.len());
            }
            !over
        });
    }

    /// Makes room: the oldest eighth goes.
    fn evict(&mut self, counters: &mut Counters) {
        let mut order: Vec<(Timestamp, Key)> =
            self.table.iter().map(|(key, bucket)| (bucket.last, key.clone())).collect();
        let count = (order.len() / 8).max(1);
        if count < order.len() {
            order.select_nth_unstable(count);
        }
        for (_, key) in order.into_iter().take(count) {
            self.remove(&key);
            counters.evicted += 1;
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
        let key = KeyRef { class: scenario.class, group: frozen.piece(pour.group) };
        let time = match event.mode {
            Mode::Live => Some(event.arrival),
            Mode::Replay => event.marshaled,
        };
        let mut taken = self.table.get_mut(&key);
        if let (Some(bucket), Some(time)) = (&taken, time) {
            let owner = &pouring.scenarios.all[bucket.owner as usize];
            if bucket.is_expired(owner, time) && !owner.timed {
                let key = Key::from(&key);
                self.remove(&key);
                taken = None;
            }
        }
        if taken.is_none() && scenario.plan.kind == BucketKind::Trigger {
            return self.trigger(frozen, pour, time, pouring, counters);
        }
        if taken.is_none() {
            if self.bytes >= self.budget {
                self.evict(counters);
            }
            let bucket = Bucket::new(pour.scenario, scenario, event.mode, pouring.source);
            self.bytes += bucket.bytes + key.group.len();
            self.table.insert(Key::from(&key), Box::new(bucket));
        }
        let bucket = self.table.get_mut(&key)?;
        let owner = &pouring.scenarios.all[bucket.owner as usize];
        // Another document of the same name may have made the bucket: its hooks count.
        let pour = if bucket.owner == pour.scenario {
            pour
        } else {
            frozen.pours.iter().find(|p| p.scenario == bucket.owner).unwrap_or(pour)
        };
        bucket.source = pouring.source;
        let (before, count) = (bucket.bytes, bucket.count);
        let outcome = step(bucket, owner, frozen, pour, time, pouring, key.group, counters);
        self.bytes = (self.bytes + bucket.bytes).saturating_sub(before);
        // Every event that was taken in puts the deadline off; a counter's stands from its first.
        let counts = owner.plan.kind == BucketKind::Counter && count > 0;
        if owner.timed && outcome == Outcome::Stays && bucket.count > count && !counts {
            let at = (pouring.source, bucket.last.add_nanos(owner.lifetime), self.next_deadline);
            self.next_deadline += 1;
            if let Some(old) = bucket.deadline.replace(at) {
                self.deadlines.remove(&old);
            }
            self.deadlines.insert(at, Key::from(&key));
        }
        match outcome {
            Outcome::Stays => None,
            Outcome::Cancelled => {
                self.remove(&Key::from(&key));
                None
            }
            Outcome::Overflows => {
                let key = Key::from(&key);
                let bucket = self.remove(&key)?;
                self.overflow(&bucket, &key.group, pouring, counters)
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
        let mut bucket = Bucket::new(pour.scenario, scenario, frozen.event.mode, pouring.source);
        let time = time.unwrap_or(pouring.alerts.now);
        bucket.trigger(time, queued(frozen, pour));
        self.overflow(&bucket, frozen.piece(pour.group), pouring, counters)
    }

    /// Builds the alert of a bucket that ran over and asks the hooks whether it is told.
    fn overflow(
        &mut self,
        bucket: &Bucket,
        group: &str,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
    ) -> Option<Emission> {
        counters.overflows += 1;
        let scenario = &pouring.scenarios.all[bucket.owner as usize];
        let mapkey = mapkey(scenario, group);
        let overflow = pouring.alerts.build(scenario, bucket, &mapkey);
        let time = bucket.overflowed.unwrap_or(bucket.last);
        if let Some(filter) = &scenario.overflow_filter {
            let mut host = host(pouring, None, scenario, bucket, group);
            // Where no alert could be made the filter sees an empty one.
            host.signal = overflow.as_ref();
            if matches!(filter.test(&mut host), Ok(false)) {
                counters.discarded += 1;
                return None;
            }
        }
        if scenario.plan.blackhole > 0 {
            let blackhole = self.blackholes.entry(bucket.owner).or_default();
            if blackhole.silences(&mapkey, time, scenario.plan.blackhole) {
                counters.discarded += 1;
                return None;
            }
        }
        match overflow {
            Some(overflow) => Some(Emission { overflow, mode: bucket.mode, time }),
            None => {
                counters.discarded += 1;
                None
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Stays,
    Cancelled,
    Overflows,
}

fn queued(frozen: &Frozen<'_>, pour: &Pour) -> Queued {
    Queued {
        event: Arc::clone(frozen.event),
        scope: match pour.scope {
            ScopeText::None => Scoped::None,
            ScopeText::Failed => Scoped::Failed,
            ScopeText::Text(piece) => Scoped::Text(frozen.piece(piece).into()),
        },
        marks: Marks::default(),
    }
}

/// One event into one bucket: distinct, cancel, pour, condition, belief.
#[expect(clippy::too_many_arguments, reason = "one step of one bucket, all of it needed")]
fn step(
    bucket: &mut Bucket,
    scenario: &Scenario,
    frozen: &Frozen<'_>,
    pour: &Pour,
    time: Option<Timestamp>,
    pouring: &Pouring<'_>,
    group: &str,
    counters: &mut Counters,
) -> Outcome {
    if scenario.plan.kind == BucketKind::Trigger {
        bucket.trigger(time.unwrap_or(pouring.alerts.now), queued(frozen, pour));
        return Outcome::Overflows;
    }
    if let Some(distinct) = pour.distinct
        && !bucket.is_new(frozen.piece(distinct))
    {
        return Outcome::Stays;
    }
    if pour.cancel {
        return Outcome::Cancelled;
    }
    match time {
        Some(time) => {
            let always = scenario.plan.kind == BucketKind::Conditional;
            if bucket.pour(scenario, time, queued(frozen, pour), always) {
                return Outcome::Overflows;
            }
        }
        None => counters.undated += 1,
    }
    if scenario.condition.is_none() && scenario.bayesian.is_empty() {
        return Outcome::Stays;
    }
    let event = Some(&**frozen.event);
    if let Some(condition) = condition(bucket, scenario, event, pouring, group, time.is_some()) {
        match condition.test(&mut host(pouring, event, scenario, bucket, group)) {
            Ok(true) => {
                bucket.overflowed = Some(bucket.last);
                return Outcome::Overflows;
            }
            Ok(false) => {}
            Err(_) => counters.failed_expressions += 1,
        }
    }
    if believes(bucket, scenario, event, pouring, group, counters) {
        bucket.overflowed = Some(bucket.last);
        return Outcome::Overflows;
    }
    Outcome::Stays
}

/// The condition in the form that can be asked now: the quick one, unless a predicate failed. `entered`:
/// the newest event of the queue is this one.
fn condition<'s>(
    bucket: &mut Bucket,
    scenario: &'s Scenario,
    event: Option<&Snapshot>,
    pouring: &Pouring<'_>,
    group: &str,
    entered: bool,
) -> Option<&'s Program> {
    let Some(quick) = &scenario.quick_condition else { return scenario.condition.as_ref() };
    if entered {
        let mut tallies = std::mem::take(&mut bucket.tallies);
        let marks = tallies.enter(&scenario.tally, |predicate| {
            match eval(predicate, &mut host(pouring, event, scenario, bucket, group)) {
                Ok(Value::Bool(holds)) => Some(holds),
                _ => None,
            }
        });
        bucket.tallies = tallies;
        if let Some(newest) = bucket.queue.back_mut() {
            newest.marks = marks;
        }
    }
    if bucket.tallies.are_good() { Some(quick) } else { scenario.condition.as_ref() }
}

fn host<'h>(
    pouring: &'h Pouring<'_>,
    event: Option<&'h Snapshot>,
    scenario: &'h Scenario,
    bucket: &'h Bucket,
    group: &'h str,
) -> BucketHost<'h> {
    BucketHost {
        event,
        bucket: Some(BucketView {
            scenario,
            queue: &bucket.queue,
            bound: scenario.bound.map_or(-1, |bound| bound as i64),
            group,
            tallies: &bucket.tallies,
            first: bucket.first.unwrap_or(bucket.last),
            last: bucket.last,
            overflowed: bucket.overflowed.unwrap_or(Timestamp::zero()),
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

/// Weighs the evidence anew, in 32-bit floats as the reference does; true above the threshold.
fn believes(
    bucket: &mut Bucket,
    scenario: &Scenario,
    event: Option<&Snapshot>,
    pouring: &Pouring<'_>,
    group: &str,
    counters: &mut Counters,
) -> bool {
    let Some(plan) = &scenario.plan.bayesian else { return false };
    let mut belief = plan.prior;
    for (at, (evidence, program)) in plan.conditions.iter().zip(&scenario.bayesian).enumerate() {
        let bit = 1_u64.checked_shl(at as u32).unwrap_or(0);
        let held = if evidence.guillotine && bucket.guillotined & bit != 0 {
            true
        } else {
            match seen(program, pouring, event, scenario, bucket, group) {
                Some(held) => held,
                None => {
                    counters.failed_expressions += 1;
                    continue;
                }
            }
        };
        if held && evidence.guillotine {
            bucket.guillotined |= bit;
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

fn seen(
    program: &Program,
    pouring: &Pouring<'_>,
    event: Option<&Snapshot>,
    scenario: &Scenario,
    bucket: &Bucket,
    group: &str,
) -> Option<bool> {
    program.test(&mut host(pouring, event, scenario, bucket, group)).ok()
}
