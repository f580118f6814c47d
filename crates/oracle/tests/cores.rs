//! One core is as good as many: whatever the number of threads and the size of batches, a run tells the same,
//! in the same order, to the byte; and it does so every time.

mod common;

use std::fmt::Write as _;

use testudo_engine::{Batch, Counters, Engine, Line, LineOutcome, NoData, NoObserver, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp};

use common::{Input, WholeHub, generated::Maker, now, options, random::Random, source, written};

/// Sets of generated rules.
const SETS: u64 = 60;

/// Lines for each of them: enough for many batches.
const LINES: usize = 120;

/// Everything that a run tells, as text.
#[derive(Default)]
struct Transcript(String);

impl Sink for Transcript {
    fn line(&mut self, line: Line<'_>, outcome: LineOutcome) {
        let time = line.time.map(Timestamp::to_rfc3339_nano);
        let _ = writeln!(self.0, "{}:{} {outcome:?} {time:?} {:?}", line.source, line.number, line.text);
    }

    fn overflow(&mut self, overflow: &Overflow, line: Line<'_>) {
        let _ = writeln!(self.0, "{}:{} {}", line.source, line.number, written(overflow));
    }
}

/// Cuts lines into batches: each of lines of one source, as long as chance has it. What of the lines comes
/// first within a source stays so.
fn batches(sources: usize, lines: &[Input], most: usize, random: &mut Random) -> Vec<Batch> {
    let mut waiting: Vec<Vec<&str>> = vec![Vec::new(); sources];
    for line in lines {
        waiting[line.source].push(&line.text);
    }
    let mut taken = vec![0; sources];
    let mut batches = Vec::new();
    while taken.iter().zip(&waiting).any(|(taken, lines)| *taken < lines.len()) {
        let source = random.below(sources);
        let rest = &waiting[source][taken[source]..];
        let mut batch =
            Batch { source: source as u32, first_line: taken[source] as u64 + 1, ..Batch::default() };
        for line in rest.iter().take(1 + random.below(most)) {
            batch.text.push_str(line);
            batch.ends.push(batch.text.len() as u32);
        }
        taken[source] += batch.ends.len();
        if !batch.ends.is_empty() {
            batches.push(batch);
        }
    }
    batches
}

/// How a run is done.
#[derive(Clone, Copy, Debug)]
enum Way {
    OneByOne,
    /// With as many threads as there are cores.
    Cores,
    With(usize),
}

/// Runs batches; gives what was told and counted.
fn run(engine: &Engine, sources: &[Source], batches: &[Batch], way: Way, window: bool) -> (String, Counters) {
    let at = |seconds| window.then(|| Timestamp::from_unix(now().unix() + seconds, 0));
    let mut replay = Replay::new(engine, sources, now()).window(at(5), at(300));
    let mut told = Transcript::default();
    let mut done = Vec::new();
    let given = batches.iter().cloned();
    match way {
        Way::OneByOne => {
            for batch in given {
                for (number, text) in batch.lines() {
                    replay.line(batch.source, number, text, &mut NoObserver, &mut told);
                }
                done.push((batch.source, batch.first_line));
            }
        }
        Way::Cores => replay.run(given, &mut told, &mut |batch| done.push((batch.source, batch.first_line))),
        Way::With(workers) => replay.run_with(workers, given, &mut told, &mut |batch| {
            done.push((batch.source, batch.first_line));
        }),
    }
    let expected: Vec<_> = batches.iter().map(|batch| (batch.source, batch.first_line)).collect();
    assert_eq!(done, expected, "batches are done in their order: {way:?}");
    // How many lines had to wait for others depends on the way; nothing else does.
    (told.0, Counters { ordered: 0, ..replay.counters() })
}

/// All ways give the same.
fn check(engine: &Engine, sources: &[Source], batches: &[Batch], window: bool, what: &str) -> usize {
    let (expected, counters) = run(engine, sources, batches, Way::OneByOne, window);
    for way in [Way::OneByOne, Way::Cores, Way::With(1), Way::With(2), Way::With(5), Way::With(5)] {
        let (told, counted) = run(engine, sources, batches, way, window);
        if let Some((told, expected)) =
            told.lines().zip(expected.lines()).find(|(told, expected)| told != expected)
        {
            panic!("{what}, {way:?}:\n  {told}\ninstead of\n  {expected}");
        }
        assert_eq!(told.len(), expected.len(), "{what}, {way:?}");
        assert_eq!(counted, counters, "{what}, {way:?}");
    }
    expected.lines().filter(|line| line.contains("\"mapkey\"")).count()
}

#[test]
fn generated_rules() {
    let sources = [source("0.log", "test"), source("1.log", "test"), source("2.log", "test")];
    let mut overflows = 0;
    for seed in 0..SETS {
        let mut random = Random::new(0xc07e5 ^ (seed << 20));
        let (set, _) = Maker { random: &mut random }.rules().load();
        let mut lines = Maker { random: &mut random }.lines(sources.len(), LINES);
        for line in &mut lines {
            if random.once_in(30) {
                line.text.clear();
            }
        }
        let (engine, _) = Engine::new(&set, &NoData, options(false));
        let batches = batches(sources.len(), &lines, 1 + (seed as usize % 9), &mut random);
        overflows += check(&engine, &sources, &batches, seed % 3 == 2, &format!("set {seed}"));
    }
    println!("{overflows} overflows");
    assert!(overflows > 500, "{overflows}");
}

/// Logs of the hub's tests that fill buckets, some of which keep a stash, as many sources at once.
#[test]
fn logs_of_the_hub() {
    let Some(hub) = WholeHub::load() else { return };
    let logs = common::logs::all(&hub);
    let chosen = |name: &str| {
        ["ssh", "auditd", "charon", "http", "nginx", "couchdb", "postfix", "freeswitch", "pterodactyl"]
            .iter()
            .any(|part| name.contains(part))
    };
    let logs: Vec<_> = logs.into_iter().filter(|log| chosen(&log.name)).collect();
    let sources: Vec<Source> = logs.iter().map(|log| log.source.clone()).collect();
    let mut lines = Vec::new();
    for (source, log) in logs.iter().enumerate() {
        lines.extend(log.lines.iter().map(|text| Input { source, text: text.clone() }));
    }
    let engine = hub.engine(false);
    let mut random = Random::new(0x7e57);
    let mut overflows = 0;
    for most in [3, 40] {
        let batches = batches(sources.len(), &lines, most, &mut random);
        overflows += check(&engine, &sources, &batches, false, &format!("batches of {most}"));
    }
    println!("{} lines of {} logs, {overflows} overflows", lines.len(), logs.len());
    assert!(overflows > 50, "{overflows}");
}
