//! The silence after an overflow.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use testudo_event::Timestamp;

/// Until when the buckets of one scenario stay silent, by key.
#[derive(Debug, Default)]
pub(super) struct Blackhole {
    until: HashMap<Arc<str>, Timestamp>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Blackhole {
    /// Whether an overflow of this key at this time is silenced; if not, arms it. What has ended by
    /// this time is forgotten, whatever its key: a later overflow may lie before it.
    pub(super) fn silences(&mut self, key: &str, time: Timestamp, length: i64) -> bool {
        while self.order.first().is_some_and(|(until, _)| *until <= time) {
            if let Some((_, over)) = self.order.pop_first() {
                self.until.remove(&over);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_until_its_end() {
        let mut blackhole = Blackhole::default();
        let mut check = |key: &str, second: i64, expected: bool| {
            let silent = blackhole.silences(key, Timestamp::from_unix(second, 0), 10_000_000_000);
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
}
