//! Where the database behind the API is, by the configuration: the daemon and the commands go to the same.

use std::path::Path;

use testudo_config::{Database, DatabaseKind};
use testudo_store::{BadTlsMode, Location, Server, ServerTls, TlsMode};

/// Why a configuration does not lead to a database.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// No file is named.
    #[error("db_config.db_path is required for sqlite")]
    NoPath,
    /// A word about encryption.
    #[error("db_config: {0}")]
    Tls(#[from] BadTlsMode),
}

/// The place of a database.
///
/// # Errors
/// What is needed is missing or unknown.
pub fn location(database: &Database) -> Result<Location, LocationError> {
    let word = database.sslmode.as_deref().unwrap_or_default();
    Ok(match database.kind {
        DatabaseKind::Sqlite => {
            let path = database.db_path.clone().ok_or(LocationError::NoPath)?;
            let wal = database.use_wal.unwrap_or_else(|| !is_on_network(&path));
            Location::Sqlite { path, wal }
        }
        DatabaseKind::Mysql => {
            let certificates = database.ssl_ca_cert.is_some() || database.ssl_client_cert.is_some();
            Location::MySql(server(database, TlsMode::of_mysql(word, certificates)?))
        }
        DatabaseKind::Postgres => {
            let mode = TlsMode::of_postgres(word, database.ssl_ca_cert.is_some())?;
            Location::Postgres(server(database, mode))
        }
    })
}

fn server(database: &Database, mode: TlsMode) -> Server {
    let is_local = database.host.is_empty() && database.port == 0;
    Server {
        host: database.host.clone(),
        port: database.port,
        socket: database.db_path.clone().filter(|_| is_local),
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
    }
}

/// Whether a file lies on a network file system, where a log beside it would not be safe.
#[cfg(target_os = "linux")]
fn is_on_network(path: &Path) -> bool {
    const NFS: i64 = 0x6969;
    const SMB: i64 = 0x517b;
    const SMB2: i64 = 0xfe53_4d42;
    const CIFS: i64 = 0xff53_4d42;
    let known = path.ancestors().find(|path| path.exists()).and_then(|path| rustix::fs::statfs(path).ok());
    known.is_some_and(|known| [NFS, SMB, SMB2, CIFS].contains(&known.f_type))
}

#[cfg(not(target_os = "linux"))]
fn is_on_network(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_for_servers_without_a_host() {
        let database = Database {
            kind: DatabaseKind::Postgres,
            db_path: Some("/run/postgresql".into()),
            ..Database::default()
        };
        let Ok(Location::Postgres(server)) = location(&database) else { panic!("no place") };
        assert!(server.socket.is_some());
        let Ok(Location::Postgres(server)) = location(&Database { host: "db".to_owned(), ..database }) else {
            panic!("no place")
        };
        assert_eq!((server.socket, server.host.as_str()), (None, "db"));
    }

    #[test]
    fn what_is_missing_is_told() {
        let error = location(&Database::default()).expect_err("no path");
        assert_eq!(error.to_string(), "db_config.db_path is required for sqlite");
        let odd = Database {
            kind: DatabaseKind::Mysql,
            sslmode: Some("perhaps".to_owned()),
            ..Database::default()
        };
        assert!(location(&odd).expect_err("no such word").to_string().contains("perhaps"));
    }
}
