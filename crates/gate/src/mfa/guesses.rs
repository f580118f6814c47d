//! How often somebody may guess: after some that were wrong, each next one has to wait twice as long.

use std::time::Duration;

use hashbrown::HashMap;

/// The wait after the first guess that is not free.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// The longest wait. At this pace a code of six digits, of which three are good, is guessed within a year with a chance of
/// less than three in a hundred.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// After so long without a guess, wrong ones are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// Wrong guesses of somebody.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    count: u32,
    last: Duration,
}

/// A bounded table of wrong guesses. Those for whom there is no room share one entry.
#[derive(Debug)]
pub(crate) struct Guesses {
    of: HashMap<String, Wrong>,
    others: Wrong,
    capacity: usize,
}

impl Guesses {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { of: HashMap::new(), others: Wrong::default(), capacity }
    }

    /// Counts one guess of each of these as a wrong one, unless one of them has to wait: then for how long. Each comes
    /// with how many of its guesses need not wait. Says whether the next one has to.
    pub(crate) fn take(&mut self, who: &[(&str, u32)], now: Duration) -> Result<bool, Duration> {
        let wait = who.iter().map(|(who, free)| wait(self.get(who), *free, now)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        let mut is_last = false;
        for (who, free) in who {
            let wrong = self.entry(who, now);
            wrong.count = wrong.count.saturating_add(1);
            wrong.last = now;
            is_last |= wrong.count >= *free;
        }
        Ok(is_last)
    }

    /// A guess that was counted was right after all: all of one, and this one of the other, are forgiven.
    pub(crate) fn forgive(&mut self, user: &str, client: &str) {
        self.of.remove(user);
        if let Some(wrong) = self.of.get_mut(client) {
            wrong.count = wrong.count.saturating_sub(1);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    fn get(&self, who: &str) -> Wrong {
        let is_full = self.of.len() >= self.capacity;
        self.of.get(who).copied().unwrap_or(if is_full { self.others } else { Wrong::default() })
    }

    fn entry(&mut self, who: &str, now: Duration) -> &mut Wrong {
        if self.of.len() >= self.capacity && !self.of.contains_key(who) {
            self.of.retain(|_, wrong| wrong.last + FORGOTTEN_AFTER > now);
            if self.of.len() >= self.capacity {
                return &mut self.others;
            }
        }
        let wrong = self.of.entry_ref(who).or_default();
        if wrong.last + FORGOTTEN_AFTER <= now {
            *wrong = Wrong::default();
        }
        wrong
    }
}

/// How long somebody still has to wait.
fn wait(wrong: Wrong, free: u32, now: Duration) -> Duration {
    let Some(over) = wrong.count.checked_sub(free) else { return Duration::ZERO };
    if wrong.last + FORGOTTEN_AFTER <= now {
        return Duration::ZERO;
    }
    let whole = FIRST_WAIT.saturating_mul(1 << over.min(16)).min(LONGEST_WAIT);
    (wrong.last + whole).saturating_sub(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_waits_longer() {
        let mut guesses = Guesses::new(10);
        for count in 1..=3 {
            assert_eq!(guesses.take(&[("u", 3)], at(0)), Ok(count == 3));
        }
        assert_eq!(guesses.take(&[("u", 3)], at(0)), Err(at(15)));
        assert_eq!(guesses.take(&[("v", 3)], at(0)), Ok(false), "others are not concerned");
        assert_eq!(guesses.take(&[("u", 3)], at(15)), Ok(true));
        assert_eq!(guesses.take(&[("u", 3)], at(16)), Err(at(29)));
        guesses.forgive("u", "c");
        assert_eq!(guesses.take(&[("u", 3)], at(16)), Ok(false));
    }

    #[test]
    fn whoever_waits_is_not_counted_for_others() {
        let mut guesses = Guesses::new(10);
        for _ in 0..3 {
            guesses.take(&[("u", 3), ("c", 3)], at(0)).expect("free");
        }
        assert_eq!(guesses.take(&[("u", 3), ("d", 3)], at(0)), Err(at(15)));
        assert_eq!(guesses.take(&[("v", 3), ("c", 3)], at(0)), Err(at(15)), "the client waits as well");
        assert_eq!(guesses.take(&[("v", 3), ("d", 3)], at(0)), Ok(false));
    }

    #[test]
    fn a_full_table_holds_strangers_back() {
        let mut guesses = Guesses::new(2);
        for who in ["a", "b", "c", "d", "e"] {
            let _ = guesses.take(&[(who, 3)], at(0));
        }
        assert_eq!(guesses.len(), 2);
        assert!(guesses.take(&[("f", 3)], at(0)).is_err());
        assert_eq!(guesses.take(&[("a", 3)], at(0)), Ok(false));
        assert_eq!(guesses.take(&[("f", 3)], at(100_000)), Ok(false), "they are forgotten");
    }

    proptest! {
        /// Whatever the times and users, nobody guesses more often in a day than the waits let them.
        #[test]
        fn few_guesses_in_a_day(times in proptest::collection::vec(0_u64..86_400, 0..500)) {
            let mut times = times;
            times.sort_unstable();
            let mut guesses = Guesses::new(10);
            let taken = times.iter().filter(|time| guesses.take(&[("u", 5)], at(**time)).is_ok()).count();
            // Five are free, eight double up to an hour, and one each hour.
            prop_assert!(taken <= 5 + 8 + 24, "{taken}");
        }
    }
}
