//! Whole sets of rules: ours have nothing to be told about, the hub's load without errors, and broken ones are told
//! with their places.

use std::{
    fs,
    path::{Path, PathBuf},
};

use testudo_lint::{Facts, check, count, facts, gather};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn ours_are_clean() {
    let gathered = gather(&[root().join("content")], &[]).expect("a folder");
    let found = check(&gathered.inputs, &Facts::default(), |_| Vec::new());
    let told: Vec<String> = found
        .iter()
        .chain(&gathered.diagnostics)
        .map(|d| format!("{}:{}: {} {}", d.place.file.path, d.place.line, d.code, d.message))
        .collect();
    assert!(gathered.inputs.len() > 30);
    assert_eq!(told, [""; 0]);
}

#[test]
fn the_hub_has_no_errors() {
    let shared = std::env::var_os("TESTUDO_SHARED").map_or(root().join("../shared"), PathBuf::from);
    let hub = shared.join("hub");
    if !hub.is_dir() {
        eprintln!("skipped: no hub at {}", hub.display());
        return;
    }
    let gathered = gather(&[hub], &[]).expect("a folder");
    let found = check(&gathered.inputs, &Facts::default(), |_| Vec::new());
    let (errors, advice) = count(&found);
    assert_eq!(errors, 0, "{:?}", found.iter().find(|d| d.severity == testudo_rules::Severity::Error));
    // Many, but for a third of the rules at most: advice that is everywhere is none.
    assert!((100..400).contains(&advice), "{advice}");
}

/// Writes files, checks those that are named, and gives `code line message` of each finding.
fn lint(files: &[(&str, &str)], paths: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    }
    let paths: Vec<PathBuf> = paths.iter().map(|path| folder.path().join(path)).collect();
    let gathered = gather(&paths, &[]).expect("they are there");
    let found = check(&gathered.inputs, &facts(&gathered.beside), |_| Vec::new());
    gathered
        .diagnostics
        .iter()
        .chain(&found)
        .map(|d| format!("{} {} {}", d.code, d.place.line, d.message))
        .collect()
}

/// One scenario beside a parser that sets `service` to `web`, and `user`.
fn scenario(text: &str, expected: &[&str]) {
    let parser = "name: me/p\nfilter: evt.Parsed.program == 'p'\nonsuccess: next_stage\nstatics:\n\
        - meta: service\n  value: web\n- meta: source_ip\n  expression: evt.Line.Src\n\
        - parsed: program\n  expression: evt.Line.Src\n- parsed: user\n  expression: evt.Line.Src\n";
    let labels = "labels: {remediation: true, service: x, behavior: x, label: x, classification: [], \
        confidence: 1, spoofable: 0}\n";
    let head = "name: me/s\ndescription: x\n";
    let text = format!("{head}{labels}{text}");
    let found =
        lint(&[("parsers/s00-raw/p.yaml", parser), ("scenarios/s.yaml", &text)], &["scenarios/s.yaml"]);
    assert_eq!(found, expected, "{text}");
}

#[test]
fn scenarios() {
    let leaky = "type: leaky\ncapacity: 3\nleakspeed: 5s\ngroupby: evt.Meta.source_ip\n";
    scenario(&format!("{leaky}filter: evt.Meta.service == 'web'\n"), &[]);
    scenario(
        &format!("{leaky}filter: evt.Meta.service == 'wep'\n"),
        &["L014 8 no parser here gives `evt.Meta.service` the text `wep`"],
    );
    scenario(
        &format!("{leaky}filter: evt.Meta.service in ['web', 'wep'] && evt.Parsed.usr != ''\n"),
        &["L013 8 no parser here sets `evt.Parsed.usr`: it is always empty"],
    );
    scenario(&format!("{leaky}filter: evt.Meta.service == 'wep' || evt.Parsed.user == 'x'\n"), &[]);
    scenario(&format!("{leaky}filter: evt.Parsed.user != '' && 'usr' in evt.Parsed\n"), &[]);
    scenario(
        &format!("{leaky}filter: evt.Parsed.user == 'a' && evt.Parsed.user == 'b'\n"),
        &["L010 8 `evt.Parsed.user` cannot be `a` and `b` at once"],
    );
    scenario(&format!("{leaky}filter: 1 > 2\n"), &["L010 8 the filter never holds"]);
    scenario(
        &format!("{leaky}filter: len(evt.Parsed.user) > 9\n"),
        &["L012 8 the filter has to be asked for every event: nothing in it can be looked up"],
    );
    scenario(
        "type: leaky\ncapacity: 3\nleakspeed: 5s\nfilter: evt.Meta.service == 'web'\n",
        &[
            "L015 1 without `groupby` one bucket counts the events of all sources: whoever comes last is banned for \
           what others did",
        ],
    );
    scenario(
        "type: trigger\nfilter: evt.Meta.service == 'web'\nleakspeed: 5s\n",
        &[
            "L016 1 every event of a source is an alert and a decision of its own, however many it sends",
            "L017 6 `leakspeed` has no effect in a trigger scenario",
        ],
    );
    scenario(
        &format!("{leaky}filter: evt.Meta.service == 'web' && evt.Parsed.user matches '.*x'\n"),
        &["L023 8 the pattern begins with `.*`, and `matches` looks everywhere anyway"],
    );
    scenario(
        &format!("{leaky}filter: evt.Meta.service == 'web' # lint: allow L014 no need\n"),
        &["L092 8 nothing needs this allowance"],
    );
}

/// Parsers that are elsewhere may set what is read.
#[test]
fn slips_are_told_without_the_first_stage() {
    let parser = "name: me/p\nfilter: evt.Parsed.program == 'p'\nonsuccess: next_stage\nstatics:\n  - meta: log_type\n    value: p_failed-auth\n  - meta: target_user\n    value: x\n";
    let check = |condition: &str, expected: &[&str]| {
        let scenario = format!(
            "type: leaky\nname: me/s\ndescription: d\ncapacity: 3\nleakspeed: 5s\ngroupby: evt.Meta.source_ip\nlabels: {{behavior: b, classification: [c], confidence: 1, label: l, service: s, spoofable: 0, remediation: true}}\nfilter: {condition}\n"
        );
        let found = lint(&[("parsers/s01-parse/p.yaml", parser), ("scenarios/s.yaml", &scenario)], &["."]);
        assert_eq!(found, expected, "{condition}");
    };
    check("evt.Meta.log_type == 'p_failed-auth' && evt.Meta.target_user != 'a'", &[]);
    check("evt.Meta.log_type == 'other_failed-auth' && evt.Meta.elsewhere != 'a'", &[]);
    check(
        "evt.Meta.log_type == 'p_faild-auth'",
        &["L014 8 no parser here gives `evt.Meta.log_type` the text `p_faild-auth`"],
    );
    check(
        "evt.Meta.log_type == 'p_failed-auth' && evt.Meta.taget_user != 'a'",
        &["L013 8 no parser here sets `evt.Meta.taget_user`"],
    );
}

/// One parser, alone.
fn parser(text: &str, expected: &[&str]) {
    let text = format!("name: me/p\nfilter: evt.Parsed.program == 'p'\n{text}");
    let found = lint(&[("parsers/s01-parse/p.yaml", &text)], &["."]);
    assert_eq!(found, expected, "{text}");
}

#[test]
fn parsers() {
    let next = "onsuccess: next_stage\n";
    let grok = |pattern: &str| {
        format!(
            "{next}grok:\n  apply_on: message\n  pattern: '{pattern}'\n  statics:\n  - meta: source_ip\n    expression: evt.Parsed.ip\n"
        )
    };
    parser(&grok("^from %{IP:ip}"), &[]);
    parser(
        &grok("^%{DATA:user} from %{IP:ip}"),
        &["L001 6 whoever chooses `user` chooses the address: it reads \
        203.0.113.99 in `x from 203.0.113.99 from 198.51.100.7`"],
    );
    parser(
        &grok("from %{IP:ip}"),
        &["L002 6 text before the pattern can hold another address: it reads \
        203.0.113.99 in `x from 203.0.113.99 from 198.51.100.7`"],
    );
    // A field that is only asked for is no address.
    let asked = grok("^%{DATA:user} %{IP:client} %{WORD:word}")
        .replace("evt.Parsed.ip", "\"evt.Parsed.client == '' ? evt.Parsed.word : ''\"");
    parser(&asked, &[]);
    parser(
        &grok("^%{IP}"),
        &["L003 6 the pattern names no field, and a pattern that captures nothing never succeeds"],
    );
    parser(&grok("^(?P<ip>[0-9.]+)%{WORD:w}"), &["L004 6 the group `ip` sets no field: only references do"]);
    parser(
        &grok("^%{IP:ip:string} %{WORD:w}"),
        &["L005 6 `%{IP:ip:string}` is no reference: it matches this very text"],
    );
    parser(
        &grok("^%{IP:ip}|^x%{IPV6:ip}"),
        &["L006 6 `ip` stands twice in the pattern, and only the last one sets the field"],
    );
    parser(&grok("^%{IPP:ip}"), &["E004 6 unknown pattern `IPP`"]);
    parser(
        "statics: [{meta: a, value: b}]\n",
        &["L007 1 nothing in `me/p` moves the event on: it stays in `s01-parse` and counts as not parsed"],
    );
    parser(
        &format!("{next}statics:\n- meta: a\n  expression: evt.Parsed.x == 'y'\n"),
        &["L009 6 the expression gives a boolean, for which the whole event is dropped"],
    );
    parser(
        &format!("{next}statics: [{{meta: a, value: b}}, {{meta: a, value: c}}]\n"),
        &["L022 4 `b` is overwritten by a static below it"],
    );
    parser(
        &format!("{next}statics: [{{meta: a, vale: b}}]\n---\nnodes: [\n"),
        &[
            "R016 4 the static has no value",
            "R003 4 unknown key `vale` in a static",
            "R001 6 unclosed bracket '['",
        ],
    );
}

#[test]
fn whitelists_and_files() {
    let found = lint(
        &[
            (
                "parsers/s02-enrich/w.yaml",
                "name: w\nwhitelist:\n  reason: x\n  expression: ['true']\n  cidr: ['0.0.0.0/0']\n",
            ),
            ("parsers/s02-enrich/v.yaml", "name: w\nwhitelist:\n  reason: x\n  ip: ['192.0.2.1']\n"),
            ("parsers/s02-enrich/bytes.yaml", "name: a/b\n"),
            ("collections/c.yaml", "name: a/c\nparsers: [a/w, parsers/q]\n"),
        ],
        &["."],
    );
    let codes: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(codes, ["R014", "L020", "L020", "L021", "L011", "L011", "L024", "L024"], "{found:#?}");
}

#[test]
fn contributors_who_are_always_or_never_let_off() {
    let list =
        "whitelist:\n  reason: x\n  contributors: ['1 == 1', '1 == 2', \"contributor == '192.0.2.1'\"]\n";
    let check = |text: String, expected: &[&str]| {
        let found = lint(&[("postoverflows/s01-whitelist/w.yaml", &text)], &["."]);
        let codes: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(codes, expected, "{found:#?}");
    };
    check(format!("name: a/w\n{list}"), &["L011", "L010"]);
    // Some overflows may have none who is banned.
    check(format!("name: a/w\nfilter: evt.Overflow.Alert.Scenario == 'a/s'\n{list}"), &["L010"]);
}

/// What would take all memory or stack elsewhere is refused in a sentence that says what to do.
#[test]
fn rules_that_are_too_much_are_refused() {
    let check = |name: &str, text: String, code: &str| {
        let found = lint(&[("parsers/s01-parse/p.yaml", &text)], &["."]);
        assert!(found.iter().any(|line| line.starts_with(code)), "{name}: {found:?}");
    };
    let with = |filter: &str| {
        format!("name: a/b\nonsuccess: next_stage\nfilter: \"{filter}\"\nstatics: [{{meta: a, value: b}}]\n")
    };
    let grok = |pattern: &str| {
        format!(
            "name: a/b\nfilter: evt.Parsed.program == 'p'\nonsuccess: next_stage\ngrok: {{apply_on: m, pattern: '{pattern}'}}\n"
        )
    };
    check("many nodes", with(&vec!["evt.Meta.a == 'x'"; 60_000].join(" || ")), "R011");
    check("deep", with(&format!("{}true{}", "(".repeat(5000), ")".repeat(5000))), "R011");
    check("deep not", with(&format!("{}true", "not ".repeat(100_000))), "R011");
    check("repeats", grok("^((a{900}){900}){900}%{IP:ip}"), "E004");
    check("references", grok(&"%{COMBINEDAPACHELOG}".repeat(500)), "E004");
    check("nested lists", format!("name: a/b\nnodes: {}", "[".repeat(3000)), "R0");
    check("nested nodes", format!("name: a/b\nnodes: {}", "[{nodes: ".repeat(500)), "R0");
}
