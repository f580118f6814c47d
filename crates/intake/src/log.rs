//! What a source tells: log lines no more detailed than its `log_level`, and its last problem.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use tracing::Level;

/// The voice of one source.
#[derive(Debug)]
pub(crate) struct Log {
    /// Kind and name, as log lines show it.
    source: String,
    /// The most detailed level; what the subscriber wants where there is none.
    limit: Option<Level>,
    problem: Mutex<Option<String>>,
}

impl Log {
    pub(crate) fn new(source: String, limit: Option<Level>) -> Self {
        Log { source, limit, problem: Mutex::new(None) }
    }

    fn shows(&self, level: Level) -> bool {
        self.limit.is_none_or(|limit| level <= limit)
    }

    /// Something is wrong and is not expected to go away by itself.
    pub(crate) fn error(&self, message: impl fmt::Display) {
        if self.shows(Level::ERROR) {
            tracing::error!(source = self.source, "{message}");
        }
        self.keep(message.to_string());
    }

    /// Something is wrong, and reading goes on.
    pub(crate) fn warn(&self, message: impl fmt::Display) {
        if self.shows(Level::WARN) {
            tracing::warn!(source = self.source, "{message}");
        }
        self.keep(message.to_string());
    }

    /// Something that helps to find a mistake.
    pub(crate) fn debug(&self, message: impl fmt::Display) {
        if self.shows(Level::DEBUG) {
            tracing::debug!(source = self.source, "{message}");
        }
    }

    fn keep(&self, message: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    /// The last problem that was told.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
