//! The tables of allowlists and their items.

use crate::records::{Allowlist, AllowlistItem};
use crate::sql::{Connection, SqlError, Table, Value};

use super::VALUES_MOST;
use super::clients::next_id;

const LISTS: Table = Table {
    name: "allowlists",
    columns: &["id", "name", "description", "console_id", "from_console", "created_ms", "updated_ms"],
};
const ITEMS: Table = Table {
    name: "allowlist_items",
    columns: &["id", "allowlist", "value", "description", "expires_ms", "created_ms"],
};

/// All lists with their items.
pub(crate) fn list(connection: &mut dyn Connection) -> Result<Vec<Allowlist>, SqlError> {
    let mut lists: Vec<Allowlist> = Vec::new();
    let sql = format!("SELECT {} FROM allowlists ORDER BY id", LISTS.columns.join(", "));
    connection.query(&sql, &[], &mut |row| {
        lists.push(Allowlist {
            id: row.int(0)?,
            name: row.text(1)?.to_owned(),
            description: row.text(2)?.to_owned(),
            console_id: row.text(3)?.to_owned(),
            from_console: row.int(4)? != 0,
            created_ms: row.int(5)?,
            updated_ms: row.int(6)?,
            items: Vec::new(),
        });
        Ok(())
    })?;
    let sql = "SELECT allowlist, value, description, expires_ms, created_ms FROM allowlist_items ORDER BY id";
    connection.query(sql, &[], &mut |row| {
        let id = row.int(0)?;
        if let Some(list) = lists.iter_mut().find(|list| list.id == id) {
            list.items.push(AllowlistItem {
                value: row.text(1)?.to_owned(),
                description: row.text(2)?.to_owned(),
                expires_ms: row.maybe_int(3)?,
                created_ms: row.int(4)?,
            });
        }
        Ok(())
    })?;
    Ok(lists)
}

/// Stores a new list with its items; returns its number.
pub(crate) fn insert(connection: &mut dyn Connection, list: &Allowlist) -> Result<i64, SqlError> {
    let id = next_id(connection, LISTS.name)?;
    let values = [
        id.into(),
        (&list.name).into(),
        (&list.description).into(),
        (&list.console_id).into(),
        list.from_console.into(),
        list.created_ms.into(),
        list.updated_ms.into(),
    ];
    connection.insert(LISTS, &values)?;
    insert_items(connection, id, &list.items)?;
    Ok(id)
}

/// Adds items to a list.
pub(crate) fn insert_items(
    connection: &mut dyn Connection,
    list: i64,
    items: &[AllowlistItem],
) -> Result<(), SqlError> {
    let mut id = next_id(connection, ITEMS.name)?;
    for items in items.chunks(VALUES_MOST / ITEMS.columns.len()) {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(items.len() * ITEMS.columns.len());
        for item in items {
            let row: [Value<'_>; ITEMS.columns.len()] = [
                id.into(),
                list.into(),
                (&item.value).into(),
                (&item.description).into(),
                item.expires_ms.into(),
                item.created_ms.into(),
            ];
            values.extend(row);
            id += 1;
        }
        connection.insert(ITEMS, &values)?;
    }
    Ok(())
}

/// Stores what a list has become, all its items included.
pub(crate) fn replace(connection: &mut dyn Connection, list: &Allowlist) -> Result<(), SqlError> {
    let sql = "UPDATE allowlists SET name = ?, description = ?, console_id = ?, from_console = ?, updated_ms = ? WHERE id = ?";
    let values = [
        (&list.name).into(),
        (&list.description).into(),
        (&list.console_id).into(),
        list.from_console.into(),
        list.updated_ms.into(),
        list.id.into(),
    ];
    connection.run(sql, &values)?;
    connection.run("DELETE FROM allowlist_items WHERE allowlist = ?", &[list.id.into()])?;
    insert_items(connection, list.id, &list.items)
}

/// Deletes a list and its items.
pub(crate) fn delete(connection: &mut dyn Connection, list: i64) -> Result<(), SqlError> {
    connection.run("DELETE FROM allowlist_items WHERE allowlist = ?", &[list.into()])?;
    connection.run("DELETE FROM allowlists WHERE id = ?", &[list.into()]).map(drop)
}

/// Deletes items that ended before `now_ms`; returns how many.
pub(crate) fn purge(connection: &mut dyn Connection, now_ms: i64) -> Result<u64, SqlError> {
    connection
        .run("DELETE FROM allowlist_items WHERE expires_ms IS NOT NULL AND expires_ms < ?", &[now_ms.into()])
}
