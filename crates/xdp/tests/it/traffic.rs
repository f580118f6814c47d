//! Packets that really come, over a cable.

use testudo_xdp::{Change, Layout, Mode, Standing, Xdp};

use crate::namespace::{Peer, arrived, can_add, listener, run, within};
use crate::{DROP, dropping, element, layout, net};

const PORT: &str = ":9999";

/// The last digits of those whose packets arrive.
fn passing(peer: &Peer) -> Vec<String> {
    let mut list = Vec::new();
    for (here, sources) in
        [("10.9.0.1", ["10.9.0.2", "10.9.0.3", "10.9.0.6"]), ("[fd09::1]", ["fd09::2", "fd09::3", "fd09::6"])]
    {
        let socket = listener(&format!("{here}{PORT}"));
        for source in sources {
            peer.socket(source).send_to(b"here", format!("{here}{PORT}")).expect("sent");
        }
        list.extend(arrived(&socket).iter().map(|from| from.ip().to_string()));
    }
    list
}

fn mode_of(interface: &str) -> &'static str {
    let told = run(&format!("ip link show {interface}"));
    if told.contains("xdpgeneric") {
        "generic"
    } else if told.contains("xdp") {
        "native"
    } else {
        "none"
    }
}

fn drops_in(mode: Mode, shown: &str) {
    let peer = Peer::new();
    let all = ["10.9.0.2", "10.9.0.3", "10.9.0.6", "fd09::2", "fd09::3", "fd09::6"];
    assert_eq!(passing(&peer), all);
    let mut xdp = dropping(Layout { mode, ..layout() }, &["10.9.0.2", "10.9.0.6/31", "fd09::3"]);
    assert_eq!(mode_of("here"), shown);
    assert_eq!(passing(&peer), ["10.9.0.3", "fd09::2", "fd09::6"]);
    xdp.apply(&[Change::Remove(net("10.9.0.2")), Change::Put(element("fd09::6/127", 0))]).expect("applied");
    assert_eq!(passing(&peer), ["10.9.0.2", "10.9.0.3", "fd09::2"]);
    let counters = xdp.counters().expect("counted");
    assert_eq!(counters.blocked[0].map(|count| count.packets), [3, 3]);
    assert!(counters.processed.iter().all(|count| count.packets >= 6), "{counters:?}");
    assert_eq!(xdp.standing().expect("asked"), Standing::AsLaidOut);
    xdp.detach().expect("detached");
    assert_eq!((passing(&peer), mode_of("here")), (all.map(str::to_owned).to_vec(), "none"));
}

#[test]
fn in_the_driver() {
    within("traffic::in_the_driver", || drops_in(Mode::Native, "native"));
}

#[test]
fn in_the_kernel() {
    within("traffic::in_the_kernel", || drops_in(Mode::Generic, "generic"));
}

#[test]
fn where_the_driver_is_the_better_place() {
    within("traffic::where_the_driver_is_the_better_place", || drops_in(Mode::Auto, "native"));
}

/// Frames of nine thousand bytes lie in several pieces, which only programs bear that say so.
#[test]
fn long_frames() {
    within("traffic::long_frames", || {
        let peer = Peer::new();
        run("ip link set here mtu 9000");
        peer.run("ip link set there mtu 9000");
        let _xdp = dropping(Layout { mode: Mode::Native, ..layout() }, &["10.9.0.2"]);
        let socket = listener("10.9.0.1:9999");
        for source in ["10.9.0.2", "10.9.0.3"] {
            peer.socket(source).send_to(&[7; 8_900], "10.9.0.1:9999").expect("sent");
        }
        assert_eq!(
            arrived(&socket).iter().map(|from| from.ip().to_string()).collect::<Vec<_>>(),
            ["10.9.0.3"]
        );
    });
}

#[test]
fn behind_a_tag() {
    within("traffic::behind_a_tag", || {
        let peer = Peer::new();
        if !can_add("link here type vlan id 5") {
            return;
        }
        run("ip link add link here name here.5 type vlan id 5");
        run("ip addr add 10.5.0.1/24 dev here.5");
        run("ip link set here.5 up");
        peer.run("ip link add link there name there.5 type vlan id 5");
        peer.run("ip addr add 10.5.0.2/24 dev there.5");
        peer.run("ip addr add 10.5.0.3/24 dev there.5");
        peer.run("ip link set there.5 up");
        for mode in [Mode::Native, Mode::Generic] {
            let mut xdp = dropping(Layout { mode, ..layout() }, &["10.5.0.2"]);
            let socket = listener("10.5.0.1:9999");
            for source in ["10.5.0.2", "10.5.0.3"] {
                peer.socket(source).send_to(b"here", "10.5.0.1:9999").expect("sent");
            }
            let from: Vec<_> = arrived(&socket).iter().map(|from| from.ip().to_string()).collect();
            assert_eq!(from, ["10.5.0.3"], "{mode:?}");
            xdp.detach().expect("detached");
        }
    });
}

/// While everything is put into force anew, and again, not one packet passes that is dropped before and after.
#[test]
fn replacing_leaves_no_gap() {
    within("traffic::replacing_leaves_no_gap", || {
        let peer = Peer::new();
        let mut xdp: Xdp = dropping(layout(), &["10.9.0.2"]);
        let socket = listener("10.9.0.1:9999");
        let sender = peer.socket("10.9.0.2");
        let marker = peer.socket("10.9.0.3");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let sending = std::thread::spawn(move || {
            let mut sent = 0u32;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                sender.send_to(b"here", "10.9.0.1:9999").expect("sent");
                sent += 1;
                std::thread::yield_now();
            }
            sent
        });
        for round in 0..20u8 {
            let others = (0..round).map(|n| element(&format!("192.0.2.{n}"), 0));
            xdp.replace(&[DROP], others.chain([element("10.9.0.0/30", 0)])).expect("replaced");
            xdp.replace(&[DROP], [element("10.9.0.2", 0)]).expect("replaced");
            // From an address to a network around it, and back, in steps.
            xdp.apply(&[Change::Remove(net("10.9.0.2")), Change::Put(element("10.9.0.2/31", 0))])
                .expect("applied");
            xdp.apply(&[Change::Remove(net("10.9.0.2/31")), Change::Put(element("10.9.0.0/30", 0))])
                .expect("applied");
        }
        drop(stop);
        let sent = sending.join().expect("sent");
        xdp.replace(&[DROP], []).expect("replaced");
        marker.send_to(b"here", "10.9.0.1:9999").expect("sent");
        let from = arrived(&socket);
        assert_eq!(from.len(), 1, "of {sent} packets of 10.9.0.2, {} passed", from.len().saturating_sub(1));
        assert!(sent > 100, "only {sent} were sent");
    });
}
