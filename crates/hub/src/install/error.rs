//! Why nothing of a plan was done, or there is none.

use std::io;
use std::path::PathBuf;

use super::SourceError;
use crate::{HubError, ItemKind};

/// Why an installation was not changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The hub cannot be used.
    #[error("{source}; {}", source.hint())]
    Hub {
        /// Why.
        #[from]
        source: HubError,
    },
    /// An index without items.
    #[error(
        "the new index tells of no item, so that it is none; the present one stays (`--force` takes the new one)"
    )]
    EmptyIndex,
    /// An index that goes back.
    #[error(
        "the new index is older than the present one: {count} items go back, such as {first}; \
         the present one stays (`--force` takes the older one)"
    )]
    OlderIndex {
        /// Items whose latest version is an earlier one there.
        count: usize,
        /// One of them.
        first: String,
    },
    /// Something in use needs it.
    #[error(
        "{} {name} is a part of {by}: remove that, or say `--force` to remove {name} alone",
        kind.name()
    )]
    Required {
        /// Its type.
        kind: ItemKind,
        /// Its name.
        name: String,
        /// The collection.
        by: String,
    },
    /// A file cannot be had.
    #[error("{} {name} cannot be fetched: {source}", kind.name())]
    Fetch {
        /// Type of the item.
        kind: ItemKind,
        /// Its name.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// A file is another one than the index says.
    #[error(
        "{} {name} is not what the index says: its SHA-256 is {found}, not {expected}; \
         fetch the index again with `hub update`, and do not use a hub in which that stays",
        kind.name()
    )]
    Digest {
        /// Type of the item.
        kind: ItemKind,
        /// Its name.
        name: String,
        /// What the index says.
        expected: String,
        /// What was fetched.
        found: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
