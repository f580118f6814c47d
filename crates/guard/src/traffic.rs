//! Good traffic: who lately sent lines and contributed to no overflow.
//!
//! A client is *good* when it was seen within the window and contributed to no overflow within it. One line is enough:
//! whoever reads one page should not be banned with his neighbours. A client is a *regular* when it was seen several times
//! over some minutes, too; only regulars count when a rule is to be stopped ([`BlastRadius`](crate::BlastRadius)), since a
//! stop helps attackers.
//!
//! What good-looking lines can buy an attacker is bounded. He can keep a network of his from being banned as a whole,
//! not his addresses from being banned one by one. What contributed is never good. An IPv6 /64 is one client, and a
//! /48 counts for no more than [`SITE_V6`] clients. Of the regulars of one public /24 or /48, [`SITE_REGULARS`] count. One
//! provider's network fills a sixteenth of the table, so that it cannot push the others out.
//!
//! Memory: 25 bytes for each client of the budget and half as many again for room in the tables; 9 bytes more while a
//! network is asked about. `seen` is one look into a hash table, two for a client that has not been seen for long.

use std::net::IpAddr;

use hashbrown::HashMap;
use testudo_event::{Bystanders, Prefix};

use crate::{candidates, key::Key};

pub use self::saved::NoTable;

/// Good clients that one IPv6 /48 counts for: it may be a single customer's.
const SITE_V6: u32 = 16;

/// Regulars that one public IPv4 /24 or IPv6 /48 counts for.
const SITE_REGULARS: u32 = 3;

/// Part of the table that the clients of one provider (IPv4 /16, IPv6 /32) may fill.
const PROVIDER_PART: usize = 16;

/// Lines after which a client can be a regular.
const REGULAR_LINES: u32 = 5;
/// Seconds between the first and the last line of a regular, at least.
const REGULAR_SPAN_S: u32 = 300;

/// Up to so many clients, each question sees the table as it is; of more, as it was [`REFRESH_S`] ago at most.
const SMALL: usize = 4_096;
/// Seconds for which the sorted list of a large table is used. Making it costs about 50 ns for each client.
const REFRESH_S: u32 = 5;

/// Networks that [`GoodTraffic::bystanders`] tells about, at most: a list goes into each alert.
const MAX_NETWORKS: usize = 4_096;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Clients, at most. At least 64 are kept.
    pub clients: usize,
    /// Seconds for which a client is good after its last line, and bad after it contributed to an overflow.
    pub window_s: u32,
}

impl Default for Budget {
    /// Two hundred thousand clients (about eight megabytes when they are there), and an hour.
    fn default() -> Self {
        Budget { clients: 200_000, window_s: 3_600 }
    }
}

/// What is known about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    /// Seconds since 1970.
    first: u32,
    last: u32,
    /// When it last contributed to an overflow; 0 when never.
    bad: u32,
    lines: u32,
}

/// What a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Not seen within the window, or forgotten.
    Unknown,
    /// Contributed to an overflow within the window.
    Bad,
    /// Was seen, and contributed to none.
    Good,
    /// Is good, and comes again and again.
    Regular,
}

/// What the table holds and has left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Clients in the table.
    pub clients: usize,
    /// Clients that were forgotten for want of room, the longest unseen first.
    pub evicted: u64,
    /// Clients that were not taken since their provider's part is full.
    pub refused: u64,
}

/// The table of clients. Times are seconds since 1970 and may go back a little.
#[derive(Clone, Debug)]
pub struct GoodTraffic {
    budget: Budget,
    /// Clients seen since the tables changed places, and those seen before. When the young are half of the budget, the old
    /// are forgotten and the young become the old: so the longest unseen go first, and nothing needs a list of ages.
    young: HashMap<Key, Client>,
    old: HashMap<Key, Client>,
    /// How many of the young each provider has.
    providers: HashMap<u64, u32>,
    evicted: u64,
    refused: u64,
    view: View,
    changed: bool,
}

/// The good clients of one moment, sorted.
#[derive(Clone, Debug, Default)]
struct View {
    made: u32,
    good: Vec<Key>,
    regulars: u32,
}

impl Default for GoodTraffic {
    fn default() -> Self {
        GoodTraffic::new(Budget::default())
    }
}

impl GoodTraffic {
    /// An empty table.
    pub fn new(budget: Budget) -> GoodTraffic {
        GoodTraffic {
            budget: Budget { clients: budget.clients.max(64), ..budget },
            young: HashMap::new(),
            old: HashMap::new(),
            providers: HashMap::new(),
            evicted: 0,
            refused: 0,
            view: View::default(),
            changed: false,
        }
    }

    /// A line was parsed whose source has this address.
    pub fn seen(&mut self, address: IpAddr, at_s: i64) {
        let Some(key) = Key::of(address) else { return };
        let at = seconds(at_s);
        self.changed = true;
        let window = self.budget.window_s;
        if let Some(client) = self.young.get_mut(&key) {
            client.seen(at, window);
        } else if let Some(mut client) = self.take(key, at) {
            client.seen(at, window);
            self.young.insert(key, client);
        }
    }

    /// A client contributed to an overflow. It is bad for a window from now on, whatever it does.
    pub fn bad(&mut self, address: IpAddr, at_s: i64) {
        let Some(key) = Key::of(address) else { return };
        let at = seconds(at_s).max(1);
        self.changed = true;
        if let Some(client) = self.young.get_mut(&key) {
            client.bad = client.bad.max(at);
        } else if let Some(mut client) = self.take(key, at) {
            client.bad = client.bad.max(at);
            self.young.insert(key, client);
        }
    }

    /// Room among the young, with what was known of the client. `None` when its provider has too many.
    fn take(&mut self, key: Key, at: u32) -> Option<Client> {
        let half = self.budget.clients / 2;
        if self.young.len() >= half {
            let young = std::mem::take(&mut self.young);
            self.evicted += std::mem::replace(&mut self.old, young).len() as u64;
            self.providers.clear();
        }
        let held = self.providers.entry(key.provider()).or_default();
        if *held as usize >= (half / PROVIDER_PART).max(1) && !key.is_private() {
            self.refused += 1;
            return None;
        }
        *held += 1;
        Some(self.old.remove(&key).unwrap_or(Client { first: at, last: at, bad: 0, lines: 0 }))
    }

    /// What a client is.
    pub fn standing(&self, address: IpAddr, now_s: i64) -> Standing {
        Key::of(address).map_or(Standing::Unknown, |key| self.standing_of(key, seconds(now_s)))
    }

    pub(crate) fn standing_of(&self, key: Key, now: u32) -> Standing {
        let client = self.young.get(&key).or_else(|| self.old.get(&key));
        client.map_or(Standing::Unknown, |client| client.standing(now, self.budget.window_s))
    }

    /// Whether a client is good, or even a regular.
    pub fn is_good(&self, address: IpAddr, now_s: i64) -> bool {
        self.standing(address, now_s) >= Standing::Good
    }

    /// Good clients in a network, as far as they count (see the head of this module). Two binary searches; in a table of
    /// more than a few thousand clients, what happened in the last seconds may be missing.
    pub fn count(&mut self, network: Prefix, now_s: i64) -> u32 {
        self.refresh(now_s);
        self.view.count(network, &[])
    }

    /// How many regulars there are, as far as they count.
    pub fn regulars(&mut self, now_s: i64) -> u32 {
        self.refresh(now_s);
        self.view.regulars
    }

    /// The good clients in all networks that a decision about the contributors of an overflow could name: IPv4 from
    /// /24 to /16, IPv6 /64, /56 and /48, with at least two contributors. A network that holds no more of them than a
    /// narrower one is left out; what is not in the list must not be banned as a whole. Contributors are never
    /// bystanders. At most 4,096 networks, the narrowest.
    pub fn bystanders(&mut self, contributors: &[IpAddr], now_s: i64) -> Vec<Bystanders> {
        self.refresh(now_s);
        let mut addresses: Vec<IpAddr> = contributors.iter().map(IpAddr::to_canonical).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut guilty: Vec<Key> = addresses.iter().filter_map(|address| Key::of(*address)).collect();
        guilty.dedup();
        guilty.retain(|key| self.view.good.binary_search(key).is_ok());
        guilty.sort_unstable();
        let networks = candidates::networks(&addresses).into_iter().take(MAX_NETWORKS);
        networks.map(|network| Bystanders { network, count: self.view.count(network, &guilty) }).collect()
    }

    /// What the table holds and has left out.
    pub fn counts(&self) -> TrafficCounts {
        let clients = self.young.len() + self.old.len();
        TrafficCounts { clients, evicted: self.evicted, refused: self.refused }
    }

    fn refresh(&mut self, now_s: i64) {
        let now = seconds(now_s);
        let clients = self.young.len() + self.old.len();
        let fresh = now >= self.view.made && now - self.view.made < REFRESH_S;
        if fresh && (clients > SMALL || (!self.changed && now == self.view.made)) {
            return;
        }
        let window = self.budget.window_s;
        let mut good = std::mem::take(&mut self.view.good);
        good.clear();
        let mut regulars = HashMap::<u64, u32>::new();
        let mut counted = 0;
        for (key, client) in self.young.iter().chain(&self.old) {
            let standing = client.standing(now, window);
            if standing >= Standing::Good {
                good.push(*key);
            }
            if standing == Standing::Regular {
                counted += u32::from(vote(&mut regulars, *key));
            }
        }
        good.sort_unstable();
        self.view = View { made: now, good, regulars: counted };
        self.changed = false;
    }
}

/// Whether one more regular of this client's site counts, and counts it.
pub(crate) fn vote(sites: &mut HashMap<u64, u32>, key: Key) -> bool {
    if key.is_private() {
        return true;
    }
    let votes = sites.entry(key.site()).or_default();
    *votes += 1;
    *votes <= SITE_REGULARS
}

impl Client {
    fn seen(&mut self, at: u32, window: u32) {
        if at.saturating_sub(self.last) > window {
            (self.first, self.lines) = (at, 0);
        }
        self.last = self.last.max(at);
        self.lines = self.lines.saturating_add(1);
    }

    fn standing(&self, now: u32, window: u32) -> Standing {
        if self.bad != 0 && now.saturating_sub(self.bad) <= window {
            Standing::Bad
        } else if self.lines == 0 || now.saturating_sub(self.last) > window {
            Standing::Unknown
        } else if self.lines >= REGULAR_LINES && self.last.saturating_sub(self.first) >= REGULAR_SPAN_S {
            Standing::Regular
        } else {
            Standing::Good
        }
    }
}

impl View {
    fn count(&self, network: Prefix, guilty: &[Key]) -> u32 {
        let Some((first, last)) = Key::range(network) else { return 0 };
        let within = |keys: &[Key]| {
            keys.partition_point(|key| *key <= last).saturating_sub(keys.partition_point(|key| *key < first))
                as u32
        };
        let count = within(&self.good).saturating_sub(within(guilty));
        if !first.is_v4() && network.bits() >= 48 { count.min(SITE_V6) } else { count }
    }
}

/// Seconds since 1970 that fit into the table: until 2106.
pub(crate) fn seconds(at_s: i64) -> u32 {
    at_s.clamp(0, i64::from(u32::MAX)) as u32
}

mod saved;
#[cfg(test)]
mod tests;
