//! The decisions that the mirror holds, until they are lifted or over.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use testudo_event::Prefix;
use testudo_mirror::{Choice, Item, Value};
use testudo_wire::DecisionRef;
use testudo_wire::stream::Side;

use crate::batch::{Collect, SIMULATED, is_network, left_ms, network};
use crate::label::{LabelId, Labels};
use crate::report::FAMILIES;

/// What no list has, whoever decides it: routers obey without asking.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// IPv4 networks with fewer bits.
    pub(super) least_bits_v4: u8,
    /// The same for IPv6.
    pub(super) least_bits_v6: u8,
    /// Networks that overlap with one of these.
    pub(super) never: Vec<Prefix>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { least_bits_v4: 8, least_bits_v6: 16, never: Vec::new() }
    }
}

/// A decision is in no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("{net} is in no list: it has less than {least} bits; see `least_bits_v4` and `least_bits_v6`")]
    TooWide { net: Prefix, least: u8 },
    #[error("{net} is in no list: `never_list` has {kept}")]
    Never { net: Prefix, kept: Prefix },
}

impl Limits {
    fn check(&self, value: &Value) -> Result<(), Refused> {
        let Value::Net(net) = *value else { return Ok(()) };
        let least = if net.addr().is_ipv4() { self.least_bits_v4 } else { self.least_bits_v6 };
        if net.bits() < least {
            return Err(Refused::TooWide { net, least });
        }
        let overlaps = |kept: &&Prefix| kept.contains(net.addr()) || net.contains(kept.addr());
        match self.never.iter().find(overlaps) {
            Some(kept) => Err(Refused::Never { net, kept: *kept }),
            None => Ok(()),
        }
    }
}

/// A decision that comes.
#[derive(Debug)]
struct New {
    value: Value,
    id: i64,
    label: LabelId,
    left_ms: u64,
}

/// What an API told.
#[derive(Debug, Default)]
pub(super) struct Told {
    labels: Labels,
    new: Vec<New>,
    deleted: Vec<(Value, i64)>,
}

impl Collect for Told {
    fn take(&mut self, side: Side, told: &DecisionRef<'_>) {
        // What should be an address and is none is in no list.
        let Some(value) = value(told) else { return };
        match side {
            Side::Deleted => self.deleted.push((value, told.id)),
            Side::New if told.kind.starts_with(SIMULATED) => {}
            Side::New => {
                if let Ok(left_ms @ 1..) = left_ms(&told.duration) {
                    self.new.push(New { value, id: told.id, label: self.labels.id(told), left_ms });
                }
            }
        }
    }

    fn new_len(&self) -> usize {
        self.new.len()
    }
}

impl Told {
    /// Whether nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.deleted.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    label: LabelId,
    until_ms: u64,
}

/// All decisions, by what they are about and their number.
#[derive(Debug, Default)]
pub(super) struct Book {
    decisions: HashMap<(Value, i64), Rest>,
    labels: Labels,
    limits: Arc<Limits>,
    /// Before this, nothing is over.
    next_end: Option<u64>,
    /// Counts changes.
    generation: u64,
}

impl Book {
    /// An empty one.
    pub(super) fn new(limits: Limits) -> Self {
        Book { limits: Arc::new(limits), ..Book::default() }
    }

    /// What there is when an API has told everything. `refuse` hears of decisions, by their numbers, that are in no list.
    pub(super) fn anew(&self, told: Told, now_ms: u64, mut refuse: impl FnMut(i64, Refused)) -> Book {
        let Told { labels, new, .. } = told;
        let limits = Arc::clone(&self.limits);
        let mut book = Book { labels, limits, generation: self.generation + 1, ..Book::default() };
        book.decisions.reserve(new.len());
        new.into_iter().for_each(|new| book.insert(new, now_ms, &mut refuse));
        book
    }

    /// Takes what has changed; `refuse` as above.
    pub(super) fn change(&mut self, told: Told, now_ms: u64, mut refuse: impl FnMut(i64, Refused)) {
        self.generation += 1;
        for gone in &told.deleted {
            self.decisions.remove(gone);
        }
        let labels: Vec<LabelId> = told.labels.all().iter().map(|label| self.labels.same(label)).collect();
        for new in told.new {
            let label = labels[new.label.0 as usize];
            self.insert(New { label, ..new }, now_ms, &mut refuse);
        }
    }

    fn insert(&mut self, new: New, now_ms: u64, refuse: &mut impl FnMut(i64, Refused)) {
        let New { value, id, label, left_ms } = new;
        if let Err(refused) = self.limits.check(&value) {
            refuse(id, refused);
            return;
        }
        let until_ms = now_ms.saturating_add(left_ms);
        self.decisions.insert((value, id), Rest { label, until_ms });
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
        let items = self.decisions.iter().map(|((value, id), rest)| {
            let label = self.labels.get(rest.label);
            let left = i64::try_from(rest.until_ms.saturating_sub(now_ms) / 1_000).unwrap_or(i64::MAX);
            Item {
                value: value.clone(),
                kind: Arc::clone(&label.kind),
                origin: Arc::clone(&label.origin),
                scenario: Arc::clone(&label.scenario),
                id: *id,
                until: wall_secs.saturating_add(left),
            }
        });
        items.filter(|item| choice.takes(item)).collect()
    }

    /// How many there are, by origin and kind of address.
    pub(super) fn counts(&self) -> BTreeMap<(String, &'static str), u64> {
        let mut by_label: HashMap<(u32, &'static str), u64> = HashMap::new();
        for ((value, _), rest) in &self.decisions {
            let kind = match value {
                Value::Net(net) => FAMILIES[usize::from(net.addr().is_ipv6())],
                Value::Other { .. } => "",
            };
            *by_label.entry((rest.label.0, kind)).or_default() += 1;
        }
        let mut counts = BTreeMap::new();
        for ((label, kind), count) in by_label {
            let label = self.labels.get(LabelId(label));
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
fn value(told: &DecisionRef<'_>) -> Option<Value> {
    if is_network(told) {
        return network(&told.value).map(Value::Net).ok();
    }
    Some(Value::Other { scope: (*told.scope).into(), value: (*told.value).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with decisions, each with its number, value and seconds; without seconds, it is lifted.
    fn answer(decisions: &[(i64, &str, Option<i64>)]) -> Told {
        let mut told = Told::default();
        for (id, value, seconds) in decisions {
            let side = if seconds.is_some() { Side::New } else { Side::Deleted };
            let duration = format!("{}s", seconds.unwrap_or(-1));
            let decision = DecisionRef {
                id: *id,
                scope: "Ip".into(),
                value: (*value).into(),
                kind: "ban".into(),
                duration: duration.into(),
                ..DecisionRef::default()
            };
            told.take(side, &decision);
        }
        told
    }

    #[test]
    fn decisions_come_and_go() {
        let all = answer(&[
            (1, "192.0.2.1", Some(10)),
            (2, "192.0.2.1/32", Some(20)),
            (3, "not an address", Some(10)),
            (4, "::ffff:192.0.2.2", Some(30)),
            (5, "192.0.2.3", Some(-1)),
        ]);
        let none = |id, refused| panic!("{id}: {refused}");
        let mut book = Book::default().anew(all, 1_000, none);
        let ids = |book: &Book| {
            let items = book.items(&Choice::default(), 1_000, 100);
            let mut ids: Vec<_> = items.iter().map(|item| (item.id, item.until)).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(&book), [(1, 110), (2, 120), (4, 130)]);
        book.change(answer(&[(2, "192.0.2.1", None), (6, "192.0.2.4", Some(10))]), 1_000, none);
        let before = book.generation();
        book.tick(10_999);
        assert_eq!((ids(&book).len(), book.generation()), (3, before));
        book.tick(11_000);
        assert_eq!((ids(&book), book.generation()), (vec![(4, 130)], before + 1));
        assert!(answer(&[]).is_empty());
    }

    #[test]
    fn no_list_cuts_off_everything() {
        let never = ["10.1.2.0/24", "2001:db8:1::/48"];
        let never = never.iter().map(|net| Prefix::parse(net).expect("a network")).collect();
        let book = Book::new(Limits { never, ..Limits::default() });
        let all = answer(&[
            (1, "0.0.0.0/0", Some(10)),
            (2, "::/0", Some(10)),
            (3, "128.0.0.0/7", Some(10)),
            (4, "2000::/15", Some(10)),
            (5, "10.1.2.3", Some(10)),
            (6, "10.1.0.0/16", Some(10)),
            (7, "2001:db8:1::1", Some(10)),
            (8, "2001:db8::/32", Some(10)),
            (20, "128.0.0.0/8", Some(10)),
            (21, "3000::/16", Some(10)),
            (22, "10.1.3.0/24", Some(10)),
        ]);
        let mut told = Vec::new();
        let mut refuse = |id, refused| told.push(format!("{id}: {refused}"));
        let mut book = book.anew(all, 0, &mut refuse);
        book.change(answer(&[(9, "0.0.0.0/1", Some(10))]), 0, &mut refuse);
        let mut ids: Vec<i64> = book.items(&Choice::default(), 0, 0).iter().map(|item| item.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [20, 21, 22]);
        assert_eq!(told.len(), 9, "{told:?}");
        assert!(told[0].starts_with("1: 0.0.0.0/0 is in no list: it has less than 8 bits"), "{told:?}");
        assert_eq!(told[4], "5: 10.1.2.3/32 is in no list: `never_list` has 10.1.2.0/24");
    }
}
