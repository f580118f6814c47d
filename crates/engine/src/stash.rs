//! Named caches that parsers write to and expressions read from.
//!
//! Lines that read a stash are handled one after the other, in the order of the log, and what others
//! store comes in between; entries age by the clock of the line (see `docs/deviations.md`), so that
//! a replay gives the same result however fast it runs.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use testudo_event::time::Timestamp;
use testudo_rules::plan::Strategy;

use crate::bytes::{Damaged, Reader, Writer};

/// Entries that a cache holds where its declaration is silent.
const DEFAULT_SIZE: usize = 100;

/// All caches.
#[derive(Debug, Default)]
pub(crate) struct Stashes {
    caches: HashMap<Arc<str>, Cache>,
    /// Names and keys of what the present line has stored.
    fresh: Vec<(Box<str>, Arc<str>)>,
}

#[derive(Debug)]
struct Cache {
    size: usize,
    strategy: Strategy,
    entries: HashMap<Arc<str>, Entry>,
    /// Eviction order: (uses for LFU, tick of last use) to key.
    order: BTreeMap<(u64, u64), Arc<str>>,
    tick: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Arc<str>,
    ttl: i64,
    expires: Timestamp,
    rank: (u64, u64),
}

/// What the lines of a batch store, until it is their turn.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// In the order of the lines.
    list: Vec<Note>,
    text: String,
}

#[derive(Clone, Debug)]
struct Note {
    /// Number of the line in its batch.
    line: usize,
    /// The time of the line, where it has one.
    time: Option<Timestamp>,
    name: Arc<str>,
    /// Where in the text the key begins, the value, and where that ends.
    text: [usize; 3],
    ttl: i64,
}

impl Notes {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
    }

    /// Notes what the present line stores.
    pub(crate) fn add(&mut self, name: &Arc<str>, key: &str, value: &str, ttl: i64) {
        let start = self.text.len();
        self.text.push_str(key);
        self.text.push_str(value);
        let text = [start, start + key.len(), self.text.len()];
        self.list.push(Note { line: 0, time: None, name: Arc::clone(name), text, ttl });
    }

    /// Takes those of a line of a batch, which has this time.
    pub(crate) fn take(&mut self, own: &mut Notes, line: usize, time: Option<Timestamp>) {
        let shift = self.text.len();
        self.text.push_str(&own.text);
        let moved = |note: Note| Note { line, time, text: note.text.map(|at| at + shift), ..note };
        self.list.extend(own.list.drain(..).map(moved));
        own.clear();
    }

    /// Those of a line.
    pub(crate) fn of(&self, line: usize) -> Range<usize> {
        let first = self.list.partition_point(|note| note.line < line);
        first..first + self.list[first..].iter().take_while(|note| note.line == line).count()
    }
}

impl Stashes {
    /// Declares a cache. The first declaration of a name counts.
    pub(crate) fn declare(&mut self, name: &Arc<str>, size: usize, strategy: Strategy) {
        self.caches.entry(name.clone()).or_insert_with(|| Cache {
            size: if size == 0 { DEFAULT_SIZE } else { size },
            strategy,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            tick: 0,
        });
    }

    /// Forgets all entries; the declarations stay.
    pub(crate) fn clear(&mut self) {
        self.fresh.clear();
        for cache in self.caches.values_mut() {
            cache.entries.clear();
            cache.order.clear();
        }
    }

    /// How many entries each cache has, by name.
    pub(crate) fn sizes(&self) -> Vec<(Arc<str>, usize)> {
        let mut sizes: Vec<(Arc<str>, usize)> =
            self.caches.iter().map(|(name, cache)| (Arc::clone(name), cache.entries.len())).collect();
        sizes.sort_unstable();
        sizes
    }

    /// Writes all entries.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let mut caches: Vec<_> = self.caches.iter().collect();
        caches.sort_unstable_by_key(|(name, _)| Arc::clone(name));
        writer.count(caches.len());
        for (name, cache) in caches {
            writer.text(name);
            let mut entries: Vec<_> = cache.entries.iter().collect();
            entries.sort_unstable_by_key(|(_, entry)| entry.rank.1);
            writer.count(entries.len());
            for (key, entry) in entries {
                writer.text(key);
                writer.text(&entry.value);
                writer.signed(entry.ttl);
                writer.time(entry.expires);
                writer.number(entry.rank.0);
            }
        }
    }

    /// Reads entries, of caches that there still are; the others are left out. Gives how many there are.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<usize, Damaged> {
        self.clear();
        let mut count = 0;
        for _ in 0..reader.count()? {
            let mut cache = self.caches.get_mut(reader.text()?);
            for _ in 0..reader.count()? {
                let (key, value): (Arc<str>, Arc<str>) = (reader.text()?.into(), reader.text()?.into());
                let (ttl, expires, uses) = (reader.signed()?, reader.time()?, reader.tally()?);
                let Some(cache) = cache.as_deref_mut().filter(|cache| cache.entries.len() < cache.size)
                else {
                    continue;
                };
                cache.tick += 1;
                let rank = (uses, cache.tick);
                if cache.entries.insert(key.clone(), Entry { value, ttl, expires, rank }).is_some() {
                    return Err(Damaged);
                }
                cache.order.insert(rank, key);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Stores an entry that lives `ttl` nanoseconds from `now`; unknown caches ignore it.
    pub(crate) fn set(&mut self, name: &str, key: &str, value: &str, ttl: i64, now: Timestamp) {
        let life = (ttl, now.add_nanos(ttl));
        if let Some(key) = self.caches.get_mut(name).map(|cache| cache.set(key, value, life, now)) {
            self.fresh.push((name.into(), key));
        }
    }

    /// Stores what a line had to store, now that it is its turn: the lines before it have this time.
    pub(crate) fn store(&mut self, notes: &Notes, of_line: Range<usize>, now: Timestamp) {
        for note in &notes.list[of_line] {
            let [start, middle, end] = note.text;
            let (key, value) = (&notes.text[start..middle], &notes.text[middle..end]);
            if let Some(cache) = self.caches.get_mut(&note.name) {
                cache.set(key, value, (note.ttl, note.time.unwrap_or(now).add_nanos(note.ttl)), now);
            }
        }
    }

    /// Ends a line: what it has stored lives from its own time on, where it has one. Parsers store
    /// before the date is read, so until here entries had the time of the line before, which may
    /// be days back.
    pub(crate) fn settle(&mut self, time: Option<Timestamp>) {
        for (name, key) in self.fresh.drain(..) {
            let entry = self.caches.get_mut(&*name).and_then(|cache| cache.entries.get_mut(&key));
            if let (Some(entry), Some(time)) = (entry, time) {
                entry.expires = time.add_nanos(entry.ttl);
            }
        }
    }

    /// The entry, if it is there and has not expired.
    pub(crate) fn get(&mut self, name: &str, key: &str, now: Timestamp) -> Option<Arc<str>> {
        let cache = self.caches.get_mut(name)?;
        cache.tick += 1;
        let tick = cache.tick;
        let entry = cache.entries.get_mut(key)?;
        let key = cache.order.remove(&entry.rank)?;
        if entry.expires < now {
            cache.entries.remove(&key);
            return None;
        }
        let uses = if cache.strategy == Strategy::Lfu { entry.rank.0 + 1 } else { 0 };
        entry.rank = (uses, tick);
        cache.order.insert(entry.rank, key);
        Some(entry.value.clone())
    }
}

impl Cache {
    /// Stores an entry with its life in nanoseconds and its end. Gives its key.
    fn set(&mut self, key: &str, value: &str, (ttl, expires): (i64, Timestamp), now: Timestamp) -> Arc<str> {
        self.tick += 1;
        let first = u64::from(self.strategy == Strategy::Lfu);
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(key) = self.order.remove(&entry.rank)
        {
            // Writing an entry again is a use of it; one that has expired is not there any more.
            let uses = first + if entry.expires >= now { entry.rank.0 } else { 0 };
            (entry.ttl, entry.expires, entry.rank) = (ttl, expires, (uses, self.tick));
            if *entry.value != *value {
                entry.value = value.into();
            }
            self.order.insert(entry.rank, Arc::clone(&key));
            return key;
        }
        while self.entries.len() >= self.size {
            let Some((_, victim)) = self.order.pop_first() else { break };
            self.entries.remove(&victim);
        }
        let (key, rank): (Arc<str>, _) = (key.into(), (first, self.tick));
        self.order.insert(rank, Arc::clone(&key));
        self.entries.insert(Arc::clone(&key), Entry { value: value.into(), ttl, expires, rank });
        key
    }
}
