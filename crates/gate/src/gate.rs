//! The gate: judges visits, and answers those that may not pass. No sockets, no clocks: time and randomness are arguments.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE},
};
use serde_json::json;

use crate::{
    action::Action,
    challenge::{self, Challenge, Refusal},
    decisions::{Decisions, Match},
    form,
    identity::User,
    judge::{Judgement, judge},
    kept,
    keys::{Keys, MAC_BYTES},
    metrics::{Metrics, Outcome, Sizes, Solved},
    mfa::{self, Factors, Method, Scene, Unknown, Vault},
    moment::Moment,
    page::{self, Facts, Notice, Puzzle},
    pass,
    policy::{Failure, Host, Policy},
    provider::{self, Fallback, Providers, Question, Told},
    replay::Replay,
    throttle::Limiter,
    visit::{Visit, way_back},
};

/// Clients whose rate is remembered at once, for throttles and for questions each.
const MAX_CLIENTS: usize = 65_536;

/// Answered challenges that are remembered at once.
const MAX_ANSWERED: usize = 65_536;

/// A pass for a question that was answered is shorter: a wait costs a program less than work.
const QUESTION_PART: u32 = 4;

/// What is added to the largest form that is kept: the fields of the challenge, and what encoding adds.
const FIELDS_BYTES: usize = 32 << 10;

/// What became of a request.
const OUTCOME: HeaderName = HeaderName::from_static("x-testudo-outcome");

/// Randomness for one answer.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// For a challenge.
    pub challenge: [u8; 16],
    /// For the scripts of a page.
    pub nonce: [u8; 16],
}

/// What is done with a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The decision that leads to it.
    pub decision: Option<Match>,
    /// How long it has to wait, where it is throttled.
    pub wait: std::time::Duration,
    /// Who sends it, where that is known.
    pub user: Option<User>,
}

impl Verdict {
    fn new(outcome: Outcome, decision: Option<Match>, user: Option<User>) -> Self {
        Self { outcome, decision, wait: std::time::Duration::ZERO, user }
    }

    /// Whether a second factor would let it pass.
    pub(crate) fn asks_for_factor(&self) -> bool {
        self.outcome == Outcome::Unconfirmed
    }

    /// Whether the visit may go on to the site.
    pub fn passes(&self) -> bool {
        self.outcome.passes()
    }

    /// Tells the web server and the application what was found. Each header is there in every answer: one that is not
    /// could be taken from the visitor's own request.
    fn tell(&self, headers: &mut HeaderMap) {
        let decision = self.decision.as_ref();
        let text = |value: &str| HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("?"));
        let empty = || HeaderValue::from_static("");
        let parts = [
            (OUTCOME, HeaderValue::from_static(self.outcome.name())),
            (
                HeaderName::from_static("x-testudo-decision"),
                decision.map_or_else(empty, |decision| HeaderValue::from(decision.id)),
            ),
            (
                HeaderName::from_static("x-testudo-type"),
                decision.map_or_else(empty, |decision| text(&decision.kind)),
            ),
            (
                HeaderName::from_static("x-testudo-origin"),
                decision.map_or_else(empty, |decision| text(&decision.origin)),
            ),
            (
                HeaderName::from_static("x-testudo-scenario"),
                decision.map_or_else(empty, |decision| text(&decision.scenario)),
            ),
        ];
        for (name, value) in parts {
            headers.insert(name, value);
        }
    }
}

/// Whether a check counts for a client's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    Once,
    Not,
}

/// What a captcha provider has to be asked.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Nothing: this is known without.
    Known(Told),
    /// This.
    Ask(Box<Question>),
}

/// Why an answer gives no pass yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotYet {
    /// It is not good.
    Refused(Refusal),
    /// The gate's own challenge comes first, since a provider's does not work.
    Instead,
}

impl From<Refusal> for NotYet {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What may be replaced while the gate works.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) keys: Keys,
}

/// A gate.
#[derive(Debug)]
pub struct Gate {
    rules: RwLock<Arc<Rules>>,
    limiter: Mutex<Limiter>,
    questions: Mutex<Limiter>,
    replay: Mutex<Replay>,
    /// How often clients have captcha providers asked.
    asked: Mutex<Limiter>,
    providers: Providers,
    pub(crate) factors: Factors,
    metrics: Metrics,
}

impl Gate {
    /// A gate of which nothing is known before `now`.
    pub fn new(policy: Policy, keys: Keys, now: Moment) -> Self {
        Self {
            rules: RwLock::new(Arc::new(Rules { policy, keys })),
            limiter: Mutex::new(Limiter::new(MAX_CLIENTS)),
            questions: Mutex::new(Limiter::new(MAX_CLIENTS)),
            replay: Mutex::new(Replay::new(MAX_ANSWERED, now)),
            asked: Mutex::new(Limiter::new(MAX_CLIENTS)),
            providers: Providers::default(),
            factors: Factors::new(now),
            metrics: Metrics::default(),
        }
    }

    /// Replaces policy and keys. What runs goes on with the old ones.
    pub fn replace(&self, policy: Policy, keys: Keys) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rules { policy, keys });
    }

    /// Replaces the users who are enrolled for a second factor.
    pub fn set_users(&self, vault: Vault) {
        self.factors.set_vault(vault);
    }

    /// The policy that holds now.
    pub fn policy(&self) -> Policy {
        self.rules().policy.clone()
    }

    /// Shares which challenges were answered with the gates of this machine that use the same file.
    pub(crate) fn share_answered(&self, path: &std::path::Path) -> std::io::Result<()> {
        lock(&self.replay).share(path)
    }

    /// Has gates elsewhere told which challenges are answered here.
    pub(crate) fn tell_answered(&self, tellers: Vec<tokio::sync::mpsc::Sender<crate::replay::Key>>) {
        lock(&self.replay).tell(tellers);
    }

    /// Takes note of challenges that were answered elsewhere.
    pub(crate) fn hear_answered(&self, keys: impl Iterator<Item = crate::replay::Key>, now: Moment) {
        let valid_for = self.rules().policy.challenge.valid_for;
        lock(&self.replay).hear(keys, valid_for, now);
    }

    /// Signs a message to gates with the same keys.
    pub(crate) fn sign(&self, purpose: &str, message: &[u8]) -> [u8; MAC_BYTES] {
        self.rules().keys.sign(purpose, message)
    }

    /// Whether a gate with the same keys signed a message.
    pub(crate) fn verify(&self, purpose: &str, message: &[u8], signature: &[u8; MAC_BYTES]) -> bool {
        self.rules().keys.verify(purpose, message, signature)
    }

    /// Reads what a peer tells about a request by the policy that holds now, and hands it on.
    pub(crate) fn with_policy<T>(&self, read: impl FnOnce(&Policy) -> T) -> T {
        read(&self.rules().policy)
    }

    /// What it did so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What it did so far, for Prometheus.
    pub fn metrics_text(&self) -> String {
        let sizes = Sizes {
            throttled: lock(&self.limiter).len(),
            questioned: lock(&self.questions).len(),
            answered: lock(&self.replay).len(),
        };
        [self.metrics.text(sizes), self.providers.text(), self.factors.text()].concat()
    }

    /// The largest body that is read of a request, in bytes.
    pub fn max_body(&self) -> usize {
        // Encoding makes three bytes of one at most.
        self.rules().policy.challenge.keep_body * 3 + FIELDS_BYTES
    }

    /// Says whether a visit may pass, and counts it.
    pub fn check(&self, visit: &Visit<'_>, decisions: &dyn Decisions, now: Moment) -> Verdict {
        let verdict = self.judge(&self.rules(), visit, decisions, now, Counting::Once);
        self.metrics.count(verdict.outcome);
        verdict
    }

    /// The answer to a web server that only asks: 200, or 403. Not 401, which web servers give on their own account to those who
    /// have not told their password yet.
    pub fn brief(&self, verdict: &Verdict) -> Response<Bytes> {
        let status = if verdict.passes() { StatusCode::OK } else { StatusCode::FORBIDDEN };
        let mut response = page::bare(status);
        verdict.tell(response.headers_mut());
        response
    }

    /// The answer to a visitor who may not pass, after a check said so. `body` is what the visitor sent; none where it is
    /// not here, or too large.
    pub fn page(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        decisions: &dyn Decisions,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let verdict = self.judge(&rules, visit, decisions, now, Counting::Not);
        self.refuse(&rules, visit, body, &verdict, now, random)
    }

    /// The answer to a visitor who may not pass, by the verdict of a check. `body` as for [`Gate::page`].
    pub(crate) fn refusal(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        verdict: &Verdict,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        self.refuse(&self.rules(), visit, body, verdict, now, random)
    }

    /// The answer to a visitor who may pass, but whom the site does not answer.
    pub(crate) fn no_answer(&self, visit: &Visit<'_>, status: StatusCode) -> Response<Bytes> {
        let rules = self.rules();
        let contact = rules.policy.host(&visit.host).contact.as_deref();
        let mut response = page::notice(visit, Notice::Unavailable, Facts { decision: None, contact });
        *response.status_mut() = status;
        response
    }

    /// Check and answer in one: 200 for who may pass, else the page. `body` as for [`Gate::page`].
    pub fn check_and_answer(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        decisions: &dyn Decisions,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let verdict = self.judge(&rules, visit, decisions, now, Counting::Once);
        self.metrics.count(verdict.outcome);
        if verdict.passes() {
            return self.brief(&verdict);
        }
        self.refuse(&rules, visit, body, &verdict, now, random)
    }

    /// The question to a captcha provider that has to be asked before an answer can be taken, if there is one. The
    /// challenge is used up by it.
    pub(crate) fn question(&self, visit: &Visit<'_>, body: Option<&[u8]>, now: Moment) -> Option<Asked> {
        let rules = self.rules();
        let policy = rules.policy.host(&visit.host).second.provider.as_ref()?;
        let fields = body.filter(|_| visit.has_form()).and_then(|body| form::fields(body).ok())?;
        let token = form::only(&fields, "token").filter(|token| !token.is_empty())?;
        let target = way_back(form::only(&fields, "target").unwrap_or("/"));
        let what = challenge::what(target, form::only(&fields, "form"));
        let challenge = form::only(&fields, "challenge").and_then(Challenge::parse)?;
        let owner = visit.owner(rules.policy.client_bits());
        let valid_for = rules.policy.challenge.valid_for;
        challenge.verify(&rules.keys, &owner, &what, valid_for, now).ok()?;
        if !lock(&self.replay).burn(challenge.issued, challenge.random, valid_for, now) {
            return Some(Asked::Known(Told::NoPerson("the challenge was answered before")));
        }
        let client = visit.network(rules.policy.client_bits());
        if lock(&self.asked).take(client, provider::ASKED, now.steady).is_err() {
            return Some(Asked::Known(Told::NoPerson("too many tokens came from the same network")));
        }
        Some(match policy.question(token, &visit.host) {
            Some(question) if self.providers.is_here(policy, now) => Asked::Ask(Box::new(question)),
            Some(_) => Asked::Known(Told::Away("it did not answer a moment ago".to_owned())),
            None => Asked::Known(Told::NoPerson("this is no token")),
        })
    }

    /// Takes note of what a captcha provider said.
    pub(crate) fn heard(&self, policy: &provider::ProviderPolicy, told: &Told, now: Moment) {
        self.providers.heard(policy, told, now);
    }

    /// Takes the answer to a challenge.
    pub fn answer(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        self.answer_told(visit, body, None, now, random)
    }

    /// Takes the answer to a challenge, with what a captcha provider said about it.
    pub(crate) fn answer_told(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        told: Option<&Told>,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let is_form = visit.has_form();
        let fields = body.filter(|_| is_form).and_then(|body| form::fields(body).ok()).unwrap_or_default();
        let target = way_back(form::only(&fields, "target").unwrap_or("/"));
        let kept = form::only(&fields, "form");
        let wants_other = form::only(&fields, "instead").is_some();
        let answer = self.take_answer(&rules, visit, &fields, (target, kept), (told, wants_other), now);
        match answer {
            Err(not_yet) => {
                let (is_again, is_forged) = match not_yet {
                    NotYet::Refused(refusal) => {
                        self.metrics.count_refused(refusal);
                        (true, refusal == Refusal::Forged)
                    }
                    NotYet::Instead => (false, false),
                };
                // A form that was sent from elsewhere must not be shown as the site's own.
                let kept = kept.filter(|_| visit.is_from_same_site() && !is_forged);
                let lost = form::only(&fields, "form").is_some() && kept.is_none();
                let instead = matches!(not_yet, NotYet::Instead);
                self.ask(&rules, visit, (target, kept), (lost, is_again, instead), None, now, random)
            }
            Ok(cookie) => {
                // Otherwise a page elsewhere could send a form in the name of this site.
                let kept = kept.filter(|_| visit.is_from_same_site());
                let kept = kept.and_then(kept::read);
                match kept {
                    Some(kept) => page::send_on(visit, target, &kept, cookie, random.nonce),
                    None => {
                        let mut response = page::bare(StatusCode::SEE_OTHER);
                        let headers = response.headers_mut();
                        headers.insert(SET_COOKIE, cookie);
                        let to = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
                        headers.insert(LOCATION, to);
                        response
                    }
                }
            }
        }
    }

    /// What an application is told that asks about an address, a user, or both. Nothing is counted.
    pub fn report(
        &self,
        (address, user): (Option<IpAddr>, Option<&User>),
        host: &str,
        (method, target): (&str, &str),
        decisions: &dyn Decisions,
        now: Moment,
    ) -> serde_json::Value {
        let rules = self.rules();
        let headers = HeaderMap::new();
        let visit = Visit {
            // That of nobody, where there is only a user.
            address: address.unwrap_or(IpAddr::from([0, 0, 0, 0])).to_canonical(),
            host: crate::policy::host_name(host),
            method: Cow::Borrowed(method),
            target: Cow::Borrowed(target),
            is_https: false,
            from_proxy: false,
            headers: &headers,
        };
        let mut matches = Vec::new();
        if address.is_some() {
            decisions.find(visit.address, &mut matches);
        }
        if let Some(user) = user {
            decisions.find_user(&user.key, &mut matches);
        }
        let list = matches.iter().map(|decision| {
            json!({
                "id": decision.id,
                "type": &*decision.kind,
                "origin": &*decision.origin,
                "scenario": &*decision.scenario,
                "seconds": decision.remaining.as_secs(),
            })
        });
        let list: Vec<_> = list.collect();
        let verdict = if decisions.is_ready() {
            self.judge_matches(&rules, &visit, user.cloned(), matches, now, Counting::Not)
        } else {
            unready(rules.policy.host(&visit.host))
        };
        json!({
            "address": address.map(|_| visit.address.to_string()),
            "user": user.map(|user| &user.name),
            "pass": verdict.passes(),
            "outcome": verdict.outcome.name(),
            "decision": verdict.decision.map(|decision| decision.id),
            "decisions": list,
        })
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn judge(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        decisions: &dyn Decisions,
        now: Moment,
        counting: Counting,
    ) -> Verdict {
        let identity = rules.policy.host(&visit.host).second.identity.as_ref();
        let user = identity.and_then(|identity| identity.user(visit, &rules.keys, now));
        self.judge_as(rules, visit, user, decisions, now, counting)
    }

    /// What holds for a visit if this user sends it. Counts nothing.
    pub(crate) fn judge_user(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        user: Option<&User>,
        decisions: &dyn Decisions,
        now: Moment,
    ) -> Verdict {
        self.judge_as(rules, visit, user.cloned(), decisions, now, Counting::Not)
    }

    fn judge_as(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        user: Option<User>,
        decisions: &dyn Decisions,
        now: Moment,
        counting: Counting,
    ) -> Verdict {
        if !decisions.is_ready() {
            return unready(rules.policy.host(&visit.host));
        }
        let mut matches = Vec::new();
        decisions.find(visit.address, &mut matches);
        if let Some(user) = &user {
            decisions.find_user(&user.key, &mut matches);
        }
        self.judge_matches(rules, visit, user, matches, now, counting)
    }

    fn judge_matches(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        user: Option<User>,
        matches: Vec<Match>,
        now: Moment,
        counting: Counting,
    ) -> Verdict {
        let policy = &rules.policy;
        let host = policy.host(&visit.host);
        let factor = &host.second.mfa;
        let asks_itself = matches!(factor.method, Method::Application) || host.second.finds_out_who();
        let mfa = match factor.unknown {
            _ if user.is_some() || asks_itself => Some(Action::Mfa),
            Unknown::Deny => Some(Action::Mfa),
            Unknown::Captcha => Some(Action::Captcha),
            Unknown::Pass => None,
        };
        let Judgement::Act { action, decision, rate, is_harmless } = judge(host, visit, matches, mfa) else {
            return Verdict::new(Outcome::Clean, None, user);
        };
        let mut wait = std::time::Duration::ZERO;
        let outcome = match action {
            Action::Allow => Outcome::Allowed,
            Action::Header => Outcome::Marked,
            Action::Ban => Outcome::Banned,
            Action::Restrict if is_harmless => Outcome::Harmless,
            Action::Restrict => Outcome::Restricted,
            Action::Captcha => {
                let owner = visit.owner(policy.client_bits());
                let has_pass = pass::holds(&rules.keys, pass::CAPTCHA, visit, &owner, now);
                if has_pass { Outcome::Passed } else { Outcome::Challenged }
            }
            Action::Mfa => match (&factor.method, &user) {
                (Method::Application, _) => Outcome::Mfa,
                (_, Some(user)) => {
                    let owner = mfa::owner(&visit.owner(policy.client_bits()), user);
                    let has_pass = pass::holds(&rules.keys, pass::MFA, visit, &owner, now);
                    if has_pass { Outcome::Confirmed } else { Outcome::Unconfirmed }
                }
                (Method::Oidc(_), None) if asks_itself => Outcome::Unconfirmed,
                (_, None) => Outcome::Unidentified,
            },
            Action::Throttle => {
                let client = visit.network(policy.client_bits());
                let mut limiter = lock(&self.limiter);
                let result = match counting {
                    Counting::Once => limiter.take(client, rate, now.steady),
                    Counting::Not => limiter.peek(client, rate, now.steady),
                };
                wait = result.err().unwrap_or_default();
                if wait.is_zero() { Outcome::Slow } else { Outcome::Throttled }
            }
        };
        Verdict { outcome, decision: Some(decision), wait, user }
    }

    pub(crate) fn refuse(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        verdict: &Verdict,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let contact = rules.policy.host(&visit.host).contact.as_deref();
        let decision = verdict.decision.as_ref().map(|decision| decision.id);
        let facts = Facts { decision, contact };
        let mut response = match verdict.outcome {
            Outcome::Banned => page::notice(visit, Notice::Banned, facts),
            Outcome::Restricted => page::notice(visit, Notice::Restricted, facts),
            Outcome::Throttled => page::notice(visit, Notice::Throttled(verdict.wait), facts),
            Outcome::Unidentified => page::notice(visit, Notice::Unidentified, facts),
            Outcome::Challenged | Outcome::Unconfirmed => {
                let kept = body
                    .filter(|_| visit.is_from_same_site())
                    .and_then(|body| kept::keep(visit, body, rules.policy.challenge.keep_body));
                let kept = kept.as_deref();
                let has_sent = !body.is_some_and(<[u8]>::is_empty);
                let (target, lost) = (visit.way_back(), kept.is_none() && has_sent);
                if verdict.outcome == Outcome::Challenged {
                    self.ask(rules, visit, (target, kept), (lost, false, false), decision, now, random)
                } else {
                    ask_for_factor(
                        Scene { rules, visit, now, random },
                        verdict,
                        (target, kept),
                        (lost, has_sent),
                    )
                }
            }
            // It would pass now. Either the check let it pass as well, and it is the web server that does not, or what the
            // check refused a moment ago may be tried again.
            _ if !visit.was_refused() && verdict.passes() => page::notice(visit, Notice::Forbidden, facts),
            _ => page::notice(visit, Notice::Unavailable, facts),
        };
        // No more than this: what led to a decision is not for the visitor.
        response.headers_mut().insert(OUTCOME, HeaderValue::from_static(verdict.outcome.name()));
        response
    }

    /// Shows a challenge: that of a provider, or the gate's own.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a page is made of; no part of it has a name of its own"
    )]
    fn ask(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        (target, kept): (&str, Option<&str>),
        (is_lost, is_again, instead): (bool, bool, bool),
        decision: Option<u64>,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let Rules { policy, keys } = rules;
        let owner = visit.owner(policy.client_bits());
        let what = challenge::what(target, kept);
        let host = policy.host(&visit.host);
        let provider = host.second.provider.as_deref();
        if provider.is_some() && instead {
            self.providers.count_instead();
        }
        let provider = provider.filter(|provider| !instead && self.providers.is_here(provider, now));
        let difficulty = match provider.map(|provider| provider.fallback) {
            Some(Fallback::Outage) => challenge::NO_WORK,
            Some(Fallback::Always) | None => policy.challenge.difficulty,
        };
        let challenge = Challenge::new(keys, &owner, &what, difficulty, random.challenge, now);
        self.metrics.count_issued();
        let puzzle = Puzzle {
            challenge: &challenge,
            target,
            form: kept,
            is_lost,
            is_again,
            wait: policy.challenge.wait,
            nonce: random.nonce,
        };
        let facts = Facts { decision, contact: host.contact.as_deref() };
        match provider {
            Some(provider) => page::ask_by_provider(visit, &puzzle, provider, facts),
            None => page::challenge(visit, &puzzle, facts),
        }
    }

    /// Looks at an answer. Gives the line that sets the cookie.
    fn take_answer(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        fields: &[(String, String)],
        (target, kept): (&str, Option<&str>),
        (told, wants_other): (Option<&Told>, bool),
        now: Moment,
    ) -> Result<HeaderValue, NotYet> {
        let Rules { policy, keys } = rules;
        let times = &policy.challenge;
        let provider = policy.host(&visit.host).second.provider.as_deref();
        let owner = visit.owner(policy.client_bits());
        let challenge = form::only(fields, "challenge").and_then(Challenge::parse).ok_or(Refusal::Forged)?;
        challenge.verify(keys, &owner, &challenge::what(target, kept), times.valid_for, now)?;
        let work = form::only(fields, "answer").filter(|work| !work.is_empty());
        // Who has no provider to ask may not be told to do without one.
        let only_provider = challenge.difficulty == challenge::NO_WORK;
        if wants_other && provider.is_some() && !only_provider {
            return Err(NotYet::Instead);
        }
        // The gate's own challenge in place of a provider's is worth less.
        let part = if provider.is_some() { QUESTION_PART } else { 1 };
        let burn = || {
            let is_new = lock(&self.replay).burn(challenge.issued, challenge.random, times.valid_for, now);
            if is_new { Ok(()) } else { Err(Refusal::Used) }
        };
        let (solved, valid_for) = match (told, work) {
            (Some(Told::Person), _) => (Solved::Provider, times.pass_for),
            (Some(Told::NoPerson(_)), _) => return Err(NotYet::Refused(Refusal::Wrong)),
            // Whoever keeps a provider busy is not let off it.
            (Some(Told::Busy), _) if only_provider => return Err(NotYet::Refused(Refusal::Often)),
            (Some(Told::Away(_) | Told::Misused(_) | Told::Busy), _) => return Err(NotYet::Instead),
            (None, _) if only_provider => return Err(NotYet::Refused(Refusal::Wrong)),
            (None, Some(work)) => {
                if !challenge.is_solved_by(work) {
                    return Err(NotYet::Refused(Refusal::Wrong));
                }
                burn()?;
                (Solved::Work, times.pass_for / part)
            }
            (None, None) => {
                if challenge.age(now) < times.wait {
                    return Err(NotYet::Refused(Refusal::Early));
                }
                // A wrong answer uses it up as well: there are few that could be right.
                burn()?;
                let client = visit.network(policy.client_bits());
                let taken = lock(&self.questions).take(client, times.questions, now.steady);
                taken.map_err(|_| Refusal::Often)?;
                let (a, b) = challenge.question();
                if form::only(fields, "sum").map(str::trim) != Some(&(a + b).to_string()) {
                    return Err(NotYet::Refused(Refusal::Wrong));
                }
                (Solved::Question, times.pass_for / QUESTION_PART)
            }
        };
        self.metrics.count_solved(solved);
        let cookie = pass::set_cookie(keys, pass::CAPTCHA, visit, &owner, valid_for, now);
        HeaderValue::from_str(&cookie).map_err(|_| NotYet::Refused(Refusal::Forged))
    }

    /// The answer where the web server does not tell enough.
    pub(crate) fn untold(&self, untold: crate::visit::Untold) -> Response<Bytes> {
        if self.metrics.outcome(Outcome::Untold) == 0 {
            tracing::warn!(%untold, "the web server does not tell the gate enough; the counters tell how often");
        }
        self.metrics.count(Outcome::Untold);
        page::plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{untold}\n"))
    }
}

/// Asks for a second factor.
fn ask_for_factor(
    scene: Scene<'_>,
    verdict: &Verdict,
    place: (&str, Option<&str>),
    (is_lost, has_sent): (bool, bool),
) -> Response<Bytes> {
    let decision = verdict.decision.as_ref().map(|decision| decision.id);
    let host = scene.rules.policy.host(&scene.visit.host);
    match (&host.second.mfa.method, &verdict.user) {
        // What was sent does not come along to another site and back.
        (Method::Oidc(_), user) => {
            mfa::ask_for_login(scene, user.as_ref(), place.0, has_sent, None, decision)
        }
        (_, Some(user)) => mfa::ask_for_code(scene, user, place, is_lost, None, decision),
        (_, None) => {
            let facts = Facts { decision, contact: host.contact.as_deref() };
            page::notice(scene.visit, Notice::Unidentified, facts)
        }
    }
}

/// What is done where decisions cannot be looked up.
fn unready(host: &Host) -> Verdict {
    let outcome = match host.fail {
        Failure::Open => Outcome::Unchecked,
        Failure::Closed => Outcome::Unavailable,
    };
    Verdict::new(outcome, None, None)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
