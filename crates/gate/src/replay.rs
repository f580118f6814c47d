//! Challenges that were answered, so that each counts once.

use std::{collections::BTreeSet, time::Duration};

use crate::moment::Moment;

/// A challenge: when it was made in milliseconds since 1970, and what is random about it.
type Key = (u64, [u8; 16]);

/// A bounded set of challenges that were answered.
///
/// When it is full, the challenge that was made first is forgotten, and from then on none that was made before
/// is taken: it never costs more memory, and never lets an answer count twice.
#[derive(Debug)]
pub(crate) struct Replay {
    used: BTreeSet<Key>,
    capacity: usize,
    /// Challenges that were made up to then are not taken, in milliseconds since 1970.
    closed_until: u64,
}

impl Replay {
    /// A set that knows nothing of what was answered before `start`, and so takes nothing from before.
    pub(crate) fn new(capacity: usize, start: Moment) -> Self {
        Self { used: BTreeSet::new(), capacity: capacity.max(1), closed_until: start.wall.saturating_sub(1) }
    }

    /// Uses a challenge up. Whether it was still unused.
    pub(crate) fn burn(&mut self, issued: u64, random: [u8; 16], valid_for: Duration, now: Moment) -> bool {
        // What has expired is refused for its age already.
        let expired = now.wall.saturating_sub(valid_for.as_millis() as u64);
        while self.used.first().is_some_and(|(issued, _)| *issued < expired) {
            self.used.pop_first();
        }
        if issued <= self.closed_until || !self.used.insert((issued, random)) {
            return false;
        }
        if self.used.len() > self.capacity
            && let Some((issued, _)) = self.used.pop_first()
        {
            self.closed_until = self.closed_until.max(issued);
        }
        true
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: Duration = Duration::from_mins(5);

    #[test]
    fn once_and_never_from_before_the_start() {
        let mut replay = Replay::new(10, Moment::at(1_000));
        assert!(replay.burn(1_000, [1; 16], VALID, Moment::at(2_000)));
        assert!(!replay.burn(1_000, [1; 16], VALID, Moment::at(2_000)));
        assert!(replay.burn(1_000, [2; 16], VALID, Moment::at(2_000)));
        assert!(!replay.burn(999, [3; 16], VALID, Moment::at(2_000)));
    }

    #[test]
    fn what_expired_is_forgotten() {
        let mut replay = Replay::new(10, Moment::at(0));
        replay.burn(10, [1; 16], VALID, Moment::at(20));
        assert!(replay.burn(400_000, [2; 16], VALID, Moment::at(400_000)));
        assert_eq!(replay.len(), 1);
    }

    proptest! {
        #[test]
        fn no_challenge_counts_twice(tries in proptest::collection::vec((0_u64..40, 0_u8..4), 0..300)) {
            let mut replay = Replay::new(8, Moment::at(0));
            let mut taken = std::collections::HashSet::new();
            for (issued, random) in tries {
                if replay.burn(issued, [random; 16], VALID, Moment::at(50)) {
                    prop_assert!(taken.insert((issued, random)));
                }
                prop_assert!(replay.len() <= 8);
            }
        }
    }
}
