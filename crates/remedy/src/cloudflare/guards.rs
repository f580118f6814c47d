//! The guards of all zones at work, on a thread of their own: nothing that happens to lists holds them up.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use testudo_cloudflare::{Act, Api, Event, Failure, Guard, Record, Signals, Thresholds, Transport, Why};

use super::config::Attack;
use super::disk::Disk;
use super::figures::{Figures, Rate};
use super::page::{Board, Raised};
use super::sync::wall_ms;

/// Pauses after failures: the first, and the longest. Visitors wait meanwhile.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// At the end, so long is tried to put levels back; `testudo cloudflare restore` goes on, and the next start.
const END_MOST: Duration = Duration::from_secs(20);

/// Between two steps that follow each other.
const BREATH: Duration = Duration::from_millis(50);

/// What became of an act that is not done, and why, in words.
type Problem = (Event, String);

fn problem(failure: Failure) -> Problem {
    // A missing zone is told by the API itself, not by something in between that knows nothing.
    let is_told = matches!(&failure, Failure::Refused { problems, .. } if !problems.is_empty());
    let event = if failure.is_missing() && is_told { Event::Missing } else { Event::Failed };
    (event, failure.to_string())
}

/// The guard of a zone, and what it needs.
pub(super) struct Sentry {
    zone: String,
    guard: Guard,
    failures: u32,
    not_before: Option<Instant>,
    /// What is only said to be done: the level that the zone would have.
    pretended: Option<String>,
    is_dry: bool,
}

impl Sentry {
    pub(super) fn new(zone: &str, thresholds: Thresholds, record: Option<Record>, is_dry: bool) -> Self {
        Sentry {
            zone: zone.to_owned(),
            guard: Guard::new(thresholds, record),
            failures: 0,
            not_before: None,
            pretended: None,
            is_dry,
        }
    }

    pub(super) fn zone(&self) -> &str {
        &self.zone
    }

    /// What is raised is put back now.
    fn end(&mut self) {
        self.guard.end();
        self.not_before = None;
        self.failures = 0;
    }

    pub(super) fn is_settling(&self) -> bool {
        self.guard.is_settling()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.guard.is_idle()
    }

    /// Does one thing, if there is one; says whether there was, and what came of it.
    pub(super) fn step<T: Transport>(
        &mut self,
        api: &Api<T>,
        disk: &Disk,
        load: Signals,
        began: Instant,
    ) -> (bool, Option<Why>) {
        let now = Instant::now();
        if self.not_before.is_some_and(|at| at > now) {
            return (false, None);
        }
        let millis = |at: Instant| at.saturating_duration_since(began).as_millis() as u64;
        let act = self.guard.next(millis(now), load);
        if act == Act::Wait {
            return (false, None);
        }
        let done = if self.is_dry { self.pretend(&act, api) } else { self.perform(&act, api, disk) };
        let event = match done {
            Ok(event) => {
                self.failures = 0;
                self.not_before = None;
                event
            }
            Err((event, problem)) => {
                let zone = self.zone.as_str();
                if self.failures == 0 {
                    tracing::warn!(
                        zone,
                        problem,
                        "the security level cannot be dealt with; it is tried again"
                    );
                }
                let pause = (PAUSE_LEAST * (1 << self.failures.min(10))).min(PAUSE_MOST);
                self.failures += 1;
                self.not_before = Some(now + pause);
                event
            }
        };
        // How long it took counts: a dwell begins when the level is raised.
        (true, self.guard.done(millis(now), millis(Instant::now()), event))
    }

    fn perform<T: Transport>(&self, act: &Act, api: &Api<T>, disk: &Disk) -> Result<Event, Problem> {
        let on_disk = |error: std::io::Error| (Event::Failed, error.to_string());
        match act {
            Act::Wait => Ok(Event::Done),
            Act::Ask => api.level(&self.zone, wall_ms()).map(Event::Level).map_err(problem),
            Act::Set(level) => {
                api.set_level(&self.zone, level, wall_ms()).map(|()| Event::Done).map_err(problem)
            }
            Act::Keep(record) => disk.keep_level(&self.zone, record).map(|()| Event::Done).map_err(on_disk),
            Act::Forget => disk.forget_level(&self.zone).map(|()| Event::Done).map_err(on_disk),
        }
    }

    /// Asks, and changes nothing.
    fn pretend<T: Transport>(&mut self, act: &Act, api: &Api<T>) -> Result<Event, Problem> {
        match act {
            Act::Ask => match &self.pretended {
                Some(level) => Ok(Event::Level(level.clone())),
                None => {
                    let level = api.level(&self.zone, wall_ms()).map_err(problem)?;
                    Ok(Event::Level(level))
                }
            },
            Act::Set(level) => {
                self.pretended = Some(level.clone());
                Ok(Event::Done)
            }
            Act::Forget => {
                self.pretended = None;
                Ok(Event::Done)
            }
            Act::Keep(_) | Act::Wait => Ok(Event::Done),
        }
    }

    /// Tells people.
    pub(super) fn tell(&self, why: &Why, load: Signals) {
        let (zone, is_dry) = (self.zone.as_str(), self.is_dry);
        match why {
            Why::Raised { saved } => {
                tracing::warn!(zone, saved, is_dry, ?load, "under attack: the security level is raised");
            }
            Why::Restored { saved } => {
                tracing::warn!(zone, saved, is_dry, "the saved security level is back");
            }
            Why::Theirs { level } => {
                tracing::warn!(zone, level, "somebody has changed the security level; it is left as it is");
            }
            Why::Gone { saved } => {
                tracing::error!(
                    zone,
                    saved,
                    "there is no such zone any more: its saved security level is given up"
                );
            }
            Why::Already => {
                tracing::info!(zone, "the load is high, and the security level is raised already, not by us");
            }
        }
    }
}

/// Watches the load until nobody holds the other end of `end` any more; then puts every level back.
pub(super) fn watch<T: Transport>(
    attack: &Attack,
    api: &Api<T>,
    disk: &Disk,
    mut records: BTreeMap<String, Record>,
    rate: Rate,
    board: &Board,
    end: &Receiver<()>,
) {
    let began = Instant::now();
    let mut figures = Figures::new(&attack.figures, rate);
    let mut sentries: Vec<Sentry> = attack
        .zones
        .iter()
        .map(|zone| {
            let record = if attack.dry_run { None } else { records.remove(zone) };
            Sentry::new(zone, attack.thresholds.clone(), record, attack.dry_run)
        })
        .collect();
    // What was raised in a zone that is no longer named, or before somebody asked for a dry run, is put back all the same.
    sentries.extend(records.into_iter().map(|(zone, record)| {
        let mut sentry = Sentry::new(&zone, attack.thresholds.clone(), Some(record), false);
        sentry.end();
        sentry
    }));
    let mut load = Signals::Between;
    let mut read_at = began;
    let mut ends_at: Option<Instant> = None;
    loop {
        let is_first = read_at == began;
        if ends_at.is_none() && (is_first || read_at.elapsed() >= attack.every) {
            load = figures.read();
            read_at = Instant::now();
        }
        let mut has_worked = false;
        for sentry in &mut sentries {
            let (worked, why) = sentry.step(api, disk, load, began);
            has_worked |= worked;
            if let Some(why) = why {
                sentry.tell(&why, load);
                board.happened(&why);
            }
        }
        let raised = sentries.iter().filter_map(|sentry| {
            let record = sentry.guard.record().filter(|_| !sentry.is_dry)?;
            Some(Raised { zone: sentry.zone.clone(), saved: record.saved.clone() })
        });
        board.levels(raised.collect(), &figures, load);
        if let Some(until) = ends_at
            && (sentries.iter().all(Sentry::is_idle) || Instant::now() >= until)
        {
            break;
        }
        let pause = if has_worked || ends_at.is_some() { BREATH } else { attack.every };
        let is_over = match end.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        };
        if is_over && ends_at.is_none() {
            ends_at = Some(Instant::now() + END_MOST);
            sentries.iter_mut().for_each(Sentry::end);
        } else if is_over {
            // A closed channel does not wait.
            std::thread::sleep(pause);
        }
    }
    for sentry in sentries.iter().filter(|sentry| !sentry.is_idle() && !sentry.is_dry) {
        let zone = sentry.zone();
        if sentry.is_settling() {
            tracing::warn!(
                zone,
                "the saved security level is back, but a change without an answer may still come: `testudo cloudflare \
                 restore` and the next start look again"
            );
        } else {
            tracing::error!(
                zone,
                "the saved security level is not back yet: run `testudo cloudflare restore`"
            );
        }
    }
}
