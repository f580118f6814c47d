use std::{collections::BTreeSet, fmt::Write as _};

use testudo_event::YearClock;
use testudo_rules::{Severity, SourceFile, load_parsers, load_scenarios, set::RuleSet};

use super::*;
use crate::{
    Engine, NoData, NoObserver, Options,
    detect::{Pours, Selector},
    parse::Worker,
};

const PARSER: &str = r#"
name: test/reader
description: reads the lines of this test
filter: "evt.Line.Raw != ''"
grok:
  pattern: '^%{NOTSPACE:when} %{NOTSPACE:who} %{NOTSPACE:what}$'
  apply_on: Line.Raw
statics:
  - meta: source_ip
    expression: evt.Parsed.who
  - meta: what
    expression: evt.Parsed.what
  - target: evt.StrTime
    expression: evt.Parsed.when
---
name: test/dates
description: reads their dates
filter: "evt.StrTime != ''"
statics:
  - method: ParseDate
    expression: evt.StrTime
  - target: evt.MarshaledTime
    expression: evt.Enriched.MarshaledTime
"#;

/// Buckets of all sorts, for the same lines.
const SCENARIOS: &str = r#"
type: leaky
name: test/leaky
description: a test
filter: "evt.Meta.what != 'nothing'"
groupby: evt.Meta.source_ip
leakspeed: 10s
capacity: 3
blackhole: 1m
---
type: leaky
name: test/distinct
description: a test
filter: "evt.Meta.what != 'nothing'"
groupby: evt.Meta.source_ip
distinct: evt.Meta.what
leakspeed: 1h
capacity: 20
---
type: conditional
name: test/conditional
description: a test
filter: "evt.Meta.what != 'nothing'"
groupby: evt.Meta.source_ip
cancel_on: "evt.Meta.what == 'cancel'"
leakspeed: 2h
capacity: -1
condition: |
  len(filter(queue.Queue, {#.Meta.what == 'w7'})) >= 3
---
type: conditional
name: test/bounded
description: a test
filter: "evt.Meta.what != 'nothing'"
groupby: evt.Meta.source_ip
leakspeed: 2h
capacity: 3
condition: |
  len(filter(queue.Queue, {#.Meta.what == 'w5'})) >= 3
---
type: counter
name: test/counter
description: a test
filter: "evt.Meta.what == 'w1'"
groupby: evt.Meta.source_ip
duration: 20m
capacity: -1
---
type: leaky
name: test/scope
description: a test
filter: "evt.Meta.what == 'w2'"
groupby: evt.Meta.source_ip
leakspeed: 1h
capacity: 4
cache_size: 2
scope:
  type: user
  expression: evt.Meta.what
---
type: trigger
name: test/trigger
description: a test
filter: "evt.Meta.what == 'w3'"
groupby: evt.Meta.source_ip
blackhole: 1m
"#;

fn file(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: path.to_owned(), text: text.to_owned() })
}

/// The rules of these tests, with this budget.
pub(in crate::detect) fn engine(bucket_bytes: usize) -> Engine {
    let parsers = load_parsers(file("s00-raw/test.yaml", PARSER), "s00-raw");
    let scenarios = load_scenarios(file("test.yaml", SCENARIOS));
    for diagnostic in parsers.diagnostics.iter().chain(&scenarios.diagnostics) {
        assert_ne!(diagnostic.severity, Severity::Error, "{diagnostic:?}");
    }
    let rules = RuleSet { parsers: parsers.items, scenarios: scenarios.items, ..RuleSet::default() };
    let options = Options { bucket_bytes, ..Options::new(YearClock::Current(2026)) };
    Engine::new(&rules, &NoData, options).0
}

/// Numbers that look random, always the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn line(second: i64, who: u64, what: &str) -> String {
    let when = Timestamp::from_unix(1_772_323_200 + second, 0).to_rfc3339_nano();
    format!("{when} 10.{}.{}.{} {what}", who >> 16 & 255, who >> 8 & 255, who & 255)
}

/// Lines of a few chatty sources and many that come once.
fn lines(count: usize) -> Vec<String> {
    let mut random = Numbers(7);
    (0..count as i64)
        .map(|second| {
            let who = if random.below(2) == 0 { random.below(20) } else { 1_000 + random.below(100_000) };
            let what = match random.below(50) {
                0 => "cancel".to_owned(),
                1 => "nothing".to_owned(),
                2 => "x".repeat(random.below(3_000) as usize + 1),
                what => format!("w{}", what % 12),
            };
            // Now and then a line is late.
            line(second - if random.below(10) == 0 { 300 } else { 0 }, who, &what)
        })
        .collect()
}

/// The bytes of all buckets and their events, counted from nothing.
fn counted(buckets: &Buckets) -> usize {
    let mut events = BTreeSet::new();
    let mut bytes = 0;
    for (_, bucket) in buckets.tables.all() {
        bytes += bucket.bytes();
        for event in bucket.queue.iter() {
            if events.insert(std::ptr::from_ref(event)) {
                bytes += event.bytes();
            }
        }
    }
    bytes
}

/// Parses, selects and pours, as a replay does, and shows the buckets after each line.
fn pour_all(engine: &Engine, lines: &[String], mut show: impl FnMut(&Buckets, &Counters)) -> Vec<String> {
    let mut worker = Worker::new(&engine.keys);
    let (mut selector, mut buckets) =
        (Selector::default(), Buckets::new(engine.options.bucket_bytes, engine.scenarios.all.len()));
    let mut told = Vec::new();
    for text in lines {
        worker.record.clear();
        worker.record.mode = Mode::Replay;
        worker.record.set(crate::keys::LINE_RAW, text);
        let parsed = engine.parser(false, true, engine.options.years).run(&mut worker, &mut NoObserver);
        assert!(matches!(parsed, Ok(true)), "{text}");
        let Worker { record, counters, .. } = &mut worker;
        let Engine { scenarios, keys, world, known, .. } = engine;
        let (observer, mut pours) = (&mut NoObserver, Pours::default());
        let held =
            selector.select(scenarios, record, keys, world, known, true, counters, observer, &mut pours);
        let now = record.time.unwrap_or_default();
        let pouring = Pouring {
            scenarios: &engine.scenarios,
            alerts: Alerts {
                keys: &engine.keys,
                world: &engine.world,
                known: &engine.known,
                context: &engine.scenarios.context,
                now,
            },
            source: 0,
        };
        let mut emissions = Vec::new();
        buckets.advance(0, record.time, &pouring, counters, &mut emissions);
        if let Some(held) = held {
            let frozen = pours.of(&held);
            for pour in frozen.pours {
                emissions.extend(buckets.pour(&frozen, pour, &pouring, counters));
            }
            buckets.settle(&frozen);
        }
        for emission in emissions {
            told.push(format!("{:?}", emission.overflow));
        }
        show(&buckets, counters);
    }
    told
}

/// The running count is what a count from nothing gives, whatever comes and goes.
#[test]
fn bytes_are_counted_as_they_come_and_go() {
    // Without and with evicting.
    for (budget, evicts) in [(DEFAULT_BUCKET_BYTES, false), (200_000, true)] {
        let engine = engine(budget);
        let (mut lines_seen, mut most, mut evicted) = (0, 0, 0);
        let told = pour_all(&engine, &lines(4_000), |buckets, counters| {
            lines_seen += 1;
            if lines_seen % 7 == 0 {
                assert_eq!(buckets.bytes, counted(buckets), "line {lines_seen}");
                assert_eq!(buckets.len(), buckets.tables.all().count());
            }
            most = most.max(buckets.bytes);
            evicted = counters.evicted;
        });
        assert!(told.len() > 50, "{}", told.len());
        assert_eq!(evicted > 0, evicts);
        // Evicting comes before the next bucket: what one line adds goes beyond.
        assert!(!evicts || (most > budget / 2 && most < budget + 20_000), "{most}");
    }
}

/// A shortage of memory is met in the same way however often it is run.
#[test]
fn evicting_is_always_the_same() {
    let run = || {
        let mut trace = String::new();
        let told = pour_all(&engine(150_000), &lines(3_000), |buckets, counters| {
            let _ = writeln!(trace, "{} {} {}", buckets.bytes, buckets.len(), counters.evicted);
        });
        (told, trace)
    };
    let (first, second) = (run(), run());
    assert!(first == second);
}

/// Those go whose last event is the oldest, then by class and key.
#[test]
fn the_oldest_go_first() {
    let engine = engine(DEFAULT_BUCKET_BYTES);
    let mut random = Numbers(3);
    for count in [0, 1, 2, 10, 99, 100, 1_000] {
        let mut tables = Tables::default();
        let mut model = BTreeSet::new();
        for group in 0..100 {
            let (class, group) = (random.below(3) as u32, format!("{}", group * 7 % 100));
            let scenario = &engine.scenarios.all[0];
            let mut bucket = Bucket::new(0, scenario, &group, None, Mode::Replay, 0);
            // Few instants, so that many are equal; some differ by less than a second.
            bucket.last = Timestamp::from_unix(random.below(4) as i64, random.below(2) as u32 * 5);
            model.insert((bucket.last, class, group.clone()));
            tables.insert(tables.key(class, &group), Box::new(bucket));
        }
        let mut gone = BTreeSet::new();
        let mut ended = 0;
        tables.evict(count, |_| ended += 1);
        let left: BTreeSet<_> =
            tables.all().map(|(class, bucket)| (bucket.last, class, bucket.key().to_owned())).collect();
        for _ in 0..count {
            gone.extend(model.pop_first());
        }
        assert_eq!(left, model, "{count}");
        assert_eq!((ended, tables.len()), (gone.len(), model.len()));
    }
}

/// Sweeping looks into no table that has nothing to forget, and forgets all the same.
#[test]
fn sweeping_forgets_what_is_over() {
    let engine = engine(DEFAULT_BUCKET_BYTES);
    let scenarios = &engine.scenarios;
    let mut random = Numbers(11);
    let mut tables = Tables::default();
    let mut model: Vec<(u32, String, Timestamp, u32)> = Vec::new();
    let mut clocks = [Timestamp::from_unix(1_000_000, 0); 2];
    for round in 0..60 {
        for _ in 0..20 {
            let owner = random.below(scenarios.all.len() as u64) as u32;
            let scenario = &scenarios.all[owner as usize];
            let (source, group) = (random.below(2) as u32, format!("{}", random.below(400)));
            let late = random.below(100) as i64 * 1_000_000_000;
            let last = clocks[source as usize].add_nanos(-late);
            let key = tables.key(scenario.class, &group);
            if tables.get_mut(key).is_none() {
                let bucket = Bucket::new(owner, scenario, &group, None, Mode::Replay, source);
                tables.insert(key, Box::new(bucket));
            }
            let Some(bucket) = tables.get_mut(key) else { continue };
            (bucket.last, bucket.source) = (last, source);
            tables.note(scenario.class, scenario, last);
            model.retain(|(o, g, ..)| (*o, g) != (owner, &group));
            model.push((owner, group, last, source));
        }
        let step = random.below(200) as i64;
        clocks[round % 2] = clocks[round % 2].add_nanos(step * 1_000_000_000);
        let mut times = Clocks::default();
        (0..).zip(clocks).for_each(|(source, time)| times.set(source, Some(time)));
        tables.sweep(scenarios, &times, |_| ());
        model.retain(|(owner, _, last, source)| {
            let scenario = &scenarios.all[*owner as usize];
            let end = last.add_nanos(scenario.lifetime).add_nanos(60_000_000_000);
            scenario.timed || clocks[*source as usize] <= end
        });
        let mut left: Vec<_> = tables
            .all()
            .map(|(_, bucket)| (bucket.owner, bucket.key().to_owned(), bucket.last, bucket.source))
            .collect();
        left.sort();
        model.sort();
        assert_eq!(left, model, "round {round}");
        assert_eq!(tables.len(), model.len());
    }
    assert!(!model.is_empty());
}
