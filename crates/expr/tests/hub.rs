//! Every expression and every assert line of the public rule hub is read and checked.
//!
//! The hub is not part of this repository: `TESTUDO_SHARED` says where it is, without it the tests
//! are skipped.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use testudo_expr::{Schema, Type, compile_text, parser::parse};

fn hub() -> Option<PathBuf> {
    let shared = std::env::var_os("TESTUDO_SHARED")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into(), PathBuf::from);
    let hub = shared.join("hub");
    if !hub.is_dir() {
        eprintln!("skipped: no rule hub at {}", hub.display());
        return None;
    }
    Some(hub)
}

/// The files below `folder` that end in one of `endings`, sorted.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|e| path.to_string_lossy().ends_with(e)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The record types of the rules crate, with the variables of every place at once.
fn schema() -> Schema {
    let source = include_str!("../../rules/src/schema.rs");
    let start = source.find("const RECORDS: &str = \"").unwrap() + "const RECORDS: &str = \"".len();
    let end = start + source[start..].find("\";").unwrap();
    let variables = "
var evt Event
var queue Queue
var leaky Leaky
var match map[string]any
var req *Request
";
    Schema::parse(&(source[start..end].to_owned() + variables)).unwrap()
}

/// Collects the expressions of a document: the key they stand under, and their text.
fn collect(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text)
                        if matches!(
                            &**key,
                            "filter" | "expression" | "groupby" | "distinct" | "condition" | "cancel_on"
                        ) =>
                    {
                        found.push((key.clone(), text.clone()));
                    }
                    // Whitelists and alert contexts hold lists of expressions.
                    Value::Array(items) if key == "expression" => {
                        found.extend(
                            items.iter().filter_map(Value::as_str).map(|t| (key.clone(), t.to_owned())),
                        );
                    }
                    Value::Object(context) if key == "context" => {
                        for text in context.values().filter_map(Value::as_array).flatten() {
                            found.extend(text.as_str().map(|t| (key.clone(), t.to_owned())));
                        }
                    }
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[test]
fn every_assert_line_parses() {
    let Some(hub) = hub() else { return };
    let mut lines = 0;
    for file in files(&hub, &[".assert"]) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            lines += 1;
            if let Err(error) = parse(line) {
                panic!("{}: {line}: {error} ({:?})", file.display(), error.hint);
            }
        }
    }
    assert!(lines > 80_000, "only {lines} lines");
}

#[test]
fn every_rule_expression_checks() {
    let Some(hub) = hub() else { return };
    let schema = schema();
    let mut count = 0;
    let mut failures = Vec::new();
    for folder in ["parsers", "scenarios", "postoverflows", "contexts"] {
        for file in files(&hub.join(folder), &[".yaml", ".yml"]) {
            let text = fs::read_to_string(&file).unwrap();
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let mut found = Vec::new();
            documents.iter().for_each(|document| collect(document, &mut found));
            for (key, text) in found {
                count += 1;
                let want = match &*key {
                    "filter" | "condition" | "cancel_on" => Some(Type::Bool),
                    "groupby" | "distinct" => Some(Type::String),
                    _ => None,
                };
                if let Err(error) = compile_text(&text, &schema, want.as_ref()) {
                    let at = text.get(error.span.range()).unwrap_or("?");
                    let (file, hint) = (file.display(), error.hint.unwrap_or_default());
                    failures.push(format!("{file}: {text}\n  at `{at}`: {}; {hint}", error.message));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 2_500, "only {count} expressions");
}
