//! The keys that sign challenges and passes, in a file that several gates can share.

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// Bytes of a signature.
pub(crate) const MAC_BYTES: usize = 32;

/// The most keys that a file may hold.
const MAX_KEYS: usize = 8;

/// The largest file of keys, in bytes.
const MAX_FILE: u64 = 16 << 10;

/// How many keys are left after a rotation: what the last one but one signed has expired by then.
const KEPT: usize = 3;

const HEAD: &str = "\
# The keys of Testudo's gate, one a line. The first one signs, all of them verify.
# Gates that share a site share this file. Keep it secret.
";

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot use the key file {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Others can read the file.
    #[error("others than its owner can use the key file {}: run `chmod 600` on it, then rotate the keys", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// A line is no key.
    #[error("{}:{line}: no key: 43 letters and digits stand for 32 bytes; remove the line, or the file to have a new one made", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
    },
    /// There is none, or there are too many.
    #[error("{} holds {count} keys where 1 to {MAX_KEYS} are expected; remove the file to have a new one made", path.display())]
    Count {
        /// Which file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// Keys: the first one signs, all of them verify.
#[derive(Clone)]
pub struct Keys(Vec<Hmac<Sha256>>);

impl fmt::Debug for Keys {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// Keys that are in no file. None if there is no key among them.
    pub fn new(keys: &[[u8; KEY_BYTES]]) -> Option<Self> {
        let keys: Option<Vec<_>> = keys.iter().map(|key| Hmac::<Sha256>::new_from_slice(key).ok()).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// Reads a file of keys. One that is missing is made, for its owner only.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let texts = match read(path) {
            Err(KeyError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                match write(path, &[fresh()?], false) {
                    // Another gate made it at the same moment: that one is read.
                    Err(KeyError::File { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    result => result?,
                }
                read(path)?
            }
            result => result?,
        };
        Self::new(&texts).ok_or_else(|| KeyError::Count { path: path.to_owned(), count: 0 })
    }

    /// Puts a new key in front of those of a file. What older keys signed stays valid until two more rotations.
    pub fn rotate(path: &Path) -> Result<Self, KeyError> {
        Self::load(path)?;
        let mut keys = read(path)?;
        keys.insert(0, fresh()?);
        keys.truncate(KEPT);
        write(path, &keys, true)?;
        Self::load(path)
    }

    /// Signs a message for one purpose.
    pub(crate) fn sign(&self, purpose: &str, message: &[u8]) -> [u8; MAC_BYTES] {
        mac(&self.0[0], purpose, message).finalize().into_bytes().into()
    }

    /// Keys for one purpose, one made of each key: the expansion of HKDF (RFC 5869), whose extraction uniform keys do
    /// without.
    pub(crate) fn derived(&self, purpose: &str) -> impl Iterator<Item = [u8; KEY_BYTES]> {
        self.0.iter().map(move |key| mac(key, purpose, &[1]).finalize().into_bytes().into())
    }

    /// Whether one of the keys signed a message for this purpose.
    pub(crate) fn verify(&self, purpose: &str, message: &[u8], signature: &[u8; MAC_BYTES]) -> bool {
        self.0.iter().any(|key| {
            let expected: [u8; MAC_BYTES] = mac(key, purpose, message).finalize().into_bytes().into();
            bool::from(expected.ct_eq(signature))
        })
    }
}

/// What is signed for one purpose never counts for another.
fn mac(key: &Hmac<Sha256>, purpose: &str, message: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(&(purpose.len() as u64).to_be_bytes());
    mac.update(purpose.as_bytes());
    mac.update(message);
    mac
}

fn fresh() -> Result<[u8; KEY_BYTES], KeyError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|_| KeyError::Random)?;
    Ok(key)
}

fn read(path: &Path) -> Result<Vec<[u8; KEY_BYTES]>, KeyError> {
    let failed = |error| KeyError::File { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned() });
    }
    if metadata.len() > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let text = io::read_to_string(file).map_err(failed)?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = URL_SAFE_NO_PAD.decode(line).ok().and_then(|bytes| bytes.try_into().ok());
        keys.push(key.ok_or_else(|| KeyError::Line { path: path.to_owned(), line: number + 1 })?);
    }
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(KeyError::Count { path: path.to_owned(), count: keys.len() });
    }
    Ok(keys)
}

/// Puts a whole file in its place, so that nobody ever reads half of one.
fn write(path: &Path, keys: &[[u8; KEY_BYTES]], may_replace: bool) -> Result<(), KeyError> {
    let failed = |error| KeyError::File { path: path.to_owned(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file of this library has mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(HEAD.as_bytes()).map_err(failed)?;
    for key in keys {
        writeln!(file, "{}", URL_SAFE_NO_PAD.encode(key)).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    #[cfg(unix)]
    if let Ok(old) = std::fs::metadata(path) {
        // Whoever rotates the keys may not be whom the gate runs as.
        use std::os::unix::fs::MetadataExt as _;
        std::os::unix::fs::fchown(file.as_file(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
    }
    let placed = if may_replace { file.persist(path) } else { file.persist_noclobber(path) };
    placed.map(drop).map_err(|error| failed(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_hold_for_their_purpose_only() {
        let keys = Keys::new(&[[7; 32]]).expect("a key");
        let signature = keys.sign("a", b"bc");
        assert!(keys.verify("a", b"bc", &signature));
        assert!(!keys.verify("ab", b"c", &signature));
        assert!(!keys.verify("a", b"bd", &signature));
        assert!(!Keys::new(&[[8; 32]]).expect("a key").verify("a", b"bc", &signature));
        assert!(Keys::new(&[]).is_none());
    }

    #[test]
    fn a_file_is_made_and_rotated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let first = Keys::load(&path).expect("it is made");
        let signature = first.sign("a", b"b");
        assert!(Keys::load(&path).expect("it is read").verify("a", b"b", &signature));
        let second = Keys::rotate(&path).expect("a new key");
        assert_ne!(second.sign("a", b"b"), signature, "the new key signs");
        assert!(second.verify("a", b"b", &signature), "the old one verifies");
        Keys::rotate(&path).expect("a third");
        let fourth = Keys::rotate(&path).expect("a fourth");
        assert!(!fourth.verify("a", b"b", &signature), "it is gone");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_others_is_refused() {
        use std::{fs, os::unix::fs::PermissionsExt as _};
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        Keys::load(&path).expect("it is made");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is opened");
        assert!(matches!(Keys::load(&path), Err(KeyError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is closed");
        fs::write(&path, "# nothing\n").expect("it is emptied");
        assert!(matches!(Keys::load(&path), Err(KeyError::Count { count: 0, .. })));
        fs::write(&path, "\nshort\n").expect("it is written");
        assert!(matches!(Keys::load(&path), Err(KeyError::Line { line: 2, .. })));
    }
}
