//! The kernel's packet filter: nftables, spoken to by netlink, without a C library and without the program `nft`.
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
//! Only Linux has this packet filter; elsewhere the crate is empty.

#![cfg(target_os = "linux")]

mod apply;
mod blueprint;
mod element;
mod error;
mod layout;
mod lookup;
mod netlink;
mod nft;
mod place;
mod rule;
mod standing;
mod user;

pub use apply::{Applied, Change};
pub use element::{Element, Held};
pub use error::{Error, LayoutError};
pub use layout::{Action, Group, Hook, HookPoint, Layout, Log};
pub use nft::{Count, Counters, Nft};
pub use standing::Standing;
pub use user::{SetFamily, SetName, UserSets};
