//! Who talks to whom: lines of `pfctl -s states`.

use std::net::IpAddr;

/// The addresses in a line such as `all tcp 192.0.2.1:22 <- 198.51.100.7:40112 ESTABLISHED:ESTABLISHED`, or, for IPv6,
/// `all tcp 2001:db8::1[22] <- 2001:db8::7[40112] …`; those behind a translation stand in brackets.
pub(super) fn parties(line: &str) -> impl Iterator<Item = IpAddr> {
    line.split_whitespace().filter_map(party)
}

fn party(word: &str) -> Option<IpAddr> {
    let word = word.trim_start_matches('(').trim_end_matches(')');
    if let Some((addr, _)) = word.split_once('[') {
        // An address of a link has the name of its interface behind it.
        let addr = addr.split_once('%').map_or(addr, |(addr, _)| addr);
        return addr.parse().ok();
    }
    if let Ok(addr) = word.parse::<IpAddr>() {
        return Some(addr);
    }
    word.rsplit_once(':').and_then(|(addr, _)| addr.parse().ok()).filter(IpAddr::is_ipv4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_states() {
        for (line, expected) in [
            (
                "all tcp 192.0.2.1:22 <- 198.51.100.7:40112       ESTABLISHED:ESTABLISHED",
                "192.0.2.1 198.51.100.7",
            ),
            (
                "em0 udp 10.0.0.5:53 (192.0.2.1:6000) -> 203.0.113.9:53   MULTIPLE:SINGLE",
                "10.0.0.5 192.0.2.1 203.0.113.9",
            ),
            (
                "all tcp 2001:db8::1[22] <- 2001:db8::7[40112]  ESTABLISHED:ESTABLISHED",
                "2001:db8::1 2001:db8::7",
            ),
            ("all ipv6-icmp fe80::1%em0[135] <- ff02::1[135]  NO_TRAFFIC:NO_TRAFFIC", "fe80::1 ff02::1"),
            ("all icmp 192.0.2.1:8 <- 198.51.100.7:8  0:0", "192.0.2.1 198.51.100.7"),
            ("all carp 192.0.2.1 -> 224.0.0.18  SINGLE:NO_TRAFFIC", "192.0.2.1 224.0.0.18"),
            ("No ALTQ support in kernel", ""),
            ("", ""),
        ] {
            let found: Vec<String> = parties(line).map(|addr| addr.to_string()).collect();
            assert_eq!(found.join(" "), expected, "{line}");
        }
    }
}
