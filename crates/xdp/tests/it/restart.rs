//! The process ends, and the next one begins.

use std::env;
use std::process::Command;
use std::time::Duration;

use testudo_xdp::{Element, Layout, Mode, Standing, Xdp};

use crate::namespace::{Peer, arrived, listener, within};
use crate::{DROP, dropping, element, layout, opened};

/// Set in the process that is killed.
const VICTIM: &str = "TESTUDO_TEST_VICTIM";

fn passes(peer: &Peer, source: &str) -> bool {
    let socket = listener("10.9.0.1:9999");
    peer.socket(source).send_to(b"here", "10.9.0.1:9999").expect("sent");
    !arrived(&socket).is_empty()
}

#[test]
fn kill_9_leaves_it_in_force_and_the_next_takes_over() {
    within("restart::kill_9_leaves_it_in_force_and_the_next_takes_over", || {
        if env::var_os(VICTIM).is_some() {
            let mut xdp = opened(layout());
            let short = Element { timeout: Duration::from_secs(2), ..element("10.9.0.3", 0) };
            xdp.replace(&[DROP], [element("10.9.0.2", 0), short]).expect("in force");
            // No destructor runs.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .expect("killed");
        }
        let peer = Peer::new();
        let status = Command::new(env::current_exe().expect("this program"))
            .args(env::args().skip(1))
            .env(VICTIM, "1")
            .status()
            .expect("started");
        assert!(!status.success());
        assert!(!passes(&peer, "10.9.0.2") && passes(&peer, "10.9.0.4"));
        // Nobody is there, and yet it ends.
        std::thread::sleep(Duration::from_secs(2));
        assert!(passes(&peer, "10.9.0.3"));
        // The next one looks, and what is in force stays so.
        let mut next = opened(layout());
        assert!(!passes(&peer, "10.9.0.2"));
        assert_eq!(next.standing().expect("asked"), Standing::NotThere);
        next.replace(&[DROP], [element("10.9.0.4", 0)]).expect("in force");
        assert!(passes(&peer, "10.9.0.2") && !passes(&peer, "10.9.0.4"));
        assert_eq!(next.standing().expect("asked"), Standing::AsLaidOut);
        next.detach().expect("detached");
        assert!(passes(&peer, "10.9.0.4"));
    });
}

#[test]
fn it_is_removed_by_whoever_comes_later() {
    within("restart::it_is_removed_by_whoever_comes_later", || {
        let peer = Peer::new();
        assert_eq!(Xdp::remove(&layout()).expect("removed"), 0);
        drop(dropping(layout(), &["10.9.0.2"]));
        assert!(!passes(&peer, "10.9.0.2"));
        assert_eq!(Xdp::remove(&layout()).expect("removed"), 1);
        assert!(passes(&peer, "10.9.0.2"));
    });
}

#[test]
fn the_next_may_want_it_otherwise() {
    within("restart::the_next_may_want_it_otherwise", || {
        let peer = Peer::new();
        let shown = || crate::namespace::run("ip link show here");
        drop(dropping(Layout { mode: Mode::Native, ..layout() }, &["10.9.0.2"]));
        drop(dropping(Layout { mode: Mode::Generic, ..layout() }, &["10.9.0.2"]));
        assert!(shown().contains("xdpgeneric"), "{}", shown());
        // What is in the kernel is good enough for whoever does not care.
        drop(dropping(layout(), &["10.9.0.2"]));
        assert!(shown().contains("xdpgeneric") && !passes(&peer, "10.9.0.2"));
        drop(dropping(Layout { mode: Mode::Native, ..layout() }, &["10.9.0.2"]));
        assert!(!shown().contains("xdpgeneric") && !passes(&peer, "10.9.0.2"));
        // Interfaces that are no longer named are let go.
        crate::namespace::run("ip link add second type veth peer name end");
        let _last = dropping(Layout { interfaces: vec!["second".to_owned()], ..layout() }, &["10.9.0.2"]);
        // The kernel lets it go a moment later.
        assert!((0..50).any(|_| passes(&peer, "10.9.0.2")));
    });
}
