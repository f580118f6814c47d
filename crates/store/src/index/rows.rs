//! Decisions as they lie in memory, in the order of their numbers.

use crate::place::{Family, Form, Place};

use super::Cursor;

/// No row.
pub(super) const NONE: u32 = u32::MAX;

/// The text of a value is that of the bare address.
const TEXT_ADDRESS: u32 = u32::MAX;
/// The text of a value is that of the network.
const TEXT_CIDR: u32 = u32::MAX - 1;

/// In the place of the second in which a row was ended: it was over when it came.
const STILLBORN: u32 = u32::MAX;

/// Rows of a chunk. Chunks spare the copy, and the memory for it, when the whole grows.
const CHUNK: usize = 8192;

/// A decision. Only `gone`, `gone_at` and `next` ever change.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) high: u64,
    pub(super) low: u64,
    uuid_high: u64,
    uuid_low: u64,
    pub(super) id: i64,
    pub(super) alert: i64,
    /// When it is to end.
    pub(super) until: i64,
    /// The commit that brought it.
    pub(super) born: u64,
    /// The commit that ended it before its time; 0 for none.
    pub(super) gone: u64,
    /// When it was made, in seconds.
    pub(super) created: u32,
    /// When it was ended before its time, in seconds.
    pub(super) gone_at: u32,
    pub(super) label: u32,
    pub(super) text: u32,
    /// The next row for the same place, which does not end later.
    pub(super) next: u32,
    pub(super) bits: u8,
    pub(super) family: Family,
}

impl Row {
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each part of a row that others do not follow from"
    )]
    pub(super) fn new(
        id: i64,
        alert: i64,
        uuid: u128,
        place: Place,
        text: u32,
        label: u32,
        until: i64,
        created: i64,
        born: u64,
    ) -> Row {
        Row {
            high: place.high,
            low: place.low,
            uuid_high: (uuid >> 64) as u64,
            uuid_low: uuid as u64,
            id,
            alert,
            until,
            born,
            gone: 0,
            created: seconds(created),
            gone_at: 0,
            label,
            text,
            next: NONE,
            bits: place.bits,
            family: place.family,
        }
    }

    pub(super) fn place(&self) -> Place {
        Place { high: self.high, low: self.low, bits: self.bits, family: self.family }
    }

    pub(super) fn uuid(&self) -> u128 {
        u128::from(self.uuid_high) << 64 | u128::from(self.uuid_low)
    }

    /// Notes that it was over when it came: it never was in force, and its end is told to nobody.
    pub(super) fn set_stillborn(&mut self) {
        self.gone_at = STILLBORN;
    }

    pub(super) fn is_stillborn(&self) -> bool {
        self.gone == 0 && self.gone_at == STILLBORN
    }

    /// Whether it was in force at a moment.
    pub(super) fn in_force(&self, moment: Cursor) -> bool {
        self.born <= moment.seq && (self.gone == 0 || self.gone > moment.seq) && self.until > moment.at
    }

    /// Whether it ended after one moment and before another, or at it.
    pub(super) fn ended_between(&self, from: Cursor, to: Cursor) -> bool {
        if self.born > to.seq || self.is_stillborn() {
            return false;
        }
        if self.gone != 0 && self.gone <= to.seq {
            return self.gone > from.seq;
        }
        self.until > from.at && self.until <= to.at
    }

    /// When it ended, in milliseconds; its planned end if it has not been ended before.
    pub(super) fn end(&self, moment: Cursor) -> i64 {
        if self.gone != 0 && self.gone <= moment.seq { i64::from(self.gone_at) * 1000 } else { self.until }
    }
}

/// Milliseconds as seconds that fit a row: years 1970 to 2106.
pub(super) fn seconds(millis: i64) -> u32 {
    u32::try_from(millis.div_euclid(1000).max(0)).unwrap_or(u32::MAX).min(STILLBORN - 1)
}

/// The number that stands for a way to write a network, if it is one of the two usual ones.
pub(super) fn text_of_form(form: Form) -> Option<u32> {
    match form {
        Form::Address => Some(TEXT_ADDRESS),
        Form::Cidr => Some(TEXT_CIDR),
        Form::Other => None,
    }
}

/// The way to write a network that a number stands for; `None` for an interned text.
pub(super) fn form_of_text(text: u32) -> Option<Form> {
    match text {
        TEXT_ADDRESS => Some(Form::Address),
        TEXT_CIDR => Some(Form::Cidr),
        _ => None,
    }
}

/// All rows. The number of a row is its slot.
#[derive(Default)]
pub(super) struct Rows {
    chunks: Vec<Vec<Row>>,
    len: usize,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, row: Row) -> u32 {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(row),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(row);
                self.chunks.push(chunk);
            }
        }
        self.len += 1;
        (self.len - 1) as u32
    }

    pub(super) fn get(&self, slot: u32) -> &Row {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Row {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// Drops all rows from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.chunks.truncate(len.div_ceil(CHUNK));
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(len - (len - 1) / CHUNK * CHUNK);
        }
        self.len = len.min(self.len);
    }

    /// The first slot whose row does not satisfy `before`, which holds for all rows up to some place and for
    /// none after it.
    pub(super) fn partition_point(&self, before: impl Fn(&Row) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            if before(self.get(middle as u32)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low as u32
    }

    /// The slot of a number.
    pub(super) fn find(&self, id: i64) -> Option<u32> {
        let slot = self.partition_point(|row| row.id < id);
        ((slot as usize) < self.len && self.get(slot).id == id).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64) -> Row {
        Row::new(id, 0, 0, Place::named(0, 0), 0, 0, 0, 0, 0)
    }

    #[test]
    fn rows_are_small() {
        assert_eq!(size_of::<Row>(), 96);
    }

    #[test]
    fn rows_are_found_by_number_and_cut() {
        let mut rows = Rows::default();
        for id in 0..3 * CHUNK as i64 {
            assert_eq!(rows.push(row(id * 2)), id as u32);
        }
        assert_eq!(rows.find(CHUNK as i64 * 2), Some(CHUNK as u32));
        assert_eq!((rows.find(3), rows.find(-1), rows.find(i64::MAX)), (None, None, None));
        for len in [2 * CHUNK + 1, 2 * CHUNK, 5, 0] {
            rows.truncate(len);
            assert_eq!((rows.len(), rows.chunks.iter().map(Vec::len).sum::<usize>()), (len, len));
        }
    }
}
