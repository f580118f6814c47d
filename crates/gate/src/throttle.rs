//! How often a client may come: the generic cell rate algorithm, in a bounded table.

use std::{net::IpAddr, time::Duration};

use hashbrown::HashMap;
use testudo_event::net::Prefix;

/// The fewest clients between two sweeps, so that a small table is not swept all the time.
const SWEEP_MIN: usize = 64;

/// How often: one each `interval` on average, and `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Time between two.
    pub interval: Duration,
    /// How many may come at once; at least one.
    pub burst: u32,
}

/// Who is counted together: a client's network, under one rate.
type Key = (Prefix, Rate);

/// When each client would be back to its full burst, by the steady clock.
#[derive(Debug)]
pub(crate) struct Limiter {
    cells: HashMap<Key, Duration>,
    capacity: usize,
    /// The clients for whom there is no room share one cell for each rate, so that a flood of clients is held back
    /// instead of getting through. Rates come from the policy, so there are few.
    overflow: HashMap<Rate, Duration>,
    /// The size at which idle cells are looked for.
    sweep_at: usize,
}

impl Limiter {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            cells: HashMap::new(),
            capacity: capacity.max(1),
            overflow: HashMap::new(),
            sweep_at: SWEEP_MIN.min(capacity.max(1)),
        }
    }

    /// Counts one more of a client, unless it came too often: then how long it has to wait.
    pub(crate) fn take(&mut self, client: Prefix, rate: Rate, now: Duration) -> Result<(), Duration> {
        let cell = self.cell(client, rate, now);
        let full_at = allowed(*cell, rate, now)?;
        *cell = full_at;
        Ok(())
    }

    /// Says what [`Limiter::take`] would, and counts nothing.
    pub(crate) fn peek(&self, client: Prefix, rate: Rate, now: Duration) -> Result<(), Duration> {
        let cell = self.cells.get(&(client, rate));
        let cell =
            cell.or_else(|| (self.cells.len() >= self.capacity).then(|| self.overflow.get(&rate)).flatten());
        cell.map_or(Ok(()), |cell| allowed(*cell, rate, now).map(drop))
    }

    /// How many clients are remembered.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    fn cell(&mut self, client: Prefix, rate: Rate, now: Duration) -> &mut Duration {
        if self.cells.len() >= self.sweep_at && !self.cells.contains_key(&(client, rate)) {
            self.cells.retain(|_, full_at| *full_at > now);
            // Twice what is left: each sweep is paid for by as many clients that came since.
            self.sweep_at = (self.cells.len() * 2).clamp(SWEEP_MIN.min(self.capacity), self.capacity);
        }
        let has_room = self.cells.len() < self.capacity || self.cells.contains_key(&(client, rate));
        if has_room {
            self.cells.entry((client, rate)).or_default()
        } else {
            self.overflow.entry(rate).or_default()
        }
    }
}

/// When a client is back to its full burst after one more, or how long it has to wait for that one.
fn allowed(full_at: Duration, rate: Rate, now: Duration) -> Result<Duration, Duration> {
    let next = full_at.max(now) + rate.interval;
    let latest = now + rate.interval * rate.burst.max(1);
    match next.saturating_sub(latest) {
        Duration::ZERO => Ok(next),
        wait => Err(wait),
    }
}

/// The network of a client, of so many bits.
pub(crate) fn network(address: IpAddr, v4_bits: u8, v6_bits: u8) -> Prefix {
    let bits = if address.is_ipv4() { v4_bits } else { v6_bits };
    Prefix::covering(address, bits).unwrap_or(Prefix::single(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { interval: Duration::from_secs(2), burst: 3 };

    fn client(number: u32) -> Prefix {
        Prefix::single(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut limiter = Limiter::new(10);
        let mut take = |seconds| limiter.take(client(1), RATE, Duration::from_secs(seconds));
        for _ in 0..3 {
            assert_eq!(take(100), Ok(()));
        }
        assert_eq!(take(100), Err(Duration::from_secs(2)));
        assert_eq!(take(101), Err(Duration::from_secs(1)));
        assert_eq!(take(102), Ok(()));
        assert_eq!(take(102), Err(Duration::from_secs(2)));
        assert_eq!(take(1_000), Ok(()));
    }

    #[test]
    fn looking_counts_nothing() {
        let mut limiter = Limiter::new(10);
        for _ in 0..10 {
            assert_eq!(limiter.peek(client(1), RATE, Duration::ZERO), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(limiter.take(client(1), RATE, Duration::ZERO), Ok(()));
        }
        assert!(limiter.peek(client(1), RATE, Duration::ZERO).is_err());
        assert!(limiter.peek(client(2), RATE, Duration::ZERO).is_ok());
    }

    #[test]
    fn a_flood_of_clients_is_held_back() {
        let mut limiter = Limiter::new(100);
        let passed = (0..10_000).filter(|&number| limiter.take(client(number), RATE, Duration::ZERO).is_ok());
        assert_eq!(passed.count(), 100 + 3);
        assert_eq!(limiter.len(), 100);
        let later = Duration::from_secs(10);
        assert!(limiter.take(client(20_000), RATE, later).is_ok());
        assert_eq!(limiter.len(), 1, "those that were idle are gone");
    }

    proptest! {
        /// Against the plain meaning: in no span of time more than the burst and what the rate gives.
        #[test]
        fn never_more_than_the_rate(gaps in proptest::collection::vec(0_u64..3_000, 1..100)) {
            let mut limiter = Limiter::new(4);
            let mut now = Duration::ZERO;
            let mut passed = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if limiter.take(client(1), RATE, now).is_ok() {
                    passed.push(now);
                }
            }
            for (first, start) in passed.iter().enumerate() {
                for (count, end) in passed[first..].iter().enumerate() {
                    let most = 3.0 + end.saturating_sub(*start).as_secs_f64() / 2.0;
                    prop_assert!((count + 1) as f64 <= most + 1e-9);
                }
            }
        }
    }
}
