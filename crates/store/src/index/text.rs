//! Texts that many decisions share, each kept once and told by a number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Texts by number.
#[derive(Default)]
pub(super) struct Texts {
    items: Vec<Box<str>>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Texts {
    /// The number of a text, which is added when it is new.
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        let Texts { items, table, hasher } = self;
        let hash = hasher.hash_one(text);
        let same = |&at: &u32| &*items[at as usize] == text;
        if let Some(&at) = table.find(hash, same) {
            return at;
        }
        let at = items.len() as u32;
        items.push(text.into());
        table.insert_unique(hash, at, |&at| hasher.hash_one(&*items[at as usize]));
        at
    }

    /// The number of a text that is there.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |&at| &*self.items[at as usize] == text).copied()
    }

    /// The text of a number; empty for one that was never given.
    pub(super) fn get(&self, at: u32) -> &str {
        self.items.get(at as usize).map_or("", |text| text)
    }
}
