//! Addresses and ranges, read and compared as Go does.
//!
//! Go has two views: `net/netip` (strict: an IPv4-mapped IPv6 address is IPv6) for allowlists, and `net`
//! (a mapped address is IPv4) for the helpers of expressions. Both are here, each function says which.

mod set;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub use set::PrefixSet;

/// Reads an address as Go's `netip.ParseAddr`: no leading zeros, no brackets. A `%zone` after an IPv6
/// address is checked and dropped. A mapped address stays IPv6.
pub fn parse_addr(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        None => text.parse().ok(),
        Some((_, "")) => None,
        Some((addr, _)) => addr.parse().ok().map(IpAddr::V6),
    }
}

/// Reads an address as Go's `net.ParseIP`: no zone, and a mapped address is IPv4.
pub fn parse_ip_go(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(canonical)
}

/// The IPv4 address of a mapped one (`::ffff:1.2.3.4`); every other address as it is.
pub fn canonical(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// An IPv6 address with its last 64 bits cleared; IPv4 as it is.
pub fn mask_v6_64(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(64))),
    }
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// An address and a number of leading bits, in CIDR notation `1.2.3.0/24`.
///
/// Bits after the prefix are kept as they were given, and take part in `==`; [`Prefix::network`] clears them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    bits: u8,
}

/// A text is no address range in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid range {text:?}")]
pub struct PrefixError {
    /// The text.
    pub text: String,
}

impl Prefix {
    /// `addr/bits` with the bits after the prefix kept; `None` when the family has fewer bits.
    pub fn new(addr: IpAddr, bits: u8) -> Option<Self> {
        (bits <= width(addr)).then_some(Prefix { addr, bits })
    }

    /// The network of `bits` bits that covers an address; `None` when the family has fewer bits.
    pub fn covering(addr: IpAddr, bits: u8) -> Option<Self> {
        Prefix::new(addr, bits).map(Prefix::network)
    }

    /// The range of a single address.
    pub fn single(addr: IpAddr) -> Self {
        Prefix { addr, bits: width(addr) }
    }

    /// Reads CIDR text as Go's `netip.ParsePrefix`: bits after the prefix may be set, no zone, no leading
    /// zeros.
    pub fn parse(text: &str) -> Option<Self> {
        let (addr, bits) = text.split_once('/')?;
        let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
        Prefix::new(addr.parse().ok()?, bits.parse().ok().filter(|_| plain)?)
    }

    /// The address as it was given.
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// The number of leading bits that count.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The same range with the bits after the prefix cleared.
    pub fn network(self) -> Self {
        Prefix { addr: self.first(), ..self }
    }

    /// The lowest address of the range.
    pub fn first(self) -> IpAddr {
        match self.addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(self.bits))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(self.bits))),
        }
    }

    /// The highest address of the range.
    pub fn last(self) -> IpAddr {
        match self.addr {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | !mask_v4(self.bits))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | !mask_v6(self.bits))),
        }
    }

    /// Whether the range holds an address of its own family. Strict: a mapped address is in no IPv4 range.
    pub fn contains(self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => (net.to_bits() ^ addr.to_bits()) & mask_v4(self.bits) == 0,
            (IpAddr::V6(net), IpAddr::V6(addr)) => (net.to_bits() ^ addr.to_bits()) & mask_v6(self.bits) == 0,
            _ => false,
        }
    }

    /// The IPv4 range of mapped addresses; every other range as it is.
    pub fn canonical(self) -> Self {
        let unmapped = canonical(self.addr);
        if unmapped == self.addr || self.bits < 96 {
            return self;
        }
        Prefix { addr: unmapped, bits: self.bits - 96 }
    }

    /// Reads CIDR text as Go's `net.ParseCIDR`: the network, which is IPv4 when it is a mapped one.
    fn parse_go(text: &str) -> Option<Self> {
        let (addr, bits) = text.split_once('/')?;
        if !bits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Prefix::covering(addr.parse().ok()?, bits.parse().ok()?).map(Prefix::canonical)
    }
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        Prefix::parse(text).ok_or_else(|| PrefixError { text: text.to_owned() })
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether an address lies in a CIDR range, as Go's `net` sees it: a mapped address or range is IPv4.
/// `false` when either text is invalid.
pub fn ip_in_range(ip: &str, range: &str) -> bool {
    match (parse_ip_go(ip), Prefix::parse_go(range)) {
        (Some(addr), Some(range)) => range.contains(addr),
        _ => false,
    }
}

/// The network of `bits` bits (`24` or `/24`) around an address, as Go's `net` prints it. `None` when either
/// text is invalid.
pub fn ip_to_range(ip: &str, bits: &str) -> Option<String> {
    let bits = bits.strip_prefix('/').unwrap_or(bits);
    Prefix::parse_go(&format!("{ip}/{bits}")).map(|range| range.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn addresses_as_go_reads_them() {
        let check = |text: &str, strict: Option<&str>, go: Option<&str>| {
            assert_eq!(parse_addr(text).map(|a| a.to_string()).as_deref(), strict, "{text}");
            assert_eq!(parse_ip_go(text).map(|a| a.to_string()).as_deref(), go, "{text}");
        };
        check("1.2.3.4", Some("1.2.3.4"), Some("1.2.3.4"));
        check("2001:DB8::1", Some("2001:db8::1"), Some("2001:db8::1"));
        check("::ffff:1.2.3.4", Some("::ffff:1.2.3.4"), Some("1.2.3.4"));
        check("::1.2.3.4", Some("::102:304"), Some("::102:304"));
        check("1:2:3:4:5:6:7::", Some("1:2:3:4:5:6:7:0"), Some("1:2:3:4:5:6:7:0"));
        check("fe80::1%eth0", Some("fe80::1"), None);
        for text in [
            "",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4 ",
            "1.2.3.4%eth0",
            "fe80::1%",
            "[::1]",
            "::1::",
            "12345::",
            "256.1.1.1",
            "1:2:3:4::5:6:7:8",
            "1.2.3.4/32",
            "example.org",
        ] {
            check(text, None, None);
        }
    }

    #[test]
    fn ranges_read_and_print() {
        let check = |text: &str, network: Option<&str>| {
            let prefix = Prefix::parse(text);
            assert_eq!(prefix.map(|p| p.network().to_string()).as_deref(), network, "{text}");
            assert_eq!(prefix.map(|p| p.to_string()).as_deref(), network.map(|_| text));
        };
        check("1.2.3.4/24", Some("1.2.3.0/24"));
        check("1.2.3.4/0", Some("0.0.0.0/0"));
        check("1.2.3.4/32", Some("1.2.3.4/32"));
        check("2001:db8::1/64", Some("2001:db8::/64"));
        check("::ffff:1.2.3.4/120", Some("::ffff:1.2.3.0/120"));
        for text in
            ["1.2.3.4", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/024", "1.2.3.4/+2", "fe80::1%a/64", "::/129"]
        {
            check(text, None);
        }
        assert_eq!("x".parse::<Prefix>().map_err(|e| e.to_string()), Err(r#"invalid range "x""#.to_owned()));
        assert_eq!(Prefix::covering(addr("1.2.3.4"), 16), Prefix::parse("1.2.0.0/16"));
        assert_eq!(Prefix::covering(addr("1.2.3.4"), 64), None);
        assert_eq!(Prefix::single(addr("::1")).to_string(), "::1/128");
    }

    #[test]
    fn strict_ranges_keep_families_apart() {
        let check = |range: &str, text: &str, expected: bool| {
            assert_eq!(
                Prefix::parse(range).expect(range).contains(addr(text)),
                expected,
                "{text} in {range}"
            );
        };
        check("1.2.3.4/24", "1.2.3.255", true);
        check("1.2.3.4/24", "1.2.4.0", false);
        check("0.0.0.0/0", "::ffff:1.2.3.4", false);
        check("::ffff:1.2.3.0/120", "::ffff:1.2.3.4", true);
        check("::ffff:1.2.3.0/120", "1.2.3.4", false);
        check("::/0", "ffff::", true);
        check("2001:db8::/32", "2001:db9::", false);
    }

    #[test]
    fn helpers_take_mapped_as_ipv4() {
        for (ip, range, expected) in [
            ("192.168.1.7", "192.168.0.0/16", true),
            ("::ffff:192.168.1.7", "192.168.0.0/16", true),
            ("192.168.1.7", "::ffff:192.168.0.0/112", true),
            ("::ffff:192.168.1.7", "::/0", false),
            ("2001:db8::1", "2001:db8::/32", true),
            ("192.168.1.7", "192.168.1.7", false),
            ("bad", "192.168.0.0/16", false),
            ("fe80::1%eth0", "fe80::/10", false),
        ] {
            assert_eq!(ip_in_range(ip, range), expected, "{ip} in {range}");
        }
    }

    #[test]
    fn ranges_around_addresses() {
        let check = |ip: &str, bits: &str, expected: Option<&str>| {
            assert_eq!(ip_to_range(ip, bits).as_deref(), expected, "{ip} {bits}");
        };
        check("1.2.3.4", "24", Some("1.2.3.0/24"));
        check("1.2.3.4", "/8", Some("1.0.0.0/8"));
        check("2001:db8:1:2:3::", "64", Some("2001:db8:1:2::/64"));
        check("::ffff:1.2.3.4", "120", Some("1.2.3.0/24"));
        check("1.2.3.4", "33", None);
        check("1.2.3.4", "//8", None);
        check("1.2.3.4", "", None);
        check("1.2.3.4/8", "8", None);
        check("x", "8", None);
    }

    #[test]
    fn masking_for_bucket_keys() {
        assert_eq!(mask_v6_64(addr("2001:db8:1:2:3:4:5:6")), addr("2001:db8:1:2::"));
        assert_eq!(mask_v6_64(addr("1.2.3.4")), addr("1.2.3.4"));
    }
}
