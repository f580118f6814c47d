//! The tables of machines and bouncers.

use crate::index::Cursor;
use crate::records::{Bouncer, Machine, Os};
use crate::sql::{Connection, Row, SqlError, Table, Value};

use super::broken;

/// A client that is known by name: a machine or a bouncer.
pub(crate) trait Client: Clone + Send + Sync {
    /// What it is, for messages.
    const WHAT: &'static str;
    /// Its table. The first column is its number, the second its name.
    const TABLE: Table;
    /// Its number.
    fn id(&self) -> i64;
    /// Gives it its number.
    fn set_id(&mut self, id: i64);
    /// Its name.
    fn name(&self) -> &str;
    /// The values of its row, in the order of the columns.
    fn values(&self) -> Vec<Value<'_>>;
    /// Reads a row.
    fn read(row: &dyn Row) -> Result<Self, SqlError>;
}

impl Client for Machine {
    const WHAT: &'static str = "machine";
    const TABLE: Table = Table {
        name: "machines",
        columns: &[
            "id",
            "name",
            "password",
            "auth_type",
            "validated",
            "ip",
            "version",
            "os_name",
            "os_family",
            "os_version",
            "feature_flags",
            "scenarios",
            "hub_state",
            "datasources",
            "created_ms",
            "updated_ms",
            "last_push_ms",
            "last_heartbeat_ms",
        ],
    };

    fn id(&self) -> i64 {
        self.id
    }

    fn set_id(&mut self, id: i64) {
        self.id = id;
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            self.id.into(),
            (&self.name).into(),
            (&self.password).into(),
            (&self.auth_type).into(),
            self.validated.into(),
            (&self.ip).into(),
            (&self.version).into(),
            (&self.os.name).into(),
            (&self.os.family).into(),
            (&self.os.version).into(),
            (&self.feature_flags).into(),
            (&self.scenarios).into(),
            (&self.hub_state).into(),
            (&self.datasources).into(),
            self.created_ms.into(),
            self.updated_ms.into(),
            self.last_push_ms.into(),
            self.last_heartbeat_ms.into(),
        ]
    }

    fn read(row: &dyn Row) -> Result<Self, SqlError> {
        let text = |column: usize| row.text(column).map(str::to_owned);
        Ok(Machine {
            id: row.int(0)?,
            name: text(1)?,
            password: text(2)?,
            auth_type: text(3)?,
            validated: row.int(4)? != 0,
            ip: text(5)?,
            version: text(6)?,
            os: Os { name: text(7)?, family: text(8)?, version: text(9)? },
            feature_flags: text(10)?,
            scenarios: text(11)?,
            hub_state: text(12)?,
            datasources: text(13)?,
            created_ms: row.int(14)?,
            updated_ms: row.int(15)?,
            last_push_ms: row.maybe_int(16)?,
            last_heartbeat_ms: row.maybe_int(17)?,
        })
    }
}

impl Client for Bouncer {
    const WHAT: &'static str = "bouncer";
    const TABLE: Table = Table {
        name: "bouncers",
        columns: &[
            "id",
            "name",
            "key_hash",
            "auth_type",
            "auto_created",
            "ip",
            "kind",
            "version",
            "os_name",
            "os_family",
            "os_version",
            "feature_flags",
            "created_ms",
            "updated_ms",
            "last_pull_ms",
            "stream_commit",
            "stream_ms",
        ],
    };

    fn id(&self) -> i64 {
        self.id
    }

    fn set_id(&mut self, id: i64) {
        self.id = id;
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            self.id.into(),
            (&self.name).into(),
            (&self.key_hash).into(),
            (&self.auth_type).into(),
            self.auto_created.into(),
            (&self.ip).into(),
            (&self.kind).into(),
            (&self.version).into(),
            (&self.os.name).into(),
            (&self.os.family).into(),
            (&self.os.version).into(),
            (&self.feature_flags).into(),
            self.created_ms.into(),
            self.updated_ms.into(),
            self.last_pull_ms.into(),
            self.stream.map(|cursor| cursor.seq as i64).into(),
            self.stream.map(|cursor| cursor.at).into(),
        ]
    }

    fn read(row: &dyn Row) -> Result<Self, SqlError> {
        let text = |column: usize| row.text(column).map(str::to_owned);
        let stream = match (row.maybe_int(15)?, row.maybe_int(16)?) {
            (Some(seq), Some(at)) => {
                let seq = u64::try_from(seq).map_err(|error| broken("commit", error))?;
                Some(Cursor { seq, at })
            }
            _ => None,
        };
        Ok(Bouncer {
            id: row.int(0)?,
            name: text(1)?,
            key_hash: text(2)?,
            auth_type: text(3)?,
            auto_created: row.int(4)? != 0,
            ip: text(5)?,
            kind: text(6)?,
            version: text(7)?,
            os: Os { name: text(8)?, family: text(9)?, version: text(10)? },
            feature_flags: text(11)?,
            created_ms: row.int(12)?,
            updated_ms: row.int(13)?,
            last_pull_ms: row.maybe_int(14)?,
            stream,
        })
    }
}

/// All clients of a kind.
pub(crate) fn list<C: Client>(connection: &mut dyn Connection) -> Result<Vec<C>, SqlError> {
    let mut found = Vec::new();
    let sql = format!("SELECT {} FROM {} ORDER BY id", C::TABLE.columns.join(", "), C::TABLE.name);
    connection.query(&sql, &[], &mut |row| {
        found.push(C::read(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// Stores a new client and gives it its number.
pub(crate) fn insert<C: Client>(connection: &mut dyn Connection, client: &mut C) -> Result<(), SqlError> {
    client.set_id(next_id(connection, C::TABLE.name)?);
    connection.insert(C::TABLE, &client.values())
}

/// The number after the largest of a table.
pub(super) fn next_id(connection: &mut dyn Connection, table: &str) -> Result<i64, SqlError> {
    let mut last = 0;
    connection.query(&format!("SELECT COALESCE(MAX(id), 0) FROM {table}"), &[], &mut |row| {
        last = row.int(0)?;
        Ok(())
    })?;
    Ok(last + 1)
}

/// Stores what a client has become. One that is gone stays gone.
pub(crate) fn update<C: Client>(connection: &mut dyn Connection, client: &C) -> Result<(), SqlError> {
    let (_, columns) = C::TABLE.columns.split_at(1);
    let sql = format!("UPDATE {} SET {} = ? WHERE id = ?", C::TABLE.name, columns.join(" = ?, "));
    let mut values = client.values();
    values.rotate_left(1);
    connection.run(&sql, &values).map(drop)
}

/// Deletes a client. Alerts of a machine stay, without an owner.
pub(crate) fn delete<C: Client>(connection: &mut dyn Connection, client: &C) -> Result<(), SqlError> {
    if C::TABLE.name == Machine::TABLE.name {
        connection.run("UPDATE alerts SET machine = NULL WHERE machine = ?", &[client.id().into()])?;
    }
    connection.run(&format!("DELETE FROM {} WHERE id = ?", C::TABLE.name), &[client.id().into()]).map(drop)
}

/// The numbers of machines that have alerts.
pub(crate) fn machines_with_alerts(connection: &mut dyn Connection) -> Result<Vec<i64>, SqlError> {
    let mut ids = Vec::new();
    let sql = "SELECT DISTINCT machine FROM alerts WHERE machine IS NOT NULL";
    connection.query(sql, &[], &mut |row| {
        ids.push(row.int(0)?);
        Ok(())
    })?;
    Ok(ids)
}
