//! Waits until something may have happened to files, or some time has passed.
//!
//! On Linux, inotify tells at once. Everywhere, looking again after a while guarantees progress:
//! network file systems and full queues tell nothing.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    time::Duration,
};

/// What may have happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    /// A file was written to.
    pub(super) written: bool,
    /// Which, where that was told: some of those that are watched.
    pub(super) files: HashSet<PathBuf>,
    /// A file came, went, or changed its name.
    pub(super) moved: bool,
}

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched {
    /// Directories in which files come and go.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Files that are written to.
    pub(super) files: HashSet<PathBuf>,
}

#[cfg(target_os = "linux")]
pub(super) use linux::Wake;
#[cfg(not(target_os = "linux"))]
pub(super) use polling::Wake;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        collections::{BTreeMap, HashMap},
        ffi::OsStr,
        io,
        mem::MaybeUninit,
        os::{
            fd::{AsFd, OwnedFd},
            unix::ffi::OsStrExt,
        },
        path::{Path, PathBuf},
        sync::Arc,
        time::Duration,
    };

    use rustix::{
        event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
        fs::inotify,
    };

    use super::{Happened, Watched};

    /// Room for events that are read at once.
    const EVENT_BYTES: usize = 16 << 10;

    /// Directories that one source watches; the others are looked at from time to time.
    const MAX_WATCHES: usize = 8_192;

    /// Ends a wait from another thread.
    #[derive(Clone, Debug)]
    pub(in super::super) struct Interrupt(Arc<OwnedFd>);

    impl Interrupt {
        pub(in super::super) fn interrupt(&self) {
            // The counter of an eventfd is full only when a wait has been ended already.
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }
    }

    pub(in super::super) struct Wake {
        inotify: Option<OwnedFd>,
        interrupt: Interrupt,
        by_path: BTreeMap<PathBuf, i32>,
        by_watch: HashMap<i32, PathBuf>,
        watched: Arc<Watched>,
    }

    impl Wake {
        /// With `polling`, nothing is watched.
        pub(in super::super) fn new(polling: bool) -> io::Result<Wake> {
            let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
            let inotify = if polling { None } else { inotify::init(flags).ok() };
            let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
            Ok(Wake {
                inotify,
                interrupt: Interrupt(Arc::new(event)),
                by_path: BTreeMap::new(),
                by_watch: HashMap::new(),
                watched: Arc::default(),
            })
        }

        pub(in super::super) fn interrupt(&self) -> Interrupt {
            self.interrupt.clone()
        }

        /// Says what to watch from now on. `false`: not all of it can be.
        pub(in super::super) fn watch(&mut self, watched: &Arc<Watched>) -> bool {
            let Some(inotify) = &self.inotify else { return false };
            if Arc::ptr_eq(watched, &self.watched) && self.by_path.len() == watched.directories.len() {
                return true;
            }
            for (path, watch) in std::mem::take(&mut self.by_path) {
                if watched.directories.contains(&path) {
                    self.by_path.insert(path, watch);
                } else if self.by_watch.remove(&watch).is_some() {
                    // It may be gone already.
                    let _ = inotify::remove_watch(inotify, watch);
                }
            }
            for path in &watched.directories {
                if self.by_path.contains_key(path) || self.by_path.len() >= MAX_WATCHES {
                    continue;
                }
                if let Ok(watch) = inotify::add_watch(inotify, path, flags()) {
                    self.by_path.insert(path.clone(), watch);
                    self.by_watch.insert(watch, path.clone());
                }
            }
            self.watched = Arc::clone(watched);
            self.by_path.len() == self.watched.directories.len()
        }

        /// Waits for something to happen, at most for `timeout`.
        pub(in super::super) fn wait(&mut self, timeout: Duration) -> Happened {
            let timeout =
                Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
            let mut sources = vec![PollFd::new(&self.interrupt.0, PollFlags::IN)];
            if let Some(inotify) = &self.inotify {
                sources.push(PollFd::from_borrowed_fd(inotify.as_fd(), PollFlags::IN));
            }
            // A signal ends the wait early; that does no harm.
            let _ = poll(&mut sources, Some(&timeout));
            self.happened()
        }

        fn happened(&mut self) -> Happened {
            let mut happened = Happened::default();
            let mut gone = Vec::new();
            if let Some(inotify) = &self.inotify {
                let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
                let mut events = inotify::Reader::new(inotify, &mut buffer);
                while let Ok(event) = events.next() {
                    let flags = event.events();
                    if flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                        (happened.written, happened.moved) = (true, true);
                    } else if flags.contains(inotify::ReadFlags::IGNORED) {
                        gone.push(event.wd());
                        happened.moved = true;
                    } else if flags.contains(inotify::ReadFlags::MODIFY) {
                        let name = event.file_name().map(std::ffi::CStr::to_bytes);
                        happened.files.extend(self.watched_file(event.wd(), name));
                    } else {
                        happened.moved = true;
                    }
                }
            }
            happened.written |= !happened.files.is_empty();
            for watch in gone {
                if let Some(path) = self.by_watch.remove(&watch) {
                    self.by_path.remove(&path);
                }
            }
            happened
        }

        fn watched_file(&self, watch: i32, name: Option<&[u8]>) -> Option<PathBuf> {
            let path = self.by_watch.get(&watch)?.join(OsStr::from_bytes(name?));
            self.watched.files.contains(&path).then_some(path)
        }
    }

    fn flags() -> inotify::WatchFlags {
        inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::ONLYDIR
    }

    /// Whether a path lies on a file system of the network, which tells nothing about other machines.
    pub(in super::super) fn is_remote(path: &Path) -> bool {
        // NFS, SMB, CIFS, SMB2.
        const REMOTE: [u64; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
        rustix::fs::statfs(path).is_ok_and(|stat| REMOTE.contains(&(stat.f_type as u64 & 0xffff_ffff)))
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::is_remote;

#[cfg(not(target_os = "linux"))]
pub(super) fn is_remote(_: &std::path::Path) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
mod polling {
    use std::{
        io,
        sync::{Arc, Condvar, Mutex, PoisonError},
        time::Duration,
    };

    use super::{Happened, Watched};

    /// Ends a wait from another thread.
    #[derive(Clone, Debug, Default)]
    pub(in super::super) struct Interrupt(Arc<(Mutex<bool>, Condvar)>);

    impl Interrupt {
        pub(in super::super) fn interrupt(&self) {
            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.0.1.notify_all();
        }
    }

    pub(in super::super) struct Wake(Interrupt);

    impl Wake {
        pub(in super::super) fn new(_: bool) -> io::Result<Wake> {
            Ok(Wake(Interrupt::default()))
        }

        pub(in super::super) fn interrupt(&self) -> Interrupt {
            self.0.clone()
        }

        pub(in super::super) fn watch(&mut self, _: &Arc<Watched>) -> bool {
            false
        }

        pub(in super::super) fn wait(&mut self, timeout: Duration) -> Happened {
            let lock = self.0.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.0.0.1.wait_timeout_while(lock, timeout, |interrupted| !*interrupted);
            drop(waited);
            Happened::default()
        }
    }
}

/// How long to wait between two looks when everything is told.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// How long to wait when nothing is told.
pub(super) const QUICK: Duration = Duration::from_millis(250);

/// How long a look at what was written may take in more of it: lines come in bursts.
pub(super) const GATHER: Duration = Duration::from_millis(2);

/// The most that it takes in: writing should not keep the thread busy with many files.
pub(super) const GATHER_MOST: Duration = Duration::from_millis(100);

/// How much longer than a look or a turn it is waited before the next, where they take long.
pub(super) const REST: u32 = 4;

/// How often all patterns are looked up again although nothing was told.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(10);
