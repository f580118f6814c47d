use testudo_event::Timestamp;

use super::*;
use crate::{DataFolders, Hub, HubError, temp::Folder};

const LINES: &str = "
name: us/lines
filter: \"evt.Line.Labels.type == 'door'\"
onsuccess: next_stage
statics:
  - parsed: message
    expression: evt.Line.Raw
  - meta: datasource_path
    expression: evt.Line.Src
";

const DOOR: &str = "
name: us/door
filter: \"evt.Parsed.message startsWith 'knock'\"
onsuccess: next_stage
grok:
  apply_on: message
  pattern: 'knock of %{IP:source_ip}, %{SYSLOGTIMESTAMP:when}: %{GREEDYDATA:rest}'
  statics:
    - target: evt.StrTime
      expression: evt.Parsed.when
statics:
  - meta: source_ip
    expression: evt.Parsed.source_ip
  - meta: said
    expression: \"UnmarshalJSON(evt.Parsed.rest, evt.Unmarshaled, 'said') in ['', nil] ? 'json' : ''\"
";

const DATES: &str = "
name: us/dates
statics:
  - method: ParseDate
    expression: evt.StrTime
  - target: MarshaledTime
    expression: evt.Enriched.MarshaledTime
  - meta: timestamp
    expression: evt.Enriched.MarshaledTime
";

const KNOCKS: &str = "
type: leaky
name: us/knocks
description: two knocks
filter: evt.Meta.source_ip != ''
groupby: evt.Meta.source_ip
capacity: 1
leakspeed: 10s
labels:
  remediation: true
";

const INDEX: &str = r#"{
    "parsers": {
        "us/lines": {"path": "parsers/s00-raw/us/lines.yaml", "stage": "s00-raw"},
        "us/dates": {"path": "parsers/s02-enrich/us/dates.yaml", "stage": "s02-enrich"}
    },
    "scenarios": {"us/knocks": {"path": "scenarios/us/knocks.yaml"}}
}"#;

const LOG: &str = "knock of 192.0.2.1, Feb 12 15:10:24: {\"n\": 3, \"x\": 2.5, \"big\": 2000000}\r\n\
                   \n\
                   rain\n\
                   knock of 192.0.2.1, Feb 12 15:10:25: {}\n\
                   knock of 192.0.2.9, Feb 12 15:10:25: no json";

const CONFIG: &str = "
parsers:
  - us/lines
  - ./parsers/s01-parse/us/door.yaml
  - us/dates
  - ''
scenarios: [/scenarios/us/knocks.yaml]
ostoverflows: null
postoverflows:
log_file: door.log
log_type: door
labels:
  type: another
  house: ours
";

const PARSER_ASSERTS: &str = r#"len(results) == 4
len(results["s00-raw"]["us/lines"]) == 4
len(results["s09-none"]["us/lines"]) == 0
results["s00-raw"]["us/lines"][3].Success == true
results["s00-raw"]["us/lines"][0].Evt.Stage == "s01-parse"
results["s01-parse"]["us/door"][1].Success == false
results["s01-parse"]["us/door"][0].Idx == 1
results["s01-parse"]["us/door"][0].Evt.Parsed["source_ip"] == "192.0.2.1"
results["s01-parse"]["us/door"][0].Evt.Line.Labels["house"] == "ours"
results["s01-parse"]["us/door"][0].Evt.Line.Raw endsWith "}"
results["s01-parse"]["us/door"][0].Evt.Meta.datasource_path == "door.log"
results["s02-enrich"]["us/dates"][0].Evt.Meta["timestamp"] == "2026-02-12T15:10:24Z"
results["s02-enrich"]["us/dates"][0].Evt.Unmarshaled["said"]["n"] == 3
results["s02-enrich"]["us/dates"][0].Evt.Unmarshaled["said"]["x"] == 2.5
FloatApproxEqual(results["s02-enrich"]["us/dates"][0].Evt.Unmarshaled["said"]["big"], 2000000)
results["s02-enrich"]["us/dates"][0].Evt.Whitelisted == false
"#;

const SCENARIO_ASSERTS: &str = r#"len(results) == 1
"192.0.2.1" in results[0].Overflow.GetSources()
results[0].Overflow.Sources["192.0.2.1"].IP == "192.0.2.1"
results[0].Overflow.Sources["192.0.2.1"].GetScope() == "Ip"
results[0].Overflow.Alert.Events[0].GetMeta("timestamp")[4:] == "-02-12T15:10:24Z"
basename(results[0].Overflow.Alert.Events[1].GetMeta("datasource_path")) == "door.log"
results[0].Overflow.Alert.GetScenario() == "us/knocks"
results[0].Overflow.Alert.Remediation == true
results[0].Overflow.Alert.GetEventsCount() == 2
results[0].Overflow.Alert.Source.IP == "192.0.2.1"
results[0].GetMeta("source_ip") == "192.0.2.1"
results[0].Whitelisted == false
"#;

fn hub() -> Folder {
    Folder::with(&[
        (".index.json", INDEX),
        ("parsers/s00-raw/us/lines.yaml", LINES),
        ("parsers/s01-parse/us/door.yaml", DOOR),
        ("parsers/s02-enrich/us/dates.yaml", DATES),
        ("scenarios/us/knocks.yaml", KNOCKS),
        (".tests/door/config.yaml", CONFIG),
        (".tests/door/door.log", LOG),
        (".tests/door/parser.assert", PARSER_ASSERTS),
        (".tests/door/scenario.assert", SCENARIO_ASSERTS),
    ])
}

fn run_way(folder: &Folder, way: Way) -> TestResult {
    let hub = Hub::open(folder.path()).unwrap();
    let now = Timestamp::parse_rfc3339("2026-11-15T12:00:00Z").unwrap();
    let names = ["door".to_owned()];
    run_tests(&hub, Some(&names), &DataFolders::default(), now, way).unwrap().remove(0)
}

fn run(folder: &Folder) -> TestResult {
    run_way(folder, Way::Watched)
}

/// Lines that are false, each with whether it is recorded and with what it is about.
fn false_lines(result: &TestResult) -> Vec<(usize, bool, Option<&str>)> {
    result.false_lines.iter().map(|line| (line.line, line.recorded, line.actual.as_deref())).collect()
}

#[test]
fn a_test_passes_both_ways() {
    let folder = hub();
    let result = run(&folder);
    assert_eq!((&result.errors, false_lines(&result)), (&Vec::new(), Vec::new()));
    assert!(result.passed);
    assert_eq!(result.assertions, 28);
    let result = run_way(&folder, Way::Plain);
    assert_eq!((&result.errors, false_lines(&result)), (&Vec::new(), Vec::new()));
    assert_eq!(result.assertions, 12);
}

#[test]
fn false_assertions_and_the_holes() {
    let folder = hub();
    folder.write(
        ".tests/door/parser.assert",
        "len(results) == 5\n\
         \n\
         results[\"s00-raw\"][\"us/lines\"][0].Evt.Parsed[\"a b\"] == \"x\"\n\
         results[\"s00-raw\"][\"us/lines\"][0].Success != true\r\n",
    );
    folder.write(
        ".tests/door/scenario.assert",
        "\"192.0.2.9\" in results[0].Overflow.GetSources()\n\
         results[0].Overflow.Alert.GetEventsCount() == 7\n",
    );
    let result = run(&folder);
    assert!(result.errors.is_empty(), "{:?}", result.errors);
    let expected = [
        (1, true, Some("4")),
        // The key holds a space, so its value is not found.
        (3, false, None),
        // No comparison: recorded for parsers, overlooked for scenarios.
        (4, true, None),
        (1, false, None),
        (2, true, Some("2")),
    ];
    assert_eq!(false_lines(&result), expected);
    assert_eq!(result.failures().count(), 3);
    assert!(!result.passed);
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!(json["false_lines"][0]["file"], "parser.assert");
    assert_eq!(json["passed"], false);
}

#[test]
fn only_overlooked_lines_let_a_test_pass() {
    let folder = hub();
    folder.write(".tests/door/scenario.assert", "\"192.0.2.9\" in results[0].Overflow.GetSources()\n");
    let result = run(&folder);
    assert_eq!(false_lines(&result), [(1, false, None)]);
    assert!(result.passed);
}

#[test]
fn bad_assertions_are_errors() {
    let check = |file: &str, text: &str, expected: &str| {
        let folder = hub();
        folder.write(&format!(".tests/door/{file}"), text);
        let result = run(&folder);
        assert!(!result.passed);
        let found = result.errors.iter().any(|error| error.contains(expected));
        assert!(found, "{text}: {:?}", result.errors);
    };
    check("parser.assert", "len(results)\n", "parser.assert:1");
    check("parser.assert", " \n", "parser.assert:1");
    check("parser.assert", "len(results) ==\n", "parser.assert:1");
    check("parser.assert", "results[\"s00-raw\"][\"none\"][0].Success == true\n", "out of range");
    check("parser.assert", "", "holds no assertion");
    check("scenario.assert", "results[4].Overflow.Alert.Remediation == true\n", "out of range");
    check("scenario.assert", "results[0].Overflow.Nothing == true\n", "Nothing");
    check("scenario.assert", "\n\n", "holds no assertion");
}

#[test]
fn bad_tests_are_errors() {
    let check = |file: &str, text: &str, expected: &str| {
        let folder = hub();
        folder.write(&format!(".tests/door/{file}"), text);
        let result = run(&folder);
        assert!(!result.passed);
        let found = result.errors.iter().any(|error| error.contains(expected));
        assert!(found, "{text}: {:?}", result.errors);
    };
    let with = |from: &str, to: &str| CONFIG.replace(from, to);
    check("config.yaml", "parsers: [", "");
    check("config.yaml", "", "`log_file` is no file");
    check("config.yaml", &with("us/lines", "us/none"), "lies in no stage");
    check("config.yaml", &with("/scenarios/us/knocks.yaml", "us/none"), "neither in the index nor a file");
    check("config.yaml", &with("./parsers/s01", "../../parsers/s01"), "leads out of the hub");
    check("config.yaml", &with("s01-parse/us", "s07-none/us"), "lies in no stage");
    check("config.yaml", &with("door.log", "../door.log"), "no file of the test");
    check("config.yaml", &with("door.log", "none.log"), "cannot read");
    check("door.log", "", "is empty");
    check("door.log", &"x".repeat(70_000), "longer than");
    let broken = hub();
    broken.write("parsers/s01-parse/us/door.yaml", "name: us/door\nfilter: 1 +\n");
    assert!(run(&broken).errors.iter().any(|error| error.contains("door.yaml:2")));
}

#[test]
fn files_of_the_test_and_overrides() {
    let folder = hub();
    let config = CONFIG.replace("./parsers/s01-parse/us/door.yaml", "mine/s01-parse/x/door.yaml")
        + "override_statics:\n  - target: evt.Line.Module\n    value: window\n";
    folder.write(".tests/door/config.yaml", &config);
    folder.write(".tests/door/mine/s01-parse/x/door.yaml", DOOR);
    folder.write(
        ".tests/door/parser.assert",
        "results[\"s00-raw\"][\"us/lines\"][0].Evt.Line.Module == \"window\"\n\
         results[\"s00-raw\"][\"overrides\"][0].Success == true\n\
         results[\"s00-raw\"][\"overrides\"][0].Idx == 1\n\
         results[\"s00-raw\"][\"us/lines\"][0].Idx == 2\n",
    );
    let result = run(&folder);
    assert!(result.passed, "{:?} {:?}", result.errors, false_lines(&result));
    // Without a parser of that stage there is no place for the overrides.
    folder.write(".tests/door/config.yaml", &config.replace("- us/lines", "- ''"));
    assert!(run(&folder).errors[0].contains("override_statics"));
}

#[test]
fn parsers_can_be_left_out() {
    let folder = hub();
    folder.write(".tests/door/config.yaml", &format!("{CONFIG}ignore_parsers: true\n"));
    folder.write(".tests/door/parser.assert", "");
    let result = run(&folder);
    assert!(result.passed, "{:?}", result.errors);
    assert_eq!(result.assertions, 12);
}

#[test]
fn unknown_tests_are_refused() {
    let folder = hub();
    let hub = Hub::open(folder.path()).unwrap();
    let names = ["door".to_owned(), "window".to_owned()];
    let result = run_tests(&hub, Some(&names), &DataFolders::default(), Timestamp::default(), Way::Watched);
    assert!(matches!(result, Err(HubError::UnknownTest { name }) if name == "window"));
}
