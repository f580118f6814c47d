//! Overflows, from the bucket to what is told, and a run over real rules.

use std::{fs, sync::Arc};

use testudo_rules::{SourceFile, load_parsers, load_scenarios, set::RuleSet};

use super::*;
use crate::testing::{self, at, noon};

const FAILURES: &str = "
name: test/failures
description: a test
type: leaky
capacity: 2
leakspeed: 10s
filter: evt.GetType() == 'log'
groupby: evt.Meta.source_ip
labels: {remediation: true}
reprocess: true
";

/// A scenario about overflows.
const CONSUMER: &str = "
name: test/consumer
description: a test
type: trigger
filter: evt.GetType() == 'overflow' && evt.Overflow.Alert.Remediation
groupby: evt.Overflow.Alert.GetScenario()
";

#[test]
fn alerts() {
    let lines = [at(0, "ip=192.0.2.1 user=a"), at(10, "ip=192.0.2.1 user=b"), at(15, "ip=192.0.2.1 user=c")];
    let outcome = testing::detecting(&[FAILURES]).run(&lines);
    let [overflow] = &outcome.overflows[..] else { panic!("{:?}", outcome.overflows) };
    let alert = &overflow.alert;
    assert_eq!(
        alert.message,
        "Ip 192.0.2.1 performed 'test/failures' (3 events over 1.5s) at 2026-02-12 12:00:01.5 +0000 UTC"
    );
    assert_eq!((alert.capacity, alert.leakspeed.as_str(), alert.remediation), (2, "10s", true));
    assert_eq!((alert.start_at, alert.stop_at), (noon(), noon().add_nanos(1_500_000_000)));
    assert_eq!((alert.source.scope.as_str(), alert.source.ip.as_str()), ("Ip", "192.0.2.1"));
    assert_eq!(alert.events.iter().map(|e| e.meta("user")).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(alert.events[2].timestamp, "2026-02-12T12:00:01.5Z");
    let [contributor] = &alert.contributors[..] else { panic!("{:?}", alert.contributors) };
    assert_eq!((contributor.value.as_str(), contributor.count), ("192.0.2.1", 3));
    assert_eq!(overflow.mapkey.len(), 40);
}

#[test]
fn overflows_are_poured_again_in_their_own_time() {
    let lines = vec![at(20, "ip=192.0.2.1"); 3];
    let outcome = testing::detecting(&[FAILURES, CONSUMER]).run(&lines);
    let names: Vec<_> = outcome.overflows.iter().map(|o| o.alert.scenario.as_str()).collect();
    assert_eq!(names, ["test/failures", "test/consumer"]);
    let alert = &outcome.overflows[1].alert;
    assert_eq!(alert.stop_at, noon().add_nanos(2_000_000_000));
    assert_eq!(alert.get_value(), "192.0.2.1");
    assert_eq!(outcome.lines[2].repoured, ["test/consumer"]);
    assert_eq!(outcome.lines[2].poured, ["test/failures"]);
}

#[test]
fn rules_that_feed_themselves_end() {
    let scenario = "
name: test/loop
description: a test
type: trigger
filter: 'true'
reprocess: true
";
    let outcome = testing::detecting(&[scenario]).run(&[at(0, "ip=192.0.2.1")]);
    assert_eq!(outcome.overflows.len(), MAX_DEPTH + 1);
}

#[test]
fn postoverflows() {
    let whitelist = "
name: test/white
description: a whitelist
whitelist:
  reason: ours
  ip: [192.0.2.1]
";
    let lines = [vec![at(0, "ip=192.0.2.1"); 3], vec![at(0, "ip=192.0.2.2"); 3]].concat();
    let posts = [
        (
            "s00-enrich",
            "
name: test/rewrite
description: widens the source
onsuccess: next_stage
statics:
  - {target: evt.Overflow.Alert.Source.Value, expression: \"evt.Overflow.Alert.GetValue() + '/32'\"}
  - {meta: seen, expression: evt.Overflow.Alert.GetScenario()}
",
        ),
        ("s01-whitelist", whitelist),
    ];
    let outcome = testing::overflowing(&[FAILURES, CONSUMER], &posts).run(&lines);
    let told: Vec<_> = outcome
        .overflows
        .iter()
        .map(|o| (o.alert.scenario.as_str(), o.alert.get_value(), o.whitelisted, o.whitelist_reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("test/failures", "192.0.2.1/32", true, "ours"),
            ("test/failures", "192.0.2.2/32", false, ""),
            ("test/consumer", "192.0.2.2/32", false, ""),
        ]
    );
    // The sources keep what they were.
    assert_eq!(outcome.overflows[1].sources.keys().collect::<Vec<_>>(), ["192.0.2.2"]);
}

#[test]
fn scopes() {
    let with = |scope: &str| {
        let scenario = format!("name: test/s\ndescription: a test\ntype: trigger\nfilter: 'true'\n{scope}\n");
        let outcome = testing::detecting(&[&scenario]).run(&[at(0, "ip=192.0.2.1 user=bob")]);
        outcome.overflows.first().map(|o| {
            let source = &o.alert.source;
            format!("{} {:?} {:?}", source.scope, source.value, source.ip)
        })
    };
    let table = [
        ("", Some(r#"Ip "192.0.2.1" "192.0.2.1""#)),
        ("scope: {type: Range}", Some(r#"Range "" "192.0.2.1""#)),
        ("scope: {type: user, expression: evt.Meta.user}", Some(r#"user "bob" """#)),
        ("scope: {type: user, expression: evt.Unmarshaled.nothing}", Some(r#"user "" """#)),
        ("scope: {type: user, expression: evt.Unmarshaled.nothing.deeper}", None),
    ];
    for (scope, expected) in table {
        assert_eq!(with(scope).as_deref(), expected, "{scope}");
    }
}

#[test]
fn brute_force_over_ssh_by_real_rules() {
    let Some(shared) = testing::shared() else { return };
    let hub = shared.join("hub");
    let file = |path: &str| {
        let text = fs::read_to_string(hub.join(path)).expect("a file of the hub");
        Arc::new(SourceFile { path: path.to_owned(), text })
    };
    let mut rules = RuleSet::default();
    for (stage, name) in
        [("s00-raw", "syslog-logs"), ("s01-parse", "sshd-logs"), ("s02-enrich", "dateparse-enrich")]
    {
        let loaded = load_parsers(file(&format!("parsers/{stage}/crowdsecurity/{name}.yaml")), stage);
        rules.parsers.extend(loaded.items);
    }
    rules.scenarios = load_scenarios(file("scenarios/crowdsecurity/ssh-bf.yaml")).items;
    let mut plain = Plain::new(&rules, &WorldFiles::default(), noon());
    assert_eq!(plain.disabled(), Vec::<String>::new());

    let log = fs::read_to_string(hub.join(".tests/ssh-bf/ssh-bf.log")).expect("the log of the test");
    let labels = Texts::from([("type".to_owned(), "syslog".to_owned())]);
    let lines: Vec<Line> = log
        .lines()
        .filter(|line| !line.is_empty())
        .map(|raw| Line {
            raw: raw.to_owned(),
            source: "ssh-bf.log".to_owned(),
            labels: labels.clone(),
            module: "file".to_owned(),
        })
        .collect();
    let outcome = plain.run(&lines);
    let mut told: Vec<_> = outcome
        .overflows
        .iter()
        .map(|o| (o.alert.scenario.as_str(), o.alert.get_value(), o.alert.events_count, o.alert.events.len()))
        .collect();
    told.sort_unstable();
    let address = "35.188.49.176";
    assert_eq!(
        told,
        [("crowdsecurity/ssh-bf", address, 6, 6), ("crowdsecurity/ssh-bf_user-enum", address, 6, 6)]
    );
    let last = outcome.overflows[0].alert.events.last().expect("six events");
    assert_eq!((last.meta("target_user"), last.meta("timestamp")), ("pascal5", "2026-02-12T14:10:24Z"));
    assert_eq!((last.meta("machine"), last.meta("log_type")), ("sd-126005", "ssh_failed-auth"));
}
