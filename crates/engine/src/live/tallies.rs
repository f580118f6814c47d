//! What a live run counts for people and their dashboards: by source, node and scenario.

use std::sync::{Arc, Mutex, PoisonError};

use testudo_event::Timestamp;

use super::LiveSource;
use crate::{counters::Counters, detect::BucketCounts, engine::Engine, parse::NODE_COUNTS};

/// Sources that are counted apart, with their types; the lines of all others are counted together.
const MAX_TALLIED: usize = 512;

/// Name of what counts the sources that are not counted apart.
pub const OTHER_SOURCES: &str = "other";

/// Upper bounds of the histogram of parsing times: seconds.
pub const PARSING_BOUNDS: [f64; 10] =
    [0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.0075, 0.01];

/// Upper bounds of the histogram of pouring times: seconds.
pub const POURING_BOUNDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05];

/// How long something took. What is measured is a batch: each of its lines counts with the mean of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// For each bound how many were not above it, those of the bound before left out; what is above all comes
    /// last.
    pub counts: Vec<u64>,
    /// The sum of all: nanoseconds.
    pub nanos: u64,
}

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn merge(&mut self, other: &Histogram) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(to, from)| *to += from);
        self.nanos += other.nanos;
    }

    fn add(&mut self, bounds: &[f64], nanos: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.counts.resize(bounds.len() + 1, 0);
        let mean = (nanos / times) as f64 / 1e9;
        let at = bounds.iter().position(|bound| mean <= *bound).unwrap_or(bounds.len());
        self.counts[at] += times;
        self.nanos += nanos;
    }
}

/// Counts of one node for the lines of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTallies {
    /// Name of the node.
    pub name: Arc<str>,
    /// Its stage.
    pub stage: Arc<str>,
    /// Events past its filter.
    pub hits: u64,
    /// Those that it took.
    pub ok: u64,
    /// Those that it did not take.
    pub ko: u64,
    /// Of a node with a whitelist: its reason, and the events that it matched. It was asked for all `hits`.
    pub whitelist: Option<(Arc<str>, u64)>,
}

/// Counts of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTallies {
    /// `evt.Line.Src`; empty for overflows in their stages, [`OTHER_SOURCES`] for those that are too many.
    pub name: String,
    /// `evt.Line.Module`.
    pub module: String,
    /// The label `type`.
    pub kind: String,
    /// Lines, empty ones left out.
    pub hits: u64,
    /// Lines that went through all stages.
    pub ok: u64,
    /// Lines that did not.
    pub ko: u64,
    /// Lines whose handling panicked.
    pub panics: u64,
    /// By how much the last line that had a date trailed its arrival: nanoseconds.
    pub lag: i64,
    /// Time from a line to its event; see [`PARSING_BOUNDS`].
    pub parsing: Histogram,
    /// Time to pour an event; see [`POURING_BOUNDS`].
    pub pouring: Histogram,
    /// Nodes that were asked.
    pub nodes: Vec<NodeTallies>,
    /// Scenarios, and how many events of the source were poured into their buckets.
    pub poured: Vec<(Arc<str>, u64)>,
}

/// Counts of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioTallies {
    /// Name of the scenario; documents of one name are counted together.
    pub name: Arc<str>,
    /// Buckets that were made.
    pub instantiated: u64,
    /// Buckets that ran over and were told.
    pub overflowed: u64,
    /// Buckets that were ended by `cancel_on`.
    pub canceled: u64,
    /// Buckets whose time was up, or that were removed for want of room.
    pub underflowed: u64,
    /// Buckets that there are now.
    pub buckets: u64,
}

/// Everything that is counted, as it was at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// The arrival of the last line, or the last tick.
    pub at: Timestamp,
    /// All lines.
    pub counters: Counters,
    /// By source.
    pub sources: Vec<SourceTallies>,
    /// By scenario, in the order of the files.
    pub scenarios: Vec<ScenarioTallies>,
    /// Stashes by name, with the number of their entries.
    pub stashes: Vec<(Arc<str>, usize)>,
}

/// Where a live run shows its [`Tallies`], for other threads to read: a few times a second, and at ticks.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Arc<Tallies>>>);

impl Board {
    /// What was shown last.
    pub fn read(&self) -> Arc<Tallies> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show(&self, tallies: Tallies) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tallies);
    }
}

/// Counts of a source, by the numbers of nodes and scenarios.
#[derive(Debug, Default)]
pub(super) struct Row {
    tallies: SourceTallies,
    nodes: Vec<[u64; NODE_COUNTS]>,
    poured: Vec<u64>,
}

/// What a batch adds.
pub(super) struct BatchTally<'b> {
    pub(super) lines: u64,
    pub(super) ok: u64,
    pub(super) panics: u64,
    pub(super) parse_nanos: u64,
    pub(super) pour_nanos: u64,
    pub(super) nodes: &'b [(u32, [u32; NODE_COUNTS])],
}

/// The counts as they are kept.
#[derive(Debug)]
pub(super) struct Ledger {
    rows: Vec<Row>,
    /// Rows that nobody has.
    free: Vec<usize>,
}

impl Ledger {
    /// Where all sources are counted for which there is no row.
    const OTHER: usize = 0;
    /// Where overflows are counted in their stages.
    const OVERFLOWS: usize = 1;

    pub(super) fn new() -> Ledger {
        let mut ledger = Ledger { rows: vec![Row::default(), Row::default()], free: Vec::new() };
        OTHER_SOURCES.clone_into(&mut ledger.rows[Ledger::OTHER].tallies.name);
        ledger
    }

    /// The row of a source, made if there is room.
    pub(super) fn row(&mut self, source: &LiveSource) -> usize {
        let source = &source.source;
        let kind = source.labels.get("type").map_or("", String::as_str);
        let is_it = |row: &Row| {
            row.tallies.name == source.name && row.tallies.module == source.module && row.tallies.kind == kind
        };
        if let Some(at) = self.rows.iter().skip(2).position(is_it) {
            return at + 2;
        }
        let tallies = SourceTallies {
            name: source.name.clone(),
            module: source.module.clone(),
            kind: kind.to_owned(),
            ..SourceTallies::default()
        };
        let row = Row { tallies, ..Row::default() };
        if let Some(free) = self.free.pop() {
            self.rows[free] = row;
            return free;
        }
        if self.rows.len() >= MAX_TALLIED + 2 {
            return Ledger::OTHER;
        }
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// Counts what a row has counted with the other sources: its own is gone.
    pub(super) fn fold(&mut self, row: usize) {
        if row <= Ledger::OVERFLOWS || self.free.contains(&row) {
            return;
        }
        let Some(gone) = self.rows.get_mut(row).map(std::mem::take) else { return };
        self.rows[Ledger::OTHER].add(&gone);
        self.free.push(row);
    }

    /// Counts an event that was poured.
    #[inline]
    pub(super) fn poured(&mut self, row: usize, scenario: u32) {
        let Some(row) = self.rows.get_mut(row) else { return };
        let at = scenario as usize;
        if row.poured.len() <= at {
            row.poured.resize(at + 1, 0);
        }
        row.poured[at] += 1;
    }

    /// Notes by how much a line trailed its arrival.
    pub(super) fn lag(&mut self, row: usize, nanos: i64) {
        if let Some(row) = self.rows.get_mut(row) {
            row.tallies.lag = nanos;
        }
    }

    /// Adds a batch.
    pub(super) fn batch(&mut self, row: usize, batch: &BatchTally<'_>) {
        let Some(row) = self.rows.get_mut(row) else { return };
        row.tallies.hits += batch.lines;
        row.tallies.ok += batch.ok;
        row.tallies.ko += batch.lines - batch.ok;
        row.tallies.panics += batch.panics;
        row.tallies.parsing.add(&PARSING_BOUNDS, batch.parse_nanos, batch.lines);
        row.tallies.pouring.add(&POURING_BOUNDS, batch.pour_nanos, batch.ok);
        row.nodes(batch.nodes);
    }

    /// Adds what the stages of overflows counted.
    pub(super) fn overflows(&mut self, nodes: &[(u32, [u32; NODE_COUNTS])]) {
        self.rows[Ledger::OVERFLOWS].nodes(nodes);
    }

    /// All of it, with names.
    pub(super) fn tallies(
        &self,
        engine: &Engine,
        buckets: &[BucketCounts],
        counters: Counters,
        at: Timestamp,
    ) -> Tallies {
        let mut scenarios: Vec<ScenarioTallies> = Vec::new();
        let mut places = Vec::with_capacity(buckets.len());
        let mut by_name = hashbrown::HashMap::new();
        for (scenario, counts) in engine.scenarios.all.iter().zip(buckets) {
            let name = &scenario.plan.name;
            let place = *by_name.entry(Arc::clone(name)).or_insert_with(|| {
                scenarios.push(ScenarioTallies {
                    name: Arc::clone(name),
                    instantiated: 0,
                    overflowed: 0,
                    canceled: 0,
                    underflowed: 0,
                    buckets: 0,
                });
                scenarios.len() - 1
            });
            places.push(place);
            let to = &mut scenarios[place];
            to.instantiated += counts.instantiated;
            to.overflowed += counts.overflowed;
            to.canceled += counts.canceled;
            to.underflowed += counts.underflowed;
            to.buckets += counts.open;
        }
        let sources = self.rows.iter().filter(|row| row.tallies.hits > 0 || !row.nodes.is_empty());
        let sources = sources.map(|row| row.named(engine, &places, &scenarios)).collect();
        let stashes = engine.world.lock_stashes().sizes();
        Tallies { at, counters, sources, scenarios, stashes }
    }
}

impl Row {
    fn add(&mut self, other: &Row) {
        let (to, from) = (&mut self.tallies, &other.tallies);
        to.hits += from.hits;
        to.ok += from.ok;
        to.ko += from.ko;
        to.panics += from.panics;
        to.parsing.merge(&from.parsing);
        to.pouring.merge(&from.pouring);
        self.nodes.resize(self.nodes.len().max(other.nodes.len()), [0; NODE_COUNTS]);
        for (to, from) in self.nodes.iter_mut().flatten().zip(other.nodes.iter().flatten()) {
            *to += from;
        }
        self.poured.resize(self.poured.len().max(other.poured.len()), 0);
        self.poured.iter_mut().zip(&other.poured).for_each(|(to, from)| *to += from);
    }

    fn nodes(&mut self, nodes: &[(u32, [u32; NODE_COUNTS])]) {
        for (node, counts) in nodes {
            let at = *node as usize;
            if self.nodes.len() <= at {
                self.nodes.resize(at + 1, [0; NODE_COUNTS]);
            }
            for (to, from) in self.nodes[at].iter_mut().zip(counts) {
                *to += u64::from(*from);
            }
        }
    }

    fn named(&self, engine: &Engine, places: &[usize], scenarios: &[ScenarioTallies]) -> SourceTallies {
        let mut tallies = self.tallies.clone();
        let nodes = engine.nodes.iter().zip(&self.nodes).filter(|(_, counts)| counts[0] > 0);
        tallies.nodes = nodes
            .map(|(node, [hits, ok, ko, matched])| NodeTallies {
                name: Arc::clone(&node.name),
                stage: Arc::clone(&node.stage),
                hits: *hits,
                ok: *ok,
                ko: *ko,
                whitelist: node.reason.clone().map(|reason| (reason, *matched)),
            })
            .collect();
        let mut poured = vec![0; scenarios.len()];
        for (place, count) in places.iter().zip(&self.poured) {
            poured[*place] += count;
        }
        let poured = scenarios.iter().zip(poured).filter(|(_, count)| *count > 0);
        tallies.poured = poured.map(|(scenario, count)| (Arc::clone(&scenario.name), count)).collect();
        tallies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_with_the_mean_of_their_batch() {
        let mut histogram = Histogram::default();
        histogram.add(&POURING_BOUNDS, 10_000_000, 10);
        histogram.add(&POURING_BOUNDS, 60_000_000, 1);
        histogram.add(&POURING_BOUNDS, 5, 0);
        assert_eq!(histogram.counts, [10, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((histogram.count(), histogram.nanos), (11, 70_000_000));
    }

    #[test]
    fn too_many_sources_are_counted_together() {
        let source = |at: usize| {
            let source = crate::Source { name: at.to_string(), ..crate::Source::default() };
            LiveSource { source, time_machine: false }
        };
        let mut ledger = Ledger::new();
        let rows: Vec<usize> = (0..MAX_TALLIED + 9).map(|at| ledger.row(&source(at))).collect();
        assert_eq!(ledger.row(&source(3)), rows[3]);
        assert_eq!(rows.iter().filter(|row| **row == Ledger::OTHER).count(), 9);
        // What a source has counted stays, with the others, when it is gone.
        let batch = BatchTally {
            lines: 3,
            ok: 2,
            panics: 1,
            parse_nanos: 1,
            pour_nanos: 1,
            nodes: &[(4, [3, 2, 1, 0])],
        };
        ledger.batch(rows[5], &batch);
        ledger.poured(rows[5], 1);
        ledger.batch(Ledger::OTHER, &batch);
        ledger.fold(rows[5]);
        ledger.fold(rows[5]);
        let other = &ledger.rows[Ledger::OTHER];
        assert_eq!((other.tallies.hits, other.nodes[4], &other.poured[..]), (6, [6, 4, 2, 0], &[0, 1][..]));
        assert_eq!((other.tallies.parsing.count(), other.tallies.panics), (6, 2));
        assert_eq!(ledger.row(&source(1_000)), rows[5]);
        assert_eq!(ledger.row(&source(1_001)), Ledger::OTHER);
    }
}
