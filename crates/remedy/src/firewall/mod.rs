//! The firewall: decisions of an API in the packet filter of this machine.

mod config;
mod daemon;
mod nft;
pub(crate) mod page;
mod usage;

pub use config::{DEFAULT_PATHS, Deny, FirewallConfig, OnExit, Protect};
pub use daemon::{FirewallError, Stop, run};
pub use nft::{NftFilter, nft};
