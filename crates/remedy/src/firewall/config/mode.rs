//! Which packet filter, and where in it: the keys that the ecosystem has for each of them.

use serde::Deserialize;
use testudo_kernel::{IPSET_NAME_MAX, XTABLES_NAME_MAX};

use super::{Deny, XdpConfig};
use crate::access::AccessError;

/// How many elements a set of ipset takes at first, as in the ecosystem.
pub(super) const IPSET_SIZE: u32 = 131_072;

/// How many at most. An element takes some 40 bytes of the kernel's memory.
pub(super) const IPSET_SIZE_MOST: u32 = 4_194_304;

/// Names of chains that lead to ours have up to so many bytes.
const CHAIN_MOST: usize = 28;

/// The packet filter, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A table of our own in nftables.
    Nftables {
        /// Where packets are looked at.
        hooks: Vec<Hook>,
    },
    /// Sets in nftables that the user has rules for.
    SetOnly {
        /// That of IPv4.
        v4: SetPlace,
        /// That of IPv6.
        v6: Option<SetPlace>,
    },
    /// A chain of our own in iptables, and sets of ipset.
    Iptables(IptablesMode),
    /// Sets of ipset that the user has rules for.
    Ipset(NamedSets),
    /// An XDP program of our own.
    Xdp(XdpConfig),
    /// Tables of pf that the user has rules for.
    Pf {
        /// The anchor that they are in.
        anchor: Option<String>,
        /// Their names.
        tables: NamedSets,
    },
}

/// Where packets are looked at, and before or after whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where.
    pub at: HookPoint,
    /// The lowest is first.
    pub priority: i32,
}

/// A place on the way of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// All that arrive.
    Prerouting,
    /// Those for this machine.
    Input,
    /// Those that are passed on.
    Forward,
}

/// A set in a table of nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPlace {
    /// The table.
    pub table: String,
    /// The set.
    pub set: String,
}

/// The names of two sets, or tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSets {
    /// That of IPv4.
    pub v4: String,
    /// That of IPv6.
    pub v6: Option<String>,
}

/// How iptables is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IptablesMode {
    /// The chains that lead to ours, of IPv4 and of IPv6.
    pub chains: [Vec<String>; 2],
    /// Whether sets hold single addresses only.
    pub hosts_only: bool,
    /// How many elements a set takes at first, and at most.
    pub size: [u32; 2],
    /// Whether rules say for what they are.
    pub comments: bool,
}

/// `nftables`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Nftables {
    pub(super) ipv4: NftablesFamily,
    pub(super) ipv6: NftablesFamily,
}

/// `nftables.ipv4`, `nftables.ipv6`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NftablesFamily {
    pub(super) enabled: bool,
    #[serde(rename = "set-only")]
    set_only: bool,
    table: Option<String>,
    set: Option<String>,
    // The chain is ours where the table is.
    #[serde(rename = "chain")]
    _chain: serde::de::IgnoredAny,
    priority: Option<i32>,
}

impl Default for NftablesFamily {
    fn default() -> Self {
        NftablesFamily {
            enabled: true,
            set_only: false,
            table: None,
            set: None,
            _chain: serde::de::IgnoredAny,
            priority: None,
        }
    }
}

/// `pf`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PfKeys {
    anchor_name: String,
    // All changes of a moment are one call.
    #[serde(rename = "batch_size")]
    _batch_size: serde::de::IgnoredAny,
}

/// `ipset_type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum IpsetType {
    #[default]
    Nets,
    Hosts,
}

impl TryFrom<String> for IpsetType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "nethash" | "hash:net" => Ok(IpsetType::Nets),
            "iphash" | "hash:ip" => Ok(IpsetType::Hosts),
            _ => Err(format!("{text:?} is not offered: write nethash or iphash")),
        }
    }
}

/// The keys that say which packet filter is meant, and how.
pub(super) struct Filters<'f> {
    pub(super) mode: &'f str,
    pub(super) nftables: Nftables,
    pub(super) nftables_hooks: Vec<String>,
    pub(super) hooks: Vec<String>,
    pub(super) priority: Option<i32>,
    pub(super) blacklists: [Option<String>; 2],
    pub(super) ipset_type: IpsetType,
    pub(super) ipset_size: u32,
    pub(super) ipset_size_most: u32,
    /// `iptables_chains`, `iptables_v4_chains`, `iptables_v6_chains`
    pub(super) chains: [Vec<String>; 3],
    pub(super) comments: bool,
    pub(super) pf: PfKeys,
    pub(super) ipv6: bool,
    /// `testudo.table`
    pub(super) table: &'f str,
    pub(super) types: &'f [String],
    pub(super) xdp: XdpConfig,
    pub(super) deny: Deny,
    pub(super) is_logged: bool,
}

fn value(key: &'static str, problem: impl Into<String>) -> AccessError {
    AccessError::Value { key, problem: problem.into() }
}

impl Mode {
    /// # Errors
    /// What is asked for is not offered, or makes no sense.
    pub(super) fn of(filters: Filters<'_>) -> Result<Mode, AccessError> {
        let [v4, v6] = filters.blacklists.clone();
        let sets = NamedSets {
            v4: v4.unwrap_or_else(|| "crowdsec-blacklists".to_owned()),
            v6: filters.ipv6.then(|| v6.unwrap_or_else(|| "crowdsec6-blacklists".to_owned())),
        };
        let mode = match filters.mode {
            "nftables" => nftables(&filters, sets)?,
            "iptables" => iptables(&filters)?,
            "ipset" => Mode::Ipset(named(sets)?),
            "xdp" => Mode::Xdp(filters.xdp.clone().check(filters.deny, filters.is_logged)?),
            "pf" => Mode::Pf {
                anchor: Some(filters.pf.anchor_name)
                    .filter(|name| !name.is_empty())
                    .map(plain("pf.anchor_name", 63))
                    .transpose()?,
                tables: named(sets)?,
            },
            other => {
                let problem = format!("`{other}` is not offered; use nftables, iptables, ipset, xdp or pf");
                return Err(value("mode", problem));
            }
        };
        if !mode.has_own_rules() && filters.types.iter().any(|kind| kind == "throttle") {
            let problem =
                "`throttle` needs rules of our own: `mode: nftables` without set-only, `iptables` or `xdp`";
            return Err(value("supported_decisions_types", problem));
        }
        Ok(mode)
    }

    /// Its name, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Nftables { .. } => "nftables",
            Mode::SetOnly { .. } => "nftables, sets only",
            Mode::Iptables(_) => "iptables",
            Mode::Ipset(_) => "ipset",
            Mode::Xdp(_) => "XDP",
            Mode::Pf { .. } => "pf",
        }
    }

    /// Whether the rules are ours, and not those of the user.
    pub fn has_own_rules(&self) -> bool {
        matches!(self, Mode::Nftables { .. } | Mode::Iptables(_) | Mode::Xdp(_))
    }
}

fn nftables(filters: &Filters<'_>, sets: NamedSets) -> Result<Mode, AccessError> {
    let Nftables { ipv4, ipv6 } = &filters.nftables;
    if !ipv4.enabled {
        return Err(value("nftables.ipv4.enabled", "it cannot be false: IPv4 is always enforced"));
    }
    if ipv4.set_only != ipv6.set_only && filters.ipv6 {
        let problem = "it is true for one family only: make it the same for both, or disable IPv6";
        return Err(value("nftables.ipv4.set-only", problem));
    }
    if !ipv4.set_only {
        return Ok(Mode::Nftables { hooks: hooks(filters)? });
    }
    let place = |family: &NftablesFamily, table: &str, set: String| {
        let table = family.table.clone().unwrap_or_else(|| table.to_owned());
        SetPlace { table, set: family.set.clone().unwrap_or(set) }
    };
    Ok(Mode::SetOnly {
        v4: place(ipv4, "crowdsec", sets.v4),
        v6: sets.v6.map(|set| place(ipv6, "crowdsec6", set)),
    })
}

fn hooks(filters: &Filters<'_>) -> Result<Vec<Hook>, AccessError> {
    let (key, names) = if filters.hooks.is_empty() {
        ("nftables_hooks", &filters.nftables_hooks)
    } else {
        ("hooks", &filters.hooks)
    };
    let default = ["prerouting".to_owned()];
    let names = if names.is_empty() { &default[..] } else { names };
    let mut hooks: Vec<Hook> = Vec::new();
    for name in names {
        // Before anything else looks at packets: what is dropped costs the connection tracker nothing.
        let (at, priority) = match name.as_str() {
            "prerouting" => (HookPoint::Prerouting, -310),
            "input" => (HookPoint::Input, -10),
            "forward" => (HookPoint::Forward, -10),
            _ => {
                let problem = format!("`{name}` is not offered; use prerouting, input or forward");
                return Err(value(key, problem));
            }
        };
        if hooks.iter().any(|hook| hook.at == at) {
            return Err(value(key, format!("`{name}` is there twice")));
        }
        // What the ecosystem calls a priority is meant for its own hooks.
        let theirs = filters.nftables.ipv4.priority.filter(|_| at != HookPoint::Prerouting);
        let priority = filters.priority.or(theirs).unwrap_or(priority);
        // Some priorities are refused by the kernel: those before fragments are put together.
        if priority <= -400 {
            return Err(value("hook_priority", format!("{priority} is too low: use more than -400")));
        }
        hooks.push(Hook { at, priority });
    }
    Ok(hooks)
}

fn iptables(filters: &Filters<'_>) -> Result<Mode, AccessError> {
    if filters.table.len() > XTABLES_NAME_MAX {
        let problem = format!("names of chains and sets begin with it: use {XTABLES_NAME_MAX} bytes at most");
        return Err(value("table", problem));
    }
    let [both, v4, v6] = &filters.chains;
    let of = |own: &[String], key| -> Result<Vec<String>, AccessError> {
        let mut chains: Vec<String> = both.iter().chain(own).cloned().collect();
        if chains.is_empty() {
            chains.push("INPUT".to_owned());
        }
        let mut seen = Vec::new();
        for chain in chains {
            let chain = plain(key, CHAIN_MOST)(chain)?;
            if !seen.contains(&chain) {
                seen.push(chain);
            }
        }
        Ok(seen)
    };
    let chains = [of(v4, "iptables_chains")?, of(v6, "iptables_chains")?];
    let (first, most) = (filters.ipset_size, filters.ipset_size_most.max(filters.ipset_size));
    if first == 0 {
        return Err(value("ipset_size", "it is 0: nothing would fit"));
    }
    let hosts_only = filters.ipset_type == IpsetType::Hosts;
    Ok(Mode::Iptables(IptablesMode { chains, hosts_only, size: [first, most], comments: filters.comments }))
}

fn named(sets: NamedSets) -> Result<NamedSets, AccessError> {
    Ok(NamedSets {
        v4: plain("blacklists_ipv4", IPSET_NAME_MAX)(sets.v4)?,
        v6: sets.v6.map(plain("blacklists_ipv6", IPSET_NAME_MAX)).transpose()?,
    })
}

/// A name that can stand on a command line, and in what programs read.
fn plain(key: &'static str, most: usize) -> impl Fn(String) -> Result<String, AccessError> {
    move |name| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
        if name.is_empty() || name.len() > most || name.starts_with('-') || !name.chars().all(is_plain) {
            let problem =
                format!("{name:?} is no name of at most {most} letters, digits, `-`, `_`, `.` and `:`");
            return Err(value(key, problem));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters<'f>(mode: &'f str, types: &'f [String]) -> Filters<'f> {
        Filters {
            xdp: XdpConfig::default(),
            deny: Deny::Drop,
            is_logged: false,
            mode,
            nftables: Nftables::default(),
            nftables_hooks: Vec::new(),
            hooks: Vec::new(),
            priority: None,
            blacklists: [None, None],
            ipset_type: IpsetType::Nets,
            ipset_size: IPSET_SIZE,
            ipset_size_most: IPSET_SIZE_MOST,
            chains: Default::default(),
            comments: true,
            pf: PfKeys::default(),
            ipv6: true,
            table: "testudo",
            types,
        }
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    fn hooked(change: impl FnOnce(&mut Filters<'_>)) -> Result<Vec<(HookPoint, i32)>, String> {
        let mut filters = filters("nftables", &[]);
        change(&mut filters);
        match Mode::of(filters) {
            Ok(Mode::Nftables { hooks }) => Ok(hooks.iter().map(|hook| (hook.at, hook.priority)).collect()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn hooks_are_those_of_the_ecosystem_or_our_own() {
        use HookPoint::{Forward, Input, Prerouting};
        assert_eq!(hooked(|_| ()), Ok(vec![(Prerouting, -310)]));
        assert_eq!(
            hooked(|filters| filters.nftables_hooks = names(["input", "forward"])),
            Ok(vec![(Input, -10), (Forward, -10)])
        );
        assert_eq!(
            hooked(|filters| {
                filters.nftables_hooks = names(["input", "prerouting"]);
                filters.nftables.ipv4.priority = Some(-5);
            }),
            Ok(vec![(Input, -5), (Prerouting, -310)])
        );
        assert_eq!(
            hooked(|filters| {
                filters.nftables_hooks = names(["input"]);
                filters.hooks = names(["forward"]);
                filters.priority = Some(7);
            }),
            Ok(vec![(Forward, 7)])
        );
        for (name, told) in
            [("output", "nftables_hooks: `output` is not offered"), ("", "nftables_hooks: `` is not")]
        {
            let error = hooked(|filters| filters.nftables_hooks = names([name])).expect_err(name);
            assert!(error.starts_with(told), "{error}");
        }
        assert!(hooked(|filters| filters.hooks = names(["input", "input"])).is_err());
        assert!(hooked(|filters| filters.priority = Some(-400)).is_err());
    }

    #[test]
    fn sets_of_the_user_are_named_as_in_the_ecosystem() {
        let place = |table: &str, set: &str| SetPlace { table: table.to_owned(), set: set.to_owned() };
        let mut both = filters("nftables", &[]);
        both.nftables.ipv4.set_only = true;
        both.nftables.ipv6.set_only = true;
        both.nftables.ipv6.table = Some("mine".to_owned());
        both.blacklists = [Some("bad".to_owned()), None];
        let expected =
            Mode::SetOnly { v4: place("crowdsec", "bad"), v6: Some(place("mine", "crowdsec6-blacklists")) };
        assert_eq!(Mode::of(both).expect("it is offered"), expected);
        let mut one = filters("nftables", &[]);
        one.nftables.ipv4.set_only = true;
        let told = Mode::of(one).expect_err("one family only").to_string();
        assert!(told.starts_with("nftables.ipv4.set-only: it is true for one family only"), "{told}");
        let types = names(["ban", "throttle"]);
        let told = Mode::of(filters("ipset", &types)).expect_err("there are no rules").to_string();
        assert!(told.starts_with("supported_decisions_types: `throttle` needs rules of our own"), "{told}");
        assert!(Mode::of(filters("iptables", &types)).is_ok());
    }

    #[test]
    fn chains_are_named_once() {
        let mut named = filters("iptables", &[]);
        named.chains = [names(["INPUT", "DOCKER-USER"]), names(["INPUT", "FORWARD"]), Vec::new()];
        let Ok(Mode::Iptables(mode)) = Mode::of(named) else { panic!("it is offered") };
        assert_eq!(
            mode.chains,
            [names(["INPUT", "DOCKER-USER", "FORWARD"]), names(["INPUT", "DOCKER-USER"])]
        );
        let Ok(Mode::Iptables(mode)) = Mode::of(filters("iptables", &[])) else { panic!("it is offered") };
        assert_eq!(mode.chains, [names(["INPUT"]), names(["INPUT"])]);
        for chain in ["", "-F", "IN PUT", "INPUT\nCOMMIT", &"x".repeat(29)] {
            let mut wrong = filters("iptables", &[]);
            wrong.chains[0] = names([chain]);
            assert!(Mode::of(wrong).is_err(), "{chain}");
        }
        let long = Filters { table: "a-name-of-16-byte", ..filters("iptables", &[]) };
        assert!(Mode::of(long).is_err());
    }
}
