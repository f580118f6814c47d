//! Letting go of what ended long ago.

use hashbrown::HashTable;

use super::label::Key;
use super::lengths::Lengths;
use super::rows::{self, NONE, Row};
use super::{Cursor, Index};
use crate::place::Family;

/// Compaction waits until at least one row in so many can go.
const WORTHWHILE_SHARE: usize = 4;
/// And until there are at least so many.
const WORTHWHILE_LEAST: usize = 10_000;

impl Index {
    /// Lets go of decisions that ended before `keep_since_ms`, if there are enough of them for the work.
    /// Returns how many are gone. Positions of clients that are older become stale.
    pub fn compact(&mut self, keep_since_ms: i64) -> usize {
        let rows = &self.rows;
        let expired = self.expired.partition_point(|&slot| rows.get(slot).until < keep_since_ms);
        let ended =
            self.ended.partition_point(|&slot| i64::from(rows.get(slot).gone_at) * 1000 < keep_since_ms);
        let old = expired + ended;
        if old < WORTHWHILE_LEAST || old < rows.len() / WORTHWHILE_SHARE {
            return 0;
        }
        self.compact_now(keep_since_ms)
    }

    /// As [`Index::compact`], however little there is to let go of.
    pub fn compact_now(&mut self, keep_since_ms: i64) -> usize {
        let keep_since = keep_since_ms.min(self.now.at);
        let rows = &self.rows;
        let ended = self.ended.partition_point(|&slot| {
            let row = rows.get(slot);
            row.gone <= self.now.seq && i64::from(row.gone_at) * 1000 < keep_since
        });
        let floor_seq = ended.checked_sub(1).map_or(0, |last| rows.get(self.ended[last]).gone);
        let is_old = |row: &Row| {
            if row.gone != 0 { row.gone <= floor_seq } else { row.until < keep_since }
        };
        self.floor = Cursor { seq: self.floor.seq.max(floor_seq), at: self.floor.at.max(keep_since) };

        // Where each row goes is noted in the link, which is made anew afterwards.
        let before = self.rows.len();
        let mut kept = 0;
        for slot in 0..before as u32 {
            let row = self.rows.get_mut(slot);
            row.next = if is_old(row) { NONE } else { kept };
            kept += u32::from(row.next != NONE);
        }
        self.renumber();
        for slot in 0..before as u32 {
            let row = *self.rows.get(slot);
            if row.next != NONE {
                *self.rows.get_mut(row.next) = row;
            }
        }
        self.rows.truncate(kept as usize);
        self.relabel();
        self.places = HashTable::with_capacity(kept as usize);
        self.lengths = Lengths::default();
        for slot in 0..kept {
            self.rows.get_mut(slot).next = NONE;
            self.link(slot);
        }
        self.epoch += 1;
        before - kept as usize
    }

    /// Puts the new slots of rows, which stand in their links, into all lists.
    fn renumber(&mut self) {
        let rows = &self.rows;
        let renumber = |slots: &mut Vec<u32>| {
            slots.retain_mut(|slot| {
                *slot = rows.get(*slot).next;
                *slot != NONE
            });
            slots.shrink_to_fit();
        };
        for slots in self.buckets.values_mut() {
            renumber(slots);
        }
        self.buckets.retain(|_, slots| !slots.is_empty());
        for slots in [&mut self.due, &mut self.fresh, &mut self.expired, &mut self.ended] {
            renumber(slots);
        }
    }

    /// Keeps only the texts and labels that rows still name.
    fn relabel(&mut self) {
        let old_texts = std::mem::take(&mut self.texts);
        let old_labels = std::mem::take(&mut self.labels);
        self.scopes.clear();
        let mut moved = vec![NONE; old_labels.len()];
        for slot in 0..self.rows.len() as u32 {
            let row = self.rows.get_mut(slot);
            let label = &mut moved[row.label as usize];
            if *label == NONE {
                let old = old_labels.get(row.label);
                let mut text = |at| self.texts.intern(old_texts.get(at));
                let key = Key {
                    scope: text(old.key.scope),
                    kind: text(old.key.kind),
                    origin: text(old.key.origin),
                    scenario: text(old.key.scenario),
                    simulated: old.key.simulated,
                };
                *label = self.labels.intern(key, || old.prepared.clone());
                self.labels.get_mut(*label).active = old.active;
                if !self.scopes.contains(&key.scope) {
                    self.scopes.push(key.scope);
                }
            }
            row.label = *label;
            if rows::form_of_text(row.text).is_none() {
                row.text = self.texts.intern(old_texts.get(row.text));
            }
            if row.family == Family::Named {
                row.high = u64::from(self.labels.get(row.label).key.scope);
                row.low = u64::from(row.text);
            }
        }
    }
}
