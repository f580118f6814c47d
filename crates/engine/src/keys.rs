//! Names become slots: every text cell that a rule set can name gets a number when rules load.
//!
//! The first slots are the text fields of the event itself; the rest are keys of its text maps, in
//! the order in which rules first named them. Keys that only appear at run time (a computed key)
//! have no slot; they live in the record's side map.

use hashbrown::{Equivalent, HashMap};
use testudo_expr::Slot;

use crate::record::{EventKind, Span};

/// The text maps of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// `evt.Parsed`
    Parsed,
    /// `evt.Meta`
    Meta,
    /// `evt.Enriched`
    Enriched,
    /// `evt.Line.Labels`
    Labels,
}

impl Space {
    /// All of them.
    pub const ALL: [Space; 4] = [Space::Parsed, Space::Meta, Space::Enriched, Space::Labels];
}

macro_rules! fixed_slots {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Slot = Slot($number);)*
        /// How many slots every event has.
        pub(crate) const FIXED: u32 = [$($number),*].len() as u32;
    };
}

fixed_slots! {
    /// `evt.Line.Raw`
    LINE_RAW = 0;
    /// `evt.Line.Src`
    LINE_SRC = 1;
    /// `evt.Line.Module`
    LINE_MODULE = 2;
    /// `evt.StrTime`
    STR_TIME = 3;
    /// `evt.StrTimeFormat`
    STR_TIME_FORMAT = 4;
    /// `evt.MarshaledTime`
    MARSHALED_TIME = 5;
    /// `evt.WhitelistReason`
    WHITELIST_REASON = 6;
    /// `evt.Stage`
    STAGE = 7;
    /// `evt.Overflow.Alert.Source.IP`, in postoverflow stages
    OVERFLOW_SOURCE_IP = 8;
    /// `evt.GetType()`; there in every record, and asked of the event itself once it is frozen
    TYPE = 9;
}

/// The text of [`TYPE`] for each type of event: every record's text begins with them.
const TYPES: &str = "logoverflowunknown";

/// Where the text of [`TYPE`] stands for a type of event.
pub(crate) fn type_span(kind: EventKind) -> Span {
    match kind {
        EventKind::Log => Span { start: 0, len: 3 },
        EventKind::Overflow => Span { start: 3, len: 8 },
        EventKind::Appsec => Span { start: 11, len: 7 },
    }
}

/// What `evt.GetType()` says of a type of event.
pub(crate) fn type_name(kind: EventKind) -> &'static str {
    let Span { start, len } = type_span(kind);
    TYPES.get(start as usize..(start + len) as usize).unwrap_or_default()
}

/// All the names of a rule set.
#[derive(Debug)]
pub struct Keys {
    slots: HashMap<(Space, Box<str>), Slot>,
    names: Vec<(Space, Box<str>)>,
    /// Slots that some expression or pattern source reads.
    read: Vec<bool>,
    /// Spaces that are read as a whole or by a computed key.
    read_all: [bool; 4],
    /// Whether `evt.Stage` is read.
    stage_read: bool,
    /// Whether some rule asks who is listed.
    asks_lists: bool,
    /// Texts that rules assign, one after the other: every record begins with them.
    constants: String,
    constant_spans: HashMap<Box<str>, Span>,
    /// Position of each slot in bytewise order of (space, key); made by [`Keys::seal`].
    rank: Vec<u32>,
}

impl Keys {
    /// None yet.
    pub(crate) fn new() -> Keys {
        Keys {
            slots: HashMap::new(),
            names: Vec::new(),
            read: Vec::new(),
            read_all: [false; 4],
            stage_read: false,
            asks_lists: false,
            constants: TYPES.to_owned(),
            constant_spans: HashMap::new(),
            rank: Vec::new(),
        }
    }

    /// The slot of a key, made if it is new.
    pub(crate) fn intern(&mut self, space: Space, key: &str) -> Slot {
        if let Some(slot) = self.lookup(space, key) {
            return slot;
        }
        let slot = Slot(FIXED + self.names.len() as u32);
        self.names.push((space, key.into()));
        self.read.push(false);
        self.slots.insert((space, key.into()), slot);
        slot
    }

    /// Where a text that rules assign stands in every record.
    pub(crate) fn constant(&mut self, text: &str) -> Span {
        if let Some(span) = self.constant_spans.get(text) {
            return *span;
        }
        let span = Span { start: self.constants.len() as u32, len: text.len() as u32 };
        self.constants.push_str(text);
        self.constant_spans.insert(text.into(), span);
        span
    }

    /// The texts that rules assign.
    pub(crate) fn constants(&self) -> &str {
        &self.constants
    }

    /// The slot of a key, marked as read by a rule.
    pub(crate) fn intern_read(&mut self, space: Space, key: &str) -> Slot {
        let slot = self.intern(space, key);
        self.read[(slot.0 - FIXED) as usize] = true;
        slot
    }

    /// Marks a whole space as read: nothing in it may be left out.
    pub(crate) fn read_whole(&mut self, space: Space) {
        self.read_all[space as usize] = true;
    }

    /// Whether some rule may read this key.
    pub(crate) fn is_read(&self, space: Space, key: &str) -> bool {
        self.read_all[space as usize]
            || self.lookup(space, key).is_some_and(|slot| self.read[(slot.0 - FIXED) as usize])
    }

    /// Marks `evt.Stage` as read.
    pub(crate) fn read_stage(&mut self) {
        self.stage_read = true;
    }

    /// Whether some rule reads `evt.Stage`.
    pub(crate) fn stage_is_read(&self) -> bool {
        self.stage_read
    }

    /// Notes that a rule asks who is listed.
    pub(crate) fn ask_lists(&mut self) {
        self.asks_lists = true;
    }

    /// Whether some rule asks who is listed.
    pub(crate) fn lists_are_asked(&self) -> bool {
        self.asks_lists
    }

    /// The slot of a key that rules name.
    pub fn lookup(&self, space: Space, key: &str) -> Option<Slot> {
        self.slots.get(&Probe(space, key)).copied()
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        FIXED as usize + self.names.len()
    }

    /// True when rules name no key at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The space and name of a slot; `None` for the fixed ones.
    pub fn name(&self, slot: Slot) -> Option<(Space, &str)> {
        let (space, name) = self.names.get(slot.0.checked_sub(FIXED)? as usize)?;
        Some((*space, name))
    }

    /// Fixes the order of keys once all rules are known.
    pub(crate) fn seal(&mut self) {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_by(|&a, &b| self.names[a as usize].cmp(&self.names[b as usize]));
        self.rank = vec![0; self.names.len()];
        for (rank, &at) in order.iter().enumerate() {
            self.rank[at as usize] = rank as u32;
        }
    }

    /// Position of a slot in bytewise order of its key within its space.
    pub fn rank(&self, slot: Slot) -> u32 {
        slot.0.checked_sub(FIXED).and_then(|at| self.rank.get(at as usize).copied()).unwrap_or(0)
    }
}

/// Asks the table with a borrowed key. Hashes as the owned one does.
#[derive(Hash)]
struct Probe<'k>(Space, &'k str);

impl Equivalent<(Space, Box<str>)> for Probe<'_> {
    fn equivalent(&self, key: &(Space, Box<str>)) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}
