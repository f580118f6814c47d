//! Threads, panics, counts.

use super::*;

/// Inputs of all sorts: several sources, late and not, with dates and without.
fn mixed(seed: u64, count: usize) -> Vec<Input> {
    let mut numbers = Numbers(seed);
    let sources = [source("a.log", false), source("b.log", false), source("c.log", true)];
    let log = numbers.log(count);
    let mut inputs = Vec::new();
    let mut at = 0;
    while at < log.len() {
        let of = numbers.below(3) as usize;
        let size = 1 + numbers.below(12) as usize;
        let batch = &log[at..log.len().min(at + size)];
        let lag = [0, 0, 3, 600][numbers.below(4) as usize];
        let arrival = batch[batch.len() - 1].0.add_nanos(lag * 1_000_000_000);
        let texts: Vec<String> = batch
            .iter()
            .map(|(_, text)| match numbers.below(12) {
                0 => text.split_once(' ').map_or_else(String::new, |(_, rest)| format!("- {rest}")),
                1 => "no line of theirs".to_owned(),
                2 => String::new(),
                _ => text.clone(),
            })
            .collect();
        inputs.push(lines(&sources[of], arrival, &texts));
        if numbers.below(5) == 0 {
            inputs.push(Input::Tick(arrival));
        }
        if numbers.below(15) == 0 {
            inputs.push(Input::Checkpoint);
        }
        at += batch.len();
    }
    numbered(inputs)
}

#[test]
fn many_threads_tell_what_one_tells() {
    let engine = engine();
    let mut overflows = 0;
    for seed in 0..30 {
        let inputs = mixed(seed, 400);
        let mut expected = None;
        for workers in [1, 4, 2, 4] {
            let mut live = Live::new(&engine);
            let mut told = Told::default();
            live.run(workers, inputs.clone().into_iter(), &mut told);
            overflows += told.overflows.len();
            let numbers: Vec<u64> = inputs
                .iter()
                .filter_map(|input| match input {
                    Input::Lines(batch) => Some(batch.number),
                    _ => None,
                })
                .collect();
            assert_eq!(told.done, numbers);
            let mut tallies = live.tallies();
            for source in &mut tallies.sources {
                // How long it took is another thing each time.
                (source.parsing, source.pouring) = (Histogram::default(), Histogram::default());
            }
            let all = (told.text, told.states.len(), tallies);
            match &expected {
                None => expected = Some(all),
                Some(expected) => assert!(*expected == all, "seed {seed}, {workers} workers"),
            }
        }
    }
    assert!(overflows > 1_000, "{overflows}");
}

#[test]
fn a_panic_costs_its_line_only() {
    let engine = engine();
    let source = source("a.log", false);
    for workers in [1, 3] {
        let mut live = Live::new(&engine);
        let mut told = Told::default();
        let line = |who: &str, what: &str| dated(start(), who, what);
        let inputs = [
            lines(&source, start(), &[line("192.0.2.1", "w3"), line("192.0.2.2", crate::line::PANIC)]),
            lines(&source, start(), &[line("192.0.2.2", crate::line::PANIC), line("192.0.2.3", "w3")]),
        ];
        live.run(workers, inputs.into_iter(), &mut told);
        let counters = live.counters();
        assert_eq!((counters.lines, counters.parsed, counters.dropped, counters.panics), (4, 2, 2, 2));
        assert_eq!(live.tallies().sources.iter().map(|source| source.panics).max(), Some(2));
        let outcomes: Vec<LineOutcome> = told.seen.iter().map(|(outcome, ..)| *outcome).collect();
        use LineOutcome::{Dropped, Parsed};
        assert_eq!(outcomes, [Parsed, Dropped, Dropped, Parsed]);
        assert_eq!(told.named(), [("test/trigger", "192.0.2.1"), ("test/trigger", "192.0.2.3")]);
        assert_eq!(told.done.len(), 2);
    }
}

/// A sink that panics costs its line as well.
#[test]
fn a_panic_while_pouring_costs_its_line_only() {
    struct Broken(usize);
    impl LiveSink for Broken {
        fn overflow(&mut self, _: &Overflow, _: Spot) {
            self.0 += 1;
            assert!(self.0 != 2, "a sink that is broken");
        }
    }
    let engine = engine();
    let source = source("a.log", false);
    let mut live = Live::new(&engine);
    let mut sink = Broken(0);
    let batch: Vec<String> = (0..4).map(|at| dated(start(), &format!("192.0.2.{at}"), "w3")).collect();
    live.run(1, [lines(&source, start(), &batch)].into_iter(), &mut sink);
    assert_eq!((sink.0, live.counters().panics, live.counters().lines), (4, 1, 4));
}

#[test]
fn what_is_counted() {
    let engine = engine();
    let (a, b) = (source("a.log", false), source("b.log", false));
    let mut live = Live::new(&engine);
    let board = live.board();
    let mut inputs = vec![lines(&a, start(), &["nothing", "", "nothing"])];
    for at in 0..5 {
        inputs.push(lines(&a, after(at), &[dated(after(at), "192.0.2.1", "w0")]));
    }
    inputs.push(lines(&a, after(5), &[dated(after(5), "192.0.2.99", "w0")]));
    inputs.push(lines(&b, after(5), &[dated(after(2), "192.0.2.98", "w3")]));
    let told = run(&mut live, inputs);
    assert_eq!(told.named(), [("test/leaky", "192.0.2.1"), ("test/trigger", "192.0.2.98")]);
    assert!(told.overflows[1].whitelisted);
    let tallies = board.read();
    assert_eq!(*tallies, live.tallies());
    let of = |name: &str| tallies.sources.iter().find(|source| source.name == name).unwrap();
    let a = of("a.log");
    assert_eq!((&*a.module, &*a.kind, a.hits, a.ok, a.ko), ("file", "test", 8, 6, 2));
    assert_eq!((a.parsing.count(), a.pouring.count()), (8, 6));
    let node = |source: &SourceTallies, name: &str| {
        let node = source.nodes.iter().find(|node| &*node.name == name).unwrap();
        (node.stage.to_string(), node.hits, node.ok, node.ko, node.whitelist.clone())
    };
    assert_eq!(node(a, "test/reader"), ("s00-raw".to_owned(), 8, 6, 2, None));
    assert_eq!(node(a, "test/dates"), ("s02-enrich".to_owned(), 6, 6, 0, None));
    assert_eq!(of("b.log").lag, 3_000_000_000);
    let forgiven = node(of(""), "test/postoverflow");
    assert_eq!((forgiven.1, forgiven.4), (2, Some(("forgiven".into(), 1))));
    let poured = |source: &SourceTallies, name: &str| {
        source.poured.iter().find(|(of, _)| &**of == name).map_or(0, |(_, count)| *count)
    };
    assert_eq!(
        (poured(a, "test/leaky"), poured(a, "test/trigger"), poured(of("b.log"), "test/trigger")),
        (5, 0, 1)
    );
    let mut all = BTreeMap::new();
    for (name, count) in tallies.sources.iter().flat_map(|source| &source.poured) {
        *all.entry(name.to_string()).or_default() += count;
    }
    assert_eq!(
        (told.poured.get("test/leaky"), &told.poured),
        (Some(&6), &all),
        "what is told is what is counted"
    );
    let scenario = |name: &str| tallies.scenarios.iter().find(|scenario| &*scenario.name == name).unwrap();
    let leaky = scenario("test/leaky");
    assert_eq!((leaky.instantiated, leaky.overflowed, leaky.underflowed, leaky.buckets), (3, 1, 0, 2));
    assert_eq!((scenario("test/trigger").instantiated, scenario("test/trigger").overflowed), (1, 1));
    assert_eq!(tallies.stashes, [("names".into(), 3)]);
    assert_eq!(tallies.counters.lines, 9);
    // What is open is what was made and has not ended.
    let told = run(&mut live, vec![Input::Tick(after(86_400))]);
    assert!(told.overflows.is_empty());
    for scenario in &live.tallies().scenarios {
        let ended = scenario.overflowed + scenario.canceled + scenario.underflowed;
        assert!(scenario.buckets == 0 && ended <= scenario.instantiated, "{scenario:?}");
    }
}

/// What a whitelist in the parsers matched.
#[test]
fn whitelists_are_counted() {
    let engine = engine();
    let a = source("a.log", false);
    let mut live = Live::new(&engine);
    run(&mut live, vec![lines(&a, start(), &["- 192.0.2.99 w0", "- 192.0.2.1 w0"])]);
    let tallies = live.tallies();
    let node = tallies.sources[0].nodes.iter().find(|node| &*node.name == "test/harmless").unwrap();
    assert_eq!((node.hits, node.ok, node.ko, &node.whitelist), (2, 2, 0, &Some(("a friend".into(), 1))));
    assert_eq!(tallies.counters.whitelisted, 1);
}

#[test]
fn lines_may_be_skipped_after_parsing() {
    struct Known;
    impl Skip for Known {
        fn skips(&self, address: IpAddr) -> bool {
            address.to_string() == "192.0.2.1"
        }
    }
    let engine = engine();
    let source = source("a.log", false);
    let batch =
        |_| lines(&source, start(), &[dated(start(), "192.0.2.1", "w0"), dated(start(), "192.0.2.2", "w0")]);
    for workers in [1, 2] {
        let mut live = Live::new(&engine);
        live.set_skip(Some(Arc::new(Known)));
        let mut told = Told::default();
        live.run(workers, (0..5).map(batch), &mut told);
        assert_eq!(told.named(), [("test/leaky", "192.0.2.2")]);
        assert_eq!((told.seen.len(), live.counters().parsed, live.counters().skipped), (10, 10, 5));
        live.set_skip(None);
        live.run(workers, (0..5).map(batch), &mut told);
        assert_eq!(live.counters().skipped, 5);
        assert!(told.named().contains(&("test/leaky", "192.0.2.1")));
    }
}
