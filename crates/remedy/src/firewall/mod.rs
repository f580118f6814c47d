//! The firewall: decisions of an API in the packet filter of this machine.

mod config;
mod daemon;
mod nft;
mod page;
mod usage;
mod xdp;

pub use config::{DEFAULT_PATHS, Deny, FirewallConfig, OnExit, Protect};
pub use daemon::{FirewallError, Stop, run};
pub use nft::{NftFilter, nft};
pub use xdp::{XdpConfig, XdpFilter, XdpMode, remove_xdp, xdp};
