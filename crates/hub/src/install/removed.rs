//! Parts of collections that somebody does not want: an upgrade does not bring them back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{InstallError, Installation, Step, carry_out, failed};
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

    /// Notes what a plan has done: of what is used no longer, what a collection in use holds.
    pub(super) fn note(
        mut self,
        installation: &Installation,
        hub: &Hub,
        steps: &[Step],
    ) -> Result<(), InstallError> {
        let before = self.clone();
        for step in steps {
            if let Step::Disable(item) = step {
                self.0.insert(key(item.kind, &item.name));
            }
        }
        let mut held = BTreeSet::new();
        for collection in hub.items(ItemKind::Collection).filter(|item| installation.status(item).is_enabled)
        {
            held.extend(collection.dependencies.iter().map(|(kind, name)| key(*kind, name)));
        }
        let is_used = |noted: &str| {
            let items = ItemKind::ALL.into_iter().flat_map(|kind| hub.items(kind));
            let mut same = items.filter(|item| key(item.kind, &item.name) == noted);
            same.any(|item| installation.status(item).is_enabled)
        };
        self.0.retain(|noted| held.contains(noted) && !is_used(noted));
        if self == before {
            return Ok(());
        }
        let path = Self::path(&installation.hub);
        let text = serde_json::to_vec(&self.0).map_err(|error| failed(&path)(error.into()))?;
        carry_out::write(&path, &text)
    }
}

fn key(kind: ItemKind, name: &str) -> String {
    format!("{}:{name}", kind.folder())
}
