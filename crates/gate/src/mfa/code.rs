//! The page that asks for a code, and what comes of it.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{HeaderValue, LOCATION, SET_COOKIE},
};

use super::{Event, Scene, VALID_FOR, owner, purpose, totp, vault};
use crate::{
    challenge::{self, Challenge, Refusal},
    decisions::Decisions,
    form,
    gate::{Gate, Random, Verdict, lock},
    identity::User,
    kept,
    keys::Keys,
    mfa::Vault,
    moment::Moment,
    page::{self, Confirmation, Trouble},
    pass,
    visit::{Visit, way_back},
};

/// The method's name in what pages are for.
const METHOD: &str = "totp";

/// So many times more wrong guesses are free from one network than for one user: many people may share it.
const CLIENT_FACTOR: u32 = 10;

/// An attempt to show a code.
#[derive(Debug)]
pub(crate) struct Attempt {
    user: User,
    target: String,
    form: Option<String>,
    verdict: Verdict,
    code: String,
    trouble: Option<Trouble>,
}

/// What became of a code.
#[derive(Debug)]
pub(crate) enum Looked {
    /// It is right, or it is not.
    Known(bool),
    /// It may be a recovery code, which a file knows.
    Recovery(Recovery),
}

/// A look for a recovery code.
#[derive(Debug)]
pub(crate) struct Recovery {
    path: std::path::PathBuf,
    keys: Keys,
    user: User,
    code: String,
}

impl Recovery {
    /// Uses the code up, on a thread that may wait. Whether it is one.
    pub(crate) fn spend(self) -> bool {
        Vault::spend(&self.path, &self.keys, &self.user, &self.code).unwrap_or_else(|error| {
            tracing::error!(%error, "a recovery code cannot be used up, so it does not count");
            false
        })
    }
}

/// Asks a user for a code.
pub(crate) fn ask(
    scene: Scene<'_>,
    user: &User,
    (target, kept): (&str, Option<&str>),
    is_lost: bool,
    trouble: Option<Trouble>,
    decision: Option<u64>,
) -> Response<Bytes> {
    let challenge = scene.challenge(&purpose(METHOD, Some(user), &challenge::what(target, kept)));
    let confirmation =
        Confirmation { challenge: &challenge, user: Some(user), target, form: kept, is_lost, trouble };
    page::ask_for_code(scene.visit, &confirmation, scene.facts(decision))
}

impl Gate {
    /// Begins to look at a code that was sent. An answer where it need not be looked at.
    pub(crate) fn attempt(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        decisions: &dyn Decisions,
        now: Moment,
        random: Random,
    ) -> Result<(Attempt, Looked), Box<Response<Bytes>>> {
        let rules = self.rules();
        let fields =
            body.filter(|_| visit.has_form()).and_then(|body| form::fields(body).ok()).unwrap_or_default();
        let target = way_back(form::only(&fields, "target").unwrap_or("/"));
        let kept = form::only(&fields, "form");
        let user = form::only(&fields, "user").and_then(User::new);
        let Some(user) = user else { return Err(Box::new(page::home())) };
        let client_bits = rules.policy.client_bits();
        let what = purpose(METHOD, Some(&user), &challenge::what(target, kept));
        // Nothing is said about a user for whom no page was made.
        let challenge = form::only(&fields, "challenge").and_then(Challenge::parse);
        let Some(challenge) = challenge else { return Err(Box::new(page::home())) };
        let verified = challenge.verify(&rules.keys, &visit.owner(client_bits), &what, VALID_FOR, now);
        if verified == Err(Refusal::Forged) {
            return Err(Box::new(page::home()));
        }
        // What holds for the user now: a ban holds here as well, and who need not show a code is let on.
        let there = visit.towards(target, kept.is_some());
        let verdict = self.judge_user(&rules, &there, Some(&user), decisions, now);
        if !verdict.asks_for_factor() {
            return Err(Box::new(if verdict.passes() {
                redirect(target)
            } else {
                self.refuse(&rules, &there, None, &verdict, now, random)
            }));
        }
        let mut attempt = Attempt {
            user,
            target: target.to_owned(),
            // One that was sent from elsewhere must not be shown as the site's own.
            form: kept.filter(|_| visit.is_from_same_site()).map(str::to_owned),
            verdict,
            code: form::only(&fields, "code").unwrap_or_default().trim().to_owned(),
            trouble: None,
        };
        let burn = || lock(&self.factors.answered).burn(challenge.issued, challenge.random, VALID_FOR, now);
        if verified.is_err() || !burn() {
            attempt.trouble = Some(Trouble::Again);
            return Ok((attempt, Looked::Known(false)));
        }
        let digits: String = attempt.code.chars().filter(|char| !char.is_whitespace()).collect();
        let is_recovery = vault::is_recovery_code(&attempt.code);
        if !totp::is_code(&digits) && !is_recovery {
            attempt.trouble = Some(Trouble::Wrong);
            return Ok((attempt, Looked::Known(false)));
        }
        let free = rules.policy.host(&visit.host).second.mfa.free_guesses;
        let counted = guessers(visit, &attempt.user, client_bits);
        let who = [(counted.user.as_str(), free), (counted.client.as_str(), free * CLIENT_FACTOR)];
        match lock(&self.factors.guesses).take(&who, now.steady) {
            Err(wait) => {
                self.factors.count(Event::Waited);
                attempt.trouble = Some(Trouble::Wait(wait));
                return Ok((attempt, Looked::Known(false)));
            }
            // The waits see to it that there are not many lines of these.
            Ok(true) => {
                let (user, address) = (&attempt.user.name, visit.address);
                tracing::warn!(user, %address, "many codes of a second factor are guessed");
            }
            Ok(false) => {}
        }
        let looked = if is_recovery {
            Looked::Recovery(Recovery {
                path: rules.policy.mfa_file.clone(),
                keys: rules.keys.clone(),
                user: attempt.user.clone(),
                code: attempt.code.clone(),
            })
        } else {
            Looked::Known(self.factors.is_right(&attempt.user, &digits, now))
        };
        attempt.code.clear();
        attempt.trouble = Some(Trouble::Wrong);
        Ok((attempt, looked))
    }

    /// Answers an attempt. `is_recovery` where a recovery code was looked for.
    pub(crate) fn attempted(
        &self,
        visit: &Visit<'_>,
        attempt: &Attempt,
        (is_right, is_recovery): (bool, bool),
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let scene = Scene { rules: &rules, visit, now, random };
        let Attempt { user, target, form, verdict, .. } = attempt;
        let kept = form.as_deref();
        if !is_right {
            if attempt.trouble == Some(Trouble::Wrong) {
                self.factors.count(Event::Wrong);
            }
            let decision = verdict.decision.as_ref().map(|decision| decision.id);
            let place = (target.as_str(), kept);
            return ask(scene, user, place, false, attempt.trouble, decision);
        }
        self.factors.count(if is_recovery { Event::Recovery } else { Event::Code });
        if is_recovery {
            tracing::info!(user = user.name, address = %visit.address, "a recovery code was used");
        }
        let guessers = guessers(visit, user, rules.policy.client_bits());
        lock(&self.factors.guesses).forgive(&guessers.user, &guessers.client);
        let Some(cookie) = pass_of(scene, user, verdict) else { return page::home() };
        match kept.and_then(kept::read) {
            Some(kept) => page::send_on(visit, target, &kept, cookie, random.nonce),
            None => {
                let mut response = redirect(target);
                response.headers_mut().insert(SET_COOKIE, cookie);
                response
            }
        }
    }
}

/// The pass of a user who has shown a second factor: never for longer than what is decided.
pub(super) fn pass_of(scene: Scene<'_>, user: &User, verdict: &Verdict) -> Option<HeaderValue> {
    let Scene { rules, visit, now, .. } = scene;
    let ends = verdict.decision.as_ref().map(|decision| decision.remaining).unwrap_or_default();
    let valid_for = rules.policy.host(&visit.host).second.mfa.pass_for.min(ends);
    let owner = owner(&visit.owner(rules.policy.client_bits()), user);
    HeaderValue::try_from(pass::set_cookie(&rules.keys, pass::MFA, visit, &owner, valid_for, now)).ok()
}

/// Leads to a place of the site.
pub(super) fn redirect(target: &str) -> Response<Bytes> {
    let mut response = page::bare(StatusCode::SEE_OTHER);
    let to = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
}

/// Whose guesses are counted.
struct Guessers {
    user: String,
    client: String,
}

fn guessers(visit: &Visit<'_>, user: &User, bits: (u8, u8)) -> Guessers {
    Guessers { user: format!("user {}", user.key), client: format!("client {}", visit.network(bits)) }
}
