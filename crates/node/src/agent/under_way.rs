//! Batches between the sources and the end of the lane: where their lines came from, and what to note when
//! they are done.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use testudo_engine::{LiveBatch, LiveSource, Source};
use testudo_intake::{Batch, Stream};

/// Streams whose description is remembered; senders of syslog may be many.
const STREAMS_MOST: usize = 4096;

/// Numbers batches on their way into the lane.
#[derive(Default)]
pub(crate) struct Entrance {
    next: u64,
    /// By the place of the stream in memory, which stays as long as it is held here.
    known: HashMap<usize, (Arc<Stream>, Arc<LiveSource>)>,
}

impl Entrance {
    fn source(&mut self, stream: &Arc<Stream>) -> Arc<LiveSource> {
        let place = Arc::as_ptr(stream) as usize;
        if let Some((_, source)) = self.known.get(&place) {
            return Arc::clone(source);
        }
        if self.known.len() >= STREAMS_MOST {
            self.known.clear();
        }
        let source = Arc::new(LiveSource {
            source: Source {
                name: stream.src.to_string(),
                module: stream.kind.name().to_owned(),
                labels: (*stream.labels).clone(),
            },
            time_machine: stream.time_machine,
        });
        self.known.insert(place, (Arc::clone(stream), Arc::clone(&source)));
        source
    }

    /// Notes a batch as being under way, and gives it to the engine.
    pub(crate) fn enter(&mut self, mut batch: Batch, under_way: &UnderWay) -> LiveBatch {
        let number = self.next;
        self.next += 1;
        let live = LiveBatch {
            number,
            source: self.source(&batch.stream),
            arrival: batch.arrival,
            text: std::mem::take(&mut batch.text),
            ends: std::mem::take(&mut batch.ends),
        };
        under_way.lines.fetch_add(live.ends.len(), Ordering::Relaxed);
        under_way.lock().push_back((number, batch));
        live
    }
}

/// The batches that have not been dealt with, in their order, without their lines.
#[derive(Default)]
pub(crate) struct UnderWay {
    batches: Mutex<VecDeque<(u64, Batch)>>,
    lines: AtomicUsize,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Batch)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines they have.
    pub(crate) fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    /// Looks at a batch.
    pub(crate) fn with<T>(&self, number: u64, look: impl FnOnce(&Batch) -> T) -> Option<T> {
        let batches = self.lock();
        let at = batches.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        batches.get(at).map(|(_, batch)| look(batch))
    }

    /// Takes a batch that is done, with so many lines, and those before it.
    pub(crate) fn leave(&self, number: u64, lines: usize) -> Option<Batch> {
        self.lines.fetch_sub(lines, Ordering::Relaxed);
        let mut batches = self.lock();
        while let Some((first, batch)) = batches.pop_front() {
            if first == number {
                return Some(batch);
            }
            if first > number {
                batches.push_front((first, batch));
                break;
            }
        }
        None
    }
}
