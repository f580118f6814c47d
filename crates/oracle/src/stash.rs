//! Named caches that parsers write and expressions read.
//!
//! In replay their entries do not age: no result may depend on how long a run takes.

use std::sync::Arc;

use testudo_rules::plan::{Stash, Strategy};

/// One entry.
struct Entry {
    key: String,
    value: Arc<str>,
    /// How often it was written or read.
    uses: u64,
}

/// One cache: its entries from the least to the most recently used.
struct Cache {
    name: Arc<str>,
    size: usize,
    strategy: Strategy,
    entries: Vec<Entry>,
}

impl Cache {
    fn get(&mut self, key: &str) -> Option<Arc<str>> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        let mut entry = self.entries.remove(place);
        entry.uses += 1;
        let value = entry.value.clone();
        self.entries.push(entry);
        Some(value)
    }

    fn set(&mut self, key: &str, value: &str) {
        let known = self.entries.iter().position(|entry| entry.key == key);
        let uses = match known {
            Some(place) => self.entries.remove(place).uses + 1,
            None => 0,
        };
        if known.is_none() && self.entries.len() >= self.size {
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
        self.entries.push(Entry { key: key.to_owned(), value: value.into(), uses });
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

    pub(crate) fn get(&mut self, cache: &str, key: &str) -> Option<Arc<str>> {
        self.caches.iter_mut().find(|c| *c.name == *cache)?.get(key)
    }

    pub(crate) fn set(&mut self, cache: &str, key: &str, value: &str) {
        for cache in self.caches.iter_mut().filter(|c| *c.name == *cache) {
            cache.set(key, value);
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

    #[test]
    fn the_least_recently_used_entry_goes() {
        let mut stashes = stashes(2, Strategy::Lru);
        stashes.set("c", "a", "1");
        stashes.set("c", "b", "2");
        assert_eq!(stashes.get("c", "a").as_deref(), Some("1"));
        stashes.set("c", "d", "3");
        assert_eq!(stashes.get("c", "b"), None);
        assert_eq!(stashes.get("c", "a").as_deref(), Some("1"));
        assert_eq!(stashes.get("other", "a"), None);
    }

    #[test]
    fn the_least_often_used_entry_goes() {
        let mut stashes = stashes(2, Strategy::Lfu);
        stashes.set("c", "a", "1");
        stashes.get("c", "a");
        stashes.set("c", "b", "2");
        stashes.set("c", "d", "3");
        assert_eq!(stashes.get("c", "b"), None);
        assert_eq!(stashes.get("c", "a").as_deref(), Some("1"));
        assert_eq!(stashes.get("c", "d").as_deref(), Some("3"));
    }
}
