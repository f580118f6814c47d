//! Tokens of machines: JSON web tokens, signed with HMAC-SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How long a token is good for, in seconds, and how long it can be exchanged for a new one.
pub(crate) const LIFETIME_SECS: i64 = 3600;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// When it ends, Unix seconds.
    pub(crate) exp: i64,
    /// The machine.
    pub(crate) id: String,
    /// When it was made, Unix seconds.
    pub(crate) orig_iat: i64,
}

#[derive(Deserialize)]
struct Found {
    exp: Option<i64>,
    #[serde(default)]
    id: String,
    #[serde(default)]
    orig_iat: i64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Why a token is refused. As text it is what the API says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("token contains an invalid number of segments")]
    Segments,
    #[error("token is malformed")]
    Malformed,
    #[error("signature is invalid")]
    Signature,
    #[error("missing exp field")]
    NoEnd,
    #[error("Token is expired")]
    Expired,
}

fn mac(secret: &[u8], signed: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(signed.as_bytes());
    Some(mac)
}

/// Makes a token. `None` cannot happen: every length of secret is taken.
pub(crate) fn sign(secret: &[u8], claims: &Claims) -> Option<String> {
    let payload = serde_json::to_vec(claims).ok()?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(payload));
    let signature = mac(secret, &signed)?.finalize().into_bytes();
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Reads a token that was made with this secret, whether it has ended or not.
pub(crate) fn read(secret: &[u8], token: &str) -> Result<Claims, TokenError> {
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Segments)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Segments)?;
    if payload.contains('.') {
        return Err(TokenError::Segments);
    }
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Signature)?;
    let is_ours =
        header.alg == "HS256" && mac(secret, signed).is_some_and(|mac| mac.verify_slice(&signature).is_ok());
    if !is_ours {
        return Err(TokenError::Signature);
    }
    let found: Found = serde_json::from_slice(&decode(payload)?).map_err(|_| TokenError::Malformed)?;
    let exp = found.exp.ok_or(TokenError::NoEnd)?;
    Ok(Claims { exp, id: found.id, orig_iat: found.orig_iat })
}

/// As [`read`], for one that is still good.
pub(crate) fn verify(secret: &[u8], token: &str, now_secs: i64) -> Result<Claims, TokenError> {
    let claims = read(secret, token)?;
    if now_secs >= claims.exp { Err(TokenError::Expired) } else { Ok(claims) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn made(payload: &str, alg: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = mac(SECRET, &signed).expect("a key").finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn tokens_are_checked() {
        let claims = Claims { exp: 1_795_298_401, id: "edge-07".into(), orig_iat: 1_795_294_801 };
        let token = sign(SECRET, &claims).expect("a token");
        assert!(token.starts_with("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."), "{token}");
        assert_eq!(token, made(r#"{"exp":1795298401,"id":"edge-07","orig_iat":1795294801}"#, "HS256"));
        let at = |secret: &[u8], token: &str, now| verify(secret, token, now).map(|found| found.id);
        let good = Ok("edge-07".to_owned());
        assert_eq!(at(SECRET, &token, 1_795_298_400), good);
        assert_eq!(at(SECRET, &token, 1_795_298_401), Err(TokenError::Expired));
        assert_eq!(at(b"another", &token, 0), Err(TokenError::Signature));
        assert_eq!(at(SECRET, "abc", 0), Err(TokenError::Segments));
        assert_eq!(at(SECRET, "a.b.c.d", 0), Err(TokenError::Segments));
        assert_eq!(at(SECRET, "a.b.c", 0), Err(TokenError::Malformed));
        assert_eq!(at(SECRET, &made(r#"{"id":"x"}"#, "HS256"), 0), Err(TokenError::NoEnd));
        assert_eq!(at(SECRET, &made(r#"{"exp":9}"#, "none"), 0), Err(TokenError::Signature));
        assert_eq!(at(SECRET, &made(r#"{"exp":"9"}"#, "HS256"), 0), Err(TokenError::Malformed));
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "[a-zA-Z0-9_.-]{0,60}") {
            prop_assert!(verify(SECRET, &text, 0).is_err());
        }
    }
}
