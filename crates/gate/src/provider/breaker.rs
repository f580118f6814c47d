//! Whether a provider is worth asking: after some failures in a row it is left alone for a while.

use std::time::Duration;

/// Failures in a row after which a provider is left alone.
const MAX_FAILURES: u32 = 3;

/// The first pause; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What is known of one provider.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// When the pause ends, by the steady clock.
    until: Duration,
    pause: Duration,
}

impl Breaker {
    /// Whether it may be asked.
    pub(super) fn is_closed(&self, now: Duration) -> bool {
        now >= self.until
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// It did not answer, or not as it should. Gives the pause where one begins.
    pub(super) fn failed(&mut self, now: Duration) -> Option<Duration> {
        self.failures += 1;
        // What was on its way when the pause began does not make it longer.
        let may_open = self.failures >= MAX_FAILURES && self.is_closed(now);
        may_open.then(|| self.opened(now))
    }

    /// It is left alone from now on. Gives for how long.
    pub(super) fn opened(&mut self, now: Duration) -> Duration {
        if self.is_closed(now) {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.until = now + self.pause;
        }
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn three_in_a_row_open_it_for_longer_and_longer() {
        let mut breaker = Breaker::default();
        assert_eq!((breaker.failed(at(0)), breaker.failed(at(0))), (None, None));
        breaker.answered();
        assert_eq!((breaker.failed(at(1)), breaker.failed(at(1))), (None, None));
        assert_eq!(breaker.failed(at(1)), Some(at(15)));
        assert!(!breaker.is_closed(at(15)) && breaker.is_closed(at(16)));
        assert_eq!(breaker.failed(at(2)), None, "it was on its way");
        assert_eq!(breaker.failed(at(16)), Some(at(30)), "one more is enough");
        let mut now = at(100);
        for _ in 0..10 {
            now += LONGEST_PAUSE;
            breaker.failed(now);
        }
        assert!(breaker.is_closed(now + LONGEST_PAUSE), "never for longer than that");
        breaker.answered();
        assert!(breaker.is_closed(now));
    }
}
