//! What others do to our table is noticed.

use testudo_kernel::{Action, HookPoint, Layout, Standing};

use crate::namespace::{has, nft, run, within};
use crate::{element, expected, group, held, layout, net, opened};

#[test]
fn changes_by_others_are_noticed() {
    within("standing::changes_by_others_are_noticed", || {
        if !has("nft") {
            return;
        }
        let throttle = Action::Throttle { packets_per_second: 5, burst: 5 };
        let groups = vec![group("crowdsec", Action::Drop), group("slow", throttle)];
        let layout =
            Layout { groups, allow: vec![net("192.0.2.0/24"), net("fe80::/10")], ..Layout::default() };
        let mut table = opened(layout.clone());
        assert_eq!(table.standing().expect("asked"), Standing::Gone);
        let rule = |chain: &str, nth: usize| {
            let listed = run(&format!("nft -a list chain inet testudo {chain}"));
            let handles: Vec<_> = listed.lines().filter_map(|line| line.split_once("# handle ")).collect();
            handles[nth + 1].1.to_owned()
        };
        let changed = |what: &str| Standing::Changed(what.to_owned());
        type Harm<'a> = (&'a dyn Fn(), Standing);
        let harms: [Harm; 10] = [
            (&|| drop(nft("flush ruleset")), Standing::Gone),
            (&|| drop(nft("delete table inet testudo")), Standing::Gone),
            (
                &|| drop(nft("flush chain inet testudo prerouting")),
                changed("the rules of chain prerouting are others"),
            ),
            (
                &|| drop(nft("flush chain inet testudo prerouting; delete chain inet testudo prerouting")),
                changed("the chain prerouting is missing"),
            ),
            (
                &|| {
                    drop(nft(&format!(
                        "delete rule inet testudo prerouting handle {}",
                        rule("prerouting", 3)
                    )));
                },
                changed("the rules of chain prerouting are others"),
            ),
            (
                &|| drop(nft("insert rule inet testudo g/crowdsec accept")),
                changed("the rules of chain g/crowdsec are others"),
            ),
            (
                &|| drop(nft("flush chain inet testudo prerouting; delete map inet testudo nets4")),
                changed("the set nets4 is missing"),
            ),
            (
                &|| drop(nft("flush set inet testudo allow4")),
                changed("the set of addresses that are never blocked is another"),
            ),
            (
                &|| drop(nft("add element inet testudo allow6 { 2001:db8::/32 }")),
                changed("the set of addresses that are never blocked is another"),
            ),
            (&|| drop(nft("add table inet testudo { flags dormant; }")), changed("the table is dormant")),
        ];
        for (harm, expected) in harms {
            table.remove_table().expect("removed");
            table.replace([element("203.0.113.5", 0)]).expect("replaced");
            assert_eq!(table.table(), "testudo");
            assert_eq!(table.standing().expect("asked"), Standing::AsLaidOut);
            harm();
            assert_eq!(table.standing().expect("asked"), expected);
        }
        table.remove_table().expect("removed");
        table.replace([]).expect("replaced");
        nft("add element inet testudo hosts4 { 203.0.113.9 timeout 1h : 0x0 }");
        assert_eq!(table.standing().expect("asked"), Standing::AsLaidOut, "elements come and go");

        // The table of another layout is no table of this one.
        for change in [
            &(|layout: &mut Layout| layout.groups[0].action = Action::Reject) as &dyn Fn(&mut Layout),
            &|layout| layout.groups[1].action = Action::Throttle { packets_per_second: 6, burst: 5 },
            &|layout| layout.groups[0].name = "cscli".to_owned(),
            &|layout| layout.hooks[0].priority = -300,
            &|layout| layout.hooks[0].at = HookPoint::Input,
            &|layout| layout.allow.clear(),
        ] {
            let mut other = layout.clone();
            change(&mut other);
            assert!(matches!(opened(other).standing().expect("asked"), Standing::Changed(_)));
        }
    });
}

#[test]
fn a_replacement_that_was_interrupted_is_noticed_and_ended() {
    within("standing::a_replacement_that_was_interrupted_is_noticed_and_ended", || {
        if !has("nft") {
            return;
        }
        let mut table = opened(layout());
        table.replace([element("203.0.113.5", 0)]).expect("made");
        assert_eq!(table.table(), "testudo");
        table.replace([element("203.0.113.6", 0)]).expect("replaced");
        assert_eq!(table.table(), "testudo-b");
        // Whoever comes later finds the one that stands.
        let mut table = opened(layout());
        assert_eq!(table.table(), "testudo-b");
        assert_eq!(held(&mut table), expected([("203.0.113.6/32", 0)]));
        nft("add table inet testudo");
        assert!(matches!(table.standing().expect("asked"), Standing::Changed(_)));
        let mut table = opened(layout());
        table.replace([element("203.0.113.7", 0)]).expect("replaced");
        assert_eq!(table.standing().expect("asked"), Standing::AsLaidOut);
        assert_eq!(held(&mut table), expected([("203.0.113.7/32", 0)]));
        assert_eq!(nft("list tables"), "table inet testudo-c\n");
        // All names are taken: two interruptions in a row.
        nft("add table inet testudo; add table inet testudo-b");
        let mut table = opened(layout());
        table.replace([element("203.0.113.8", 0)]).expect("replaced");
        assert_eq!(held(&mut table), expected([("203.0.113.8/32", 0)]));
        assert_eq!(nft("list tables"), "table inet testudo-c\n");
        table.remove_table().expect("removed");
        assert_eq!(nft("list tables"), "");
    });
}
