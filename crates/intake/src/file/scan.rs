//! Finds out what became of the files: new ones, renamed ones, replaced ones, gone ones.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    claim::{Others, Verdict},
    content::{self, Content, HEAD_BYTES, Id, Opened, Stat},
    folder::Kin,
    follow::{Follower, watch_key},
    generation::{Generation, Handle},
    glob::Found,
    index::Index,
    kin,
    look::{Beside, Look},
    trail::Trail,
};
use crate::{
    batch::Collector,
    outlet::{self, Stopped},
    position::{Change, FilePosition, FileState, Head, Position},
};

/// Logs that one source follows, whatever was rotated of each. More are a mistake in a pattern.
const MAX_FILES: usize = 10_000;

/// Bytes that must agree for a file of any name to be taken for a copy of another.
pub(super) const SURE_BYTES: u32 = 64;

/// Where the last whole line of a file is looked for, from its end.
const LAST_LINE_BYTES: u64 = 64 << 10;

impl Follower {
    /// Looks at all paths.
    pub(super) fn scan(&mut self, now: Duration) -> Result<(), Stopped> {
        self.now = now;
        let mut look = self.look();
        let mut trails = std::mem::take(&mut self.trails);
        self.open = trails.values().map(Trail::open).sum();
        let result = self.scan_trails(&mut trails, &mut look);
        self.directories.extend(trails.values().flat_map(Trail::directories));
        look.folders.retain(|path, folder| self.directories.contains(path) && !folder.is_large());
        self.folders = look.folders;
        self.trails = trails;
        result?;
        if self.first {
            self.first = false;
            self.note_watched()?;
        }
        Ok(())
    }

    fn scan_trails(&mut self, trails: &mut BTreeMap<PathBuf, Trail>, look: &mut Look) -> Result<(), Stopped> {
        for trail in trails.values_mut() {
            let before = trail.open();
            refresh(trail, look);
            find_changed(trail, look);
            self.find_lost(trail, look)?;
            refresh(trail, look);
            self.find_truncated(trail)?;
            self.settle(trail, before);
        }
        let mut followed: HashSet<Id> = trails.values().flat_map(ids).collect();
        let mut index: Option<Index> = None;
        for (path, stat) in look.matched.clone() {
            // One file may have several names.
            if followed.insert(stat.id) {
                let index = index.get_or_insert_with(|| Index::of(trails.values()));
                if !self.is_past(trails, index, &path, &stat)? {
                    self.adopt(trails, index, &path, look)?;
                }
            }
        }
        for trail in trails.values_mut() {
            let before = trail.open();
            refresh(trail, look);
            self.find_overtaken(trail, look)?;
            self.settle(trail, before);
        }
        let gone: Vec<PathBuf> = trails
            .values()
            .filter(|trail| !look.matched.contains_key(&trail.path))
            .map(|trail| trail.path.clone())
            .collect();
        let gone: Vec<PathBuf> = gone.into_iter().filter(|path| is_gone(&trails[path], look)).collect();
        for path in gone {
            if let Some(trail) = trails.remove(&path) {
                let batch = Collector::new(trail.stream).finish(outlet::now(), Some(Change::Forget));
                self.outlet.send_blocking(batch)?;
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Look {
        let mut found = Found::default();
        for pattern in &self.patterns {
            pattern.expand(&mut found);
        }
        for (path, error) in found.problems {
            self.tell(&path, format_args!("cannot look into {}: {error}", path.display()));
        }
        self.directories = found.directories;
        let mut look = Look::with(std::mem::take(&mut self.folders));
        for path in found.paths {
            if self.config.is_excluded(&path) {
                continue;
            }
            match Stat::of(&path) {
                Ok(stat) if stat.is_file => {
                    self.strange.remove(&path);
                    look.add(path, stat);
                }
                Ok(_) => self.tell_strange(&path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.tell(&path, format_args!("cannot look at {}: {error}", path.display())),
            }
        }
        look
    }

    /// Tells once that a path that was asked for by name leads to something that is no file.
    fn tell_strange(&mut self, path: &Path) {
        let is_named = self.patterns.iter().any(|pattern| pattern.is_literal() && pattern.matches(path));
        if !is_named || !self.strange.insert(path.to_owned()) {
            return;
        }
        let (what, remedy) = content::strangeness(path);
        self.outlet.log.error(format_args!("{} is {what} and is not read: {remedy}", path.display()));
    }

    /// Finds what earlier positions speak of.
    fn find_lost(&mut self, trail: &mut Trail, look: &mut Look) -> Result<(), Stopped> {
        let mut at = 0;
        while at < trail.generations.len() {
            if !matches!(trail.generations[at].handle, Handle::Lost) || self.locate(trail, at, look)? {
                at += 1;
            }
        }
        Ok(())
    }

    /// Finds those that were truncated: what they hold now must be known before anything else is
    /// looked at, since that may be a copy of it.
    fn find_truncated(&mut self, trail: &mut Trail) -> Result<(), Stopped> {
        // Of a generation that goes, another one takes the place.
        for at in (0..trail.generations.len()).rev() {
            if trail.generations[at].is_truncated() {
                self.truncated(trail, at)?;
            }
        }
        Ok(())
    }

    /// Finds a generation. `false`: it was let go, since it is not to be found.
    fn locate(&mut self, trail: &mut Trail, at: usize, look: &mut Look) -> Result<bool, Stopped> {
        let generation = &trail.generations[at];
        let (id, created) = (generation.id, generation.created);
        // Of several in one file, the others were truncated.
        let is_taken = trail.generations.iter().any(|other| {
            let is_lost = matches!(other.handle, Handle::Lost);
            other.id == id
                && (other.number > generation.number || other.number != generation.number && !is_lost)
        });
        let found = look.settled(|look| {
            let file = look.find(trail, id).filter(|file| !is_taken && !is_reused(created, &file.stat))?;
            match Opened::at(&file.path, id) {
                Ok(None) => {
                    look.has_moved(id);
                    None
                }
                Ok(Some(opened)) => Some((file.path, Ok(opened))),
                Err(error) => Some((file.path, Err(error))),
            }
        });
        let Some((path, opened)) = found else { return self.give_up(trail, at, look) };
        let (mark, offset) = (trail.generations[at].mark(), trail.generations[at].cutter.read());
        let opened = opened.and_then(|mut opened| {
            let is_it = content::begins_with(&opened.head, mark) && opened.content.skip_to(offset)?;
            Ok((opened, is_it))
        });
        match opened {
            Ok((opened, true)) => {
                let generation = &mut trail.generations[at];
                generation.fixed = opened.content.is_packed();
                generation.attach(opened);
                self.untell(&path);
                Ok(true)
            }
            Ok((Opened { path: found, content: Content::Plain(file), .. }, false))
                if created.is_some() || path == trail.path =>
            {
                // It was truncated, and has more by now than when it was opened, or less.
                match Opened::plain(found, file) {
                    Ok(opened) => {
                        let before = trail.generations.len();
                        self.succeed(trail, at, opened, look)?;
                        Ok(trail.generations.len() > before)
                    }
                    Err(error) => {
                        self.tell(&path, format_args!("cannot read {}: {error}", path.display()));
                        Ok(true)
                    }
                }
            }
            // Its inode was given to another file and nobody knows when.
            Ok((_, false)) => self.give_up(trail, at, look),
            Err(error) => {
                // It is there, and may be readable later.
                trail.generations[at].handle = Handle::Lost;
                self.tell(&path, format_args!("cannot read {}: {error}", path.display()));
                Ok(true)
            }
        }
    }

    /// The file of a generation is gone: its rest may be in a copy. `false`: it is not.
    fn give_up(&mut self, trail: &mut Trail, at: usize, look: &mut Look) -> Result<bool, Stopped> {
        if let Some(rest) = self.rest_of(trail, at, look) {
            let generation = &mut trail.generations[at];
            generation.attach(rest);
            generation.fixed = true;
            return self.note(trail, at).map(|()| true);
        }
        if trail.generations[at].mark().length == 0 {
            // It was empty when it was seen last. Whatever is there and is younger may be it.
            let times = (trail.generations[at].since, trail.generations[at].born);
            let found = self.younger(trail, look, None, times);
            let (next, count) = (at + 1, found.len());
            trail.generations.splice(next..next, found);
            (next..next + count).try_for_each(|at| self.note(trail, at))?;
        } else if !trail.generations[at].done_with {
            self.outlet.counters.gaps.add(1);
            self.outlet.log.warn(format_args!(
                "the file that was followed as {} is gone; what was written to it after its last line that was \
                 read, if anything, is lost",
                trail.path.display()
            ));
        }
        self.retire(trail, at)?;
        Ok(false)
    }

    /// A copy of a generation that holds what was not read of it yet.
    pub(super) fn rest_of(&mut self, trail: &Trail, at: usize, look: &mut Look) -> Option<Opened> {
        let (mark, offset) = (trail.generations[at].mark(), trail.generations[at].cutter.read());
        if mark.length == 0 {
            return None;
        }
        look.settled(|look| {
            let mut files = self.copies(trail, at, Kin::Copies, look);
            // The longest: a copy made later has more.
            files.sort_by_key(|file| Reverse(file.stat.size));
            let mut opened = Vec::new();
            for file in files {
                match Opened::at(&file.path, file.stat.id) {
                    Ok(Some(copy)) => opened.extend(copy.skip_to(mark, offset).ok().flatten()),
                    Ok(None) => look.has_moved(file.stat.id),
                    Err(_) => {}
                }
            }
            // One that is not compressed says how long it is.
            opened.sort_by_key(|copy| copy.content.is_packed());
            opened.into_iter().next()
        })
    }

    /// Files beside a log that may be copies of a generation and are not followed themselves.
    fn copies(&mut self, trail: &Trail, at: usize, kin: Kin, look: &mut Look) -> Vec<Beside> {
        let generation = &trail.generations[at];
        // Of those that are not found yet, the identity is only what it was.
        let is_found = |other: &&Generation| !matches!(other.handle, Handle::Lost);
        let followed: HashSet<Id> = trail.generations.iter().filter(is_found).map(|other| other.id).collect();
        let mut files = look.beside(trail, kin, Some(&generation.path));
        // Its own file is another one by now.
        let is_own = |stat: &Stat| stat.id == generation.id && !is_reused(generation.created, stat);
        files.retain(|file| !followed.contains(&file.stat.id) && !is_own(&file.stat));
        files.retain(|file| match self.heads.of(file) {
            Ok(Some(head)) => may_be_copy(trail, generation, file, head),
            Ok(None) => {
                look.has_moved(file.stat.id);
                false
            }
            Err(_) => false,
        });
        files
    }

    /// Whether a log was copied and truncated though it still begins with all that was read of it: a few bytes may
    /// begin every line. Only the copy tells, which goes on otherwise.
    pub(super) fn is_overtaken(&mut self, trail: &Trail, at: usize, look: &mut Look) -> bool {
        let generation = &trail.generations[at];
        let is_certain = !is_short(generation.mark()) || generation.mark().length == 0;
        if is_certain || !generation.current || generation.fixed || trail.is_target(&generation.path) {
            return false;
        }
        look.settled(|look| {
            let files = self.copies(trail, at, Kin::Rotations, look);
            // What is not in a copy yet is still in the log.
            let Some(bytes) = beginning_of(generation) else { return false };
            // What is older than the log is no copy of it.
            let is_younger = |file: &&Beside| {
                generation.created.zip(file.stat.created).is_none_or(|(log, copy)| copy > log)
            };
            let mut heads = |file| self.heads.of(file).ok().flatten().map(<[u8]>::to_vec);
            files.iter().filter(is_younger).filter_map(&mut heads).any(|head| !begin_alike(&head, &bytes))
        })
    }

    /// Generations that came and went between two looks: files beside the log that are younger than
    /// the newest known one and hold nothing that is known.
    pub(super) fn missed(
        &mut self,
        trail: &mut Trail,
        look: &mut Look,
        next: Option<&Next>,
    ) -> Vec<Generation> {
        let Some(times) = trail.newest_times() else { return Vec::new() };
        self.younger(trail, look, next, times)
    }

    /// Files beside a log that are younger than some times and hold nothing that is known.
    fn younger(
        &mut self,
        trail: &mut Trail,
        look: &mut Look,
        next: Option<&Next>,
        (since, born): (i64, Option<i64>),
    ) -> Vec<Generation> {
        // The inode of one that is not found yet may have been given to another file.
        let is_followed = |stat: &Stat| {
            trail.generations.iter().any(|generation| {
                let is_lost = matches!(generation.handle, Handle::Lost);
                generation.id == stat.id && !(is_lost && is_reused(generation.created, stat))
            })
        };
        let found = look.settled(|look| {
            let mut files = look.beside(trail, Kin::Rotations, None);
            files.retain(|file| {
                let id = file.stat.id;
                !is_followed(&file.stat)
                    && next.is_none_or(|next| next.id != id)
                    // One that was matched under its name is followed as itself, unless it was turned over since.
                    && !look.matched_by_id(id).is_some_and(|(path, _)| content::leads_to(path, id))
                    && file.stat.modified >= since
                    && born.zip(file.stat.created).is_none_or(|(newest, this)| this >= newest)
                    && !self.patterns.iter().any(|pattern| pattern.matches(&file.path))
            });
            files.sort_by_key(|file| (file.stat.modified, Reverse(kin::rotation_number(&file.path))));
            self.news(trail, files, next, look)
        });
        let mut missed = Vec::new();
        for (path, opened) in found {
            match opened {
                Ok((opened, offset)) => {
                    let limit = self.config.max_line_bytes;
                    let mut generation = Generation::new(trail.number(), opened, offset, limit);
                    generation.visible = false;
                    generation.quiet_since = self.now;
                    missed.push(generation);
                }
                Err(error) => {
                    self.outlet.counters.gaps.add(1);
                    self.tell(&path, format_args!("cannot read {}: {error}", path.display()));
                }
            }
        }
        missed
    }

    /// Opens those files beside a log that hold something that is not known of that log, from where on they do.
    fn news(
        &mut self,
        trail: &Trail,
        files: Vec<Beside>,
        next: Option<&Next>,
        look: &mut Look,
    ) -> Vec<(PathBuf, io::Result<(Opened, u64)>)> {
        let mut found: Vec<(PathBuf, io::Result<(Opened, u64)>)> = Vec::new();
        for file in files {
            let Some((offset, head)) = self.news_in(trail, &file, next, look) else { continue };
            // One that is being compressed is there twice.
            let is_packed_of = |(path, opened): &(PathBuf, io::Result<(Opened, u64)>)| {
                kin::is_packed_of(&file.path, path)
                    && opened.as_ref().is_ok_and(|(other, _)| other.head == head)
            };
            if found.iter().any(is_packed_of) {
                continue;
            }
            match Opened::at(&file.path, file.stat.id) {
                // It is being copied.
                Ok(Some(opened)) if opened.head != head => look.has_moved(file.stat.id),
                // What is compressed will not grow.
                Ok(Some(opened)) if opened.content.is_packed() && opened.head.is_empty() => {}
                Ok(Some(mut opened)) => {
                    let skipped = opened.content.skip_to(offset).map(|_| (opened, offset));
                    found.push((file.path, skipped));
                }
                Ok(None) => look.has_moved(file.stat.id),
                Err(error) => found.push((file.path, Err(error))),
            }
        }
        found
    }

    /// From where on a file beside a log holds what is no copy of something that is known of that log; and its first
    /// bytes.
    fn news_in(
        &mut self,
        trail: &Trail,
        file: &Beside,
        next: Option<&Next>,
        look: &mut Look,
    ) -> Option<(u64, Vec<u8>)> {
        let head = match self.heads.of(file) {
            Ok(Some(head)) => head.to_vec(),
            Ok(None) => {
                look.has_moved(file.stat.id);
                return None;
            }
            Err(_) => return None,
        };
        if file.is_unsettled() {
            return None;
        }
        // A copy of what is about to be followed, whose own name may be gone already.
        if next.is_some_and(|next| next.is_copied_by(&file.stat, &head)) {
            return None;
        }
        // A copy of what is followed: what was not read yet is still there, or looked for here when it is not.
        let is_of = |generation: &Generation| match generation.mark() {
            Head { length: 0, .. } => holds_beginning(generation, &head),
            // One that is not written to under its name any more is not cut off either.
            mark if is_short(mark) && !generation.current && generation.can_park() => {
                holds_beginning(generation, &head)
            }
            mark => content::begins_with(&head, mark),
        };
        if trail.generations.iter().any(is_of) {
            return None;
        }
        match trail.known_as(&head) {
            None => Some((0, head)),
            Some(position) => position.rest_in(&head).map(|offset| (offset, head)),
        }
    }

    /// A log that was copied and truncated before anything of it was read looks as if nothing had
    /// happened; only the copy tells.
    fn find_overtaken(&mut self, trail: &mut Trail, look: &mut Look) -> Result<(), Stopped> {
        let is_unread = |generation: &Generation| generation.current && generation.mark().length == 0;
        let Some(at) = trail.generations.iter().position(is_unread) else { return Ok(()) };
        if self.first && !self.has_positions(trail) {
            return Ok(());
        }
        let mut missed = self.missed(trail, look, None);
        // A copy that is still empty will have what is about to be read in the log itself.
        missed.retain(|generation| generation.size > 0);
        let count = missed.len();
        trail.generations.splice(at..at, missed);
        (at..at + count).try_for_each(|at| self.note(trail, at))
    }

    /// Puts generations that were missed in before another one. Says how many.
    pub(super) fn insert_missed(
        &mut self,
        trail: &mut Trail,
        at: usize,
        look: &mut Look,
        next: Option<&Next>,
    ) -> Result<usize, Stopped> {
        let mut missed = self.missed(trail, look, next);
        // As long as nothing else follows, what is empty can only be a copy, and is no successor.
        missed.retain(|generation| next.is_some() || generation.size > 0);
        let count = missed.len();
        trail.generations.splice(at..at, missed);
        (at..at + count).try_for_each(|at| self.note(trail, at))?;
        Ok(count)
    }

    /// Whether the trail comes from an earlier run.
    fn has_positions(&self, trail: &Trail) -> bool {
        trail.generations.iter().any(|generation| generation.number > 0) || !trail.past.is_empty() || {
            self.patterns
                .iter()
                .zip(&self.watched)
                .any(|(pattern, watched)| *watched && pattern.matches(&trail.path))
        }
    }

    /// Whether a matched file is one that was followed and is over, or goes on after all.
    fn is_past(
        &mut self,
        trails: &mut BTreeMap<PathBuf, Trail>,
        index: &mut Index,
        path: &Path,
        stat: &Stat,
    ) -> Result<bool, Stopped> {
        for known in index.past(stat.id) {
            let Some(trail) = trails.get_mut(&known) else { continue };
            let same = |position: &FilePosition| {
                (position.device, position.inode) == (stat.id.device, stat.id.inode)
            };
            let Some(at) = trail.past.iter().rposition(same) else { continue };
            let position = &trail.past[at];
            let shrunk = !position.packed && stat.size < position.offset;
            let file = Beside { path: path.to_owned(), stat: *stat };
            let head = self.heads.of(&file).ok().flatten();
            let begins = head.is_some_and(|head| content::begins_with(head, position.head));
            if shrunk || is_reused(position.created, stat) || !begins {
                continue;
            }
            let grown = !position.packed && stat.size > position.offset;
            if position.state == FileState::Copy && grown && is_short(position.head) {
                // What was a copy so far may go on otherwise.
                trail.past.remove(at);
                continue;
            }
            if position.state == FileState::Finished && grown {
                // More was written after all.
                let position = trail.past.remove(at);
                trail.generations.insert(0, Generation::lost(&position, self.config.max_line_bytes));
                let mut look = Look::default();
                look.add(path.to_owned(), *stat);
                let before = trail.open();
                self.locate(trail, 0, &mut look)?;
                self.settle(trail, before);
                index.logs += usize::from(trail.generations.len() == 1);
                index.add(trail);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Begins to follow a file that is not known yet, or finds out that there is no need.
    fn adopt(
        &mut self,
        trails: &mut BTreeMap<PathBuf, Trail>,
        index: &mut Index,
        path: &Path,
        look: &mut Look,
    ) -> Result<(), Stopped> {
        let Some(stat) = look.matched.get(path).copied() else { return Ok(()) };
        let opened = match Opened::at(path, stat.id) {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                self.lost = true;
                return Ok(());
            }
            // A compressed file that is still being written.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && is_unsettled(look, path) => {
                return Ok(());
            }
            Err(error) => {
                if self.first {
                    self.pending.insert(path.to_owned(), (stat.id, stat.size));
                }
                self.tell(path, format_args!("cannot read {}: {error}", path.display()));
                return Ok(());
            }
        };
        self.untell(path);
        let is_followed = trails.get(path).is_some_and(|trail| !trail.generations.is_empty());
        if index.logs >= MAX_FILES && !is_followed {
            self.tell(
                Path::new(""),
                format_args!("more than {MAX_FILES} files match; the others are not read"),
            );
            return Ok(());
        }
        let mut trail = trails.remove(path).unwrap_or_else(|| {
            let text = path.to_string_lossy();
            let key = self.outlet.settings.key(&text);
            Trail::new(path.to_owned(), self.outlet.stream(&text, key, None))
        });
        let (before, count) = (trail.open(), trail.generations.len());
        let others = Others { trails, index };
        let verdict = self.judge(&trail, &others, path, &opened, look);
        let result = match verdict {
            Verdict::Wait => Ok(()),
            Verdict::Moved(at) => {
                let generation = &mut trail.generations[at];
                generation.attach(opened);
                generation.current = true;
                self.note(&trail, at)
            }
            Verdict::Over(state) => {
                let Opened { path, content, stat, head } = opened;
                let position = FilePosition {
                    generation: trail.number(),
                    path: path.to_string_lossy().into_owned(),
                    device: stat.id.device,
                    inode: stat.id.inode,
                    packed: content.is_packed(),
                    head: content::head_of(&head),
                    offset: if content.is_packed() { 0 } else { stat.size },
                    since: stat.modified,
                    created: stat.created,
                    born: stat.created,
                    state,
                };
                trail.remember(position.clone());
                let change = Change::At(Position::File(position));
                let batch = Collector::new(Arc::clone(&trail.stream)).finish(outlet::now(), Some(change));
                self.outlet.send_blocking(batch)
            }
            Verdict::New(offset) => self.begin(&mut trail, path, opened, offset, look),
        };
        self.settle(&mut trail, before);
        if trail.has_history() {
            index.logs += usize::from(count == 0 && !trail.generations.is_empty());
            index.add(&trail);
            trails.insert(path.to_owned(), trail);
        }
        result
    }

    fn judge(
        &mut self,
        trail: &Trail,
        others: &Others<'_>,
        path: &Path,
        opened: &Opened,
        look: &mut Look,
    ) -> Verdict {
        let Opened { content, stat, head, .. } = opened;
        let packed = content.is_packed();
        let is_first_ever = self.first && !self.was_watched(path);
        if let Some(verdict) = others.claim(path, head, is_first_ever) {
            return verdict;
        }
        let at = trail.generations.len().wrapping_sub(1);
        if let Some(newest) = trail.generations.last().filter(|newest| !newest.current && !newest.fixed) {
            let (mark, id, read) = (newest.mark(), newest.id, newest.cutter.read());
            let fits =
                !packed && mark.length >= SURE_BYTES && content::begins_with(head, mark) && stat.size >= read;
            if fits && look.find(trail, id).is_none() {
                return Verdict::Moved(at);
            }
        }
        let is_new = !self.first || trail.has_history() || self.was_watched(path);
        let file = Beside { path: path.to_owned(), stat: *stat };
        if packed && !is_new {
            return Verdict::Over(FileState::Finished);
        }
        if packed && file.is_unsettled() {
            return Verdict::Wait;
        }
        // A compressed file is open until it is read.
        if packed && self.open > self.room.files() {
            self.lost = true;
            return Verdict::Wait;
        }
        match self.pending.remove(path) {
            Some((id, size)) if id == stat.id && size <= stat.size && !packed => Verdict::New(Some(size)),
            _ => Verdict::New((!is_new).then_some(stat.size)),
        }
    }

    fn was_watched(&self, path: &Path) -> bool {
        self.patterns.iter().zip(&self.watched).any(|(pattern, watched)| *watched && pattern.matches(path))
    }

    /// Follows a new file: from its beginning, or from its last line that was not whole at `end`.
    fn begin(
        &mut self,
        trail: &mut Trail,
        path: &Path,
        opened: Opened,
        end: Option<u64>,
        look: &mut Look,
    ) -> Result<(), Stopped> {
        if trail.has_history() {
            // What came and went just before this file did must not be missed, since it is never looked for again.
            let next = Next::of(&opened);
            look.as_of(opened.stat.created);
            let missed = self.insert_missed(trail, trail.generations.len(), look, Some(&next));
            look.as_of(None);
            missed?;
        }
        let mut opened = opened;
        let start = match (end, &mut opened.content) {
            (Some(end), Content::Plain(file)) => last_line(file, end),
            (Some(end), packed @ Content::Packed(_)) => packed.skip_to(end).map(|_| end),
            (None, _) => Ok(0),
        };
        let number = trail.number();
        let limit = self.config.max_line_bytes;
        match start {
            Ok(start) => {
                let mut generation = Generation::new(number, opened, start, limit);
                generation.current = true;
                generation.quiet_since = self.now;
                trail.generations.push(generation);
                self.note(trail, trail.generations.len() - 1)
            }
            Err(error) => {
                self.tell(path, format_args!("cannot read {}: {error}", path.display()));
                Ok(())
            }
        }
    }

    /// Notes that all patterns were looked for once.
    fn note_watched(&mut self) -> Result<(), Stopped> {
        for (pattern, watched) in self.patterns.iter().zip(&self.watched) {
            if !watched {
                let stream = self.outlet.stream(pattern.text(), watch_key(&self.outlet, pattern), None);
                let change = Change::At(Position::Watched);
                self.outlet.send_blocking(Collector::new(stream).finish(outlet::now(), Some(change)))?;
            }
        }
        Ok(())
    }
}

/// The file that is followed next.
pub(super) struct Next {
    id: Id,
    created: Option<i64>,
    /// How it begins.
    head: Vec<u8>,
}

impl Next {
    pub(super) fn of(opened: &Opened) -> Self {
        Next { id: opened.stat.id, created: opened.stat.created, head: opened.head.clone() }
    }

    /// Whether a file with these first bytes is a copy of it, or is about to be.
    fn is_copied_by(&self, stat: &Stat, head: &[u8]) -> bool {
        if head.is_empty() {
            // What comes before it, and may still be written to, is not younger.
            return self.created.zip(stat.created).is_some_and(|(this, that)| that > this);
        }
        self.head.starts_with(head)
    }
}

/// The files of a trail that are followed.
fn ids(trail: &Trail) -> impl Iterator<Item = Id> {
    trail.generations.iter().map(|generation| generation.id)
}

/// Whether an inode was given to another file since it was seen.
fn is_reused(created: Option<i64>, stat: &Stat) -> bool {
    created.zip(stat.created).is_some_and(|(before, now)| before != now)
}

/// Notes which paths lead to the generations of a trail now.
fn refresh(trail: &mut Trail, look: &Look) {
    let here = look.matched.get(&trail.path).map(|stat| stat.id);
    for generation in &mut trail.generations {
        let found = look.matched_by_id(generation.id);
        generation.visible = found.is_some();
        generation.current = here == Some(generation.id);
    }
}

/// Finds those that are closed and have to be opened again, or looked for.
fn find_changed(trail: &mut Trail, look: &mut Look) {
    for at in 0..trail.generations.len() {
        if !trail.generations[at].is_parked() {
            continue;
        }
        let found = look.find(trail, trail.generations[at].id);
        let generation = &mut trail.generations[at];
        let is_as_it_was = found.is_some_and(|file| {
            generation.path = content::resolved(&file.path);
            (file.stat.size, file.stat.modified) == (generation.size, generation.modified)
                && !is_reused(generation.created, &file.stat)
        });
        if !is_as_it_was || generation.is_wanted() {
            generation.handle = Handle::Lost;
        }
    }
}

/// Whether nothing of a trail is there any more.
fn is_gone(trail: &Trail, look: &mut Look) -> bool {
    let mut is_there = |position: &FilePosition| {
        let id = Id { device: position.device, inode: position.inode };
        look.find(trail, id).is_some_and(|file| !is_reused(position.created, &file.stat))
    };
    trail.generations.is_empty() && !trail.past.iter().any(&mut is_there)
}

/// The first bytes that the file of a generation holds now.
pub(super) fn beginning_of(generation: &Generation) -> Option<Vec<u8>> {
    match &generation.handle {
        Handle::Open(Content::Plain(file)) => content::beginning(file).ok(),
        Handle::Parked if !generation.packed => {
            Opened::at(&generation.path, generation.id).ok().flatten().map(|opened| opened.head)
        }
        _ => None,
    }
}

/// Whether the file of a generation holds all of `head`: a copy of it has no more than it has itself. One that was
/// truncated meanwhile, and in which a few bytes stand that begin every line, holds less.
pub(super) fn holds_beginning(generation: &Generation, head: &[u8]) -> bool {
    !head.is_empty() && beginning_of(generation).is_some_and(|bytes| bytes.starts_with(head))
}

/// Whether one of two is the beginning of the other.
pub(super) fn begin_alike(one: &[u8], other: &[u8]) -> bool {
    let length = one.len().min(other.len());
    one[..length] == other[..length]
}

/// Whether more of a file than its mark says would tell it from others.
pub(super) fn is_short(mark: Head) -> bool {
    (mark.length as usize) < HEAD_BYTES
}

/// Whether a file beside a log that begins like this may be a copy of a generation of it.
fn may_be_copy(trail: &Trail, generation: &Generation, file: &Beside, head: &[u8]) -> bool {
    let mark = generation.mark();
    // What did not change since is older, however it begins.
    let may_be = content::begins_with(head, mark) && file.stat.modified >= generation.since;
    if !may_be || !is_short(mark) {
        return may_be;
    }
    // A few bytes may begin every generation.
    let is_of_another =
        trail.marks().any(|other| other.length > mark.length && content::begins_with(head, other));
    !is_of_another
}

fn is_unsettled(look: &Look, path: &Path) -> bool {
    let file = |stat: &Stat| Beside { path: path.to_owned(), stat: *stat };
    look.matched.get(path).is_some_and(|stat| file(stat).is_unsettled())
}

/// Offset after the last line end before `end`: a line that is not whole yet is read when it is.
fn last_line(file: &std::fs::File, end: u64) -> io::Result<u64> {
    let from = end.saturating_sub(LAST_LINE_BYTES);
    let mut bytes = vec![0; (end - from) as usize];
    let have = content::read_at(file, &mut bytes, from)?;
    // A line longer than what was looked at is as good as none.
    let nothing = if from == 0 { 0 } else { end };
    Ok(memchr::memrchr(b'\n', &bytes[..have]).map_or(nothing, |at| from + at as u64 + 1))
}
