//! Rules and lines for tests.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use testudo_event::Timestamp;
use testudo_rules::{
    Diagnostic, Severity, SourceFile, load_parsers, load_postoverflows, load_scenarios, set::RuleSet,
};

use crate::{Line, Plain, WorldFiles};

/// 2026-02-12T12:00:00Z
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse_rfc3339("2026-02-12T12:00:00Z").unwrap_or_default()
}

/// A parser for test lines `SECONDS key=value key=value …`: the time is so many seconds after noon (`-` for
/// none), the pairs go to `Meta`.
const READER: &str = r#"
name: test/reader
description: reads lines of tests
filter: "evt.Line.Raw != ''"
pattern_syntax:
  MAYBE_TIME: '-|[0-9]{4}-[^ ]+'
grok:
  pattern: '^%{MAYBE_TIME:when} ?%{GREEDYDATA:rest}$'
  apply_on: Line.Raw
statics:
  - target: evt.StrTime
    expression: "evt.Parsed.when == '-' ? '' : evt.Parsed.when"
  - meta: source_ip
    expression: "evt.Parsed.rest contains 'ip=' ? Split(Split(evt.Parsed.rest, 'ip=')[1], ' ')[0] : ''"
  - meta: user
    expression: "evt.Parsed.rest contains 'user=' ? Split(Split(evt.Parsed.rest, 'user=')[1], ' ')[0] : ''"
---
name: test/dates
description: reads their dates
filter: "evt.StrTime != ''"
statics:
  - method: ParseDate
    expression: evt.StrTime
  - target: evt.MarshaledTime
    expression: evt.Enriched.MarshaledTime
---
name: test/undated
description: lets the others through
filter: "evt.StrTime == ''"
statics:
  - meta: undated
    value: "yes"
"#;

fn file(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: path.to_owned(), text: text.to_owned() })
}

fn no_errors(diagnostics: &[Diagnostic]) {
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// A set of rules out of YAML texts: parsers and postoverflows with their stages, scenarios.
pub(crate) fn rules(parsers: &[(&str, &str)], scenarios: &[&str], postoverflows: &[(&str, &str)]) -> RuleSet {
    let mut rules = RuleSet::default();
    for (stage, text) in parsers {
        let loaded = load_parsers(file(&format!("{stage}/test.yaml"), text), stage);
        no_errors(&loaded.diagnostics);
        rules.parsers.extend(loaded.items);
    }
    for (at, text) in scenarios.iter().enumerate() {
        let loaded = load_scenarios(file(&format!("scenario{at}.yaml"), text));
        no_errors(&loaded.diagnostics);
        rules.scenarios.extend(loaded.items);
    }
    for (stage, text) in postoverflows {
        let loaded = load_postoverflows(file(&format!("{stage}/test.yaml"), text), stage);
        no_errors(&loaded.diagnostics);
        rules.postoverflows.extend(loaded.items);
    }
    rules
}

/// An interpreter of parsers alone.
pub(crate) fn parsing(parsers: &[(&str, &str)]) -> Plain {
    Plain::new(&rules(parsers, &[], &[]), &WorldFiles::default(), noon())
}

/// An interpreter of scenarios over test lines.
pub(crate) fn detecting(scenarios: &[&str]) -> Plain {
    overflowing(scenarios, &[])
}

/// The same with postoverflows.
pub(crate) fn overflowing(scenarios: &[&str], postoverflows: &[(&str, &str)]) -> Plain {
    Plain::new(&rules(&[("s00-raw", READER)], scenarios, postoverflows), &WorldFiles::default(), noon())
}

/// A line as it stands.
pub(crate) fn line(raw: &str) -> Line {
    Line {
        raw: raw.to_owned(),
        source: "test.log".to_owned(),
        labels: BTreeMap::new(),
        module: "file".to_owned(),
    }
}

/// A test line `tenths` of a second after noon.
pub(crate) fn at(tenths: i64, rest: &str) -> Line {
    line(&format!("{} {rest}", noon().add_nanos(tenths * 100_000_000).to_rfc3339_nano()))
}

/// The files that tests may read but that are not part of the project.
pub(crate) fn shared() -> Option<PathBuf> {
    let fallback = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var_os("TESTUDO_SHARED").map_or_else(|| PathBuf::from(fallback), PathBuf::from);
    let there = root.join("hub").is_dir();
    if !there {
        println!("skipped: {} is not there", root.display());
    }
    there.then_some(root)
}
