//! Changes, and what becomes of elements by themselves.

use std::time::Duration;

use testudo_event::Prefix;
use testudo_xdp::{Change, Element, Error, Layout, Xdp};

use crate::frame::from;
use crate::namespace::within;
use crate::{DROP, dropping, element, layout, net, opened, put};

fn held(xdp: &mut Xdp, text: &str) -> Option<(u32, u64)> {
    let held = xdp.get(net(text)).expect("asked");
    held.map(|held| (held.group, held.remaining.as_secs_f64().round() as u64))
}

fn passes(xdp: &mut Xdp, source: &str) -> bool {
    xdp.try_frame(&from(source), 1).expect("tried").passes
}

fn apply(xdp: &mut Xdp, changes: &[Change]) {
    let applied = xdp.apply(changes).expect("applied");
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
}

#[test]
fn exactly_what_is_asked_for_is_found() {
    within("changes::exactly_what_is_asked_for_is_found", || {
        let mut xdp = opened(layout());
        assert!(matches!(xdp.apply(&[put("192.0.2.1", 0)]), Err(Error::NotThere)));
        let elements = [element("192.0.2.1", 1), element("198.51.100.0/24", 0), element("2001:db8::/32", 1)];
        xdp.replace(&[DROP, DROP], elements).expect("in force");
        for (text, expected) in [
            ("192.0.2.1", Some((1, 3_600))),
            ("192.0.2.2", None),
            ("192.0.2.0/24", None),
            ("198.51.100.0/24", Some((0, 3_600))),
            // Within it, and around it.
            ("198.51.100.0/25", None),
            ("198.51.100.1", None),
            ("198.51.0.0/16", None),
            ("2001:db8::/32", Some((1, 3_600))),
            ("2001:db8::/33", None),
            ("2001:db8::", None),
        ] {
            assert_eq!(held(&mut xdp, text), expected, "{text}");
        }
        let unknown = Element { group: 2, ..element("192.0.2.9", 0) };
        let applied = xdp.apply(&[Change::Put(unknown)]).expect("applied");
        assert!(matches!(applied.failed[..], [(_, Error::NoSuchGroup { group: 2, groups: 2, .. })]));
    });
}

#[test]
fn elements_come_go_and_stay_longer() {
    within("changes::elements_come_go_and_stay_longer", || {
        let mut xdp = dropping(layout(), &["192.0.2.1", "198.51.100.0/24"]);
        let longer = Element { timeout: Duration::from_hours(9), ..element("192.0.2.1", 0) };
        apply(
            &mut xdp,
            &[Change::Put(longer), Change::Remove(net("198.51.100.0/24")), put("2001:db8::1", 0)],
        );
        assert_eq!(held(&mut xdp, "192.0.2.1"), Some((0, 9 * 3_600)));
        assert!(passes(&mut xdp, "198.51.100.1") && !passes(&mut xdp, "2001:db8::1"));
        // What is gone already is gone.
        apply(&mut xdp, &[Change::Remove(net("203.0.113.1")), Change::Remove(net("203.0.113.0/24"))]);
        // A wider network takes the place of narrower ones, and they of it.
        apply(
            &mut xdp,
            &[Change::Remove(net("192.0.2.1")), put("192.0.2.0/25", 0), put("192.0.2.128/25", 0)],
        );
        let split = [
            Change::Remove(net("192.0.2.0/25")),
            Change::Remove(net("192.0.2.128/25")),
            put("192.0.2.0/24", 0),
        ];
        apply(&mut xdp, &split);
        assert!(!passes(&mut xdp, "192.0.2.1") && !passes(&mut xdp, "192.0.2.255"));
        apply(&mut xdp, &[Change::Remove(net("192.0.2.0/24"))]);
        assert!(passes(&mut xdp, "192.0.2.1"));
        // The last word about a network counts.
        apply(&mut xdp, &[put("192.0.2.7", 0), Change::Remove(net("192.0.2.7"))]);
        assert!(passes(&mut xdp, "192.0.2.7"));
        apply(&mut xdp, &[Change::Remove(net("192.0.2.7")), put("::ffff:192.0.2.7", 0)]);
        assert!(!passes(&mut xdp, "192.0.2.7"));
        // Nothing is left from before.
        xdp.replace(&[DROP], [element("203.0.113.1", 0)]).expect("replaced");
        assert!(passes(&mut xdp, "192.0.2.7") && !passes(&mut xdp, "203.0.113.1"));
        assert_eq!(held(&mut xdp, "2001:db8::1"), None);
    });
}

#[test]
fn a_full_table_tells_what_it_did_not_take() {
    within("changes::a_full_table_tells_what_it_did_not_take", || {
        let mut xdp = opened(Layout { addresses_max: 64, ranges_max: 8, ..layout() });
        let host = |n: u8| element(&format!("192.0.2.{n}"), 0);
        let range = |n: u8| element(&format!("10.{n}.0.0/16"), 0);
        let elements = (0..100).map(host).chain((0..10).map(range));
        let failed = xdp.replace(&[DROP], elements).expect("in force").failed;
        let full = |failed: &[(Prefix, Error)], kind: &str| {
            let is_it = |error: &Error| matches!(error, Error::Full { what, .. } if *what == kind);
            failed.iter().filter(|(_, error)| is_it(error)).count()
        };
        assert_eq!((full(&failed, "addresses"), full(&failed, "networks"), failed.len()), (36, 2, 38));
        assert!(!passes(&mut xdp, "192.0.2.1") && passes(&mut xdp, "192.0.2.99"));
        // What goes makes room in the same step, and what is there can stay longer.
        let changes = [put("192.0.2.99", 0), put("192.0.2.1", 0), Change::Remove(net("192.0.2.2"))];
        apply(&mut xdp, &changes);
        apply(&mut xdp, &[put("10.99.0.0/16", 0), Change::Remove(net("10.1.0.0/16"))]);
        assert!(!passes(&mut xdp, "192.0.2.99") && !passes(&mut xdp, "10.99.1.1"));
        assert_eq!(xdp.apply(&[put("192.0.2.200", 0)]).expect("applied").failed.len(), 1);
    });
}

#[test]
fn what_has_ended_makes_room_and_hides_nothing() {
    within("changes::what_has_ended_makes_room_and_hides_nothing", || {
        let mut xdp = opened(Layout { addresses_max: 8, ..layout() });
        let short = |text: &str| Element { timeout: Duration::from_millis(40), ..element(text, 0) };
        let elements = (0..8).map(|n| short(&format!("192.0.2.{n}"))).chain([short("198.51.100.0/24")]);
        xdp.replace(&[DROP], elements).expect("in force");
        // One is prolonged, one is prolonged and shortened again.
        apply(&mut xdp, &[put("192.0.2.0", 0), put("192.0.2.1", 0)]);
        apply(&mut xdp, &[Change::Put(short("192.0.2.1"))]);
        std::thread::sleep(Duration::from_millis(60));
        apply(&mut xdp, &[put("198.51.100.0/23", 0)]);
        assert!(!passes(&mut xdp, "198.51.100.1"), "the network that has ended hides the one that has come");
        let new: Vec<Change> = (100..107).map(|n| put(&format!("192.0.2.{n}"), 0)).collect();
        apply(&mut xdp, &new);
        assert!(!passes(&mut xdp, "192.0.2.0") && passes(&mut xdp, "192.0.2.1"));
        assert_eq!(xdp.apply(&[put("192.0.2.200", 0)]).expect("applied").failed.len(), 1);
    });
}
