//! Signals, and the conversation with the service manager.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::daemon::Node;

/// How often the service manager hears that we are alive, at most.
const WATCHDOG_LEAST: Duration = Duration::from_secs(1);

/// The signals that the daemon answers.
pub(crate) struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> io::Result<Signals> {
        Ok(Signals {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Answers signals until one of them says that it is enough.
    pub(crate) async fn until_stop(&mut self, node: &Arc<Node>) {
        let every = sd_notify::watchdog_enabled().map(|within| (within / 3).max(WATCHDOG_LEAST));
        let mut watchdog = tokio::time::interval(every.unwrap_or(Duration::from_hours(1)));
        // Two reloads at once would be one too many.
        let done = Arc::new(Notify::new());
        let read = node.read_once();
        let mut reloading = false;
        loop {
            tokio::select! {
                _ = self.hang_up.recv() => {
                    tracing::info!("SIGHUP received, reloading");
                    if std::mem::replace(&mut reloading, true) { continue; }
                    let (node, done) = (Arc::clone(node), Arc::clone(&done));
                    tokio::spawn(async move {
                        notify(&[sd_notify::NotifyState::Reloading]);
                        // It is in the log.
                        let _ = node.reload().await;
                        notify(&[sd_notify::NotifyState::Ready]);
                        done.notify_one();
                    });
                }
                () = done.notified() => reloading = false,
                _ = watchdog.tick(), if every.is_some() => notify(&[sd_notify::NotifyState::Watchdog]),
                () = read.notified() => return,
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

/// Tells that everything runs.
pub(crate) fn ready() {
    tracing::info!("everything runs");
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells that the end has begun.
pub(crate) fn stopping() {
    notify(&[sd_notify::NotifyState::Stopping]);
}
