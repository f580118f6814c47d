//! Allowlists. All of them are in memory, with their values read.

use crate::db::allowlists;
use crate::error::StoreError;
use crate::index::Filter;
use crate::place::{Place, Target};
use crate::records::{Allowlist, AllowlistItem};
use crate::sql::{Connection, SqlError, SqlErrorKind};

use super::{Store, lock, read, write};

const WHAT: &str = "allowlist";

/// The lists, each with the networks of its items.
#[derive(Default)]
pub(super) struct Allowlists(Vec<(Allowlist, Vec<Option<Place>>)>);

/// An item that allows what was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The name of its list.
    pub list: String,
    /// The item.
    pub item: AllowlistItem,
}

fn with_places(list: Allowlist) -> (Allowlist, Vec<Option<Place>>) {
    let places =
        list.items.iter().map(|item| Place::parse(&item.value).ok().map(|(place, _)| place)).collect();
    (list, places)
}

fn is_in_force(item: &AllowlistItem, now_ms: i64) -> bool {
    item.expires_ms.is_none_or(|end| end >= now_ms)
}

impl Store {
    /// All allowlists, in the order of their making.
    pub fn allowlists(&self) -> Vec<Allowlist> {
        read(&self.allowlists).0.iter().map(|(list, _)| list.clone()).collect()
    }

    /// An allowlist by its name.
    pub fn allowlist(&self, name: &str) -> Option<Allowlist> {
        read(&self.allowlists).0.iter().map(|(list, _)| list).find(|list| list.name == name).cloned()
    }

    /// The items that allow an address or range, because they cover it or lie inside it; sorted by the
    /// names of their lists.
    pub fn allowed_by(&self, target: Target, now_ms: i64) -> Vec<Allowed> {
        let asked = target.place();
        let mut found = Vec::new();
        for (list, places) in &read(&self.allowlists).0 {
            for (item, place) in list.items.iter().zip(places) {
                let touches = place.is_some_and(|place| place.covers(asked) || asked.covers(place));
                if touches && is_in_force(item, now_ms) {
                    found.push(Allowed { list: list.name.clone(), item: item.clone() });
                }
            }
        }
        found.sort_by(|one, other| one.list.cmp(&other.list));
        found
    }

    /// Stores a new allowlist; its number is given here. Decisions about what it allows end.
    ///
    /// # Errors
    /// The name is taken, or the database fails.
    pub fn add_allowlist(&self, list: &Allowlist, now_ms: i64) -> Result<(), StoreError> {
        let mut writer = lock(&self.writer);
        let taken = || StoreError::Exists { what: WHAT, name: list.name.clone() };
        if self.allowlist(&list.name).is_some() {
            return Err(taken());
        }
        let added = self.commit_with(&mut writer, "store an allowlist", |connection, counters| {
            counters.clients += 1;
            allowlists::insert(connection, list)
        });
        let (id, before, after) = match added {
            Err(error) if error.sql_kind() == Some(SqlErrorKind::Taken) => return Err(taken()),
            other => other?,
        };
        write(&self.allowlists).0.push(with_places(Allowlist { id, ..list.clone() }));
        self.know_clients(before, after);
        drop(writer);
        self.lift_allowed(&list.items, now_ms)
    }

    /// Changes an allowlist. Decisions about what it newly allows end; what it no longer allows stays as
    /// it is.
    ///
    /// # Errors
    /// There is no such list, or the database fails.
    pub fn update_allowlist(
        &self,
        name: &str,
        now_ms: i64,
        change: impl FnOnce(&mut Allowlist),
    ) -> Result<(), StoreError> {
        let mut writer = lock(&self.writer);
        let known = self.allowlist(name);
        let before_change = known.ok_or_else(|| StoreError::Unknown { what: WHAT, name: name.to_owned() })?;
        let mut list = before_change.clone();
        change(&mut list);
        list.id = before_change.id;
        list.name = before_change.name;
        list.updated_ms = now_ms;
        let ((), before, after) =
            self.commit_with(&mut writer, "change an allowlist", |connection, counters| {
                counters.clients += 1;
                allowlists::replace(connection, &list)
            })?;
        let mut new = list.items.clone();
        new.retain(|item| !before_change.items.contains(item));
        let mut lists = write(&self.allowlists);
        if let Some(known) = lists.0.iter_mut().find(|(known, _)| known.id == list.id) {
            *known = with_places(list);
        }
        drop(lists);
        self.know_clients(before, after);
        drop(writer);
        self.lift_allowed(&new, now_ms)
    }

    /// Deletes an allowlist.
    ///
    /// # Errors
    /// There is no such list, or the database fails.
    pub fn delete_allowlist(&self, name: &str) -> Result<(), StoreError> {
        let mut writer = lock(&self.writer);
        let known = self.allowlist(name);
        let list = known.ok_or_else(|| StoreError::Unknown { what: WHAT, name: name.to_owned() })?;
        let ((), before, after) =
            self.commit_with(&mut writer, "delete an allowlist", |connection, counters| {
                counters.clients += 1;
                allowlists::delete(connection, list.id)
            })?;
        write(&self.allowlists).0.retain(|(known, _)| known.id != list.id);
        self.know_clients(before, after);
        Ok(())
    }

    /// Ends decisions that items cover, or that cover items.
    pub(super) fn lift_allowed(&self, items: &[AllowlistItem], now_ms: i64) -> Result<(), StoreError> {
        let mut ids = Vec::new();
        let index = self.index(now_ms);
        for item in items.iter().filter(|item| is_in_force(item, now_ms)) {
            for contains in [true, false] {
                // What is no address allows nothing.
                let Ok(target) = Target::parse(&item.value, contains) else { continue };
                let filter = Filter { target: Some(target), simulated: true, ..Filter::default() };
                ids.extend(index.ids(&filter));
            }
        }
        drop(index);
        ids.sort_unstable();
        ids.dedup();
        self.end_decisions(&ids, now_ms).map(drop)
    }

    pub(super) fn reload_allowlists(&self, connection: &mut dyn Connection) -> Result<(), SqlError> {
        let lists = allowlists::list(connection)?;
        write(&self.allowlists).0 = lists.into_iter().map(with_places).collect();
        Ok(())
    }
}
