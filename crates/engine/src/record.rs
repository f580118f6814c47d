//! The working event: one buffer that holds the line and everything computed from it, and a table
//! of slots whose entries are spans of that buffer. Assigning one field to another copies eight
//! bytes; clearing it for the next line frees nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
};

use testudo_event::{alert::Overflow, time::Timestamp};
use testudo_expr::{Slot, Value, value::Map};

use crate::keys::{Keys, Space};

/// A piece of a record's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Length in bytes; [`Span::ABSENT`] has `u32::MAX`.
    pub len: u32,
}

impl Span {
    /// No value. An empty text is something else.
    pub const ABSENT: Span = Span { start: 0, len: u32::MAX };
    /// Empty text.
    pub const EMPTY: Span = Span { start: 0, len: 0 };

    /// False for [`Span::ABSENT`].
    pub fn is_present(self) -> bool {
        self.len != u32::MAX
    }
}

/// What an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventKind {
    /// A line of a log.
    #[default]
    Log,
    /// An overflow.
    Overflow,
    /// A finding of the web application firewall.
    Appsec,
}

/// Which clock an event lives by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The time at which it arrived.
    #[default]
    Live,
    /// The time found in the line.
    Replay,
}

impl Mode {
    /// The mode with this number.
    pub(crate) fn of(number: u8) -> Option<Mode> {
        [Mode::Live, Mode::Replay].into_iter().find(|mode| *mode as u8 == number)
    }
}

/// Nanoseconds that a live line may trail its arrival and still count as happening now.
pub(crate) const MAX_LAG: i64 = 10_000_000_000;

/// Whether a line that arrives at `arrival` tells of something that is over.
pub(crate) fn is_late(time: Timestamp, arrival: Timestamp) -> bool {
    arrival.nanos_since(time) > MAX_LAG
}

/// An event on its way through the parsers.
#[derive(Debug, Default)]
pub struct Record {
    buffer: String,
    slots: Vec<Span>,
    touched: Vec<Slot>,
    /// Bytes of the buffer that stay: the texts that rules assign.
    constants: usize,
    /// What every line of a source begins with: bytes of the buffer, and slots.
    base: (usize, Vec<(Slot, Span)>),
    /// Entries under keys that no rule names.
    pub(crate) side: BTreeMap<(Space, Box<str>), Box<str>>,
    /// `evt.Unmarshaled`.
    pub unmarshaled: Map,
    /// `evt.Type`.
    pub kind: EventKind,
    /// `evt.ExpectMode`.
    pub mode: Mode,
    /// `evt.Whitelisted`.
    pub whitelisted: bool,
    /// `evt.Process`.
    pub process: bool,
    /// `evt.Time`, once it is known.
    pub time: Option<Timestamp>,
    /// `evt.Line.Time`: when the line was read.
    pub arrival: Timestamp,
    /// What "now" is for this event.
    pub now: Timestamp,
    /// The instant in `evt.MarshaledTime`, when it was written by date parsing; spares re-reading its text.
    pub(crate) marshaled: Option<(Span, Timestamp)>,
    /// `evt.Overflow`.
    pub overflow: Option<Box<Overflow>>,
    /// The one of its contributors that expressions are asked about.
    pub(crate) contributor: Option<String>,
    /// Set when something was asked that other lines write; and, where it is the line's turn, when it wrote something.
    pub(crate) needs_order: AtomicBool,
    /// Set when the present was asked for, which may be the time of the lines before this one.
    pub(crate) needs_clock: AtomicBool,
    /// Whether the line has just arrived: its date only says whether it is late.
    pub(crate) live: bool,
    /// The date that was last found in a live line.
    own: Option<Timestamp>,
    /// Whether the date of the line could not be read, so that the present was taken.
    pub(crate) guessed: bool,
}

impl Record {
    /// An empty record for rules with these keys.
    pub fn new(keys: &Keys) -> Self {
        let buffer = keys.constants().to_owned();
        let (constants, base) = (buffer.len(), (buffer.len(), Vec::new()));
        let slots = vec![Span::ABSENT; keys.len()];
        let mut record = Record { buffer, slots, constants, base, ..Record::default() };
        record.set_kind(EventKind::Log);
        record
    }

    /// Says what type of event it is.
    pub(crate) fn set_kind(&mut self, kind: EventKind) {
        self.kind = kind;
        if let Some(cell) = self.slots.get_mut(crate::keys::TYPE.0 as usize) {
            *cell = crate::keys::type_span(kind);
        }
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.base.0 = self.constants;
        self.base.1.clear();
        self.rewind();
    }

    /// Makes what is in the record now the state to which [`Record::rewind`] returns. False if that cannot
    /// be done: there is something beyond slots.
    pub(crate) fn set_base(&mut self) -> bool {
        if !self.side.is_empty() || !self.unmarshaled.is_empty() {
            return false;
        }
        self.base.0 = self.buffer.len();
        self.base.1.clear();
        self.base.1.extend(self.touched.iter().map(|&slot| (slot, self.slots[slot.0 as usize])));
        true
    }

    /// Forgets everything but the base.
    pub(crate) fn rewind(&mut self) {
        self.buffer.truncate(self.base.0);
        for slot in self.touched.drain(..) {
            self.slots[slot.0 as usize] = Span::ABSENT;
        }
        for &(slot, span) in &self.base.1 {
            self.slots[slot.0 as usize] = span;
            self.touched.push(slot);
        }
        self.side.clear();
        self.unmarshaled.clear();
        self.set_kind(EventKind::Log);
        self.mode = Mode::Live;
        self.whitelisted = false;
        self.process = false;
        self.time = None;
        self.marshaled = None;
        self.overflow = None;
        self.live = false;
        self.own = None;
        self.guessed = false;
        *self.needs_order.get_mut() = false;
        *self.needs_clock.get_mut() = false;
    }

    /// Takes in the date that the line tells.
    pub(crate) fn found_date(&mut self, time: Timestamp) {
        self.guessed = false;
        if self.live {
            self.own = Some(time);
            let late = is_late(time, self.arrival);
            self.mode = if late { Mode::Replay } else { Mode::Live };
            self.time = Some(if late { time } else { self.arrival });
        } else if self.mode == Mode::Replay {
            self.time = Some(time);
        }
    }

    /// Decides by which clock a live line goes on, once its parsers are done, and gives the time found in
    /// it. A line without one goes by the present, which is in the past where `late` says that of the
    /// lines of its source.
    pub(crate) fn settle_clock(&mut self, late: bool) -> Option<Timestamp> {
        let found = if self.guessed { None } else { self.marshaled_time().or(self.own) };
        match found {
            Some(time) if is_late(time, self.arrival) => {
                self.mode = Mode::Replay;
                self.time = Some(self.own.unwrap_or(time));
            }
            None if late => {
                self.mode = Mode::Replay;
                self.time = Some(self.now);
            }
            _ => {
                self.mode = Mode::Live;
                self.time = Some(self.arrival);
            }
        }
        if self.mode == Mode::Replay && self.marshaled_time().is_none() {
            // Rules that never say when an event happened are of use all the same.
            let time = found.unwrap_or(self.now);
            let span = self.write(|buffer| time.write_rfc3339_nano(buffer));
            self.marshaled = Some((span, time));
            self.assign(crate::keys::MARSHALED_TIME, span);
        }
        found
    }

    /// The span in a slot.
    pub fn span(&self, slot: Slot) -> Span {
        self.slots[slot.0 as usize]
    }

    /// The text in a slot; `""` where it is absent.
    pub fn text(&self, slot: Slot) -> &str {
        self.slice(self.span(slot))
    }

    /// The text of a span; `""` for an absent one.
    pub fn slice(&self, span: Span) -> &str {
        if !span.is_present() {
            return "";
        }
        let start = span.start as usize;
        self.buffer.get(start..start + span.len as usize).unwrap_or("")
    }

    /// Whether the slot holds anything, empty text included.
    pub fn has(&self, slot: Slot) -> bool {
        self.span(slot).is_present()
    }

    /// Points a slot at text that is already in the buffer.
    pub fn assign(&mut self, slot: Slot, span: Span) {
        let cell = &mut self.slots[slot.0 as usize];
        if !cell.is_present() {
            self.touched.push(slot);
        }
        *cell = span;
    }

    /// Adds text to the buffer.
    pub fn push(&mut self, text: &str) -> Span {
        let span = Span { start: self.buffer.len() as u32, len: text.len() as u32 };
        self.buffer.push_str(text);
        span
    }

    /// Lets `write` append to the buffer and gives what it wrote.
    pub fn write(&mut self, write: impl FnOnce(&mut String)) -> Span {
        let start = self.buffer.len();
        write(&mut self.buffer);
        Span { start: start as u32, len: (self.buffer.len() - start) as u32 }
    }

    /// Stores new text in a slot.
    pub fn set(&mut self, slot: Slot, text: &str) {
        let span = self.push(text);
        self.assign(slot, span);
    }

    /// Stores text under any key, named by rules or not.
    pub fn set_key(&mut self, keys: &Keys, space: Space, key: &str, text: &str) {
        match keys.lookup(space, key) {
            Some(slot) => self.set(slot, text),
            None => {
                self.side.insert((space, key.into()), text.into());
            }
        }
    }

    /// The text under any key; `None` where it is absent.
    pub fn key(&self, keys: &Keys, space: Space, key: &str) -> Option<&str> {
        match keys.lookup(space, key) {
            Some(slot) => self.has(slot).then(|| self.text(slot)),
            None => self.side.get(&(space, Box::from(key))).map(AsRef::as_ref),
        }
    }

    /// All entries of a text map, ordered bytewise by key.
    pub fn entries<'r>(&'r self, keys: &'r Keys, space: Space) -> Vec<(&'r str, &'r str)> {
        let mut entries: Vec<(&str, &str)> = self
            .touched
            .iter()
            .filter_map(|&slot| match keys.name(slot) {
                Some((of, name)) if of == space => Some((name, self.text(slot))),
                _ => None,
            })
            .chain(
                self.side
                    .iter()
                    .filter(|((of, _), _)| *of == space)
                    .map(|((_, key), text)| (key.as_ref(), text.as_ref())),
            )
            .collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }

    /// Slots that hold something, in the order in which they were first set.
    pub fn touched(&self) -> &[Slot] {
        &self.touched
    }

    /// Forgets the contents of a text slot that must read as absent again.
    pub fn unset(&mut self, slot: Slot) {
        if self.has(slot) {
            self.slots[slot.0 as usize] = Span::ABSENT;
            self.touched.retain(|&s| s != slot);
        }
    }
}

/// A copy of an event for tests, traces and comparisons: every map in full.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// `evt.Stage`.
    pub stage: String,
    /// `evt.Whitelisted`.
    pub whitelisted: bool,
    /// `evt.WhitelistReason`.
    pub whitelist_reason: String,
    /// `evt.Parsed`.
    pub parsed: BTreeMap<String, String>,
    /// `evt.Meta`.
    pub meta: BTreeMap<String, String>,
    /// `evt.Enriched`.
    pub enriched: BTreeMap<String, String>,
    /// `evt.Line.Labels`.
    pub labels: BTreeMap<String, String>,
    /// Text fields of the event by their path, e.g. `StrTime`, `Line.Raw`.
    pub fields: BTreeMap<&'static str, String>,
    /// `evt.Unmarshaled`.
    pub unmarshaled: BTreeMap<Arc<str>, PlainValue>,
}

/// A [`Value`] that can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainValue(pub serde_json::Value);

impl From<&Value> for PlainValue {
    fn from(value: &Value) -> Self {
        PlainValue(json(value))
    }
}

fn json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::Float(f) => Json::from(*f),
        Value::Str(s) => Json::from(s.as_ref()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.to_string(), json(v))).collect()),
        Value::Time(t) => Json::from(t.to_rfc3339_nano()),
        Value::Duration(d) => Json::from(*d),
        Value::Nil | Value::Bytes(_) | Value::Object(_) => Json::Null,
    }
}

impl Record {
    /// The instant in `evt.MarshaledTime`; `None` where it is empty or no date.
    pub fn marshaled_time(&self) -> Option<Timestamp> {
        let span = self.span(crate::keys::MARSHALED_TIME);
        match self.marshaled {
            Some((at, time)) if at == span => Some(time),
            _ => Timestamp::parse_rfc3339(self.slice(span)),
        }
    }

    /// The clock by which stash entries of this event age.
    pub(crate) fn clock(&self) -> Timestamp {
        self.now
    }

    /// A full copy.
    pub fn dump(&self, keys: &Keys) -> Dump {
        use crate::keys as k;
        let all = |space| {
            self.entries(keys, space).into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
        };
        Dump {
            stage: self.text(k::STAGE).to_owned(),
            whitelisted: self.whitelisted,
            whitelist_reason: self.text(k::WHITELIST_REASON).to_owned(),
            parsed: all(Space::Parsed),
            meta: all(Space::Meta),
            enriched: all(Space::Enriched),
            labels: all(Space::Labels),
            fields: [
                ("Line.Raw", k::LINE_RAW),
                ("Line.Src", k::LINE_SRC),
                ("Line.Module", k::LINE_MODULE),
                ("StrTime", k::STR_TIME),
                ("StrTimeFormat", k::STR_TIME_FORMAT),
                ("MarshaledTime", k::MARSHALED_TIME),
            ]
            .into_iter()
            .map(|(name, slot)| (name, self.text(slot).to_owned()))
            .collect(),
            unmarshaled: self.unmarshaled.iter().map(|(k, v)| (k.clone(), PlainValue::from(v))).collect(),
        }
    }
}
