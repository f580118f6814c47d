//! `mfa`: how a second factor is asked for.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use testudo_config::{
    ConfigError, Secret,
    decode::{At, suggestion},
};

use super::{Mark, read::Complain};
use crate::mfa::{Method, MfaPolicy, OidcPolicy, Unknown};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MfaKeys {
    method: Option<At<String>>,
    unknown: Option<At<String>>,
    pass_for: Option<At<String>>,
    free_guesses: Option<At<u32>>,
    issuer: Option<String>,
    oidc: Option<At<OidcKeys>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OidcKeys {
    issuer: Option<At<String>>,
    client_id: Option<At<String>>,
    client_secret: Option<At<Secret>>,
    client_secret_file: Option<At<String>>,
    scopes: Option<Vec<String>>,
    claim: Option<String>,
    #[serde(default)]
    acr_values: Vec<String>,
    redirect_uri: Option<At<String>>,
    timeout: Option<At<String>>,
}

impl Complain<'_> {
    /// How a second factor is asked for.
    pub(super) fn mfa(
        self,
        about: &At<MfaKeys>,
        files: &mut Vec<(PathBuf, Mark)>,
    ) -> Result<MfaPolicy, ConfigError> {
        let keys = &about.value;
        let usual = MfaPolicy::default();
        let method = match &keys.method {
            None if keys.oidc.is_some() => "oidc",
            None => "totp",
            Some(at) => at.value.as_str(),
        };
        let method = match (method, &keys.oidc) {
            ("totp", None) => Method::Totp,
            ("application", None) => Method::Application,
            ("oidc", Some(oidc)) => Method::Oidc(Box::new(self.oidc(oidc, files)?)),
            ("oidc", None) => {
                return Err(self.about(about, "missing `oidc`", "add `oidc:` with `issuer` and `client_id`"));
            }
            ("totp" | "application", Some(oidc)) => {
                return Err(self.about(
                    oidc,
                    "`oidc` beside another method",
                    "leave it out, or write `method: oidc`",
                ));
            }
            (other, _) => {
                let hint = suggestion(other, &["totp", "oidc", "application"]).unwrap_or_default();
                let at = keys.method.as_ref().map_or(0..0, |at| at.span.clone());
                return Err(self.about(
                    &At { value: (), span: at },
                    format!("`{other}` is no method"),
                    &hint,
                ));
            }
        };
        let unknown = match &keys.unknown {
            None => usual.unknown,
            Some(at) => match at.value.as_str() {
                "deny" => Unknown::Deny,
                "captcha" => Unknown::Captcha,
                "pass" => Unknown::Pass,
                other => {
                    let hint = "write `deny`, `captcha` or `pass`";
                    return Err(self.about(at, format!("`{other}` is nothing that can be done"), hint));
                }
            },
        };
        Ok(MfaPolicy {
            method,
            unknown,
            pass_for: self.duration(keys.pass_for.as_ref(), usual.pass_for)?,
            free_guesses: self.number(keys.free_guesses.as_ref(), usual.free_guesses, 1..=20)?,
            issuer: keys.issuer.clone(),
        })
    }

    fn oidc(self, about: &At<OidcKeys>, files: &mut Vec<(PathBuf, Mark)>) -> Result<OidcPolicy, ConfigError> {
        let keys = &about.value;
        let issuer = self.needed(about, "issuer", keys.issuer.as_ref())?;
        if let Some(at) = &keys.issuer {
            self.service(at)?;
        }
        let given = (keys.client_secret.as_ref(), keys.client_secret_file.as_ref());
        let secret = match given {
            (None, None) => None,
            given => Some(self.secret(about, given, files)?),
        };
        let mut scopes = keys.scopes.clone().unwrap_or_else(|| vec!["profile".to_owned()]);
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        Ok(OidcPolicy {
            issuer,
            client_id: self.needed(about, "client_id", keys.client_id.as_ref())?,
            secret,
            scopes,
            claim: keys.claim.clone().unwrap_or_else(|| "preferred_username".to_owned()),
            acr_values: keys.acr_values.clone(),
            redirect_uri: keys.redirect_uri.as_ref().map(|at| self.service(at)).transpose()?,
            timeout: self.timeout(keys.timeout.as_ref(), Duration::from_secs(5))?,
        })
    }

    /// How long a service elsewhere is waited for: web servers do not wait much longer for the gate.
    pub(super) fn timeout(self, at: Option<&At<String>>, usual: Duration) -> Result<Duration, ConfigError> {
        let found = self.duration(at, usual)?;
        match at {
            Some(at) if found > Duration::from_secs(10) => {
                Err(self.about(at, "web servers do not wait so long", "write `10s` or less"))
            }
            _ => Ok(found),
        }
    }
}
