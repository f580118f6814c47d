//! Sets of the user's own.

use testudo_kernel::{Change, Error, SetFamily, SetName, Standing, UserSets};

use crate::namespace::{has, nft, within};
use crate::{element, net};

fn name(family: SetFamily, table: &str, set: &str) -> SetName {
    SetName { family, table: table.to_owned(), set: set.to_owned() }
}

#[test]
fn only_their_elements_change() {
    within("user::only_their_elements_change", || {
        if !has("nft") {
            return;
        }
        nft("add table ip mine; add set ip mine hosts { type ipv4_addr; flags timeout; size 4; }; \
             add table inet both; add set inet both nets6 { type ipv6_addr; flags interval,timeout; }; \
             add set inet both plain { type ipv4_addr; }; add set inet both ports { type inet_service; }; \
             add map inet both values { type ipv4_addr : mark; flags timeout; }");
        let names = [name(SetFamily::Ip, "mine", "hosts"), name(SetFamily::Inet, "both", "nets6")];
        let mut sets = UserSets::open(&names).expect("opened");
        sets.replace(
            ["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::/48"].map(|text| element(text, 7)),
        )
        .expect("filled");
        sets.replace(
            ["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::/48"].map(|text| element(text, 0)),
        )
        .expect("filled again");
        for text in ["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::/48"] {
            assert_eq!(sets.get(net(text)).expect("asked").expect(text).net, net(text));
        }
        assert!(sets.covering("2001:db8:1:2::3".parse().expect("one")).expect("asked").is_some());
        let changes = [
            Change::Remove(net("2001:db8::1")),
            Change::Refresh(element("2001:db8:1::/48", 0)),
            Change::Add(element("10.0.0.0/8", 0)),
            Change::Add(element("192.0.2.2", 0)),
            Change::Remove(net("192.0.2.3")),
        ];
        let applied = sets.apply(&changes).expect("applied");
        assert_eq!((applied.done, applied.gone), (3, vec![net("192.0.2.3")]));
        assert!(matches!(&applied.failed[..], [(_, Error::Set { .. })]), "{:?}", applied.failed);
        assert_eq!(sets.list().expect("listed").len(), 4);
        // It has room for four.
        let many: Vec<_> = (10..20).map(|n| Change::Add(element(&format!("192.0.2.{n}"), 0))).collect();
        let applied = sets.apply(&many).expect("applied");
        assert_eq!((applied.done, applied.failed.len()), (2, 8));
        assert!(applied.failed.iter().all(|(_, error)| matches!(error, Error::Full)), "{:?}", applied.failed);
        let full = sets.replace((0..5).map(|n| element(&format!("192.0.2.{n}"), 0)));
        assert!(matches!(full, Err(Error::Full)), "{full:?}");
        assert_eq!(sets.list().expect("listed").len(), 6, "what stood still stands");
        // As many as fit, the first before the last; what has no set is told.
        let many: Vec<_> = ["192.0.2.9", "10.0.0.0/8", "2001:db8::/32"]
            .into_iter()
            .map(|text| element(text, 0))
            .chain((10..20).map(|n| element(&format!("192.0.2.{n}"), 0)))
            .collect();
        let applied = sets.replace_fitting(&many).expect("filled");
        assert_eq!((applied.done, applied.failed.len()), (5, 8), "{applied:?}");
        for text in ["192.0.2.9", "192.0.2.12", "2001:db8::/32"] {
            assert!(sets.get(net(text)).expect("asked").is_some(), "{text}");
        }
        assert_eq!(sets.list().expect("listed").len(), 5);
        assert!(sets.holds(net("2001:db8::/32")) && !sets.holds(net("10.0.0.0/8")));
        assert_eq!(sets.standing().expect("asked"), Standing::AsLaidOut);
        nft("delete set ip mine hosts");
        assert_eq!(sets.standing().expect("asked"), Standing::Gone);
        nft("add set ip mine hosts { type ipv4_addr; flags interval, timeout; }");
        assert_eq!(sets.standing().expect("asked"), Standing::Changed("the set hosts is another".to_owned()));
        for (set, problem) in [
            ("plain", "the set 'plain' lets nothing expire; declare it with 'flags timeout'"),
            ("ports", "the set 'ports' is not of type ipv4_addr or ipv6_addr"),
            ("values", "the set 'values' is a map; a plain set is needed"),
            ("none", "the set 'none' of table 'both' is not in the kernel: it was removed, or never made"),
        ] {
            let error = UserSets::open(&[name(SetFamily::Inet, "both", set)]).expect_err(set);
            assert_eq!(error.to_string(), problem);
        }
    });
}
