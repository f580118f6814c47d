//! The decisions that the mirror holds, until they are lifted or over.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use testudo_event::{Prefix, duration, net::canonical};
use testudo_mirror::{Choice, Item, Value};
use testudo_wire::Decision as Told;
use testudo_wire::stream::StreamBody;

use crate::report::FAMILIES;

/// What stands before the type of a decision that is only for show.
const SIMULATED: &str = "simulation:";

/// What many decisions have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Label {
    kind: Arc<str>,
    origin: Arc<str>,
    scenario: Arc<str>,
}

#[derive(Clone, Debug)]
struct Rest {
    label: Arc<Label>,
    until_ms: u64,
}

/// All decisions, by what they are about and their number.
#[derive(Debug, Default)]
pub(super) struct Book {
    decisions: HashMap<(Value, i64), Rest>,
    labels: HashSet<Arc<Label>>,
    /// Before this, nothing is over.
    next_end: Option<u64>,
    /// Counts changes.
    generation: u64,
}

impl Book {
    /// What there is when an API has told everything.
    pub(super) fn anew(&self, body: &StreamBody, now_ms: u64) -> Book {
        let mut book = Book { generation: self.generation + 1, ..Book::default() };
        body.new.iter().for_each(|told| book.insert(told, now_ms));
        book
    }

    /// Takes what has changed.
    pub(super) fn change(&mut self, body: &StreamBody, now_ms: u64) {
        self.generation += 1;
        for told in &body.deleted {
            if let Some(value) = value(told) {
                self.decisions.remove(&(value, told.id));
            }
        }
        body.new.iter().for_each(|told| self.insert(told, now_ms));
        self.labels.retain(|label| Arc::strong_count(label) > 1);
    }

    fn insert(&mut self, told: &Told, now_ms: u64) {
        if told.kind.starts_with(SIMULATED) {
            return;
        }
        let Some(value) = value(told) else { return };
        let left = duration::parse(&told.duration).ok().and_then(|nanos| u64::try_from(nanos).ok());
        let Some(left_ms @ 1..) = left.map(|nanos| nanos / 1_000_000) else { return };
        let until_ms = now_ms.saturating_add(left_ms);
        let label = Label {
            kind: told.kind.as_str().into(),
            origin: told.origin.as_str().into(),
            scenario: told.scenario.as_str().into(),
        };
        let label = Arc::clone(self.labels.get_or_insert_with(&label, |label| Arc::new(label.clone())));
        self.decisions.insert((value, told.id), Rest { label, until_ms });
        self.next_end = Some(self.next_end.map_or(until_ms, |end| end.min(until_ms)));
    }

    /// Forgets what is over.
    pub(super) fn tick(&mut self, now_ms: u64) {
        if self.next_end.is_none_or(|end| end > now_ms) {
            return;
        }
        self.decisions.retain(|_, rest| rest.until_ms > now_ms);
        self.next_end = self.decisions.values().map(|rest| rest.until_ms).min();
        self.generation += 1;
    }

    /// The number of the last change.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many decisions there are.
    pub(super) fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Those that a choice takes; `wall_secs` are the seconds since 1970 at `now_ms`.
    pub(super) fn items(&self, choice: &Choice, now_ms: u64, wall_secs: i64) -> Vec<Item> {
        let items = self.decisions.iter().map(|((value, id), rest)| Item {
            value: value.clone(),
            kind: Arc::clone(&rest.label.kind),
            origin: Arc::clone(&rest.label.origin),
            scenario: Arc::clone(&rest.label.scenario),
            id: *id,
            until: wall_secs.saturating_add(
                i64::try_from(rest.until_ms.saturating_sub(now_ms) / 1_000).unwrap_or(i64::MAX),
            ),
        });
        items.filter(|item| choice.takes(item)).collect()
    }

    /// How many there are, by origin and kind of address.
    pub(super) fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        let mut by_label: HashMap<(&Arc<Label>, &'static str), u64> = HashMap::new();
        for ((value, _), rest) in &self.decisions {
            let kind = match value {
                Value::Net(net) => FAMILIES[usize::from(net.addr().is_ipv6())],
                Value::Other { .. } => "",
            };
            *by_label.entry((&rest.label, kind)).or_default() += 1;
        }
        let mut counts = BTreeMap::new();
        for ((label, kind), count) in by_label {
            let origin = match &*label.origin {
                "lists" => format!("lists:{}", label.scenario),
                origin => origin.to_owned(),
            };
            *counts.entry((origin, kind)).or_default() += count;
        }
        counts
    }
}

/// What a decision is about; nothing where that should be an address and is none.
fn value(told: &Told) -> Option<Value> {
    if !told.scope.eq_ignore_ascii_case("ip") && !told.scope.eq_ignore_ascii_case("range") {
        return Some(Value::Other { scope: told.scope.as_str().into(), value: told.value.as_str().into() });
    }
    let net = match told.value.parse::<IpAddr>() {
        Ok(addr) => Prefix::single(canonical(addr)),
        Err(_) => Prefix::parse(&told.value)?.canonical().network(),
    };
    Some(Value::Net(net))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: i64, value: &str, seconds: i64) -> Told {
        Told {
            id,
            scope: "Ip".to_owned(),
            value: value.to_owned(),
            kind: "ban".to_owned(),
            duration: format!("{seconds}s"),
            ..Told::default()
        }
    }

    #[test]
    fn decisions_come_and_go() {
        let new = vec![
            told(1, "192.0.2.1", 10),
            told(2, "192.0.2.1/32", 20),
            told(3, "not an address", 10),
            told(4, "::ffff:192.0.2.2", 30),
            told(5, "192.0.2.3", -1),
        ];
        let mut book = Book::default().anew(&StreamBody { new, deleted: vec![] }, 1_000);
        let ids = |book: &Book| {
            let mut ids: Vec<_> =
                book.items(&Choice::default(), 1_000, 100).iter().map(|item| (item.id, item.until)).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(&book), [(1, 110), (2, 120), (4, 130)]);
        book.change(&StreamBody { new: vec![], deleted: vec![told(2, "192.0.2.1", 0)] }, 1_000);
        let before = book.generation();
        book.tick(10_999);
        assert_eq!((ids(&book).len(), book.generation()), (2, before));
        book.tick(11_000);
        assert_eq!((ids(&book), book.generation()), (vec![(4, 130)], before + 1));
    }
}
