//! What decisions of one kind share: scope, type, origin, scenario, and whether they are simulated. There
//! are few of these combinations, so that each decision only names one by number.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::text::Texts;

/// The texts of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelTexts<'t> {
    /// The scope of values.
    pub scope: &'t str,
    /// `ban`, `captcha`, ….
    pub kind: &'t str,
    /// Who decided.
    pub origin: &'t str,
    /// The scenario or list behind it.
    pub scenario: &'t str,
    /// Whether it is only for show.
    pub simulated: bool,
}

/// Makes of a label the bytes that are kept with it for writers of decisions, see
/// [`View::prepared`](super::View::prepared).
pub type Prepare = fn(&LabelTexts<'_>) -> Box<[u8]>;

/// The numbers of a label's texts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) scope: u32,
    pub(super) kind: u32,
    pub(super) origin: u32,
    pub(super) scenario: u32,
    pub(super) simulated: bool,
}

/// A label.
pub(super) struct Label {
    pub(super) key: Key,
    /// Decisions of this label that are in force.
    pub(super) active: u64,
    pub(super) prepared: Box<[u8]>,
}

/// Labels by number.
#[derive(Default)]
pub(super) struct Labels {
    items: Vec<Label>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Labels {
    /// The number of a label, which is added when it is new.
    pub(super) fn intern(&mut self, key: Key, prepare: impl FnOnce() -> Box<[u8]>) -> u32 {
        let Labels { items, table, hasher } = self;
        let hash = hasher.hash_one(key);
        if let Some(&at) = table.find(hash, |&at| items[at as usize].key == key) {
            return at;
        }
        let at = items.len() as u32;
        items.push(Label { key, active: 0, prepared: prepare() });
        table.insert_unique(hash, at, |&at| hasher.hash_one(items[at as usize].key));
        at
    }

    /// The label of a number that was given.
    pub(super) fn get(&self, at: u32) -> &Label {
        &self.items[at as usize]
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut Label {
        &mut self.items[at as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Label> {
        self.items.iter()
    }

    /// Whether two decisions are about the same when they are for the same place.
    pub(super) fn same_group(&self, one: u32, other: u32) -> bool {
        let (one, other) = (self.get(one).key, self.get(other).key);
        (one.scope, one.kind) == (other.scope, other.kind)
    }
}

impl Key {
    pub(super) fn texts(self, texts: &Texts) -> LabelTexts<'_> {
        LabelTexts {
            scope: texts.get(self.scope),
            kind: texts.get(self.kind),
            origin: texts.get(self.origin),
            scenario: texts.get(self.scenario),
            simulated: self.simulated,
        }
    }
}
