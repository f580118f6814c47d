//! What the agent part counts, for metrics and status.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::prom::Histogram;

/// Bounds of the time from reading a line to its decision being visible, in seconds.
const LATENCY: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// The counts of the agent part.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Overflows that a postoverflow took back.
    pub(crate) whitelisted: Count,
    /// Overflows about addresses that must never be banned.
    pub(crate) protected: Count,
    /// Alerts that lost their remedy since their rule reached too far.
    pub(crate) stopped: Count,
    /// Alerts put into the outbox.
    pub(crate) alerts: Count,
    /// Alerts that had been acknowledged before a crash.
    pub(crate) repeated: Count,
    /// Alerts for which there was no room, or that the API refused; they are among the dead letters.
    pub(crate) dead: Count,
    /// Lines that were skipped under overload.
    pub(crate) skipped: Count,
    /// Failed attempts to hand alerts over.
    pub(crate) failed_deliveries: Count,
    /// Checkpoints on the disk.
    pub(crate) checkpoints: Count,
    /// Bytes of the last one.
    pub(crate) checkpoint_bytes: Count,
    /// Milliseconds that the last one took.
    pub(crate) checkpoint_millis: Count,
    /// Reloads of the configuration that were taken.
    pub(crate) reloads: Count,
    /// Reloads that were refused.
    pub(crate) refused_reloads: Count,
    latency: Mutex<Histogram>,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            whitelisted: Count::default(),
            protected: Count::default(),
            stopped: Count::default(),
            alerts: Count::default(),
            repeated: Count::default(),
            dead: Count::default(),
            skipped: Count::default(),
            failed_deliveries: Count::default(),
            checkpoints: Count::default(),
            checkpoint_bytes: Count::default(),
            checkpoint_millis: Count::default(),
            reloads: Count::default(),
            refused_reloads: Count::default(),
            latency: Mutex::new(Histogram::new(LATENCY)),
        }
    }
}

impl Counts {
    fn latencies(&self) -> MutexGuard<'_, Histogram> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line has led to decisions that can be seen.
    pub(crate) fn seen_after(&self, time: Duration) {
        self.latencies().observe(time.as_secs_f64());
    }

    /// The times from reading a line to its decisions.
    pub(crate) fn latency(&self) -> Histogram {
        self.latencies().clone()
    }
}
