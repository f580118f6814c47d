//! Alerts and the decisions that come with them.

use crate::db::alerts::{self, AlertFilter};
use crate::db::decisions::{self, Checked};
use crate::error::StoreError;
use crate::index::Filter;
use crate::place::{Place, is_network_scope};
use crate::records::{Added, NewAlert, StoredAlert};

use super::{Change, Store};

/// Alerts that are read from the database at once.
const PAGE: i64 = 100;

/// Which part of an answer about alerts is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertPage {
    /// How many at most.
    pub limit: u64,
    /// Whether the oldest come first.
    pub ascending: bool,
    /// Whether their decisions are wanted.
    pub with_decisions: bool,
}

impl Default for AlertPage {
    /// All, the newest first, with their decisions.
    fn default() -> Self {
        AlertPage { limit: u64::MAX, ascending: false, with_decisions: true }
    }
}

/// An alert whose decisions have been looked at.
struct CheckedAlert<'a> {
    new: &'a NewAlert,
    decisions: Vec<Checked<'a>>,
}

fn check(new: &NewAlert) -> (Added, Option<CheckedAlert<'_>>) {
    let mut dropped = Vec::new();
    let mut sound = Vec::with_capacity(new.decisions.len());
    for decision in &new.decisions {
        let record = &decision.decision;
        let place = is_network_scope(&record.scope).then(|| Place::parse(&record.value)).transpose();
        match place {
            Ok(place) => sound.push(Checked { new: decision, place: place.map(|(place, _)| place) }),
            Err(error) => dropped.push(error),
        }
    }
    let is_stored = !sound.is_empty() || new.decisions.is_empty();
    (Added { dropped, ..Added::default() }, is_stored.then_some(CheckedAlert { new, decisions: sound }))
}

impl Store {
    /// Stores alerts with their decisions: all of them, or none. Decisions whose value is no address or
    /// range, though their scope says so, are dropped, and an alert that loses all of its decisions so.
    /// An alert whose identity is known, from before or from this batch, is left out: what was sent once
    /// more, because the answer got lost, is not stored twice.
    ///
    /// Returns what became of each, in the order of the alerts.
    ///
    /// # Errors
    /// The database fails.
    pub fn add_alerts(&self, batch: &[NewAlert], now_ms: i64) -> Result<Vec<Added>, StoreError> {
        self.add_alerts_of(batch, |_| now_ms, now_ms)
    }

    /// As [`Store::add_alerts`], for alerts that were made at the times that `created_ms` tells by their
    /// places in the batch.
    pub(super) fn add_alerts_of(
        &self,
        batch: &[NewAlert],
        created_ms: impl Fn(usize) -> i64,
        now_ms: i64,
    ) -> Result<Vec<Added>, StoreError> {
        let (mut added, checked): (Vec<_>, Vec<_>) = batch.iter().map(check).unzip();
        if checked.iter().all(Option::is_none) {
            return Ok(added);
        }
        let uuids: Vec<&str> =
            checked.iter().flatten().map(|alert| &*alert.new.uuid).filter(|uuid| !uuid.is_empty()).collect();
        let ids = self.change("store alerts", now_ms, |connection, counters| {
            let mut known = alerts::known(connection, &uuids)?;
            let commit = counters.commit + 1;
            let mut ids = Vec::with_capacity(checked.len());
            let mut rows = Vec::new();
            for (at, alert) in checked.iter().enumerate() {
                let created_ms = created_ms(at);
                let Some(alert) = alert else {
                    ids.push((None, false));
                    continue;
                };
                if let Some(&id) = known.get(&alert.new.uuid) {
                    ids.push((Some(id), true));
                    continue;
                }
                counters.alert += 1;
                let id = counters.alert;
                alerts::insert(connection, alert.new, id, created_ms)?;
                if !alert.new.uuid.is_empty() {
                    known.insert(alert.new.uuid.clone(), id);
                }
                let first = counters.decision + 1;
                decisions::insert(connection, &alert.decisions, first, id, commit, created_ms)?;
                counters.decision += alert.decisions.len() as i64;
                rows.extend(
                    (first..).zip(&alert.decisions).map(|(row, checked)| checked.as_ref(row, id, created_ms)),
                );
                ids.push((Some(id), false));
            }
            if !rows.is_empty() {
                counters.commit = commit;
            }
            Ok((ids, Change { added: rows, ended: Vec::new() }))
        })?;
        for (added, (id, known)) in added.iter_mut().zip(ids) {
            (added.id, added.known) = (id, known);
        }
        Ok(added)
    }

    /// Shows the alerts that a filter asks for. They are read in portions: what is stored or deleted
    /// meanwhile may or may not be among them.
    ///
    /// # Errors
    /// The database fails.
    pub fn alerts(
        &self,
        filter: &AlertFilter,
        page: AlertPage,
        now_ms: i64,
        mut visit: impl FnMut(StoredAlert),
    ) -> Result<(), StoreError> {
        let mut filter = filter.clone();
        self.narrow(&mut filter, now_ms);
        let mut left = page.limit;
        let mut after = None;
        while left > 0 {
            let count = PAGE.min(i64::try_from(left).unwrap_or(PAGE));
            let found = self.ask("read alerts", |connection| {
                let mut found = alerts::page(connection, &filter, page.ascending, after, count, now_ms)?;
                if page.with_decisions {
                    let ids: Vec<i64> = found.iter().map(|stored| stored.alert.id).collect();
                    let mut all = decisions::of_alerts(connection, &ids)?;
                    for stored in &mut found {
                        let id = Some(stored.alert.id);
                        stored.decisions = all.extract_if(.., |decision| decision.alert == id).collect();
                    }
                }
                Ok(found)
            })?;
            let is_last = (found.len() as i64) < count;
            left -= found.len() as u64;
            after = found.last().map(|stored| stored.alert.id);
            found.into_iter().for_each(&mut visit);
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// An alert by its number, with its decisions.
    ///
    /// # Errors
    /// The database fails.
    pub fn alert(&self, id: i64, now_ms: i64) -> Result<Option<StoredAlert>, StoreError> {
        let filter = AlertFilter { ids: Some(vec![id]), ..AlertFilter::default() };
        let mut found = None;
        self.alerts(&filter, AlertPage::default(), now_ms, |stored| found = Some(stored))?;
        Ok(found)
    }

    /// The numbers of the alerts that a filter asks for.
    ///
    /// # Errors
    /// The database fails.
    pub fn alert_ids(&self, filter: &AlertFilter, now_ms: i64) -> Result<Vec<i64>, StoreError> {
        let mut filter = filter.clone();
        self.narrow(&mut filter, now_ms);
        self.ask("read alerts", |connection| alerts::ids(connection, &filter, now_ms))
    }

    /// Alerts with a decision in force about an address are found in memory.
    fn narrow(&self, filter: &mut AlertFilter, now_ms: i64) {
        if filter.has_active_decision != Some(true) || filter.ids.is_some() {
            return;
        }
        let Some(target) = filter.target else { return };
        let asked = Filter { target: Some(target), simulated: true, ..Filter::default() };
        let mut ids = Vec::new();
        let page = crate::index::Page::default();
        self.index(now_ms).query(&asked, page, |view| ids.push(view.alert()));
        ids.sort_unstable();
        ids.dedup();
        // Many are told apart by the database; a list of them would be a long statement.
        if ids.len() <= PAGE as usize {
            filter.ids = Some(ids);
        }
    }

    /// Deletes alerts; their decisions end. Returns how many alerts there were.
    ///
    /// # Errors
    /// The database fails.
    pub fn delete_alerts(&self, ids: &[i64], now_ms: i64) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        self.change("delete alerts", now_ms, |connection, counters| {
            let ended = decisions::active_of_alerts(connection, ids, now_ms)?;
            if !ended.is_empty() {
                counters.commit += 1;
                decisions::end(connection, &ended, counters.commit, now_ms)?;
            }
            decisions::detach(connection, ids)?;
            let deleted = alerts::delete(connection, ids, now_ms)?;
            Ok((deleted, Change { added: Vec::new(), ended }))
        })
    }
}
