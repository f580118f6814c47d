//! What happens to packets.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testudo_kernel::{Action, Change, Element, Hook, HookPoint, Layout, Nft};

use crate::namespace::{Peer, arrived, has, listener, nft, within};
use crate::{element, group, layout, net, opened};

/// How many of ten packets from there arrive here.
pub(crate) fn passing(peer: &Peer, from: &str, to: &UdpSocket) -> usize {
    let sender = peer.socket(from);
    let address = to.local_addr().expect("an address");
    for _ in 0..10 {
        let _ = sender.send_to(b"x", address);
    }
    arrived(to).len()
}

fn packets(nft: &mut Nft, group: usize) -> [u64; 2] {
    nft.counters().expect("counted").blocked[group].map(|count| count.packets)
}

#[test]
fn listed_sources_are_dropped_and_no_others() {
    within("filter::listed_sources_are_dropped_and_no_others", || {
        let peer = Peer::new();
        let (v4, v6) = (listener("10.9.0.1:5000"), listener("[fd09::1]:5000"));
        for (from, to) in [("10.9.0.2", &v4), ("10.9.0.4", &v4), ("fd09::2", &v6), ("fd09::4", &v6)] {
            assert_eq!(passing(&peer, from, to), 10, "{from} before");
        }
        let mut nft = opened(layout());
        let elements = [("10.9.0.2", 0), ("10.9.0.4/31", 1), ("fd09::2", 0), ("fd09::4/127", 1)]
            .map(|(n, g)| element(n, g));
        nft.replace(elements).expect("replaced");
        for (from, to, expected) in [
            ("10.9.0.2", &v4, 0),
            ("10.9.0.3", &v4, 10),
            ("10.9.0.4", &v4, 0),
            ("10.9.0.5", &v4, 0),
            ("10.9.0.6", &v4, 10),
            ("fd09::2", &v6, 0),
            ("fd09::3", &v6, 10),
            ("fd09::4", &v6, 0),
            ("fd09::5", &v6, 0),
            ("fd09::6", &v6, 10),
        ] {
            assert_eq!(passing(&peer, from, to), expected, "{from}");
        }
        assert_eq!(packets(&mut nft, 0), [10, 10]);
        assert_eq!(packets(&mut nft, 1), [20, 20]);
        let counters = nft.counters().expect("counted");
        assert!(counters.processed[0].packets >= 50 && counters.processed[1].packets >= 50, "{counters:?}");
        assert_eq!(counters.blocked[0][0].bytes, 10 * 29, "bytes with their headers");
        let change = [Change::Remove(net("10.9.0.2"))];
        assert_eq!(nft.apply(&change).expect("applied").done, 1);
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 10, "removed");
        let short = Element { timeout: Duration::from_millis(100), ..element("10.9.0.3", 0) };
        assert_eq!(nft.apply(&[Change::Add(short)]).expect("applied").done, 1);
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 0, "for a moment");
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 10, "expired");
    });
}

#[test]
fn at_another_hook() {
    within("filter::at_another_hook", || {
        let peer = Peer::new();
        let v4 = listener("10.9.0.1:5000");
        for (at, expected) in [(HookPoint::Input, 0), (HookPoint::Forward, 10)] {
            let hooks = vec![Hook { at, priority: -10 }];
            let mut nft = opened(Layout { hooks, ..layout() });
            nft.replace([element("10.9.0.2", 0)]).expect("replaced");
            assert_eq!(passing(&peer, "10.9.0.2", &v4), expected, "{at:?}");
            assert_eq!(passing(&peer, "10.9.0.3", &v4), 10, "{at:?}");
        }
    });
}

#[test]
fn who_is_allowed_passes_and_so_does_the_machine_itself() {
    within("filter::who_is_allowed_passes_and_so_does_the_machine_itself", || {
        let peer = Peer::new();
        let (v4, v6) = (listener("10.9.0.1:5000"), listener("[fd09::1]:5000"));
        let own = listener("127.0.0.1:5000");
        let mut nft = opened(Layout { allow: vec![net("10.9.0.2"), net("fd09::2/128")], ..layout() });
        nft.replace([element("0.0.0.0/0", 0), element("::/0", 0)]).expect("replaced");
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 10);
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 0);
        assert_eq!(passing(&peer, "fd09::2", &v6), 10);
        assert_eq!(passing(&peer, "fd09::3", &v6), 0);
        for _ in 0..10 {
            UdpSocket::bind("127.0.0.1:0").expect("bound").send_to(b"x", "127.0.0.1:5000").expect("sent");
        }
        assert_eq!(arrived(&own).len(), 10);
        nft.allow(vec![net("10.9.0.3")]).expect("others");
        assert_eq!(passing(&peer, "10.9.0.2", &v4), 0);
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 10);
    });
}

#[test]
fn rejected_senders_are_told() {
    within("filter::rejected_senders_are_told", || {
        let peer = Peer::new();
        let _open = TcpListener::bind("10.9.0.1:80").expect("bound");
        let (v4, v6) = (listener("10.9.0.1:5000"), listener("[fd09::1]:5000"));
        let mut nft = opened(Layout { groups: vec![group("console", Action::Reject)], ..Layout::default() });
        nft.replace([element("10.9.0.2", 0), element("fd09::2", 0)]).expect("replaced");
        for (from, to, expected) in [
            ("10.9.0.2", &v4, Some(ErrorKind::ConnectionRefused)),
            ("10.9.0.3", &v4, None),
            ("fd09::2", &v6, Some(ErrorKind::ConnectionRefused)),
        ] {
            let sender = peer.socket(from);
            sender.connect(to.local_addr().expect("an address")).expect("connected");
            sender.set_read_timeout(Some(Duration::from_millis(300))).expect("a limit");
            let ask = || {
                sender
                    .send(b"x")
                    .and_then(|_| sender.recv(&mut [0; 8]))
                    .expect_err("nothing comes back")
                    .kind()
            };
            let told = if expected.is_some() {
                // On a busy machine, neighbours take their time to find each other.
                (0..30).map(|_| ask()).find(|kind| *kind != ErrorKind::WouldBlock)
            } else {
                Some(ask()).filter(|kind| *kind != ErrorKind::WouldBlock)
            };
            assert_eq!(told, expected, "{from}");
            assert_eq!(arrived(to).len(), usize::from(expected.is_none()), "{from}");
        }
        assert_eq!(peer.connects("10.9.0.1:80"), Err(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn throttled_sources_have_each_their_share() {
    within("filter::throttled_sources_have_each_their_share", || {
        let peer = Peer::new();
        let (v4, v6) = (listener("10.9.0.1:5000"), listener("[fd09::1]:5000"));
        let slow = Action::Throttle { packets_per_second: 1, burst: 3 };
        let groups = vec![group("slow", slow), group("crowdsec", Action::Drop)];
        let mut nft = opened(Layout { groups, ..Layout::default() });
        nft.replace([element("10.9.0.2", 0), element("10.9.0.4/31", 0), element("fd09::2", 0)])
            .expect("replaced");
        for (from, to) in [("10.9.0.2", &v4), ("10.9.0.4", &v4), ("10.9.0.5", &v4), ("fd09::2", &v6)] {
            let passed = passing(&peer, from, to);
            assert!((3..=4).contains(&passed), "{from}: {passed}");
        }
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 10, "not listed");
        let blocked = packets(&mut nft, 0);
        assert!((18..=21).contains(&blocked[0]) && (6..=7).contains(&blocked[1]), "{blocked:?}");
    });
}

/// Ends the floods, also when the test fails.
struct End<'s>(&'s AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_replacement_leaves_no_gap() {
    within("filter::a_replacement_leaves_no_gap", || {
        let peer = Peer::new();
        let v4 = listener("10.9.0.1:5000");
        let mut nft = opened(layout());
        let elements = || {
            let others = (0..5_000_u32).map(|n| {
                let addr = std::net::Ipv4Addr::from_bits(0xc000_0000 + n);
                Element { net: testudo_event::Prefix::single(addr.into()), ..element("192.0.2.1", 1) }
            });
            [element("10.9.0.2", 0), element("10.9.0.4/31", 1)].into_iter().chain(others)
        };
        nft.replace(elements()).expect("replaced");
        let stop = AtomicBool::new(false);
        let floods = ["10.9.0.2", "10.9.0.5"].map(|from| peer.socket(from));
        let sent: usize = thread::scope(|scope| {
            let floods = floods.map(|socket| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) {
                        sent += usize::from(socket.send_to(b"x", "10.9.0.1:5000").is_ok());
                    }
                    sent
                })
            });
            let end = End(&stop);
            for _ in 0..40 {
                nft = opened(layout());
                nft.replace(elements()).expect("replaced");
                nft.apply(&[
                    Change::Refresh(element("10.9.0.2", 1)),
                    Change::Refresh(element("10.9.0.4/31", 0)),
                ])
                .expect("refreshed");
            }
            drop(end);
            floods.map(|flood| flood.join().expect("a flood")).iter().sum()
        });
        assert!(sent > 1_000, "{sent} packets were sent");
        assert_eq!(arrived(&v4).len(), 0, "of {sent}");
        assert_eq!(passing(&peer, "10.9.0.3", &v4), 10, "the neighbour");
    });
}

#[test]
fn tables_of_others_stay_as_they_are() {
    within("filter::tables_of_others_stay_as_they_are", || {
        if !has("nft") {
            return;
        }
        nft("add table inet other; add chain inet other c { type filter hook input priority 0; }; \
             add set inet other s { type ipv4_addr; }; add element inet other s { 192.0.2.1 }; \
             add rule inet other c ip saddr @s drop; add table ip testudo");
        let before = nft("list ruleset");
        let mut table = opened(layout());
        table.replace([element("192.0.2.1", 0)]).expect("replaced");
        table.replace([element("192.0.2.2", 0)]).expect("replaced");
        assert!(nft("list ruleset").starts_with(&before));
        table.remove_table().expect("removed");
        assert_eq!(nft("list ruleset"), before);
    });
}
