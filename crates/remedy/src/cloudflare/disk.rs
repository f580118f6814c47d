//! What outlives the process: what is known of Cloudflare, and the saved security levels.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use testudo_cloudflare::{Budget, ListState, Record, StoreState, ZoneState};

/// What is on the disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{path}: {problem}")]
    Broken {
        /// Where.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Another one is at work there.
    #[error(
        "{path} is in use: `testudo cloudflare run` is at work; stop it first, it puts levels back when it ends"
    )]
    Taken {
        /// Where.
        path: PathBuf,
    },
}

/// What is known of an account.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Of which account and at which address: what is known of another one is worth nothing.
    pub(super) account: String,
    pub(super) url: String,
    pub(super) lists: BTreeMap<String, ListState>,
    pub(super) zones: BTreeMap<String, ZoneState>,
    pub(super) namespace: String,
    pub(super) kv: StoreState,
    pub(super) budget: Budget,
    /// Networks for which there was no room, by list.
    pub(super) left_out: BTreeMap<String, usize>,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Makes the folder if it is not there.
    pub(super) fn open(folder: &Path) -> Result<Self, DiskError> {
        let levels = folder.join("levels");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&levels)
            .map_err(|source| DiskError::Io { path: levels.clone(), source })?;
        Ok(Disk { folder: folder.to_owned() })
    }

    /// Nobody else is at work there as long as the file is open.
    pub(super) fn lock(&self) -> Result<File, DiskError> {
        let path = self.folder.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|source| DiskError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(DiskError::Taken { path: self.folder.clone() }),
            Err(TryLockError::Error(source)) if source.kind() != io::ErrorKind::Unsupported => {
                Err(DiskError::Io { path, source })
            }
            _ => Ok(file),
        }
    }

    fn state_path(&self) -> PathBuf {
        self.folder.join("state.json")
    }

    /// What was known last; nothing where that cannot be read: everything is read from Cloudflare, then.
    pub(super) fn state(&self) -> State {
        let path = self.state_path();
        let read = fs::read(&path).map_err(|error| (error.kind(), error.to_string()));
        match read {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, path = %path.display(), "what was known is unreadable; Cloudflare is asked");
                State::default()
            }),
            Err((io::ErrorKind::NotFound, _)) => State::default(),
            Err((_, error)) => {
                tracing::warn!(%error, path = %path.display(), "what was known is unreadable; Cloudflare is asked");
                State::default()
            }
        }
    }

    pub(super) fn save(&self, state: &State) -> io::Result<()> {
        write(&self.state_path(), &serde_json::to_vec(state)?)
    }

    fn level_path(&self, zone: &str) -> PathBuf {
        self.folder.join("levels").join(format!("{zone}.json"))
    }

    /// Writes a saved level down, durably.
    pub(super) fn keep_level(&self, zone: &str, record: &Record) -> io::Result<()> {
        write(&self.level_path(zone), &serde_json::to_vec(record)?)
    }

    /// The level is back.
    pub(super) fn forget_level(&self, zone: &str) -> io::Result<()> {
        gone(&self.level_path(zone))
    }

    /// The levels that are to come back, by zone; and the files that cannot be read, which keep no other from that.
    pub(super) fn levels(&self) -> Result<(BTreeMap<String, Record>, Vec<DiskError>), DiskError> {
        let folder = self.folder.join("levels");
        let failed = |path: &Path, source| DiskError::Io { path: path.to_owned(), source };
        let mut levels = BTreeMap::new();
        let mut broken = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|source| failed(&folder, source))? {
            let path = entry.map_err(|source| failed(&folder, source))?.path();
            let zone = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
            let Some(zone) = zone.filter(|zone| zone.bytes().all(|byte| byte.is_ascii_alphanumeric())) else {
                continue;
            };
            let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
            match read {
                Ok(record) => drop(levels.insert(zone.to_owned(), record)),
                // It was put back meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let problem = format!(
                        "{error}: look at the security level of the zone {zone} yourself, then remove this file"
                    );
                    broken.push(DiskError::Broken { path, problem });
                }
            }
        }
        Ok((levels, broken))
    }
}

/// Replaces a file: it is the old one or the new one, whatever happens.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

/// Removes a file, if it is there.
fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_folder(path),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_outlive_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(&folder.path().join("below")).expect("it is made");
        let record = Record { saved: "medium".to_owned(), raised: "under_attack".to_owned() };
        disk.keep_level("0a", &record).expect("it is written");
        disk.keep_level("0b", &record).expect("it is written");
        disk.forget_level("0b").expect("it is removed");
        disk.forget_level("0b").expect("nothing is no mistake");
        let (known, broken) = disk.levels().expect("they are read");
        assert_eq!(known.into_iter().collect::<Vec<_>>(), [("0a".to_owned(), record)]);
        assert!(broken.is_empty());
        // What broke off while it was written is not taken for a level.
        fs::write(folder.path().join("below/levels/0c.new"), "{").expect("it is written");
        let (known, broken) = disk.levels().expect("they are read");
        assert_eq!((known.len(), broken.len()), (1, 0));
        fs::write(folder.path().join("below/levels/0c.json"), "{").expect("it is written");
        fs::create_dir(folder.path().join("below/levels/00.json")).expect("it is made");
        let (known, broken) = disk.levels().expect("the others are read");
        assert_eq!((known.len(), broken.len()), (1, 2));
        let told = broken.iter().map(ToString::to_string).find(|told| told.contains("0c.json"));
        let told = told.expect("it is named");
        assert!(told.contains("0c.json") && told.contains("look at the security level"), "{told}");
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it is there");
        let held = disk.lock().expect("it is free");
        assert!(matches!(disk.lock(), Err(DiskError::Taken { .. })));
        drop(held);
        assert!(disk.lock().is_ok());
    }

    #[test]
    fn a_broken_state_is_as_good_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("it is there");
        let state = State { account: "a".to_owned(), ..State::default() };
        disk.save(&state).expect("it is written");
        assert_eq!(disk.state().account, "a");
        fs::write(disk.state_path(), "{\"account\":\"a").expect("it is written");
        assert_eq!(disk.state().account, "");
    }
}
