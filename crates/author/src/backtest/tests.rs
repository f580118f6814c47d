use std::collections::BTreeMap;

use testudo_engine::{Engine, NoData, Options, Replay, Source};
use testudo_event::{Timestamp, YearClock};

use super::*;
use crate::bundle::{load, over};

const PARSER: &str = "\
name: me/toyd
filter: evt.Line.Labels.type == 'toyd'
onsuccess: next_stage
nodes:
  - grok:
      apply_on: Line.Raw
      pattern: '^%{NOTSPACE:time} login of %{DATA:username} failed from %{IP:client_ip}$'
      statics:
        - meta: log_type
          value: toyd_failed-auth
  - grok:
      apply_on: Line.Raw
      pattern: '^%{NOTSPACE:time} login of %{DATA:username} from %{IP:client_ip}$'
      statics:
        - meta: auth_status
          value: success
  - grok:
      apply_on: Line.Raw
      pattern: '^%{NOTSPACE:time} %{IP:client_ip} got %{INT:status}$'
      statics:
        - meta: http_status
          expression: evt.Parsed.status
        - meta: log_type
          value: toyd_failed-auth
statics:
  - meta: source_ip
    expression: evt.Parsed.client_ip
  - meta: username
    expression: evt.Parsed.username
  - target: evt.StrTime
    expression: evt.Parsed.time
";

const DATES: &str = "\
name: me/dates
filter: evt.StrTime != ''
statics:
  - method: ParseDate
    expression: evt.StrTime
  - target: MarshaledTime
    expression: evt.Enriched.MarshaledTime
";

const SCENARIO: &str = "\
type: leaky
name: me/toyd-bruteforce
description: many
filter: evt.Meta.log_type == 'toyd_failed-auth'
groupby: evt.Meta.source_ip
capacity: 3
leakspeed: 60s
labels: {service: toyd, remediation: true, confidence: 3, spoofable: 0, behavior: 'toyd:bruteforce', label: x}
";

fn rules() -> RuleSet {
    let load = |path: &str, text: &str| {
        let (rules, diagnostics) = load(path.as_ref(), text.to_owned());
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
        rules
    };
    let parsers = over(load("parsers/s01-parse/x.yaml", PARSER), load("parsers/s02-enrich/y.yaml", DATES));
    over(parsers, load("scenarios/x.yaml", SCENARIO))
}

fn findings(lines: &[String]) -> Findings {
    let rules = rules();
    let (engine, diagnostics) = Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026)));
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let labels = BTreeMap::from([("type".to_owned(), "toyd".to_owned())]);
    let sources = [Source { name: "x".to_owned(), module: "file".to_owned(), labels }];
    let mut replay = Replay::new(&engine, &sources, Timestamp::default());
    let allowlist = vec![(expect::prefix("192.0.2.0/24").expect("a network"), "192.0.2.0/24".to_owned())];
    let mut backtest = Backtest::new(Subjects::of(&rules), allowlist);
    for (number, line) in (1..).zip(lines) {
        backtest.line(&mut replay, 0, number, line);
    }
    backtest.finish()
}

fn failures(address: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("2026-11-30T09:00:{n:02}Z login of root failed from {address}"))
}

fn suspicions(lines: &[String]) -> Vec<Vec<Suspicion>> {
    findings(lines).banned.into_iter().map(|banned| banned.suspicions).collect()
}

#[test]
fn hits_overflows_and_bans_are_counted() {
    let lines: Vec<String> =
        failures("203.0.113.7", 4).chain(failures("203.0.113.8", 4)).chain(["junk".to_owned()]).collect();
    let found = findings(&lines);
    assert_eq!((found.lines, found.parsed, found.hits, found.poured), (9, 8, 8, 8));
    assert_eq!(found.overflows, BTreeMap::from([("me/toyd-bruteforce".to_owned(), 2)]));
    assert_eq!((found.banned.len(), found.networks, found.suspected), (2, 1, 0));
    assert_eq!(found.banned[0].hits, 4);
}

#[test]
fn who_also_succeeded_is_suspected_to_be_honest() {
    let log_in = "2026-11-30T09:01:00Z login of lena from 203.0.113.7".to_owned();
    let lines: Vec<String> = failures("203.0.113.7", 4).chain([log_in]).collect();
    let users = BTreeSet::from(["lena".to_owned()]);
    assert_eq!(suspicions(&lines), [[Suspicion::LoggedIn { times: 1, users, hits_before: 4 }]]);
    // Answers of a web server.
    let got =
        |status: u16| (0..10).map(move |n| format!("2026-11-30T09:00:{n:02}Z 203.0.113.7 got {status}"));
    assert_eq!(
        suspicions(&got(200).collect::<Vec<_>>()),
        [[Suspicion::OrdinaryVisitor { requests: 10, answered: 10 }]]
    );
    assert_eq!(suspicions(&got(404).collect::<Vec<_>>()), [[]]);
}

#[test]
fn addresses_of_ones_own_are_suspected() {
    assert_eq!(
        suspicions(&failures("192.0.2.9", 4).collect::<Vec<_>>()),
        [[Suspicion::Allowlisted { entry: "192.0.2.0/24".to_owned() }]]
    );
    assert_eq!(suspicions(&failures("10.1.2.3", 4).collect::<Vec<_>>()), [[Suspicion::Private]]);
}

#[test]
fn expectations_are_compared_and_wrong_ones_told() {
    let found = findings(&failures("203.0.113.7", 4).collect::<Vec<_>>());
    let text =
        "min_hits: 5\nmax_suspected: 0\nbanned: [203.0.113.7, 203.0.113.8]\nnot_banned: [203.0.113.0/24]\n";
    let checks = Expectations::parse("e.yaml", text).expect("it is read").check(&found);
    let failed: Vec<(&str, u32)> = checks
        .iter()
        .filter(|check| check.failure.is_some())
        .map(|check| (check.name.as_str(), check.line))
        .collect();
    assert_eq!(
        failed,
        [("min_hits: 5", 1), ("banned: 203.0.113.8/32", 3), ("not_banned: 203.0.113.0/24", 4)]
    );
    for (text, expected) in [
        ("min_hit: 5\n", "e.yaml:1:1: unknown key `min_hit` (did you mean `min_hits`?)"),
        ("banned: [x]\n", "`x` is no address and no network"),
    ] {
        let error = Expectations::parse("e.yaml", text).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_cost_is_measured() {
    let rules = rules();
    let options = Options::new(YearClock::Current(2026));
    let (with, _) = Engine::new(&rules, &NoData, options);
    let (without, _) = Engine::new(&RuleSet::default(), &NoData, options);
    let line = "2026-11-30T09:00:00Z login of root failed from 203.0.113.7";
    let batch = testudo_engine::Batch {
        source: 0,
        first_line: 1,
        text: line.to_owned(),
        ends: vec![line.len() as u32],
    };
    let cost = cost(&without, &with, &[], Timestamp::default(), &[batch]).expect("there is a line");
    assert_eq!(cost.lines, 20_000, "a short log is read again and again");
    assert_eq!(super::cost(&without, &with, &[], Timestamp::default(), &[]), None);
}
