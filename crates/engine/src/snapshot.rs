//! What buckets keep of an event: its meta, its times and the fields that later expressions read,
//! copied out of the line. Nothing else of the line survives.
//!
//! Long queues hold hundreds of thousands of events that say nearly the same: an event has only
//! those texts for itself that differ from what its sort has in common.

mod common;
mod state;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use testudo_event::{alert::Overflow, time::Timestamp};
use testudo_expr::{Slot, Value, value::Map};

use self::common::{Cell, Common, Form, Sorts};
pub(crate) use self::state::{EventReader, EventWriter};
use crate::{
    keys::{self, Keys, Space},
    record::{EventKind, Mode, Record},
};

/// Which parts of an event are read after it was frozen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// By slot.
    pub(crate) slots: Vec<bool>,
    /// Whole text maps, by [`Space`].
    pub(crate) spaces: [bool; 4],
    /// `evt.Unmarshaled`.
    pub(crate) unmarshaled: bool,
}

impl Kept {
    /// Spells out by slot what is kept, once all names are known.
    pub(crate) fn seal(&mut self, keys: &Keys) {
        self.slots.resize(keys.len(), false);
        for (slot, kept) in (0..).map(Slot).zip(&mut self.slots) {
            *kept |= match keys.name(slot) {
                Some((space, _)) => self.spaces[space as usize],
                None => slot == keys::MARSHALED_TIME,
            };
        }
    }
}

/// A frozen event.
#[derive(Debug)]
pub(crate) struct Snapshot {
    common: Arc<Common>,
    own: Own,
    rare: Option<Box<Rare>>,
    /// Nanoseconds since 1970, at the offset of its form; superseded by [`Rare::times`].
    time: i64,
    arrival: i64,
}

/// What few events have.
#[derive(Debug, Default)]
struct Rare {
    /// Entries under keys that no rule names.
    side: BTreeMap<(Space, Box<str>), Box<str>>,
    unmarshaled: Option<Map>,
    overflow: Option<Arc<Overflow>>,
    times: Option<Times>,
    /// Bytes of all this.
    bytes: usize,
}

/// Times that do not fit into the usual form.
#[derive(Clone, Copy, Debug)]
struct Times {
    time: Timestamp,
    arrival: Timestamp,
    marshaled: Option<Timestamp>,
}

/// Working memory of freezing.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    sorts: Sorts,
    table: String,
    text: String,
}

/// Texts that an event has for itself, in one piece of memory: the length of the table, the total
/// length of all texts of the event, the table (positions among the slots of its sort, and lengths),
/// the texts. Numbers are written in characters of six bits, the seventh saying that more follow.
#[derive(Debug)]
struct Own(Box<str>);

impl Own {
    fn new(table: &str, text: &str, total: usize) -> Own {
        // Exactly what it takes: boxing it then copies nothing.
        let head = digits(table.len()) + digits(total);
        let mut own = String::with_capacity(head + table.len() + text.len());
        write_number(&mut own, table.len());
        write_number(&mut own, total);
        own.push_str(table);
        own.push_str(text);
        Own(own.into())
    }

    /// Their positions, in order, and where they stand.
    fn places(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let bytes = self.0.as_bytes();
        let mut at = 0;
        let table = read_number(bytes, &mut at);
        read_number(bytes, &mut at);
        let end = at + table;
        let mut start = end;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let position = read_number(bytes, &mut at);
                let place = start..start + read_number(bytes, &mut at);
                start = place.end;
                (position, place)
            })
        })
    }

    /// The text at a position; `None`: it is that of its sort.
    fn find(&self, position: usize) -> Option<&str> {
        let (found, place) = self.places().find(|(at, _)| *at >= position)?;
        (found == position).then(|| self.0.get(place)).flatten()
    }

    /// Each of them at its position, of so many.
    fn by_position(&self, positions: usize) -> Vec<Option<&str>> {
        let mut texts = vec![None; positions];
        for (position, place) in self.places() {
            if let Some(text) = texts.get_mut(position) {
                *text = self.0.get(place);
            }
        }
        texts
    }

    /// Total length of the texts of the event.
    fn total(&self) -> usize {
        let bytes = self.0.as_bytes();
        let mut at = 0;
        read_number(bytes, &mut at);
        read_number(bytes, &mut at)
    }
}

fn write_number(to: &mut String, mut number: usize) {
    while number > 0x3F {
        to.push(char::from((number & 0x3F) as u8 | 0x40));
        number >>= 6;
    }
    to.push(char::from(number as u8));
}

/// How many characters [`write_number`] writes.
fn digits(number: usize) -> usize {
    number.checked_ilog2().map_or(1, |bits| bits as usize / 6 + 1)
}

/// Reads what [`write_number`] wrote.
fn read_number(bytes: &[u8], at: &mut usize) -> usize {
    let (mut number, mut shift) = (0, 0);
    while let Some(&byte) = bytes.get(*at) {
        *at += 1;
        number |= usize::from(byte & 0x3F) << shift;
        shift += 6;
        if byte & 0x40 == 0 {
            break;
        }
    }
    number
}

/// Nanoseconds since 1970 of an instant that they can express.
fn nanos(time: Timestamp, offset: i32) -> Option<i64> {
    let nanos = time.unix_nanos();
    (time.offset() == offset && instant(nanos, offset) == time).then_some(nanos)
}

fn instant(nanos: i64, offset: i32) -> Timestamp {
    const SECOND: i64 = 1_000_000_000;
    Timestamp::from_unix(nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND) as u32).with_offset(offset)
}

impl Snapshot {
    /// Freezes a record.
    pub(crate) fn take(record: &mut Record, keys: &Keys, kept: &Kept, desk: &mut Desk) -> Snapshot {
        let mut rare = Rare::of(record, kept);
        let time = record.time.unwrap_or(record.now);
        let (offset, marshaled) = (time.offset(), record.marshaled_time());
        let dated = marshaled.is_some_and(|at| at == time && at.offset() == offset);
        let (short_time, short_arrival) = (nanos(time, offset), nanos(record.arrival, offset));
        if short_time.is_none() || short_arrival.is_none() || (marshaled.is_some() && !dated) {
            let times = Times { time, arrival: record.arrival, marshaled };
            rare.get_or_insert_default().times = Some(times);
        }
        let form = Form { kind: record.kind, mode: record.mode, process: record.process, dated, offset };
        let Desk { sorts, table, text } = desk;
        let keeps = |slot: Slot| kept.slots.get(slot.0 as usize).copied().unwrap_or(false);
        let (place, common, total) = sorts.of(record, keys, keeps, form);
        table.clear();
        text.clear();
        let missed = common.differences(record, |position, own| {
            write_number(table, position);
            write_number(table, own.len());
            text.push_str(own);
        });
        sorts.told(place, missed);
        Snapshot {
            own: Own::new(table, text, total),
            common,
            rare: rare.map(Box::new),
            time: short_time.unwrap_or_default(),
            arrival: short_arrival.unwrap_or_default(),
        }
    }

    fn at(&self, position: usize) -> &str {
        self.resolve(position, |at| self.own.find(at))
    }

    /// The text at a position; `own` finds those that the event has for itself.
    fn resolve<'s>(&'s self, mut position: usize, own: impl Fn(usize) -> Option<&'s str>) -> &'s str {
        loop {
            if let Some(text) = own(position) {
                return text;
            }
            match self.common.cell(position) {
                Cell::Shared { start, end } => return self.common.shared(start, end),
                Cell::Repeats(first) => position = first as usize,
                Cell::Own => return "",
            }
        }
    }

    /// The text in a slot; `None` where it is absent.
    pub(crate) fn get(&self, slot: Slot) -> Option<&str> {
        if slot == keys::TYPE {
            return Some(keys::type_name(self.kind()));
        }
        Some(self.at(self.common.position(slot)?))
    }

    /// The text in a slot; `""` where it is absent.
    pub(crate) fn text(&self, slot: Slot) -> &str {
        self.get(slot).unwrap_or("")
    }

    /// The text under any key.
    pub(crate) fn key(&self, keys: &Keys, space: Space, key: &str) -> Option<&str> {
        match keys.lookup(space, key) {
            Some(slot) => self.get(slot),
            None => self.rare.as_ref()?.side.get(&(space, Box::from(key))).map(AsRef::as_ref),
        }
    }

    /// All kept entries of a text map, ordered bytewise by key.
    pub(crate) fn entries<'s>(&'s self, keys: &'s Keys, space: Space) -> Vec<(&'s str, &'s str)> {
        let own = self.own.by_position(self.common.len());
        let find = |at: usize| own.get(at).copied().flatten();
        let mut entries: Vec<(&str, &str)> = Vec::with_capacity(self.common.len());
        entries.extend(self.common.named(keys, space).map(|(at, name)| (name, self.resolve(at, find))));
        if let Some(rare) = &self.rare
            && !rare.side.is_empty()
        {
            let side = rare.side.iter().filter(|((of, _), _)| *of == space);
            entries.extend(side.map(|((_, key), text)| (key.as_ref(), text.as_ref())));
            entries.sort_unstable_by_key(|(key, _)| *key);
        }
        entries
    }

    /// `evt.Unmarshaled`, if some later expression reads it.
    pub(crate) fn unmarshaled(&self) -> Option<&Map> {
        self.rare.as_ref()?.unmarshaled.as_ref()
    }

    /// `evt.Type`.
    pub(crate) fn kind(&self) -> EventKind {
        self.common.form.kind
    }

    /// `evt.ExpectMode`.
    pub(crate) fn mode(&self) -> Mode {
        self.common.form.mode
    }

    /// `evt.Process`: false for an overflow that not all postoverflow stages wanted.
    pub(crate) fn process(&self) -> bool {
        self.common.form.process
    }

    fn times(&self) -> Option<&Times> {
        self.rare.as_ref()?.times.as_ref()
    }

    /// `evt.Time`.
    pub(crate) fn time(&self) -> Timestamp {
        self.times().map_or_else(|| instant(self.time, self.common.form.offset), |times| times.time)
    }

    /// When it arrived.
    pub(crate) fn arrival(&self) -> Timestamp {
        self.times().map_or_else(|| instant(self.arrival, self.common.form.offset), |times| times.arrival)
    }

    /// Says when it arrived.
    pub(crate) fn set_arrival(&mut self, arrival: Timestamp) {
        let short = nanos(arrival, self.common.form.offset);
        if let (None, Some(short)) = (self.times(), short) {
            self.arrival = short;
            return;
        }
        let times = Times { time: self.time(), arrival, marshaled: self.marshaled() };
        self.rare.get_or_insert_default().times = Some(times);
    }

    /// The instant in `evt.MarshaledTime`.
    pub(crate) fn marshaled(&self) -> Option<Timestamp> {
        match self.times() {
            Some(times) => times.marshaled,
            None => self.common.form.dated.then(|| self.time()),
        }
    }

    /// `evt.Overflow`.
    pub(crate) fn overflow(&self) -> Option<&Overflow> {
        self.rare.as_ref()?.overflow.as_deref()
    }

    /// Bytes that it counts for: those that it would take if it shared nothing. What it does share
    /// depends on the thread that froze it.
    pub(crate) fn bytes(&self) -> usize {
        /// Two counters of [`Arc`].
        const COUNTERS: usize = 2 * size_of::<usize>();
        let own = size_of::<Snapshot>() + COUNTERS + self.own.total();
        own + self.rare.as_ref().map_or(0, |rare| size_of::<Rare>() + rare.bytes)
    }
}

impl Rare {
    /// What is rare about an event; the overflow is taken out of it.
    fn of(record: &mut Record, kept: &Kept) -> Option<Rare> {
        if record.side.is_empty() && record.unmarshaled.is_empty() && record.overflow.is_none() {
            return None;
        }
        let side = record.side.iter().filter(|((space, _), _)| kept.spaces[*space as usize]);
        let mut rare = Rare {
            side: side.map(|(key, text)| (key.clone(), text.clone())).collect(),
            unmarshaled: (kept.unmarshaled && !record.unmarshaled.is_empty())
                .then(|| record.unmarshaled.clone()),
            overflow: record.overflow.take().map(Arc::from),
            times: None,
            bytes: 0,
        };
        if rare.side.is_empty() && rare.unmarshaled.is_none() && rare.overflow.is_none() {
            return None;
        }
        let texts = rare.side.iter().map(|((_, key), text)| PIECE + key.len() + text.len());
        rare.bytes = texts.sum::<usize>()
            + rare.unmarshaled.as_ref().map_or(0, bytes_of_map)
            + rare.overflow.as_ref().map_or(0, |overflow| bytes_of_overflow(overflow));
        Some(rare)
    }
}

/// Bytes that a text in a collection takes beside its own.
const PIECE: usize = 64;

fn bytes_of_map(map: &Map) -> usize {
    map.iter().map(|(key, value)| PIECE + key.len() + bytes_of(value)).sum()
}

fn bytes_of(value: &Value) -> usize {
    PIECE
        + match value {
            Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.iter().map(bytes_of).sum(),
            Value::Map(map) => bytes_of_map(map),
            _ => 0,
        }
}

fn bytes_of_overflow(overflow: &Overflow) -> usize {
    let meta = overflow.alert.events.iter().flat_map(|event| event.meta.iter());
    let meta = meta.map(|(key, text)| 2 * size_of::<usize>() + key.len() + text.len());
    let context = overflow.alert.context.iter().map(|(key, text)| 2 * PIECE + key.len() + text.len());
    let lists = overflow.sources.len() + overflow.alert.events.len() + overflow.alert.contributors.len();
    size_of::<Overflow>() + lists * 4 * PIECE + meta.sum::<usize>() + context.sum::<usize>()
}
