//! Why a command did not do what was asked.

use std::io;

use testudo_client::{ClientError, SettingsError};
use testudo_config::ConfigError;
use testudo_store::StoreError;

/// As text it is the cause that stands behind the path of the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error("{source}; {}", source.hint())]
    Store {
        #[from]
        source: StoreError,
    },
    /// The local API.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The credentials.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The result cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
    /// The result is no JSON.
    #[error("cannot write: {0}")]
    Json(#[from] serde_json::Error),
    /// A sentence of the command.
    #[error("{0}")]
    Text(String),
    /// Everything was said already.
    #[error("")]
    Said,
}

impl Failure {
    pub(crate) fn text(text: impl Into<String>) -> Failure {
        Failure::Text(text.into())
    }

    /// Whether whoever reads the output has gone away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What commands return.
pub(crate) type Done = Result<(), Failure>;
