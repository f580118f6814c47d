//! Changes of the schema: numbered, forward only, each in a transaction of its own.

use super::{Connection, SqlError, transaction};
use crate::error::StoreError;

/// A change of the schema.
#[derive(Clone, Copy)]
pub(crate) struct Migration {
    /// Its number, one more than that of the change before it.
    pub(crate) number: i64,
    /// Its statements.
    pub(crate) script: &'static str,
}

/// All changes, in their order. What has been released is never edited.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, script: include_str!("../../migrations/0001_start.sql") },
    Migration { number: 2, script: include_str!("../../migrations/0002_alerts_once.sql") },
];

/// Brings a database to the newest schema, after a backup if it has one already. Returns the number of
/// the schema that was found; 0 for a new database.
///
/// # Errors
/// The database was used by a newer program, or a change failed; it is then as it was before that change.
pub(crate) fn migrate(connection: &mut dyn Connection, all: &[Migration]) -> Result<i64, StoreError> {
    connection.lock_schema().map_err(StoreError::doing("lock the schema"))?;
    let done = migrate_locked(connection, all);
    let unlocked = connection.unlock_schema().map_err(StoreError::doing("unlock the schema"));
    done.and_then(|found| unlocked.map(|()| found))
}

fn migrate_locked(connection: &mut dyn Connection, all: &[Migration]) -> Result<i64, StoreError> {
    let found = version(connection).map_err(StoreError::doing("read the version of the schema"))?;
    let known = all.last().map_or(0, |last| last.number);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found > 0 && found < known {
        connection
            .back_up(&format!("schema-{found}"))
            .map_err(StoreError::doing("back up before changing the schema"))?;
    }
    for migration in all.iter().filter(|migration| migration.number > found) {
        transaction(connection, |connection| {
            // Another program may have been quicker.
            if version(connection)? >= migration.number {
                return Ok(());
            }
            connection.run_script(migration.script)?;
            connection.run("INSERT INTO migrations (number) VALUES (?)", &[migration.number.into()])?;
            Ok(())
        })
        .map_err(|source: SqlError| StoreError::Migration { number: migration.number, source })?;
    }
    Ok(found)
}

/// The number of the last change that was made; makes the table in which these stand.
fn version(connection: &mut dyn Connection) -> Result<i64, SqlError> {
    let mut found = 0;
    let question = connection.has_table();
    connection.query(question, &["migrations".into()], &mut |row| {
        found = row.int(0)?;
        Ok(())
    })?;
    if found == 0 {
        connection.run_script("CREATE TABLE IF NOT EXISTS migrations (number {int} NOT NULL PRIMARY KEY)")?;
        return Ok(0);
    }
    connection.query("SELECT COALESCE(MAX(number), 0) FROM migrations", &[], &mut |row| {
        found = row.int(0)?;
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::{SqlErrorKind, Sqlite};
    use super::*;

    const ONE: Migration =
        Migration { number: 1, script: "CREATE TABLE a (x {int}); INSERT INTO a VALUES (7)" };
    const TWO: Migration = Migration { number: 2, script: "ALTER TABLE a ADD COLUMN y {text}" };
    const BROKEN: Migration =
        Migration { number: 2, script: "DELETE FROM a; ALTER TABLE nothing ADD COLUMN z {int}" };

    fn sevens(connection: &mut dyn Connection) -> i64 {
        let mut count = -1;
        let on_row: &mut dyn FnMut(&dyn super::super::Row) -> Result<(), SqlError> = &mut |row| {
            count = row.int(0)?;
            Ok(())
        };
        connection.query("SELECT COUNT(*) FROM a WHERE x = 7", &[], on_row).expect("it has the table");
        count
    }

    #[test]
    fn numbers_follow_each_other() {
        for (at, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number, at as i64 + 1);
        }
    }

    #[test]
    fn schemas_go_forward_after_a_backup() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db");
        let mut connection = Sqlite::open(&path, true).expect("it opens");
        assert_eq!(migrate(&mut connection, &[ONE]).expect("it migrates"), 0);
        assert_eq!(migrate(&mut connection, &[ONE]).expect("nothing to do"), 1);
        assert!(!folder.path().join("db.schema-1.bak").exists());
        assert_eq!(migrate(&mut connection, &[ONE, TWO]).expect("it migrates"), 1);
        connection.run("UPDATE a SET y = ?", &["z".into()]).expect("it has the column");
        let mut copy = Sqlite::open(&folder.path().join("db.schema-1.bak"), true).expect("there is a copy");
        assert_eq!(sevens(&mut copy), 1);
        assert!(copy.run("UPDATE a SET y = ?", &["z".into()]).is_err());
        let newer = migrate(&mut connection, &[ONE]).expect_err("it is newer");
        assert!(matches!(newer, StoreError::Newer { found: 2, known: 1 }), "{newer}");
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = Sqlite::open(&folder.path().join("db"), true).expect("it opens");
        migrate(&mut connection, &[ONE]).expect("it migrates");
        let error = migrate(&mut connection, &[ONE, BROKEN]).expect_err("it is broken");
        assert!(matches!(error, StoreError::Migration { number: 2, .. }), "{error}");
        assert_eq!(sevens(&mut connection), 1);
        assert_eq!(migrate(&mut connection, &[ONE, TWO]).expect("it is still of schema 1"), 1);
    }

    #[test]
    fn what_is_no_database_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db");
        std::fs::write(&path, "this is a text and no database at all\n".repeat(99)).expect("a file");
        let kind = Sqlite::open(&path, true).map_err(|error| error.kind).err();
        assert_eq!(kind, Some(SqlErrorKind::Corrupt));
    }
}
