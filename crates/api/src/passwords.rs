//! Passwords of machines: new ones are kept as Argon2id, those that other programs made as bcrypt.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

/// The longest password, in bytes: other programs of the ecosystem take no more.
const LONGEST: usize = 72;

/// A password that cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to hash")]
pub struct HashError;

/// What is stored of a password.
///
/// # Errors
/// It has more than 72 bytes, or the system has no randomness.
pub fn hash_password(password: &str) -> Result<String, HashError> {
    if password.len() > LONGEST {
        return Err(HashError);
    }
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|_| HashError)?;
    Ok(hash.to_string())
}

/// Whether a password is the one of which this was stored.
pub(crate) fn verify_password(password: &str, stored: &str) -> bool {
    if stored.starts_with("$2") {
        return bcrypt::verify(password, stored).unwrap_or(false);
    }
    let Ok(hash) = PasswordHash::new(stored) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_known_again() {
        let stored = hash_password("a secret").expect("hashed");
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        assert!(verify_password("a secret", &stored));
        assert!(!verify_password("another", &stored));
        assert!(!verify_password("", ""));
        assert_eq!(hash_password(&"x".repeat(73)), Err(HashError));
        assert!(hash_password(&"x".repeat(72)).is_ok());
    }

    #[test]
    fn those_of_other_programs_too() {
        let stored = bcrypt::hash("secret", 4).expect("hashed");
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let stored = format!("{prefix}{}", &stored[4..]);
            assert!(verify_password("secret", &stored), "{stored}");
            assert!(!verify_password("Secret", &stored), "{stored}");
        }
    }
}
