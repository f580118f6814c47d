//! All generations of the log at one path.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    content,
    generation::{Generation, Handle},
    kin,
};
use crate::{
    batch::Stream,
    position::{FilePosition, FileState, Head, MAX_FINISHED, Position},
};

/// The log at one path.
pub(super) struct Trail {
    pub(super) path: PathBuf,
    pub(super) stream: Arc<Stream>,
    /// What is followed, in the order in which it is read.
    pub(super) generations: Vec<Generation>,
    /// What is over and is remembered, so that it is not taken for something new.
    pub(super) past: Vec<FilePosition>,
    next: u64,
}

impl Trail {
    pub(super) fn new(path: PathBuf, stream: Arc<Stream>) -> Self {
        Trail { path, stream, generations: Vec::new(), past: Vec::new(), next: 0 }
    }

    /// As earlier positions say.
    pub(super) fn resume(path: PathBuf, stream: Arc<Stream>, positions: &[Position], limit: usize) -> Self {
        let mut trail = Trail::new(path, stream);
        for position in positions {
            let Position::File(position) = position else { continue };
            trail.next = trail.next.max(position.generation.saturating_add(1));
            if position.state == FileState::Open {
                trail.generations.push(Generation::lost(position, limit));
            } else {
                trail.past.push(position.clone());
            }
        }
        trail
    }

    /// The number of the next generation.
    pub(super) fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Whether anything is known of it.
    pub(super) fn has_history(&self) -> bool {
        !self.generations.is_empty() || !self.past.is_empty()
    }

    /// Remembers a generation that is over.
    pub(super) fn remember(&mut self, position: FilePosition) {
        self.past.push(position);
        if self.past.len() > MAX_FINISHED {
            self.past.remove(0);
        }
    }

    /// The marks of all generations.
    pub(super) fn marks(&self) -> impl Iterator<Item = Head> {
        let past = self.past.iter().map(|position| position.head);
        self.generations.iter().map(Generation::mark).chain(past)
    }

    /// What is over and begins a file with these first bytes: that which says most of them.
    pub(super) fn known_as(&self, head: &[u8]) -> Option<&FilePosition> {
        let begins =
            |position: &&FilePosition| position.head.length > 0 && content::begins_with(head, position.head);
        self.past.iter().filter(begins).max_by_key(|position| position.head.length)
    }

    /// What a file has to be younger than to be a successor of the newest generation: last change and
    /// creation.
    pub(super) fn newest_times(&self) -> Option<(i64, Option<i64>)> {
        let current = self.generations.iter().rev().find(|generation| generation.current);
        let newest =
            current.or(self.generations.last()).map(|generation| (generation.since, generation.born));
        newest.or_else(|| self.past.last().map(|position| (position.since, position.born)))
    }

    /// Where other generations of it may be.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        self.paths().map(parent).collect()
    }

    /// Its own path and those of what is followed.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let paths = self.generations.iter().map(|generation| generation.path.as_path());
        paths.chain([self.path.as_path()])
    }

    /// Whether a path of it is one to which its own leads as a link, which may lead elsewhere next.
    pub(super) fn is_target(&self, path: &Path) -> bool {
        name(path) != name(&self.path) && !kin::is_rotation(&name(path), &name(&self.path))
    }

    /// Generations that are open.
    pub(super) fn open(&self) -> usize {
        self.generations.iter().filter(|generation| matches!(generation.handle, Handle::Open(_))).count()
    }

    /// Whether a file may be a rotated generation of it.
    pub(super) fn is_rotation(&self, path: &Path) -> bool {
        let here = parent(path);
        if here == parent(&self.path) && kin::is_rotation(&name(path), &name(&self.path)) {
            return true;
        }
        self.generations.iter().any(|generation| {
            let target = generation.path.as_path();
            // The path is a link, and links lead to one file after the other.
            here == parent(target)
                && self.is_target(target)
                && (kin::is_rotation(&name(path), &name(target))
                    || kin::is_same_shape(&name(path), &name(target)))
        })
    }

    /// Whether a file may be a copy of one of its generations.
    pub(super) fn is_copy(&self, path: &Path) -> bool {
        let here = parent(path);
        let of = |base: &Path| here == parent(base) && kin::is_copy(&name(path), &name(base));
        of(&self.path)
            || self.generations.iter().any(|generation| of(&generation.path))
            || self.is_rotation(path)
    }
}

/// Whether a path is that of a rotated generation of some log.
pub(super) fn is_stamped(path: &Path) -> bool {
    kin::is_stamped(&name(path))
}

/// The directory of a file.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The name of a file.
pub(super) fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
