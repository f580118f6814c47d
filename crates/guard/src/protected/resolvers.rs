//! Resolvers, from `resolv.conf`.

use std::net::IpAddr;

use super::address;

/// The addresses on `nameserver` lines.
pub(super) fn named(file: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().and_then(address)).flatten()
    };
    file.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameserver_lines() {
        let file = "# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.2\n  nameserver\tfe80::1%eth0 x\n\
                    nameserver\nnameserver example.org\nnameservers 192.0.2.3\nnameserver 0.0.0.0\n";
        let found: Vec<String> = named(file).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.2", "fe80::1"]);
    }
}
