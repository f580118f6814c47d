//! Every format, read back; and what strangers may want to smuggle into one.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::prelude::*;
use testudo_event::Prefix;

use crate::{Choice, Chosen, Family, Format, Item, Look, Value, aggregate, choose};

fn item(net: &str, scenario: &str) -> Item {
    let net = Prefix::parse(net).or_else(|| net.parse().ok().map(Prefix::single)).expect(net);
    Item {
        value: Value::Net(net),
        kind: "ban".into(),
        origin: "crowdsec".into(),
        scenario: scenario.into(),
        id: 1,
        until: 1_700_003_600,
    }
}

fn look() -> Look {
    Look { name: None, family: Family::Both, aggregate: None, now: 1_700_000_000 }
}

fn render(format: Format, items: &[Item], look: &Look) -> String {
    let chosen = choose(items.iter().cloned(), &Choice::default());
    format.render(&chosen, look).body
}

#[test]
fn as_the_consumers_of_the_ecosystem_expect() {
    let items = [
        item("192.0.2.1", "crowdsecurity/ssh-bf"),
        item("198.51.100.0/24", "manual"),
        item("2001:db8::1", "a/b"),
    ];
    let check =
        |format: Format, expected: &str| assert_eq!(render(format, &items, &look()), expected, "{format}");
    check(Format::PlainText, "192.0.2.1\n198.51.100.0/24\n2001:db8::1\n");
    check(Format::Juniper, "192.0.2.1/32\n198.51.100.0/24\n2001:db8::1/128\n");
    check(Format::F5, "192.0.2.1,32,bl,ssh-bf\n198.51.100.0,24,bl,manual\n2001:db8::1,128,bl,b\n");
    check(
        Format::Mikrotik,
        "/ip/firewall/address-list/remove [ find where list=\"CrowdSec\" ];\n\
         /ipv6/firewall/address-list/remove [ find where list=\"CrowdSec\" ];\n\
         /ip/firewall/address-list/add list=CrowdSec address=192.0.2.1 comment=\"crowdsecurity/ssh-bf for 1h0m0s\";\n\
         /ip/firewall/address-list/add list=CrowdSec address=198.51.100.0/24 comment=\"manual for 1h0m0s\";\n\
         /ipv6/firewall/address-list/add list=CrowdSec address=2001:db8::1 comment=\"a/b for 1h0m0s\";\n",
    );
    check(
        Format::HaproxyMap,
        "# testudo mirror: 3 networks and addresses\n192.0.2.1 ban\n198.51.100.0/24 ban\n2001:db8::1 ban\n",
    );
    let rpz = render(Format::Rpz, &items, &look());
    for owner in ["32.1.2.0.192.rpz-ip", "24.0.100.51.198.rpz-ip", "128.1.zz.db8.2001.rpz-ip"] {
        assert!(rpz.contains(&format!("\n{owner} CNAME .\n")), "{rpz}");
    }
    let hosts = render(Format::HostsDeny, &items, &look());
    assert!(
        hosts.ends_with("ALL: 192.0.2.1\nALL: 198.51.100.0/255.255.255.0\nALL: [2001:db8::1]\n"),
        "{hosts}"
    );
    let check_point = render(Format::CheckPoint, &items, &look());
    assert!(
        check_point.contains("\ntestudo-2,198.51.100.0-198.51.100.255,IP Range,high,high,AB,manual\n"),
        "{check_point}"
    );
    let v6_only = Look { family: Family::V6, name: Some("my list".to_owned()), ..look() };
    let none = render(Format::Mikrotik, &[], &v6_only);
    assert_eq!(none, "/ipv6/firewall/address-list/remove [ find where list=\"my_list\" ];\n");
}

#[test]
fn a_set_of_ipset_is_the_same_however_long_the_list() {
    let created = |count: u32| -> Vec<String> {
        let items = (0..count).map(|at| Item {
            value: Value::Net(Prefix::single(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + at)))),
            ..item("192.0.2.1", "manual")
        });
        let chosen = choose(items, &Choice::default());
        let body = Format::Ipset.render(&chosen, &look()).body;
        body.lines().filter(|line| line.starts_with("create")).map(str::to_owned).collect()
    };
    let short = created(1);
    assert_eq!(short.len(), 4);
    assert_eq!(created(530_000), short);
}

#[test]
fn names_are_found() {
    for format in Format::all() {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_name("plain"), None);
}

#[test]
fn what_goes_into_a_list() {
    let make = |net: &str, kind: &str, origin: &str, scenario: &str, id: i64, until: i64| Item {
        kind: kind.into(),
        origin: origin.into(),
        id,
        until,
        ..item(net, scenario)
    };
    let items = [
        make("192.0.2.9", "ban", "CAPI", "http:scan", 1, 50),
        make("192.0.2.1", "ban", "crowdsec", "a/ssh-bf", 2, 10),
        make("192.0.2.1", "ban", "cscli", "manual", 3, 90),
        make("192.0.2.2", "captcha", "crowdsec", "a/http-crawl", 4, 10),
        make("2001:db8::1", "ban", "lists", "one", 5, 10),
        make("192.0.2.3", "ban", "lists", "two", 6, 10),
    ];
    let check = |choice: Choice, ids: &[i64]| {
        let chosen = choose(items.clone(), &choice);
        assert_eq!(chosen.items.iter().map(|item| item.id).collect::<Vec<_>>(), ids, "{choice:?}");
        chosen.left_out
    };
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    check(Choice::default(), &[3, 4, 6, 1, 5]);
    check(Choice { unsorted: true, ..Choice::default() }, &[1, 3, 4, 5, 6]);
    check(Choice { types: list(&["captcha"]), ..Choice::default() }, &[4]);
    check(Choice { family: Family::V6, ..Choice::default() }, &[5]);
    check(Choice { family: Family::V4, lists: list(&["one"]), ..Choice::default() }, &[3, 4, 1]);
    check(Choice { origins: list(&["crowdsec"]), ..Choice::default() }, &[2, 4]);
    check(Choice { scenarios_containing: list(&["ssh", "crawl"]), ..Choice::default() }, &[2, 4]);
    check(Choice { scenarios_not_containing: list(&["manual", "o"]), ..Choice::default() }, &[2, 4, 1]);
    let priority = list(&["cscli", "lists"]);
    assert_eq!(check(Choice { most: Some(2), priority, ..Choice::default() }, &[3, 6]), 3);
}

/// Texts that would be more than a text in some format.
const HOSTILE: [&str; 12] = [
    "a\"; /system/reset-configuration; \"",
    "$[/system/reboot]",
    "x\nALL: ALL",
    "x\r\n0.0.0.0/0",
    "a,b,bl,c",
    "} ; flush ruleset; {",
    "</RequireAll>",
    "'] OR [ipv4-addr:value = '",
    "\u{2028}0.0.0.0/0\u{85}",
    "; deny all;",
    "\0",
    "=cmd|' /C calc'!A0",
];

#[test]
fn names_of_strangers_stay_names() {
    for format in Format::all() {
        let good = render(format, &[item("192.0.2.1", "a/b")], &look());
        for text in HOSTILE {
            let bad = Item { kind: text.into(), origin: text.into(), ..item("192.0.2.1", text) };
            let named = Look { name: Some(text.to_owned()), ..look() };
            let body = render(format, &[bad], &named);
            assert!(
                body.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..0x7f)),
                "{format} {text:?}: {body}"
            );
            let lines = |text: &str| text.lines().count();
            if matches!(format, Format::JsonLines | Format::Stix) {
                assert_eq!(body.lines().count(), good.lines().count(), "{format} {text:?}");
                for line in body.lines() {
                    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    assert!(
                        !value["objects"][0]["pattern"].as_str().is_some_and(|text| text.contains(" OR "))
                    );
                }
                continue;
            }
            assert_eq!(lines(&body), lines(&good), "{format} {text:?}: {body}");
            let count = |text: &str, what: char| text.matches(what).count();
            for sign in ['"', ';', '{', '}', '[', '<', '$', ',', '\'', '=', '|'] {
                assert_eq!(count(&body, sign), count(&good, sign), "{format} {text:?} {sign}: {body}");
            }
        }
    }
}

/// The networks of a list, read back in the way in which its readers do.
fn read(format: Format, body: &str) -> Vec<Prefix> {
    let net = |text: &str| {
        let single = || text.parse().ok().map(Prefix::single);
        Prefix::parse(text).or_else(single).unwrap_or_else(|| panic!("{format}: {text:?} in {body}"))
    };
    let comment = if format == Format::Rpz { ';' } else { '#' };
    let lines = body.lines().filter(|line| !line.starts_with(comment) && !line.is_empty());
    let after = |mark: &'static str| lines.clone().filter_map(move |line| line.strip_prefix(mark));
    match format {
        Format::PlainText
        | Format::PaloAlto
        | Format::Fortinet
        | Format::Cisco
        | Format::OpnSense
        | Format::PfSense
        | Format::Pf
        | Format::HaproxyAcl
        | Format::Juniper => lines.map(net).collect(),
        Format::HaproxyMap => lines.map(|line| net(line.strip_suffix(" ban").expect("a type"))).collect(),
        Format::F5 => lines
            .map(|line| {
                let [addr, bits, "bl", _] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
                net(&format!("{addr}/{bits}"))
            })
            .collect(),
        Format::Mikrotik => lines
            .filter_map(|line| line.split_once(" address="))
            .map(|(_, rest)| net(rest.split_once(" comment=\"").expect("a comment").0))
            .collect(),
        Format::Nft => lines
            .filter(|line| line.starts_with("add element"))
            .flat_map(|line| line.split_once("{ ").expect("elements").1.trim_end_matches(" }").split(", "))
            .map(net)
            .collect(),
        Format::Ipset => lines
            .filter(|line| line.starts_with("add "))
            .map(|line| net(line.split(' ').nth(2).expect("a network")))
            .collect(),
        Format::NginxDeny => after("deny ").map(|line| net(line.trim_end_matches(';'))).collect(),
        Format::NginxGeo => lines.map(|line| net(line.strip_suffix(" 1;").expect("a value"))).collect(),
        Format::Apache => after("Require not ip ").map(net).collect(),
        Format::Caddy => after("\tremote_ip ").map(net).collect(),
        Format::CheckPoint => lines
            .flat_map(|line| {
                let fields: Vec<_> = line.split(',').collect();
                match fields[2] {
                    "IP" => vec![net(fields[1])],
                    "IP Range" => {
                        let (first, last) = fields[1].split_once('-').expect("a range");
                        let (first, last): (IpAddr, IpAddr) =
                            (first.parse().expect("one"), last.parse().expect("one"));
                        let found = (0..=128).filter_map(|bits| Prefix::new(first, bits));
                        let found = found.filter(|net| net.first() == first && net.last() == last);
                        found.take(1).collect()
                    }
                    other => panic!("{other}"),
                }
            })
            .collect(),
        Format::Rpz => lines
            .filter_map(|line| line.strip_suffix(".rpz-ip CNAME ."))
            .map(|owner| {
                let (bits, rest) = owner.split_once('.').expect("a length");
                let mut parts: Vec<_> = rest.split('.').collect();
                parts.reverse();
                if parts.len() == 4 && !parts.contains(&"zz") {
                    return net(&format!("{}/{bits}", parts.join(".")));
                }
                let addr = parts.join(":").replace("zz", "");
                let addr = match (addr.starts_with(':'), addr.ends_with(':'), addr.as_str()) {
                    (_, _, "") => "::".to_owned(),
                    (true, _, text) => format!(":{text}"),
                    (_, true, text) => format!("{text}:"),
                    (_, _, text) => text.to_owned(),
                };
                net(&format!("{addr}/{bits}"))
            })
            .collect(),
        Format::HostsDeny => after("ALL: ")
            .map(|text| match text.split_once('/') {
                Some((addr, mask)) if mask.contains('.') => {
                    let mask: Ipv4Addr = mask.parse().expect("a mask");
                    net(&format!("{addr}/{}", mask.to_bits().count_ones()))
                }
                _ => net(&text.replace(['[', ']'], "")),
            })
            .collect(),
        Format::JsonLines => lines
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                net(value["value"].as_str().expect("a text"))
            })
            .collect(),
        Format::Stix => {
            let bundle: serde_json::Value = serde_json::from_str(body).expect("JSON");
            let objects = bundle["objects"].as_array().expect("a list");
            objects
                .iter()
                .map(|object| {
                    let pattern = object["pattern"].as_str().expect("a text");
                    net(pattern.split('\'').nth(1).expect("a value"))
                })
                .collect()
        }
    }
}

/// Networks in a small space, so that they meet; and some of any size.
fn net() -> impl Strategy<Value = Prefix> {
    let v4 = (0_u32..512, 22..=32_u8)
        .prop_map(|(n, bits)| (IpAddr::V4(Ipv4Addr::from_bits(0xc000_0200 + n)), bits));
    let v6 = (0_u128..512, 118..=128_u8)
        .prop_map(|(n, bits)| (IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + n)), bits));
    let any4 = (any::<u32>(), 0..=32_u8).prop_map(|(n, bits)| (IpAddr::V4(Ipv4Addr::from_bits(n)), bits));
    let any6 = (any::<u128>(), 0..=128_u8).prop_map(|(n, bits)| (IpAddr::V6(Ipv6Addr::from_bits(n)), bits));
    prop_oneof![8 => v4, 4 => v6, 1 => any4, 1 => any6]
        .prop_map(|(addr, bits)| Prefix::covering(addr, bits).expect("a network"))
}

fn close() -> impl Strategy<Value = Prefix> {
    (0_u32..512, 26..=32_u8).prop_map(|(n, bits)| {
        Prefix::covering(IpAddr::V4(Ipv4Addr::from_bits(0xc000_0200 + n)), bits).expect("a network")
    })
}

proptest! {
    #[test]
    fn every_format_can_be_read_back(nets in proptest::collection::vec(net(), 0..40), aggregates in any::<bool>()) {
        let items: Vec<Item> = nets.iter().map(|net| item(&net.to_string(), "a/b")).collect();
        let look = Look { aggregate: aggregates.then_some(0.0), ..look() };
        let exact: BTreeSet<Prefix> = nets.iter().copied().collect();
        let made = aggregate(nets.iter().copied(), 0.0).nets;
        for format in Format::all() {
            let mut found = read(format, &render(format, &items, &look));
            if format == Format::Ipset {
                // It has networks of everything in two halves.
                found = aggregate(found, 0.0).nets;
                prop_assert_eq!(&found, &made);
            } else if aggregates || format.is_disjoint() {
                prop_assert_eq!(&found, &made, "{}", format);
            } else {
                prop_assert_eq!(found.len(), exact.len(), "{}", format);
                prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), exact.clone(), "{}", format);
            }
        }
    }

    #[test]
    fn aggregating_is_exact_or_within_its_bound(
        nets in proptest::collection::vec(close(), 0..60),
        share in prop_oneof![Just(0.0), 0.0..0.9_f64],
    ) {
        let made = aggregate(nets.iter().copied(), share);
        let addrs = |net: &Prefix| {
            let (IpAddr::V4(first), IpAddr::V4(last)) = (net.first(), net.last()) else { panic!("IPv4") };
            first.to_bits()..=last.to_bits()
        };
        let given: BTreeSet<u32> = nets.iter().flat_map(addrs).collect();
        let covered: Vec<u32> = made.nets.iter().flat_map(addrs).collect();
        let distinct: BTreeSet<u32> = covered.iter().copied().collect();
        prop_assert_eq!(distinct.len(), covered.len(), "networks overlap");
        prop_assert!(given.is_subset(&distinct));
        prop_assert_eq!(u128::from((distinct.len() - given.len()) as u64), made.falsely);
        for net in &made.nets {
            let all = addrs(net).count();
            let falsely = addrs(net).filter(|addr| !given.contains(addr)).count();
            prop_assert!(falsely as f64 <= share * all as f64, "{} has {} of {}", net, falsely, all);
        }
        // None of two neighbours could have been one.
        for pair in made.nets.windows(2) {
            let parent = Prefix::covering(pair[0].addr(), pair[0].bits() - 1).expect("a network");
            let are_halves = pair[0].bits() == pair[1].bits() && parent.contains(pair[1].addr());
            prop_assert!(!are_halves, "{} and {}", pair[0], pair[1]);
        }
        prop_assert!(made.nets.len() <= aggregate(nets.iter().copied(), 0.0).nets.len());
    }

    #[test]
    fn networks_of_any_size_are_covered_exactly(nets in proptest::collection::vec(net(), 0..20)) {
        let made = aggregate(nets.iter().copied(), 0.0);
        prop_assert_eq!(made.falsely, 0);
        let again: testudo_event::net::PrefixSet = made.nets.iter().copied().collect();
        let first: testudo_event::net::PrefixSet = nets.iter().copied().collect();
        prop_assert_eq!(again, first);
    }
}

#[test]
fn values_that_are_no_addresses() {
    let scope: Arc<str> = "Country".into();
    let other = Item { value: Value::Other { scope, value: "FR\"\n".into() }, ..item("192.0.2.1", "a/b") };
    let chosen = Chosen { items: vec![other], left_out: 0 };
    for format in Format::all() {
        let rendered = format.render(&chosen, &look());
        assert_eq!(rendered.lines, usize::from(format == Format::JsonLines), "{format}");
    }
    let body = Format::JsonLines.render(&chosen, &look()).body;
    assert_eq!(body.lines().count(), 1);
}
