//! Users who are enrolled for a second factor, in a file that only gates with the same keys can read.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::totp::{self, SECRET_BYTES};
use crate::{
    identity::User,
    keys::Keys,
    seal::{self, RANDOM_BYTES},
};

const PURPOSE: &str = "mfa users";

/// What stands in front of what is sealed, so that a later layout can be told from this one.
const HEAD: &str = "testudo-gate-mfa 1 ";

/// The largest file, in bytes: a hundred thousand users, more or less.
const MAX_FILE: u64 = 64 << 20;

/// Recovery codes of a user.
const RECOVERY_CODES: usize = 8;

/// Bytes of a recovery code: too many to be guessed, so that a plain hash hides it.
const RECOVERY_BYTES: usize = 10;

/// Why users cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read or written.
    #[error("cannot use the file of second factors {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Others can read the file.
    #[error("others than its owner can use {}: run `chmod 600` on it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// None of the keys opens it, or it was changed.
    #[error("{} was not sealed with one of the gate's keys: bring that key back into the key file, or remove the file and enrol everybody anew", path.display())]
    Sealed {
        /// Which.
        path: PathBuf,
    },
    /// The name is none.
    #[error("this is no user's name: at most {} bytes, and no control characters", crate::identity::MAX_USER)]
    Name,
    /// The user is enrolled already.
    #[error("{name} is enrolled already")]
    Enrolled {
        /// Who.
        name: String,
    },
    /// The user is not enrolled.
    #[error("{name} is not enrolled")]
    Unknown {
        /// Who.
        name: String,
    },
    /// The system gives no randomness.
    #[error("the system gives no random numbers")]
    Random,
}

/// What is told once, when somebody is enrolled.
pub struct Enrolment {
    /// The address that sets an authenticator app up.
    pub uri: String,
    /// The secret alone, for apps that read no addresses.
    pub secret: String,
    /// Codes for when the app is lost; each counts once.
    pub recovery: Vec<String>,
}

/// A user who is enrolled, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The name.
    pub name: String,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Recovery codes that are left.
    pub recovery: usize,
}

/// Users by their names in lower case.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Vault {
    users: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    /// In base 64.
    secret: String,
    since: u64,
    /// The SHA-256 of each code that is left, in base 64.
    recovery: Vec<String>,
}

impl fmt::Debug for Vault {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.users.len())
    }
}

impl fmt::Debug for Enrolment {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enrolment(…)")
    }
}

impl Vault {
    /// Reads the users of a file; nobody where it is missing. Sealed with an older key, it is sealed anew.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it was sealed by somebody else.
    pub fn load(path: &Path, keys: &Keys) -> Result<Self, VaultError> {
        let (vault, is_old) = read(path, keys)?;
        if is_old && let Err(error) = change(path, keys, |_| Ok(())) {
            tracing::warn!(%error, "second factors stay sealed with an older key; they are lost when that key goes");
        }
        Ok(vault)
    }

    /// Enrols a user with a new secret. `issuer` is what the app shows beside the name, `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// The file cannot be used, or the user is enrolled and `may_replace` is not said.
    pub fn enrol(
        path: &Path,
        keys: &Keys,
        (name, issuer): (&str, &str),
        may_replace: bool,
        now: u64,
    ) -> Result<Enrolment, VaultError> {
        let user = User::new(name).ok_or(VaultError::Name)?;
        let mut secret = [0; SECRET_BYTES];
        random(&mut secret)?;
        let mut recovery = Vec::new();
        for _ in 0..RECOVERY_CODES {
            let mut bytes = [0; RECOVERY_BYTES];
            random(&mut bytes)?;
            recovery.push(grouped(&totp::base32(&bytes)));
        }
        let entry = Entry {
            name: user.name.clone(),
            secret: URL_SAFE_NO_PAD.encode(secret),
            since: now,
            recovery: recovery.iter().map(|code| hash(code)).collect(),
        };
        change(path, keys, |vault| {
            if vault.users.contains_key(&user.key) && !may_replace {
                return Err(VaultError::Enrolled { name: user.name.clone() });
            }
            vault.users.insert(user.key.clone(), entry);
            Ok(())
        })?;
        Ok(Enrolment { uri: totp::uri(&secret, issuer, &user.name), secret: totp::base32(&secret), recovery })
    }

    /// Forgets a user.
    ///
    /// # Errors
    /// The file cannot be used, or the user is not enrolled.
    pub fn remove(path: &Path, keys: &Keys, name: &str) -> Result<(), VaultError> {
        let user = User::new(name).ok_or(VaultError::Name)?;
        change(path, keys, |vault| match vault.users.remove(&user.key) {
            Some(_) => Ok(()),
            None => Err(VaultError::Unknown { name: user.name.clone() }),
        })
    }

    /// Uses a recovery code up. Whether it was one of the user's. It counts once, whoever else asks at the same time.
    ///
    /// # Errors
    /// The file cannot be used: then the code does not count.
    pub(crate) fn spend(path: &Path, keys: &Keys, user: &User, code: &str) -> Result<bool, VaultError> {
        let hash = hash(code);
        let spent = change(path, keys, |vault| {
            let unknown = || VaultError::Unknown { name: user.name.clone() };
            let entry = vault.users.get_mut(&user.key).ok_or_else(unknown)?;
            let before = entry.recovery.len();
            entry.recovery.retain(|other| !bool::from(other.as_bytes().ct_eq(hash.as_bytes())));
            // What is not changed is not written.
            if entry.recovery.len() < before { Ok(()) } else { Err(unknown()) }
        });
        match spent {
            Ok(()) => Ok(true),
            Err(VaultError::Unknown { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Who is enrolled, by name.
    pub fn users(&self) -> impl Iterator<Item = Enrolled> {
        self.users.values().map(|entry| Enrolled {
            name: entry.name.clone(),
            since: entry.since,
            recovery: entry.recovery.len(),
        })
    }

    /// The secret of a user who is enrolled.
    pub(crate) fn secret(&self, user: &User) -> Option<[u8; SECRET_BYTES]> {
        let entry = self.users.get(&user.key)?;
        URL_SAFE_NO_PAD.decode(&entry.secret).ok()?.try_into().ok()
    }
}

/// Whether a text could be a recovery code.
pub(crate) fn is_recovery_code(text: &str) -> bool {
    plain(text).len() == (RECOVERY_BYTES * 8).div_ceil(5)
}

/// Letters and digits alone, in upper case: how a code is grouped does not matter.
fn plain(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_uppercase()).take(64).collect()
}

fn grouped(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    letters
        .chunks(4)
        .map(|group| group.iter().collect::<String>())
        .collect::<Vec<_>>()
        .join("-")
        .to_lowercase()
}

fn hash(code: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(plain(code)))
}

fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(bytes).map_err(|_| VaultError::Random)
}

/// The users of a file, and whether it was sealed with an older key.
fn read(path: &Path, keys: &Keys) -> Result<(Vault, bool), VaultError> {
    let failed = |error| VaultError::File { path: path.to_owned(), error };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vault::default(), false)),
        result => result.map_err(failed)?,
    };
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&file.metadata().map_err(failed)?.permissions()) & 0o077 != 0 {
        return Err(VaultError::Open { path: path.to_owned() });
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let sealed = text.trim_end().strip_prefix(HEAD).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let opened = sealed.and_then(|sealed| seal::open(keys, PURPOSE, HEAD.as_bytes(), &sealed));
    let opened = opened.ok_or_else(|| VaultError::Sealed { path: path.to_owned() })?;
    let vault = serde_json::from_slice(&opened.text).map_err(|error| failed(error.into()))?;
    Ok((vault, opened.is_old))
}

/// Reads, changes and replaces the users of a file; one who changes it waits for another one.
fn change<T>(
    path: &Path,
    keys: &Keys,
    with: impl FnOnce(&mut Vault) -> Result<T, VaultError>,
) -> Result<T, VaultError> {
    let failed = |error| VaultError::File { path: path.to_owned(), error };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    // Not the file itself: it is replaced.
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let lock = options.open(Path::new(&beside)).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (mut vault, _) = read(path, keys)?;
    let result = with(&mut vault)?;
    let mut nonce = [0; RANDOM_BYTES];
    random(&mut nonce)?;
    let text = serde_json::to_vec(&vault).map_err(|error| failed(error.into()))?;
    let sealed = seal::seal(keys, PURPOSE, nonce, HEAD.as_bytes(), &text)
        .ok_or_else(|| failed(io::Error::other("it cannot be sealed")))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file of this library has mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    writeln!(file, "{HEAD}{}", URL_SAFE_NO_PAD.encode(sealed)).map_err(failed)?;
    #[cfg(unix)]
    give_to_owner_of(path, folder, &[file.as_file(), &lock]);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(result)
}

/// Whoever enrols users may not be whom the gate runs as: the file belongs to whom the old one did, or the folder.
#[cfg(unix)]
fn give_to_owner_of(path: &Path, folder: &Path, files: &[&File]) {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let owner = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder));
    for file in files {
        let given = owner.as_ref().map(|owner| fchown(file, Some(owner.uid()), Some(owner.gid())));
        if let Ok(Err(error)) = given {
            tracing::warn!(%error, "the file of second factors does not belong to whom its folder does");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(all: &[u8]) -> Keys {
        let all: Vec<_> = all.iter().map(|byte| [*byte; 32]).collect();
        Keys::new(&all).expect("keys")
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gate.mfa");
        (folder, path)
    }

    fn names(vault: &Vault) -> Vec<String> {
        vault.users().map(|user| user.name).collect()
    }

    #[test]
    fn users_come_and_go() {
        let (_folder, path) = place();
        let keys = keys(&[1]);
        assert_eq!(Vault::load(&path, &keys).expect("none"), Vault::default());
        let enrolment = Vault::enrol(&path, &keys, ("Alice", "Site"), false, 5).expect("enrolled");
        assert!(enrolment.uri.starts_with("otpauth://totp/Site:Alice?secret="));
        let error = Vault::enrol(&path, &keys, ("alice", "Site"), false, 5).expect_err("twice");
        assert_eq!(error.to_string(), "alice is enrolled already");
        Vault::enrol(&path, &keys, ("bob", "Site"), false, 6).expect("enrolled");
        let vault = Vault::load(&path, &keys).expect("users");
        assert_eq!(names(&vault), ["Alice", "bob"]);
        let secret = vault.secret(&User::new("ALICE").expect("a user")).expect("a secret");
        assert_eq!(totp::base32(&secret), enrolment.secret);
        let again = Vault::enrol(&path, &keys, ("alice", "Site"), true, 7).expect("anew");
        assert_ne!(again.secret, enrolment.secret);
        Vault::remove(&path, &keys, "ALICE").expect("removed");
        assert!(matches!(Vault::remove(&path, &keys, "alice"), Err(VaultError::Unknown { .. })));
        assert!(matches!(Vault::enrol(&path, &keys, ("a\nb", "x"), false, 0), Err(VaultError::Name)));
        assert_eq!(names(&Vault::load(&path, &keys).expect("users")), ["bob"]);
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with(HEAD) && !text.contains("bob"));
    }

    #[test]
    fn a_recovery_code_counts_once() {
        let (_folder, path) = place();
        let keys = keys(&[1]);
        let enrolment = Vault::enrol(&path, &keys, ("alice", "Site"), false, 0).expect("enrolled");
        Vault::enrol(&path, &keys, ("bob", "Site"), false, 0).expect("enrolled");
        let (alice, bob) = (User::new("alice").expect("a user"), User::new("bob").expect("a user"));
        assert_eq!(enrolment.recovery.len(), 8);
        let code = &enrolment.recovery[3];
        assert!(is_recovery_code(code), "{code}");
        assert!(!Vault::spend(&path, &keys, &bob, code).expect("looked at"), "it is another's");
        let typed = code.replace('-', " ").to_uppercase();
        assert!(Vault::spend(&path, &keys, &alice, &typed).expect("looked at"));
        assert!(!Vault::spend(&path, &keys, &alice, code).expect("looked at"));
        let vault = Vault::load(&path, &keys).expect("users");
        assert_eq!(vault.users().map(|user| user.recovery).collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn many_at_once_spend_a_code_once() {
        let (_folder, path) = place();
        let keys = keys(&[1]);
        let enrolment = Vault::enrol(&path, &keys, ("alice", "Site"), false, 0).expect("enrolled");
        let alice = User::new("alice").expect("a user");
        let spent = std::thread::scope(|scope| {
            let spend = || Vault::spend(&path, &keys, &alice, &enrolment.recovery[0]).expect("looked at");
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(spend)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).filter(|spent| *spent).count()
        });
        assert_eq!(spent, 1);
    }

    #[test]
    fn rotated_keys_open_it_and_seal_it_anew() {
        let (_folder, path) = place();
        Vault::enrol(&path, &keys(&[1]), ("alice", "Site"), false, 0).expect("enrolled");
        assert_eq!(names(&Vault::load(&path, &keys(&[2, 1])).expect("users")), ["alice"]);
        // Now the old key may go.
        assert_eq!(names(&Vault::load(&path, &keys(&[2])).expect("users")), ["alice"]);
        assert!(matches!(Vault::load(&path, &keys(&[1])), Err(VaultError::Sealed { .. })));
    }

    #[test]
    fn what_was_changed_is_refused() {
        let (_folder, path) = place();
        Vault::enrol(&path, &keys(&[1]), ("alice", "Site"), false, 0).expect("enrolled");
        let text = std::fs::read_to_string(&path).expect("a file");
        for bad in ["", "testudo-gate-mfa 2 x", &text[..text.len() - 3], &text.replace("-mfa 1 ", "-mfa 1 A")]
        {
            std::fs::write(&path, bad).expect("it is written");
            assert!(matches!(Vault::load(&path, &keys(&[1])), Err(VaultError::Sealed { .. })), "{bad}");
            // And it is not written over.
            Vault::enrol(&path, &keys(&[1]), ("bob", "Site"), true, 0).expect_err("it is not read");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, path) = place();
        Vault::enrol(&path, &keys(&[1]), ("alice", "Site"), false, 0).expect("enrolled");
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("it is changed");
        assert!(matches!(Vault::load(&path, &keys(&[1])), Err(VaultError::Open { .. })));
    }
}
