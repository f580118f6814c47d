//! Overload: when a source is so far behind that what it tells is of no use any more, it skips forward, and
//! the gap is recorded. Nothing is ever handled out of order.
//!
//! A backlog after downtime is no overload: it is being worked off. So a source is judged only after it has
//! caught up once.

use std::collections::HashMap;
use std::time::Duration;

/// A source that has fewer unread bytes has caught up.
const CAUGHT_UP_BYTES: u64 = 256 << 10;

/// A source that would take so long to catch up is pressed.
const PRESSED_AFTER: Duration = Duration::from_secs(5);

/// Seconds over which the speed of reading is averaged.
const MEMORY_S: f64 = 30.0;

/// What is known about a source.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    caught_up: bool,
    /// It falls behind.
    pressed: bool,
    skipping: bool,
    bytes_before: u64,
    /// Bytes a second.
    speed: f64,
}

/// What becomes of a source after a look at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// It begins to skip; it is so far behind.
    Begins(Duration),
    /// It has caught up.
    Ends,
}

/// Judges sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overload {
    skip_after: Option<Duration>,
    sources: HashMap<usize, Known>,
}

impl Overload {
    /// Sources that are further behind than this skip; none: they never do.
    pub(crate) fn new(skip_after: Option<Duration>) -> Overload {
        Overload { skip_after, sources: HashMap::new() }
    }

    /// Other sources have come in the place of those that are known.
    pub(crate) fn forget(&mut self) {
        self.sources.clear();
    }

    /// Looks at a source, a second or so after the last time: bytes read so far, and bytes that are there
    /// and have not been read.
    pub(crate) fn look(&mut self, source: usize, read: u64, unread: u64, passed: Duration) -> Change {
        let known = self.sources.entry(source).or_default();
        let seconds = passed.as_secs_f64().max(0.001);
        let now = read.saturating_sub(known.bytes_before) as f64 / seconds;
        known.bytes_before = read;
        let weight = (seconds / MEMORY_S).min(1.0);
        known.speed = if known.speed == 0.0 { now } else { known.speed * (1.0 - weight) + now * weight };
        if unread <= CAUGHT_UP_BYTES {
            known.caught_up = true;
            known.pressed = false;
            return if std::mem::take(&mut known.skipping) { Change::Ends } else { Change::None };
        }
        if !known.caught_up || known.skipping || known.speed <= 0.0 {
            return Change::None;
        }
        let behind = Duration::try_from_secs_f64(unread as f64 / known.speed).unwrap_or(Duration::MAX);
        known.pressed = behind >= PRESSED_AFTER;
        if self.skip_after.is_none_or(|skip_after| behind <= skip_after) {
            return Change::None;
        }
        known.skipping = true;
        Change::Begins(behind)
    }

    /// Whether any source falls behind.
    pub(crate) fn is_pressed(&self) -> bool {
        self.sources.values().any(|known| known.pressed)
    }

    /// Whether lines of a source are skipped now.
    pub(crate) fn skips(&self, source: usize) -> bool {
        self.sources.get(&source).is_some_and(|known| known.skipping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_backlog_is_no_overload() {
        let mut overload = Overload::new(Some(Duration::from_mins(1)));
        for second in 1..=1000 {
            assert_eq!(overload.look(0, second * 1_000_000, 1 << 40, SECOND), Change::None);
        }
        assert!(!overload.skips(0) && !overload.is_pressed());
    }

    #[test]
    fn who_falls_behind_skips_until_the_end() {
        let mut overload = Overload::new(Some(Duration::from_mins(1)));
        assert_eq!(overload.look(0, 1_000_000, 0, SECOND), Change::None);
        // Nineteen seconds behind, then more than a minute.
        assert_eq!(overload.look(0, 2_000_000, 19_000_000, SECOND), Change::None);
        assert!(overload.is_pressed());
        let Change::Begins(behind) = overload.look(0, 3_000_000, 90_000_000, SECOND) else {
            panic!("it does not begin");
        };
        assert_eq!(behind.as_secs(), 90);
        assert!(overload.skips(0) && !overload.skips(1));
        assert_eq!(overload.look(0, 50_000_000, 40_000_000, SECOND), Change::None);
        assert!(overload.skips(0), "half of the way is not enough");
        let mut others = overload.clone();
        assert_eq!(overload.look(0, 90_000_000, 1000, SECOND), Change::Ends);
        assert!(!overload.skips(0) && !overload.is_pressed());
        // What is true of one source is not true of the one that comes in its place.
        others.forget();
        assert!(!others.skips(0));
    }

    #[test]
    fn without_a_limit_nothing_is_skipped() {
        let mut overload = Overload::new(None);
        for unread in [0, u64::MAX] {
            assert_eq!(overload.look(0, 1, unread, SECOND), Change::None);
        }
    }
}
