//! One daemon a folder of data: two would write over each other's state.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// The most that is read of what another daemon wrote into its lock: a number.
const NOTE_MOST: u64 = 32;

/// Why a folder of data is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon runs.
    #[error(
        "another daemon{owner} runs with the data of {}: stop it first, or give this one a folder of its own \
         (`config_paths.data_dir`, or `--data-dir`)",
        folder.display()
    )]
    Taken {
        /// Of which data.
        folder: PathBuf,
        /// Its process, as far as it is known, with a blank before it.
        owner: String,
    },
    /// The file cannot be made or locked.
    #[error("cannot lock {}: {source}; check who may write there", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Locks a folder of data for this process, as long as the file is open. The system lets go when a process ends,
/// however it does, so that nothing is left to clean up. File systems without locks are told of, and used without.
///
/// # Errors
/// Another daemon uses it, or nothing can be written there.
pub(crate) fn lock(data_dir: &Path) -> Result<File, LockError> {
    let path = data_dir.join("testudo.lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let failed = |source| LockError::Io { path: path.clone(), source };
    let mut file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut note = String::new();
            // Who it is helps, and is not needed.
            let _ = file.take(NOTE_MOST).read_to_string(&mut note);
            let owner = note.trim().parse::<u32>().map(|pid| format!(" (process {pid})")).unwrap_or_default();
            return Err(LockError::Taken { folder: data_dir.to_owned(), owner });
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(path = %path.display(), "the file system has no locks: see to it that one daemon runs");
            return Ok(file);
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let note = format!("{}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
    if let Err(error) = written {
        // A full disk must not keep the machine unguarded.
        tracing::warn!(path = %path.display(), %error, "the number of this process cannot be noted");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = lock(folder.path()).expect("it is free");
        let error = lock(folder.path()).expect_err("it is taken").to_string();
        assert!(error.contains(&format!("another daemon (process {}) runs", std::process::id())), "{error}");
        drop(held);
        lock(folder.path()).expect("it is free again");
        let error = lock(&folder.path().join("none")).expect_err("there is no such folder").to_string();
        assert!(error.contains("none/testudo.lock"), "{error}");
    }
}
