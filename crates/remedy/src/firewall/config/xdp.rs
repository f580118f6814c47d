//! What XDP is told.

use std::path::PathBuf;

use serde::Deserialize;

use super::Deny;
use crate::access::AccessError;

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
        XdpConfig {
            interfaces: Vec::new(),
            mode: XdpMode::default(),
            addresses: 262_144,
            ranges: 65_536,
            folder: PathBuf::from("/run/testudo/bpf"),
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
