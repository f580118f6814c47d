//! PostgreSQL: for several programs on several machines. Waits for the server, so it must not be used by
//! a thread that serves others.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use ::postgres::config::SslMode;
use ::postgres::error::SqlState;
use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ::postgres::{Client, Config, NoTls, Statement};

use crate::server::{Server, TlsMode};

use super::postgres_tls::Connector;
use super::tls;
use super::{Connection, OnRow, Row, SqlError, SqlErrorKind, Table, Value, insert_statement};

/// Statements that are kept prepared.
const STATEMENTS: usize = 128;

/// The number of the lock that changes of the schema take: our name in ASCII.
const SCHEMA_LOCK: i64 = 0x7465_7374_7564_6f00;
/// The first half of the number of the lock that writers take, whose other half stands for the schema.
const WRITER_LOCK: i32 = 0x7465_7374;
/// What news of commits are told under, with the schema as their text.
const CHANNEL: &str = "testudo";

/// A node that dies without a word, with its machine, must not hold the lock of writers for the two hours
/// after which a server usually notices; and nobody waits for that lock for ever.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '60s'; SET tcp_keepalives_idle = 30; \
    SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET lock_timeout = '30s'";
/// Changes of the schema may take longer than a writer waits.
const SCHEMA_WAIT: &str = "SET lock_timeout = '600s'";
const USUAL_WAIT: &str = "SET lock_timeout = '30s'";

/// How connections name themselves to whoever looks after the server.
const APPLICATION: &str = "testudo";
/// How long a server may take to take us in.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that is silent for so long is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What was sent and is not confirmed for so long never arrived.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection to a server.
pub(crate) struct Postgres {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Postgres {
    /// Connects to a server.
    pub(crate) fn open(server: &Server) -> Result<Postgres, SqlError> {
        let settings = settings(server);
        let mut client = match tls::config(&server.tls)?.filter(|_| !server.host.is_empty()) {
            Some(config) => settings.connect(Connector(config))?,
            None => settings.connect(NoTls)?,
        };
        client.batch_execute(SESSION)?;
        Ok(Postgres { client, statements: HashMap::new() })
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, SqlError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        let statement = self.client.prepare(&number_placeholders(sql))?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

fn settings(server: &Server) -> Config {
    let mut settings = Config::new();
    settings
        .user(&server.user)
        .dbname(&server.database)
        .application_name(APPLICATION)
        .connect_timeout(CONNECT)
        .keepalives_idle(KEEPALIVE)
        .tcp_user_timeout(SILENCE);
    if !server.password.is_empty() {
        settings.password(&server.password);
    }
    if !server.schema.is_empty() {
        settings.options(&format!("-c search_path={}", server.schema));
    }
    let mut port = server.port;
    match &server.socket {
        Some(socket) if server.host.is_empty() => {
            let (folder, of_file) = folder_of_socket(socket);
            settings.host_path(folder);
            port = of_file.unwrap_or(port);
        }
        _ => {
            settings.host(&server.host);
        }
    }
    if port != 0 {
        settings.port(port);
    }
    settings.ssl_mode(match server.tls.mode {
        _ if server.host.is_empty() => SslMode::Disable,
        TlsMode::Off => SslMode::Disable,
        TlsMode::Preferred => SslMode::Prefer,
        TlsMode::Required | TlsMode::Authority | TlsMode::Full => SslMode::Require,
    });
    settings
}

/// The folder of a socket, and its port if the socket itself is named.
fn folder_of_socket(socket: &Path) -> (&Path, Option<u16>) {
    let name = socket.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match (name.strip_prefix(".s.PGSQL.").and_then(|port| port.parse().ok()), socket.parent()) {
        (Some(port), Some(folder)) => (folder, Some(port)),
        _ => (socket, None),
    }
}

/// `?, ?` as `$1, $2`. Our statements have no question mark but for a value.
fn number_placeholders(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 64);
    let mut parts = sql.split('?');
    out.push_str(parts.next().unwrap_or_default());
    for (at, part) in parts.enumerate() {
        out.push('$');
        out.push_str(&(at + 1).to_string());
        out.push_str(part);
    }
    out
}

/// Whether the way to the server failed.
fn is_io(error: &::postgres::Error) -> bool {
    error.source().is_some_and(<dyn Error>::is::<std::io::Error>)
}

impl From<::postgres::Error> for SqlError {
    fn from(error: ::postgres::Error) -> Self {
        let kind = match error.code() {
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => SqlErrorKind::Taken,
            Some(code) if *code == SqlState::DISK_FULL || *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                SqlErrorKind::Full
            }
            Some(code)
                if *code == SqlState::T_R_DEADLOCK_DETECTED
                    || *code == SqlState::LOCK_NOT_AVAILABLE
                    || *code == SqlState::T_R_SERIALIZATION_FAILURE =>
            {
                SqlErrorKind::Busy
            }
            Some(code)
                if *code == SqlState::ADMIN_SHUTDOWN
                    || *code == SqlState::CRASH_SHUTDOWN
                    || *code == SqlState::CANNOT_CONNECT_NOW
                    || *code == SqlState::TOO_MANY_CONNECTIONS =>
            {
                SqlErrorKind::Disconnected
            }
            Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
                SqlErrorKind::Corrupt
            }
            Some(_) => SqlErrorKind::Other,
            None if error.is_closed() || is_io(&error) => SqlErrorKind::Disconnected,
            None => SqlErrorKind::Other,
        };
        // The error's own text leaves out what the server said.
        let text = match error.as_db_error() {
            Some(said) => said.message().to_owned(),
            None => match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        };
        SqlError::new(kind, text)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) => number.to_sql(column, out),
            Value::Real(number) => number.to_sql(column, out),
            Value::Text(text) => text.to_sql(column, out),
            Value::Blob(bytes) => bytes.to_sql(column, out),
        }
    }

    fn accepts(column: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT, Type::BYTEA].contains(column)
    }

    to_sql_checked!();
}

impl Row for ::postgres::Row {
    fn int(&self, column: usize) -> Result<i64, SqlError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_int(&self, column: usize) -> Result<Option<i64>, SqlError> {
        Ok(self.try_get(column)?)
    }

    fn real(&self, column: usize) -> Result<f64, SqlError> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str, SqlError> {
        Ok(self.try_get(column)?)
    }

    fn blob(&self, column: usize) -> Result<&[u8], SqlError> {
        Ok(self.try_get::<_, Option<&[u8]>>(column)?.unwrap_or_default())
    }
}

fn spell_types(script: &str) -> String {
    [
        ("{int}", "BIGINT"),
        ("{real}", "DOUBLE PRECISION"),
        ("{text}", "TEXT"),
        ("{key}", "TEXT"),
        ("{blob}", "BYTEA"),
    ]
    .into_iter()
    .fold(script.to_owned(), |script, (name, spelled)| script.replace(name, spelled))
}

impl Connection for Postgres {
    fn run_script(&mut self, script: &str) -> Result<(), SqlError> {
        Ok(self.client.batch_execute(&spell_types(script))?)
    }

    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, SqlError> {
        let statement = self.prepare(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        Ok(self.client.execute(&statement, &values)?)
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), SqlError> {
        let statement = self.prepare(sql)?;
        let mut rows = self.client.query_raw(&statement, values)?;
        while let Some(row) = rows.next()? {
            on_row(&row)?;
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
        // Whoever waited for the lock sees what those before him did: each statement sees what is committed
        // when it begins.
        let lock = format!("SELECT pg_advisory_xact_lock({WRITER_LOCK}, hashtext(current_schema()))");
        let begun = self.client.batch_execute(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {lock}"));
        if begun.is_err() {
            // What has begun without the lock must not stay open; a connection that is gone needs no end.
            let _ = self.client.batch_execute("ROLLBACK");
        }
        Ok(begun?)
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        Ok(self.client.batch_execute("COMMIT")?)
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        Ok(self.client.batch_execute("ROLLBACK")?)
    }

    fn announce(&mut self) -> Result<(), SqlError> {
        Ok(self.client.batch_execute(&format!("SELECT pg_notify('{CHANNEL}', current_schema())"))?)
    }

    fn look_out(&mut self) -> Result<(), SqlError> {
        Ok(self.client.batch_execute(&format!("LISTEN {CHANNEL}"))?)
    }

    fn wait_for_news(&mut self, most: Duration) -> Result<bool, SqlError> {
        let mut news = self.client.notifications();
        let mut heard = news.timeout_iter(most).next()?.is_some();
        // Those that came together are looked after together.
        while news.iter().next()?.is_some() {
            heard = true;
        }
        drop(news);
        if !heard && self.client.is_closed() {
            return Err(SqlError::new(SqlErrorKind::Disconnected, "the server closed the connection"));
        }
        Ok(heard)
    }

    fn lock_rows(&self) -> &'static str {
        // Writers take a lock of their own before anything else.
        ""
    }

    fn has_table(&self) -> &'static str {
        "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND CAST(tablename AS TEXT) = ?"
    }

    fn lock_schema(&mut self) -> Result<(), SqlError> {
        let lock = format!("{SCHEMA_WAIT}; SELECT pg_advisory_lock({SCHEMA_LOCK})");
        Ok(self.client.batch_execute(&lock)?)
    }

    fn unlock_schema(&mut self) -> Result<(), SqlError> {
        let unlock = format!("SELECT pg_advisory_unlock({SCHEMA_LOCK}); {USUAL_WAIT}");
        Ok(self.client.batch_execute(&unlock)?)
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
    fn sockets_are_named_by_folder_or_file() {
        let check = |socket: &str, folder: &str, port| {
            assert_eq!(folder_of_socket(Path::new(socket)), (Path::new(folder), port));
        };
        check("/run/postgresql", "/run/postgresql", None);
        check("/run/postgresql/.s.PGSQL.5433", "/run/postgresql", Some(5433));
    }

    #[test]
    fn placeholders_have_numbers() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("? = ? AND b IN (?)", "$1 = $2 AND b IN ($3)"),
            ("INSERT INTO a VALUES (?, ?)", "INSERT INTO a VALUES ($1, $2)"),
        ] {
            assert_eq!(number_placeholders(sql), expected);
        }
    }
}
