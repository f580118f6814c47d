//! Verdicts on frames of all kinds.

use std::time::Duration;

use testudo_xdp::{Action, Count, Element, Group, Layout, Xdp};

use crate::frame::{IPV4, IPV6, QINQ, VLAN, frame, from, header_v6, packet};
use crate::namespace::within;
use crate::{DROP, dropping, element, layout, net, opened};

fn passes(xdp: &mut Xdp, frame: &[u8]) -> bool {
    xdp.try_frame(frame, 1).expect("tried").passes
}

#[test]
fn the_source_is_found_behind_whatever_carries_it() {
    within("frames::the_source_is_found_behind_whatever_carries_it", || {
        let mut xdp = dropping(layout(), &["192.0.2.1", "198.51.100.0/24", "2001:db8::1", "2001:db8:1::/48"]);
        let v4 = packet("192.0.2.1".parse().expect("an address"), 10);
        let v6 = packet("2001:db8::1".parse().expect("an address"), 10);
        // The header of IPv6 names the source, whatever follows it: here, options and a fragment.
        let extended = [
            header_v6("2001:db8:1::7".parse().expect("an address"), 0, 64, 40),
            vec![44, 0, 1, 4, 0, 0, 0, 0],
        ];
        let extended = [extended.concat(), vec![17; 40]].concat();
        let dropped = [
            ("an address", frame(&[], IPV4, &v4)),
            ("one that is in a network", from("198.51.100.255")),
            ("IPv6", frame(&[], IPV6, &v6)),
            ("IPv6 in a network", from("2001:db8:1:ffff::1")),
            ("IPv6 with other headers before the content", frame(&[], IPV6, &extended)),
            ("a tag", frame(&[VLAN], IPV4, &v4)),
            ("a tag, IPv6", frame(&[VLAN], IPV6, &v6)),
            ("two tags", frame(&[QINQ, VLAN], IPV4, &v4)),
            ("two tags of a kind, IPv6", frame(&[VLAN, VLAN], IPV6, &v6)),
            ("the old outer tag", frame(&[0x9100, VLAN], IPV4, &v4)),
            ("options of IPv4", frame(&[], IPV4, &[&[0x46][..], &v4[1..20], &[1; 4], &v4[20..]].concat())),
            ("nothing behind the header", frame(&[], IPV4, &v4[..20])),
            ("a long one", frame(&[], IPV4, &packet("192.0.2.1".parse().expect("an address"), 1_400))),
        ];
        for (what, frame) in dropped {
            assert!(!passes(&mut xdp, &frame), "{what} passes");
        }
        let passing = [
            ("a neighbour in numbers", from("192.0.2.2")),
            ("outside of the network", from("198.51.101.0")),
            ("IPv6 of nobody", from("2001:db8::2")),
            ("IPv6 outside of the network", from("2001:db8:2::1")),
            ("three tags, which nobody reads", frame(&[QINQ, VLAN, VLAN], IPV4, &v4)),
            ("another protocol", frame(&[], 0x0806, &v4)),
            ("a length, as old frames have it", frame(&[], 46, &v4)),
            ("IPv4 that says it is IPv6", frame(&[], IPV6, &[&v4[..], &[0; 40]].concat())),
        ];
        for (what, frame) in passing {
            assert!(passes(&mut xdp, &frame), "{what} is dropped");
        }
    });
}

/// The kernel tries no frame that is shorter than a header of Ethernet.
#[test]
fn frames_that_are_cut_off_pass() {
    within("frames::frames_that_are_cut_off_pass", || {
        let mut xdp = dropping(layout(), &["192.0.2.1", "2001:db8::1"]);
        for (tags, kind, source, header) in [
            (&[][..], IPV4, "192.0.2.1", 20),
            (&[VLAN][..], IPV4, "192.0.2.1", 20),
            (&[QINQ, VLAN][..], IPV6, "2001:db8::1", 40),
        ] {
            let whole = frame(tags, kind, &packet(source.parse().expect(source), 10));
            let least = 14 + 4 * tags.len() + header;
            for length in 14..whole.len() {
                assert_eq!(
                    passes(&mut xdp, &whole[..length]),
                    length < least,
                    "{length} of {source} behind {tags:?}"
                );
            }
        }
    });
}

#[test]
fn who_is_allowed_passes() {
    within("frames::who_is_allowed_passes", || {
        let allow = vec![net("192.0.2.1"), net("2001:db8::/64")];
        let layout = Layout { allow, ..layout() };
        let mut xdp = dropping(layout, &["192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "2001:db8::7"]);
        assert!(passes(&mut xdp, &from("192.0.2.1")));
        assert!(passes(&mut xdp, &from("2001:db8::7")));
        assert!(!passes(&mut xdp, &from("192.0.2.2")));
        xdp.allow(vec![net("192.0.2.2"), net("192.0.2.4/30")]).expect("changed");
        for (source, expected) in
            [("192.0.2.1", false), ("192.0.2.2", true), ("192.0.2.7", true), ("2001:db8::7", false)]
        {
            assert_eq!(passes(&mut xdp, &from(source)), expected, "{source}");
        }
        // Also when everything is put into force anew.
        xdp.replace(&[DROP], [element("192.0.2.0/24", 0)]).expect("replaced");
        assert!(passes(&mut xdp, &from("192.0.2.2")));
        assert!(!passes(&mut xdp, &from("192.0.2.1")));
    });
}

#[test]
fn neighbours_find_each_other() {
    within("frames::neighbours_find_each_other", || {
        let mut xdp = dropping(layout(), &["fe80::/10"]);
        let neighbour = |next: u8, hops: u8, kind: u8| {
            let header = header_v6("fe80::7".parse().expect("an address"), next, hops, 24);
            frame(&[], IPV6, &[header, vec![kind], vec![0; 23]].concat())
        };
        for kind in 133..=137 {
            assert!(passes(&mut xdp, &neighbour(58, 255, kind)), "{kind}");
        }
        for (next, hops, kind) in
            [(58, 255, 128), (58, 255, 132), (58, 255, 138), (58, 254, 135), (17, 255, 135)]
        {
            assert!(!passes(&mut xdp, &neighbour(next, hops, kind)), "{next} {hops} {kind}");
        }
    });
}

#[test]
fn an_end_is_an_end() {
    within("frames::an_end_is_an_end", || {
        let mut xdp = opened(layout());
        let short = |text: &str| Element { timeout: Duration::from_millis(50), ..element(text, 0) };
        // A network is in force on, when an address in it is not, and the other way round.
        let elements = [
            short("192.0.2.1"),
            short("198.51.100.0/24"),
            element("192.0.2.0/25", 0),
            element("198.51.100.7", 0),
        ];
        xdp.replace(&[DROP], elements).expect("in force");
        assert!(!passes(&mut xdp, &from("198.51.100.1")));
        std::thread::sleep(Duration::from_millis(60));
        for (source, expected) in
            [("198.51.100.1", true), ("198.51.100.7", false), ("192.0.2.1", false), ("192.0.2.200", true)]
        {
            assert_eq!(passes(&mut xdp, &from(source)), expected, "{source}");
        }
        assert_eq!(xdp.get(net("198.51.100.0/24")).expect("asked"), None);
    });
}

#[test]
fn everything_is_counted_by_its_group() {
    within("frames::everything_is_counted_by_its_group", || {
        let mut xdp = opened(layout());
        let elements = [element("192.0.2.1", 0), element("198.51.100.0/24", 1), element("2001:db8::1", 1)];
        xdp.replace(&[DROP, DROP], elements).expect("in force");
        // A packet has 38 bytes of IPv4, or 58 of IPv6, whatever the frame has.
        for (source, times) in [("192.0.2.1", 3), ("198.51.100.9", 2), ("2001:db8::1", 5), ("203.0.113.1", 4)]
        {
            xdp.try_frame(&from(source), times).expect("tried");
        }
        let padded =
            [frame(&[VLAN], IPV4, &packet("192.0.2.1".parse().expect("an address"), 10)), vec![0; 300]];
        xdp.try_frame(&padded.concat(), 1).expect("tried");
        let counters = xdp.counters().expect("counted");
        let count = |packets, each| Count { packets, bytes: packets * each };
        assert_eq!(counters.processed, [count(10, 38), count(5, 58)]);
        assert_eq!(counters.blocked, [[count(4, 38), count(0, 0)], [count(2, 38), count(5, 58)]]);
    });
}

#[test]
fn throttled_sources_may_send_some() {
    within("frames::throttled_sources_may_send_some", || {
        let mut xdp = opened(layout());
        // So slow that nothing comes back while the test runs.
        let slow = Group { action: Action::Throttle { packets_per_second: 1, burst: 600 } };
        let elements = [
            element("192.0.2.1", 1),
            element("198.51.100.0/24", 1),
            element("2001:db8::/64", 1),
            // Throttled as an address, and denied as a part of a network.
            element("203.0.113.7", 1),
            element("203.0.113.0/24", 0),
        ];
        xdp.replace(&[DROP, slow], elements).expect("in force");
        for source in ["192.0.2.1", "198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"] {
            let frame = from(source);
            assert!(xdp.try_frame(&frame, 600).expect("tried").passes, "{source} may send 600");
            assert!(!xdp.try_frame(&frame, 100).expect("tried").passes, "{source} has sent 700");
        }
        assert!(!passes(&mut xdp, &from("203.0.113.7")));
        let blocked = xdp.counters().expect("counted").blocked;
        let counted = [blocked[1][0].packets, blocked[1][1].packets];
        // A test that is held up for seconds gets some packets back.
        assert!((280..=300).contains(&counted[0]) && (180..=200).contains(&counted[1]), "{counted:?}");
    });
}
