//! What can be wrong with a hub as a whole. Trouble with single rule files is told by diagnostics.

use std::{io, path::PathBuf};

use crate::ItemKind;

/// Why a hub, or a part of it that was asked for by name, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A file or folder that must be there cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than anything of its kind.
    #[error("{} has {bytes} bytes, the limit is {limit}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The index is not the JSON that an index is.
    #[error("{} is no hub index: {source}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Where and why reading it stopped.
        source: serde_json::Error,
    },
    /// A file of a checkout in the middle of a merge.
    #[error(
        "{} has a conflict of a merge in line {line}: finish the merge there, or take one side with \
         `git checkout --theirs`, then try again",
        path.display()
    )]
    Conflict {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An item of the index lacks something, or leads out of the hub.
    #[error("{} holds a bad item, {} `{}`: {problem}", path.display(), kind.name(), name.escape_debug())]
    BadItem {
        /// The index.
        path: PathBuf,
        /// Type of the item.
        kind: ItemKind,
        /// Name of the item.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An index of more than anybody has.
    #[error("{} has more than {limit} {what}", path.display())]
    TooMany {
        /// The index.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The most that are taken.
        limit: usize,
    },
    /// A name that is not in the index.
    #[error("the hub has no {} `{name}`", kind.name())]
    UnknownItem {
        /// Type of the item.
        kind: ItemKind,
        /// The name that was asked for.
        name: String,
        /// A name that resembles it.
        close: Option<String>,
    },
    /// A name that is no functional test.
    #[error("the hub has no test `{name}`")]
    UnknownTest {
        /// The name that was asked for.
        name: String,
    },
    /// A folder without any folder of rules in it.
    #[error("{} holds no rules", path.display())]
    NoRules {
        /// The folder.
        path: PathBuf,
    },
}

impl HubError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            HubError::Io { .. } => "check that it exists and may be read".to_owned(),
            HubError::TooLarge { .. } | HubError::TooMany { .. } => "check that it is the right file".to_owned(),
            HubError::Index { .. } => "fetch the hub again: the file is cut off or is another one".to_owned(),
            HubError::Conflict { .. } => "`git status` lists the files that wait for it".to_owned(),
            HubError::BadItem { .. } => "fetch the hub again; if it stays, the hub itself is broken".to_owned(),
            HubError::UnknownItem { close: Some(close), .. } => format!("did you mean `{close}`?"),
            HubError::UnknownItem { kind, .. } => {
                format!("names are written `author/name`; those of the hub are the keys of `{}`", kind.folder())
            }
            HubError::UnknownTest { .. } => "the names of tests are those of the folders in `.tests`".to_owned(),
            HubError::NoRules { .. } => {
                "a folder of rules holds `parsers/<stage>/`, `postoverflows/<stage>/`, `scenarios/` or `contexts/`"
                    .to_owned()
            }
        }
    }
}
