//! Whatever a file holds: no loader panics, every place lies in the file, every diagnostic can be
//! drawn.

use std::sync::Arc;

use proptest::prelude::*;
use testudo_rules::{
    Diagnostic, SourceFile, load_context, load_parsers, load_postoverflows, load_profiles, load_scenarios,
    load_simulation, render,
};

const SEEDS: &[&str] = &[
    "\
name: me/parser
description: \"a parser\"
filter: evt.Parsed.program == 'x'
onsuccess: next_stage
pattern_syntax:
  WORDS: '(\\w+ )+'
grok:
  pattern: \"%{WORDS:words}\"
  apply_on: message
  statics:
    - meta: words
      expression: evt.Parsed.words
nodes:
  - grok: {name: IP, expression: \"evt.Line.Raw\"}
    stash: [{name: s, key: evt.StrTime, value: evt.StrTime, ttl: 5s, size: 10}]
  - whitelist: {reason: r, ip: ['::1'], cidr: [10.0.0.0/8], expression: [\"evt.Whitelisted == true\"]}
statics:
  - method: ParseDate
    expression: evt.StrTime
---
name: me/other
data: [{dest_file: a.txt, type: string}]
statics: [{target: evt.StrTime, value: x}]
",
    "\
type: leaky
name: me/scenario
description: &d a scenario
references: [*d, \"x\"]
filter: |
  evt.Meta.log_type == 'x' and
    evt.Meta.service == \"y\"
groupby: evt.Meta.source_ip
distinct: >-
  evt.Meta.a
  + evt.Meta.b
capacity: 5
leakspeed: 10s
blackhole: 1m
scope: {type: username, expression: evt.Meta.username}
labels: {remediation: true, a: [1, 2.5, ~, {b: off}]}
",
    "simulation: off\nexclusions:\n  - a\n  - b\n",
    "context:\n  user:\n    - evt.Meta.user\n    - 'evt.Meta.other'\n",
    "name: x\nfilters: ['Alert.Remediation == true']\ndecisions: [{type: ban, duration: 4h}]\non_success: break\n",
];

fn look(diagnostics: &[Diagnostic], text: &str) {
    for diagnostic in diagnostics {
        let place = &diagnostic.place;
        let end = place.offset as usize + place.length as usize;
        assert!(text.get(place.offset as usize..end).is_some(), "{diagnostic:?}");
        let lines = text.split('\n').count();
        assert!((1..=lines).contains(&(place.line as usize)) && place.column >= 1, "{diagnostic:?}");
        assert!(render(diagnostic, false).contains(diagnostic.code));
    }
}

fn load_everything(text: &str) {
    let file = Arc::new(SourceFile { path: "x.yaml".to_owned(), text: text.to_owned() });
    look(&load_parsers(Arc::clone(&file), "s01-parse").diagnostics, text);
    look(&load_postoverflows(Arc::clone(&file), "s00-enrich").diagnostics, text);
    look(&load_scenarios(Arc::clone(&file)).diagnostics, text);
    look(&load_context(Arc::clone(&file), true).diagnostics, text);
    look(&load_context(Arc::clone(&file), false).diagnostics, text);
    look(&load_profiles(Arc::clone(&file)).diagnostics, text);
    look(&load_simulation(file).diagnostics, text);
}

/// A change of a text: something put at a place, over so many characters.
fn edit(text: &str, at: usize, over: usize, put: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let at = at % (characters.len() + 1);
    let end = (at + over).min(characters.len());
    characters[..at].iter().copied().chain(put.chars()).chain(characters[end..].iter().copied()).collect()
}

#[test]
fn seeds() {
    for seed in SEEDS {
        load_everything(seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,80}") {
        load_everything(&text);
    }

    #[test]
    fn yaml_like_text(text in "((name|type|filter|grok|statics|scope|nodes|data|- |  |\\n|: |\\||>|'|\"|\\{|\\}|\\[|\\]|, |&a |\\*a|<<|---\\n|evt|1|~|#|é){0,30}\n?){0,3}") {
        load_everything(&text);
    }

    #[test]
    fn mutated(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec((any::<usize>(), 0usize..6, "[-a:|>\"'\\\\#&*!%@{}\\[\\],. \t\r\né\u{feff}\u{85}]{0,4}"), 1..6),
    ) {
        let text = edits.iter().fold(SEEDS[seed].to_owned(), |text, (at, over, put)| edit(&text, *at, *over, put));
        load_everything(&text);
    }
}
