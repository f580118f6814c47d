//! Which user sends a request: whom the policy names says so, and nobody else.

use hyper::header::{HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::Value;
use testudo_config::Secret;

use crate::{cookie, keys::Keys, mfa::session, moment::Moment, visit::Visit};

/// Longer names are nobody's, in bytes.
pub(crate) const MAX_USER: usize = 256;

/// The largest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 << 10;

/// The most cookies of one name that are looked at.
const MAX_TRIES: usize = 4;

/// How far the clocks of those who make tokens may be off, in seconds.
const SKEW: u64 = 60;

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name as it was told, for people.
    pub name: String,
    /// The name in lower case: users whose names differ in this only are the same.
    pub key: String,
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for User {}

impl User {
    /// A user by a name; none if it is no name.
    pub fn new(name: &str) -> Option<Self> {
        let name = name.trim();
        let is_name = !name.is_empty() && name.len() <= MAX_USER && !name.chars().any(char::is_control);
        is_name.then(|| Self { name: name.to_owned(), key: name.to_lowercase() })
    }
}

/// Who says which user sends a request.
#[derive(Debug)]
pub(crate) enum Identity {
    /// A trusted proxy, in a header.
    Header(HeaderName),
    /// The application, in a signed cookie.
    Cookie(Box<CookieIdentity>),
    /// The gate itself, since the user was sent to a provider of OpenID Connect.
    Oidc,
}

/// A signed token in a cookie.
#[derive(Debug)]
pub(crate) struct CookieIdentity {
    pub(crate) name: String,
    /// The claim with the user's name.
    pub(crate) claim: String,
    pub(crate) keys: TokenKeys,
    /// How the token may be signed.
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
}

/// What a token is verified with.
pub(crate) enum TokenKeys {
    /// The secret that signs.
    Shared(Secret),
    /// Public keys.
    Public(Box<JwkSet>),
}

impl std::fmt::Debug for TokenKeys {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared(…)",
            Self::Public(_) => "Public(…)",
        })
    }
}

impl Identity {
    /// The user who sends a request, if that is known.
    pub(crate) fn user(&self, visit: &Visit<'_>, keys: &Keys, now: Moment) -> Option<User> {
        match self {
            Self::Header(name) => {
                let mut values = visit.headers.get_all(name).iter().filter(|_| visit.from_proxy);
                // Of two values, one may be the visitor's own.
                match (values.next().map(HeaderValue::as_bytes), values.next()) {
                    (Some(value), None) => User::new(str::from_utf8(value).ok()?),
                    _ => None,
                }
            }
            Self::Cookie(cookie) => {
                let mut tokens = cookie::values(visit.headers, &cookie.name).take(MAX_TRIES);
                tokens.find_map(|token| cookie.user(token, now))
            }
            Self::Oidc => session::user(keys, visit, now),
        }
    }
}

impl CookieIdentity {
    fn user(&self, token: &str, now: Moment) -> Option<User> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let claims = match &self.keys {
            TokenKeys::Shared(secret) => {
                let key = DecodingKey::from_secret(secret.expose().as_bytes()).ok()?;
                verify(token, &key, &self.algorithms)?
            }
            TokenKeys::Public(set) => verify_by_set(token, set, &self.algorithms)?,
        };
        let is_for_us = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| has_text(&claims[name], wanted))
        };
        let is_meant = is_for_us("iss", &self.issuer) && is_for_us("aud", &self.audience);
        if !is_meant || !is_in_time(&claims, now) {
            return None;
        }
        User::new(claims.get(&self.claim)?.as_str()?)
    }
}

/// The claims of a token that one of some public keys signed.
pub(crate) fn verify_by_set(token: &str, set: &JwkSet, algorithms: &[Algorithm]) -> Option<Value> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    // Without a name there must be no choice.
    let key = match &header.kid {
        Some(kid) => set.find(kid)?,
        None => set.keys.first().filter(|_| set.keys.len() == 1)?,
    };
    verify(token, &DecodingKey::from_jwk(key).ok()?, algorithms)
}

/// The claims of a token that is signed with a key, in one of the ways. Nothing but the signature is looked at: the time
/// is not for a library to know.
fn verify(token: &str, key: &DecodingKey, algorithms: &[Algorithm]) -> Option<Value> {
    // Of all algorithms only those that fit the key, or the library takes none.
    let fitting: Vec<Algorithm> =
        algorithms.iter().copied().filter(|algorithm| algorithm.family() == key.family()).collect();
    let mut validation = Validation::new(*fitting.first()?);
    validation.algorithms = fitting;
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, key, &validation).ok().map(|token| token.claims)
}

/// Whether a token holds now, as far as it says. One that has no end does not.
pub(crate) fn is_in_time(claims: &Value, now: Moment) -> bool {
    let seconds = now.wall / 1_000;
    let is_begun =
        claims.get("nbf").is_none_or(|from| from.as_u64().is_some_and(|from| from <= seconds + SKEW));
    is_begun && claims["exp"].as_u64().is_some_and(|until| until.saturating_add(SKEW) > seconds)
}

/// Whether a claim is a text, or has it among others.
pub(crate) fn has_text(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(found) => found == text,
        Value::Array(list) => list.iter().any(|found| found == text),
        _ => false,
    }
}
