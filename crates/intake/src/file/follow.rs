//! Follows the files of one source: what is read, in which order, and when a file is over.
//!
//! [`Follower::scan`] looks for files that came, went, were renamed or replaced; [`Follower::turn`]
//! reads on in all that are known. Both do their work at once and wait for nothing but the outlet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    FileConfig,
    content::{Content, Id, Opened},
    generation::{Generation, Handle, Read},
    glob::Pattern,
    look::{Folders, Heads, Look},
    room::Room,
    scan::Next,
    trail::Trail,
    wake::Watched,
};
use crate::{
    batch::{BATCH_BYTES, Collector},
    outlet::{self, Outlet, Stopped},
    position::{Change, FileState, Position},
};

/// How long a file that was replaced or deleted is kept open after its last line: programs reopen
/// their logs some time after these were rotated.
pub(super) const QUIET: Duration = Duration::from_mins(5);

/// The state of following.
pub(super) struct Follower {
    pub(super) config: Arc<FileConfig>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) outlet: Outlet,
    pub(super) trails: BTreeMap<PathBuf, Trail>,
    pub(super) heads: Heads,
    /// No scan was made yet.
    pub(super) first: bool,
    /// Which patterns an earlier run has watched already.
    pub(super) watched: Vec<bool>,
    /// Files that were there at first but could not be opened, with the size that they had.
    pub(super) pending: HashMap<PathBuf, (Id, u64)>,
    /// Where something can come up that matters.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Time since the source started.
    pub(super) now: Duration,
    /// Paths that lead to no file and of which this was told.
    pub(super) strange: HashSet<PathBuf>,
    /// What is in the folders of logs.
    pub(super) folders: Folders,
    pub(super) room: Room,
    /// Files that are open.
    pub(super) open: usize,
    /// What is followed is not what it was when [`Follower::watched`] was asked last.
    pub(super) changed: bool,
    /// A scan must find out what became of a file.
    pub(super) lost: bool,
    /// Files that were written to since the last turn.
    stirred: HashSet<PathBuf>,
    told: HashSet<PathBuf>,
    buffer: Vec<u8>,
}

/// What became of one read.
enum Pumped {
    More,
    End,
    Truncated,
}

impl Follower {
    /// Goes on from the positions of the outlet.
    pub(super) fn new(config: Arc<FileConfig>, outlet: Outlet) -> Self {
        let patterns: Vec<Pattern> = config.patterns.clone();
        let positions = outlet.positions();
        let prefix = outlet.settings.key("");
        let mut trails = BTreeMap::new();
        for (key, known) in positions.streams.range(prefix.to_string()..) {
            let Some(path) = key.strip_prefix(&*prefix) else { break };
            if patterns.iter().any(|pattern| pattern.matches(Path::new(path))) {
                let stream = outlet.stream(path, key.as_str().into(), None);
                let path = PathBuf::from(path);
                trails.insert(path.clone(), Trail::resume(path, stream, known, config.max_line_bytes));
            }
        }
        let watched =
            patterns.iter().map(|pattern| !positions.of(&watch_key(&outlet, pattern)).is_empty()).collect();
        Follower {
            config,
            patterns,
            outlet,
            trails,
            heads: Heads::default(),
            first: true,
            watched,
            pending: HashMap::new(),
            directories: BTreeSet::new(),
            now: Duration::ZERO,
            strange: HashSet::new(),
            folders: Folders::default(),
            room: Room::new(),
            open: 0,
            changed: true,
            lost: false,
            stirred: HashSet::new(),
            told: HashSet::new(),
            buffer: vec![0; BATCH_BYTES],
        }
    }

    /// Reads on in every file; at most one batch of each. Says whether there may be more.
    pub(super) fn turn(&mut self, now: Duration) -> Result<bool, Stopped> {
        self.now = now;
        let mut more = false;
        let mut lag = 0;
        let mut trails = std::mem::take(&mut self.trails);
        let stirred = std::mem::take(&mut self.stirred);
        let mut result = Ok(());
        for trail in trails.values_mut() {
            if !stirred.is_empty() {
                stir(trail, &stirred);
            }
            if result.is_ok() {
                let before = trail.open();
                result = self.turn_trail(trail).map(|has_more| more |= has_more);
                self.settle(trail, before);
            }
            lag += trail.generations.iter().map(|g| g.size.saturating_sub(g.cutter.read())).sum::<u64>();
        }
        self.close_idle(&mut trails);
        self.trails = trails;
        self.outlet.counters.lag_bytes.set(lag);
        result.map(|()| more)
    }

    /// Notes files that were written to: those that are closed are opened in the next turn.
    pub(super) fn stir(&mut self, files: HashSet<PathBuf>) {
        self.stirred.extend(files);
    }

    /// Counts what became open of a trail that had `before`, and closes it again if that is too much.
    pub(super) fn settle(&mut self, trail: &mut Trail, before: usize) {
        self.open = (self.open + trail.open()).saturating_sub(before);
        let room = self.room.files();
        for generation in trail.generations.iter_mut().filter(|generation| generation.can_park()) {
            if self.open > room {
                generation.park();
                self.open -= 1;
            }
        }
    }

    /// Makes room where there is little left: files to which nothing was written for longest are closed.
    fn close_idle(&mut self, trails: &mut BTreeMap<PathBuf, Trail>) {
        let room = self.room.files();
        if self.open <= room - room / 4 {
            return;
        }
        let all = trails.values_mut().flat_map(|trail| &mut trail.generations);
        let mut open: Vec<&mut Generation> = all.filter(|generation| generation.can_park()).collect();
        open.sort_by_key(|generation| generation.quiet_since);
        let count = self.open - room / 2;
        for generation in open.into_iter().take(count) {
            generation.park();
            self.open -= 1;
        }
    }

    /// Reads the generations of a trail one after the other: what was written earlier comes first.
    fn turn_trail(&mut self, trail: &mut Trail) -> Result<bool, Stopped> {
        let mut at = 0;
        while at < trail.generations.len() {
            match self.pump(trail, at)? {
                Pumped::More => return Ok(true),
                Pumped::Truncated => self.truncated(trail, at)?,
                Pumped::End => {
                    if !self.retire_if_over(trail, at)? {
                        at += 1;
                    }
                }
            }
        }
        Ok(false)
    }

    fn pump(&mut self, trail: &mut Trail, at: usize) -> Result<Pumped, Stopped> {
        if trail.generations[at].is_wanted() && !trail.generations[at].reopen() {
            self.lost = true;
        }
        if trail.generations[at].current && trail.generations[at].mark().length == 0 {
            let count = trail.generations.len();
            self.begin_reading(trail, at)?;
            if trail.generations.len() > count {
                return Ok(Pumped::More);
            }
        }
        let generation = &mut trail.generations[at];
        let count = match generation.read(&mut self.buffer) {
            Ok(Read::Bytes(count)) => count,
            Ok(Read::End) => return Ok(Pumped::End),
            Ok(Read::Truncated) => return Ok(Pumped::Truncated),
            Err(error) => {
                let path = generation.path.clone();
                if generation.packed {
                    // It will not get better.
                    self.outlet.counters.gaps.add(1);
                    generation.handle = Handle::Parked;
                } else {
                    generation.handle = Handle::Lost;
                }
                self.tell(&path, format_args!("cannot read {}: {error}", path.display()));
                return Ok(Pumped::End);
            }
        };
        if self.beside(|follower, look| follower.is_overtaken(trail, at, look)) {
            return Ok(Pumped::Truncated);
        }
        let generation = &mut trail.generations[at];
        let bytes = &self.buffer[..count];
        generation.note(bytes, self.now);
        let before = generation.cutter.done();
        let counters = &self.outlet.counters;
        let position = generation.position(before, FileState::Open);
        let mut lines = Collector::of_file(Arc::clone(&trail.stream), position, generation.beginning());
        let cut = generation.cutter.feed(bytes, &mut |line, offset| {
            if !lines.push_at(line, offset) {
                counters.not_utf8.add(1);
            }
        });
        counters.too_long.add(cut.too_long);
        let done = generation.cutter.done();
        if done != before {
            let position = generation.position(done, FileState::Open);
            let batch = lines.finish(outlet::now(), Some(Change::At(Position::File(position))));
            self.outlet.send_blocking(batch)?;
        }
        Ok(Pumped::More)
    }

    /// The first bytes of a file that was empty are there. What was there before them, if anything, is
    /// in a copy that must be found now: nothing else will tell of it.
    fn begin_reading(&mut self, trail: &mut Trail, at: usize) -> Result<(), Stopped> {
        let generation = &mut trail.generations[at];
        // If this fails, so will what follows, and be told.
        if generation.load_head().is_err() || generation.mark().length == 0 {
            return Ok(());
        }
        self.beside(|follower, look| follower.insert_missed(trail, at, look, None)).map(drop)
    }

    /// Does something with what is beside the logs.
    fn beside<T>(&mut self, work: impl FnOnce(&mut Self, &mut Look) -> T) -> T {
        let mut look = Look::with(std::mem::take(&mut self.folders));
        let result = work(self, &mut look);
        self.folders = look.folders;
        result
    }

    /// Lets go of a generation of which nothing more will come.
    fn retire_if_over(&mut self, trail: &mut Trail, at: usize) -> Result<bool, Stopped> {
        let generation = &mut trail.generations[at];
        let Handle::Open(content) = &generation.handle else {
            // One that is parked and cannot be seen any more is gone.
            let is_over = matches!(generation.handle, Handle::Parked)
                && (generation.packed
                    || !generation.visible
                        && !generation.current
                        && !generation.is_wanted()
                        && self.now.saturating_sub(generation.quiet_since) >= QUIET);
            return if is_over { self.retire(trail, at).map(|()| true) } else { Ok(false) };
        };
        if matches!(content, Content::Packed(_)) || generation.fixed {
            return self.retire(trail, at).map(|()| true);
        }
        if generation.current || self.now.saturating_sub(generation.quiet_since) < QUIET {
            return Ok(false);
        }
        if generation.visible {
            generation.park();
            return Ok(false);
        }
        self.retire(trail, at).map(|()| true)
    }

    /// A generation is over: its partial last line is a line.
    pub(super) fn retire(&mut self, trail: &mut Trail, at: usize) -> Result<(), Stopped> {
        self.changed = true;
        let mut generation = trail.generations.remove(at);
        let before = generation.position(generation.cutter.done(), FileState::Open);
        let counters = &self.outlet.counters;
        let mut lines = Collector::of_file(Arc::clone(&trail.stream), before, generation.beginning());
        if generation.cutter.holds() {
            let cut = generation.cutter.finish(&mut |line, offset| {
                if !lines.push_at(line, offset) {
                    counters.not_utf8.add(1);
                }
            });
            counters.too_long.add(cut.too_long);
        }
        let position = generation.position(generation.cutter.done(), FileState::Finished);
        trail.remember(position.clone());
        let batch = lines.finish(outlet::now(), Some(Change::At(Position::File(position))));
        self.outlet.send_blocking(batch)
    }

    /// A file has become another one under its name, by truncation.
    pub(super) fn truncated(&mut self, trail: &mut Trail, at: usize) -> Result<(), Stopped> {
        if trail.generations[at].fixed {
            self.outlet.counters.gaps.add(1);
            return self.retire(trail, at);
        }
        let generation = &mut trail.generations[at];
        let path = generation.path.clone();
        match generation.detach() {
            Ok(None) => Ok(()),
            Ok(Some(opened)) => self.beside(|follower, look| follower.succeed(trail, at, opened, look)),
            Err(error) => {
                self.tell(&path, format_args!("cannot read {}: {error}", path.display()));
                Ok(())
            }
        }
    }

    /// The file of a generation holds another one now. What it held before may have been copied; the
    /// rest of that is read there, then the file from its beginning.
    pub(super) fn succeed(
        &mut self,
        trail: &mut Trail,
        at: usize,
        opened: Opened,
        look: &mut Look,
    ) -> Result<(), Stopped> {
        let generation = &mut trail.generations[at];
        let (current, visible) = (std::mem::replace(&mut generation.current, false), generation.visible);
        let next = if let Some(rest) = self.rest_of(trail, at, look) {
            let (path, copy) = (opened.path.display(), rest.path.display());
            self.outlet.log.debug(format_args!("{path} was truncated; its rest is in {copy}"));
            let generation = &mut trail.generations[at];
            generation.attach(rest);
            generation.fixed = true;
            self.note(trail, at)?;
            at + 1
        } else {
            self.retire(trail, at)?;
            at
        };
        // An earlier run may have come to this point already.
        if trail.generations.iter().skip(next).any(|generation| generation.id == opened.stat.id) {
            return Ok(());
        }
        let coming = Next::of(&opened);
        let next = next + self.insert_missed(trail, next, look, Some(&coming))?;
        let mut new = Generation::new(trail.number(), opened, 0, self.config.max_line_bytes);
        new.current = current;
        new.visible = visible;
        new.quiet_since = self.now;
        trail.generations.insert(next, new);
        self.note(trail, next)
    }

    /// Hands out the position of a generation, without lines.
    pub(super) fn note(&mut self, trail: &Trail, at: usize) -> Result<(), Stopped> {
        self.changed = true;
        let generation = &trail.generations[at];
        let position = generation.position(generation.cutter.done(), FileState::Open);
        let change = Change::At(Position::File(position));
        self.outlet
            .send_blocking(Collector::new(Arc::clone(&trail.stream)).finish(outlet::now(), Some(change)))
    }

    /// Where something can happen that matters.
    pub(super) fn watched(&mut self) -> Watched {
        self.changed = false;
        let files = self.trails.values().flat_map(Trail::paths).map(Path::to_owned).collect();
        Watched { directories: self.directories.clone(), files }
    }

    /// Tells a problem with a path, once until it is over.
    pub(super) fn tell(&mut self, path: &Path, message: impl fmt::Display) {
        if self.told.insert(path.to_owned()) {
            self.outlet.log.warn(message);
        }
    }

    /// A path is all right again.
    pub(super) fn untell(&mut self, path: &Path) {
        self.told.remove(path);
    }
}

/// Marks those of a trail that are closed and were written to.
fn stir(trail: &mut Trail, stirred: &HashSet<PathBuf>) {
    let is_stirred = stirred.contains(&trail.path);
    for generation in trail.generations.iter_mut().filter(|generation| generation.is_parked()) {
        generation.stirred |= is_stirred && generation.current || stirred.contains(&generation.path);
    }
}

/// The key under which it is noted that a pattern was watched.
pub(super) fn watch_key(outlet: &Outlet, pattern: &Pattern) -> Arc<str> {
    format!("watch:{}:{}", outlet.settings.scope, pattern.text()).into()
}
