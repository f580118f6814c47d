//! Which rules an event can reach at all. Most filters begin with comparisons of a cell with constants: one
//! look at each cell settles those of all rules. Many go on to look for fixed text in a path or a name: one
//! pass over that cell finds the texts of all rules. A rule that cannot match costs nothing.

mod scan;
mod texts;

use std::{cmp::Reverse, collections::HashSet};

use testudo_expr::{
    Slot,
    program::{Guard, Need, Program},
};

pub(crate) use scan::Scan;
use texts::Texts;

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

    /// Becomes the set of all numbers below `len`.
    pub(crate) fn fill(&mut self, len: usize) {
        self.0.clear();
        self.0.resize(len.div_ceil(64), 0);
        (0..len).for_each(|at| self.insert(at));
    }

    /// Becomes a copy of another set, keeping its memory.
    pub(crate) fn copy_from(&mut self, other: &BitSet) {
        self.0.clone_from(&other.0);
    }

    /// Adds all of another set.
    fn add(&mut self, other: &BitSet) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Takes a number out.
    fn remove(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    /// Takes out all of another set.
    fn remove_all(&mut self, other: &BitSet) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
        }
    }

    /// Whether some number is in both.
    fn meets(&self, other: &BitSet) -> bool {
        self.0.iter().zip(&other.0).any(|(word, other)| word & other != 0)
    }

    /// Its number, if it has but one.
    fn only(&self) -> Option<usize> {
        let mut words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        let (at, word) = words.next()?;
        (word.is_power_of_two() && words.next().is_none()).then(|| at * 64 + word.trailing_zeros() as usize)
    }

    /// Whether a number is in it.
    pub(crate) fn contains(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
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

/// A few numbers of a large [`BitSet`]: the words that have any, with their places.
#[derive(Clone, Debug, Default)]
struct Few(Box<[(u32, u64)]>);

impl Few {
    fn new(set: &BitSet) -> Few {
        Few((0..).zip(set.0.iter().copied()).filter(|(_, word)| *word != 0).collect())
    }

    /// Whether some number is in both.
    fn meets(&self, set: &BitSet) -> bool {
        self.0.iter().any(|&(at, word)| set.0.get(at as usize).is_some_and(|other| word & other != 0))
    }

    /// The least number that is in both, and whether it is the only one.
    fn shared(&self, set: &BitSet) -> Option<(usize, bool)> {
        let other = |at: u32| set.0.get(at as usize).copied().unwrap_or_default();
        let mut both = self.0.iter().map(|&(at, word)| (at, word & other(at)));
        let (at, word) = both.find(|(_, word)| *word != 0)?;
        let only = word.is_power_of_two() && both.all(|(_, word)| word == 0);
        Some((at as usize * 64 + word.trailing_zeros() as usize, only))
    }

    /// The greatest number.
    fn last(&self) -> usize {
        self.0.last().map_or(0, |&(at, word)| at as usize * 64 + word.ilog2() as usize)
    }

    /// Takes all of these out of a set.
    fn remove_from(&self, set: &mut BitSet) {
        for &(at, word) in &self.0 {
            if let Some(other) = set.0.get_mut(at as usize) {
                *other &= !word;
            }
        }
    }
}

/// A slot that decides which rules can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decider {
    pub(crate) slot: Slot,
    /// The last of the rules about which it decides.
    last: usize,
}

impl Decider {
    /// Whether it decides about a rule from this one on.
    pub(crate) fn concerns(self, from: usize) -> bool {
        self.last >= from
    }
}

/// Rules indexed by what their filters cannot do without.
#[derive(Debug, Default)]
pub(crate) struct Dispatch {
    all: BitSet,
    groups: Vec<Group>,
    scans: Vec<Scan>,
    /// Rules that need a literal in some slot.
    needy: BitSet,
    /// Those that begin with a search for one text: a single one is quicker asked than found in a scan.
    simple: BitSet,
}

/// Rules with conjuncts that compare the same slot with constants.
#[derive(Debug)]
struct Group {
    slot: Slot,
    /// The rules that have such a conjunct.
    members: Few,
    /// For each text that some rule compares with: the rules that it excludes.
    exact: Texts<Few>,
    /// The same for empty text, which is what absent slots read as.
    empty: Few,
    /// The same for any other text.
    other: Few,
}

impl Dispatch {
    /// Indexes rules by their filters, in order. A rule without a filter always runs.
    pub(crate) fn new(filters: &[Option<&Program>]) -> Dispatch {
        let mut all = BitSet::default();
        all.fill(filters.len());
        let mut by_slot: Vec<(Slot, Vec<(usize, Guard<'_>)>)> = Vec::new();
        for (at, guard) in filters
            .iter()
            .enumerate()
            .flat_map(|(at, f)| f.iter().flat_map(move |f| f.guards().map(move |g| (at, g))))
        {
            match by_slot.iter_mut().find(|(slot, _)| *slot == guard.slot) {
                Some((_, guards)) => guards.push((at, guard)),
                None => by_slot.push((guard.slot, vec![(at, guard)])),
            }
        }
        // Those that tell most rules apart first: after them most others need not be asked.
        by_slot.sort_by_key(|(_, guards)| Reverse(guards.len()));
        let groups = by_slot.iter().map(|(slot, guards)| Group::new(*slot, guards, filters.len())).collect();
        let mut needy = BitSet::new(filters.len());
        let mut scans: Vec<(Slot, Vec<(usize, Need)>)> = Vec::new();
        for (at, needs) in filters.iter().enumerate().filter_map(|(at, f)| Some((at, f.as_ref()?.needs()?))) {
            needy.insert(at);
            for need in needs {
                match scans.iter_mut().find(|(slot, _)| *slot == need.slot) {
                    Some((_, needs)) => needs.push((at, need)),
                    None => scans.push((need.slot, vec![(at, need)])),
                }
            }
        }
        let mut simple = BitSet::new(filters.len());
        let asked = filters.iter().enumerate().filter(|(_, f)| f.is_some_and(Program::seeks_one_text));
        asked.for_each(|(at, _)| simple.insert(at));
        let mut dispatch = Dispatch { all, groups, scans: Vec::new(), needy, simple };
        for (slot, needs) in scans {
            match Scan::new(slot, &needs, filters.len()) {
                Some(scan) => dispatch.scans.push(scan),
                // Without an automaton its rules are asked themselves.
                None => needs.iter().for_each(|(at, _)| dispatch.needy.remove(*at)),
            }
        }
        dispatch
    }

    /// Collects the rules whose filters may hold for these texts. Guards of those that are left do hold.
    pub(crate) fn candidates<'t>(
        &self,
        text: impl Fn(Slot) -> &'t str,
        into: &mut BitSet,
        spare: &mut BitSet,
    ) {
        into.copy_from(&self.all);
        for group in &self.groups {
            if group.members.meets(into) {
                group.excluded(text(group.slot)).remove_from(into);
            }
        }
        if !into.meets(&self.needy) || into.only().is_some_and(|only| self.simple.contains(only)) {
            return;
        }
        spare.copy_from(&self.needy);
        for scan in &self.scans {
            match scan.concerns(into) {
                None => {}
                Some((only, true)) if self.simple.contains(only) => spare.remove(only),
                Some(_) => scan.find(text(scan.slot()), spare),
            }
        }
        into.remove_all(spare);
    }

    /// The texts that rules compare a slot with.
    pub(crate) fn constants(&self, slot: Slot) -> impl Iterator<Item = &str> {
        self.groups.iter().filter(move |group| group.slot == slot).flat_map(|group| group.exact.iter())
    }

    /// The slots that decide, each once.
    pub(crate) fn deciders(&self) -> Vec<Decider> {
        let groups = self.groups.iter().map(|group| Decider { slot: group.slot, last: group.members.last() });
        let scans = self.scans.iter().map(|scan| Decider { slot: scan.slot(), last: scan.last() });
        let mut deciders: Vec<Decider> = groups.chain(scans).collect();
        deciders.sort_unstable_by_key(|decider| (decider.slot, Reverse(decider.last)));
        deciders.dedup_by_key(|decider| decider.slot);
        deciders
    }
}

impl Group {
    fn new(slot: Slot, guards: &[(usize, Guard<'_>)], rules: usize) -> Group {
        let excluded = |text: &str| {
            let mut set = BitSet::new(rules);
            guards.iter().filter(|(_, guard)| !guard.holds(text)).for_each(|(at, _)| set.insert(*at));
            Few::new(&set)
        };
        let mut members = BitSet::new(rules);
        guards.iter().for_each(|(at, _)| members.insert(*at));
        let constants: HashSet<Box<str>> = guards.iter().flat_map(|(_, guard)| guard.constants()).collect();
        // A text that is none of the constants.
        let longest = constants.iter().map(|text| text.len()).max().unwrap_or(0);
        let other = excluded(&"?".repeat(longest + 1));
        let exact = constants.into_iter().map(|text| (text.clone(), excluded(&text))).collect();
        Group { slot, members: Few::new(&members), exact: Texts::new(exact), empty: excluded(""), other }
    }

    fn excluded(&self, text: &str) -> &Few {
        if text.is_empty() { &self.empty } else { self.exact.get(text).unwrap_or(&self.other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_sets_share() {
        let set = |numbers: &[usize]| {
            let mut set = BitSet::new(200);
            numbers.iter().for_each(|at| set.insert(*at));
            set
        };
        let few = |numbers: &[usize]| Few::new(&set(numbers));
        assert_eq!(few(&[1, 70]).shared(&set(&[2, 71])), None);
        assert_eq!(few(&[1, 70]).shared(&set(&[2, 70])), Some((70, true)));
        assert_eq!(few(&[1, 70]).shared(&set(&[1, 70])), Some((1, false)));
        assert_eq!(few(&[3, 5]).shared(&set(&[3, 5])), Some((3, false)));
    }

    #[test]
    fn the_last_of_a_few() {
        for last in [0, 63, 64, 199] {
            let mut set = BitSet::new(200);
            set.insert(0);
            set.insert(last);
            assert_eq!(Few::new(&set).last(), last);
        }
    }

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

    #[test]
    fn a_set_of_one() {
        let mut set = BitSet::new(200);
        assert_eq!(set.only(), None);
        set.insert(130);
        assert_eq!(set.only(), Some(130));
        for other in [131, 3] {
            let mut two = set.clone();
            two.insert(other);
            assert_eq!(two.only(), None);
        }
    }
}
