//! Finds the logs that a file may belong to without asking each of them: by name, by the first bytes,
//! by the inode. What it names is asked exactly afterwards; what it does not name has no claim.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    content::{self, Id},
    kin,
    trail::{Trail, name, parent},
};
use crate::position::Head;

/// The logs of one source as they are during one scan.
#[derive(Default)]
pub(super) struct Index {
    /// Trails by the hash of something that they have. Hashes that collide name too many.
    trails: HashMap<u64, BTreeSet<Arc<Path>>>,
    hasher: RandomState,
    /// Lengths of all marks.
    lengths: BTreeSet<u32>,
    /// Logs of which something is followed.
    pub(super) logs: usize,
}

/// What logs are found by. Names stand with their folder.
#[derive(Hash)]
enum Key<'a> {
    Name(&'a Path, &'a str),
    /// A log with other generations of which the file shares the first bytes.
    Family(&'a Path, &'a str, (u32, u64)),
    Shape(&'a Path, &'a str),
    Past(Id),
}

/// A mark as a part of a key.
fn of(mark: &Head) -> (u32, u64) {
    if mark.length == 0 { (0, 0) } else { (mark.length, mark.hash) }
}

impl Index {
    /// An index of all these.
    pub(super) fn of<'a>(trails: impl Iterator<Item = &'a Trail>) -> Self {
        let mut index = Index::default();
        for trail in trails {
            index.logs += usize::from(!trail.generations.is_empty());
            index.add(trail);
        }
        index
    }

    /// Adds what a trail has. What was added before stays.
    pub(super) fn add(&mut self, trail: &Trail) {
        let path: Arc<Path> = trail.path.as_path().into();
        let mut keys = Vec::new();
        // One of length 0 stands for what was not read yet.
        let marks: Vec<_> = trail.marks().collect();
        self.lengths.extend(marks.iter().map(|mark| mark.length));
        let paths: BTreeSet<&Path> = trail.paths().collect();
        for base in paths {
            let (folder, name) = (parent(base), name(base));
            keys.push(self.hasher.hash_one(Key::Name(&folder, &name)));
            let family = kin::family(&name);
            for mark in &marks {
                keys.push(self.hasher.hash_one(Key::Family(&folder, &family, of(mark))));
            }
            if trail.is_target(base) {
                keys.push(self.hasher.hash_one(Key::Shape(&folder, &kin::shape_of(&name))));
            }
        }
        for position in &trail.past {
            let id = Id { device: position.device, inode: position.inode };
            keys.push(self.hasher.hash_one(Key::Past(id)));
        }
        for key in keys {
            self.trails.entry(key).or_default().insert(Arc::clone(&path));
        }
    }

    /// The trails of which a file with this path and these first bytes may be a copy with a known mark,
    /// or a rotated generation, in the order of their paths. Of many that share a name and first bytes it is
    /// the first that really `claims` the file.
    pub(super) fn kin(
        &self,
        path: &Path,
        head: &[u8],
        claims: impl Fn(&Path) -> bool,
    ) -> BTreeSet<Arc<Path>> {
        let mut found = BTreeSet::new();
        let (folder, name) = (parent(path), name(path));
        let unpacked = kin::unpacked(&name);
        for (at, _) in name.char_indices() {
            self.collect(&Key::Name(&folder, &name[..at]), &mut found);
        }
        if let Some((_, ending)) = unpacked.rsplit_once('.') {
            for (at, _) in unpacked.char_indices() {
                let base = format!("{}.{ending}", &unpacked[..at]);
                self.collect(&Key::Name(&folder, &base), &mut found);
            }
        }
        let family = kin::family(&name);
        for &length in self.lengths.iter().take_while(|length| **length as usize <= head.len()) {
            if head.is_empty() {
                break;
            }
            let mark = content::head_of(&head[..length as usize]);
            let known = self.trails.get(&self.hasher.hash_one(Key::Family(&folder, &family, of(&mark))));
            found.extend(known.into_iter().flatten().find(|known| claims(known)).cloned());
        }
        self.collect(&Key::Shape(&folder, &kin::shape_of(&name)), &mut found);
        found
    }

    /// The trails that remember a file with this identity as one that is over.
    pub(super) fn past(&self, id: Id) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        self.collect(&Key::Past(id), &mut found);
        found.iter().map(|path| path.to_path_buf()).collect()
    }

    fn collect(&self, key: &Key<'_>, found: &mut BTreeSet<Arc<Path>>) {
        found.extend(self.trails.get(&self.hasher.hash_one(key)).into_iter().flatten().cloned());
    }
}
