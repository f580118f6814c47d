//! SQLite: the embedded default.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags};

use super::{Connection, OnRow, Row, SqlError, SqlErrorKind, Table, Value, insert_statement};

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(10);
/// What is left of the log on the disk after a large import, in bytes.
const JOURNAL_BYTES: i64 = 16 << 20;
/// How often it is looked whether others have written: a question of microseconds.
const LOOK: Duration = Duration::from_millis(100);
/// Statements that are kept prepared.
const STATEMENTS: usize = 64;
/// Pages of the cache, in KiB (negative by convention of the engine).
const CACHE_KIB: i64 = -8 * 1024;
/// And that of a writer: the index of ends of a million decisions, into which an import writes everywhere, fits.
const WRITER_CACHE_KIB: i64 = -32 * 1024;
/// After so many changes a writer gives the memory of its cache back.
const MANY_CHANGES: u64 = 10_000;

/// A connection to a file.
pub(crate) struct Sqlite {
    connection: rusqlite::Connection,
    path: PathBuf,
    /// The version of the data that was last seen.
    seen: i64,
    /// The changes up to the transaction that runs, if this is a writer.
    changes: Option<u64>,
}

impl Sqlite {
    /// Opens a file, which is made when it is not there, for its owner alone.
    pub(crate) fn open(path: &Path, wal: bool) -> Result<Sqlite, SqlError> {
        create_private(path).map_err(|error| SqlError::new(kind_of_io(&error), error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let journal = if wal { "WAL" } else { "DELETE" };
        connection.pragma_update_and_check(None, "journal_mode", journal, |_| Ok(()))?;
        // Every commit reaches the disk before it is acknowledged.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update_and_check(None, "journal_size_limit", JOURNAL_BYTES, |_| Ok(()))?;
        Ok(Sqlite { connection, path: path.to_owned(), seen: 0, changes: None })
    }
}

impl Sqlite {
    /// A number that differs from the last time when others have committed. It is told from shared memory,
    /// without touching the disk.
    fn data_version(&self) -> Result<i64, SqlError> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }
}

/// Makes the file when it is not there, readable for nobody else from its first moment.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn kind_of_io(error: &io::Error) -> SqlErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => SqlErrorKind::Full,
        _ => SqlErrorKind::Other,
    }
}

/// Whether the system refused to write, as it does where files may not grow any further.
fn is_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let known = [
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_FSYNC,
        ffi::SQLITE_IOERR_TRUNCATE,
        ffi::SQLITE_IOERR_SHMSIZE,
    ];
    error.sqlite_error().is_some_and(|said| known.contains(&said.extended_code))
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SqlErrorKind::Busy,
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => SqlErrorKind::Full,
            Some(ErrorCode::SystemIoFailure) if is_write(&error) => SqlErrorKind::Full,
            Some(ErrorCode::ConstraintViolation) => SqlErrorKind::Taken,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SqlErrorKind::Corrupt,
            _ => SqlErrorKind::Other,
        };
        SqlError::new(kind, error)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(number),
            Value::Real(number) => ValueRef::Real(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Row for rusqlite::Row<'_> {
    fn int(&self, column: usize) -> Result<i64, SqlError> {
        Ok(self.get(column)?)
    }

    fn maybe_int(&self, column: usize) -> Result<Option<i64>, SqlError> {
        Ok(self.get(column)?)
    }

    fn real(&self, column: usize) -> Result<f64, SqlError> {
        Ok(self.get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str, SqlError> {
        self.get_ref(column)?.as_str().map_err(|error| SqlError::new(SqlErrorKind::Corrupt, error))
    }

    fn blob(&self, column: usize) -> Result<&[u8], SqlError> {
        let bytes = self.get_ref(column)?.as_blob_or_null();
        Ok(bytes.map_err(|error| SqlError::new(SqlErrorKind::Corrupt, error))?.unwrap_or_default())
    }
}

fn spell_types(script: &str) -> String {
    [("{int}", "INTEGER"), ("{real}", "REAL"), ("{text}", "TEXT"), ("{key}", "TEXT"), ("{blob}", "BLOB")]
        .into_iter()
        .fold(script.to_owned(), |script, (name, spelled)| script.replace(name, spelled))
}

impl Connection for Sqlite {
    fn run_script(&mut self, script: &str) -> Result<(), SqlError> {
        Ok(self.connection.execute_batch(&spell_types(script))?)
    }

    fn run(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, SqlError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.execute(rusqlite::params_from_iter(values))? as u64)
    }

    fn query(&mut self, sql: &str, values: &[Value<'_>], on_row: OnRow<'_>) -> Result<(), SqlError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            on_row(row)?;
        }
        Ok(())
    }

    fn insert(&mut self, table: Table, values: &[Value<'_>]) -> Result<(), SqlError> {
        // One prepared row at a time is the quickest way where no network lies between.
        let mut statement = self.connection.prepare_cached(&insert_statement(table, 1))?;
        for row in values.chunks_exact(table.columns.len()) {
            statement.execute(rusqlite::params_from_iter(row))?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        if self.changes.replace(self.connection.total_changes()).is_none() {
            self.connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
        }
        // From its first moment a writer, so that it waits for others instead of failing later.
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        self.connection.execute_batch("COMMIT")?;
        let changed = self.connection.total_changes() - self.changes.unwrap_or_default();
        if changed > MANY_CHANGES {
            self.connection.execute_batch("PRAGMA shrink_memory")?;
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }

    fn look_out(&mut self) -> Result<(), SqlError> {
        self.seen = self.data_version()?;
        Ok(())
    }

    fn wait_for_news(&mut self, most: Duration) -> Result<bool, SqlError> {
        let end = Instant::now() + most;
        loop {
            let version = self.data_version()?;
            if version != self.seen {
                self.seen = version;
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            thread::sleep(left.min(LOOK));
        }
    }

    fn lock_rows(&self) -> &'static str {
        ""
    }

    fn has_table(&self) -> &'static str {
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
    }

    fn lock_schema(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn unlock_schema(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn back_up(&mut self, label: &str) -> Result<(), SqlError> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{label}.bak"));
        let copy = PathBuf::from(name);
        // A copy of that name is left from an attempt that was broken off: it may be incomplete.
        match fs::remove_file(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SqlError::new(kind_of_io(&error), error));
            }
            _ => {}
        }
        create_private(&copy).map_err(|error| SqlError::new(kind_of_io(&error), error))?;
        let copy = copy.to_string_lossy();
        self.connection.execute("VACUUM INTO ?", [&*copy])?;
        Ok(())
    }
}
