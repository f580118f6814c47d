//! Workers KV, as the worker of the ecosystem reads it: a key for each address, autonomous system and country, whose value
//! is the type of the decision; all networks in one key, `IP_RANGES`, as a JSON object.
//!
//! Pairs carry their end, so that Cloudflare forgets them by itself: that costs no write and outlives this program. The key
//! of the networks carries none, as each of them has its own: it is written again when one ends. Pairs
//! also carry our mark as metadata; keys without it are left alone. What was sent without an answer counts as not known,
//! and is sent again or deleted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testudo_event::text::url_part;

use crate::api::{Api, Method, Request, Transport};
use crate::budget::Kind;
use crate::decision::{Danger, Decision, Subject, net_text, weight};
use crate::failure::Failure;
use crate::lists::{MARK, Step, unreadable};

/// The key that holds all networks.
const RANGES: &str = "IP_RANGES";

/// Pairs of one bulk write or deletion, as the API takes them.
const CHUNK_MOST: usize = 10_000;

/// Keys of a page.
const PAGE: usize = 1_000;
const PAGES_MOST: usize = 2_000;

/// Pairs that end sooner are not written: it takes a minute until everybody sees them, and the API takes no
/// shorter ones.
const LEFT_LEAST: u64 = 60;

/// Between two writes of one key, the API wants a second. The key of the networks is written whole, and less often.
const RANGES_EVERY: u64 = 60_000;

/// A pair whose end is off by less than this is not written again: ends are told in whole seconds, and anew every hour.
const ENDS_OFF: u64 = 60;

/// Of what may be written in a day, decisions that were not seen here get this share.
const OTHERS_SHARE: u64 = 2;

/// Pauses after failures: the first, and the longest; milliseconds.
const PAUSE_LEAST: u64 = 1_000;
const PAUSE_MOST: u64 = 5 * 60_000;

/// What is written under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The type of the decision; empty where it is not known what is there.
    pub value: String,
    /// When Cloudflare forgets it: seconds since 1970.
    pub ends: u64,
}

/// What is known of the namespace. It outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreState {
    /// Our pairs.
    pub pairs: BTreeMap<String, Pair>,
    /// The networks as they were written last, and their types.
    pub ranges: BTreeMap<String, String>,
    /// The networks may be others than that.
    pub are_ranges_unsure: bool,
    /// The keys have been read.
    pub is_known: bool,
    /// The key of the networks is somebody else's.
    pub are_ranges_foreign: bool,
    /// Keys of others that decisions could have.
    pub foreign: BTreeSet<String>,
}

/// What came of it so far, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvCounts {
    /// Pairs that were written.
    pub written: u64,
    /// Pairs that were deleted.
    pub deleted: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Pairs that the API did not write.
    pub refused: u64,
    /// Pairs that were not as they should be when they were looked at.
    pub drifted: u64,
    /// Pairs that wait for tomorrow's budget.
    pub left_out: u64,
}

#[derive(Debug, Default)]
struct Reading {
    cursor: Option<String>,
    pages: usize,
    ours: BTreeMap<String, Pair>,
    foreign: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Want {
    value: String,
    danger: Danger,
    ends: u64,
}

/// The namespace of an account.
#[derive(Debug)]
pub struct Store {
    path: String,
    state: StoreState,
    wanted: BTreeMap<String, Want>,
    ranges: BTreeMap<String, String>,
    reading: Option<Reading>,
    is_audit: bool,
    /// What is about to be written or deleted, and was kept as such.
    armed: Vec<String>,
    /// An earlier run may have written a moment ago.
    is_fresh: bool,
    ranges_at: u64,
    failures: u32,
    not_before: u64,
    counts: KvCounts,
    told: Vec<String>,
}

/// The strongest of several types: banning comes before anything else.
fn strength(kind: &str) -> u8 {
    match kind {
        "ban" => 2,
        "captcha" => 1,
        _ => 0,
    }
}

/// Whether a decision could be kept under a key.
fn is_decision(key: &str) -> bool {
    let is_country = key.len() == 2 && key.bytes().all(|byte| byte.is_ascii_lowercase());
    is_country || key.parse::<u32>().is_ok() || key.parse::<IpAddr>().is_ok()
}

impl Store {
    /// Begins with what an earlier run knew.
    pub fn new(account: &str, namespace: &str, state: StoreState) -> Self {
        Store {
            path: format!("accounts/{account}/storage/kv/namespaces/{namespace}"),
            state,
            wanted: BTreeMap::new(),
            ranges: BTreeMap::new(),
            reading: None,
            is_audit: false,
            armed: Vec::new(),
            is_fresh: true,
            ranges_at: 0,
            failures: 0,
            not_before: 0,
            counts: KvCounts::default(),
            told: Vec::new(),
        }
    }

    /// What is known, for the next run.
    pub fn state(&self) -> &StoreState {
        &self.state
    }

    /// What came of it so far.
    pub fn counts(&self) -> KvCounts {
        self.counts
    }

    /// What people should know; told once.
    pub fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// Has the keys read and compared.
    pub fn audit(&mut self) {
        self.is_audit = true;
        self.state.is_known = false;
    }

    /// What should be there from now on. `now_ms` is the present of the decisions' clock, `now` the same in
    /// milliseconds since 1970.
    pub fn want<'d>(
        &mut self,
        decisions: impl Iterator<Item = &'d Decision>,
        kinds: &[String],
        now_ms: u64,
        now: u64,
    ) {
        self.wanted.clear();
        self.ranges.clear();
        for decision in decisions.filter(|decision| decision.is_one_of(kinds)) {
            let ends = (now + decision.until_ms.saturating_sub(now_ms)) / 1_000;
            let key = match decision.subject {
                Subject::Net(net) if net_text(net).contains('/') => {
                    let known = self.ranges.entry(net_text(net)).or_default();
                    if known.is_empty() || strength(&decision.kind) > strength(known) {
                        decision.kind.as_ref().clone_into(known);
                    }
                    continue;
                }
                Subject::Country(_) => decision.subject.to_string().to_ascii_lowercase(),
                Subject::Net(_) | Subject::System(_) => decision.subject.to_string(),
            };
            let new = Want { value: decision.kind.to_string(), danger: decision.danger, ends };
            match self.wanted.get_mut(&key) {
                None => {
                    self.wanted.insert(key, new);
                }
                Some(known) if strength(&new.value) > strength(&known.value) => {
                    *known = Want { danger: known.danger.max(new.danger), ..new };
                }
                Some(known) => {
                    known.danger = known.danger.max(new.danger);
                    if new.value == known.value {
                        known.ends = known.ends.max(new.ends);
                    }
                }
            }
        }
    }

    /// Does what comes next.
    ///
    /// # Errors
    /// It came to nothing, and is done again later.
    pub fn step<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        if std::mem::take(&mut self.is_fresh) {
            self.not_before = now + PAUSE_LEAST;
        }
        if now < self.not_before {
            return Ok(Step::Wait(self.not_before));
        }
        let done = self.work(api, now);
        match &done {
            Ok(_) => {}
            Err(Failure::Spent { free_at, .. }) => self.not_before = (*free_at).max(now + PAUSE_LEAST),
            Err(failure) => {
                self.counts.failed += 1;
                let asked = match failure {
                    Failure::Busy { seconds: Some(seconds), .. } => seconds * 1_000,
                    _ => 0,
                };
                let pause = (PAUSE_LEAST << self.failures.min(16)).min(PAUSE_MOST);
                self.failures += 1;
                self.not_before = now + pause.max(asked);
            }
        }
        done
    }

    fn work<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        if !self.state.is_known {
            return self.read(api, now);
        }
        let seconds = now / 1_000;
        // Cloudflare has forgotten these.
        self.state.pairs.retain(|_, pair| pair.ends > seconds);
        let deletions = self.deletions();
        if !deletions.is_empty() {
            let left = api.gauge().left(Kind::KvDeletes, 0, now);
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_MOST);
            if most > 0 {
                return self.delete(api, deletions.into_iter().take(most).collect(), now);
            }
        }
        let (writes, next) = self.writes(api, now);
        if !writes.is_empty() {
            return self.write(api, &writes, now);
        }
        Ok(next.map_or(Step::Idle, Step::Wait))
    }

    /// Keys of ours that nobody wants any more.
    fn deletions(&self) -> Vec<String> {
        self.state.pairs.keys().filter(|key| !self.wanted.contains_key(*key)).cloned().collect()
    }

    /// What is to be written now, in the order of its danger, within today's budget; and when there will be more.
    fn writes<T: Transport>(&mut self, api: &Api<T>, now: u64) -> (Vec<String>, Option<u64>) {
        let seconds = now / 1_000;
        let is_there = |key: &String, want: &Want| {
            // One that ends later is deleted when the time has come.
            self.state
                .pairs
                .get(key)
                .is_some_and(|pair| pair.value == want.value && pair.ends + ENDS_OFF >= want.ends)
        };
        let mut writes: Vec<(Reverse<(Danger, u64)>, &String)> = self
            .wanted
            .iter()
            .filter(|(key, want)| {
                want.ends > seconds + LEFT_LEAST && !self.state.foreign.contains(*key) && !is_there(key, want)
            })
            .map(|(key, want)| (weight(want.danger, want.ends), key))
            .collect();
        writes.sort();
        let (mut left, mut left_for_others) = {
            let mut gauge = api.gauge();
            let most = gauge.most(Kind::KvWrites).unwrap_or(0);
            let left = gauge.left(Kind::KvWrites, 0, now);
            (left, gauge.left(Kind::KvWrites, most / OTHERS_SHARE, now))
        };
        let mut next = None;
        let mut keys = Vec::new();
        let are_ranges_other = self.state.are_ranges_unsure || self.ranges != self.state.ranges;
        if are_ranges_other && !self.state.are_ranges_foreign {
            let at = self.ranges_at + RANGES_EVERY;
            if self.ranges_at != 0 && now < at {
                next = Some(at);
            } else if left > 0 {
                left -= 1;
                left_for_others = left_for_others.saturating_sub(1);
                keys.push(RANGES.to_owned());
            }
        }
        let mut left_out = 0;
        for (Reverse((danger, _)), key) in writes {
            let is_others = danger < Danger::Seen;
            if keys.len() >= CHUNK_MOST {
                break;
            }
            if left == 0 || is_others && left_for_others == 0 {
                left_out += 1;
                continue;
            }
            left -= 1;
            left_for_others = left_for_others.saturating_sub(1);
            keys.push(key.clone());
        }
        self.counts.left_out = left_out;
        if left_out > 0 {
            let free_at = api.gauge().free_at(Kind::KvWrites, now).max(now + PAUSE_LEAST);
            next = Some(next.map_or(free_at, |next: u64| next.min(free_at)));
        }
        (keys, next)
    }

    fn write<T: Transport>(&mut self, api: &Api<T>, keys: &[String], now: u64) -> Result<Step, Failure> {
        // Whatever becomes of it, these keys may be there.
        for key in keys {
            if key == RANGES {
                self.state.are_ranges_unsure = true;
            } else if let Some(want) = self.wanted.get(key) {
                let known = self.state.pairs.get(key).map_or(0, |pair| pair.ends);
                let unknown = Pair { value: String::new(), ends: known.max(want.ends) };
                self.state.pairs.insert(key.clone(), unknown);
            }
        }
        if self.armed != keys {
            self.armed = keys.to_vec();
            return Ok(Step::Keep);
        }
        self.armed.clear();
        let body = keys.iter().filter_map(|key| {
            if key == RANGES {
                let value = serde_json::to_string(&self.ranges).ok()?;
                return Some(json!({ "key": key, "value": value, "metadata": { "by": MARK } }));
            }
            let want = self.wanted.get(key)?;
            let metadata = json!({ "by": MARK, "type": want.value });
            Some(json!({ "key": key, "value": want.value, "expiration": want.ends, "metadata": metadata }))
        });
        let path = format!("{}/bulk", self.path);
        let request = Request { method: Method::Put, path, body: Some(Value::Array(body.collect())) };
        let answer = api.ask(&request, &[(Kind::KvWrites, keys.len() as u64)], now)?;
        let refused: BTreeSet<&str> = answer
            .result
            .get("unsuccessful_keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for key in keys.iter().filter(|key| !refused.contains(key.as_str())) {
            self.counts.written += 1;
            if key == RANGES {
                self.state.ranges.clone_from(&self.ranges);
                self.state.are_ranges_unsure = false;
                self.ranges_at = now;
            } else if let Some(want) = self.wanted.get(key) {
                let pair = Pair { value: want.value.clone(), ends: want.ends };
                self.state.pairs.insert(key.clone(), pair);
            }
        }
        self.counts.refused += refused.len() as u64;
        if refused.is_empty() {
            self.failures = 0;
            // A key takes one write a second.
            self.not_before = now + PAUSE_LEAST;
        } else {
            self.told.push(format!("{} keys were not written, and are tried again", refused.len()));
            self.not_before = now + (PAUSE_LEAST << self.failures.min(16)).min(PAUSE_MOST);
            self.failures += 1;
        }
        Ok(Step::Keep)
    }

    fn delete<T: Transport>(&mut self, api: &Api<T>, keys: Vec<String>, now: u64) -> Result<Step, Failure> {
        // Whatever becomes of it, these keys may be gone.
        for key in &keys {
            if let Some(pair) = self.state.pairs.get_mut(key) {
                pair.value.clear();
            }
        }
        if self.armed != keys {
            self.armed = keys;
            return Ok(Step::Keep);
        }
        self.armed.clear();
        let path = format!("{}/bulk/delete", self.path);
        let request = Request { method: Method::Post, path, body: Some(json!(keys)) };
        api.ask(&request, &[(Kind::KvDeletes, keys.len() as u64)], now)?;
        for key in &keys {
            self.state.pairs.remove(key);
        }
        self.counts.deleted += keys.len() as u64;
        self.failures = 0;
        self.not_before = now + PAUSE_LEAST;
        Ok(Step::Keep)
    }

    /// Reads a page of keys.
    fn read<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<Step, Failure> {
        let mut reading = self.reading.take().unwrap_or_default();
        let cursor = reading.cursor.as_deref().map(|cursor| format!("&cursor={}", url_part(cursor)));
        let path = format!("{}/keys?limit={PAGE}{}", self.path, cursor.unwrap_or_default());
        let request = Request { method: Method::Get, path, body: None };
        let answer = api.ask(&request, &[(Kind::KvLists, 1)], now)?;
        let listed = answer.result.as_array().ok_or_else(|| unreadable("it has no keys"))?;
        for key in listed {
            let name =
                key.get("name").and_then(Value::as_str).ok_or_else(|| unreadable("a key has no name"))?;
            let metadata = |field: &str| {
                key.get("metadata")
                    .and_then(|data| data.get(field))
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            if metadata("by") == MARK {
                let ends = key.get("expiration").and_then(Value::as_u64).unwrap_or(u64::MAX);
                let pair = Pair { value: metadata("type").to_owned(), ends };
                reading.ours.insert(name.to_owned(), pair);
            } else {
                reading.foreign.insert(name.to_owned());
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
        self.learn(reading);
        Ok(Step::Keep)
    }

    fn learn(&mut self, mut reading: Reading) {
        let are_ranges_ours = reading.ours.remove(RANGES).is_some();
        let are_ranges_foreign = reading.foreign.contains(RANGES);
        if are_ranges_foreign && !self.state.are_ranges_foreign {
            self.told.push(format!(
                "the key {RANGES} is not ours and is left alone: networks are not enforced; stop what wrote it and delete it"
            ));
        }
        self.state.are_ranges_foreign = are_ranges_foreign;
        self.state.are_ranges_unsure |= !are_ranges_ours && !self.state.ranges.is_empty();
        if self.state.ranges.is_empty() && are_ranges_ours {
            self.state.are_ranges_unsure = true;
        }
        if std::mem::take(&mut self.is_audit) {
            let known = &self.state.pairs;
            let gone = known.keys().filter(|key| !reading.ours.contains_key(*key)).count();
            let extra = reading.ours.keys().filter(|key| !known.contains_key(*key)).count();
            if gone + extra > 0 {
                self.counts.drifted += (gone + extra) as u64;
                self.told.push(format!("{gone} keys were missing and {extra} too many"));
            }
        }
        self.state.pairs = reading.ours;
        self.state.foreign = reading.foreign.into_iter().filter(|key| is_decision(key)).collect();
        self.state.is_known = true;
    }

    /// Deletes our keys. Says how many, and whether that were all.
    ///
    /// # Errors
    /// They cannot be read or deleted.
    pub fn take_away<T: Transport>(&mut self, api: &Api<T>, now: u64) -> Result<(usize, bool), Failure> {
        self.state.is_known = false;
        while !self.state.is_known {
            self.read(api, now)?;
        }
        let mut keys: Vec<String> = self.state.pairs.keys().cloned().collect();
        if !self.state.are_ranges_foreign && (self.state.are_ranges_unsure || !self.state.ranges.is_empty()) {
            keys.push(RANGES.to_owned());
        }
        let left = usize::try_from(api.gauge().left(Kind::KvDeletes, 0, now)).unwrap_or(usize::MAX);
        let all = keys.len();
        keys.truncate(left);
        for chunk in keys.chunks(CHUNK_MOST) {
            self.armed = chunk.to_vec();
            self.delete(api, chunk.to_vec(), now)?;
        }
        if keys.len() == all {
            self.state.ranges.clear();
            self.state.are_ranges_unsure = false;
        }
        Ok((keys.len(), keys.len() == all))
    }
}
