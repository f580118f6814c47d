//! Interfaces that are not as they were, and programs of somebody else.

use testudo_xdp::{Error, Layout, Mode, Standing, Xdp};

use crate::frame::from;
use crate::namespace::{Peer, arrived, can_add, listener, run, within};
use crate::{DROP, dropping, element, layout, opened};

/// Whether a packet of 10.9.0.2 arrives.
fn passes(peer: &Peer) -> bool {
    let socket = listener("10.9.0.1:9999");
    peer.socket("10.9.0.2").send_to(b"here", "10.9.0.1:9999").expect("sent");
    !arrived(&socket).is_empty()
}

/// The names of our links; the kernel has names of its own there.
fn links() -> Vec<std::path::PathBuf> {
    let names =
        std::fs::read_dir(layout().folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let is_ours = |path: &std::path::PathBuf| path.to_string_lossy().contains("/testudo_");
    names.filter(is_ours).collect()
}

/// The same kind of program, of somebody who has other names for his links.
fn of_somebody_else() -> Layout {
    Layout { name: "other".to_owned(), ..layout() }
}

#[test]
fn programs_of_others_stay() {
    within("others::programs_of_others_stay", || {
        let peer = Peer::new();
        let mut other = dropping(of_somebody_else(), &["10.9.0.2"]);
        let mut xdp = opened(layout());
        let error = xdp.replace(&[DROP], []).expect_err("somebody is there");
        let told = error.to_string();
        assert!(
            told.starts_with("here runs an XDP program of somebody else already (testudo, number "),
            "{told}"
        );
        assert!(matches!(error, Error::Occupied { .. }));
        assert!(!passes(&peer), "the other program works on");
        assert_eq!(other.standing().expect("asked"), Standing::AsLaidOut);
        assert_eq!(Xdp::remove(&layout()).expect("removed"), 0);
        assert!(!passes(&peer), "the other program works on");
        // He goes, and the place is free.
        other.detach().expect("detached");
        assert!(passes(&peer));
        xdp.replace(&[DROP], [element("10.9.0.2", 0)]).expect("in force");
        assert!(!passes(&peer));
        assert!(matches!(other.replace(&[DROP], []), Err(Error::Occupied { .. })));
        assert!(!passes(&peer));
    });
}

#[test]
fn an_interface_of_others_does_not_keep_the_rest_from_being_guarded() {
    within("others::an_interface_of_others_does_not_keep_the_rest_from_being_guarded", || {
        let peer = Peer::new();
        run("ip link add second type veth peer name end");
        let second = vec!["second".to_owned()];
        let _other = dropping(Layout { interfaces: second, ..of_somebody_else() }, &[]);
        let interfaces = ["second", "lo", "here", "absent"].map(str::to_owned).to_vec();
        let mut xdp = dropping(Layout { interfaces, ..layout() }, &["10.9.0.2"]);
        assert!(!passes(&peer));
        for _ in 0..2 {
            let told: Vec<&str> = xdp.unguarded().values().map(String::as_str).collect();
            assert_eq!(told.len(), 3, "{told:?}");
            assert_eq!(told[..2], ["absent is not there", "lo is no Ethernet interface; leave it out"]);
            assert!(told[2].starts_with("second runs an XDP program of somebody else"), "{told:?}");
            assert_eq!(xdp.standing().expect("asked"), Standing::AsLaidOut);
        }
    });
}

#[test]
fn interfaces_come_and_go() {
    within("others::interfaces_come_and_go", || {
        let mut xdp = dropping(layout(), &["10.9.0.2"]);
        assert_eq!(xdp.unguarded()["here"], "here is not there");
        let peer = Peer::new();
        assert!(passes(&peer), "nobody has noticed yet");
        for _ in 0..2 {
            assert_eq!(xdp.standing().expect("asked"), Standing::AsLaidOut);
            assert!(xdp.unguarded().is_empty());
            assert!(!passes(&peer));
            run("ip link del here");
            assert_eq!(xdp.standing().expect("asked"), Standing::AsLaidOut);
            assert_eq!(xdp.unguarded()["here"], "here is not there");
            peer.plug_in();
        }
        // Under another name it is the same one.
        xdp.standing().expect("asked");
        run("ip link set here down");
        run("ip link set here name renamed");
        let interfaces = vec!["renamed".to_owned()];
        let mut next = dropping(Layout { interfaces, ..layout() }, &["10.9.0.3"]);
        run("ip link set renamed up");
        assert!(passes(&peer), "the new elements are in force");
        assert_eq!(next.standing().expect("asked"), Standing::AsLaidOut);
        drop(xdp);
        assert_eq!(next.standing().expect("asked"), Standing::AsLaidOut);
    });
}

/// What is taken away is put back: the name of the link, and the link.
#[test]
fn what_is_taken_away_is_put_back() {
    within("others::what_is_taken_away_is_put_back", || {
        let peer = Peer::new();
        let mut xdp = dropping(layout(), &["10.9.0.2"]);
        let names = || links().len();
        assert_eq!(names(), 1);
        // Somebody removes the name: the process still holds the link.
        assert_eq!(Xdp::remove(&layout()).expect("removed"), 1);
        assert_eq!(names(), 0);
        assert!(!passes(&peer));
        assert_eq!(xdp.standing().expect("asked"), Standing::AsLaidOut);
        assert_eq!(names(), 1);
        drop(xdp);
        assert!(!passes(&peer), "the name keeps it");
    });
}

/// Somebody cuts the link itself, as `bpftool link detach` does.
#[test]
fn a_link_that_was_cut_is_made_anew() {
    within("others::a_link_that_was_cut_is_made_anew", || {
        let bpftool = ["bpftool", "/usr/sbin/bpftool"].into_iter().find(|program| {
            std::process::Command::new(program)
                .arg("version")
                .output()
                .is_ok_and(|output| output.status.success())
        });
        let Some(bpftool) = bpftool else {
            println!("skipped: bpftool is not installed");
            return;
        };
        let peer = Peer::new();
        let mut xdp = dropping(layout(), &["10.9.0.2"]);
        let name =
            std::fs::read_dir(layout().folder).expect("the folder").flatten().next().expect("a link").path();
        run(&format!("{bpftool} link detach pinned {}", name.display()));
        assert!(passes(&peer));
        assert_eq!(xdp.standing().expect("asked"), Standing::PutBack);
        assert!(!passes(&peer));
        assert_eq!(xdp.standing().expect("asked"), Standing::AsLaidOut);
        // And by a new start.
        run(&format!("{bpftool} link detach pinned {}", name.display()));
        drop(xdp);
        let _next = dropping(layout(), &["10.9.0.2"]);
        assert!(!passes(&peer));
    });
}

#[test]
fn what_makes_no_sense_is_told() {
    within("others::what_makes_no_sense_is_told", || {
        let told = |layout: Layout| Xdp::open(layout).expect_err("no sense").to_string();
        assert!(told(Layout { interfaces: Vec::new(), ..layout() }).starts_with("no interface is named"));
        assert!(
            told(Layout { name: "a/b".to_owned(), ..layout() }).starts_with("'a/b' is no name for links")
        );
        let folder = std::env::temp_dir().join("file");
        std::fs::write(&folder, "").expect("written");
        assert!(told(Layout { folder, ..layout() }).contains("file cannot be used for links"));
        // A driver without XDP is named, with what to do, and found no reason to give up in the mode `auto`.
        if !can_add("type bridge") {
            return;
        }
        run("ip link add here type bridge");
        let mut native = opened(Layout { mode: Mode::Native, ..layout() });
        let error = native.replace(&[DROP], []).expect_err("no XDP").to_string();
        assert!(
            error.starts_with("here does not take the program: ") && error.contains("`generic`"),
            "{error}"
        );
        let mut auto = dropping(layout(), &["10.9.0.2"]);
        assert!(auto.unguarded().is_empty());
        assert!(!auto.try_frame(&from("10.9.0.2"), 1).expect("tried").passes);
    });
}
