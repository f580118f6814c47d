//! `db_config`: the database behind the local API.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::value::{self, LogLevel, Secret};

/// The most decisions that are written at once.
pub const MAX_BULK: usize = 2000;

/// A kind of database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file.
    #[default]
    Sqlite,
    /// A MySQL or MariaDB server.
    Mysql,
    /// A PostgreSQL server.
    Postgres,
}

choice!(DatabaseKind, "unknown database type", {
    "sqlite" => Sqlite,
    "mysql" => Mysql,
    "pgx" => Postgres,
    "postgres" => Postgres,
    "postgresql" => Postgres,
});

/// The section `db_config`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The kind.
    #[serde(rename = "type")]
    pub kind: DatabaseKind,
    /// The file; of a server its Unix socket, when there is neither host nor port.
    pub db_path: Option<PathBuf>,
    /// User on the server.
    pub user: String,
    /// Password on the server.
    pub password: Secret,
    /// Database on the server.
    pub db_name: String,
    /// Host of the server.
    pub host: String,
    /// Port of the server; 0: that of the kind.
    pub port: u16,
    /// How TLS is used, in the words of the kind of server.
    pub sslmode: Option<String>,
    /// Certificates of authorities.
    pub ssl_ca_cert: Option<PathBuf>,
    /// Certificate of this client.
    pub ssl_client_cert: Option<PathBuf>,
    /// Key of this client.
    pub ssl_client_key: Option<PathBuf>,
    /// The most connections.
    pub max_open_conns: u32,
    /// SQLite's write-ahead log; none: where the file is on a local file system.
    pub use_wal: Option<bool>,
    /// How many decisions are written at once, up to [`MAX_BULK`].
    pub decision_bulk_size: usize,
    /// How much is logged of it.
    pub log_level: Option<LogLevel>,
    /// What is removed, and when; none: nothing ever.
    pub flush: Option<Flush>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            kind: DatabaseKind::default(),
            db_path: None,
            user: String::new(),
            password: Secret::default(),
            db_name: String::new(),
            host: String::new(),
            port: 0,
            sslmode: None,
            ssl_ca_cert: None,
            ssl_client_cert: None,
            ssl_client_key: None,
            max_open_conns: 100,
            use_wal: None,
            decision_bulk_size: 1000,
            log_level: None,
            flush: None,
        }
    }
}

/// `db_config.flush`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flush {
    /// The most alerts; none: no limit.
    pub max_items: Option<i64>,
    /// The age at which alerts go; none: never.
    #[serde(deserialize_with = "value::optional_duration")]
    pub max_age: Option<Duration>,
    /// The age at which usage metrics go.
    #[serde(deserialize_with = "value::duration")]
    pub metrics_max_age: Duration,
    /// When bouncers go that do not come any more.
    pub bouncers_autodelete: BouncersAutodelete,
    /// When machines go that do not come any more.
    pub agents_autodelete: AgentsAutodelete,
}

impl Default for Flush {
    fn default() -> Self {
        Self {
            max_items: None,
            max_age: None,
            metrics_max_age: Duration::from_hours(7 * 24),
            bouncers_autodelete: BouncersAutodelete::default(),
            agents_autodelete: AgentsAutodelete::default(),
        }
    }
}

/// `db_config.flush.bouncers_autodelete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BouncersAutodelete {
    /// Those with a certificate.
    #[serde(deserialize_with = "value::optional_duration")]
    pub cert: Option<Duration>,
    /// Those with a key.
    #[serde(deserialize_with = "value::optional_duration")]
    pub api_key: Option<Duration>,
}

/// `db_config.flush.agents_autodelete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsAutodelete {
    /// Those with a certificate.
    #[serde(deserialize_with = "value::optional_duration")]
    pub cert: Option<Duration>,
    /// Those with a password.
    #[serde(deserialize_with = "value::optional_duration")]
    pub login_password: Option<Duration>,
}
