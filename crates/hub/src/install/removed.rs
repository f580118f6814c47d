//! Parts of collections that somebody does not want: an upgrade does not bring them back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{InstallError, Step, carry_out, failed};
use crate::{Hub, ItemKind, files};

/// Where it is noted, below the folder of the hub.
const FILE: &str = ".removed.json";

/// As much of it is read.
const MOST: u64 = 4 << 20;

/// Items that were removed by name while a collection that holds them stays in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed(BTreeSet<String>);

impl Removed {
    fn path(hub_dir: &Path) -> PathBuf {
        hub_dir.join(FILE)
    }

    /// What is noted. A note that cannot be read counts as none.
    pub(super) fn read(hub_dir: &Path) -> Self {
        let bytes = files::read(&Self::path(hub_dir), MOST).ok();
        Removed(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(super) fn contains(&self, kind: ItemKind, name: &str) -> bool {
        self.0.contains(&key(kind, name))
    }

    /// Notes what a plan has done.
    pub(super) fn note(mut self, hub_dir: &Path, hub: &Hub, steps: &[Step]) -> Result<(), InstallError> {
        let before = self.clone();
        for step in steps {
            match step {
                Step::Enable(item) => drop(self.0.remove(&key(item.kind, &item.name))),
                Step::Disable(item) => drop(self.0.insert(key(item.kind, &item.name))),
                Step::Download { .. } | Step::Purge(_) => {}
            }
        }
        // What no index knows any more is forgotten.
        self.0.retain(|noted| {
            ItemKind::ALL.iter().any(|kind| {
                let name = noted.strip_prefix(kind.folder()).and_then(|rest| rest.strip_prefix(':'));
                name.is_some_and(|name| hub.item(*kind, name).is_some())
            })
        });
        if self == before {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.0).map_err(|error| failed(&Self::path(hub_dir))(error.into()))?;
        carry_out::write(&Self::path(hub_dir), &text)
    }
}

fn key(kind: ItemKind, name: &str) -> String {
    format!("{}:{name}", kind.folder())
}
