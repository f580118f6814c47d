//! XDP as a backend.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use testudo_event::Prefix;
use testudo_xdp::{
    Action as Fate, Applied, Change as XdpChange, Element as XdpElement, Error, Group as XdpGroup, Layout,
    Mode, Standing, Xdp,
};

use super::config::{Deny, FirewallConfig};
use crate::access::AccessError;
use crate::backend::{Backend, Change, Element, Failed, Found, Traffic};
use crate::group::{Action, Group, GroupId};

/// The longest name of an interface that Linux takes.
const INTERFACE_MOST: usize = 15;

/// Entries of a table: more would not fit into the memory of most machines.
const ENTRIES_MOST: u32 = 1 << 26;

/// How the program hangs on its interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum XdpMode {
    /// In the driver, or where it cannot, in the kernel.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// In the kernel.
    Generic,
}

impl TryFrom<String> for XdpMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(XdpMode::Auto),
            "native" => Ok(XdpMode::Native),
            "generic" => Ok(XdpMode::Generic),
            _ => Err(format!("{text:?} is not offered: write `native`, `generic` or `auto`")),
        }
    }
}

/// What XDP is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpConfig {
    /// The interfaces that are guarded.
    pub interfaces: Vec<String>,
    /// How the program hangs on them.
    pub mode: XdpMode,
    /// Single addresses of each family that there is room for.
    pub addresses: u32,
    /// Networks of each family.
    pub ranges: u32,
    /// The folder of links.
    pub folder: PathBuf,
}

impl Default for XdpConfig {
    fn default() -> Self {
        let layout = Layout::default();
        XdpConfig {
            interfaces: Vec::new(),
            mode: XdpMode::default(),
            addresses: layout.addresses_max,
            ranges: layout.ranges_max,
            folder: layout.folder,
        }
    }
}

impl XdpConfig {
    /// Checks what was read, with what is said elsewhere about packets that are denied.
    pub(super) fn check(self, deny: Deny, is_logged: bool) -> Result<XdpConfig, AccessError> {
        let problem = |key, problem: &str| Err(AccessError::Value { key, problem: problem.to_owned() });
        if self.interfaces.is_empty() {
            return problem("interfaces", "it is missing; name those that attackers come by, as `[eth0]`");
        }
        let is_name = |name: &String| {
            let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
            (1..=INTERFACE_MOST).contains(&name.len()) && !name.contains(is_odd)
        };
        if let Some(name) = self.interfaces.iter().find(|name| !is_name(name)) {
            return problem("interfaces", &format!("{name:?} is no name of a network interface"));
        }
        for (key, entries) in [("xdp_addresses", self.addresses), ("xdp_ranges", self.ranges)] {
            if !(1..=ENTRIES_MOST).contains(&entries) {
                return problem(key, &format!("it must be from 1 to {ENTRIES_MOST}"));
            }
        }
        if deny == Deny::Reject {
            return problem("deny_action", "XDP cannot answer; write DROP, or use `mode: nftables`");
        }
        if is_logged {
            return problem(
                "deny_log",
                "the kernel logs nothing of what XDP drops; use `mode: nftables` for that",
            );
        }
        Ok(self)
    }
}

/// A program of ours on interfaces of this machine.
pub struct XdpFilter {
    xdp: Xdp,
    throttle: Fate,
    /// What was told about interfaces that are not guarded.
    told: BTreeMap<String, String>,
}

fn layout(config: &FirewallConfig, own: &XdpConfig) -> Layout {
    Layout {
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
        allow: config.protect.now().into_iter().map(|(net, _)| net).collect(),
    }
}

/// Looks whether the kernel can do it. What is in force stays so.
///
/// # Errors
/// It cannot, or the process may not.
pub fn xdp(config: &FirewallConfig, own: &XdpConfig) -> Result<XdpFilter, Error> {
    let throttle = Fate::Throttle { packets_per_second: config.throttle, burst: config.throttle };
    Ok(XdpFilter { xdp: Xdp::open(layout(config, own))?, throttle, told: BTreeMap::new() })
}

/// Takes the program away from all interfaces, whether it is one of this process or not.
///
/// # Errors
/// The kernel refuses.
pub fn remove_xdp(config: &FirewallConfig, own: &XdpConfig) -> Result<(), Error> {
    Xdp::remove(&layout(config, own)).map(|_| ())
}

impl XdpFilter {
    /// Takes the program away from all interfaces.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.xdp.detach()
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
    let problem = |error: Error| match error {
        Error::Full { what: "addresses", .. } => format!("{error}; raise `xdp_addresses`"),
        Error::Full { .. } => format!("{error}; raise `xdp_ranges`"),
        other => other.to_string(),
    };
    applied.failed.into_iter().map(|(net, error)| Failed { net, problem: problem(error) }).collect()
}

impl Backend for XdpFilter {
    type Error = Error;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, Error> {
        let fate = |group: &Group| match group.action {
            Action::Deny => Fate::Drop,
            Action::Throttle => self.throttle,
        };
        let groups: Vec<XdpGroup> = groups.iter().map(|group| XdpGroup { action: fate(group) }).collect();
        let applied = self.xdp.replace(&groups, elements.iter().copied().map(element));
        self.tell();
        applied.map(failed)
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, Error> {
        let changes: Vec<XdpChange> = changes
            .iter()
            .map(|change| match *change {
                Change::Add(new) | Change::Replace(new) => XdpChange::Put(element(new)),
                Change::Remove(net) => XdpChange::Remove(net),
            })
            .collect();
        self.xdp.apply(&changes).map(failed)
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, Error> {
        let held = self.xdp.get(net)?;
        Ok(held.map(|held| Found {
            group: u16::try_from(held.group).ok().map(GroupId),
            left_ms: Some(u64::try_from(held.remaining.as_millis()).unwrap_or(u64::MAX)),
        }))
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), Error> {
        self.xdp.allow(nets.to_vec())
    }

    fn traffic(&mut self) -> Result<Traffic, Error> {
        let counters = self.xdp.counters()?;
        let pair = |count: testudo_xdp::Count| (count.packets, count.bytes);
        Ok(Traffic {
            processed: counters.processed.map(pair),
            denied: counters.blocked.into_iter().map(|families| families.map(pair)).collect(),
        })
    }

    fn is_whole(&mut self) -> Result<bool, Error> {
        let standing = self.xdp.standing();
        self.tell();
        Ok(standing? == Standing::AsLaidOut)
    }
}
