//! Reading the SQLite database of an existing installation, whichever version made it: tables and columns
//! that it does not have count as empty.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, Rows, Statement};
use testudo_event::time::Civil;
use testudo_event::{Alert, AlertEvent, Decision, Source, Timestamp};

use crate::records::{Allowlist, AllowlistItem, Bouncer, Machine, NewAlert, NewDecision, Os};
use crate::sql::{SqlError, SqlErrorKind};

/// Columns of each table in the order in which they are read.
const MACHINES: &str = "machine_id password auth_type is_validated ip_address version osname osfamily osversion featureflags scenarios hubstate datasources created_at updated_at last_push last_heartbeat id";
const BOUNCERS: &str = "name api_key auth_type auto_created ip_address type version osname osfamily osversion featureflags created_at updated_at last_pull";
const ALERTS: &str = "id uuid created_at started_at stopped_at kind scenario scenario_version scenario_hash message leak_speed capacity events_count simulated remediation source_scope source_value source_ip source_range source_as_number source_as_name source_country source_latitude source_longitude machine_alerts";
const DECISIONS: &str = "alert_decisions uuid type scope value origin scenario simulated until created_at";
const EVENTS: &str = "alert_events time serialized";
const METAS: &str = "alert_metas key value";
const LISTS: &str = "id name description allowlist_id from_console created_at updated_at";
const ITEMS: &str = "value comment expires_at created_at";

/// An installation's database, opened for reading.
pub(crate) struct Upstream {
    connection: Connection,
}

/// An alert of it.
pub(crate) struct OldAlert {
    /// The alert; the number of its machine is that of the old database.
    pub(crate) new: NewAlert,
    /// When it was stored.
    pub(crate) created_ms: i64,
}

fn as_text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    }
}

fn text(row: &Row<'_>, at: usize) -> Result<String, SqlError> {
    Ok(as_text(row.get_ref(at)?))
}

fn number(row: &Row<'_>, at: usize) -> Result<i64, SqlError> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(number) => number,
        ValueRef::Real(number) => number as i64,
        _ => 0,
    })
}

fn real(row: &Row<'_>, at: usize) -> Result<f32, SqlError> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(number) => number as f32,
        ValueRef::Real(number) => number as f32,
        _ => 0.0,
    })
}

fn time(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>, SqlError> {
    Ok(match row.get_ref(at)? {
        ValueRef::Integer(secs) => Some(Timestamp::from_unix(secs, 0)),
        ValueRef::Null => None,
        value => parse_time(&as_text(value)),
    })
}

fn millis(time: Timestamp) -> i64 {
    time.unix().saturating_mul(1000).saturating_add(i64::from(time.nanosecond() / 1_000_000))
}

fn time_ms(row: &Row<'_>, at: usize) -> Result<Option<i64>, SqlError> {
    Ok(time(row, at)?.map(millis))
}

/// `2026-11-21 20:50:01.123456789+00:00`, also with `T`, with `Z`, or with nothing for UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let digits = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok());
    let civil = Civil {
        year: i64::from(digits(0, 4)?),
        month: digits(5, 7)?,
        day: digits(8, 10)?,
        hour: digits(11, 13)?,
        minute: digits(14, 16)?,
        second: digits(17, 19)?,
    };
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, after) = fraction.split_at(length);
        let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        nanos = nine.parse().ok()?;
        rest = after;
    }
    let rest = rest.trim_start();
    let offset = match rest.as_bytes().first() {
        Some(sign @ (b'+' | b'-')) => {
            let hours: i32 = rest.get(1..3)?.parse().ok()?;
            let minutes: i32 = rest.get(3..)?.trim_start_matches(':').get(..2)?.parse().ok()?;
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => 0,
    };
    Some(Timestamp::from_civil(civil, nanos, offset).utc())
}

/// An identity as text, as a number; 0 for none.
fn parse_uuid(text: &str) -> u128 {
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    if digits.len() == 32 { u128::from_str_radix(&digits, 16).unwrap_or(0) } else { 0 }
}

fn os(row: &Row<'_>, first: usize) -> Result<Os, SqlError> {
    Ok(Os { name: text(row, first)?, family: text(row, first + 1)?, version: text(row, first + 2)? })
}

/// Rows of a table by the alert to which they belong, taken in step with the alerts.
struct ByAlert<'s, T> {
    rows: Rows<'s>,
    read: fn(&Row<'_>) -> Result<T, SqlError>,
    next: Option<(i64, T)>,
}

impl<'s, T> ByAlert<'s, T> {
    fn new(
        statement: &'s mut Statement<'_>,
        read: fn(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Self, SqlError> {
        let mut rows = ByAlert { rows: statement.query([])?, read, next: None };
        rows.advance()?;
        Ok(rows)
    }

    fn advance(&mut self) -> Result<(), SqlError> {
        let read = self.read;
        self.next = match self.rows.next()? {
            Some(row) => Some((number(row, 0)?, read(row)?)),
            None => None,
        };
        Ok(())
    }

    /// The rows of an alert. Those of earlier ones are passed over.
    fn take(&mut self, alert: i64) -> Result<Vec<T>, SqlError> {
        let mut found = Vec::new();
        while let Some((owner, one)) = self.next.take_if(|(owner, _)| *owner <= alert) {
            if owner == alert {
                found.push(one);
            }
            self.advance()?;
        }
        Ok(found)
    }
}

impl Upstream {
    /// Opens a file, which is not written to.
    pub(crate) fn open(path: &Path) -> Result<Upstream, SqlError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let upstream = Upstream { connection: Connection::open_with_flags(path, flags)? };
        if !upstream.columns("decisions")?.contains("until") {
            let problem = "it has no table of decisions as an installation's database has";
            return Err(SqlError { kind: SqlErrorKind::Corrupt, source: problem.into() });
        }
        Ok(upstream)
    }

    fn columns(&self, table: &str) -> Result<HashSet<String>, SqlError> {
        let mut statement = self.connection.prepare("SELECT name FROM pragma_table_info(?)")?;
        let names = statement.query_map([table], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// The question for columns of a table; those that it does not have are read as nothing. `None` when there
    /// is no such table.
    fn question(&self, columns: &str, table: &str, rest: &str) -> Result<Option<String>, SqlError> {
        let known = self.columns(table)?;
        if known.is_empty() {
            return Ok(None);
        }
        let columns = columns.split(' ');
        let columns = columns
            .map(|name| if known.contains(name) { format!("t.\"{name}\"") } else { "NULL".to_owned() });
        let columns: Vec<String> = columns.collect();
        Ok(Some(format!("SELECT {} FROM {table} t {rest}", columns.join(", "))))
    }

    fn all<T>(
        &self,
        columns: &str,
        table: &str,
        rest: &str,
        read: impl Fn(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let Some(question) = self.question(columns, table, rest)? else { return Ok(Vec::new()) };
        let mut statement = self.connection.prepare(&question)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// The machines, each with its number there.
    pub(crate) fn machines(&self) -> Result<Vec<(i64, Machine)>, SqlError> {
        self.all(MACHINES, "machines", "ORDER BY id", |row| {
            let machine = Machine {
                id: 0,
                name: text(row, 0)?,
                password: text(row, 1)?,
                auth_type: auth_type(text(row, 2)?, "password"),
                validated: number(row, 3)? != 0,
                ip: text(row, 4)?,
                version: text(row, 5)?,
                os: os(row, 6)?,
                feature_flags: text(row, 9)?,
                scenarios: text(row, 10)?,
                hub_state: text(row, 11)?,
                datasources: text(row, 12)?,
                created_ms: time_ms(row, 13)?.unwrap_or_default(),
                updated_ms: time_ms(row, 14)?.unwrap_or_default(),
                last_push_ms: time_ms(row, 15)?,
                last_heartbeat_ms: time_ms(row, 16)?,
            };
            Ok((number(row, 17)?, machine))
        })
    }

    /// The bouncers. Their positions in the stream are not known: each begins anew.
    pub(crate) fn bouncers(&self) -> Result<Vec<Bouncer>, SqlError> {
        self.all(BOUNCERS, "bouncers", "ORDER BY id", |row| {
            Ok(Bouncer {
                id: 0,
                name: text(row, 0)?,
                key_hash: text(row, 1)?,
                auth_type: auth_type(text(row, 2)?, "api-key"),
                auto_created: number(row, 3)? != 0,
                ip: text(row, 4)?,
                kind: text(row, 5)?,
                version: text(row, 6)?,
                os: os(row, 7)?,
                feature_flags: text(row, 10)?,
                created_ms: time_ms(row, 11)?.unwrap_or_default(),
                updated_ms: time_ms(row, 12)?.unwrap_or_default(),
                last_pull_ms: time_ms(row, 13)?,
                stream: None,
            })
        })
    }

    /// The allowlists with their items.
    pub(crate) fn allowlists(&self) -> Result<Vec<Allowlist>, SqlError> {
        let lists = self.all(LISTS, "allow_lists", "ORDER BY id", |row| {
            let list = Allowlist {
                id: 0,
                name: text(row, 1)?,
                description: text(row, 2)?,
                console_id: text(row, 3)?,
                from_console: number(row, 4)? != 0,
                created_ms: time_ms(row, 5)?.unwrap_or_default(),
                updated_ms: time_ms(row, 6)?.unwrap_or_default(),
                items: Vec::new(),
            };
            Ok((number(row, 0)?, list))
        })?;
        let fill = |(id, list): (i64, Allowlist)| {
            let of_list = format!(
                "JOIN allow_list_allowlist_items j ON j.allow_list_item_id = t.id WHERE j.allow_list_id = {id} ORDER BY t.id"
            );
            let items = self.all(ITEMS, "allow_list_items", &of_list, |row| {
                Ok(AllowlistItem {
                    value: text(row, 0)?,
                    description: text(row, 1)?,
                    expires_ms: time_ms(row, 2)?,
                    created_ms: time_ms(row, 3)?.unwrap_or_default(),
                })
            })?;
            Ok(Allowlist { items, ..list })
        };
        lists.into_iter().map(fill).collect()
    }

    /// Shows the alerts, oldest first, with those of their decisions that end after `now_ms`.
    pub(crate) fn alerts<E: From<SqlError>>(
        &self,
        now_ms: i64,
        mut visit: impl FnMut(OldAlert) -> Result<(), E>,
    ) -> Result<(), E> {
        let prepare = |columns: &str, table: &str, order: &str| -> Result<Statement<'_>, SqlError> {
            // Without the table there are no rows of it.
            let none = format!("SELECT {} WHERE 0", vec!["NULL"; columns.split(' ').count()].join(", "));
            Ok(self.connection.prepare(&self.question(columns, table, order)?.unwrap_or(none))?)
        };
        let mut decisions = prepare(DECISIONS, "decisions", "ORDER BY alert_decisions, id")?;
        let mut events = prepare(EVENTS, "events", "ORDER BY alert_events, id")?;
        let mut metas = prepare(METAS, "meta", "ORDER BY alert_metas, id")?;
        let mut decisions = ByAlert::new(&mut decisions, decision)?;
        let mut events = ByAlert::new(&mut events, event)?;
        let mut metas = ByAlert::new(&mut metas, |row| Ok((text(row, 1)?, text(row, 2)?)))?;
        let mut alerts = prepare(ALERTS, "alerts", "ORDER BY id")?;
        let mut rows = alerts.query([]).map_err(SqlError::from)?;
        // Decisions whose alert is gone still hold.
        let mut orphans = decisions.take(0)?;
        orphans.retain(|new| millis(new.decision.until) > now_ms);
        if !orphans.is_empty() {
            visit(of_orphans(orphans, now_ms))?;
        }
        while let Some(row) = rows.next().map_err(SqlError::from)? {
            let id = number(row, 0)?;
            let mut of_alert = decisions.take(id)?;
            let had_some = !of_alert.is_empty();
            of_alert.retain(|new| millis(new.decision.until) > now_ms);
            let (events, context) = (events.take(id)?, metas.take(id)?);
            visit(alert(row, of_alert, had_some, events, context)?)?;
        }
        Ok(())
    }
}

/// What is empty in rows of old versions.
fn auth_type(found: String, usual: &str) -> String {
    if found.is_empty() { usual.to_owned() } else { found }
}

fn decision(row: &Row<'_>) -> Result<NewDecision, SqlError> {
    let decision = Decision {
        kind: text(row, 2)?,
        scope: text(row, 3)?,
        value: text(row, 4)?,
        origin: text(row, 5)?,
        scenario: text(row, 6)?,
        simulated: number(row, 7)? != 0,
        // One without an end is over.
        until: time(row, 8)?.unwrap_or_default(),
        ..Decision::default()
    };
    Ok(NewDecision { uuid: parse_uuid(&text(row, 1)?), decision })
}

fn event(row: &Row<'_>) -> Result<AlertEvent, SqlError> {
    let meta: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&text(row, 2)?).unwrap_or_default();
    let word = |pair: &serde_json::Map<String, serde_json::Value>, name| {
        pair.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let meta = meta.iter().map(|pair| (word(pair, "key"), word(pair, "value"))).collect();
    Ok(AlertEvent { meta, timestamp: time(row, 1)?.unwrap_or_default().to_rfc3339() })
}

fn of_orphans(decisions: Vec<NewDecision>, now_ms: i64) -> OldAlert {
    let scenario = format!("import of {} decisions without an alert", decisions.len());
    let now = Timestamp::default().add_nanos(now_ms.saturating_mul(1_000_000));
    let alert = Alert {
        message: scenario.clone(),
        scenario,
        remediation: true,
        start_at: now,
        stop_at: now,
        ..Alert::default()
    };
    let new = NewAlert { uuid: "imported without alert".to_owned(), machine: None, alert, decisions };
    OldAlert { new, created_ms: now_ms }
}

fn alert(
    row: &Row<'_>,
    decisions: Vec<NewDecision>,
    had_decisions: bool,
    events: Vec<AlertEvent>,
    context: Vec<(String, String)>,
) -> Result<OldAlert, SqlError> {
    let created = time(row, 2)?.unwrap_or_default();
    let created_ms = millis(created);
    // Old versions gave no identity. This one is the same each time, so that nothing is imported twice.
    let uuid = match text(row, 1)? {
        uuid if uuid.is_empty() => format!("imported {} of {created_ms}", number(row, 0)?),
        uuid => uuid,
    };
    let small = |at| number(row, at).map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    let remediation = match row.get_ref(14)? {
        ValueRef::Null => had_decisions,
        _ => number(row, 14)? != 0,
    };
    let alert = Alert {
        start_at: time(row, 3)?.unwrap_or(created),
        stop_at: time(row, 4)?.unwrap_or(created),
        kind: text(row, 5)?,
        scenario: text(row, 6)?,
        scenario_version: text(row, 7)?,
        scenario_hash: text(row, 8)?,
        message: text(row, 9)?,
        leakspeed: text(row, 10)?,
        capacity: small(11)?,
        events_count: small(12)?,
        simulated: number(row, 13)? != 0,
        remediation,
        source: Source {
            scope: text(row, 15)?,
            value: text(row, 16)?,
            ip: text(row, 17)?,
            range: text(row, 18)?,
            as_number: text(row, 19)?,
            as_name: text(row, 20)?,
            cn: text(row, 21)?,
            latitude: real(row, 22)?,
            longitude: real(row, 23)?,
        },
        events: events.into(),
        context,
        ..Alert::default()
    };
    let machine = Some(number(row, 24)?).filter(|&id| id != 0);
    Ok(OldAlert { new: NewAlert { uuid, machine, alert, decisions }, created_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_they_are_found() {
        for (text, expected) in [
            ("2026-11-21 20:50:01.123456789+00:00", Some((1_795_294_201, 123_456_789))),
            ("2026-11-21 20:50:01.4411421+00:00", Some((1_795_294_201, 441_142_100))),
            ("2026-11-21 20:50:01+00:00", Some((1_795_294_201, 0))),
            ("2026-11-21T20:50:01Z", Some((1_795_294_201, 0))),
            ("2026-11-21 20:50:01", Some((1_795_294_201, 0))),
            ("2026-11-21 22:50:01.5+02:00", Some((1_795_294_201, 500_000_000))),
            ("2026-11-21 15:20:01.5 -0530", Some((1_795_294_201, 500_000_000))),
            ("2026-11-21", None),
            ("20:50:01", None),
            ("yesterday at half past eight", None),
            ("", None),
        ] {
            let found = parse_time(text).map(|time| (time.unix(), time.nanosecond()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn identities_as_they_are_found() {
        assert_eq!(parse_uuid("00000000-0000-0000-0000-0000000000ff"), 255);
        assert_eq!(parse_uuid(""), 0);
        assert_eq!(parse_uuid("not an identity, though of length"), 0);
    }
}
