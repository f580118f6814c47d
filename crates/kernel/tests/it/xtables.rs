//! iptables and ipset in real kernels.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{
    Action, Element, IpsetKind, Ipsets, Log, OwnIpsets, ProgramError, Xtables, XtablesLayout, XtablesPrograms,
};

use crate::filter::passing;
use crate::namespace::{Peer, has, listener, run, within};
use crate::{element, group, net};

fn has_all() -> bool {
    has("ipset") && has("iptables") && has("ip6tables")
}

fn layout() -> XtablesLayout {
    XtablesLayout {
        name: "testudo".to_owned(),
        chains_v4: vec!["INPUT".to_owned(), "DOCKER-USER".to_owned()],
        chains_v6: vec!["INPUT".to_owned()],
        ipv6: true,
        sets: OwnIpsets {
            prefix: "testudo".to_owned(),
            kind: IpsetKind::Nets,
            room: 8,
            room_most: 32,
            ipv6: true,
        },
        groups: Vec::new(),
        allow: vec![net("10.9.0.9")],
        comments: true,
    }
}

fn opened(layout: XtablesLayout) -> Xtables {
    Xtables::open(layout, &XtablesPrograms::default()).expect("the programs work")
}

/// What the sets hold, as the program shows it: the network, and the name of the set.
fn shown() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = run("ipset save")
        .lines()
        .filter_map(|line| line.strip_prefix("add "))
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .filter(|(set, _)| !set.contains(":pass"))
        .map(|(set, net)| (net, set))
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn listed_sources_are_dropped_and_no_others() {
    within("xtables::listed_sources_are_dropped_and_no_others", || {
        if !has_all() {
            return;
        }
        let peer = Peer::new();
        let (v4, v6) = (listener("10.9.0.1:5000"), listener("[fd09::1]:5000"));
        run("iptables -A INPUT -p tcp --dport 9 -j ACCEPT");
        let mut tables = opened(layout());
        let mut groups = vec![group("crowdsec", Action::Drop), group("lists:\"x y\" $z", Action::Reject)];
        groups[0].log = Some(Log { prefix: "testudo: ".to_owned(), per_second: 5 });
        let elements = [
            ("10.9.0.2", 0),
            ("10.9.0.4/31", 1),
            ("10.9.0.9", 0),
            ("fd09::2", 0),
            ("fd09::4/127", 1),
            ("fd09::/126", 1),
        ];
        let applied = tables.replace(&groups, &elements.map(|(n, g)| element(n, g))).expect("replaced");
        assert!(applied.failed.is_empty() && applied.full.is_empty(), "{applied:?}");
        assert_eq!(tables.difference().expect("asked"), None);
        assert_eq!(tables.absent().expect("asked"), ["DOCKER-USER"]);
        for (from, to, expected) in [
            ("10.9.0.2", &v4, 0),
            ("10.9.0.3", &v4, 10),
            ("10.9.0.4", &v4, 0),
            ("10.9.0.5", &v4, 0),
            ("10.9.0.6", &v4, 10),
            ("10.9.0.9", &v4, 10),
            ("fd09::2", &v6, 0),
            ("fd09::3", &v6, 0),
            ("fd09::5", &v6, 0),
            ("fd09::6", &v6, 10),
        ] {
            assert_eq!(passing(&peer, from, to), expected, "{from}");
        }
        let counters = tables.counters().expect("counted");
        assert_eq!(counters.blocked[0].map(|count| count.packets), [10, 10]);
        assert_eq!(counters.blocked[1].map(|count| count.packets), [20, 20], "{counters:?}");
        assert!(counters.processed[0].packets >= 50 && counters.processed[1].packets >= 30, "{counters:?}");
        // Others pass.
        tables.allow(vec![net("10.9.0.2")]).expect("others");
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 10);
        assert_eq!(passing(&peer, "10.9.0.9", &v4), 0);
        // A change.
        tables.apply(&[element("10.9.0.3", 1)], &[net("10.9.0.9"), net("10.9.0.77")]).expect("applied");
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 0);
        assert_eq!(passing(&peer, "10.9.0.9", &v4), 10);
        // A chain that comes later.
        run("iptables -N DOCKER-USER");
        let missing = tables.difference().expect("asked");
        assert_eq!(missing.as_deref(), Some("the chain DOCKER-USER does not lead to testudo"));
        tables.replace(&groups, &[element("10.9.0.2", 0)]).expect("replaced");
        assert_eq!(tables.difference().expect("asked"), None);
        // Another configuration takes away what leads to it from elsewhere.
        let mut other = opened(XtablesLayout { chains_v4: vec!["INPUT".to_owned()], ..layout() });
        other.replace(&groups, &[element("10.9.0.2", 0)]).expect("replaced");
        assert!(!run("iptables -S DOCKER-USER").contains("testudo"));
        other.remove().expect("removed");
        other.remove().expect("nothing to remove");
        assert_eq!(
            run("iptables -S"),
            "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-N DOCKER-USER\n-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT\n"
        );
        assert!(!run("ip6tables -S").contains("testudo"));
        assert_eq!(run("ipset list -n"), "");
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 10);
    });
}

#[test]
fn who_is_throttled_may_send_a_little() {
    within("xtables::who_is_throttled_may_send_a_little", || {
        if !has_all() {
            return;
        }
        let peer = Peer::new();
        let v4 = listener("10.9.0.1:5000");
        let mut tables = opened(layout());
        let throttle = Action::Throttle { packets_per_second: 1, burst: 3 };
        let groups = [group("crowdsec (throttled)", throttle), group("crowdsec", Action::Drop)];
        let elements = [element("10.9.0.2", 0), element("10.9.0.4", 0), element("10.9.0.4/31", 1)];
        tables.replace(&groups, &elements).expect("replaced");
        let passed = passing(&peer, "10.9.0.2", &v4);
        assert!((1..=5).contains(&passed), "{passed}");
        assert_eq!(passing(&peer, "10.9.0.4", &v4), 0, "the network is dropped");
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 10);
    });
}

#[test]
fn connections_are_reset_where_that_is_asked_for() {
    within("xtables::connections_are_reset_where_that_is_asked_for", || {
        if !has_all() {
            return;
        }
        let peer = Peer::new();
        let _server = std::net::TcpListener::bind("10.9.0.1:5001").expect("bound");
        let mut tables = opened(layout());
        peer.connects("10.9.0.1:5001").expect("nobody is listed");
        tables.replace(&[group("crowdsec", Action::Reject)], &[element("10.9.0.0/29", 0)]).expect("replaced");
        assert_eq!(peer.connects("10.9.0.1:5001"), Err(std::io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn what_others_do_is_noticed() {
    within("xtables::what_others_do_is_noticed", || {
        if !has_all() {
            return;
        }
        let groups = [group("crowdsec", Action::Drop)];
        for (harm, told) in [
            (&["iptables -F"][..], "the rules of the chain testudo are others"),
            (&["iptables -D INPUT -j testudo"], "the chain INPUT does not lead to testudo"),
            (&["ip6tables -D INPUT -j testudo"], "the chain INPUT does not lead to testudo"),
            (&["iptables -I testudo -j ACCEPT"], "the rules of the chain testudo are others"),
            (&["iptables -F", "iptables -X"], "the chain testudo is missing"),
            (
                &["iptables -F", "iptables -X", "ip6tables -F", "sleep 0.2", "ipset destroy"],
                "the set testudo.crowdsec.4 is missing",
            ),
        ] {
            let mut tables = opened(layout());
            tables.replace(&groups, &[element("192.0.2.1", 0)]).expect("replaced");
            assert_eq!(tables.difference().expect("asked"), None);
            harm.iter().for_each(|command| drop(run(command)));
            assert_eq!(tables.difference().expect("asked").as_deref(), Some(told), "{harm:?}");
            tables.replace(&groups, &[element("192.0.2.1", 0)]).expect("replaced");
            assert_eq!(tables.difference().expect("asked"), None, "{harm:?}");
            assert_eq!(shown(), [("192.0.2.1".to_owned(), "testudo.crowdsec.4".to_owned())]);
        }
        let mut tables = opened(layout());
        tables.replace(&groups, &[]).expect("replaced");
        run("iptables -F");
        run("ip6tables -F");
        std::thread::sleep(Duration::from_millis(200));
        run("ipset destroy");
        let gone = tables.apply(&[element("192.0.2.1", 0)], &[]);
        assert!(matches!(gone, Err(ProgramError::NotThere(_))), "{gone:?}");
        assert!(matches!(tables.find(&[net("192.0.2.1")]), Err(ProgramError::NotThere(_))));
    });
}

/// A rule of others that stands before ours lets pass whom it likes: it is told, and ours is first again after a start.
#[test]
fn rules_of_others_do_not_stay_before_ours() {
    within("xtables::rules_of_others_do_not_stay_before_ours", || {
        if !has_all() {
            return;
        }
        let peer = Peer::new();
        let v4 = listener("10.9.0.1:5000");
        let groups = [group("crowdsec", Action::Drop)];
        let elements = [element("10.9.0.2", 0)];
        let mut tables = opened(layout());
        tables.replace(&groups, &elements).expect("replaced");
        assert_eq!(tables.preceded().expect("asked"), [""; 0]);
        run("iptables -I INPUT 1 -p udp -j ACCEPT");
        run("iptables -A INPUT -j testudo");
        run("iptables -A INPUT -p tcp --dport 9 -j ACCEPT");
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 10);
        assert_eq!(tables.difference().expect("asked"), None, "it is not ours to change");
        assert_eq!(tables.preceded().expect("asked"), ["INPUT"]);
        let mut tables = opened(layout());
        tables.replace(&groups, &elements).expect("replaced");
        assert_eq!(
            run("iptables -S INPUT"),
            "-P INPUT ACCEPT\n-A INPUT -j testudo\n-A INPUT -p udp -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 9 -j ACCEPT\n"
        );
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 0);
        assert_eq!(tables.preceded().expect("asked"), [""; 0]);
        assert_eq!(tables.difference().expect("asked"), None);
    });
}

/// Changes by chance, networks that overlap among them; the sets hold what was asked for.
#[test]
fn the_sets_follow_a_model() {
    within("xtables::the_sets_follow_a_model", || {
        if !has_all() {
            return;
        }
        let mut layout = layout();
        layout.sets.room_most = 4_096;
        let mut tables = opened(layout.clone());
        let groups = [group("crowdsec", Action::Drop), group("CAPI", Action::Drop)];
        let mut model: BTreeMap<Prefix, u32> = BTreeMap::new();
        let nets: Vec<Prefix> = (0..12)
            .flat_map(|n| {
                [
                    format!("10.0.{n}.0/24"),
                    format!("10.0.{n}.7"),
                    format!("10.0.0.0/{}", n + 9),
                    format!("2001:db8:{n:x}::/48"),
                ]
            })
            .map(|text| net(&text))
            .collect();
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 33) as usize % below
        };
        tables.replace(&groups, &[]).expect("replaced");
        for round in 0..100 {
            let mut changed: BTreeMap<Prefix, Option<u32>> = BTreeMap::new();
            for _ in 0..random(12) {
                changed.insert(nets[random(nets.len())], [None, Some(0), Some(1)][random(3)]);
            }
            for (net, group) in &changed {
                match group {
                    Some(group) => model.insert(*net, *group),
                    None => model.remove(net),
                };
            }
            let made = |(net, group): (&Prefix, &u32)| Element {
                net: *net,
                group: *group,
                timeout: Duration::from_mins(15),
            };
            match random(8) {
                0 => {
                    let all: Vec<Element> = model.iter().map(made).collect();
                    let applied = tables.replace(&groups, &all).expect("replaced");
                    assert!(applied.failed.is_empty() && applied.full.is_empty(), "{applied:?}");
                }
                // A new process knows nothing.
                1 => {
                    tables = opened(layout.clone());
                    let all: Vec<Element> = model.iter().map(made).collect();
                    tables.replace(&groups, &all).expect("replaced");
                }
                _ => {
                    let come: Vec<Element> = changed
                        .iter()
                        .filter_map(|(net, group)| group.as_ref().map(|group| made((net, group))))
                        .collect();
                    let go: Vec<Prefix> =
                        changed.iter().filter(|(_, group)| group.is_none()).map(|(net, _)| *net).collect();
                    let applied = tables.apply(&come, &go).expect("applied");
                    assert!(applied.failed.is_empty() && applied.full.is_empty(), "{applied:?}");
                }
            }
            let mut expected: Vec<(String, String)> = model
                .iter()
                .map(|(net, group)| {
                    let text = if *net == Prefix::single(net.addr()) {
                        net.addr().to_string()
                    } else {
                        net.to_string()
                    };
                    let digit = if net.addr().is_ipv4() { 4 } else { 6 };
                    (text, format!("testudo.{}.{digit}", groups[*group as usize].name))
                })
                .collect();
            expected.sort_unstable();
            assert_eq!(shown(), expected, "{round}");
            let found = tables.find(&nets).expect("asked");
            let held: BTreeMap<Prefix, u32> =
                found.into_iter().flatten().map(|held| (held.net, held.group)).collect();
            assert_eq!(held, model, "{round}");
        }
    });
}

#[test]
fn a_set_grows_until_it_may_not() {
    within("xtables::a_set_grows_until_it_may_not", || {
        if !has_all() {
            return;
        }
        let mut tables = opened(layout());
        let groups = [group("crowdsec", Action::Drop)];
        let hosts = |range: std::ops::Range<u32>| -> Vec<Element> {
            range.map(|n| element(&format!("10.1.{}.{}", n / 256, n % 256), 0)).collect()
        };
        tables.replace(&groups, &hosts(0..5)).expect("replaced");
        let applied = tables.apply(&hosts(5..20), &[]).expect("applied");
        assert!(applied.full.is_empty(), "{applied:?}");
        assert!(
            run("ipset list -t testudo.crowdsec.4").contains("maxelem 16 ")
                || run("ipset list -t testudo.crowdsec.4").contains("maxelem 32 ")
        );
        assert_eq!(shown().len(), 20);
        assert_eq!(tables.difference().expect("asked"), None);
        // 32 is the most: what is there is refreshed all the same, and the others are told.
        let applied = tables.apply(&hosts(0..60), &[]).expect("applied");
        assert_eq!((applied.full.len(), applied.failed.len()), (28, 0));
        assert_eq!(applied.full[0].1, "the set 'testudo.crowdsec.4' is full");
        assert_eq!(shown().len(), 32);
        // The first are the last that there is no room for; what is no longer wanted makes room.
        let applied = tables.replace(&groups, &hosts(10..60)).expect("replaced");
        assert_eq!(applied.full.len(), 18);
        let expected: Vec<String> = (10..42).map(|n| format!("10.1.0.{n}")).collect();
        let mut found: Vec<String> = shown().into_iter().map(|(net, _)| net).collect();
        found.sort_unstable_by_key(|text| text.rsplit('.').next().and_then(|last| last.parse::<u32>().ok()));
        assert_eq!(found, expected);
        // Room is made, and used, in one change.
        let applied = tables.apply(&hosts(50..52), &[net("10.1.0.10"), net("10.1.0.11")]).expect("applied");
        assert!(applied.full.is_empty(), "{applied:?}");
        assert_eq!(run("ipset list -n").lines().filter(|name| name.contains('~')).count(), 0);
    });
}

/// Who weighs more comes in, though the set is full of others from before; nobody who stays is taken for left out.
#[test]
fn a_full_set_keeps_the_first_and_no_others() {
    within("xtables::a_full_set_keeps_the_first_and_no_others", || {
        if !has_all() {
            return;
        }
        let hosts = |range: std::ops::Range<u32>| -> Vec<Element> {
            range.map(|n| element(&format!("10.1.0.{n}"), 0)).collect()
        };
        let sorted = |elements: &[Element]| -> Vec<Prefix> {
            let mut nets: Vec<Prefix> = elements.iter().map(|element| element.net).collect();
            nets.sort_unstable();
            nets
        };
        run("ipset create bad hash:net timeout 300 maxelem 32");
        let opened = || Ipsets::open(Path::new("ipset"), "bad", None).expect("it is there");
        let there = |nets: &[Element]| -> Vec<Prefix> {
            let found = opened().find(&nets.iter().map(|element| element.net).collect::<Vec<_>>());
            let mut nets: Vec<Prefix> =
                found.expect("asked").into_iter().flatten().map(|held| held.net).collect();
            nets.sort_unstable();
            nets
        };
        let told = |full: &[(Prefix, String)]| -> Vec<Prefix> {
            let mut nets: Vec<Prefix> = full.iter().map(|(net, _)| *net).collect();
            nets.sort_unstable();
            nets
        };
        let (old, new) = (hosts(100..140), hosts(0..20));
        let applied = opened().replace(&old).expect("replaced");
        assert_eq!(told(&applied.full), sorted(&old[32..]));
        // After a restart, twenty more that weigh more.
        let all = [&new[..], &old[..]].concat();
        let applied = opened().replace(&all).expect("replaced");
        assert_eq!(there(&all), sorted(&all[..32]));
        assert_eq!(told(&applied.full), sorted(&all[32..]));
        assert!(applied.failed.is_empty(), "{applied:?}");
        // Of those that are there, none is left out, however many others come before.
        let others = hosts(200..240);
        let mut again = [&others[..], &all[..32]].concat();
        again.iter_mut().for_each(|element| element.timeout = Duration::from_hours(25));
        let applied = opened().apply(&again, &[]).expect("applied");
        assert_eq!(told(&applied.full), sorted(&others));
        let found = opened().find(&sorted(&all[..32])).expect("asked");
        let is_renewed = |held: Option<testudo_kernel::Held>| {
            held.and_then(|held| held.remaining).is_some_and(|left| left > Duration::from_hours(22))
        };
        assert!(found.into_iter().all(is_renewed));
    });
}

#[test]
fn times_are_as_long_as_they_can_be() {
    within("xtables::times_are_as_long_as_they_can_be", || {
        if !has_all() {
            return;
        }
        let mut tables = opened(layout());
        let groups = [group("crowdsec", Action::Drop)];
        let lasting = |text: &str, timeout| Element { timeout, ..element(text, 0) };
        let elements =
            [lasting("192.0.2.1", Duration::MAX), lasting("192.0.2.0/25", Duration::from_secs(100))];
        tables.replace(&groups, &elements).expect("replaced");
        let left = |tables: &Xtables, text: &str| {
            let found = tables.find(&[net(text)]).expect("asked");
            found[0].expect(text).remaining.expect("a timeout").as_secs()
        };
        assert!(left(&tables, "192.0.2.1") > 2_147_000);
        assert!((90..=100).contains(&left(&tables, "192.0.2.0/25")));
        tables.apply(&[lasting("192.0.2.1", Duration::from_secs(50))], &[]).expect("applied");
        assert!(left(&tables, "192.0.2.1") <= 50);
        tables.apply(&[lasting("192.0.2.0/25", Duration::from_secs(5_000))], &[]).expect("applied");
        assert!(left(&tables, "192.0.2.0/25") > 4_000);
    });
}

#[test]
fn sets_of_the_user_are_filled_and_nothing_else() {
    within("xtables::sets_of_the_user_are_filled_and_nothing_else", || {
        if !has("ipset") {
            return;
        }
        let open = |v4: &str, v6: Option<&str>| Ipsets::open(Path::new("ipset"), v4, v6);
        run("ipset create mine hash:net family inet timeout 300 counters comment maxelem 3");
        run("ipset create six hash:net family inet6 timeout 300");
        run("ipset create hosts hash:ip family inet timeout 300");
        run("ipset create forever hash:net family inet");
        run("ipset create ports bitmap:port range 1-9 timeout 3");
        for (set, told) in [
            (
                "none",
                "the set 'none' is not there; make it with `ipset create none hash:net family inet timeout 300 maxelem 131072`",
            ),
            (
                "forever",
                "the set 'forever' lets nothing end; destroy it, and make it with `ipset create forever hash:net family inet timeout 300 maxelem 131072`",
            ),
            ("six", "the set 'six' is of family inet6, not inet; "),
            ("ports", "the set 'ports' is of type bitmap:port; "),
            ("a b", "'a b' is no name of a set"),
        ] {
            let error = open(set, None).expect_err(set).to_string();
            assert!(error.starts_with(told), "{error}");
        }
        run("ipset add mine 203.0.113.9 timeout 0");
        let mut sets = open("mine", Some("six")).expect("opened");
        let elements = ["192.0.2.1", "192.0.2.0/24", "2001:db8::/32"].map(|text| element(text, 7));
        let applied = sets.replace(&elements).expect("filled");
        assert!(applied.failed.is_empty() && applied.full.is_empty(), "{applied:?}");
        assert_eq!(shown().len(), 3, "{:?}", shown());
        let found = sets.find(&[net("192.0.2.1"), net("192.0.2.2"), net("2001:db8::/32")]).expect("asked");
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        // It is the user's, and does not grow.
        let applied =
            sets.apply(&["192.0.2.5", "192.0.2.6"].map(|text| element(text, 0)), &[]).expect("applied");
        assert_eq!((applied.full.len(), shown().len()), (1, 4));
        assert!(run("ipset list -t mine").contains("maxelem 3 "));
        let mut sets = open("hosts", None).expect("opened");
        let applied = sets.replace(&elements).expect("filled");
        let failed: Vec<&str> = applied.failed.iter().map(|(_, problem)| problem.as_str()).collect();
        assert_eq!(
            failed,
            ["the set 'hosts' holds single addresses; use hash:net", "there is no set for its family"]
        );
        run("ipset destroy hosts");
        assert_eq!(sets.missing().expect("asked"), ["hosts"]);
    });
}

#[test]
fn a_hundred_thousand_elements() {
    within("xtables::a_hundred_thousand_elements", || {
        if !has_all() {
            return;
        }
        let mut layout = layout();
        layout.sets.room_most = 1 << 20;
        let mut tables = opened(layout);
        let groups = [group("crowdsec", Action::Drop), group("CAPI", Action::Drop)];
        let all: Vec<Element> = (0..100_000_u32)
            .map(|n| Element {
                net: Prefix::single(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n * 7).into()),
                group: n % 2,
                timeout: Duration::from_hours(1),
            })
            .collect();
        let begun = std::time::Instant::now();
        let applied = tables.replace(&groups, &all).expect("replaced");
        assert!(applied.full.is_empty() && applied.failed.is_empty());
        println!("filled in {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        tables.replace(&groups, &all[10..]).expect("replaced");
        println!("filled again in {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        let asked: Vec<Prefix> = all.iter().take(50_000).map(|element| element.net).collect();
        let found = tables.find(&asked).expect("asked");
        println!("asked for 50000 in {:?}", begun.elapsed());
        assert_eq!(found.iter().filter(|found| found.is_none()).count(), 10);
        assert!(
            found
                .iter()
                .zip(&all)
                .all(|(found, element)| found.is_none_or(|found| found.group == element.group))
        );
        let begun = std::time::Instant::now();
        tables.apply(&all[..10], &asked[20..30]).expect("applied");
        println!("changed 20 in {:?}", begun.elapsed());
        assert_eq!(shown().len(), 100_000 - 10);
    });
}

/// While everything is put anew, also into other sets than before, nobody who is listed gets through.
#[test]
fn no_packet_passes_while_everything_is_replaced() {
    within("xtables::no_packet_passes_while_everything_is_replaced", || {
        if !has_all() {
            return;
        }
        let peer = Peer::new();
        let v4 = listener("10.9.0.1:5000");
        let sender = peer.socket("10.9.0.2");
        let groups = ["crowdsec", "CAPI", "lists:one"].map(|name| group(name, Action::Drop));
        let mut tables = opened(layout());
        tables.replace(&groups[..1], &[element("10.9.0.2", 0)]).expect("replaced");
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = sender.send_to(b"x", "10.9.0.1:5000");
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
            for round in 0..30 {
                // Another process, with other groups: its address is in another set each time.
                let mut tables = opened(layout());
                let of = [&groups[round % 3..=round % 3], &groups[..]][round % 2];
                let elements = [element("10.9.0.2", (of.len() - 1) as u32), element("192.0.2.0/24", 0)];
                tables.replace(of, &elements).expect("replaced");
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(crate::namespace::arrived(&v4).len(), 0);
    });
}
