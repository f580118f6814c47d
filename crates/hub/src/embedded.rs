//! Rules that a program carries, as items beside those of a hub's index.
//!
//! They have the version of the program. What earlier programs carried is noted beside the index when an item is
//! installed, so that an old file is told from one that somebody changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::install::digest;
use crate::{Hub, Item, ItemKind, files};

/// A file that a program carries: its path in the layout of a hub, without the folder of its author, and its text.
pub type EmbeddedFile = (&'static str, &'static str);

/// Where it is noted what was carried, below the folder of the hub: an index without contents.
const FILE: &str = ".embedded.json";

/// As much of it is read.
const MOST: u64 = 16 << 20;

/// What an item says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    name: String,
    description: String,
    parsers: Vec<String>,
    postoverflows: Vec<String>,
    scenarios: Vec<String>,
    contexts: Vec<String>,
    collections: Vec<String>,
}

/// The items of a program of this version. A file that has no name, or lies nowhere, is none: whoever embeds files tests
/// that there are as many items.
pub fn items(files: &[EmbeddedFile], version: &str) -> Vec<Item> {
    files.iter().filter_map(|(path, text)| item(path, text, version)).collect()
}

fn item(path: &str, text: &str, version: &str) -> Option<Item> {
    let (folder, rest) = path.split_once('/')?;
    let kind = ItemKind::ALL.into_iter().find(|kind| kind.folder() == folder)?;
    let (stage, file) = if kind.has_stages() { rest.split_once('/')? } else { ("", rest) };
    let head: Head = serde_saphyr::from_str(text).ok()?;
    let author = head.name.split_once('/')?.0;
    let below = if stage.is_empty() { String::new() } else { format!("{stage}/") };
    let parts = [
        (ItemKind::Parser, head.parsers),
        (ItemKind::Postoverflow, head.postoverflows),
        (ItemKind::Scenario, head.scenarios),
        (ItemKind::Context, head.contexts),
        (ItemKind::Collection, head.collections),
    ];
    let dependencies = parts.into_iter().filter(|_| kind == ItemKind::Collection);
    Some(Item {
        kind,
        path: format!("{folder}/{below}{author}/{file}"),
        stage: stage.to_owned(),
        version: version.to_owned(),
        versions: vec![(version.to_owned(), digest(text.as_bytes()))],
        dependencies: dependencies
            .flat_map(|(kind, names)| names.into_iter().map(move |name| (kind, name)))
            .collect(),
        content: Some(text.as_bytes().to_vec()),
        description: head.description,
        name: head.name,
        is_embedded: true,
    })
}

/// Where the note is.
pub(crate) fn note_path(hub_dir: &Path) -> PathBuf {
    hub_dir.join(FILE)
}

/// Whether a folder notes what a program carried.
pub(crate) fn is_noted(hub_dir: &Path) -> bool {
    note_path(hub_dir).is_file()
}

/// What is noted. A note that cannot be read counts as none.
pub(crate) fn noted(hub_dir: &Path) -> Vec<Item> {
    let path = note_path(hub_dir);
    let Ok(bytes) = files::read(&path, MOST) else { return Vec::new() };
    let Ok(hub) = Hub::read(&bytes, hub_dir, &path) else { return Vec::new() };
    let all = ItemKind::ALL.into_iter().flat_map(|kind| hub.items(kind).cloned().collect::<Vec<_>>());
    all.map(|item| Item { is_embedded: true, ..item }).collect()
}

/// The text of a note about items.
pub(crate) fn note(items: &[&Item]) -> Vec<u8> {
    let mut index: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for item in items {
        let versions: BTreeMap<&str, Value> = item
            .versions
            .iter()
            .map(|(version, digest)| (version.as_str(), json!({"digest": digest})))
            .collect();
        let mut entry = json!({
            "path": item.path,
            "stage": item.stage,
            "version": item.version,
            "versions": versions,
            "description": item.description,
        });
        for (kind, name) in &item.dependencies {
            let list = &mut entry[kind.folder()];
            match list.as_array_mut() {
                Some(names) => names.push(name.as_str().into()),
                None => *list = json!([name]),
            }
        }
        index.entry(item.kind.folder()).or_default().insert(&item.name, entry);
    }
    serde_json::to_vec_pretty(&index).unwrap_or_default()
}

impl Hub {
    /// The hub with items that a program carries. Those of the index come before: a name that it knows is its own. What
    /// is known of earlier versions stays known.
    #[must_use]
    pub fn with_embedded(mut self, items: &[Item]) -> Hub {
        for item in items {
            let mut item = item.clone();
            match self.item(item.kind, &item.name) {
                Some(known) if !known.is_embedded => continue,
                Some(known) => {
                    for (version, digest) in &known.versions {
                        if item.version_of(digest).is_some() {
                            continue;
                        }
                        // A program that was built anew may carry other files under the same version.
                        let is_same = item.versions.iter().any(|(other, _)| other == version);
                        let short = digest.get(..8).unwrap_or_default();
                        let version = if is_same { format!("{version}+{short}") } else { version.clone() };
                        item.versions.push((version, digest.clone()));
                    }
                }
                None => {}
            }
            self.put(item);
        }
        self
    }

    /// The items that a program carries.
    pub fn embedded(&self) -> impl Iterator<Item = &Item> {
        ItemKind::ALL.into_iter().flat_map(|kind| self.items(kind)).filter(|item| item.is_embedded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp::Folder;

    const FILES: &[EmbeddedFile] = &[
        ("parsers/s01-parse/demo.yaml", "name: own/demo\ndescription: reads demo\nfilter: 'true'\n"),
        ("scenarios/demo-bf.yaml", "name: own/demo-bf\ntype: trigger\n"),
        (
            "collections/demo.yaml",
            "name: own/all\nparsers: [own/demo]\nscenarios: [own/demo-bf, demo/other]\n",
        ),
        ("README.md", "name: own/readme\n"),
        ("scenarios/nameless.yaml", "type: trigger\n"),
    ];

    #[test]
    fn files_become_items() {
        let items = items(FILES, "1.2");
        let shown: Vec<String> =
            items.iter().map(|item| format!("{} {} {}", item.path, item.name, item.version)).collect();
        assert_eq!(
            shown,
            [
                "parsers/s01-parse/own/demo.yaml own/demo 1.2",
                "scenarios/own/demo-bf.yaml own/demo-bf 1.2",
                "collections/own/demo.yaml own/all 1.2",
            ]
        );
        assert_eq!((items[0].stage.as_str(), items[0].description.as_str()), ("s01-parse", "reads demo"));
        assert_eq!(items[2].dependencies.len(), 3);
        assert_eq!(items[1].version_of(&digest(FILES[1].1.as_bytes())), Some("1.2"));
    }

    #[test]
    fn what_was_carried_before_is_known() {
        let folder = Folder::new();
        let before = items(&[("scenarios/demo-bf.yaml", "name: own/demo-bf\n# before\n")], "1.2");
        let first =
            Hub::open(folder.path()).err().map(|_| Hub::nothing(folder.path())).expect("there is no index");
        let first = first.with_embedded(&before);
        let noted: Vec<&Item> = first.embedded().collect();
        folder.write(FILE, &String::from_utf8(note(&noted)).expect("text"));
        for (version, expected) in [("1.2", "1.2+"), ("1.3", "1.2")] {
            let hub = Hub::open(folder.path()).expect("it is noted").with_embedded(&items(FILES, version));
            let item = hub.item(ItemKind::Scenario, "own/demo-bf").expect("it is carried");
            assert_eq!(item.version, version);
            let old = item.version_of(before[0].digest().expect("it has one")).expect("it is known");
            assert!(old.starts_with(expected), "{old}");
        }
        // An index knows better.
        folder.write(
            ".index.json",
            r#"{"scenarios": {"own/demo-bf": {"path": "scenarios/own/x.yaml", "version": "7"}}}"#,
        );
        let hub = Hub::open(folder.path()).expect("an index").with_embedded(&items(FILES, "1.3"));
        assert_eq!(hub.item(ItemKind::Scenario, "own/demo-bf").map(|item| item.version.as_str()), Some("7"));
        // A note that is none is nothing.
        folder.write(FILE, "{");
        assert!(Hub::open(folder.path()).is_ok());
    }
}
