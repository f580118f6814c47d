//! Finds the data files that rules ask for, in folders that may be laid out in several ways: as an
//! installation stores them (by `dest_file`), or as they are published (by the path of their URL).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use testudo_engine::DataSource;
use testudo_rules::plan::DataFile;

use crate::files::{self, Found};

/// Folders with data files and databases, looked through once. Earlier folders come first.
#[derive(Debug, Default)]
pub struct DataFolders {
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    files: Vec<Found>,
    /// Positions in `files` by file name, the shallowest file first.
    by_name: HashMap<String, Vec<usize>>,
}

impl DataFolders {
    /// Looks through folders. One that is not there holds nothing.
    pub fn new<P: AsRef<Path>>(folders: &[P]) -> DataFolders {
        DataFolders { folders: folders.iter().map(|folder| Folder::new(folder.as_ref())).collect() }
    }

    /// The path of a file by its name alone; the shallowest one where there are several.
    pub fn by_name(&self, name: &str) -> Option<&Path> {
        self.folders.iter().find_map(|folder| folder.named(name).next()).map(|found| found.path.as_path())
    }
}

impl Folder {
    fn new(path: &Path) -> Folder {
        let mut files = files::walk(path).files;
        files.sort_by_cached_key(|found| (found.relative.matches('/').count(), found.relative.clone()));
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, found) in files.iter().enumerate() {
            by_name.entry(files::base_name(&found.relative).to_owned()).or_default().push(at);
        }
        Folder { files, by_name }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Found> {
        self.by_name.get(name).into_iter().flatten().map(|&at| &self.files[at])
    }

    fn find(&self, dest_file: &str, url: &[&str]) -> Option<&Found> {
        let base = files::base_name(dest_file);
        // As an installation has it.
        let exact = self.named(base).find(|found| found.relative == dest_file);
        // As it is published: the more folders of the URL agree, the surer.
        let published = || {
            let same = |found: &Found| {
                found.relative.rsplit('/').zip(url.iter().rev()).take_while(|(a, b)| a == *b).count()
            };
            let of_url = url.last().map(|name| self.named(name)).into_iter().flatten();
            let best = of_url.map(|found| (same(found), found)).filter(|(same, _)| *same > 1);
            best.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, found)| found)
        };
        // A bare name from a URL may be as vague as `ips.txt`: it must stand for one file.
        let bare = || {
            let mut of_url = self.named(url.last()?);
            of_url.next().filter(|_| of_url.next().is_none())
        };
        exact.or_else(published).or_else(|| self.named(base).next()).or_else(bare)
    }
}

/// The folders and the name at the end of a URL.
fn path_of(url: &str) -> Vec<&str> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let path =
        url.split_once("://").map_or(url, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// The name of the file that a URL leads to.
pub(crate) fn url_file_name(url: &str) -> Option<&str> {
    path_of(url).pop()
}

impl DataSource for DataFolders {
    fn find(&self, file: &DataFile) -> Option<PathBuf> {
        // The walk yields nothing outside, but such a name should not match by its end either.
        if !files::is_safe(&file.dest_file) {
            return None;
        }
        let dest_file = file.dest_file.trim_start_matches("./");
        let url = path_of(&file.source_url);
        self.folders.iter().find_map(|folder| folder.find(dest_file, &url)).map(|found| found.path.clone())
    }

    fn database(&self, name: &str) -> Option<PathBuf> {
        self.by_name(name).map(Path::to_owned)
    }
}

#[cfg(test)]
mod tests;
