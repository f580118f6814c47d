//! Where the database is, by the configuration.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use testudo_config::{Database, DatabaseKind};
use testudo_store::{BadTlsMode, Location, Server, ServerTls, TlsMode};

use crate::failure::Failure;

/// The place of a database.
pub(crate) fn location(database: &Database) -> Result<Location, Failure> {
    match database.kind {
        DatabaseKind::Sqlite => {
            let path = database.db_path.clone();
            let path = path.ok_or_else(|| Failure::text("db_config.db_path is required for sqlite"))?;
            // What the daemon has chosen stays: it knows the file system.
            let wal = database.use_wal.unwrap_or_else(|| has_log(&path).unwrap_or(true));
            Ok(Location::Sqlite { path, wal })
        }
        DatabaseKind::Mysql => {
            let certificates = database.ssl_ca_cert.is_some() || database.ssl_client_cert.is_some();
            let mode = TlsMode::of_mysql(database.sslmode.as_deref().unwrap_or_default(), certificates);
            Ok(Location::MySql(server(database, mode)?))
        }
        DatabaseKind::Postgres => {
            let authority = database.ssl_ca_cert.is_some();
            let mode = TlsMode::of_postgres(database.sslmode.as_deref().unwrap_or_default(), authority);
            Ok(Location::Postgres(server(database, mode)?))
        }
    }
}

/// A database server.
fn server(database: &Database, mode: Result<TlsMode, BadTlsMode>) -> Result<Server, Failure> {
    let mode = mode.map_err(|error| Failure::text(format!("db_config: {error}")))?;
    Ok(Server {
        host: database.host.clone(),
        port: database.port,
        socket: database.db_path.clone(),
        user: database.user.clone(),
        password: database.password.expose().to_owned(),
        database: database.db_name.clone(),
        tls: ServerTls {
            mode,
            authority: database.ssl_ca_cert.clone(),
            certificate: database.ssl_client_cert.clone(),
            key: database.ssl_client_key.clone(),
        },
        connections_most: usize::try_from(database.max_open_conns).unwrap_or(usize::MAX),
        ..Server::default()
    })
}

/// Whether a file of SQLite is written through a log; `None` when there is no such file.
fn has_log(path: &Path) -> Option<bool> {
    // The version of the format for readers: 2 with a log.
    const READ_VERSION: u64 = 19;
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(READ_VERSION)).ok()?;
    let mut version = [0];
    file.read_exact(&mut version).ok()?;
    Some(version[0] == 2)
}
