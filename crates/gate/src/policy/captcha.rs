//! `captcha`: who else says whether a visitor is a person.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use testudo_config::{
    ConfigError, Secret,
    decode::{At, suggestion},
};

use super::{Mark, read::Complain};
use crate::{
    policy::host_name,
    provider::{Fallback, ProviderPolicy, Service},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptchaKeys {
    provider: At<String>,
    site_key: Option<At<String>>,
    secret: Option<At<Secret>>,
    secret_file: Option<At<String>>,
    min_score: Option<At<f64>>,
    action: Option<At<String>>,
    #[serde(default)]
    hostnames: Vec<String>,
    timeout: Option<At<String>>,
    fallback: Option<At<String>>,
    script_url: Option<At<String>>,
    verify_url: Option<At<String>>,
}

impl Complain<'_> {
    /// Who else says whether a visitor is a person; none is the gate itself.
    pub(super) fn captcha(
        self,
        keys: &CaptchaKeys,
        files: &mut Vec<(PathBuf, Mark)>,
    ) -> Result<Option<ProviderPolicy>, ConfigError> {
        let about = &keys.provider;
        if about.value == "builtin" {
            return Ok(None);
        }
        let service = Service::from_name(&about.value).ok_or_else(|| {
            let known = Service::ALL.map(Service::name);
            let hint = suggestion(&about.value, &known)
                .unwrap_or_else(|| format!("write one of builtin, {}", known.join(", ")));
            self.about(about, format!("`{}` is no provider", about.value), &hint)
        })?;
        let site_key = self.needed(about, "site_key", keys.site_key.as_ref())?;
        if let Some(at) = keys.site_key.as_ref().filter(|at| !is_word(&at.value)) {
            return Err(self.about(at, "this is no site key", "copy it from the provider's page"));
        }
        if service != Service::RecaptchaV3
            && let Some(at) = keys.min_score.as_ref()
        {
            return Err(self.about(at, "only reCAPTCHA v3 gives scores", "leave `min_score` out"));
        }
        let action = keys.action.as_ref().map_or("enter", |at| at.value.as_str());
        if let Some(at) = keys.action.as_ref().filter(|at| !is_word(&at.value)) {
            return Err(self.about(
                at,
                format!("`{action}` is no action"),
                "write a word of letters, digits, `_` and `-`",
            ));
        }
        let fallback = match keys.fallback.as_ref().map(|at| at.value.as_str()) {
            None | Some("always") => Fallback::Always,
            Some("outage") => Fallback::Outage,
            Some(other) => {
                let hint = "write `always`, or `outage`: only while the gate cannot reach the provider";
                let at = keys.fallback.as_ref().map_or(0..0, |at| at.span.clone());
                return Err(self.about(&At { value: (), span: at }, format!("`{other}` is neither"), hint));
            }
        };
        let given = (keys.secret.as_ref(), keys.secret_file.as_ref());
        let url =
            |at: Option<&At<String>>, usual: &str| at.map_or(Ok(usual.to_owned()), |at| self.service(at));
        Ok(Some(ProviderPolicy {
            service,
            site_key,
            secret: self.secret(about, given, files)?,
            min_score: self.number(keys.min_score.as_ref(), 0.5, 0.0..=1.0)?,
            action: action.to_owned(),
            hostnames: keys.hostnames.iter().map(|name| host_name(name)).collect(),
            timeout: self.timeout(keys.timeout.as_ref(), Duration::from_secs(3))?,
            fallback,
            script_url: url(keys.script_url.as_ref(), service.script_url())?,
            verify_url: url(keys.verify_url.as_ref(), service.verify_url())?,
        }))
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
