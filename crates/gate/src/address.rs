//! Whose request it is, where proxies stand in between.
//!
//! Anybody can send `X-Forwarded-For`. So a header counts only if the peer that sent it is trusted, and of a list of
//! hops only those that trusted peers wrote: from the right up to the first address that is not a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use hyper::{HeaderMap, header::HeaderValue};
use testudo_event::net::{self, Prefix};

/// The most hops that are looked at.
const MAX_HOPS: usize = 32;

/// Where a trusted proxy writes whose request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressSource {
    /// A list of hops in `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// A list of hops in `Forwarded`, RFC 7239.
    Forwarded,
    /// The one address in `X-Real-IP`.
    XRealIp,
    /// Nowhere: the peer is the client.
    Peer,
}

impl AddressSource {
    /// All of them with their names in policies.
    pub const ALL: [(&str, Self); 4] = [
        ("x-forwarded-for", Self::XForwardedFor),
        ("forwarded", Self::Forwarded),
        ("x-real-ip", Self::XRealIp),
        ("peer", Self::Peer),
    ];
}

/// Who sent a request to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A program that may open the gate's socket in the file system: a trusted proxy.
    Local,
    /// An address.
    Address(IpAddr),
}

impl Peer {
    /// Whether what it says about a client counts.
    pub fn is_trusted(self, proxies: &[Prefix]) -> bool {
        match self {
            Self::Local => true,
            Self::Address(address) => is_in(proxies, address.to_canonical()),
        }
    }
}

/// The client's address, never in the mapped form. None where only a proxy could say, and it did not.
pub(crate) fn client(
    peer: Peer,
    proxies: &[Prefix],
    source: AddressSource,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let itself = match peer {
        Peer::Local => None,
        Peer::Address(address) => Some(address.to_canonical()),
    };
    if !peer.is_trusted(proxies) {
        return itself;
    }
    match source {
        AddressSource::Peer => itself,
        AddressSource::XRealIp => {
            let mut values = headers.get_all("x-real-ip").iter();
            // Of two values, one may be the client's own.
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().ok().and_then(|text| hop(text.trim())).or(itself),
                _ => itself,
            }
        }
        AddressSource::XForwardedFor => {
            let hops = from_the_right(headers, "x-forwarded-for");
            first_foreign(hops.map(|text| hop(text?.trim())), proxies, itself)
        }
        AddressSource::Forwarded => {
            let hops = from_the_right(headers, "forwarded");
            first_foreign(hops.map(|text| forwarded_for(text?)), proxies, itself)
        }
    }
}

/// The right-most hop that is no trusted proxy. Where one cannot be read, what stands left of it is worth nothing, and
/// the proxy that named it is taken for the client.
fn first_foreign(
    hops: impl Iterator<Item = Option<IpAddr>>,
    proxies: &[Prefix],
    itself: Option<IpAddr>,
) -> Option<IpAddr> {
    let mut last = itself;
    for hop in hops.take(MAX_HOPS) {
        let Some(address) = hop else { break };
        last = Some(address);
        if !is_in(proxies, address) {
            break;
        }
    }
    last
}

/// The elements of a header that is a list, from the last one of its last line on; nothing for one that is no text.
/// Proxies append to the line that the client sent: whatever stands in there spoils its own element and no other.
fn from_the_right<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = Option<&'h str>> + use<'h> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let elements = lines.into_iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    elements.map(|element| str::from_utf8(element).ok())
}

fn is_in(proxies: &[Prefix], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.contains(address))
}

/// An address that may have a port: `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`.
fn hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = net::parse_addr(bare.unwrap_or(text));
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// The `for` of an element of `Forwarded`. None if it has none, several, or one that hides the address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let value = found.next().filter(|_| found.next().is_none())?;
    hop(value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> Vec<Prefix> {
        ["127.0.0.1/32", "10.0.0.0/8", "::1/128"].iter().map(|text| text.parse().expect("a range")).collect()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn check(peer: &str, source: AddressSource, lines: &[(&'static str, &str)], expected: &str) {
        let peer =
            if peer == "local" { Peer::Local } else { Peer::Address(peer.parse().expect("an address")) };
        let found = client(peer, &proxies(), source, &headers(lines));
        assert_eq!(found.map(|found| found.to_string()).as_deref().unwrap_or("none"), expected, "{lines:?}");
    }

    #[test]
    fn hops() {
        use AddressSource::XForwardedFor as List;
        let name = "x-forwarded-for";
        check("192.0.2.9", List, &[(name, "198.51.100.1")], "192.0.2.9");
        check("127.0.0.1", List, &[], "127.0.0.1");
        check("local", List, &[], "none");
        check("local", List, &[(name, "198.51.100.1")], "198.51.100.1");
        check("::ffff:127.0.0.1", List, &[(name, "198.51.100.1")], "198.51.100.1");
        // The left part is what the client claims.
        check("127.0.0.1", List, &[(name, "203.0.113.7, 198.51.100.1")], "198.51.100.1");
        check("127.0.0.1", List, &[(name, "203.0.113.7"), (name, "198.51.100.1, 10.1.2.3")], "198.51.100.1");
        check("127.0.0.1", List, &[(name, "127.0.0.1, 198.51.100.1")], "198.51.100.1");
        check("127.0.0.1", List, &[(name, "10.0.0.9, 10.0.0.1")], "10.0.0.9");
        check("127.0.0.1", List, &[(name, "203.0.113.7, nonsense, 10.0.0.1")], "10.0.0.1");
        check("127.0.0.1", List, &[(name, "203.0.113.7,")], "127.0.0.1");
        check("127.0.0.1", List, &[(name, "[2001:db8::1]:443")], "2001:db8::1");
        check("127.0.0.1", List, &[(name, "198.51.100.1:443")], "198.51.100.1");
        check("127.0.0.1", List, &[(name, "::ffff:198.51.100.1")], "198.51.100.1");
        // Proxies append to what the client sent, whatever it is.
        check("127.0.0.1", List, &[(name, "\u{e9}, 198.51.100.1")], "198.51.100.1");
        check("127.0.0.1", List, &[(name, "203.0.113.7, \u{e9}, 10.0.0.1")], "10.0.0.1");
    }

    #[test]
    fn one_address() {
        use AddressSource::XRealIp as One;
        let name = "x-real-ip";
        check("127.0.0.1", One, &[(name, "198.51.100.1"), ("x-forwarded-for", "1.1.1.1")], "198.51.100.1");
        check("127.0.0.1", One, &[(name, "198.51.100.1"), (name, "198.51.100.2")], "127.0.0.1");
        check("127.0.0.1", One, &[(name, "x")], "127.0.0.1");
        check("192.0.2.9", One, &[(name, "198.51.100.1")], "192.0.2.9");
        check("127.0.0.1", AddressSource::Peer, &[(name, "198.51.100.1")], "127.0.0.1");
    }

    #[test]
    fn forwarded() {
        use AddressSource::Forwarded as List;
        let name = "forwarded";
        check("127.0.0.1", List, &[(name, "for=198.51.100.1;proto=https;by=10.0.0.1")], "198.51.100.1");
        check("127.0.0.1", List, &[(name, "for=203.0.113.7, For=\"[2001:db8::1]:1\"")], "2001:db8::1");
        check("127.0.0.1", List, &[(name, "for=203.0.113.7, for=unknown")], "127.0.0.1");
        check("127.0.0.1", List, &[(name, "for=203.0.113.7, for=_hidden, for=10.0.0.1")], "10.0.0.1");
        check("127.0.0.1", List, &[(name, "for=203.0.113.7;for=203.0.113.8")], "127.0.0.1");
        check("127.0.0.1", List, &[(name, "for=\"203.0.113.7")], "127.0.0.1");
    }

    proptest! {
        /// Whatever a client claims, in whatever bytes, it stays the one that the last proxy saw.
        #[test]
        fn nobody_takes_the_place_of_another(claim in prop::collection::vec(any::<u8>(), 0..60)) {
            // The bytes that a header may hold.
            let claim: Vec<u8> =
                claim.into_iter().filter(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f).collect();
            for (source, name, own) in [
                (AddressSource::XForwardedFor, "x-forwarded-for", "198.51.100.1"),
                (AddressSource::Forwarded, "forwarded", "for=198.51.100.1"),
            ] {
                let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("a value");
                let mut one = HeaderMap::new();
                one.append(name, value(&[&claim[..], b", ", own.as_bytes()].concat()));
                let found = client(Peer::Local, &proxies(), source, &one);
                prop_assert_eq!(found, Some(IpAddr::from([198, 51, 100, 1])));
                let mut two = HeaderMap::new();
                two.append(name, value(&claim));
                two.append(name, value(own.as_bytes()));
                prop_assert_eq!(client(Peer::Local, &proxies(), source, &two), found);
            }
        }
    }
}
