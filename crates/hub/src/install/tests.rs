//! Installing, upgrading and removing, with a hub that the test makes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::ItemKind;
use crate::temp::Folder;

const SCENARIO: &str = "type: trigger\nname: demo/seen\ndescription: seen\nfilter: evt.Meta.service == 'demo'\n\
    groupby: evt.Meta.source_ip\nlabels: {remediation: true}\n";
const PARSER: &str = "name: demo/logs\nfilter: evt.Line.Labels.type == 'demo'\nonsuccess: next_stage\n\
    statics: [{meta: service, value: demo}]\n";

/// A hub: texts of items by type and path, with what collections hold.
#[derive(Clone, Default)]
struct Made {
    items: BTreeMap<String, Value>,
    files: Vec<(String, String)>,
}

impl Made {
    /// The hub of most tests: a collection with a parser and a scenario.
    fn usual() -> Made {
        let mut made = Made::default();
        made.item("parsers", "demo/logs", "parsers/s01-parse/demo/logs.yaml", PARSER);
        made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", SCENARIO);
        let parts = json!({"parsers": ["demo/logs"], "scenarios": ["demo/seen"]});
        made.collection("demo/all", parts);
        made
    }

    fn item(&mut self, kind: &str, name: &str, path: &str, text: &str) -> &mut Value {
        let items = self.items.entry(kind.to_owned()).or_insert_with(|| json!({}));
        let versions = items[name]["versions"].as_object().cloned().unwrap_or_default();
        let version = format!("0.{}", versions.len() + 1);
        let mut versions = Value::Object(versions);
        versions[&version] = json!({"digest": digest(text.as_bytes()), "deprecated": false});
        items[name] = json!({"path": path, "version": version, "versions": versions, "description": "x"});
        if let [_, stage, _, _] = path.split('/').collect::<Vec<_>>()[..] {
            items[name]["stage"] = stage.into();
        }
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), text.to_owned()));
        &mut items[name]
    }

    fn collection(&mut self, name: &str, parts: Value) {
        let path = format!("collections/{name}.yaml");
        let item = self.item("collections", name, &path, &format!("name: {name}\n# {parts}\n"));
        for (kind, names) in parts.as_object().expect("an object") {
            item[kind] = names.clone();
        }
    }

    fn source(&self) -> Folder {
        let folder = Folder::new();
        for (path, text) in &self.files {
            folder.write(path, text);
        }
        folder.write(".index.json", &serde_json::to_string(&self.items).expect("JSON"));
        folder
    }
}

/// A machine.
struct Machine {
    folder: Folder,
    installation: Installation,
}

impl Machine {
    fn new() -> Machine {
        let folder = Folder::new();
        let at = |name: &str| folder.path().join(name);
        let installation = Installation::new(at("etc"), at("etc/hub"), at("data"));
        Machine { folder, installation }
    }

    fn update(&self, made: &Made) -> Result<(Hub, Folder), InstallError> {
        let source = made.source();
        let index = FolderSource::new(source.path()).index().expect("an index");
        Ok((self.installation.update(&index, false)?, source))
    }

    fn install(&self, made: &Made, kind: ItemKind, name: &str) -> Result<Carried, InstallError> {
        let (hub, source) = self.update(made)?;
        let plan = self.installation.plan_install(&hub, kind, &[name.to_owned()], false, false)?;
        self.installation.carry_out(&hub, &plan, &FolderSource::new(source.path()))
    }

    fn upgrade(&self, made: &Made, force: bool) -> Result<(Plan, Carried), InstallError> {
        let (hub, source) = self.update(made)?;
        let plan = self.installation.plan_upgrade(&hub, &ItemKind::ALL, &[], Upgrade { force })?;
        let carried = self.installation.carry_out(&hub, &plan, &FolderSource::new(source.path()))?;
        Ok((plan, carried))
    }

    fn remove(&self, made: &Made, kind: ItemKind, name: &str, how: Remove) -> Result<Plan, InstallError> {
        let (hub, source) = self.update(made)?;
        let plan = self.installation.plan_remove(&hub, kind, &[name.to_owned()], how)?;
        self.installation.carry_out(&hub, &plan, &FolderSource::new(source.path()))?;
        Ok(plan)
    }

    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(path)).ok()
    }

    fn write(&self, path: &str, text: &str) {
        self.folder.write(path, text);
    }
}

const SEEN: &str = "etc/scenarios/seen.yaml";
const LOGS: &str = "etc/parsers/s01-parse/logs.yaml";

fn steps(plan: &Plan) -> Vec<String> {
    let shown = |step: &Step| match step {
        Step::Download { item, from, to } => format!("{item} {}>{to}", from.as_deref().unwrap_or_default()),
        Step::Enable(item) => format!("+ {item}"),
        Step::Disable(item) => format!("- {item}"),
        Step::Purge(item) => format!("purge {item}"),
    };
    plan.steps.iter().map(shown).collect()
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_collection_comes_with_its_parts_and_goes_with_them() {
    let (machine, made) = (Machine::new(), Made::usual());
    let carried = machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    assert_eq!(carried.steps.len(), 6);
    assert_eq!(
        (machine.text(SEEN).as_deref(), machine.text(LOGS).as_deref()),
        (Some(SCENARIO), Some(PARSER))
    );
    let again = machine.install(&made, ItemKind::Collection, "demo/all").expect("nothing is to be done");
    assert!(again.steps.is_empty() && again.problems.is_empty());
    let error =
        machine.remove(&made, ItemKind::Scenario, "demo/seen", Remove::default()).expect_err("a part");
    assert!(error.to_string().starts_with("scenario demo/seen is a part of demo/all"), "{error}");
    let gone = machine.remove(&made, ItemKind::Collection, "demo/all", Remove::default()).expect("it goes");
    assert_eq!(steps(&gone), ["- collection demo/all", "- parser demo/logs", "- scenario demo/seen"]);
    assert_eq!((machine.text(SEEN), machine.text(LOGS)), (None, None));
    assert!(machine.text("etc/hub/scenarios/demo/seen.yaml").is_some(), "the hub's file stays");
}

#[test]
fn collections_that_hold_each_other_come_and_go_once() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    made.collection("demo/all", json!({"collections": ["demo/ring"], "parsers": ["demo/logs"]}));
    made.collection(
        "demo/ring",
        json!({"collections": ["demo/all", "demo/ring"], "scenarios": ["demo/seen"]}),
    );
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    assert!(machine.text(SEEN).is_some() && machine.text(LOGS).is_some());
    assert!(machine.install(&made, ItemKind::Collection, "demo/ring").expect("it is there").steps.is_empty());
    let force = Remove { force: true, ..Remove::default() };
    machine.remove(&made, ItemKind::Collection, "demo/all", force).expect("it goes");
    assert!(machine.text("etc/collections/all.yaml").is_none());
}

#[test]
fn parts_that_others_need_stay() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    made.collection("demo/other", json!({"parsers": ["demo/logs"]}));
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    machine.install(&made, ItemKind::Collection, "demo/other").expect("it is installed");
    let gone = machine.remove(&made, ItemKind::Collection, "demo/all", Remove::default()).expect("it goes");
    assert_eq!(steps(&gone), ["- collection demo/all", "- scenario demo/seen"]);
}

#[test]
fn upgrades_bring_what_is_new_and_leave_what_was_changed_or_removed() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    let how = Remove { force: true, ..Remove::default() };
    machine.remove(&made, ItemKind::Scenario, "demo/seen", how).expect("it is removed by name");
    machine.write("etc/hub/parsers/s01-parse/demo/logs.yaml", "# mine\n");
    made.item("parsers", "demo/logs", "parsers/s01-parse/demo/logs.yaml", &format!("{PARSER}# 2\n"));
    made.item("scenarios", "demo/more", "scenarios/demo/more.yaml", &SCENARIO.replace("seen", "more"));
    made.collection("demo/all", json!({"parsers": ["demo/logs"], "scenarios": ["demo/seen", "demo/more"]}));
    let (plan, carried) = machine.upgrade(&made, false).expect("it is upgraded");
    let mut done = steps(&plan);
    done.sort();
    assert_eq!(done, ["+ scenario demo/more", "collection demo/all 0.1>0.2", "scenario demo/more >0.1"]);
    assert_eq!(carried.steps.len(), 3);
    let told = notes(&plan).join("\n");
    assert!(told.contains("parser demo/logs was changed on this machine and stays as it is"), "{told}");
    assert!(told.contains("scenario demo/seen was removed here and stays away"), "{told}");
    assert_eq!((machine.text(LOGS).as_deref(), machine.text(SEEN)), (Some("# mine\n"), None));
    // By force, what was changed is replaced; what was removed still stays away.
    machine.upgrade(&made, true).expect("it is upgraded");
    assert_eq!(machine.text(LOGS), Some(format!("{PARSER}# 2\n")));
    assert_eq!(machine.text(SEEN), None);
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is wanted again");
    assert_eq!(machine.text(SEEN).as_deref(), Some(SCENARIO));
}

#[test]
fn a_version_that_does_not_load_changes_nothing() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", "type: later\nname: demo/seen\n");
    made.item("parsers", "demo/logs", "parsers/s01-parse/demo/logs.yaml", &format!("{PARSER}# 2\n"));
    let (_, carried) = machine.upgrade(&made, false).expect("the rest is upgraded");
    let told: Vec<String> = carried.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("version 0.2 of scenario demo/seen cannot be used here: ")
            && told[0].ends_with("version 0.1 stays"),
        "{told:?}"
    );
    assert_eq!(machine.text(SEEN).as_deref(), Some(SCENARIO));
    assert_eq!(machine.text(LOGS), Some(format!("{PARSER}# 2\n")));
}

#[test]
fn a_file_that_is_another_one_is_refused_whole() {
    let (machine, made) = (Machine::new(), Made::usual());
    let (hub, source) = machine.update(&made).expect("an index");
    source.write("scenarios/demo/seen.yaml", &SCENARIO.replace("demo'", "other'"));
    let plan =
        machine.installation.plan_install(&hub, ItemKind::Collection, &["demo/all".to_owned()], false, false);
    let carried =
        machine.installation.carry_out(&hub, &plan.expect("a plan"), &FolderSource::new(source.path()));
    let error = carried.expect_err("it is another file").to_string();
    assert!(error.starts_with("scenario demo/seen is not what the index says"), "{error}");
    assert_eq!((machine.text(LOGS), machine.text(SEEN)), (None, None));
}

#[test]
fn files_of_the_user_stay() {
    let (machine, made) = (Machine::new(), Made::usual());
    machine.write(SEEN, "# my own\n");
    let (hub, source) = machine.update(&made).expect("an index");
    let plan = machine
        .installation
        .plan_install(&hub, ItemKind::Collection, &["demo/all".to_owned()], false, true)
        .expect("a plan");
    assert_eq!(notes(&plan), ["scenario demo/seen: a file of your own is in its place, and stays"]);
    machine.installation.carry_out(&hub, &plan, &FolderSource::new(source.path())).expect("the rest is done");
    assert_eq!(machine.text(SEEN).as_deref(), Some("# my own\n"));
    let gone = machine.remove(&made, ItemKind::Collection, "demo/all", Remove { purge: true, force: true });
    assert!(notes(&gone.expect("it goes")).join("").contains("a file of your own"));
    assert_eq!(machine.text(SEEN).as_deref(), Some("# my own\n"));
}

#[test]
fn data_files_come_along() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    let with_data = format!(
        "{SCENARIO}data: [{{source_url: 'https://lists.example/demo/agents.txt', dest_file: agents.txt, type: string}},\
         {{source_url: 'https://lists.example/none.txt', dest_file: none.txt, type: string}}]\n"
    );
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &with_data);
    made.files.push(("data/demo/agents.txt".to_owned(), "bad\n".to_owned()));
    let carried = machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    assert_eq!((machine.text("data/agents.txt").as_deref(), carried.data.len()), (Some("bad\n"), 1));
    let told: Vec<String> = carried.problems.iter().map(ToString::to_string).collect();
    assert!(
        told.len() == 1 && told[0].starts_with("scenario demo/seen needs the data file none.txt"),
        "{told:?}"
    );
    let mut refreshed = |text: &str| {
        made.files.pop();
        made.files.push(("data/demo/agents.txt".to_owned(), text.to_owned()));
        let (hub, source) = machine.update(&made).expect("an index");
        let source = FolderSource::new(source.path());
        let carried = machine.installation.refresh_data(&hub, &source, std::time::Duration::ZERO);
        (machine.text("data/agents.txt").expect("it is there"), carried.expect("it works").problems.len())
    };
    assert_eq!(refreshed("bad\nworse\n"), ("bad\nworse\n".to_owned(), 1));
    assert_eq!(refreshed(""), ("bad\nworse\n".to_owned(), 2), "it has shrunk too much");
}

#[test]
fn an_index_does_not_go_back_by_itself() {
    let (machine, made) = (Machine::new(), Made::usual());
    let mut later = made.clone();
    later.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &format!("{SCENARIO}# 2\n"));
    machine.update(&later).expect("an index");
    let error = machine.update(&made).expect_err("it is older").to_string();
    assert!(error.contains("1 items go back, such as demo/seen"), "{error}");
    for index in ["{}", r#"{"error": "not found"}"#] {
        let told = machine.installation.update(index.as_bytes(), false).expect_err("it is none").to_string();
        assert!(told.contains("tells of no item"), "{told}");
    }
    for index in ["", "[]", "{", r#"{"scenarios": {"a/b": {"path": "../../etc/passwd"}}}"#] {
        assert!(machine.installation.update(index.as_bytes(), true).is_err(), "{index}");
    }
    assert_eq!(
        machine
            .installation
            .hub()
            .expect("the later one")
            .item(ItemKind::Scenario, "demo/seen")
            .map(|item| &*item.version),
        Some("0.2")
    );
}

#[test]
fn a_collection_that_comes_back_comes_with_its_parts() {
    let (machine, made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    machine.remove(&made, ItemKind::Collection, "demo/all", Remove::default()).expect("it goes");
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed again");
    assert!(machine.text(SEEN).is_some() && machine.text(LOGS).is_some());
}

#[test]
fn a_collection_that_stays_keeps_its_parts() {
    let (machine, made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    machine.write("etc/hub/collections/demo/all.yaml", "# mine\n");
    let plan = machine.remove(&made, ItemKind::Collection, "demo/all", Remove::default()).expect("a plan");
    assert!(plan.is_empty() && notes(&plan)[0].contains("was changed on this machine"), "{plan:?}");
}

#[test]
fn an_item_that_moves_in_the_hub_is_followed() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Collection, "demo/all").expect("it is installed");
    let text = format!("{SCENARIO}# 2\n");
    made.item("scenarios", "demo/seen", "scenarios/demo/moved/seen.yaml", &text)["stage"] = Value::Null;
    machine.upgrade(&made, false).expect("it is upgraded");
    assert_eq!(machine.text(SEEN), Some(text));
    let (plan, _) = machine.upgrade(&made, false).expect("nothing is to be done");
    assert!(plan.is_empty(), "{plan:?}");
}

#[test]
fn what_is_not_the_hubs_is_not_put_into_use() {
    let (machine, made) = (Machine::new(), Made::usual());
    machine.write("etc/hub/scenarios/demo/seen.yaml", "# evil\n");
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("a plan");
    assert_eq!(machine.text(SEEN), None);
}

#[test]
fn no_rule_brings_a_file_of_the_daemon() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    let data = |name: &str| {
        format!("{{source_url: 'https://lists.example/{name}', dest_file: {name}, type: string}}")
    };
    let names = ["node.db", "testudo.state", "x.db-wal"];
    let list: Vec<String> = names.iter().map(|name| data(name)).collect();
    let text = format!("{SCENARIO}data: [{}]\n", list.join(","));
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &text);
    made.files.extend(names.map(|name| (format!("data/{name}"), "evil\n".to_owned())));
    let carried = machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    assert_eq!((carried.data.len(), carried.problems.len()), (0, 3), "{:?}", carried.problems);
}

#[test]
fn two_authors_may_give_a_file_one_name() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    let other = SCENARIO.replace("demo/seen", "other/seen");
    made.item("scenarios", "other/seen", "scenarios/other/seen.yaml", &other);
    for name in ["demo/seen", "other/seen"] {
        machine.install(&made, ItemKind::Scenario, name).expect("it is installed");
    }
    let theirs = "etc/scenarios/other-seen.yaml";
    assert_eq!(
        (machine.text(SEEN).as_deref(), machine.text(theirs).as_deref()),
        (Some(SCENARIO), Some(&*other))
    );
    let (hub, _source) = machine.update(&made).expect("an index");
    for name in ["demo/seen", "other/seen"] {
        let item = hub.item(ItemKind::Scenario, name).expect("it is there");
        assert!(machine.installation.status(item).is_current(item), "{name}");
    }
    // Each has its own upgrades, and goes without the other.
    let newer = format!("{other}# 2\n");
    made.item("scenarios", "other/seen", "scenarios/other/seen.yaml", &newer);
    let (plan, _) = machine.upgrade(&made, false).expect("it is upgraded");
    assert_eq!(steps(&plan), ["scenario other/seen 0.1>0.2"], "{plan:?}");
    assert_eq!(machine.text(theirs), Some(newer.clone()));
    machine.remove(&made, ItemKind::Scenario, "demo/seen", Remove::default()).expect("it is removed");
    assert_eq!((machine.text(SEEN), machine.text(theirs)), (None, Some(newer)));
    // It stays where it is, and the place is free for the first one again.
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    assert_eq!(machine.text(SEEN).as_deref(), Some(SCENARIO));
    let (plan, _) = machine.upgrade(&made, false).expect("nothing is to be done");
    assert!(plan.is_empty(), "{plan:?}");
}

#[test]
fn rules_of_two_origins_that_judge_the_same_are_known() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    let judging = |name: &str, what: &str| {
        SCENARIO
            .replace("demo/seen", name)
            .replace("{remediation: true}", &format!("{{remediation: true, behavior: '{what}'}}"))
    };
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &judging("demo/seen", "ssh:bruteforce"));
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    let carried: &[(&'static str, &'static str)] = &[
        ("scenarios/bf.yaml", judging("own/bf", "ssh:bruteforce").leak()),
        ("scenarios/scan.yaml", judging("own/scan", "http:scan").leak()),
    ];
    let carried = crate::embedded::items(carried, "1.0");
    let hub = machine.installation.hub_with(&carried).expect("an index");
    assert!(machine.installation.judged_twice(&hub).is_empty(), "only what is in use judges");
    for (name, expected) in [("own/scan", None), ("own/bf", Some("ssh:bruteforce"))] {
        let plan =
            machine.installation.plan_install(&hub, ItemKind::Scenario, &[name.to_owned()], false, false);
        machine
            .installation
            .carry_out(&hub, &plan.expect("a plan"), &FolderSource::new(""))
            .expect("it is installed");
        let twice = machine.installation.judged_twice(&hub);
        assert_eq!(
            twice.iter().map(String::as_str).collect::<Vec<_>>(),
            expected.into_iter().collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_version_that_was_fetched_is_kept_for_comparing() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    machine.write("etc/hub/scenarios/demo/seen.yaml", "# mine\n");
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &format!("{SCENARIO}# 2\n"));
    let (hub, _source) = machine.update(&made).expect("an index");
    let texts = machine.installation.texts(hub.item(ItemKind::Scenario, "demo/seen").expect("it is there"));
    assert_eq!(texts.local.as_deref(), Some(&b"# mine\n"[..]));
    assert_eq!(texts.original, Some(("0.1".to_owned(), SCENARIO.as_bytes().to_vec())));
    assert_eq!(texts.latest, None, "it was not fetched");
    let how = Remove { purge: true, force: true };
    machine.remove(&made, ItemKind::Scenario, "demo/seen", how).expect("it is removed");
    let texts = machine.installation.texts(hub.item(ItemKind::Scenario, "demo/seen").expect("it is there"));
    assert_eq!((texts.local, texts.original), (None, None));
}

#[test]
fn a_checkout_in_the_middle_of_a_merge_is_refused_in_one_sentence() {
    let (machine, made) = (Machine::new(), Made::usual());
    let (hub, source) = machine.update(&made).expect("an index");
    let both = |text: &str| format!("<<<<<<< HEAD\n{text}=======\n# theirs\n>>>>>>> theirs\n");
    source.write("scenarios/demo/seen.yaml", &both(SCENARIO));
    let from = FolderSource::new(source.path());
    let plan =
        machine.installation.plan_install(&hub, ItemKind::Scenario, &["demo/seen".to_owned()], false, false);
    let error =
        machine.installation.carry_out(&hub, &plan.expect("a plan"), &from).expect_err("it is refused");
    let told = error.to_string();
    assert!(told.contains("seen.yaml has a conflict of a merge in line 1: finish the merge"), "{told}");
    assert_eq!(machine.text(SEEN), None);
    let index = std::fs::read_to_string(source.path().join(".index.json")).expect("an index");
    source.write(".index.json", &both(&format!("{index}\n")));
    let told = from.index().expect_err("it is refused").to_string();
    assert!(told.contains(".index.json has a conflict of a merge in line 1"), "{told}");
    // Also where it comes from elsewhere.
    let bytes = std::fs::read(source.path().join(".index.json")).expect("an index");
    let told = machine.installation.update(&bytes, false).expect_err("it is refused").to_string();
    assert!(told.contains("has a conflict of a merge in line 1"), "{told}");
}

#[cfg(unix)]
#[test]
fn links_of_a_checkout_do_not_lead_to_files_of_this_machine() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    let text = format!(
        "{SCENARIO}data: [{{source_url: 'https://lists.example/list.txt', dest_file: list.txt, type: string}}]\n"
    );
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &text);
    let (hub, source) = machine.update(&made).expect("an index");
    let secret = Folder::with(&[("secret", "s3cret\n"), ("seen.yaml", &text)]);
    source.link(&secret.path().join("secret").display().to_string(), "data/list.txt");
    let plan = machine
        .installation
        .plan_install(&hub, ItemKind::Scenario, &["demo/seen".to_owned()], false, false)
        .expect("a plan");
    let carried =
        machine.installation.carry_out(&hub, &plan, &FolderSource::new(source.path())).expect("the rule is");
    let told = carried.problems[0].to_string();
    assert!(
        told.contains("is a link that leads out of") && machine.text("data/list.txt").is_none(),
        "{told}"
    );
    // Nor do those of items, even to the right file.
    std::fs::remove_file(source.path().join("scenarios/demo/seen.yaml")).expect("it was there");
    source.link(&secret.path().join("seen.yaml").display().to_string(), "scenarios/demo/seen.yaml");
    let told =
        FolderSource::new(source.path()).item("scenarios/demo/seen.yaml").expect_err("refused").to_string();
    assert!(told.contains("is a link that leads out of"), "{told}");
    // Links within the checkout are what they lead to.
    source.write("files/seen.yaml", &text);
    std::fs::remove_file(source.path().join("scenarios/demo/seen.yaml")).expect("it was there");
    source.link("files/seen.yaml", "scenarios/demo/seen.yaml");
    assert!(FolderSource::new(source.path()).item("scenarios/demo/seen.yaml").is_ok());
}

/// Somebody who may write to the folder, too, knows which name a file has before it is whole.
#[cfg(unix)]
#[test]
fn a_link_in_the_way_of_a_file_is_not_followed() {
    let (machine, made) = (Machine::new(), Made::usual());
    machine.write("precious", "precious");
    machine.folder.link("precious", "etc/hub/scenarios/demo/.seen.yaml.new");
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    assert_eq!(machine.text("precious").as_deref(), Some("precious"));
    assert_eq!(machine.text(SEEN).as_deref(), Some(SCENARIO));
}

/// A pipe without a writer would be waited for.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_the_users_own() {
    let (machine, made) = (Machine::new(), Made::usual());
    let place = machine.folder.path().join(SEEN);
    fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
    let made_it = std::process::Command::new("mkfifo").arg(&place).status();
    assert!(made_it.expect("mkfifo").success());
    let (hub, _source) = machine.update(&made).expect("an index");
    let names = ["demo/seen".to_owned()];
    let plan = machine.installation.plan_install(&hub, ItemKind::Scenario, &names, false, false);
    let plan = plan.expect("a plan");
    assert_eq!((steps(&plan), plan.notes.len()), (Vec::new(), 1), "{:?}", plan.notes);
    assert!(plan.notes[0].to_string().contains("a file of your own"), "{:?}", plan.notes);
}

/// Else the new file would be compared with an old one for ever.
#[test]
fn a_step_that_was_not_finished_is_done_again() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    let original = machine.folder.path().join("etc/hub/.originals/scenarios/demo/seen.yaml");
    fs::remove_file(&original).expect("it was there");
    fs::create_dir_all(original.join("in the way")).expect("a folder");
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &format!("{SCENARIO}# 2\n"));
    machine.upgrade(&made, false).expect_err("something is in the way");
    assert_eq!(machine.text(SEEN).as_deref(), Some(SCENARIO));
    fs::remove_dir_all(&original).expect("it was there");
    let (plan, _) = machine.upgrade(&made, false).expect("it goes on");
    assert_eq!(steps(&plan).len(), 1);
}

#[test]
fn one_command_waits_for_the_other() {
    let machine = Machine::new();
    let first = machine.installation.lock(|| panic!("nobody else is there")).expect("a lock");
    let (told, waits) = std::sync::mpsc::channel();
    let installation = machine.installation.clone();
    let second =
        std::thread::spawn(move || installation.lock(|| told.send(()).expect("somebody listens")).map(drop));
    waits.recv().expect("the second one waits");
    drop(first);
    second.join().expect("no panic").expect("a lock");
}

/// Files without an end, as a folder may hold them: sparse, so that the test needs no disk.
#[test]
fn huge_files_are_not_read() {
    let source = Made::usual().source();
    let grow = |path: &str, bytes: u64| {
        let path = source.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let file = std::fs::File::create(&path).expect("a file");
        file.set_len(bytes).expect("a sparse file");
    };
    grow(".index.json", INDEX_MOST + 1);
    grow("scenarios/demo/seen.yaml", ITEM_MOST + 1);
    grow("data/list.txt.gz", DATA_MOST + 1);
    let from = FolderSource::new(source.path());
    let text = format!(
        "{SCENARIO}data: [{{source_url: 'https://lists.example/list.txt.gz', dest_file: list.txt.gz, type: string}}]\n"
    );
    let file = testudo_rules::SourceFile { path: "seen.yaml".to_owned(), text };
    let file = testudo_rules::load_scenarios(file.into()).items[0].data[0].clone();
    for told in [from.index(), from.item("scenarios/demo/seen.yaml"), from.data(&file)] {
        let told = told.expect_err("it is too large").to_string();
        assert!(told.contains("bytes, the limit is"), "{told}");
    }
    let told = Hub::open(source.path()).expect_err("it is too large").to_string();
    assert!(told.contains("bytes, the limit is"), "{told}");
}

/// A bomb stays a bomb: nothing unpacks data files, and what a rule reads of one is limited once more.
#[test]
fn packed_data_files_are_not_unpacked() {
    let (machine, mut made) = (Machine::new(), Made::usual());
    let text = format!(
        "{SCENARIO}data: [{{source_url: 'https://lists.example/list.gz', dest_file: list.gz, type: string}}]\n"
    );
    made.item("scenarios", "demo/seen", "scenarios/demo/seen.yaml", &text);
    // The head of a gzip file.
    made.files.push(("data/list.gz".to_owned(), "\u{1f}packed".to_owned()));
    machine.install(&made, ItemKind::Scenario, "demo/seen").expect("it is installed");
    assert_eq!(machine.text("data/list.gz").as_deref(), Some("\u{1f}packed"));
}
