//! Seeing what other programs write to the same database.

use std::collections::HashSet;

use crate::db::{Counters, decisions};
use crate::error::StoreError;
use crate::records::AllowlistItem;
use crate::sql::{Connection, SqlError};

use super::{Store, lock, read, write};

/// Rows that are brought into the index under one lock.
pub(super) const PORTION: usize = 512;

impl Store {
    /// Takes over what other programs, such as further nodes or a command, have written since the last
    /// time: to be called every second or so. Returns whether there was anything.
    ///
    /// # Errors
    /// The database fails.
    pub fn follow(&self, now_ms: i64) -> Result<bool, StoreError> {
        let counters = self.ask("look for changes", Counters::read)?;
        let clients = counters.clients != read(&self.machines).commit;
        let decisions = counters.commit as u64 != read(&self.index).now().seq;
        if !clients && !decisions {
            return Ok(false);
        }
        let allowed = if clients { self.allowlists() } else { Vec::new() };
        // No writer of our own may get between what is read and what is shown.
        let mut writer = lock(&self.writer);
        let connection = self.writing(&mut writer)?;
        if decisions {
            self.catch_up(connection, now_ms).map_err(StoreError::doing("follow other writers"))?;
        }
        if clients {
            self.reload_clients(connection).map_err(StoreError::doing("load clients"))?;
        }
        drop(writer);
        if clients {
            // Whoever allowed something could not lift what we decided in the same moment.
            let known: HashSet<&AllowlistItem> = allowed.iter().flat_map(|list| &list.items).collect();
            let mut new: Vec<AllowlistItem> =
                self.allowlists().into_iter().flat_map(|list| list.items).collect();
            new.retain(|item| !known.contains(item));
            self.lift_allowed(&new, now_ms)?;
        }
        Ok(true)
    }

    /// Follows, unless commit `seq` is known already: for a client who comes from another node with a
    /// position of there, and would begin anew if this one lagged behind.
    ///
    /// # Errors
    /// The database fails.
    pub fn follow_to(&self, seq: u64, now_ms: i64) -> Result<(), StoreError> {
        if read(&self.index).now().seq >= seq {
            return Ok(());
        }
        self.follow(now_ms).map(drop)
    }

    /// Brings everything into the index that was committed since its last commit.
    pub(super) fn catch_up(&self, connection: &mut dyn Connection, now_ms: i64) -> Result<(), SqlError> {
        let counters = Counters::read(connection)?;
        let (known, last) = {
            let index = read(&self.index);
            (index.now().seq, index.last_id())
        };
        // What ended in between may be purged by now, or the database be replaced by an older one.
        if known < counters.floor as u64 || known > counters.commit as u64 {
            let fresh = super::load(connection, &self.options, now_ms)?;
            write(&self.index).replace(fresh);
            self.publish(counters.commit as u64);
            return Ok(());
        }
        // Commits that come while this is read stay unseen until they are published in their turn.
        decisions::load_new(connection, last, &mut |stored| {
            let mut index = write(&self.index);
            // A row that cannot be understood must not hide all others.
            let _ = index.insert(stored.born, &stored.decision);
            Ok(())
        })?;
        decisions::load_gone(connection, known as i64, &mut |stored| {
            if let Some(gone) = stored.gone {
                write(&self.index).end(gone.seq, gone.at, stored.decision.id);
            }
            Ok(())
        })?;
        write(&self.index).advance(now_ms);
        self.publish(counters.commit as u64);
        Ok(())
    }
}
