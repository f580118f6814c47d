//! Brings a backend to what is held, and audits it.

mod room;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

use testudo_event::Prefix;

use crate::backend::{Backend, Change, Element, Failed, Found};
use crate::cover::{bits, cover};
use crate::group::{Action, GroupId, Groups};
use crate::held::{Decision, Held, Update};

/// An element whose time left differs by less from what it should be is as it should be: the clock of the kernel goes
/// by its own ticks, and asking takes time.
const TOLERANCE_MS: u64 = 2_000;

/// Decisions that are over are looked for at most this often, and for each hundred thousand that are held: the backend
/// ends its elements by itself.
const EXPIRE_EVERY_MS: u64 = 1_000;

/// Ends that differ by no more are the same end.
const ROUNDED_MS: u64 = 1_500;

/// After so long, what could not be done is tried again.
const RETRY_AFTER_MS: u64 = 10_000;

/// Problems that are told at once; of more, the number is.
const PROBLEMS_MOST: usize = 5;

/// What is enforced at all, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Types of decisions: `ban`, `throttle`.
    pub types: Vec<String>,
    /// Bits of an IPv6 address that count: 64 for the whole network of a customer.
    pub ipv6_bits: u8,
    /// IPv4 networks with fewer bits are refused.
    pub least_bits_v4: u8,
    /// The same for IPv6.
    pub least_bits_v6: u8,
    /// Whether anything is done about IPv6.
    pub ipv6: bool,
    /// Networks about which nothing is ever done, and why: decisions within them are refused.
    pub protected: Vec<(Prefix, String)>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            types: vec!["ban".to_owned(), "throttle".to_owned()],
            ipv6_bits: 128,
            least_bits_v4: 8,
            least_bits_v6: 16,
            ipv6: true,
            protected: Vec::new(),
        }
    }
}

impl Rules {
    /// Whether decisions of a type are enforced.
    pub(crate) fn takes(&self, kind: &str) -> bool {
        self.types.iter().any(|known| known == kind)
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Elements that were asked for in audits.
    pub audited: u64,
    /// Those that were not there, or not as they should be.
    pub drifted: u64,
    /// Those that were put back.
    pub repaired: u64,
    /// Times that everything was put into force anew, the first included.
    pub replaced: u64,
    /// Changes that the backend could not make.
    pub failed: u64,
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Elements that came, or have another end or group now.
    pub added: usize,
    /// Elements that went before their end.
    pub removed: usize,
    /// What was found to be wrong, in words, for the log; the first few.
    pub problems: Vec<String>,
    /// Everything was put into force anew.
    pub replaced: bool,
    /// An audit has come to the last element.
    pub round_ended: bool,
}

/// An element that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Installed {
    until_ms: u64,
    group: GroupId,
}

/// How much a decision weighs against another one about the same address: the stronger action wins, then the later end,
/// then whose it is ([`Group::weight`]).
type Weight = (Action, u64, u8, GroupId);

impl From<Weight> for Installed {
    fn from((_, until_ms, _, group): Weight) -> Self {
        Installed { until_ms, group }
    }
}

/// Keeps a backend as the decisions say.
#[derive(Debug)]
pub struct Enforcer<B> {
    backend: B,
    groups: Groups,
    held: Held,
    /// What the backend was brought to.
    installed: BTreeMap<Prefix, Installed>,
    /// What the backend holds is not known.
    is_lost: bool,
    /// Groups that the backend knows.
    known_groups: usize,
    /// Something is held, or it is known that nothing is: until then, what stands is left alone.
    is_begun: bool,
    /// What could not be done, to be tried again at some time.
    failed: Vec<Prefix>,
    /// Of which of these was told.
    told_failed: BTreeSet<Prefix>,
    /// What there is no room for, and how many of these were told of.
    left_out: BTreeSet<Prefix>,
    told_left_out: usize,
    /// Problems of steps that failed before they could be told.
    untold: Vec<String>,
    retry_at: u64,
    /// Addresses about which something changed that the backend was not told yet.
    touched: BTreeSet<Prefix>,
    /// Networks did.
    ranges_touched: bool,
    /// Everything may have.
    all_touched: bool,
    /// Where the audit has come to.
    audit_at: Option<Prefix>,
    /// Before this, nothing is over.
    next_end: u64,
    expired_at: u64,
    counts: Counts,
    /// Elements of the last round of the audit: those asked for, those that were right.
    round: (u64, u64),
    last_round: Option<(u64, u64)>,
}

impl<B: Backend> Enforcer<B> {
    /// Enforces by a backend of which nothing is known.
    pub fn new(backend: B) -> Self {
        Enforcer {
            backend,
            groups: Groups::default(),
            held: Held::default(),
            installed: BTreeMap::new(),
            is_lost: true,
            known_groups: 0,
            is_begun: false,
            failed: Vec::new(),
            told_failed: BTreeSet::new(),
            left_out: BTreeSet::new(),
            told_left_out: 0,
            untold: Vec::new(),
            retry_at: 0,
            touched: BTreeSet::new(),
            ranges_touched: false,
            all_touched: false,
            audit_at: None,
            next_end: 0,
            expired_at: 0,
            counts: Counts::default(),
            round: (0, 0),
            last_round: None,
        }
    }

    /// The decisions that are held.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The groups of decisions.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The same, to find the groups of decisions that come.
    pub fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// The backend.
    pub fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// The backend, with whatever is in force.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Elements that should be in force.
    pub fn expected(&self) -> usize {
        self.installed.len()
    }

    /// Of the elements that the last whole round of the audit asked for, the share that was as it should be; nothing
    /// before there was one.
    pub fn enforced(&self) -> Option<f64> {
        self.last_round.map(|(asked, right)| if asked == 0 { 1.0 } else { right as f64 / asked as f64 })
    }

    /// Takes what an API told, and enforces it.
    ///
    /// # Errors
    /// The backend did not do it. It is held all the same, and tried again with the next step.
    pub fn update(&mut self, update: Update, now_ms: u64) -> Result<Outcome, B::Error> {
        self.is_begun = true;
        self.hold(update, now_ms);
        self.reconcile(now_ms)
    }

    /// Ends what is over, and makes up for what could not be done before. To be called about once a second.
    ///
    /// # Errors
    /// The backend did not do it.
    pub fn tick(&mut self, now_ms: u64) -> Result<Outcome, B::Error> {
        let pause = EXPIRE_EVERY_MS * (1 + self.held.len() as u64 / 100_000);
        if now_ms >= self.next_end && now_ms >= self.expired_at.saturating_add(pause) {
            self.expire(now_ms);
        }
        self.reconcile(now_ms)
    }

    /// Asks the backend for what is really there: whether all around the elements is, and so many of these, on from
    /// where the last audit ended. What is wrong is repaired, and told.
    ///
    /// # Errors
    /// The backend cannot be asked, or did not repair it.
    pub fn audit(&mut self, most: usize, now_ms: u64) -> Result<Outcome, B::Error> {
        if !self.is_begun {
            // There is nothing to ask for, and nothing that another call would come to.
            return Ok(Outcome { round_ended: true, ..Outcome::default() });
        }
        if !self.is_lost && !self.backend.is_whole()? {
            self.is_lost = true;
            self.untold.push("what enforces was taken away or changed; it was put back whole".to_owned());
            return self.tick(now_ms);
        }
        let mut outcome = self.tick(now_ms)?;
        let most = most.max(self.backend.sample_least());
        let mut repairs: Vec<Change> = Vec::new();
        let mut renewed = 0;
        let mut asked = Vec::new();
        let from = self.audit_at.map_or(Bound::Unbounded, Bound::Excluded);
        asked.extend(self.installed.range((from, Bound::Unbounded)).map(|(&net, &at)| (net, at)).take(most));
        let is_end = asked.len() < most;
        // What ends now may be gone already.
        let left = |at: &Installed| at.until_ms.saturating_sub(now_ms);
        let last = asked.last().map(|&(net, _)| net);
        asked.retain(|(_, at)| left(at) > TOLERANCE_MS);
        let nets: Vec<Prefix> = asked.iter().map(|&(net, _)| net).collect();
        let all_found = match self.backend.find_each(&nets) {
            Ok(found) => found,
            Err(error) => {
                self.untold = outcome.problems;
                return Err(error);
            }
        };
        let longest = self.backend.longest_ms();
        let ends_by_itself = self.backend.ends_by_itself();
        for (&(net, installed), found) in asked.iter().zip(all_found) {
            let left = left(&installed);
            self.counts.audited += 1;
            self.round.0 += 1;
            let element = Element { net, group: installed.group, left_ms: left.min(longest) };
            match drift(found, installed, left, longest, ends_by_itself) {
                State::Right => self.round.1 += 1,
                State::Running => {
                    self.round.1 += 1;
                    renewed += 1;
                    repairs.push(Change::Replace(element));
                }
                State::Wrong(problem) => {
                    self.counts.drifted += 1;
                    outcome.problems.push(format!("{}/{} {problem}", net.addr(), net.bits()));
                    repairs.push(if found.is_some() {
                        Change::Replace(element)
                    } else {
                        Change::Add(element)
                    });
                }
            }
        }
        if !repairs.is_empty() {
            let failed = match self.backend.apply(self.groups.all(), &repairs) {
                Ok(failed) => failed,
                Err(error) => {
                    self.untold = outcome.problems;
                    self.is_lost = true;
                    return Err(error);
                }
            };
            self.counts.repaired += (repairs.len() - renewed).saturating_sub(failed.len()) as u64;
            for Failed { net, .. } in &failed {
                self.installed.remove(net);
            }
            self.put_back(&failed, now_ms, &mut outcome);
        }
        self.audit_at = last.filter(|_| !is_end);
        if is_end {
            self.last_round = Some(std::mem::take(&mut self.round));
            outcome.round_ended = true;
        }
        shorten(&mut outcome.problems);
        Ok(outcome)
    }

    /// The next audit begins a new round.
    pub fn begin_round(&mut self) {
        self.audit_at = None;
        self.round = (0, 0);
    }

    fn hold(&mut self, update: Update, now_ms: u64) {
        let Update { full, mut new, deleted } = update;
        new.retain(|decision| decision.until_ms > now_ms);
        let ends = new.iter().map(|decision| decision.until_ms);
        self.next_end = ends.min().unwrap_or(u64::MAX).min(self.next_end);
        if full {
            // Nothing is there yet: all at once is quicker than one after the other.
            self.is_lost |= self.installed.is_empty();
            self.all_touched = true;
            self.held.take_all(new);
            return;
        }
        for (net, id) in deleted {
            if self.held.remove(net, id) {
                self.touch(net);
            }
        }
        for decision in new {
            self.held.insert(decision);
            self.touch(decision.net);
        }
    }

    fn touch(&mut self, net: Prefix) {
        if self.is_lost {
            return;
        }
        if is_host(net) {
            self.touched.insert(net);
        } else {
            self.ranges_touched = true;
        }
    }

    fn expire(&mut self, now_ms: u64) {
        self.expired_at = now_ms;
        let mut over = Vec::new();
        self.held.expire(now_ms, |net| over.push(net));
        over.into_iter().for_each(|net| self.touch(net));
        self.next_end = self.held.next_end().unwrap_or(u64::MAX);
    }

    fn reconcile(&mut self, now_ms: u64) -> Result<Outcome, B::Error> {
        if !self.is_begun {
            return Ok(Outcome::default());
        }
        if self.is_lost || self.known_groups != self.groups.all().len() {
            return self.replace(now_ms);
        }
        let is_retry = now_ms >= self.retry_at;
        if is_retry {
            std::mem::take(&mut self.failed).into_iter().for_each(|net| self.touch(net));
            self.touch_left_out(now_ms);
        }
        let mut changes = Vec::new();
        let rule = StepRule {
            now_ms,
            longest_ms: self.backend.longest_ms(),
            ends_by_itself: self.backend.ends_by_itself(),
        };
        if self.all_touched {
            let installed = self.installed.iter().filter(|(net, _)| is_host(**net));
            both(self.hosts(now_ms), installed, |net, wanted, installed| {
                rule.step(net, wanted, installed, &mut changes);
            });
            let is_wanted = |net: Prefix| heaviest(self.held.about(net), &self.groups, now_ms).is_some();
            self.left_out.retain(|net| !is_host(*net) || is_wanted(*net));
        } else {
            for &net in &self.touched {
                let wanted = heaviest(self.held.about(net), &self.groups, now_ms);
                if wanted.is_none() {
                    self.left_out.remove(&net);
                }
                rule.step(net, wanted, self.installed.get(&net).copied(), &mut changes);
            }
        }
        if self.ranges_touched || self.all_touched {
            let mut come = Vec::new();
            let ranges = self.ranges(now_ms);
            self.left_out
                .retain(|net| is_host(*net) || ranges.binary_search_by_key(net, |(net, _)| *net).is_ok());
            let installed = self.installed.iter().filter(|(net, _)| !is_host(**net));
            both(ranges, installed, |net, wanted, installed| {
                let changes = if wanted.is_some() { &mut come } else { &mut changes };
                rule.step(net, wanted, installed, changes);
            });
            // What goes makes room for what comes.
            changes.append(&mut come);
        }
        let mut outcome = Outcome::default();
        if !changes.is_empty() {
            let real: Vec<Change> = changes.iter().filter_map(|step| step.change).collect();
            let failed = if real.is_empty() {
                Vec::new()
            } else {
                self.backend.apply(self.groups.all(), &real).inspect_err(|_| self.is_lost = true)?
            };
            let failing: HashSet<Prefix> = failed.iter().map(|failed| failed.net).collect();
            let full: HashSet<Prefix> =
                failed.iter().filter(|failed| failed.is_full).map(|failed| failed.net).collect();
            let mut unplaced = Vec::new();
            for Step { net, now, change } in changes {
                let is_failed = failing.contains(&net);
                unplaced.extend(now.filter(|_| full.contains(&net)).map(|at| (net, at)));
                if !is_failed {
                    self.left_out.remove(&net);
                    self.told_failed.remove(&net);
                }
                match (change, now) {
                    // What could not be removed is still there; what could not come is not.
                    (Some(Change::Remove(_)), _) if is_failed => continue,
                    (_, Some(installed)) if !is_failed => {
                        self.installed.insert(net, installed);
                    }
                    _ => {
                        self.installed.remove(&net);
                    }
                }
                match change {
                    Some(_) if is_failed => {}
                    Some(Change::Remove(_)) => outcome.removed += 1,
                    Some(_) => outcome.added += 1,
                    None => {}
                }
            }
            self.put_back(&failed, now_ms, &mut outcome);
            if !unplaced.is_empty()
                && let Err(error) = self.make_room(unplaced, now_ms, &mut outcome)
            {
                self.untold = outcome.problems;
                return Err(error);
            }
        }
        if is_retry && !self.told_failed.is_empty() {
            // Some were not wanted any more.
            let failing: BTreeSet<Prefix> = self.failed.iter().copied().collect();
            self.told_failed.retain(|net| failing.contains(net));
        }
        self.touched.clear();
        self.ranges_touched = false;
        self.all_touched = false;
        self.tell(&mut outcome);
        Ok(outcome)
    }

    /// Tells what could not be told before.
    fn tell(&mut self, outcome: &mut Outcome) {
        if self.left_out.is_empty() {
            self.told_left_out = 0;
        }
        outcome.problems.splice(0..0, std::mem::take(&mut self.untold));
        shorten(&mut outcome.problems);
    }

    /// What could not be done is told, and tried again after a while.
    fn put_back(&mut self, failed: &[Failed], now_ms: u64, outcome: &mut Outcome) {
        for Failed { net, problem, is_full } in failed {
            if *is_full {
                self.counts.failed += u64::from(self.left_out.insert(*net));
                continue;
            }
            self.counts.failed += 1;
            self.failed.push(*net);
            // It is tried again and again, and told once.
            if self.told_failed.insert(*net) {
                outcome.problems.push(format!(
                    "{}/{} could not be changed: {problem}",
                    net.addr(),
                    net.bits()
                ));
            }
        }
        if let Some(full) = failed.iter().find(|failed| failed.is_full) {
            self.tell_left_out(&full.problem, outcome);
        }
        if !failed.is_empty() {
            self.retry_at = now_ms.saturating_add(RETRY_AFTER_MS);
        }
    }

    fn replace(&mut self, now_ms: u64) -> Result<Outcome, B::Error> {
        let ranges = self.ranges(now_ms).into_iter();
        let wanted: BTreeMap<Prefix, Installed> = ranges.chain(self.hosts(now_ms)).collect();
        let longest = self.backend.longest_ms();
        let mut elements: Vec<Element> =
            wanted.iter().map(|(&net, at)| element(net, *at, now_ms, longest)).collect();
        if self.backend.is_bounded() {
            self.sort_by_weight(&mut elements);
        }
        self.left_out.clear();
        let failed = self.backend.replace(self.groups.all(), &elements)?;
        self.installed = wanted;
        self.is_lost = false;
        self.known_groups = self.groups.all().len();
        self.touched.clear();
        self.ranges_touched = false;
        self.all_touched = false;
        self.audit_at = None;
        self.counts.replaced += 1;
        let mut outcome = Outcome { added: self.installed.len(), replaced: true, ..Outcome::default() };
        for failed in &failed {
            self.installed.remove(&failed.net);
        }
        self.put_back(&failed, now_ms, &mut outcome);
        self.tell(&mut outcome);
        Ok(outcome)
    }

    /// The addresses that are held, in their order.
    fn hosts(&self, now_ms: u64) -> impl Iterator<Item = (Prefix, Installed)> {
        let mut decisions = self.held.iter().filter(|decision| is_host(decision.net)).peekable();
        std::iter::from_fn(move || {
            loop {
                let net = decisions.peek()?.net;
                let about = std::iter::from_fn(|| decisions.next_if(|decision| decision.net == net));
                if let Some(heaviest) = heaviest(about, &self.groups, now_ms) {
                    return Some((net, heaviest));
                }
            }
        })
    }

    /// The networks that are held, as networks that do not overlap, in their order.
    fn ranges(&self, now_ms: u64) -> Vec<(Prefix, Installed)> {
        let mut families: [Vec<(Prefix, Weight)>; 2] = Default::default();
        let live = |decision: &Decision| !is_host(decision.net) && decision.until_ms > now_ms;
        for decision in self.held.iter().filter(live) {
            let at = usize::from(decision.net.addr().is_ipv6());
            families[at].push((decision.net, weight(&decision, &self.groups)));
        }
        let all = families.iter().flat_map(|networks| cover(networks));
        let mut all: Vec<_> = all.map(|(net, weight)| (net, weight.into())).collect();
        all.sort_unstable_by_key(|(net, _)| *net);
        all
    }
}

/// What there is of two sorted lists, network by network.
fn both<'i>(
    wanted: impl IntoIterator<Item = (Prefix, Installed)>,
    installed: impl IntoIterator<Item = (&'i Prefix, &'i Installed)>,
    mut each: impl FnMut(Prefix, Option<Installed>, Option<Installed>),
) {
    let mut wanted = wanted.into_iter().peekable();
    let mut installed = installed.into_iter().map(|(net, at)| (*net, *at)).peekable();
    while let Some(net) = wanted.peek().into_iter().chain(installed.peek()).map(|(net, _)| *net).min() {
        let is_it = |(other, _): &(Prefix, Installed)| *other == net;
        let at = |found: Option<(Prefix, Installed)>| found.map(|(_, at)| at);
        each(net, at(wanted.next_if(is_it)), at(installed.next_if(is_it)));
    }
}

/// What becomes of a network.
struct Step {
    net: Prefix,
    /// What is in force then.
    now: Option<Installed>,
    /// What is done; nothing for what has ended by itself.
    change: Option<Change>,
}

/// What it takes to know what becomes of a network.
#[derive(Clone, Copy)]
struct StepRule {
    now_ms: u64,
    longest_ms: u64,
    ends_by_itself: bool,
}

impl StepRule {
    fn step(self, net: Prefix, wanted: Option<Installed>, installed: Option<Installed>, out: &mut Vec<Step>) {
        if is_same(wanted, installed) {
            return;
        }
        let element = |at| element(net, at, self.now_ms, self.longest_ms);
        let change = match (wanted, installed) {
            (Some(at), None) => Some(Change::Add(element(at))),
            (Some(at), Some(_)) => Some(Change::Replace(element(at))),
            (None, Some(at)) if at.until_ms > self.now_ms || !self.ends_by_itself => {
                Some(Change::Remove(net))
            }
            (None, _) => None,
        };
        out.push(Step { net, now: wanted, change });
    }
}

/// Whether what is wanted is what is there. An API tells whole seconds, and each time others.
fn is_same(wanted: Option<Installed>, installed: Option<Installed>) -> bool {
    match (wanted, installed) {
        (Some(wanted), Some(installed)) => {
            wanted.group == installed.group && wanted.until_ms.abs_diff(installed.until_ms) <= ROUNDED_MS
        }
        (None, None) => true,
        _ => false,
    }
}

fn element(net: Prefix, at: Installed, now_ms: u64, longest_ms: u64) -> Element {
    Element { net, group: at.group, left_ms: at.until_ms.saturating_sub(now_ms).clamp(1, longest_ms) }
}

/// What the decisions about one address come to.
fn heaviest(about: impl Iterator<Item = Decision>, groups: &Groups, now_ms: u64) -> Option<Installed> {
    let live = about.filter(|decision| decision.until_ms > now_ms);
    live.map(|decision| weight(&decision, groups)).max().map(Installed::from)
}

fn weight(decision: &Decision, groups: &Groups) -> Weight {
    let (action, origin) = groups.get(decision.group).weight();
    (action, decision.until_ms, origin, decision.group)
}

/// How an element is found.
enum State {
    Right,
    /// It has the time that it could have, and needs more.
    Running,
    /// What is wrong with it.
    Wrong(String),
}

fn drift(
    found: Option<Found>,
    installed: Installed,
    left_ms: u64,
    longest_ms: u64,
    ends_by_itself: bool,
) -> State {
    let Some(found) = found else { return State::Wrong("was not in force".to_owned()) };
    if found.group.is_some_and(|group| group != installed.group) {
        return State::Wrong("was in force for another reason".to_owned());
    }
    let Some(found_ms) = found.left_ms else {
        if ends_by_itself {
            return State::Wrong("would never have ended".to_owned());
        }
        return State::Right;
    };
    // It may have been put when more was left than it can have.
    if left_ms > longest_ms / 2 && longest_ms != u64::MAX {
        let is_short =
            found_ms < longest_ms / 2 || (left_ms <= longest_ms && found_ms + TOLERANCE_MS < left_ms);
        return if is_short { State::Running } else { State::Right };
    }
    if found_ms.abs_diff(left_ms) > TOLERANCE_MS {
        let (found, left) = (found_ms / 1_000, left_ms / 1_000);
        return State::Wrong(format!("would have ended after {found} s, not {left} s"));
    }
    State::Right
}

fn is_host(net: Prefix) -> bool {
    net.bits() == bits(net.addr())
}

fn shorten(problems: &mut Vec<String>) {
    let more = problems.len().saturating_sub(PROBLEMS_MOST);
    if more > 0 {
        problems.truncate(PROBLEMS_MOST);
        problems.push(format!("and {more} more"));
    }
}
