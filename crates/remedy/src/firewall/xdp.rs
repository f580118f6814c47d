//! XDP as a backend.

use std::collections::BTreeMap;
use std::time::Duration;

use testudo_event::Prefix;
use testudo_xdp::{
    Action as Fate, Applied, Change as XdpChange, Element as XdpElement, Error, Group as XdpGroup, Layout,
    Mode, Standing, Xdp,
};

use super::config::{FirewallConfig, XdpConfig, XdpMode};
use super::filter::{Filter, FilterError};
use crate::backend::{Backend, Change, Element, Failed, Found, Traffic};
use crate::group::{Action, Group, GroupId};

/// A program of ours on interfaces of this machine.
pub(super) struct XdpFilter {
    xdp: Xdp,
    throttle: Fate,
    /// What was told about interfaces that are not guarded.
    told: BTreeMap<String, String>,
}

impl XdpFilter {
    /// Looks whether the kernel can do it. What is in force stays so.
    pub(super) fn open(
        config: &FirewallConfig,
        own: &XdpConfig,
        allow: Vec<Prefix>,
    ) -> Result<XdpFilter, Error> {
        let layout = Layout {
            interfaces: own.interfaces.clone(),
            mode: match own.mode {
                XdpMode::Auto => Mode::Auto,
                XdpMode::Native => Mode::Native,
                XdpMode::Generic => Mode::Generic,
            },
            folder: own.folder.clone(),
            name: config.table.clone(),
            addresses_max: own.addresses,
            ranges_max: own.ranges,
            allow,
        };
        let throttle = Fate::Throttle { packets_per_second: config.throttle, burst: config.throttle };
        Ok(XdpFilter { xdp: Xdp::open(layout)?, throttle, told: BTreeMap::new() })
    }

    /// Tells which interfaces are not guarded, and which are again.
    fn tell(&mut self) {
        let unguarded = self.xdp.unguarded();
        if *unguarded == self.told {
            return;
        }
        for (interface, problem) in unguarded {
            if self.told.get(interface) != Some(problem) {
                tracing::warn!(interface, "not guarded: {problem}");
            }
        }
        for interface in self.told.keys().filter(|interface| !unguarded.contains_key(*interface)) {
            tracing::info!(interface, "guarded");
        }
        self.told = unguarded.clone();
    }
}

fn element(element: Element) -> XdpElement {
    XdpElement {
        net: element.net,
        group: u32::from(element.group.0),
        timeout: Duration::from_millis(element.left_ms),
    }
}

fn failed(applied: Applied) -> Vec<Failed> {
    let problem = |error: &Error| match error {
        Error::Full { what: "addresses", .. } => format!("{error}; raise `xdp_addresses`"),
        Error::Full { .. } => format!("{error}; raise `xdp_ranges`"),
        other => other.to_string(),
    };
    let failed = applied.failed.iter().map(|(net, error)| Failed {
        net: *net,
        problem: problem(error),
        is_full: matches!(error, Error::Full { .. }),
    });
    failed.collect()
}

impl Filter for XdpFilter {
    fn remove(&mut self) -> Result<(), FilterError> {
        Ok(self.xdp.detach()?)
    }
}

impl Backend for XdpFilter {
    type Error = FilterError;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, FilterError> {
        let fate = |group: &Group| match group.action {
            Action::Deny => Fate::Drop,
            Action::Throttle => self.throttle,
        };
        let groups: Vec<XdpGroup> = groups.iter().map(|group| XdpGroup { action: fate(group) }).collect();
        let applied = self.xdp.replace(&groups, elements.iter().copied().map(element));
        self.tell();
        Ok(failed(applied?))
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, FilterError> {
        let changes: Vec<XdpChange> = changes
            .iter()
            .map(|change| match *change {
                Change::Add(new) | Change::Replace(new) => XdpChange::Put(element(new)),
                Change::Remove(net) => XdpChange::Remove(net),
            })
            .collect();
        Ok(failed(self.xdp.apply(&changes)?))
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, FilterError> {
        let held = self.xdp.get(net)?;
        Ok(held.map(|held| Found {
            group: u16::try_from(held.group).ok().map(GroupId),
            left_ms: Some(u64::try_from(held.remaining.as_millis()).unwrap_or(u64::MAX)),
        }))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    /// Addresses and networks of each family have a table of their own.
    fn room(&self, net: Prefix, _: GroupId) -> u32 {
        let is_v6 = net.addr().is_ipv6();
        let is_single = net.bits() == if is_v6 { 128 } else { 32 };
        u32::from(is_v6) | u32::from(is_single) << 1
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), FilterError> {
        Ok(self.xdp.allow(nets.to_vec())?)
    }

    fn traffic(&mut self) -> Result<Traffic, FilterError> {
        let counters = self.xdp.counters()?;
        let pair = |count: testudo_xdp::Count| (count.packets, count.bytes);
        Ok(Traffic {
            processed: counters.processed.map(pair),
            denied: counters.blocked.into_iter().map(|families| families.map(pair)).collect(),
        })
    }

    fn is_whole(&mut self) -> Result<bool, FilterError> {
        let standing = self.xdp.standing();
        self.tell();
        Ok(standing? == Standing::AsLaidOut)
    }
}
