//! Profiles on overflows with one source and with many.

use std::collections::BTreeMap;

use testudo_event::{Bystanders, Contributor, Source, Timestamp};
use testudo_rules::{SourceFile, load_profiles};

use crate::NoServices;

use super::*;

fn overflow(values: &[&str]) -> Overflow {
    let sources: BTreeMap<String, Source> = values
        .iter()
        .map(|value| {
            let source = Source {
                scope: "ip".into(),
                value: (*value).into(),
                ip: (*value).into(),
                ..Source::default()
            };
            ((*value).to_owned(), source)
        })
        .collect();
    let alert = Alert {
        scenario: "t/bf".into(),
        remediation: true,
        events_count: 6,
        stop_at: Timestamp::from_unix(1_000, 0),
        ..Alert::default()
    };
    Overflow::new("key".into(), sources, alert).expect("it has a source")
}

fn contributor(value: &str, count: u64) -> Contributor {
    Contributor { value: value.into(), count, last_seen: Timestamp::default() }
}

fn profiles(text: &str) -> Profiles {
    let file = SourceFile { path: "profiles.yaml".into(), text: text.into() };
    let loaded = load_profiles(Arc::new(file));
    assert_eq!(loaded.diagnostics, []);
    Profiles::new(loaded.items)
}

fn decide(text: &str, overflow: &Overflow) -> Vec<Decided> {
    profiles(text).decide(overflow.clone(), &NoServices, &|_| false).expect("the profiles run")
}

fn decided(text: &str, values: &[&str]) -> Vec<String> {
    let decided = decide(text, &overflow(values));
    let decisions = decided.iter().flat_map(|d| &d.alert.decisions);
    decisions.map(|d| format!("{} {} {} {} {}", d.kind, d.scope, d.value, d.duration, d.origin)).collect()
}

/// Scope and value of the decisions of each alert.
fn about(decided: &[Decided]) -> Vec<Vec<String>> {
    let about = |decided: &Decided| {
        decided.alert.decisions.iter().map(|d| format!("{} {}", d.scope, d.value)).collect()
    };
    decided.iter().map(about).collect()
}

#[test]
fn every_source_is_decided_from_the_time_of_the_overflow() {
    let decided = Profiles::new(crate::default_profiles())
        .decide(overflow(&["192.0.2.1", "192.0.2.2"]), &NoServices, &|_| false)
        .expect("the profiles run");
    let ends: Vec<_> =
        decided.iter().map(|d| (d.alert.source.value.as_str(), d.alert.decisions[0].until.unix())).collect();
    assert_eq!(ends, [("192.0.2.1", 1_000 + 4 * 3_600), ("192.0.2.2", 1_000 + 4 * 3_600)]);
}

#[test]
fn two_true_filters_decide_once() {
    let text =
        "name: p\nfilters:\n - Alert.Remediation\n - 'true'\ndecisions:\n - type: ban\n   duration: 1h\n";
    assert_eq!(decided(text, &["192.0.2.1"]), ["ban Ip 192.0.2.1 1h crowdsec"]);
    let either = text.replace("'true'", "'false'");
    assert_eq!(decided(&either, &["192.0.2.1"]), ["ban Ip 192.0.2.1 1h crowdsec"]);
}

#[test]
fn duration_is_four_hours_where_none_is_given() {
    for duration in ["", "\n   duration: ''"] {
        let text = format!("name: p\nfilters: ['true']\ndecisions:\n - type: ban{duration}\n");
        assert_eq!(decided(&text, &["192.0.2.1"]), ["ban Ip 192.0.2.1 4h crowdsec"]);
    }
}

#[test]
fn duration_is_computed_where_it_can_be() {
    let text = "name: p\nfilters:\n - Alert.Remediation\ndecisions:\n - type: captcha\n   duration: 1h\n   origin: x\n\
                duration_expr: \"Sprintf('%dh', Alert.GetEventsCount())\"\n";
    assert_eq!(decided(text, &["192.0.2.1"]), ["captcha Ip 192.0.2.1 6h crowdsec/x"]);
    let bad = text.replace("'%dh'", "'%d apples'");
    assert_eq!(decided(&bad, &["192.0.2.1"]), ["captcha Ip 192.0.2.1 1h crowdsec/x"]);
}

#[test]
fn a_failing_filter_is_told_or_passes_as_the_profile_says() {
    let failing = "name: p\nfilters:\n - Alert.Decisions[7].Value == 'x'\ndecisions:\n - type: ban\n";
    let error =
        profiles(failing).decide(overflow(&["192.0.2.1"]), &NoServices, &|_| false).expect_err("it fails");
    assert_eq!(error.profile, "p");
    for way in ["continue", "apply"] {
        let passing = format!("{failing}on_error: {way}\n");
        assert_eq!(decided(&passing, &["192.0.2.1"]), Vec::<String>::new());
    }
}

#[test]
fn helpers_ask_the_services() {
    struct Store;
    impl Services for Store {
        fn decisions_count(&self, value: &str) -> i64 {
            if value == "192.0.2.1" { 3 } else { 0 }
        }

        fn active_decisions_time_left(&self, _: &str) -> i64 {
            60_000_000_000
        }
    }
    let text = "name: p\nfilters: ['GetActiveDecisionsTimeLeft(Alert.GetValue()) > duration(\"59s\")']\n\
                decisions: [{type: ban}]\n\
                duration_expr: \"Sprintf('%dh', GetDecisionsCount(Alert.GetValue()) + 1)\"\n";
    let decided = profiles(text)
        .decide(overflow(&["192.0.2.1", "192.0.2.2"]), &Store, &|_| false)
        .expect("the profiles run");
    let durations: Vec<_> = decided.iter().map(|d| d.alert.decisions[0].duration.as_str()).collect();
    assert_eq!(durations, ["4h", "1h"]);
}

#[test]
fn contributors_are_decided_about_once() {
    const PROFILE: &str = "name: p\nfilters: ['true']\ndecisions: [{type: ban}]\n";
    let mut overflow = overflow(&["192.0.2.1", "192.0.2.2"]);
    let all = [("192.0.2.1", 4), ("192.0.2.2", 1), ("198.51.100.3", 2), ("2001:db8::4", 1)];
    overflow.alert.contributors = all.iter().map(|&(value, count)| contributor(value, count)).collect();
    let check = |attribution: &str, expected: &[&[&str]]| {
        let decided = decide(&format!("{PROFILE}attribution: {attribution}\n"), &overflow);
        assert_eq!(about(&decided), expected, "{attribution}");
    };
    check("sources", &[&["Ip 192.0.2.1"], &["Ip 192.0.2.2"]]);
    check("contributors", &[&["Ip 192.0.2.1", "Ip 198.51.100.3", "Ip 2001:db8::4"], &["Ip 192.0.2.2"]]);
    check("{contributors: {least: 2}}", &[&["Ip 192.0.2.1", "Ip 198.51.100.3"], &[]]);
    // Another agent's overflow tells nobody.
    let without = self::overflow(&["192.0.2.1"]);
    let decided = decide(&format!("{PROFILE}attribution: contributors\n"), &without);
    assert_eq!(about(&decided), [["Ip 192.0.2.1"]]);
}

#[test]
fn what_was_attacked_is_never_decided_about() {
    let mut overflow = overflow(&["anna"]);
    for source in overflow.sources.values_mut().chain([&mut overflow.alert.source]) {
        source.scope = "username".into();
        source.ip.clear();
    }
    overflow.alert.scenario = "testudo/distributed-bruteforce".into();
    let default = |overflow: &Overflow| {
        let profiles = Profiles::new(crate::default_profiles());
        let decided = profiles.decide(overflow.clone(), &NoServices, &|_| false).expect("no filter fails");
        about(&decided)
    };
    // Nobody is left who contributed, since all of them are on a whitelist.
    assert_eq!(default(&overflow), [[""; 0]]);
    // The owner, who mistyped once, is no attacker.
    let all = [("192.0.2.1", 2), ("192.0.2.2", 1), ("2001:db8::4", 9)];
    overflow.alert.contributors = all.iter().map(|&(value, count)| contributor(value, count)).collect();
    assert_eq!(default(&overflow), [["Ip 192.0.2.1", "Ip 2001:db8::4"]]);
}

#[test]
fn a_source_that_the_filters_pass_over_is_not_decided_about() {
    let text = "name: p\nfilters: [\"Alert.GetValue() != '192.0.2.1'\"]\ndecisions: [{type: ban}]\n\
                attribution: contributors\n";
    let mut overflow = overflow(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    overflow.alert.contributors = all.iter().map(|value| contributor(value, 1)).collect();
    let expected: [&[&str]; 3] = [&[], &["Ip 192.0.2.2", "Ip 192.0.2.4"], &["Ip 192.0.2.3"]];
    assert_eq!(about(&decide(text, &overflow)), expected);
}

#[test]
fn alerts_that_are_decided_about_one_by_one_find_the_same() {
    let text =
        "name: p\nfilters: ['true']\ndecisions: [{type: ban}]\nattribution: {contributors: {least: 2}}\n";
    let mut overflow = overflow(&["192.0.2.1", "192.0.2.2"]);
    overflow.alert.contributors = [("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3)]
        .map(|(value, count)| contributor(value, count))
        .into();
    let alone = overflow.into_alerts().into_iter().flat_map(|alert| {
        let sources = BTreeMap::from([(alert.source.value.clone(), alert.source.clone())]);
        about(&decide(text, &Overflow::new(String::new(), sources, alert).expect("it has a source")))
    });
    assert_eq!(alone.collect::<Vec<_>>(), [vec!["Ip 192.0.2.2", "Ip 192.0.2.3"], vec!["Ip 192.0.2.2"]]);
}

#[test]
fn prefixes_are_decided_about_within_the_budget() {
    const PROFILE: &str = "name: p\nfilters: ['true']\ndecisions: [{type: ban, duration: 1h}]\n";
    let mut overflow = overflow(&["192.0.2.1"]);
    let all = ["192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2", "203.0.113.1"];
    overflow.alert.contributors = all.iter().map(|value| contributor(value, 1)).collect();
    let network = |text: &str, count| Bystanders { network: Prefix::parse(text).expect(text), count };
    overflow.alert.bystanders = vec![network("192.0.2.0/24", 0), network("198.51.100.0/24", 2)];
    let check = |attribution: &str, barred: &str, expected: &[&str]| {
        let barred: Prefix = barred.parse().expect(barred);
        let decided = profiles(&format!("{PROFILE}attribution: {attribution}\n"))
            .decide(overflow.clone(), &NoServices, &|network| network.contains(barred.addr()))
            .expect("the profiles run");
        assert_eq!(about(&decided), [expected], "{attribution}");
        assert_eq!(decided[0].alert.decisions[0].until.unix(), 1_000 + 3_600);
    };
    let nobody = "10.0.0.0/8";
    check(
        "prefixes",
        nobody,
        &["Range 192.0.2.0/24", "Ip 198.51.100.1", "Ip 198.51.100.2", "Ip 203.0.113.1"],
    );
    check(
        "{prefixes: {budget: 2}}",
        nobody,
        &["Range 192.0.2.0/24", "Range 198.51.100.0/24", "Ip 203.0.113.1"],
    );
    check(
        "{prefixes: {budget: 2}}",
        "192.0.2.77/32",
        &["Ip 192.0.2.1", "Ip 192.0.2.2", "Range 198.51.100.0/24", "Ip 203.0.113.1"],
    );
}
