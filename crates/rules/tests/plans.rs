//! What good documents become.

use std::sync::Arc;

use testudo_expr::Value;
use testudo_rules::{
    Loaded, SourceFile, load_context, load_parsers, load_postoverflows, load_scenarios,
    plan::{
        BucketKind, DataKind, GrokPattern, GrokSource, OnSuccess, Parser, Scenario, Scope, StaticValue,
        Strategy, Target, TextField,
    },
    render,
};

fn file(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: "rule.yaml".to_owned(), text: text.to_owned() })
}

#[track_caller]
fn clean<T>(loaded: Loaded<T>) -> Vec<T> {
    let drawings: Vec<String> = loaded.diagnostics.iter().map(|d| render(d, false)).collect();
    assert!(drawings.is_empty(), "{}", drawings.join("\n"));
    loaded.items
}

const SECOND: i64 = 1_000_000_000;

#[test]
fn a_parser() {
    let text = "\
# comment
---
name: me/parser
description: a parser
author: me
debug: no
format: 2.0
references: [https://example.org]
filter: |
  evt.Parsed.program == 'x' and
    evt.Meta.service == 'y'
onsuccess: next_stage
pattern_syntax:
  ZED: 'z+'
  ALPHA: '%{ZED:z} a'
nodes:
  - grok:
      name: SOME_PATTERN
      apply_on: Line.Raw
  - nodes:
      - grok:
          pattern: '%{ALPHA:a}'
          expression: evt.Parsed.message
          statics:
            - meta: kind
              value: 5
    stash:
      - name: pids
        key: evt.Parsed.pid
        value: evt.Parsed.exe
        ttl: 1m30s
        strategy: ARC
statics:
  - target: evt.StrTime
    expression: evt.Parsed.time
  - method: ParseDate
    expression: evt.StrTime
data:
  - source_url: https://example.org/list.txt
    dest_file: list.txt
    type: regexp
    size: 10
    ttl: 5s
";
    let parsers: Vec<Parser> = clean(load_parsers(file(text), "s01-parse"));
    let [Parser { stage, node }] = &parsers[..] else { panic!("{} documents", parsers.len()) };
    assert_eq!((&**stage, &*node.name, node.place.line), ("s01-parse", "me/parser", 3));
    assert_eq!(node.on_success, OnSuccess::NextStage);
    let filter = node.filter.as_ref().expect("a filter");
    assert_eq!(&*filter.text, "evt.Parsed.program == 'x' and\n  evt.Meta.service == 'y'\n");
    assert_eq!((filter.place.line, filter.place.column), (10, 3));
    let names: Vec<&str> = node.pattern_syntax.iter().map(|(name, ..)| &**name).collect();
    assert_eq!(names, ["ZED", "ALPHA"]);
    let [first, second] = &node.nodes[..] else { panic!("{} nodes", node.nodes.len()) };
    assert_eq!((&*first.name, &*second.nodes[0].name), ("child-me/parser", "child-child-me/parser"));
    let labels = [node, first, second, &second.nodes[0]].map(|node| node.label.to_string());
    let expected = [
        "me/parser",
        "me/parser, node 1 (line 17)",
        "me/parser, node 2 (line 20)",
        "me/parser, node 2.1 (line 21)",
    ];
    assert_eq!(labels, expected);
    assert_eq!(first.on_success, OnSuccess::Continue);
    let grok = first.grok.as_ref().expect("a grok");
    assert!(matches!(grok.source, GrokSource::Line));
    assert!(matches!(&grok.pattern, Some(GrokPattern::Name(name)) if name == "SOME_PATTERN"));
    let grok = second.nodes[0].grok.as_ref().expect("a grok");
    assert!(matches!(&grok.source, GrokSource::Expression(e) if &*e.text == "evt.Parsed.message"));
    assert!(matches!(&grok.pattern, Some(GrokPattern::Inline(text)) if text == "%{ALPHA:a}"));
    assert_eq!(grok.statics[0].target, Target::Meta("kind".into()));
    assert!(matches!(&grok.statics[0].value, StaticValue::Text(text) if &**text == "5"));
    let stash = &second.stash[0];
    assert_eq!(
        (&*stash.name, stash.ttl, stash.size, stash.strategy),
        ("pids", 90 * SECOND, 100, Strategy::Arc)
    );
    assert_eq!(node.statics[0].target, Target::Field(TextField::StrTime));
    assert_eq!(node.statics[1].target, Target::Method("ParseDate".to_owned()));
    assert_eq!((&*node.data[0].dest_file, node.data[0].kind), ("list.txt", DataKind::Regexp));
}

#[test]
fn a_whitelist() {
    let text = "\
name: me/whitelist
whitelist:
  reason: mine
  ip:
    - 192.0.2.1
    - 2001:db8::1
  cidr:
    - 10.1.2.3/8
  expression:
    - any(LookupHost(evt.Overflow.Alert.Source.IP), {# endsWith '.example.org.'})
";
    let parsers = clean(load_postoverflows(file(text), "s01-whitelist"));
    let whitelist = parsers[0].node.whitelist.as_ref().expect("a whitelist");
    assert_eq!(&*whitelist.reason, "mine");
    assert_eq!((whitelist.ips.len(), whitelist.cidrs.len(), whitelist.expressions.len()), (2, 1, 1));
    // The same where lines wait for it.
    assert_eq!(load_parsers(file(text), "s02-enrich").diagnostics[0].code, "R013");
}

#[test]
fn a_scenario() {
    let text = "\
type: leaky
name: me/scenario
description: a scenario
filter: evt.Meta.log_type == 'x'
groupby: evt.Meta.source_ip
distinct: evt.Meta.user
capacity: 5
cache_size: 3
leakspeed: 0.5s
blackhole: 1h30m
reprocess: yes
scope:
  type: username
  expression: evt.Meta.user
labels:
  remediation: true
  confidence: 3
  classification:
    - attack.T1110
---
type: counter
name: me/count
description: counts
filter: 'true'
capacity: -1
duration: 1m
labels:
  remediation: 'yes'
";
    let scenarios: Vec<Scenario> = clean(load_scenarios(file(text)));
    let [leaky, counter] = &scenarios[..] else { panic!("{} documents", scenarios.len()) };
    assert_eq!((leaky.kind, leaky.capacity, leaky.cache_size), (BucketKind::Leaky, 5, 3));
    assert_eq!((leaky.leak_speed, leaky.blackhole), (SECOND / 2, 5400 * SECOND));
    assert!(leaky.reprocess && leaky.remediation && leaky.group_by.is_some() && leaky.distinct.is_some());
    assert!(
        matches!(&leaky.scope, Scope::Custom(name, e) if &**name == "username" && &*e.text == "evt.Meta.user")
    );
    assert!(matches!(leaky.labels["confidence"], Value::Int(3)));
    assert!(matches!(&leaky.labels["classification"], Value::List(items) if items.len() == 1));
    assert_eq!((counter.kind, counter.duration, counter.place.line), (BucketKind::Counter, 60 * SECOND, 21));
    assert!(!counter.remediation && counter.bayesian.is_none() && matches!(counter.scope, Scope::Ip));
}

#[test]
fn a_bayesian_scenario() {
    let text = "\
type: bayesian
name: me/bayes
description: weighs
filter: 'true'
capacity: -1
leakspeed: 30s
bayesian_prior: 0.5
bayesian_threshold: 0.8
bayesian_conditions:
  - condition: queue.L > 1
    prob_given_evil: 0.8
    prob_given_benign: 0.2
  - condition: evt.Meta.log_type == 'x'
    prob_given_evil: 1
    prob_given_benign: 0.5
    guillotine: true
";
    let scenarios = clean(load_scenarios(file(text)));
    let bayesian = scenarios[0].bayesian.as_ref().expect("parameters");
    assert_eq!((bayesian.prior, bayesian.threshold, bayesian.conditions.len()), (0.5, 0.8, 2));
    let last = &bayesian.conditions[1];
    assert_eq!((last.given_evil, last.given_benign, last.guillotine), (1.0, 0.5, true));
}

#[test]
fn a_context() {
    let item =
        "name: me/context\ncontext:\n  b: [evt.Meta.b, evt.Meta.c, evt.Meta.b]\n  a:\n    - evt.Meta.a\n";
    let contexts = clean(load_context(file(item), true));
    let fields: Vec<(&str, Vec<&str>)> = contexts[0]
        .fields
        .iter()
        .map(|(name, expressions)| (&**name, expressions.iter().map(|e| &*e.text).collect()))
        .collect();
    assert_eq!(fields, [("a", vec!["evt.Meta.a"]), ("b", vec!["evt.Meta.b", "evt.Meta.c"])]);
}
