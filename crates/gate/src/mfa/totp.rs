//! Codes that change with time, RFC 6238: those that authenticator apps show.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use testudo_event::text::url_part;

/// Bytes of a secret: as many as SHA-1 has, as RFC 4226 advises.
pub(crate) const SECRET_BYTES: usize = 20;

/// Seconds that a code holds.
const STEP: u64 = 30;

/// Codes of so many steps before and after the present one are taken: clocks differ, and people need time.
const WINDOW: u64 = 1;

const DIGITS: usize = 6;

/// The step of a moment in milliseconds since 1970.
pub(crate) const fn step(wall: u64) -> u64 {
    wall / (STEP * 1_000)
}

/// Whether a text could be a code.
pub(crate) fn is_code(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The step of which a text is the code, of those around `present`. Takes the same time whatever the text.
pub(crate) fn matching(secret: &[u8; SECRET_BYTES], text: &str, present: u64) -> Option<u64> {
    let mut found = None;
    for step in present.saturating_sub(WINDOW)..=present.saturating_add(WINDOW) {
        if bool::from(code(secret, step).as_bytes().ct_eq(text.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

/// The code of a step.
pub(crate) fn code(secret: &[u8; SECRET_BYTES], step: u64) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret).map(|mac| mac.chain_update(step.to_be_bytes()));
    // A key of any length is taken.
    let hash: [u8; 20] = mac.map(|mac| mac.finalize().into_bytes().into()).unwrap_or_default();
    let at = usize::from(hash[19] & 15);
    let word = hash[at..at + 4].iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    format!("{:0DIGITS$}", (word & 0x7fff_ffff) % 1_000_000)
}

/// The address that sets an authenticator app up.
pub(crate) fn uri(secret: &[u8; SECRET_BYTES], issuer: &str, user: &str) -> String {
    let (issuer, user) = (url_part(issuer), url_part(user));
    format!(
        "otpauth://totp/{issuer}:{user}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={STEP}",
        base32(secret)
    )
}

/// Base 32 of RFC 4648 without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    for chunk in bytes.chunks(5) {
        let mut word = [0; 8];
        word[3..3 + chunk.len()].copy_from_slice(chunk);
        let word = u64::from_be_bytes(word);
        for number in 0..(chunk.len() * 8).div_ceil(5) {
            let letter = LETTERS[(word >> (35 - 5 * number) & 31) as usize];
            let _ = text.write_char(char::from(letter));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 20] = b"12345678901234567890";

    #[test]
    fn the_codes_of_the_standard() {
        // Appendix B of RFC 6238, the last six of its eight digits.
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, step(seconds * 1_000)), expected, "{seconds}");
        }
    }

    #[test]
    fn one_step_before_and_after() {
        let text = code(SECRET, 1_000);
        for (present, expected) in
            [(998, None), (999, Some(1_000)), (1_000, Some(1_000)), (1_001, Some(1_000)), (1_002, None)]
        {
            assert_eq!(matching(SECRET, &text, present), expected, "{present}");
        }
        for text in ["", "0", "00000é", "1234567"] {
            assert_eq!(matching(SECRET, text, 1_000), None);
        }
        assert_eq!(matching(SECRET, &code(SECRET, 0), 0), Some(0), "nothing is before the first");
    }

    #[test]
    fn base_32() {
        // RFC 4648, 10.
        for (text, expected) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(text.as_bytes()), expected);
        }
        let uri = uri(SECRET, "My Site", "jörg");
        assert_eq!(
            uri,
            "otpauth://totp/My%20Site:j%C3%B6rg?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=My%20Site&algorithm=SHA1&digits=6&period=30"
        );
    }
}
