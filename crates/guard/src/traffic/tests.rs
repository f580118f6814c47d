//! The table against a plain model, and what attackers can do to it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const START: i64 = 1_700_000_000;

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn prefix(text: &str) -> Prefix {
    Prefix::parse(text).expect(text)
}

fn v4(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

fn table() -> GoodTraffic {
    GoodTraffic::new(Budget { clients: 1_000, window_s: 600 })
}

#[test]
fn standing_changes_with_time_and_deeds() {
    let mut traffic = table();
    let who = address("192.0.2.1");
    assert_eq!(traffic.standing(who, START), Standing::Unknown);
    traffic.seen(who, START);
    assert_eq!(traffic.standing(who, START), Standing::Good);
    for minute in 1..=5 {
        traffic.seen(who, START + 60 * minute);
    }
    assert_eq!(traffic.standing(who, START + 300), Standing::Regular);
    assert_eq!(traffic.standing(who, START + 900), Standing::Regular);
    assert_eq!(traffic.standing(who, START + 901), Standing::Unknown);
    traffic.bad(who, START + 400);
    assert_eq!(traffic.standing(who, START + 400), Standing::Bad);
    traffic.seen(who, START + 800);
    assert_eq!(traffic.standing(who, START + 1_000), Standing::Bad, "lines do not make it good again");
    assert_eq!(traffic.standing(who, START + 1_001), Standing::Regular, "time does");
    traffic.seen(who, START + 5_000);
    assert_eq!(traffic.standing(who, START + 5_000), Standing::Good, "after a pause it begins anew");
}

#[test]
fn what_only_contributed_was_never_good() {
    let mut traffic = table();
    traffic.bad(address("192.0.2.1"), START);
    assert_eq!(traffic.standing(address("192.0.2.1"), START), Standing::Bad);
    assert_eq!(traffic.standing(address("192.0.2.1"), START + 601), Standing::Unknown);
}

#[test]
fn networks_are_counted() {
    let mut traffic = table();
    for who in
        ["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2", "192.0.3.1", "2001:db8::1", "2001:db8::2", "::1"]
    {
        traffic.seen(address(who), START);
    }
    traffic.bad(address("192.0.2.2"), START + 1);
    let mut check = |network: &str, expected: u32| {
        assert_eq!(traffic.count(prefix(network), START + 2), expected, "{network}");
    };
    check("192.0.2.0/24", 1);
    check("192.0.2.0/23", 2);
    check("192.0.0.0/16", 2);
    check("192.0.2.2/32", 0);
    check("2001:db8::/64", 1);
    check("::/0", 1);
    check("0.0.0.0/0", 2);
}

#[test]
fn bystanders_of_an_attack() {
    let mut traffic = table();
    for who in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.3.9", "2001:db8:0:1::1"] {
        traffic.seen(address(who), START);
    }
    let contributors =
        ["192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1", "192.0.3.1", "2001:db8::1", "2001:db8::2"]
            .map(address);
    let found = traffic.bystanders(&contributors, START);
    let found: Vec<String> = found.iter().map(|b| format!("{} {}", b.network, b.count)).collect();
    assert_eq!(found, ["192.0.2.0/24 1", "192.0.2.0/23 2", "2001:db8::/64 0"]);
}

#[test]
fn the_longest_unseen_are_forgotten_and_counted() {
    let mut traffic = GoodTraffic::new(Budget { clients: 1_000, window_s: 600 });
    // One client in each provider's network, so that no part is full.
    for number in 0..1_500 {
        traffic.seen(v4(number << 16), START);
        traffic.seen(v4(7 << 16), START);
    }
    let counts = traffic.counts();
    assert!(counts.clients <= 1_000, "{counts:?}");
    assert_eq!(counts.clients as u64 + counts.evicted, 1_500);
    assert!(traffic.is_good(v4(7 << 16), START), "who comes again stays");
    assert!(traffic.is_good(v4(1_499 << 16), START));
    assert!(!traffic.is_good(v4(8 << 16), START));
}

#[test]
fn one_provider_cannot_push_the_others_out() {
    let mut traffic = GoodTraffic::new(Budget { clients: 3_200, window_s: 600 });
    for number in 0..100 {
        traffic.seen(v4(number << 16), START);
    }
    for number in 0..100_000_u128 {
        let attacker = 0x2001_0db8_u128 << 96 | number << 64 | 1;
        traffic.seen(IpAddr::V6(attacker.into()), START);
    }
    assert!((0..100).all(|number| traffic.is_good(v4(number << 16), START)));
    let counts = traffic.counts();
    assert_eq!((counts.clients, counts.evicted, counts.refused), (200, 0, 99_900));
}

#[test]
fn one_site_has_few_votes() {
    let mut traffic = GoodTraffic::new(Budget { clients: 100_000, window_s: 600 });
    for minute in 0..10 {
        for host in 0..200_u32 {
            traffic.seen(v4(0xc000_0200 | host), START + 60 * minute);
            traffic.seen(
                IpAddr::V6((0x2001_0db8_u128 << 96 | u128::from(host) << 64).into()),
                START + 60 * minute,
            );
            traffic.seen(v4(0x0a00_0000 | host), START + 60 * minute);
        }
    }
    let now = START + 600;
    assert_eq!(traffic.count(prefix("2001:db8::/48"), now), SITE_V6);
    assert_eq!(traffic.count(prefix("192.0.2.0/24"), now), 200);
    assert_eq!(traffic.regulars(now), SITE_REGULARS + SITE_REGULARS + 200, "private clients all count");
}

#[test]
fn a_large_table_is_at_most_seconds_behind() {
    let mut traffic = GoodTraffic::new(Budget { clients: 100_000, window_s: 600 });
    for number in 0..5_000 {
        traffic.seen(v4(0x0a00_0000 | number), START);
    }
    let all = prefix("10.0.0.0/8");
    assert_eq!(traffic.count(all, START), 5_000);
    traffic.seen(v4(0x0aff_ffff), START + 1);
    assert_eq!(traffic.count(all, START + 1), 5_000);
    assert_eq!(traffic.count(all, START + i64::from(REFRESH_S)), 5_001);
}

#[test]
fn clocks_out_of_range() {
    let mut traffic = table();
    for at in [i64::MIN, -1, 0, i64::MAX] {
        traffic.seen(v4(1), at);
        traffic.bad(v4(2), at);
        traffic.count(prefix("0.0.0.0/0"), at);
        traffic.bystanders(&[v4(1), v4(2)], at);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Seen(u32),
    Bad(u32),
    Pass(i64),
    Count(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u32..0x400).prop_map(Step::Seen),
        1 => (0_u32..0x400).prop_map(Step::Bad),
        1 => (0_i64..400).prop_map(Step::Pass),
        2 => (16_u8..=32).prop_map(Step::Count),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// While nothing is forgotten, a count is what a list of all lines says.
    #[test]
    fn counts_agree_with_a_list(steps in steps()) {
        const NET: u32 = 0xac10_0000;
        let mut traffic = GoodTraffic::new(Budget { clients: 100_000, window_s: 600 });
        let mut model: BTreeMap<u32, (Option<i64>, Option<i64>)> = BTreeMap::new();
        let mut now = START;
        for step in steps {
            match step {
                Step::Seen(host) => {
                    traffic.seen(v4(NET | host), now);
                    model.entry(host).or_default().0 = Some(now);
                }
                Step::Bad(host) => {
                    traffic.bad(v4(NET | host), now);
                    model.entry(host).or_default().1 = Some(now);
                }
                Step::Pass(time) => now += time,
                Step::Count(bits) => {
                    let network = Prefix::covering(v4(NET | 0x155), bits).expect("a network");
                    let within = |at: Option<i64>| at.is_some_and(|at| now - at <= 600);
                    let good = model.iter().filter(|(host, (seen, bad))| {
                        within(*seen) && !within(*bad) && network.contains(v4(NET | **host))
                    });
                    prop_assert_eq!(traffic.count(network, now), good.count() as u32);
                }
            }
        }
    }
}
