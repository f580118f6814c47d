//! The networks around contributors that a decision could be about.

use std::net::IpAddr;

use testudo_event::Prefix;

/// Lengths of candidate networks, narrowest first. Wider than these, a ban is never somebody's doing alone.
const V4: &[u8] = &[24, 23, 22, 21, 20, 19, 18, 17, 16];
const V6: &[u8] = &[64, 56, 48];

/// The candidate networks with at least two of the addresses in them, narrowest first within each family.
///
/// A network that holds no more of them than a narrower candidate is left out: it would cost more and cover the same. So
/// there are fewer candidates than addresses. `addresses` must be sorted, without repetitions, and canonical.
pub(crate) fn networks(addresses: &[IpAddr]) -> Vec<Prefix> {
    let split = addresses.partition_point(IpAddr::is_ipv4);
    let (v4, v6) = addresses.split_at(split);
    let mut found = of_family(v4, V4);
    found.extend(of_family(v6, V6));
    found
}

fn of_family(addresses: &[IpAddr], lengths: &[u8]) -> Vec<Prefix> {
    let mut found = Vec::new();
    // For each address, how many the widest candidate around it holds so far.
    let mut held = vec![1_u32; addresses.len()];
    for &bits in lengths {
        let mut from = 0;
        for group in addresses.chunk_by(|a, b| Prefix::covering(*a, bits) == Prefix::covering(*b, bits)) {
            let count = group.len() as u32;
            if count > held[from] {
                found.extend(Prefix::covering(group[0], bits));
            }
            held[from..from + group.len()].fill(count);
            from += group.len();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(addresses: &[&str]) -> Vec<String> {
        let mut addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect(text)).collect();
        addresses.sort_unstable();
        networks(&addresses).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn networks_that_join() {
        assert_eq!(shown(&[]), [] as [&str; 0]);
        assert_eq!(shown(&["192.0.2.1"]), [] as [&str; 0]);
        assert_eq!(shown(&["192.0.2.1", "192.0.2.9"]), ["192.0.2.0/24"]);
        assert_eq!(shown(&["192.0.2.1", "192.0.3.9"]), ["192.0.2.0/23"]);
        assert_eq!(shown(&["192.0.2.1", "192.0.2.2", "192.0.9.9"]), ["192.0.2.0/24", "192.0.0.0/20"]);
        assert_eq!(shown(&["192.0.2.1", "192.1.2.1"]), [] as [&str; 0]);
        assert_eq!(
            shown(&["2001:db8::1", "2001:db8::2", "2001:db8:0:1::"]),
            ["2001:db8::/64", "2001:db8::/56"]
        );
        assert_eq!(shown(&["2001:db8::1", "2001:db8:1::1", "192.0.2.1"]), [] as [&str; 0]);
    }

    proptest! {
        #[test]
        fn fewer_than_addresses_and_never_alike(low in prop::collection::btree_set(0_u32..0x4_0000, 1..60)) {
            let addresses: Vec<IpAddr> = low.iter().map(|n| IpAddr::V4((0x0a00_0000 | n).into())).collect();
            let found = networks(&addresses);
            prop_assert!(found.len() < addresses.len());
            let held = |network: &Prefix| addresses.iter().filter(|a| network.contains(**a)).count();
            for network in &found {
                prop_assert!(held(network) >= 2);
                let narrower = found.iter().filter(|n| n.bits() > network.bits() && network.contains(n.addr()));
                prop_assert!(narrower.clone().all(|n| held(n) < held(network)));
            }
        }
    }
}
