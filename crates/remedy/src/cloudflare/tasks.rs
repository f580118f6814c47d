//! What is done once, at the command of a person or of the service manager.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use testudo_cloudflare::{Api, Gauge, Kind, Signals};

use super::config::CloudflareConfig;
use super::daemon::{CloudflareError, gauge, known, only_back};
use super::disk::{Disk, State};
use super::guards::Sentry;
use super::http::Https;
use super::page::Board;
use super::sync::{Work, wall_ms};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);

/// What became of the saved levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Zones with nothing left to put back.
    pub done: Vec<String>,
    /// Zones whose level could not be put back in time.
    pub left: Vec<String>,
    /// Zones whose level is back, where a change without an answer may still come.
    pub settling: Vec<String>,
    /// Files that cannot be read, and what to do about each.
    pub broken: Vec<String>,
}

/// Puts saved security levels back, of all zones that have one, and tries for so long. A change that was sent before may
/// still be carried out: the levels are looked at until that cannot be any more. Nobody else may be at work: one who is
/// about to raise a level would do so after nothing is left on the disk.
///
/// # Errors
/// Somebody is at work, or nothing can be read or sent at all.
pub fn restore(config: &CloudflareConfig, most: Duration) -> Result<Restored, CloudflareError> {
    let disk = Disk::open(&config.state_dir)?;
    let _lock = disk.lock()?;
    let (records, broken) = disk.levels()?;
    let api = Api::new(Https::new(config)?, gauge(config, known(&disk, config).budget)).urgent();
    let thresholds = only_back(config);
    let mut sentries: Vec<Sentry> = records
        .into_iter()
        .map(|(zone, record)| Sentry::new(&zone, thresholds.clone(), Some(record), false))
        .collect();
    if !sentries.is_empty() {
        let seconds = thresholds.settle_ms.div_ceil(1_000);
        tracing::info!(seconds, "saved security levels are put back, and looked at again for so long");
    }
    let began = Instant::now();
    while began.elapsed() < most && !sentries.iter().all(Sentry::is_idle) {
        let mut has_worked = false;
        for sentry in &mut sentries {
            let (worked, why) = sentry.step(&api, &disk, Signals::Low, began);
            has_worked |= worked;
            if let Some(why) = why {
                sentry.tell(&why, Signals::Low);
            }
        }
        if !has_worked {
            thread::sleep(AGAIN);
        }
    }
    let broken = broken.iter().map(ToString::to_string).collect();
    let mut restored = Restored { broken, ..Restored::default() };
    for sentry in &sentries {
        let names = match sentry {
            _ if sentry.is_idle() => &mut restored.done,
            _ if sentry.is_settling() => &mut restored.settling,
            _ => &mut restored.left,
        };
        names.push(sentry.zone().to_owned());
    }
    Ok(restored)
}

/// What was taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenAway {
    /// Rules of zones.
    pub rules: u64,
    /// Lists.
    pub lists: usize,
    /// Keys of Workers KV.
    pub pairs: usize,
}

/// Takes away what was made: rules, lists, pairs. Nobody else may be at work.
///
/// # Errors
/// Somebody is at work, or not everything could be taken away.
pub fn remove(config: &CloudflareConfig) -> Result<TakenAway, CloudflareError> {
    let disk = Disk::open(&config.state_dir)?;
    let _lock = disk.lock()?;
    let state = known(&disk, config);
    let api = Api::new(Https::new(config)?, gauge(config, state.budget.clone()));
    let taken = Work::new(config, &api, &disk, state, Board::default()).take_away();
    let (rules, lists, pairs) = taken.map_err(CloudflareError::Left)?;
    // What was spent counts for the next run.
    let spent = State { budget: api.gauge().budget().clone(), ..State::default() };
    if let Err(error) = disk.save(&spent) {
        tracing::warn!(%error, "what is known cannot be forgotten; Cloudflare is asked by the next run");
    }
    Ok(TakenAway { rules, lists, pairs })
}

/// What is known, as people read it. Nothing is asked of Cloudflare.
///
/// # Errors
/// The folder cannot be read.
pub fn status(config: &CloudflareConfig) -> Result<String, CloudflareError> {
    let disk = Disk::open(&config.state_dir)?;
    let state = known(&disk, config);
    let (records, broken) = disk.levels()?;
    let mut out = String::new();
    // Writing to a text cannot fail.
    for problem in &broken {
        let _ = writeln!(out, "a saved security level cannot be read: {problem}");
    }
    for list in &config.lists {
        let name = &list.plan.name;
        let known = state.lists.get(name).cloned().unwrap_or_default();
        let left_out = state.left_out.get(name).copied().unwrap_or(0);
        let _ = write!(out, "list {name}: {} of {} items", known.items.len(), list.plan.capacity);
        let foreign = known.foreign.len();
        let notes = [
            (left_out > 0).then(|| format!("{left_out} without room")),
            (foreign > 0).then(|| format!("{foreign} of others")),
            known.pending.map(|pending| format!("{} on their way", pending.nets.len())),
            known.id.is_none().then(|| "not made yet".to_owned()),
        ];
        let notes: Vec<String> = notes.into_iter().flatten().collect();
        let _ = writeln!(out, "{}{}", if notes.is_empty() { "" } else { ", " }, notes.join(", "));
    }
    if config.kv.is_some() {
        let _ = writeln!(out, "kv: {} keys, {} networks", state.kv.pairs.len(), state.kv.ranges.len());
    }
    for zone in &config.zones {
        let rules = state.zones.get(&zone.id).map_or(0, |zone| zone.rules.len());
        let level = match records.get(&zone.id) {
            Some(record) => format!("security level {}, {} comes back", record.raised, record.saved),
            None => "security level untouched".to_owned(),
        };
        let _ = writeln!(out, "zone {}: {rules} rules, {level}", zone.id);
    }
    for zone in records.keys().filter(|zone| !config.zones.iter().any(|known| known.id == **zone)) {
        let _ =
            writeln!(out, "zone {zone}: not in the configuration, and its security level is to come back");
    }
    let mut gauge = Gauge::new(config.limits.clone(), state.budget);
    for kind in Kind::ALL {
        if let Some(most) = gauge.most(kind) {
            let left = gauge.left(kind, 0, wall_ms());
            let _ = writeln!(out, "budget {}: {left} of {most} left", kind.name());
        }
    }
    Ok(out)
}
