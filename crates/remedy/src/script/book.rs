//! What is decided about each subject, what the script was told of it, and the difference.
//!
//! A subject is told as added when the first decision about it comes and when one comes that lasts longer; as deleted
//! when the last one is gone, be it lifted or over. Time is an argument: milliseconds of a clock that only goes forward.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use testudo_event::duration;
use testudo_wire::Decision as Told;
use testudo_wire::stream::StreamBody;

use super::subject::{Act, Message, Refusal, Subject};
use crate::batch::SIMULATED;

/// Before something that failed is told again; each pause is twice the one before.
const AGAIN_LEAST_MS: u64 = 1_000;
const AGAIN_MOST_MS: u64 = 60_000;

/// Between two tries of what has failed as often as it may: what it is about may be away.
pub(super) const SELDOM_MS: u64 = 300_000;

/// So often a deletion fails, a week long, before it is let go of if the script never took what it deletes.
const FUTILE: u32 = 7 * 24 * 12;

/// Deletions that are told again to a new script when the old one died without saying what it had done.
const GONE_MOST: usize = 10_000;

/// Of a decision: its origin, its scenario, its number.
type Owner = (Arc<str>, Arc<str>, i64);

/// A decision about a subject.
#[derive(Clone, Debug)]
struct Held {
    id: i64,
    uuid: String,
    origin: Arc<str>,
    scenario: Arc<str>,
    until_ms: u64,
}

/// What the script knows of a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nothing.
    #[default]
    No,
    /// Perhaps something: it was told, and nobody knows what became of it.
    Perhaps,
    /// That it is added, until then.
    Until(u64),
}

#[derive(Debug, Default)]
struct Entry {
    /// Few: one for each origin or so.
    held: Vec<Held>,
    known: Known,
    /// It waits in the queue, or to be told again, or it is being told.
    is_queued: bool,
    /// When it is told again, if it waits for that.
    again_ms: Option<u64>,
    /// How often telling it has failed in a row.
    failures: u32,
    /// The script has taken an addition, and no deletion since.
    is_taken: bool,
    /// What a deletion tells: of whom it was.
    last: Option<Owner>,
}

impl Entry {
    fn longest(&self, now_ms: u64) -> Option<&Held> {
        self.held.iter().filter(|held| held.until_ms > now_ms).max_by_key(|held| held.until_ms)
    }
}

/// How the book behaves.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    /// Types that are told; without any, all.
    pub(super) types: Vec<String>,
    /// Values become arguments of a command.
    pub(super) as_arguments: bool,
    /// A decision that lasts longer by no more than this is not told again.
    pub(super) slack_ms: u64,
    /// How often something that fails is told before it is told but seldom.
    pub(super) attempts: u32,
}

/// What a script knows of a subject, for the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) subject: Subject,
    pub(super) origin: String,
    pub(super) scenario: String,
    pub(super) id: i64,
    /// The end that it was told.
    pub(super) until_ms: u64,
    /// It has said that it knows, or returned without an error.
    pub(super) confirmed: bool,
}

/// A message that was taken to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) message: Message,
    /// The end that is told; 0 for deletions.
    pub(super) until_ms: u64,
}

/// All subjects.
#[derive(Debug)]
pub(super) struct Book {
    habits: Habits,
    entries: HashMap<Arc<Subject>, Entry>,
    queue: VecDeque<Arc<Subject>>,
    /// Those that failed, by when they are told again.
    again: BinaryHeap<Reverse<(u64, Arc<Subject>)>>,
    /// Ends of decisions; some were lifted meanwhile.
    ends: BinaryHeap<Reverse<(u64, Arc<Subject>)>>,
    texts: HashSet<Arc<str>>,
    /// Deleted lately, and of whom it was; the newest last.
    gone: VecDeque<(Arc<Subject>, Owner)>,
    refused: u64,
}

impl Book {
    pub(super) fn new(habits: Habits) -> Self {
        Book {
            habits,
            entries: HashMap::new(),
            queue: VecDeque::new(),
            again: BinaryHeap::new(),
            ends: BinaryHeap::new(),
            texts: HashSet::new(),
            gone: VecDeque::new(),
            refused: 0,
        }
    }

    /// Takes up what an earlier run has told the script.
    pub(super) fn restore(&mut self, memory: Memory) {
        let Memory { subject, origin, scenario, id, until_ms, confirmed } = memory;
        let (origin, scenario) = (self.text(&origin), self.text(&scenario));
        let subject = Arc::new(subject);
        let entry = self.entries.entry(Arc::clone(&subject)).or_default();
        entry.known = if confirmed { Known::Until(until_ms) } else { Known::Perhaps };
        entry.is_taken = confirmed;
        entry.last = Some((Arc::clone(&origin), Arc::clone(&scenario), id));
        // Until the API tells, it goes on for as long as it was told.
        entry.held = vec![Held { id, uuid: String::new(), origin, scenario, until_ms }];
        self.ends.push(Reverse((until_ms, Arc::clone(&subject))));
        self.enqueue(&subject);
    }

    /// Takes what an API told: everything, or what has changed. `refuse` hears of decisions that a script cannot be told.
    pub(super) fn take(
        &mut self,
        full: bool,
        body: &StreamBody,
        now_ms: u64,
        mut refuse: impl FnMut(&Told, &Refusal),
    ) {
        if full {
            self.entries.values_mut().for_each(|entry| entry.held.clear());
            self.ends.clear();
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        } else {
            for told in &body.deleted {
                let Ok(subject) = Subject::of(told, self.habits.as_arguments) else { continue };
                let Some((subject, entry)) = self.entries.get_key_value(&subject) else { continue };
                if entry.held.iter().any(|held| held.id == told.id) {
                    let subject = Arc::clone(subject);
                    if let Some(entry) = self.entries.get_mut(&subject) {
                        entry.held.retain(|held| held.id != told.id);
                    }
                    self.hasten(&subject);
                }
            }
        }
        for told in &body.new {
            if let Err(refusal) = self.insert(told, now_ms) {
                self.refused += 1;
                refuse(told, &refusal);
            }
        }
        if full {
            let all: Vec<_> = self.entries.keys().cloned().collect();
            all.iter().for_each(|subject| self.enqueue(subject));
        }
    }

    fn insert(&mut self, told: &Told, now_ms: u64) -> Result<(), Refusal> {
        let types = &self.habits.types;
        // Servers that do not know the parameter tell of all types.
        if told.kind.starts_with(SIMULATED) || !types.is_empty() && !types.contains(&told.kind) {
            return Ok(());
        }
        let subject = Subject::of(told, self.habits.as_arguments)?;
        let left = duration::parse(&told.duration).map_err(|_| Refusal::Duration(told.duration.clone()))?;
        let left_ms = u64::try_from(left / 1_000_000).unwrap_or(0);
        if left_ms == 0 {
            return Ok(());
        }
        let until_ms = now_ms.saturating_add(left_ms);
        let (origin, scenario) = (self.text(&told.origin), self.text(&told.scenario));
        let subject = match self.entries.get_key_value(&subject) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(subject),
        };
        let entry = self.entries.entry(Arc::clone(&subject)).or_default();
        entry.held.retain(|held| held.id != told.id);
        entry.held.push(Held { id: told.id, uuid: told.uuid.clone(), origin, scenario, until_ms });
        self.ends.push(Reverse((until_ms, Arc::clone(&subject))));
        self.hasten(&subject);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        Arc::clone(self.texts.get_or_insert_with(text, |text| text.into()))
    }

    fn enqueue(&mut self, subject: &Arc<Subject>) {
        if let Some(entry) = self.entries.get_mut(subject)
            && !std::mem::replace(&mut entry.is_queued, true)
        {
            self.queue.push_back(Arc::clone(subject));
        }
    }

    /// Something is new about a subject: it does not wait for what failed before.
    fn hasten(&mut self, subject: &Arc<Subject>) {
        if let Some(entry) = self.entries.get_mut(subject)
            && entry.again_ms.take().is_some()
        {
            entry.failures = 0;
            self.queue.push_back(Arc::clone(subject));
        }
        self.enqueue(subject);
    }

    /// Notices what is over by now, and what is to be told again.
    pub(super) fn tick(&mut self, now_ms: u64) {
        while let Some(Reverse((until_ms, _))) = self.ends.peek()
            && *until_ms <= now_ms
            && let Some(Reverse((_, subject))) = self.ends.pop()
        {
            if let Some(entry) = self.entries.get_mut(&subject) {
                entry.held.retain(|held| held.until_ms > now_ms);
            }
            self.hasten(&subject);
        }
        while let Some(Reverse((at_ms, _))) = self.again.peek()
            && *at_ms <= now_ms
            && let Some(Reverse((at_ms, subject))) = self.again.pop()
        {
            // One that was hastened has been told already.
            if let Some(entry) = self.entries.get_mut(&subject)
                && entry.again_ms == Some(at_ms)
            {
                entry.again_ms = None;
                self.queue.push_back(subject);
            }
        }
    }

    /// Whether there may be something to tell.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many subjects may be told of at once.
    pub(super) fn waiting(&self) -> u64 {
        self.queue.len() as u64
    }

    /// Up to so many messages, each about another subject, deletions first. Each has to be answered by [`Book::done`] or
    /// [`Book::failed`]; until then its subject stays out of the way.
    pub(super) fn next(&mut self, most: usize, now_ms: u64) -> Vec<Job> {
        let mut jobs = Vec::new();
        while jobs.len() < most
            && let Some(subject) = self.queue.pop_front()
        {
            let Some(job) = self.job(&subject, now_ms) else {
                self.rest(&subject, now_ms);
                continue;
            };
            // From here on the script may know.
            let message = &job.message;
            let owner = (self.text(&message.origin), self.text(&message.scenario), message.id);
            if let Some(entry) = self.entries.get_mut(&subject)
                && entry.known == Known::No
            {
                entry.known = Known::Perhaps;
                entry.last = Some(owner);
            }
            jobs.push(job);
        }
        jobs.sort_by_key(|job| job.message.act == Act::Add);
        jobs
    }

    /// What there is to tell about a subject now.
    fn job(&self, subject: &Arc<Subject>, now_ms: u64) -> Option<Job> {
        let entry = self.entries.get(subject)?;
        let message = |act, held: Option<&Held>, seconds| {
            let (origin, scenario, id) = match (held, &entry.last) {
                (Some(held), _) => (&*held.origin, &*held.scenario, held.id),
                (None, Some((origin, scenario, id))) => (&**origin, &**scenario, *id),
                (None, None) => ("", "", 0),
            };
            Message {
                act,
                subject: Subject::clone(subject),
                id,
                uuid: held.map_or_else(String::new, |held| held.uuid.clone()),
                origin: origin.to_owned(),
                scenario: scenario.to_owned(),
                seconds,
            }
        };
        let Some(longest) = entry.longest(now_ms) else {
            return (entry.known != Known::No)
                .then(|| Job { message: message(Act::Del, None, 0), until_ms: 0 });
        };
        match entry.known {
            Known::Until(until) if longest.until_ms <= until.saturating_add(self.habits.slack_ms) => None,
            _ => {
                let seconds = (longest.until_ms - now_ms).div_ceil(1_000);
                Some(Job { message: message(Act::Add, Some(longest), seconds), until_ms: longest.until_ms })
            }
        }
    }

    /// There is nothing to tell about a subject.
    fn rest(&mut self, subject: &Arc<Subject>, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(subject) {
            entry.is_queued = false;
            if entry.known == Known::No && entry.longest(now_ms).is_none() {
                self.entries.remove(subject);
            }
        }
    }

    /// The script was told.
    pub(super) fn done(&mut self, job: &Job) {
        let Some((subject, _)) = self.entries.get_key_value(&job.message.subject) else { return };
        let subject = Arc::clone(subject);
        let message = &job.message;
        let last = (self.text(&message.origin), self.text(&message.scenario), message.id);
        let Some(entry) = self.entries.get_mut(&subject) else { return };
        entry.failures = 0;
        match job.message.act {
            Act::Add => {
                entry.known = Known::Until(job.until_ms);
                entry.is_taken = true;
                entry.last = Some(last);
            }
            Act::Del => {
                entry.known = Known::No;
                entry.is_taken = false;
                self.gone.push_back((Arc::clone(&subject), last));
                if self.gone.len() > GONE_MOST {
                    self.gone.pop_front();
                }
            }
        }
        // Something may have happened meanwhile.
        self.queue.push_back(subject);
    }

    /// The script was not told, or perhaps: it is told again. With `counts` the failure is its own; after some of them
    /// it is told but seldom, and this says so once.
    pub(super) fn failed(&mut self, job: &Job, counts: bool, now_ms: u64) -> bool {
        let Some((subject, _)) = self.entries.get_key_value(&job.message.subject) else { return false };
        let subject = Arc::clone(subject);
        let attempts = self.habits.attempts;
        let Some(entry) = self.entries.get_mut(&subject) else { return false };
        if !counts {
            entry.known = Known::Perhaps;
            self.queue.push_front(subject);
            return false;
        }
        entry.failures = entry.failures.saturating_add(1);
        if job.message.act == Act::Del && !entry.is_taken && entry.failures >= attempts.saturating_add(FUTILE)
        {
            entry.failures = 0;
            entry.known = Known::No;
            self.queue.push_back(subject);
            return false;
        }
        entry.known = Known::Perhaps;
        let pause = if entry.failures >= attempts {
            SELDOM_MS
        } else {
            (AGAIN_LEAST_MS << (entry.failures - 1).min(6)).min(AGAIN_MOST_MS)
        };
        let at_ms = now_ms.saturating_add(pause);
        let is_first = entry.failures == attempts;
        entry.again_ms = Some(at_ms);
        self.again.push(Reverse((at_ms, subject)));
        is_first
    }

    /// A new script knows nothing, or nobody knows what: it is told everything, and again what was deleted lately.
    pub(super) fn forget(&mut self) {
        for entry in self.entries.values_mut() {
            if entry.known != Known::No {
                entry.known = Known::Perhaps;
            }
        }
        for (subject, owner) in std::mem::take(&mut self.gone) {
            let entry = self.entries.entry(subject).or_default();
            if entry.known == Known::No {
                entry.known = Known::Perhaps;
                entry.last = Some(owner);
            }
        }
        let all: Vec<_> = self.entries.keys().cloned().collect();
        all.iter().for_each(|subject| self.enqueue(subject));
    }

    /// Subjects that are in force.
    pub(super) fn len(&self) -> usize {
        self.entries.values().filter(|entry| !entry.held.is_empty()).count()
    }

    /// Decisions that a script could not be told.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Subjects that are in force, by the origin of the decision that lasts longest and the kind of address.
    pub(super) fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for (subject, entry) in &self.entries {
            let Some(longest) = entry.held.iter().max_by_key(|held| held.until_ms) else { continue };
            let origin = match &*longest.origin {
                "lists" => format!("lists:{}", longest.scenario),
                origin => origin.to_owned(),
            };
            *counts.entry((origin, subject.family().unwrap_or(""))).or_default() += 1;
        }
        counts
    }

    /// What the script knows, or may know: for the journal.
    pub(super) fn known(&self) -> impl Iterator<Item = Memory> {
        self.entries.iter().filter(|(_, entry)| entry.known != Known::No).map(|(subject, entry)| {
            let longest = entry.held.iter().max_by_key(|held| held.until_ms);
            let (origin, scenario, id) = match (longest, &entry.last) {
                (Some(held), _) => (&*held.origin, &*held.scenario, held.id),
                (None, Some((origin, scenario, id))) => (&**origin, &**scenario, *id),
                (None, None) => ("", "", 0),
            };
            let (told_ms, confirmed) = match entry.known {
                Known::Until(until) => (Some(until), true),
                Known::No | Known::Perhaps => (None, false),
            };
            Memory {
                subject: Subject::clone(subject),
                origin: origin.to_owned(),
                scenario: scenario.to_owned(),
                id,
                until_ms: told_ms.or(longest.map(|held| held.until_ms)).unwrap_or(0),
                confirmed,
            }
        })
    }
}
