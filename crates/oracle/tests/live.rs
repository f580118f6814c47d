//! A live run with rules made by chance: one thread tells what many tell, and a run that is saved and restored
//! in between, each time into an engine of its own, tells what one that is not tells.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::{fmt::Write as _, sync::Arc};

use testudo_engine::{Engine, Input, Live, LiveBatch, LiveSink, LiveSource, NoData, Seen, Spot};
use testudo_event::Overflow;
use testudo_rules::set::RuleSet;

use common::{generated::Maker, now, options, random::Random, source, written};

/// Sets of generated rules.
const SETS: u64 = 60;

/// Lines for each of them.
const LINES: usize = 120;

/// Everything that a run tells, as text.
#[derive(Default)]
struct Transcript(String);

impl LiveSink for Transcript {
    fn line(&mut self, batch: &LiveBatch, at: usize, seen: Seen<'_>) {
        let _ = writeln!(self.0, "{}:{at} {seen:?}", batch.number);
    }

    fn overflow(&mut self, overflow: &Overflow, spot: Spot) {
        let _ = writeln!(self.0, "{spot:?} {}", written(overflow));
    }

    fn done(&mut self, batch: LiveBatch) {
        let _ = writeln!(self.0, "{} done", batch.number);
    }
}

/// Lines of several sources, up to date, late, or on their own time; time passes now and then.
fn inputs(random: &mut Random) -> Vec<Input> {
    const SOURCES: usize = 3;
    let sources: Vec<Arc<LiveSource>> = (0..SOURCES)
        .map(|at| {
            Arc::new(LiveSource { source: source(&format!("{at}.log"), "test"), time_machine: at == 2 })
        })
        .collect();
    let lines = Maker { random }.lines(SOURCES, LINES);
    let mut inputs = Vec::new();
    let (ahead, mut seconds) = ([0, 600, 7_200][random.below(3)], 0);
    let mut at = 0;
    while at < lines.len() {
        seconds += random.below(40) as i64;
        let arrival = now().add_nanos((ahead + seconds) * 1_000_000_000);
        let of = lines[at].source;
        let mut batch = LiveBatch {
            number: inputs.len() as u64,
            source: Arc::clone(&sources[of]),
            arrival,
            text: String::new(),
            ends: Vec::new(),
        };
        let most = 1 + random.below(6);
        for line in lines[at..].iter().take_while(|line| line.source == of).take(most) {
            batch.text.push_str(&line.text);
            batch.ends.push(batch.text.len() as u32);
        }
        at += batch.len();
        inputs.push(Input::Lines(batch));
        if random.once_in(6) {
            seconds += random.below(60) as i64;
            inputs.push(Input::Tick(now().add_nanos((ahead + seconds) * 1_000_000_000)));
        }
    }
    inputs
}

/// Runs inputs without interruption.
fn straight(set: &RuleSet, inputs: &[Input], workers: usize) -> String {
    let (engine, _) = Engine::new(set, &NoData, options(false));
    let mut told = Transcript::default();
    let mut live = Live::new(&engine);
    live.run(workers, inputs.iter().cloned(), &mut told);
    assert_eq!(live.counters().panics, 0);
    told.0
}

/// Runs inputs with a new engine for each of so many pieces.
fn in_pieces(set: &RuleSet, inputs: &[Input], pieces: usize, random: &mut Random) -> String {
    let mut told = Transcript::default();
    let mut state: Option<Vec<u8>> = None;
    let mut rest = inputs;
    for piece in (0..pieces).rev() {
        let (engine, _) = Engine::new(set, &NoData, options(false));
        let mut live = Live::new(&engine);
        if let Some(state) = &state {
            assert_eq!(live.restore(state).unwrap().dropped_buckets, 0);
        }
        let (first, last) = rest.split_at(if piece == 0 { rest.len() } else { random.below(rest.len() + 1) });
        live.run(1 + piece % 2, first.iter().cloned(), &mut told);
        rest = last;
        state = Some(live.save());
    }
    told.0
}

fn same(told: &str, expected: &str, what: &str) {
    if let Some((told, expected)) =
        told.lines().zip(expected.lines()).find(|(told, expected)| told != expected)
    {
        panic!("{what}:\n  {told}\ninstead of\n  {expected}");
    }
    assert_eq!(told.len(), expected.len(), "{what}");
}

#[test]
fn generated_rules() {
    let mut overflows = 0;
    for seed in 0..SETS {
        let mut random = Random::new(0x11fe ^ (seed << 20));
        let (set, _) = Maker { random: &mut random }.rules().load();
        let inputs = inputs(&mut random);
        let expected = straight(&set, &inputs, 1);
        same(&straight(&set, &inputs, 4), &expected, &format!("set {seed}, four threads"));
        for pieces in [2, 5] {
            let told = in_pieces(&set, &inputs, pieces, &mut random);
            same(&told, &expected, &format!("set {seed}, {pieces} pieces"));
        }
        overflows += expected.lines().filter(|line| line.contains("\"mapkey\"")).count();
    }
    println!("{overflows} overflows");
    assert!(overflows > 500, "{overflows}");
}
