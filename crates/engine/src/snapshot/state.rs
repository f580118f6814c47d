//! Frozen events as bytes, and back, for rules that may have changed meanwhile. Events that share their sort, and
//! events that several buckets hold, are written once.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use testudo_expr::Slot;

use super::{Own, Rare, Snapshot, Times, bytes_of_map, bytes_of_overflow, common::Common, read_number};
use crate::{
    bytes::{Damaged, Reader, Writer},
    keys::{FIXED, Keys, Space},
};

/// Texts of one event: more than any line is long.
const MAX_TEXT: usize = 1 << 30;

/// Writes events.
#[derive(Debug, Default)]
pub(crate) struct EventWriter {
    commons: HashMap<*const Common, u64>,
    /// Events that are held more than once.
    events: HashMap<*const Snapshot, u64>,
    written: u64,
}

/// Reads events.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    commons: Vec<Sort>,
    events: Vec<Arc<Snapshot>>,
}

/// A sort of events, and those of its slots that no rule names any more.
#[derive(Debug)]
struct Sort {
    common: Arc<Common>,
    lost: Vec<(usize, Space, Box<str>)>,
}

impl EventWriter {
    /// Writes an event, or which of those before it is meant.
    pub(crate) fn write(&mut self, event: &Arc<Snapshot>, keys: &Keys, writer: &mut Writer) {
        let shared = Arc::strong_count(event) > 1;
        if shared {
            if let Some(number) = self.events.get(&Arc::as_ptr(event)) {
                return writer.number(number + 1);
            }
            self.events.insert(Arc::as_ptr(event), self.written);
        }
        self.written += 1;
        writer.byte(0);
        let common = Arc::as_ptr(&event.common);
        match self.commons.get(&common) {
            Some(number) => writer.number(number + 1),
            None => {
                self.commons.insert(common, self.commons.len() as u64);
                writer.byte(0);
                event.common.write(writer, |slot, writer| write_slot(slot, keys, writer));
            }
        }
        writer.text(&event.own.0);
        writer.nanos(event.time);
        writer.nanos(event.arrival);
        writer.optional(event.rare.as_deref(), |writer, rare| rare.write(writer));
    }
}

impl EventReader {
    /// Reads an event; whether it is a new one.
    pub(crate) fn read(
        &mut self,
        keys: &Keys,
        reader: &mut Reader<'_>,
    ) -> Result<(Arc<Snapshot>, bool), Damaged> {
        if let Some(before) = reader.number()?.checked_sub(1) {
            let event = usize::try_from(before).ok().and_then(|at| self.events.get(at)).ok_or(Damaged)?;
            return Ok((Arc::clone(event), false));
        }
        let sort = match reader.number()?.checked_sub(1) {
            Some(before) => usize::try_from(before).ok().and_then(|at| self.commons.get(at)),
            None => {
                let mut lost = Vec::new();
                let common = Common::read(reader, keys, |reader, at| {
                    let (slot, name) = read_slot(reader, keys)?;
                    if slot == LOST
                        && let Some((space, name)) = name
                    {
                        lost.push((at, space, name.into()));
                    }
                    Ok(slot)
                })?;
                self.commons.push(Sort { common: Arc::new(common), lost });
                self.commons.last()
            }
        };
        let sort = sort.ok_or(Damaged)?;
        let own = Own::checked(reader.text()?, sort.common.len())?;
        let (time, arrival) = (reader.nanos()?, reader.nanos()?);
        let rare = reader.optional(Rare::read)?.map(Box::new);
        let mut event = Snapshot { common: Arc::clone(&sort.common), own, rare, time, arrival };
        if !sort.lost.is_empty() {
            let mut side = std::mem::take(&mut event.rare.get_or_insert_default().side);
            for (at, space, name) in &sort.lost {
                side.entry((*space, name.clone())).or_insert_with(|| event.at(*at).into());
            }
            let rare = event.rare.get_or_insert_default();
            rare.side = side;
            rare.count();
        }
        let event = Arc::new(event);
        self.events.push(Arc::clone(&event));
        Ok((event, true))
    }

    /// All events that were read.
    pub(crate) fn into_events(self) -> Vec<Arc<Snapshot>> {
        self.events
    }
}

/// Stands for a slot that no rule names any more.
const LOST: Slot = Slot(u32::MAX);

/// Slots of the event itself are written by their number, all others by name.
const NUMBERED: u8 = Space::ALL.len() as u8;

/// A slot, and its name unless it is one of the event itself.
type Named<'b> = (Slot, Option<(Space, &'b str)>);

fn write_slot(slot: Slot, keys: &Keys, writer: &mut Writer) {
    match keys.name(slot) {
        Some((space, name)) => {
            writer.byte(space as u8);
            writer.text(name);
        }
        None => {
            writer.byte(NUMBERED);
            writer.number(slot.0.into());
        }
    }
}

fn read_slot<'b>(reader: &mut Reader<'b>, keys: &Keys) -> Result<Named<'b>, Damaged> {
    let space = reader.byte()?;
    if space == NUMBERED {
        let slot = Slot(reader.small()?);
        // A slot that was lost before is lost again; its texts are among those without one.
        return if slot.0 < FIXED || slot == LOST { Ok((slot, None)) } else { Err(Damaged) };
    }
    let space = *Space::ALL.get(space as usize).ok_or(Damaged)?;
    let name = reader.text()?;
    Ok((keys.lookup(space, name).unwrap_or(LOST), Some((space, name))))
}

impl Rare {
    fn write(&self, writer: &mut Writer) {
        writer.count(self.side.len());
        for ((space, key), text) in &self.side {
            writer.byte(*space as u8);
            writer.text(key);
            writer.text(text);
        }
        writer.optional(self.unmarshaled.as_ref(), Writer::map);
        let overflow = self.overflow.as_ref().and_then(|overflow| serde_json::to_vec(&**overflow).ok());
        writer.optional(overflow, |writer, json| writer.blob(&json));
        writer.optional(self.times.as_ref(), |writer, times| {
            writer.time(times.time);
            writer.time(times.arrival);
            writer.optional(times.marshaled, Writer::time);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Rare, Damaged> {
        let count = reader.count()?;
        let side: BTreeMap<_, _> = (0..count)
            .map(|_| {
                let space = *Space::ALL.get(reader.byte()? as usize).ok_or(Damaged)?;
                Ok(((space, Box::from(reader.text()?)), Box::from(reader.text()?)))
            })
            .collect::<Result<_, _>>()?;
        let unmarshaled = reader.optional(Reader::map)?;
        let overflow = reader
            .optional(Reader::blob)?
            .map(|json| serde_json::from_slice(json).map_err(|_| Damaged))
            .transpose()?
            .map(Arc::new);
        let times = reader.optional(|reader| {
            let (time, arrival) = (reader.time()?, reader.time()?);
            Ok(Times { time, arrival, marshaled: reader.optional(Reader::time)? })
        })?;
        let mut rare = Rare { side, unmarshaled, overflow, times, bytes: 0 };
        rare.count();
        Ok(rare)
    }

    /// Counts the bytes of what is in it, as when an event is frozen.
    fn count(&mut self) {
        let texts = self.side.iter().map(|((_, key), text)| super::PIECE + key.len() + text.len());
        self.bytes = texts.sum::<usize>()
            + self.unmarshaled.as_ref().map_or(0, bytes_of_map)
            + self.overflow.as_ref().map_or(0, |overflow| bytes_of_overflow(overflow));
    }
}

impl Own {
    /// Texts of an event with so many slots, as they were written.
    fn checked(text: &str, slots: usize) -> Result<Own, Damaged> {
        /// Of six bits each: no number of a sane event has more.
        const MAX_DIGITS: usize = 6;
        let bytes = text.as_bytes();
        let mut at = 0;
        let number = |at: &mut usize| {
            let digits = bytes[(*at).min(bytes.len())..].iter().take_while(|byte| **byte & 0x40 != 0).count();
            if digits >= MAX_DIGITS || *at + digits >= bytes.len() || bytes[*at + digits] > 0x7F {
                return Err(Damaged);
            }
            Ok(read_number(bytes, at))
        };
        let table = number(&mut at)?;
        let total = number(&mut at)?;
        let end = at + table;
        if end > bytes.len() || total > MAX_TEXT {
            return Err(Damaged);
        }
        let (mut start, mut next) = (end, 0);
        while at < end {
            let position = number(&mut at)?;
            let length = number(&mut at)?;
            if position < next || position >= slots || text.get(start..start + length).is_none() {
                return Err(Damaged);
            }
            next = position + 1;
            start += length;
        }
        if at != end || start != bytes.len() {
            return Err(Damaged);
        }
        Ok(Own(text.into()))
    }
}
