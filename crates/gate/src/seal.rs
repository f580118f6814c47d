//! Bytes that only gates with the same keys can read, and that nobody else can make.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::keys::{KEY_BYTES, Keys};

/// Bytes of randomness for each text that is sealed.
pub(crate) const RANDOM_BYTES: usize = NONCE_LEN;

/// What was sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) text: Vec<u8>,
    /// It was sealed with an older key.
    pub(crate) is_old: bool,
}

/// Seals a text for one purpose and for what it is about. A cipher that bears randomness that repeats, as it may in a
/// copy of a machine.
pub(crate) fn seal(
    keys: &Keys,
    purpose: &str,
    random: [u8; RANDOM_BYTES],
    about: &[u8],
    text: &[u8],
) -> Option<Vec<u8>> {
    let key = cipher(&keys.derived(purpose).next()?)?;
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(random), Aad::from(about), &mut sealed).ok()?;
    Some([&random[..], &sealed].concat())
}

/// Opens what was sealed with one of the keys for the same purpose and about the same.
pub(crate) fn open(keys: &Keys, purpose: &str, about: &[u8], sealed: &[u8]) -> Option<Opened> {
    let (random, sealed) = sealed.split_first_chunk::<RANDOM_BYTES>()?;
    keys.derived(purpose).enumerate().find_map(|(number, key)| {
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*random);
        let length = cipher(&key)?.open_in_place(nonce, Aad::from(about), &mut text).ok()?.len();
        text.truncate(length);
        Some(Opened { text, is_old: number > 0 })
    })
}

fn cipher(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM_SIV, key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first: u8) -> Keys {
        Keys::new(&[[first; 32], [1; 32]]).expect("keys")
    }

    #[test]
    fn only_with_the_key_for_the_purpose() {
        let sealed = seal(&keys(1), "a", [5; 12], b"x", b"text").expect("it is sealed");
        let opened = |is_old| Some(Opened { text: b"text".to_vec(), is_old });
        assert_eq!(open(&keys(1), "a", b"x", &sealed), opened(false));
        assert_eq!(open(&keys(2), "a", b"x", &sealed), opened(true), "an old key opens");
        assert_eq!(open(&Keys::new(&[[2; 32]]).expect("a key"), "a", b"x", &sealed), None);
        assert_eq!(open(&keys(1), "b", b"x", &sealed), None);
        assert_eq!(open(&keys(1), "a", b"y", &sealed), None);
        assert!(!sealed.windows(4).any(|window| window == b"text"));
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(open(&keys(1), "a", b"x", &forged), None, "{at}");
            assert_eq!(open(&keys(1), "a", b"x", &sealed[..at]), None, "{at}");
        }
    }
}
