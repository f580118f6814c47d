//! Sets of the kernel's older packet filter, by the program `ipset`.
//!
//! What is changed is changed by one run of `ipset restore`. Networks in such sets may overlap, so that what comes is
//! added before what it takes the place of is deleted: there is no moment in which a network that was listed and is to be
//! listed is not. A set that has become too small is replaced, by `swap`, by a larger one.

mod command;
mod header;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use testudo_event::Prefix;

use self::command::{Line, Refused, restore};
use self::header::Header;
pub(crate) use self::header::inet;
use crate::element::{Element, Held};
use crate::place::normal;
use crate::program::{Program, ProgramError};
use crate::rule::Family;

/// The longest time that an element can have.
pub const IPSET_TIMEOUT_MAX: Duration = Duration::from_secs(2_147_483);

/// The longest name of a set, in bytes.
pub const IPSET_NAME_MAX: usize = 31;

/// What stands behind the name of a set while a larger one is filled.
const LARGER: char = '~';

/// What a set can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpsetKind {
    /// Addresses and networks.
    #[default]
    Nets,
    /// Single addresses.
    Hosts,
}

impl IpsetKind {
    fn name(self) -> &'static str {
        match self {
            IpsetKind::Nets => "hash:net",
            IpsetKind::Hosts => "hash:ip",
        }
    }
}

/// What became of changes.
#[derive(Debug, Default)]
pub struct IpsetApplied {
    /// What there was no room for.
    pub full: Vec<(Prefix, String)>,
    /// What failed otherwise, and why.
    pub failed: Vec<(Prefix, String)>,
}

/// A set.
#[derive(Clone, Debug)]
struct Set {
    name: String,
    family: Family,
    /// Of which group its elements are; nothing where all are in one set.
    group: Option<u32>,
    kind: IpsetKind,
    /// So many elements fit.
    room: u32,
    /// How large it may become.
    room_most: u32,
}

/// Some sets that are filled together.
#[derive(Debug)]
pub struct Ipsets {
    program: Program,
    sets: Vec<Set>,
}

/// Sets that are ours: one for each group and family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnIpsets {
    /// What their names begin with.
    pub prefix: String,
    /// What they hold.
    pub kind: IpsetKind,
    /// How many elements fit into one at first.
    pub room: u32,
    /// How many may fit at most: it grows as it has to.
    pub room_most: u32,
    /// Whether there are sets for IPv6.
    pub ipv6: bool,
}

impl Ipsets {
    /// Finds the program. No set is known yet.
    pub fn new(program: &Path) -> Ipsets {
        Ipsets { program: Program::new(program), sets: Vec::new() }
    }

    /// Looks at sets that the user has made, which are filled and otherwise left as they are.
    ///
    /// # Errors
    /// One is not there, or cannot be used: the message has the command that makes it.
    pub fn open(program: &Path, v4: &str, v6: Option<&str>) -> Result<Ipsets, ProgramError> {
        let mut sets = Ipsets::new(program);
        for (name, family) in [(Some(v4), Family::V4), (v6, Family::V6)] {
            let Some(name) = name else { continue };
            check_name(name)?;
            let Some(header) = sets.header(name)? else {
                let what = format!("the set '{name}'");
                let problem = format!("is not there; make it with `{}`", making(name, family));
                return Err(ProgramError::Kind { what, problem });
            };
            let kind = header.usable(name, family)?;
            sets.sets.push(Set {
                name: name.to_owned(),
                family,
                group: None,
                kind,
                room: header.room,
                room_most: header.room,
            });
        }
        Ok(sets)
    }

    /// Makes our own sets, for groups with these names, where they are not there yet.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn make(&mut self, own: &OwnIpsets, groups: &[String]) -> Result<(), ProgramError> {
        let families: &[Family] = if own.ipv6 { &Family::BOTH } else { &[Family::V4] };
        let mut sets = Vec::new();
        for (name, group) in groups.iter().zip(0..) {
            for &family in families {
                let name = set_name(&own.prefix, name, family);
                let (kind, room, room_most) = (own.kind, own.room, own.room_most);
                sets.push(Set { name, family, group: Some(group), kind, room, room_most });
            }
        }
        for set in &mut sets {
            set.room = self.made(set)?;
        }
        self.sets = sets;
        Ok(())
    }

    /// The name of the set of a group and family; a group that is not known has none.
    pub(crate) fn name(&self, group: u32, family: Family) -> Option<&str> {
        let found = self.sets.iter().find(|set| set.group == Some(group) && set.family == family);
        found.map(|set| set.name.as_str())
    }

    /// Makes a set that is not there; how many elements fit into it.
    fn made(&self, set: &Set) -> Result<u32, ProgramError> {
        if let Some(header) = self.header(&set.name)? {
            let kind = header.usable(&set.name, set.family)?;
            if kind != set.kind {
                let problem = format!(
                    "is of type {}; destroy it, or choose that type: `ipset destroy {}`",
                    kind.name(),
                    set.name
                );
                return Err(ProgramError::Kind { what: format!("the set '{}'", set.name), problem });
            }
            return Ok(header.room);
        }
        let fresh = Header::new(set.kind, set.family, set.room);
        self.create(&set.name, &fresh)?;
        Ok(set.room)
    }

    fn create(&self, name: &str, header: &Header) -> Result<(), ProgramError> {
        let words = header.words();
        let mut arguments = vec!["create", name];
        arguments.extend(words.iter().map(String::as_str));
        self.program.output(&arguments).map(|_| ())
    }

    fn header(&self, name: &str) -> Result<Option<Header>, ProgramError> {
        match self.program.output(&["list", "-t", name]) {
            Ok(text) => Header::read(&text).map(Some),
            Err(ProgramError::Refused { said, .. }) if said.contains("does not exist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of sets that should be there and are not.
    ///
    /// # Errors
    /// The program cannot tell.
    pub fn missing(&self) -> Result<Vec<String>, ProgramError> {
        let there = self.program.output(&["list", "-n"])?;
        let is_there = |name: &str| there.lines().any(|line| line == name);
        Ok(self.sets.iter().map(|set| set.name.clone()).filter(|name| !is_there(name)).collect())
    }

    /// Brings the sets to exactly these elements, of which the first are the last that there is no room for.
    ///
    /// # Errors
    /// It cannot be told what was done.
    pub fn replace(&mut self, elements: &[Element]) -> Result<IpsetApplied, ProgramError> {
        self.replace_around(elements, |_| Ok(()))
    }

    /// The same; `between` is done when everything is in that is to be, and nothing out yet.
    pub(crate) fn replace_around(
        &mut self,
        elements: &[Element],
        between: impl FnOnce(&Ipsets) -> Result<(), ProgramError>,
    ) -> Result<IpsetApplied, ProgramError> {
        let mut applied = IpsetApplied::default();
        let mut added = Vec::with_capacity(elements.len());
        let mut counts = vec![0_u32; self.sets.len()];
        for element in elements {
            if let Some((set, line)) = self.added(element, &mut applied) {
                counts[set] += 1;
                added.push(line);
            }
        }
        for (set, count) in counts.iter().enumerate() {
            self.make_room(set, *count)?;
        }
        // What is there from before has no better right to its place: what does not fit goes, whoever was first.
        let mut free: Vec<u32> = self.sets.iter().map(|set| set.room).collect();
        let (added, beyond): (Vec<Line>, Vec<Line>) = added.into_iter().partition(|line| {
            let fits = free[line.set] > 0;
            free[line.set] = free[line.set].saturating_sub(1);
            fits
        });
        self.tell_full(beyond, &mut applied);
        let mut wanted: Vec<(Prefix, usize)> = added.iter().map(|line| (line.net, line.set)).collect();
        wanted.sort_unstable();
        let mut deleted = Vec::new();
        for at in 0..self.sets.len() {
            self.dump(at, |held| {
                if wanted.binary_search(&(held.net, at)).is_err() {
                    deleted.push(Line::del(&self.sets[at].name, at, held.net));
                }
            })?;
        }
        self.run(added, deleted, between, &mut applied)?;
        Ok(applied)
    }

    /// Makes changes: elements that come, or take the place of others with the same network, and networks that go. No
    /// network is in both.
    ///
    /// # Errors
    /// It cannot be told what was done.
    pub fn apply(&mut self, come: &[Element], go: &[Prefix]) -> Result<IpsetApplied, ProgramError> {
        let mut applied = IpsetApplied::default();
        let (mut added, mut deleted) = (Vec::with_capacity(come.len()), Vec::with_capacity(go.len()));
        for element in come {
            let Some((set, line)) = self.added(element, &mut applied) else { continue };
            added.push(line);
            deleted.extend(self.deleted(element.net, Some(set)));
        }
        deleted.extend(go.iter().flat_map(|net| self.deleted(*net, None)));
        self.run(added, deleted, |_| Ok(()), &mut applied)?;
        Ok(applied)
    }

    /// What is there about networks, in their order.
    ///
    /// # Errors
    /// The program cannot tell.
    pub fn find(&self, nets: &[Prefix]) -> Result<Vec<Option<Held>>, ProgramError> {
        let asked: HashMap<Prefix, usize> =
            nets.iter().enumerate().map(|(at, net)| (normal(*net), at)).collect();
        let mut found = vec![None; nets.len()];
        for (at, set) in self.sets.iter().enumerate() {
            if asked.keys().any(|net| Family::of(*net) == set.family) {
                self.dump(at, |held| {
                    if let Some(&at) = asked.get(&held.net) {
                        found[at] = Some(held);
                    }
                })?;
            }
        }
        Ok(found)
    }

    /// Removes the sets, and all others whose names begin so.
    ///
    /// # Errors
    /// They cannot be removed; rules of others may refer to them.
    pub(crate) fn remove(&mut self, beginnings: &[String]) -> Result<(), ProgramError> {
        for name in self.beginning(beginnings)? {
            self.destroy(&name)?;
        }
        self.sets.clear();
        Ok(())
    }

    /// Removes sets whose names begin so, of groups that are no more. What rules still refer to stays for now.
    pub(crate) fn sweep(&self, beginnings: &[String]) -> Result<(), ProgramError> {
        for name in self.beginning(beginnings)? {
            if !self.sets.iter().any(|set| set.name == name) {
                match self.program.output(&["destroy", &name]) {
                    Ok(_) | Err(ProgramError::Refused { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn beginning(&self, beginnings: &[String]) -> Result<Vec<String>, ProgramError> {
        let there = self.program.output(&["list", "-n"])?;
        let is_one = |name: &&str| beginnings.iter().any(|begin| name.starts_with(begin.as_str()));
        Ok(there.lines().filter(is_one).map(str::to_owned).collect())
    }

    /// The kernel lets go of a set some moments after the last rule that refers to it.
    fn destroy(&self, name: &str) -> Result<(), ProgramError> {
        const TRIES: u32 = 20;
        for round in 1.. {
            match self.program.output(&["destroy", name]) {
                Err(ProgramError::Refused { said, .. }) if said.contains("does not exist") => return Ok(()),
                Err(ProgramError::Refused { said, .. }) if said.contains("in use") && round < TRIES => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                done => return done.map(|_| ()),
            }
        }
        Ok(())
    }

    /// The set of an element, by its group and family.
    fn place(&self, element: &Element) -> Option<usize> {
        let family = Family::of(element.net);
        self.sets
            .iter()
            .position(|set| set.family == family && set.group.is_none_or(|group| group == element.group))
    }

    /// The line that adds an element.
    fn added(&self, element: &Element, applied: &mut IpsetApplied) -> Option<(usize, Line)> {
        let net = normal(element.net);
        let Some(at) = self.place(&Element { net, ..*element }) else {
            applied.failed.push((net, "there is no set for its family".to_owned()));
            return None;
        };
        let set = &self.sets[at];
        if set.kind == IpsetKind::Hosts && net != Prefix::single(net.addr()) {
            let problem = format!("the set '{}' holds single addresses; use hash:net", set.name);
            applied.failed.push((net, problem));
            return None;
        }
        if net.bits() == 0 {
            applied.failed.push((net, "ipset holds no network of 0 bits".to_owned()));
            return None;
        }
        Some((at, Line::add(&set.name, at, net, element.timeout)))
    }

    /// The lines that delete a network from all sets of its family but one.
    fn deleted(&self, net: Prefix, but: Option<usize>) -> impl Iterator<Item = Line> {
        let net = normal(net);
        let sets = self.sets.iter().enumerate().filter(move |(at, set)| {
            let holds = set.kind == IpsetKind::Nets || net == Prefix::single(net.addr());
            set.family == Family::of(net) && but != Some(*at) && holds
        });
        sets.map(move |(at, set)| Line::del(&set.name, at, net))
    }

    /// Adds, then deletes. What had no room is tried again when something was deleted.
    fn run(
        &mut self,
        added: Vec<Line>,
        deleted: Vec<Line>,
        between: impl FnOnce(&Ipsets) -> Result<(), ProgramError>,
        applied: &mut IpsetApplied,
    ) -> Result<(), ProgramError> {
        let may_make_room = !deleted.is_empty();
        let mut full = self.feed(added, applied)?;
        between(self)?;
        self.feed(deleted, applied)?;
        if may_make_room && !full.is_empty() {
            full = self.feed(full, applied)?;
        }
        self.tell_full(full, applied);
        Ok(())
    }

    fn tell_full(&self, lines: Vec<Line>, applied: &mut IpsetApplied) {
        let told = lines.into_iter().map(|Line { set, net, .. }| {
            let problem = format!("the set '{}' is full", self.sets[set].name);
            (net, problem)
        });
        applied.full.extend(told);
    }

    /// Has lines carried out; returns those that there was no room for. None of these is in its set.
    fn feed(&mut self, lines: Vec<Line>, applied: &mut IpsetApplied) -> Result<Vec<Line>, ProgramError> {
        let mut rest = lines;
        let mut full: Vec<Line> = Vec::new();
        // A set that was full this often takes only what it has already.
        const FULL_MOST: usize = 16;
        let mut tries = vec![0; self.sets.len()];
        while !rest.is_empty() {
            let Some((at, refused)) = restore(&self.program, &rest)? else { break };
            let mut left = rest.split_off(at);
            let line = left.remove(0);
            match refused {
                Refused::Full => {
                    let set = line.set;
                    let room = self.sets[set].room;
                    if room < self.sets[set].room_most {
                        self.make_room(set, room + 1)?;
                        left.insert(0, line);
                    } else {
                        full.push(line);
                        tries[set] += 1;
                        if tries[set] >= FULL_MOST {
                            let mut there: HashSet<Prefix> = HashSet::new();
                            self.dump(set, |held| {
                                there.insert(held.net);
                            })?;
                            let takes = |line: &Line| line.set != set || there.contains(&line.net);
                            let (on, out): (Vec<Line>, Vec<Line>) = left.into_iter().partition(takes);
                            full.extend(out);
                            left = on;
                        }
                    }
                }
                Refused::Other(problem) => applied.failed.push((line.net, problem)),
            }
            rest = left;
        }
        Ok(full)
    }

    /// Makes a set large enough for so many elements, as far as it may grow: a larger one is filled beside it, and both
    /// are swapped.
    fn make_room(&mut self, at: usize, count: u32) -> Result<(), ProgramError> {
        let set = &self.sets[at];
        if count <= set.room || set.room >= set.room_most {
            return Ok(());
        }
        // Half as much again, so that it does not grow with each element.
        let room = count.saturating_add(count / 2).next_power_of_two().min(set.room_most);
        let larger = format!("{}{LARGER}", set.name);
        self.destroy(&larger)?;
        self.create(&larger, &Header::new(set.kind, set.family, room))?;
        let mut lines = Vec::new();
        self.dump(at, |held| {
            lines.push(Line::add(&larger, at, held.net, held.remaining.unwrap_or(IPSET_TIMEOUT_MAX)));
        })?;
        let copied = restore(&self.program, &lines)?;
        if let Some((line, refused)) = copied {
            self.destroy(&larger)?;
            let what = format!("the set '{larger}'");
            return Err(ProgramError::Kind {
                what,
                problem: format!("cannot be filled: line {line}: {refused:?}"),
            });
        }
        self.program.output(&["swap", &larger, &self.sets[at].name])?;
        self.destroy(&larger)?;
        self.sets[at].room = room;
        Ok(())
    }

    /// Tells all elements of a set.
    fn dump(&self, at: usize, mut tell: impl FnMut(Held)) -> Result<(), ProgramError> {
        let set = &self.sets[at];
        let ended = self.program.run(&["save", &set.name], &[], |line| {
            if let Some((net, remaining)) = command::element(line) {
                tell(Held { net, group: set.group.unwrap_or(0), remaining });
            }
        })?;
        if !ended.is_success && ended.said.contains("does not exist") {
            return Err(ProgramError::NotThere(format!("the set '{}'", set.name)));
        }
        ended.success().map(|_| ())
    }
}

/// The command that makes a set as it is needed.
fn making(name: &str, family: Family) -> String {
    format!("ipset create {name} hash:net family {} timeout 300 maxelem 131072", inet(family))
}

/// Whether a name can stand in a line of `ipset restore` and in a rule.
///
/// # Errors
/// It cannot.
pub(crate) fn check_name(name: &str) -> Result<(), ProgramError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if !name.is_empty()
        && name.len() <= IPSET_NAME_MAX
        && !name.starts_with('-')
        && name.chars().all(is_plain)
    {
        return Ok(());
    }
    let problem = format!(
        "is no name of a set: use up to {IPSET_NAME_MAX} letters, digits, '-', '_', '.' and ':', no '-' first"
    );
    Err(ProgramError::Kind { what: format!("'{name}'"), problem })
}

/// The name of the set of a group: its own where that fits, otherwise a part of it and a number that tells it apart. No
/// prefix has a dot, so that no set of one is taken for that of another.
pub(crate) fn set_name(prefix: &str, group: &str, family: Family) -> String {
    // Two dots, the digit of the family, and what marks a larger one.
    let room = IPSET_NAME_MAX.saturating_sub(prefix.len() + 4);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let shown = if group.len() <= room && group.chars().all(is_plain) {
        group.to_owned()
    } else {
        let number = xxhash_rust::xxh3::xxh3_64(group.as_bytes()) as u32;
        let begin: String = group.chars().filter(|c| is_plain(*c)).take(room.saturating_sub(9)).collect();
        format!("{begin}.{number:08x}")
    };
    format!("{prefix}.{shown}.{}", family.digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_stay_different() {
        assert_eq!(set_name("testudo", "crowdsec", Family::V4), "testudo.crowdsec.4");
        assert_eq!(set_name("testudo", "CAPI", Family::V6), "testudo.CAPI.6");
        let long = set_name("testudo", "lists:a-very-long-name-of-a-list", Family::V4);
        let other = set_name("testudo", "lists:a-very-long-name-of-a-list2", Family::V4);
        assert_ne!(long, other);
        for name in [&long, &other, &set_name("testudo", "crowdsec (throttled)", Family::V6)] {
            assert!(name.len() < IPSET_NAME_MAX, "{name}: {}", name.len());
            check_name(name).expect(name);
        }
        for wrong in ["", "-x", "a b", "a\nflush", &"x".repeat(32)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
