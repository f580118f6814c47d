//! Providers elsewhere that say whether a visitor is a person.
//!
//! A visitor's browser gets a token from the provider, the gate asks the provider about it. Whatever goes wrong with that
//! is no reason to let anybody in: the gate's own challenge takes over. *Invariant:* each challenge asks a provider once
//! at most, and no visitor can make it look as if a provider were away.

mod breaker;
mod reply;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use testudo_config::Secret;

use self::breaker::Breaker;
pub(crate) use self::reply::Told;
use crate::{moment::Moment, outside::Caller, throttle::Rate};

/// How often one client may have a provider asked.
pub(crate) const ASKED: Rate = Rate { interval: Duration::from_secs(5), burst: 10 };

/// The longest token that is handed on, in bytes.
const MAX_TOKEN: usize = 4 << 10;

/// Providers that are remembered at once. A policy has a few; those of older policies are forgotten.
const MAX_BREAKERS: usize = 64;

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// hCaptcha.
    Hcaptcha,
    /// reCAPTCHA v2.
    RecaptchaV2,
    /// reCAPTCHA v3: no task, a score.
    RecaptchaV3,
    /// Turnstile of Cloudflare.
    Turnstile,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hcaptcha, Self::RecaptchaV2, Self::RecaptchaV3, Self::Turnstile];

    /// The name in policies and figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hcaptcha => "hcaptcha",
            Self::RecaptchaV2 => "recaptcha-v2",
            Self::RecaptchaV3 => "recaptcha-v3",
            Self::Turnstile => "turnstile",
        }
    }

    /// A provider by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The name for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Hcaptcha => "hCaptcha",
            Self::RecaptchaV2 | Self::RecaptchaV3 => "Google reCAPTCHA",
            Self::Turnstile => "Cloudflare Turnstile",
        }
    }

    /// Where browsers get its script.
    pub(crate) const fn script_url(self) -> &'static str {
        match self {
            Self::Hcaptcha => "https://js.hcaptcha.com/1/api.js",
            Self::RecaptchaV2 | Self::RecaptchaV3 => "https://www.google.com/recaptcha/api.js",
            Self::Turnstile => "https://challenges.cloudflare.com/turnstile/v0/api.js",
        }
    }

    /// Where tokens are verified.
    pub(crate) const fn verify_url(self) -> &'static str {
        match self {
            Self::Hcaptcha => "https://api.hcaptcha.com/siteverify",
            Self::RecaptchaV2 | Self::RecaptchaV3 => "https://www.google.com/recaptcha/api/siteverify",
            Self::Turnstile => "https://challenges.cloudflare.com/turnstile/v0/siteverify",
        }
    }

    /// The object of its script.
    pub(crate) const fn object(self) -> &'static str {
        match self {
            Self::Hcaptcha => "hcaptcha",
            Self::RecaptchaV2 | Self::RecaptchaV3 => "grecaptcha",
            Self::Turnstile => "turnstile",
        }
    }

    /// Where a browser may load from, for its script.
    const fn places(self) -> &'static str {
        match self {
            Self::Hcaptcha => "https://hcaptcha.com https://*.hcaptcha.com",
            Self::RecaptchaV2 | Self::RecaptchaV3 => {
                "https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/ https://recaptcha.google.com/recaptcha/"
            }
            Self::Turnstile => "https://challenges.cloudflare.com",
        }
    }
}

/// When the gate's own challenge is offered in place of a provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// To whoever says that the provider's does not work, and when the gate cannot reach the provider.
    Always,
    /// Only when the gate cannot reach the provider.
    Outage,
}

/// A provider, as a policy names it.
#[derive(Clone, Debug)]
pub struct ProviderPolicy {
    /// Which.
    pub service: Service,
    /// Whom it knows the site as; not secret.
    pub site_key: String,
    /// What the gate shows to it.
    pub secret: Secret,
    /// The least score that is good enough, where it gives one: from 0 to 1.
    pub min_score: f64,
    /// What the visitor is said to do, where it wants to know.
    pub action: String,
    /// Hosts for which tokens count; if none are said, that of the visit.
    pub hostnames: Vec<String>,
    /// How long it is waited for.
    pub timeout: Duration,
    /// When the gate's own challenge is offered.
    pub fallback: Fallback,
    /// Where browsers get its script.
    pub script_url: String,
    /// Where tokens are verified.
    pub verify_url: String,
}

impl ProviderPolicy {
    /// The address of the script with what it needs to know.
    pub(crate) fn script(&self) -> String {
        let separator = if self.script_url.contains('?') { '&' } else { '?' };
        let Self { script_url, site_key, .. } = self;
        match self.service {
            Service::RecaptchaV3 => format!("{script_url}{separator}render={site_key}&onload=testudoReady"),
            _ => format!("{script_url}{separator}render=explicit&onload=testudoReady"),
        }
    }

    /// Where a browser may load from, for `Content-Security-Policy`.
    pub(crate) fn places(&self) -> String {
        if self.script_url == self.service.script_url() {
            return self.service.places().to_owned();
        }
        let (scheme, rest) = self.script_url.split_once("://").unwrap_or_default();
        format!("{scheme}://{}", rest.split(['/', '?']).next().unwrap_or_default())
    }

    /// Which provider it is, for what is remembered of it.
    fn key(&self) -> String {
        format!("{} {}", self.verify_url, self.site_key)
    }

    /// The question whether a token is good for a visit to this host; none if it cannot be one.
    pub(crate) fn question(&self, token: &str, host: &str) -> Option<Question> {
        let is_token =
            (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
        is_token.then(|| Question { policy: self.clone(), token: token.to_owned(), host: host.to_owned() })
    }
}

/// A question to a provider.
#[derive(Debug)]
pub(crate) struct Question {
    policy: ProviderPolicy,
    token: String,
    host: String,
}

impl Question {
    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, caller: &Caller) -> Told {
        let Self { policy, token, host } = self;
        // The visitor's address is not told: nobody needs it, and few visitors would expect it.
        let mut fields = vec![("secret", policy.secret.expose()), ("response", token.as_str())];
        if policy.service == Service::Hcaptcha {
            fields.push(("sitekey", policy.site_key.as_str()));
        }
        match caller.post(&policy.verify_url, &fields, None, policy.timeout) {
            Ok(answer) => reply::judge(policy, host, answer.status, &answer.body),
            Err(error) => Told::Away(error),
        }
    }

    /// Whom it is for.
    pub(crate) fn policy(&self) -> &ProviderPolicy {
        &self.policy
    }
}

/// What is remembered of providers, and what they said.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    breakers: Mutex<HashMap<String, Breaker>>,
    told: [AtomicU64; 3],
    instead: AtomicU64,
}

impl Providers {
    /// Whether a provider is thought to answer.
    pub(crate) fn is_here(&self, policy: &ProviderPolicy, now: Moment) -> bool {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        breakers.get(&policy.key()).is_none_or(|breaker| breaker.is_closed(now.steady))
    }

    /// Takes note of what a provider said.
    pub(crate) fn heard(&self, policy: &ProviderPolicy, told: &Told, now: Moment) {
        let place = match told {
            Told::Person => 0,
            Told::NoPerson(_) => 1,
            Told::Away(_) | Told::Misused(_) => 2,
            Told::Busy => return,
        };
        self.told[place].fetch_add(1, Relaxed);
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if breakers.len() >= MAX_BREAKERS {
            breakers.clear();
        }
        let breaker = breakers.entry(policy.key()).or_default();
        let provider = policy.service.name();
        match told {
            Told::Person => breaker.answered(),
            Told::NoPerson(why) => {
                breaker.answered();
                tracing::debug!(provider, why, "a provider does not take a visitor for a person");
            }
            Told::Away(why) => {
                if let Some(pause) = breaker.failed(now.steady) {
                    let seconds = pause.as_secs();
                    tracing::warn!(provider, %why, seconds, "a captcha provider cannot be asked; the gate's own challenge takes over");
                }
            }
            Told::Busy => {}
            Told::Misused(why) => {
                let seconds = breaker.opened(now.steady).as_secs();
                tracing::error!(
                    provider,
                    codes = %why,
                    seconds,
                    "a captcha provider does not know this site: correct `site_key` and `secret` in the policy; the gate's own challenge takes over"
                );
            }
        }
    }

    /// The gate's own challenge was shown in place of a provider's.
    pub(crate) fn count_instead(&self) {
        self.instead.fetch_add(1, Relaxed);
    }

    /// Figures for Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let name = "testudo_gate_provider_answers_total";
        let _ = write!(text, "# HELP {name} What captcha providers said.\n# TYPE {name} counter\n");
        for (answer, count) in ["person", "no_person", "away"].iter().zip(&self.told) {
            let _ = writeln!(text, "{name}{{answer=\"{answer}\"}} {}", count.load(Relaxed));
        }
        let name = "testudo_gate_provider_fallbacks_total";
        let count = self.instead.load(Relaxed);
        let _ = write!(
            text,
            "# HELP {name} Challenges of the gate's own in place of a provider's.\n# TYPE {name} counter\n{name} {count}\n"
        );
        text
    }
}
