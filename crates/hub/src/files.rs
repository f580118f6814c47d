//! Walking folders and reading files that may be anything: loops of links, pipes, huge files.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use crate::HubError;

/// How deep folders are walked: rules lie three deep at most, links may add some.
const MAX_DEPTH: usize = 12;

/// How many files one walk yields: fifty times the public hub.
const MAX_FILES: usize = 100_000;

/// Whether a path from a file stays below the folder that it is joined to.
pub(crate) fn is_safe(path: &str) -> bool {
    let safe = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && !path.contains(['\\', '\0']) && Path::new(path).components().all(safe)
}

/// A readable file larger than `limit` bytes is refused; so is what is no regular file.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, HubError> {
    let failed = |source| HubError::Io { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    let too_large = |bytes| HubError::TooLarge { path: path.to_owned(), bytes, limit };
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile, and files of the kernel have no size.
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    let length = bytes.len() as u64;
    if length > limit { Err(too_large(length)) } else { Ok(bytes) }
}

/// The line, from 1, at which a merge has left two versions of a file.
pub(crate) fn conflict(bytes: &[u8]) -> Option<usize> {
    let mut lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let (begin, _) = lines.find(|(_, line)| line.starts_with(b"<<<<<<< "))?;
    lines.any(|(_, line)| line.starts_with(b">>>>>>> ")).then_some(begin)
}

/// A file below a walked folder.
#[derive(Debug)]
pub(crate) struct Found {
    /// The folder joined with `relative`.
    pub(crate) path: PathBuf,
    /// The names below the folder, joined by `/`.
    pub(crate) relative: String,
}

/// What a walk found, ordered bytewise by relative path.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) files: Vec<Found>,
    /// What could not be followed, with the reason.
    pub(crate) failed: Vec<(PathBuf, io::Error)>,
}

/// All files below a folder, through links. Names that begin with a dot are left out.
pub(crate) fn walk(folder: &Path) -> Walk {
    let mut walk = Walk::default();
    enter(folder, "", 0, &mut walk);
    walk.files.sort_by(|a, b| a.relative.cmp(&b.relative));
    walk
}

fn enter(folder: &Path, below: &str, depth: usize, walk: &mut Walk) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return walk.failed.push((folder.to_owned(), error)),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                walk.failed.push((folder.to_owned(), error));
                break;
            }
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let relative = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
        // Not the entry's own type: that would be the one of the link.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && depth + 1 < MAX_DEPTH => {
                enter(&path, &relative, depth + 1, walk);
            }
            Ok(metadata) if metadata.is_file() && walk.files.len() < MAX_FILES => {
                walk.files.push(Found { path, relative });
            }
            Ok(_) => {}
            Err(error) => walk.failed.push((path, error)),
        }
    }
}

/// Whether a name is that of a rule file.
pub(crate) fn is_yaml(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml"))
}

/// The last part of a path with slashes.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_that_are_not_finished() {
        let both = "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n";
        assert_eq!(conflict(both.as_bytes()), Some(2));
        assert_eq!(conflict(b"a: 1\n<<<<<<< HEAD\nb: 1\n"), None);
        assert_eq!(conflict(b"text: '<<<<<<< HEAD'\n>>>>>>> x\n"), None);
    }

    #[test]
    fn paths_that_stay_inside() {
        let check = |path: &str, safe: bool| assert_eq!(is_safe(path), safe, "{path:?}");
        check("parsers/s00-raw/a/b.yaml", true);
        check("./a/./b", true);
        check("a..b", true);
        check("", false);
        check("/etc/passwd", false);
        check("../a", false);
        check("a/../../b", false);
        check("a\\..\\b", false);
        check("a\0b", false);
    }
}
