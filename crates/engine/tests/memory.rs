//! A flood of keys, each from a source of its own: what the process really takes stays near the budget.
//! The only test of this program, since it looks at the memory of the whole process.

use std::{fmt::Write as _, sync::Arc};

use testudo_engine::{Engine, Line, NoData, NoObserver, Options, Replay, Sink, Source};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_rules::{SourceFile, load_parsers, load_scenarios, set::RuleSet};

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
  - meta: service
    value: test
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

fn scenarios() -> String {
    let mut text = String::new();
    for at in 0..3 {
        let _ = write!(
            text,
            "---\ntype: leaky\nname: test/leaky{at}\ndescription: a test\nfilter: evt.Meta.service == 'test'\n\
             groupby: evt.Meta.source_ip\ndistinct: evt.Meta.what\nleakspeed: 10h\ncapacity: 5\n\
             ---\ntype: conditional\nname: test/conditional{at}\ndescription: a test\n\
             filter: evt.Meta.service == 'test'\ngroupby: evt.Meta.source_ip\nleakspeed: 10h\ncapacity: -1\n\
             condition: \"len(filter(queue.Queue, {{#.Meta.what == 'w'}})) >= 4\"\n",
        );
    }
    text
}

fn engine(bucket_bytes: usize) -> Engine {
    let file = |path: &str, text: &str| Arc::new(SourceFile { path: path.to_owned(), text: text.to_owned() });
    let rules = RuleSet {
        parsers: load_parsers(file("s00-raw/test.yaml", PARSER), "s00-raw").items,
        scenarios: load_scenarios(file("test.yaml", &scenarios())).items,
        ..RuleSet::default()
    };
    assert_eq!((rules.parsers.len(), rules.scenarios.len()), (2, 6));
    let options = Options { bucket_bytes, ..Options::new(YearClock::Current(2026)) };
    Engine::new(&rules, &NoData, options).0
}

struct Silent;

impl Sink for Silent {
    fn overflow(&mut self, _: &Overflow, _: Line<'_>) {}
}

/// Bytes of the process that are in memory.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
}

#[test]
fn a_flood_of_keys_stays_in_the_budget() {
    const BUDGET: usize = 24 << 20;
    let engine = engine(BUDGET);
    let sources = [Source { name: "test.log".to_owned(), module: "file".to_owned(), ..Source::default() }];
    let start = Timestamp::from_unix(1_772_323_200, 0);
    let mut replay = Replay::new(&engine, &sources, start);
    let mut pour = |from: u32, to: u32| {
        for at in from..to {
            let when = start.add_nanos(i64::from(at) * 10_000_000).to_rfc3339_nano();
            let [_, a, b, c] = at.to_be_bytes();
            replay.line(0, at.into(), &format!("{when} 10.{a}.{b}.{c} w{at}"), &mut NoObserver, &mut Silent);
        }
        (replay.counters().evicted, replay.open_buckets())
    };
    let Some(before) = resident() else {
        println!("skipped: this system does not tell the memory of a process");
        return;
    };
    // Patterns and the like are there after the first lines.
    let (evicted, _) = pour(0, 1_000);
    assert_eq!(evicted, 0);
    let (evicted, open) = pour(1_000, 60_000);
    let taken = resident().unwrap().saturating_sub(before);
    assert!(evicted > 0, "the flood is too small to show anything");
    // What is counted is not far from what is taken; an allocator may need some more.
    assert!(taken < BUDGET * 5 / 4 + (4 << 20), "{taken} bytes for {open} buckets");
    assert!(taken > BUDGET / 2, "{taken} bytes for {open} buckets: the budget is not used");
}
