//! Which rules an event can reach at all: rules are grouped by the first test of their filter, and
//! the event's own values select the groups. A rule that cannot match costs nothing.

use hashbrown::HashMap;
use testudo_expr::{Slot, program::Program};

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BitSet(Vec<u64>);

impl BitSet {
    /// An empty set that can hold numbers below `len`.
    pub(crate) fn new(len: usize) -> Self {
        BitSet(vec![0; len.div_ceil(64)])
    }

    /// Adds a number.
    pub(crate) fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    /// Becomes a copy of another set, keeping its memory.
    pub(crate) fn copy_from(&mut self, other: &BitSet) {
        self.0.clone_from(&other.0);
    }

    /// Adds all of another set.
    pub(crate) fn add(&mut self, other: &BitSet) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// The least number in it that is not below `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / 64;
        let mut word = self.0.get(at)? & (u64::MAX << (from % 64));
        loop {
            if word != 0 {
                return Some(at * 64 + word.trailing_zeros() as usize);
            }
            at += 1;
            word = *self.0.get(at)?;
        }
    }
}

/// Rules indexed by the first test of their filters.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    always: BitSet,
    groups: Vec<Group>,
}

/// Rules whose first test reads the same slot.
#[derive(Debug)]
struct Group {
    slot: Slot,
    /// For each text that some rule compares with: the rules whose test holds for it.
    exact: HashMap<Box<str>, BitSet>,
    /// Rules whose test may hold for other texts too.
    loose: Vec<(usize, Program)>,
}

impl Dispatch {
    /// Indexes rules by their filters, in order. A rule without a filter always runs.
    pub(crate) fn new(filters: &[Option<&Program>]) -> Dispatch {
        let mut always = BitSet::new(filters.len());
        let mut by_slot: Vec<(Slot, Vec<(usize, &Program)>)> = Vec::new();
        for (at, filter) in filters.iter().enumerate() {
            let guarded = filter.and_then(|program| Some((program.guard()?.slot, program)));
            let Some((slot, program)) = guarded else {
                always.insert(at);
                continue;
            };
            match by_slot.iter_mut().find(|(s, _)| *s == slot) {
                Some((_, rules)) => rules.push((at, program)),
                None => by_slot.push((slot, vec![(at, program)])),
            }
        }
        let groups = by_slot
            .into_iter()
            .map(|(slot, rules)| {
                let holds = |program: &Program, text: &str| program.guard().is_none_or(|g| g.holds(text));
                let mut texts: Vec<Box<str>> = vec!["".into()];
                for (_, program) in &rules {
                    texts.extend(program.guard().into_iter().flat_map(|g| g.constants()));
                }
                let exact = texts
                    .into_iter()
                    .map(|text| {
                        let mut set = BitSet::new(filters.len());
                        for (at, program) in &rules {
                            if holds(program, &text) {
                                set.insert(*at);
                            }
                        }
                        (text, set)
                    })
                    .collect();
                let loose = rules
                    .iter()
                    .filter(|(_, program)| program.guard().is_some_and(|g| !g.is_closed()))
                    .map(|(at, program)| (*at, (*program).clone()))
                    .collect();
                Group { slot, exact, loose }
            })
            .collect();
        Dispatch { always, groups }
    }

    /// Collects the rules whose first test holds for these texts.
    pub(crate) fn candidates<'t>(&self, text: impl Fn(Slot) -> &'t str, into: &mut BitSet) {
        into.copy_from(&self.always);
        for group in &self.groups {
            let text = text(group.slot);
            match group.exact.get(text) {
                Some(set) => into.add(set),
                None => {
                    for (at, program) in &group.loose {
                        if program.guard().is_some_and(|guard| guard.holds(text)) {
                            into.insert(*at);
                        }
                    }
                }
            }
        }
    }

    /// The texts that rules compare a slot with.
    pub(crate) fn constants(&self, slot: Slot) -> impl Iterator<Item = &str> {
        self.groups
            .iter()
            .filter(move |group| group.slot == slot)
            .flat_map(|group| group.exact.keys().map(AsRef::as_ref))
    }

    /// The slots that decide.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.groups.iter().map(|group| group.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_order() {
        let mut set = BitSet::new(200);
        for at in [0, 63, 64, 130, 199] {
            set.insert(at);
        }
        let mut seen = Vec::new();
        let mut from = 0;
        while let Some(at) = set.next(from) {
            seen.push(at);
            from = at + 1;
        }
        assert_eq!(seen, [0, 63, 64, 130, 199]);
        assert_eq!(set.next(200), None);
    }
}
