//! The public rule hub: its index, the rules that it or an installation holds, and its functional
//! tests.
//!
//! [`Hub`] reads the index of a hub folder. A [`Selection`] gathers rule files (a whole hub, some
//! collections, an installation, rules of one's own) and loads them, in running order, into one
//! [`RuleSet`](testudo_rules::set::RuleSet). [`DataFolders`] finds the data files that they ask
//! for. [`testing`] runs the functional tests that a hub carries, and holds every oddity that only
//! those tests need. An [`Installation`](install::Installation) is what a machine has of a hub, and how it changes.

pub mod codes;
mod data;
pub mod embedded;
mod error;
mod files;
mod index;
pub mod install;
mod load;
#[cfg(test)]
mod temp;
pub mod testing;

pub use data::DataFolders;
pub use error::HubError;
pub use index::{CollectionContents, Hub, Item, ItemKind};
pub use load::{LoadedRules, RuleFile, Selection};
