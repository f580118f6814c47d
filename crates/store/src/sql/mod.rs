//! The little of SQL databases that the store needs, one connection at a time.
//!
//! Statements are written once, in what all engines have in common: `?` for values, no upserts, nothing
//! returned by writes. What differs (numbered placeholders, names of types, how a transaction begins) is
//! the business of each [`Connection`].

pub(crate) mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_tls;
mod sqlite;
#[cfg(feature = "server")]
mod tls;
#[cfg(feature = "mysql")]
mod tunnel;

use std::error::Error;
use std::time::Duration;

#[cfg(feature = "mysql")]
pub(crate) use mysql::MySql;
#[cfg(feature = "postgres")]
pub(crate) use postgres::Postgres;
pub(crate) use sqlite::Sqlite;

/// A value on its way into a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'v> {
    Null,
    Int(i64),
    Real(f64),
    Text(&'v str),
    Blob(&'v [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Int(i64::from(truth))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Value::Null, Value::Int)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Value::Text(text)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Value::Text(text)
    }
}

impl<'v> From<Option<&'v [u8]>> for Value<'v> {
    fn from(bytes: Option<&'v [u8]>) -> Self {
        bytes.map_or(Value::Null, Value::Blob)
    }
}

/// What kind of failure it was, where the store or its users act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// Another writer held the database for longer than is waited for.
    Busy,
    /// There is no room left on the disk, or the database may not be written.
    Full,
    /// A name is taken.
    Taken,
    /// The connection is gone.
    Disconnected,
    /// The file is no database, or a broken one.
    Corrupt,
    /// Anything else.
    Other,
}

/// A failure of the database.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct SqlError {
    /// What kind it was.
    pub kind: SqlErrorKind,
    /// What the database said.
    pub source: Box<dyn Error + Send + Sync>,
}

impl SqlError {
    fn new(kind: SqlErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> SqlError {
        SqlError { kind, source: source.into() }
    }

    /// Whether the connection is of no further use.
    pub(crate) fn is_lost(&self) -> bool {
        self.kind == SqlErrorKind::Disconnected
    }
}

/// A row of an answer. Columns count from 0.
pub(crate) trait Row {
    /// A number.
    fn int(&self, column: usize) -> Result<i64, SqlError>;
    /// A number, or nothing.
    fn maybe_int(&self, column: usize) -> Result<Option<i64>, SqlError>;
    /// A number with a fraction.
    fn real(&self, column: usize) -> Result<f64, SqlError>;
    /// A text.
    fn text(&self, column: usize) -> Result<&str, SqlError>;
    /// Bytes; none for nothing.
    fn blob(&self, column: usize) -> Result<&[u8], SqlError>;
}

/// Takes the rows of an answer, one after the other.
pub(crate) type OnRow<'f> = &'f mut dyn FnMut(&dyn Row) -> Result<(), SqlError>;

/// Where rows are put.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
}

/// A connection to a database.
pub(crate) trait Connection: Send {
    /// Runs statements without values that are separated by `;`, each type in braces replaced.
    fn run_script(&mut self, script: &str) -> Result<(), SqlError>;
    /// Runs one statement and tells how many rows it changed.
    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, SqlError>;
    /// Runs one question.
    fn query(&mut self, sql: &str, values: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), SqlError>;
    /// Puts rows into a table; `values` has those of one row after the other.
    fn insert(&mut self, table: Table, values: &[Value<'_>]) -> Result<(), SqlError>;
    /// Begins a transaction that may write.
    fn begin(&mut self) -> Result<(), SqlError>;
    /// Makes the transaction durable.
    fn commit(&mut self) -> Result<(), SqlError>;
    /// Undoes the transaction.
    fn rollback(&mut self) -> Result<(), SqlError>;
    /// Tells other programs, once the transaction is durable, that something has changed. For engines that
    /// pass such news on.
    fn announce(&mut self) -> Result<(), SqlError> {
        Ok(())
    }
    /// Begins to look out for what others commit.
    fn look_out(&mut self) -> Result<(), SqlError>;
    /// Waits at most so long for news of a commit, which may be one of our own; returns whether there was
    /// one. Engines without news wait all of it, and say no. Needs [`Connection::look_out`].
    fn wait_for_news(&mut self, most: Duration) -> Result<bool, SqlError>;
    /// What makes a question lock the rows that it finds until the end of the transaction.
    fn lock_rows(&self) -> &'static str;
    /// The question whether there is a table, which is told as a value.
    fn has_table(&self) -> &'static str;
    /// Keeps other programs from changing the schema, where a transaction does not.
    fn lock_schema(&mut self) -> Result<(), SqlError>;
    /// Lets other programs change the schema again.
    fn unlock_schema(&mut self) -> Result<(), SqlError>;
    /// Saves a copy before the schema is changed; `label` is part of its name. Engines with tools of their
    /// own for this do nothing.
    fn back_up(&mut self, label: &str) -> Result<(), SqlError>;
}

/// Runs changes as one: all of them are durable when this returns, or none is made.
pub(crate) fn transaction<T, E: From<SqlError>>(
    connection: &mut dyn Connection,
    changes: impl FnOnce(&mut dyn Connection) -> Result<T, E>,
) -> Result<T, E> {
    connection.begin()?;
    finish(connection, changes)
}

/// As [`transaction`], for one that has begun.
pub(crate) fn finish<T, E: From<SqlError>>(
    connection: &mut dyn Connection,
    changes: impl FnOnce(&mut dyn Connection) -> Result<T, E>,
) -> Result<T, E> {
    let done = changes(connection).and_then(|done| {
        connection.commit()?;
        Ok(done)
    });
    if done.is_err() {
        // The first failure is the one to tell; what cannot be rolled back ends with the connection.
        let _ = connection.rollback();
    }
    done
}

/// `?, ?, ?` for so many values.
pub(crate) fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// The statement that puts `rows` rows into a table.
fn insert_statement(table: Table, rows: usize) -> String {
    let one = format!("({})", placeholders(table.columns.len()));
    format!("INSERT INTO {} ({}) VALUES {}", table.name, table.columns.join(", "), vec![one; rows].join(", "))
}
