//! Finds the rule files that a test names, and makes a set of them as an installation would.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use testudo_engine::DataSource;
use testudo_rules::{
    Diagnostic,
    plan::{DataFile, DataKind, ParserNode},
    set::RuleSet,
};

use super::config::Config;
use crate::{
    DataFolders, Hub, Item, ItemKind,
    data::url_file_name,
    files,
    load::{Contents, installed_path},
};

/// The stage of the node that overrides fields of events.
const OVERRIDES_STAGE: &str = "s00-raw";
const OVERRIDES_FILE: &str = "00_overrides.yaml";

/// Rule files that were read for some test.
#[derive(Debug, Default)]
pub(super) struct Cache {
    files: Mutex<HashMap<(ItemKind, PathBuf), Arc<Contents>>>,
}

impl Cache {
    fn get(&self, kind: ItemKind, stage: &str, path: &Path, item: Option<&Item>) -> Arc<Contents> {
        let key = (kind, path.to_owned());
        let lock = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).cloned();
        known.unwrap_or_else(|| {
            let contents = Arc::new(Contents::read(kind, stage, path, item));
            lock().insert(key, Arc::clone(&contents));
            contents
        })
    }
}

/// The rules of a test.
pub(super) struct TestRules {
    pub(super) rules: RuleSet,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Finds and loads what a test names. The error is in words.
pub(super) fn load(hub: &Hub, test: &Path, config: &Config, cache: &Cache) -> Result<TestRules, String> {
    let mut installed: BTreeMap<String, Arc<Contents>> = BTreeMap::new();
    let lists: [(ItemKind, Vec<&str>); 3] = [
        (ItemKind::Parser, config.parsers().collect()),
        (ItemKind::Scenario, config.scenarios().collect()),
        (ItemKind::Postoverflow, config.postoverflows().collect()),
    ];
    for (kind, names) in lists {
        for name in names {
            let (path, contents) = find(hub, test, kind, name, cache)?;
            installed.insert(path, contents);
        }
    }
    if let Some(text) = config.overrides() {
        let folder = format!("{}/{OVERRIDES_STAGE}/", ItemKind::Parser.folder());
        if !installed.keys().any(|path| path.starts_with(&folder)) {
            return Err(format!("`override_statics` needs a parser in the stage {OVERRIDES_STAGE}"));
        }
        let path = format!("{folder}{OVERRIDES_FILE}");
        let contents = Contents::parse(ItemKind::Parser, OVERRIDES_STAGE, path.clone(), text);
        installed.insert(path, Arc::new(contents));
    }
    let (mut rules, mut diagnostics) = (RuleSet::default(), Vec::new());
    for contents in installed.into_values() {
        diagnostics.extend_from_slice(&contents.diagnostics);
        Contents::clone(&contents).add_to(&mut rules);
    }
    Ok(TestRules { rules, diagnostics })
}

/// A rule file by its name in the index, or by its path below the hub or the test; with its place
/// in an installation.
fn find(
    hub: &Hub,
    test: &Path,
    kind: ItemKind,
    name: &str,
    cache: &Cache,
) -> Result<(String, Arc<Contents>), String> {
    if let Some(item) = hub.item(kind, name) {
        let contents = cache.get(kind, &item.stage, &hub.folder().join(&item.path), Some(item));
        return Ok((installed_path(kind, &item.stage, item.file_name()), contents));
    }
    let relative = name.trim_start_matches('/');
    let relative = relative.strip_prefix("./").unwrap_or(relative);
    if !files::is_safe(relative) {
        return Err(format!("the {} `{name}` leads out of the hub", kind.name()));
    }
    let stage = if kind.has_stages() {
        // parsers/<stage>/<author>/<file>
        let stage = relative.rsplit('/').nth(2).unwrap_or_default();
        if stage.is_empty() || !hub.folder().join(kind.folder()).join(stage).is_dir() {
            return Err(format!("the {} `{name}` lies in no stage of the hub", kind.name()));
        }
        stage
    } else {
        ""
    };
    let found = [hub.folder(), test].into_iter().map(|root| root.join(relative)).find(|path| path.is_file());
    let path = found.ok_or_else(|| {
        format!("the {} `{name}` is neither in the index nor a file of the hub or the test", kind.name())
    })?;
    let contents = cache.get(kind, stage, &path, None);
    Ok((installed_path(kind, stage, files::base_name(relative)), contents))
}

/// Data files of a test: databases come by the URLs that its rules give for them, since some tests
/// store one of their own under the usual name.
pub(super) struct TestData<'d> {
    folders: &'d DataFolders,
    urls: HashMap<Arc<str>, String>,
}

impl<'d> TestData<'d> {
    pub(super) fn new(folders: &'d DataFolders, rules: &RuleSet) -> TestData<'d> {
        fn visit(node: &ParserNode, urls: &mut HashMap<Arc<str>, String>) {
            for file in node.data.iter().filter(|file| file.kind == DataKind::Opaque) {
                urls.entry(file.dest_file.clone()).or_insert_with(|| file.source_url.clone());
            }
            node.nodes.iter().for_each(|child| visit(child, urls));
        }
        let mut urls = HashMap::new();
        for parser in rules.parsers.iter().chain(&rules.postoverflows) {
            visit(&parser.node, &mut urls);
        }
        TestData { folders, urls }
    }
}

impl DataSource for TestData<'_> {
    fn find(&self, file: &DataFile) -> Option<PathBuf> {
        self.folders.find(file)
    }

    fn database(&self, name: &str) -> Option<PathBuf> {
        // What no rule of the test fetches would not be there.
        let url = self.urls.get(name)?;
        let of_url = url_file_name(url).and_then(|name| self.folders.by_name(name));
        of_url.map(Path::to_owned).or_else(|| self.folders.database(name))
    }
}
