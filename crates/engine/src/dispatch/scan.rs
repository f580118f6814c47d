//! One pass over a cell that finds the texts of all rules that look for one in it.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, Anchored, MatchKind, automaton::Automaton, nfa::noncontiguous::NFA};
use hashbrown::HashMap;
use testudo_expr::{Slot, program::Need};

use super::{BitSet, Few};

/// Bytes of literals up to which their automaton is a table with a row for each of its states: the quickest
/// to run, and at this size still small.
const TABLE_BYTES: usize = 8_000;

/// Literals of which rules need one in the same slot.
#[derive(Debug)]
pub(crate) struct Scan {
    slot: Slot,
    members: BitSet,
    concerned: Few,
    automaton: Search,
    /// Rules to which texts beyond ASCII, or with escapes, may mean anything.
    beyond_ascii: Option<Few>,
    escaped: Option<Few>,
}

#[derive(Debug)]
enum Search {
    Table(Box<Table>),
    /// And for each literal the rules that it lets pass.
    Compact(Box<AhoCorasick>, Vec<Few>),
}

impl Scan {
    /// Takes in what rules, by number, need in a slot. `None`: there is too much of it.
    pub(crate) fn new(slot: Slot, needs: &[(usize, Need)], rules: usize) -> Option<Scan> {
        let set = |wanted: &dyn Fn(&Need) -> bool| {
            let mut set = BitSet::new(rules);
            let wanted = needs.iter().filter(|(_, need)| wanted(need));
            wanted.for_each(|(at, _)| set.insert(*at));
            set
        };
        let some = |set: BitSet| (set != BitSet::new(rules)).then(|| Few::new(&set));
        let members = set(&|_| true);
        let mut by_literal: BTreeMap<&[u8], BitSet> = BTreeMap::new();
        for (at, literal) in needs.iter().flat_map(|(at, need)| need.literals.iter().map(move |l| (at, l))) {
            by_literal.entry(literal).or_insert_with(|| BitSet::new(rules)).insert(*at);
        }
        let bytes: usize = by_literal.keys().map(|literal| literal.len()).sum();
        let automaton = if bytes <= TABLE_BYTES {
            Search::Table(Box::new(Table::new(&by_literal)?))
        } else {
            let automaton = AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::Standard)
                .build(by_literal.keys())
                .ok()?;
            Search::Compact(Box::new(automaton), by_literal.values().map(Few::new).collect())
        };
        Some(Scan {
            slot,
            concerned: Few::new(&members),
            members,
            automaton,
            beyond_ascii: some(set(&|need| need.ascii_only)),
            escaped: some(set(&|need| need.plain_only)),
        })
    }

    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// The last rule that looks for something here.
    pub(super) fn last(&self) -> usize {
        self.concerned.last()
    }

    /// The rules that look for something here.
    pub(crate) fn members(&self) -> &BitSet {
        &self.members
    }

    /// The first of these rules that looks for something here, and whether no other one does.
    pub(super) fn concerns(&self, rules: &BitSet) -> Option<(usize, bool)> {
        self.concerned.shared(rules)
    }

    /// Takes out of `missing` the rules that may find here what they need.
    pub(crate) fn find(&self, text: &str, missing: &mut BitSet) {
        if text.is_empty() {
            return;
        }
        match &self.automaton {
            Search::Table(table) => table.find(text, missing),
            Search::Compact(automaton, found) => {
                for hit in automaton.find_overlapping_iter(text) {
                    found[hit.pattern().as_usize()].remove_from(missing);
                }
            }
        }
        if let Some(rules) = self.beyond_ascii.as_ref().filter(|_| !text.is_ascii()) {
            rules.remove_from(missing);
        }
        let escapes = || memchr::memchr2(b'%', b'+', text.as_bytes()).is_some();
        if let Some(rules) = self.escaped.as_ref().filter(|_| escapes()) {
            rules.remove_from(missing);
        }
    }
}

/// A deterministic automaton over bytes, without regard to the case of ASCII letters.
#[derive(Debug)]
struct Table {
    /// Bytes that no literal tells apart are of one class.
    classes: [u8; 256],
    /// The row that follows a row and a class, both as places in this list: rows are `1 << shift` long.
    next: Box<[u32]>,
    shift: u32,
    /// Rows from here on end a literal: `found` has the rules for each.
    first_end: u32,
    found: Box<[Few]>,
}

impl Table {
    fn new(literals: &BTreeMap<&[u8], BitSet>) -> Option<Table> {
        // Followed once, while rules load, for which a table of its own would not pay.
        let nfa = NFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(literals.keys())
            .ok()?;
        let (mut classes, mut representatives) = ([0; 256], vec![b'\n']);
        let mut bytes: Vec<u8> = literals.keys().flat_map(|l| l.iter().map(u8::to_ascii_lowercase)).collect();
        bytes.sort_unstable();
        bytes.dedup();
        // No literal of a table has all 256 bytes in lower case: one class is left for the others.
        representatives[0] = (0..=u8::MAX).rev().find(|byte| !bytes.contains(&byte.to_ascii_lowercase()))?;
        for byte in bytes {
            let class = u8::try_from(representatives.len()).ok()?;
            classes[byte as usize] = class;
            classes[byte.to_ascii_uppercase() as usize] = class;
            representatives.push(byte);
        }
        let mut states = vec![nfa.start_state(Anchored::No).ok()?];
        let mut known: HashMap<_, usize> = HashMap::new();
        known.insert(states[0], 0);
        let mut rows: Vec<Vec<usize>> = Vec::new();
        while let Some(&state) = states.get(rows.len()) {
            let row = representatives.iter().map(|&byte| {
                let next = nfa.next_state(Anchored::No, state, byte);
                *known.entry(next).or_insert_with(|| {
                    states.push(next);
                    states.len() - 1
                })
            });
            rows.push(row.collect());
        }
        // Rows that end a literal go last.
        let mut order: Vec<usize> = (0..states.len()).collect();
        order.sort_by_key(|&at| nfa.is_match(states[at]));
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
        let shift = representatives.len().next_power_of_two().trailing_zeros();
        let mut next = vec![0; order.len() << shift];
        for (new, &old) in order.iter().enumerate() {
            for (class, &to) in rows[old].iter().enumerate() {
                next[(new << shift) + class] = u32::try_from(place[to] << shift).ok()?;
            }
        }
        let ends: Vec<usize> = order.iter().copied().filter(|&at| nfa.is_match(states[at])).collect();
        let rules: Vec<&BitSet> = literals.values().collect();
        let found = ends.iter().map(|&at| {
            let mut set = BitSet::default();
            for number in 0..nfa.match_len(states[at]) {
                set.add(rules[nfa.match_pattern(states[at], number).as_usize()]);
            }
            Few::new(&set)
        });
        Some(Table {
            classes,
            shift,
            first_end: u32::try_from((order.len() - ends.len()) << shift).ok()?,
            found: found.collect(),
            next: next.into(),
        })
    }

    fn find(&self, text: &str, missing: &mut BitSet) {
        // The start comes first: no literal is empty.
        let mut row = 0;
        for &byte in text.as_bytes() {
            row = self.next[row as usize | self.classes[byte as usize] as usize];
            if row >= self.first_end {
                self.found[((row - self.first_end) >> self.shift) as usize].remove_from(missing);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs(literals: &[Vec<u8>]) -> Vec<(usize, Need)> {
        literals
            .iter()
            .enumerate()
            .map(|(at, literal)| {
                let literals = vec![literal.to_ascii_lowercase().into()];
                (at, Need { slot: Slot(0), literals, ascii_only: at % 3 == 1, plain_only: at % 3 == 2 })
            })
            .collect()
    }

    proptest! {
        /// A pass finds what looking for each literal alone finds.
        #[test]
        fn finds_all(
            literals in prop::collection::vec("[a-cA-C%\u{e9}]{1,4}", 1..90),
            text in "[a-dA-D%+\u{e9}\u{212a}]{0,40}",
        ) {
            let literals: Vec<Vec<u8>> = literals.into_iter().map(String::into_bytes).collect();
            let needs = needs(&literals);
            let scan = Scan::new(Slot(0), &needs, literals.len()).unwrap();
            let mut missing = scan.members().clone();
            scan.find(&text, &mut missing);
            for (at, need) in &needs {
                let expected = !text.is_empty() && need.may_hold(&text);
                prop_assert_eq!(missing.next(*at) != Some(*at), expected, "{:?} in {:?}", need, text);
            }
        }
    }

    #[test]
    fn large_sets_find_the_same() {
        let literals: Vec<Vec<u8>> = (0..3_000).map(|n| format!("/path-{n:04}").into_bytes()).collect();
        let needs = needs(&literals);
        let scan = Scan::new(Slot(0), &needs, literals.len()).unwrap();
        assert!(matches!(scan.automaton, Search::Compact(..)));
        let mut missing = scan.members().clone();
        scan.find("GET /Path-0300x/PATH-2997", &mut missing);
        let found = (0..literals.len()).filter(|&at| missing.next(at) != Some(at));
        assert_eq!(found.collect::<Vec<_>>(), [300, 2_997]);
    }
}
