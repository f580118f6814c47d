//! OpenID Connect: what a provider is asked, and what its answers mean. The authorization code flow with PKCE (RFC 7636).

mod directory;
#[cfg(test)]
mod tests;
mod token;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use testudo_event::text::url_part;

pub(crate) use self::{
    directory::Directory,
    token::{Claims, Expected},
};
use super::OidcPolicy;
use crate::{
    moment::Moment,
    outside::{Caller, Reply},
};

/// The longest text of a provider that is shown in the log, in bytes.
const MAX_SHOWN: usize = 200;

/// What a provider tells about itself.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Description {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    #[serde(default)]
    pub(crate) token_endpoint_auth_methods_supported: Vec<String>,
}

/// What belongs to one login and to nothing else, each of it a text of 43 letters.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

/// Where a browser is sent to authenticate its user once more.
pub(crate) fn authorization_url(
    policy: &OidcPolicy,
    description: &Description,
    once: &Once,
    redirect_uri: &str,
    user: Option<&str>,
) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&once.verifier));
    let (scopes, acr_values) = (policy.scopes.join(" "), policy.acr_values.join(" "));
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", &policy.client_id),
        ("redirect_uri", redirect_uri),
        ("scope", &scopes),
        ("state", &once.state),
        ("nonce", &once.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        // Who is logged in already has to be there now all the same.
        ("prompt", "login"),
        ("max_age", "0"),
    ];
    if !acr_values.is_empty() {
        fields.push(("acr_values", &acr_values));
    }
    if let Some(user) = user {
        fields.push(("login_hint", user));
    }
    let query: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", url_part(value))).collect();
    let endpoint = &description.authorization_endpoint;
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", query.join("&"))
}

/// Changes the code that a browser came back with into what the provider says about the user. Waits for the provider.
pub(crate) fn claims(
    caller: &Caller,
    directory: &Directory,
    policy: &OidcPolicy,
    (code, redirect_uri): (&str, &str),
    expected: &Expected,
    now: Moment,
) -> Result<Claims, String> {
    #[derive(Deserialize)]
    struct Tokens {
        id_token: String,
    }
    let description = directory.description(caller, policy, now)?;
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", expected.once.verifier.as_str()),
    ];
    // The header is what every provider takes unless it says otherwise (OpenID Connect Discovery, 3).
    let methods = &description.token_endpoint_auth_methods_supported;
    let takes = |name: &str| methods.iter().any(|method| method == name);
    let by_form = !takes("client_secret_basic") && takes("client_secret_post");
    let secret = policy.secret.as_ref().map(testudo_config::Secret::expose);
    let who = match secret {
        Some(secret) if !by_form => Some((policy.client_id.as_str(), secret)),
        secret => {
            fields.push(("client_id", &policy.client_id));
            fields.extend(secret.map(|secret| ("client_secret", secret)));
            None
        }
    };
    let reply = caller.post(&description.token_endpoint, &fields, who, policy.timeout)?;
    if reply.status != 200 {
        return Err(format!("the token endpoint answers {}: {}", reply.status, shown(&reply)));
    }
    let tokens: Tokens = serde_json::from_slice(&reply.body)
        .map_err(|error| format!("the token endpoint gives no token: {error}"))?;
    let set = directory.keys(caller, policy, &description, &tokens.id_token, now)?;
    token::claims(&tokens.id_token, &set, policy, expected, now)
}

/// The beginning of an answer, for the log.
fn shown(reply: &Reply) -> String {
    let end = reply.body.len().min(MAX_SHOWN);
    String::from_utf8_lossy(&reply.body[..end]).chars().filter(|char| !char.is_control()).collect()
}
