//! A clock that does not jump: bans last as long as they were meant to, whatever happens to the clock of the machine.
//!
//! It starts with the clock of the machine and then counts the seconds since boot. Small corrections are followed. A
//! step of more than a few seconds is not: from then on the two differ, and by how much is kept in a file, so that a
//! restart changes nothing. When no decision is in force that a step could lift or prolong, the next start takes the
//! time of the machine again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::state::replace;

/// Corrections of at most so many milliseconds are followed: clocks are set right in small steps all the time.
const FOLLOWED_MS: i64 = 2_000;

/// So long after boot, a clock that is set forward was wrong until then: machines without a clock of their own begin
/// in the past. That is a correction, however large.
const BOOTING_MS: i64 = 10 * 60 * 1000;

/// How often the clock of the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Milliseconds since boot, suspended or not.
#[cfg(target_os = "linux")]
fn since_boot_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Milliseconds since some moment before the first call.
#[cfg(not(target_os = "linux"))]
fn since_boot_ms() -> i64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static FIRST: OnceLock<Instant> = OnceLock::new();
    i64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// A clock in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Steady {
    /// What is added to the time since boot.
    base_ms: AtomicI64,
    /// By how much the clock of the machine is ahead.
    ahead_ms: AtomicI64,
}

/// What a look at the clock of the machine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It was corrected by this much.
    Corrected(i64),
    /// It was set: now it is so far ahead of ours.
    Jumped(i64),
}

fn look(machine_ms: i64, ours_ms: i64, ahead_ms: i64, since_boot_ms: i64) -> Look {
    let ahead = machine_ms.saturating_sub(ours_ms);
    let step = ahead.saturating_sub(ahead_ms);
    let booting = step > 0 && since_boot_ms < BOOTING_MS;
    if booting || step.abs() <= FOLLOWED_MS { Look::Corrected(step) } else { Look::Jumped(ahead) }
}

/// Where the difference is kept.
fn file_of(data_dir: &Path) -> PathBuf {
    data_dir.join("testudo.clock")
}

impl Steady {
    /// Goes on with the difference that was kept, if there is one.
    pub(crate) fn start(data_dir: &Path) -> Steady {
        let kept = std::fs::read_to_string(file_of(data_dir)).ok();
        let ahead = kept.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Steady::at(clock::now_ms(), since_boot_ms(), ahead)
    }

    fn at(machine_ms: i64, since_boot_ms: i64, ahead_ms: i64) -> Steady {
        let base = machine_ms.saturating_sub(ahead_ms).saturating_sub(since_boot_ms);
        Steady { base_ms: AtomicI64::new(base), ahead_ms: AtomicI64::new(ahead_ms) }
    }

    /// The present.
    pub(crate) fn now_ms(&self) -> i64 {
        self.base_ms.load(Ordering::Relaxed).saturating_add(since_boot_ms())
    }

    /// By how many milliseconds the clock of the machine is ahead.
    pub(crate) fn ahead_ms(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Takes the time of the machine again: nothing is in force that would notice.
    pub(crate) fn adopt(&self, data_dir: &Path) {
        let ahead = self.ahead_ms.swap(0, Ordering::Relaxed);
        self.base_ms.fetch_add(ahead, Ordering::Relaxed);
        if let Err(error) = std::fs::remove_file(file_of(data_dir))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the difference of the clocks cannot be forgotten");
        }
    }

    /// Looks at the clock of the machine again and again, until it is dropped.
    pub(crate) async fn watch(&self, data_dir: &Path) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            match look(clock::now_ms(), self.now_ms(), self.ahead_ms(), since_boot_ms()) {
                Look::Corrected(step) => {
                    self.base_ms.fetch_add(step, Ordering::Relaxed);
                }
                Look::Jumped(ahead) => {
                    let before = self.ahead_ms.swap(ahead, Ordering::Relaxed);
                    tracing::error!(
                        seconds = (ahead - before) / 1000,
                        "the clock of the machine has jumped: decisions keep their length, and the API its own time"
                    );
                    if let Err(error) = replace(&file_of(data_dir), format!("{ahead}\n").as_bytes()) {
                        tracing::error!(%error, "the difference of the clocks cannot be kept for the next start");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_followed_and_jumps_are_not() {
        let up = BOOTING_MS;
        let check = |machine, ours, ahead, expected| assert_eq!(look(machine, ours, ahead, up), expected);
        check(1_000_500, 1_000_000, 0, Look::Corrected(500));
        check(998_000, 1_000_000, 0, Look::Corrected(-2_000));
        check(4_600_000, 1_000_000, 0, Look::Jumped(3_600_000));
        check(-2_600_000, 1_000_000, 0, Look::Jumped(-3_600_000));
        // It stays ahead, and is corrected.
        check(4_600_300, 1_000_000, 3_600_000, Look::Corrected(300));
        // It comes back.
        check(1_000_000, 1_000_000, 3_600_000, Look::Jumped(0));
        check(i64::MAX, i64::MIN, 0, Look::Jumped(i64::MAX));
        // The clock of a machine that has just started was behind, and is set.
        assert_eq!(look(4_600_000, 1_000_000, 0, 30_000), Look::Corrected(3_600_000));
        assert_eq!(look(-2_600_000, 1_000_000, 0, 30_000), Look::Jumped(-3_600_000));
    }

    #[test]
    fn a_restart_keeps_the_difference() {
        let folder = tempfile::tempdir().expect("a folder");
        replace(&file_of(folder.path()), b"3600000\n").expect("it is written");
        let steady = Steady::start(folder.path());
        assert_eq!(steady.ahead_ms(), 3_600_000);
        let behind = clock::now_ms() - steady.now_ms();
        assert!((3_599_000..=3_601_000).contains(&behind), "{behind}");
        steady.adopt(folder.path());
        assert_eq!(steady.ahead_ms(), 0);
        assert!((clock::now_ms() - steady.now_ms()).abs() < 1_000);
        assert_eq!(Steady::start(folder.path()).ahead_ms(), 0);
    }
}
