//! `testudo rule`, `testudo explain` and `testudo lint` as people call them, on good and on bad input.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A line of a service that no rule of ours knows.
const LINE: &str = "2026-11-30 09:00:00 login of 'root' failed from 203.0.113.7:4711";

/// The longest line that is read is shorter than this.
const TOO_LONG: usize = 10 << 20;

fn testudo(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testudo")).current_dir(folder).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output is text")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// A folder with a log of twelve failures of one source and a log-in of another, and the rules drafted from it.
fn drafted() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = String::new();
    for second in 0..12 {
        log.push_str(&LINE.replace(":00 ", &format!(":{second:02} ")));
        log.push('\n');
    }
    log.push_str("2026-11-30 09:01:00 login of 'lena' succeeded from 203.0.113.8:4711\n");
    fs::write(folder.path().join("toyd.log"), log).expect("it is written");
    let args =
        ["rule", "new", "--from", "toyd.log", "--name", "me/toyd", "--scenario", "bruteforce", "-o", "rules"];
    let output = testudo(folder.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
}

#[test]
fn a_draft_passes_its_samples_and_finds_the_attacker() {
    let folder = drafted();
    let tested = testudo(folder.path(), &["rule", "test", "rules", "-o", "json"]);
    assert!(tested.status.success(), "{}", text(&tested.stdout));
    let tested = json(&tested);
    assert_eq!(tested["failed"], 0);
    // Hostile texts, of which there are many, were among them.
    assert!(tested["lines"].as_u64().is_some_and(|lines| lines > 300), "{tested}");
    let args = ["rule", "backtest", "rules", "--logs", "toyd.log", "--no-cost", "-o", "json"];
    let tried = json(&testudo(folder.path(), &args));
    assert_eq!((&tried["lines"], &tried["hits"], &tried["suspected"]), (&13.into(), &13.into(), &0.into()));
    assert_eq!(tried["banned"][0]["value"], "203.0.113.7");
    assert_eq!(tried["banned"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_fails_is_told_with_its_line_and_an_exit_code() {
    let folder = drafted();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("expect.yaml"), "min_hits: 1\nnot_banned: [203.0.113.0/24]\n").expect("it is written");
    let args = [
        "rule",
        "backtest",
        "rules",
        "--logs",
        "toyd.log",
        "--no-cost",
        "--expect",
        "expect.yaml",
        "-o",
        "junit",
    ];
    let output = testudo(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    let xml = text(&output.stdout);
    assert!(
        xml.contains("tests=\"2\" failures=\"1\"") && xml.contains("file=\"expect.yaml\" line=\"2\""),
        "{xml}"
    );
    // The samples.
    let samples = at("rules/samples/toyd.yaml");
    let good = fs::read_to_string(&samples).expect("they are there");
    fs::write(&samples, good.replacen("source_ip: '203.0.113.7'", "source_ip: 203.0.113.9", 1))
        .expect("it is written");
    let output = testudo(folder.path(), &["rule", "test", "rules"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("evt.Meta.source_ip is '203.0.113.7', not '203.0.113.9'"), "{told}");
    fs::write(&samples, good.replacen("    meta:", "    mata:", 1)).expect("it is written");
    let output = testudo(folder.path(), &["rule", "test", "rules"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("toyd.yaml:8:5: unknown key `mata` (did you mean `meta`?)"), "{told}");
    // A rule that does not load is no rule to test.
    fs::write(at("rules/parsers/s01-parse/toyd.yaml"), "name: [").expect("it is written");
    assert_eq!(testudo(folder.path(), &["rule", "test", "rules"]).status.code(), Some(2));
}

#[test]
fn files_that_are_there_stay() {
    let folder = drafted();
    let args = ["rule", "new", "--from", "toyd.log", "--name", "me/toyd", "-o", "rules"];
    let output = testudo(folder.path(), &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is there already"), "{}", text(&output.stderr));
    assert!(testudo(folder.path(), &[&args[..], &["--force"]].concat()).status.success());
    // One file, and its samples beside it.
    let args = ["rule", "new", "--from", "toyd.log", "--name", "me/toyd", "-o", "x.yaml"];
    assert!(testudo(folder.path(), &args).status.success());
    assert!(testudo(folder.path(), &["rule", "test", "x.yaml"]).status.success());
    assert!(testudo(folder.path(), &["rule", "test", "x.samples.yaml"]).status.success());
}

#[test]
fn logs_of_all_sorts_give_a_draft_or_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    // Bytes that no generator of numbers is needed for.
    let rubbish: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let differ: Vec<String> = (0..300)
        .map(|n: u32| format!("{}{}", "w ".repeat(n as usize % 40), char::from(b'a' + (n % 26) as u8)))
        .collect();
    let cases: [(&str, Vec<u8>, Option<&str>); 8] = [
        ("empty", Vec::new(), Some("there is no line in empty.log")),
        ("blank", b"\n\n".to_vec(), Some("there is no line in blank.log")),
        ("long", vec![b'x'; TOO_LONG], Some("there is no line in long.log")),
        (
            "control",
            b"a\x01b\n\x02\n".to_vec(),
            Some("2 of the 2 lines have control characters or are no UTF-8"),
        ),
        ("one", LINE.as_bytes().to_vec(), None),
        ("same", format!("{LINE}\n").repeat(3000).into_bytes(), None),
        ("differ", differ.join("\n").into_bytes(), None),
        ("mixed", [&vec![b'x'; TOO_LONG][..], b"\n", LINE.as_bytes()].concat(), None),
    ];
    for (name, bytes, sentence) in cases {
        let log = format!("{name}.log");
        fs::write(folder.path().join(&log), bytes).expect("it is written");
        let output = testudo(folder.path(), &["rule", "new", "--from", &log, "-o", name]);
        let told = text(&output.stderr);
        match sentence {
            Some(sentence) => {
                assert_eq!(output.status.code(), Some(2), "{name}: {told}");
                assert!(told.contains(sentence), "{name}: {told}");
            }
            None => {
                assert!(output.status.success(), "{name}: {told}");
                let tested = testudo(folder.path(), &["rule", "test", name]);
                assert!(tested.status.success(), "{name}: {}", text(&tested.stdout));
            }
        }
    }
    fs::write(folder.path().join("rubbish.log"), rubbish).expect("it is written");
    let output = testudo(folder.path(), &["rule", "new", "--from", "rubbish.log"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("rubbish.log is no log of text"), "{}", text(&output.stderr));
    let output = testudo(folder.path(), &["rule", "new", "--from", "/dev/zero"]);
    assert!(text(&output.stderr).contains("/dev/zero is a device and no log"), "{}", text(&output.stderr));
    let output = testudo(folder.path(), &["rule", "new", "--from", "absent.log"]);
    assert!(text(&output.stderr).contains("cannot read absent.log"), "{}", text(&output.stderr));
}

#[test]
fn lines_are_grouped_by_what_becomes_of_them() {
    let folder = drafted();
    let path: PathBuf = folder.path().join("toyd.log");
    let mut log = fs::read_to_string(&path).expect("it is there");
    log.push_str("2026-11-30 09:02:00 login of 'root' refused from 203.0.113.7:4711\n");
    fs::write(&path, log).expect("it is written");
    let output = testudo(folder.path(), &["explain", "--with", "rules", "toyd.log", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "one line is not parsed");
    let report = json(&output);
    assert_eq!(
        (&report["lines"], &report["unparsed"], &report["beyond"]),
        (&14.into(), &1.into(), &0.into())
    );
    let groups = report["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 3);
    assert_eq!((&groups[0]["count"], &groups[0]["log_type"]), (&12.into(), &"toyd_failed-auth".into()));
    assert_eq!(groups[0]["scenarios"][0], "me/toyd-bruteforce");
    let help = &groups[2]["way"]["furthest"]["change"];
    assert!(help.as_str().is_some_and(|help| help.contains("`refused`")), "{}", groups[2]);
    assert_eq!(groups[2]["form"], "<time> login of '<quoted>' refused from <ip>:<number>");
}

#[test]
fn a_node_without_a_name_is_told_by_its_rule_and_its_line() {
    let folder = drafted();
    let rule = fs::read_to_string(folder.path().join("rules/parsers/s01-parse/toyd.yaml")).expect("a draft");
    let line = LINE.replace("failed", "refused");
    let explain = |more: &[&str]| {
        let args = ["explain", "--with", "rules", "--type", "toyd", line.as_str()];
        testudo(folder.path(), &[&args[..], more].concat())
    };
    let report = json(&explain(&["-o", "json"]));
    let told = report["lines"][0]["furthest"]["node"].as_str().expect("a node");
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let (at, place) =
        told.strip_prefix("me/toyd, node ").and_then(|rest| rest.split_once(" (line ")).expect(told);
    let begins = rule.lines().nth(number(place.trim_end_matches(')')) - 1).expect("a line of the file");
    assert!(begins.starts_with("  - ") && number(at) > 0, "{told}: {begins}");
    let human = explain(&["--all-nodes"]);
    let human = text(&human.stdout);
    assert!(human.contains(&format!("furthest came a pattern of {told}")), "{human}");
    assert!(human.contains("✗ node 1 (line ") && !human.contains("child-"), "{human}");
}

#[test]
fn findings_are_written_for_code_hosts() {
    let folder = drafted();
    let lint = |paths: &[&str]| testudo(folder.path(), &[&["lint", "-o", "sarif"], paths].concat());
    let output = lint(&["rules"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(json(&output)["runs"][0]["results"].as_array().map(Vec::len), Some(0));
    let at = |name: &str| folder.path().join(name);
    fs::write(at("acquis.yaml"), "filenames: [/var/log/toyd.log]\nlabls: {type: toyd}\n")
        .expect("it is written");
    fs::write(at("rules/samples/toyd.yaml"), "rule: me/toyd\ntype: toyd\nmatchs: []\n")
        .expect("it is written");
    let output = lint(&["rules", "./acquis.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    let mut found: Vec<(&str, &str, u64)> = Vec::new();
    for result in report["runs"][0]["results"].as_array().expect("results") {
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().expect("an address");
        let line = place["region"]["startLine"].as_u64().expect("a line");
        found.push((result["ruleId"].as_str().expect("a code"), uri, line));
    }
    assert_eq!(found, [("A002", "acquis.yaml", 2), ("C002", "rules/samples/toyd.yaml", 3)]);
}

#[test]
fn lines_of_a_foreign_form_are_one_group_and_get_no_change_of_the_envelope() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |n: u32| format!("2026-11-30T08:00:{n:02}.5 [ship] label printed parcel=P{}\n", 815_000 + n);
    fs::write(folder.path().join("parcel.log"), (0..40).map(line).collect::<String>())
        .expect("it is written");
    let report = json(&testudo(folder.path(), &["explain", "parcel.log", "-o", "json"]));
    let groups = report["groups"].as_array().expect("groups");
    assert_eq!((groups.len(), &groups[0]["count"]), (1, &40.into()), "{report:#}");
    assert_eq!(groups[0]["form"], "<time> [ship] label printed parcel=<word>");
    let way = &groups[0]["way"];
    assert!(way["hint"].as_str().is_some_and(|hint| hint.contains("--type")), "{way:#}");
    assert!(way["furthest"]["change"].is_null(), "{way:#}");
}

#[test]
fn rules_that_do_nothing_are_told() {
    let folder = drafted();
    let args = ["rule", "backtest", "rules", "--logs", "toyd.log", "--no-cost"];
    let told = |output: &Output| text(&output.stderr).to_owned();
    assert_eq!(told(&testudo(folder.path(), &args)), "");
    let change = |path: &str, from: &str, to: &str| {
        let path = folder.path().join(path);
        let rule = fs::read_to_string(&path).expect("a draft");
        fs::write(&path, rule.replace(from, to)).expect("it is written");
    };
    change("rules/scenarios/toyd-bruteforce.yaml", "toyd_failed-auth", "toyd_faild-auth");
    let output = testudo(folder.path(), &args);
    assert!(told(&output).contains("no event fits the filter"), "{}", told(&output));
    // And what that says finds it.
    let output = testudo(folder.path(), &["lint", "rules"]);
    assert!(text(&output.stdout).contains("did you mean `toyd_failed-auth`?"), "{}", text(&output.stdout));
    change("rules/parsers/s01-parse/toyd.yaml", "login of", "logout of");
    let output = testudo(folder.path(), &[&args[..], &["--type", "toyd"]].concat());
    assert!(told(&output).contains("none of these parsers reads a line"), "{}", told(&output));
}
