//! The token bucket, to the float: the same overflows need the same arithmetic.

use testudo_event::Timestamp;

/// A token bucket. Its reference time may move backwards, as the reference's does: lines out of order
/// earn tokens again.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    /// Tokens per second.
    rate: f64,
    /// Most tokens that it holds; `None`: it always grants.
    burst: Option<f64>,
    tokens: f64,
    last: Timestamp,
}

/// A duration in seconds: the whole ones and the rest, added up as floats.
fn seconds(nanos: i64) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

impl Limiter {
    /// A full bucket of `capacity` tokens (−1: without a limit) that earns one every `leak_speed` nanoseconds.
    pub(crate) fn new(capacity: i64, leak_speed: i64) -> Limiter {
        let burst = (capacity >= 0).then_some(capacity as f64);
        Limiter {
            rate: 1.0 / seconds(leak_speed),
            burst,
            tokens: burst.unwrap_or_default(),
            last: Timestamp::zero(),
        }
    }

    /// Takes one token at `now`, if there is one.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        let Some(burst) = self.burst else { return true };
        let reference = self.last.min(now);
        let elapsed = now.nanos_since(reference);
        let earned = seconds(elapsed) * self.rate;
        let available = (self.tokens + earned).min(burst);
        let after = available - 1.0;
        let wait = if after < 0.0 { ((-after / self.rate) * 1e9) as i64 } else { 0 };
        let granted = burst >= 1.0 && wait <= 0;
        if granted {
            self.tokens = after;
            self.last = now;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// How many pours at these times (in tenths of a second) are granted before the first refusal.
    fn check(capacity: i64, leak_speed: i64, tenths: &[i64], granted: usize) {
        let mut limiter = Limiter::new(capacity, leak_speed);
        let start = Timestamp::from_unix(1_770_000_000, 0);
        let answers: Vec<bool> =
            tenths.iter().map(|t| limiter.take(start.add_nanos(t * SECOND / 10))).collect();
        let count = answers.iter().take_while(|granted| **granted).count();
        assert_eq!(count, granted, "capacity {capacity}, times {tenths:?}: {answers:?}");
    }

    #[test]
    fn worked_examples() {
        check(5, 10 * SECOND, &[0, 10, 20, 30, 40, 50], 5);
        check(5, 10 * SECOND, &[0, 10, 20, 30, 40, 100], 6);
        check(5, 10 * SECOND, &[0, 0, 0, 0, 0, 0], 5);
        check(3, 10 * SECOND, &[0, 100, 50, 100, 100], 4);
        check(2, SECOND / 2, &[0, 0, 1], 2);
        check(2, SECOND / 2, &[0, 0, 5, 10, 15, 20], 6);
        check(-1, 0, &[0, 0, 0, 0, 0, 0], 6);
        check(0, SECOND, &[0], 0);
    }

    #[test]
    fn lines_that_alternate_between_two_times_earn_twice() {
        // Two times 28 min 22 s apart, each poured twice, at a token every 15 minutes.
        let mut limiter = Limiter::new(5, 900 * SECOND);
        let early = Timestamp::from_unix(1_770_000_000, 0);
        let late = early.add_nanos(1702 * SECOND);
        let times = [early, early, late, late, early, early, late, late, early];
        let answers: Vec<bool> = times.iter().map(|t| limiter.take(*t)).collect();
        assert_eq!(answers, [true, true, true, true, true, true, true, true, false]);
    }
}
