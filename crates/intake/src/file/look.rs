//! What scans and turns see: the files that the patterns match, and those beside them.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    content::{self, Id, Opened, Stat},
    folder::{Folder, Kin, TRIES},
    trail::Trail,
};
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
    /// What was there at this time, in nanoseconds after 1970, is enough; nothing stands for the present.
    as_of: Option<i64>,
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

    /// From now on, what was there at this time is enough; with nothing, only the present is.
    pub(super) fn as_of(&mut self, nanos: Option<i64>) {
        self.as_of = nanos;
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
            let files = self.in_folder(&folder, |folder, is_strict| {
                let entries = folder.kin(trail, kin).into_iter();
                let is_kin = |path: &Path| match kin {
                    Kin::Rotations => trail.is_rotation(path),
                    Kin::Copies => trail.is_copy(path),
                };
                let mut files = Vec::new();
                for entry in entries.filter(|entry| is_kin(&entry.path) || wanted == Some(&*entry.path)) {
                    let stat = fs::symlink_metadata(&entry.path).ok().map(|metadata| Stat::new(&metadata));
                    if is_strict && !stat.is_some_and(|stat| entry.is_still(&stat)) {
                        return None;
                    }
                    let file = stat.filter(|stat| stat.is_file);
                    files.extend(file.map(|stat| Beside { path: entry.path.clone(), stat }));
                }
                Some(files)
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
        let find = |folder: &mut Folder, is_strict: bool| {
            let path = folder.find(id);
            let file = path.and_then(Beside::of).filter(|file| file.stat.id == id);
            (file.is_some() || path.is_none() || !is_strict).then(|| file.into_iter().collect())
        };
        let mut folders = trail.directories().into_iter();
        folders.find_map(|folder| self.in_folder(&folder, find).pop())
    }

    /// What is in a folder all at the same time. Whoever looks is told whether the folder was looked into before: then
    /// the answer is nothing where a name leads elsewhere than it did.
    fn in_folder(
        &mut self,
        path: &Path,
        look: impl Fn(&mut Folder, bool) -> Option<Vec<Beside>>,
    ) -> Vec<Beside> {
        let as_of = self.as_of;
        let is_good =
            |folder: &Folder| as_of.is_some_and(|nanos| folder.is_after(nanos)) || folder.is_as_it_was();
        if let Some(folder) = self.folders.get_mut(path).filter(|folder| is_good(folder))
            && let Some(found) = look(folder, true)
        {
            return found;
        }
        let mut before = None;
        loop {
            let mut folder = Folder::whole(path);
            let found = look(&mut folder, false).unwrap_or_default();
            let ids: Vec<_> = found.iter().map(|file| (file.path.clone(), file.stat.id)).collect();
            let (tries, last) = before.unwrap_or((1, Vec::new()));
            // Looked at twice, and the same: nothing was renamed in between.
            if folder.is_as_it_was() || tries > 1 && last == ids || tries >= TRIES {
                self.folders.insert(path.to_owned(), folder);
                return found;
            }
            before = Some((tries + 1, ids));
        }
    }
}
