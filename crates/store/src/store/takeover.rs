//! The SQLite database of an installation of the reference where ours is to be: it stays as it is, ours is
//! made beside it, and takes over once what is in it.

use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::upstream::Upstream;

use super::{Imported, Location, Store};

/// The configuration item that says from where everything was taken over.
const TAKEN_OVER: &str = "taken_over_from";

/// How our file is called beside `crowdsec.db`.
const ENDING: &str = "testudo.db";

impl Location {
    /// Steps aside for an installation's database. Returns where that is.
    pub(super) fn step_aside(&mut self) -> Option<PathBuf> {
        let Location::Sqlite { path, .. } = self else { return None };
        if !path.is_file() || Upstream::open(path).is_err() {
            return None;
        }
        let ours = path.with_extension(ENDING);
        Some(std::mem::replace(path, ours))
    }
}

impl Store {
    /// Takes over what is in an installation's database, unless that was done before. One that was broken off
    /// is done again.
    pub(super) fn take_over(&mut self, old: &Path, now_ms: i64) -> Result<(), StoreError> {
        let name = old.to_string_lossy();
        if self.config_item(TAKEN_OVER)?.as_deref() == Some(&*name) {
            return Ok(());
        }
        let imported = self.import_upstream(old, now_ms)?;
        self.set_config_item(TAKEN_OVER, Some(&name), now_ms)?;
        self.taken_over = Some((old.to_owned(), imported));
        Ok(())
    }

    /// From where everything was taken over as this store was opened, and how much that was.
    pub fn taken_over(&self) -> Option<(&Path, Imported)> {
        self.taken_over.as_ref().map(|(old, imported)| (old.as_path(), *imported))
    }
}
