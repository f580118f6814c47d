//! The functional tests of the public hub, all of them, both ways.

use std::path::PathBuf;

use testudo_event::Timestamp;
use testudo_hub::{
    CollectionContents, DataFolders, Hub, ItemKind, Selection,
    testing::{TestResult, Way, run_tests},
};
use testudo_rules::{Severity, set::RuleSet};

/// How much of what is wrong with a test is printed.
const SHOWN: usize = 10;

/// The folder with the hub and the lists, if it is there.
fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("TESTUDO_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    if !shared.join("hub").is_dir() {
        println!("skipped: no hub at {}", shared.join("hub").display());
        return None;
    }
    Some(shared)
}

fn run(way: Way) -> Option<Vec<TestResult>> {
    let shared = shared()?;
    let hub = Hub::open(shared.join("hub")).expect("the index of the hub");
    let data = DataFolders::new(&[shared.join("lists"), shared.join("geo/hub")]);
    // The year that the assertions are written for.
    let now = Timestamp::parse_rfc3339("2026-11-15T12:00:00Z").expect("an instant");
    let only = std::env::var("TESTUDO_HUB_TEST").ok().map(|name| vec![name]);
    let results = run_tests(&hub, only.as_deref(), &data, now, way).expect("the tests of the hub");
    for result in results.iter().filter(|result| !result.passed) {
        println!("{} failed", result.name);
        for text in result.warnings.iter().chain(&result.errors).take(SHOWN) {
            println!("  {text}");
        }
        for line in result.failures().take(SHOWN) {
            let actual = line.actual.as_deref().unwrap_or("unknown");
            println!("  {}:{}: {}\n    is {actual}", line.file, line.line, line.text);
        }
    }
    let slowest = results.iter().max_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds))?;
    println!("slowest: {} {:.0} ms", slowest.name, slowest.milliseconds);
    let assertions: usize = results.iter().map(|result| result.assertions).sum();
    println!("{} tests, {assertions} assertions", results.len());
    Some(results)
}

/// Names of the tests, each with how many of its assertions are false.
fn false_lines(results: &[TestResult]) -> Vec<(&str, usize)> {
    let counts = results.iter().map(|result| (result.name.as_str(), result.false_lines.len()));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn every_test_passes() {
    let Some(results) = run(Way::Watched) else { return };
    assert_eq!(results.iter().filter(|result| !result.passed).count(), 0);
    assert_eq!(results.len(), 324);
    // Its author expected the results in ascending order; they come in descending order.
    assert_eq!(false_lines(&results), [("postfix-honeypot-users", 8)]);
}

#[test]
fn the_way_of_real_logs_finds_the_same() {
    let Some(results) = run(Way::Plain) else { return };
    assert_eq!(results.iter().filter(|result| !result.passed).count(), 0);
    assert_eq!(false_lines(&results), [("postfix-honeypot-users", 8)]);
}

#[test]
fn the_whole_hub_loads() {
    let Some(shared) = shared() else { return };
    let hub = Hub::open(shared.join("hub")).expect("the index of the hub");
    let mut selection = Selection::default();
    selection.whole_hub(&hub);
    let loaded = selection.load();
    let errors: Vec<_> =
        loaded.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let RuleSet { parsers, postoverflows, scenarios, .. } = &loaded.rules;
    assert_eq!((parsers.len(), postoverflows.len(), scenarios.len()), (170, 12, 846));
    assert_eq!(loaded.files.len(), 164 + 12 + 783 + 9);
    assert!(loaded.files.is_sorted_by(|a, b| a.installed < b.installed));
    // Nothing of the checkout was changed since its index was made.
    let changed: Vec<_> = loaded.files.iter().filter(|file| &*file.origin.version == "?").collect();
    assert!(changed.is_empty(), "{changed:?}");
}

#[test]
fn every_collection_loads() {
    let Some(shared) = shared() else { return };
    let hub = Hub::open(shared.join("hub")).expect("the index of the hub");
    let names: Vec<&str> = hub.items(ItemKind::Collection).map(|item| item.name.as_str()).collect();
    assert_eq!(names.len(), 164);
    for name in names {
        let CollectionContents { items, unknown } = hub.contents(&[name]).expect("a collection of the hub");
        assert!(!items.is_empty() && unknown.is_empty(), "{name}: {unknown:?}");
    }
}
