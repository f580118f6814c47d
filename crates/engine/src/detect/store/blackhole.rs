//! The silence after an overflow.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use testudo_event::Timestamp;

/// Keys of one scenario that are silent at a time; beyond that those go that end first.
const MAX_SILENCES: usize = 1 << 18;

/// Until when the buckets of one scenario stay silent, by key.
#[derive(Debug, Default)]
pub(super) struct Blackhole {
    until: HashMap<Arc<str>, Timestamp>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Blackhole {
    /// Whether an overflow of this key at this time is silenced; if not, arms it. What has ended by
    /// `horizon` is forgotten, whatever its key: a later overflow may lie before it.
    pub(super) fn silences(&mut self, key: &str, time: Timestamp, length: i64, horizon: Timestamp) -> bool {
        self.forget(horizon);
        match self.until.get(key) {
            Some(until) if *until > time => return true,
            Some(until) => {
                let over = (*until, Arc::from(key));
                self.order.remove(&over);
            }
            None => {}
        }
        if self.order.len() >= MAX_SILENCES
            && let Some((_, first)) = self.order.pop_first()
        {
            self.until.remove(&first);
        }
        self.arm(key, time.add_nanos(length));
        false
    }

    /// Silences a key until then.
    pub(super) fn arm(&mut self, key: &str, until: Timestamp) {
        let key = Arc::<str>::from(key);
        self.order.insert((until, Arc::clone(&key)));
        self.until.insert(key, until);
    }

    /// Forgets what has ended by this time.
    pub(super) fn forget(&mut self, time: Timestamp) {
        while self.order.first().is_some_and(|(until, _)| *until <= time) {
            if let Some((_, over)) = self.order.pop_first() {
                self.until.remove(&over);
            }
        }
    }

    /// How many keys are silent.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The silent keys, in the order in which they end.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        self.order.iter().map(|(until, key)| (*until, &**key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_until_its_end() {
        let mut blackhole = Blackhole::default();
        let mut check = |key: &str, second: i64, expected: bool| {
            let time = Timestamp::from_unix(second, 0);
            let silent = blackhole.silences(key, time, 10_000_000_000, time);
            assert_eq!(silent, expected, "{key} at {second}");
        };
        check("a", 100, false);
        check("a", 109, true);
        check("b", 109, false);
        // The end is not silent any more.
        check("a", 110, false);
        check("b", 118, true);
        // An overflow of any key ends what is over; an earlier one then finds nothing.
        check("c", 130, false);
        check("b", 118, false);
        check("c", 118, true);
    }

    #[test]
    fn what_may_still_happen_in_the_past_is_silent_there() {
        let mut blackhole = Blackhole::default();
        let at = |second| Timestamp::from_unix(second, 0);
        let mut check = |key: &str, second: i64, horizon: i64, expected: bool| {
            let silent = blackhole.silences(key, at(second), 10_000_000_000, at(horizon));
            assert_eq!(silent, expected, "{key} at {second}");
        };
        check("late", 100, 100, false);
        check("live", 7_200, 100, false);
        check("late", 105, 105, true);
        check("live", 7_205, 105, true);
        check("late", 110, 110, false);
        check("late", 7_206, 110, false);
        assert_eq!(blackhole.len(), 2);
        assert_eq!(blackhole.iter().map(|(_, key)| key).collect::<Vec<_>>(), ["live", "late"]);
    }
}
