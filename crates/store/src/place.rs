//! Where a decision applies: a network, or a name within a scope.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testudo_event::{
    Prefix,
    alert::{SCOPE_IP, SCOPE_RANGE},
};

/// A text that has to be an address or a range, and is none. As text it is what the API answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// No address.
    #[error("invalid ip address '{0}'")]
    Address(String),
    /// No range in CIDR notation.
    #[error("invalid ip range '{0}': invalid CIDR address: {0}")]
    Range(String),
}

/// Whether values of a scope are addresses or ranges.
pub(crate) fn is_network_scope(scope: &str) -> bool {
    scope.eq_ignore_ascii_case(SCOPE_IP) || scope.eq_ignore_ascii_case(SCOPE_RANGE)
}

/// The family of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    /// A name.
    Named,
    /// IPv4, mapped addresses too.
    V4,
    /// IPv6.
    V6,
}

/// A network with its bits right-aligned in `high` and `low`; or the numbers of two interned texts, a scope
/// and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) high: u64,
    pub(crate) low: u64,
    pub(crate) bits: u8,
    pub(crate) family: Family,
}

/// How the text of a network is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bare address.
    Address,
    /// CIDR notation of the network.
    Cidr,
    /// Something else that means the same: host bits, capitals, a mapped address.
    Other,
}

impl Place {
    pub(crate) fn named(scope: u32, value: u32) -> Place {
        Place { high: u64::from(scope), low: u64::from(value), bits: 0, family: Family::Named }
    }

    /// The place of a network. Mapped ranges are IPv4.
    pub(crate) fn network(prefix: Prefix) -> Place {
        let prefix = prefix.canonical().network();
        let (number, family) = match prefix.addr() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), Family::V4),
            IpAddr::V6(v6) => (v6.to_bits(), Family::V6),
        };
        Place { high: (number >> 64) as u64, low: number as u64, bits: prefix.bits(), family }
    }

    /// The network; `None` for a name.
    pub(crate) fn prefix(self) -> Option<Prefix> {
        let number = self.number();
        let addr = match self.family {
            Family::Named => return None,
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        };
        Prefix::new(addr, self.bits)
    }

    /// Reads an address or a range as the API does, and how it was written.
    pub(crate) fn parse(text: &str) -> Result<(Place, Form), BadValue> {
        let prefix = if text.contains('/') {
            parse_cidr(text).ok_or_else(|| BadValue::Range(text.to_owned()))?
        } else {
            let addr = testudo_event::net::parse_ip_go(text);
            Prefix::single(addr.ok_or_else(|| BadValue::Address(text.to_owned()))?)
        };
        let place = Place::network(prefix);
        let form = [Form::Address, Form::Cidr].into_iter().find(|form| same_text(&place.shown(*form), text));
        Ok((place, form.unwrap_or(Form::Other)))
    }

    fn width(self) -> u8 {
        if self.family == Family::V4 { 32 } else { 128 }
    }

    pub(crate) fn number(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// The network of `bits` bits around this one; `bits` must not exceed its own.
    pub(crate) fn widened(self, bits: u8) -> Place {
        let host = u32::from(self.width() - bits);
        let mask = u128::MAX.checked_shl(host).unwrap_or(0);
        let number = self.number() & mask;
        Place { high: (number >> 64) as u64, low: number as u64, bits, ..self }
    }

    /// Whether this network holds all of the other.
    pub(crate) fn covers(self, other: Place) -> bool {
        self.family == other.family
            && self.family != Family::Named
            && self.bits <= other.bits
            && other.widened(self.bits).number() == self.number()
    }

    /// Bytes of a bound of a network.
    pub(crate) const BOUND_BYTES: usize = 17;

    /// The first and the last address of a network: the family and the address, so that the order of bytes
    /// is the order of addresses.
    pub(crate) fn bounds(self) -> ([u8; Self::BOUND_BYTES], [u8; Self::BOUND_BYTES]) {
        let host = u128::MAX.checked_shr(128 - u32::from(self.width() - self.bits)).unwrap_or(0);
        let bound = |number: u128| {
            let mut bytes = [if self.family == Family::V4 { 4 } else { 6 }; Self::BOUND_BYTES];
            bytes[1..].copy_from_slice(&number.to_be_bytes());
            bytes
        };
        (bound(self.number()), bound(self.number() | host))
    }

    /// The text of a network.
    pub(crate) fn shown(self, form: Form) -> Shown {
        Shown { place: self, form }
    }
}

/// A network on its way to text.
pub(crate) struct Shown {
    place: Place,
    form: Form,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.place.number();
        match self.place.family {
            Family::V6 => write!(f, "{}", Ipv6Addr::from_bits(number))?,
            Family::V4 | Family::Named => write!(f, "{}", Ipv4Addr::from_bits(number as u32))?,
        }
        if self.form == Form::Address { Ok(()) } else { write!(f, "/{}", self.place.bits) }
    }
}

/// Compares a text with what is shown, without making it.
fn same_text(shown: &Shown, text: &str) -> bool {
    struct Rest<'t>(&'t str);
    impl fmt::Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let is_single = shown.place.bits == shown.place.width();
    if shown.form == Form::Address && !is_single {
        return false;
    }
    let mut rest = Rest(text);
    fmt::write(&mut rest, format_args!("{shown}")).is_ok() && rest.0.is_empty()
}

/// Reads CIDR text: any bits of the host may be set, the length may have leading zeros.
fn parse_cidr(text: &str) -> Option<Prefix> {
    let (addr, bits) = text.split_once('/')?;
    if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Prefix::new(addr.parse().ok()?, bits.parse().ok()?)
}

/// An address or a range that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
    /// Whether decisions are looked for that cover the target; else those that lie inside it.
    pub contains: bool,
}

impl Target {
    /// Reads an address or a range in CIDR notation. Mapped IPv6 addresses are IPv4.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str, contains: bool) -> Result<Target, BadValue> {
        Ok(Target { place: Place::parse(text)?.0, contains })
    }

    /// The network that is asked about; mapped addresses are IPv4.
    pub fn network(self) -> Prefix {
        // A target is never a name.
        self.place.prefix().unwrap_or(Prefix::single(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    pub(crate) fn place(self) -> Place {
        self.place
    }

    /// Whether a decision for a place is asked for.
    pub(crate) fn matches(self, place: Place) -> bool {
        if self.contains { place.covers(self.place) } else { self.place.covers(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_api_reads_them() {
        let check = |text: &str, shown: &str, form: Form| {
            let (place, found) = Place::parse(text).expect(text);
            assert_eq!((place.shown(Form::Cidr).to_string().as_str(), found), (shown, form), "{text}");
        };
        check("192.0.2.10", "192.0.2.10/32", Form::Address);
        check("192.0.2.10/32", "192.0.2.10/32", Form::Cidr);
        check("203.0.113.0/24", "203.0.113.0/24", Form::Cidr);
        check("203.0.113.7/24", "203.0.113.0/24", Form::Other);
        check("203.0.113.0/024", "203.0.113.0/24", Form::Other);
        check("0.0.0.0/0", "0.0.0.0/0", Form::Cidr);
        check("::ffff:192.0.2.1", "192.0.2.1/32", Form::Other);
        check("::ffff:192.0.2.1/120", "192.0.2.0/24", Form::Other);
        check("2001:db8::ff", "2001:db8::ff/128", Form::Address);
        check("2001:DB8::FF", "2001:db8::ff/128", Form::Other);
        check("2001:db8::/32", "2001:db8::/32", Form::Cidr);
        check("::", "::/128", Form::Address);
        check("::/0", "::/0", Form::Cidr);
    }

    #[test]
    fn what_is_no_value_is_told() {
        let check = |text: &str, message: &str| {
            assert_eq!(Place::parse(text).map_err(|error| error.to_string()), Err(message.to_owned()));
        };
        check("xxx2", "invalid ip address 'xxx2'");
        check("xxx/24", "invalid ip range 'xxx/24': invalid CIDR address: xxx/24");
        check("", "invalid ip address ''");
        check("01.2.3.4", "invalid ip address '01.2.3.4'");
        check("fe80::1%eth0", "invalid ip address 'fe80::1%eth0'");
        for text in ["1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "::/129", "1.2.3.4/+8", "1.2.3.4/24/8"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_are_the_first_and_the_last_address() {
        let check = |text: &str, family: u8, low: u128, high: u128| {
            let (found_low, found_high) = Place::parse(text).expect(text).0.bounds();
            let bytes = |number: u128| [&[family][..], &number.to_be_bytes()].concat();
            assert_eq!((found_low.to_vec(), found_high.to_vec()), (bytes(low), bytes(high)), "{text}");
        };
        check("192.0.2.10", 4, 0xc000_020a, 0xc000_020a);
        check("203.0.113.0/24", 4, 0xcb00_7100, 0xcb00_71ff);
        check("0.0.0.0/0", 4, 0, 0xffff_ffff);
        check("::/0", 6, 0, u128::MAX);
        check("2001:db8::/32", 6, 0x2001_0db8 << 96, 0x2001_0db8 << 96 | u128::MAX >> 32);
        check("::1", 6, 1, 1);
    }

    #[test]
    fn containment_both_ways() {
        let check = |row: &str, query: &str, covers: bool, inside: bool| {
            let place = Place::parse(row).expect(row).0;
            let asked = |contains| Target::parse(query, contains).expect(query).matches(place);
            assert_eq!((asked(true), asked(false)), (covers, inside), "{row} asked by {query}");
        };
        check("192.0.2.10", "192.0.2.10", true, true);
        check("192.0.2.0/24", "192.0.2.10", true, false);
        check("192.0.2.10", "192.0.2.0/24", false, true);
        check("192.0.2.0/24", "192.0.2.99/24", true, true);
        check("192.0.2.0/25", "192.0.2.128/25", false, false);
        check("0.0.0.0/0", "192.0.2.10", true, false);
        check("0.0.0.0/0", "::1", false, false);
        check("::/0", "2001:db8::1", true, false);
        check("::/0", "::ffff:192.0.2.1", false, false);
        check("192.0.2.1", "::ffff:192.0.2.1", true, true);
        check("2001:db8::/32", "2001:db8:1::/48", true, false);
        check("2001:db8::/32", "2001:db9::1", false, false);
    }
}
