//! One bucket: what it has counted, what it keeps, and whether one more event is too many.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use hashbrown::HashSet;
use testudo_event::{Contributor, Timestamp};

use super::{
    Scenario,
    limiter::Limiter,
    tally::{Marks, Tallies},
};
use crate::{record::Mode, snapshot::Snapshot};

/// Sources that one bucket counts apart; further ones are not counted.
const MAX_CONTRIBUTORS: usize = 1_024;

/// What a scenario's scope expression gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scoped {
    /// The scenario has none.
    None,
    /// It failed.
    Failed,
    /// Its text.
    Text(Box<str>),
}

/// An event in a bucket, with what the scenario's scope expression said of it.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) event: Arc<Snapshot>,
    pub(crate) scope: Scoped,
    /// What the predicates of the scenario's conditions say of it.
    pub(crate) marks: Marks,
}

impl Queued {
    fn bytes(&self) -> usize {
        size_of::<Queued>() + self.event.bytes()
    }
}

/// A source, the instant on its clock, and a number that tells deadlines of one instant apart.
pub(crate) type Deadline = (u32, Timestamp, u64);

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// The scenario that created it: everything about it comes from there.
    pub(crate) owner: u32,
    /// Which source's clock it lives by.
    pub(crate) source: u32,
    pub(crate) mode: Mode,
    /// When it overflows by itself: a place in the list of deadlines.
    pub(crate) deadline: Option<Deadline>,
    limiter: Limiter,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Timestamp,
    pub(crate) overflowed: Option<Timestamp>,
    pub(crate) count: u64,
    pub(crate) queue: VecDeque<Queued>,
    /// What conditions ask of the queue.
    pub(crate) tallies: Tallies,
    /// Values of `distinct`: the first, which often stays the only one, and the others.
    first_seen: Option<Box<str>>,
    seen: HashSet<Box<str>>,
    /// Bayesian conditions that were true once, by position.
    pub(crate) guillotined: u64,
    contributors: Contributors,
    pub(crate) bytes: usize,
}

impl Bucket {
    pub(crate) fn new(owner: u32, scenario: &Scenario, mode: Mode, source: u32) -> Bucket {
        Bucket {
            owner,
            source,
            mode,
            deadline: None,
            limiter: Limiter::new(scenario.rate),
            first: None,
            last: Timestamp::zero(),
            overflowed: None,
            count: 0,
            queue: VecDeque::new(),
            tallies: Tallies::default(),
            first_seen: None,
            seen: HashSet::new(),
            guillotined: 0,
            contributors: Contributors::default(),
            bytes: size_of::<Bucket>(),
        }
    }

    /// Whether its life is over at `time`: strictly later than its last event plus its lifetime.
    pub(crate) fn is_expired(&self, scenario: &Scenario, time: Timestamp) -> bool {
        self.first.is_some() && time > self.last.add_nanos(scenario.lifetime)
    }

    /// Remembers a value of `distinct`; false if it was there.
    pub(crate) fn is_new(&mut self, value: &str) -> bool {
        match &self.first_seen {
            None => self.first_seen = Some(value.into()),
            Some(first) if **first == *value => return false,
            Some(_) if self.seen.contains(value) => return false,
            Some(_) => {
                self.seen.insert(value.into());
            }
        }
        self.bytes += value.len() + size_of::<Box<str>>() * 2;
        true
    }

    /// Pours one event that happened at `time`; true if the bucket overflows.
    pub(crate) fn pour(
        &mut self,
        scenario: &Scenario,
        time: Timestamp,
        queued: Queued,
        always: bool,
    ) -> bool {
        self.count += 1;
        self.first.get_or_insert(time);
        self.last = time;
        if let Some(address) = queued.event.address {
            self.contributors.add(address, time);
        }
        let granted = self.limiter.allow(scenario.rate, time) || always;
        self.append(scenario, queued);
        if !granted {
            self.overflowed = Some(time);
        }
        !granted
    }

    fn append(&mut self, scenario: &Scenario, queued: Queued) {
        if let Some(bound) = scenario.bound {
            while self.queue.len() > bound {
                if let Some(old) = self.queue.pop_front() {
                    self.tallies.leave(old.marks);
                    self.bytes = self.bytes.saturating_sub(old.bytes());
                }
            }
        }
        self.bytes += queued.bytes();
        self.queue.push_back(queued);
    }

    /// The only event of a trigger: no limiter, no queue bound.
    pub(crate) fn trigger(&mut self, time: Timestamp, queued: Queued) {
        self.count = 1;
        self.first = Some(time);
        self.last = time;
        self.overflowed = Some(time);
        if let Some(address) = queued.event.address {
            self.contributors.add(address, time);
        }
        self.queue.push_back(queued);
    }

    /// Who poured, ordered by address text.
    pub(crate) fn contributors(&self) -> Vec<Contributor> {
        self.contributors.list()
    }
}

/// Accepted pours by source. Nearly all buckets have one source, which takes no table.
#[derive(Debug, Default)]
struct Contributors {
    first: Option<(IpAddr, u64, Timestamp)>,
    others: BTreeMap<IpAddr, (u64, Timestamp)>,
}

impl Contributors {
    fn add(&mut self, address: IpAddr, time: Timestamp) {
        match &mut self.first {
            None => self.first = Some((address, 1, time)),
            Some((known, count, last)) if *known == address => {
                *count += 1;
                *last = time;
            }
            Some(_) => {
                let others = &mut self.others;
                let full = others.len() + 1 >= MAX_CONTRIBUTORS;
                match others.get_mut(&address) {
                    Some((count, last)) => {
                        *count += 1;
                        *last = time;
                    }
                    None if full => {}
                    None => {
                        others.insert(address, (1, time));
                    }
                }
            }
        }
    }

    fn list(&self) -> Vec<Contributor> {
        let first = self.first.iter().map(|(address, count, last)| (address, *count, *last));
        let others = self.others.iter().map(|(address, (count, last))| (address, *count, *last));
        let mut list: Vec<Contributor> = first
            .chain(others)
            .map(|(address, count, last_seen)| Contributor { value: address.to_string(), count, last_seen })
            .collect();
        list.sort_by(|a, b| a.value.cmp(&b.value));
        list
    }
}
