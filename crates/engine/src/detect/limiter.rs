//! The token bucket behind leaky buckets, to the last bit of its floating point: two engines that
//! differ in one rounding overflow at different lines.
//!
//! The arithmetic is that of the `rate` package of Go's `x/time` 0.13: the reference time may move backwards,
//! and a deficit worth less than a nanosecond is forgiven.

use testudo_event::Timestamp;

/// State of a limiter: tokens, and the instant they were counted at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limiter {
    tokens: f64,
    last: Timestamp,
}

/// Speed and size of a limiter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// Tokens per second.
    per_second: f64,
    burst: f64,
    unlimited: bool,
}

impl Rate {
    /// `capacity` tokens, one more every `leak_speed` nanoseconds; −1 never runs out.
    pub(crate) fn new(capacity: i64, leak_speed: i64) -> Rate {
        Rate { per_second: 1.0 / seconds(leak_speed), burst: capacity as f64, unlimited: capacity == -1 }
    }
}

/// Whole seconds as a float, plus the nanoseconds within the second.
fn seconds(nanos: i64) -> f64 {
    let whole = nanos / 1_000_000_000;
    let rest = nanos % 1_000_000_000;
    whole as f64 + rest as f64 / 1e9
}

impl Limiter {
    /// A full limiter.
    pub(super) fn new(rate: Rate) -> Limiter {
        Limiter { tokens: rate.burst, last: Timestamp::zero() }
    }

    /// One with so many tokens, which were counted then.
    pub(super) fn at(tokens: f64, last: Timestamp) -> Limiter {
        Limiter { tokens, last }
    }

    /// How many tokens there were when they were last counted.
    pub(super) fn tokens(self) -> f64 {
        self.tokens
    }

    /// When its tokens were last counted.
    pub(super) fn last(self) -> Timestamp {
        self.last
    }

    /// Says that its tokens were counted now.
    pub(super) fn rebase(&mut self, now: Timestamp) {
        self.last = self.last.min(now);
    }

    /// Asks for one token at `now`.
    pub(super) fn allow(&mut self, rate: Rate, now: Timestamp) -> bool {
        if rate.unlimited {
            return true;
        }
        let reference = if now < self.last { now } else { self.last };
        let elapsed = now.nanos_since(reference);
        let available = (self.tokens + seconds(elapsed) * rate.per_second).min(rate.burst);
        let after = available - 1.0;
        let wait = if after < 0.0 { ((-after / rate.per_second) * 1e9).trunc() } else { 0.0 };
        let granted = rate.burst >= 1.0 && wait <= 0.0;
        if granted {
            self.tokens = after;
            self.last = now;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const MICROSECOND: i64 = 1_000;

    /// The same in whole numbers: tokens are counted in nanoseconds, `leak_speed` of them are one token.
    struct Exact {
        leak_speed: i128,
        full: i128,
        credit: i128,
        last: Option<i128>,
    }

    impl Exact {
        fn new(capacity: i64, leak_speed: i64) -> Exact {
            let full = i128::from(capacity) * i128::from(leak_speed);
            Exact { leak_speed: leak_speed.into(), full, credit: full, last: None }
        }

        fn allow(&mut self, now: i128) -> bool {
            let elapsed = self.last.map_or(0, |last| (now - last).max(0));
            let after = (self.credit + elapsed).min(self.full) - self.leak_speed;
            if after < 0 {
                return false;
            }
            self.credit = after;
            self.last = Some(now);
            true
        }
    }

    /// Offsets in microseconds: crowded, spread over days, and in steps of the leak speed.
    fn offsets(leak_speed: i64) -> impl Strategy<Value = Vec<i64>> {
        let step = leak_speed / MICROSECOND;
        let offset = prop_oneof![
            0..20 * step,
            (0..8_i64, 1..=4_i64).prop_map(move |(steps, part)| steps * step / part),
            0..86_400_000_000_i64,
            Just(step),
        ];
        prop::collection::vec(offset, 1..80)
    }

    proptest! {
        /// Floats decide as whole numbers would, in any order of times, as long as times are further apart
        /// than what they forgive.
        #[test]
        fn decides_as_whole_numbers_do(
            capacity in 1..60_i64,
            (leak_speed, offsets) in prop_oneof![
                Just(SECOND / 2), Just(SECOND), Just(10 * SECOND), Just(900 * SECOND), Just(3_600 * SECOND),
                (1..10_000_000_i64).prop_map(|micros| micros * MICROSECOND),
            ].prop_flat_map(|speed| (Just(speed), offsets(speed))),
        ) {
            let rate = Rate::new(capacity, leak_speed);
            let (mut limiter, mut exact) = (Limiter::new(rate), Exact::new(capacity, leak_speed));
            let start = Timestamp::from_unix(1_770_000_000, 0);
            for (at, offset) in offsets.iter().enumerate() {
                let nanos = offset * MICROSECOND;
                prop_assert_eq!(
                    limiter.allow(rate, start.add_nanos(nanos)),
                    exact.allow(nanos.into()),
                    "request {} of {:?}, capacity {}, leak speed {}", at, offsets, capacity, leak_speed,
                );
            }
        }

        /// In order of time no more is granted than the capacity and what leaked meanwhile.
        #[test]
        fn grants_no_more_than_leaks(
            capacity in 1..20_i64,
            leak_speed in 1..5_000_i64,
            mut offsets in prop::collection::vec(0..60_000_i64, 1..200),
        ) {
            offsets.sort_unstable();
            let rate = Rate::new(capacity, leak_speed * MICROSECOND);
            let mut limiter = Limiter::new(rate);
            let start = Timestamp::from_unix(1_770_000_000, 0);
            let granted = offsets
                .iter()
                .filter(|offset| limiter.allow(rate, start.add_nanos(**offset * MICROSECOND)))
                .count() as i64;
            let span = offsets[offsets.len() - 1] - offsets[0];
            prop_assert!(granted <= capacity + span / leak_speed, "{} granted", granted);
            prop_assert!(granted >= capacity.min(offsets.len() as i64));
        }
    }

    /// Asks at these offsets in nanoseconds and gives the position of the first refusal.
    fn first_refusal(capacity: i64, leak_speed: i64, offsets: &[i64]) -> Option<usize> {
        let rate = Rate::new(capacity, leak_speed);
        let mut limiter = Limiter::new(rate);
        let start = Timestamp::from_unix(1_770_000_000, 0);
        offsets.iter().position(|offset| !limiter.allow(rate, start.add_nanos(*offset)))
    }

    #[test]
    fn worked_examples() {
        let s = SECOND;
        // Five per ten seconds each: the sixth within five seconds is one too many.
        assert_eq!(first_refusal(5, 10 * s, &[0, s, 2 * s, 3 * s, 4 * s, 5 * s]), Some(5));
        // At ten seconds exactly one token is there.
        assert_eq!(first_refusal(5, 10 * s, &[0, s, 2 * s, 3 * s, 4 * s, 10 * s]), None);
        // At one instant: capacity + 1.
        assert_eq!(first_refusal(5, 10 * s, &[0; 6]), Some(5));
        // Stepping back and forth earns tokens twice.
        assert_eq!(first_refusal(3, 10 * s, &[0, 10 * s, 5 * s, 10 * s, 10 * s]), Some(4));
        assert_eq!(first_refusal(2, s / 2, &[0, 0, s / 10]), Some(2));
        let trickle: Vec<i64> = [0; 5].into_iter().chain((1..1_000).map(|i| i * 10 * s)).collect();
        assert_eq!(first_refusal(5, 10 * s, &trickle), None);
    }

    #[test]
    fn unlimited_and_empty() {
        assert_eq!(first_refusal(-1, SECOND, &[0; 1_000]), None);
        assert_eq!(first_refusal(0, SECOND, &[0]), Some(0));
    }
}
