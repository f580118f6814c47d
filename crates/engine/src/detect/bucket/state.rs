//! A bucket as bytes, and back. What follows from the rest, what it knows of its queue for conditions, is not
//! written but found anew.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use testudo_event::Timestamp;

use super::{Bucket, Deadline, Limiter, MAX_CONTRIBUTORS, Queue, Rare, Scoped, allocated};
use crate::{
    bytes::{Damaged, Reader, Writer},
    detect::{Scenario, tally::Tallies},
    record::Mode,
    snapshot::Snapshot,
};

/// A part of a bucket's first byte.
mod flag {
    pub(super) const LATE: u8 = 1;
    pub(super) const REPLAY: u8 = 2;
    pub(super) const HAS_VALUE: u8 = 4;
    /// Its only event so far was its first, and its limiter has granted it.
    pub(super) const ONCE: u8 = 8;
    pub(super) const HAS_ADDRESS: u8 = 16;
    pub(super) const RARE: u8 = 32;
    pub(super) const ALL: u8 = 63;
}

impl Bucket {
    /// Writes it; its events are written by `event`.
    pub(crate) fn write(&self, writer: &mut Writer, mut event: impl FnMut(&Arc<Snapshot>, &mut Writer)) {
        let once = self.first == self.last
            && self.first.offset() == self.last.offset()
            && self.limiter.last() == self.last
            && self.limiter.last().offset() == self.last.offset();
        let flags = [
            (self.late, flag::LATE),
            (self.mode == Mode::Replay, flag::REPLAY),
            (self.has_value, flag::HAS_VALUE),
            (once, flag::ONCE),
            (self.address.is_some(), flag::HAS_ADDRESS),
            (self.rare.is_some(), flag::RARE),
        ];
        writer.byte(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
        writer.text(&self.text);
        writer.number(self.key_len.into());
        writer.number(self.source.into());
        writer.time(self.last);
        if !once {
            writer.time(self.first);
            writer.time(self.limiter.last());
        }
        writer.float(self.limiter.tokens());
        writer.number(self.count);
        if let Some(address) = self.address {
            writer.address(address);
        }
        writer.count(self.queue.len());
        self.queue.all().for_each(|held| event(held, writer));
        if let Some(rare) = &self.rare {
            rare.write(writer);
        }
    }

    /// Reads a bucket of a scenario; its events are read by `event`.
    pub(crate) fn read<'b>(
        reader: &mut Reader<'b>,
        owner: u32,
        mut event: impl FnMut(&mut Reader<'b>) -> Result<Arc<Snapshot>, Damaged>,
    ) -> Result<Bucket, Damaged> {
        let flags = reader.byte()?;
        if flags > flag::ALL {
            return Err(Damaged);
        }
        let has = |flag| flags & flag != 0;
        let text = reader.text()?;
        let key_len = reader.small()?;
        if !text.is_char_boundary(key_len as usize) {
            return Err(Damaged);
        }
        let source = reader.small()?;
        let last = reader.time()?;
        let (first, counted_at) =
            if has(flag::ONCE) { (last, last) } else { (reader.time()?, reader.time()?) };
        let tokens = reader.float()?;
        if !tokens.is_finite() {
            return Err(Damaged);
        }
        let count = reader.tally()?;
        let address = if has(flag::HAS_ADDRESS) { Some(reader.address()?) } else { None };
        let mut queue = Queue::default();
        for _ in 0..reader.count()? {
            queue.push(event(reader)?);
        }
        let rare = if has(flag::RARE) { Some(Box::new(Rare::read(reader, queue.len())?)) } else { None };
        Ok(Bucket {
            text: text.into(),
            key_len,
            has_value: has(flag::HAS_VALUE),
            late: has(flag::LATE),
            owner,
            source,
            mode: if has(flag::REPLAY) { Mode::Replay } else { Mode::Live },
            limiter: Limiter::at(tokens, counted_at),
            first,
            last,
            count,
            queue,
            tallies: Tallies::default(),
            address,
            rare,
        })
    }

    /// Finds anew what conditions ask of the queue. `ask` says what a predicate says of an event.
    pub(crate) fn tally(
        &mut self,
        scenario: &Scenario,
        mut ask: impl FnMut(usize, &Arc<Snapshot>) -> Option<bool>,
    ) {
        if !scenario.tally.keeps() {
            return;
        }
        let events: Vec<Arc<Snapshot>> = self.queue.all().map(Arc::clone).collect();
        for event in events {
            let marks = self.tallies.enter(&scenario.tally, |at| ask(at, &event));
            self.mark(scenario, marks);
        }
    }
}

impl Rare {
    fn write(&self, writer: &mut Writer) {
        writer.optional(self.deadline, |writer, (source, time, number)| {
            writer.number(source.into());
            writer.time(time);
            writer.number(number);
        });
        writer.number(self.guillotined);
        writer.count(self.values.len());
        self.values.iter().for_each(|value| writer.text(value));
        writer.count(self.contributors.len());
        for (address, (count, last)) in &self.contributors {
            writer.address(*address);
            writer.number(*count);
            writer.time(*last);
        }
        writer.count(self.scopes.len());
        for scope in &self.scopes {
            match scope {
                Scoped::None => writer.byte(0),
                Scoped::Failed => writer.byte(1),
                Scoped::Text(text) => {
                    writer.byte(2);
                    writer.text(text);
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>, queue: usize) -> Result<Rare, Damaged> {
        let deadline = reader.optional(read_deadline)?;
        let guillotined = reader.number()?;
        let mut rare = Rare { deadline, guillotined, ..Rare::default() };
        for _ in 0..reader.count()? {
            let value = reader.text()?;
            rare.texts += allocated(value.len());
            rare.values.insert(value.into());
        }
        for _ in 0..reader.count()? {
            let contributor: (IpAddr, (u64, Timestamp)) =
                (reader.address()?, (reader.tally()?, reader.time()?));
            rare.contributors.insert(contributor.0, contributor.1);
        }
        let mut scopes = VecDeque::new();
        for _ in 0..reader.count()? {
            scopes.push_back(match reader.byte()? {
                0 => Scoped::None,
                1 => Scoped::Failed,
                2 => {
                    let text = reader.text()?;
                    rare.texts += allocated(text.len());
                    Scoped::Text(Box::from(text))
                }
                _ => return Err(Damaged),
            });
        }
        let fits = scopes.is_empty() || scopes.len() == queue;
        if !fits || rare.contributors.len() > MAX_CONTRIBUTORS {
            return Err(Damaged);
        }
        rare.scopes = scopes;
        Ok(rare)
    }
}

fn read_deadline(reader: &mut Reader<'_>) -> Result<Deadline, Damaged> {
    Ok((reader.small()?, reader.time()?, reader.tally()?))
}
