//! ID tokens: what must be true of one before its user is believed (OpenID Connect Core, 3.1.3.7).

use jsonwebtoken::{Algorithm, jwk::JwkSet};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::Once;
use crate::{
    identity::{User, has_text, is_in_time, verify_by_set},
    mfa::OidcPolicy,
    moment::Moment,
};

/// How tokens may be signed: with keys that only the provider has.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// How far the provider's clock may be off, in seconds.
const SKEW: u64 = 60;

/// What a token has to be for.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// What belongs to this login only.
    pub(crate) once: Once,
    /// When the login began, in milliseconds since 1970.
    pub(crate) begun: u64,
}

/// What a provider says about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) user: User,
}

/// Who a token says was there, if everything about it is right.
pub(super) fn claims(
    token: &str,
    set: &JwkSet,
    policy: &OidcPolicy,
    expected: &Expected,
    now: Moment,
) -> Result<Claims, String> {
    let claims = verify_by_set(token, set, &ALGORITHMS)
        .ok_or("the token is not signed with RS256 or ES256 by one of the provider's keys")?;
    let is_ours =
        claims["iss"].as_str() == Some(&policy.issuer) && has_text(&claims["aud"], &policy.client_id);
    let is_for_others = claims["aud"].as_array().is_some_and(|list| list.len() > 1);
    let party = claims.get("azp").and_then(Value::as_str);
    if !is_ours || (is_for_others && party.is_none()) || party.is_some_and(|party| party != policy.client_id)
    {
        return Err("the token is of another provider, or for somebody else".to_owned());
    }
    if !is_in_time(&claims, now) {
        return Err("the token does not hold now; compare the clocks".to_owned());
    }
    let nonce = claims["nonce"].as_str().unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(expected.once.nonce.as_bytes())) {
        return Err("the token belongs to another login".to_owned());
    }
    // Asked for with `max_age`, so it has to be there (3.1.2.1).
    let is_fresh = claims["auth_time"].as_u64().is_some_and(|time| time + SKEW >= expected.begun / 1_000);
    if !is_fresh {
        return Err("the user was not asked anew: `auth_time` is missing or from before".to_owned());
    }
    let acr = claims["acr"].as_str();
    if !policy.acr_values.is_empty()
        && !acr.is_some_and(|acr| policy.acr_values.iter().any(|value| value == acr))
    {
        return Err(format!("the user was not asked well enough: `acr` is {acr:?}"));
    }
    let user = claims[&policy.claim].as_str().and_then(User::new);
    user.map(|user| Claims { user }).ok_or_else(|| format!("the token has no `{}`", policy.claim))
}

#[cfg(test)]
mod tests;
