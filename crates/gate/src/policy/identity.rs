//! `identity`: who says which user sends a request.

use std::path::PathBuf;

use jsonwebtoken::{Algorithm, jwk::JwkSet};
use serde::Deserialize;
use testudo_config::{ConfigError, Secret, decode::At};

use super::{Mark, read::Complain, secret::Hidden};
use crate::identity::{CookieIdentity, Identity, TokenKeys};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityKeys {
    header: Option<At<String>>,
    cookie: Option<At<String>>,
    claim: Option<String>,
    secret: Option<At<Secret>>,
    secret_file: Option<At<String>>,
    jwks_file: Option<At<String>>,
    issuer: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    oidc: bool,
}

impl Complain<'_> {
    /// Who says which user sends a request.
    pub(super) fn identity(
        self,
        keys: &At<IdentityKeys>,
        files: &mut Vec<(PathBuf, Mark)>,
    ) -> Result<Identity, ConfigError> {
        let about = keys;
        let keys = &keys.value;
        match (&keys.header, &keys.cookie, keys.oidc) {
            (Some(header), None, false) => {
                let name = header.value.to_ascii_lowercase();
                let name = hyper::header::HeaderName::try_from(name);
                let hint = "write a header that the web server sets or clears in every request, such as `X-Remote-User`";
                name.map(Identity::Header)
                    .map_err(|_| self.about(header, format!("`{}` is no header", header.value), hint))
            }
            (None, Some(cookie), false) => {
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                if cookie.value.is_empty() || !cookie.value.bytes().all(is_name) {
                    return Err(self.about(
                        cookie,
                        format!("`{}` is no name of a cookie", cookie.value),
                        "write its name",
                    ));
                }
                let token_keys = match &keys.jwks_file {
                    Some(file) => {
                        let text = self.text_of(file, Hidden::No, files)?;
                        let set: JwkSet = serde_json::from_str(&text).map_err(|error| {
                            let message = format!("{} is no set of public keys: {error}", file.value);
                            self.about(file, message, "write a JSON Web Key Set: `{\"keys\": […]}`")
                        })?;
                        TokenKeys::Public(Box::new(set))
                    }
                    None => {
                        let given = (keys.secret.as_ref(), keys.secret_file.as_ref());
                        TokenKeys::Shared(self.secret(cookie, given, files)?)
                    }
                };
                Ok(Identity::Cookie(Box::new(CookieIdentity {
                    name: cookie.value.clone(),
                    claim: keys.claim.clone().unwrap_or_else(|| "sub".to_owned()),
                    algorithms: match &token_keys {
                        TokenKeys::Shared(_) => vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
                        TokenKeys::Public(_) => vec![Algorithm::RS256, Algorithm::ES256],
                    },
                    keys: token_keys,
                    issuer: keys.issuer.clone(),
                    audience: keys.audience.clone(),
                })))
            }
            (None, None, true) => Ok(Identity::Oidc),
            _ => {
                let hint = "write one of `header: X-Remote-User`, `cookie: NAME` and `oidc: true`";
                Err(self.about(about, "nothing says who knows the user, or too much does", hint))
            }
        }
    }
}
