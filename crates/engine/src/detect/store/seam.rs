//! Where the past meets the present: live lines are poured at their arrival, late ones at their own time, and
//! both may want the same bucket.
//!
//! While a bucket has seen lines of the past only, it does exactly what it does in a replay. From its first
//! live line on its time never goes back. A late line that trails it by no more than a live line may lag is
//! taken as happening at its last moment; one that lies further back goes to a second bucket of the same key,
//! which takes lines of the past only, so that it neither counts as a burst now nor earns tokens twice. When
//! there is only that second bucket, a live line goes on with it.

use testudo_event::Timestamp;

use super::{Buckets, Clocks, Emission, Pouring, table::Key};
use crate::{
    counters::Counters,
    record::{MAX_LAG, Mode},
};

/// Between two sweeps because time has passed: nanoseconds.
const SWEEP_PAUSE: i64 = 30_000_000_000;

impl Buckets {
    /// Which of the two buckets of a key takes an event, and at what time.
    pub(super) fn seam<'k>(
        &mut self,
        key: Key<'k>,
        mode: Mode,
        time: Option<Timestamp>,
    ) -> (Key<'k>, Option<Timestamp>) {
        let Some(time) = time else { return (key, None) };
        if self.tables.any_late() && self.tables.get_mut(key.late()).is_some() {
            if mode == Mode::Replay {
                return (key.late(), Some(time));
            }
            if self.tables.get_mut(key).is_none() {
                self.promote(key);
            }
        }
        let Some(bucket) = self.tables.get_mut(key) else { return (key, Some(time)) };
        if time >= bucket.last || (mode == Mode::Replay && bucket.mode == Mode::Replay) {
            return (key, Some(time));
        }
        if bucket.last.nanos_since(time) <= MAX_LAG {
            return (key, Some(bucket.last));
        }
        if mode == Mode::Live {
            bucket.rebase(time);
            return (key, Some(time));
        }
        (key.late(), Some(time))
    }

    /// Makes the bucket for lines of the past the one for live lines.
    fn promote(&mut self, key: Key<'_>) {
        let Some(bucket) = self.tables.remove(key.late()) else { return };
        if let Some(deadline) = bucket.deadline()
            && let Some((_, _, late)) = self.deadlines.get_mut(&deadline)
        {
            *late = false;
        }
        self.tables.insert(key.main(), bucket);
    }

    /// Moves the common clock to `now`: timed buckets overflow.
    pub(crate) fn advance_common(
        &mut self,
        now: Timestamp,
        pouring: &Pouring<'_>,
        counters: &mut Counters,
        emit: &mut Vec<Emission>,
    ) {
        let now = self.clocks.set_common(now);
        self.fire(Clocks::COMMON, now, pouring, counters, emit);
    }

    /// Counts a live line: now and then buckets are swept.
    pub(crate) fn count_line(&mut self, pouring: &Pouring<'_>) {
        self.seen += 1;
        if self.seen.is_multiple_of(super::SWEEP_EVERY) {
            self.sweep(pouring.scenarios);
        }
    }

    /// Forgets buckets and silences that are over, if that was long ago.
    pub(crate) fn sweep_at(&mut self, now: Timestamp, pouring: &Pouring<'_>) {
        let since = now.nanos_since(self.swept);
        if (0..SWEEP_PAUSE).contains(&since) {
            return;
        }
        self.swept = now;
        self.sweep(pouring.scenarios);
        let horizon = self.clocks.horizon(now);
        for blackhole in self.blackholes.values_mut() {
            blackhole.forget(horizon);
        }
    }

    /// A source has caught up: what waits for its clock waits for the common one from now on.
    pub(crate) fn catch_up(&mut self, source: u32) {
        self.clocks.set(source, None);
        let theirs: Vec<_> = self
            .deadlines
            .range((source, Timestamp::zero(), 0)..=(source, Timestamp::from_unix(i64::MAX, 0), u64::MAX))
            .map(|(at, _)| *at)
            .collect();
        for old in theirs {
            let Some((class, group, late)) = self.deadlines.remove(&old) else { continue };
            let new = (Clocks::COMMON, old.1, old.2);
            let key = self.tables.key(class, &group).of(late);
            if let Some(bucket) = self.tables.get_mut(key) {
                bucket.set_deadline(new);
            }
            self.deadlines.insert(new, (class, group, late));
        }
    }

    /// These numbers of sources are going to be used for others: their buckets go by the common clock.
    pub(crate) fn release(&mut self, sources: &[u32]) {
        for source in sources {
            self.catch_up(*source);
        }
        for bucket in self.tables.all_mut() {
            if sources.contains(&bucket.source) {
                bucket.source = Clocks::COMMON;
            }
        }
    }
}
