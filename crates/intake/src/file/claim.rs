//! What other logs say about a file that is not known: it may be a copy or an earlier generation of one of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    content,
    generation::Generation,
    index::Index,
    kin,
    scan::{SURE_BYTES, begin_alike, beginning_of, holds_beginning, is_short},
    trail::{self, Trail},
};
use crate::position::{FileState, Head};

/// What is to be done with a file that is not known.
pub(super) enum Verdict {
    /// It cannot be told yet.
    Wait,
    /// It takes the place of a generation and holds what that held.
    Moved(usize),
    /// It is not read.
    Over(FileState),
    /// It is read, from its beginning or from where it ended.
    New(Option<u64>),
}

/// The other logs, and how to find some of them.
pub(super) struct Others<'a> {
    pub(super) trails: &'a BTreeMap<PathBuf, Trail>,
    pub(super) index: &'a Index,
}

impl Others<'_> {
    /// What the first of them that has something to do with a file says about it.
    pub(super) fn claim(&self, path: &Path, head: &[u8], first: bool) -> Option<Verdict> {
        let claim = |known: &Path| claim(self.trails.get(known)?, path, head, first);
        let found = self.index.kin(path, head, |known| claim(known).is_some());
        found.iter().find_map(|known| claim(known))
    }
}

/// What a log says about a file that may be a copy or an earlier generation of it.
fn claim(other: &Trail, path: &Path, head: &[u8], first: bool) -> Option<Verdict> {
    if !other.is_copy(path) {
        return None;
    }
    let least = if trail::is_stamped(path) { 1 } else { SURE_BYTES };
    // Logs of a family may all begin alike: a few bytes say something about a log's own rotations only.
    let is_near = other.is_rotation(path) || kin::has_packed_name(path);
    let fits =
        |mark: Head| mark.length >= least && (is_near || !is_short(mark)) && content::begins_with(head, mark);
    let of: Vec<&Generation> =
        other.generations.iter().filter(|generation| fits(generation.mark())).collect();
    let is_sure =
        |generation: &&Generation| !is_short(generation.mark()) || first || holds_beginning(generation, head);
    if of.iter().any(is_sure) {
        return Some(Verdict::Over(FileState::Copy));
    }
    if let Some(position) = other.known_as(head).filter(|position| fits(position.head)) {
        return match position.rest_in(head).filter(|_| !first) {
            None => Some(Verdict::Over(FileState::Copy)),
            rest => Some(Verdict::New(rest)),
        };
    }
    let alike = |generation: &Generation| generation.mark().length == 0 && begins_alike(generation, head);
    // Of one that was truncated, the copy is its rest; that turns out when it is read.
    let is_unclear =
        !of.is_empty() || head.is_empty() && other.is_rotation(path) || other.generations.iter().any(alike);
    (!first && is_unclear).then_some(Verdict::Wait)
}

/// Whether the file of a generation begins like `head`, as far as both go.
fn begins_alike(generation: &Generation, head: &[u8]) -> bool {
    beginning_of(generation)
        .is_some_and(|bytes| !bytes.is_empty() && !head.is_empty() && begin_alike(&bytes, head))
}
