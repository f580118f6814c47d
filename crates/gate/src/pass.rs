//! Passes: cookies that say that a challenge was answered.
//!
//! A pass belongs to one host, one network and one browser. It says nothing about decisions: those are looked up for each
//! request, so a ban holds whatever pass its visitor has.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    cookie,
    keys::{Keys, MAC_BYTES},
    moment::Moment,
    visit::Visit,
};

const VERSION: u8 = 1;

/// What a pass is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sort {
    /// What its signature is for.
    purpose: &'static str,
    /// Its name over TLS: browsers take a cookie with this beginning from its own host only.
    secure_name: &'static str,
    /// Its name over plain HTTP.
    plain_name: &'static str,
}

/// A challenge was answered.
pub(crate) const CAPTCHA: Sort =
    Sort { purpose: "pass", secure_name: "__Host-testudo-pass", plain_name: "testudo-pass" };

/// A second factor was shown. Its owner is a user as well.
pub(crate) const MFA: Sort =
    Sort { purpose: "mfa pass", secure_name: "__Host-testudo-mfa", plain_name: "testudo-mfa" };

/// The most cookies of one name that are looked at.
const MAX_TRIES: usize = 4;

/// Longer texts are not looked at, in bytes.
const MAX_TOKEN: usize = 128;

/// The line that gives a visitor a pass.
pub(crate) fn set_cookie(
    keys: &Keys,
    sort: Sort,
    visit: &Visit<'_>,
    owner: &[u8; 32],
    valid_for: Duration,
    now: Moment,
) -> String {
    let token = issue(keys, sort, owner, valid_for, now);
    let (name, secure) = if visit.is_https { (sort.secure_name, "; Secure") } else { (sort.plain_name, "") };
    let seconds = valid_for.as_secs();
    // Not `Strict`: a visitor who follows a link from elsewhere would be asked again.
    format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

/// Whether a visitor has a pass that holds.
pub(crate) fn holds(keys: &Keys, sort: Sort, visit: &Visit<'_>, owner: &[u8; 32], now: Moment) -> bool {
    let name = if visit.is_https { sort.secure_name } else { sort.plain_name };
    cookie::values(visit.headers, name).take(MAX_TRIES).any(|token| verify(keys, sort, token, owner, now))
}

/// A pass: version, the end of its time in milliseconds since 1970, signature.
fn issue(keys: &Keys, sort: Sort, owner: &[u8; 32], valid_for: Duration, now: Moment) -> String {
    let until = now.wall.saturating_add(valid_for.as_millis() as u64);
    let mut bytes = vec![VERSION];
    bytes.extend(until.to_be_bytes());
    let signature = keys.sign(sort.purpose, &signed(until, owner));
    bytes.extend(signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn verify(keys: &Keys, sort: Sort, token: &str, owner: &[u8; 32], now: Moment) -> bool {
    parse(token).is_some_and(|(until, signature)| {
        until > now.wall && keys.verify(sort.purpose, &signed(until, owner), &signature)
    })
}

fn parse(token: &str) -> Option<(u64, [u8; MAC_BYTES])> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (until, rest) = rest.split_first_chunk()?;
    let signature = rest.try_into().ok()?;
    (version == VERSION).then_some((u64::from_be_bytes(*until), signature))
}

fn signed(until: u64, owner: &[u8; 32]) -> [u8; 41] {
    let mut bytes = [VERSION; 41];
    bytes[1..9].copy_from_slice(&until.to_be_bytes());
    bytes[9..].copy_from_slice(owner);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn keys(first: u8) -> Keys {
        Keys::new(&[[first; 32], [1; 32]]).expect("keys")
    }

    #[test]
    fn a_pass_holds_for_its_owner_and_time() {
        let pass = issue(&keys(1), CAPTCHA, &[2; 32], HOUR, Moment::at(1_000));
        assert!(verify(&keys(1), CAPTCHA, &pass, &[2; 32], Moment::at(1_000)));
        assert!(verify(&keys(1), CAPTCHA, &pass, &[2; 32], Moment::at(3_600_999)));
        assert!(!verify(&keys(1), CAPTCHA, &pass, &[2; 32], Moment::at(3_601_000)), "it has expired");
        assert!(!verify(&keys(1), CAPTCHA, &pass, &[3; 32], Moment::at(1_000)), "it was stolen");
        assert!(verify(&keys(7), CAPTCHA, &pass, &[2; 32], Moment::at(1_000)), "an old key verifies");
        let other = issue(&keys(7), CAPTCHA, &[2; 32], HOUR, Moment::at(1_000));
        assert!(!verify(&keys(1), MFA, &pass, &[2; 32], Moment::at(1_000)), "it is for something else");
        assert!(!verify(&keys(1), CAPTCHA, &other, &[2; 32], Moment::at(1_000)), "a key that is not known");
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "[ -~]{0,140}") {
            prop_assert!(!verify(&keys(1), CAPTCHA, &text, &[2; 32], Moment::at(0)));
        }

        #[test]
        fn no_byte_can_be_changed(at in 0_usize..41, with in 1_u8..) {
            let pass = issue(&keys(1), CAPTCHA, &[2; 32], HOUR, Moment::at(1_000));
            let mut bytes = URL_SAFE_NO_PAD.decode(pass).expect("base 64");
            bytes[at] ^= with;
            let forged = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert!(!verify(&keys(1), CAPTCHA, &forged, &[2; 32], Moment::at(1_000)));
        }
    }
}
