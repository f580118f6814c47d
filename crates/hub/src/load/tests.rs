use super::*;
use crate::temp::Folder;

fn parser(name: &str) -> String {
    format!("name: {name}\nfilter: 'true'\nstatics:\n  - meta: a\n    value: b\n")
}

fn scenario(name: &str) -> String {
    format!(
        "type: trigger\nname: {name}\ndescription: d\nfilter: \"evt.Meta.a == 'b'\"\nlabels:\n  remediation: true\n"
    )
}

/// A hub of three items; the digest of the scenario is that of `scenario("us/inner")`.
fn hub_files() -> Vec<(String, String)> {
    let knock = scenario("us/inner");
    let digest = hex(&Sha256::digest(knock.as_bytes()));
    let index = format!(
        r#"{{
            "parsers": {{
                "us/b": {{"path": "parsers/s00-raw/us/b.yaml", "stage": "s00-raw"}},
                "them/a": {{"path": "parsers/s01-parse/them/a.yaml", "stage": "s01-parse"}}
            }},
            "scenarios": {{
                "us/knock": {{
                    "path": "scenarios/us/knock.yaml",
                    "versions": {{"0.1": {{"digest": "00"}}, "0.2": {{"digest": "{digest}"}}}}
                }}
            }},
            "contexts": {{"us/who": {{"path": "contexts/us/who.yaml"}}}},
            "appsec-rules": {{"us/waf": {{"path": "appsec-rules/us/waf.yaml"}}}},
            "collections": {{
                "us/all": {{
                    "path": "collections/us/all.yaml",
                    "scenarios": ["us/knock"], "parsers": ["us/b", "us/lost"], "appsec-rules": ["us/waf"]
                }}
            }}
        }}"#
    );
    vec![
        (".index.json".to_owned(), index),
        ("parsers/s00-raw/us/b.yaml".to_owned(), parser("us/b")),
        ("parsers/s01-parse/them/a.yaml".to_owned(), parser("them/a")),
        ("scenarios/us/knock.yaml".to_owned(), knock),
        ("contexts/us/who.yaml".to_owned(), "context:\n  who:\n    - evt.Meta.user\n".to_owned()),
    ]
}

fn hub_in(folder: &Folder, below: &str) -> Hub {
    for (path, text) in hub_files() {
        folder.write(&format!("{below}/{path}"), &text);
    }
    Hub::open(folder.path().join(below)).unwrap()
}

fn installed(loaded: &LoadedRules) -> Vec<&str> {
    loaded.files.iter().map(|file| file.installed.as_str()).collect()
}

fn codes_of(loaded: &LoadedRules) -> Vec<&str> {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn a_whole_hub_in_running_order() {
    let folder = Folder::new();
    let hub = hub_in(&folder, "hub");
    let mut selection = Selection::default();
    selection.whole_hub(&hub);
    let loaded = selection.load();
    let expected =
        ["contexts/who.yaml", "parsers/s00-raw/b.yaml", "parsers/s01-parse/a.yaml", "scenarios/knock.yaml"];
    assert_eq!(installed(&loaded), expected);
    assert_eq!(codes_of(&loaded), [""; 0]);
    let stages: Vec<&str> = loaded.rules.parsers.iter().map(|parser| &*parser.stage).collect();
    assert_eq!(stages, ["s00-raw", "s01-parse"]);
    assert_eq!(loaded.rules.context.fields["who"].len(), 1);
    let path = loaded.rules.scenarios[0].place.file.path.clone();
    let origin = &loaded.rules.origins[&path];
    assert_eq!((&*origin.version, origin.hash.len()), ("0.2", 64));
}

#[test]
fn a_changed_item_is_tainted() {
    let folder = Folder::new();
    let hub = hub_in(&folder, "hub");
    folder.write("hub/scenarios/us/knock.yaml", &scenario("us/other"));
    let mut selection = Selection::default();
    selection.item(&hub, hub.item(ItemKind::Scenario, "us/knock").unwrap());
    let loaded = selection.load();
    assert_eq!(&*loaded.files[0].origin.version, "?");
    assert_eq!(loaded.files[0].item.as_deref(), Some("us/knock"));
}

#[test]
fn collections_tell_what_is_unknown() {
    let folder = Folder::new();
    let hub = hub_in(&folder, "hub");
    let mut selection = Selection::default();
    selection.collections(&hub, &["us/all"]).unwrap();
    let loaded = selection.load();
    assert_eq!(installed(&loaded), ["parsers/s00-raw/b.yaml", "scenarios/knock.yaml"]);
    assert_eq!(codes_of(&loaded), [codes::UNKNOWN_DEPENDENCY]);
    assert!(Selection::default().collections(&hub, &["us/none"]).is_err());
}

#[test]
fn one_bad_file_harms_no_other() {
    let folder = Folder::new();
    let hub = hub_in(&folder, "hub");
    fs::remove_file(folder.path().join("hub/parsers/s00-raw/us/b.yaml")).unwrap();
    fs::write(folder.path().join("hub/contexts/us/who.yaml"), b"\xff\xfe").unwrap();
    folder.write("hub/parsers/s01-parse/them/a.yaml", "name: [");
    let mut selection = Selection::default();
    selection.whole_hub(&hub);
    let loaded = selection.load();
    assert_eq!(codes_of(&loaded), [codes::UNREADABLE, codes::UNREADABLE, testudo_rules::codes::YAML]);
    assert_eq!(loaded.rules.scenarios.len(), 1);
    let documents: Vec<usize> = loaded.files.iter().map(|file| file.documents).collect();
    assert_eq!(documents, [0, 0, 0, 1]);
}

#[test]
#[cfg(unix)]
fn an_installation() {
    let folder = Folder::new();
    hub_in(&folder, "hub");
    folder.link("hub/parsers/s00-raw/us/b.yaml", "parsers/s00-raw/b.yaml");
    folder.link("hub/scenarios/us/knock.yaml", "scenarios/deep/er/knock.yaml");
    folder.link("nowhere.yaml", "scenarios/gone.yaml");
    folder.link("scenarios", "scenarios/loop");
    folder.write("parsers/s00-raw/a.yml", &parser("my/a"));
    folder.write("parsers/stray.yaml", &parser("my/stray"));
    folder.write("parsers/s00-raw/.hidden.yaml", &parser("my/hidden"));
    folder.write("parsers/s00-raw/notes.txt", "not a rule");
    let mut selection = Selection::default();
    selection.directory(folder.path(), None).unwrap();
    let loaded = selection.load();
    let expected = ["parsers/s00-raw/a.yml", "parsers/s00-raw/b.yaml", "scenarios/deep/er/knock.yaml"];
    assert_eq!(installed(&loaded), expected);
    let items: Vec<_> = loaded.files.iter().map(|file| file.item.as_deref()).collect();
    assert_eq!(items, [None, Some("us/b"), Some("us/knock")]);
    let versions: Vec<&str> = loaded.files.iter().map(|file| &*file.origin.version).collect();
    assert_eq!(versions, ["", "?", "0.2"]);
    assert!(codes_of(&loaded).contains(&codes::NO_STAGE));
    assert!(codes_of(&loaded).contains(&codes::UNREADABLE));
}

#[test]
fn ones_own_files_come_first() {
    let folder = Folder::new();
    let hub = hub_in(&folder, "hub");
    let mine = Folder::with(&[
        ("scenarios/early.yaml", &scenario("my/twice")),
        ("scenarios/late.yaml", &scenario("my/twice")),
        ("scenarios/mine.yaml", &scenario("us/knock")),
    ]);
    let mut selection = Selection::default();
    selection.whole_hub(&hub);
    selection.directory(mine.path(), Some(&hub)).unwrap();
    let loaded = selection.load();
    let scenarios: Vec<&str> =
        installed(&loaded).into_iter().filter(|path| path.starts_with("scenarios")).collect();
    assert_eq!(scenarios, ["scenarios/late.yaml", "scenarios/mine.yaml"]);
    assert_eq!(codes_of(&loaded), [codes::REPLACED, codes::REPLACED]);
}

#[test]
fn a_file_that_is_selected_twice_runs_once() {
    let folder = Folder::new();
    let hub = hub_in(&folder, "hub");
    let mut selection = Selection::default();
    selection.whole_hub(&hub);
    selection.directory(hub.folder(), None).unwrap();
    selection.collections(&hub, &["us/all"]).unwrap();
    let loaded = selection.load();
    assert_eq!(loaded.files.len(), 4);
    assert!(loaded.files.iter().all(|file| file.item.is_some()));
}

#[test]
fn a_folder_without_rules() {
    let folder = Folder::with(&[("readme.md", "")]);
    let error = Selection::default().directory(folder.path(), None).unwrap_err();
    assert!(matches!(error, HubError::NoRules { .. }));
}

#[test]
fn an_installation_with_a_broken_index_still_runs() {
    let folder = Folder::with(&[("hub/.index.json", "{"), ("scenarios/a.yaml", &scenario("my/a"))]);
    let mut selection = Selection::default();
    selection.directory(folder.path(), None).unwrap();
    let loaded = selection.load();
    assert_eq!(codes_of(&loaded), [codes::UNREADABLE]);
    assert_eq!(loaded.rules.scenarios.len(), 1);
}

#[test]
fn parallel_results_keep_their_order() {
    let items: Vec<u32> = (0..1_000).collect();
    assert_eq!(in_parallel(&items, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(in_parallel(&[0_u8; 0], |n| *n), [0_u8; 0]);
}
