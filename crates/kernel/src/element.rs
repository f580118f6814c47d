//! Elements of sets and maps, as they are written and read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use testudo_event::Prefix;

use crate::netlink::{Attributes, Batch, Bytes, Message, attr, be_u32, be_u64, flag, op};

/// The length of a list of elements has 16 bits; this leaves room for one element more.
const LIST_BYTES_MAX: usize = 65_000;

/// The longest time that an element stays: some kernels refuse much longer ones, and nobody waits for the end.
const TIMEOUT_MAX: Duration = Duration::from_hours(100 * 365 * 24);

/// An address or range that is to be blocked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The range; a single address is the range of itself. Bits after the prefix do not count, and a mapped
    /// address is that of IPv4.
    pub net: Prefix,
    /// The position of its group in the layout; without meaning in sets that the user owns.
    pub group: u32,
    /// How long it stays. The kernel forgets it by itself.
    pub timeout: Duration,
}

/// An element that the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The range.
    pub net: Prefix,
    /// The position of its group in the layout; 0 in sets that the user owns.
    pub group: u32,
    /// How long it stays from now on; `None` is for ever.
    pub remaining: Option<Duration>,
}

/// A set in the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    /// Whether it holds ranges.
    pub(crate) interval: bool,
    /// Whether its elements name their group.
    pub(crate) map: bool,
    /// Whether its elements expire.
    pub(crate) timed: bool,
}

impl Set {
    /// Names the set in a message.
    pub(crate) fn address(&self, message: &mut Bytes) {
        message.text(attr::ELEMENTS_TABLE, &self.table);
        message.text(attr::ELEMENTS_SET, &self.name);
    }

    /// Whether it is the same, and takes the same.
    pub(crate) fn is_like(&self, other: &Set) -> bool {
        let kind = |set: &Set| (set.family, set.interval, set.map, set.timed);
        kind(self) == kind(other) && self.table == other.table && self.name == other.name
    }

    /// The element as an addition.
    pub(crate) fn put(&self, list: &mut Bytes, element: &Element) {
        let item = list.begin_nest(attr::LIST_ITEM);
        key(list, element.net.first());
        if self.map {
            list.nest(attr::ELEMENT_DATA, |data| data.raw(attr::DATA_VALUE, &mark(element.group)));
        }
        if self.timed {
            // Zero would be for ever.
            let timeout = element.timeout.min(TIMEOUT_MAX).as_millis().max(1) as u64;
            list.u64(attr::ELEMENT_TIMEOUT, timeout);
        }
        list.end_nest(item);
        self.put_end(list, element.net);
    }

    /// The element as a deletion.
    pub(crate) fn put_key(&self, list: &mut Bytes, net: Prefix) {
        list.nest(attr::LIST_ITEM, |item| key(item, net.first()));
        self.put_end(list, net);
    }

    /// A range ends where another element, of a kind of its own, stands. That of the highest address has no end.
    fn put_end(&self, list: &mut Bytes, net: Prefix) {
        if let Some(end) = next(net.last()).filter(|_| self.interval) {
            list.nest(attr::LIST_ITEM, |item| end_key(item, end));
        }
    }
}

/// The number of a group as a value of 32 bits. It reads the same from both ends: versions of nft do not agree on the
/// order of bytes when they read back what they wrote. There are fewer than 256 groups.
pub(crate) fn mark(group: u32) -> [u8; 4] {
    let group = group as u8;
    [group, 0, 0, group]
}

fn key(item: &mut Bytes, addr: IpAddr) {
    let nest = item.begin_nest(attr::ELEMENT_KEY);
    match addr {
        IpAddr::V4(v4) => item.raw(attr::DATA_VALUE, &v4.octets()),
        IpAddr::V6(v6) => item.raw(attr::DATA_VALUE, &v6.octets()),
    }
    item.end_nest(nest);
}

/// The key of the end of a range.
pub(crate) fn end_key(item: &mut Bytes, addr: IpAddr) {
    key(item, addr);
    item.u32(attr::ELEMENT_FLAGS, flag::ELEMENT_INTERVAL_END);
}

/// The key of an address, or of the beginning of a range.
pub(crate) fn start_key(item: &mut Bytes, addr: IpAddr) {
    key(item, addr);
}

/// The address after this one.
pub(crate) fn next(addr: IpAddr) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    }
}

/// Messages that add elements to one set, each as long as may be. No element needs memory of its own.
#[derive(Debug)]
pub(crate) struct Stream<'s> {
    set: &'s Set,
    bytes: Bytes,
    open: Option<(usize, usize)>,
}

impl<'s> Stream<'s> {
    pub(crate) fn new(set: &'s Set) -> Stream<'s> {
        Stream { set, bytes: Bytes::default(), open: None }
    }

    /// Adds an element.
    pub(crate) fn push(&mut self, batch: &mut Batch, element: &Element) {
        if self.open.is_some_and(|(_, list)| self.bytes.len() - list > LIST_BYTES_MAX) {
            self.close();
        }
        if self.open.is_none() {
            let (message, seq) = batch.numbered(Message::create(op::NEW_ELEMENT, self.set.family));
            let start = self.bytes.begin_message(message, seq);
            self.set.address(&mut self.bytes);
            self.open = Some((start, self.bytes.begin_nest(attr::ELEMENTS_LIST)));
        }
        self.set.put(&mut self.bytes, element);
    }

    fn close(&mut self) {
        if let Some((message, list)) = self.open.take() {
            self.bytes.end_nest(list);
            self.bytes.end_message(message);
        }
    }

    /// The messages.
    pub(crate) fn finish(mut self) -> Bytes {
        self.close();
        self.bytes
    }
}

/// An element as the kernel tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) addr: IpAddr,
    /// Whether a range ends before it.
    pub(crate) end: bool,
    pub(crate) group: u32,
    pub(crate) remaining: Option<Duration>,
}

/// The elements of an answer.
pub(crate) fn told(answer: &[u8]) -> impl Iterator<Item = Told> {
    Attributes::new(answer).nested(attr::ELEMENTS_LIST).filter_map(|(_, item)| {
        let item = Attributes::new(item);
        let number = |kind| item.get(kind).and_then(be_u32).unwrap_or_default();
        let value = |kind| item.nested(kind).get(attr::DATA_VALUE);
        let timed = item.get(attr::ELEMENT_TIMEOUT).and_then(be_u64).filter(|timeout| *timeout > 0);
        let expiration = item.get(attr::ELEMENT_EXPIRATION).and_then(be_u64).map(Duration::from_millis);
        Some(Told {
            addr: address(value(attr::ELEMENT_KEY)?)?,
            end: number(attr::ELEMENT_FLAGS) & flag::ELEMENT_INTERVAL_END != 0,
            group: value(attr::ELEMENT_DATA)
                .and_then(|data| data.try_into().ok())
                .map_or(0, |[group, ..]: [u8; 4]| u32::from(group)),
            // Told for sets with a default time only when it differs from that.
            remaining: expiration.filter(|left| timed.is_some() || !left.is_zero()),
        })
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The ranges of a set that holds ranges, of the beginnings and ends that the kernel told.
pub(crate) fn ranges(mut told: Vec<Told>) -> Vec<Held> {
    // Where one range ends another may begin.
    told.sort_unstable_by_key(|told| (told.addr, !told.end));
    let mut held = Vec::new();
    for (index, start) in told.iter().enumerate().filter(|(_, told)| !told.end) {
        let last = match told.get(index + 1) {
            Some(after) => before(after.addr),
            None if start.addr.is_ipv4() => IpAddr::V4(Ipv4Addr::BROADCAST),
            None => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        cover(start.addr, last, |net| {
            held.push(Held { net, group: start.group, remaining: start.remaining });
        });
    }
    held
}

/// The address before this one, which is not the first.
pub(crate) fn before(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().saturating_sub(1))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().saturating_sub(1))),
    }
}

/// The fewest prefixes that make up a range: one for what was put as one.
pub(crate) fn cover(first: IpAddr, last: IpAddr, mut each: impl FnMut(Prefix)) {
    let mut from = Some(first).filter(|from| *from <= last);
    while let Some(start) = from {
        let mut largest = Prefix::single(start);
        while let Some(wider) = largest.bits().checked_sub(1).and_then(|bits| Prefix::covering(start, bits)) {
            if wider.first() != start || wider.last() > last {
                break;
            }
            largest = wider;
        }
        each(largest);
        from = next(largest.last()).filter(|from| *from <= last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(first: &str, last: &str) -> Vec<String> {
        let mut list = Vec::new();
        cover(first.parse().expect(first), last.parse().expect(last), |net| list.push(net.to_string()));
        list
    }

    #[test]
    fn ranges_are_covered_by_the_fewest_prefixes() {
        assert_eq!(covered("10.0.0.0", "10.0.0.255"), ["10.0.0.0/24"]);
        assert_eq!(covered("10.0.0.1", "10.0.0.4"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]);
        assert_eq!(covered("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(covered("255.255.255.255", "255.255.255.255"), ["255.255.255.255/32"]);
        assert_eq!(covered("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["ff00::/8"]);
        assert!(covered("10.0.0.2", "10.0.0.1").is_empty());
    }

    #[test]
    fn neighbouring_ranges_are_told_apart() {
        let point =
            |addr: &str, end, group| Told { addr: addr.parse().expect(addr), end, group, remaining: None };
        let found = ranges(vec![
            point("224.0.0.0", false, 3),
            point("10.0.2.0", true, 0),
            point("10.0.1.0", false, 2),
            point("10.0.1.0", true, 0),
            point("10.0.0.0", false, 1),
        ]);
        let shown: Vec<_> = found.iter().map(|held| (held.net.to_string(), held.group)).collect();
        let expected = [("10.0.0.0/24", 1), ("10.0.1.0/24", 2), ("224.0.0.0/3", 3)];
        assert_eq!(shown, expected.map(|(net, group)| (net.to_owned(), group)));
    }
}
