//! Signals, and the conversation with the service manager.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::daemon::Node;

/// How often the service manager hears that we are alive, at most.
const WATCHDOG_LEAST: Duration = Duration::from_secs(1);

/// The signals that the daemon answers.
pub(crate) struct Signals {
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// Why the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A signal asked for it, or everything that was to be read once is read.
    Asked,
    /// The agent part has failed.
    AgentFailed,
    /// The API part does not answer any more.
    ApiFailed,
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

    /// Answers signals until one of them says that it is enough, or nobody reads logs any more.
    pub(crate) async fn until_stop(&mut self, node: &Arc<Node>) -> Stop {
        let every = sd_notify::watchdog_enabled().map(|within| (within / 3).max(WATCHDOG_LEAST));
        let mut watchdog = tokio::time::interval(every.unwrap_or(Duration::from_hours(1)));
        // One at a time. What was asked for meanwhile may be about something that the one under way has not read: so
        // another follows it.
        let mut reloading: Option<JoinHandle<()>> = None;
        let mut again = false;
        let read = node.read_once();
        let stop = loop {
            tokio::select! {
                _ = self.hang_up.recv() => {
                    tracing::info!("SIGHUP received, reloading");
                    if reloading.is_some() {
                        again = true;
                    } else {
                        reloading = Some(reload(node));
                    }
                }
                () = ended(&mut reloading) => {
                    reloading = std::mem::take(&mut again).then(|| reload(node));
                }
                _ = watchdog.tick(), if every.is_some() => notify(&[sd_notify::NotifyState::Watchdog]),
                () = read.notified() => break Stop::Asked,
                () = node.agent_failed() => break Stop::AgentFailed,
                () = node.api_failed() => break Stop::ApiFailed,
                _ = self.terminate.recv() => break Stop::Asked,
                _ = self.interrupt.recv() => break Stop::Asked,
            }
        };
        // It holds the node, which is needed alone.
        if let Some(reloading) = reloading {
            reloading.abort();
            // That it was aborted is no news.
            let _ = reloading.await;
        }
        stop
    }
}

fn reload(node: &Arc<Node>) -> JoinHandle<()> {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        notify(&[sd_notify::NotifyState::Reloading]);
        // It is in the log.
        let _ = node.reload().await;
        notify(&[sd_notify::NotifyState::Ready]);
    })
}

/// The end of a task; never, where there is none.
async fn ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        Some(task) => {
            if let Err(error) = task.await {
                tracing::error!(%error, "the reload failed");
            }
        }
        None => std::future::pending().await,
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
