//! The sources of a live run. They come and go: containers start, machines send their first line. What is known
//! of each is little, and forgotten when it has been silent for long.

use std::sync::Arc;

use hashbrown::HashMap;
use testudo_event::Timestamp;

use super::LiveSource;
use crate::detect::Clocks;

/// Sources that are known at a time. Whoever may send lines under many names cannot fill more.
const MAX_SOURCES: usize = 4_096;

/// So long a source may be silent before it is forgotten: nanoseconds.
const MAX_IDLE: i64 = 24 * 3_600_000_000_000;

/// So long a source that tells of the past may be silent before it has caught up: nothing is left to be read.
const PATIENCE: i64 = 30_000_000_000;

/// A source and how it stands.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) source: Arc<LiveSource>,
    /// When its last batch arrived.
    pub(super) last: Timestamp,
    /// Whether its lines tell of the past.
    pub(super) late: bool,
    /// Where it is counted.
    pub(super) tally: usize,
}

/// A source that was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) number: u32,
    pub(super) tally: usize,
}

/// All sources that are known, by their number. Number 0 is that of the common clock.
#[derive(Debug, Default)]
pub(super) struct Sources {
    numbers: HashMap<Arc<LiveSource>, u32>,
    known: Vec<Option<Known>>,
    free: Vec<u32>,
}

impl Sources {
    /// The number of a source, whose batch arrived at this time; `None`: it is new.
    pub(super) fn find(&mut self, source: &Arc<LiveSource>, arrival: Timestamp) -> Option<u32> {
        let number = *self.numbers.get(source)?;
        if let Some(known) = self.get_mut(number) {
            known.last = arrival;
        }
        Some(number)
    }

    /// Adds a source that is not known. There must be room.
    pub(super) fn add(&mut self, known: Known) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            let next = self.known.len().max(Clocks::COMMON as usize + 1);
            self.known.resize(next + 1, None);
            next as u32
        });
        self.numbers.insert(Arc::clone(&known.source), number);
        self.known[number as usize] = Some(known);
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&Known> {
        self.known.get(number as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Known> {
        self.known.get_mut(number as usize)?.as_mut()
    }

    /// All of them with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Known)> {
        (0..).zip(&self.known).filter_map(|(number, known)| Some((number, known.as_ref()?)))
    }

    /// Whether another one can be added.
    pub(super) fn has_room(&self) -> bool {
        self.numbers.len() < MAX_SOURCES
    }

    /// Forgets the eighth that has been silent for the longest, where there is no room for another.
    pub(super) fn make_room(&mut self) -> Vec<Gone> {
        if self.has_room() {
            return Vec::new();
        }
        let mut all: Vec<(Timestamp, u32)> = self.all().map(|(number, known)| (known.last, number)).collect();
        all.sort_unstable();
        self.forget(all.iter().take(MAX_SOURCES / 8).map(|(_, number)| *number).collect())
    }

    /// Forgets those that have been silent for long.
    pub(super) fn forget_idle(&mut self, now: Timestamp) -> Vec<Gone> {
        let idle = self.all().filter(|(_, known)| now.nanos_since(known.last) > MAX_IDLE);
        self.forget(idle.map(|(number, _)| number).collect())
    }

    fn forget(&mut self, numbers: Vec<u32>) -> Vec<Gone> {
        let mut gone = Vec::with_capacity(numbers.len());
        for number in numbers {
            if let Some(known) = self.known.get_mut(number as usize).and_then(Option::take) {
                self.numbers.remove(&known.source);
                self.free.push(number);
                gone.push(Gone { number, tally: known.tally });
            }
        }
        gone
    }

    /// Whether any source is counted there.
    pub(super) fn counts_at(&self, tally: usize) -> bool {
        self.all().any(|(_, known)| known.tally == tally)
    }

    /// Those whose lines tell of the past, though not by choice.
    pub(super) fn late(&self) -> impl Iterator<Item = u32> {
        self.all().filter(|(_, known)| known.late && !known.source.time_machine).map(|(number, _)| number)
    }

    /// Those that told of the past and have nothing more to tell.
    pub(super) fn caught_up(&mut self, now: Timestamp) -> Vec<u32> {
        let mut numbers = Vec::new();
        for (number, known) in (0..).zip(&mut self.known) {
            let Some(known) = known else { continue };
            if known.late && !known.source.time_machine && now.nanos_since(known.last) > PATIENCE {
                known.late = false;
                numbers.push(number);
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: usize, second: i64) -> Known {
        let source = crate::Source { name: name.to_string(), ..crate::Source::default() };
        Known {
            source: Arc::new(LiveSource { source, time_machine: name.is_multiple_of(2) }),
            last: Timestamp::from_unix(second, 0),
            late: true,
            tally: 0,
        }
    }

    #[test]
    fn numbers_are_used_again() {
        let mut sources = Sources::default();
        let numbers: Vec<u32> = (0..4).map(|at| sources.add(known(at, at as i64))).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        let now = Timestamp::from_unix(86_402, 0);
        let gone: Vec<u32> = sources.forget_idle(now).iter().map(|gone| gone.number).collect();
        assert_eq!(gone, [1, 2]);
        assert_eq!(sources.find(&known(0, 0).source, now), None);
        assert_eq!(sources.find(&known(3, 0).source, now), Some(4));
        assert_eq!(sources.add(known(9, 0)), 2);
        // Those that run on their own time never catch up; the other has just been heard of.
        assert_eq!(sources.caught_up(now), [2]);
        assert_eq!(sources.all().count(), 3);
    }

    #[test]
    fn there_are_never_too_many() {
        let mut sources = Sources::default();
        let mut forgotten = 0;
        for at in 0..3 * MAX_SOURCES {
            forgotten += sources.make_room().len();
            sources.add(known(at, at as i64));
        }
        assert!(sources.all().count() <= MAX_SOURCES);
        assert_eq!(forgotten + sources.all().count(), 3 * MAX_SOURCES);
        assert!(sources.known.len() <= MAX_SOURCES + 1);
        assert!(sources.all().all(|(_, known)| known.last.unix() > MAX_SOURCES as i64));
    }
}
