//! The machine's own addresses, from the kernel's tables.

use std::net::{IpAddr, Ipv6Addr};

use super::{address, printable};

/// IPv4 addresses in `/proc/net/fib_trie`: leaves that are local hosts.
pub(super) fn v4(table: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in table.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("|-- ") {
            leaf = address(text).filter(IpAddr::is_ipv4);
        } else if line.strip_prefix("/32 host LOCAL").is_some() {
            found.extend(leaf.filter(|address| !found.contains(address) && !address.is_loopback()));
        }
    }
    found
}

/// IPv6 addresses in `/proc/net/if_inet6`, with their devices.
pub(super) fn v6(table: &str) -> Vec<(IpAddr, String)> {
    let line = |line: &str| {
        let mut cells = line.split_ascii_whitespace();
        let digits = cells.next().filter(|digits| digits.len() == 32)?;
        let address = IpAddr::V6(Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?));
        let device = printable(cells.nth(4)?);
        (!address.is_loopback() && !address.is_unspecified()).then_some((address, device))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_leaves_are_own_addresses() {
        let table = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 192.0.2.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 192.0.2.8
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
     |-- 192.0.2.8
        /32 host LOCAL
";
        assert_eq!(v4(table), ["192.0.2.8".parse::<IpAddr>().expect("an address")]);
        for hostile in ["/32 host LOCAL", "|-- x\n/32 host LOCAL", "|-- ::1\n/32 host LOCAL", "|--", "\u{0}"]
        {
            assert_eq!(v4(hostile), [] as [IpAddr; 0], "{hostile:?}");
        }
    }

    #[test]
    fn devices_of_ipv6_addresses() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     20010db8000000000000000000000008 02 40 00 80     eth0\n";
        assert_eq!(v6(table), [("2001:db8::8".parse().expect("an address"), "eth0".to_owned())]);
        for hostile in
            ["", "x", "20010db80000000000000000000008 02 40 00 80 eth0", "+0010db8000000000000000000000008"]
        {
            assert_eq!(v6(hostile), [], "{hostile:?}");
        }
    }
}
