//! Changes of what stands.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{Change, Element, Error, Nft};

use crate::namespace::{run, within};
use crate::{element, expected, held, layout, net, opened};

fn remaining(nft: &mut Nft, net: Prefix) -> u64 {
    let found = nft.get(net).expect("asked").expect("there");
    found.remaining.expect("a timeout").as_secs()
}

fn lasting(text: &str, seconds: u64) -> Element {
    Element { timeout: Duration::from_secs(seconds), ..element(text, 0) }
}

#[test]
fn elements_come_and_go() {
    within("changes::elements_come_and_go", || {
        let mut nft = opened(layout());
        nft.replace([element("192.0.2.1", 0), element("10.0.0.0/24", 0)]).expect("replaced");
        let changes = [
            Change::Add(element("192.0.2.2", 1)),
            Change::Add(element("2001:db8::/64", 1)),
            Change::Remove(net("192.0.2.1")),
            // Smaller ranges take the place of a larger one, in the order given.
            Change::Remove(net("10.0.0.0/24")),
            Change::Add(element("10.0.0.0/25", 0)),
            Change::Add(element("10.0.0.128/25", 1)),
        ];
        let applied = nft.apply(&changes).expect("applied");
        assert_eq!((applied.done, applied.gone.len(), applied.failed.len()), (6, 0, 0));
        let whole =
            expected([("192.0.2.2/32", 1), ("2001:db8::/64", 1), ("10.0.0.0/25", 0), ("10.0.0.128/25", 1)]);
        assert_eq!(held(&mut nft), whole);
        assert_eq!(nft.apply(&[]).expect("nothing").done, 0);
    });
}

#[test]
fn time_begins_anew() {
    within("changes::time_begins_anew", || {
        let mut nft = opened(layout());
        let nets = ["192.0.2.1", "10.0.0.0/24", "2001:db8::1", "2001:db8:1::/48"];
        nft.replace(nets.map(|text| lasting(text, 100))).expect("replaced");
        let changes = nets.map(|text| Change::Refresh(lasting(text, 9_000)));
        assert_eq!(nft.apply(&changes).expect("applied").done, 4);
        for text in nets {
            assert!(remaining(&mut nft, net(text)) > 8_000, "{text}");
        }
        // Into another group, shorter, and without knowing that it is there.
        let changes = nets.map(|text| {
            Change::Add(Element { group: 1, timeout: Duration::from_secs(50), ..element(text, 1) })
        });
        let applied = nft.apply(&changes).expect("applied");
        assert_eq!((applied.done, applied.failed.len()), (4, 0));
        for text in nets {
            assert!(remaining(&mut nft, net(text)) <= 50, "{text}");
            assert_eq!(nft.get(net(text)).expect("asked").expect("there").group, 1);
        }
        // What was thought to be there comes as if it were new.
        assert_eq!(nft.apply(&[Change::Refresh(lasting("192.0.2.77", 60))]).expect("applied").done, 1);
        assert!(remaining(&mut nft, net("192.0.2.77")) > 50);
        assert_eq!(nft.list().expect("listed").len(), 5);
    });
}

/// Changes by chance, of hosts and of ranges that share no address; what the kernel holds is what was asked for.
#[test]
fn the_kernel_follows_a_model() {
    within("changes::the_kernel_follows_a_model", || {
        let mut nft = opened(layout());
        let mut model: BTreeMap<Prefix, u32> = BTreeMap::new();
        let nets: Vec<_> = (0..24)
            .flat_map(|n| [format!("10.0.{n}.0/24"), format!("192.0.2.{n}"), format!("2001:db8:{n:x}::/48")])
            .map(|text| net(&text))
            .collect();
        nft.replace([]).expect("replaced");
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 33) as usize % below
        };
        for round in 0..200 {
            let mut changes = Vec::new();
            for _ in 0..random(12) {
                let net = nets[random(nets.len())];
                let element = Element { net, group: random(2) as u32, timeout: Duration::from_mins(15) };
                // Right and wrong beliefs of what is there.
                changes.push(match random(3) {
                    0 => Change::Add(element),
                    1 => Change::Refresh(element),
                    _ => Change::Remove(net),
                });
                match changes.last() {
                    Some(Change::Add(element) | Change::Refresh(element)) => model.insert(net, element.group),
                    _ => model.remove(&net),
                };
            }
            let applied = nft.apply(&changes).expect("applied");
            assert!(applied.failed.is_empty(), "{round}: {changes:?}: {:?}", applied.failed);
            assert_eq!(applied.done + applied.gone.len(), changes.len(), "{round}: {changes:?}");
            let mut found: Vec<_> =
                nft.list().expect("listed").iter().map(|held| (held.net, held.group)).collect();
            found.sort_unstable();
            let expected: Vec<_> = model.iter().map(|(net, group)| (*net, *group)).collect();
            assert_eq!(found, expected, "{round}: {changes:?}");
        }
    });
}

#[test]
fn the_longest_and_the_shortest_time() {
    within("changes::the_longest_and_the_shortest_time", || {
        let mut nft = opened(layout());
        nft.replace([]).expect("replaced");
        let forever = Element { timeout: Duration::MAX, ..element("192.0.2.1", 0) };
        let nothing = Element { timeout: Duration::ZERO, ..element("192.0.2.2", 0) };
        assert_eq!(nft.apply(&[Change::Add(forever), Change::Add(nothing)]).expect("applied").done, 2);
        assert!(remaining(&mut nft, net("192.0.2.1")) > 99 * 365 * 86_400);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(nft.get(net("192.0.2.2")).expect("asked"), None);
    });
}

#[test]
fn removing_what_expired_fails_nothing_else() {
    within("changes::removing_what_expired_fails_nothing_else", || {
        let mut nft = opened(layout());
        let short = |text: &str| Element { timeout: Duration::from_millis(100), ..element(text, 0) };
        let expiring = ["192.0.2.1", "10.0.0.0/24", "2001:db8::1", "2001:db8:1::/48"];
        let lasting = ["192.0.2.2", "10.0.1.0/24"];
        let all = expiring.map(short).into_iter().chain(lasting.map(|text| element(text, 0)));
        nft.replace(all).expect("replaced");
        thread::sleep(Duration::from_millis(200));
        let changes = [
            Change::Remove(net("192.0.2.1")),
            Change::Remove(net("192.0.2.2")),
            Change::Remove(net("10.0.0.0/24")),
            Change::Refresh(element("2001:db8::1", 1)),
            Change::Remove(net("2001:db8:1::/48")),
            Change::Add(element("192.0.2.3", 1)),
            Change::Remove(net("198.51.100.1")),
        ];
        let applied = nft.apply(&changes).expect("applied");
        assert_eq!(applied.done, 3);
        let gone = ["192.0.2.1", "10.0.0.0/24", "2001:db8:1::/48", "198.51.100.1"].map(net);
        assert_eq!(applied.gone, gone);
        assert!(applied.failed.is_empty());
        assert_eq!(
            held(&mut nft),
            expected([("10.0.1.0/24", 0), ("2001:db8::1/128", 1), ("192.0.2.3/32", 1)])
        );
        // A range that expired can come again at once.
        assert_eq!(nft.apply(&[Change::Add(element("10.0.0.0/24", 1))]).expect("applied").done, 1);
        assert_eq!(nft.get(net("10.0.0.0/24")).expect("asked").expect("there").group, 1);
    });
}

#[test]
fn what_overlaps_is_told_and_the_rest_is_done() {
    within("changes::what_overlaps_is_told_and_the_rest_is_done", || {
        let mut nft = opened(layout());
        nft.replace([element("10.0.0.0/16", 0)]).expect("replaced");
        let changes = [
            Change::Add(element("10.0.1.0/24", 0)),
            Change::Add(element("10.0.0.0/8", 0)),
            Change::Add(element("192.0.2.1", 0)),
            Change::Remove(net("10.0.2.0/24")),
        ];
        let applied = nft.apply(&changes).expect("applied");
        assert_eq!(applied.done, 1);
        assert_eq!(applied.gone, [net("10.0.2.0/24")]);
        let failed: Vec<_> = applied.failed.iter().map(|(net, error)| (net.to_string(), error)).collect();
        assert!(
            matches!(&failed[..], [(a, Error::Overlap), (b, Error::Overlap)] if a == "10.0.1.0/24" && b == "10.0.0.0/8"),
            "{failed:?}"
        );
        assert_eq!(held(&mut nft), expected([("10.0.0.0/16", 0), ("192.0.2.1/32", 0)]));
        let elements = [element("10.0.0.0/16", 0), element("10.0.1.0/24", 0), element("192.0.2.2", 0)];
        // The same host twice is no overlap: the later one counts.
        let applied = nft.replace(elements.into_iter().chain([element("192.0.2.2", 1)])).expect("replaced");
        assert_eq!((applied.done, applied.gone.len()), (3, 0));
        assert!(matches!(&applied.failed[..], [(found, Error::Overlap)] if *found == net("10.0.1.0/24")));
        assert_eq!(held(&mut nft), expected([("10.0.0.0/16", 0), ("192.0.2.2/32", 1)]));
    });
}

#[test]
fn groups_that_are_not_there() {
    within("changes::groups_that_are_not_there", || {
        let mut nft = opened(layout());
        let refused = nft.replace([element("192.0.2.1", 2)]);
        assert!(matches!(refused, Err(Error::NoSuchGroup { group: 2, groups: 2, .. })), "{refused:?}");
        nft.replace([]).expect("replaced");
        let refused = nft.apply(&[Change::Add(element("192.0.2.1", 9))]);
        assert!(matches!(refused, Err(Error::NoSuchGroup { group: 9, .. })), "{refused:?}");
    });
}

#[test]
fn a_table_that_is_gone_is_told() {
    within("changes::a_table_that_is_gone_is_told", || {
        let mut nft = opened(layout());
        let check = |nft: &mut Nft| {
            for change in [Change::Add(element("192.0.2.1", 0)), Change::Remove(net("192.0.2.1"))] {
                let refused = nft.apply(&[change]);
                assert!(matches!(refused, Err(Error::NotThere(_))), "{refused:?}");
            }
            assert!(matches!(nft.list(), Err(Error::NotThere(_))));
            assert!(matches!(nft.counters(), Err(Error::NotThere(_))));
            assert!(matches!(nft.allow(vec![net("192.0.2.9")]), Err(Error::NotThere(_))));
            assert_eq!(nft.get(net("192.0.2.1")).expect("asked"), None);
        };
        check(&mut nft);
        nft.replace([element("192.0.2.1", 0)]).expect("replaced");
        if crate::namespace::has("nft") {
            run("nft flush ruleset");
            check(&mut nft);
        }
    });
}
