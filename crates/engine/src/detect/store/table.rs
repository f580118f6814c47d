//! The buckets by key: one table for each class of scenarios, so that what lives for hours does not
//! stand in the way of sweeping what lives for seconds.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};
use testudo_event::Timestamp;

use super::{
    super::{Scenario, Scenarios, bucket::Bucket},
    Clocks,
};

/// Nanoseconds that a bucket is kept beyond its life, for lines that come out of order.
const GRACE: i64 = 60_000_000_000;

/// Which bucket: scenarios of one class share theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'k> {
    pub(super) class: u32,
    pub(super) group: &'k str,
    /// Whether the bucket for lines of the past is meant, where one for live lines stands beside it.
    pub(super) late: bool,
    hash: u64,
}

impl Key<'_> {
    /// The bucket for live lines, or the only one.
    pub(super) fn main(self) -> Self {
        Key { late: false, ..self }
    }

    /// The bucket for lines of the past beside it.
    pub(super) fn late(self) -> Self {
        Key { late: true, ..self }
    }

    /// One or the other.
    pub(super) fn of(self, late: bool) -> Self {
        Key { late, ..self }
    }

    fn is_of(&self, bucket: &Bucket) -> bool {
        bucket.late == self.late && bucket.key() == self.group
    }
}

#[derive(Debug)]
struct Table {
    /// Boxed: a table grows by doubling, and most of it is air.
    buckets: HashTable<Box<Bucket>>,
    /// No bucket that can be swept had its last event before this.
    oldest: Timestamp,
    /// No such bucket lives shorter than this.
    shortest: i64,
}

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct Tables {
    by_class: Vec<Table>,
    hasher: DefaultHashBuilder,
    len: usize,
    /// How many of them stand beside one for live lines.
    late: usize,
}

impl Table {
    fn new() -> Table {
        Table { buckets: HashTable::new(), oldest: Timestamp::zero(), shortest: i64::MAX }
    }
}

/// When a bucket can be forgotten: its life ended a good while ago.
fn is_over(bucket: &Bucket, scenario: &Scenario, clock: Timestamp) -> bool {
    !scenario.timed && clock > bucket.last.add_nanos(scenario.lifetime).add_nanos(GRACE)
}

impl Tables {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The key of a bucket.
    pub(super) fn key<'k>(&self, class: u32, group: &'k str) -> Key<'k> {
        Key { class, group, late: false, hash: self.hasher.hash_one(group) }
    }

    pub(super) fn get_mut(&mut self, key: Key<'_>) -> Option<&mut Bucket> {
        let table = self.by_class.get_mut(key.class as usize)?;
        table.buckets.find_mut(key.hash, |bucket| key.is_of(bucket)).map(|bucket| &mut **bucket)
    }

    /// Puts a bucket in, which must not be there yet.
    pub(super) fn insert(&mut self, key: Key<'_>, mut bucket: Box<Bucket>) {
        bucket.late = key.late;
        let class = key.class as usize;
        if self.by_class.len() <= class {
            self.by_class.resize_with(class + 1, Table::new);
        }
        self.len += 1;
        self.late += usize::from(key.late);
        let hasher = &self.hasher;
        let table = &mut self.by_class[class].buckets;
        table.insert_unique(key.hash, bucket, |bucket| hasher.hash_one(bucket.key()));
    }

    pub(super) fn remove(&mut self, key: Key<'_>) -> Option<Box<Bucket>> {
        let table = self.by_class.get_mut(key.class as usize)?;
        let found = table.buckets.find_entry(key.hash, |bucket| key.is_of(bucket)).ok()?;
        self.len -= 1;
        self.late -= usize::from(key.late);
        Some(found.remove().0)
    }

    /// Notes that a bucket of this class and scenario had its last event at this time.
    pub(super) fn note(&mut self, class: u32, scenario: &Scenario, last: Timestamp) {
        let Some(table) = self.by_class.get_mut(class as usize) else { return };
        if scenario.timed {
            return;
        }
        if table.shortest == i64::MAX || last < table.oldest {
            table.oldest = last;
        }
        table.shortest = table.shortest.min(scenario.lifetime);
    }

    /// Forgets buckets whose life ended a good while ago by the clock of their source, and shows each
    /// to `end`.
    pub(super) fn sweep(&mut self, scenarios: &Scenarios, clocks: &Clocks, mut end: impl FnMut(&mut Bucket)) {
        let Some(latest) = clocks.latest() else { return };
        for table in &mut self.by_class {
            if table.shortest == i64::MAX || latest <= table.oldest.add_nanos(table.shortest).add_nanos(GRACE)
            {
                continue;
            }
            let (before, mut oldest) = (table.buckets.len(), None::<Timestamp>);
            table.buckets.retain(|bucket| {
                let scenario = &scenarios.all[bucket.owner as usize];
                let clock = clocks.for_sweeping(bucket.source);
                if clock.is_some_and(|clock| is_over(bucket, scenario, clock)) {
                    self.late -= usize::from(bucket.late);
                    end(bucket);
                    return false;
                }
                if !scenario.timed {
                    oldest = Some(oldest.map_or(bucket.last, |oldest| oldest.min(bucket.last)));
                }
                true
            });
            self.len -= before - table.buckets.len();
            match oldest {
                Some(oldest) => table.oldest = oldest,
                // The next one that is noted sets both.
                None => table.shortest = i64::MAX,
            }
        }
    }

    /// Forgets this many buckets, those whose last event is the oldest, then by key; each is shown
    /// to `end`.
    pub(super) fn evict(&mut self, count: usize, mut end: impl FnMut(&mut Bucket)) {
        let count = count.min(self.len);
        let Some(last) = count.checked_sub(1) else { return };
        // First by whole seconds, which takes eight bytes for each bucket, not a copy of its key.
        let mut seconds: Vec<i64> = Vec::with_capacity(self.len);
        seconds.extend(self.all().map(|(_, bucket)| bucket.last.unix()));
        let (older, second, _) = seconds.select_nth_unstable(last);
        let second = *second;
        let left = count - older.iter().filter(|s| **s < second).count();
        drop(seconds);
        let rank = |class: u32, bucket: &Bucket| (bucket.last, class, bucket.late);
        let mut tied: Vec<(u32, &Bucket)> =
            self.all().filter(|(_, bucket)| bucket.last.unix() == second).collect();
        let by_rank = |a: &(u32, &Bucket), b: &(u32, &Bucket)| {
            rank(a.0, a.1).cmp(&rank(b.0, b.1)).then_with(|| a.1.key().cmp(b.1.key()))
        };
        let (_, (class, bucket), _) = tied.select_nth_unstable_by(left.saturating_sub(1), by_rank);
        // The newest that goes.
        let bound = (rank(*class, bucket), Box::<str>::from(bucket.key()));
        for (class, table) in (0..).zip(&mut self.by_class) {
            table.buckets.retain(|bucket| {
                let goes = (rank(class, bucket), bucket.key()) <= (bound.0, &*bound.1);
                if goes {
                    self.late -= usize::from(bucket.late);
                    end(bucket);
                }
                !goes
            });
        }
        self.len -= count;
    }

    /// Whether any bucket stands beside one for live lines.
    pub(super) fn any_late(&self) -> bool {
        self.late > 0
    }

    /// All buckets, to be changed in what is no part of their key.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.by_class.iter_mut().flat_map(|table| table.buckets.iter_mut().map(|bucket| &mut **bucket))
    }

    /// All buckets with their classes.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Bucket)> {
        (0..)
            .zip(&self.by_class)
            .flat_map(|(class, table)| table.buckets.iter().map(move |bucket| (class, &**bucket)))
    }
}
