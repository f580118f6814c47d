//! What the commands that enforce have in common: finding their configuration, their log, their life.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use testudo_node::logs::{self, Format, LogSettings, Media};
use testudo_remedy::firewall::Stop;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::failure::Failure;

/// The configuration that is named, or the first of the usual ones that is there. `least` says what one must have.
pub(super) fn find(named: Option<&PathBuf>, usual: &[&str], least: &str) -> Result<PathBuf, Failure> {
    let found = || usual.iter().map(PathBuf::from).find(|path| path.exists());
    named.cloned().or_else(found).ok_or_else(|| {
        let first = usual.first().copied().unwrap_or_default();
        Failure::new(format!("there is no configuration: {first} is missing"))
            .hint(format!("name one with --config; {least}"))
    })
}

/// A configuration that was read; what is wrong with it is told.
pub(super) fn good<C, E: Display>(path: &Path, read: Result<C, E>) -> Option<C> {
    read.inspect_err(|error| eprintln!("{}", Failure::new(format!("{}: {error}", path.display())))).ok()
}

/// Any error, as the failure of a command.
pub(super) fn failed(error: impl Display) -> Failure {
    Failure::new(error.to_string())
}

/// Logs to the standard output, from a level on that is named as the ecosystem does.
pub(super) fn begin_logs(level: &str) -> Result<(), Failure> {
    let level = match level {
        "error" | "fatal" | "panic" => tracing::Level::ERROR,
        "warning" | "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        "trace" => tracing::Level::TRACE,
        _ => tracing::Level::INFO,
    };
    logs::begin(&LogSettings { media: Media::Stdout, format: Format::Text, level }).map_err(failed)
}

/// Runs a daemon on a runtime with so many workers (one for each core if nothing is said), and tells it what the process
/// is told.
pub(super) fn serve<T, E: Display>(
    workers: Option<usize>,
    daemon: impl AsyncFnOnce(Signals) -> Result<T, E>,
) -> Result<T, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    let runtime = builder.enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let signals = Signals::new().map_err(failed)?;
        daemon(signals).await.map_err(failed)
    })
}

/// What the process is told.
pub(super) struct Signals {
    end: Signal,
    interrupt: Signal,
    audit: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Signals {
            end: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            audit: signal(SignalKind::user_defined1())?,
        })
    }

    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.end.recv() => Stop::Now,
            _ = self.interrupt.recv() => Stop::Now,
            _ = self.audit.recv() => Stop::AfterAudit,
        }
    }

    /// Until the process is told to end.
    pub(super) async fn end(mut self) {
        while self.next().await != Stop::Now {}
    }

    /// The same one by one, for who does more than end.
    pub(super) fn channel(mut self) -> mpsc::Receiver<Stop> {
        let (sender, stops) = mpsc::channel(1);
        tokio::spawn(async move { while sender.send(self.next().await).await.is_ok() {} });
        stops
    }
}
