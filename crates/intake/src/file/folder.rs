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
    scan::STEP_NANOS,
    trail::{Trail, name, parent},
};

/// Which files beside a log are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// Those that may be rotated generations.
    Rotations,
    /// Those that may be copies, too.
    Copies,
}

/// A folder as it was when it was looked into.
pub(super) struct Folder {
    path: PathBuf,
    /// When it was looked into, in nanoseconds after 1970.
    at: i64,
    /// When something had come, gone or been renamed in it last.
    changed: i64,
    /// Names, in their order, and paths.
    entries: Vec<(String, PathBuf)>,
    families: HashMap<String, Vec<usize>>,
    shapes: HashMap<String, Vec<usize>>,
    /// Regular files; made when it is asked for.
    ids: Option<HashMap<Id, usize>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        let (at, changed) = (content::now_nanos(), changed(path));
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let entry = |entry: fs::DirEntry| path.join(entry.file_name());
        let paths = entries.map(entry).map(|path| (name(&path).into_owned(), path));
        Folder { at, changed, ..Folder::of(path, paths.collect()) }
    }

    fn of(path: &Path, mut entries: Vec<(String, PathBuf)>) -> Self {
        entries.sort();
        let mut families: HashMap<String, Vec<usize>> = HashMap::new();
        let mut shapes: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, (name, _)) in entries.iter().enumerate() {
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

    /// Paths that may be `kin` of a log, in their order: at least those that are.
    pub(super) fn kin(&self, trail: &Trail, kin: Kin) -> Vec<&Path> {
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
        found.into_iter().map(|at| self.entries[at].1.as_path()).collect()
    }

    fn beginning_with(&self, prefix: &str) -> std::ops::Range<usize> {
        let from = self.entries.partition_point(|(name, _)| name.as_str() < prefix);
        let count = self.entries[from..].iter().take_while(|(name, _)| name.starts_with(prefix)).count();
        from..from + count
    }

    /// The regular file with this identity.
    pub(super) fn find(&mut self, id: Id) -> Option<&Path> {
        let entries = &self.entries;
        let ids = self.ids.get_or_insert_with(|| {
            let mut ids = HashMap::new();
            for (at, (_, path)) in entries.iter().enumerate() {
                // Links lead to files that are looked at by their own name.
                if let Ok(metadata) = fs::symlink_metadata(path)
                    && metadata.is_file()
                {
                    ids.entry(Stat::new(&metadata).id).or_insert(at);
                }
            }
            ids
        });
        ids.get(&id).map(|at| entries[*at].1.as_path())
    }
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
            let folder = Folder::of(Path::new("/logs"), paths.clone());
            let mut index = Index::default();
            let trails: Vec<_> = logs.iter().map(|names| trail(names, names[0].as_bytes())).collect();
            trails.iter().for_each(|trail| index.add(trail));
            for trail in &trails {
                for (_, path) in &paths {
                    let rotations = folder.kin(trail, Kin::Rotations);
                    prop_assert!(!trail.is_rotation(path) || rotations.contains(&path.as_path()));
                    let copies = folder.kin(trail, Kin::Copies);
                    prop_assert!(!trail.is_copy(path) || copies.contains(&path.as_path()));
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
