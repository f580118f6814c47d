//! One bucket: what it has counted, what it keeps, and whether one more event is too many.
//!
//! A flood of keys makes hundreds of thousands of buckets that see one event each: what more than
//! one event or few scenarios need is kept apart.

pub(super) mod cost;
mod queue;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use hashbrown::HashSet;
use testudo_event::{Contributor, Timestamp};

use self::cost::allocated;
pub(crate) use self::queue::Queue;
use super::{
    Scenario,
    limiter::Limiter,
    tally::{Marks, Tallies},
};
use crate::{record::Mode, snapshot::Snapshot};

/// Sources that one bucket counts apart; further ones are not counted.
const MAX_CONTRIBUTORS: usize = 1_024;

/// Bytes of a place in the table of buckets, at its emptiest, and in the list that evicting makes.
const PLACE: usize = 32;

/// Bytes of an entry in one of the collections that few buckets have.
const ENTRY: usize = 64;

/// What a scenario's scope expression gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scoped<T> {
    /// The scenario has none.
    None,
    /// It failed.
    Failed,
    /// Its text.
    Text(T),
}

/// A source, the instant on its clock, and a number that tells deadlines of one instant apart.
pub(crate) type Deadline = (u32, Timestamp, u64);

/// An event on its way into a bucket.
pub(crate) struct Poured<'e> {
    pub(crate) event: &'e Arc<Snapshot>,
    /// The address in `Meta.source_ip`.
    pub(crate) address: Option<IpAddr>,
    pub(crate) scope: Scoped<&'e str>,
}

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Its key, then the first value of `distinct`, which often stays the only one.
    text: Box<str>,
    key_len: u32,
    has_value: bool,
    /// Whether it stands beside one for live lines, and takes those of the past.
    pub(crate) late: bool,
    /// The scenario that created it: everything about it comes from there.
    pub(crate) owner: u32,
    /// Which source's clock it lives by.
    pub(crate) source: u32,
    pub(crate) mode: Mode,
    limiter: Limiter,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) count: u64,
    pub(crate) queue: Queue,
    /// What conditions ask of the queue.
    pub(crate) tallies: Tallies,
    /// The source of all events so far, unless [`Rare::contributors`] tells.
    address: Option<IpAddr>,
    rare: Option<Box<Rare>>,
}

/// What few buckets have.
#[derive(Debug, Default)]
struct Rare {
    /// When it overflows by itself: a place in the list of deadlines.
    deadline: Option<Deadline>,
    /// Bayesian conditions that were true once, by position.
    guillotined: u64,
    /// Further values of `distinct`.
    values: HashSet<Box<str>>,
    /// Accepted pours by source, where there were several.
    contributors: BTreeMap<IpAddr, (u64, Timestamp)>,
    /// What the scope expression said of each event of the queue, once it said something.
    scopes: VecDeque<Scoped<Box<str>>>,
    /// What the predicates of the scenario's conditions say of each event of a queue with a bound.
    marks: VecDeque<Marks>,
    /// Bytes of the values and scopes.
    texts: usize,
}

impl Bucket {
    /// An empty one. A first `value` of `distinct` is taken as seen.
    pub(crate) fn new(
        owner: u32,
        scenario: &Scenario,
        key: &str,
        value: Option<&str>,
        mode: Mode,
        source: u32,
    ) -> Bucket {
        Bucket {
            text: match value {
                None | Some("") => key.into(),
                Some(value) => [key, value].concat().into(),
            },
            key_len: key.len() as u32,
            has_value: value.is_some(),
            late: false,
            owner,
            source,
            mode,
            limiter: Limiter::new(scenario.rate),
            first: Timestamp::zero(),
            last: Timestamp::zero(),
            count: 0,
            queue: Queue::Empty,
            tallies: Tallies::default(),
            address: None,
            rare: None,
        }
    }

    /// The key that the events of this bucket share.
    pub(crate) fn key(&self) -> &str {
        self.text.get(..self.key_len as usize).unwrap_or("")
    }

    /// Whether its life is over at `time`: strictly later than its last event plus its lifetime.
    pub(crate) fn is_expired(&self, scenario: &Scenario, time: Timestamp) -> bool {
        self.count > 0 && time > self.last.add_nanos(scenario.lifetime)
    }

    /// Remembers a value of `distinct`; false if it was there.
    pub(crate) fn is_new(&mut self, value: &str) -> bool {
        if self.has_value && self.text.get(self.key_len as usize..) == Some(value) {
            return false;
        }
        if !self.has_value {
            self.has_value = true;
            self.text = [self.key(), value].concat().into();
            return true;
        }
        let rare = self.rare.get_or_insert_default();
        if rare.values.contains(value) {
            return false;
        }
        rare.texts += allocated(value.len());
        rare.values.insert(value.into())
    }

    /// Pours one event that happened at `time`; true if the bucket overflows. What falls out of the
    /// queue is given to `leave`.
    pub(crate) fn pour(
        &mut self,
        scenario: &Scenario,
        time: Timestamp,
        poured: &Poured<'_>,
        always: bool,
        leave: impl FnMut(Arc<Snapshot>),
    ) -> bool {
        self.contribute(poured.address, time);
        if self.count == 0 {
            self.first = time;
        }
        self.count += 1;
        self.last = time;
        let granted = self.limiter.allow(scenario.rate, time) || always;
        self.make_room(scenario, leave);
        self.append(poured);
        !granted
    }

    /// The only event of a trigger: no limiter, no queue bound.
    pub(crate) fn trigger(&mut self, time: Timestamp, poured: &Poured<'_>) {
        self.contribute(poured.address, time);
        self.count = 1;
        self.first = time;
        self.last = time;
        self.append(poured);
    }

    fn make_room(&mut self, scenario: &Scenario, mut leave: impl FnMut(Arc<Snapshot>)) {
        let Some(bound) = scenario.bound else { return };
        while self.queue.len() > bound {
            let Some(old) = self.queue.pop() else { return };
            if let Some(rare) = &mut self.rare {
                if let Some(marks) = rare.marks.pop_front() {
                    self.tallies.leave(&scenario.tally, marks);
                }
                if let Some(Scoped::Text(text)) = rare.scopes.pop_front() {
                    rare.texts = rare.texts.saturating_sub(allocated(text.len()));
                }
            }
            leave(old);
        }
    }

    fn append(&mut self, poured: &Poured<'_>) {
        let before = self.queue.len();
        self.queue.push(Arc::clone(poured.event));
        let scope: Scoped<Box<str>> = match poured.scope {
            Scoped::None if self.rare.as_ref().is_none_or(|rare| rare.scopes.is_empty()) => return,
            Scoped::None => Scoped::None,
            Scoped::Failed => Scoped::Failed,
            Scoped::Text(text) => Scoped::Text(Box::from(text)),
        };
        let rare = self.rare.get_or_insert_default();
        if rare.scopes.is_empty() {
            rare.scopes.resize_with(before, || Scoped::None);
        }
        if let Scoped::Text(text) = &scope {
            rare.texts += allocated(text.len());
        }
        rare.scopes.push_back(scope);
    }

    /// Says that what was its last moment is now: the clock of the machine was put back.
    pub(crate) fn rebase(&mut self, now: Timestamp) {
        self.last = now;
        self.first = self.first.min(now);
        self.limiter.rebase(now);
    }

    /// Remembers what the predicates said of the newest event, for when it leaves the queue.
    pub(crate) fn mark(&mut self, scenario: &Scenario, marks: Marks) {
        if scenario.bound.is_some() {
            self.rare.get_or_insert_default().marks.push_back(marks);
        }
    }

    /// The events with what the scope expression said of each.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&Snapshot, Scoped<&str>)> {
        let scopes = self.rare.as_ref().map(|rare| &rare.scopes);
        self.queue.iter().enumerate().map(move |(at, event)| {
            let scope = match scopes.and_then(|scopes| scopes.get(at)) {
                None | Some(Scoped::None) => Scoped::None,
                Some(Scoped::Failed) => Scoped::Failed,
                Some(Scoped::Text(text)) => Scoped::Text(&**text),
            };
            (event, scope)
        })
    }

    /// Gives all events to `leave`: the bucket is over.
    pub(crate) fn end(&mut self, leave: impl FnMut(Arc<Snapshot>)) {
        self.queue.drain().for_each(leave);
    }

    /// When it overflows by itself: a place in the list of deadlines.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.rare.as_ref()?.deadline
    }

    /// Sets when it overflows by itself; gives the place that it had before.
    pub(crate) fn set_deadline(&mut self, deadline: Deadline) -> Option<Deadline> {
        self.rare.get_or_insert_default().deadline.replace(deadline)
    }

    /// Bayesian conditions that were true once, by position.
    pub(crate) fn guillotined(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.guillotined)
    }

    /// Remembers that a Bayesian condition was true.
    pub(crate) fn guillotine(&mut self, bit: u64) {
        self.rare.get_or_insert_default().guillotined |= bit;
    }

    /// Counts a source. Comes before the event itself is counted.
    fn contribute(&mut self, address: Option<IpAddr>, time: Timestamp) {
        let apart = self.rare.as_ref().is_some_and(|rare| !rare.contributors.is_empty());
        if self.count == 0 {
            self.address = address;
        }
        if !apart && self.address == address {
            return;
        }
        let all = &mut self.rare.get_or_insert_default().contributors;
        if !apart && let Some(first) = self.address {
            all.insert(first, (self.count, self.last));
        }
        let Some(address) = address else { return };
        let full = all.len() >= MAX_CONTRIBUTORS;
        match all.get_mut(&address) {
            Some(known) => *known = (known.0 + 1, time),
            None if full => {}
            None => {
                all.insert(address, (1, time));
            }
        }
    }

    /// Who poured, ordered by address text.
    pub(crate) fn contributors(&self) -> Vec<Contributor> {
        let apart = self.rare.as_ref().map(|rare| &rare.contributors).filter(|all| !all.is_empty());
        let one =
            |address: IpAddr, count, last_seen| Contributor { value: address.to_string(), count, last_seen };
        match apart {
            None => self.address.iter().map(|address| one(*address, self.count, self.last)).collect(),
            Some(all) => {
                let mut list: Vec<Contributor> =
                    all.iter().map(|(address, (count, last))| one(*address, *count, *last)).collect();
                list.sort_by(|a, b| a.value.cmp(&b.value));
                list
            }
        }
    }

    /// Bytes that it takes, without its events.
    pub(crate) fn bytes(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| rare.bytes(self.key().len()));
        PLACE
            + allocated(size_of::<Bucket>())
            + allocated(self.text.len())
            + self.queue.bytes()
            + self.tallies.bytes()
            + rare
    }
}

impl Rare {
    fn bytes(&self, key: usize) -> usize {
        let values = self.values.capacity() * (size_of::<Box<str>>() + 4);
        let scopes = self.scopes.capacity() * size_of::<Scoped<Box<str>>>();
        let marks = self.marks.capacity() * size_of::<Marks>();
        let deadline = self.deadline.map_or(0, |_| 2 * ENTRY + allocated(key));
        allocated(size_of::<Rare>())
            + allocated(values)
            + allocated(scopes)
            + allocated(marks)
            + self.texts
            + self.contributors.len() * ENTRY
            + deadline
    }
}
