//! The lists of an account, brought to what they should hold: one request at a time, differences only.
//!
//! Items are added and removed in bulk operations, which the API carries out later; there is one at a time for the whole
//! account. What a list holds is known from what was sent, and read again only where that is in doubt: after an operation
//! that failed or got lost, and for an audit. Items that carry no mark of ours are left alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testudo_event::{Prefix, text::url_part};

use crate::api::{Answer, Api, Method, Request, Transport};
use crate::budget::Kind;
use crate::decision::{Danger, net_of, net_text, weight};
use crate::failure::Failure;
use crate::plan::Chosen;

/// With this begin the descriptions of our lists and the comments of our items.
pub(crate) const MARK: &str = "testudo";

/// Items of one bulk operation.
const CHUNK_MOST: usize = 1_000;

/// Items of a page, the most that the API gives.
const PAGE: usize = 500;

/// Pages of one list: as many as the largest list can have.
const PAGES_MOST: usize = 20_000;

/// Before an operation is asked about first, and most; milliseconds.
const POLL_LEAST: u64 = 1_000;
const POLL_MOST: u64 = 30_000;

/// An operation that is not over by then is not waited for.
const OPERATION_MOST: u64 = 15 * 60_000;

/// After a change got lost, what is on its way is over by then; milliseconds.
const LOST_MOST: u64 = 60_000;

/// Pauses after failures: the first, and the longest.
const PAUSE_LEAST: u64 = 1_000;
const PAUSE_MOST: u64 = 5 * 60_000;

/// A single item that fails so often in a row is what the API does not take.
const STRIKES_MOST: u32 = 3;

/// Items that the API does not take are tried again after this.
const REFUSED_FOR: u64 = 3_600_000;

/// A list that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlan {
    /// Its name, by which rules find it.
    pub name: String,
    /// The most items that it may hold.
    pub capacity: usize,
}

/// What is known of a list. It outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListState {
    /// Its identity, once it is there.
    pub id: Option<String>,
    /// Our items, with their identities as far as they were told.
    pub items: BTreeMap<Prefix, Option<String>>,
    /// Items of others in our list.
    pub foreign: BTreeSet<Prefix>,
    /// What is being changed.
    pub pending: Option<Pending>,
    /// What it holds has to be read.
    pub is_unsure: bool,
    /// Something may still be on its way that nobody tells about: it has to be read once more then, milliseconds since 1970.
    pub look_again: Option<u64>,
}

/// A change on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The operation; nothing as long as the API has not told.
    pub operation: Option<String>,
    /// Whether these are added, or removed.
    pub is_addition: bool,
    /// Which.
    pub nets: Vec<Prefix>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done; there may be more.
    Done,
    /// Write the state to the disk, then go on.
    Keep,
    /// Nothing before this: milliseconds since 1970.
    Wait(u64),
    /// Everything is as it should be.
    Idle,
}

/// What came of it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListCounts {
    /// Items that were added.
    pub added: u64,
    /// Items that were removed.
    pub removed: u64,
    /// Bulk operations and requests that failed.
    pub failed: u64,
    /// Items that were not as they should be when they were looked at.
    pub drifted: u64,
    /// Items that the API does not take.
    pub refused: u64,
}

/// A list that is being read.
#[derive(Debug, Default)]
struct Reading {
    at: usize,
    cursor: Option<String>,
    pages: usize,
    items: BTreeMap<Prefix, Option<String>>,
    foreign: BTreeSet<Prefix>,
}

/// The lists of an account.
#[derive(Debug)]
pub struct Lists {
    account: String,
    plans: Vec<ListPlan>,
    states: Vec<ListState>,
    wanted: Vec<BTreeMap<Prefix, (Danger, u64)>>,
    /// Lists of the same name that are not ours.
    blocked: Vec<bool>,
    /// What is pending was put there by this process, and not sent yet.
    is_armed: bool,
    /// A change whose answer was lost may still be on its way.
    is_lost: bool,
    is_looked_up: bool,
    /// What is read now is compared with what should be there.
    is_audit: bool,
    reading: Option<Reading>,
    chunk: usize,
    refused: BTreeMap<(usize, Prefix), u64>,
    /// How often in a row the item that is tried alone has failed.
    strikes: u32,
    failures: u32,
    polls: u32,
    sent_at: u64,
    not_before: u64,
    counts: ListCounts,
    told: Vec<String>,
}

impl Lists {
    /// Begins with what an earlier run knew, by the names of lists.
    pub fn new(account: String, plans: Vec<ListPlan>, known: &BTreeMap<String, ListState>) -> Self {
        let states = plans.iter().map(|plan| known.get(&plan.name).cloned().unwrap_or_default()).collect();
        Lists {
            account,
            states,
            wanted: vec![BTreeMap::new(); plans.len()],
            blocked: vec![false; plans.len()],
            plans,
            is_armed: false,
            is_lost: false,
            is_looked_up: false,
            is_audit: false,
            reading: None,
            chunk: CHUNK_MOST,
            refused: BTreeMap::new(),
            strikes: 0,
            failures: 0,
            polls: 0,
            sent_at: 0,
            not_before: 0,
            counts: ListCounts::default(),
            told: Vec::new(),
        }
    }

    /// What is known, for the next run.
    pub fn states(&self) -> BTreeMap<String, ListState> {
        self.plans.iter().zip(&self.states).map(|(plan, state)| (plan.name.clone(), state.clone())).collect()
    }

    /// What came of it so far.
    pub fn counts(&self) -> ListCounts {
        self.counts
    }

    /// What people should know; told once.
    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// It is known which lists are there.
    pub fn is_known(&self) -> bool {
        self.is_looked_up
    }

    /// The list can be referred to: it is there, and ours.
    pub fn is_there(&self, at: usize) -> bool {
        self.is_looked_up && !self.blocked[at] && self.states[at].id.is_some()
    }

    /// What a list should hold from now on.
    pub fn want(&mut self, at: usize, chosen: &Chosen) {
        self.wanted[at].clone_from(&chosen.nets);
    }

    /// Whether a network is among our items.
    pub fn holds(&self, at: usize, net: Prefix) -> bool {
        self.states[at].items.contains_key(&net)
    }

    /// How many items of ours, and of others, a list holds.
    pub fn sizes(&self, at: usize) -> (usize, usize) {
        (self.states[at].items.len(), self.states[at].foreign.len())
    }

    /// Room for our items: what others have put into the list takes some.
    pub fn room(&self, at: usize) -> usize {
        self.plans[at].capacity.saturating_sub(self.states[at].foreign.len())
    }

    /// Has everything read and compared.
    pub fn audit(&mut self) {
        self.is_audit = true;
        self.is_looked_up = false;
        for state in &mut self.states {
            state.is_unsure = true;
        }
    }

    /// Does what comes next.
    ///
    /// # Errors
    /// It came to nothing, and is done again later.
    pub fn step<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        if now < self.not_before {
            return Ok(Step::Wait(self.not_before));
        }
        let done = self.work(api, now);
        match &done {
            Ok(_) => {}
            Err(Failure::Spent { free_at, .. }) => self.not_before = (*free_at).max(now + PAUSE_LEAST),
            Err(failure) => {
                self.counts.failed += 1;
                let pause = (PAUSE_LEAST << self.failures.min(16)).min(PAUSE_MOST);
                self.failures += 1;
                let asked = match failure {
                    Failure::Busy { seconds: Some(seconds), .. } => seconds * 1_000,
                    _ => 0,
                };
                self.not_before = now + pause.max(asked);
            }
        }
        done
    }

    fn work<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        if let Some(at) = self.states.iter().position(|state| state.pending.is_some()) {
            return self.pending(at, api, now);
        }
        if !self.is_looked_up {
            return self.look_up(api, now);
        }
        let unsure = |at: &usize| self.states[*at].is_unsure && !self.blocked[*at];
        if let Some(at) = (0..self.plans.len()).find(unsure) {
            return self.read(at, api, now);
        }
        self.is_audit = false;
        self.refused.retain(|_, until| *until > now);
        for state in &mut self.states {
            if state.look_again.is_some_and(|at| at <= now) {
                state.look_again = None;
                state.is_unsure = true;
                return Ok(Step::Done);
            }
        }
        for at in 0..self.plans.len() {
            if let Some(step) = self.change(at, api, now)? {
                return Ok(step);
            }
        }
        let again = self.states.iter().filter_map(|state| state.look_again);
        Ok(again.chain(self.refused.values().copied()).min().map_or(Step::Idle, Step::Wait))
    }

    fn lists_path(&self) -> String {
        format!("accounts/{}/rules/lists", self.account)
    }

    fn items_path(&self, at: usize) -> String {
        format!("{}/{}/items", self.lists_path(), self.states[at].id.as_deref().unwrap_or_default())
    }

    /// Finds our lists, and makes those that are missing.
    fn look_up<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        let request = Request { method: Method::Get, path: self.lists_path(), body: None };
        let answer = api.ask(&request, &[], now)?;
        let listed = answer.result.as_array().ok_or_else(|| unreadable("it has no lists"))?;
        let text = |list: &Value, key: &str| list.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let mut missing = Vec::new();
        for (at, plan) in self.plans.iter().enumerate() {
            let state = &mut self.states[at];
            let Some(found) = listed.iter().find(|list| text(list, "name") == plan.name) else {
                *state = ListState::default();
                missing.push(at);
                continue;
            };
            let id = text(found, "id");
            let is_ours = state.id.as_ref() == Some(&id) || text(found, "description").starts_with(MARK);
            let is_fit = text(found, "kind") == "ip" && is_word(&id);
            if !is_ours || !is_fit {
                if !std::mem::replace(&mut self.blocked[at], true) {
                    let name = &plan.name;
                    self.told.push(format!(
                        "there is a list {name} already that is not ours; it is left alone: name another one in `lists`"
                    ));
                }
                continue;
            }
            self.blocked[at] = false;
            if state.id.as_ref() != Some(&id) {
                *state = ListState { id: Some(id), is_unsure: true, ..ListState::default() };
            }
        }
        for at in missing {
            let name = &self.plans[at].name;
            let description = format!("{MARK}: kept by Testudo; changes by hand are undone");
            let body = json!({ "name": name, "kind": "ip", "description": description });
            let request = Request { method: Method::Post, path: self.lists_path(), body: Some(body) };
            let answer = api.ask(&request, &[], now)?;
            let id = text(&answer.result, "id");
            if !is_word(&id) {
                return Err(unreadable("the new list has no identity"));
            }
            self.told.push(format!("the list {name} is made"));
            self.states[at].id = Some(id);
            self.blocked[at] = false;
        }
        self.is_looked_up = true;
        self.failures = 0;
        Ok(Step::Keep)
    }

    /// Reads a page.
    fn read<T: Transport>(&mut self, at: usize, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        let mut reading = match self.reading.take() {
            Some(reading) if reading.at == at => reading,
            _ => Reading { at, ..Reading::default() },
        };
        let cursor = reading.cursor.as_deref().map(|cursor| format!("&cursor={}", url_part(cursor)));
        let path = format!("{}?per_page={PAGE}{}", self.items_path(at), cursor.unwrap_or_default());
        let answer = match api.ask(
            &Request { method: Method::Get, path, body: None },
            &[(Kind::ListRequests, 1)],
            now,
        ) {
            Ok(answer) => answer,
            Err(failure) => {
                if failure.is_missing() {
                    self.is_looked_up = false;
                } else if matches!(failure, Failure::Spent { .. } | Failure::Busy { .. }) {
                    self.reading = Some(reading);
                }
                return Err(failure);
            }
        };
        for (net, id, is_ours) in items(&answer)? {
            if is_ours {
                reading.items.insert(net, Some(id));
            } else {
                reading.foreign.insert(net);
            }
        }
        reading.pages += 1;
        self.failures = 0;
        if let Some(next) = answer.cursor {
            if reading.cursor.as_ref() == Some(&next) || reading.pages >= PAGES_MOST {
                return Err(unreadable("its pages have no end"));
            }
            reading.cursor = Some(next);
            self.reading = Some(reading);
            return Ok(Step::Done);
        }
        let state = &mut self.states[at];
        if self.is_audit {
            let gone = state.items.keys().filter(|net| !reading.items.contains_key(net)).count();
            let extra = reading.items.keys().filter(|net| !state.items.contains_key(net)).count();
            if gone + extra > 0 {
                self.counts.drifted += (gone + extra) as u64;
                let name = &self.plans[at].name;
                self.told.push(format!("in the list {name}, {gone} items were missing and {extra} too many"));
            }
        }
        state.items = reading.items;
        state.foreign = reading.foreign;
        state.is_unsure = false;
        Ok(Step::Keep)
    }

    /// Chooses what is changed next.
    fn change<T: Transport>(&mut self, at: usize, api: &Api<T>, now: u64) -> Result<Option<Step>, Failure> {
        if self.blocked[at] {
            return Ok(None);
        }
        let (state, wanted) = (&self.states[at], &self.wanted[at]);
        let is_refused = |net: &Prefix| self.refused.contains_key(&(at, *net));
        let mut add: Vec<Prefix> = wanted
            .keys()
            .filter(|net| !state.items.contains_key(net) && !state.foreign.contains(net) && !is_refused(net))
            .copied()
            .collect();
        let remove: Vec<Prefix> =
            state.items.keys().filter(|net| !wanted.contains_key(net) && !is_refused(net)).copied().collect();
        let room = self.room(at).saturating_sub(state.items.len());
        let is_addition = !add.is_empty() && (add.len() <= room || remove.is_empty());
        if is_addition {
            add.sort_by_key(|net| wanted.get(net).map(|(danger, until)| (weight(*danger, *until), *net)));
            add.truncate(self.chunk.min(room));
            if add.is_empty() {
                return Ok(None);
            }
            return Ok(Some(self.arm(at, true, add)));
        }
        if remove.is_empty() {
            return Ok(None);
        }
        let batch: Vec<Prefix> = remove.into_iter().take(self.chunk).collect();
        let unknown: Vec<Prefix> =
            batch.iter().filter(|net| state.items.get(net).is_some_and(Option::is_none)).copied().collect();
        let Some(first) = unknown.first().copied() else {
            return Ok(Some(self.arm(at, false, batch)));
        };
        // The API told no identities when these were added: they are looked for one by one, or all are read.
        let pages = (state.items.len() + state.foreign.len()).div_ceil(PAGE).max(1);
        if unknown.len() > pages {
            self.states[at].is_unsure = true;
            return Ok(Some(Step::Done));
        }
        let search = url_part(&net_text(first));
        let path = format!("{}?per_page={PAGE}&search={search}", self.items_path(at));
        let request = Request { method: Method::Get, path, body: None };
        let answer = api.ask(&request, &[(Kind::ListRequests, 1)], now)?;
        let found = items(&answer)?.into_iter().find(|(net, ..)| *net == first);
        let state = &mut self.states[at];
        match found {
            Some((net, id, true)) => {
                state.items.insert(net, Some(id));
            }
            // Somebody has taken it over.
            Some((net, _, false)) => {
                state.items.remove(&net);
                state.foreign.insert(net);
            }
            None if answer.cursor.is_some() => state.is_unsure = true,
            None => {
                state.items.remove(&first);
                self.counts.drifted += 1;
            }
        }
        Ok(Some(Step::Done))
    }

    /// Notes what is about to be sent: after a crash it is known that it may have been.
    fn arm(&mut self, at: usize, is_addition: bool, nets: Vec<Prefix>) -> Step {
        self.states[at].pending = Some(Pending { operation: None, is_addition, nets });
        self.is_armed = true;
        Step::Keep
    }

    fn pending<T: Transport>(&mut self, at: usize, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        let Some(pending) = self.states[at].pending.clone() else { return Ok(Step::Done) };
        match &pending.operation {
            Some(operation) => self.poll(at, operation, &pending, api, now),
            None if self.is_armed => self.send(at, &pending, api, now),
            None => {
                self.is_lost = true;
                self.doubt(at, now);
                Ok(Step::Done)
            }
        }
    }

    /// Nobody knows what the list holds now.
    fn doubt(&mut self, at: usize, now: u64) {
        let state = &mut self.states[at];
        state.pending = None;
        state.is_unsure = true;
        state.look_again = Some(now + LOST_MOST);
        self.is_armed = false;
    }

    fn send<T: Transport>(
        &mut self,
        at: usize,
        pending: &Pending,
        api: &Api<T>,
        now: u64,
    ) -> Result<Step, Failure> {
        let (method, body) = if pending.is_addition {
            let item = |net: &Prefix| json!({ "ip": net_text(*net), "comment": MARK });
            (Method::Post, Value::Array(pending.nets.iter().map(item).collect()))
        } else {
            let ids = pending.nets.iter().filter_map(|net| self.states[at].items.get(net)?.as_ref());
            (Method::Delete, json!({ "items": ids.map(|id| json!({ "id": id })).collect::<Vec<_>>() }))
        };
        let request = Request { method, path: self.items_path(at), body: Some(body) };
        let costs = [(Kind::ListRequests, 1), (Kind::ListItems, pending.nets.len() as u64)];
        let answer = match api.ask(&request, &costs, now) {
            Ok(answer) => answer,
            // It stays armed.
            Err(failure @ Failure::Spent { .. }) => return Err(failure),
            Err(failure) => {
                self.is_armed = false;
                self.states[at].pending = None;
                let is_theirs = matches!(failure, Failure::Busy { .. }) && !self.is_lost;
                self.is_lost |= failure.is_unsure();
                if failure.is_unsure() || matches!(failure, Failure::Busy { .. }) && !is_theirs {
                    self.doubt(at, now);
                } else if failure.is_missing() {
                    self.is_looked_up = false;
                } else if matches!(failure, Failure::Refused { .. }) && !failure.is_permission() {
                    self.shrink(at, &pending.nets, now);
                }
                return Err(failure);
            }
        };
        self.is_armed = false;
        self.is_lost = false;
        let operation = answer.result.get("operation_id").and_then(Value::as_str).unwrap_or_default();
        if !is_word(operation) {
            self.doubt(at, now);
            return Err(unreadable("it has no operation"));
        }
        self.states[at].pending = Some(Pending { operation: Some(operation.to_owned()), ..pending.clone() });
        self.polls = 0;
        self.sent_at = now;
        self.not_before = now + POLL_LEAST;
        Ok(Step::Keep)
    }

    fn poll<T: Transport>(
        &mut self,
        at: usize,
        operation: &str,
        pending: &Pending,
        api: &Api<T>,
        now: u64,
    ) -> Result<Step, Failure> {
        let path = format!("{}/bulk_operations/{operation}", self.lists_path());
        let request = Request { method: Method::Get, path, body: None };
        let answer = match api.ask(&request, &[], now) {
            Err(failure) if failure.is_missing() => {
                self.doubt(at, now);
                return Err(failure);
            }
            answer => answer?,
        };
        match answer.result.get("status").and_then(Value::as_str).unwrap_or_default() {
            "completed" => {
                let state = &mut self.states[at];
                state.pending = None;
                for net in &pending.nets {
                    if pending.is_addition {
                        state.items.insert(*net, None);
                    } else {
                        state.items.remove(net);
                    }
                }
                let count = pending.nets.len() as u64;
                if pending.is_addition {
                    self.counts.added += count;
                } else {
                    self.counts.removed += count;
                }
                self.chunk = (self.chunk * 2).min(CHUNK_MOST);
                self.strikes = 0;
                self.failures = 0;
                Ok(Step::Keep)
            }
            "failed" => {
                let error =
                    answer.result.get("error").and_then(Value::as_str).unwrap_or("no reason is given");
                let name = &self.plans[at].name;
                self.told.push(format!("a change of the list {name} failed: {error}"));
                self.doubt(at, now);
                self.shrink(at, &pending.nets, now);
                self.counts.failed += 1;
                self.not_before = now + (PAUSE_LEAST << self.failures.min(16)).min(PAUSE_MOST);
                self.failures += 1;
                Ok(Step::Keep)
            }
            "pending" | "running" => {
                // After a restart it is not known since when.
                if self.sent_at == 0 {
                    self.sent_at = now;
                }
                if now.saturating_sub(self.sent_at) > OPERATION_MOST {
                    self.doubt(at, now);
                    return Err(unreadable("a bulk operation does not end"));
                }
                self.polls += 1;
                self.not_before = now + (POLL_LEAST << self.polls.min(16)).min(POLL_MOST);
                Ok(Step::Wait(self.not_before))
            }
            other => {
                let problem = format!("an operation is {other:?}");
                self.doubt(at, now);
                Err(unreadable(&problem))
            }
        }
    }

    /// After a refusal, fewer at once; a single one that is refused again and again is left out for a while.
    fn shrink(&mut self, at: usize, nets: &[Prefix], now: u64) {
        self.strikes += 1;
        if let [net] = nets
            && self.strikes >= STRIKES_MOST
        {
            self.strikes = 0;
            self.refused.insert((at, *net), now + REFUSED_FOR);
            self.counts.refused += 1;
            self.told.push(format!("{} is not taken, and left out for an hour", net_text(*net)));
        }
        if nets.len() > 1 {
            self.strikes = 0;
        }
        self.chunk = (nets.len() / 2).max(1);
    }

    /// Deletes our lists; the rules that refer to them must be gone. Says how many.
    ///
    /// # Errors
    /// One is not deleted; those before it are.
    pub fn take_away<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<usize, Failure> {
        let request = Request { method: Method::Get, path: self.lists_path(), body: None };
        let answer = api.ask(&request, &[], now)?;
        let listed = answer.result.as_array().ok_or_else(|| unreadable("it has no lists"))?;
        let mut count = 0;
        for (plan, state) in self.plans.iter().zip(&mut self.states) {
            let text =
                |list: &Value, key: &str| list.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            let is_ours = |list: &&Value| {
                let id = text(list, "id");
                text(list, "name") == plan.name
                    && is_word(&id)
                    && (state.id.as_ref() == Some(&id) || text(list, "description").starts_with(MARK))
            };
            let found = listed.iter().find(is_ours).map(|list| text(list, "id"));
            if let Some(id) = found {
                let path = format!("accounts/{}/rules/lists/{id}", self.account);
                api.ask(&Request { method: Method::Delete, path, body: None }, &[], now)?;
                count += 1;
            }
            *state = ListState::default();
        }
        Ok(count)
    }
}

pub(crate) fn unreadable(problem: &str) -> Failure {
    Failure::Unreadable(problem.to_owned())
}

/// Whether an identity of the API may be put into a path.
pub(crate) fn is_word(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !id.is_empty() && id.len() <= 100 && id.chars().all(is_plain)
}

/// The items of a page: network, identity, and whether it is ours.
fn items(answer: &Answer) -> Result<Vec<(Prefix, String, bool)>, Failure> {
    let listed = answer.result.as_array().ok_or_else(|| unreadable("it has no items"))?;
    listed
        .iter()
        .map(|item| {
            let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
            let net = net_of(text("ip")).ok_or_else(|| unreadable("an item is no network"))?;
            if !is_word(text("id")) {
                return Err(unreadable("an item has no identity"));
            }
            Ok((net, text("id").to_owned(), text("comment").starts_with(MARK)))
        })
        .collect()
}
