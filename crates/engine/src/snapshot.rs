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
    fields: Fields,
    side: Option<Box<Side>>,
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

/// Entries under keys that no rule names.
type Side = BTreeMap<(Space, Box<str>), Box<str>>;

/// Working memory of freezing.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    fields: Vec<(Slot, Span)>,
    spans: Vec<Span>,
    text: String,
}

/// Where the text of each slot lies, ordered by slot. Nearly all events are small: long queues hold
/// hundreds of thousands of them, so their numbers are too.
#[derive(Debug)]
enum Fields {
    Small(Box<[[u16; 3]]>),
    Large(Box<[(Slot, Span)]>),
}

impl Fields {
    fn new(fields: &[(Slot, Span)]) -> Fields {
        let small = |(slot, span): &(Slot, Span)| {
            Some([
                u16::try_from(slot.0).ok()?,
                u16::try_from(span.start).ok()?,
                u16::try_from(span.len).ok()?,
            ])
        };
        match fields.iter().map(small).collect::<Option<Box<[_]>>>() {
            Some(fields) => Fields::Small(fields),
            None => Fields::Large(fields.into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Fields::Small(fields) => fields.len(),
            Fields::Large(fields) => fields.len(),
        }
    }

    fn at(&self, at: usize) -> (Slot, Span) {
        match self {
            Fields::Small(fields) => {
                let [slot, start, len] = fields[at];
                (Slot(slot.into()), Span { start: start.into(), len: len.into() })
            }
            Fields::Large(fields) => fields[at],
        }
    }

    fn find(&self, slot: Slot) -> Option<Span> {
        let at = match self {
            Fields::Small(fields) => {
                let slot = u16::try_from(slot.0).ok()?;
                fields.binary_search_by_key(&slot, |field| field[0]).ok()?
            }
            Fields::Large(fields) => fields.binary_search_by_key(&slot, |field| field.0).ok()?,
        };
        Some(self.at(at).1)
    }

    fn iter(&self) -> impl Iterator<Item = (Slot, Span)> + '_ {
        (0..self.len()).map(|at| self.at(at))
    }

    fn bytes(&self) -> usize {
        match self {
            Fields::Small(fields) => size_of_val(&**fields),
            Fields::Large(fields) => size_of_val(&**fields),
        }
    }
}

impl Snapshot {
    /// Freezes a record.
    pub(crate) fn take(
        record: &mut Record,
        keys: &Keys,
        kept: &Kept,
        source_ip: Slot,
        desk: &mut Desk,
    ) -> Snapshot {
        let Desk { fields, spans, text } = desk;
        let touched = record.touched().iter().filter(|&&slot| kept.keeps(keys, slot));
        fields.clear();
        fields.extend(touched.map(|&slot| (slot, record.span(slot))));
        fields.sort_unstable_by_key(|(slot, _)| *slot);
        spans.clear();
        spans.extend(fields.iter().map(|(_, span)| *span));
        text.clear();
        for at in 0..fields.len() {
            // Fields that were copied from each other share their text.
            let start = match spans[..at].iter().position(|span| *span == spans[at]) {
                Some(same) => fields[same].1.start,
                None => {
                    let start = text.len() as u32;
                    text.push_str(record.slice(spans[at]));
                    start
                }
            };
            fields[at].1.start = start;
        }
        let kept_side = |space: Space| kept.spaces[space as usize];
        Snapshot {
            side: (!record.side.is_empty()).then(|| {
                let kept = record.side.iter().filter(|((space, _), _)| kept_side(*space));
                Box::new(kept.map(|(key, text)| (key.clone(), text.clone())).collect())
            }),
            unmarshaled: (kept.unmarshaled && !record.unmarshaled.is_empty())
                .then(|| Box::new(record.unmarshaled.clone())),
            kind: record.kind,
            mode: record.mode,
            process: record.process,
            time: record.time.unwrap_or(record.now),
            arrival: record.arrival,
            marshaled: record.marshaled_time(),
            overflow: record.overflow.take().map(Arc::from),
            address: testudo_event::net::parse_addr(record.text(source_ip)),
            text: text.as_str().into(),
            fields: Fields::new(fields),
        }
    }

    /// The text in a slot; `None` where it is absent.
    pub(crate) fn get(&self, slot: Slot) -> Option<&str> {
        let span = self.fields.find(slot)?;
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
            None => self.side.as_ref()?.get(&(space, Box::from(key))).map(AsRef::as_ref),
        }
    }

    /// All kept entries of a text map, ordered bytewise by key.
    pub(crate) fn entries<'s>(&'s self, keys: &'s Keys, space: Space) -> Vec<(&'s str, &'s str)> {
        let mut entries: Vec<(u32, &str, &str)> = self
            .fields
            .iter()
            .filter_map(|(slot, span)| match keys.name(slot) {
                Some((of, name)) if of == space => {
                    let text = self.text.get(span.start as usize..(span.start + span.len) as usize);
                    Some((keys.rank(slot), name, text.unwrap_or("")))
                }
                _ => None,
            })
            .collect();
        entries.sort_unstable_by_key(|(rank, ..)| *rank);
        let mut entries: Vec<(&str, &str)> = entries.into_iter().map(|(_, k, v)| (k, v)).collect();
        if let Some(side) = &self.side {
            let side = side.iter().filter(|((of, _), _)| *of == space);
            entries.extend(side.map(|((_, key), text)| (key.as_ref(), text.as_ref())));
            entries.sort_unstable_by_key(|(key, _)| *key);
        }
        entries
    }

    /// Bytes it holds, for budgets.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Snapshot>() + self.text.len() + self.fields.bytes()
    }
}
