//! Where the files of a hub come from.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use testudo_engine::DataSource as _;
use testudo_rules::plan::DataFile;

use super::{DATA_MOST, ITEM_MOST};
use crate::index::{INDEX, MAX_INDEX_BYTES};
use crate::{DataFolders, HubError, files};

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

impl From<HubError> for SourceError {
    fn from(error: HubError) -> Self {
        SourceError(error.to_string())
    }
}

/// Where the files of a hub come from: a folder, or a server.
pub trait Source {
    /// The index.
    ///
    /// # Errors
    /// It cannot be had, or is too large.
    fn index(&self) -> Result<Vec<u8>, SourceError>;

    /// The file of an item, by its path in the hub.
    ///
    /// # Errors
    /// It cannot be had, or is too large.
    fn item(&self, path: &str) -> Result<Vec<u8>, SourceError>;

    /// A data file.
    ///
    /// # Errors
    /// It cannot be had, or is too large.
    fn data(&self, file: &DataFile) -> Result<Vec<u8>, SourceError>;
}

/// A folder with a hub in it, such as a checkout.
#[derive(Debug)]
pub struct FolderSource {
    folder: PathBuf,
    /// Its data files, once they are looked for.
    data: OnceCell<DataFolders>,
}

impl FolderSource {
    /// The hub in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        FolderSource { folder: folder.into(), data: OnceCell::new() }
    }

    /// A file of the folder: a link in a checkout of somebody else's must not lead to a file of this machine.
    fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, SourceError> {
        let real = |path: &Path| {
            path.canonicalize().map_err(|source| HubError::Io { path: path.to_owned(), source })
        };
        let target = real(path)?;
        if !target.starts_with(real(&self.folder)?) {
            let (path, folder) = (path.display(), self.folder.display());
            return Err(SourceError(format!(
                "{path} is a link that leads out of {folder}: put a copy of the file in its place"
            )));
        }
        let bytes = files::read(&target, most)?;
        match files::conflict(&bytes) {
            Some(line) => Err(HubError::Conflict { path: path.to_owned(), line }.into()),
            None => Ok(bytes),
        }
    }
}

impl Source for FolderSource {
    fn index(&self) -> Result<Vec<u8>, SourceError> {
        self.read(&self.folder.join(INDEX), MAX_INDEX_BYTES)
    }

    fn item(&self, path: &str) -> Result<Vec<u8>, SourceError> {
        self.read(&self.folder.join(path), ITEM_MOST)
    }

    fn data(&self, file: &DataFile) -> Result<Vec<u8>, SourceError> {
        let found = self.data.get_or_init(|| DataFolders::new(&[&self.folder])).find(file);
        let path = found.ok_or_else(|| {
            SourceError(format!("{} is nowhere below {}", file.dest_file, self.folder.display()))
        })?;
        self.read(&path, DATA_MOST)
    }
}
