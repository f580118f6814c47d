//! What can go wrong with the database.

use std::path::PathBuf;

use crate::sql::{SqlError, SqlErrorKind};

/// Why the store did not do what was asked. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the database {}: {source}", path.display())]
    Open {
        /// Its file, or the name of the server without secrets.
        path: PathBuf,
        /// Why.
        source: SqlError,
    },
    /// The database was last used by a newer program.
    #[error("the database has schema {found}, this program knows schemas up to {known}")]
    Newer {
        /// The schema of the database.
        found: i64,
        /// The newest schema that is known.
        known: i64,
    },
    /// A change of the schema failed.
    #[error("cannot bring the database to schema {number}: {source}")]
    Migration {
        /// The schema that was to be reached.
        number: i64,
        /// Why.
        source: SqlError,
    },
    /// The database of another installation cannot be taken over.
    #[error("cannot import {}: {source}", path.display())]
    Import {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: SqlError,
    },
    /// A question or a change failed.
    #[error("cannot {doing}: {source}")]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        source: SqlError,
    },
    /// There already is one of that name.
    #[error("{what} '{name}' already exists")]
    Exists {
        /// What: `machine`, `bouncer`, `allowlist`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is none of that name.
    #[error("{what} '{name}' not found")]
    Unknown {
        /// What: `machine`, `bouncer`, `allowlist`.
        what: &'static str,
        /// Its name.
        name: String,
    },
}

impl StoreError {
    /// Says what was attempted when it fails.
    pub(crate) fn doing(doing: &'static str) -> impl Fn(SqlError) -> StoreError {
        move |source| StoreError::Database { doing, source }
    }

    /// What kind of failure of the database it was, if it was one.
    pub fn sql_kind(&self) -> Option<SqlErrorKind> {
        match self {
            StoreError::Open { source, .. }
            | StoreError::Migration { source, .. }
            | StoreError::Import { source, .. }
            | StoreError::Database { source, .. } => Some(source.kind),
            StoreError::Newer { .. } | StoreError::Exists { .. } | StoreError::Unknown { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::Newer { .. } => "start the newer program, or restore the backup that it made",
            StoreError::Exists { .. } => "choose another name, or delete the old one first",
            StoreError::Unknown { .. } => "list the names that there are",
            StoreError::Import { .. } => {
                "name the SQLite file of the installation, often /var/lib/crowdsec/data/crowdsec.db"
            }
            StoreError::Open { .. } | StoreError::Migration { .. } | StoreError::Database { .. } => {
                match self.sql_kind() {
                    Some(SqlErrorKind::Full) => {
                        "make room on the disk, and check that the file may be written"
                    }
                    Some(SqlErrorKind::Busy) => "another program holds the database: find and stop it",
                    Some(SqlErrorKind::Corrupt) => "check that it is the right file; else restore a backup",
                    Some(SqlErrorKind::Disconnected) => "check that the database server runs and is reached",
                    _ => "check the path and who may read it, or the address of the server",
                }
            }
        }
    }
}

impl From<SqlError> for StoreError {
    fn from(source: SqlError) -> Self {
        StoreError::Database { doing: "use the database", source }
    }
}
