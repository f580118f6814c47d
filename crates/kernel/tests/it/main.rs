//! Our table in real kernels: each test runs in a network namespace of its own, which vanishes with it.

#![cfg(target_os = "linux")]

mod changes;
mod filter;
mod large;
mod namespace;
mod pf;
mod refused;
mod round_trip;
mod standing;
mod user;
mod xtables;

use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{Action, Element, Group, Layout, Nft};

fn net(text: &str) -> Prefix {
    Prefix::parse(text).unwrap_or_else(|| Prefix::single(text.parse().expect(text)))
}

fn element(text: &str, group: u32) -> Element {
    Element { net: net(text), group, timeout: Duration::from_hours(1) }
}

fn group(name: &str, action: Action) -> Group {
    Group { name: name.to_owned(), action, log: None }
}

/// Two groups that drop.
fn layout() -> Layout {
    let groups = vec![group("crowdsec", Action::Drop), group("lists:firehol", Action::Drop)];
    Layout { groups, ..Layout::default() }
}

fn opened(layout: Layout) -> Nft {
    Nft::open(layout).expect("nftables")
}

/// What the kernel holds, by its network: the group and the seconds that are left.
fn held(nft: &mut Nft) -> Vec<(String, u32)> {
    let mut list: Vec<_> =
        nft.list().expect("listed").iter().map(|held| (held.net.to_string(), held.group)).collect();
    list.sort_unstable();
    list
}

fn expected<const N: usize>(list: [(&str, u32); N]) -> Vec<(String, u32)> {
    let mut list = list.map(|(net, group)| (net.to_owned(), group)).to_vec();
    list.sort_unstable();
    list
}
