//! What of a hub is installed on a machine, and changing that.
//!
//! An installation has the layout of the ecosystem: the hub's files lie below the folder of the hub, and those in use are
//! links below the folder of the configuration. A file in the place of a link is the user's own, and stays. A [`Plan`]
//! says what is to be done; [`Installation::carry_out`] does it: what was fetched is checked before anything changes.

mod carry_out;
mod error;
mod plan;
mod removed;
mod source;
#[cfg(test)]
mod tests;
mod twice;

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

pub use carry_out::{Carried, Problem, fetch};
pub use error::InstallError;
pub use plan::{Named, Note, Plan, Remove, Step, Upgrade};
pub use source::{FolderSource, Source, SourceError};

use crate::{Hub, HubError, Item, ItemKind, embedded};

/// Largest item that is read: a hundred times the largest public one.
pub const ITEM_MOST: u64 = 4 << 20;

/// Largest data file that is taken: four times the largest public one.
pub const DATA_MOST: u64 = 128 << 20;

pub use crate::index::MAX_INDEX_BYTES as INDEX_MOST;

/// The folders of an installation.
#[derive(Clone, Debug)]
pub struct Installation {
    config: PathBuf,
    hub: PathBuf,
    data: PathBuf,
}

/// Where fetched versions are kept, below the folder of the hub.
const ORIGINALS: &str = ".originals";

/// What is locked while an installation is changed, below the folder of the hub.
const LOCK: &str = ".lock";

/// A lock of an installation; the system takes it away when the process ends, however it does.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The files of an item that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Where the file on this machine is, or would be.
    pub path: PathBuf,
    /// What is in it.
    pub local: Option<Vec<u8>>,
    /// The version from which it came, if that is known.
    pub original: Option<(String, Vec<u8>)>,
    /// The latest version, if it is here.
    pub latest: Option<Vec<u8>>,
}

/// What is there of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// Nothing.
    Nothing,
    /// The file of a version.
    Version(String),
    /// A file that is none of the hub's versions: somebody changed it.
    Changed,
}

/// How an item stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it is in use.
    pub is_enabled: bool,
    /// Whether a file of the user's own is in its place.
    pub is_own: bool,
    /// What is there of it: in use, else below the folder of the hub.
    pub local: Local,
}

impl Status {
    /// Whether it is in use in its latest version.
    pub fn is_current(&self, item: &Item) -> bool {
        self.is_enabled && matches!(&self.local, Local::Version(version) if *version == item.version)
    }

    /// Whether there is a later version of what is there.
    pub fn is_outdated(&self, item: &Item) -> bool {
        matches!(&self.local, Local::Version(version) if *version != item.version)
    }
}

impl Installation {
    /// The installation in these folders: of the configuration, of the hub, of data files.
    pub fn new(config: impl Into<PathBuf>, hub: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Installation { config: config.into(), hub: hub.into(), data: data.into() }
    }

    /// Keeps others from changing the installation until what is given is dropped. Where somebody else does so already,
    /// `waiting` is told, and his end is waited for.
    ///
    /// # Errors
    /// The folder of the hub cannot be written to.
    pub fn lock(&self, waiting: impl FnOnce()) -> Result<Lock, InstallError> {
        carry_out::make_folder(&self.hub)?;
        let path = self.hub.join(LOCK);
        let mut options = File::options();
        options.create(true).write(true).truncate(false);
        // Whoever can open it can hold it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock()
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
        .map_err(failed(&path))?;
        Ok(Lock { _file: file })
    }

    /// Where an item is when it is in use: under the name of its file; with its author's before that, where an item of
    /// another author has the name.
    pub fn place(&self, item: &Item) -> PathBuf {
        let folder = self.config.join(item.kind.folder());
        let folder = if item.kind.has_stages() { folder.join(&item.stage) } else { folder };
        let usual = folder.join(item.file_name());
        let with_author = folder.join(format!("{}-{}", item.author(), item.file_name()));
        // An item may have moved in the hub, but not to another author.
        let is_anothers = |target: &Path| {
            let below = target.strip_prefix(&self.hub).unwrap_or(target);
            *target != *self.copy(item) && !below.iter().any(|part| part == item.author())
        };
        let is_there = self.target(&with_author).is_some_and(|target| !is_anothers(&target));
        let is_taken = self.target(&usual).is_some_and(|target| is_anothers(&target));
        if is_there || is_taken { with_author } else { usual }
    }

    /// Where a link leads, if that is below the folder of the hub.
    fn target(&self, place: &Path) -> Option<PathBuf> {
        let target = fs::read_link(place).ok()?;
        let below =
            target.strip_prefix(absolute(&self.hub)).or_else(|_| target.strip_prefix(&self.hub)).ok()?;
        Some(self.hub.join(below))
    }

    /// Where the hub's file of an item is.
    fn copy(&self, item: &Item) -> PathBuf {
        self.hub.join(&item.path)
    }

    /// Where the version of an item is kept that was last fetched, whatever becomes of the file in use.
    fn original(&self, item: &Item) -> PathBuf {
        self.hub.join(ORIGINALS).join(&item.path)
    }

    /// The files of an item that can be compared.
    pub fn texts(&self, item: &Item) -> Texts {
        let read = |path: &Path| crate::files::read(path, ITEM_MOST).ok();
        let original = read(&self.original(item)).and_then(|bytes| {
            let version = item.version_of(&digest(&bytes))?.to_owned();
            Some((version, bytes))
        });
        let latest = item.content.clone().filter(|bytes| item.digest() == Some(&digest(bytes)));
        let latest = latest.or_else(|| {
            let copy = original.as_ref().filter(|(version, _)| *version == item.version);
            copy.map(|(_, bytes)| bytes.clone())
        });
        let place = self.place(item);
        let path = if place.exists() { place } else { self.copy(item) };
        Texts { local: read(&path), path, original, latest }
    }

    /// Notes which of a hub's items a program has carried.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn note_embedded(&self, hub: &Hub) -> Result<(), InstallError> {
        let items: Vec<&Item> = hub.embedded().collect();
        if items.is_empty() {
            return Ok(());
        }
        carry_out::write(&embedded::note_path(&self.hub), &embedded::note(&items))
    }

    /// How an item stands.
    pub fn status(&self, item: &Item) -> Status {
        let place = self.place(item);
        // What is no file, or larger than any item, is the user's own; a pipe would be waited for.
        let is_other = |path: &Path| fs::metadata(path).is_ok_and(|is| !is.is_file() || is.len() > ITEM_MOST);
        let read = |path: &Path| match crate::files::read(path, ITEM_MOST) {
            Ok(bytes) => Some(Some(bytes)),
            Err(_) => is_other(path).then_some(None),
        };
        let (found, is_enabled) = match read(&place) {
            Some(found) => (Some(found), true),
            None => (read(&self.copy(item)), false),
        };
        // A link into the folder of the hub is the hub's, even if the item has moved since.
        let is_of_hub = self.target(&place).is_some();
        let version = |bytes: Vec<u8>| item.version_of(&digest(&bytes)).map(str::to_owned);
        let local = match found.map(|bytes| bytes.and_then(version)) {
            None => Local::Nothing,
            Some(None) => Local::Changed,
            Some(Some(version)) => Local::Version(version),
        };
        // Packages of distributions install files in the place of links: one that is the hub's is not the user's own.
        let is_own = is_enabled && !is_of_hub && local == Local::Changed;
        Status { is_enabled, is_own, local }
    }

    /// Takes a new index; returns the hub that it tells of.
    ///
    /// # Errors
    /// It is none, it tells of older versions than the present one (unless that is wanted), or it cannot be written. The
    /// present one stays.
    pub fn update(&self, index: &[u8], go_back: bool) -> Result<Hub, InstallError> {
        let new = Hub::read(index, &self.hub, Path::new("the new index"))?;
        if !go_back && ItemKind::ALL.iter().all(|kind| new.items(*kind).next().is_none()) {
            return Err(InstallError::EmptyIndex);
        }
        if !go_back && let Ok(old) = Hub::open(&self.hub) {
            let older: Vec<String> = old.older_in(&new).map(|item| item.name.clone()).collect();
            if let [first, ..] = older.as_slice() {
                return Err(InstallError::OlderIndex { count: older.len(), first: first.clone() });
            }
        }
        carry_out::write(&Hub::index_path(&self.hub), index)?;
        Ok(new)
    }

    /// The hub that the installation knows, with items that this program carries.
    ///
    /// # Errors
    /// There is an index, and it is none.
    pub fn hub_with(&self, carried: &[Item]) -> Result<Hub, HubError> {
        let known = if Hub::is_at(&self.hub) { Hub::open(&self.hub)? } else { Hub::nothing(&self.hub) };
        Ok(known.with_embedded(carried))
    }

    /// The hub that the installation knows.
    ///
    /// # Errors
    /// There is no index, or it is none.
    pub fn hub(&self) -> Result<Hub, HubError> {
        Hub::open(&self.hub)
    }
}

/// A path from the root, where the system tells it.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The SHA-256 of a file, in hex.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An error about a path.
fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> InstallError {
    let path = path.to_owned();
    |source| InstallError::Io { path, source }
}
