//! Machines and bouncers. All of them are in memory, so that a request is let in without the database;
//! what changes with every request is written later, all at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::clients::Client;
use crate::db::{Counters, clients};
use crate::error::StoreError;
use crate::records::{Bouncer, Machine};
use crate::sql::{Connection, SqlError};

use super::{Store, lock, read, write};

/// Clients by name.
pub(super) struct Registry<C> {
    by_name: BTreeMap<String, C>,
    /// Names of those that differ from what is stored.
    unsaved: BTreeSet<String>,
    /// The commit that is known.
    pub(super) commit: i64,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Registry { by_name: BTreeMap::new(), unsaved: BTreeSet::new(), commit: 0 }
    }
}

impl<C: Client> Registry<C> {
    /// Takes over what is stored, but for what is still to be saved.
    fn reload(&mut self, stored: Vec<C>, commit: i64) {
        let mut before = std::mem::take(&mut self.by_name);
        self.by_name = stored.into_iter().map(|client| (client.name().to_owned(), client)).collect();
        let by_name = &mut self.by_name;
        self.unsaved.retain(|name| match (by_name.get_mut(name), before.remove(name)) {
            (Some(stored), Some(unsaved)) if stored.id() == unsaved.id() => {
                *stored = unsaved;
                true
            }
            _ => false,
        });
        self.commit = commit;
    }
}

macro_rules! handle {
    ($handle:ident, $client:ident, $field:ident, $one:literal, $many:literal) => {
        #[doc = concat!("The ", $many, " of a store.")]
        #[derive(Clone, Copy)]
        pub struct $handle<'s>(&'s Store);

        impl $handle<'_> {
            #[doc = concat!("All ", $many, ", by their names.")]
            pub fn list(self) -> Vec<$client> {
                read(&self.0.$field).by_name.values().cloned().collect()
            }

            #[doc = concat!("A ", $one, " by its name.")]
            pub fn get(self, name: &str) -> Option<$client> {
                read(&self.0.$field).by_name.get(name).cloned()
            }

            #[doc = concat!("The ", $many, " that are wanted, by their names.")]
            pub fn find(self, wanted: impl Fn(&$client) -> bool) -> Vec<$client> {
                read(&self.0.$field).by_name.values().filter(|client| wanted(client)).cloned().collect()
            }

            #[doc = concat!("Stores a new ", $one, "; its number is given here.")]
            ///
            /// # Errors
            /// The name is taken, or the database fails.
            pub fn insert(self, client: $client) -> Result<$client, StoreError> {
                let store = self.0;
                let mut writer = lock(&store.writer);
                let name = client.name.clone();
                let taken = StoreError::Exists { what: $client::WHAT, name: name.clone() };
                if read(&store.$field).by_name.contains_key(&name) {
                    return Err(taken);
                }
                let added = store.commit_with(&mut writer, concat!("store a ", $one), |connection, counters| {
                    let mut client = client;
                    clients::insert(connection, &mut client)?;
                    counters.clients += 1;
                    Ok(client)
                });
                let (client, before, after) = match added {
                    Err(error) if error.sql_kind() == Some(crate::SqlErrorKind::Taken) => return Err(taken),
                    other => other?,
                };
                write(&store.$field).by_name.insert(name, client.clone());
                store.know_clients(before, after);
                Ok(client)
            }

            #[doc = concat!("Changes a ", $one, ", and stores it before this returns. Its name and number stay.")]
            ///
            /// # Errors
            #[doc = concat!("There is no such ", $one, ", or the database fails.")]
            pub fn update(self, name: &str, change: impl FnOnce(&mut $client)) -> Result<$client, StoreError> {
                let store = self.0;
                let mut writer = lock(&store.writer);
                let before_change = self.known(name)?;
                let mut client = before_change.clone();
                change(&mut client);
                client.id = before_change.id;
                client.name = before_change.name;
                let (client, before, after) =
                    store.commit_with(&mut writer, concat!("change a ", $one), |connection, counters| {
                        clients::update(connection, &client)?;
                        counters.clients += 1;
                        Ok(client)
                    })?;
                let mut registry = write(&store.$field);
                registry.unsaved.remove(name);
                registry.by_name.insert(name.to_owned(), client.clone());
                drop(registry);
                store.know_clients(before, after);
                Ok(client)
            }

            #[doc = concat!("Changes a ", $one, " in memory; [`Store::save`] stores it. Its name and number stay.")]
            #[doc = concat!("Returns whether there is such a ", $one, ".")]
            pub fn touch(self, name: &str, change: impl FnOnce(&mut $client)) -> bool {
                let mut registry = write(&self.0.$field);
                let Some(client) = registry.by_name.get_mut(name) else { return false };
                let id = client.id;
                change(client);
                client.id = id;
                name.clone_into(&mut client.name);
                registry.unsaved.insert(name.to_owned());
                true
            }

            #[doc = concat!("Deletes a ", $one, ".")]
            ///
            /// # Errors
            #[doc = concat!("There is no such ", $one, ", or the database fails.")]
            pub fn delete(self, name: &str) -> Result<(), StoreError> {
                let store = self.0;
                let mut writer = lock(&store.writer);
                let client = self.known(name)?;
                let ((), before, after) =
                    store.commit_with(&mut writer, concat!("delete a ", $one), |connection, counters| {
                        counters.clients += 1;
                        clients::delete(connection, &client)
                    })?;
                let mut registry = write(&store.$field);
                registry.unsaved.remove(name);
                registry.by_name.remove(name);
                drop(registry);
                store.know_clients(before, after);
                Ok(())
            }

            fn known(self, name: &str) -> Result<$client, StoreError> {
                let unknown = || StoreError::Unknown { what: $client::WHAT, name: name.to_owned() };
                self.get(name).ok_or_else(unknown)
            }
        }
    };
}

handle!(Machines, Machine, machines, "machine", "machines");
handle!(Bouncers, Bouncer, bouncers, "bouncer", "bouncers");

impl Store {
    /// The machines.
    pub fn machines(&self) -> Machines<'_> {
        Machines(self)
    }

    /// The bouncers.
    pub fn bouncers(&self) -> Bouncers<'_> {
        Bouncers(self)
    }

    /// Stores what was only changed in memory; returns how many clients that were. To be called every few
    /// seconds, and before the end.
    ///
    /// # Errors
    /// The database fails; what could not be stored is tried again the next time.
    pub fn save(&self) -> Result<usize, StoreError> {
        let mut writer = lock(&self.writer);
        let machines = unsaved(&mut write(&self.machines));
        let bouncers = unsaved(&mut write(&self.bouncers));
        let count = machines.len() + bouncers.len();
        if count == 0 {
            return Ok(0);
        }
        let saved = self.commit_with(&mut writer, "save clients", |connection, counters| {
            counters.clients += 1;
            machines.iter().try_for_each(|client| clients::update(connection, client))?;
            bouncers.iter().try_for_each(|client| clients::update(connection, client))
        });
        match saved {
            Ok(((), before, after)) => {
                self.know_clients(before, after);
                Ok(count)
            }
            Err(error) => {
                let names = machines.into_iter().map(|client| client.name);
                write(&self.machines).unsaved.extend(names);
                let names = bouncers.into_iter().map(|client| client.name);
                write(&self.bouncers).unsaved.extend(names);
                Err(error)
            }
        }
    }

    /// Notes a commit of our own, unless that of another program came before it and is still to be read.
    pub(super) fn know_clients(&self, before: Counters, after: Counters) {
        let mut machines = write(&self.machines);
        if machines.commit == before.clients {
            machines.commit = after.clients;
        }
    }

    pub(super) fn reload_clients(&self, connection: &mut dyn Connection) -> Result<(), SqlError> {
        // Read before the clients: what comes in between is read again.
        let commit = Counters::read(connection)?.clients;
        let machines = clients::list(connection)?;
        let bouncers = clients::list(connection)?;
        self.reload_allowlists(connection)?;
        write(&self.bouncers).reload(bouncers, commit);
        write(&self.machines).reload(machines, commit);
        Ok(())
    }
}

fn unsaved<C: Client>(registry: &mut Registry<C>) -> Vec<C> {
    let names = std::mem::take(&mut registry.unsaved);
    names.iter().filter_map(|name| registry.by_name.get(name)).cloned().collect()
}
