//! What each source counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// Streams of one source that are counted apart. The others are counted together, so that nobody
/// who chooses a sender's address can fill the memory.
pub const MAX_COUNTED_STREAMS: usize = 1_000;

/// The name under which the streams beyond [`MAX_COUNTED_STREAMS`] are counted.
pub const OTHER_STREAMS: &str = "other";

/// A number that only grows, or one that is set.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one source. All of them live as long as the source is configured: a restart of
/// the source does not reset them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines handed out, after any transformation.
    pub lines: Count,
    /// Bytes of lines as they were received.
    pub bytes: Count,
    /// Lines skipped because they are longer than the limit.
    pub too_long: Count,
    /// Lines with bytes that are no UTF-8; these became U+FFFD.
    pub not_utf8: Count,
    /// Messages that could not be understood and were dropped.
    pub malformed: Count,
    /// Requests or connections that were refused: credentials, limits.
    pub refused: Count,
    /// Times that lines are known to have been lost before they could be read.
    pub gaps: Count,
    /// Lines that were passed unchanged because the transformation failed.
    pub transform_failures: Count,
    /// Syslog messages understood as RFC 3164.
    pub rfc3164: Count,
    /// Syslog messages understood as RFC 5424.
    pub rfc5424: Count,
    /// Bytes that are there and have not been read yet (files).
    pub lag_bytes: Count,
    /// Age of the last line when it arrived, in nanoseconds, where the source knows it (journal,
    /// containers, syslog).
    lag_nanos: AtomicI64,
    streams: Mutex<BTreeMap<Arc<str>, Arc<Count>>>,
}

impl Counters {
    /// The counter of the lines of one stream (file, sender, container).
    pub fn stream(&self, src: &str) -> Arc<Count> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let full = streams.len() >= MAX_COUNTED_STREAMS;
        let name = if full && !streams.contains_key(src) { OTHER_STREAMS } else { src };
        if let Some(count) = streams.get(name) {
            return Arc::clone(count);
        }
        Arc::clone(streams.entry(name.into()).or_default())
    }

    /// The lines of every stream, by its name.
    pub fn streams(&self) -> Vec<(Arc<str>, u64)> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.iter().map(|(name, count)| (Arc::clone(name), count.get())).collect()
    }

    /// Age of the last line when it arrived, in nanoseconds; 0 where nothing is known.
    pub fn lag_nanos(&self) -> i64 {
        self.lag_nanos.load(Ordering::Relaxed)
    }

    /// Notes how old a line was when it arrived.
    pub fn set_lag_nanos(&self, nanos: i64) {
        self.lag_nanos.store(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_bounded() {
        let counters = Counters::default();
        for sender in 0..MAX_COUNTED_STREAMS + 10 {
            counters.stream(&format!("10.0.{}.{}", sender / 256, sender % 256)).add(1);
        }
        counters.stream("10.0.0.0").add(1);
        let streams = counters.streams();
        assert_eq!(streams.len(), MAX_COUNTED_STREAMS + 1);
        assert!(streams.contains(&(Arc::from("10.0.0.0"), 2)));
        assert!(streams.contains(&(Arc::from(OTHER_STREAMS), 10)));
    }
}
