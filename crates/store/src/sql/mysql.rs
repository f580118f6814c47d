//! MySQL and MariaDB. Waits for the server, so it must not be used by a thread that serves others.
//!
//! These servers end a transaction at each change of the schema: a migration that fails half-way stays so.
//! It is run again from its beginning then, and what is done already is passed over.

use std::error::Error;
use std::thread;
use std::time::Duration;

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, OptsBuilder, Params, Value as Sent};

use crate::server::{Server, TlsMode};

use super::tls;
use super::tunnel::Tunnel;
use super::{Connection, OnRow, Row, SqlError, SqlErrorKind, Table, Value, insert_statement};

/// The name of the lock that changes of the schema take: such locks are the server's, not the database's.
const SCHEMA_LOCK: &str = "CONCAT('testudo ', DATABASE())";
/// How long that lock is waited for.
const LOCK_SECONDS: u32 = 600;

/// The usual port.
const PORT: u16 = 3306;
/// How long a server may take to take us in.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that is silent for so long is asked whether it is there.
const KEEPALIVE_MS: u32 = 30_000;

/// A connection to a server.
pub(crate) struct MySql {
    connection: Conn,
    /// What encrypts it.
    _tunnel: Option<Tunnel>,
}

impl MySql {
    /// Connects to a server.
    pub(crate) fn open(server: &Server) -> Result<MySql, SqlError> {
        let port = if server.port == 0 { PORT } else { server.port };
        let tunnel = match tls::config(&server.tls)?.filter(|_| !server.host.is_empty()) {
            Some(config) => {
                let may_be_clear = server.tls.mode == TlsMode::Preferred;
                Some(Tunnel::open(&server.host, port, config, tls::name(&server.host)?, may_be_clear)?)
            }
            None => None,
        };
        let socket = match &tunnel {
            Some(tunnel) => Some(tunnel.socket()),
            None => server.socket.clone().filter(|_| server.host.is_empty()),
        };
        let options = OptsBuilder::new()
            .ip_or_hostname(Some(&server.host))
            .tcp_port(port)
            .socket(socket.map(|path| path.to_string_lossy().into_owned()))
            .prefer_socket(false)
            .user(Some(&server.user))
            .pass(Some(&server.password))
            .db_name(Some(&server.database).filter(|name| !name.is_empty()))
            .tcp_connect_timeout(Some(CONNECT))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .init(vec!["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"]);
        match Conn::new(options) {
            Ok(connection) => Ok(MySql { connection, _tunnel: tunnel }),
            Err(error) => Err(match tunnel.and_then(|tunnel| tunnel.failure()) {
                Some(failure) => SqlError::new(SqlErrorKind::Disconnected, failure),
                None => error.into(),
            }),
        }
    }
}

/// Numbers of errors as the server gives them.
mod code {
    pub(super) const TAKEN: u16 = 1062;
    /// There is such a table, column, index or row already, or no such column or index any more.
    pub(super) const IS_DONE: [u16; 5] = [1050, 1060, 1061, 1091, TAKEN];
    pub(super) const LOCK_WAIT: u16 = 1205;
    pub(super) const DEADLOCK: u16 = 1213;
    pub(super) const DISK_FULL: u16 = 1021;
    pub(super) const TABLE_FULL: u16 = 1114;
    pub(super) const READ_ONLY_OPTION: u16 = 1290;
    pub(super) const READ_ONLY: u16 = 1836;
    pub(super) const SHUTDOWN: u16 = 1053;
    pub(super) const KILLED: u16 = 1927;
}

impl From<::mysql::Error> for SqlError {
    fn from(error: ::mysql::Error) -> Self {
        let kind = match &error {
            ::mysql::Error::MySqlError(said) => match said.code {
                code::TAKEN => SqlErrorKind::Taken,
                code::LOCK_WAIT | code::DEADLOCK => SqlErrorKind::Busy,
                code::DISK_FULL | code::TABLE_FULL | code::READ_ONLY_OPTION | code::READ_ONLY => {
                    SqlErrorKind::Full
                }
                code::SHUTDOWN | code::KILLED => SqlErrorKind::Disconnected,
                _ => SqlErrorKind::Other,
            },
            ::mysql::Error::IoError(_) | ::mysql::Error::CodecError(_) | ::mysql::Error::DriverError(_) => {
                SqlErrorKind::Disconnected
            }
            _ => SqlErrorKind::Other,
        };
        SqlError::new(kind, error)
    }
}

fn sent(values: &[Value<'_>]) -> Params {
    if values.is_empty() {
        return Params::Empty;
    }
    let sent = values.iter().map(|value| match *value {
        Value::Null => Sent::NULL,
        Value::Int(number) => Sent::Int(number),
        Value::Real(number) => Sent::Double(number),
        Value::Text(text) => Sent::Bytes(text.as_bytes().to_vec()),
        Value::Blob(bytes) => Sent::Bytes(bytes.to_vec()),
    });
    Params::Positional(sent.collect())
}

fn unexpected(column: usize) -> SqlError {
    let problem: Box<dyn Error + Send + Sync> = format!("column {column} holds something unexpected").into();
    SqlError::new(SqlErrorKind::Corrupt, problem)
}

impl Row for ::mysql::Row {
    fn int(&self, column: usize) -> Result<i64, SqlError> {
        self.maybe_int(column)?.ok_or_else(|| unexpected(column))
    }

    fn maybe_int(&self, column: usize) -> Result<Option<i64>, SqlError> {
        match self.as_ref(column) {
            Some(Sent::NULL) => Ok(None),
            Some(Sent::Int(number)) => Ok(Some(*number)),
            Some(Sent::UInt(number)) => i64::try_from(*number).map(Some).map_err(|_| unexpected(column)),
            _ => Err(unexpected(column)),
        }
    }

    fn real(&self, column: usize) -> Result<f64, SqlError> {
        match self.as_ref(column) {
            Some(Sent::Double(number)) => Ok(*number),
            Some(Sent::Float(number)) => Ok(f64::from(*number)),
            _ => Err(unexpected(column)),
        }
    }

    fn text(&self, column: usize) -> Result<&str, SqlError> {
        match self.as_ref(column) {
            Some(Sent::Bytes(bytes)) => std::str::from_utf8(bytes).map_err(|_| unexpected(column)),
            _ => Err(unexpected(column)),
        }
    }

    fn blob(&self, column: usize) -> Result<&[u8], SqlError> {
        match self.as_ref(column) {
            Some(Sent::Bytes(bytes)) => Ok(bytes),
            Some(Sent::NULL) => Ok(&[]),
            _ => Err(unexpected(column)),
        }
    }
}

/// The statements of a script, with types as they are spelled here. Texts are compared byte by byte.
fn statements(script: &str) -> Vec<String> {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with("--"));
    let script = [
        ("{int}", "BIGINT"),
        ("{real}", "DOUBLE"),
        ("{text}", "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        ("{key}", "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        ("{blob}", "VARBINARY(64)"),
    ]
    .into_iter()
    .fold(lines.collect::<Vec<_>>().join("\n"), |script, (name, spelled)| script.replace(name, spelled));
    let statements = script.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}

impl Connection for MySql {
    fn run_script(&mut self, script: &str) -> Result<(), SqlError> {
        for statement in statements(script) {
            match self.connection.query_drop(statement) {
                // A run before this one did it, and was broken off later.
                Err(::mysql::Error::MySqlError(said)) if code::IS_DONE.contains(&said.code) => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, SqlError> {
        Ok(self.connection.exec_iter(sql, sent(values))?.affected_rows())
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), SqlError> {
        for row in self.connection.exec_iter(sql, sent(values))? {
            on_row(&row?)?;
        }
        Ok(())
    }

    fn insert(&mut self, table: Table, values: &[Value<'_>]) -> Result<(), SqlError> {
        let rows = values.len() / table.columns.len();
        if rows == 0 {
            return Ok(());
        }
        self.run(&insert_statement(table, rows), values).map(drop)
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        Ok(self.connection.query_drop("START TRANSACTION")?)
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        Ok(self.connection.query_drop("COMMIT")?)
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        Ok(self.connection.query_drop("ROLLBACK")?)
    }

    fn look_out(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn wait_for_news(&mut self, most: Duration) -> Result<bool, SqlError> {
        // These servers tell nothing.
        thread::sleep(most);
        Ok(false)
    }

    fn lock_rows(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn has_table(&self) -> &'static str {
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
    }

    fn lock_schema(&mut self) -> Result<(), SqlError> {
        let question = format!("SELECT GET_LOCK({SCHEMA_LOCK}, {LOCK_SECONDS})");
        match self.connection.query_first::<Option<i64>, _>(question)?.flatten() {
            Some(1) => Ok(()),
            _ => Err(SqlError::new(SqlErrorKind::Busy, "another program changes the schema")),
        }
    }

    fn unlock_schema(&mut self) -> Result<(), SqlError> {
        Ok(self.connection.query_drop(format!("DO RELEASE_LOCK({SCHEMA_LOCK})"))?)
    }

    fn back_up(&mut self, _: &str) -> Result<(), SqlError> {
        // A server is backed up by whoever runs it.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_taken_apart() {
        let script = "-- a; b\nCREATE TABLE a (x {int});\n\nDELETE FROM a;\n";
        assert_eq!(statements(script), ["CREATE TABLE a (x BIGINT)", "DELETE FROM a"]);
    }
}
