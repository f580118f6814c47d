//! What is in a folder, to be asked by name and by identity: a scan with many logs in one folder must
//! not go through all of it for each.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use super::{
    content::{self, Id, Stat},
    kin,
    trail::{Trail, name, parent},
};

/// How often something is looked at again that moved while it was looked at. Rotations take turns, and end.
pub(super) const TRIES: usize = 8;

/// The clock of most file systems is behind that of the machine by less than this.
const STEP_NANOS: i64 = 20_000_000;

/// Entries of a folder that is kept between two scans.
const KEPT_MOST: usize = 100_000;

/// Which files beside a log are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// Those that may be rotated generations.
    Rotations,
    /// Those that may be copies, too.
    Copies,
}

/// A name in a folder, and what it led to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    name: String,
    pub(super) path: PathBuf,
    /// Its inode, where a folder tells.
    inode: Option<u64>,
}

impl Entry {
    /// Whether the name may still lead to what it led to.
    pub(super) fn is_still(&self, stat: &Stat) -> bool {
        self.inode.is_none_or(|inode| inode == stat.id.inode)
    }
}

/// A folder as it was when it was looked into.
pub(super) struct Folder {
    path: PathBuf,
    /// When it was looked into, in nanoseconds after 1970.
    at: i64,
    /// When something had come, gone or been renamed in it last.
    changed: i64,
    /// In the order of their names.
    entries: Vec<Entry>,
    families: HashMap<String, Vec<usize>>,
    shapes: HashMap<String, Vec<usize>>,
    /// Regular files; made when it is asked for.
    ids: Option<HashMap<Id, usize>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        let (at, changed) = (content::now_nanos(), changed(path));
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let entry = |entry: fs::DirEntry| {
            let path = path.join(entry.file_name());
            Entry { name: name(&path).into_owned(), inode: inode(&entry), path }
        };
        Folder { at, changed, ..Folder::of(path, entries.map(entry).collect()) }
    }

    /// A folder that was seen whole: what is renamed while names are read may be seen twice or not at all.
    pub(super) fn whole(path: &Path) -> Self {
        let mut folder = Folder::new(path);
        for _ in 1..TRIES {
            if folder.is_as_it_was() {
                break;
            }
            let again = Folder::new(path);
            let is_same = again.entries == folder.entries;
            folder = again;
            if is_same {
                break;
            }
        }
        folder
    }

    fn of(path: &Path, mut entries: Vec<Entry>) -> Self {
        entries.sort();
        let mut families: HashMap<String, Vec<usize>> = HashMap::new();
        let mut shapes: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, Entry { name, .. }) in entries.iter().enumerate() {
            families.entry(kin::family(name)).or_default().push(at);
            shapes.entry(kin::shape_of(name)).or_default().push(at);
        }
        Folder { path: path.to_owned(), at: 0, changed: 0, entries, families, shapes, ids: None }
    }

    /// Whether nothing came, went or was renamed in it since it was looked into. `false`: that cannot be told.
    pub(super) fn is_as_it_was(&self) -> bool {
        // Some file systems count whole seconds, or two.
        let step = if self.changed % 1_000_000_000 == 0 { 2_000_000_000 } else { STEP_NANOS };
        self.at > self.changed.saturating_add(step) && self.changed == changed(&self.path)
    }

    /// Whether it holds everything that was there at some time, in nanoseconds after 1970.
    pub(super) fn is_after(&self, nanos: i64) -> bool {
        self.at > nanos.saturating_add(STEP_NANOS)
    }

    /// Whether it is too large to be kept for a later question.
    pub(super) fn is_large(&self) -> bool {
        self.entries.len() > KEPT_MOST
    }

    /// Entries that may be `kin` of a log, in their order: at least those that are.
    pub(super) fn kin(&self, trail: &Trail, kin: Kin) -> Vec<&Entry> {
        let mut found = BTreeSet::new();
        let bases: BTreeSet<&Path> = trail.paths().filter(|base| parent(base) == self.path).collect();
        for base in bases {
            let name = name(base);
            found.extend(self.beginning_with(&name));
            if let Some((stem, _)) = name.rsplit_once('.') {
                for separator in kin::SEPARATORS {
                    found.extend(self.beginning_with(&format!("{stem}{separator}")));
                }
            }
            if kin == Kin::Copies {
                found.extend(self.families.get(&kin::family(&name)).into_iter().flatten());
            }
            if trail.is_target(base) {
                found.extend(self.shapes.get(&kin::shape_of(&name)).into_iter().flatten());
            }
        }
        found.into_iter().map(|at| &self.entries[at]).collect()
    }

    fn beginning_with(&self, prefix: &str) -> std::ops::Range<usize> {
        let from = self.entries.partition_point(|entry| entry.name.as_str() < prefix);
        let count = self.entries[from..].iter().take_while(|entry| entry.name.starts_with(prefix)).count();
        from..from + count
    }

    /// The regular file with this identity.
    pub(super) fn find(&mut self, id: Id) -> Option<&Path> {
        let entries = &self.entries;
        let ids = self.ids.get_or_insert_with(|| {
            let mut ids = HashMap::new();
            for (at, Entry { path, .. }) in entries.iter().enumerate() {
                // Links lead to files that are looked at by their own name.
                if let Ok(metadata) = fs::symlink_metadata(path)
                    && metadata.is_file()
                {
                    ids.entry(Stat::new(&metadata).id).or_insert(at);
                }
            }
            ids
        });
        ids.get(&id).map(|at| entries[*at].path.as_path())
    }
}

#[cfg(unix)]
fn inode(entry: &fs::DirEntry) -> Option<u64> {
    Some(std::os::unix::fs::DirEntryExt::ino(entry))
}

#[cfg(not(unix))]
fn inode(_: &fs::DirEntry) -> Option<u64> {
    None
}

/// The last change of a folder: of what is in it, by name.
fn changed(path: &Path) -> i64 {
    Stat::of(path).map_or(0, |stat| stat.modified)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        file::{generation::Generation, index::Index},
        kind::Kind,
        position::{FilePosition, FileState, Head},
        testing,
    };

    fn trail(names: &[String], mark: &[u8]) -> Trail {
        let path = PathBuf::from("/logs").join(&names[0]);
        let mut trail = Trail::new(path, testing::stream(Kind::File, "", ""));
        for name in names {
            let position = FilePosition {
                generation: 0,
                path: format!("/logs/{name}"),
                device: 1,
                inode: 1,
                packed: false,
                head: content::head_of(mark),
                offset: 0,
                since: 0,
                created: None,
                born: None,
                state: FileState::Open,
            };
            trail.generations.push(Generation::lost(&position, 1_000));
        }
        trail
    }

    fn file_name() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[ab1]",
            Just(".log".to_owned()),
            "[-_.][12]{1,2}",
            Just(".gz".to_owned()),
            Just(".old".to_owned())
        ];
        prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_that_is_kin_is_left_out(
            logs in prop::collection::vec(prop::collection::vec(file_name(), 1..3), 1..6),
            names in prop::collection::btree_set(file_name(), 1..12),
        ) {
            let paths: Vec<_> =
                names.iter().map(|name| (name.clone(), Path::new("/logs").join(name))).collect();
            let entry = |(name, path): &(String, PathBuf)| Entry { name: name.clone(), path: path.clone(), inode: None };
            let folder = Folder::of(Path::new("/logs"), paths.iter().map(entry).collect());
            let mut index = Index::default();
            let trails: Vec<_> = logs.iter().map(|names| trail(names, names[0].as_bytes())).collect();
            trails.iter().for_each(|trail| index.add(trail));
            for trail in &trails {
                for (_, path) in &paths {
                    let rotations = folder.kin(trail, Kin::Rotations);
                    prop_assert!(!trail.is_rotation(path) || rotations.iter().any(|entry| entry.path == *path));
                    let copies = folder.kin(trail, Kin::Copies);
                    prop_assert!(!trail.is_copy(path) || copies.iter().any(|entry| entry.path == *path));
                    // By what the trail itself begins with, and by something else.
                    let (own, other) = (logs[0][0].as_bytes(), b"~".as_slice());
                    let known: Arc<Path> = trail.path.as_path().into();
                    for head in [own, other] {
                        let has = trail.marks().any(|mark: Head| content::begins_with(head, mark));
                        let claims = trail.is_rotation(path) || trail.is_copy(path) && has;
                        prop_assert!(!claims || index.kin(path, head, |path| *path == *known).contains(&known));
                    }
                }
            }
        }
    }
}
