//! One firewall for each place in a packet filter: two that bring it to different states would never rest.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::config::{FirewallConfig, Mode};

/// Where locks are, besides those beside what is held: who drives the same place with another configuration finds them here,
/// if it may be written to.
const FOLDER: &str = if cfg!(target_os = "linux") { "/run/testudo" } else { "/var/run/testudo" };

/// Somebody else is at it, or it cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process does the same.
    #[error(
        "another `testudo firewall` ({process}) drives {what} already; stop it, or choose another place for this one \
         (`testudo.table`, or the names of the sets)"
    )]
    Taken {
        /// What is driven.
        what: String,
        /// Which process, as far as is known.
        process: String,
    },
    /// The file cannot be written.
    #[error("{path} cannot be locked: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// While it is held, nobody else drives the same place. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _files: Vec<File>,
}

impl Lock {
    /// # Errors
    /// Somebody else has it.
    pub fn take(config: &FirewallConfig) -> Result<Lock, LockError> {
        let what = place(config);
        let name: String = what
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' })
            .collect();
        let name = format!("firewall-{}{name}.lock", space());
        let beside = config.state_file.parent().unwrap_or(Path::new("."));
        let mut files = Vec::new();
        let mut failed = None;
        for folder in different([Path::new(FOLDER), beside]) {
            match lock(&folder, &name, &what) {
                Ok(file) => files.push(file),
                Err(error @ LockError::Taken { .. }) => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if files.is_empty() => Err(error),
            _ => Ok(Lock { _files: files }),
        }
    }
}

/// Folders, each of them once, by whatever name: who has locked a file cannot lock it again.
fn different(folders: [&Path; 2]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // Only one that is there has one name. Where it cannot be made, locking tells why.
        let _ = fs::create_dir_all(folder);
        let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        if !found.contains(&real) {
            found.push(real);
        }
    }
    found
}

fn lock(folder: &Path, name: &str, what: &str) -> Result<File, LockError> {
    let path = folder.join(name);
    let failed = |source| LockError::Io { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(&failed)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(&failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // It may be about to write its number.
            let _ = file.read_to_string(&mut text);
            let process = match text.trim() {
                "" => "process unknown".to_owned(),
                number => format!("process {number}"),
            };
            return Err(LockError::Taken { what: what.to_owned(), process });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(&failed)?;
    file.rewind().map_err(&failed)?;
    writeln!(file, "{}", std::process::id()).map_err(&failed)?;
    Ok(file)
}

/// What is driven, in words.
fn place(config: &FirewallConfig) -> String {
    let pair = |v4: &str, v6: Option<&str>| v6.map_or(v4.to_owned(), |v6| format!("{v4} and {v6}"));
    match &config.mode {
        Mode::Nftables { .. } => format!("the table {}", config.table),
        Mode::Iptables(_) => format!("the chain {}", config.table),
        Mode::SetOnly { v4, v6 } => {
            let name = |place: &super::config::SetPlace| format!("{}.{}", place.table, place.set);
            format!("the sets {}", pair(&name(v4), v6.as_ref().map(name).as_deref()))
        }
        Mode::Xdp(_) => format!("the program {}", config.table),
        Mode::Ipset(sets) => format!("the sets {}", pair(&sets.v4, sets.v6.as_deref())),
        Mode::Pf { anchor, tables } => {
            let of = anchor.as_ref().map_or(String::new(), |anchor| format!(" of {anchor}"));
            format!("the tables {}{of}", pair(&tables.v4, tables.v6.as_deref()))
        }
    }
}

/// Each network namespace has a packet filter of its own.
fn space() -> String {
    #[cfg(target_os = "linux")]
    if let Ok(meta) = fs::metadata("/proc/self/ns/net") {
        return format!("{}-", std::os::unix::fs::MetadataExt::ino(&meta));
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = lock(folder.path(), "x.lock", "the table x").expect("it is free");
        let told = lock(folder.path(), "x.lock", "the table x").expect_err("it is taken").to_string();
        let begin =
            format!("another `testudo firewall` (process {}) drives the table x already", std::process::id());
        assert!(told.starts_with(&begin), "{told}");
        lock(folder.path(), "y.lock", "the table y").expect("it is another");
        drop(first);
        lock(folder.path(), "x.lock", "the table x").expect("it is free again");
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_of_two_names_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (run, link) = (folder.path().join("run"), folder.path().join("var-run"));
        fs::create_dir(&run).expect("made");
        std::os::unix::fs::symlink(&run, &link).expect("linked");
        // As `/run/testudo` and `/var/run/testudo` are one; it is not there yet.
        assert_eq!(different([&run.join("testudo"), &link.join("testudo")]).len(), 1);
        assert_eq!(different([&run, folder.path()]).len(), 2);
        assert_eq!(different([&std::env::current_dir().expect("a folder"), Path::new("")]).len(), 1);
    }
}
