//! Membership of an address in a fixed set of ranges.

use std::net::IpAddr;

use crate::net::Prefix;

/// A set of ranges that answers quickly whether it covers an address.
///
/// Ranges are kept sorted, with those that overlap or touch merged into one. Families are strict, as in
/// [`Prefix::contains`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl PrefixSet {
    /// Whether some range of the set holds the address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(v4) => covers(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => covers(&self.v6, v6.to_bits()),
        }
    }

    /// Whether the set covers no address at all.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<Prefix> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match (prefix.first(), prefix.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // Both ends of a range are of one family.
                _ => {}
            }
        }
        PrefixSet { v4: merge(v4, |n| n.checked_add(1)), v6: merge(v6, |n| n.checked_add(1)) }
    }
}

fn covers<N: Ord + Copy>(ranges: &[(N, N)], number: N) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= number);
    after.checked_sub(1).is_some_and(|at| number <= ranges[at].1)
}

fn merge<N: Ord + Copy>(mut ranges: Vec<(N, N)>, next: impl Fn(N) -> Option<N>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    let mut merged: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if next(before.1).is_none_or(|free| first <= free) => {
                before.1 = before.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn set(ranges: &[&str]) -> PrefixSet {
        ranges.iter().map(|text| Prefix::parse(text).expect(text)).collect()
    }

    #[test]
    fn ranges_merge() {
        assert_eq!(set(&["10.0.0.0/9", "10.128.0.0/9"]), set(&["10.1.2.3/8"]));
        assert_eq!(set(&["0.0.0.0/0", "255.255.255.255/32", "1.2.3.4/32"]), set(&["0.0.0.0/0"]));
        assert_eq!(set(&["::/1", "8000::/1", "::1/128"]), set(&["::/0"]));
        assert!(set(&[]).is_empty());
        assert!(!set(&["::/0"]).contains(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    /// Addresses and ranges in a small space, so that they meet.
    fn small_addr() -> impl Strategy<Value = IpAddr> {
        let v4 = (0_u32..256).prop_map(|n| IpAddr::V4(Ipv4Addr::from_bits(n << 12 | 0xf00)));
        let v6 = (0_u128..256).prop_map(|n| IpAddr::V6(Ipv6Addr::from_bits(n << 60)));
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_range(
            ranges in prop::collection::vec((small_addr(), 0_u8..=12), 0..12),
            addrs in prop::collection::vec(small_addr(), 1..40),
        ) {
            let prefixes: Vec<Prefix> = ranges
                .into_iter()
                .filter_map(|(addr, loose)| Prefix::new(addr, if addr.is_ipv4() { 24 - loose } else { 72 - loose }))
                .collect();
            let set: PrefixSet = prefixes.iter().copied().collect();
            for addr in addrs {
                prop_assert_eq!(set.contains(addr), prefixes.iter().any(|prefix| prefix.contains(addr)));
            }
        }
    }
}
