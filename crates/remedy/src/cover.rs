//! Networks that overlap, as networks that do not: packet filters refuse overlaps.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testudo_event::Prefix;

/// The networks that together are all of these, none of which overlaps another. Each has the greatest of the values
/// that its addresses have; neighbours with the same value are joined. The networks are of one family.
pub(crate) fn cover<V: Copy + Ord>(networks: &[(Prefix, V)]) -> Vec<(Prefix, V)> {
    let width = match networks.first() {
        Some((net, _)) => bits(net.addr()),
        None => return Vec::new(),
    };
    // Where networks begin and end; an end is the first address after it, none at the end of the space.
    let mut edges: Vec<(u128, bool, usize)> = Vec::with_capacity(networks.len() * 2);
    for (at, (net, _)) in networks.iter().enumerate() {
        edges.push((number(net.first()), true, at));
        if let Some(end) = number(net.last()).checked_add(1).filter(|&end| width == 128 || end >> 32 == 0) {
            edges.push((end, false, at));
        }
    }
    edges.sort_unstable();
    let last = if width == 32 { u128::from(u32::MAX) } else { u128::MAX };
    let mut active: BTreeSet<(V, usize)> = BTreeSet::new();
    let mut segments: Vec<(u128, u128, V)> = Vec::new();
    let mut at = 0;
    while at < edges.len() {
        let begin = edges[at].0;
        while let Some(&(_, is_begin, network)) = edges.get(at).filter(|edge| edge.0 == begin) {
            let entry = (networks[network].1, network);
            if is_begin {
                active.insert(entry);
            } else {
                active.remove(&entry);
            }
            at += 1;
        }
        let Some(&(value, _)) = active.last() else { continue };
        let end = edges.get(at).map_or(last, |edge| edge.0 - 1);
        match segments.last_mut() {
            Some((_, before, same)) if *same == value && before.checked_add(1) == Some(begin) => {
                *before = end;
            }
            _ => segments.push((begin, end, value)),
        }
    }
    let mut out = Vec::with_capacity(segments.len());
    for (begin, end, value) in segments {
        split(begin, end, width, |net| out.push((net, value)));
    }
    out
}

/// Tells the fewest networks that are exactly the addresses from one to another.
fn split(mut begin: u128, end: u128, width: u8, mut tell: impl FnMut(Prefix)) {
    loop {
        let room = (end - begin).checked_add(1).map_or(128, |count| 127 - count.leading_zeros() as u8);
        let size = room.min(begin.trailing_zeros().min(u32::from(width)) as u8);
        if let Some(net) = Prefix::new(address(begin, width), width - size) {
            tell(net);
        }
        let next = 1_u128.checked_shl(u32::from(size)).and_then(|count| begin.checked_add(count));
        match next {
            Some(next) if next <= end => begin = next,
            _ => return,
        }
    }
}

/// The bits of the family of an address.
pub(crate) fn bits(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn address(number: u128, width: u8) -> IpAddr {
    if width == 32 {
        IpAddr::V4(Ipv4Addr::from_bits(number as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Prefix {
        Prefix::parse(text).expect(text)
    }

    #[test]
    fn examples() {
        let check = |networks: &[(&str, u32)], expected: &[(&str, u32)]| {
            let networks: Vec<_> = networks.iter().map(|(text, value)| (net(text), *value)).collect();
            let found: Vec<_> = cover(&networks)
                .into_iter()
                .map(|(net, value)| (format!("{}/{}", net.addr(), net.bits()), value))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(text, value)| ((*text).to_owned(), *value)).collect();
            assert_eq!(found, expected, "{networks:?}");
        };
        check(&[], &[]);
        check(&[("10.0.0.0/8", 1)], &[("10.0.0.0/8", 1)]);
        check(&[("10.0.0.0/8", 2), ("10.1.0.0/16", 1)], &[("10.0.0.0/8", 2)]);
        check(&[("10.0.0.0/30", 1), ("10.0.0.2/31", 2)], &[("10.0.0.0/31", 1), ("10.0.0.2/31", 2)]);
        check(&[("10.0.0.0/25", 1), ("10.0.0.128/25", 1)], &[("10.0.0.0/24", 1)]);
        check(&[("0.0.0.0/0", 1)], &[("0.0.0.0/0", 1)]);
        check(&[("::/0", 1)], &[("::/0", 1)]);
        check(
            &[("255.255.255.0/24", 1), ("255.255.255.255/32", 3)].map(|(text, value)| (text, value)),
            &[
                ("255.255.255.0/25", 1),
                ("255.255.255.128/26", 1),
                ("255.255.255.192/27", 1),
                ("255.255.255.224/28", 1),
                ("255.255.255.240/29", 1),
                ("255.255.255.248/30", 1),
                ("255.255.255.252/31", 1),
                ("255.255.255.254/32", 1),
                ("255.255.255.255/32", 3),
            ],
        );
    }

    proptest! {
        #[test]
        fn the_same_for_every_address(
            networks in prop::collection::vec((0..64_u8, 26..=32_u8, 0..4_u8), 0..12),
            at_the_end in any::<bool>(),
            v6 in any::<bool>(),
        ) {
            let base = |low: u8| match (v6, at_the_end) {
                (false, false) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, low)),
                (false, true) => IpAddr::V4(Ipv4Addr::new(255, 255, 255, 192 + low)),
                (true, false) => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low))),
                (true, true) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - 63 + u128::from(low))),
            };
            let longer = if v6 { 96 } else { 0 };
            let networks: Vec<(Prefix, u8)> = networks
                .iter()
                .map(|&(low, bits, value)| (Prefix::covering(base(low), bits + longer).expect("a network"), value))
                .collect();
            let found = cover(&networks);
            for low in 0..64 {
                let greatest = networks.iter().filter(|(net, _)| net.contains(base(low))).map(|(_, value)| *value).max();
                let of: Vec<u8> = found.iter().filter(|(net, _)| net.contains(base(low))).map(|(_, value)| *value).collect();
                prop_assert_eq!(of, greatest.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
