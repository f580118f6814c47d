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

/// A rule that asks who is listed is tried over logs of the past with a list of a file.
#[test]
fn lists_of_files_say_who_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it is written");
    let line = |address: &str, page: u32| {
        format!(
            "{address} - - [01/Mar/2026:10:00:0{page} +0000] \"GET /gone{page} HTTP/1.1\" 404 5 \"-\" \"x\"\n"
        )
    };
    let log: String = (0..6).map(|page| line("203.0.113.7", page) + &line("198.51.100.7", page)).collect();
    write("access.log", &log);
    let log = path("access.log");
    let found = |lists: &[&str]| -> Vec<String> {
        let mut args = vec!["replay", log.as_str(), "--type", "nginx", "-o", "json"];
        for list in lists {
            args.extend(["--decisions", list]);
        }
        let output = testudo(&args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report = json(text(&output.stdout));
        report["sources"].as_object().expect("sources").keys().cloned().collect()
    };
    assert_eq!(found(&[]), [""; 0]);
    write("list.txt", "# a list\n203.0.113.0/24\n");
    write("list.csv", "value,reason\n198.51.100.7,scan\n");
    let own = r#"[{"decisions":[{"origin":"crowdsec","scope":"Ip","value":"198.51.100.7","type":"ban"}]},
        {"decisions":[{"origin":"CAPI","scope":"Country","value":"XX","type":"ban"}]}]"#;
    write("list.json", own);
    assert_eq!(found(&[&path("list.txt")]), ["203.0.113.7"]);
    assert_eq!(found(&[&path("list.txt"), &path("list.csv")]), ["198.51.100.7", "203.0.113.7"]);
    // What an engine has banned is no list.
    assert_eq!(found(&[&path("list.json")]), [""; 0]);
    write("bad.txt", "nobody\n");
    for (list, reason) in
        [("bad.txt", "`nobody` is neither address nor network"), ("none.txt", "cannot be read")]
    {
        let output = testudo(&["replay", &log, "--type", "nginx", "--decisions", &path(list)]);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(told.contains(reason) && told.contains("hint: a list has one value a line"), "{told}");
    }
    // Rules of one's own that ask are told that nobody is listed.
    let rules = folder.path().join("rules/parsers/s00-raw");
    fs::create_dir_all(&rules).expect("a folder");
    let rule = "name: a/b\nfilter: IsListed(evt.Line.Raw)\nstatics: [{meta: a, value: b}]\n";
    fs::write(rules.join("a.yaml"), rule).expect("it is written");
    let output = testudo(&["replay", &log, "--type", "nginx", "--rules", &path("rules")]);
    assert!(text(&output.stderr).contains("note: rules ask who is listed, and nobody is"), "{output:?}");
    let output = testudo(&[
        "replay",
        &log,
        "--type",
        "nginx",
        "--rules",
        &path("rules"),
        "--decisions",
        &path("list.txt"),
    ]);
    assert!(!text(&output.stderr).contains("note:"), "{output:?}");
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
    let lines: Vec<&str> = shown.lines().collect();
    let is_marked = |pair: &&[&str]| pair[0].ends_with("port x ssh2") && pair[1].contains('▲');
    let [place, mark] = lines.windows(2).find(is_marked).expect("the message, and a mark below it") else {
        unreachable!("windows of two")
    };
    let before = |line: &str, end: &str| line[..line.find(end).expect(end)].chars().count();
    assert_eq!(before(mark, "▲"), before(place, "x ssh2"), "{shown}");
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
