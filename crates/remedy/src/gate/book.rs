//! Decisions by address: a question is a look into one table for each length of prefix that there is. Those about users
//! by their names in lower case.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash};
use std::mem;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use testudo_event::Prefix;
use testudo_gate::{Decisions, Match, User};
use testudo_wire::DecisionRef;
use testudo_wire::stream::Side;

use crate::batch::{Collect, SIMULATED, is_network, left_ms, network};
use crate::clock::now_ms;
use crate::label::{LabelId, Labels};

/// How the ecosystem calls users, in whatever case.
pub(super) const SCOPES_OF_USERS: [&str; 2] = ["username", "user"];

/// A decision about what `K` stands for.
#[derive(Clone, Copy, Debug)]
struct Slot<K> {
    key: K,
    label: LabelId,
    id: i64,
    /// On the clock of ends.
    until_ms: u64,
}

/// Decisions by what they are about; there may be several about the same.
#[derive(Debug)]
struct Slots<K> {
    slots: HashTable<Slot<K>>,
    hasher: DefaultHashBuilder,
}

impl<K> Default for Slots<K> {
    fn default() -> Self {
        Slots { slots: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<K: Copy + Eq + Hash> Slots<K> {
    fn about(&self, key: K) -> impl Iterator<Item = &Slot<K>> {
        self.slots.iter_hash(self.hasher.hash_one(key)).filter(move |slot| slot.key == key)
    }

    /// Takes a decision, in place of one with the same number; tells whether there was one.
    fn insert(&mut self, slot: Slot<K>) -> bool {
        let hash = self.hasher.hash_one(slot.key);
        if let Some(held) = self.slots.find_mut(hash, |held| held.key == slot.key && held.id == slot.id) {
            *held = slot;
            return true;
        }
        let hasher = &self.hasher;
        self.slots.insert_unique(hash, slot, |held| hasher.hash_one(held.key));
        false
    }

    fn remove(&mut self, key: K, id: i64) -> bool {
        let hash = self.hasher.hash_one(key);
        match self.slots.find_entry(hash, |held| held.key == key && held.id == id) {
            Ok(held) => {
                held.remove();
                true
            }
            Err(_) => false,
        }
    }
}

/// The decisions that are held.
#[derive(Debug)]
struct Table {
    /// Those about addresses of IPv4, which are most.
    hosts: Slots<u32>,
    /// Those about all other networks.
    nets: Slots<Prefix>,
    /// Those about users, by the name in lower case.
    users: HashMap<String, Vec<Slot<()>>>,
    /// How many of `nets` there are of each length, of IPv4 and of IPv6.
    lengths: [BTreeMap<u8, usize>; 2],
    labels: Labels,
    /// Before this, nothing is over.
    next_end_ms: u64,
    is_ready: bool,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            hosts: Slots::default(),
            nets: Slots::default(),
            users: HashMap::new(),
            lengths: Default::default(),
            labels: Labels::default(),
            next_end_ms: u64::MAX,
            is_ready: false,
        }
    }
}

/// What an API told.
#[derive(Debug, Default)]
pub(super) struct Told {
    new: Table,
    deleted: Vec<(Prefix, i64)>,
    deleted_of_users: Vec<(String, i64)>,
}

impl Collect for Told {
    fn take(&mut self, side: Side, told: &DecisionRef<'_>) {
        if SCOPES_OF_USERS.iter().any(|scope| told.scope.eq_ignore_ascii_case(scope)) {
            let Some(user) = User::new(&told.value) else { return };
            match side {
                Side::Deleted => self.deleted_of_users.push((user.key, told.id)),
                Side::New => self.new.take_of_user(user.key, told),
            }
            return;
        }
        if !is_network(told) {
            return;
        }
        let Ok(net) = network(&told.value) else { return };
        match side {
            Side::Deleted => self.deleted.push((net, told.id)),
            Side::New => self.new.take(net, told),
        }
    }

    fn new_len(&self) -> usize {
        self.new.len()
    }
}

/// The decisions that are held, for everybody who asks.
#[derive(Debug, Default)]
pub(super) struct Book(RwLock<Table>);

impl Book {
    /// Takes what an API told: everything, or what has changed. Says how many decisions are held.
    pub(super) fn take(&self, full: bool, told: Told) -> usize {
        let Told { mut new, deleted, deleted_of_users } = told;
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if full {
            new.is_ready = true;
            let before = mem::replace(&mut *table, new);
            let held = table.len();
            drop(table);
            // It may be large, and nobody waits for its end.
            drop(before);
            return held;
        }
        for (net, id) in deleted {
            table.remove(net, id);
        }
        for (user, id) in deleted_of_users {
            table.remove_of_user(&user, id);
        }
        table.take_all(&new);
        table.len()
    }

    /// Forgets what is over.
    pub(super) fn expire(&self) {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if table.next_end_ms > now_ms() {
            return;
        }
        drop(table);
        self.0.write().unwrap_or_else(PoisonError::into_inner).expire();
    }
}

impl Decisions for Book {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let now = now_ms();
        if let IpAddr::V4(host) = address {
            table.matches(&table.hosts, host.to_bits(), now, matches);
        }
        for &bits in table.lengths[usize::from(address.is_ipv6())].keys() {
            if let Some(net) = Prefix::covering(address, bits) {
                table.matches(&table.nets, net, now, matches);
            }
        }
    }

    fn find_user(&self, user: &str, matches: &mut Vec<Match>) {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let now = now_ms();
        let slots = table.users.get(user).into_iter().flatten();
        matches.extend(slots.filter_map(|slot| table.matched(slot, now)));
    }

    fn is_ready(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_ready
    }
}

impl Table {
    fn len(&self) -> usize {
        self.hosts.slots.len() + self.nets.slots.len() + self.users.values().map(Vec::len).sum::<usize>()
    }

    fn matches<K: Copy + Eq + Hash>(&self, slots: &Slots<K>, key: K, now_ms: u64, matches: &mut Vec<Match>) {
        matches.extend(slots.about(key).filter_map(|slot| self.matched(slot, now_ms)));
    }

    /// A decision for who asks, if it still holds.
    fn matched<K>(&self, slot: &Slot<K>, now_ms: u64) -> Option<Match> {
        let remaining = slot.until_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
        let label = self.labels.get(slot.label);
        Some(Match {
            kind: label.kind.clone(),
            origin: label.origin.clone(),
            scenario: label.scenario.clone(),
            id: u64::try_from(slot.id).unwrap_or(0),
            remaining: Duration::from_millis(remaining),
        })
    }

    /// Takes a decision, unless it is only for show or cannot be read.
    fn take(&mut self, net: Prefix, told: &DecisionRef<'_>) {
        if let Some(slot) = self.slot(net, told) {
            self.insert(slot);
        }
    }

    /// The same for one about a user.
    fn take_of_user(&mut self, user: String, told: &DecisionRef<'_>) {
        if let Some(slot) = self.slot((), told) {
            self.insert_of_user(user, slot);
        }
    }

    fn slot<K>(&mut self, key: K, told: &DecisionRef<'_>) -> Option<Slot<K>> {
        if told.kind.starts_with(SIMULATED) {
            return None;
        }
        let until_ms = now_ms().saturating_add(left_ms(&told.duration).ok()?);
        Some(Slot { key, label: self.labels.id(told), id: told.id, until_ms })
    }

    /// Takes what another table holds.
    fn take_all(&mut self, other: &Table) {
        let labels: Vec<LabelId> = other.labels.all().iter().map(|label| self.labels.same(label)).collect();
        let here = |slot: Slot<Prefix>| Slot { label: labels[slot.label.0 as usize], ..slot };
        for &Slot { key, label, id, until_ms } in &other.hosts.slots {
            let key = Prefix::single(IpAddr::V4(key.into()));
            self.insert(here(Slot { key, label, id, until_ms }));
        }
        other.nets.slots.iter().for_each(|slot| self.insert(here(*slot)));
        for (user, slots) in &other.users {
            for slot in slots {
                self.insert_of_user(user.clone(), Slot { label: labels[slot.label.0 as usize], ..*slot });
            }
        }
    }

    fn insert_of_user(&mut self, user: String, slot: Slot<()>) {
        self.next_end_ms = self.next_end_ms.min(slot.until_ms);
        let slots = self.users.entry(user).or_default();
        slots.retain(|held| held.id != slot.id);
        slots.push(slot);
    }

    fn remove_of_user(&mut self, user: &str, id: i64) {
        if let Some(slots) = self.users.get_mut(user) {
            slots.retain(|held| held.id != id);
            if slots.is_empty() {
                self.users.remove(user);
            }
        }
    }

    fn insert(&mut self, slot: Slot<Prefix>) {
        let Slot { key: net, label, id, until_ms } = slot;
        self.next_end_ms = self.next_end_ms.min(until_ms);
        if let Some(key) = host(net) {
            self.hosts.insert(Slot { key, label, id, until_ms });
        } else if !self.nets.insert(slot) {
            *self.lengths[usize::from(net.addr().is_ipv6())].entry(net.bits()).or_default() += 1;
        }
    }

    fn remove(&mut self, net: Prefix, id: i64) {
        if let Some(key) = host(net) {
            self.hosts.remove(key, id);
        } else if self.nets.remove(net, id) {
            fewer(&mut self.lengths, net);
        }
    }

    fn expire(&mut self) {
        let now = now_ms();
        let mut next_end_ms = u64::MAX;
        let mut stays = |until_ms: u64| {
            let stays = until_ms > now;
            if stays {
                next_end_ms = next_end_ms.min(until_ms);
            }
            stays
        };
        self.hosts.slots.retain(|slot| stays(slot.until_ms));
        let lengths = &mut self.lengths;
        self.nets.slots.retain(|slot| {
            let stays = stays(slot.until_ms);
            if !stays {
                fewer(lengths, slot.key);
            }
            stays
        });
        self.users.retain(|_, slots| {
            slots.retain(|slot| stays(slot.until_ms));
            !slots.is_empty()
        });
        self.next_end_ms = next_end_ms;
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

/// The address that a network consists of, if it is one of IPv4.
fn host(net: Prefix) -> Option<u32> {
    match net.addr() {
        IpAddr::V4(addr) if net.bits() == 32 => Some(addr.to_bits()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: i64, scope: &'static str, value: &'static str, kind: &'static str) -> DecisionRef<'static> {
        DecisionRef {
            id,
            scope: scope.into(),
            value: value.into(),
            kind: kind.into(),
            duration: "1h".into(),
            origin: "crowdsec".into(),
            scenario: "demo/http-probing".into(),
            ..DecisionRef::default()
        }
    }

    fn batch(new: &[DecisionRef<'_>], deleted: &[DecisionRef<'_>]) -> Told {
        let mut batch = Told::default();
        deleted.iter().for_each(|told| batch.take(Side::Deleted, told));
        new.iter().for_each(|told| batch.take(Side::New, told));
        batch
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
        let new = [
            told(1, "Ip", "192.0.2.1", "captcha"),
            told(2, "Range", "192.0.2.0/24", "throttle"),
            told(3, "Ip", "::ffff:192.0.2.1", "ban"),
            told(4, "Range", "2001:db8::/32", "ban"),
            told(5, "Country", "FR", "ban"),
            told(6, "Ip", "192.0.2.9", "simulation:ban"),
        ];
        assert_eq!(book.take(true, batch(&new, &[])), 4);
        assert!(book.is_ready());
        let all = [(1, "captcha".to_owned()), (2, "throttle".to_owned()), (3, "ban".to_owned())];
        assert_eq!(found(&book, "192.0.2.1"), all);
        assert_eq!(found(&book, "192.0.2.9"), all[1..2]);
        assert_eq!(found(&book, "2001:db8::7").len(), 1);
        assert_eq!(found(&book, "198.51.100.1"), []);
        let deleted = [told(3, "Ip", "192.0.2.1", "ban"), told(2, "Range", "192.0.2.0/24", "throttle")];
        let over = DecisionRef { duration: "-1s".into(), ..told(7, "Ip", "192.0.2.2", "ban") };
        book.take(false, batch(&[over, told(8, "Ip", "2001:db8::7", "captcha")], &deleted));
        assert_eq!(found(&book, "192.0.2.1"), all[..1]);
        assert_eq!(found(&book, "192.0.2.2"), []);
        assert_eq!(found(&book, "2001:db8::7"), [(4, "ban".to_owned()), (8, "captcha".to_owned())]);
        book.take(false, batch(&[told(1, "Ip", "192.0.2.1", "ban")], &[]));
        assert_eq!(found(&book, "192.0.2.1"), [(1, "ban".to_owned())], "it has taken the place of the other");
        // What is over is gone, and so is the length of the range.
        book.expire();
        let table = book.0.read().expect("a table");
        assert_eq!(table.len(), 3);
        let lengths = table.lengths.each_ref().map(|lengths| lengths.keys().copied().collect::<Vec<_>>());
        assert_eq!(lengths, [vec![], vec![32, 128]]);
    }

    #[test]
    fn decisions_about_users() {
        let book = Book::default();
        let new = [
            told(1, "username", "Alice", "mfa"),
            told(2, "Username", "alice", "ban"),
            told(3, "USER", "Jörg", "captcha"),
            told(4, "session", "alice", "ban"),
            told(5, "username", "", "ban"),
            told(6, "Ip", "192.0.2.1", "ban"),
            told(7, "username", "alice", "simulation:ban"),
        ];
        assert_eq!(book.take(true, batch(&new, &[])), 4);
        let found = |user: &str| {
            let mut matches = Vec::new();
            book.find_user(&User::new(user).expect("a name").key, &mut matches);
            matches.iter().map(|found| format!("{} {}", found.id, found.kind)).collect::<Vec<_>>()
        };
        assert_eq!(found("ALICE"), ["1 mfa", "2 ban"]);
        assert_eq!(found("jÖrg"), ["3 captcha"]);
        assert!(found("bob").is_empty());
        let deleted = [told(2, "username", "ALICE", "ban"), told(3, "user", "Jörg", "captcha")];
        let over = DecisionRef { duration: "-1s".into(), ..told(8, "username", "bob", "ban") };
        book.take(false, batch(&[over, told(9, "username", "carol", "throttle")], &deleted));
        assert_eq!(
            (found("alice"), found("carol")),
            (vec!["1 mfa".to_owned()], vec!["9 throttle".to_owned()])
        );
        assert!(found("jörg").is_empty() && found("bob").is_empty());
        book.expire();
        let users = book.0.read().expect("a table").users.len();
        assert_eq!(users, 2, "what is over is gone");
    }

    /// A figure, for docs/gate.md: nanoseconds of a lookup among a million addresses and a thousand ranges of both
    /// families.
    #[test]
    #[ignore = "a figure: cargo test --release -p testudo-remedy lookup -- --ignored --nocapture"]
    fn what_a_lookup_costs() {
        let book = Book::default();
        let mut all = Told::default();
        let mut row = |id: u32, scope: &'static str, value: String| {
            let told = DecisionRef { value: value.into(), ..told(id.into(), scope, "", "ban") };
            all.take(Side::New, &told);
        };
        // Addresses that lie scattered, each one once: the factor is odd.
        let address = |n: u32| std::net::Ipv4Addr::from_bits(n.wrapping_mul(2_654_435_761));
        (0..1_000_000).for_each(|n| row(n, "Ip", address(n).to_string()));
        for n in 0..500 {
            row(1_000_000 + n, "Range", format!("198.{}.{}.0/{}", 18 + n / 256, n % 256, 16 + n % 12));
            row(1_001_000 + n, "Range", format!("2001:db8:{n:x}::/{}", 32 + n % 33));
        }
        book.take(true, all);
        for (what, first) in [("that is not listed", 1_000_000), ("that is", 0)] {
            let mut matches = Vec::with_capacity(8);
            let mut found = 0;
            let start = std::time::Instant::now();
            for n in first..first + 1_000_000 {
                matches.clear();
                book.find(address(n).into(), &mut matches);
                found += matches.len();
            }
            println!("an address {what}: {} ns, {found} found", start.elapsed().as_nanos() / 1_000_000);
        }
    }
}
