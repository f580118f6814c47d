//! The decisions in memory: those in force, and those that ended not long ago.
//!
//! Rows lie in the order of their numbers, which is the order of commits. A row is never changed but for
//! the one commit that ends it before its time, so that the state at an earlier moment can be told at any
//! time: a long answer is read page by page, each under a short lock, and is still that of one moment.

mod compact;
mod filter;
pub mod label;
mod lengths;
mod query;
mod rows;
mod stream;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::place::{BadValue, Family, Form, Place, is_network_scope};

use label::{Key, LabelTexts, Labels, Prepare};
use lengths::Lengths;
use rows::{NONE, Row, Rows};
use text::Texts;

pub use filter::Filter;
pub use query::{ActiveCount, Page, View};
pub use stream::{Side, Since, Stream, StreamOptions};

/// A moment in the life of the index, and a client's position in its change log: everything up to commit
/// `seq` has happened, and everything that was to end until `at` has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last commit.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// A decision on its way into the index.
#[derive(Clone, Copy, Debug)]
pub struct DecisionRef<'d> {
    /// Its number, larger than that of every decision before it.
    pub id: i64,
    /// The number of its alert; 0 for none.
    pub alert: i64,
    /// Its identity; 0 for none.
    pub uuid: u128,
    /// The scope of `value`.
    pub scope: &'d str,
    /// The address, range, user … as it was received.
    pub value: &'d str,
    /// `ban`, `captcha`, ….
    pub kind: &'d str,
    /// Who decided.
    pub origin: &'d str,
    /// The scenario or list behind it.
    pub scenario: &'d str,
    /// Whether it is only for show.
    pub simulated: bool,
    /// When it is to end, in milliseconds since 1970.
    pub until: i64,
    /// When it was made, in milliseconds since 1970.
    pub created: i64,
}

/// A minute, the grain in which ends are sorted beforehand.
const BUCKET_MS: i64 = 60_000;

/// The decisions in memory. See the module.
pub struct Index {
    rows: Rows,
    texts: Texts,
    labels: Labels,
    prepare: Prepare,
    /// Numbers of the texts of all scopes.
    scopes: Vec<u32>,
    /// The row that ends last at each place; the others hang on it.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    lengths: Lengths,
    now: Cursor,
    /// Rows by the minute of their planned end, for minutes to come.
    buckets: BTreeMap<i64, Vec<u32>>,
    /// Rows of the minutes that have begun, by their planned end.
    due: Vec<u32>,
    /// Rows of these minutes that are not yet in their place among `due`.
    fresh: Vec<u32>,
    /// Rows whose planned end has passed, by that end.
    expired: Vec<u32>,
    /// Rows that were ended before their time, by the commit that did it.
    ended: Vec<u32>,
    /// What ended before this is no longer known.
    floor: Cursor,
    /// Counts compactions: numbers of rows, labels and texts hold within one.
    epoch: u64,
}

impl Index {
    /// An index without decisions. `prepare` makes the bytes that are kept with each label.
    pub fn new(prepare: Prepare) -> Index {
        Index {
            rows: Rows::default(),
            texts: Texts::default(),
            labels: Labels::default(),
            prepare,
            scopes: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            lengths: Lengths::default(),
            now: Cursor { seq: 0, at: i64::MIN },
            buckets: BTreeMap::new(),
            due: Vec::new(),
            fresh: Vec::new(),
            expired: Vec::new(),
            ended: Vec::new(),
            floor: Cursor { seq: 0, at: i64::MIN },
            epoch: 0,
        }
    }

    /// The moment that all answers are about.
    pub fn now(&self) -> Cursor {
        self.now
    }

    /// How many decisions are held, those that have ended included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no decision is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the last decision; the smallest there is when there is none.
    pub fn last_id(&self) -> i64 {
        self.rows.len().checked_sub(1).map_or(i64::MIN, |last| self.rows.get(last as u32).id)
    }

    /// Adds a decision that commit `seq` brings. It is seen once [`Index::publish`] is told of the commit.
    ///
    /// Returns whether it was added: a number that is not larger than all others is passed over, so that
    /// a commit may be applied twice.
    ///
    /// # Errors
    /// The scope says address or range, and the value is none.
    pub fn insert(&mut self, seq: u64, decision: &DecisionRef<'_>) -> Result<bool, BadValue> {
        if decision.id <= self.last_id() {
            return Ok(false);
        }
        let network =
            if is_network_scope(decision.scope) { Some(Place::parse(decision.value)?) } else { None };
        let label = self.label(decision);
        let scope = self.labels.get(label).key.scope;
        let (place, text) = match network {
            Some((place, form)) => (place, self.text(form, decision.value)),
            None => {
                let value = self.texts.intern(decision.value);
                (Place::named(scope, value), value)
            }
        };
        let row = Row::new(
            decision.id,
            decision.alert,
            decision.uuid,
            place,
            text,
            label,
            decision.until,
            decision.created,
            seq,
        );
        let slot = self.rows.push(row);
        self.link(slot);
        self.plan_end(slot);
        Ok(true)
    }

    /// Ends a decision before its time, as commit `seq` at `at_ms` does. It is seen once [`Index::publish`]
    /// is told of the commit. Returns whether the decision was there, and neither over nor ended before.
    pub fn end(&mut self, seq: u64, at_ms: i64, id: i64) -> bool {
        let Some(slot) = self.rows.find(id) else { return false };
        let now = self.now.at;
        let row = self.rows.get_mut(slot);
        if row.gone != 0 || row.until <= now {
            return false;
        }
        row.gone = seq;
        row.gone_at = rows::seconds(at_ms);
        let label = row.label;
        self.ended.push(slot);
        self.count_out(label);
        true
    }

    /// Makes everything up to commit `seq` visible.
    pub fn publish(&mut self, seq: u64) {
        self.now.seq = self.now.seq.max(seq);
    }

    /// Lets time pass: decisions whose end has come are over. Time never runs backwards here.
    pub fn advance(&mut self, now_ms: i64) {
        if now_ms <= self.now.at {
            return;
        }
        self.now.at = now_ms;
        let minute = now_ms.div_euclid(BUCKET_MS);
        while let Some(bucket) = self.buckets.first_entry().filter(|bucket| *bucket.key() <= minute) {
            self.fresh.append(&mut bucket.remove());
        }
        let rows = &self.rows;
        if !self.fresh.is_empty() {
            self.due.append(&mut self.fresh);
            self.due.sort_unstable_by_key(|&slot| (rows.get(slot).until, slot));
        }
        let over = self.due.partition_point(|&slot| rows.get(slot).until <= now_ms);
        if over == 0 {
            return;
        }
        for slot in self.due.drain(..over) {
            let row = self.rows.get(slot);
            if row.gone == 0 {
                let label = self.labels.get_mut(row.label);
                label.active = label.active.saturating_sub(1);
                self.expired.push(slot);
            }
        }
        self.due.shrink_to(BUCKET_MS as usize);
    }

    /// Adds a decision while the index is filled at the start, with the commit that brought it and the one,
    /// with its time, that ended it. To be followed by [`Index::loaded`].
    ///
    /// # Errors
    /// As [`Index::insert`].
    pub fn load(
        &mut self,
        seq: u64,
        gone: Option<Cursor>,
        decision: &DecisionRef<'_>,
    ) -> Result<bool, BadValue> {
        let added = self.insert(seq, decision)?;
        if let (true, Some(gone)) = (added, gone) {
            self.end(gone.seq, gone.at, decision.id);
        }
        Ok(added)
    }

    /// Ends the filling at the start: commits up to `seq` are known, and what ended before `floor` is not.
    pub fn loaded(&mut self, seq: u64, floor: Cursor) {
        let rows = &self.rows;
        self.ended.sort_unstable_by_key(|&slot| rows.get(slot).gone);
        self.floor = floor;
        self.publish(seq);
    }

    /// Takes over what another index holds. Answers that are being told go on with it.
    pub(crate) fn replace(&mut self, other: Index) {
        let epoch = self.epoch + 1;
        let at = self.now.at;
        *self = other;
        self.epoch = epoch;
        self.advance(at);
    }

    fn label(&mut self, decision: &DecisionRef<'_>) -> u32 {
        let key = Key {
            scope: self.texts.intern(decision.scope),
            kind: self.texts.intern(decision.kind),
            origin: self.texts.intern(decision.origin),
            scenario: self.texts.intern(decision.scenario),
            simulated: decision.simulated,
        };
        if !self.scopes.contains(&key.scope) {
            self.scopes.push(key.scope);
        }
        let (texts, prepare) = (&self.texts, self.prepare);
        self.labels.intern(key, || prepare(&key.texts(texts)))
    }

    fn text(&mut self, form: Form, value: &str) -> u32 {
        rows::text_of_form(form).unwrap_or_else(|| self.texts.intern(value))
    }

    fn count_out(&mut self, label: u32) {
        let label = self.labels.get_mut(label);
        label.active = label.active.saturating_sub(1);
    }

    /// Hangs a row among those of its place, before all that do not end later.
    fn link(&mut self, slot: u32) {
        let Index { rows, places, hasher, lengths, .. } = self;
        let row = rows.get(slot);
        let (place, until) = (row.place(), row.until);
        lengths.add(place);
        let hash = hasher.hash_one(place);
        let entry = places.entry(
            hash,
            |&head| rows.get(head).place() == place,
            |&head| hasher.hash_one(rows.get(head).place()),
        );
        match entry {
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(slot);
            }
            hashbrown::hash_table::Entry::Occupied(mut head) => {
                let first = *head.get();
                if rows.get(first).until <= until {
                    *head.get_mut() = slot;
                    rows.get_mut(slot).next = first;
                    return;
                }
                let mut before = first;
                loop {
                    let next = rows.get(before).next;
                    if next == NONE || rows.get(next).until <= until {
                        rows.get_mut(slot).next = next;
                        rows.get_mut(before).next = slot;
                        return;
                    }
                    before = next;
                }
            }
        }
    }

    /// Notes when a row is to end. One that is over when it comes never was in force.
    fn plan_end(&mut self, slot: u32) {
        let row = self.rows.get_mut(slot);
        if row.until <= self.now.at {
            row.set_stillborn();
            return;
        }
        let label = self.labels.get_mut(row.label);
        label.active += 1;
        let minute = row.until.div_euclid(BUCKET_MS);
        if minute <= self.now.at.div_euclid(BUCKET_MS) {
            self.fresh.push(slot);
        } else {
            self.buckets.entry(minute).or_default().push(slot);
        }
    }

    /// The row that ends last at a place.
    fn head(&self, place: Place) -> Option<u32> {
        let hash = self.hasher.hash_one(place);
        self.places.find(hash, |&head| self.rows.get(head).place() == place).copied()
    }

    /// The rows for a place, the one that ends last first.
    fn chain(&self, place: Place) -> impl Iterator<Item = (u32, &Row)> {
        let mut at = self.head(place).unwrap_or(NONE);
        std::iter::from_fn(move || {
            let slot = at;
            (slot != NONE).then(|| {
                let row = self.rows.get(slot);
                at = row.next;
                (slot, row)
            })
        })
    }

    /// The texts that decisions of a row's kind share.
    fn label_texts(&self, row: &Row) -> LabelTexts<'_> {
        self.labels.get(row.label).key.texts(&self.texts)
    }

    /// Appends the text of a row's value.
    fn push_value(&self, row: &Row, out: &mut String) {
        match rows::form_of_text(row.text) {
            Some(form) if row.family != Family::Named => {
                // Writing to a text cannot fail.
                let _ = std::fmt::write(out, format_args!("{}", row.place().shown(form)));
            }
            _ => out.push_str(self.texts.get(row.text)),
        }
    }
}
