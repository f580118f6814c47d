//! Rule files out of foreign text: loaded, compiled, and run both ways.

use std::sync::{Arc, LazyLock};

use testudo_engine::{Engine, NoData};
use testudo_oracle::WorldFiles;
use testudo_rules::{
    Diagnostic, SourceFile, load_context, load_parsers, load_postoverflows, load_profiles, load_scenarios,
    load_simulation, render, set::RuleSet,
};

use crate::{
    hub::{batched, counters_add_up, one_by_one, options, plain, plain_agrees, source},
    input,
};

/// Reads the lines that follow, so that rules have something to look at.
const READER: &str = r#"
name: fuzz/reader
description: reads lines for fuzzing
filter: "evt.Line.Raw != ''"
onsuccess: next_stage
grok:
  pattern: '^%{TIMESTAMP_ISO8601:when} %{IPORHOST:ip} %{GREEDYDATA:message}$'
  apply_on: Line.Raw
statics:
  - target: evt.StrTime
    expression: evt.Parsed.when
  - method: ParseDate
    expression: evt.StrTime
  - target: evt.MarshaledTime
    expression: evt.Enriched.MarshaledTime
  - meta: source_ip
    expression: evt.Parsed.ip
  - meta: log_type
    value: fuzz
"#;

/// Lines that every set of rules sees that brings none: some of one source, some of many.
static LINES: LazyLock<String> = LazyLock::new(|| {
    let line = |at: usize| {
        let (minute, second) = (at / 7, at * 7 % 60);
        let (host, user) = (if at.is_multiple_of(3) { at } else { 7 }, at % 4);
        let message = match at % 5 {
            0 => format!("GET /p{at}?a=%2e%2e&b={user} 404 -"),
            1 => format!("{{\"user\": \"u{user}\", \"n\": {at}, \"list\": [1, {{\"a\": null}}]}}"),
            _ => format!("login failed user=u{user} port={at}"),
        };
        format!("2026-02-12T14:{minute:02}:{second:02}Z 192.0.2.{host} {message}\n")
    };
    (0..24).map(line).collect()
});

/// Loads the first part as a file of every kind, and runs the lines of the second part, or some of our own,
/// through what could be used of it.
pub fn rules(bytes: &[u8]) {
    let text = input::text(bytes);
    let (yaml, lines) = input::parts(&text);
    let file = Arc::new(SourceFile { path: "fuzz.yaml".to_owned(), text: yaml.to_owned() });

    let profiles = load_profiles(Arc::clone(&file));
    draw(&profiles.diagnostics);
    draw(&load_simulation(Arc::clone(&file)).diagnostics);
    draw(&load_context(Arc::clone(&file), false).diagnostics);
    let context = load_context(Arc::clone(&file), true);
    draw(&context.diagnostics);
    let postoverflows = load_postoverflows(Arc::clone(&file), "s00-enrich");
    draw(&postoverflows.diagnostics);
    let parsers = load_parsers(Arc::clone(&file), "s01-parse");
    draw(&parsers.diagnostics);
    let scenarios = load_scenarios(file);
    draw(&scenarios.diagnostics);

    if parsers.items.is_empty() && scenarios.items.is_empty() && context.items.is_empty() {
        return;
    }
    let mut parsers = parsers.items;
    parsers.splice(..0, reader());
    let set = RuleSet {
        parsers,
        postoverflows: postoverflows.items,
        scenarios: scenarios.items,
        context: context.items.into_iter().next().unwrap_or_default(),
        ..RuleSet::default()
    };
    run(&set, if lines.is_empty() { &LINES } else { lines });
}

fn reader() -> Vec<testudo_rules::plan::Parser> {
    let file = Arc::new(SourceFile { path: "reader.yaml".to_owned(), text: READER.to_owned() });
    load_parsers(file, "s00-raw").items
}

fn run(set: &RuleSet, lines: &str) {
    let (engine, diagnostics) = Engine::new(set, &NoData, options());
    draw(&diagnostics);
    let source = source("fuzz");
    let (seen, counters) = one_by_one(&engine, &source, lines);
    counters_add_up(&seen, &counters);
    assert_eq!(seen, one_by_one(&engine, &source, lines).0, "the second run sees something else");
    assert_eq!(seen, batched(&engine, &source, lines), "batches give something else (right)");
    plain_agrees(&mut plain(set, &WorldFiles::default()), &source, lines, &seen);
}

/// Every diagnostic lies in its file and can be drawn.
fn draw(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let place = &diagnostic.place;
        let end = place.offset as usize + place.length as usize;
        assert!(place.file.text.get(place.offset as usize..end).is_some(), "{diagnostic:?}");
        assert!(place.line >= 1 && place.column >= 1, "{diagnostic:?}");
        assert!(render(diagnostic, false).contains(diagnostic.code), "{diagnostic:?}");
        let _ = render(diagnostic, true);
    }
}
