//! The state file: positions, buckets and alerts under way as one atomic whole.
//!
//! Layout: magic, version (u32), the lengths of three sections (u64 each), their bytes, and the checksum
//! (XXH3, u64) of all before it; numbers are little-endian. A file is written beside the old one, brought to
//! the disk, and renamed over it, so that a crash leaves the old whole or the new whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use testudo_intake::{PositionError, Positions};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"TESTUDO\x01";

/// The format that this program writes.
const VERSION: u32 = 1;

/// Magic, version and three lengths.
const HEAD: usize = 8 + 4 + 3 * 8;

/// The largest file that is read: twice the largest budget of buckets and the outbox.
const BYTES_MOST: u64 = 4 << 30;

/// What a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// How far each stream was dealt with.
    pub(crate) positions: Positions,
    /// The buckets, as the engine saves them; empty for none.
    pub(crate) buckets: Vec<u8>,
    /// The alerts that nobody has acknowledged, as the outbox saves them; empty for none.
    pub(crate) outbox: Vec<u8>,
}

/// Why there is no state to go on from, or why it cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("cannot {attempt} the state file {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        attempt: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was written by a later version.
    #[error(
        "the state file {} has format {found}, and this program reads up to {VERSION}: \
         start the newer program, or move the file away to begin anew",
        path.display()
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Its positions were written by a later version.
    #[error("the state file {}: {source}", path.display())]
    Positions {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PositionError,
    },
    /// It is no state file, or a damaged one.
    #[error("the state file {} is damaged: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

impl State {
    fn encode(&self) -> Vec<u8> {
        // Maps of texts and numbers can always be written.
        let positions = serde_json::to_vec(&self.positions).unwrap_or_default();
        let sections = [positions.as_slice(), &self.buckets, &self.outbox];
        let length = HEAD + sections.iter().map(|section| section.len()).sum::<usize>() + 8;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for section in sections {
            bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
        }
        for section in sections {
            bytes.extend_from_slice(section);
        }
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<State, StateError> {
        let damaged = |what| StateError::Damaged { path: path.to_owned(), what };
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as one"))?;
        let short = || damaged("it is cut off");
        let (version, mut rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let found = u32::from_le_bytes(*version);
        if found > VERSION {
            return Err(StateError::Newer { path: path.to_owned(), found });
        }
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or_else(short)?;
        if body.len() < HEAD || xxh3_64(body) != u64::from_le_bytes(*sum) {
            return Err(damaged("its checksum is wrong"));
        }
        let mut lengths = [0; 3];
        for length in &mut lengths {
            let (number, after) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            *length = usize::try_from(u64::from_le_bytes(*number)).map_err(|_| short())?;
            rest = after;
        }
        let mut section = |length: usize| {
            let (section, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(section)
        };
        let [positions, buckets, outbox] = lengths.map(&mut section);
        let positions: Positions = serde_json::from_slice(positions.ok_or_else(short)?)
            .map_err(|_| damaged("its positions cannot be understood"))?;
        positions.check().map_err(|source| StateError::Positions { path: path.to_owned(), source })?;
        Ok(State {
            positions,
            buckets: buckets.ok_or_else(short)?.to_vec(),
            outbox: outbox.ok_or_else(short)?.to_vec(),
        })
    }

    /// Reads a state; `None` when there is no file yet.
    pub(crate) fn read(path: &Path) -> Result<Option<State>, StateError> {
        let failed = |source| StateError::Io { attempt: "read", path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MOST).read_to_end(&mut bytes).map_err(failed)?;
        State::decode(path, &bytes).map(Some)
    }

    /// Puts it in the place of the file, and waits until the disk has it. Returns how many bytes it takes.
    pub(crate) fn write(&self, path: &Path) -> Result<usize, StateError> {
        let failed = |source| StateError::Io { attempt: "write", path: path.to_owned(), source };
        let bytes = self.encode();
        replace(path, &bytes).map_err(failed)?;
        Ok(bytes.len())
    }
}

/// Replaces a file in one step that survives a loss of power. Only its owner may read it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    // Without it the name may still lead to the old file after a crash.
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Moves a file that cannot be used out of the way, so that it can be looked at. Returns where to.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use testudo_intake::{Change, Position, Progress};

    use super::*;

    fn state() -> State {
        let mut positions = Positions::default();
        let change = Change::At(Position::Journal { cursor: "s=1".to_owned() });
        positions.apply(&Progress { key: "j".into(), change });
        State { positions, buckets: vec![1, 2, 3], outbox: b"[]".to_vec() }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        assert_eq!(State::read(&path).expect("no file is no error"), None);
        state().write(&path).expect("it is written");
        assert_eq!(State::read(&path).expect("it is read"), Some(state()));
        let newer = State::default();
        newer.write(&path).expect("it is written again");
        assert_eq!(State::read(&path).expect("it is read"), Some(newer));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left there");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        state().write(&path).expect("it is written");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = state().encode();
        bytes[8] = 9;
        let error = State::decode(Path::new("s"), &bytes).expect_err("it is newer");
        assert!(error.to_string().contains("has format 9"), "{error}");
    }

    proptest! {
        /// No bytes are taken for a state but those that were written as one.
        #[test]
        fn damage_is_noticed(at in 12..200_usize, change in 1..=255_u8, cut in 0..200_usize) {
            let bytes = state().encode();
            let mut flipped = bytes.clone();
            let at = at % (bytes.len() - 12) + 12;
            flipped[at] ^= change;
            prop_assert!(State::decode(Path::new("s"), &flipped).is_err());
            prop_assert!(State::decode(Path::new("s"), &bytes[..cut % bytes.len()]).is_err());
        }
    }
}
