//! The program against a model of it: lists of elements that are gone through from the beginning to the end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testudo_event::Prefix;
use testudo_xdp::{Change, Element};

use crate::frame::{IPV4, IPV6, QINQ, VLAN, frame, packet};
use crate::namespace::within;
use crate::{DROP, layout, opened};

/// Addresses that are close to each other, so that they meet.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u32..512).prop_map(|n| Ipv4Addr::from_bits(0xc000_0200 | n).into()),
        (0u128..512).prop_map(|n| Ipv6Addr::from_bits(0x2001_0db8 << 96 | (n >> 5) << 60 | n).into()),
    ]
}

fn network() -> impl Strategy<Value = Prefix> {
    (address(), 0u8..=10).prop_map(|(addr, wider)| {
        let bits = if addr.is_ipv4() { 32 - wider } else { 128 - wider * 8 };
        Prefix::covering(addr, bits).expect("bits")
    })
}

#[derive(Clone, Debug)]
enum Step {
    Replace(Vec<Prefix>),
    Apply(Vec<(bool, Prefix)>),
    Allow(Vec<Prefix>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => vec(network(), 0..30).prop_map(Step::Replace),
        6 => vec((prop::bool::weighted(0.7), network()), 1..12).prop_map(Step::Apply),
        2 => vec(network(), 0..4).prop_map(Step::Allow),
    ]
}

fn element(net: Prefix) -> Element {
    Element { net, group: 0, timeout: Duration::from_hours(1) }
}

#[test]
fn what_is_listed_and_not_allowed_is_dropped() {
    within("model::what_is_listed_and_not_allowed_is_dropped", || {
        let strategy = (vec(step(), 1..12), vec((address(), 0usize..3), 1..40));
        let shared = RefCell::new(opened(layout()));
        let mut runner = TestRunner::new(Config { cases: 32, ..Config::default() });
        let checked = runner.run(&strategy, |(steps, sources)| {
            let mut xdp = shared.borrow_mut();
            xdp.allow(Vec::new()).expect("nobody");
            xdp.replace(&[DROP], []).expect("in force");
            let (mut listed, mut allowed) = (BTreeSet::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Replace(nets) => {
                        xdp.replace(&[DROP], nets.iter().copied().map(element)).expect("replaced");
                        listed = nets.into_iter().collect();
                    }
                    Step::Apply(changes) => {
                        let told: Vec<Change> = changes
                            .iter()
                            .map(
                                |(is_put, net)| {
                                    if *is_put { Change::Put(element(*net)) } else { Change::Remove(*net) }
                                },
                            )
                            .collect();
                        prop_assert!(xdp.apply(&told).expect("applied").failed.is_empty());
                        for (is_put, net) in changes {
                            if is_put {
                                listed.insert(net);
                            } else {
                                listed.remove(&net);
                            }
                        }
                    }
                    Step::Allow(nets) => {
                        xdp.allow(nets.clone()).expect("changed");
                        allowed = nets;
                    }
                }
                for net in &listed {
                    prop_assert!(xdp.get(*net).expect("asked").is_some(), "{} is not in force", net);
                }
                for (source, tags) in &sources {
                    let kind = if source.is_ipv4() { IPV4 } else { IPV6 };
                    let frame = frame(&[QINQ, VLAN][2 - tags..], kind, &packet(*source, 3));
                    let is_within = |net: &Prefix| net.contains(*source);
                    let expected = !listed.iter().any(is_within) || allowed.iter().any(is_within);
                    prop_assert_eq!(xdp.try_frame(&frame, 1).expect("tried").passes, expected, "{}", source);
                }
            }
            Ok(())
        });
        checked.expect("as the model");
    });
}
