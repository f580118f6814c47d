//! The example logs, as the README replays them: what is found there, and that every report for
//! programs is as `docs/replay.schema.json` says.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

#[path = "examples/schema.rs"]
mod schema;

use schema::Schema;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `testudo` at the root of the workspace.
fn testudo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testudo")).current_dir(root()).args(args).output().expect("it runs")
}

fn replay(args: &[&str]) -> Output {
    testudo(&[&["replay", "examples/logs/access.log", "examples/logs/auth.log"], args].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output is text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("the output is JSON")
}

#[test]
fn the_attackers_and_nobody_else() {
    let output = replay(&["-o", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = json(text(&output.stdout));
    let sources = report["sources"].as_object().expect("sources");
    let found: BTreeMap<&str, &str> = sources
        .iter()
        .map(|(source, what)| (source.as_str(), what["decision"]["type"].as_str().unwrap_or("none")))
        .collect();
    // Visitors and users have addresses in 198.51.100.0/24, also where an attacker's user name names one.
    let expected =
        ["192.0.2.201", "192.0.2.77", "203.0.113.131", "203.0.113.44", "203.0.113.7", "203.0.113.90"];
    assert_eq!(found, expected.map(|address| (address, "ban")).into());
    assert_eq!(report["lines"]["total"], 340);
}

#[test]
fn people_get_a_report() {
    let output = replay(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    for part in ["LINES", "ALERTS BY SCENARIO", "SOURCES", "203.0.113.7", "ban 4h", "UNPARSED LINES"] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
}

#[test]
fn reports_for_programs_follow_the_schema() {
    let file = root().join("docs/replay.schema.json");
    let schema = Schema::new(json(&fs::read_to_string(file).expect("the schema is there")));
    let whole = json(text(&replay(&["-o", "json"]).stdout));
    schema.check(&whole, "report");

    let output = replay(&["-o", "jsonl", "missing.log"]);
    assert_eq!(output.status.code(), Some(2), "a file that is not there");
    let lines: Vec<Value> = text(&output.stdout).lines().map(json).collect();
    let (last, alerts) = lines.split_last().expect("there are lines");
    schema.check(last, "summaryLine");
    assert_eq!(last["summary"]["problems"][0]["path"], "missing.log");
    for alert in alerts {
        schema.check(alert, "alertLine");
    }
    // The two forms tell the same.
    let streamed: Vec<&Value> = alerts.iter().map(|line| &line["alert"]).collect();
    let kept: Vec<&Value> = whole["findings"].as_array().expect("findings").iter().collect();
    assert_eq!(streamed, kept);
}

#[test]
fn explain_tells_how_far_a_line_came() {
    let line = "Nov  2 06:00:00 mail sshd[7]: Failed password for root from 192.0.2.1 port x ssh2";
    let output = testudo(&["explain", "--type", "syslog", line]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("port ⟦here⟧x ssh2"), "{shown}");
}

/// Nobody's address stands in the examples: they are from the networks set aside for documentation.
#[test]
fn addresses_are_for_documentation() {
    for name in ["access.log", "auth.log"] {
        let log = fs::read_to_string(root().join("examples/logs").join(name)).expect("it is there");
        for word in log.split(|c: char| !c.is_ascii_digit() && c != '.') {
            let Ok(address) = word.parse::<std::net::Ipv4Addr>() else { continue };
            // Versions of browsers look like addresses, too.
            let [a, b, c, _] = address.octets();
            let known = [[192, 0, 2], [198, 51, 100], [203, 0, 113]].contains(&[a, b, c]);
            assert!(known || word == "141.0.0.0", "{name}: {word}");
        }
    }
}
