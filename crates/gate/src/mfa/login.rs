//! A login at a provider of OpenID Connect: there and back.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{HOST, HeaderValue, LOCATION, SET_COOKIE},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    Event, Method, OidcPolicy, Scene, VALID_FOR,
    code::{pass_of, redirect},
    oidc::{self, Claims, Description, Expected, Once},
    purpose,
    session::{self, LOGIN},
};
use crate::{
    challenge::{self, Challenge, Refusal},
    decisions::Decisions,
    form,
    gate::{Gate, Random, Verdict, lock},
    identity::User,
    moment::Moment,
    page::{self, Confirmation, Trouble},
    policy::Host,
    seal::RANDOM_BYTES,
    visit::{Visit, way_back},
};

/// The method's name in what pages are for.
const METHOD: &str = "oidc";

/// How long a login may take.
const LOGIN_FOR: Duration = Duration::from_mins(10);

/// A longer way back is not kept in a cookie, in bytes.
const MAX_TARGET: usize = 1_500;

/// The longest code that is handed on, in bytes.
const MAX_CODE: usize = 4 << 10;

/// A login that begins.
#[derive(Debug)]
pub(crate) struct Login {
    policy: OidcPolicy,
    user: Option<User>,
    target: String,
}

/// A login whose browser is back.
#[derive(Debug)]
pub(crate) struct Returned {
    policy: OidcPolicy,
    code: String,
    redirect_uri: String,
    user: Option<User>,
    target: String,
    expected: Expected,
}

/// What a browser keeps meanwhile.
#[derive(Serialize, Deserialize)]
struct Kept {
    state: String,
    nonce: String,
    verifier: String,
    begun: u64,
    user: Option<String>,
    target: String,
}

impl Login {
    /// Finds out where the browser has to go. Waits for the provider.
    pub(crate) fn describe(
        &self,
        caller: &crate::outside::Caller,
        directory: &oidc::Directory,
        now: Moment,
    ) -> Result<Arc<Description>, String> {
        directory.description(caller, &self.policy, now)
    }
}

impl Returned {
    /// Asks the provider who was there. Waits for it.
    pub(crate) fn claims(
        &self,
        caller: &crate::outside::Caller,
        directory: &oidc::Directory,
        now: Moment,
    ) -> Result<Claims, String> {
        let place = (self.code.as_str(), self.redirect_uri.as_str());
        oidc::claims(caller, directory, &self.policy, place, &self.expected, now)
    }
}

/// The provider of a host.
fn provider(host: &Host) -> Option<&OidcPolicy> {
    match &host.second.mfa.method {
        Method::Oidc(policy) => Some(policy),
        Method::Totp | Method::Application => None,
    }
}

/// Asks a user to log in elsewhere once more.
pub(crate) fn ask(
    scene: Scene<'_>,
    user: Option<&User>,
    target: &str,
    is_lost: bool,
    trouble: Option<Trouble>,
    decision: Option<u64>,
) -> Response<Bytes> {
    let challenge = scene.challenge(&purpose(METHOD, user, &challenge::what(target, None)));
    let confirmation = Confirmation { challenge: &challenge, user, target, form: None, is_lost, trouble };
    let issuer =
        provider(scene.rules.policy.host(&scene.visit.host)).map_or("", |policy| policy.issuer.as_str());
    let at = issuer.split_once("://").map_or(issuer, |(_, rest)| rest).split('/').next().unwrap_or_default();
    page::ask_for_login(scene.visit, &confirmation, at, scene.facts(decision))
}

impl Gate {
    /// Begins a login. An answer where there is nothing to begin.
    pub(crate) fn begin_login(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        decisions: &dyn Decisions,
        now: Moment,
        random: Random,
    ) -> Result<Login, Box<Response<Bytes>>> {
        let rules = self.rules();
        let fields =
            body.filter(|_| visit.has_form()).and_then(|body| form::fields(body).ok()).unwrap_or_default();
        let target = way_back(form::only(&fields, "target").unwrap_or("/"));
        let user = form::only(&fields, "user").and_then(User::new);
        let Some(policy) = provider(rules.policy.host(&visit.host)) else {
            return Err(Box::new(page::home()));
        };
        let what = purpose(METHOD, user.as_ref(), &challenge::what(target, None));
        // Nothing is said about a user for whom no page was made.
        let challenge = form::only(&fields, "challenge").and_then(Challenge::parse);
        let Some(challenge) = challenge else { return Err(Box::new(page::home())) };
        let verified =
            challenge.verify(&rules.keys, &visit.owner(rules.policy.client_bits()), &what, VALID_FOR, now);
        if verified == Err(Refusal::Forged) {
            return Err(Box::new(page::home()));
        }
        let there = visit.towards(target, false);
        let verdict = self.judge_user(&rules, &there, user.as_ref(), decisions, now);
        if !verdict.asks_for_factor() {
            return Err(Box::new(if verdict.passes() {
                redirect(target)
            } else {
                self.refuse(&rules, &there, None, &verdict, now, random)
            }));
        }
        let burn = || lock(&self.factors.answered).burn(challenge.issued, challenge.random, VALID_FOR, now);
        if verified.is_ok() && burn() {
            return Ok(Login { policy: policy.clone(), user, target: target.to_owned() });
        }
        let trouble = Some(Trouble::Again);
        let scene = Scene { rules: &rules, visit, now, random };
        Err(Box::new(ask(scene, user.as_ref(), target, false, trouble, None)))
    }

    /// Sends a browser to the provider.
    pub(crate) fn send_to_provider(
        &self,
        visit: &Visit<'_>,
        login: &Login,
        description: &Result<Arc<Description>, String>,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let scene = Scene { rules: &rules, visit, now, random };
        let Login { policy, user, target } = login;
        let again = |trouble| ask(scene, user.as_ref(), target, false, Some(trouble), None);
        let description = match description {
            Ok(description) => description,
            Err(error) => {
                self.factors.count(Event::LoginFailed);
                tracing::error!(%error, "the provider of OpenID Connect cannot be asked");
                return again(Trouble::Away);
            }
        };
        let Some(redirect_uri) = redirect_uri(policy, visit) else { return again(Trouble::Again) };
        let text = |purpose: &str| {
            let random = [random.challenge, random.nonce].concat();
            URL_SAFE_NO_PAD.encode(rules.keys.sign(purpose, &random))
        };
        let once =
            Once { state: text("login state"), nonce: text("login nonce"), verifier: text("login verifier") };
        let kept = Kept {
            state: once.state.clone(),
            nonce: once.nonce.clone(),
            verifier: once.verifier.clone(),
            begun: now.wall,
            user: user.as_ref().map(|user| user.name.clone()),
            target: if target.len() <= MAX_TARGET { target.clone() } else { "/".to_owned() },
        };
        let owner = visit.owner(rules.policy.client_bits());
        let kept = serde_json::to_vec(&kept).unwrap_or_default();
        let cookie = LOGIN.set(&rules.keys, visit, &owner, seal_random(random), &kept, LOGIN_FOR);
        let hint = user.as_ref().map(|user| user.name.as_str());
        let url = oidc::authorization_url(policy, description, &once, &redirect_uri, hint);
        match (cookie, HeaderValue::try_from(url)) {
            (Some(cookie), Ok(url)) => {
                let mut response = page::bare(StatusCode::SEE_OTHER);
                response.headers_mut().insert(SET_COOKIE, cookie);
                response.headers_mut().insert(LOCATION, url);
                response
            }
            _ => again(Trouble::Again),
        }
    }

    /// Takes a browser back. An answer where it does not come from a login that it began.
    pub(crate) fn returned(
        &self,
        visit: &Visit<'_>,
        query: &str,
        now: Moment,
        random: Random,
    ) -> Result<Returned, Box<Response<Bytes>>> {
        let rules = self.rules();
        let Some(policy) = provider(rules.policy.host(&visit.host)) else {
            return Err(Box::new(page::home()));
        };
        let fields = form::fields(query.as_bytes()).unwrap_or_default();
        let state = form::only(&fields, "state").unwrap_or_default();
        let owner = visit.owner(rules.policy.client_bits());
        let mut kept = LOGIN
            .get(&rules.keys, visit, &owner)
            .filter_map(|text| serde_json::from_slice::<Kept>(&text).ok());
        // Who follows a link that somebody else began has no such cookie.
        let kept = kept.find(|kept| bool::from(kept.state.as_bytes().ct_eq(state.as_bytes())));
        let Some(kept) = kept else { return Err(Box::new(page::home())) };
        let random_of_state = first_half(&Sha256::digest(&kept.state));
        let age = now.wall.saturating_sub(kept.begun);
        let is_new = age <= LOGIN_FOR.as_millis() as u64
            && lock(&self.factors.answered).burn(kept.begun, random_of_state, VALID_FOR, now);
        let user = kept.user.as_deref().and_then(User::new);
        let code = form::only(&fields, "code").filter(|code| !code.is_empty() && code.len() <= MAX_CODE);
        // Who asks everybody may be answered by somebody else (RFC 9207).
        let is_of_ours = form::only(&fields, "iss").is_none_or(|issuer| issuer == policy.issuer);
        let redirect_uri = redirect_uri(policy, visit);
        if let (true, true, Some(code), Some(redirect_uri)) = (is_new, is_of_ours, code, redirect_uri) {
            let once = Once { state: kept.state, nonce: kept.nonce, verifier: kept.verifier };
            return Ok(Returned {
                policy: policy.clone(),
                code: code.to_owned(),
                redirect_uri,
                user,
                target: way_back(&kept.target).to_owned(),
                expected: Expected { once, begun: kept.begun },
            });
        }
        self.factors.count(Event::LoginFailed);
        if let Some(error) = form::only(&fields, "error") {
            let error: String = error.chars().filter(char::is_ascii_graphic).take(64).collect();
            tracing::info!(error, "a login at the provider of OpenID Connect did not succeed");
        }
        let (target, trouble) = (way_back(&kept.target), Some(Trouble::Again));
        let scene = Scene { rules: &rules, visit, now, random };
        let mut response = ask(scene, user.as_ref(), target, false, trouble, None);
        response.headers_mut().insert(SET_COOKIE, LOGIN.clear(visit));
        Err(Box::new(response))
    }

    /// Answers a browser that is back.
    pub(crate) fn logged_in(
        &self,
        visit: &Visit<'_>,
        returned: &Returned,
        claims: Result<Claims, String>,
        decisions: &dyn Decisions,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let scene = Scene { rules: &rules, visit, now, random };
        let Returned { user: expected, target, .. } = returned;
        // The user whom everybody else knows must be the one who was there.
        let claims = claims.and_then(|claims| match expected {
            Some(expected) if *expected != claims.user => {
                Err(format!("{:?} logged in, where {:?} was asked for", claims.user.name, expected.name))
            }
            _ => Ok(claims),
        });
        let user = match claims {
            Ok(claims) => claims.user,
            Err(error) => {
                self.factors.count(Event::LoginFailed);
                tracing::warn!(%error, address = %visit.address, "a login by OpenID Connect does not count");
                let trouble = Some(Trouble::Again);
                let expected = expected.as_ref();
                let mut response = ask(scene, expected, target, false, trouble, None);
                response.headers_mut().insert(SET_COOKIE, LOGIN.clear(visit));
                return response;
            }
        };
        self.factors.count(Event::Login);
        let there = visit.towards(target, false);
        let verdict = self.judge_user(&rules, &there, Some(&user), decisions, now);
        let mut response = if verdict.passes() || verdict.asks_for_factor() {
            redirect(target)
        } else {
            self.refuse(&rules, &there, None, &verdict, now, random)
        };
        for cookie in cookies(scene, &user, &verdict) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }
}

/// What a browser gets whose user was at the provider.
fn cookies(scene: Scene<'_>, user: &User, verdict: &Verdict) -> Vec<HeaderValue> {
    let Scene { rules, visit, now, random } = scene;
    let second = &rules.policy.host(&visit.host).second;
    let mut cookies = vec![LOGIN.clear(visit)];
    if second.finds_out_who() {
        cookies.extend(session::begin(
            &rules.keys,
            visit,
            user,
            seal_random(random),
            second.mfa.pass_for,
            now,
        ));
    }
    if verdict.asks_for_factor() {
        cookies.extend(pass_of(scene, user, verdict));
    }
    cookies
}

/// Where the provider sends a browser back to: the same host, by the name and port by which it came.
fn redirect_uri(policy: &OidcPolicy, visit: &Visit<'_>) -> Option<String> {
    if let Some(uri) = &policy.redirect_uri {
        return Some(uri.clone());
    }
    let host = visit.headers.get(HOST)?.to_str().ok()?.trim();
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    let scheme = if visit.is_https { "https" } else { "http" };
    (is_host && !host.is_empty()).then(|| format!("{scheme}://{host}{}", page::LOGIN_PATH))
}

fn seal_random(random: Random) -> [u8; RANDOM_BYTES] {
    let hash = Sha256::digest([random.nonce, random.challenge].concat());
    let mut bytes = [0; RANDOM_BYTES];
    bytes.copy_from_slice(&hash[..RANDOM_BYTES]);
    bytes
}

fn first_half(hash: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

#[cfg(test)]
mod tests;
