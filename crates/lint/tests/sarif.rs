//! Findings as SARIF: what the standard asks for and code hosts read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use testudo_lint::{check, facts, gather, sarif};

/// An error, with a character before it that takes two bytes, and advice.
const RULE: &str = "# ä\ntype: trigger\nname: a/b\ndescription: é\nfilter: \"'ä' == evt.Lin\"\nlabels: {}\n";

fn written(folder: &Path, deny_advice: bool) -> Value {
    let gathered = gather(&[folder.join("scenarios")], &[]).expect("it is there");
    let mut found = gathered.diagnostics;
    found.extend(check(&gathered.inputs, &facts(&gathered.beside), |_| Vec::new()));
    let mut out = Vec::new();
    sarif::write(&found, deny_advice, folder, &mut out).expect("a vector takes everything");
    serde_json::from_slice(&out).expect("JSON")
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let scenarios = folder.path().join("scenarios");
    fs::create_dir_all(&scenarios).expect("a folder");
    (folder, scenarios)
}

#[test]
fn findings_stand_at_their_lines() {
    let (folder, scenarios) = folder();
    fs::write(scenarios.join("a b.yaml"), RULE).expect("written");
    fs::write(scenarios.join("c.yaml"), "type: trigger\nname: c\ndescription: d\nfilter: 'true'\n")
        .expect("written");
    let document = written(folder.path(), false);
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    let driver = &run["tool"]["driver"];
    assert!(driver["name"].is_string() && driver["semanticVersion"].is_string());
    let rules = driver["rules"].as_array().expect("rules");
    let results = run["results"].as_array().expect("results");
    assert!(rules.len() > 1 && results.len() > 1, "{document:#}");
    for rule in rules {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(rule[text]["text"].as_str().is_some_and(|text| !text.is_empty()), "{rule:#}");
        }
    }
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(result["message"]["text"].is_string());
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert!(["scenarios/a%20b.yaml", "scenarios/c.yaml"].contains(&uri.as_str().expect("an address")));
    }
    let error = results.iter().find(|result| result["level"] == "error").expect("an error");
    assert_eq!(error["ruleId"], "R011");
    let region = &error["locations"][0]["physicalLocation"]["region"];
    let at = |key: &str| region[key].as_u64().expect("a number") as usize;
    // Columns count characters, as the run says.
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let line = RULE.lines().nth(at("startLine") - 1).expect("the line");
    assert_eq!(at("startLine"), at("endLine"));
    let marked: String =
        line.chars().skip(at("startColumn") - 1).take(at("endColumn") - at("startColumn")).collect();
    assert!(marked.ends_with("Lin"), "{marked} of {line}");
    assert!(results.iter().any(|result| result["level"] == "warning"));
}

#[test]
fn advice_that_is_denied_is_an_error() {
    let (folder, scenarios) = folder();
    fs::write(scenarios.join("c.yaml"), "type: trigger\nname: c\ndescription: d\nfilter: 'true'\n")
        .expect("written");
    let document = written(folder.path(), true);
    let results = document["runs"][0]["results"].as_array().expect("results");
    assert!(!results.is_empty() && results.iter().all(|result| result["level"] == "error"));
}

#[test]
fn nothing_found_is_a_document_too() {
    let (folder, _) = folder();
    let run = &written(folder.path(), false)["runs"][0];
    assert_eq!(
        (&run["results"], &run["tool"]["driver"]["rules"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
}

#[test]
fn a_file_that_cannot_be_read_has_a_place() {
    let (folder, scenarios) = folder();
    fs::write(scenarios.join("x.yaml"), b"name: \xff").expect("written");
    let document = written(folder.path(), false);
    let place = &document["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
        (&"scenarios/x.yaml".into(), &1.into())
    );
}
