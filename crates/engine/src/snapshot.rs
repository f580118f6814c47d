//! What buckets keep of an event: its meta, its times and the fields that later expressions read,
//! copied out of the line in one piece. Nothing else of the line survives.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use testudo_event::{alert::Overflow, time::Timestamp};
use testudo_expr::{Slot, value::Map};

use crate::{
    keys::{self, Keys, Space},
    record::{EventKind, Mode, Record, Span},
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
    fn keeps(&self, keys: &Keys, slot: Slot) -> bool {
        match keys.name(slot) {
            Some((space, _)) => {
                self.spaces[space as usize] || self.slots.get(slot.0 as usize).copied().unwrap_or(false)
            }
            None => slot == keys::MARSHALED_TIME || self.slots.get(slot.0 as usize).copied().unwrap_or(false),
        }
    }
}

/// A frozen event.
#[derive(Debug)]
pub(crate) struct Snapshot {
    text: Box<str>,
    /// Ordered by slot.
    fields: Box<[(Slot, Span)]>,
    side: BTreeMap<(Space, Box<str>), Box<str>>,
    /// `evt.Unmarshaled`, if some later expression reads it.
    pub(crate) unmarshaled: Option<Box<Map>>,
    /// `evt.Type`.
    pub(crate) kind: EventKind,
    /// `evt.ExpectMode`.
    pub(crate) mode: Mode,
    /// `evt.Process`: false for an overflow that not all postoverflow stages wanted.
    pub(crate) process: bool,
    /// `evt.Time`.
    pub(crate) time: Timestamp,
    /// When it arrived.
    pub(crate) arrival: Timestamp,
    /// The instant in `evt.MarshaledTime`.
    pub(crate) marshaled: Option<Timestamp>,
    /// `evt.Overflow`.
    pub(crate) overflow: Option<Arc<Overflow>>,
    /// The address in `Meta.source_ip`.
    pub(crate) address: Option<IpAddr>,
}

impl Snapshot {
    /// Freezes a record.
    pub(crate) fn take(record: &mut Record, keys: &Keys, kept: &Kept, source_ip: Slot) -> Snapshot {
        let mut fields: Vec<(Slot, Span)> = record
            .touched()
            .iter()
            .filter(|&&slot| kept.keeps(keys, slot))
            .map(|&slot| (slot, record.span(slot)))
            .collect();
        fields.sort_unstable_by_key(|(slot, _)| *slot);
        let mut text = String::with_capacity(fields.iter().map(|(_, span)| span.len as usize).sum());
        for (_, span) in &mut fields {
            let start = text.len() as u32;
            text.push_str(record.slice(*span));
            span.start = start;
        }
        let kept_side = |space: Space| kept.spaces[space as usize];
        Snapshot {
            side: record
                .side
                .iter()
                .filter(|((space, _), _)| kept_side(*space))
                .map(|(key, text)| (key.clone(), text.clone()))
                .collect(),
            unmarshaled: kept.unmarshaled.then(|| Box::new(record.unmarshaled.clone())),
            kind: record.kind,
            mode: record.mode,
            process: record.process,
            time: record.time.unwrap_or(record.now),
            arrival: record.arrival,
            marshaled: record.marshaled_time(),
            overflow: record.overflow.take().map(Arc::from),
            address: testudo_event::net::parse_addr(record.text(source_ip)),
            text: text.into_boxed_str(),
            fields: fields.into_boxed_slice(),
        }
    }

    /// The span of a slot.
    fn span(&self, slot: Slot) -> Option<Span> {
        let at = self.fields.binary_search_by_key(&slot, |(s, _)| *s).ok()?;
        Some(self.fields[at].1)
    }

    /// The text in a slot; `None` where it is absent.
    pub(crate) fn get(&self, slot: Slot) -> Option<&str> {
        let span = self.span(slot)?;
        self.text.get(span.start as usize..(span.start + span.len) as usize)
    }

    /// The text in a slot; `""` where it is absent.
    pub(crate) fn text(&self, slot: Slot) -> &str {
        self.get(slot).unwrap_or("")
    }

    /// The text under any key.
    pub(crate) fn key(&self, keys: &Keys, space: Space, key: &str) -> Option<&str> {
        match keys.lookup(space, key) {
            Some(slot) => self.get(slot),
            None => self.side.get(&(space, Box::from(key))).map(AsRef::as_ref),
        }
    }

    /// All kept entries of a text map, ordered bytewise by key.
    pub(crate) fn entries<'s>(&'s self, keys: &'s Keys, space: Space) -> Vec<(&'s str, &'s str)> {
        let mut entries: Vec<(u32, &str, &str)> = self
            .fields
            .iter()
            .filter_map(|(slot, _)| match keys.name(*slot) {
                Some((of, name)) if of == space => Some((keys.rank(*slot), name, self.text(*slot))),
                _ => None,
            })
            .collect();
        entries.sort_unstable_by_key(|(rank, ..)| *rank);
        let mut entries: Vec<(&str, &str)> = entries.into_iter().map(|(_, k, v)| (k, v)).collect();
        if !self.side.is_empty() {
            let side = self.side.iter().filter(|((of, _), _)| *of == space);
            entries.extend(side.map(|((_, key), text)| (key.as_ref(), text.as_ref())));
            entries.sort_unstable_by_key(|(key, _)| *key);
        }
        entries
    }

    /// Bytes it holds, for budgets.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Snapshot>() + self.text.len() + self.fields.len() * size_of::<(Slot, Span)>()
    }
}
