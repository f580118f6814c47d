//! Questions about decisions as they are now.

use std::ops::ControlFlow;

use testudo_event::Prefix;

use crate::place::Target;

use super::filter::{Filter, Matcher};
use super::label::LabelTexts;
use super::rows::Row;
use super::{Cursor, Index};

/// Which part of an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only decisions with a larger number.
    pub id_gt: i64,
    /// How many to pass over.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

impl Default for Page {
    /// Everything.
    fn default() -> Self {
        Page { id_gt: i64::MIN, offset: 0, limit: usize::MAX }
    }
}

/// A decision of the index.
#[derive(Clone, Copy)]
pub struct View<'i> {
    index: &'i Index,
    row: &'i Row,
}

impl<'i> View<'i> {
    /// Its number.
    pub fn id(self) -> i64 {
        self.row.id
    }

    /// The number of its alert; 0 for none.
    pub fn alert(self) -> i64 {
        self.row.alert
    }

    /// Its identity; 0 for none.
    pub fn uuid(self) -> u128 {
        self.row.uuid()
    }

    /// The network it is about, mapped addresses as IPv4; `None` where it is about something else.
    pub fn network(self) -> Option<Prefix> {
        self.row.place().prefix()
    }

    /// When it is to end, or was ended before its time; in milliseconds since 1970.
    pub fn end_ms(self) -> i64 {
        self.row.end(self.index.now)
    }

    /// When it was made, in whole seconds since 1970.
    pub fn created_secs(self) -> i64 {
        i64::from(self.row.created)
    }

    /// Whether it is in force.
    pub fn is_active(self) -> bool {
        self.row.in_force(self.index.now)
    }

    /// What it shares with others.
    pub fn label(self) -> LabelTexts<'i> {
        self.index.label_texts(self.row)
    }

    /// What was prepared for its label when the index was made.
    pub fn prepared(self) -> &'i [u8] {
        &self.index.labels.get(self.row.label).prepared
    }

    /// Appends its value as it was received.
    pub fn push_value(self, out: &mut String) {
        self.index.push_value(self.row, out);
    }

    /// Its value as it was received.
    pub fn value(self) -> String {
        let mut out = String::new();
        self.push_value(&mut out);
        out
    }
}

/// How many decisions of a kind are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveCount<'i> {
    /// The kind.
    pub label: LabelTexts<'i>,
    /// How many.
    pub count: u64,
}

impl Index {
    pub(super) fn view(&self, slot: u32) -> View<'_> {
        View { index: self, row: self.rows.get(slot) }
    }

    /// A decision by its number, also one that has ended and is still held.
    pub fn get(&self, id: i64) -> Option<View<'_>> {
        let slot = self.rows.find(id)?;
        (self.rows.get(slot).born <= self.now.seq).then(|| self.view(slot))
    }

    /// Shows the decisions in force that a filter asks for, by their numbers.
    pub fn query<'i>(&'i self, filter: &Filter, page: Page, mut visit: impl FnMut(View<'i>)) {
        let mut matcher = Matcher::new(filter.clone(), self);
        let (mut offset, mut limit) = (page.offset, page.limit);
        let mut offer = |slot: u32| {
            let row = self.rows.get(slot);
            if limit == 0 {
                return ControlFlow::Break(());
            }
            if row.id > page.id_gt && row.in_force(self.now) && matcher.takes(row, self) {
                if offset > 0 {
                    offset -= 1;
                } else {
                    limit -= 1;
                    visit(self.view(slot));
                }
            }
            ControlFlow::Continue(())
        };
        let few = Matcher::new(filter.clone(), self).places(self);
        // Nobody needs to be told whether the whole was seen.
        let _ = if let Some(places) = few {
            let rows = places.into_iter().flat_map(|place| self.chain(place));
            let mut slots: Vec<u32> = rows.map(|(slot, _)| slot).collect();
            slots.sort_unstable();
            slots.into_iter().try_for_each(&mut offer)
        } else {
            let first = self.rows.partition_point(|row| row.id <= page.id_gt);
            (first..self.rows.len() as u32).try_for_each(&mut offer)
        };
    }

    /// The numbers of the decisions in force that a filter asks for.
    pub fn ids(&self, filter: &Filter) -> Vec<i64> {
        let mut ids = Vec::new();
        self.query(filter, Page::default(), |view| ids.push(view.id()));
        ids
    }

    /// Shows every decision that covers a target, by their numbers: of every kind, simulated or not, in
    /// force or ended and still held.
    pub fn covering<'i>(&'i self, target: Target, visit: impl FnMut(View<'i>)) {
        let rows = self.lengths.covering(target.place()).flat_map(|place| self.chain(place));
        let mut slots: Vec<u32> =
            rows.filter(|(_, row)| row.born <= self.now.seq).map(|(slot, _)| slot).collect();
        slots.sort_unstable();
        slots.into_iter().map(|slot| self.view(slot)).for_each(visit);
    }

    /// How many decisions are in force, kind by kind; kinds without any are left out.
    pub fn active_counts(&self) -> impl Iterator<Item = ActiveCount<'_>> {
        let labels = self.labels.iter().filter(|label| label.active > 0);
        labels.map(|label| ActiveCount { label: label.key.texts(&self.texts), count: label.active })
    }

    /// How many decisions are in force.
    pub fn active(&self) -> u64 {
        self.labels.iter().map(|label| label.active).sum()
    }

    /// Whether a client's position is so old that what ended since is no longer known.
    pub fn is_stale(&self, cursor: Cursor) -> bool {
        cursor.seq < self.floor.seq || cursor.at < self.floor.at || cursor.seq > self.now.seq
    }
}
