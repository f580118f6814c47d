//! The clocks by which buckets end. In a replay each source has its own, moved by its lines. Live lines share
//! one; only a source whose lines tell of the past has its own, until it has caught up.

use testudo_event::Timestamp;

/// A common clock that is put back by more than this was wrong before: nanoseconds.
const MAX_STEP_BACK: i64 = 60_000_000_000;

/// The clocks of all sources.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    own: Vec<Option<Timestamp>>,
    /// How many of them there are.
    apart: usize,
    /// The clock of those that have none of their own.
    common: Option<Timestamp>,
    /// Buckets that go by the common clock are kept as if it were no later than this.
    floor: Option<Timestamp>,
}

impl Clocks {
    /// The number of the common clock: no source has it.
    pub(crate) const COMMON: u32 = 0;

    /// The time of a source.
    pub(crate) fn get(&self, source: u32) -> Option<Timestamp> {
        self.own(source).or(self.common)
    }

    /// The time of a source that has a clock of its own.
    pub(crate) fn own(&self, source: u32) -> Option<Timestamp> {
        self.own.get(source as usize).copied().flatten()
    }

    /// Sets the clock of a source; `None`: it lives by the common one from now on.
    pub(crate) fn set(&mut self, source: u32, time: Option<Timestamp>) {
        let at = source as usize;
        if self.own.len() <= at {
            if time.is_none() {
                return;
            }
            self.own.resize(at + 1, None);
        }
        self.apart -= usize::from(self.own[at].is_some());
        self.apart += usize::from(time.is_some());
        self.own[at] = time;
    }

    /// Moves the common clock, and gives its time. Lines that overtake each other do not put it back.
    pub(crate) fn set_common(&mut self, time: Timestamp) -> Timestamp {
        let back = self.common.map_or(0, |common| common.nanos_since(time));
        if !(0..=MAX_STEP_BACK).contains(&back) || self.common.is_none() {
            self.common = Some(time);
        }
        self.common.unwrap_or(time)
    }

    /// The time of the common clock, once there is one.
    pub(crate) fn common(&self) -> Option<Timestamp> {
        self.common
    }

    /// Keeps buckets that go by the common clock as if it were no later than `floor`: lines of then may
    /// still come.
    pub(crate) fn set_floor(&mut self, floor: Option<Timestamp>) {
        self.floor = floor;
    }

    /// The time of a source as far as forgetting its buckets goes.
    pub(super) fn for_sweeping(&self, source: u32) -> Option<Timestamp> {
        let shared = || self.common.map(|common| self.floor.map_or(common, |floor| floor.min(common)));
        self.own(source).or_else(shared)
    }

    /// The latest time.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.own.iter().flatten().copied().max().max(self.common)
    }

    /// The earliest time at which something may still happen, given that it is `time` somewhere. In a
    /// replay that is `time`: what is over ends for all.
    pub(super) fn horizon(&self, time: Timestamp) -> Timestamp {
        if self.common.is_none() || self.apart == 0 {
            return time;
        }
        self.own.iter().flatten().copied().min().map_or(time, |earliest| earliest.min(time))
    }
}
