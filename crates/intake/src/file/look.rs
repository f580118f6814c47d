//! What a scan sees: the files that the patterns match, and those beside them, each looked at once.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    content::{self, Id, Opened, Stat},
    folder::{Folder, Kin},
    trail::Trail,
};
/// A compressed file that is not complete is taken for one that is still being written if it
/// changed within this time.
const SETTLED_NANOS: i64 = 5_000_000_000;

/// Heads of files that are kept between scans.
const MAX_HEADS: usize = 10_000;

/// How often something is looked at again that moved while it was looked at. Rotations take turns, and end.
const TRIES: usize = 8;

/// The first bytes of files, read once for each change.
#[derive(Default)]
pub(super) struct Heads {
    known: HashMap<Id, (u64, i64, Vec<u8>)>,
}

impl Heads {
    /// The first bytes of a file. Nothing: its path leads elsewhere by now.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn of(&mut self, file: &Beside) -> io::Result<Option<&[u8]>> {
        let Beside { path, stat } = file;
        let is_known = self
            .known
            .get(&stat.id)
            .is_some_and(|(size, modified, _)| (*size, *modified) == (stat.size, stat.modified));
        if !is_known {
            if self.known.len() >= MAX_HEADS {
                self.known.clear();
            }
            let Some(opened) = Opened::at(path, stat.id)? else { return Ok(None) };
            self.known.insert(stat.id, (opened.stat.size, opened.stat.modified, opened.head));
        }
        Ok(self.known.get(&stat.id).map(|(_, _, head)| head.as_slice()))
    }
}

/// What is there now.
#[derive(Default)]
pub(super) struct Look {
    /// The files that the patterns match.
    pub(super) matched: BTreeMap<PathBuf, Stat>,
    by_id: HashMap<Id, PathBuf>,
    pub(super) folders: Folders,
    /// A path led elsewhere when it was opened.
    moved: bool,
}

/// What is in the folders of logs, as long as nothing comes, goes or is renamed there.
pub(super) type Folders = HashMap<PathBuf, Folder>;

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
        self.stat.modified > content::now_nanos() - SETTLED_NANOS
            && content::is_torn(&self.path, self.stat.id)
    }
}

impl Look {
    /// What is beside the logs, with what is known of their folders.
    pub(super) fn with(folders: Folders) -> Self {
        Look { folders, ..Look::default() }
    }

    /// Adds a file that a pattern matches.
    pub(super) fn add(&mut self, path: PathBuf, stat: Stat) {
        self.by_id.entry(stat.id).or_insert_with(|| path.clone());
        self.matched.insert(path, stat);
    }

    /// A matched file by its identity.
    pub(super) fn matched_by_id(&self, id: Id) -> Option<(&PathBuf, &Stat)> {
        self.matched.get_key_value(self.by_id.get(&id)?)
    }

    /// A file was not found where it was seen.
    pub(super) fn has_moved(&mut self, id: Id) {
        self.moved = true;
        self.by_id.remove(&id);
    }

    /// The answer to a question about what is there, asked again if something moved meanwhile.
    pub(super) fn settled<T>(&mut self, mut ask: impl FnMut(&mut Look) -> T) -> T {
        for _ in 1..TRIES {
            self.moved = false;
            let answer = ask(self);
            if !self.moved {
                return answer;
            }
            self.folders.clear();
        }
        ask(self)
    }

    /// The regular files beside a log that are its kin, or that `wanted` names.
    pub(super) fn beside(&mut self, trail: &Trail, kin: Kin, wanted: Option<&Path>) -> Vec<Beside> {
        let mut found: Vec<Beside> = Vec::new();
        for folder in trail.directories() {
            let files = self.in_folder(&folder, |folder| {
                let paths = folder.kin(trail, kin).into_iter();
                let is_kin = |path: &&Path| match kin {
                    Kin::Rotations => trail.is_rotation(path),
                    Kin::Copies => trail.is_copy(path),
                };
                paths.filter(|path| is_kin(path) || wanted == Some(path)).filter_map(Beside::of).collect()
            });
            for file in files {
                if !found.iter().any(|other| other.stat.id == file.stat.id) {
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
        let find = |folder: &mut Folder| {
            let file = folder.find(id).and_then(Beside::of).filter(|file| file.stat.id == id);
            file.into_iter().collect()
        };
        let mut folders = trail.directories().into_iter();
        folders.find_map(|folder| self.in_folder(&folder, find).pop())
    }

    /// What is in a folder all at the same time: what is renamed while names are read may be seen twice or not at all.
    fn in_folder(&mut self, path: &Path, look: impl Fn(&mut Folder) -> Vec<Beside>) -> Vec<Beside> {
        let mut before = None;
        for _ in 1..TRIES {
            let folder = self.folders.entry(path.to_owned()).or_insert_with_key(|path| Folder::new(path));
            let found = look(folder);
            if folder.is_as_it_was() {
                return found;
            }
            self.folders.remove(path);
            let ids = Some(found.iter().map(|file| (file.path.clone(), file.stat.id)).collect::<Vec<_>>());
            if before == ids {
                return found;
            }
            before = ids;
        }
        look(&mut Folder::new(path))
    }
}
