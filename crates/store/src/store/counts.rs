//! Counts for metrics, which are asked for every few seconds, whether there is a dozen alerts or a million.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::db::alerts;

use super::{Store, lock};

/// Counts are not older than this, unless counting takes long.
const FRESH: Duration = Duration::from_secs(5);
/// Of the time, at most one part in so many goes to counting.
const SHARE: u32 = 20;

/// The counts of the last time.
#[derive(Default)]
pub(super) struct AlertCounts {
    counts: Arc<Vec<(String, u64)>>,
    /// When they are to be counted again.
    due: Option<Instant>,
}

impl Store {
    /// How many alerts are stored of each scenario, by its name: as they were a few seconds ago, and for as
    /// long as the database does not answer, as they were before. The first time it is waited for the
    /// database.
    pub fn alert_counts(&self) -> Arc<Vec<(String, u64)>> {
        // Whoever asks while another one counts waits for that.
        let mut known = lock(&self.alert_counts);
        let start = Instant::now();
        if known.due.is_some_and(|due| start < due) {
            return Arc::clone(&known.counts);
        }
        if let Ok(counts) = self.ask("count alerts", alerts::count_by_scenario) {
            known.counts = Arc::new(counts);
        }
        known.due = Some(Instant::now() + FRESH.max(start.elapsed() * SHARE));
        Arc::clone(&known.counts)
    }
}
