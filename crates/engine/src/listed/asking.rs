//! Rules that ask, in each place where they may.

use std::{collections::BTreeMap, sync::Arc};

use testudo_event::{Overflow, Prefix, Timestamp, YearClock};
use testudo_expr::host::Listing;
use testudo_rules::{SourceFile, load_parsers, load_postoverflows, load_scenarios, set::RuleSet};

use super::{ListBuilder, Listed};
use crate::{Engine, Line, LineOutcome, NoData, NoObserver, Options, Replay, Sink, Source};

const READER: &str = "
name: t/raw
filter: evt.Line.Labels.type == 't'
onsuccess: next_stage
grok:
  pattern: '^%{IP:ip} %{WORD:word}$'
  apply_on: Line.Raw
statics:
  - {meta: source_ip, expression: evt.Parsed.ip}
  - {meta: word, expression: evt.Parsed.word}
  - {target: evt.StrTime, value: '2026-03-01T10:00:00Z'}
  - {method: ParseDate, expression: evt.StrTime}
  - {target: evt.MarshaledTime, expression: evt.Enriched.MarshaledTime}
  - {method: Reputation, expression: evt.Parsed.ip}
  - {meta: origins, expression: evt.Enriched.reputation_origins}
  - {meta: until, expression: evt.Enriched.reputation_until}
  - {meta: types, expression: \"join(Reputation(evt.Parsed.ip).Types, ',')\"}
";

const TRIGGER: &str =
    "type: trigger\nname: t/x\ndescription: x\ngroupby: evt.Meta.source_ip\nlabels: {remediation: true}\n";

fn file(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: "t.yaml".to_owned(), text: text.to_owned() })
}

fn engine(reader: &str, scenario: &str, postoverflow: &str) -> (Engine, Arc<Listed>) {
    let (parsers, scenarios) = (load_parsers(file(reader), "s00-raw"), load_scenarios(file(scenario)));
    let postoverflows = load_postoverflows(file(postoverflow), "s00-x");
    for diagnostics in [&parsers.diagnostics, &scenarios.diagnostics, &postoverflows.diagnostics] {
        assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    }
    let rules = RuleSet {
        parsers: parsers.items,
        scenarios: scenarios.items,
        postoverflows: postoverflows.items,
        ..RuleSet::default()
    };
    let (mut engine, diagnostics) = Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026)));
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let listed = Arc::new(Listed::default());
    engine.world_mut().set_listed(Arc::clone(&listed));
    (engine, listed)
}

#[derive(Default)]
struct Found(Vec<String>);

impl Sink for Found {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        assert_eq!(outcome, LineOutcome::Parsed);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        if !overflow.whitelisted {
            let meta =
                |key: &str| overflow.alert.events.last().map_or("", |event| event.meta(key)).to_owned();
            let of = overflow.alert.source.value.as_str();
            self.0.push(format!("{of} [{}] [{}] [{}]", meta("origins"), meta("types"), meta("until")));
        }
    }
}

fn run(engine: &Engine, lines: &[&str]) -> Vec<String> {
    let labels = BTreeMap::from([("type".to_owned(), "t".to_owned())]);
    let sources = [Source { name: "t".to_owned(), module: "file".to_owned(), labels }];
    let mut replay = Replay::new(engine, &sources, Timestamp::default());
    let mut found = Found::default();
    for (number, line) in (1..).zip(lines) {
        replay.line(0, number, line, &mut NoObserver, &mut found);
    }
    found.0
}

fn list(listed: &Listed, values: &[(&str, &str)]) {
    let mut builder = ListBuilder::default();
    for (network, origin) in values {
        let network = Prefix::parse(network).expect("a network");
        builder.add(network, &Listing { origin, scenario: "s", kind: "ban", since: 0, until: 86_400 });
    }
    listed.set(builder.build());
}

#[test]
fn a_filter_and_an_enricher_ask_who_is_listed() {
    let scenario = format!("{TRIGGER}filter: evt.Meta.word == 'probe' && IsListed(evt.Meta.source_ip)\n");
    let (engine, listed) = engine(READER, &scenario, "");
    assert!(engine.asks_lists());
    let lines = ["192.0.2.1 probe", "198.51.100.1 probe", "192.0.2.2 other", "2001:db8::9 probe"];
    assert!(run(&engine, &lines).is_empty(), "without lists nobody is listed");
    list(&listed, &[("192.0.2.0/24", "CAPI"), ("192.0.2.1/32", "lists"), ("2001:db8::1/128", "lists")]);
    assert_eq!(
        run(&engine, &lines),
        [
            "192.0.2.1 [CAPI,lists] [ban] [1970-01-02T00:00:00Z]",
            "2001:db8::9 [lists] [ban] [1970-01-02T00:00:00Z]"
        ]
    );
    // Lists change while lines come, and what this engine has led to is no list.
    list(&listed, &[("192.0.2.1/32", "crowdsec"), ("198.51.100.1/32", "cscli-import")]);
    assert_eq!(run(&engine, &lines), ["198.51.100.1 [cscli-import] [ban] [1970-01-02T00:00:00Z]"]);
    listed.set_now(86_400);
    assert!(run(&engine, &lines).is_empty(), "they are over");
}

#[test]
fn each_way_to_ask_finds_the_same() {
    let conditions = [
        "IsListed(evt.Meta.source_ip)",
        "ListedBy(evt.Meta.source_ip, 'lists')",
        "ListedBy(evt.Meta.source_ip, 'CAPI', evt.Meta.word == 'probe' ? 'lists' : '')",
        "Reputation(evt.Meta.source_ip).Listed",
        "let r = Reputation(evt.Meta.source_ip); r.Count == 1 && 's' in r.Scenarios && r.Until.Unix() == 86400",
        "any(Reputation(evt.Meta.source_ip, 'lists').Origins, { # == 'lists' })",
        "not (IsListed(evt.Meta.source_ip) == false)",
    ];
    for condition in conditions {
        let filter = format!("filter: \"{condition}\"\n");
        let conditional = format!(
            "type: conditional\nname: t/x\ndescription: x\nfilter: 'true'\ngroupby: evt.Meta.source_ip\ncapacity: -1\n\
             leakspeed: 1h\ncondition: \"{condition}\"\nlabels: {{remediation: true}}\n"
        );
        let whitelist =
            format!("name: t/w\nwhitelist:\n  reason: x\n  expression:\n    - \"not ({condition})\"\n");
        for (scenario, postoverflow) in [
            (format!("{TRIGGER}{filter}"), String::new()),
            (conditional, String::new()),
            (
                format!("{TRIGGER}filter: 'true'\n"),
                whitelist.replace("evt.Meta.source_ip", "evt.Overflow.Alert.Source.IP"),
            ),
        ] {
            // What is said of a line is not known of an overflow.
            if !postoverflow.is_empty() && (condition.contains("let ") || condition.contains("word")) {
                continue;
            }
            let (engine, listed) = self::engine(READER, &scenario, &postoverflow);
            assert!(engine.asks_lists(), "{condition}");
            list(&listed, &[("192.0.2.1/32", "lists"), ("192.0.2.3/32", "crowdsec")]);
            let found = run(&engine, &["192.0.2.1 probe", "192.0.2.2 probe", "192.0.2.3 probe"]);
            assert_eq!(found.len(), 1, "{condition}\n{scenario}{postoverflow}: {found:?}");
            assert!(found[0].starts_with("192.0.2.1 "), "{condition}: {found:?}");
        }
    }
}

#[test]
fn rules_that_do_not_ask_are_known() {
    let reader = READER.lines().filter(|line| !line.contains("eputation")).collect::<Vec<_>>().join("\n");
    let scenario = format!("{TRIGGER}filter: 'true'\n");
    assert!(!engine(&reader, &scenario, "").0.asks_lists());
    let with_method = format!("{reader}\n  - {{method: Reputation, expression: evt.Parsed.ip}}\n");
    assert!(engine(&with_method, &scenario, "").0.asks_lists());
}
