//! The tables: what goes into them, and what is read from them. Each function works on a connection that it
//! is given; transactions are the caller's.

pub(crate) mod alerts;
pub(crate) mod allowlists;
pub(crate) mod clients;
pub(crate) mod decisions;
pub(crate) mod items;

use crate::sql::{Connection, SqlError, SqlErrorKind, Value};

/// Values of one statement at most: every engine takes as many.
const VALUES_MOST: usize = 10_000;
/// Numbers in one `IN (…)` at most.
const NUMBERS_MOST: usize = 500;

/// The counters, which every writer locks before anything else: this gives commits their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The last commit that changed decisions.
    pub(crate) commit: i64,
    /// The last number of an alert.
    pub(crate) alert: i64,
    /// The last number of a decision.
    pub(crate) decision: i64,
    /// What ended with this commit or earlier may be purged.
    pub(crate) floor: i64,
    /// The last commit that changed machines, bouncers or allowlists.
    pub(crate) clients: i64,
}

impl Counters {
    fn field(&mut self, name: &str) -> Option<&mut i64> {
        Some(match name {
            "commit" => &mut self.commit,
            "alert" => &mut self.alert,
            "decision" => &mut self.decision,
            "floor" => &mut self.floor,
            "clients" => &mut self.clients,
            _ => return None,
        })
    }

    fn load(connection: &mut dyn Connection, suffix: &str) -> Result<Counters, SqlError> {
        let mut counters = Counters::default();
        // In a fixed order, so that two writers cannot wait for each other.
        let sql = format!("SELECT name, number FROM state ORDER BY name{suffix}");
        connection.query(&sql, &[], &mut |row| {
            let number = row.int(1)?;
            if let Some(field) = counters.field(row.text(0)?) {
                *field = number;
            }
            Ok(())
        })?;
        Ok(counters)
    }

    /// Reads the counters.
    pub(crate) fn read(connection: &mut dyn Connection) -> Result<Counters, SqlError> {
        Counters::load(connection, "")
    }

    /// Reads the counters and locks them until the end of the transaction.
    pub(crate) fn lock(connection: &mut dyn Connection) -> Result<Counters, SqlError> {
        let suffix = connection.lock_rows();
        Counters::load(connection, suffix)
    }

    /// Writes what differs from `before`.
    pub(crate) fn save(
        mut self,
        mut before: Counters,
        connection: &mut dyn Connection,
    ) -> Result<(), SqlError> {
        for name in ["commit", "alert", "decision", "floor", "clients"] {
            let (now, then) = (self.field(name).copied(), before.field(name).copied());
            if let Some(number) = now.filter(|_| now != then) {
                connection
                    .run("UPDATE state SET number = ? WHERE name = ?", &[number.into(), name.into()])?;
            }
        }
        Ok(())
    }
}

/// Runs a statement that ends in `IN (…)` or goes on after it, for numbers in portions; returns how many
/// rows it changed.
fn run_for_numbers(
    connection: &mut dyn Connection,
    numbers: &[i64],
    sql: impl Fn(&str) -> String,
    first_values: &[Value<'_>],
    last_values: &[Value<'_>],
) -> Result<u64, SqlError> {
    let mut changed = 0;
    for portion in numbers.chunks(NUMBERS_MOST) {
        let mut values = first_values.to_vec();
        values.extend(portion.iter().map(|&number| Value::Int(number)));
        values.extend_from_slice(last_values);
        changed += connection.run(&sql(&crate::sql::placeholders(portion.len())), &values)?;
    }
    Ok(changed)
}

/// A failure to understand what the database holds.
fn broken(what: &str, problem: impl std::fmt::Display) -> SqlError {
    SqlError { kind: SqlErrorKind::Corrupt, source: format!("broken {what}: {problem}").into() }
}
