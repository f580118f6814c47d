//! The tables of configuration items (tokens, secrets, times of pulls) and of usage metrics.

use crate::records::Metrics;
use crate::sql::{Connection, SqlError, Table};

use super::clients::next_id;
use super::run_for_numbers;

const CONFIG: Table = Table { name: "config_items", columns: &["name", "value", "updated_ms"] };
const METRICS: Table =
    Table { name: "metrics", columns: &["id", "kind", "sender", "received_ms", "pushed_ms", "payload"] };

/// The value of a configuration item.
pub(crate) fn get(connection: &mut dyn Connection, name: &str) -> Result<Option<String>, SqlError> {
    let mut found = None;
    connection.query("SELECT value FROM config_items WHERE name = ?", &[name.into()], &mut |row| {
        found = Some(row.text(0)?.to_owned());
        Ok(())
    })?;
    Ok(found)
}

/// Sets a configuration item, or deletes it.
pub(crate) fn set(
    connection: &mut dyn Connection,
    name: &str,
    value: Option<&str>,
    now_ms: i64,
) -> Result<(), SqlError> {
    connection.run("DELETE FROM config_items WHERE name = ?", &[name.into()])?;
    match value {
        Some(value) => connection.insert(CONFIG, &[name.into(), value.into(), now_ms.into()]),
        None => Ok(()),
    }
}

/// Stores a report; returns its number.
pub(crate) fn insert_metrics(connection: &mut dyn Connection, report: &Metrics) -> Result<i64, SqlError> {
    let id = next_id(connection, METRICS.name)?;
    let values = [
        id.into(),
        (&report.kind).into(),
        (&report.sender).into(),
        report.received_ms.into(),
        report.pushed_ms.into(),
        (&report.payload).into(),
    ];
    connection.insert(METRICS, &values)?;
    Ok(id)
}

/// Reports, oldest first: all, or those that have not been passed on.
pub(crate) fn list_metrics(
    connection: &mut dyn Connection,
    unpushed: bool,
) -> Result<Vec<Metrics>, SqlError> {
    let condition = if unpushed { " WHERE pushed_ms IS NULL" } else { "" };
    let sql = format!("SELECT {} FROM metrics{condition} ORDER BY id", METRICS.columns.join(", "));
    let mut found = Vec::new();
    connection.query(&sql, &[], &mut |row| {
        found.push(Metrics {
            id: row.int(0)?,
            kind: row.text(1)?.to_owned(),
            sender: row.text(2)?.to_owned(),
            received_ms: row.int(3)?,
            pushed_ms: row.maybe_int(4)?,
            payload: row.text(5)?.to_owned(),
        });
        Ok(())
    })?;
    Ok(found)
}

/// Notes that reports were passed on.
pub(crate) fn set_pushed(connection: &mut dyn Connection, ids: &[i64], now_ms: i64) -> Result<(), SqlError> {
    let sql = |numbers: &str| format!("UPDATE metrics SET pushed_ms = ? WHERE id IN ({numbers})");
    run_for_numbers(connection, ids, sql, &[now_ms.into()], &[]).map(drop)
}

/// Deletes reports that came before `before_ms`; returns how many.
pub(crate) fn purge_metrics(connection: &mut dyn Connection, before_ms: i64) -> Result<u64, SqlError> {
    connection.run("DELETE FROM metrics WHERE received_ms < ?", &[before_ms.into()])
}
