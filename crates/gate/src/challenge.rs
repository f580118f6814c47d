//! Challenges: some work for a browser, or a question for who has no JavaScript.
//!
//! A challenge is signed and nothing about it is remembered until it is answered. It belongs to one host, one network and
//! one browser, and to what is done once it is answered: nobody can have it solved by others, or solve it for others.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::{
    keys::{Keys, MAC_BYTES},
    moment::Moment,
};

const PURPOSE: &str = "challenge";
const VERSION: u8 = 1;

/// Bytes in front of the signature: version, time, difficulty, randomness.
const HEAD_BYTES: usize = 1 + 8 + 1 + 16;

/// Longer texts are not looked at, in bytes.
const MAX_TOKEN: usize = 128;

/// How far the clocks of gates with the same keys may be apart, in milliseconds.
const SKEW: u64 = 60_000;

/// The most digits of an answer: with the seed and a colon, one block of SHA-256 holds them.
const MAX_DIGITS: usize = 10;

/// The difficulty of a challenge that no work and no question answers, but a provider's word alone.
pub(crate) const NO_WORK: u8 = u8::MAX;

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is no challenge at all, or not one of ours for this visitor.
    Forged,
    /// It was made too long ago.
    Expired,
    /// A question was answered before the wait was over.
    Early,
    /// The work is not done, or the answer is wrong.
    Wrong,
    /// It was answered before.
    Used,
    /// Too many questions were answered from the same network.
    Often,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Forged, Self::Expired, Self::Early, Self::Wrong, Self::Used, Self::Often];

    /// The name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Wrong => "wrong",
            Self::Used => "used",
            Self::Often => "often",
        }
    }
}

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// When it was made, in milliseconds since 1970.
    pub(crate) issued: u64,
    /// Leading zero bits of the work.
    pub(crate) difficulty: u8,
    /// What tells it from others.
    pub(crate) random: [u8; 16],
    signature: [u8; MAC_BYTES],
}

impl Challenge {
    /// A new challenge for `owner`, who does `what` once it is answered.
    pub(crate) fn new(
        keys: &Keys,
        owner: &[u8; 32],
        what: &[u8; 32],
        difficulty: u8,
        random: [u8; 16],
        now: Moment,
    ) -> Self {
        let mut challenge = Self { issued: now.wall, difficulty, random, signature: [0; MAC_BYTES] };
        challenge.signature = keys.sign(PURPOSE, &challenge.signed(owner, what));
        challenge
    }

    /// Its text.
    pub(crate) fn token(&self) -> String {
        let mut bytes = self.head();
        bytes.extend(self.signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads its text. Only [`Challenge::verify`] says whether it is a true one.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (&difficulty, rest) = rest.split_first()?;
        let (&random, rest) = rest.split_first_chunk()?;
        let signature = rest.try_into().ok()?;
        let issued = u64::from_be_bytes(*issued);
        (version == VERSION).then_some(Self { issued, difficulty, random, signature })
    }

    /// Whether it was made by one of the keys for this owner and purpose, and can still be answered.
    pub(crate) fn verify(
        &self,
        keys: &Keys,
        owner: &[u8; 32],
        what: &[u8; 32],
        valid_for: Duration,
        now: Moment,
    ) -> Result<(), Refusal> {
        let is_ours = keys.verify(PURPOSE, &self.signed(owner, what), &self.signature);
        if !is_ours || self.issued > now.wall.saturating_add(SKEW) {
            return Err(Refusal::Forged);
        }
        if self.age(now) > valid_for { Err(Refusal::Expired) } else { Ok(()) }
    }

    /// How long ago it was made.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        Duration::from_millis(now.wall.saturating_sub(self.issued))
    }

    /// What the work begins with.
    pub(crate) fn seed(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.signature)
    }

    /// Whether the SHA-256 of seed, colon and number begins with enough zero bits.
    pub(crate) fn is_solved_by(&self, number: &str) -> bool {
        let is_number =
            (1..=MAX_DIGITS).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        is_number
            && leading_zeros(&Sha256::digest(format!("{}:{number}", self.seed()))) >= self.difficulty.into()
    }

    /// The two numbers of the question, each from 1 to 9: how much are they together?
    pub(crate) fn question(&self) -> (u8, u8) {
        (self.signature[0] % 9 + 1, self.signature[1] % 9 + 1)
    }

    fn head(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + MAC_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.issued.to_be_bytes());
        bytes.push(self.difficulty);
        bytes.extend(self.random);
        bytes
    }

    fn signed(&self, owner: &[u8; 32], what: &[u8; 32]) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend(owner);
        bytes.extend(what);
        bytes
    }
}

/// What is done once a challenge is answered: a target, and the form that is sent to it.
pub(crate) fn what(target: &str, form: Option<&str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((target.len() as u64).to_be_bytes());
    hash.update(target);
    if let Some(form) = form {
        hash.update([1]);
        hash.update(form);
    }
    hash.finalize().into()
}

fn leading_zeros(hash: &[u8]) -> u32 {
    let whole = hash.iter().take_while(|byte| **byte == 0).count();
    whole as u32 * 8 + hash.get(whole).map_or(0, |byte| byte.leading_zeros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: Duration = Duration::from_mins(5);

    fn keys() -> Keys {
        Keys::new(&[[1; 32]]).expect("a key")
    }

    fn challenge() -> Challenge {
        Challenge::new(&keys(), &[2; 32], &[3; 32], 8, [4; 16], Moment::at(1_000_000))
    }

    #[test]
    fn only_its_owner_in_time_for_its_purpose() {
        let challenge = Challenge::parse(&challenge().token()).expect("a challenge");
        let check = |owner, what, millis, expected| {
            let found = challenge.verify(&keys(), &owner, &what, VALID, Moment::at(millis));
            assert_eq!(found, expected);
        };
        check([2; 32], [3; 32], 1_000_000, Ok(()));
        check([2; 32], [3; 32], 1_300_000, Ok(()));
        check([2; 32], [3; 32], 1_300_001, Err(Refusal::Expired));
        check([2; 32], [3; 32], 940_000, Ok(()));
        check([2; 32], [3; 32], 939_999, Err(Refusal::Forged));
        check([9; 32], [3; 32], 1_000_000, Err(Refusal::Forged));
        check([2; 32], [9; 32], 1_000_000, Err(Refusal::Forged));
        let stranger = Keys::new(&[[9; 32]]).expect("a key");
        let found = challenge.verify(&stranger, &[2; 32], &[3; 32], VALID, Moment::at(1_000_000));
        assert_eq!(found, Err(Refusal::Forged));
    }

    #[test]
    fn work_is_work() {
        let challenge = challenge();
        let solved = (0_u32..100_000).find(|number| challenge.is_solved_by(&number.to_string()));
        let number = solved.expect("an answer");
        let hash = Sha256::digest(format!("{}:{number}", challenge.seed()));
        assert_eq!(hash[0], 0);
        let unsolved = (0_u32..1_000).filter(|number| !challenge.is_solved_by(&number.to_string()));
        assert!(unsolved.count() > 900);
        for text in ["", "-1", "1e3", "12345678901", " 1", "é"] {
            assert!(!challenge.is_solved_by(text), "{text}");
        }
        assert_eq!(challenge.seed().len() + 1 + MAX_DIGITS, 54, "one block of SHA-256 holds 55 bytes");
    }

    #[test]
    fn zeros() {
        for (bytes, zeros) in [(&[0x80_u8, 0][..], 0), (&[0x01, 0], 7), (&[0, 0x40], 9), (&[0, 0], 16)] {
            assert_eq!(leading_zeros(bytes), zeros);
        }
    }

    #[test]
    fn a_form_is_part_of_what_is_done() {
        assert_ne!(what("/a", None), what("/a", Some("")));
        assert_ne!(what("/a", Some("b")), what("/ab", Some("")));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~]{0,140}") {
            if let Some(challenge) = Challenge::parse(&text) {
                let found = challenge.verify(&keys(), &[2; 32], &[3; 32], VALID, Moment::at(1_000_000));
                prop_assert_eq!(found, Err(Refusal::Forged));
            }
        }

        /// A challenge in which anything is changed is none.
        #[test]
        fn no_byte_can_be_changed(at in 0_usize..58, with in 1_u8..) {
            let mut bytes = URL_SAFE_NO_PAD.decode(challenge().token()).expect("base 64");
            bytes[at] ^= with;
            if let Some(challenge) = Challenge::parse(&URL_SAFE_NO_PAD.encode(bytes)) {
                let found = challenge.verify(&keys(), &[2; 32], &[3; 32], VALID, Moment::at(1_000_000));
                prop_assert_eq!(found, Err(Refusal::Forged));
            }
        }
    }
}
