//! Which networks a list holds when there is not room for all.

use std::collections::BTreeMap;

use testudo_event::Prefix;

use crate::decision::{Danger, Decision, Subject, weight};

/// The widest networks that lists take, in bits.
const LEAST_BITS_V4: u8 = 8;
const LEAST_BITS_V6: u8 = 12;

/// What is in a list already gives way only to what is kept so much longer: ends are told in whole seconds, and anew
/// every hour, and nothing is to come and go because of that. Milliseconds.
const STAYS: u64 = 10 * 60_000;

/// What a list should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The networks, how much each matters, and when it ends.
    pub nets: BTreeMap<Prefix, (Danger, u64)>,
    /// Networks for which there is no room.
    pub left_out: usize,
    /// Networks that lie within another one that is kept as long, and need no room.
    pub covered: usize,
    /// Networks that are wider than a list takes.
    pub too_wide: usize,
}

/// Chooses among decisions of some types: the most dangerous first, then those that are kept longest, with some favour
/// for what is there already. Single addresses of IPv6 are taken as networks of `ipv6_bits`.
pub fn choose<'d>(
    decisions: impl Iterator<Item = &'d Decision>,
    kinds: &[String],
    ipv6_bits: u8,
    capacity: usize,
    is_there: impl Fn(Prefix) -> bool,
) -> Chosen {
    let mut chosen = Chosen::default();
    let mut nets: BTreeMap<Prefix, (Danger, u64)> = BTreeMap::new();
    for decision in decisions.filter(|decision| decision.is_one_of(kinds)) {
        let Subject::Net(net) = decision.subject else { continue };
        let is_v6_host = net.bits() == 128 && net.addr().is_ipv6();
        let net = if is_v6_host { Prefix::covering(net.addr(), ipv6_bits).unwrap_or(net) } else { net };
        let least = if net.addr().is_ipv4() { LEAST_BITS_V4 } else { LEAST_BITS_V6 };
        if net.bits() < least {
            chosen.too_wide += 1;
            continue;
        }
        let known = nets.entry(net).or_insert((decision.danger, decision.until_ms));
        known.0 = known.0.max(decision.danger);
        known.1 = known.1.max(decision.until_ms);
    }
    chosen.covered = drop_covered(&mut nets);
    if nets.len() > capacity {
        chosen.left_out = nets.len() - capacity;
        let mut all: Vec<_> = nets.into_iter().collect();
        // Wider networks first where they matter the same: they hold more.
        all.sort_by_cached_key(|(net, (danger, until))| {
            let favour = if is_there(*net) { STAYS } else { 0 };
            (weight(*danger, until.saturating_add(favour)), net.bits(), *net)
        });
        all.truncate(capacity);
        nets = all.into_iter().collect();
    }
    chosen.nets = nets;
    chosen
}

/// Takes out what lies within a network that is kept as long; that one matters as much, then. Says how many.
fn drop_covered(nets: &mut BTreeMap<Prefix, (Danger, u64)>) -> usize {
    // In their order, each network comes after those that it lies within.
    let mut around: Vec<(Prefix, u64)> = Vec::new();
    let mut covered: Vec<(Prefix, Prefix)> = Vec::new();
    for (net, (_, until)) in nets.iter() {
        while around.last().is_some_and(|(wide, _)| !wide.contains(net.addr())) {
            around.pop();
        }
        match around.iter().find(|(_, wide_until)| wide_until >= until) {
            Some((wide, _)) => covered.push((*net, *wide)),
            None => around.push((*net, *until)),
        }
    }
    for (net, wide) in &covered {
        let danger = nets.remove(net).map(|(danger, _)| danger);
        if let (Some(danger), Some(known)) = (danger, nets.get_mut(wide)) {
            known.0 = known.0.max(danger);
        }
    }
    covered.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision::tests::decision;

    fn chosen(list: &[(&str, &str, &str, u64)], capacity: usize) -> Chosen {
        let all: Vec<Decision> = list
            .iter()
            .zip(1..)
            .map(|((value, kind, origin, until), id)| decision(id, value, kind, origin, *until))
            .collect();
        choose(all.iter(), &["ban".to_owned()], 64, capacity, |_| false)
    }

    fn shown(chosen: &Chosen) -> Vec<String> {
        chosen.nets.keys().map(Prefix::to_string).collect()
    }

    #[test]
    fn the_most_dangerous_and_the_longest_kept_stay() {
        let list = [
            ("192.0.2.1", "ban", "lists", 9_000),
            ("192.0.2.2", "ban", "CAPI", 100),
            ("192.0.2.3", "ban", "CAPI", 200),
            ("192.0.2.4", "ban", "crowdsec", 50),
            ("192.0.2.5", "captcha", "crowdsec", 50),
            ("0.0.0.0/0", "ban", "crowdsec", 50),
        ];
        let two = chosen(&list, 2);
        assert_eq!(shown(&two), ["192.0.2.3/32", "192.0.2.4/32"]);
        assert_eq!((two.left_out, two.too_wide), (2, 1));
        assert_eq!(chosen(&list, 4).nets.len(), 4);
    }

    #[test]
    fn what_lies_within_needs_no_room() {
        let list = [
            ("192.0.2.0/24", "ban", "CAPI", 100),
            ("192.0.2.1", "ban", "crowdsec", 100),
            ("192.0.2.2", "ban", "crowdsec", 101),
            ("192.0.0.0/16", "ban", "lists", 50),
            ("2001:db8::1", "ban", "CAPI", 10),
            ("2001:db8::2", "ban", "CAPI", 20),
        ];
        let all = chosen(&list, 10);
        assert_eq!(shown(&all), ["192.0.0.0/16", "192.0.2.0/24", "192.0.2.2/32", "2001:db8::/64"]);
        assert_eq!(all.covered, 1);
        // What holds a dangerous one matters as much.
        let net = Prefix::parse("192.0.2.0/24").expect("a network");
        assert_eq!(all.nets[&net], (Danger::Seen, 100));
    }

    #[test]
    fn what_is_there_does_not_come_and_go() {
        let told = |shift: u64| -> Vec<Decision> {
            let one = |n: u64| {
                // Rounding puts each end a second to one side or the other.
                let until = 3_600_000 + (n * 7 + shift) % 3 * 1_000;
                decision(n as i64, &format!("192.0.2.{n}"), "ban", "CAPI", until)
            };
            (0..100).map(one).collect()
        };
        let kinds = ["ban".to_owned()];
        let before = choose(told(0).iter(), &kinds, 64, 50, |_| false);
        let after = choose(told(1).iter(), &kinds, 64, 50, |net| before.nets.contains_key(&net));
        assert!(before.nets.keys().eq(after.nets.keys()));
        let mut more = told(2);
        more.push(decision(900, "198.51.100.1", "ban", "crowdsec", 60_000));
        more.push(decision(901, "198.51.100.2", "ban", "CAPI", 7_200_000));
        let after = choose(more.iter(), &kinds, 64, 50, |net| before.nets.contains_key(&net));
        assert_eq!(after.nets.keys().filter(|net| !before.nets.contains_key(net)).count(), 2);
    }

    proptest! {
        /// With room for all, every address is dealt with exactly as long as some decision says.
        #[test]
        fn nothing_is_lost(raw in proptest::collection::vec((0..64_u32, 26..=32_u8, 1..20_u64), 1..40)) {
            let all: Vec<Decision> = raw
                .iter()
                .zip(1..)
                .map(|((low, bits, until), id)| {
                    let net = format!("192.0.2.{low}/{bits}");
                    decision(id, &net, "ban", "crowdsec", *until)
                })
                .collect();
            let chosen = choose(all.iter(), &["ban".to_owned()], 64, 1_000, |_| false);
            for low in 0..64_u8 {
                let addr = std::net::IpAddr::from([192, 0, 2, low]);
                let wanted = all.iter().filter_map(|decision| match decision.subject {
                    Subject::Net(net) if net.contains(addr) => Some(decision.until_ms),
                    _ => None,
                });
                let there = chosen.nets.iter().filter(|(net, _)| net.contains(addr)).map(|(_, (_, until))| *until);
                prop_assert_eq!(wanted.max(), there.max());
            }
        }
    }
}
