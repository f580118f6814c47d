//! The firewall: decisions of an API in the packet filter of this machine.

mod config;
mod daemon;
mod filter;
#[cfg(target_os = "linux")]
mod ipset;
mod lock;
#[cfg(target_os = "linux")]
mod nft;
mod page;
mod pf;
#[cfg(target_os = "linux")]
mod sets;
mod usage;
#[cfg(target_os = "linux")]
mod xdp;
#[cfg(target_os = "linux")]
mod xtables;

pub use crate::expand::Databases;
pub use config::{
    DEFAULT_PATHS, Deny, FirewallConfig, Hook, HookPoint, IptablesMode, Mode, NamedSets, OnExit, Protect,
    SetPlace, XdpConfig, XdpMode,
};
pub use daemon::{FirewallError, Stop, run};
pub use filter::{AnyFilter, Filter, FilterError, open};
pub use lock::{Lock, LockError};
