//! What a client that polls is told: everything at its start, then what changed since its last poll.
//!
//! Of several decisions of one type about one place only those that end last are told: a value is lifted
//! when the last of them is over. All of this is judged among the decisions that the client asks for.

use crate::place::Place;

use super::filter::{Filter, Matcher};
use super::query::View;
use super::rows::{NONE, Row};
use super::{Cursor, Index};

/// A decision with less time left, in milliseconds, is not told as new: clients take `0s` for "for ever".
const LEAST_LEFT_MS: i64 = 1000;

/// A start repeats what ended shortly before the client's last poll.
const START_MARGIN_MS: i64 = 2000;

/// The origin whose decisions clients keep apart by scenario: there it names the list.
const ORIGIN_LISTS: &str = "lists";

/// Which side of the answer a decision is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// To be put into force.
    New,
    /// To be lifted.
    Deleted,
}

/// What a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It starts, and wants everything. If it ever polled, what ended since then is told, too, for clients
    /// whose state outlives them; else what ended as far back as the index knows.
    Start(Option<Cursor>),
    /// It has polled before, at this position. One that is too old is treated as a start.
    Delta(Cursor),
}

/// How changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Whether only the decisions that end last are told. Without it, each change is.
    pub dedup: bool,
    /// Whether a value that stays banned is lifted and put into force again when the decision that holds it
    /// changes. Right for clients that keep one set for each origin, or that pass over what they already
    /// have; wrong for those that apply deletions last. Needs `dedup`.
    pub handover: bool,
}

impl Default for StreamOptions {
    /// As every client expects it.
    fn default() -> Self {
        StreamOptions { dedup: true, handover: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Rows by number.
    New,
    /// Rows that came to hold a value because another one ended.
    Promoted,
    Deleted,
    Done,
}

/// An answer that is told page by page. It is about the moment at which it was opened, whatever changes
/// between its pages.
#[derive(Clone, Debug)]
pub struct Stream {
    matcher: Matcher,
    options: StreamOptions,
    /// New is what came with later commits.
    new_from: u64,
    /// Deleted is what ended later.
    from: Cursor,
    to: Cursor,
    phase: Phase,
    next_id: i64,
    /// Numbers of the rows that may be about something deleted, ascending.
    touched: Vec<i64>,
    next_touched: usize,
}

impl Stream {
    /// The position of the client once it has the whole answer.
    pub fn cursor(&self) -> Cursor {
        self.to
    }

    /// Whether everything has been told.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Where the part of what is new goes on: the least number of the rows to come. `None` once all of them
    /// were looked at.
    pub fn next_new(&self) -> Option<i64> {
        (self.phase == Phase::New).then_some(self.next_id)
    }

    /// Passes over what was told by another stream: what is new goes on at this place, as that one says.
    pub fn skip_new(&mut self, next_new: Option<i64>) {
        match next_new {
            Some(id) => self.next_id = self.next_id.max(id),
            None => self.end_new(),
        }
    }

    fn end_new(&mut self) {
        if self.phase == Phase::New {
            self.phase = if self.options.handover { Phase::Promoted } else { Phase::Deleted };
        }
    }
}

impl Index {
    /// Opens the answer to a poll, about this moment.
    pub fn stream(&self, filter: Filter, options: StreamOptions, since: Since) -> Stream {
        let unknown = Cursor { seq: 0, at: i64::MIN };
        let (new_from, from, handover) = match since {
            Since::Delta(cursor) if !self.is_stale(cursor) => (cursor.seq, cursor, options.handover),
            Since::Start(Some(cursor)) if !self.is_stale(cursor) => {
                (0, Cursor { at: cursor.at.saturating_sub(START_MARGIN_MS), ..cursor }, false)
            }
            Since::Start(_) | Since::Delta(_) => (0, unknown, false),
        };
        let to = self.now;
        let first_ended = self.ended.partition_point(|&slot| self.rows.get(slot).gone <= from.seq);
        let first_expired = self.expired.partition_point(|&slot| self.rows.get(slot).until <= from.at);
        let first_born = self.rows.partition_point(|row| row.born <= new_from);
        let ended = self.ended[first_ended..].iter().chain(&self.expired[first_expired..]).copied();
        let born = (first_born..self.rows.len() as u32).filter(|_| handover && options.dedup);
        let mut touched: Vec<i64> = ended.chain(born).map(|slot| self.rows.get(slot).id).collect();
        touched.sort_unstable();
        touched.dedup();
        Stream {
            matcher: Matcher::new(filter, self),
            options: StreamOptions { handover, ..options },
            new_from,
            from,
            to,
            phase: Phase::New,
            next_id: if new_from == 0 { i64::MIN } else { self.id_at(first_born) },
            touched,
            next_touched: 0,
        }
    }

    fn id_at(&self, slot: u32) -> i64 {
        if (slot as usize) < self.rows.len() { self.rows.get(slot).id } else { i64::MAX }
    }

    /// Tells the next part of an answer, for which at most `budget` rows are looked at: each decision with
    /// its side and the milliseconds that it has left, negative when it is over. All of `New` comes before
    /// all of `Deleted`.
    pub fn page<'i>(
        &'i self,
        stream: &mut Stream,
        budget: usize,
        mut visit: impl FnMut(Side, View<'i>, i64),
    ) {
        stream.matcher.refresh(self);
        let mut left = budget.max(1);
        while left > 0 && stream.phase != Phase::Done {
            match stream.phase {
                Phase::New => self.page_new(stream, &mut left, &mut visit),
                Phase::Promoted | Phase::Deleted => self.page_touched(stream, &mut left, &mut visit),
                Phase::Done => {}
            }
        }
    }

    /// As [`Index::page`], but not beyond what is new. Two starts about moments with the same decisions in
    /// force tell the same from the same place on, but for the time that is left.
    pub fn page_of_new<'i>(
        &'i self,
        stream: &mut Stream,
        budget: usize,
        mut visit: impl FnMut(View<'i>, i64),
    ) {
        stream.matcher.refresh(self);
        if stream.phase == Phase::New {
            self.page_new(stream, &mut budget.max(1), &mut |_, view, left_ms| visit(view, left_ms));
        }
    }

    fn page_new<'i>(
        &'i self,
        stream: &mut Stream,
        left: &mut usize,
        visit: &mut impl FnMut(Side, View<'i>, i64),
    ) {
        let next_id = stream.next_id;
        let first = self.rows.partition_point(|row| row.id < next_id);
        let end = first.saturating_add(u32::try_from(*left).unwrap_or(NONE)).min(self.rows.len() as u32);
        for slot in first..end {
            let row = self.rows.get(slot);
            let time = row.until.saturating_sub(stream.to.at);
            let wanted = time >= LEAST_LEFT_MS
                && row.born > stream.new_from
                && row.in_force(stream.to)
                && stream.matcher.takes(row, self);
            if wanted && !(stream.options.dedup && self.is_outlived(row, stream)) {
                visit(Side::New, self.view(slot), time);
            }
        }
        *left -= (end - first) as usize;
        stream.next_id = self.id_at(end);
        if end as usize == self.rows.len() {
            stream.end_new();
        }
    }

    /// Whether another decision about the same ends later.
    fn is_outlived(&self, row: &Row, stream: &mut Stream) -> bool {
        let to = stream.to;
        self.chain(row.place()).take_while(|(_, other)| other.until > row.until).any(|(_, other)| {
            other.in_force(to)
                && self.labels.same_group(row.label, other.label)
                && stream.matcher.takes(other, self)
        })
    }

    fn page_touched<'i>(
        &'i self,
        stream: &mut Stream,
        left: &mut usize,
        visit: &mut impl FnMut(Side, View<'i>, i64),
    ) {
        while *left > 0 {
            let Some(&id) = stream.touched.get(stream.next_touched) else {
                stream.next_touched = 0;
                stream.phase = if stream.phase == Phase::Promoted { Phase::Deleted } else { Phase::Done };
                return;
            };
            stream.next_touched += 1;
            *left -= 1;
            let Some(slot) = self.rows.find(id) else { continue };
            let row = self.rows.get(slot);
            if !stream.matcher.takes(row, self) {
                continue;
            }
            if stream.options.dedup {
                self.tell_group(stream, slot, visit);
            } else if row.ended_between(stream.from, stream.to) {
                visit(Side::Deleted, self.view(slot), row.end(stream.to).saturating_sub(stream.to.at));
            }
        }
    }

    /// Tells what became of the place of a row, if no other row has the task to.
    fn tell_group<'i>(&'i self, stream: &mut Stream, slot: u32, visit: &mut impl FnMut(Side, View<'i>, i64)) {
        let (from, to) = (stream.from, stream.to);
        let (row, handover) = (self.rows.get(slot), stream.options.handover);
        let is_touched = |row: &Row| row.ended_between(from, to) || (handover && row.born > from.seq);
        if !is_touched(row) {
            return;
        }
        let mut group = Vec::new();
        for (other_slot, other) in self.chain(row.place()) {
            let is_member = other.born <= to.seq
                && self.labels.same_group(row.label, other.label)
                && stream.matcher.takes(other, self);
            if is_member {
                if other_slot > slot && is_touched(other) {
                    return;
                }
                group.push(other_slot);
            }
        }
        if handover {
            self.tell_handover(stream, &group, visit);
        } else {
            self.tell_lifted(stream, &group, visit);
        }
    }

    /// A place where nothing is left in force: told for each origin under which it was banned until then.
    fn tell_lifted<'i>(
        &'i self,
        stream: &Stream,
        group: &[u32],
        visit: &mut impl FnMut(Side, View<'i>, i64),
    ) {
        let (from, to) = (stream.from, stream.to);
        let rows = || group.iter().map(|&slot| (slot, self.rows.get(slot)));
        if rows().any(|(_, row)| row.in_force(to)) {
            return;
        }
        let ended = rows().filter(|(_, row)| !row.is_stillborn());
        let mut ended: Vec<(i64, u32, &Row)> = ended.map(|(slot, row)| (row.end(to), slot, row)).collect();
        ended.sort_unstable_by_key(|&(end, slot, _)| std::cmp::Reverse((end, slot)));
        let mut told = Vec::new();
        // The beginning of the time without a gap in which the place was banned.
        let mut since = i64::MAX;
        for (end, slot, row) in ended {
            if !row.ended_between(from, to) && end < since {
                continue;
            }
            since = since.min(i64::from(row.created) * 1000);
            let key = self.announced_as(row);
            if !told.contains(&key) {
                told.push(key);
                visit(Side::Deleted, self.view(slot), end.saturating_sub(to.at));
            }
        }
    }

    /// A place whose decisions changed: those that ended last before, and no longer do, are lifted; those
    /// that do now are put into force.
    fn tell_handover<'i>(
        &'i self,
        stream: &Stream,
        group: &[u32],
        visit: &mut impl FnMut(Side, View<'i>, i64),
    ) {
        let last_at = |moment: Cursor| {
            let active = || group.iter().copied().filter(move |&slot| self.rows.get(slot).in_force(moment));
            let until = active().map(|slot| self.rows.get(slot).until).max();
            active().filter(move |&slot| Some(self.rows.get(slot).until) == until)
        };
        let was_last = |slot: u32| last_at(stream.from).any(|other| other == slot);
        let is_last = |slot: u32| last_at(stream.to).any(|other| other == slot);
        if stream.phase == Phase::Promoted {
            for slot in last_at(stream.to) {
                let row = self.rows.get(slot);
                let time = row.until.saturating_sub(stream.to.at);
                if row.born <= stream.new_from && !was_last(slot) && time >= LEAST_LEFT_MS {
                    visit(Side::New, self.view(slot), time);
                }
            }
            return;
        }
        // What another one holds under the same key as before stays in force.
        let stays = last_at(stream.from).filter(|&slot| is_last(slot));
        let mut told: Vec<_> = stays.map(|slot| self.announced_as(self.rows.get(slot))).collect();
        for slot in last_at(stream.from).filter(|&slot| !is_last(slot)) {
            let row = self.rows.get(slot);
            let key = self.announced_as(row);
            if !told.contains(&key) {
                told.push(key);
                let end = row.end(stream.to).min(stream.to.at);
                visit(Side::Deleted, self.view(slot), end.saturating_sub(stream.to.at));
            }
        }
    }

    /// What a client needs to find the entry that a decision made: the text of its value, its origin, and
    /// for lists their name.
    fn announced_as(&self, row: &Row) -> (Place, u32, u32, Option<u32>) {
        let key = self.labels.get(row.label).key;
        let list = (self.texts.get(key.origin) == ORIGIN_LISTS).then_some(key.scenario);
        (row.place(), row.text, key.origin, list)
    }
}
