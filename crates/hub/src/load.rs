//! Gathers rule files and loads them, in running order, into one set.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use sha2::{Digest, Sha256};
use testudo_rules::{
    Diagnostic, Place, Severity, SourceFile, load_context, load_parsers, load_postoverflows, load_scenarios,
    plan::{Context, Parser, Scenario},
    set::{Origin, RuleSet},
};

use crate::{CollectionContents, Hub, HubError, Item, ItemKind, codes, files};

/// Largest rule file that is read: a hundred times the largest public one.
const MAX_RULE_BYTES: u64 = 4 << 20;

/// The types that the engine runs.
pub(crate) const RUNNING: [ItemKind; 4] =
    [ItemKind::Parser, ItemKind::Postoverflow, ItemKind::Scenario, ItemKind::Context];

/// A rule file of a loaded set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// Its type.
    pub kind: ItemKind,
    /// The stage that it runs in; empty for types without stages.
    pub stage: String,
    /// Its place in an installation, `parsers/s01-parse/x.yaml`: this orders the set.
    pub installed: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// Name of the hub item that it is; `None` for files of one's own.
    pub item: Option<String>,
    /// Version and hash; both empty for files of one's own. The version of a changed file is `?`.
    pub origin: Origin,
    /// How many documents of it run.
    pub documents: usize,
}

/// What a [`Selection`] gave.
#[derive(Clone, Debug, Default)]
pub struct LoadedRules {
    /// The documents that can be used.
    pub rules: RuleSet,
    /// What was found wrong, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// The files, in running order.
    pub files: Vec<RuleFile>,
}

/// Rule files that shall run together.
///
/// ```no_run
/// # fn main() -> Result<(), testudo_hub::HubError> {
/// let hub = testudo_hub::Hub::open("/usr/share/testudo/hub")?;
/// let mut selection = testudo_hub::Selection::default();
/// selection.collections(&hub, &["crowdsecurity/nginx"])?;
/// selection.directory("/etc/testudo/rules".as_ref(), Some(&hub))?;
/// let loaded = selection.load();
/// println!("{} scenarios", loaded.rules.scenarios.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Selection {
    entries: Vec<Entry>,
    diagnostics: Vec<Diagnostic>,
    patterns: Vec<(String, String)>,
}

/// Definitions of an installation's pattern files: those without a dot in their name, in the order of
/// their names; lines of a word, blanks, and the definition. Other lines are comments.
fn pattern_definitions(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().contains('.'));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(named).collect();
    paths.sort();
    let texts = paths.iter().filter_map(|path| fs::read_to_string(path).ok());
    let mut definitions = Vec::new();
    for text in texts {
        for line in text.lines() {
            let Some((name, body)) = line.split_once([' ', '\t']) else { continue };
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if is_name && !body.trim().is_empty() {
                definitions.push((name.to_owned(), body.trim_start().to_owned()));
            }
        }
    }
    definitions
}

/// A file that was selected.
#[derive(Clone, Debug)]
struct Entry {
    kind: ItemKind,
    stage: String,
    /// Orders the set, see [`RuleFile::installed`]; then `path` does.
    installed: String,
    path: PathBuf,
    item: Option<Arc<Item>>,
}

impl Selection {
    /// Adds every item of a hub.
    pub fn whole_hub(&mut self, hub: &Hub) {
        for item in RUNNING.into_iter().flat_map(|kind| hub.items(kind)) {
            self.item(hub, item);
        }
    }

    /// Adds what some collections hold, at any depth.
    ///
    /// # Errors
    /// One of the names is no collection of the hub.
    pub fn collections<S: AsRef<str>>(&mut self, hub: &Hub, names: &[S]) -> Result<(), HubError> {
        let CollectionContents { items, unknown } = hub.contents(names)?;
        for item in items {
            self.item(hub, item);
        }
        for (kind, name) in unknown {
            let message =
                format!("a collection holds the {} `{name}`, which the index does not know", kind.name());
            let hint = "fetch the hub again; what the index knows is used".to_owned();
            self.warn(codes::UNKNOWN_DEPENDENCY, hub.folder(), message, hint);
        }
        Ok(())
    }

    /// Adds one item of a hub. Types that the engine does not run are left out.
    pub fn item(&mut self, hub: &Hub, item: &Item) {
        if !RUNNING.contains(&item.kind) {
            return;
        }
        self.entries.push(Entry {
            kind: item.kind,
            stage: item.stage.clone(),
            installed: installed_path(item.kind, &item.stage, item.file_name()),
            path: hub.folder().join(&item.path),
            item: Some(Arc::new(item.clone())),
        });
    }

    /// Adds what lies in `parsers/<stage>/`, `postoverflows/<stage>/`, `scenarios/` and `contexts/`
    /// of a folder, sub-folders and links included. What leads to an item's file in a hub is that
    /// item; everything else is a file of one's own. Hubs that are known: `hub`, and one that lies
    /// in the folder, as it or as its `hub`.
    ///
    /// # Errors
    /// The folder holds none of these folders.
    pub fn directory(&mut self, folder: &Path, hub: Option<&Hub>) -> Result<(), HubError> {
        let nested = self.nested_hub(folder);
        let hubs: Vec<KnownHub<'_>> = hub.into_iter().chain(&nested).filter_map(KnownHub::new).collect();
        let mut any = false;
        for kind in RUNNING {
            let below = folder.join(kind.folder());
            if !below.is_dir() {
                continue;
            }
            any = true;
            let walk = files::walk(&below);
            for (path, error) in walk.failed {
                let hint = "mend or remove it; the other files are used".to_owned();
                self.warn(codes::UNREADABLE, &path, format!("cannot be read: {error}"), hint);
            }
            for found in walk.files {
                if files::is_yaml(&found.relative) {
                    self.file(kind, &found.relative, found.path, &hubs);
                }
            }
        }
        self.patterns.extend(pattern_definitions(&folder.join("patterns")));
        if any { Ok(()) } else { Err(HubError::NoRules { path: folder.to_owned() }) }
    }

    /// The hub that an installation keeps beside its links, or that the folder itself is.
    fn nested_hub(&mut self, folder: &Path) -> Option<Hub> {
        let at = [folder.to_owned(), folder.join("hub")].into_iter().find(|folder| Hub::is_at(folder))?;
        match Hub::open(at) {
            Ok(hub) => Some(hub),
            Err(error) => {
                let hint = format!("{}; rules run without their versions until then", error.hint());
                self.warn(codes::UNREADABLE, folder, error.to_string(), hint);
                None
            }
        }
    }

    fn file(&mut self, kind: ItemKind, relative: &str, path: PathBuf, hubs: &[KnownHub<'_>]) {
        let stage = match relative.split_once('/') {
            Some((stage, _)) if kind.has_stages() => stage,
            None if kind.has_stages() => {
                let hint = format!("move it into a folder below `{}`, e.g. `s01-parse`", kind.folder());
                self.warn(codes::NO_STAGE, &path, "lies in no stage, so it is not used".to_owned(), hint);
                return;
            }
            _ => "",
        };
        let target = fs::canonicalize(&path).ok();
        let item = target.and_then(|target| hubs.iter().find_map(|hub| hub.item(kind, &target)));
        self.entries.push(Entry {
            kind,
            stage: stage.to_owned(),
            installed: format!("{}/{relative}", kind.folder()),
            path,
            item: item.cloned().map(Arc::new),
        });
    }

    fn warn(&mut self, code: &'static str, path: &Path, message: String, hint: String) {
        self.diagnostics.push(file_diagnostic(code, Severity::Warning, path, message, hint));
    }

    /// Reads and checks the files.
    ///
    /// A file of one's own whose first document has the name of a hub item takes the place of that
    /// item; of two such files the later one is used.
    pub fn load(mut self) -> LoadedRules {
        self.entries.sort_by(|a, b| (&a.installed, &a.path).cmp(&(&b.installed, &b.path)));
        // One file that was selected in several ways runs once.
        let mut seen = HashSet::new();
        self.entries.retain(|entry| {
            let path = fs::canonicalize(&entry.path).unwrap_or_else(|_| entry.path.clone());
            seen.insert((entry.kind, entry.stage.clone(), path))
        });
        let contents = in_parallel(&self.entries, |entry| {
            Contents::read(entry.kind, &entry.stage, &entry.path, entry.item.as_deref())
        });
        let mut loaded = LoadedRules { diagnostics: self.diagnostics, ..LoadedRules::default() };
        loaded.rules.patterns = self.patterns;
        let replaced = replaced(&self.entries, &contents);
        for (at, (entry, contents)) in self.entries.into_iter().zip(contents).enumerate() {
            if let Some(by) = replaced.get(&at) {
                let name = contents.name().unwrap_or_default();
                loaded.diagnostics.push(file_diagnostic(
                    codes::REPLACED,
                    Severity::Warning,
                    &entry.path,
                    format!("is not used: `{name}` comes from {}", by.display()),
                    "rename the item in one of the two files to use both".to_owned(),
                ));
                continue;
            }
            loaded.diagnostics.extend_from_slice(&contents.diagnostics);
            loaded.files.push(RuleFile {
                kind: entry.kind,
                stage: entry.stage,
                installed: entry.installed,
                path: entry.path,
                item: entry.item.map(|item| item.name.clone()),
                origin: contents.origin.clone(),
                documents: contents.documents.len(),
            });
            contents.add_to(&mut loaded.rules);
        }
        loaded
    }
}

/// A hub with its items by the paths of their files.
struct KnownHub<'h> {
    folder: PathBuf,
    items: HashMap<&'h str, &'h Item>,
}

impl<'h> KnownHub<'h> {
    fn new(hub: &'h Hub) -> Option<KnownHub<'h>> {
        let items = RUNNING.into_iter().flat_map(|kind| hub.items(kind));
        Some(KnownHub {
            folder: fs::canonicalize(hub.folder()).ok()?,
            items: items.map(|item| (item.path.as_str(), item)).collect(),
        })
    }

    /// The item whose file is at a path without links.
    fn item(&self, kind: ItemKind, path: &Path) -> Option<&'h Item> {
        let below = path.strip_prefix(&self.folder).ok()?.to_str()?;
        self.items.get(below).copied().filter(|item| item.kind == kind)
    }
}

/// Where an installation keeps a file: items lose their author's folder.
pub(crate) fn installed_path(kind: ItemKind, stage: &str, file_name: &str) -> String {
    if stage.is_empty() {
        format!("{}/{file_name}", kind.folder())
    } else {
        format!("{}/{stage}/{file_name}", kind.folder())
    }
}

/// Which files are not used, by position, and which file is used instead of each.
fn replaced(entries: &[Entry], contents: &[Contents]) -> HashMap<usize, PathBuf> {
    let mut local: HashMap<(ItemKind, &str), usize> = HashMap::new();
    let mut replaced = HashMap::new();
    for (at, (entry, contents)) in entries.iter().zip(contents).enumerate() {
        if entry.item.is_none()
            && let Some(name) = contents.name()
            && let Some(before) = local.insert((entry.kind, name), at)
        {
            replaced.insert(before, entry.path.clone());
        }
    }
    for (at, entry) in entries.iter().enumerate() {
        if let Some(item) = &entry.item
            && let Some(&by) = local.get(&(entry.kind, item.name.as_str()))
        {
            replaced.insert(at, entries[by].path.clone());
        }
    }
    replaced
}

/// A diagnostic about a file as a whole.
fn file_diagnostic(
    code: &'static str,
    severity: Severity,
    path: &Path,
    message: String,
    hint: String,
) -> Diagnostic {
    let file = Arc::new(SourceFile { path: path.display().to_string(), text: String::new() });
    let place = Place { file, line: 1, column: 1, offset: 0, length: 0 };
    Diagnostic { code, severity, message, place, hint: Some(hint) }
}

/// What a rule file holds.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) documents: Documents,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// As the documents' places have it.
    path: String,
    origin: Origin,
}

/// The usable documents of a file.
#[derive(Clone, Debug)]
pub(crate) enum Documents {
    Parsers(Vec<Parser>),
    Postoverflows(Vec<Parser>),
    Scenarios(Vec<Scenario>),
    Contexts(Vec<Context>),
}

impl Documents {
    fn len(&self) -> usize {
        match self {
            Documents::Parsers(list) | Documents::Postoverflows(list) => list.len(),
            Documents::Scenarios(list) => list.len(),
            Documents::Contexts(list) => list.len(),
        }
    }
}

impl Contents {
    /// Reads a file. One that cannot be read is told like one that cannot be used.
    pub(crate) fn read(kind: ItemKind, stage: &str, path: &Path, item: Option<&Item>) -> Contents {
        let shown = path.display().to_string();
        let broken = |message: String, hint: &str| {
            let hint = hint.to_owned();
            let mut contents = Contents::parse(kind, stage, shown.clone(), String::new());
            contents.diagnostics =
                vec![file_diagnostic(codes::UNREADABLE, Severity::Error, path, message, hint)];
            contents
        };
        let bytes = match files::read(path, MAX_RULE_BYTES) {
            Ok(bytes) => bytes,
            Err(error @ HubError::TooLarge { .. }) => {
                return broken(error.to_string(), "split it; long lists belong in a data file");
            }
            Err(error) => return broken(error.to_string(), "check that the file exists, and may be read"),
        };
        let origin = item.map(|item| {
            let hash = hex(&Sha256::digest(&bytes));
            Origin { version: item.version_of(&hash).unwrap_or("?").into(), hash: hash.into() }
        });
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                return broken(
                    format!("it is no UTF-8 text: {}", error.utf8_error()),
                    "save it as text in UTF-8",
                );
            }
        };
        Contents { origin: origin.unwrap_or_default(), ..Contents::parse(kind, stage, shown, text) }
    }

    /// Checks the text of a file.
    pub(crate) fn parse(kind: ItemKind, stage: &str, path: String, text: String) -> Contents {
        let file = Arc::new(SourceFile { path: path.clone(), text });
        let (documents, diagnostics) = match kind {
            ItemKind::Parser => {
                let loaded = load_parsers(file, stage);
                (Documents::Parsers(loaded.items), loaded.diagnostics)
            }
            ItemKind::Postoverflow => {
                let loaded = load_postoverflows(file, stage);
                (Documents::Postoverflows(loaded.items), loaded.diagnostics)
            }
            ItemKind::Context => {
                let loaded = load_context(file, true);
                (Documents::Contexts(loaded.items), loaded.diagnostics)
            }
            _ => {
                let loaded = load_scenarios(file);
                (Documents::Scenarios(loaded.items), loaded.diagnostics)
            }
        };
        Contents { documents, diagnostics, path, origin: Origin::default() }
    }

    /// Name of the first document.
    fn name(&self) -> Option<&str> {
        let name = match &self.documents {
            Documents::Parsers(list) | Documents::Postoverflows(list) => &list.first()?.node.name,
            Documents::Scenarios(list) => &list.first()?.name,
            Documents::Contexts(_) => return None,
        };
        (!name.is_empty()).then_some(&**name)
    }

    /// Adds the documents behind those that a set has.
    pub(crate) fn add_to(self, rules: &mut RuleSet) {
        match self.documents {
            Documents::Parsers(list) => rules.parsers.extend(list),
            Documents::Postoverflows(list) => rules.postoverflows.extend(list),
            Documents::Scenarios(list) => {
                rules.origins.insert(self.path, self.origin);
                rules.scenarios.extend(list);
            }
            Documents::Contexts(list) => {
                for context in list {
                    merge(&mut rules.context, context);
                }
            }
        }
    }
}

/// Adds the expressions of a context, each once for a name.
fn merge(into: &mut Context, context: Context) {
    for (name, expressions) in context.fields {
        let known = into.fields.entry(name).or_default();
        for expression in expressions {
            if !known.iter().any(|other| other.text == expression.text) {
                known.push(expression);
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Does a piece of work for each item on all cores; results in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    if workers <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<BTreeMap<usize, R>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests;
