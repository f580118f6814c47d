//! What a rule costs for each line.

use std::time::Instant;

use serde::Serialize;
use testudo_engine::{Batch, Engine, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp};

/// Pairs of runs, one with and one without the rules; the first pair warms up and does not count.
const PAIRS: usize = 8;

/// Lines of a run, at least: a short log is read again and again, so that what comes once, such as making the automata of
/// patterns, does not count.
const LINES: u64 = 20_000;

/// The cost of a line, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Lines that were run in each round.
    pub lines: u64,
    /// The median without the rules.
    pub without: f64,
    /// The median with them.
    pub with: f64,
    /// The median of the differences of neighbouring runs.
    pub difference: f64,
    /// How far the differences are spread: half of them lie within so much of their median.
    pub noise: f64,
}

impl Cost {
    /// Whether the difference is one that the measurement can see.
    pub fn is_clear(&self) -> bool {
        self.difference.abs() > self.noise
    }
}

/// Hears nothing.
struct Deaf;

impl Sink for Deaf {
    fn overflow(&mut self, _: &Overflow, _: testudo_engine::Line<'_>) {}
}

/// Runs the batches by turns through an engine without and one with the rules, on one thread. `None` where there is no line.
///
/// Other programs on the machine disturb this. Neighbouring runs are compared, so that what changes slowly does not matter;
/// what is left is told as noise.
pub fn cost(
    without: &Engine,
    with: &Engine,
    sources: &[Source],
    now: Timestamp,
    batches: &[Batch],
) -> Option<Cost> {
    let once: u64 = batches.iter().map(|batch| batch.ends.len() as u64).sum();
    if once == 0 {
        return None;
    }
    let times = LINES.div_ceil(once);
    let lines = once * times;
    let run = |engine: &Engine| {
        let mut replay = Replay::new(engine, sources, now);
        let batches = (0..times).flat_map(|_| batches.iter().cloned());
        let began = Instant::now();
        replay.run_with(1, batches, &mut Deaf, &mut |_| ());
        began.elapsed().as_secs_f64() * 1e9 / lines as f64
    };
    let mut pairs = Vec::with_capacity(PAIRS);
    for number in 0..PAIRS {
        // Who comes first changes, too.
        let pair = if number % 2 == 0 {
            let first = run(without);
            (first, run(with))
        } else {
            let first = run(with);
            (run(without), first)
        };
        if number > 0 {
            pairs.push(pair);
        }
    }
    let difference = median(pairs.iter().map(|(without, with)| with - without));
    Some(Cost {
        lines,
        without: median(pairs.iter().map(|(without, _)| *without)),
        with: median(pairs.iter().map(|(_, with)| *with)),
        difference,
        noise: median(pairs.iter().map(|(without, with)| (with - without - difference).abs())),
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
