//! Time, as an argument.

use std::time::{Duration, Instant, SystemTime};

/// A moment by two clocks: what is signed goes by the wall clock, what is measured by one that is never set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub wall: u64,
    /// Time since a start that stays the same for the life of a gate.
    pub steady: Duration,
}

impl Moment {
    /// Now, with the steady clock counted from `start`.
    pub fn now(start: Instant) -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { wall: wall.as_millis() as u64, steady: start.elapsed() }
    }

    /// A moment in milliseconds on both clocks.
    #[cfg(test)]
    pub(crate) fn at(millis: u64) -> Self {
        Self { wall: millis, steady: Duration::from_millis(millis) }
    }
}
