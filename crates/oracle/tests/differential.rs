//! The engine against the plain interpreter, with all rules of the public hub: over the logs of the hub's
//! functional tests as they are, and over such logs with their lines mutated. `TESTUDO_DIFF_ROUNDS` gives
//! another number of rounds, each then over all logs.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::{
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use testudo_engine::Engine;
use testudo_oracle::{Outcome, Plain};

use common::{
    Input, WholeHub, differences, logs::Log, mutate::mutated, overflow_differences, random::Random, run_fast,
    run_plain, run_quick,
};

/// Where the random numbers of mutated lines begin.
const SEED: u64 = 0x7e57;

/// How much of what differs is printed.
const SHOWN: usize = 6_000;

/// Of each log, in one round: enough lines to overflow most buckets, few enough for every day.
const MUTATED_LINES: usize = 14;

/// In the ordinary test: rounds, each over every so many logs.
const ROUNDS: usize = 4;

/// Everything that takes long to make, once.
struct Ready {
    logs: Vec<Log>,
    watched: Mutex<Engine>,
    quick: Mutex<Engine>,
    plains: Mutex<Vec<Plain>>,
}

static READY: LazyLock<Option<Ready>> = LazyLock::new(|| {
    let start = Instant::now();
    let hub = WholeHub::load()?;
    let logs = common::logs::all(&hub);
    let plains = thread::scope(|scope| {
        let plains = [(); 2].map(|()| scope.spawn(|| common::plain(&hub.rules, &hub.files)));
        plains.map(|plain| plain.join().unwrap()).into()
    });
    let ready = Ready {
        logs,
        watched: Mutex::new(hub.engine(true)),
        quick: Mutex::new(hub.engine(false)),
        plains: Mutex::new(plains),
    };
    println!("made ready in {:.1} s", start.elapsed().as_secs_f64());
    Some(ready)
});

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs logs through all interpreters; gives what differs.
fn compare(ready: &Ready, logs: &[Log]) -> Vec<String> {
    let start = Instant::now();
    // The plain interpreters take long and have no state between logs: each takes the next log.
    let mut plains = lock(&ready.plains);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (give, results) = mpsc::channel::<(usize, Vec<Input>, Outcome)>();
    let mut wrong = Vec::new();
    let mut lines = 0;
    let mut overflows = 0;
    thread::scope(|scope| {
        for plain in plains.iter_mut() {
            let (give, next) = (give.clone(), &next);
            scope.spawn(move || {
                while let Some((at, log)) = {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    logs.get(at).map(|log| (at, log))
                } {
                    let lines: Vec<Input> =
                        log.lines.iter().map(|text| Input { source: 0, text: text.clone() }).collect();
                    let outcome = run_plain(plain, std::slice::from_ref(&log.source), &lines);
                    give.send((at, lines, outcome)).unwrap();
                }
            });
        }
        drop(give);
        let (watched, quick) = (lock(&ready.watched), lock(&ready.quick));
        for (at, inputs, plain) in results {
            let log = &logs[at];
            let sources = std::slice::from_ref(&log.source);
            let fast = run_fast(&watched, sources, &inputs, true);
            let found = differences(&fast, &plain, &inputs, true);
            if !found.is_empty() {
                wrong.push((at, format!("{} (all fields captured):\n{found}", log.name)));
            }
            // As logs are run outside of tests: only what rules read is captured.
            let fast = run_fast(&quick, sources, &inputs, false);
            let found = differences(&fast, &plain, &inputs, false);
            if !found.is_empty() {
                wrong.push((at, format!("{} (fields that are read captured):\n{found}", log.name)));
            }
            let found = overflow_differences(&run_quick(&quick, sources, &inputs), &plain.overflows);
            if !found.is_empty() {
                wrong.push((at, format!("{} (unwatched):\n{found}", log.name)));
            }
            lines += inputs.len();
            overflows += plain.overflows.len();
        }
    });
    drop(plains);
    assert!(lines > 0);
    println!(
        "{} logs, {lines} lines, {overflows} overflows in {:.1} s",
        logs.len(),
        start.elapsed().as_secs_f64()
    );
    wrong.sort_unstable();
    wrong.into_iter().map(|(_, text)| text).collect()
}

fn check(wrong: &[String]) {
    let text: String = wrong.concat();
    let shown: String = text.chars().take(SHOWN).collect();
    assert!(wrong.is_empty(), "{} runs differ:\n{shown}", wrong.len());
}

#[test]
fn logs_of_the_hub() {
    let Some(ready) = &*READY else { return };
    assert!(ready.logs.len() > 300, "{}", ready.logs.len());
    check(&compare(ready, &ready.logs));
}

/// Mutates logs, another way in each round.
fn mutated_logs(ready: &Ready, round: usize, every: usize) -> Vec<Log> {
    let pool: Vec<String> = ready.logs.iter().flat_map(|log| log.lines.iter().take(3).cloned()).collect();
    let mut logs = Vec::new();
    for (at, log) in ready.logs.iter().enumerate().filter(|(at, _)| (at + round).is_multiple_of(every)) {
        let mut random = Random::new(SEED ^ ((round as u64) << 32) ^ at as u64);
        let first = random.below(log.lines.len().saturating_sub(MUTATED_LINES) + 1);
        let chosen = &log.lines[first..log.lines.len().min(first + MUTATED_LINES)];
        let name = format!("{} mutated in round {round}", log.name);
        logs.push(Log { name, source: log.source.clone(), lines: mutated(chosen, &pool, &mut random) });
    }
    logs
}

#[test]
fn mutated_logs_of_the_hub() {
    let Some(ready) = &*READY else { return };
    let rounds: Option<usize> =
        std::env::var("TESTUDO_DIFF_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut wrong = Vec::new();
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let every = if rounds.is_some() { 1 } else { ROUNDS };
        wrong.extend(compare(ready, &mutated_logs(ready, round, every)));
    }
    check(&wrong);
}
