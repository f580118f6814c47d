//! Taking over what an installation of the reference had in its own SQLite database.

use std::collections::HashMap;
use std::path::Path;

use crate::error::StoreError;
use crate::records::NewAlert;
use crate::sql::SqlError;
use crate::upstream::Upstream;

use super::Store;

/// Alerts that are stored at once.
const ALERTS: usize = 500;
/// And decisions, unless a single alert has more.
const DECISIONS: usize = 50_000;

/// What was taken over from another database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Machines.
    pub machines: u64,
    /// Bouncers.
    pub bouncers: u64,
    /// Alerts.
    pub alerts: u64,
    /// Decisions in force.
    pub decisions: u64,
    /// Allowlists.
    pub allowlists: u64,
    /// What was here already, by name or identity.
    pub known: u64,
    /// Decisions that were left out, since their value is no address or range though their scope says so.
    pub dropped: u64,
}

/// What failed, on which side.
enum Failure {
    There(SqlError),
    Here(StoreError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Failure::There(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Here(error)
    }
}

impl Store {
    /// Takes over machines, bouncers (their keys and passwords go on working), alerts, decisions in force and
    /// allowlists from the SQLite database of an installation of the reference, old or new, which is only
    /// read. What is here already is left as it is: to be called again after it was broken off, or later.
    ///
    /// # Errors
    /// The file cannot be read or is no such database, or ours fails; what was taken over until then stays.
    pub fn import_upstream(&self, path: &Path, now_ms: i64) -> Result<Imported, StoreError> {
        self.import(path, now_ms).map_err(|failure| match failure {
            Failure::There(source) => StoreError::Import { path: path.to_owned(), source },
            Failure::Here(error) => error,
        })
    }

    fn import(&self, path: &Path, now_ms: i64) -> Result<Imported, Failure> {
        let upstream = Upstream::open(path)?;
        let mut imported = Imported::default();
        let mut machines = HashMap::new();
        for (old, machine) in upstream.machines()? {
            let name = machine.name.clone();
            let ours = match self.machines().get(&name) {
                Some(known) => {
                    imported.known += 1;
                    known
                }
                None => {
                    imported.machines += 1;
                    self.machines().insert(machine)?
                }
            };
            machines.insert(old, ours.id);
        }
        for bouncer in upstream.bouncers()? {
            match self.bouncers().insert(bouncer) {
                Err(StoreError::Exists { .. }) => imported.known += 1,
                inserted => {
                    inserted?;
                    imported.bouncers += 1;
                }
            }
        }
        let mut batch = Vec::new();
        let mut waiting = 0;
        upstream.alerts::<Failure>(now_ms, |old| {
            let machine = old.new.machine.and_then(|id| machines.get(&id).copied());
            waiting += old.new.decisions.len();
            batch.push((NewAlert { machine, ..old.new }, old.created_ms));
            if batch.len() >= ALERTS || waiting >= DECISIONS {
                waiting = 0;
                self.import_alerts(std::mem::take(&mut batch), &mut imported, now_ms)?;
            }
            Ok(())
        })?;
        self.import_alerts(batch, &mut imported, now_ms)?;
        // Last, so that they lift what they allow.
        for list in upstream.allowlists()? {
            match self.add_allowlist(&list, now_ms) {
                Err(StoreError::Exists { .. }) => imported.known += 1,
                added => {
                    added?;
                    imported.allowlists += 1;
                }
            }
        }
        Ok(imported)
    }

    fn import_alerts(
        &self,
        batch: Vec<(NewAlert, i64)>,
        imported: &mut Imported,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (alerts, created): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let added = self.add_alerts_of(&alerts, |at| created.get(at).copied().unwrap_or(now_ms), now_ms)?;
        for (alert, added) in alerts.iter().zip(added) {
            if added.known {
                imported.known += 1;
                continue;
            }
            imported.dropped += added.dropped.len() as u64;
            imported.alerts += u64::from(added.id.is_some());
            imported.decisions += (alert.decisions.len() - added.dropped.len()) as u64;
        }
        Ok(())
    }
}
