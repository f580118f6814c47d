//! Named caches that parsers write and expressions read.
//!
//! Their entries age by the clock of the lines: no result may depend on how long a run takes.

use std::sync::Arc;

use testudo_event::Timestamp;
use testudo_rules::plan::{Stash, Strategy};

/// One entry.
struct Entry {
    key: String,
    value: Arc<str>,
    /// How often it was written or read.
    uses: u64,
    ttl: i64,
    expires: Timestamp,
    /// Stored by the present line.
    fresh: bool,
}

/// One cache: its entries from the least to the most recently used.
struct Cache {
    name: Arc<str>,
    size: usize,
    strategy: Strategy,
    entries: Vec<Entry>,
}

impl Cache {
    fn take(&mut self, key: &str, now: Timestamp) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(place)).filter(|entry| entry.expires >= now)
    }

    fn get(&mut self, key: &str, now: Timestamp) -> Option<Arc<str>> {
        let mut entry = self.take(key, now)?;
        entry.uses += 1;
        let value = entry.value.clone();
        self.entries.push(entry);
        Some(value)
    }

    fn set(&mut self, key: &str, value: &str, ttl: i64, now: Timestamp) {
        let uses = self.take(key, now).map_or(0, |known| known.uses + 1);
        if self.entries.len() >= self.size {
            let place = match self.strategy {
                // Adaptive replacement is taken as its recent half: the rules at large name neither.
                Strategy::Lru | Strategy::Arc => 0,
                Strategy::Lfu => {
                    let rarest = self.entries.iter().map(|entry| entry.uses).min();
                    self.entries.iter().position(|entry| Some(entry.uses) == rarest).unwrap_or(0)
                }
            };
            if place < self.entries.len() {
                self.entries.remove(place);
            }
        }
        let (key, value, expires) = (key.to_owned(), value.into(), now.add_nanos(ttl));
        self.entries.push(Entry { key, value, uses, ttl, expires, fresh: true });
    }
}

/// All caches, in the order of their definitions. Several may have one name: writes go to all of
/// them, reads come from the first.
#[derive(Default)]
pub(crate) struct Stashes {
    caches: Vec<Cache>,
}

impl Stashes {
    pub(crate) fn define(&mut self, stash: &Stash) {
        self.caches.push(Cache {
            name: stash.name.clone(),
            size: stash.size,
            strategy: stash.strategy,
            entries: Vec::new(),
        });
    }

    pub(crate) fn clear(&mut self) {
        self.caches.iter_mut().for_each(|cache| cache.entries.clear());
    }

    /// The value of an entry that has not expired at `now`.
    pub(crate) fn get(&mut self, cache: &str, key: &str, now: Timestamp) -> Option<Arc<str>> {
        self.caches.iter_mut().find(|c| *c.name == *cache)?.get(key, now)
    }

    /// Stores an entry that lives for `ttl` nanoseconds.
    pub(crate) fn set(&mut self, cache: &str, key: &str, value: &str, ttl: i64, now: Timestamp) {
        for cache in self.caches.iter_mut().filter(|c| *c.name == *cache) {
            cache.set(key, value, ttl, now);
        }
    }

    /// The line is parsed: what it stored lives from its own time on, if it has one.
    pub(crate) fn settle(&mut self, time: Option<Timestamp>) {
        for entry in self.caches.iter_mut().flat_map(|cache| &mut cache.entries) {
            if let (true, Some(time)) = (entry.fresh, time) {
                entry.expires = time.add_nanos(entry.ttl);
            }
            entry.fresh = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stashes(size: usize, strategy: Strategy) -> Stashes {
        let cache = Cache { name: "c".into(), size, strategy, entries: Vec::new() };
        Stashes { caches: vec![cache] }
    }

    /// Sets entries that live for ten seconds and gets them, both at these seconds.
    fn set(stashes: &mut Stashes, second: i64, key: &str, value: &str) {
        stashes.set("c", key, value, 10_000_000_000, Timestamp::from_unix(second, 0));
    }

    fn get(stashes: &mut Stashes, second: i64, key: &str) -> Option<String> {
        stashes.get("c", key, Timestamp::from_unix(second, 0)).map(|value| value.to_string())
    }

    #[test]
    fn the_least_recently_used_entry_goes() {
        let mut stashes = stashes(2, Strategy::Lru);
        set(&mut stashes, 0, "a", "1");
        set(&mut stashes, 0, "b", "2");
        assert_eq!(get(&mut stashes, 0, "a").as_deref(), Some("1"));
        set(&mut stashes, 0, "d", "3");
        assert_eq!(get(&mut stashes, 0, "b"), None);
        assert_eq!(get(&mut stashes, 0, "a").as_deref(), Some("1"));
        assert_eq!(stashes.get("other", "a", Timestamp::default()), None);
    }

    #[test]
    fn the_least_often_used_entry_goes() {
        let mut stashes = stashes(2, Strategy::Lfu);
        set(&mut stashes, 0, "a", "1");
        get(&mut stashes, 0, "a");
        set(&mut stashes, 0, "b", "2");
        set(&mut stashes, 0, "d", "3");
        assert_eq!(get(&mut stashes, 0, "b"), None);
        assert_eq!(get(&mut stashes, 0, "a").as_deref(), Some("1"));
        assert_eq!(get(&mut stashes, 0, "d").as_deref(), Some("3"));
    }

    #[test]
    fn entries_age_by_the_time_of_the_line_that_stored_them() {
        let mut stashes = stashes(2, Strategy::Lru);
        set(&mut stashes, 0, "a", "1");
        set(&mut stashes, 0, "b", "2");
        stashes.settle(None);
        set(&mut stashes, 0, "a", "3");
        stashes.settle(Some(Timestamp::from_unix(100, 0)));
        assert_eq!(get(&mut stashes, 10, "b").as_deref(), Some("2"));
        assert_eq!(get(&mut stashes, 11, "b"), None);
        assert_eq!(get(&mut stashes, 110, "a").as_deref(), Some("3"));
        assert_eq!(get(&mut stashes, 111, "a"), None);
    }
}
