//! Fewer networks that cover the same addresses, or a stated share more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use testudo_event::Prefix;

/// Networks that do not overlap, in order, IPv4 first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// The networks.
    pub nets: Vec<Prefix>,
    /// Addresses that they cover although no network of those that were given does; saturates.
    pub falsely: u128,
}

/// The least networks that cover what is given. With a `false_share` above 0 they are fewer still: of the addresses of no
/// network is more than this share (0.01: one of a hundred) outside of what was given.
pub fn aggregate(nets: impl IntoIterator<Item = Prefix>, false_share: f64) -> Aggregate {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for net in nets {
        match (net.first(), net.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                v4.push((u128::from(first.to_bits()), u128::from(last.to_bits())));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
            // Both ends of a network are of one family.
            _ => {}
        }
    }
    let mut all = Aggregate::default();
    let share = if false_share.is_finite() { false_share.clamp(0.0, 0.999) } else { 0.0 };
    for (ranges, width) in [(v4, 32), (v6, 128)] {
        let ranges = merge(ranges);
        let mut made = Made { ranges: &ranges, sums: sums(&ranges), width, share, out: &mut all };
        made.node(0, 0, 0, ranges.len());
    }
    all
}

/// Ranges that neither overlap nor touch, in order.
fn merge(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if before.1.checked_add(1).is_none_or(|free| first <= free) => {
                before.1 = before.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// How many addresses there are before each range, and in all of them.
fn sums(ranges: &[(u128, u128)]) -> Vec<u128> {
    let counts = ranges.iter().map(|(first, last)| (last - first).saturating_add(1));
    let mut sums = vec![0];
    sums.extend(counts.scan(0_u128, |sum, count| {
        *sum = sum.saturating_add(count);
        Some(*sum)
    }));
    sums
}

struct Made<'a> {
    ranges: &'a [(u128, u128)],
    sums: Vec<u128>,
    /// Bits of an address.
    width: u8,
    share: f64,
    out: &'a mut Aggregate,
}

impl Made<'_> {
    /// The networks for what lies in one network; ranges `from..to` meet it. It is called once for each bit at most, one
    /// call in another.
    fn node(&mut self, base: u128, bits: u8, from: usize, to: usize) {
        if from == to {
            return;
        }
        let last = base | rest(self.width - bits);
        let size = (last - base).saturating_add(1);
        let covered = self.covered(base, last, from, to);
        let falsely = size - covered.min(size);
        if falsely == 0 || falsely as f64 <= self.share * size as f64 {
            let addr = match self.width {
                32 => IpAddr::V4(Ipv4Addr::from_bits(base as u32)),
                _ => IpAddr::V6(Ipv6Addr::from_bits(base)),
            };
            self.out.nets.extend(Prefix::new(addr, bits));
            self.out.falsely = self.out.falsely.saturating_add(falsely);
            return;
        }
        // A network of one address that is met is covered: there are two halves.
        let half = base | (rest(self.width - bits) >> 1).saturating_add(1);
        let lower = from + self.ranges[from..to].partition_point(|(first, _)| *first < half);
        let upper = from + self.ranges[from..to].partition_point(|(_, last)| *last < half);
        self.node(base, bits + 1, from, lower);
        self.node(half, bits + 1, upper, to);
    }

    /// Addresses of the ranges `from..to` between two others.
    fn covered(&self, base: u128, last: u128, from: usize, to: usize) -> u128 {
        let whole = self.sums[to] - self.sums[from];
        let before = base.saturating_sub(self.ranges[from].0);
        let after = self.ranges[to - 1].1.saturating_sub(last);
        whole.saturating_sub(before).saturating_sub(after)
    }
}

/// The last `bits` bits.
fn rest(bits: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(bits)).unwrap_or(0)
}
