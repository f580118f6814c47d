//! What events of one sort have in common: which slots they fill, and the texts that most of them
//! repeat. A log has few sorts of lines, so each thread that freezes events keeps the last few.

use std::sync::Arc;

use testudo_expr::Slot;

use crate::{
    bytes::{Damaged, Reader, Writer},
    keys::{Keys, Space},
    record::{EventKind, Mode, Record},
};

/// Texts longer than this are never shared: what an attacker writes at length is not held on to
/// by events that do not repeat it.
const MAX_SHARED: usize = 64;

/// How many sorts of events a thread remembers.
const PLACES: usize = 128;

/// After so many events it is asked whether their sort still fits.
const REVIEW_EVERY: u32 = 256;

/// How far back a slot is looked for whose text another one repeats.
const MAX_LOOK_BACK: usize = 32;

/// What is the same for all events of a sort, besides their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) kind: EventKind,
    pub(super) mode: Mode,
    pub(super) process: bool,
    /// Whether `evt.MarshaledTime` holds the event's time.
    pub(super) dated: bool,
    /// Seconds east of UTC in which its times are shown.
    pub(super) offset: i32,
}

/// What a sort of events knows of the text in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Each event has a text of its own.
    Own,
    /// Mostly this piece of [`Common::text`].
    Shared { start: u32, end: u32 },
    /// Mostly the text of the slot at this earlier position.
    Repeats(u32),
}

/// A sort of events.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) form: Form,
    /// In the order in which events fill them.
    slots: Box<[Slot]>,
    /// By position in `slots`.
    cells: Box<[Cell]>,
    text: Box<str>,
    /// Positions of slots that have a name, ordered by it.
    order: Box<[u32]>,
}

impl Common {
    /// The sort of the event in `record`, with its own texts as those that are shared.
    fn new(record: &Record, keys: &Keys, slots: &[Slot], form: Form) -> Common {
        let mut text = String::new();
        let mut cells = Vec::with_capacity(slots.len());
        for (at, &slot) in slots.iter().enumerate() {
            let span = record.span(slot);
            let from = at.saturating_sub(MAX_LOOK_BACK);
            let same = slots[from..at].iter().position(|&earlier| record.span(earlier) == span);
            cells.push(match same.map(|same| (from + same) as u32) {
                // Of a chain of repetitions all name its first.
                Some(same) => match cells[same as usize] {
                    Cell::Repeats(first) => Cell::Repeats(first),
                    _ => Cell::Repeats(same),
                },
                None if span.len as usize <= MAX_SHARED => {
                    let start = text.len() as u32;
                    text.push_str(record.slice(span));
                    Cell::Shared { start, end: text.len() as u32 }
                }
                None => Cell::Own,
            });
        }
        let named = (0..).zip(slots).filter(|(_, slot)| keys.name(**slot).is_some());
        let mut order: Vec<u32> = named.map(|(at, _)| at).collect();
        order.sort_unstable_by_key(|at| keys.rank(slots[*at as usize]));
        Common { form, slots: slots.into(), cells: cells.into(), text: text.into(), order: order.into() }
    }

    /// Where a slot stands among those of the event.
    pub(super) fn position(&self, slot: Slot) -> Option<usize> {
        self.slots.iter().position(|s| *s == slot)
    }

    pub(super) fn cell(&self, at: usize) -> Cell {
        self.cells.get(at).copied().unwrap_or(Cell::Own)
    }

    pub(super) fn shared(&self, start: u32, end: u32) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or("")
    }

    /// Positions and names of the slots of a text map, ordered bytewise by name.
    pub(super) fn named<'k>(
        &'k self,
        keys: &'k Keys,
        space: Space,
    ) -> impl Iterator<Item = (usize, &'k str)> {
        self.order.iter().filter_map(move |&at| match keys.name(self.slots[at as usize]) {
            Some((of, name)) if of == space => Some((at as usize, name)),
            _ => None,
        })
    }

    /// Calls `tell` for each slot whose text this sort does not give, and says how many bytes of
    /// those could have been shared.
    pub(super) fn differences(&self, record: &Record, mut tell: impl FnMut(usize, &str)) -> usize {
        let mut missed = 0;
        for (at, (&slot, cell)) in self.slots.iter().zip(&self.cells).enumerate() {
            let span = record.span(slot);
            let text = match *cell {
                Cell::Repeats(first) if span == record.span(self.slots[first as usize]) => continue,
                Cell::Shared { start, end } => {
                    let text = record.slice(span);
                    let shared = self.text.as_bytes().get(start as usize..end as usize);
                    if shared == Some(text.as_bytes()) {
                        continue;
                    }
                    missed += text.len().min(MAX_SHARED);
                    text
                }
                _ => record.slice(span),
            };
            tell(at, text);
        }
        missed
    }
}

/// The sorts of events that a thread saw last.
#[derive(Debug, Default)]
pub(super) struct Sorts {
    places: Vec<Option<Place>>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Place {
    common: Arc<Common>,
    /// Events of this sort since it was last reviewed, and the bytes in which they differed.
    seen: u32,
    missed: usize,
}

impl Sorts {
    /// The sort of the event in `record`, and the total length of the texts in the slots that
    /// `keeps` wants. [`Sorts::told`] is to be called after it.
    pub(super) fn of(
        &mut self,
        record: &Record,
        keys: &Keys,
        keeps: impl Fn(Slot) -> bool,
        form: Form,
    ) -> (usize, Arc<Common>, usize) {
        self.slots.clear();
        let (mut hash, mut bytes) = (0_u32, 0);
        for &slot in record.touched() {
            if keeps(slot) && record.has(slot) {
                self.slots.push(slot);
                hash = (hash.rotate_left(5) ^ slot.0).wrapping_mul(0x9E37_79B1);
                bytes += record.span(slot).len as usize;
            }
        }
        // The high bits are the mixed ones.
        let place = (hash >> 16) as usize % PLACES;
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let common = match &self.places[place] {
            Some(known) if known.common.form == form && *known.common.slots == *self.slots => {
                Arc::clone(&known.common)
            }
            _ => {
                let common = Arc::new(Common::new(record, keys, &self.slots, form));
                self.places[place] = Some(Place { common: Arc::clone(&common), seen: 0, missed: 0 });
                common
            }
        };
        (place, common, bytes)
    }

    /// Takes in how many bytes of an event differed from its sort. A sort that gives less than half of
    /// what it could is made anew from the next event.
    pub(super) fn told(&mut self, place: usize, missed: usize) {
        let Some(Some(known)) = self.places.get_mut(place) else { return };
        known.seen += 1;
        known.missed += missed;
        if known.seen == REVIEW_EVERY {
            let fits = known.missed / REVIEW_EVERY as usize <= known.common.text.len() / 2;
            (known.seen, known.missed) = (0, 0);
            if !fits {
                self.places[place] = None;
            }
        }
    }
}

impl Common {
    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Writes it; slots are written by `slot`.
    pub(super) fn write(&self, writer: &mut Writer, mut slot: impl FnMut(Slot, &mut Writer)) {
        let Form { kind, mode, process, dated, offset } = self.form;
        writer.byte(kind as u8);
        writer.byte(mode as u8);
        writer.flag(process);
        writer.flag(dated);
        writer.signed(offset.into());
        writer.text(&self.text);
        writer.count(self.slots.len());
        for (name, cell) in self.slots.iter().zip(&self.cells) {
            slot(*name, writer);
            match *cell {
                Cell::Own => writer.byte(0),
                Cell::Shared { start, end } => {
                    writer.byte(1);
                    writer.number(start.into());
                    writer.number(end.into());
                }
                Cell::Repeats(first) => {
                    writer.byte(2);
                    writer.number(first.into());
                }
            }
        }
    }

    /// Reads what was written; slots are read by `slot`, which is told their positions.
    pub(super) fn read<'b>(
        reader: &mut Reader<'b>,
        keys: &Keys,
        mut slot: impl FnMut(&mut Reader<'b>, usize) -> Result<Slot, Damaged>,
    ) -> Result<Common, Damaged> {
        let kind = match reader.byte()? {
            0 => EventKind::Log,
            1 => EventKind::Overflow,
            2 => EventKind::Appsec,
            _ => return Err(Damaged),
        };
        let mode = Mode::of(reader.byte()?).ok_or(Damaged)?;
        let (process, dated, offset) = (reader.flag()?, reader.flag()?, reader.offset()?);
        let form = Form { kind, mode, process, dated, offset };
        let text = reader.text()?;
        let count = reader.count()?;
        let (mut slots, mut cells) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for at in 0..count {
            slots.push(slot(reader, at)?);
            let cell = match reader.byte()? {
                0 => Cell::Own,
                1 => Cell::Shared { start: reader.small()?, end: reader.small()? },
                2 => Cell::Repeats(reader.small()?),
                _ => return Err(Damaged),
            };
            match cell {
                Cell::Shared { start, end } if text.get(start as usize..end as usize).is_none() => {
                    return Err(Damaged);
                }
                // Of a chain of repetitions all name its first.
                Cell::Repeats(first)
                    if matches!(cells.get(first as usize), None | Some(Cell::Repeats(_))) =>
                {
                    return Err(Damaged);
                }
                cell => cells.push(cell),
            }
        }
        let named = (0..).zip(&slots).filter(|(_, slot)| keys.name(**slot).is_some());
        let mut order: Vec<u32> = named.map(|(at, _)| at).collect();
        order.sort_unstable_by_key(|at| keys.rank(slots[*at as usize]));
        Ok(Common { form, slots: slots.into(), cells: cells.into(), text: text.into(), order: order.into() })
    }
}
