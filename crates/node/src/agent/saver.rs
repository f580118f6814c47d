//! Writes checkpoints beside the lane: one at a time, the disk's pace is nobody else's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::agent::counts::Counts;
use crate::outbox::Outbox;
use crate::state::{State, replace};

/// Something to be written.
enum Job {
    /// A state with the number of the journal that goes with it.
    State(State, u64),
    /// The table of good clients. It may be older than the state: what it is for needs no more.
    Clients(Vec<u8>),
}

/// Writes states to the disk, each on the heels of the last.
pub(crate) struct Saver {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    busy: Arc<AtomicBool>,
    unsaved: Arc<AtomicBool>,
}

impl Saver {
    pub(crate) fn start(path: PathBuf, outbox: Arc<Outbox>, counts: Arc<Counts>) -> std::io::Result<Saver> {
        let (jobs, queue) = sync_channel::<Job>(2);
        let busy = Arc::new(AtomicBool::new(false));
        let is_busy = Arc::clone(&busy);
        let unsaved = Arc::new(AtomicBool::new(false));
        let is_unsaved = Arc::clone(&unsaved);
        let work = move || {
            let mut failing = false;
            for job in queue {
                let (state, generation) = match job {
                    Job::State(state, generation) => (state, generation),
                    Job::Clients(bytes) => {
                        if let Err(error) = replace(&clients_of(&path), &bytes) {
                            tracing::warn!(%error, "the table of good clients cannot be written");
                        }
                        continue;
                    }
                };
                let begun = Instant::now();
                let written = state.write(&path);
                is_unsaved.store(written.is_err(), Ordering::Release);
                match written {
                    Ok(bytes) => {
                        if std::mem::take(&mut failing) {
                            tracing::info!("checkpoints are written again");
                        }
                        counts.checkpoints.add(1);
                        counts.checkpoint_bytes.set(bytes as u64);
                        counts.checkpoint_millis.set(begun.elapsed().as_millis() as u64);
                        if let Err(error) = outbox.saved(generation) {
                            tracing::warn!(%error, "an old journal of delivered alerts cannot be removed");
                        }
                    }
                    Err(error) if !failing => {
                        failing = true;
                        tracing::error!(
                            %error,
                            "no checkpoint can be written: after a crash, lines would be read again from \
                             the last one; make room on the disk, or check who may write there"
                        );
                    }
                    Err(_) => {}
                }
                is_busy.store(false, Ordering::Release);
            }
        };
        let thread = thread::Builder::new().name("checkpoints".to_owned()).spawn(work)?;
        Ok(Saver { jobs: Some(jobs), thread: Some(thread), busy, unsaved })
    }

    /// Whether one is being written: then it is too early for another.
    pub(crate) fn busy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.busy)
    }

    /// Whether the last state is not on the disk: then another is due, even if nothing is new.
    pub(crate) fn unsaved(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.unsaved)
    }

    /// Writes a state soon. One that comes while another waits is left out; a later one will come.
    pub(crate) fn save(&self, state: State, generation: u64) {
        self.busy.store(true, Ordering::Release);
        if let Some(jobs) = &self.jobs
            && jobs.try_send(Job::State(state, generation)).is_err()
        {
            self.unsaved.store(true, Ordering::Release);
            tracing::debug!("a checkpoint was left out: the disk is slow");
        }
    }
}

impl Saver {
    /// Writes the table of clients soon.
    pub(crate) fn save_clients(&self, clients: Vec<u8>) {
        if let Some(jobs) = &self.jobs
            && jobs.try_send(Job::Clients(clients)).is_err()
        {
            tracing::debug!("the table of clients was left out: the disk is slow");
        }
    }
}

/// Where the table of good clients is, beside the state file.
pub(crate) fn clients_of(state_file: &Path) -> PathBuf {
    let mut path = state_file.as_os_str().to_owned();
    path.push(".clients");
    PathBuf::from(path)
}

impl Drop for Saver {
    /// Waits for the last one.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of checkpoints failed");
        }
    }
}
