//! Tokens: got by logging in, kept, renewed in time; and the patience with busy servers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use testudo_wire::body;
use testudo_wire::watcher::{Login as Posted, Token};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::exchange::{Answer, Call, Credential, Exchange};
use crate::settings::{Login, Retries};

/// How long a token is good for when it does not tell.
const LIFETIME: Duration = Duration::from_hours(1);

/// A token is renewed so long before its end.
const MARGIN: Duration = Duration::from_mins(1);

/// How often a call is repeated with a new token when it is refused.
const NEW_TOKENS_MOST: usize = 2;

const KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A token and when it is renewed.
struct Held {
    header: HeaderValue,
    until: Instant,
}

/// Who the client is, towards the API.
pub(crate) struct Session {
    pub(crate) exchange: Exchange,
    pub(crate) login: Login,
    pub(crate) retries: Retries,
    /// The scenarios that are told at a login.
    scenarios: std::sync::Mutex<Vec<String>>,
    /// Locked during a login, so that there is one at a time.
    token: Mutex<Option<Held>>,
}

impl Session {
    pub(crate) fn new(exchange: Exchange, login: Login, retries: Retries) -> Session {
        Session { exchange, login, retries, scenarios: std::sync::Mutex::default(), token: Mutex::new(None) }
    }

    /// Tells other scenarios from the next login on, which is that of the next call.
    pub(crate) async fn set_scenarios(&self, scenarios: Vec<String>) {
        let mut held = self.token.lock().await;
        *self.scenarios.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = scenarios;
        *held = None;
    }

    /// Logs in, whether there is a token or not.
    pub(crate) async fn login(&self) -> Result<(), ClientError> {
        let mut held = self.token.lock().await;
        *held = Some(self.fetch().await?);
        Ok(())
    }

    /// Sends a call as a machine.
    pub(crate) async fn as_machine(&self, call: &Call) -> Result<Answer, ClientError> {
        let mut renewed = 0;
        loop {
            let header = self.token().await?;
            let answer = self.patiently(call, &Some((AUTHORIZATION, header.clone()))).await?;
            let is_refused = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !is_refused || renewed == NEW_TOKENS_MOST {
                return answer.good();
            }
            renewed += 1;
            self.forget(&header).await;
        }
    }

    /// Sends a call as a bouncer.
    pub(crate) async fn as_bouncer(&self, call: &Call) -> Result<Answer, ClientError> {
        self.patiently(call, &self.of_bouncer()?).await?.good()
    }

    /// How a bouncer says who it is.
    pub(crate) fn of_bouncer(&self) -> Result<Credential, ClientError> {
        Ok(match &self.login {
            Login::Key(key) => {
                let mut key = HeaderValue::from_str(key)
                    .map_err(|_| ClientError::Login("the key has characters that cannot be sent"))?;
                key.set_sensitive(true);
                Some((KEY, key))
            }
            Login::Certificate => None,
            Login::Password { .. } | Login::Nobody => {
                return Err(ClientError::Login("bouncers need a key or a certificate"));
            }
        })
    }

    /// Sends a call without saying who asks.
    pub(crate) async fn as_nobody(&self, call: &Call) -> Result<Answer, ClientError> {
        self.patiently(call, &None).await?.good()
    }

    /// Sends a call, again while the server says that it is too busy.
    async fn patiently(&self, call: &Call, credential: &Credential) -> Result<Answer, ClientError> {
        let mut pauses = self.retries.ask.iter();
        loop {
            let answer = self.exchange.send(call, credential).await?;
            if !matches!(answer.status.as_u16(), 429 | 503 | 504) {
                return Ok(answer);
            }
            let Some(pause) = pauses.next() else { return Ok(answer) };
            tracing::debug!(call = call.shown(), status = answer.status.as_u16(), "the API is busy");
            tokio::time::sleep(varied(*pause)).await;
        }
    }

    /// The token in use, or a new one.
    async fn token(&self) -> Result<HeaderValue, ClientError> {
        let mut held = self.token.lock().await;
        if let Some(known) = held.as_ref().filter(|known| Instant::now() < known.until) {
            return Ok(known.header.clone());
        }
        let fresh = self.fetch().await?;
        let header = fresh.header.clone();
        *held = Some(fresh);
        Ok(header)
    }

    /// Forgets a token that was refused, unless another call has replaced it already.
    async fn forget(&self, header: &HeaderValue) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|known| known.header == *header) {
            *held = None;
        }
    }

    async fn fetch(&self) -> Result<Held, ClientError> {
        let scenarios = self.scenarios.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let posted = match &self.login {
            Login::Password { machine, password } => {
                Posted { machine_id: Some(machine.clone()), password: Some(password.clone()), scenarios }
            }
            Login::Certificate => Posted { scenarios, ..Posted::default() },
            Login::Key(_) | Login::Nobody => {
                return Err(ClientError::Login("machines need a password or a certificate"));
            }
        };
        let call = Call::new(Method::POST, "v1/watchers/login").with_body(written(&posted)?);
        let mut pauses = self.retries.login.iter();
        let answer = loop {
            let answer = self.exchange.send(&call, &None).await?;
            if !matches!(answer.status.as_u16(), 429 | 500 | 503 | 504) {
                break answer.good()?;
            }
            let Some(pause) = pauses.next() else { break answer.good()? };
            tokio::time::sleep(varied(*pause)).await;
        };
        let unreadable = |problem: String| ClientError::Unreadable {
            address: self.exchange.connector.address.shown.clone(),
            call: call.shown(),
            problem,
        };
        let token: Token = body::read(&answer.body).map_err(|error| unreadable(error.to_string()))?;
        if token.token.is_empty() {
            return Err(unreadable("there is no token in it".to_owned()));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.token))
            .map_err(|_| unreadable("the token cannot be sent".to_owned()))?;
        header.set_sensitive(true);
        let lifetime = lifetime(&token.token).unwrap_or(LIFETIME);
        let margin = MARGIN.min(lifetime / 2);
        Ok(Held { header, until: Instant::now() + lifetime.saturating_sub(margin) })
    }
}

/// A body.
pub(crate) fn written<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ClientError> {
    // Types of the API have no maps with keys that are no texts: the only way to fail.
    body::write(value).map_err(|_| ClientError::Login("what is to be sent cannot be written as JSON"))
}

/// How long a token is good for, by its own account: the clocks of the two sides may differ.
fn lifetime(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
        orig_iat: u64,
    }
    let claims = token.split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let lifetime = Duration::from_secs(claims.exp.checked_sub(claims.orig_iat)?);
    // A day is more than any server gives, and a wish of the server must not end the process.
    Some(lifetime.min(Duration::from_hours(24)))
}

/// A pause, longer or shorter by up to a fifth.
fn varied(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause.mul_f64(0.8 + 0.4 * (f64::from(random) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn tokens_tell_their_lifetime() {
        let secs = |claims: &str| lifetime(&token(claims)).map(|lifetime| lifetime.as_secs());
        assert_eq!(secs(r#"{"exp":1795298401,"id":"edge-07","orig_iat":1795294801}"#), Some(3600));
        assert_eq!(secs(r#"{"exp":18446744073709551615,"orig_iat":0}"#), Some(86_400));
        assert_eq!(secs(r#"{"exp":1,"orig_iat":2}"#), None);
        assert_eq!(secs(r#"{"exp":1}"#), None);
        assert_eq!(lifetime("no token"), None);
        assert_eq!(lifetime("a.!.b"), None);
    }

    #[test]
    fn pauses_vary_within_bounds() {
        for _ in 0..100 {
            let pause = varied(Duration::from_secs(10));
            assert!((8..=12).contains(&pause.as_secs()), "{pause:?}");
        }
    }
}
