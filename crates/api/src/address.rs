//! Whose request it is when proxies stand in between.

use std::net::IpAddr;

use hyper::header::HeaderMap;
use testudo_event::{
    Prefix,
    net::{canonical, parse_addr},
};

use crate::config::covers;

const HEADERS: [&str; 2] = ["x-forwarded-for", "x-real-ip"];

/// The address of the client: that of the connection, unless a trusted proxy names another. Of the
/// addresses in a header the last one counts that is not itself a trusted proxy.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: Option<&[Prefix]>) -> IpAddr {
    let peer = canonical(peer);
    let Some(trusted) = trusted.filter(|trusted| covers(trusted, peer)) else { return peer };
    HEADERS.iter().find_map(|name| from_header(headers, name, trusted)).unwrap_or(peer)
}

fn from_header(headers: &HeaderMap, name: &str, trusted: &[Prefix]) -> Option<IpAddr> {
    let mut first = None;
    // Several headers of a name are one list.
    let values: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().ok()).collect::<Option<_>>()?;
    for item in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let addr = canonical(parse_addr(item.trim())?);
        if !covers(trusted, addr) {
            return Some(addr);
        }
        first = Some(addr);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let check =
            |peer: &str, trusted: Option<&[&str]>, headers: &[(&'static str, &str)], expected: &str| {
                let trusted: Option<Vec<Prefix>> =
                    trusted.map(|list| list.iter().map(|text| Prefix::parse(text).expect(text)).collect());
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    map.append(*name, value.parse().expect(value));
                }
                let found = client(peer.parse().expect(peer), &map, trusted.as_deref());
                assert_eq!(found.to_string(), expected, "{peer} {headers:?}");
            };
        let forwarded = [("x-forwarded-for", "198.51.100.1, 203.0.113.9")];
        check("192.0.2.1", None, &forwarded, "192.0.2.1");
        check("192.0.2.1", Some(&[]), &forwarded, "192.0.2.1");
        check("192.0.2.1", Some(&["10.0.0.0/8"]), &forwarded, "192.0.2.1");
        check("192.0.2.1", Some(&["192.0.2.0/24"]), &forwarded, "203.0.113.9");
        check("192.0.2.1", Some(&["192.0.2.0/24", "203.0.113.0/24"]), &forwarded, "198.51.100.1");
        check("192.0.2.1", Some(&["0.0.0.0/0"]), &forwarded, "198.51.100.1");
        check("2001:db8::1", Some(&["0.0.0.0/0"]), &forwarded, "2001:db8::1");
        check("::ffff:192.0.2.1", Some(&["192.0.2.0/24"]), &forwarded, "203.0.113.9");
        check(
            "192.0.2.1",
            Some(&["192.0.2.0/24"]),
            &[("x-forwarded-for", "nobody"), ("x-real-ip", "203.0.113.7")],
            "203.0.113.7",
        );
        check("192.0.2.1", Some(&["192.0.2.0/24"]), &[("x-forwarded-for", "nobody")], "192.0.2.1");
        check(
            "192.0.2.1",
            Some(&["192.0.2.0/24"]),
            &[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.7")],
            "203.0.113.7",
        );
    }
}
