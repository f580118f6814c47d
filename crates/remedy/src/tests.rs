//! The enforcer against a kernel made of a map, on a clock that the test turns.

mod backends;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use proptest::prelude::*;
use testudo_event::Prefix;

use super::*;

/// A packet filter: elements with ends, which go by themselves.
#[derive(Clone, Debug, Default)]
struct Kernel {
    now_ms: u64,
    elements: BTreeMap<Prefix, (Group, u64)>,
    is_there: bool,
    groups: Vec<Group>,
    /// The next calls fail.
    failing: u32,
    /// The call after so many fails.
    failing_after: Option<u32>,
    /// So many elements fit.
    room: Option<usize>,
    /// What does not fit is told as that.
    tells_full: bool,
    /// Single addresses may not be within networks either.
    is_flat: bool,
    /// Elements stay until they are removed.
    is_endless: bool,
    /// No element may have a longer time, if that is limited.
    longest_ms: Option<u64>,
    /// The time, for others.
    clock: Rc<Cell<u64>>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("out of order")]
struct OutOfOrder;

impl Kernel {
    fn live(&self) -> impl Iterator<Item = (Prefix, &Group, u64)> {
        let now = self.now_ms;
        let live = self
            .elements
            .iter()
            .filter(move |(_, (_, until))| self.is_there && (self.is_endless || *until > now));
        live.map(|(&net, (group, until))| (net, group, *until))
    }

    fn put(&mut self, groups: &[Group], element: Element) -> Result<(), Failed> {
        let now = self.now_ms;
        let is_endless = self.is_endless;
        self.elements.retain(|_, (_, until)| is_endless || *until > now);
        let is_full = self.tells_full;
        let failed = |problem: &str| Failed { net: element.net, problem: problem.to_owned(), is_full };
        if self.room.is_some_and(|room| self.elements.len() >= room) {
            return Err(failed("the set is full"));
        }
        assert!(element.left_ms <= self.longest_ms.unwrap_or(u64::MAX), "the kernel refuses: {element:?}");
        let overlaps = |net: &Prefix| {
            *net != element.net
                && (self.is_flat || is_range(*net) && is_range(element.net))
                && (net.contains(element.net.addr()) || element.net.contains(net.addr()))
        };
        assert!(
            !self.elements.keys().any(overlaps),
            "the kernel refuses overlaps: {element:?} {:?}",
            self.elements
        );
        let group = groups[usize::from(element.group.0)].clone();
        self.elements.insert(element.net, (group, now + element.left_ms));
        self.groups = groups.to_vec();
        Ok(())
    }

    fn turn(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.clock.set(now_ms);
    }

    fn call(&mut self) -> Result<(), OutOfOrder> {
        if self.failing > 0 {
            self.failing -= 1;
            return Err(OutOfOrder);
        }
        match self.failing_after.as_mut() {
            Some(0) => {
                self.failing_after = None;
                return Err(OutOfOrder);
            }
            Some(calls) => *calls -= 1,
            None => {}
        }
        Ok(())
    }
}

fn is_range(net: Prefix) -> bool {
    net.bits() < if net.addr().is_ipv4() { 32 } else { 128 }
}

impl Backend for Kernel {
    type Error = OutOfOrder;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, OutOfOrder> {
        self.call()?;
        self.elements.clear();
        self.is_there = true;
        Ok(elements.iter().filter_map(|element| self.put(groups, *element).err()).collect())
    }

    fn apply(&mut self, groups: &[Group], changes: &[Change]) -> Result<Vec<Failed>, OutOfOrder> {
        self.call()?;
        let mut failed = Vec::new();
        for change in changes {
            match *change {
                Change::Add(element) | Change::Replace(element) => {
                    if matches!(change, Change::Replace(_)) {
                        self.elements.remove(&element.net);
                    }
                    failed.extend(self.put(groups, element).err());
                }
                Change::Remove(net) => drop(self.elements.remove(&net)),
            }
        }
        Ok(failed)
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, OutOfOrder> {
        self.call()?;
        let found = self.live().find(|(known, ..)| *known == net);
        Ok(found.map(|(_, group, until)| Found {
            group: self.groups.iter().position(|known| known == group).map(|at| GroupId(at as u16)),
            left_ms: (!self.is_endless && until != u64::MAX).then(|| until - self.now_ms),
        }))
    }

    fn longest_ms(&self) -> u64 {
        self.longest_ms.unwrap_or(u64::MAX)
    }

    fn ends_by_itself(&self) -> bool {
        !self.is_endless
    }

    fn is_bounded(&self) -> bool {
        self.room.is_some()
    }

    fn is_whole(&mut self) -> Result<bool, OutOfOrder> {
        self.call()?;
        Ok(self.is_there)
    }
}

fn net(text: &str) -> Prefix {
    Prefix::parse(text).expect(text)
}

fn decision(enforcer: &mut Enforcer<Kernel>, id: i64, value: &str, seconds: u64) -> Decision {
    let group = enforcer.groups_mut().id("crowdsec", "", Action::Deny);
    Decision { id, net: net(value), group, until_ms: seconds * 1_000 }
}

fn delta(new: Vec<Decision>, deleted: Vec<Decision>) -> Update {
    let deleted = deleted.into_iter().map(|decision| (decision.net, decision.id)).collect();
    Update { full: false, new, deleted }
}

fn in_force(enforcer: &mut Enforcer<Kernel>) -> Vec<String> {
    let kernel = enforcer.backend_mut();
    kernel
        .live()
        .map(|(net, _, until)| format!("{}/{} {}", net.addr(), net.bits(), (until - kernel.now_ms) / 1_000))
        .collect()
}

#[test]
fn a_ban_is_prolonged_and_lifted_when_the_last_decision_goes() {
    let mut enforcer = Enforcer::new(Kernel::default());
    let (short, long) =
        (decision(&mut enforcer, 1, "192.0.2.1/32", 10), decision(&mut enforcer, 2, "192.0.2.1/32", 60));
    enforcer.update(delta(vec![short], vec![]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.1/32 10"]);
    enforcer.update(delta(vec![long], vec![]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.1/32 60"]);
    enforcer.update(delta(vec![], vec![long]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.1/32 10"]);
    enforcer.update(delta(vec![], vec![short]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), [""; 0]);
}

#[test]
fn ranges_are_enforced_whole_and_do_not_overlap() {
    let mut enforcer = Enforcer::new(Kernel::default());
    let wide = decision(&mut enforcer, 1, "192.0.2.0/24", 10);
    let narrow = decision(&mut enforcer, 2, "192.0.2.128/25", 60);
    enforcer.update(delta(vec![wide, narrow], vec![]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.0/25 10", "192.0.2.128/25 60"]);
    enforcer.update(delta(vec![], vec![narrow]), 0).expect("it works");
    assert_eq!(in_force(&mut enforcer), ["192.0.2.0/24 10"]);
}

#[test]
fn what_was_taken_away_is_noticed_told_and_put_back() {
    let mut enforcer = Enforcer::new(Kernel::default());
    let bans = (0..4).map(|n| decision(&mut enforcer, n, &format!("192.0.2.{n}/32"), 100)).collect();
    enforcer.update(delta(bans, vec![]), 0).expect("it works");
    enforcer.backend_mut().elements.remove(&net("192.0.2.2/32"));
    let mut problems = Vec::new();
    // Two at a time: the third call is at the end.
    for _ in 0..3 {
        problems.extend(enforcer.audit(2, 1).expect("it works").problems);
    }
    assert_eq!(problems, ["192.0.2.2/32 was not in force"]);
    assert_eq!((enforcer.enforced(), enforcer.expected()), (Some(0.75), 4));
    assert_eq!(in_force(&mut enforcer).len(), 4);
    enforcer.backend_mut().is_there = false;
    let problems = enforcer.audit(2, 1).expect("it works").problems;
    assert_eq!(problems, ["what enforces was taken away or changed; it was put back whole"]);
    assert_eq!(in_force(&mut enforcer).len(), 4);
}

#[test]
fn a_full_set_is_told_and_tried_again() {
    let mut enforcer = Enforcer::new(Kernel { room: Some(1), ..Kernel::default() });
    let bans = (0..2).map(|n| decision(&mut enforcer, n, &format!("192.0.2.{n}/32"), 100)).collect();
    // A group that is not known yet comes with everything.
    enforcer.update(Update::default(), 0).expect("it works");
    let outcome = enforcer.update(delta(bans, vec![]), 0).expect("it works");
    assert_eq!(outcome.problems, ["192.0.2.1/32 could not be changed: the set is full"]);
    assert_eq!((enforcer.expected(), enforcer.counts().failed), (1, 1));
    enforcer.backend_mut().room = None;
    enforcer.tick(9_000).expect("it works");
    assert_eq!(in_force(&mut enforcer).len(), 1, "it is too early");
    enforcer.tick(10_000).expect("it works");
    assert_eq!(in_force(&mut enforcer).len(), 2);
}

#[test]
fn what_stands_is_left_alone_until_something_is_known() {
    let mut before = Enforcer::new(Kernel::default());
    let ban = decision(&mut before, 1, "192.0.2.1/32", 100);
    before.update(delta(vec![ban], vec![]), 0).expect("it works");
    let mut enforcer = Enforcer::new(before.into_backend());
    enforcer.tick(1).expect("it works");
    assert!(enforcer.audit(10, 2).expect("it works").round_ended, "there is nothing to go on with");
    assert_eq!(enforcer.enforced(), None);
    assert_eq!(in_force(&mut enforcer), ["192.0.2.1/32 100"]);
    enforcer.update(Update { full: true, ..Update::default() }, 3).expect("it works");
    assert_eq!(in_force(&mut enforcer), [""; 0]);
}

#[test]
fn seconds_that_are_rounded_are_no_change() {
    let mut enforcer = Enforcer::new(Kernel::default());
    let ban = decision(&mut enforcer, 1, "192.0.2.1/32", 100);
    let range = decision(&mut enforcer, 2, "198.51.100.0/24", 100);
    enforcer.update(delta(vec![ban, range], vec![]), 0).expect("it works");
    let later = |decision: Decision| Decision { until_ms: decision.until_ms + 900, ..decision };
    let all = Update { full: true, new: vec![later(ban), later(range)], deleted: vec![] };
    let outcome = enforcer.update(all, 10).expect("it works");
    assert_eq!((outcome.added, outcome.removed, outcome.replaced), (0, 0, false));
}

#[test]
fn what_is_held_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("held.eth0");
    // Whatever else is in the folder is no business of it.
    std::fs::create_dir(folder.path().join("held.new")).expect("made");
    let mut enforcer = Enforcer::new(Kernel::default());
    let list = enforcer.groups_mut().id("lists", "one", Action::Throttle);
    let listed = Decision { id: 9, net: net("2001:db8::/32"), group: list, until_ms: 90_000 };
    let ban = decision(&mut enforcer, 1, "192.0.2.1/32", 50);
    enforcer.update(delta(vec![ban, listed], vec![]), 0).expect("it works");
    save(&path, enforcer.held(), enforcer.groups(), 10_000, 1_000_000_000).expect("it is written");
    let mut next = Enforcer::new(Kernel::default());
    // Thirty seconds later, on a clock that began anew.
    let update = load(&path, next.groups_mut(), &Rules::default(), 5_000, 1_000_030_000).expect("it is read");
    next.update(update.expect("it is there"), 5_000).expect("it works");
    next.backend_mut().now_ms = 5_000;
    let left: Vec<_> = next.held().iter().map(|decision| (decision.net, decision.until_ms)).collect();
    assert_eq!(left, [(net("192.0.2.1/32"), 15_000), (net("2001:db8::/32"), 55_000)]);
    assert_eq!(
        next.groups().all().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["crowdsec", "lists:one (throttled)"]
    );
    assert!(
        load(&folder.path().join("none"), next.groups_mut(), &Rules::default(), 0, 0)
            .expect("no file")
            .is_none()
    );
    let whole = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("it is cut off");
    assert!(load(&path, next.groups_mut(), &Rules::default(), 0, 0).is_err());
}

const NETS: [&str; 12] = [
    "192.0.2.1/32",
    "192.0.2.2/32",
    "192.0.2.130/32",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "192.0.2.128/26",
    "192.0.0.0/16",
    "198.51.100.0/24",
    "2001:db8::1/128",
    "2001:db8::/64",
    "2001:db8::/32",
    "2001:db8:1::/48",
];

/// Addresses of all kinds: in several of these, in one, in none.
const PROBES: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 130)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 9, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb9, 0, 0, 0, 0, 0, 1)),
];

#[derive(Clone, Debug)]
enum Act {
    /// Decisions come: network, origin, throttled, seconds.
    Come(Vec<(usize, bool, bool, u64)>),
    /// The how-manieth of those that were ever told is taken back.
    Go(prop::sample::Index),
    /// The API tells everything.
    Full,
    Wait(u64),
    /// The process dies and goes on from its file.
    Restart,
    /// So many calls of the kernel fail.
    Fail(u32),
    /// An element is deleted behind its back.
    Steal(prop::sample::Index),
    /// All rules are flushed.
    Flush,
    Audit(usize),
    /// Somebody is to pass from now on whatever is decided, or no longer.
    Spare(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let decision = (0..NETS.len(), any::<bool>(), prop::bool::weighted(0.3), 0..120_u64);
    let act = prop_oneof![
        5 => prop::collection::vec(decision, 1..5).prop_map(Act::Come),
        3 => any::<prop::sample::Index>().prop_map(Act::Go),
        1 => Just(Act::Full),
        3 => prop_oneof![0..3_000_u64, 10_000..60_000_u64].prop_map(Act::Wait),
        1 => Just(Act::Restart),
        1 => (1..3_u32).prop_map(Act::Fail),
        2 => any::<prop::sample::Index>().prop_map(Act::Steal),
        1 => Just(Act::Flush),
        1 => (1..4_usize).prop_map(Act::Audit),
        1 => any::<bool>().prop_map(Act::Spare),
    ];
    prop::collection::vec(act, 1..40)
}

/// What the packet filter does with an address: the strongest of its host element and its network.
fn verdict(kernel: &Kernel, addr: IpAddr) -> Option<Action> {
    kernel.live().filter(|(net, ..)| net.contains(addr)).map(|(_, group, _)| group.action).max()
}

/// A decision as the API knows it.
#[derive(Clone, Debug)]
struct Row {
    net: Prefix,
    origin: &'static str,
    action: Action,
    until_ms: u64,
    is_held: bool,
}

impl Row {
    fn decision(&self, id: usize, groups: &mut Groups) -> Decision {
        let group = groups.id(self.origin, "", self.action);
        Decision { id: id as i64, net: self.net, group, until_ms: self.until_ms }
    }
}

/// Everything that the API holds.
fn full(rows: &[Row], groups: &mut Groups) -> Update {
    let held = rows.iter().enumerate().filter(|(_, row)| row.is_held);
    Update { full: true, new: held.map(|(id, row)| row.decision(id, groups)).collect(), deleted: vec![] }
}

/// Those who pass from time to time.
const SPARED: [&str; 4] = ["192.0.2.130/32", "192.0.9.0/24", "2001:db8::1/128", "2001:db8:1::/56"];

/// Does all that, by a backend that is made of a kernel; `spares` says whether it lets those pass who are to.
fn play<B: Backend>(
    acts: &[Act],
    make: impl Fn(Kernel) -> B,
    kernel: impl Fn(&mut B) -> &mut Kernel,
    spares: bool,
) -> Result<(), TestCaseError> {
    let spared = SPARED.map(net);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("held");
    let mut enforcer = Enforcer::new(make(Kernel::default()));
    let mut rows: Vec<Row> = Vec::new();
    let mut now = 0;
    let mut is_sparing = false;
    // Who starts asks for everything before anything else.
    let mut is_synced = true;
    for act in acts {
        kernel(enforcer.backend_mut()).turn(now);
        match act {
            Act::Come(decisions) => {
                let mut new = Vec::new();
                for &(at, is_ours, is_throttled, seconds) in decisions {
                    let row = Row {
                        net: net(NETS[at]),
                        origin: if is_ours { "crowdsec" } else { "CAPI" },
                        action: if is_throttled { Action::Throttle } else { Action::Deny },
                        until_ms: now + seconds * 1_000,
                        is_held: true,
                    };
                    new.push(row.decision(rows.len(), enforcer.groups_mut()));
                    rows.push(row);
                }
                if is_synced {
                    let _ = enforcer.update(delta(new, vec![]), now);
                }
            }
            Act::Go(index) => {
                if !rows.is_empty() {
                    let at = index.index(rows.len());
                    rows[at].is_held = false;
                    let gone = rows[at].decision(at, enforcer.groups_mut());
                    if is_synced {
                        let _ = enforcer.update(delta(vec![], vec![gone]), now);
                    }
                }
            }
            Act::Full => {
                let update = full(&rows, enforcer.groups_mut());
                let _ = enforcer.update(update, now);
                is_synced = true;
            }
            Act::Wait(millis) => {
                now += millis;
                kernel(enforcer.backend_mut()).turn(now);
                let _ = enforcer.tick(now);
            }
            Act::Restart => {
                let wall = 1_000_000_000 + now as i64;
                save(&path, enforcer.held(), enforcer.groups(), now, wall).expect("it is written");
                let left = kernel(enforcer.backend_mut()).clone();
                enforcer = Enforcer::new(make(left));
                let _ = enforcer.backend_mut().allow(if is_sparing { &spared } else { &[] });
                let update =
                    load(&path, enforcer.groups_mut(), &Rules::default(), now, wall).expect("it is read");
                let _ = enforcer.update(update.expect("it is there"), now);
                is_synced = false;
            }
            Act::Fail(calls) => kernel(enforcer.backend_mut()).failing = *calls,
            Act::Steal(index) => {
                let nets: Vec<Prefix> = kernel(enforcer.backend_mut()).elements.keys().copied().collect();
                if !nets.is_empty() {
                    kernel(enforcer.backend_mut()).elements.remove(index.get(&nets));
                }
            }
            Act::Flush => {
                let kernel = kernel(enforcer.backend_mut());
                kernel.is_there = false;
                kernel.elements.clear();
            }
            Act::Audit(most) => drop(enforcer.audit(*most, now)),
            Act::Spare(is_on) => {
                is_sparing = *is_on;
                let _ = enforcer.backend_mut().allow(if is_sparing { &spared } else { &[] });
            }
        }
    }
    kernel(enforcer.backend_mut()).failing = 0;
    // What is over is looked for once a second.
    now += 2_000;
    kernel(enforcer.backend_mut()).turn(now);
    if !is_synced {
        let update = full(&rows, enforcer.groups_mut());
        assert!(enforcer.update(update, now).is_ok());
    }
    for _ in 0..2 {
        assert!(enforcer.audit(usize::MAX, now).is_ok());
    }
    let mut counts = vec![[0; 2]; enforcer.held().counts().len()];
    for decision in enforcer.held().iter() {
        counts[usize::from(decision.group.0)][usize::from(decision.net.addr().is_ipv6())] += 1;
    }
    prop_assert_eq!(enforcer.held().counts(), counts);
    let kernel = kernel(enforcer.backend_mut()).clone();
    for addr in PROBES {
        let passes = spares && is_sparing && spared.iter().any(|net| net.contains(addr));
        let about = || rows.iter().filter(|row| row.is_held && row.net.contains(addr));
        // What ends at this moment is not repaired.
        if about().any(|row| row.until_ms.abs_diff(now) <= 2_000) {
            continue;
        }
        let expected = about().filter(|row| row.until_ms > now && !passes).map(|row| row.action).max();
        prop_assert_eq!(verdict(&kernel, addr), expected, "{}", addr);
    }
    Ok(())
}

proptest! {
    /// Whatever happens, the kernel does with every address what the decisions say, two rounds of the audit later.
    #[test]
    fn two_audits_later_what_is_decided_is_enforced(acts in acts()) {
        play(&acts, |kernel| kernel, |kernel| kernel, false)?;
    }
}
