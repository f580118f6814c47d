//! The hub without a network: what the program carries, and what somebody changed in it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{Outcome, command_with};

/// What the program carries.
const EMBEDDED: &[(&str, &str)] = &[
    ("parsers/s01-parse/demo.yaml", include_str!("carried/demo.yaml")),
    ("scenarios/demo-bf.yaml", include_str!("carried/demo-bf.yaml")),
    ("collections/demo.yaml", include_str!("carried/collection.yaml")),
];

struct Machine(TempDir);

impl Machine {
    fn new() -> Machine {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().display();
        fs::create_dir(folder.path().join("data")).expect("a folder");
        let config = format!(
            "config_paths: {{config_dir: {at}/etc, data_dir: {at}/data, hub_dir: {at}/hub}}\n\
             db_config: {{type: sqlite, db_path: {at}/data/node.db}}\n"
        );
        fs::write(folder.path().join("config.yaml"), config).expect("it is written");
        Machine(folder)
    }

    fn go(&self, line: &str) -> Outcome {
        let config = self.0.path().join("config.yaml").display().to_string();
        let arguments: Vec<&str> = ["-c", &config].into_iter().chain(line.split(' ')).collect();
        command_with(&arguments, "", EMBEDDED)
    }

    /// Status and version of the items that are listed, by name.
    fn listed(&self, line: &str) -> Vec<String> {
        let all = self.go(&format!("{line} -o json")).json();
        let items =
            all.as_object().expect("an object").values().flat_map(|items| items.as_array().expect("a list"));
        let text = |item: &Value, key: &str| item[key].as_str().expect("a text").to_owned();
        items
            .map(|item| {
                format!("{} {} {}", text(item, "name"), text(item, "status"), text(item, "local_version"))
            })
            .collect()
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.path().join(path), text).expect("it is written");
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn what_the_program_carries_is_listed_and_installed_without_a_network() {
    let machine = Machine::new();
    let shown =
        |names: [&str; 3], status: &str| names.map(|name| format!("{name} {status} {VERSION}")).to_vec();
    let names = ["own/demo", "own/demo-bf", "own/all"];
    // As long as nothing is installed, it is what runs; what only an earlier program carried does not.
    fs::create_dir(machine.0.path().join("hub")).expect("a folder");
    machine.write(
        "hub/.embedded.json",
        r#"{"scenarios": {"own/gone": {"path": "scenarios/own/gone.yaml", "version": "0.0.1"}}}"#,
    );
    assert_eq!(machine.listed("hub list"), shown(names, "enabled,embedded"));
    assert_eq!(machine.go("hub search reads").good().matches("own/demo").count(), 1);
    let inspected = machine.go("hub inspect own/all").json();
    assert_eq!((&inspected["embedded"], &inspected["installed"]), (&true.into(), &false.into()));
    assert_eq!(inspected["parsers"], serde_json::json!(["own/demo"]));
    let done = machine.go("hub install own/all");
    assert!(
        done.ok && done.err.contains("from the next reload on only rules that are installed run"),
        "{done:?}"
    );
    assert_eq!(machine.listed("hub list"), shown(names, "enabled"));
    let again = machine.go("hub install own/all --source embedded");
    assert!(again.ok && again.out.starts_with("Nothing to install") && again.err.is_empty(), "{again:?}");
    // What it does not carry comes from elsewhere, and there is nothing.
    let told = machine.go("hub install own/demo-fb --source embedded").bad();
    assert!(told.contains("own/demo-bf") || told.contains("the hub has no"), "{told}");
    machine.go("hub remove own/all --purge").good();
    assert_eq!(machine.listed("hub list"), shown(names, "enabled,embedded"));
}

#[test]
fn a_file_of_an_earlier_program_is_no_edit() {
    let machine = Machine::new();
    machine.go("scenarios install own/demo-bf").good();
    // The program of before carried another file under the same version.
    let before =
        "type: trigger\nname: own/demo-bf\nfilter: 'true'\ngroupby: evt.Meta.source_ip\nlabels: {}\n";
    let digest = testudo_hub::install::digest(before.as_bytes());
    let note = serde_json::json!({"scenarios": {"own/demo-bf": {
        "path": "scenarios/own/demo-bf.yaml", "version": VERSION, "versions": {VERSION: {"digest": digest}},
    }}});
    machine.write("hub/.embedded.json", &note.to_string());
    machine.write("hub/scenarios/own/demo-bf.yaml", before);
    let listed = machine.listed("scenarios list");
    assert!(listed[0].starts_with("own/demo-bf enabled,update-available"), "{listed:?}");
    machine.go("hub upgrade --source embedded").good();
    assert_eq!(machine.listed("scenarios list"), [format!("own/demo-bf enabled {VERSION}")]);
}

/// A timer whose hub is gone must not succeed for months.
#[test]
fn an_upgrade_without_an_index_says_so() {
    let machine = Machine::new();
    machine.go("scenarios install own/demo-bf").good();
    let nothing = machine.0.path().join("data").display().to_string();
    let told = machine.go(&format!("hub upgrade --source {nothing}")).bad();
    assert!(told.contains("the index of the hub cannot be fetched"), "{told}");
    machine.go("hub upgrade --source embedded").good();
}

#[test]
fn an_edit_is_shown_line_by_line() {
    let machine = Machine::new();
    let missing = machine.go("scenarios inspect own/demo-bf --diff").bad();
    assert!(missing.contains("there is no file of own/demo-bf"), "{missing}");
    machine.go("scenarios install own/demo-bf").good();
    let told = machine.go("scenarios inspect own/demo-bf --diff").good();
    assert_eq!(told, format!("No difference to version {VERSION}.\n"));
    let text = EMBEDDED[1].1.replace("sees demo", "sees all");
    machine.write("hub/scenarios/own/demo-bf.yaml", &text);
    let raw = machine.go("scenarios inspect own/demo-bf --diff -o raw").good();
    let lines: Vec<&str> = raw.lines().collect();
    assert_eq!(lines[0], format!("--- own/demo-bf {VERSION}"));
    assert!(lines[1].starts_with("+++ ") && lines[1].ends_with("etc/scenarios/demo-bf.yaml"), "{raw}");
    assert!(lines.contains(&"-description: sees demo") && lines.contains(&"+description: sees all"), "{raw}");
    let back = machine.go("hub inspect own/demo-bf --diff=latest --rev -o json").json();
    let diff = back["diff"].as_str().expect("a text");
    assert!(diff.contains("+description: sees demo") && diff.contains("-description: sees all"), "{diff}");
    assert_eq!(back["version"], VERSION);
    assert!(!machine.go("hub inspect own/demo-bf --rev").ok);
    assert!(!machine.go("hub inspect own/demo-bf --diff=older").ok);
}
