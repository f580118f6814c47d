//! What may be asked for, and how often: the limits of the API, and our share of them.
//!
//! Times are milliseconds since 1970, since some limits are counted by the day and outlive a restart.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Requests of any kind: 1 200 in five minutes for one user, over all tokens of that user.
    Requests,
    /// Requests about items of lists: 30 000 in twelve hours.
    ListRequests,
    /// Items that are added or removed: 1 000 000 in twelve hours.
    ListItems,
    /// Keys that are written to Workers KV: 1 000 a day on the free plan.
    KvWrites,
    /// Keys that are deleted there: 1 000 a day on the free plan.
    KvDeletes,
    /// Listings of keys: 1 000 a day on the free plan.
    KvLists,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 6] =
        [Kind::Requests, Kind::ListRequests, Kind::ListItems, Kind::KvWrites, Kind::KvDeletes, Kind::KvLists];

    /// The name as it stands in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Requests => "requests",
            Kind::ListRequests => "list_requests",
            Kind::ListItems => "list_items",
            Kind::KvWrites => "kv_writes",
            Kind::KvDeletes => "kv_deletes",
            Kind::KvLists => "kv_lists",
        }
    }
}

/// How much there may be of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub kind: Kind,
    /// The most.
    pub most: u64,
    /// In any stretch of so many milliseconds.
    pub period_ms: u64,
}

/// Slots in which a period is counted: what was spent counts for up to a slot longer than it must.
const SLOTS: u64 = 60;

/// What was spent: by kind, since when and how much. It outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Budget {
    spent: BTreeMap<Kind, VecDeque<(u64, u64)>>,
}

/// The limits, what was spent of them, and whether the API has asked for a pause.
#[derive(Clone, Debug)]
pub struct Gauge {
    limits: Vec<Limit>,
    budget: Budget,
    paused_until: u64,
}

impl Gauge {
    /// Begins with what an earlier run has spent.
    pub fn new(limits: Vec<Limit>, budget: Budget) -> Self {
        Gauge { limits, budget, paused_until: 0 }
    }

    /// What was spent.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Nothing is asked before this.
    pub fn pause(&mut self, until: u64) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Until when nothing is asked.
    pub fn paused_until(&self) -> u64 {
        self.paused_until
    }

    /// How much may be spent now, `reserve` being left for others; everything, where there is no limit.
    pub fn left(&mut self, kind: Kind, reserve: u64, now: u64) -> u64 {
        let Some(limit) = self.limits.iter().find(|limit| limit.kind == kind) else { return u64::MAX };
        let spent = self.budget.spent.entry(kind).or_default();
        // A slot that lies ahead is of a clock that was put back.
        for (at, _) in spent.iter_mut() {
            *at = (*at).min(now);
        }
        let slot = limit.period_ms / SLOTS;
        while spent.front().is_some_and(|(at, _)| now - at >= limit.period_ms + slot) {
            spent.pop_front();
        }
        let sum: u64 = spent.iter().map(|(_, count)| count).sum();
        limit.most.saturating_sub(reserve).saturating_sub(sum)
    }

    /// The limit of a kind, if it has one.
    pub fn most(&self, kind: Kind) -> Option<u64> {
        self.limits.iter().find(|limit| limit.kind == kind).map(|limit| limit.most)
    }

    /// When something may be spent again that may not be spent now.
    pub fn free_at(&self, kind: Kind, now: u64) -> u64 {
        let Some(limit) = self.limits.iter().find(|limit| limit.kind == kind) else { return now };
        let oldest = self.budget.spent.get(&kind).and_then(|spent| spent.front());
        let slot = limit.period_ms / SLOTS;
        oldest.map_or(now, |(at, _)| (at + limit.period_ms + slot).max(now))
    }

    /// Writes down what is spent now.
    pub fn spend(&mut self, kind: Kind, count: u64, now: u64) {
        let Some(limit) = self.limits.iter().find(|limit| limit.kind == kind) else { return };
        let slot = limit.period_ms / SLOTS;
        let spent = self.budget.spent.entry(kind).or_default();
        match spent.back_mut() {
            Some((at, sum)) if now.saturating_sub(*at) < slot => *sum += count,
            _ => spent.push_back((now, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Limit = Limit { kind: Kind::Requests, most: 100, period_ms: 300_000 };

    #[test]
    fn what_was_spent_comes_back() {
        let mut gauge = Gauge::new(vec![LIMIT], Budget::default());
        gauge.spend(Kind::Requests, 100, 1_000);
        assert_eq!(gauge.left(Kind::Requests, 0, 1_000), 0);
        assert_eq!(gauge.free_at(Kind::Requests, 1_000), 306_000);
        assert_eq!(gauge.left(Kind::Requests, 0, 305_999), 0);
        assert_eq!(gauge.left(Kind::Requests, 10, 306_000), 90);
        assert_eq!(gauge.left(Kind::KvWrites, 0, 1_000), u64::MAX);
    }

    #[test]
    fn a_restart_forgets_nothing() {
        let mut gauge = Gauge::new(vec![LIMIT], Budget::default());
        gauge.spend(Kind::Requests, 60, 1_000);
        let text = serde_json::to_string(gauge.budget()).expect("it is written");
        let budget = serde_json::from_str(&text).expect("it is read");
        assert_eq!(Gauge::new(vec![LIMIT], budget).left(Kind::Requests, 0, 2_000), 40);
    }

    #[test]
    fn a_clock_that_is_put_back_frees_nothing() {
        let mut gauge = Gauge::new(vec![LIMIT], Budget::default());
        gauge.spend(Kind::Requests, 60, 10_000_000);
        assert_eq!(gauge.left(Kind::Requests, 0, 1_000), 40);
        assert_eq!(gauge.left(Kind::Requests, 0, 400_000), 100);
    }

    proptest! {
        /// In no stretch of a period is more spent than there may be.
        #[test]
        fn no_window_has_too_much(steps in proptest::collection::vec((0..40_000_u64, 1..40_u64), 1..200)) {
            let mut gauge = Gauge::new(vec![LIMIT], Budget::default());
            let (mut now, mut spent) = (0, Vec::new());
            for (pause, wanted) in steps {
                now += pause;
                if gauge.left(Kind::Requests, 0, now) >= wanted {
                    gauge.spend(Kind::Requests, wanted, now);
                    spent.push((now, wanted));
                }
            }
            for (begin, _) in &spent {
                let within = spent.iter().filter(|(at, _)| *at >= *begin && *at < begin + LIMIT.period_ms);
                prop_assert!(within.map(|(_, count)| count).sum::<u64>() <= LIMIT.most);
            }
        }
    }
}
