//! The engine against the plain interpreter, with rules that the public hub does not have: made by chance,
//! always the same way.
//!
//! `TESTUDO_SYNTHETIC_SETS=first..last` runs other sets than the usual ones. What differs is told with the
//! smallest set and the fewest lines that still differ.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::{collections::BTreeMap, fmt::Write as _, ops::Range, sync::mpsc, thread};

use testudo_engine::{Engine, NoData, Options, Source};
use testudo_oracle::WorldFiles;

use common::{
    Input, differences,
    generated::{Maker, Rules},
    options, overflow_differences, plain,
    random::Random,
    run_fast, run_plain, run_quick, source,
};

/// Sets in the ordinary test.
const SETS: Range<u64> = 0..300;

/// Lines for each set.
const LINES: usize = 60;

/// How much of what differs is printed.
const SHOWN: usize = 12_000;

fn sources() -> Vec<Source> {
    vec![source("0.log", "test"), source("1.log", "test")]
}

/// What the two make differently of the same lines; empty if nothing. The number is that of overflows.
fn compare(rules: &Rules, lines: &[Input]) -> (String, usize) {
    let (set, _) = rules.load();
    let sources = sources();
    // Any property of the set that shrinking mostly keeps chooses how addresses are cut.
    let v6_key_bits = [64, 64, 128, 48][set.scenarios.len() % 4];
    let options = |capture_all| Options { v6_key_bits, ..options(capture_all) };
    let mut interpreter = plain(&set, &WorldFiles::default()).with_v6_bits(v6_key_bits);
    let expected = run_plain(&mut interpreter, &sources, lines);
    let (engine, _) = Engine::new(&set, &NoData, options(true));
    let mut found = differences(&run_fast(&engine, &sources, lines, true), &expected, lines, true);
    if found.is_empty() {
        let (engine, _) = Engine::new(&set, &NoData, options(false));
        found = differences(&run_fast(&engine, &sources, lines, false), &expected, lines, false);
        found += &overflow_differences(&run_quick(&engine, &sources, lines), &expected.overflows);
    }
    (found, expected.overflows.len())
}

/// Takes away what is not needed for the two to differ.
fn minimise(mut rules: Rules, mut lines: Vec<Input>) -> (Rules, Vec<Input>) {
    let differ = |rules: &Rules, lines: &[Input]| !compare(rules, lines).0.is_empty();
    let mut step = lines.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < lines.len() {
            let mut fewer = lines.clone();
            fewer.drain(at..(at + step).min(lines.len()));
            if differ(&rules, &fewer) {
                lines = fewer;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    for at in (0..rules.0.len()).rev() {
        let mut fewer = rules.clone();
        fewer.0.remove(at);
        if differ(&fewer, &lines) {
            rules = fewer;
        }
    }
    for at in 0..rules.0.len() {
        let document: serde_json::Value = serde_json::from_str(&rules.0[at].text).unwrap();
        let mut document = document;
        let keys: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
        for key in keys {
            let mut fewer = document.clone();
            fewer.as_object_mut().unwrap().remove(&key);
            let mut smaller = rules.clone();
            smaller.0[at].text = fewer.to_string();
            if differ(&smaller, &lines) {
                document = fewer;
                rules = smaller;
            }
        }
    }
    (rules, lines)
}

/// Runs one set; what differs, and how many overflows there were.
fn run(seed: u64) -> (Option<String>, usize) {
    let mut random = Random::new(seed);
    let mut maker = Maker { random: &mut random };
    let rules = maker.rules();
    let lines = maker.lines(sources().len(), LINES);
    let (found, overflows) = compare(&rules, &lines);
    if found.is_empty() {
        return (None, overflows);
    }
    let (rules, lines) = minimise(rules, lines);
    let mut text = format!("set {seed}:\n");
    for document in &rules.0 {
        let _ = writeln!(text, "  {:?} {}", document.file, document.text);
    }
    for line in &lines {
        let _ = writeln!(text, "  {} {}", line.source, line.text);
    }
    (Some(text + &compare(&rules, &lines).0), overflows)
}

#[test]
fn generated_rules() {
    let asked = std::env::var("TESTUDO_SYNTHETIC_SETS").ok();
    let asked = asked.as_deref().and_then(|text| text.split_once(".."));
    let sets = asked.map_or(SETS, |(first, last)| first.parse().unwrap()..last.parse().unwrap());
    let next = std::sync::atomic::AtomicU64::new(sets.start);
    let (give, results) = mpsc::channel();
    let mut wrong = Vec::new();
    let mut overflows = 0;
    thread::scope(|scope| {
        for _ in 0..2 {
            let (give, next, end) = (give.clone(), &next, sets.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= end || give.send((seed, run(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        for (seed, (found, count)) in results {
            overflows += count;
            wrong.extend(found.map(|text| (seed, text)));
        }
    });
    println!("{} sets, {overflows} overflows", sets.end - sets.start);
    wrong.sort_unstable();
    let text: String = wrong.iter().map(|(_, text)| text.as_str()).collect();
    let shown: String = text.chars().take(SHOWN).collect();
    assert!(wrong.is_empty(), "{} sets differ:\n{shown}", wrong.len());
}

/// The sets reach what they are for: most documents are accepted, and every kind of bucket and outcome occurs.
#[test]
fn generated_rules_are_worth_it() {
    let mut refused = 0;
    let mut documents = 0;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut see = |what: String, times: usize| *seen.entry(what).or_default() += times;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let rules = Maker { random: &mut random }.rules();
        let lines = Maker { random: &mut random }.lines(sources().len(), LINES);
        let (set, wrong) = rules.load();
        documents += rules.0.len();
        refused += wrong.iter().filter(|text| text.contains(" R011 ")).count();
        let mut interpreter = plain(&set, &WorldFiles::default());
        see("disabled".to_owned(), interpreter.disabled().len());
        let outcome = run_plain(&mut interpreter, &sources(), &lines);
        for line in &outcome.lines {
            see(format!("parsed {}", line.parsed), 1);
            see("dropped".to_owned(), usize::from(line.dropped));
            see("whitelisted".to_owned(), usize::from(line.whitelisted));
            see("poured again".to_owned(), line.repoured.len());
        }
        for overflow in &outcome.overflows {
            let scenario = set.scenarios.iter().find(|scenario| *scenario.name == *overflow.alert.scenario);
            see(scenario.map_or("renamed".to_owned(), |scenario| format!("{:?}", scenario.kind)), 1);
            see(format!("scope {}", overflow.alert.get_scope()), 1);
            see("overflow whitelisted".to_owned(), usize::from(overflow.whitelisted));
            see("several sources".to_owned(), usize::from(overflow.sources.len() > 1));
            see("context".to_owned(), overflow.alert.context.len());
        }
    }
    println!("{documents} documents, {refused} refused, {seen:?}");
    assert!(refused * 20 < documents, "{refused} of {documents} refused");
    for what in [
        "disabled",
        "dropped",
        "whitelisted",
        "poured again",
        "parsed true",
        "parsed false",
        "Leaky",
        "Trigger",
        "Counter",
        "Conditional",
        "Bayesian",
        "scope Ip",
        "scope Range",
        "scope user",
        "overflow whitelisted",
        "several sources",
        "context",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times > 2), "{what}: {seen:?}");
    }
}
