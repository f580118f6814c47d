//! Clients as numbers: what the tables of this crate are keyed by.
//!
//! A client is an IPv4 address or an IPv6 /64, the smallest network that a subscriber gets: who has one could otherwise
//! be as many clients as he likes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testudo_event::Prefix;

/// A client: the bits of an IPv4 address, or the upper half of those of an IPv6 address. Both fit in one number since
/// nobody has an address in `::/32`. The numbers of a network's clients follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64);

impl Key {
    /// The client with an address; a mapped address is IPv4. `None` in `::/32`, loopback among them.
    pub(crate) fn of(address: IpAddr) -> Option<Key> {
        match address.to_canonical() {
            IpAddr::V4(v4) => Some(Key(u64::from(v4.to_bits()))),
            IpAddr::V6(v6) => Some(Key((v6.to_bits() >> 64) as u64)).filter(|key| !key.is_v4()),
        }
    }

    /// The client as a number, for [`Key::of_number`].
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The client that a number stands for.
    pub(crate) fn of_number(number: u64) -> Key {
        Key(number)
    }

    /// The first and the last client in a network; of one that is smaller than a client, the client around it.
    pub(crate) fn range(network: Prefix) -> Option<(Key, Key)> {
        let network = network.canonical();
        match (network.first(), network.last()) {
            // `::/0` begins where no client is.
            (IpAddr::V6(first), last) if network.bits() <= 32 && first.to_bits() >> 96 == 0 => {
                Some((Key(1 << 32), Key::of(last)?))
            }
            (first, last) => Some((Key::of(first)?, Key::of(last)?)),
        }
    }

    /// Whether the client has an IPv4 address.
    pub(crate) fn is_v4(self) -> bool {
        self.0 >> 32 == 0
    }

    /// The network that one organisation has, as a number: an IPv4 /24, an IPv6 /48.
    pub(crate) fn site(self) -> u64 {
        if self.is_v4() { self.0 >> 8 } else { self.0 >> 16 }
    }

    /// The network that one provider has, as a number: an IPv4 /16, an IPv6 /32.
    pub(crate) fn provider(self) -> u64 {
        if self.is_v4() { self.0 >> 16 } else { self.0 >> 32 }
    }

    /// Whether the address is of a private network, whose clients are all known to the administrator.
    pub(crate) fn is_private(self) -> bool {
        if self.is_v4() {
            Ipv4Addr::from_bits(self.0 as u32).is_private()
        } else {
            Ipv6Addr::from_bits(u128::from(self.0) << 64).is_unique_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<Key> {
        Key::of(text.parse().expect(text))
    }

    #[test]
    fn clients() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!((key("::1"), key("::5:6:7:8")), (None, None));
        assert!(key("10.1.2.3").is_some_and(Key::is_private) && key("fd00::1").is_some_and(Key::is_private));
        assert!(
            !key("192.0.2.1").is_some_and(Key::is_private)
                && !key("2001:db8::1").is_some_and(Key::is_private)
        );
    }

    #[test]
    fn networks_are_ranges_of_clients() {
        let check = |network: &str, inside: &[&str], outside: &[&str]| {
            let (first, last) = Key::range(Prefix::parse(network).expect(network)).expect(network);
            let is_in = |address: &str| key(address).is_some_and(|key| first <= key && key <= last);
            assert!(inside.iter().all(|address| is_in(address)), "{network}");
            assert!(!outside.iter().any(|address| is_in(address)), "{network}");
        };
        check("192.0.2.0/24", &["192.0.2.0", "192.0.2.255"], &["192.0.3.0", "192.0.1.255", "2001:db8::"]);
        check("2001:db8::/48", &["2001:db8::", "2001:db8:0:ffff::1"], &["2001:db8:1::", "192.0.2.1"]);
        check("2001:db8::/96", &["2001:db8::1:2:3:4"], &["2001:db8:0:1::"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["2001:db8::"]);
        check("::/0", &["2001:db8::", "ffff::"], &["192.0.2.1"]);
    }

    #[test]
    fn sites_and_providers() {
        let of = |text: &str, network: fn(Key) -> u64| key(text).map(network);
        assert_eq!(of("192.0.2.1", Key::site), of("192.0.2.255", Key::site));
        assert_ne!(of("192.0.2.1", Key::site), of("192.0.3.1", Key::site));
        assert_eq!(of("2001:db8:1::", Key::site), of("2001:db8:1:ffff::", Key::site));
        assert_ne!(of("2001:db8:1::", Key::site), of("2001:db8:2::", Key::site));
        assert_eq!(of("192.0.2.1", Key::provider), of("192.0.9.1", Key::provider));
        assert_eq!(of("2001:db8:1::", Key::provider), of("2001:db8:9::", Key::provider));
    }
}
