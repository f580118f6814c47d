//! Backends that take no networks that overlap, and know nobody who passes whatever is decided: what they are given is
//! cut into pieces that do not overlap, around those who pass.
//!
//! Where a network lies within another, the later end counts; what is done is the same for all. Pieces of a network never
//! reach beyond the widest network around it, so that a change touches the pieces within that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use testudo_event::Prefix;

use crate::backend::{Backend, Change, Element, Failed, Found, Traffic};
use crate::cover::{bits, cover};
use crate::group::{Group, GroupId};

/// Times that differ by less are the same: those of the kernel go by its own ticks.
const TOLERANCE_MS: u64 = 2_000;

/// When something ends, and as a part of what it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    until_ms: u64,
    group: GroupId,
}

/// A backend behind which networks do not overlap.
pub struct Flat<B, C> {
    backend: B,
    /// Milliseconds of a clock that only goes forward.
    clock: C,
    /// What is to be in force.
    wanted: BTreeMap<Prefix, End>,
    /// What the backend was given.
    pieces: BTreeMap<Prefix, End>,
    /// The groups, as they were given last.
    groups: Vec<Group>,
    /// Who passes; none is within another.
    spared: BTreeSet<Prefix>,
    /// What the backend holds is not known.
    is_lost: bool,
}

impl<B: Backend, C: Fn() -> u64> Flat<B, C> {
    /// Around those who pass.
    pub fn new(backend: B, spared: &[Prefix], clock: C) -> Self {
        Flat {
            backend,
            clock,
            wanted: BTreeMap::new(),
            pieces: BTreeMap::new(),
            groups: Vec::new(),
            spared: apart(spared),
            is_lost: false,
        }
    }

    /// What is behind it.
    pub fn inner_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// The pieces of all that is wanted within a network.
    fn cut(&self, within: Prefix, now: u64, out: &mut BTreeMap<Prefix, End>) {
        let mut inside = members(&self.wanted, within).filter(|(_, end)| end.until_ms > now).peekable();
        while let Some((&top, &end)) = inside.next() {
            // The flag is greater than any end: those who pass win.
            let mut networks = vec![(top, (false, Some(end)))];
            while let Some((&net, &end)) = inside.next_if(|(net, _)| contains(top, **net)) {
                networks.push((net, (false, Some(end))));
            }
            // None of those who pass is within another: only the last that begins no later can be around this one.
            let around = self.spared.range(..=Prefix::single(top.addr())).next_back();
            if around.is_some_and(|net| contains(*net, top)) {
                continue;
            }
            let holes = self.spared.range((Bound::Included(top), Bound::Included(last(top))));
            networks.extend(holes.filter(|net| contains(top, **net)).map(|net| (*net, (true, None))));
            if networks.len() == 1 {
                out.insert(top, end);
                continue;
            }
            out.extend(cover(&networks).into_iter().filter_map(|(net, (_, end))| Some((net, end?))));
        }
    }

    /// The widest network that is wanted around one, or itself.
    fn around(&self, net: Prefix) -> Prefix {
        ancestors(net).filter(|wider| self.wanted.contains_key(wider)).last().unwrap_or(net)
    }

    /// Brings the backend to what is wanted in some networks, and around them; returns the pieces that failed.
    fn recut(&mut self, nets: &[Prefix], now: u64) -> Result<Vec<(Failed, End)>, B::Error> {
        let regions: BTreeSet<Prefix> = nets.iter().map(|net| self.around(*net)).collect();
        let (mut going, mut coming) = (Vec::new(), Vec::new());
        let mut before: Option<Prefix> = None;
        let ends_by_itself = self.backend.ends_by_itself();
        for region in regions {
            // The narrower come after the wider.
            if before.is_some_and(|wider| contains(wider, region)) {
                continue;
            }
            before = Some(region);
            let mut new = BTreeMap::new();
            self.cut(region, now, &mut new);
            for (&net, end) in members(&self.pieces, region) {
                if !new.contains_key(&net) {
                    going.push((net, end.until_ms > now || end.until_ms == 0 || !ends_by_itself));
                }
            }
            for (net, end) in new {
                match self.pieces.get(&net) {
                    Some(there) if *there == end => {}
                    there => coming.push((net, end, there.is_some())),
                }
            }
        }
        let longest = self.backend.longest_ms();
        let mut changes: Vec<Change> =
            going.iter().filter(|(_, is_there)| *is_there).map(|(net, _)| Change::Remove(*net)).collect();
        changes.extend(coming.iter().map(|&(net, end, is_there)| {
            let element = Element { net, group: end.group, left_ms: (end.until_ms - now).min(longest) };
            if is_there { Change::Replace(element) } else { Change::Add(element) }
        }));
        let failed = if changes.is_empty() {
            Vec::new()
        } else {
            self.backend.apply(&self.groups, &changes).inspect_err(|_| self.is_lost = true)?
        };
        for (net, _) in going {
            self.pieces.remove(&net);
        }
        self.pieces.extend(coming.into_iter().map(|(net, end, _)| (net, end)));
        let mut ended = Vec::new();
        for failed in failed {
            // What could not be removed is found by nobody: everything is put anew.
            match self.pieces.remove(&failed.net) {
                Some(end) => ended.push((failed, end)),
                None => self.is_lost = true,
            }
        }
        Ok(ended)
    }

    /// Gives up those whose pieces could not be put into force, and tells them.
    fn give_up(&mut self, failed: Vec<(Failed, End)>, now: u64) -> Result<Vec<Failed>, B::Error> {
        let mut told: BTreeMap<Prefix, Failed> = BTreeMap::new();
        for (failed, end) in failed {
            let of = ancestors(failed.net).find(|net| self.wanted.get(net) == Some(&end));
            let within =
                members(&self.wanted, failed.net).find(|(_, other)| **other == end).map(|(net, _)| *net);
            if let Some(net) = of.or(within) {
                told.insert(net, Failed { net, ..failed });
            }
        }
        let nets: Vec<Prefix> = told.keys().copied().collect();
        // What is around them is cut anew: what else is wanted there may take their place.
        let regions: Vec<Prefix> = nets.iter().map(|net| self.around(*net)).collect();
        for net in &nets {
            self.wanted.remove(net);
        }
        if !regions.is_empty() && !self.recut(&regions, now)?.is_empty() {
            self.is_lost = true;
        }
        Ok(told.into_values().collect())
    }

    /// How a piece is: whether it is as it was given.
    fn is_right(&self, end: End, found: Option<Found>, now: u64) -> bool {
        let Some(found) = found else { return false };
        let (left, longest) = (end.until_ms.saturating_sub(now), self.backend.longest_ms());
        let Some(found_ms) = found.left_ms else { return !self.backend.ends_by_itself() };
        if longest != u64::MAX && left > longest / 2 {
            return found_ms >= longest / 2 && (left > longest || found_ms + TOLERANCE_MS >= left);
        }
        left <= TOLERANCE_MS || found_ms.abs_diff(left) <= TOLERANCE_MS
    }
}

impl<B: Backend, C: Fn() -> u64> Backend for Flat<B, C> {
    type Error = B::Error;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, B::Error> {
        let now = (self.clock)();
        self.groups = groups.to_vec();
        self.wanted = elements
            .iter()
            .map(|element| {
                (element.net, End { until_ms: now.saturating_add(element.left_ms), group: element.group })
            })
            .collect();
        let mut pieces = BTreeMap::new();
        for all in [[0; 4].into(), [0_u16; 8].into()].into_iter().filter_map(|addr| Prefix::new(addr, 0)) {
            self.cut(all, now, &mut pieces);
        }
        let longest = self.backend.longest_ms();
        let mut given: Vec<Element> = pieces
            .iter()
            .map(|(&net, end)| Element { net, group: end.group, left_ms: (end.until_ms - now).min(longest) })
            .collect();
        if self.backend.is_bounded() {
            let weight = |element: &Element| groups.get(usize::from(element.group.0)).map(Group::weight);
            given.sort_by_key(|element| std::cmp::Reverse((weight(element), element.left_ms)));
        }
        self.is_lost = true;
        let failed = self.backend.replace(groups, &given)?;
        self.is_lost = false;
        self.pieces = pieces;
        let failed = failed
            .into_iter()
            .filter_map(|failed| self.pieces.remove(&failed.net).map(|end| (failed, end)))
            .collect();
        self.give_up(failed, now)
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, B::Error> {
        let now = (self.clock)();
        for change in changes {
            match *change {
                Change::Add(element) | Change::Replace(element) => {
                    let until_ms = now.saturating_add(element.left_ms);
                    self.wanted.insert(element.net, End { until_ms, group: element.group });
                }
                Change::Remove(net) => drop(self.wanted.remove(&net)),
            }
        }
        let nets: Vec<Prefix> = changes.iter().map(Change::net).collect();
        let failed = self.recut(&nets, now)?;
        self.give_up(failed, now)
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, B::Error> {
        Ok(self.find_each(&[net])?.pop().flatten())
    }

    fn find_each(&mut self, nets: &[Prefix]) -> Result<Vec<Option<Found>>, B::Error> {
        let now = (self.clock)();
        // Of each network the pieces in it, or the one that it is in.
        let of: Vec<Vec<Prefix>> = nets
            .iter()
            .map(|&net| {
                let within = members(&self.pieces, net).map(|(piece, _)| *piece);
                let before = self.pieces.range(..=Prefix::single(net.addr())).next_back();
                let around =
                    before.map(|(piece, _)| *piece).filter(|piece| *piece != net && contains(*piece, net));
                within.chain(around).collect()
            })
            .collect();
        let asked: Vec<Prefix> = of.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let found: BTreeMap<Prefix, Option<Found>> =
            asked.iter().copied().zip(self.backend.find_each(&asked)?).collect();
        let mut wrong: BTreeMap<Prefix, Option<Found>> = BTreeMap::new();
        for (&piece, &found) in &found {
            if let Some(&end) = self.pieces.get(&piece)
                && !self.is_right(end, found, now)
            {
                wrong.insert(piece, found);
            }
        }
        // When the pieces are next cut, those come again: they are missing, or their end is none.
        for (piece, found) in &wrong {
            match found {
                Some(_) => drop(self.pieces.insert(*piece, End { until_ms: 0, group: GroupId(0) })),
                None => drop(self.pieces.remove(piece)),
            }
        }
        let told = nets.iter().zip(of).map(|(net, pieces)| {
            let end = self.wanted.get(net)?;
            let left_ms = match pieces.iter().find_map(|piece| wrong.get(piece)) {
                Some(found) => (*found)?.left_ms,
                None => Some(end.until_ms.saturating_sub(now)),
            };
            Some(Found { group: None, left_ms })
        });
        Ok(told.collect())
    }

    fn sample_least(&self) -> usize {
        self.backend.sample_least()
    }

    fn longest_ms(&self) -> u64 {
        self.backend.longest_ms()
    }

    fn ends_by_itself(&self) -> bool {
        self.backend.ends_by_itself()
    }

    fn is_bounded(&self) -> bool {
        self.backend.is_bounded()
    }

    fn room(&self, net: Prefix, group: GroupId) -> u32 {
        self.backend.room(net, group)
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), B::Error> {
        let now = (self.clock)();
        let before = std::mem::replace(&mut self.spared, apart(nets));
        if self.is_lost {
            // Everything is about to be put anew, around these.
            return Ok(());
        }
        let changed: Vec<Prefix> = before.symmetric_difference(&self.spared).copied().collect();
        if !self.recut(&changed, now)?.is_empty() {
            self.is_lost = true;
        }
        Ok(())
    }

    fn traffic(&mut self) -> Result<Traffic, B::Error> {
        self.backend.traffic()
    }

    fn is_whole(&mut self) -> Result<bool, B::Error> {
        let now = (self.clock)();
        if self.backend.ends_by_itself() {
            self.wanted.retain(|_, end| end.until_ms > now);
            self.pieces.retain(|_, end| end.until_ms > now || end.until_ms == 0);
        }
        Ok(!self.is_lost && self.backend.is_whole()?)
    }
}

/// Networks of which none is within another.
fn apart(nets: &[Prefix]) -> BTreeSet<Prefix> {
    let mut nets: Vec<Prefix> = nets.iter().map(|net| net.canonical().network()).collect();
    nets.sort_unstable();
    let mut found: Vec<Prefix> = Vec::new();
    for net in nets {
        if !found.last().is_some_and(|wider| contains(*wider, net)) {
            found.push(net);
        }
    }
    found.into_iter().collect()
}

/// Whether a network is the other one, or around it.
fn contains(wider: Prefix, net: Prefix) -> bool {
    wider.bits() <= net.bits() && wider.contains(net.addr())
}

/// A network, and those around it, the narrower first.
fn ancestors(net: Prefix) -> impl Iterator<Item = Prefix> {
    (0..=net.bits()).rev().filter_map(move |bits| Prefix::covering(net.addr(), bits))
}

/// The last network that begins within another, in the order of networks.
fn last(net: Prefix) -> Prefix {
    Prefix::new(net.last(), bits(net.addr())).unwrap_or(net)
}

/// Those of some networks that are within one.
fn members<V>(all: &BTreeMap<Prefix, V>, within: Prefix) -> impl Iterator<Item = (&Prefix, &V)> {
    let first = within.network();
    all.range((Bound::Included(first), Bound::Included(last(within))))
        .filter(move |(net, _)| contains(within, **net))
}
