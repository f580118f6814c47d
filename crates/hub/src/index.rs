//! The index of a hub: which items there are, where their files lie, which versions they had.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memchr_iter;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use crate::{HubError, embedded, files};

/// Name of the index in the folder of a hub.
pub(crate) const INDEX: &str = ".index.json";

/// Name of the folder of functional tests.
const TESTS: &str = ".tests";

/// Largest index that is read: ten times the public one.
pub const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Items and names of parts of collections that an index may have: twenty times those of the public one.
const MAX_NAMES: usize = 50_000;

/// Texts that it may have: twenty times those of the public one, too.
const MAX_TEXTS: usize = 1_000_000;

/// A name that is further from what was typed is another one.
const TYPED_MOST: usize = 3;

/// The types of items, in the order in which the ecosystem lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the type of that name")]
pub enum ItemKind {
    Parser,
    Postoverflow,
    Scenario,
    Context,
    AppsecConfig,
    AppsecRule,
    Collection,
}

impl ItemKind {
    /// All of them.
    pub const ALL: [ItemKind; 7] = [
        ItemKind::Parser,
        ItemKind::Postoverflow,
        ItemKind::Scenario,
        ItemKind::Context,
        ItemKind::AppsecConfig,
        ItemKind::AppsecRule,
        ItemKind::Collection,
    ];

    /// Name of its folder, and of its key in the index: `parsers`, `appsec-rules` …
    pub fn folder(self) -> &'static str {
        match self {
            ItemKind::Parser => "parsers",
            ItemKind::Postoverflow => "postoverflows",
            ItemKind::Scenario => "scenarios",
            ItemKind::Context => "contexts",
            ItemKind::AppsecConfig => "appsec-configs",
            ItemKind::AppsecRule => "appsec-rules",
            ItemKind::Collection => "collections",
        }
    }

    /// Its name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            ItemKind::Parser => "parser",
            ItemKind::Postoverflow => "postoverflow",
            ItemKind::Scenario => "scenario",
            ItemKind::Context => "context",
            ItemKind::AppsecConfig => "appsec configuration",
            ItemKind::AppsecRule => "appsec rule",
            ItemKind::Collection => "collection",
        }
    }

    /// Whether its items live in stages.
    pub fn has_stages(self) -> bool {
        matches!(self, ItemKind::Parser | ItemKind::Postoverflow)
    }
}

/// An item of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its type.
    pub kind: ItemKind,
    /// `author/name`.
    pub name: String,
    /// Its file, below the folder of the hub; never leads out of it.
    pub path: String,
    /// Its stage; empty for types without stages.
    pub stage: String,
    /// The latest version.
    pub version: String,
    /// Each version with the SHA-256 of its file in hex.
    pub versions: Vec<(String, String)>,
    /// One sentence about it.
    pub description: String,
    /// What a collection holds, other collections included.
    pub dependencies: Vec<(ItemKind, String)>,
    /// Its file, where the index carries it.
    pub content: Option<Vec<u8>>,
    /// Whether it is none of the index's, but one that a program carries.
    pub is_embedded: bool,
}

impl Item {
    /// Its file's name.
    pub fn file_name(&self) -> &str {
        files::base_name(&self.path)
    }

    /// Who wrote it: the first part of its name.
    pub fn author(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// The SHA-256 of the file of the latest version, in hex.
    pub fn digest(&self) -> Option<&str> {
        self.versions.iter().find(|(version, _)| *version == self.version).map(|(_, digest)| digest.as_str())
    }

    /// The highest version whose file has this SHA-256; `None`: the file was changed.
    pub fn version_of(&self, digest: &str) -> Option<&str> {
        let same = self.versions.iter().filter(|(_, known)| known.eq_ignore_ascii_case(digest));
        same.map(|(version, _)| version.as_str()).max_by(|a, b| compare_versions(a, b))
    }
}

/// Versions by their numbers; what is no number counts as 0.
fn compare_versions(a: &str, b: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u64> {
        let mut numbers: Vec<u64> =
            version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0)).collect();
        numbers.resize(numbers.len().max(3), 0);
        numbers
    };
    numbers(a).cmp(&numbers(b))
}

/// What some collections hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionContents<'h> {
    /// The items, collections left out; ordered by type and name.
    pub items: Vec<&'h Item>,
    /// What a collection names but the index does not know.
    pub unknown: Vec<(ItemKind, String)>,
}

/// A folder that holds a hub.
#[derive(Clone, Debug)]
pub struct Hub {
    folder: PathBuf,
    items: BTreeMap<ItemKind, BTreeMap<String, Item>>,
}

impl Hub {
    /// Reads the index of a hub, and what is noted there of items that a program carries. The note alone is enough.
    ///
    /// # Errors
    /// The index is missing, is no index, or holds an item without what it needs or with a path
    /// that leads out of the hub.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Hub, HubError> {
        let folder = folder.into();
        let path = Self::index_path(&folder);
        let is_noted = embedded::is_noted(&folder);
        if is_noted && !path.exists() {
            let noted = embedded::noted(&folder);
            return Ok(Hub::nothing(folder).with_embedded(&noted));
        }
        let bytes = files::read(&path, MAX_INDEX_BYTES)?;
        let hub = Hub::read(&bytes, folder, &path)?;
        if !is_noted {
            return Ok(hub);
        }
        let noted = embedded::noted(&hub.folder);
        Ok(hub.with_embedded(&noted))
    }

    /// A hub without items.
    pub fn nothing(folder: impl Into<PathBuf>) -> Hub {
        Hub { folder: folder.into(), items: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, item: Item) {
        self.items.entry(item.kind).or_default().insert(item.name.clone(), item);
    }

    /// Reads an index that is to be that of a hub in `folder`; errors name it as `shown`.
    ///
    /// # Errors
    /// As [`Hub::open`].
    pub fn read(index: &[u8], folder: impl Into<PathBuf>, shown: &Path) -> Result<Hub, HubError> {
        let (folder, path) = (folder.into(), shown.to_owned());
        if index.len() as u64 > MAX_INDEX_BYTES {
            return Err(HubError::TooLarge { path, bytes: index.len() as u64, limit: MAX_INDEX_BYTES });
        }
        let items = parse(index, &path)?;
        Ok(Hub { folder, items })
    }

    pub(crate) fn index_path(folder: &Path) -> PathBuf {
        folder.join(INDEX)
    }

    /// The items whose latest version is an earlier one in another index of the same hub.
    pub(crate) fn older_in<'h>(&'h self, other: &'h Hub) -> impl Iterator<Item = &'h Item> {
        let all = self.items.values().flat_map(BTreeMap::values);
        all.filter(|item| {
            other
                .item(item.kind, &item.name)
                .is_some_and(|new| compare_versions(&new.version, &item.version).is_lt())
        })
    }

    /// Whether a folder holds an index.
    pub(crate) fn is_at(folder: &Path) -> bool {
        folder.join(INDEX).is_file() || embedded::is_noted(folder)
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The items of a type, by name.
    pub fn items(&self, kind: ItemKind) -> impl Iterator<Item = &Item> {
        self.items.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// An item by its name in the index.
    pub fn item(&self, kind: ItemKind, name: &str) -> Option<&Item> {
        self.items.get(&kind)?.get(name)
    }

    /// An item that must be there.
    ///
    /// # Errors
    /// It is not; the error names one that resembles it.
    pub fn require(&self, kind: ItemKind, name: &str) -> Result<&Item, HubError> {
        self.item(kind, name).ok_or_else(|| HubError::UnknownItem {
            kind,
            name: name.to_owned(),
            close: self.close_to(kind, name),
        })
    }

    fn close_to(&self, kind: ItemKind, name: &str) -> Option<String> {
        let stem = |name: &str| files::base_name(name).to_lowercase().replace(['-', '_'], "");
        let wanted = stem(name);
        let same = self.items(kind).find(|item| stem(&item.name) == wanted);
        let close = same.or_else(|| self.items(kind).find(|item| stem(&item.name).starts_with(&wanted)));
        let typed = || {
            let far = |item: &&Item| strsim::levenshtein(&item.name, name);
            self.items(kind).min_by_key(far).filter(|item| far(item) <= TYPED_MOST)
        };
        close.or_else(typed).map(|item| item.name.clone())
    }

    /// Everything that some collections hold, at any depth.
    ///
    /// # Errors
    /// One of the names is no collection.
    pub fn contents<S: AsRef<str>>(&self, collections: &[S]) -> Result<CollectionContents<'_>, HubError> {
        let mut open = Vec::new();
        for name in collections {
            open.push(self.require(ItemKind::Collection, name.as_ref())?);
        }
        let mut seen: BTreeSet<(ItemKind, &str)> =
            open.iter().map(|item| (item.kind, item.name.as_str())).collect();
        let mut contents = CollectionContents::default();
        while let Some(collection) = open.pop() {
            for (kind, name) in &collection.dependencies {
                if !seen.insert((*kind, name)) {
                    continue;
                }
                match self.item(*kind, name) {
                    Some(item) if *kind == ItemKind::Collection => open.push(item),
                    Some(item) => contents.items.push(item),
                    None => contents.unknown.push((*kind, name.clone())),
                }
            }
        }
        contents.items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(contents)
    }

    /// The folder of functional tests.
    pub(crate) fn tests_folder(&self) -> PathBuf {
        self.folder.join(TESTS)
    }

    /// Names of the functional tests, sorted.
    ///
    /// # Errors
    /// Their folder cannot be read.
    pub fn tests(&self) -> Result<Vec<String>, HubError> {
        let folder = self.tests_folder();
        let failed = |source| HubError::Io { path: folder.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if let Some(name) = name.to_str()
                && !name.starts_with('.')
                && entry.path().is_dir()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The items of a type: at most one more than [`MAX_NAMES`], so that too many are seen and not kept.
#[derive(Default)]
struct RawItems(BTreeMap<String, Option<RawItem>>);

impl<'de> Deserialize<'de> for RawItems {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = RawItems;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("items by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawItems, A::Error> {
                let mut items = BTreeMap::new();
                while items.len() <= MAX_NAMES {
                    let Some((name, item)) = map.next_entry()? else { return Ok(RawItems(items)) };
                    items.insert(name, item);
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(RawItems(items))
            }
        }

        deserializer.deserialize_map(Items)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawIndex {
    parsers: Option<RawItems>,
    postoverflows: Option<RawItems>,
    scenarios: Option<RawItems>,
    contexts: Option<RawItems>,
    appsec_configs: Option<RawItems>,
    appsec_rules: Option<RawItems>,
    collections: Option<RawItems>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RawItem {
    path: Option<String>,
    stage: Option<String>,
    version: Option<String>,
    versions: Option<BTreeMap<String, RawVersion>>,
    description: Option<String>,
    content: Option<String>,
    parsers: Option<Vec<String>>,
    postoverflows: Option<Vec<String>>,
    scenarios: Option<Vec<String>>,
    contexts: Option<Vec<String>>,
    appsec_configs: Option<Vec<String>>,
    appsec_rules: Option<Vec<String>>,
    collections: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawVersion {
    #[serde(default)]
    digest: String,
}

fn parse(bytes: &[u8], path: &Path) -> Result<BTreeMap<ItemKind, BTreeMap<String, Item>>, HubError> {
    let failed = |source| HubError::Index { path: path.to_owned(), source };
    // The decoder would take a list for a record.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(failed(serde_json::Error::custom("it is a list")));
    }
    let too_many = |what, limit| HubError::TooMany { path: path.to_owned(), what, limit };
    // Before any of it is kept: the shortest texts take thirty times their bytes.
    if memchr_iter(b'"', bytes).count() > 2 * MAX_TEXTS {
        return Err(too_many("texts", MAX_TEXTS));
    }
    let raw: RawIndex = serde_json::from_slice(bytes).map_err(|source| match files::conflict(bytes) {
        Some(line) => HubError::Conflict { path: path.to_owned(), line },
        None => failed(source),
    })?;
    let RawIndex { parsers, postoverflows, scenarios, contexts, appsec_configs, appsec_rules, collections } =
        raw;
    let lists = [parsers, postoverflows, scenarios, contexts, appsec_configs, appsec_rules, collections];
    let mut index = BTreeMap::new();
    let mut count = 0;
    let mut taken = Taken::default();
    for (kind, items) in ItemKind::ALL.into_iter().zip(lists) {
        let mut of_kind = BTreeMap::new();
        for (name, raw) in items.unwrap_or_default().0 {
            let item = item(kind, &name, raw).and_then(|item| taken.take(item));
            let item = item.map_err(|problem| HubError::BadItem {
                path: path.to_owned(),
                kind,
                name: name.clone(),
                problem,
            })?;
            count += 1 + item.dependencies.len();
            if count > MAX_NAMES {
                return Err(too_many("items and parts of collections", MAX_NAMES));
            }
            of_kind.insert(name, item);
        }
        index.insert(kind, of_kind);
    }
    Ok(index)
}

/// Files that items have, in the hub and in use.
#[derive(Default)]
struct Taken {
    paths: BTreeSet<String>,
    places: BTreeSet<(ItemKind, String, String, String)>,
}

impl Taken {
    /// The item, if its files are its own. In use, authors have names of their own, folders of the hub have not.
    fn take(&mut self, item: Item) -> Result<Item, String> {
        let place = (item.kind, item.stage.clone(), item.author().to_owned(), item.file_name().to_owned());
        if !self.paths.insert(item.path.clone()) {
            return Err(format!("its file `{}` is that of another item", item.path));
        }
        if !self.places.insert(place) {
            return Err(format!("another item of its author has a file `{}`, too", item.file_name()));
        }
        Ok(item)
    }
}

fn item(kind: ItemKind, name: &str, raw: Option<RawItem>) -> Result<Item, String> {
    let raw = raw.ok_or("it is null")?;
    let path = raw.path.filter(|path| !path.is_empty()).ok_or("it has no `path`")?;
    if !files::is_safe(&path) {
        return Err(format!("its path `{}` leads out of the hub", path.escape_debug()));
    }
    // What installations note of themselves has such names.
    if path.split('/').any(|part| part.starts_with('.') && part != ".") {
        return Err(format!("its path `{}` has a part that begins with a dot", path.escape_debug()));
    }
    let stage = raw.stage.unwrap_or_default();
    if kind.has_stages() {
        if stage.is_empty() {
            return Err("it has no `stage`".to_owned());
        }
        if !files::is_safe(&stage) || stage.contains('/') || stage.starts_with('.') {
            return Err(format!("its stage `{}` is no name of a folder", stage.escape_debug()));
        }
    }
    let lists = [
        raw.parsers,
        raw.postoverflows,
        raw.scenarios,
        raw.contexts,
        raw.appsec_configs,
        raw.appsec_rules,
        raw.collections,
    ];
    let dependencies: Vec<(ItemKind, String)> = ItemKind::ALL
        .into_iter()
        .zip(lists)
        .flat_map(|(kind, names)| names.unwrap_or_default().into_iter().map(move |name| (kind, name)))
        .collect();
    let version = raw.version.unwrap_or_default();
    let versions: Vec<(String, String)> =
        raw.versions.unwrap_or_default().into_iter().map(|(version, raw)| (version, raw.digest)).collect();
    let parts = dependencies.iter().map(|(_, name)| name.as_str());
    let known = versions.iter().map(|(version, _)| version.as_str());
    let shown = [name, &path, &stage, &version].into_iter().chain(parts).chain(known);
    if shown.flat_map(str::chars).any(char::is_control) {
        return Err("a name, path or version of it has control characters".to_owned());
    }
    // A description has lines; what else a terminal would obey is no part of it.
    let is_text = |c: &char| !c.is_control() || *c == '\n' || *c == '\t';
    Ok(Item {
        kind,
        name: name.to_owned(),
        path,
        stage,
        version,
        versions,
        description: raw.description.unwrap_or_default().chars().filter(is_text).collect(),
        dependencies,
        // What cannot be decoded is fetched.
        content: raw.content.and_then(|content| STANDARD.decode(content).ok()),
        is_embedded: false,
    })
}

#[cfg(test)]
mod tests;
