//! Who is listed: decisions of others as a table that rules ask on the way of a line, without a lock and without
//! waiting for whoever changes it.
//!
//! Networks lie within each other or beside each other, never across. So they cut the addresses into pieces, each of
//! which has an innermost network; a look-up finds the piece by halving, and then climbs. A million addresses take
//! about 45 MiB.

use std::{
    net::IpAddr,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use testudo_event::Prefix;
use testudo_expr::{
    Services,
    host::{Listing, Listings},
};

/// No piece, no network.
const NONE: u32 = u32::MAX;

/// Bits of an IPv6 address that count: a host has a whole /64 at hand.
const V6_BITS: u8 = 64;

/// Leading bits of an IPv4 address by which its piece is found almost at once, at most: 4 MiB.
const V4_INDEX_BITS_MOST: u32 = 20;

/// IPv4 pieces from which on that is worth it.
const V4_INDEX_FROM: usize = 4_096;

/// Who is listed now. Shared by an engine and whoever keeps it up to date; empty at first.
#[derive(Debug)]
pub struct Listed {
    table: ArcSwap<ListTable>,
    /// The present, in seconds since 1970: what ended before it does not count.
    now: AtomicI64,
}

impl Default for Listed {
    fn default() -> Self {
        Listed { table: ArcSwap::default(), now: AtomicI64::new(i64::MIN) }
    }
}

impl Listed {
    /// Takes another table.
    pub fn set(&self, table: ListTable) {
        self.table.store(Arc::new(table));
    }

    /// Lets time pass, in seconds since 1970. Where it is never called, lists are taken as they are.
    pub fn set_now(&self, seconds: i64) {
        self.now.store(seconds, Ordering::Relaxed);
    }

    /// How many decisions are known.
    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Listings for Listed {
    fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
        let table = self.table.load();
        let now = self.now.load(Ordering::Relaxed);
        // Whether all was heard makes no difference here.
        let _ =
            table.each(
                about,
                |listing| if listing.until > now { tell(listing) } else { ControlFlow::Continue(()) },
            );
    }
}

impl Services for Listed {
    fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
        Listings::listings(self, about, tell);
    }
}

/// What decisions of one sort share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Label {
    origin: Box<str>,
    scenario: Box<str>,
    kind: Box<str>,
}

impl Label {
    fn is(&self, listing: &Listing<'_>) -> bool {
        *self.origin == *listing.origin && *self.scenario == *listing.scenario && *self.kind == *listing.kind
    }
}

/// A decision. Times are in seconds, of the years 1970 to 2106.
#[derive(Clone, Copy, Debug)]
struct Entry {
    label: u32,
    since: u32,
    until: u32,
}

/// A network about which something is decided.
#[derive(Clone, Copy, Debug)]
struct Network {
    /// Its first entry; the last is before that of the next network.
    entries: u32,
    /// The narrowest network around it.
    parent: u32,
    bits: u8,
}

/// Addresses from one to the next piece, with their innermost network.
#[derive(Clone, Copy, Debug)]
struct Piece<A> {
    start: A,
    network: u32,
}

/// The innermost network of an address, whose piece is known to be in this range or just before it.
fn find<A: Ord + Copy>(pieces: &[Piece<A>], address: A, low: usize, high: usize) -> u32 {
    let after = low + pieces[low..high].partition_point(|piece| piece.start <= address);
    after.checked_sub(1).map_or(NONE, |at| pieces[at].network)
}

/// Begins a piece, which ends the one before it.
fn begin(pieces: &mut Vec<Piece<u64>>, start: u64, network: u32) {
    pieces.pop_if(|last| last.start == start);
    if pieces.last().map_or(NONE, |last| last.network) != network {
        pieces.push(Piece { start, network });
    }
}

/// Decisions by network. Never changes after it was made.
#[derive(Debug, Default)]
pub struct ListTable {
    labels: Vec<Label>,
    entries: Vec<Entry>,
    networks: Vec<Network>,
    v4: Vec<Piece<u32>>,
    /// By the leading bits of an address: the first piece that begins there or later. Empty for few pieces.
    v4_index: Vec<u32>,
    /// How many leading bits these are.
    v4_index_bits: u32,
    /// IPv6 without the last 64 bits.
    v6: Vec<Piece<u64>>,
}

impl ListTable {
    /// How many decisions there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn each(&self, about: Prefix, mut tell: impl FnMut(Listing<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let about = about.canonical();
        let (mut at, bits) = match about.first() {
            IpAddr::V4(v4) => (self.find_v4(v4.to_bits()), about.bits()),
            IpAddr::V6(v6) => {
                let network = (v6.to_bits() >> 64) as u64;
                (find(&self.v6, network, 0, self.v6.len()), about.bits().min(V6_BITS))
            }
        };
        while let Some(network) = self.networks.get(at as usize) {
            if network.bits <= bits {
                let end = self
                    .networks
                    .get(at as usize + 1)
                    .map_or(self.entries.len(), |next| next.entries as usize);
                for entry in &self.entries[network.entries as usize..end] {
                    let label = &self.labels[entry.label as usize];
                    tell(Listing {
                        origin: &label.origin,
                        scenario: &label.scenario,
                        kind: &label.kind,
                        since: entry.since.into(),
                        until: entry.until.into(),
                    })?;
                }
            }
            at = network.parent;
        }
        ControlFlow::Continue(())
    }

    fn find_v4(&self, address: u32) -> u32 {
        let slot = address.checked_shr(32 - self.v4_index_bits).unwrap_or(0) as usize;
        match self.v4_index.get(slot..slot + 2) {
            Some(&[low, high]) => find(&self.v4, address, low as usize, high as usize),
            _ => find(&self.v4, address, 0, self.v4.len()),
        }
    }
}

/// A decision on its way into a table: the first address of its network, the bits of it, and the rest.
type Open = (u64, u8, Entry);

/// Makes a [`ListTable`].
#[derive(Debug, Default)]
pub struct ListBuilder {
    labels: Vec<Label>,
    numbers: HashMap<Label, u32>,
    last: u32,
    v4: Vec<Open>,
    v6: Vec<Open>,
}

impl ListBuilder {
    /// Adds a decision about a network.
    pub fn add(&mut self, network: Prefix, listing: &Listing<'_>) {
        let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
        let (since, until) = (seconds(listing.since), seconds(listing.until));
        let entry = Entry { label: self.label(listing), since, until };
        let network = network.canonical().network();
        match network.addr() {
            IpAddr::V4(v4) => self.v4.push((v4.to_bits().into(), network.bits(), entry)),
            IpAddr::V6(v6) => self.v6.push(((v6.to_bits() >> 64) as u64, network.bits().min(V6_BITS), entry)),
        }
    }

    fn label(&mut self, listing: &Listing<'_>) -> u32 {
        // Lists come in runs.
        if !self.labels.get(self.last as usize).is_some_and(|label| label.is(listing)) {
            let label = Label {
                origin: listing.origin.into(),
                scenario: listing.scenario.into(),
                kind: listing.kind.into(),
            };
            let labels = &mut self.labels;
            self.last = *self.numbers.entry(label).or_insert_with_key(|label| {
                labels.push(label.clone());
                labels.len() as u32 - 1
            });
        }
        self.last
    }

    /// The table. For a million decisions it takes a tenth of a second or so.
    pub fn build(self) -> ListTable {
        let ListBuilder { labels, v4, v6, .. } = self;
        let mut table = ListTable { labels, ..ListTable::default() };
        table.entries.reserve_exact(v4.len() + v6.len());
        let wide = table.cut(v4, 32);
        // The piece after the last address, if there is one, has no address.
        let narrow = |piece: &Piece<u64>| {
            Some(Piece { start: u32::try_from(piece.start).ok()?, network: piece.network })
        };
        table.v4.reserve_exact(wide.len());
        table.v4.extend(wide.iter().map_while(narrow));
        table.v6 = table.cut(v6, V6_BITS);
        if table.v4.len() >= V4_INDEX_FROM {
            let bits = table.v4.len().ilog2().min(V4_INDEX_BITS_MOST);
            let bound = |slot: u64| slot << (32 - bits);
            let first = |slot| table.v4.partition_point(|piece| u64::from(piece.start) < bound(slot)) as u32;
            table.v4_index = (0..=1 << bits).map(first).collect();
            table.v4_index_bits = bits;
        }
        table
    }
}

impl ListTable {
    /// Takes the decisions of a family, whose addresses have so many bits, and cuts its addresses into pieces.
    fn cut(&mut self, mut decisions: Vec<Open>, width: u8) -> Vec<Piece<u64>> {
        decisions.sort_unstable_by_key(|(start, bits, entry)| (*start, *bits, entry.label, entry.since));
        let mut pieces = Vec::new();
        // The networks that the sweep is within, from the outermost, each with its last address.
        let mut around: Vec<(u32, u64)> = Vec::new();
        let inner = |around: &[(u32, u64)]| around.last().map_or(NONE, |(network, _)| *network);
        for of_one in decisions.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
            let (start, bits, _) = of_one[0];
            while let Some((_, end)) = around.pop_if(|(_, end)| *end < start) {
                begin(&mut pieces, end + 1, inner(&around));
            }
            let network = self.networks.len() as u32;
            self.networks.push(Network { entries: self.entries.len() as u32, parent: inner(&around), bits });
            self.entries.extend(of_one.iter().map(|(.., entry)| *entry));
            begin(&mut pieces, start, network);
            let host = u64::MAX.checked_shr(u32::from(64 - width + bits)).unwrap_or(0);
            around.push((network, start | host));
        }
        while let Some((_, end)) = around.pop() {
            if let Some(next) = end.checked_add(1) {
                begin(&mut pieces, next, inner(&around));
            }
        }
        pieces.shrink_to_fit();
        pieces
    }
}

#[cfg(test)]
mod asking;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn listing(scenario: &str) -> Listing<'_> {
        Listing { origin: "lists", scenario, kind: "ban", since: 100, until: 200 }
    }

    fn table(networks: &[(&str, &str)]) -> Listed {
        let mut builder = ListBuilder::default();
        for (network, name) in networks {
            let network = if network.contains('/') {
                Prefix::parse(network).expect("a network")
            } else {
                Prefix::single(network.parse().expect("an address"))
            };
            builder.add(network, &listing(name));
        }
        let listed = Listed::default();
        listed.set(builder.build());
        listed
    }

    fn found(listed: &Listed, about: Prefix) -> Vec<String> {
        let mut names = Vec::new();
        Listings::listings(listed, about, &mut |listing| {
            names.push(listing.scenario.to_owned());
            ControlFlow::Continue(())
        });
        names.sort();
        names
    }

    #[test]
    fn everything_around_an_address_is_found() {
        let listed = table(&[
            ("192.0.2.1", "one"),
            ("192.0.2.1", "same"),
            ("192.0.2.0/24", "network"),
            ("192.0.0.0/16", "wide"),
            ("255.255.255.255", "last"),
            ("0.0.0.0", "first"),
            ("2001:db8:1::7", "host"),
            ("2001:db8::/32", "provider"),
        ]);
        let check = |about: &str, expected: &[&str]| {
            let prefix =
                Prefix::parse(about).unwrap_or_else(|| Prefix::single(about.parse().expect("an address")));
            assert_eq!(found(&listed, prefix), expected, "{about}");
        };
        check("192.0.2.1", &["network", "one", "same", "wide"]);
        check("::ffff:192.0.2.1", &["network", "one", "same", "wide"]);
        check("192.0.2.2", &["network", "wide"]);
        check("192.0.3.0", &["wide"]);
        check("192.1.0.0", &[]);
        check("191.255.255.255", &[]);
        check("192.0.2.0/25", &["network", "wide"]);
        check("192.0.2.0/24", &["network", "wide"]);
        check("192.0.2.0/23", &["wide"]);
        check("192.0.0.0/15", &[]);
        check("255.255.255.255", &["last"]);
        check("255.255.255.254", &[]);
        check("0.0.0.0", &["first"]);
        check("0.0.0.1", &[]);
        // A host has its whole /64.
        check("2001:db8:1::7", &["host", "provider"]);
        check("2001:db8:1::ffff", &["host", "provider"]);
        check("2001:db8:1::/64", &["host", "provider"]);
        check("2001:db8:1:1::7", &["provider"]);
        check("2001:db9::7", &[]);
        assert_eq!(
            found(&Listed::default(), Prefix::single("192.0.2.1".parse().expect("an address"))),
            [""; 0]
        );
    }

    #[test]
    fn what_is_over_does_not_count() {
        let listed = table(&[("192.0.2.1", "one")]);
        let about = Prefix::single("192.0.2.1".parse().expect("an address"));
        listed.set_now(199);
        assert_eq!(found(&listed, about), ["one"]);
        listed.set_now(200);
        assert!(found(&listed, about).is_empty());
        listed.set(ListTable::default());
        assert!(listed.is_empty());
    }

    /// Networks near each other, so that they nest.
    fn networks() -> impl Strategy<Value = Vec<Prefix>> {
        let v4 =
            (prop_oneof![Just(0_u32), Just(u32::MAX), 0_u32..64, 0xc000_0200_u32..0xc000_0240], 0_u8..=32)
                .prop_filter_map("a network", |(bits, length)| {
                    Prefix::new(Ipv4Addr::from_bits(bits).into(), length)
                });
        let v6 = (prop_oneof![Just(0_u128), Just(u128::MAX), 0_u128..1 << 70], 0_u8..=128)
            .prop_filter_map("a network", |(bits, length)| {
                Prefix::new(Ipv6Addr::from_bits(bits).into(), length)
            });
        proptest::collection::vec(prop_oneof![v4, v6], 0..40)
    }

    fn widened(network: Prefix) -> Prefix {
        let network = network.canonical();
        let bits = if network.addr().is_ipv6() { network.bits().min(V6_BITS) } else { network.bits() };
        Prefix::covering(network.addr(), bits).expect("it is not longer")
    }

    proptest! {
        #[test]
        fn the_table_is_a_search_through_everything(all in networks(), asked in networks(), index: bool) {
            let mut builder = ListBuilder::default();
            let names: Vec<String> = (0..all.len()).map(|n| format!("{n:02}")).collect();
            for (network, name) in all.iter().zip(&names) {
                builder.add(*network, &listing(name));
            }
            if index {
                for n in 0..V4_INDEX_FROM as u32 {
                    let far = Ipv4Addr::from_bits(0x0a00_0000 + n * 0x1_0001);
                    builder.add(Prefix::single(far.into()), &listing("far"));
                }
            }
            let listed = Listed::default();
            listed.set(builder.build());
            for about in asked.iter().chain(&all) {
                let wide = widened(*about);
                let around = |network: &Prefix| {
                    let network = widened(*network);
                    network.bits() <= wide.bits() && network.contains(wide.first())
                };
                let expected: Vec<&String> =
                    all.iter().zip(&names).filter(|(network, _)| around(network)).map(|(_, name)| name).collect();
                let mut found = found(&listed, *about);
                found.retain(|name| name != "far");
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{}", about);
            }
        }
    }
}
