//! What providers tell about themselves, and their keys, remembered for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jsonwebtoken::jwk::JwkSet;

use super::{Description, shown};
use crate::{mfa::OidcPolicy, moment::Moment, outside::Caller};

/// How long an answer is remembered.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

/// A key that is not known is asked for, but not more often than this.
const ASKED_EVERY: Duration = Duration::from_secs(30);

/// Providers that are remembered at once. A policy has a few; those of older policies are forgotten.
const MAX_PROVIDERS: usize = 64;

#[derive(Clone, Debug)]
struct Known<T> {
    value: Arc<T>,
    since: Duration,
}

impl<T> Known<T> {
    fn is_fresh(&self, now: Moment) -> bool {
        self.since + REMEMBERED_FOR > now.steady
    }
}

/// What is known of providers.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    descriptions: Mutex<HashMap<String, Known<Description>>>,
    keys: Mutex<HashMap<String, Known<JwkSet>>>,
}

impl Directory {
    /// What a provider tells about itself. Waits for it where that is not known.
    pub(crate) fn description(
        &self,
        caller: &Caller,
        policy: &OidcPolicy,
        now: Moment,
    ) -> Result<Arc<Description>, String> {
        if let Some(known) = known(&self.descriptions, &policy.issuer).filter(|known| known.is_fresh(now)) {
            return Ok(known.value);
        }
        let url = format!("{}/.well-known/openid-configuration", policy.issuer.trim_end_matches('/'));
        let reply = caller.get(&url, policy.timeout).map_err(|error| format!("{url}: {error}"))?;
        if reply.status != 200 {
            return Err(format!("{url} answers {}: {}", reply.status, shown(&reply)));
        }
        let description: Description = serde_json::from_slice(&reply.body)
            .map_err(|error| format!("{url} describes no provider: {error}"))?;
        if description.issuer != policy.issuer {
            return Err(format!(
                "{url} describes {:?}; write `issuer` exactly as the provider does",
                description.issuer.chars().take(200).collect::<String>()
            ));
        }
        // What is asked over TLS must not lead to where it is not.
        let is_secure = policy.issuer.starts_with("https://");
        let endpoints =
            [&description.authorization_endpoint, &description.token_endpoint, &description.jwks_uri];
        if let Some(endpoint) = endpoints.into_iter().find(|url| is_secure && !url.starts_with("https://")) {
            return Err(format!("{url} leads to {endpoint:?}, which is not over TLS"));
        }
        Ok(remember(&self.descriptions, &policy.issuer, description, now))
    }

    /// The keys of a provider, among them that of a token if it has such a key. Waits for the provider where that is not
    /// known.
    pub(super) fn keys(
        &self,
        caller: &Caller,
        policy: &OidcPolicy,
        description: &Description,
        token: &str,
        now: Moment,
    ) -> Result<Arc<JwkSet>, String> {
        let url = &description.jwks_uri;
        let name = jsonwebtoken::decode_header(token).map_err(|error| format!("no token: {error}"))?.kid;
        if let Some(known) = known(&self.keys, url) {
            let has_key = name.as_ref().is_none_or(|name| known.value.find(name).is_some());
            let was_asked = known.since + ASKED_EVERY > now.steady;
            if was_asked || (has_key && known.is_fresh(now)) {
                return Ok(known.value);
            }
        }
        let reply = caller.get(url, policy.timeout).map_err(|error| format!("{url}: {error}"))?;
        if reply.status != 200 {
            return Err(format!("{url} answers {}: {}", reply.status, shown(&reply)));
        }
        let set: JwkSet =
            serde_json::from_slice(&reply.body).map_err(|error| format!("{url} has no keys: {error}"))?;
        Ok(remember(&self.keys, url, set, now))
    }
}

fn known<T>(table: &Mutex<HashMap<String, Known<T>>>, name: &str) -> Option<Known<T>> {
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    table.get(name).map(|known| Known { value: Arc::clone(&known.value), since: known.since })
}

fn remember<T>(table: &Mutex<HashMap<String, Known<T>>>, name: &str, value: T, now: Moment) -> Arc<T> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    if table.len() >= MAX_PROVIDERS {
        table.clear();
    }
    let value = Arc::new(value);
    table.insert(name.to_owned(), Known { value: Arc::clone(&value), since: now.steady });
    value
}
