//! The smallest set of networks and addresses that holds all contributors and costs few others.
//!
//! Networks either hold each other or have nothing in common. So the widest of those that may be used are the smallest
//! set, and no search is needed.

use std::net::IpAddr;

use testudo_event::{Bystanders, Prefix};

/// What a network must keep to be used as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Good clients in it, at most.
    pub(crate) budget: u32,
    /// Contributors in it, at least; see [`is_filled`].
    pub(crate) least: u32,
}

/// The widest networks that are ever used, in bits.
const WIDEST_V4: u8 = 16;
const WIDEST_V6: u8 = 48;

/// The fewest prefixes that hold all `contributors`, which must be sorted, canonical and each different; sorted.
///
/// A network is used only if it is among `bystanders`, keeps the limits, and is not `barred`. Of networks that hold the
/// same contributors the narrowest is used, down to the single address.
pub(crate) fn cover(
    contributors: &[IpAddr],
    bystanders: &[Bystanders],
    limits: Limits,
    barred: &dyn Fn(Prefix) -> bool,
) -> Vec<Prefix> {
    let mut known: Vec<(Prefix, u32)> =
        bystanders.iter().map(|b| (b.network.canonical().network(), b.count)).collect();
    // Wide networks come before those in them. Of a network that is told twice, the worse count holds.
    known
        .sort_unstable_by_key(|&(network, count)| (network.addr(), network.bits(), std::cmp::Reverse(count)));
    known.dedup_by_key(|(network, _)| *network);
    let usable = known.into_iter().filter(|&(network, count)| {
        let widest = if network.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
        network.bits() >= widest
            && count <= limits.budget
            && is_filled(network, within(contributors, network), limits.least)
            && !barred(network)
    });
    let mut chosen: Vec<Prefix> = Vec::new();
    let mut around: Option<Prefix> = None;
    for (network, _) in usable {
        let held = within(contributors, network).len();
        match around {
            Some(outer) if outer.contains(network.addr()) => {
                if let Some(last) = chosen.last_mut().filter(|_| held == within(contributors, outer).len()) {
                    *last = network;
                }
            }
            _ => {
                around = Some(network);
                chosen.push(network);
            }
        }
    }
    for network in &mut chosen {
        if let [only] = within(contributors, *network) {
            *network = Prefix::single(*only);
        }
    }
    let mut rest = contributors.iter().copied().map(Prefix::single).collect::<Vec<_>>();
    let mut at = 0;
    rest.retain(|single| {
        while at < chosen.len() && chosen[at].last() < single.addr() {
            at += 1;
        }
        !chosen.get(at).is_some_and(|network| network.contains(single.addr()))
    });
    chosen.append(&mut rest);
    chosen.sort_unstable();
    chosen
}

/// Those of the sorted addresses that lie in a network.
fn within(contributors: &[IpAddr], network: Prefix) -> &[IpAddr] {
    let from = contributors.partition_point(|address| *address < network.first());
    let to = contributors.partition_point(|address| *address <= network.last());
    &contributors[from..to]
}

/// Whether a network holds enough contributors to be one attacker's.
///
/// A /24 or a /64 must hold `least`. A wider network must be filled: of the contributors in its parts of that size, of which
/// at most `least` count in each, it must have three quarters of what all of them could have (IPv4), or what 4 of them
/// (/56) or 16 (/48) could have (IPv6, where attackers have much room). So two hosts never cost a /16.
fn is_filled(network: Prefix, held: &[IpAddr], least: u32) -> bool {
    const PART_V4: u8 = 24;
    const PART_V6: u8 = 64;
    let least = u64::from(least);
    let (part, wanted) = if network.addr().is_ipv4() {
        let parts = 1_u64 << PART_V4.saturating_sub(network.bits());
        (PART_V4, (parts * least).saturating_mul(3).div_ceil(4))
    } else {
        (PART_V6, least << (PART_V6.saturating_sub(network.bits()) / 4))
    };
    if network.bits() >= part {
        return held.len() as u64 >= least;
    }
    let parts = held.chunk_by(|a, b| Prefix::covering(*a, part) == Prefix::covering(*b, part));
    let filled: u64 = parts.map(|part| (part.len() as u64).min(least)).sum();
    filled >= wanted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).expect(text)
    }

    fn sorted(addresses: &[&str]) -> Vec<IpAddr> {
        let all: BTreeSet<IpAddr> = addresses.iter().map(|text| address(text)).collect();
        all.into_iter().collect()
    }

    fn check(contributors: &[&str], bystanders: &[(&str, u32)], limits: (u32, u32), expected: &[&str]) {
        let bystanders: Vec<Bystanders> = bystanders
            .iter()
            .map(|&(network, count)| Bystanders { network: prefix(network), count })
            .collect();
        let limits = Limits { budget: limits.0, least: limits.1 };
        let barred = |network: Prefix| network.contains(address("203.0.113.99"));
        let found = cover(&sorted(contributors), &bystanders, limits, &barred);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{contributors:?}");
    }

    #[test]
    fn a_network_without_bystanders_is_used_as_a_whole() {
        let two = ["192.0.2.1", "192.0.2.9"];
        check(&two, &[("192.0.2.0/24", 0)], (0, 2), &["192.0.2.0/24"]);
        check(&two, &[("192.0.2.0/24", 1)], (0, 2), &["192.0.2.1/32", "192.0.2.9/32"]);
        check(&two, &[("192.0.2.0/24", 1)], (1, 2), &["192.0.2.0/24"]);
        check(&two, &[("192.0.2.0/24", 0)], (0, 3), &["192.0.2.1/32", "192.0.2.9/32"]);
        check(&two, &[], (0, 2), &["192.0.2.1/32", "192.0.2.9/32"]);
        check(&two, &[("192.0.2.0/24", 0), ("192.0.2.7/24", 1)], (0, 2), &["192.0.2.1/32", "192.0.2.9/32"]);
        check(&two, &[("::ffff:192.0.2.0/120", 0)], (0, 2), &["192.0.2.0/24"]);
        check(&[], &[("192.0.2.0/24", 0)], (0, 1), &[]);
    }

    #[test]
    fn a_barred_network_is_not_used() {
        check(
            &["203.0.113.1", "203.0.113.2"],
            &[("203.0.113.0/24", 0)],
            (0, 2),
            &["203.0.113.1/32", "203.0.113.2/32"],
        );
    }

    #[test]
    fn wide_networks_must_be_filled() {
        let four = ["192.0.2.1", "192.0.2.2", "192.0.3.1", "192.0.3.2"];
        let known = [("192.0.2.0/24", 0), ("192.0.3.0/24", 0), ("192.0.2.0/23", 0), ("192.0.0.0/16", 0)];
        check(&four, &known, (0, 2), &["192.0.2.0/23"]);
        check(&four[..3], &known, (0, 2), &["192.0.2.0/23"]);
        check(&[four[0], four[1], "192.0.9.1"], &known, (0, 2), &["192.0.2.0/24", "192.0.9.1/32"]);
        check(&["192.0.2.1", "192.0.9.1"], &[("192.0.0.0/16", 0)], (0, 2), &["192.0.2.1/32", "192.0.9.1/32"]);
        // However many there are in one part.
        let many: Vec<String> =
            (0..200).map(|n| format!("192.0.2.{n}")).chain(["192.0.9.1".into()]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&many, &[("192.0.2.0/24", 0), ("192.0.0.0/20", 0)], (0, 2), &["192.0.2.0/24", "192.0.9.1/32"]);
    }

    #[test]
    fn networks_wider_than_a_provider_are_never_used() {
        let full: Vec<IpAddr> = (0..1_u32 << 9).map(|n| IpAddr::V4((0xc000_0000 | n << 8).into())).collect();
        let found = |text: &str| {
            let known = [Bystanders { network: prefix(text), count: 0 }];
            cover(&full, &known, Limits { budget: 9, least: 1 }, &|_| false).len()
        };
        assert_eq!(found("192.0.0.0/15"), full.len());
        assert_eq!(found("192.0.0.0/16"), 1 + 256);
    }

    #[test]
    fn ipv6_networks() {
        let in_one = ["2001:db8::1", "2001:db8::2"];
        check(&in_one, &[("2001:db8::/64", 0)], (0, 2), &["2001:db8::/64"]);
        let four = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"];
        check(&four, &[("2001:db8::/56", 0)], (0, 1), &["2001:db8::/56"]);
        check(
            &four[..3],
            &[("2001:db8::/56", 0)],
            (0, 1),
            &["2001:db8::1/128", "2001:db8:0:1::1/128", "2001:db8:0:2::1/128"],
        );
        check(
            &four,
            &[("2001:db8::/47", 0)],
            (0, 1),
            &four.map(|a| format!("{a}/128")).each_ref().map(String::as_str),
        );
    }

    /// Every way to choose among the networks, and the best: fewest prefixes, then fewest addresses.
    fn brute_force(contributors: &[IpAddr], usable: &[Prefix]) -> Vec<Prefix> {
        let ways = 0_u32..1 << usable.len();
        let cover = |way: u32| {
            let networks = usable.iter().enumerate().filter(|(at, _)| way >> at & 1 == 1).map(|(_, n)| *n);
            let mut cover: Vec<Prefix> = networks.collect();
            let rest = contributors.iter().filter(|c| !cover.iter().any(|network| network.contains(**c)));
            let rest: Vec<Prefix> = rest.map(|contributor| Prefix::single(*contributor)).collect();
            cover.extend(rest);
            cover.sort_unstable();
            cover
        };
        let size = |prefix: &Prefix| 1_u64 << (32 - prefix.bits());
        let cost = |cover: &Vec<Prefix>| (cover.len(), cover.iter().map(size).sum::<u64>());
        ways.map(cover).min_by_key(cost).unwrap_or_default()
    }

    proptest! {
        #[test]
        fn no_cover_is_better(
            hosts in prop::collection::btree_set((0_u32..8, 0_u32..4), 1..12),
            networks in prop::collection::btree_map((21_u8..=27, 0_u32..8, 0_u32..2), 0_u32..4, 0..9),
            budget in 0_u32..3,
            least in 1_u32..4,
            barred in 0_u32..16,
        ) {
            let at = |net: u32, host: u32| IpAddr::V4((0xc000_0000 | net << 8 | (host * 60)).into());
            let contributors: Vec<IpAddr> = hosts.iter().map(|&(net, host)| at(net, host)).collect();
            let mut bystanders: Vec<Bystanders> = Vec::new();
            for (&(bits, net, host), &count) in &networks {
                let network = Prefix::covering(at(net, host * 2), bits).expect("a network");
                if !bystanders.iter().any(|known| known.network == network) {
                    bystanders.push(Bystanders { network, count });
                }
            }
            let bar = |network: Prefix| network.contains(at(barred, 0));
            let usable: Vec<Prefix> = bystanders
                .iter()
                .filter(|b| b.count <= budget && !bar(b.network))
                .map(|b| b.network)
                .filter(|network| is_filled(*network, within(&contributors, *network), least))
                .collect();
            let found = cover(&contributors, &bystanders, Limits { budget, least }, &bar);
            prop_assert_eq!(found, brute_force(&contributors, &usable));
        }

        #[test]
        fn every_contributor_is_held_once(
            low in prop::collection::btree_set(0_u32..0x1_0000, 0..80),
            networks in prop::collection::vec((0_u32..0x1_0000, 0_u8..=32, 0_u32..2), 0..80),
        ) {
            let contributors: Vec<IpAddr> = low.iter().map(|n| IpAddr::V4((0x0a00_0000 | n).into())).collect();
            let networks = networks.iter().map(|&(n, bits, count)| {
                let network = Prefix::new(IpAddr::V4((0x0a00_0000 | n).into()), bits).expect("a network");
                Bystanders { network, count }
            });
            let found = cover(&contributors, &networks.collect::<Vec<_>>(), Limits { budget: 0, least: 1 }, &|_| false);
            for contributor in contributors {
                prop_assert_eq!(found.iter().filter(|prefix| prefix.contains(contributor)).count(), 1);
            }
        }
    }
}
