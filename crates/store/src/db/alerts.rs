//! The table of alerts.

use std::{collections::HashMap, sync::Arc};

use testudo_event::{Alert, AlertEvent, Source, Timestamp};

use crate::place::{Place, Target, is_network_scope};
use crate::records::{NewAlert, StoredAlert};
use crate::sql::{Connection, Row, SqlError, Table, Value, placeholders};

use super::{NUMBERS_MOST, VALUES_MOST, broken, run_for_numbers};

const TABLE: Table = Table {
    name: "alerts",
    columns: &[
        "id",
        "uuid",
        "machine",
        "created_ms",
        "started_ns",
        "stopped_ns",
        "kind",
        "scenario",
        "scenario_version",
        "scenario_hash",
        "message",
        "leakspeed",
        "capacity",
        "events_count",
        "simulated",
        "remediation",
        "scope",
        "value",
        "ip",
        "network",
        "as_number",
        "as_name",
        "country",
        "latitude",
        "longitude",
        "low",
        "high",
        "events",
        "meta",
    ],
};

const DELETED: Table = Table { name: "deleted_alerts", columns: &["uuid", "alert", "deleted_ms"] };

/// The columns that are read, in the order of [`read`].
const COLUMNS: &str = "a.id, a.uuid, a.created_ms, a.started_ns, a.stopped_ns, a.kind, a.scenario, a.scenario_version, a.scenario_hash, a.message, a.leakspeed, a.capacity, a.events_count, a.simulated, a.remediation, a.scope, a.value, a.ip, a.network, a.as_number, a.as_name, a.country, a.latitude, a.longitude, a.events, a.meta, COALESCE(m.name, '')";

/// The scope of alerts that announce the community's list.
const COMMUNITY_LIST: &str = "crowdsecurity/community-blocklist";

/// Which alerts are asked for: all conditions must hold. The default asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Its number is one of these.
    pub ids: Option<Vec<i64>>,
    /// Its identity.
    pub uuid: Option<String>,
    /// The scope of its source.
    pub scope: Option<String>,
    /// The value of its source.
    pub value: Option<String>,
    /// Its scenario, or that of one of its decisions.
    pub scenario: Option<String>,
    /// Its kind.
    pub kind: Option<String>,
    /// One of its decisions, or its source, covers this or lies inside it.
    pub target: Option<Target>,
    /// It began at or after this time, in milliseconds.
    pub started_from_ms: Option<i64>,
    /// It began at or before this time, in milliseconds.
    pub started_to_ms: Option<i64>,
    /// It was stored at or before this time, in milliseconds.
    pub created_to_ms: Option<i64>,
    /// The type of one of its decisions.
    pub decision_type: Option<String>,
    /// The origin of one of its decisions.
    pub origin: Option<String>,
    /// Whether alerts about lists, of the community or of others, are left out.
    pub without_lists: bool,
    /// Whether simulated alerts are left out.
    pub without_simulated: bool,
    /// Whether one of its decisions is in force (`true`), or it has none at all (`false`).
    pub has_active_decision: Option<bool>,
}

/// A condition in the making.
struct Condition<'v> {
    sql: String,
    values: Vec<Value<'v>>,
}

impl<'v> Condition<'v> {
    fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Value<'v>>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.extend(values);
    }
}

/// The bounds of a target, for comparisons in the database.
struct Bounds {
    low: [u8; Place::BOUND_BYTES],
    high: [u8; Place::BOUND_BYTES],
    contains: bool,
}

impl AlertFilter {
    fn bounds(&self) -> Option<Bounds> {
        let target = self.target?;
        let (low, high) = target.place().bounds();
        Some(Bounds { low, high, contains: target.contains })
    }

    fn condition<'v>(&'v self, bounds: Option<&'v Bounds>, now_ms: i64) -> Condition<'v> {
        let mut all = Condition { sql: "1 = 1".to_owned(), values: Vec::new() };
        if let Some(ids) = &self.ids {
            // Numbers of our own cannot be anything but digits.
            let list: Vec<String> = ids.iter().map(i64::to_string).collect();
            let list = if list.is_empty() { "NULL".to_owned() } else { list.join(", ") };
            all.and(&format!("a.id IN ({list})"), []);
        }
        for (column, wanted) in
            [("uuid", &self.uuid), ("scope", &self.scope), ("value", &self.value), ("kind", &self.kind)]
        {
            if let Some(wanted) = wanted {
                all.and(&format!("a.{column} = ?"), [wanted.into()]);
            }
        }
        let has = |condition: &str| {
            format!("EXISTS (SELECT 1 FROM decisions d WHERE d.alert = a.id AND {condition})")
        };
        if let Some(scenario) = &self.scenario {
            let sql = format!("(a.scenario = ? OR {})", has("d.scenario = ?"));
            all.and(&sql, [scenario.into(), scenario.into()]);
        }
        if let Some(bounds) = bounds {
            let (low, high) = if bounds.contains { ("<=", ">=") } else { (">=", "<=") };
            let within = |table: &str| format!("{table}.low {low} ? AND {table}.high {high} ?");
            let sql = format!("(({}) OR {})", within("a"), has(&within("d")));
            let values = [Value::Blob(&bounds.low), Value::Blob(&bounds.high)];
            all.and(&sql, values.into_iter().chain(values));
        }
        for (comparison, millis) in
            [("a.started_ns >= ?", self.started_from_ms), ("a.started_ns <= ?", self.started_to_ms)]
        {
            if let Some(millis) = millis {
                all.and(comparison, [millis.saturating_mul(1_000_000).into()]);
            }
        }
        if let Some(millis) = self.created_to_ms {
            all.and("a.created_ms <= ?", [millis.into()]);
        }
        for (column, wanted) in [("kind", &self.decision_type), ("origin", &self.origin)] {
            if let Some(wanted) = wanted {
                all.and(&has(&format!("d.{column} = ?")), [wanted.into()]);
            }
        }
        if self.without_lists {
            all.and(&format!("NOT {}", has("d.origin IN ('CAPI', 'lists')")), []);
            let sql = format!("NOT ((a.scope LIKE 'lists:%' OR a.scope = ?) AND NOT {})", has("1 = 1"));
            all.and(&sql, [COMMUNITY_LIST.into()]);
        }
        if self.without_simulated {
            all.and("a.simulated = 0", []);
        }
        match self.has_active_decision {
            Some(true) => all.and(&has("d.until_ms >= ? AND d.gone IS NULL"), [now_ms.into()]),
            Some(false) => all.and(&format!("NOT {}", has("1 = 1")), []),
            None => {}
        }
        all
    }
}

/// The network that the source of an alert names.
fn place_of(source: &Source) -> Option<Place> {
    if !is_network_scope(&source.scope) {
        return None;
    }
    [&source.value, &source.ip].into_iter().find_map(|text| Place::parse(text).ok()).map(|(place, _)| place)
}

/// Stores an alert, without its decisions.
pub(crate) fn insert(
    connection: &mut dyn Connection,
    new: &NewAlert,
    id: i64,
    now_ms: i64,
) -> Result<(), SqlError> {
    let alert = &new.alert;
    let source = &alert.source;
    let bounds = place_of(source).map(Place::bounds);
    let (low, high) = bounds.as_ref().map_or((None, None), |(low, high)| (Some(&low[..]), Some(&high[..])));
    let events = serde_json::to_string(&alert.events).map_err(|error| broken("list of events", error))?;
    let meta = serde_json::to_string(&alert.context).map_err(|error| broken("context", error))?;
    let values = [
        id.into(),
        (&new.uuid).into(),
        new.machine.into(),
        now_ms.into(),
        alert.start_at.unix_nanos().into(),
        alert.stop_at.unix_nanos().into(),
        (&alert.kind).into(),
        (&alert.scenario).into(),
        (&alert.scenario_version).into(),
        (&alert.scenario_hash).into(),
        (&alert.message).into(),
        (&alert.leakspeed).into(),
        i64::from(alert.capacity).into(),
        i64::from(alert.events_count).into(),
        alert.simulated.into(),
        alert.remediation.into(),
        (&source.scope).into(),
        (&source.value).into(),
        (&source.ip).into(),
        (&source.range).into(),
        (&source.as_number).into(),
        (&source.as_name).into(),
        (&source.cn).into(),
        Value::Real(f64::from(source.latitude)),
        Value::Real(f64::from(source.longitude)),
        low.into(),
        high.into(),
        (&events).into(),
        (&meta).into(),
    ];
    connection.insert(TABLE, &values)
}

fn time(nanos: i64) -> Timestamp {
    Timestamp::default().add_nanos(nanos)
}

fn read(row: &dyn Row) -> Result<StoredAlert, SqlError> {
    let text = |column: usize| row.text(column).map(str::to_owned);
    let number = |column: usize| {
        row.int(column).and_then(|number| i32::try_from(number).map_err(|error| broken("number", error)))
    };
    let created_ms = row.int(2)?;
    let events: Arc<[AlertEvent]> =
        serde_json::from_str(row.text(24)?).map_err(|error| broken("list of events", error))?;
    let context = serde_json::from_str(row.text(25)?).map_err(|error| broken("context", error))?;
    let alert = Alert {
        id: row.int(0)?,
        uuid: text(1)?,
        machine_id: text(26)?,
        created_at: time(created_ms.saturating_mul(1_000_000)).to_rfc3339(),
        kind: text(5)?,
        scenario: text(6)?,
        scenario_version: text(7)?,
        scenario_hash: text(8)?,
        message: text(9)?,
        leakspeed: text(10)?,
        capacity: number(11)?,
        events_count: number(12)?,
        start_at: time(row.int(3)?),
        stop_at: time(row.int(4)?),
        simulated: row.int(13)? != 0,
        remediation: row.int(14)? != 0,
        source: Source {
            scope: text(15)?,
            value: text(16)?,
            ip: text(17)?,
            range: text(18)?,
            as_number: text(19)?,
            as_name: text(20)?,
            cn: text(21)?,
            latitude: row.real(22)? as f32,
            longitude: row.real(23)? as f32,
        },
        events,
        context,
        ..Alert::default()
    };
    Ok(StoredAlert { alert, created_ms, decisions: Vec::new() })
}

/// The next alerts of an answer: at most `limit`, after the number `after` in the order that is asked for.
pub(crate) fn page(
    connection: &mut dyn Connection,
    filter: &AlertFilter,
    ascending: bool,
    after: Option<i64>,
    limit: i64,
    now_ms: i64,
) -> Result<Vec<StoredAlert>, SqlError> {
    let bounds = filter.bounds();
    let mut condition = filter.condition(bounds.as_ref(), now_ms);
    if let Some(after) = after {
        condition.and(if ascending { "a.id > ?" } else { "a.id < ?" }, [after.into()]);
    }
    let order = if ascending { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT {COLUMNS} FROM alerts a LEFT JOIN machines m ON m.id = a.machine WHERE {} ORDER BY a.id {order} LIMIT {limit}",
        condition.sql
    );
    let mut found = Vec::new();
    connection.query(&sql, &condition.values, &mut |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// The numbers of all alerts that are asked for.
pub(crate) fn ids(
    connection: &mut dyn Connection,
    filter: &AlertFilter,
    now_ms: i64,
) -> Result<Vec<i64>, SqlError> {
    let bounds = filter.bounds();
    let condition = filter.condition(bounds.as_ref(), now_ms);
    let sql = format!("SELECT a.id FROM alerts a WHERE {} ORDER BY a.id", condition.sql);
    collect_ids(connection, &sql, &condition.values)
}

/// The numbers of alerts that may be flushed: all but the last `items`, or stored before `created_ms`; never
/// one with a decision in force.
pub(crate) fn old(
    connection: &mut dyn Connection,
    items: Option<u64>,
    created_ms: Option<i64>,
    now_ms: i64,
) -> Result<Vec<i64>, SqlError> {
    let last = match items {
        None => 0,
        Some(items) => {
            let mut last = 0;
            connection.query("SELECT COALESCE(MAX(id), 0) FROM alerts", &[], &mut |row| {
                last = row.int(0)?;
                Ok(())
            })?;
            last - i64::try_from(items).unwrap_or(i64::MAX)
        }
    };
    let sql = "SELECT a.id FROM alerts a WHERE (a.id < ? OR a.created_ms < ?) AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.alert = a.id AND d.gone IS NULL AND d.until_ms > ?)";
    let created = created_ms.unwrap_or(i64::MIN);
    collect_ids(connection, sql, &[last.into(), created.into(), now_ms.into()])
}

fn collect_ids(
    connection: &mut dyn Connection,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Vec<i64>, SqlError> {
    let mut ids = Vec::new();
    connection.query(sql, values, &mut |row| {
        ids.push(row.int(0)?);
        Ok(())
    })?;
    Ok(ids)
}

/// Deletes alerts, whose decisions must have been taken from them, and remembers their identities; returns
/// how many there were.
pub(crate) fn delete(connection: &mut dyn Connection, ids: &[i64], now_ms: i64) -> Result<u64, SqlError> {
    remember_deleted(connection, ids, now_ms)?;
    run_for_numbers(
        connection,
        ids,
        |numbers| format!("DELETE FROM alerts WHERE id IN ({numbers})"),
        &[],
        &[],
    )
}

fn remember_deleted(connection: &mut dyn Connection, ids: &[i64], now_ms: i64) -> Result<(), SqlError> {
    let mut going = HashMap::new();
    for portion in ids.chunks(NUMBERS_MOST) {
        let values: Vec<Value<'_>> = portion.iter().map(|&id| id.into()).collect();
        let list = placeholders(portion.len());
        let sql = format!("SELECT uuid, id FROM alerts WHERE id IN ({list}) AND uuid <> ''");
        connection.query(&sql, &values, &mut |row| {
            going.insert(row.text(0)?.to_owned(), row.int(1)?);
            Ok(())
        })?;
    }
    let going: Vec<(String, i64)> = going.into_iter().collect();
    for portion in going.chunks(VALUES_MOST / DELETED.columns.len()) {
        let values: Vec<Value<'_>> = portion
            .iter()
            .flat_map(|(uuid, id)| [uuid.into(), Value::Int(*id), Value::Int(now_ms)])
            .collect();
        connection.insert(DELETED, &values)?;
    }
    Ok(())
}

/// Of these identities those that an alert has or had, with its number.
pub(crate) fn known(
    connection: &mut dyn Connection,
    uuids: &[&str],
) -> Result<HashMap<String, i64>, SqlError> {
    let mut known = HashMap::new();
    for portion in uuids.chunks(NUMBERS_MOST) {
        let values: Vec<Value<'_>> = portion.iter().map(|&uuid| uuid.into()).collect();
        for (id, table) in [("alert", "deleted_alerts"), ("id", "alerts")] {
            let list = placeholders(portion.len());
            let sql = format!("SELECT uuid, {id} FROM {table} WHERE uuid IN ({list})");
            connection.query(&sql, &values, &mut |row| {
                known.insert(row.text(0)?.to_owned(), row.int(1)?);
                Ok(())
            })?;
        }
    }
    Ok(known)
}

/// Forgets the identities of alerts that were deleted before `before_ms`.
pub(crate) fn forget_deleted(connection: &mut dyn Connection, before_ms: i64) -> Result<(), SqlError> {
    connection.run("DELETE FROM deleted_alerts WHERE deleted_ms < ?", &[before_ms.into()]).map(drop)
}

/// How many alerts there are of each scenario, without those that announce lists of others.
pub(crate) fn count_by_scenario(connection: &mut dyn Connection) -> Result<Vec<(String, u64)>, SqlError> {
    let mut counts = Vec::new();
    let sql = "SELECT scenario, COUNT(*) FROM alerts WHERE scope <> ? AND scope NOT LIKE 'lists:%' \
        GROUP BY scenario ORDER BY scenario";
    connection.query(sql, &[COMMUNITY_LIST.into()], &mut |row| {
        let count = u64::try_from(row.int(1)?).map_err(|error| broken("count", error))?;
        counts.push((row.text(0)?.to_owned(), count));
        Ok(())
    })?;
    Ok(counts)
}
