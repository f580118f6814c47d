//! What a source puts its batches into: a bounded channel, transformed and counted on the way.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use testudo_event::Timestamp;
use testudo_expr::Services;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    batch::{Batch, Labels, Mapped, Stream},
    counters::Counters,
    log::Log,
    position::{Position, Positions},
    source::Settings,
};

/// The source is to stop: nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// What a source puts its batches into. Clones put into the same.
#[derive(Clone)]
pub struct Outlet {
    pub(crate) source: usize,
    pub(crate) settings: Arc<Settings>,
    pub(crate) sender: mpsc::Sender<Batch>,
    /// Positions after what was handed out, of all sources.
    pub(crate) delivered: Arc<Mutex<Positions>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) log: Arc<Log>,
    pub(crate) cancel: CancellationToken,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The time of the machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix(since.as_secs() as i64, since.subsec_nanos())
}

impl Outlet {
    /// Hands a batch on; waits while the channel is full.
    ///
    /// # Errors
    /// The source is to stop. The batch was not taken.
    pub async fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.counters.bytes.add(batch.text.len() as u64);
        let batch = self.transformed(batch);
        let permit = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Stopped),
            permit = self.sender.reserve() => permit.map_err(|_| Stopped)?,
        };
        let lines = batch.len() as u64;
        self.counters.lines.add(lines);
        batch.stream.count.add(lines);
        if let Some(progress) = batch.progress() {
            self.delivered.lock().unwrap_or_else(PoisonError::into_inner).apply(progress);
        }
        permit.send(batch);
        Ok(())
    }

    /// [`Outlet::send`] for threads that are not of the runtime.
    ///
    /// # Errors
    /// The source is to stop. The batch was not taken.
    pub fn send_blocking(&self, batch: Batch) -> Result<(), Stopped> {
        self.runtime.block_on(self.send(batch))
    }

    fn transformed(&self, batch: Batch) -> Batch {
        let Some(transform) = &self.settings.transform else { return batch };
        let (stream, arrival) = (Arc::clone(&batch.stream), batch.arrival);
        batch.map_lines(|line| {
            transform.apply(line, &stream, arrival, &*self.services).unwrap_or_else(|error| {
                self.counters.transform_failures.add(1);
                self.log.warn(format_args!("`transform` left a line unchanged: {error}"));
                Mapped::Same
            })
        })
    }

    /// The source is to stop.
    pub fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits until the source is to stop.
    pub async fn stopped(&self) {
        self.cancel.cancelled().await;
    }

    /// Positions of what was handed out so far: where to go on.
    pub fn positions(&self) -> Positions {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Positions of one stream.
    pub(crate) fn positions_of(&self, key: &str) -> Vec<Position> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).of(key).to_vec()
    }

    /// The counters of the source.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// A stream of the source. `key` names its position and is empty where it has none; `labels`
    /// are the source's where none are given.
    pub(crate) fn stream(&self, src: &str, key: Arc<str>, labels: Option<Arc<Labels>>) -> Arc<Stream> {
        Arc::new(Stream {
            source: self.source,
            kind: self.settings.kind,
            src: src.into(),
            labels: labels.unwrap_or_else(|| Arc::clone(&self.settings.labels)),
            time_machine: self.settings.time_machine(),
            key,
            count: self.counters.stream(src),
        })
    }
}
