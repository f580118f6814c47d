//! How long requests took: histograms by endpoint and method.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;

use crate::counts::method_name;
use crate::routes::Route;

/// Upper bounds of the buckets, in seconds: those that dashboards of the ecosystem know.
pub const DURATION_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0];

/// The durations of requests of one kind, until their answers began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durations {
    /// The path, its parameters as `:alert_id` and the like; empty for paths that there are not.
    pub endpoint: &'static str,
    /// The method.
    pub method: &'static str,
    /// How many took at most as long as each of [`DURATION_BOUNDS`] says: cumulative.
    pub buckets: [u64; DURATION_BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took together, in seconds.
    pub sum_seconds: f64,
}

#[derive(Default)]
struct Histogram {
    /// By the first bound that holds; not cumulative.
    buckets: [u64; DURATION_BOUNDS.len()],
    count: u64,
    sum: Duration,
}

/// All histograms since the start. Their number is bounded by the routes and methods that there are.
#[derive(Default)]
pub(crate) struct Clocked(Mutex<BTreeMap<(&'static str, &'static str), Histogram>>);

impl Clocked {
    /// One more request.
    pub(crate) fn add(&self, route: Option<Route>, method: &Method, took: Duration) {
        let key = (route.map_or("", Route::template), method_name(method));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = all.entry(key).or_default();
        let seconds = took.as_secs_f64();
        if let Some(at) = DURATION_BOUNDS.iter().position(|&bound| seconds <= bound) {
            histogram.buckets[at] += 1;
        }
        histogram.count += 1;
        histogram.sum = histogram.sum.saturating_add(took);
    }

    /// All histograms, in order.
    pub(crate) fn list(&self) -> Vec<Durations> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |(&(endpoint, method), histogram): (&(&'static str, &'static str), &Histogram)| {
            let mut below = 0;
            let buckets = histogram.buckets.map(|count| {
                below += count;
                below
            });
            let Histogram { count, sum, .. } = histogram;
            Durations { endpoint, method, buckets, count: *count, sum_seconds: sum.as_secs_f64() }
        };
        all.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let clocked = Clocked::default();
        for millis in [1, 5, 6, 400, 401, 5000] {
            clocked.add(Some(Route::Alerts), &Method::GET, Duration::from_millis(millis));
        }
        clocked.add(None, &Method::POST, Duration::ZERO);
        let found = clocked.list();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].endpoint, found[0].method, found[0].buckets), ("", "POST", [1; 12]));
        assert_eq!(found[1].buckets, [2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5]);
        assert_eq!((found[1].count, found[1].sum_seconds), (6, 5.813));
    }
}
