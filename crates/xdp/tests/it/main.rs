//! The program in real kernels: each test runs in a network namespace of its own, which vanishes with it.

#![cfg(target_os = "linux")]

mod changes;
mod frame;
mod frames;
mod model;
mod namespace;
mod others;
mod restart;
mod traffic;

use std::time::Duration;

use testudo_event::Prefix;
use testudo_xdp::{Action, Change, Element, Group, Layout, Mode, Xdp};

const DROP: Group = Group { action: Action::Drop };

fn net(text: &str) -> Prefix {
    Prefix::parse(text).unwrap_or_else(|| Prefix::single(text.parse().expect(text)))
}

fn element(text: &str, group: u32) -> Element {
    Element { net: net(text), group, timeout: Duration::from_hours(1) }
}

fn put(text: &str, group: u32) -> Change {
    Change::Put(element(text, group))
}

/// On the interface `here`, with little tables.
fn layout() -> Layout {
    Layout {
        interfaces: vec!["here".to_owned()],
        folder: std::env::temp_dir().join("testudo-xdp-test"),
        mode: Mode::Auto,
        addresses_max: 1_000,
        ranges_max: 1_000,
        ..Layout::default()
    }
}

fn opened(layout: Layout) -> Xdp {
    Xdp::open(layout).expect("the kernel has XDP")
}

/// Opened, with these elements in force, in a group that drops.
fn dropping(layout: Layout, nets: &[&str]) -> Xdp {
    let mut xdp = opened(layout);
    let applied = xdp.replace(&[DROP], nets.iter().map(|net| element(net, 0))).expect("in force");
    assert!(applied.failed.is_empty(), "{:?}", applied.failed);
    xdp
}
