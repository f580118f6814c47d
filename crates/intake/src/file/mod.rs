//! *file*: follows log files through every kind of rotation, or reads them once.
//!
//! A file is known by device, inode and first bytes. One that is renamed, copied and truncated,
//! compressed, or replaced by way of a link is read to its end before its successor is, and after a
//! restart reading goes on in whichever file the rest is by then. Files that were there at the very
//! first start are read from their end, all others from their beginning.

mod claim;
mod content;
mod cut;
mod folder;
mod follow;
mod generation;
mod glob;
mod index;
mod kin;
mod look;
mod once;
mod room;
mod scan;
#[cfg(all(test, unix))]
mod tests;
mod trail;
mod wake;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

pub(crate) use self::{cut::Cutter, glob::Pattern};
use self::{
    follow::Follower,
    wake::{GATHER, GATHER_MOST, LOOK_AGAIN, QUICK, REST, SLOW, Wake, Watched},
};
use crate::{
    outlet::{Outlet, Stopped},
    source::{Mode, Run, Settings, Source, SourceError},
};

/// What a *file* source reads, and how.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// `filename` and `filenames`.
    pub(crate) patterns: Vec<Pattern>,
    /// `exclude_regexps`.
    pub(crate) exclude: Vec<regex::Regex>,
    /// `max_buffer_size`: longest line.
    pub(crate) max_line_bytes: usize,
    /// `poll_without_inotify`; where nothing is said, network file systems are polled.
    pub(crate) poll: Option<bool>,
    /// `discovery_poll_interval`, if `discovery_poll_enable` says so.
    pub(crate) discovery: Option<Duration>,
}

impl FileConfig {
    /// The paths that match now, without the excluded ones.
    pub(crate) fn matching(&self) -> BTreeSet<PathBuf> {
        let mut found = glob::Found::default();
        for pattern in &self.patterns {
            pattern.expand(&mut found);
        }
        found.paths.retain(|path| !self.is_excluded(path));
        found.paths
    }

    /// Whether an `exclude_regexps` names the path.
    pub(crate) fn is_excluded(&self, path: &std::path::Path) -> bool {
        let text = path.to_string_lossy();
        self.exclude.iter().any(|regex| regex.is_match(&text))
    }

    fn polls(&self) -> bool {
        self.poll.unwrap_or_else(|| self.matching().iter().any(|path| wake::is_remote(path)))
    }
}

/// A *file* source.
#[derive(Debug)]
pub struct FileSource {
    settings: Settings,
    config: Arc<FileConfig>,
}

impl FileSource {
    /// A source of what `config` says.
    pub fn new(settings: Settings, config: FileConfig) -> Self {
        FileSource { settings, config: Arc::new(config) }
    }

    /// What it reads.
    pub fn config(&self) -> &FileConfig {
        &self.config
    }
}

impl Source for FileSource {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn run(self: Arc<Self>, outlet: Outlet) -> Run {
        Box::pin(async move {
            let wake = Wake::new(self.config.polls()).map_err(SourceError::io("watch files"))?;
            let interrupt = wake.interrupt();
            let (done, ended) = oneshot::channel();
            let (config, mode) = (Arc::clone(&self.config), self.settings.mode);
            let inner = outlet.clone();
            // A thread of its own: a file system that hangs must not hold up the runtime.
            thread::Builder::new()
                .name("intake-file".to_owned())
                .spawn(move || {
                    let result = match mode {
                        Mode::Cat => once::read(&config, &inner),
                        Mode::Tail => follow(config, inner, wake),
                    };
                    let _ = done.send(result);
                })
                .map_err(SourceError::io("start a thread"))?;
            tokio::pin!(ended);
            let result = tokio::select! {
                result = &mut ended => result,
                () = outlet.stopped() => {
                    interrupt.interrupt();
                    ended.await
                }
            };
            // Being stopped is no failure.
            result
                .map(|_: Result<(), Stopped>| ())
                .map_err(|_| SourceError::Panic("the reading thread ended".to_owned()))
        })
    }
}

fn follow(config: Arc<FileConfig>, outlet: Outlet, mut wake: Wake) -> Result<(), Stopped> {
    let started = Instant::now();
    let again = config.discovery.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
    let mut follower = Follower::new(config, outlet.clone());
    let mut scanned: Option<Instant> = None;
    let mut cost = Duration::ZERO;
    let mut moved = true;
    let mut watched = Arc::new(Watched::default());
    while !outlet.is_stopped() {
        let now = started.elapsed();
        let is_due = |pause: Duration| scanned.is_none_or(|at| at.elapsed() >= pause);
        if follower.changed {
            watched = Arc::new(follower.watched());
        }
        let mut told = wake.watch(&watched);
        if moved && is_due((cost * REST).min(SLOW)) || is_due(if told { again } else { SLOW }) {
            let begun = Instant::now();
            follower.scan(now)?;
            cost = begun.elapsed();
            scanned = Some(Instant::now());
            let before = std::mem::replace(&mut watched, Arc::new(follower.watched()));
            // What happened in a folder before it was watched was not told.
            moved = before.directories != watched.directories;
            told = wake.watch(&watched);
        }
        let begun = Instant::now();
        let more = follower.turn(now)?;
        moved |= std::mem::take(&mut follower.lost);
        let rest = (begun.elapsed() * REST).clamp(GATHER, GATHER_MOST);
        let pause = match (more, told) {
            (true, _) => Duration::ZERO,
            // What moved is looked at as soon as that is due.
            (false, true) if moved => SLOW.min(cost * REST),
            (false, true) => SLOW,
            (false, false) => QUICK,
        };
        let happened = wake.wait(pause);
        moved |= happened.moved;
        follower.stir(happened.files);
        let is_caught_up = !more || outlet.counters().lag_bytes.get() == 0;
        if happened.written && !moved && is_caught_up {
            thread::sleep(rest);
        }
    }
    Err(Stopped)
}
