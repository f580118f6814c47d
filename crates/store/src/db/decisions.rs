//! The table of decisions.

use crate::index::{Cursor, DecisionRef};
use crate::place::Place;
use crate::records::{NewDecision, StoredDecision};
use crate::sql::{Connection, Row, SqlError, Table, Value, placeholders};

use super::{NUMBERS_MOST, VALUES_MOST, broken, run_for_numbers};

const TABLE: Table = Table {
    name: "decisions",
    columns: &[
        "id",
        "alert",
        "uuid",
        "scope",
        "value",
        "kind",
        "origin",
        "scenario",
        "simulated",
        "low",
        "high",
        "until_ms",
        "created_ms",
        "born",
    ],
};

/// The columns that are read, in the order of [`read`].
const COLUMNS: &str = "id, alert, uuid, scope, value, kind, origin, scenario, simulated, until_ms, created_ms, born, gone, gone_ms";

/// A decision that is known to be sound, on its way into the table.
pub(crate) struct Checked<'d> {
    pub(crate) new: &'d NewDecision,
    /// The network that its value names, if its scope says so.
    pub(crate) place: Option<Place>,
}

impl Checked<'_> {
    /// How the index takes it.
    pub(crate) fn as_ref(&self, id: i64, alert: i64, now_ms: i64) -> DecisionRef<'_> {
        let decision = &self.new.decision;
        DecisionRef {
            id,
            alert,
            uuid: self.new.uuid,
            scope: &decision.scope,
            value: &decision.value,
            kind: &decision.kind,
            origin: &decision.origin,
            scenario: &decision.scenario,
            simulated: decision.simulated,
            until: decision.until.unix_nanos().div_euclid(1_000_000),
            created: now_ms,
        }
    }
}

/// Stores the decisions of an alert under the numbers from `first_id` on.
pub(crate) fn insert(
    connection: &mut dyn Connection,
    decisions: &[Checked<'_>],
    first_id: i64,
    alert: i64,
    commit: i64,
    now_ms: i64,
) -> Result<(), SqlError> {
    let portion = VALUES_MOST / TABLE.columns.len();
    let mut id = first_id;
    for decisions in decisions.chunks(portion) {
        let bytes: Vec<_> = decisions
            .iter()
            .map(|checked| (checked.new.uuid.to_be_bytes(), checked.place.map(Place::bounds)))
            .collect();
        let mut values = Vec::with_capacity(decisions.len() * TABLE.columns.len());
        for (checked, (uuid, bounds)) in decisions.iter().zip(&bytes) {
            let row = checked.as_ref(id, alert, now_ms);
            id += 1;
            let (low, high) =
                bounds.as_ref().map_or((None, None), |(low, high)| (Some(&low[..]), Some(&high[..])));
            values.extend([
                row.id.into(),
                alert.into(),
                if row.uuid == 0 { Value::Null } else { Value::Blob(uuid) },
                row.scope.into(),
                row.value.into(),
                row.kind.into(),
                row.origin.into(),
                row.scenario.into(),
                row.simulated.into(),
                low.into(),
                high.into(),
                row.until.into(),
                row.created.into(),
                commit.into(),
            ]);
        }
        connection.insert(TABLE, &values)?;
    }
    Ok(())
}

/// Ends those of these decisions that are in force; returns how many they were.
pub(crate) fn end(
    connection: &mut dyn Connection,
    ids: &[i64],
    commit: i64,
    now_ms: i64,
) -> Result<u64, SqlError> {
    run_for_numbers(
        connection,
        ids,
        |numbers| {
            format!(
                "UPDATE decisions SET gone = ?, gone_ms = ? WHERE id IN ({numbers}) AND gone IS NULL AND until_ms > ?"
            )
        },
        &[commit.into(), now_ms.into()],
        &[now_ms.into()],
    )
}

/// The numbers of those decisions of these alerts that are in force.
pub(crate) fn active_of_alerts(
    connection: &mut dyn Connection,
    alerts: &[i64],
    now_ms: i64,
) -> Result<Vec<i64>, SqlError> {
    let mut ids = Vec::new();
    for portion in alerts.chunks(NUMBERS_MOST) {
        let sql = format!(
            "SELECT id FROM decisions WHERE alert IN ({}) AND gone IS NULL AND until_ms > ?",
            placeholders(portion.len())
        );
        let mut values: Vec<Value<'_>> = portion.iter().map(|&alert| alert.into()).collect();
        values.push(now_ms.into());
        connection.query(&sql, &values, &mut |row| {
            ids.push(row.int(0)?);
            Ok(())
        })?;
    }
    Ok(ids)
}

/// Takes decisions from their alerts, which are about to go.
pub(crate) fn detach(connection: &mut dyn Connection, alerts: &[i64]) -> Result<(), SqlError> {
    let sql = |numbers: &str| format!("UPDATE decisions SET alert = NULL WHERE alert IN ({numbers})");
    run_for_numbers(connection, alerts, sql, &[], &[]).map(drop)
}

/// A row of the table.
pub(crate) struct Stored<'r> {
    pub(crate) decision: DecisionRef<'r>,
    pub(crate) alert: Option<i64>,
    pub(crate) born: u64,
    pub(crate) gone: Option<Cursor>,
}

fn read(row: &dyn Row) -> Result<Stored<'_>, SqlError> {
    let commit = |number: i64| u64::try_from(number).map_err(|error| broken("commit", error));
    let gone = match (row.maybe_int(12)?, row.maybe_int(13)?) {
        (Some(seq), Some(at)) => Some(Cursor { seq: commit(seq)?, at }),
        _ => None,
    };
    let alert = row.maybe_int(1)?;
    let uuid = match row.blob(2)? {
        [] => 0,
        bytes => u128::from_be_bytes(bytes.try_into().map_err(|error| broken("identity", error))?),
    };
    let decision = DecisionRef {
        id: row.int(0)?,
        alert: alert.unwrap_or(0),
        uuid,
        scope: row.text(3)?,
        value: row.text(4)?,
        kind: row.text(5)?,
        origin: row.text(6)?,
        scenario: row.text(7)?,
        simulated: row.int(8)? != 0,
        until: row.int(9)?,
        created: row.int(10)?,
    };
    Ok(Stored { decision, alert, born: commit(row.int(11)?)?, gone })
}

/// Takes rows of the table, one after the other.
pub(crate) type OnDecision<'f> = &'f mut dyn FnMut(Stored<'_>) -> Result<(), SqlError>;

/// Shows the decisions that are not over since `floor_ms`, by their numbers.
pub(crate) fn load(
    connection: &mut dyn Connection,
    floor_ms: i64,
    visit: OnDecision<'_>,
) -> Result<(), SqlError> {
    // The plus keeps the engine from the index of ends: nearly all rows are wanted, in this order.
    let sql = format!(
        "SELECT {COLUMNS} FROM decisions WHERE until_ms + 0 > ? AND (gone_ms IS NULL OR gone_ms > ?) ORDER BY id"
    );
    connection.query(&sql, &[floor_ms.into(), floor_ms.into()], &mut |row| visit(read(row)?))
}

/// The last commit whose decisions were all ended at `floor_ms` or before.
pub(crate) fn last_gone_before(connection: &mut dyn Connection, floor_ms: i64) -> Result<i64, SqlError> {
    let mut last = 0;
    let sql = "SELECT COALESCE(MAX(gone), 0) FROM decisions WHERE gone IS NOT NULL AND gone_ms <= ?";
    connection.query(sql, &[floor_ms.into()], &mut |row| {
        last = row.int(0)?;
        Ok(())
    })?;
    Ok(last)
}

/// Shows the decisions with larger numbers than `id`, by their numbers.
pub(crate) fn load_new(
    connection: &mut dyn Connection,
    id: i64,
    visit: OnDecision<'_>,
) -> Result<(), SqlError> {
    let sql = format!("SELECT {COLUMNS} FROM decisions WHERE id > ? ORDER BY id");
    connection.query(&sql, &[id.into()], &mut |row| visit(read(row)?))
}

/// Shows the decisions that were ended by later commits than `commit`, by these commits.
pub(crate) fn load_gone(
    connection: &mut dyn Connection,
    commit: i64,
    visit: OnDecision<'_>,
) -> Result<(), SqlError> {
    let sql = format!("SELECT {COLUMNS} FROM decisions WHERE gone > ? ORDER BY gone, id");
    connection.query(&sql, &[commit.into()], &mut |row| visit(read(row)?))
}

/// The decisions of alerts, by their numbers.
pub(crate) fn of_alerts(
    connection: &mut dyn Connection,
    alerts: &[i64],
) -> Result<Vec<StoredDecision>, SqlError> {
    let mut found = Vec::new();
    for portion in alerts.chunks(NUMBERS_MOST) {
        let values: Vec<Value<'_>> = portion.iter().map(|&alert| alert.into()).collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM decisions WHERE alert IN ({}) ORDER BY id",
            placeholders(portion.len())
        );
        connection.query(&sql, &values, &mut |row| {
            let stored = read(row)?;
            let decision = stored.decision;
            found.push(StoredDecision {
                id: decision.id,
                alert: stored.alert,
                uuid: decision.uuid,
                scope: decision.scope.to_owned(),
                value: decision.value.to_owned(),
                kind: decision.kind.to_owned(),
                origin: decision.origin.to_owned(),
                scenario: decision.scenario.to_owned(),
                simulated: decision.simulated,
                end_ms: stored.gone.map_or(decision.until, |gone| gone.at),
                created_ms: decision.created,
            });
            Ok(())
        })?;
    }
    Ok(found)
}

/// Deletes the decisions that were over before `before_ms`; returns how many, and the last commit that had
/// ended one of them.
pub(crate) fn purge(connection: &mut dyn Connection, before_ms: i64) -> Result<(u64, i64), SqlError> {
    let floor = last_gone_before(connection, before_ms - 1)?;
    let expired = connection.run("DELETE FROM decisions WHERE until_ms < ?", &[before_ms.into()])?;
    let ended = connection
        .run("DELETE FROM decisions WHERE gone IS NOT NULL AND gone_ms < ?", &[before_ms.into()])?;
    Ok((expired + ended, floor))
}
