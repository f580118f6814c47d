//! What a scan sees: the files that the patterns match, and those beside them, each looked at once.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    content::{self, Id, Stat},
    folder::{Folder, Kin},
    trail::Trail,
};
use crate::position::Head;

/// A compressed file that is not complete is taken for one that is still being written if it
/// changed within this time.
const SETTLED_NANOS: i64 = 5_000_000_000;

/// Heads of files that are kept between scans.
const MAX_HEADS: usize = 10_000;

/// The first bytes of files, read once for each change.
#[derive(Default)]
pub(super) struct Heads {
    known: HashMap<Id, (u64, i64, Vec<u8>)>,
}

impl Heads {
    /// The first bytes of a file.
    pub(super) fn of(&mut self, path: &Path, stat: &Stat) -> io::Result<&[u8]> {
        let is_known = self
            .known
            .get(&stat.id)
            .is_some_and(|(size, modified, _)| (*size, *modified) == (stat.size, stat.modified));
        if !is_known {
            if self.known.len() >= MAX_HEADS {
                self.known.clear();
            }
            let head = content::head_bytes(path)?;
            self.known.insert(stat.id, (stat.size, stat.modified, head));
        }
        Ok(self.known.get(&stat.id).map_or(&[], |(_, _, head)| head))
    }

    /// Whether a file begins with what a mark says.
    pub(super) fn fits(&mut self, path: &Path, stat: &Stat, mark: Head) -> bool {
        self.of(path, stat).is_ok_and(|head| content::begins_with(head, mark))
    }
}

/// What is there now.
#[derive(Default)]
pub(super) struct Look {
    /// The files that the patterns match.
    pub(super) matched: BTreeMap<PathBuf, Stat>,
    by_id: HashMap<Id, PathBuf>,
    folders: HashMap<PathBuf, Folder>,
}

/// A file beside a log.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
}

impl Beside {
    /// A regular file. Links lead to files that are looked at by their own name.
    fn of(path: &Path) -> Option<Self> {
        let stat = Stat::new(&fs::symlink_metadata(path).ok()?);
        stat.is_file.then(|| Beside { path: path.to_owned(), stat })
    }

    /// Whether it is a compressed file that is still being written.
    pub(super) fn is_unsettled(&self) -> bool {
        self.stat.modified > content::now_nanos() - SETTLED_NANOS && !content::is_whole(&self.path)
    }
}

impl Look {
    /// Adds a file that a pattern matches.
    pub(super) fn add(&mut self, path: PathBuf, stat: Stat) {
        self.by_id.entry(stat.id).or_insert_with(|| path.clone());
        self.matched.insert(path, stat);
    }

    /// A matched file by its identity.
    pub(super) fn matched_by_id(&self, id: Id) -> Option<(&PathBuf, &Stat)> {
        self.matched.get_key_value(self.by_id.get(&id)?)
    }

    /// Looks again into folders that were looked into before some time, when they are asked about.
    pub(super) fn forget_before(&mut self, nanos: i64) {
        self.folders.retain(|_, folder| folder.at > nanos);
    }

    fn folder(&mut self, folder: PathBuf) -> &mut Folder {
        self.folders.entry(folder).or_insert_with_key(|folder| Folder::new(folder))
    }

    /// The regular files beside a log that are its kin, or that `wanted` names.
    pub(super) fn beside(&mut self, trail: &Trail, kin: Kin, wanted: Option<&Path>) -> Vec<Beside> {
        let mut found: Vec<Beside> = Vec::new();
        for folder in trail.directories() {
            for path in self.folder(folder).kin(trail, kin) {
                let is_kin = match kin {
                    Kin::Rotations => trail.is_rotation(path),
                    Kin::Copies => trail.is_copy(path),
                };
                if !is_kin && wanted != Some(path) {
                    continue;
                }
                if let Some(file) = Beside::of(path)
                    && !found.iter().any(|other| other.stat.id == file.stat.id)
                {
                    found.push(file);
                }
            }
        }
        found
    }

    /// Where the file with this identity is now, among the matched ones and those beside a log.
    pub(super) fn find(&mut self, trail: &Trail, id: Id) -> Option<Beside> {
        if let Some((path, stat)) = self.matched_by_id(id) {
            return Some(Beside { path: path.clone(), stat: *stat });
        }
        let mut folders = trail.directories().into_iter();
        folders
            .find_map(|folder| self.folder(folder).find(id).and_then(Beside::of))
            .filter(|file| file.stat.id == id)
    }
}
