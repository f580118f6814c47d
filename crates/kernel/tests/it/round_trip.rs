//! What is put into the kernel is found there, by us and by nft.

use serde_json::Value;
use testudo_kernel::{Action, Hook, HookPoint, Layout, Log, Standing};

use crate::namespace::{has, nft, within};
use crate::{element, expected, group, held, layout, net, opened};

#[test]
fn elements_of_all_kinds() {
    within("round_trip::elements_of_all_kinds", || {
        let mut nft = opened(layout());
        let elements = [
            element("192.0.2.1", 0),
            element("192.0.2.2/32", 1),
            element("10.0.0.0/24", 0),
            element("10.0.1.77/24", 1),
            element("224.0.0.0/3", 0),
            element("2001:db8::1", 1),
            element("2001:db8:1::/48", 0),
            element("ff00::/8", 1),
            element("::ffff:198.51.100.1", 0),
        ];
        nft.replace(elements).expect("replaced");
        assert_eq!(nft.standing().expect("asked"), Standing::AsLaidOut);
        let whole = expected([
            ("192.0.2.1/32", 0),
            ("192.0.2.2/32", 1),
            ("10.0.0.0/24", 0),
            ("10.0.1.0/24", 1),
            ("224.0.0.0/3", 0),
            ("2001:db8::1/128", 1),
            ("2001:db8:1::/48", 0),
            ("ff00::/8", 1),
            ("198.51.100.1/32", 0),
        ]);
        assert_eq!(held(&mut nft), whole);
        for (text, group) in &whole {
            let found = nft.get(net(text)).expect("asked").expect(text);
            assert_eq!((found.net, found.group), (net(text), *group));
            let remaining = found.remaining.expect("a timeout").as_secs();
            assert!((3_500..=3_600).contains(&remaining), "{text}: {remaining}");
        }
        for text in ["192.0.2.3", "10.0.0.0/25", "10.0.0.0/23", "10.0.0.1", "10.0.2.0/24", "fe00::/8", "::/0"]
        {
            assert_eq!(nft.get(net(text)).expect("asked"), None, "{text}");
        }
        for (addr, covering) in [
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("10.0.0.0", Some("10.0.0.0/24")),
            ("10.0.0.255", Some("10.0.0.0/24")),
            ("10.0.1.0", Some("10.0.1.0/24")),
            ("10.0.1.9", Some("10.0.1.0/24")),
            ("10.0.2.0", None),
            ("255.255.255.255", Some("224.0.0.0/3")),
            ("2001:db8:1:2::3", Some("2001:db8:1::/48")),
            ("ffff::1", Some("ff00::/8")),
            ("9.255.255.255", None),
        ] {
            let found = nft.covering(addr.parse().expect(addr)).expect("asked");
            assert_eq!(found.map(|held| held.net.to_string()).as_deref(), covering, "{addr}");
        }
        nft.replace([element("192.0.2.9", 0)]).expect("replaced again");
        assert_eq!(held(&mut nft), expected([("192.0.2.9/32", 0)]));
        nft.remove_table().expect("removed");
        nft.remove_table().expect("nothing to remove");
        assert_eq!(nft.standing().expect("asked"), Standing::Gone);
    });
}

#[test]
fn nft_reads_all_of_it() {
    within("round_trip::nft_reads_all_of_it", || {
        if !has("nft") {
            return;
        }
        let throttle = Action::Throttle { packets_per_second: 10, burst: 5 };
        let mut groups = vec![
            group("crowdsec", Action::Drop),
            group("lists:firehol", Action::Reject),
            group("slow ones", throttle),
        ];
        groups[0].log = Some(Log { prefix: "testudo ".to_owned(), per_second: 5 });
        let hooks = vec![Hook::default(), Hook { at: HookPoint::Forward, priority: -10 }];
        let allow = vec![net("192.0.2.0/24"), net("192.0.2.7"), net("fe80::/10")];
        let mut table = opened(Layout { hooks, groups, allow, ..Layout::default() });
        table.replace([element("203.0.113.5", 0), element("203.0.112.0/24", 2)]).expect("replaced");
        assert_eq!(table.standing().expect("asked"), Standing::AsLaidOut);
        let text = nft("list ruleset");
        println!("{text}");
        for line in [
            "type filter hook prerouting priority raw - 10; policy accept;",
            "type filter hook forward priority filter - 10; policy accept;",
            "elements = { 192.0.2.0/24 }",
            "elements = { fe80::/10 }",
            "chain g/lists/firehol {",
            "chain g/slow.20ones {",
            "ip saddr timeout 1m limit rate over 10/second",
            "log prefix \"testudo crowdsec \"",
            "reject with tcp reset",
            "goto g/slow.20ones.over",
        ] {
            assert!(text.contains(line), "{line}");
        }
        let json: Value =
            serde_json::from_str(&crate::namespace::run("nft -j list table inet testudo")).expect("json");
        let maps: Vec<_> =
            json["nftables"].as_array().expect("a list").iter().filter(|o| !o["map"].is_null()).collect();
        let elements = |name: &str| {
            let map = maps.iter().find(|o| o["map"]["name"] == name).expect(name);
            map["map"]["elem"].to_string()
        };
        assert!(elements("hosts4").contains("203.0.113.5"), "{}", elements("hosts4"));
        assert!(elements("nets4").contains(r#"{"addr":"203.0.112.0","len":24}"#), "{}", elements("nets4"));
        assert!(elements("groups").contains("g/crowdsec"), "{}", elements("groups"));
        // What nft writes it can read back.
        let file = std::env::temp_dir().join(format!("testudo-kernel-{}.nft", std::process::id()));
        std::fs::write(&file, &text).expect("written");
        nft("flush ruleset");
        let read = std::process::Command::new("nft").arg("-f").arg(&file).status().expect("nft");
        std::fs::remove_file(&file).expect("removed");
        assert!(read.success());
        assert_eq!(table.standing().expect("asked"), Standing::AsLaidOut);
        assert_eq!(held(&mut table), expected([("203.0.113.5/32", 0), ("203.0.112.0/24", 2)]));
    });
}

#[test]
fn as_many_groups_as_there_may_be() {
    within("round_trip::as_many_groups_as_there_may_be", || {
        // Names that take the most room in the kernel.
        let groups = (0..200).map(|n| group(&format!("{n:03}{}", ".".repeat(61)), Action::Drop)).collect();
        let mut nft = opened(Layout { groups, ..Layout::default() });
        nft.replace([element("192.0.2.1", 199), element("10.0.0.0/24", 130)]).expect("replaced");
        assert_eq!(nft.standing().expect("asked"), Standing::AsLaidOut);
        assert_eq!(held(&mut nft), expected([("192.0.2.1/32", 199), ("10.0.0.0/24", 130)]));
        assert_eq!(nft.counters().expect("counted").blocked.len(), 200);
    });
}
