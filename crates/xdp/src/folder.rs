//! The names of links, in a file system of the kernel's: what has a name there stays, whoever ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

use crate::error::{EPERM, Error};

/// The kind of file system that keeps such names.
const BPF_FS: u64 = 0xcafe_4a11;

/// The folder, and what the names of our links begin with.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    name: String,
}

impl Folder {
    /// Makes the folder, and mounts the file system, where they are missing.
    pub(crate) fn prepare(path: &Path, name: &str) -> Result<Folder, Error> {
        let failed = |problem: String| Error::Folder { path: path.to_owned(), problem };
        fs::create_dir_all(path).map_err(|error| failed(error.to_string()))?;
        if !is_bpf(path).map_err(|error| failed(error.to_string()))? {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount("bpf", path, "bpf", flags, Some(c"mode=0700")).map_err(|errno| {
                match errno.raw_os_error() {
                    EPERM => failed(format!(
                        "the file system bpf cannot be mounted there: {errno}; mount it before, by \
                         `mount -t bpf bpf {}`, or run with CAP_SYS_ADMIN",
                        path.display()
                    )),
                    _ => failed(format!("the file system bpf cannot be mounted there: {errno}")),
                }
            })?;
        }
        Ok(Folder { path: path.to_owned(), name: name.to_owned() })
    }

    /// The folder as it is; nothing if it is not there, or can hold no links.
    pub(crate) fn existing(path: &Path, name: &str) -> Result<Option<Folder>, Error> {
        match is_bpf(path) {
            Ok(true) => Ok(Some(Folder { path: path.to_owned(), name: name.to_owned() })),
            Ok(false) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Folder { path: path.to_owned(), problem: error.to_string() }),
        }
    }

    /// The name of the link on an interface.
    fn path(&self, index: u32) -> PathBuf {
        self.path.join(format!("{}_{index}", self.name))
    }

    /// The link on an interface, if there is one.
    pub(crate) fn link(&self, index: u32) -> Option<FdLink> {
        let path = self.path(index);
        if !path.exists() {
            return None;
        }
        PinnedLink::from_pin(path).ok().map(FdLink::from)
    }

    /// Gives a link its name, if it has lost it, or has none yet.
    pub(crate) fn keep(&self, index: u32, link: FdLink) -> Result<FdLink, Error> {
        let path = self.path(index);
        if path.exists() {
            return Ok(link);
        }
        let pinned =
            link.pin(&path).map_err(|error| Error::of(format!("keeping {}", path.display()), &error))?;
        Ok(pinned.into())
    }

    /// Whether the link on an interface has its name.
    pub(crate) fn keeps(&self, index: u32) -> bool {
        self.path(index).exists()
    }

    /// Takes the name away; the program leaves the interface, unless somebody holds the link.
    pub(crate) fn drop(&self, index: u32) -> Result<(), Error> {
        let path = self.path(index);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::Folder { path, problem: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The interfaces on which our links are, or were.
    pub(crate) fn indices(&self) -> Result<Vec<u32>, Error> {
        let failed = |error: io::Error| Error::Folder { path: self.path.clone(), problem: error.to_string() };
        let mut indices = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let index: Option<u32> =
                name.to_str().and_then(|name| name.strip_prefix(&self.name)?.strip_prefix('_')?.parse().ok());
            indices.extend(index);
        }
        Ok(indices)
    }
}

fn is_bpf(path: &Path) -> io::Result<bool> {
    // The type of the number differs from platform to platform.
    Ok(statfs(path)?.f_type as u64 & 0xffff_ffff == BPF_FS)
}
