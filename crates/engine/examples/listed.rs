//! What it costs to ask who is listed: look-ups in tables of several sizes, and lines through rules with and without
//! the question, one after the other in one run.
//!
//! `cargo run --release -p testudo-engine --example listed`

use std::{
    collections::BTreeMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    ops::ControlFlow,
    sync::Arc,
    time::Instant,
};

use testudo_engine::{
    Engine, Line, LineOutcome, ListBuilder, Listed, NoData, NoObserver, Options, Replay, Sink, Source,
};
use testudo_event::{Overflow, Prefix, Timestamp, YearClock};
use testudo_expr::host::{Listing, Listings};
use testudo_rules::{SourceFile, load_parsers, load_scenarios, set::RuleSet};

const LOOKUPS: u32 = 2_000_000;
const LINES: u32 = 200_000;
const ROUNDS: usize = 5;

/// Addresses all over the place, the same in each run.
fn scattered(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995)
}

fn table(decisions: u32) -> Listed {
    let mut builder = ListBuilder::default();
    for n in 0..decisions {
        let bits = if n % 100 == 0 { 20 + (n / 100 % 5) as u8 } else { 32 };
        let origin = if n % 3 == 0 { "CAPI" } else { "lists" };
        let listing = Listing { origin, scenario: "list", kind: "ban", since: 0, until: i64::MAX };
        if let Some(network) = Prefix::covering(IpAddr::V4(scattered(n)), bits) {
            builder.add(network, &listing);
        }
    }
    let listed = Listed::default();
    listed.set(builder.build());
    listed
}

/// Processor time of this thread in nanoseconds, where the system tells it: others may have the processor, too.
fn spent() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Nanoseconds for one of so many pieces of work.
fn measured<T>(count: u32, work: impl FnOnce() -> T) -> (f64, T) {
    let (begun, before) = (Instant::now(), spent());
    let done = work();
    let nanos = match (before, spent()) {
        (Some(before), Some(after)) => after.saturating_sub(before) as f64,
        _ => begun.elapsed().as_nanos() as f64,
    };
    (nanos / f64::from(count), done)
}

/// The least of several rounds, and what was done in the last.
fn least<T>(mut round: impl FnMut() -> (f64, T)) -> (f64, T) {
    let mut best = round();
    for _ in 1..ROUNDS {
        let (nanos, done) = round();
        best = (nanos.min(best.0), done);
    }
    best
}

/// Nanoseconds for a look-up, and how many were found.
fn look_up(listed: &Listed, address: impl Fn(u32) -> Ipv4Addr) -> (f64, u32) {
    let mut found = 0;
    let look_up = || {
        for n in 0..LOOKUPS {
            let about = Prefix::single(IpAddr::V4(address(black_box(n))));
            Listings::listings(listed, about, &mut |_| {
                found += 1;
                ControlFlow::Break(())
            });
        }
    };
    (measured(LOOKUPS, look_up).0, found)
}

const PARSER: &str = "filter: evt.Line.Labels.type == 'x'\nname: x/raw\nonsuccess: next_stage\n\
    grok: {pattern: '%{IP:ip} %{WORD:word}', apply_on: Line.Raw}\nstatics:\n  - {meta: source_ip, expression: evt.Parsed.ip}\n";

fn engine(question: &str, listed: &Arc<Listed>) -> Engine {
    let scenario = format!(
        "type: leaky\nname: x/s\ndescription: x\nfilter: \"evt.Parsed.word == 'probe'{question}\"\n\
         groupby: evt.Meta.source_ip\ncapacity: 1000000\nleakspeed: 1s\nlabels: {{remediation: true}}\n"
    );
    let file = |text: String| Arc::new(SourceFile { path: "x.yaml".to_owned(), text });
    let rules = RuleSet {
        parsers: load_parsers(file(PARSER.to_owned()), "s00-raw").items,
        scenarios: load_scenarios(file(scenario)).items,
        ..RuleSet::default()
    };
    let (mut engine, diagnostics) = Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026)));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    engine.world_mut().set_listed(Arc::clone(listed));
    engine
}

struct Nothing;

impl Sink for Nothing {
    fn line(&mut self, _: Line<'_>, _: LineOutcome) {}

    fn overflow(&mut self, _: &Overflow, _: Line<'_>) {}
}

/// Nanoseconds for a line.
fn run(engine: &Engine, lines: &[String]) -> f64 {
    let labels = BTreeMap::from([("type".to_owned(), "x".to_owned())]);
    let sources = [Source { name: "x".to_owned(), module: "file".to_owned(), labels }];
    let mut replay = Replay::new(engine, &sources, Timestamp::default());
    let all = || {
        for (number, line) in (1..).zip(lines) {
            replay.line(0, number, line, &mut NoObserver, &mut Nothing);
        }
    };
    measured(lines.len() as u32, all).0
}

fn main() {
    println!("{:>10}  {:>12}  {:>12}  {:>12}", "decisions", "built in ms", "absent, ns", "listed, ns");
    for decisions in [0, 10_000, 1_000_000] {
        let (built, listed) = measured(1, || table(decisions));
        let (absent, found) = least(|| look_up(&listed, |n| scattered(n | (1 << 31))));
        let (there, all) = least(|| look_up(&listed, |n| scattered(n % decisions.max(1))));
        let built = built / 1e6;
        println!(
            "{decisions:>10}  {built:>12.1}  {absent:>12.1}  {there:>12.1}  ({found} and {all} of {LOOKUPS} found)"
        );
    }
    let listed = Arc::new(table(1_000_000));
    let without = engine("", &listed);
    // Nobody of these lines is listed, so that both rules do as much.
    let with = engine(" && !IsListed(evt.Meta.source_ip)", &listed);
    let of_us = engine(" && !ListedBy(evt.Meta.source_ip, 'crowdsec')", &listed);
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 | (n % 4_096));
    let lines: Vec<String> = (0..LINES).map(|n| format!("{} probe", address(n))).collect();
    println!("\nthe least of {ROUNDS} rounds, nanoseconds of processor for a line");
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        for (best, engine) in best.iter_mut().zip([&without, &with, &of_us]) {
            *best = best.min(run(engine, &lines));
        }
    }
    let [a, b, c] = best;
    println!("without {a:.1}; IsListed {b:.1} (+{:.1}); ListedBy {c:.1} (+{:.1})", b - a, c - a);
}
