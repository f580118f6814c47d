//! How many log files may be open at once. The others are closed, and opened again when more is written.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Which part of the process's limit of open files log files may take: connections and the database
/// need theirs.
const SHARE: usize = 4;

/// Open log files of all sources together, whatever the limit: opening one again is cheap.
const MAX_OPEN: usize = 1_024;

/// What each source may have open at least.
const MIN_OPEN: usize = 8;

/// Followers that share the room.
static FOLLOWERS: AtomicUsize = AtomicUsize::new(0);

/// The room of one follower.
#[derive(Debug)]
pub(super) struct Room {
    total: usize,
}

impl Room {
    pub(super) fn new() -> Self {
        Room::of(limit() / SHARE)
    }

    /// With so many for all.
    pub(super) fn of(total: usize) -> Self {
        FOLLOWERS.fetch_add(1, Ordering::Relaxed);
        Room { total: total.min(MAX_OPEN) }
    }

    /// Files that this follower may have open.
    pub(super) fn files(&self) -> usize {
        (self.total / FOLLOWERS.load(Ordering::Relaxed).max(1)).max(MIN_OPEN.min(self.total))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        FOLLOWERS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(target_os = "linux")]
fn limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What most systems begin with.
#[cfg(not(target_os = "linux"))]
fn limit() -> usize {
    1_024
}
