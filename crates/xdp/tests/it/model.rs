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

/// Frames that may be anything, but often are nearly right.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![Just(VLAN), Just(QINQ), Just(0x9100), any::<u16>()];
    let kind = prop_oneof![4 => Just(IPV4), 4 => Just(IPV6), 1 => any::<u16>()];
    let hop_limit = prop_oneof![Just(255), any::<u8>()];
    let content = (prop_oneof![Just(58), any::<u8>()], hop_limit, vec(any::<u8>(), 0..64), 130u8..140);
    (vec(tag, 0..4), kind, content).prop_map(|(tags, kind, (next, hops, mut content, first))| {
        for (at, byte) in [(6, next), (7, hops), (40, first)] {
            if let Some(place) = content.get_mut(at) {
                *place = byte;
            }
        }
        frame(&tags, kind, &content)
    })
}

/// The source of what a frame carries, unless neighbours find each other by it: written as the standards say it.
fn source_of(frame: &[u8]) -> Option<IpAddr> {
    let mut rest = frame.get(12..)?;
    for _ in 0..2 {
        let kind = u16::from_be_bytes(*rest.first_chunk()?);
        if ![VLAN, QINQ, 0x9100].contains(&kind) {
            break;
        }
        rest = rest.get(4..)?;
    }
    let kind = u16::from_be_bytes(*rest.first_chunk()?);
    let packet = rest.get(2..)?;
    match kind {
        IPV4 => packet
            .first_chunk()
            .map(|header: &[u8; 20]| Ipv4Addr::new(header[12], header[13], header[14], header[15]).into()),
        IPV6 => {
            let header: &[u8; 40] = packet.first_chunk()?;
            let is_of_neighbours =
                header[6] == 58 && header[7] == 255 && (133..=137).contains(packet.get(40).unwrap_or(&0));
            let source: [u8; 16] = header[8..24].try_into().expect("16 bytes");
            (!is_of_neighbours).then(|| Ipv6Addr::from(source).into())
        }
        _ => None,
    }
}

/// Half of all addresses are listed.
#[test]
fn any_frame_is_understood_as_it_is_written() {
    within("model::any_frame_is_understood_as_it_is_written", || {
        let half = ["128.0.0.0/1", "8000::/1"];
        let shared = RefCell::new(crate::dropping(layout(), &half));
        let mut runner = TestRunner::new(Config { cases: 4_000, ..Config::default() });
        let checked = runner.run(&any_frame(), |frame| {
            let expected = source_of(&frame)
                .is_none_or(|source| !half.iter().any(|net| crate::net(net).contains(source)));
            let tried = shared.borrow_mut().try_frame(&frame, 1).expect("tried");
            prop_assert_eq!(tried.passes, expected);
            Ok(())
        });
        checked.expect("as the model");
        let counters = shared.borrow_mut().counters().expect("counted");
        let dropped = counters.blocked[0].map(|count| count.packets);
        assert!(dropped.iter().all(|packets| *packets > 100), "{counters:?}");
    });
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
