//! Follows one marked attack on its way, for `testudo selftest`: where its lines were read, what was made of them, which
//! scenarios took them, what ran over, and what the API said.
//!
//! There is one trace at a time, and it ends a minute after it was last asked for. While none is on, all that it costs is
//! a look at a flag; nothing that the agent does depends on it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use testudo_engine::{LineOutcome, Seen};
use testudo_event::{Alert, Overflow, Prefix, Source, net::parse_addr};
use testudo_intake::Batch;

use crate::clock;
use crate::outbox::Waiting;

/// A trace ends when nobody has asked for it for so long.
const LIFE: Duration = Duration::from_mins(1);

/// The longest mark, in bytes.
const NEEDLE_MOST: usize = 64;

/// The shortest one: a shorter one would be in other lines by chance.
const NEEDLE_LEAST: usize = 8;

/// Scenarios, and overflows, that are told apart. Real rules have a handful for one attack.
const TOLD_MOST: usize = 32;

/// Lines that were met at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Met {
    /// How many.
    pub lines: u64,
    /// When the first of them was met, in microseconds since 1970.
    pub first_us: i64,
    /// When the last of them was met.
    pub last_us: i64,
}

impl Met {
    fn meet(&mut self, lines: u64, now_us: i64) {
        if self.lines == 0 {
            self.first_us = now_us;
        }
        self.lines += lines;
        self.last_us = now_us;
    }
}

/// What the parsers made of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handled {
    /// All that came to the end of the parsers.
    pub met: Met,
    /// Those that went through all stages.
    pub parsed: u64,
    /// Those that no parser wanted.
    pub unparsed: u64,
    /// Those that a whitelist of the parsers lets be.
    pub whitelisted: u64,
    /// Those that were given up.
    pub dropped: u64,
    /// Those that are older than they should be, and were poured at the time that they tell.
    pub late: u64,
    /// Parsed lines in which the address was found as the source.
    pub of_address: u64,
}

/// A scenario that took lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Poured {
    /// Its name.
    pub scenario: String,
    /// What it took.
    pub met: Met,
}

/// What became of an overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It became an alert, which waits for the API or has been handed over.
    #[default]
    Alert,
    /// It became an alert that waits for a name.
    Held,
    /// A postoverflow took it back, for the reason given.
    Whitelisted,
    /// Its source must not be banned, for the reason given.
    Protected,
    /// An alert of this identity was handed over before.
    Known,
    /// Too many alerts wait for the API.
    NoRoom,
    /// The API will never take it, for the reason given.
    Refused,
    /// It was taken back before it was handed over.
    Withdrawn,
}

/// A bucket that ran over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overflowed {
    /// The scenario.
    pub scenario: String,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// Events that its alert tells of.
    pub events: u32,
    /// What it is about: `Ip`, `Range`, ….
    pub scope: String,
    /// The address, range, ….
    pub value: String,
    /// What became of it.
    pub fate: Fate,
    /// Why, where there is something to say.
    pub reason: String,
    /// Whether the scenario asks for a remedy.
    pub wants_remedy: bool,
    /// Whether it lost its remedy because the scenario hit too many good clients.
    pub stopped: bool,
    /// Whether the scenario is only simulated.
    pub simulated: bool,
    /// The identity of the alert.
    pub uuid: String,
    /// When it was last handed over to the API; 0: not yet.
    pub sent_us: i64,
    /// Whether it is being handed over right now.
    pub under_way: bool,
    /// When the API had it for good; 0: not yet.
    pub acknowledged_us: i64,
    /// Why it could not be handed over the last time.
    pub problem: String,
}

/// The way of one marked attack so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The version of this form.
    pub schema: u32,
    /// What stands in every line of it.
    pub needle: String,
    /// The lines that came from the sources.
    pub read: Met,
    /// The streams that they came from: files, senders.
    pub streams: Vec<String>,
    /// Those of the lines that were skipped since their source is too far behind.
    pub skipped: u64,
    /// What the parsers made of them.
    pub handled: Handled,
    /// The scenarios that took them.
    pub poured: Vec<Poured>,
    /// What ran over because of them.
    pub overflows: Vec<Overflowed>,
}

/// Why no trace begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another one is on, for at most so long if nobody asks for it.
    Busy(Duration),
    /// The mark is none.
    Needle,
}

struct Running {
    trace: Trace,
    address: IpAddr,
    asked: Instant,
}

impl Running {
    fn of(&mut self, uuid: &str) -> Option<&mut Overflowed> {
        self.trace.overflows.iter_mut().find(|found| found.uuid == uuid)
    }
}

/// Where the parts of the agent tell what they see.
#[derive(Default)]
pub(crate) struct Tracer {
    on: AtomicBool,
    running: Mutex<Option<Running>>,
}

fn now_us() -> i64 {
    clock::now().unix_nanos() / 1_000
}

/// Whether a source is an address, or a network around it.
fn is_about(source: &Source, address: IpAddr) -> bool {
    let is_it = |text: &str| parse_addr(text) == Some(address);
    is_it(&source.ip)
        || is_it(&source.value)
        || Prefix::parse(&source.value).is_some_and(|net| net.contains(address))
}

impl Tracer {
    /// Whether anything is to be told. Everything else here is for when it is.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_some_and(|running| running.asked.elapsed() >= LIFE) {
            *running = None;
            self.on.store(false, Ordering::Relaxed);
        }
        running
    }

    fn with<T>(&self, tell: impl FnOnce(&mut Running) -> T) -> Option<T> {
        self.lock().as_mut().map(tell)
    }

    /// Follows lines with this mark, and what is about this address.
    pub(crate) fn begin(&self, needle: &str, address: IpAddr) -> Result<(), Refused> {
        let is_mark = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(NEEDLE_LEAST..=NEEDLE_MOST).contains(&needle.len()) || !needle.chars().all(is_mark) {
            return Err(Refused::Needle);
        }
        let mut running = self.lock();
        if let Some(running) = &*running {
            return Err(Refused::Busy(LIFE.saturating_sub(running.asked.elapsed())));
        }
        let trace = Trace { schema: 1, needle: needle.to_owned(), ..Trace::default() };
        *running = Some(Running { trace, address, asked: Instant::now() });
        self.on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What was seen so far; none where no trace is on. It goes on for another minute.
    pub(crate) fn look(&self) -> Option<Trace> {
        self.with(|running| {
            running.asked = Instant::now();
            running.trace.clone()
        })
    }

    /// Ends it. Returns what was seen.
    pub(crate) fn end(&self) -> Option<Trace> {
        let mut running = self.lock();
        self.on.store(false, Ordering::Relaxed);
        running.take().map(|running| running.trace)
    }

    /// A batch came from a source, and goes on unless it is skipped.
    pub(crate) fn read(&self, batch: &Batch, skipped: bool) {
        self.with(|Running { trace, .. }| {
            if !batch.text.contains(&trace.needle) {
                return;
            }
            let marked = |at: &usize| batch.line(*at).is_some_and(|line| line.contains(&trace.needle));
            let lines = (0..batch.len()).filter(marked).count() as u64;
            trace.read.meet(lines, now_us());
            trace.skipped += if skipped { lines } else { 0 };
            let stream = &*batch.stream.src;
            if trace.streams.len() < TOLD_MOST && !trace.streams.iter().any(|known| known == stream) {
                trace.streams.push(stream.to_owned());
            }
        });
    }

    /// A line went through the parsers. Returns whether it has the mark.
    pub(crate) fn line(&self, seen: &Seen<'_>) -> bool {
        let told = self.with(|Running { trace, address, .. }| {
            if !seen.text.contains(&trace.needle) {
                return false;
            }
            let handled = &mut trace.handled;
            handled.met.meet(1, now_us());
            match seen.outcome {
                LineOutcome::Parsed => handled.parsed += 1,
                LineOutcome::Unparsed => handled.unparsed += 1,
                LineOutcome::Whitelisted => handled.whitelisted += 1,
                LineOutcome::Dropped | LineOutcome::Outside => handled.dropped += 1,
            }
            handled.late += u64::from(seen.late);
            handled.of_address += u64::from(seen.source_ip == Some(*address));
            true
        });
        told.unwrap_or(false)
    }

    /// A scenario takes a line with the mark.
    pub(crate) fn poured(&self, scenario: &str) {
        self.with(|Running { trace, .. }| {
            let at = trace.poured.iter().position(|poured| poured.scenario == scenario);
            let at = at.unwrap_or_else(|| {
                if trace.poured.len() < TOLD_MOST {
                    trace.poured.push(Poured { scenario: scenario.to_owned(), ..Poured::default() });
                }
                trace.poured.len() - 1
            });
            // Those beyond the most are counted with the last.
            trace.poured[at].met.meet(1, now_us());
        });
    }

    /// A bucket ran over. `protected`: why no alert comes of it.
    pub(crate) fn overflow(&self, overflow: &Overflow, protected: Option<&str>) {
        self.with(|Running { trace, address, .. }| {
            let alert = &overflow.alert;
            let contributes =
                || alert.contributors.iter().any(|one| parse_addr(&one.value) == Some(*address));
            let source = overflow.alert_sources().find(|source| is_about(source, *address));
            let Some(source) = source.or_else(|| contributes().then_some(&alert.source)) else { return };
            if trace.overflows.len() >= TOLD_MOST {
                return;
            }
            let (fate, reason) = match protected {
                _ if overflow.whitelisted => (Fate::Whitelisted, overflow.whitelist_reason.as_str()),
                Some(reason) => (Fate::Protected, reason),
                None => (Fate::Alert, ""),
            };
            trace.overflows.push(Overflowed {
                scenario: alert.scenario.clone(),
                at_us: now_us(),
                events: u32::try_from(alert.events_count).unwrap_or(0),
                scope: source.scope.clone(),
                value: source.value.clone(),
                fate,
                reason: reason.to_owned(),
                wants_remedy: alert.remediation,
                ..Overflowed::default()
            });
        });
    }

    /// An alert comes of the overflow that was told last of its scenario, and is about to be put into the outbox.
    pub(crate) fn alert(&self, alert: &Alert, held: bool) {
        self.with(|Running { trace, .. }| {
            let open = |found: &&mut Overflowed| {
                found.uuid.is_empty()
                    && found.fate == Fate::Alert
                    && (&found.scenario, &found.value) == (&alert.scenario, &alert.source.value)
            };
            if let Some(found) = trace.overflows.iter_mut().rev().find(open) {
                found.uuid.clone_from(&alert.uuid);
                found.stopped = found.wants_remedy && !alert.remediation;
                found.simulated = alert.simulated;
                found.fate = if held { Fate::Held } else { Fate::Alert };
            }
        });
    }

    /// A name is known by now, and because of it the overflow is taken back.
    pub(crate) fn whitelisted_later(&self, overflow: &Overflow) {
        self.with(|Running { trace, .. }| {
            let alert = &overflow.alert;
            let held = trace.overflows.iter_mut().filter(|found| found.fate == Fate::Held);
            for found in
                held.filter(|found| (&found.scenario, &found.value) == (&alert.scenario, &alert.source.value))
            {
                found.fate = Fate::Whitelisted;
                found.reason.clone_from(&overflow.whitelist_reason);
            }
        });
    }

    /// Something became of the alert with this identity.
    pub(crate) fn fate(&self, uuid: &str, fate: Fate, reason: &str) {
        if !self.is_on() {
            return;
        }
        self.with(|running| {
            if let Some(found) = running.of(uuid) {
                found.fate = fate;
                reason.clone_into(&mut found.reason);
            }
        });
    }

    /// These are handed over to the API.
    pub(crate) fn sent(&self, alerts: &[Waiting]) {
        self.note(alerts, |found| (found.sent_us, found.under_way) = (now_us(), true));
    }

    /// The API has these.
    pub(crate) fn acknowledged(&self, alerts: &[Waiting]) {
        self.note(alerts, |found| {
            (found.acknowledged_us, found.under_way) = (now_us(), false);
            found.problem.clear();
        });
    }

    /// The API did not take these now.
    pub(crate) fn failed(&self, alerts: &[Waiting], problem: &str) {
        self.note(alerts, |found| {
            found.under_way = false;
            problem.clone_into(&mut found.problem);
        });
    }

    fn note(&self, alerts: &[Waiting], mut note: impl FnMut(&mut Overflowed)) {
        if !self.is_on() {
            return;
        }
        self.with(|running| {
            for waiting in alerts {
                if let Some(found) = running.of(&waiting.alert.uuid) {
                    note(found);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MARK: &str = "testudo-selftest-1";

    fn address() -> IpAddr {
        "192.0.2.7".parse().expect("an address")
    }

    fn source(value: &str) -> Source {
        Source { scope: "Ip".to_owned(), value: value.to_owned(), ip: value.to_owned(), ..Source::default() }
    }

    fn overflow(scenario: &str, value: &str) -> Overflow {
        let alert = Alert { scenario: scenario.to_owned(), remediation: true, ..Alert::default() };
        let sources = BTreeMap::from([(value.to_owned(), source(value))]);
        Overflow::new("key".to_owned(), sources, alert).expect("it has a source")
    }

    fn seen(text: &str) -> Seen<'_> {
        Seen {
            text,
            outcome: LineOutcome::Parsed,
            time: None,
            source_ip: Some(address()),
            poured: true,
            late: false,
            skipped: false,
        }
    }

    fn tracer() -> Tracer {
        let tracer = Tracer::default();
        tracer.begin(MARK, address()).expect("none is on");
        tracer
    }

    #[test]
    fn one_at_a_time_and_not_for_ever() {
        let tracer = tracer();
        assert!(matches!(tracer.begin(MARK, address()), Err(Refused::Busy(left)) if left <= LIFE));
        tracer.lock().as_mut().expect("it is on").asked =
            Instant::now().checked_sub(LIFE).expect("the system has run for a minute");
        assert_eq!(tracer.look(), None);
        assert!(!tracer.is_on());
        assert_eq!(tracer.begin(MARK, address()), Ok(()));
        assert_eq!(tracer.end().map(|trace| trace.needle), Some(MARK.to_owned()));
        assert_eq!((tracer.is_on(), tracer.end()), (false, None));
    }

    #[test]
    fn what_is_no_mark() {
        for mark in ["", "short", "with blank", "a/b/c/d/e/f", &"x".repeat(65)] {
            assert_eq!(Tracer::default().begin(mark, address()), Err(Refused::Needle), "{mark}");
        }
    }

    #[test]
    fn only_what_is_marked_counts() {
        let tracer = tracer();
        assert!(tracer.line(&seen("user testudo-selftest-1 failed")));
        assert!(!tracer.line(&seen("user root failed")));
        tracer.poured("a/b");
        tracer.poured("a/b");
        tracer.overflow(&overflow("a/b", "192.0.2.8"), None);
        tracer.overflow(&overflow("a/b", "192.0.2.7"), None);
        let trace = tracer.look().expect("it is on");
        assert_eq!((trace.handled.met.lines, trace.handled.parsed, trace.handled.of_address), (1, 1, 1));
        assert_eq!(
            trace.poured.iter().map(|one| (&*one.scenario, one.met.lines)).collect::<Vec<_>>(),
            [("a/b", 2)]
        );
        assert_eq!(trace.overflows.iter().map(|one| &*one.value).collect::<Vec<_>>(), ["192.0.2.7"]);
    }

    /// From the overflow to the acknowledgement, with a remedy that is lost on the way.
    #[test]
    fn the_way_of_an_alert() {
        let tracer = tracer();
        let overflow = overflow("a/b", "192.0.2.7");
        tracer.overflow(&overflow, None);
        let mut alert = overflow.alert.clone();
        (alert.uuid, alert.remediation) = ("identity".to_owned(), false);
        tracer.alert(&alert, true);
        let told = || tracer.look().expect("it is on").overflows.remove(0);
        assert_eq!((told().fate, told().stopped, told().under_way), (Fate::Held, true, false));
        let outbox = crate::outbox::Outbox::new(None).expect("it needs no file");
        outbox.put(alert, None, false);
        let waiting = outbox.first(1);
        tracer.sent(&waiting);
        assert!(told().under_way && told().sent_us > 0);
        tracer.failed(&waiting, "nobody answers");
        assert_eq!((told().under_way, &*told().problem), (false, "nobody answers"));
        tracer.sent(&waiting);
        tracer.acknowledged(&waiting);
        assert!(!told().under_way && told().acknowledged_us >= told().sent_us && told().problem.is_empty());
    }

    #[test]
    fn why_no_alert_comes() {
        let tracer = tracer();
        let mut allowed = overflow("a/b", "192.0.2.7");
        (allowed.whitelisted, allowed.whitelist_reason) = (true, "a friend".to_owned());
        tracer.overflow(&allowed, None);
        tracer.overflow(&overflow("a/c", "192.0.2.7"), Some("own address"));
        let told = tracer.look().expect("it is on").overflows;
        let fates: Vec<_> = told.iter().map(|one| (one.fate, &*one.reason)).collect();
        assert_eq!(fates, [(Fate::Whitelisted, "a friend"), (Fate::Protected, "own address")]);
    }

    /// Names, values and reasons come from rules and logs: nothing grows without end.
    #[test]
    fn it_is_bounded() {
        let tracer = tracer();
        for at in 0..1_000 {
            tracer.poured(&format!("s/{at}"));
            tracer.overflow(&overflow(&format!("s/{at}"), "192.0.2.7"), None);
        }
        let trace = tracer.look().expect("it is on");
        assert_eq!((trace.poured.len(), trace.overflows.len()), (TOLD_MOST, TOLD_MOST));
        assert_eq!(trace.poured.iter().map(|one| one.met.lines).sum::<u64>(), 1_000);
    }
}
