//! Packet filters of kernels: nftables, spoken to by netlink, without a C library and without the program `nft`; and older
//! ones, driven by their programs.
//!
//! [`Xtables`] owns a chain of iptables and its sets; [`Ipsets`] only fills sets of the user's. [`Pf`] fills tables of the
//! BSDs' filter. All of them start programs, without a shell.
//!
//! [`Nft`] owns a table: a [`Layout`] says where packets are looked at and what happens to those from listed
//! addresses. [`UserSets`] only fills sets that belong to rules of the user's own.
//!
//! A packet costs two lookups: its source in a hash of single addresses, then in a tree of ranges. Both give the
//! number of a group, with which the packet is marked, and the mark leads to the chain which counts, logs and
//! blocks. Elements carry a number and not a verdict, because the kernel walks through all verdicts of a map each
//! time one is added: 0.2 seconds for a million. What is throttled and passes has the mark 0 from then on,
//! whatever mark it had before; packets from sources that are not listed keep theirs.
//!
//! The table is made only of what nft can write and read back: a ruleset that is saved with our table in it loads
//! again.
//!
//! What is changed is changed in transactions: all of it takes effect at one moment, or nothing does. Elements
//! expire in the kernel by themselves, so that nobody stays blocked when the daemon is gone.
//!
//! Only Linux has nftables, ipset and iptables; elsewhere there is [`Pf`] alone.

#![cfg(unix)]

#[cfg(target_os = "linux")]
mod apply;
#[cfg(target_os = "linux")]
mod blueprint;
#[cfg(target_os = "linux")]
mod element;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod ipset;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(target_os = "linux")]
mod lookup;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod nft;
mod pf;
#[cfg(target_os = "linux")]
mod place;
mod program;
#[cfg(target_os = "linux")]
mod rule;
#[cfg(target_os = "linux")]
mod standing;
#[cfg(target_os = "linux")]
mod user;

#[cfg(target_os = "linux")]
mod xtables;

#[cfg(target_os = "linux")]
pub use apply::{Applied, Change};
#[cfg(target_os = "linux")]
pub use element::{Element, Held};
#[cfg(target_os = "linux")]
pub use error::{Error, LayoutError};
#[cfg(target_os = "linux")]
pub use ipset::{IPSET_NAME_MAX, IPSET_TIMEOUT_MAX, IpsetApplied, IpsetKind, Ipsets, OwnIpsets};
#[cfg(target_os = "linux")]
pub use layout::{Action, Group, Hook, HookPoint, Layout, Log};
#[cfg(target_os = "linux")]
pub use nft::{Count, Counters, Nft};
pub use pf::Pf;
pub use program::ProgramError;
#[cfg(target_os = "linux")]
pub use standing::Standing;
#[cfg(target_os = "linux")]
pub use user::{SetFamily, SetName, UserSets};
#[cfg(target_os = "linux")]
pub use xtables::{XTABLES_NAME_MAX, Xtables, XtablesLayout, XtablesPrograms};
