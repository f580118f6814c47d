//! What a provider's answer means.

use serde::Deserialize;

use super::{ProviderPolicy, Service};
use crate::policy::host_name;

/// Codes that say that the site is not set up well. Those about the visitor's token are not among them.
/// Those about keys of sites are, as far as anybody can tell: a token of another site must not look as if this one were
/// set up wrongly.
const OURS: [&str; 2] = ["missing-input-secret", "invalid-input-secret"];

/// The most codes that are shown.
const MAX_CODES: usize = 4;

/// What a provider says about a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A person.
    Person,
    /// Not a person, or not here and now.
    NoPerson(&'static str),
    /// Nothing: it cannot be asked, or answers nonsense.
    Away(String),
    /// Nothing, since it does not know the site.
    Misused(String),
    /// Nothing: too many are asked at once, which says nothing about the provider.
    Busy,
}

#[derive(Deserialize)]
struct Reply {
    success: bool,
    hostname: Option<String>,
    score: Option<f64>,
    action: Option<String>,
    #[serde(rename = "error-codes", default)]
    codes: Vec<String>,
}

/// What an answer means for a visit to `host`.
pub(super) fn judge(policy: &ProviderPolicy, host: &str, status: u16, body: &[u8]) -> Told {
    // Some tell about errors with a status of their own.
    let reply = match serde_json::from_slice::<Reply>(body) {
        Ok(reply) if status < 500 => reply,
        Ok(_) => return Told::Away(format!("status {status}")),
        Err(error) => return Told::Away(format!("status {status}, and no answer in JSON: {error}")),
    };
    if reply.codes.iter().any(|code| OURS.contains(&code.as_str())) {
        let codes = reply.codes.iter().filter(|code| OURS.contains(&code.as_str())).take(MAX_CODES);
        return Told::Misused(codes.map(String::as_str).collect::<Vec<_>>().join(", "));
    }
    if !reply.success {
        let is_broken = reply.codes.iter().any(|code| code == "internal-error");
        return if is_broken {
            Told::Away("internal-error".to_owned())
        } else {
            Told::NoPerson("the token is not good, or was used before")
        };
    }
    let found = host_name(&reply.hostname.unwrap_or_default());
    let is_here = if policy.hostnames.is_empty() { found == host } else { policy.hostnames.contains(&found) };
    // A token of another site of the same provider would do otherwise.
    if found.is_empty() || !is_here {
        return Told::NoPerson("the token is for another host");
    }
    if policy.service == Service::RecaptchaV3 {
        if reply.action.as_deref() != Some(policy.action.as_str()) {
            return Told::NoPerson("the token is for another action");
        }
        // No number is no score.
        if !reply.score.is_some_and(|score| score >= policy.min_score) {
            return Told::NoPerson("the score is too low");
        }
    }
    Told::Person
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use testudo_config::Secret;

    use super::*;
    use crate::provider::Fallback;

    fn policy(service: Service) -> ProviderPolicy {
        ProviderPolicy {
            service,
            site_key: "site".to_owned(),
            secret: Secret::new("secret"),
            min_score: 0.5,
            action: "enter".to_owned(),
            hostnames: Vec::new(),
            timeout: Duration::from_secs(1),
            fallback: Fallback::Always,
            script_url: service.script_url().to_owned(),
            verify_url: service.verify_url().to_owned(),
        }
    }

    fn kind(told: &Told) -> &'static str {
        match told {
            Told::Person => "person",
            Told::NoPerson(_) => "no person",
            Told::Away(_) => "away",
            Told::Misused(_) => "misused",
            Told::Busy => "busy",
        }
    }

    #[test]
    fn answers() {
        let check = |service, status, body: &str, expected| {
            let told = judge(&policy(service), "example.org", status, body.as_bytes());
            assert_eq!(kind(&told), expected, "{service:?} {status} {body}: {told:?}");
        };
        let all = [Service::Hcaptcha, Service::RecaptchaV2, Service::Turnstile];
        for service in all {
            check(service, 200, r#"{"success":true,"hostname":"example.org"}"#, "person");
            check(service, 200, r#"{"success":true,"hostname":"Example.org."}"#, "person");
            check(service, 200, r#"{"success":true,"hostname":"evil.org"}"#, "no person");
            check(service, 200, r#"{"success":true}"#, "no person");
            check(service, 200, r#"{"success":false,"error-codes":["timeout-or-duplicate"]}"#, "no person");
            check(service, 400, r#"{"success":false,"error-codes":["invalid-input-response"]}"#, "no person");
            check(service, 200, r#"{"success":false,"error-codes":["bad-request"]}"#, "no person");
            check(
                service,
                200,
                r#"{"success":false,"error-codes":["sitekey-secret-mismatch"]}"#,
                "no person",
            );
            check(service, 200, r#"{"success":false}"#, "no person");
            check(service, 200, r#"{"success":false,"error-codes":["invalid-input-secret"]}"#, "misused");
            check(service, 200, r#"{"success":true,"error-codes":["invalid-input-secret"]}"#, "misused");
            check(service, 200, r#"{"success":false,"error-codes":["internal-error"]}"#, "away");
            check(service, 500, r#"{"success":true,"hostname":"example.org"}"#, "away");
            check(service, 200, "<html>", "away");
            check(service, 200, r#"{"success":"true","hostname":"example.org"}"#, "away");
            check(service, 200, "[]", "away");
        }
        let scored = |score: &str, action: &str, expected| {
            let body = format!(r#"{{"success":true,"hostname":"example.org","action":"{action}"{score}}}"#);
            check(Service::RecaptchaV3, 200, &body, expected);
        };
        scored(r#","score":0.5"#, "enter", "person");
        scored(r#","score":0.49"#, "enter", "no person");
        scored(r#","score":0.9"#, "login", "no person");
        scored("", "enter", "no person");
    }

    #[test]
    fn other_hosts_only_where_the_policy_names_them() {
        let policy =
            ProviderPolicy { hostnames: vec!["www.example.org".to_owned()], ..policy(Service::Turnstile) };
        let judge = |host| {
            let body = format!(r#"{{"success":true,"hostname":"{host}"}}"#);
            kind(&super::judge(&policy, "example.org", 200, body.as_bytes()))
        };
        assert_eq!((judge("www.example.org"), judge("example.org")), ("person", "no person"));
    }

    proptest! {
        #[test]
        fn any_answer_that_is_not_one_is_nobody(body in proptest::collection::vec(any::<u8>(), 0..100), status in 100_u16..600) {
            prop_assert_ne!(judge(&policy(Service::Turnstile), "example.org", status, &body), Told::Person);
        }
    }
}
