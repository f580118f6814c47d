//! Decisions by address: a question is a look into one table for each length of prefix that there is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use testudo_event::{Prefix, duration, net::canonical};
use testudo_gate::{Decisions, Match};
use testudo_wire::Decision as Told;
use testudo_wire::stream::StreamBody;

/// What many decisions have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Label {
    kind: Arc<str>,
    origin: Arc<str>,
    scenario: Arc<str>,
}

#[derive(Clone, Debug)]
struct Entry {
    id: i64,
    label: Arc<Label>,
    until: Instant,
}

/// The decisions that are held.
#[derive(Debug, Default)]
struct Table {
    /// By network; most have one decision.
    entries: HashMap<Prefix, Vec<Entry>>,
    /// How many networks there are of each length, of IPv4 and of IPv6.
    lengths: [BTreeMap<u8, usize>; 2],
    labels: HashSet<Arc<Label>>,
    /// Before this, nothing is over.
    next_end: Option<Instant>,
    is_ready: bool,
}

/// The decisions that are held, for everybody who asks.
#[derive(Debug, Default)]
pub(super) struct Book(RwLock<Table>);

impl Book {
    /// Takes what an API told: everything, or what has changed. Says how many decisions are held.
    pub(super) fn take(&self, full: bool, body: &StreamBody) -> usize {
        let now = Instant::now();
        if full {
            // Questions are answered from the old one until the new one is whole.
            let mut table = Table { is_ready: true, ..Table::default() };
            body.new.iter().for_each(|told| table.insert(told, now));
            let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut *held, table);
            drop(held);
            // It may be large, and nobody waits for its end.
            drop(before);
        } else {
            let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
            body.deleted.iter().for_each(|told| table.remove(told));
            body.new.iter().for_each(|told| table.insert(told, now));
        }
        self.0.read().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    /// Forgets what is over.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        if self.0.read().unwrap_or_else(PoisonError::into_inner).next_end.is_none_or(|end| end > now) {
            return;
        }
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Table { entries, lengths, labels, next_end, .. } = &mut *table;
        *next_end = None;
        entries.retain(|net, list| {
            list.retain(|entry| entry.until > now);
            *next_end = list.iter().map(|entry| entry.until).chain(*next_end).min();
            if list.is_empty() {
                fewer(lengths, *net);
            }
            !list.is_empty()
        });
        labels.retain(|label| Arc::strong_count(label) > 1);
    }
}

impl Decisions for Book {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for &bits in table.lengths[usize::from(address.is_ipv6())].keys() {
            let Some(list) = Prefix::covering(address, bits).and_then(|net| table.entries.get(&net)) else {
                continue;
            };
            matches.extend(list.iter().filter(|entry| entry.until > now).map(|entry| Match {
                kind: Arc::clone(&entry.label.kind),
                origin: Arc::clone(&entry.label.origin),
                scenario: Arc::clone(&entry.label.scenario),
                id: u64::try_from(entry.id).unwrap_or(0),
                remaining: entry.until - now,
            }));
        }
    }

    fn is_ready(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_ready
    }
}

impl Table {
    fn insert(&mut self, told: &Told, now: Instant) {
        // Only for show, or about something else than an address.
        if told.kind.starts_with("simulation:") {
            return;
        }
        let Some(net) = network(told) else { return };
        let left = duration::parse(&told.duration).ok().and_then(|nanos| u64::try_from(nanos).ok());
        let Some(until) = left.and_then(|nanos| now.checked_add(Duration::from_nanos(nanos))) else { return };
        let label = Label {
            kind: told.kind.as_str().into(),
            origin: told.origin.as_str().into(),
            scenario: told.scenario.as_str().into(),
        };
        let label = Arc::clone(self.labels.get_or_insert_with(&label, |label| Arc::new(label.clone())));
        let list = self.entries.entry(net).or_default();
        if list.is_empty() {
            *self.lengths[usize::from(net.addr().is_ipv6())].entry(net.bits()).or_default() += 1;
        }
        list.retain(|entry| entry.id != told.id);
        list.push(Entry { id: told.id, label, until });
        self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
    }

    fn remove(&mut self, told: &Told) {
        let Some(net) = network(told) else { return };
        let Some(list) = self.entries.get_mut(&net) else { return };
        list.retain(|entry| entry.id != told.id);
        if list.is_empty() {
            self.entries.remove(&net);
            fewer(&mut self.lengths, net);
        }
    }
}

/// One network less of its length.
fn fewer(lengths: &mut [BTreeMap<u8, usize>; 2], net: Prefix) {
    let lengths = &mut lengths[usize::from(net.addr().is_ipv6())];
    if let Some(count) = lengths.get_mut(&net.bits()) {
        *count -= 1;
        if *count == 0 {
            lengths.remove(&net.bits());
        }
    }
}

/// The network that a decision is about, if it is about one.
fn network(told: &Told) -> Option<Prefix> {
    if !told.scope.eq_ignore_ascii_case("ip") && !told.scope.eq_ignore_ascii_case("range") {
        return None;
    }
    match told.value.parse::<IpAddr>() {
        Ok(address) => Some(Prefix::single(canonical(address))),
        Err(_) => Prefix::parse(&told.value).map(|net| net.canonical().network()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: i64, scope: &str, value: &str, kind: &str) -> Told {
        Told {
            id,
            scope: scope.to_owned(),
            value: value.to_owned(),
            kind: kind.to_owned(),
            duration: "1h".to_owned(),
            origin: "crowdsec".to_owned(),
            scenario: "demo/http-probing".to_owned(),
            ..Told::default()
        }
    }

    fn found(book: &Book, address: &str) -> Vec<(u64, String)> {
        let mut matches = Vec::new();
        book.find(address.parse().expect("an address"), &mut matches);
        let mut found: Vec<_> = matches.into_iter().map(|found| (found.id, found.kind.to_string())).collect();
        found.sort();
        found
    }

    #[test]
    fn all_decisions_about_an_address_are_found() {
        let book = Book::default();
        assert!(!book.is_ready());
        let new = vec![
            told(1, "Ip", "192.0.2.1", "captcha"),
            told(2, "Range", "192.0.2.0/24", "throttle"),
            told(3, "Ip", "::ffff:192.0.2.1", "ban"),
            told(4, "Range", "2001:db8::/32", "ban"),
            told(5, "Country", "FR", "ban"),
            told(6, "Ip", "192.0.2.9", "simulation:ban"),
        ];
        assert_eq!(book.take(true, &StreamBody { new, deleted: vec![] }), 3);
        assert!(book.is_ready());
        let all = [(1, "captcha".to_owned()), (2, "throttle".to_owned()), (3, "ban".to_owned())];
        assert_eq!(found(&book, "192.0.2.1"), all);
        assert_eq!(found(&book, "192.0.2.9"), all[1..2]);
        assert_eq!(found(&book, "2001:db8::7").len(), 1);
        assert_eq!(found(&book, "198.51.100.1"), []);
        let deleted = vec![told(3, "Ip", "192.0.2.1", "ban"), told(2, "Range", "192.0.2.0/24", "throttle")];
        let new = vec![Told { duration: "-1s".to_owned(), ..told(7, "Ip", "192.0.2.2", "ban") }];
        book.take(false, &StreamBody { new, deleted });
        assert_eq!(found(&book, "192.0.2.1"), all[..1]);
        assert_eq!(found(&book, "192.0.2.2"), []);
        let table = book.0.read().expect("a table");
        assert_eq!(table.lengths[0].keys().copied().collect::<Vec<_>>(), [32]);
    }
}
