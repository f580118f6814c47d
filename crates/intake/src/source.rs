//! What a source is: something that runs until it is told to stop, and hands out batches.

use std::{future::Future, io, pin::Pin, sync::Arc};

use thiserror::Error;
use tracing::Level;

use crate::{batch::Labels, kind::Kind, outlet::Outlet, transform::Transform};

/// Follow, or read once and stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Follow what comes.
    #[default]
    Tail,
    /// Read what is there, then stop.
    Cat,
}

/// What all kinds of sources have in common: the common keys of a configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The kind.
    pub kind: Kind,
    /// What it reads, in a few words, for people.
    pub title: String,
    /// `name`; empty where none is given.
    pub name: String,
    /// `unique_id`; empty where none is given.
    pub unique_id: String,
    /// Tells streams of the same name in several sources apart. Part of the keys of positions.
    pub scope: String,
    /// `labels`.
    pub labels: Arc<Labels>,
    /// `log_level`; the program's where none is given.
    pub log_level: Option<Level>,
    /// `mode`.
    pub mode: Mode,
    /// `use_time_machine`: buckets run on the time in the line, not on that of its arrival.
    pub use_time_machine: bool,
    /// `transform`.
    pub transform: Option<Transform>,
}

impl Settings {
    /// Lines carry their own time, as all that are read once do.
    pub fn time_machine(&self) -> bool {
        self.use_time_machine || self.mode == Mode::Cat
    }

    /// The key of a stream's position.
    pub(crate) fn key(&self, stream: &str) -> Arc<str> {
        format!("{}:{}:{stream}", self.kind, self.scope).into()
    }
}

/// Why a source cannot go on. It is started again later.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Something that the system was asked for.
    #[error("cannot {attempt}: {error}")]
    Io {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// A program that gives the lines ended.
    #[error("{program} ended: {how}")]
    Ended {
        /// The program.
        program: String,
        /// Its exit status, and what it said last.
        how: String,
    },
    /// The other side answered with something else than was expected.
    #[error("{peer} answered: {answer}")]
    Answer {
        /// Who.
        peer: String,
        /// What.
        answer: String,
    },
    /// Certificates or keys cannot be used.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    /// What is asked for is not there.
    #[error("{0}")]
    Missing(String),
    /// The source stopped in an unforeseen way.
    #[error("it failed unexpectedly: {0}")]
    Panic(String),
}

impl SourceError {
    /// Says what was attempted.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> SourceError {
        let attempt = attempt.into();
        move |error| SourceError::Io { attempt, error }
    }
}

/// A run of a source.
pub type Run = Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

/// Something that lines come from.
///
/// A source holds its configuration only. Where to begin it learns from [`Outlet::positions`],
/// which are those of the lines that were handed out last, so that it can be run again at any time.
pub trait Source: Send + Sync + 'static {
    /// The common settings.
    fn settings(&self) -> &Settings;

    /// Whether what it needs is on this machine; a source without is skipped, not failed.
    ///
    /// # Errors
    /// What is missing, in words.
    fn available(&self) -> Result<(), String> {
        Ok(())
    }

    /// Hands out lines until the outlet says to stop, or until there are no more.
    ///
    /// # Errors
    /// It cannot go on now. It is run again after a while.
    fn run(self: Arc<Self>, outlet: Outlet) -> Run;
}

/// Stands for a source that this program was built without.
#[cfg(not(all(unix, feature = "docker", feature = "http")))]
pub(crate) struct Absent(pub(crate) Settings);

#[cfg(not(all(unix, feature = "docker", feature = "http")))]
impl Source for Absent {
    fn settings(&self) -> &Settings {
        &self.0
    }

    fn available(&self) -> Result<(), String> {
        Err("this program was built without it".to_owned())
    }

    fn run(self: Arc<Self>, _: Outlet) -> Run {
        Box::pin(async { Ok(()) })
    }
}
