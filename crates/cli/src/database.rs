//! Where the database is, by the configuration.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use testudo_config::{Database, DatabaseKind};
use testudo_store::Location;

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
        #[cfg(feature = "mysql")]
        DatabaseKind::Mysql => Ok(Location::MySql { url: url(database, "mysql", 3306) }),
        #[cfg(feature = "postgres")]
        DatabaseKind::Postgres => Ok(Location::Postgres { url: url(database, "postgres", 5432) }),
        #[cfg(not(all(feature = "mysql", feature = "postgres")))]
        kind => Err(Failure::text(format!("this program was built without databases of the kind {kind:?}"))),
    }
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

/// The address of a database server.
#[cfg(any(feature = "mysql", feature = "postgres"))]
fn url(database: &Database, scheme: &str, port: u16) -> String {
    use testudo_client::query;
    let word = |text: &str| query([("", text)]).trim_start_matches('=').to_owned();
    let port = if database.port == 0 { port } else { database.port };
    let socket = database.db_path.as_ref().filter(|_| database.host.is_empty() && database.port == 0);
    let host = if database.host.is_empty() { "localhost" } else { &database.host };
    let (user, password) = (word(&database.user), word(database.password.expose()));
    let mut url = format!("{scheme}://{user}:{password}@{host}:{port}/{}", word(&database.db_name));
    if let Some(socket) = socket {
        let name = if scheme == "mysql" { "socket" } else { "host" };
        url.push('?');
        url.push_str(&query([(name, socket.to_string_lossy().as_ref())]));
    }
    url
}
