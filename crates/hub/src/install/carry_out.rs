//! Doing what a plan says.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testudo_rules::plan::{DataFile, ParserNode};
use testudo_rules::{
    Diagnostic, Severity, SourceFile, load_context, load_parsers, load_postoverflows, load_scenarios,
};

use super::removed::Removed;
use super::{DATA_MOST, InstallError, Installation, Named, Plan, Source, Step, absolute, digest, failed};
use crate::{Hub, Item, ItemKind, files};

/// What a plan led to.
#[derive(Debug, Default)]
pub struct Carried {
    /// The steps that were done.
    pub steps: Vec<Step>,
    /// Data files that were fetched.
    pub data: Vec<String>,
    /// What was not done, and why; the rest was.
    pub problems: Vec<Problem>,
}

/// Something that was not done.
#[derive(Debug)]
pub enum Problem {
    /// A new version does not load here: what was there stays.
    Unusable {
        /// The item.
        item: Named,
        /// The version that does not load.
        version: String,
        /// The version that stays; nothing where there was none.
        stays: Option<String>,
        /// The first thing that is wrong with it.
        reason: String,
    },
    /// A data file cannot be had: rules that need it find nothing in it.
    Data {
        /// The item that needs it.
        item: Named,
        /// Its name in the folder of data.
        file: String,
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Unusable { item, version, stays, reason } => {
                write!(f, "version {version} of {item} cannot be used here: {reason}; ")?;
                match stays {
                    Some(stays) => write!(f, "version {stays} stays"),
                    None => f.write_str("it is not installed"),
                }
            }
            Problem::Data { item, file, reason } => {
                write!(f, "{item} needs the data file {file}: {reason}")
            }
        }
    }
}

/// What was fetched of an item.
struct Fetched {
    item: Item,
    bytes: Vec<u8>,
}

impl Installation {
    /// Does what a plan says. First everything is fetched and checked, then files are written, then links are made.
    ///
    /// # Errors
    /// Something cannot be fetched or is not what the index says: nothing was changed then. A file cannot be written:
    /// what was done before that stays, and doing the plan again goes on from there.
    pub fn carry_out(&self, hub: &Hub, plan: &Plan, source: &dyn Source) -> Result<Carried, InstallError> {
        let mut carried = Carried::default();
        let mut fetched = Vec::new();
        let mut unusable: Vec<Named> = Vec::new();
        for step in &plan.steps {
            let Step::Download { item: named, from, to } = step else { continue };
            let item = hub.require(named.kind, &named.name)?;
            let bytes = fetch(item, source)?;
            match usable(item, &bytes) {
                Ok(()) => fetched.push(Fetched { item: item.clone(), bytes }),
                Err(reason) => {
                    unusable.push(named.clone());
                    let (version, stays) = (to.clone(), from.clone());
                    carried.problems.push(Problem::Unusable { item: named.clone(), version, stays, reason });
                }
            }
        }
        for step in &plan.steps {
            let item = hub.require(step.item().kind, &step.item().name)?;
            if unusable.contains(step.item()) && matches!(step, Step::Download { .. } | Step::Enable(_)) {
                continue;
            }
            match step {
                Step::Download { .. } => {
                    let Some(found) = fetched.iter().find(|found| found.item == *item) else { continue };
                    // In this order: whoever is stopped in between does the step again.
                    write(&self.original(item), &found.bytes)?;
                    write(&self.copy(item), &found.bytes)?;
                    // A package may have installed a file in the place of a link; the item may have moved in the hub.
                    let place = self.place(item);
                    let is_linked =
                        fs::read_link(&place).is_ok_and(|target| target == absolute(&self.copy(item)));
                    if !is_linked && fs::symlink_metadata(&place).is_ok() {
                        self.link(item)?;
                    }
                }
                Step::Enable(_) => self.link(item)?,
                Step::Disable(_) => remove(&self.place(item))?,
                Step::Purge(_) => {
                    remove(&self.copy(item))?;
                    remove(&self.original(item))?;
                }
            }
            carried.steps.push(step.clone());
        }
        Removed::read(&self.hub).note(self, hub, &carried.steps)?;
        self.fetch_data(hub, source, &mut carried)?;
        Ok(carried)
    }

    /// Puts the hub's file of an item into use.
    fn link(&self, item: &Item) -> Result<(), InstallError> {
        let place = self.place(item);
        make_folder(place.parent().unwrap_or(&self.config))?;
        let new = place.with_extension("new-link");
        remove(&new)?;
        link(&absolute(&self.copy(item)), &new).map_err(failed(&new))?;
        fs::rename(&new, &place).map_err(failed(&place))
    }

    /// Fetches the data files of what was put into use or replaced, where they are not there.
    fn fetch_data(&self, hub: &Hub, source: &dyn Source, carried: &mut Carried) -> Result<(), InstallError> {
        let comes = |step: &&Step| matches!(step, Step::Download { .. } | Step::Enable(_));
        let mut changed: Vec<Named> =
            carried.steps.iter().filter(comes).map(|step| step.item().clone()).collect();
        changed.sort();
        changed.dedup();
        for named in changed {
            let item = hub.require(named.kind, &named.name)?;
            for file in self.data_of(item) {
                if !self.data.join(&*file.dest_file).exists() {
                    self.fetch_one(item, &file, source, carried)?;
                }
            }
        }
        Ok(())
    }

    /// Fetches data files of items in use anew that are older than that. One that has shrunk to less than half is kept:
    /// whoever publishes it has lost it, more likely than not.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn refresh_data(
        &self,
        hub: &Hub,
        source: &dyn Source,
        older: Duration,
    ) -> Result<Carried, InstallError> {
        let mut carried = Carried::default();
        let all = ItemKind::ALL.into_iter().flat_map(|kind| hub.items(kind));
        for item in all.filter(|item| self.status(item).is_enabled) {
            for file in self.data_of(item) {
                let modified =
                    fs::metadata(self.data.join(&*file.dest_file)).and_then(|known| known.modified());
                let age = modified.ok().and_then(|at| at.elapsed().ok());
                if age.is_none_or(|age| age > older) {
                    self.fetch_one(item, &file, source, &mut carried)?;
                }
            }
        }
        Ok(carried)
    }

    /// The data files that an item in use names, and that can be fetched.
    fn data_of(&self, item: &Item) -> Vec<DataFile> {
        if !self.status(item).is_enabled {
            return Vec::new();
        }
        let bytes = files::read(&self.place(item), super::ITEM_MOST);
        let mut files = bytes.map(|bytes| data_files(item, &bytes)).unwrap_or_default();
        files.retain(|file| !file.source_url.is_empty());
        files
    }

    fn fetch_one(
        &self,
        item: &Item,
        file: &DataFile,
        source: &dyn Source,
        carried: &mut Carried,
    ) -> Result<(), InstallError> {
        let name = file.dest_file.to_string();
        let is_known = |problem: &Problem| matches!(problem, Problem::Data { file, .. } if *file == name);
        // Several items share most files.
        if carried.data.contains(&name) || carried.problems.iter().any(is_known) {
            return Ok(());
        }
        let problem = |reason: String| Problem::Data { item: item.into(), file: name.clone(), reason };
        if !files::is_safe(&name) {
            carried.problems.push(problem("its name leads out of the folder of data".to_owned()));
            return Ok(());
        }
        if is_state(&name) {
            carried.problems.push(problem("it has the name of a file of the daemon".to_owned()));
            return Ok(());
        }
        let path = self.data.join(&name);
        let before = fs::metadata(&path).map_or(0, |known| known.len());
        match source.data(file) {
            Ok(bytes) if bytes.len() as u64 > DATA_MOST => {
                carried.problems.push(problem(format!("it is larger than {DATA_MOST} bytes")));
            }
            Ok(bytes) if (bytes.len() as u64) < before / 2 => {
                let now = bytes.len();
                let reason =
                    format!("it has shrunk from {before} to {now} bytes; the one that is there stays");
                carried.problems.push(problem(reason));
            }
            Ok(bytes) => {
                write(&path, &bytes)?;
                carried.data.push(name);
            }
            Err(error) => carried.problems.push(problem(error.to_string())),
        }
        Ok(())
    }
}

/// Whether a name in the folder of data is one that the daemon, its database or its programs use: no rule brings such a
/// file.
fn is_state(name: &str) -> bool {
    const ENDS: [&str; 10] =
        [".db", "-wal", "-shm", "-journal", ".state", ".clients", ".sock", ".lock", ".jsonl", ".snapshot"];
    let name = files::base_name(name).to_ascii_lowercase();
    name == "credentials.yaml" || name.starts_with("testudo.") || ENDS.iter().any(|end| name.ends_with(end))
}

/// The file of the latest version of an item, which is what the index says.
///
/// # Errors
/// It cannot be had, or is another one than the index says.
pub fn fetch(item: &Item, source: &dyn Source) -> Result<Vec<u8>, InstallError> {
    let (kind, name) = (item.kind, item.name.clone());
    let expected = item.digest().unwrap_or_default().to_ascii_lowercase();
    // Most indexes carry the files: what is in there need not be asked for.
    if let Some(bytes) = item.content.as_deref()
        && digest(bytes) == expected
    {
        return Ok(bytes.to_vec());
    }
    let bytes =
        source.item(&item.path).map_err(|source| InstallError::Fetch { kind, name: name.clone(), source })?;
    let found = digest(&bytes);
    if found == expected { Ok(bytes) } else { Err(InstallError::Digest { kind, name, expected, found }) }
}

/// What the file of an item holds.
struct Loaded {
    documents: usize,
    diagnostics: Vec<Diagnostic>,
    data: Vec<DataFile>,
}

/// Loads the file of an item, if it is of a type that the engine runs.
fn load(item: &Item, bytes: &[u8]) -> Option<Result<Loaded, String>> {
    let text = match String::from_utf8(bytes.to_vec()) {
        Ok(text) => text,
        Err(error) => return Some(Err(format!("it is no text: {error}"))),
    };
    let file = Arc::new(SourceFile { path: item.path.clone(), text });
    let (documents, diagnostics, data) = match item.kind {
        ItemKind::Parser | ItemKind::Postoverflow => {
            let load = if item.kind == ItemKind::Parser { load_parsers } else { load_postoverflows };
            let loaded = load(file, &item.stage);
            let mut data = Vec::new();
            loaded.items.iter().for_each(|parser| node_data(&parser.node, &mut data));
            (loaded.items.len(), loaded.diagnostics, data)
        }
        ItemKind::Scenario => {
            let loaded = load_scenarios(file);
            let data = loaded.items.iter().flat_map(|scenario| scenario.data.iter().cloned()).collect();
            (loaded.items.len(), loaded.diagnostics, data)
        }
        ItemKind::Context => {
            let loaded = load_context(file, true);
            (loaded.items.len(), loaded.diagnostics, Vec::new())
        }
        ItemKind::AppsecConfig | ItemKind::AppsecRule | ItemKind::Collection => return None,
    };
    Some(Ok(Loaded { documents, diagnostics, data }))
}

fn node_data(node: &ParserNode, data: &mut Vec<DataFile>) {
    data.extend(node.data.iter().cloned());
    node.nodes.iter().for_each(|child| node_data(child, data));
}

fn data_files(item: &Item, bytes: &[u8]) -> Vec<DataFile> {
    match load(item, bytes) {
        Some(Ok(loaded)) => loaded.data,
        _ => Vec::new(),
    }
}

/// Whether this program can run the file of an item.
fn usable(item: &Item, bytes: &[u8]) -> Result<(), String> {
    let Some(loaded) = load(item, bytes).transpose()? else { return Ok(()) };
    let error = loaded.diagnostics.iter().find(|found| found.severity == Severity::Error);
    match error {
        Some(error) => Err(error.message.clone()),
        None if loaded.documents == 0 => Err("there is no rule in it".to_owned()),
        None => Ok(()),
    }
}

/// Writes a file so that it is there whole or not at all; nobody but its owner may write to it, whatever the umask.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    // Left by a run that was killed, or a link of somebody who may write to the folder, too.
    remove(&new)?;
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    let mut file = options.open(&new).map_err(failed(&new))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed(&new));
    let written = written.and_then(|()| fs::rename(&new, path).map_err(failed(path)));
    if written.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&new);
    }
    written
}

/// Makes a folder, and those above it.
pub(super) fn make_folder(folder: &Path) -> Result<(), InstallError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    builder.create(folder).map_err(failed(folder))
}

fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn link(target: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

/// Where links need rights that few have, a copy does.
#[cfg(not(unix))]
fn link(target: &Path, place: &Path) -> std::io::Result<()> {
    fs::copy(target, place).map(drop)
}
