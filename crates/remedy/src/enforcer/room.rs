//! Where there is no room for everything: who stays, and who comes in when there is.
//!
//! What weighs more stays: what does more (a ban before a throttle), then what people have decided, then what was seen here,
//! then what others tell; of the same kind, what ends later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use testudo_event::Prefix;

use super::{Enforcer, Installed, Outcome, element, heaviest, is_host};
use crate::backend::{Backend, Change, Element};
use crate::group::Action;

/// Of what there was no room for, so many are tried again at once.
const TRIED_AGAIN: usize = 1_000;

/// How much an element weighs.
type Weight = ((Action, u8), u64);

impl<B: Backend> Enforcer<B> {
    /// Elements that there is no room for.
    pub fn left_out(&self) -> usize {
        self.left_out.len()
    }

    fn weight_of(&self, at: Installed) -> Weight {
        (self.groups.get(at.group).weight(), at.until_ms)
    }

    /// The first weigh most.
    pub(super) fn sort_by_weight(&self, elements: &mut [Element]) {
        elements.sort_by_key(|element| Reverse((self.groups.get(element.group).weight(), element.left_ms)));
    }

    /// Has what weighs most of what there was no room for tried again.
    pub(super) fn touch_left_out(&mut self, now_ms: u64) {
        let mut hosts: Vec<(Weight, Prefix)> = self
            .left_out
            .iter()
            .filter(|net| is_host(**net))
            .filter_map(|&net| {
                Some((self.weight_of(heaviest(self.held.about(net), &self.groups, now_ms)?), net))
            })
            .collect();
        hosts.sort_unstable_by_key(|host| Reverse(*host));
        hosts.truncate(TRIED_AGAIN);
        self.ranges_touched |= self.left_out.iter().any(|net| !is_host(*net));
        self.touched.extend(hosts.into_iter().map(|(_, net)| net));
    }

    /// Tells how many there is no room for, when these have become many more.
    pub(super) fn tell_left_out(&mut self, problem: &str, outcome: &mut Outcome) {
        let left_out = self.left_out.len();
        if left_out < self.told_left_out.saturating_mul(2) {
            self.told_left_out = self.told_left_out.min(left_out.max(1));
            return;
        }
        self.told_left_out = left_out;
        let of = self.installed.len() + left_out;
        outcome
            .problems
            .push(format!("{problem}: {left_out} of {of} elements, those that weigh least, are left out"));
    }

    /// Has elements that weigh less give way to these.
    pub(super) fn make_room(
        &mut self,
        unplaced: Vec<(Prefix, Installed)>,
        now_ms: u64,
        outcome: &mut Outcome,
    ) -> Result<(), B::Error> {
        let longest = self.backend.longest_ms();
        let mut rooms: HashMap<u32, Vec<(Weight, Prefix, Installed)>> = HashMap::new();
        for (net, at) in unplaced {
            rooms.entry(self.backend.room(net, at.group)).or_default().push((self.weight_of(at), net, at));
        }
        let (mut going, mut coming) = (Vec::new(), Vec::new());
        for (room, mut candidates) in rooms {
            candidates.sort_unstable_by_key(|(weight, net, _)| Reverse((*weight, *net)));
            let lightest = self.lightest(room, candidates.len());
            for ((weight, net, at), (other, gives_way)) in candidates.into_iter().zip(lightest) {
                if weight <= other {
                    break;
                }
                going.push(gives_way);
                coming.push((net, at));
            }
        }
        if going.is_empty() {
            return Ok(());
        }
        let removals = going.iter().map(|net| Change::Remove(*net));
        let additions = coming.iter().map(|&(net, at)| Change::Add(element(net, at, now_ms, longest)));
        let changes: Vec<Change> = removals.chain(additions).collect();
        let failed = self.backend.apply(self.groups.all(), &changes).inspect_err(|_| self.is_lost = true)?;
        let is_failed = |net: &Prefix| failed.iter().any(|failed| failed.net == *net);
        for net in going.iter().filter(|net| !is_failed(net)) {
            self.installed.remove(net);
            self.left_out.insert(*net);
        }
        for (net, at) in coming.into_iter().filter(|(net, _)| !is_failed(net)) {
            self.left_out.remove(&net);
            self.installed.insert(net, at);
            outcome.added += 1;
        }
        Ok(())
    }

    /// So many of the elements in a room, those that weigh least first.
    fn lightest(&self, room: u32, count: usize) -> Vec<(Weight, Prefix)> {
        let mut found = BinaryHeap::with_capacity(count + 1);
        for (&net, &at) in &self.installed {
            if self.backend.room(net, at.group) == room {
                found.push((self.weight_of(at), net));
                if found.len() > count {
                    found.pop();
                }
            }
        }
        found.into_sorted_vec()
    }
}
