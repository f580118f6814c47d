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
    judge::{Judgement, judge},
    kept,
    keys::{Keys, MAC_BYTES},
    metrics::{Metrics, Outcome, Sizes, Solved},
    moment::Moment,
    page::{self, Facts, Notice, Puzzle},
    pass,
    policy::{Failure, Policy},
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
}

impl Verdict {
    fn new(outcome: Outcome, decision: Option<Match>) -> Self {
        Self { outcome, decision, wait: std::time::Duration::ZERO }
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

/// What may be replaced while the gate works.
#[derive(Debug)]
struct Rules {
    policy: Policy,
    keys: Keys,
}

/// A gate.
#[derive(Debug)]
pub struct Gate {
    rules: RwLock<Arc<Rules>>,
    limiter: Mutex<Limiter>,
    questions: Mutex<Limiter>,
    replay: Mutex<Replay>,
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
            metrics: Metrics::default(),
        }
    }

    /// Replaces policy and keys. What runs goes on with the old ones.
    pub fn replace(&self, policy: Policy, keys: Keys) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rules { policy, keys });
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
        self.metrics.text(Sizes {
            throttled: lock(&self.limiter).len(),
            questioned: lock(&self.questions).len(),
            answered: lock(&self.replay).len(),
        })
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

    /// Takes the answer to a challenge.
    pub fn answer(
        &self,
        visit: &Visit<'_>,
        body: Option<&[u8]>,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let rules = self.rules();
        let is_form = visit.has_form();
        let fields = body.filter(|_| is_form).and_then(|body| form::fields(body).ok()).unwrap_or_default();
        let target = way_back(form::only(&fields, "target").unwrap_or("/"));
        let kept = form::only(&fields, "form");
        match self.take_answer(&rules, visit, &fields, target, kept, now) {
            Err(refusal) => {
                self.metrics.count_refused(refusal);
                // A form that was sent from elsewhere must not be shown as the site's own.
                let kept = kept.filter(|_| visit.is_from_same_site() && refusal != Refusal::Forged);
                let lost = form::only(&fields, "form").is_some() && kept.is_none();
                self.ask(&rules, visit, (target, kept), (lost, true), None, now, random)
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

    /// What an application that asks about an address is told. Nothing is counted.
    pub fn report(
        &self,
        address: IpAddr,
        host: &str,
        (method, target): (&str, &str),
        decisions: &dyn Decisions,
        now: Moment,
    ) -> serde_json::Value {
        let rules = self.rules();
        let headers = HeaderMap::new();
        let visit = Visit {
            address: address.to_canonical(),
            host: crate::policy::host_name(host),
            method: Cow::Borrowed(method),
            target: Cow::Borrowed(target),
            is_https: false,
            headers: &headers,
        };
        let verdict = self.judge(&rules, &visit, decisions, now, Counting::Not);
        let mut matches = Vec::new();
        decisions.find(visit.address, &mut matches);
        let list = matches.iter().map(|decision| {
            json!({
                "id": decision.id,
                "type": &*decision.kind,
                "origin": &*decision.origin,
                "scenario": &*decision.scenario,
                "seconds": decision.remaining.as_secs(),
            })
        });
        json!({
            "address": visit.address.to_string(),
            "pass": verdict.passes(),
            "outcome": verdict.outcome.name(),
            "decision": verdict.decision.map(|decision| decision.id),
            "decisions": list.collect::<Vec<_>>(),
        })
    }

    fn rules(&self) -> Arc<Rules> {
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
        let policy = &rules.policy;
        let host = policy.host(&visit.host);
        if !decisions.is_ready() {
            let outcome = match host.fail {
                Failure::Open => Outcome::Unchecked,
                Failure::Closed => Outcome::Unavailable,
            };
            return Verdict::new(outcome, None);
        }
        let mut matches = Vec::new();
        decisions.find(visit.address, &mut matches);
        let Judgement::Act { action, decision, rate, is_harmless } = judge(host, visit, matches) else {
            return Verdict::new(Outcome::Clean, None);
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
                let has_pass = pass::holds(&rules.keys, visit, &owner, now);
                if has_pass { Outcome::Passed } else { Outcome::Challenged }
            }
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
        Verdict { outcome, decision: Some(decision), wait }
    }

    fn refuse(
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
            Outcome::Challenged => {
                let kept = body
                    .filter(|_| visit.is_from_same_site())
                    .and_then(|body| kept::keep(visit, body, rules.policy.challenge.keep_body));
                let sent_nothing = body.is_some_and(<[u8]>::is_empty);
                let lost = kept.is_none() && !sent_nothing;
                let kept = kept.as_deref();
                self.ask(rules, visit, (visit.way_back(), kept), (lost, false), decision, now, random)
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

    /// Shows a challenge.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a page is made of; no part of it has a name of its own"
    )]
    fn ask(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        (target, kept): (&str, Option<&str>),
        (is_lost, is_again): (bool, bool),
        decision: Option<u64>,
        now: Moment,
        random: Random,
    ) -> Response<Bytes> {
        let Rules { policy, keys } = rules;
        let owner = visit.owner(policy.client_bits());
        let what = challenge::what(target, kept);
        let difficulty = policy.challenge.difficulty;
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
        let contact = policy.host(&visit.host).contact.as_deref();
        page::challenge(visit, &puzzle, Facts { decision, contact })
    }

    /// Looks at an answer. Gives the line that sets the cookie.
    fn take_answer(
        &self,
        rules: &Rules,
        visit: &Visit<'_>,
        fields: &[(String, String)],
        target: &str,
        kept: Option<&str>,
        now: Moment,
    ) -> Result<HeaderValue, Refusal> {
        let Rules { policy, keys } = rules;
        let times = &policy.challenge;
        let owner = visit.owner(policy.client_bits());
        let challenge = form::only(fields, "challenge").and_then(Challenge::parse).ok_or(Refusal::Forged)?;
        challenge.verify(keys, &owner, &challenge::what(target, kept), times.valid_for, now)?;
        let work = form::only(fields, "answer").filter(|work| !work.is_empty());
        let burn = || {
            let is_new = lock(&self.replay).burn(challenge.issued, challenge.random, times.valid_for, now);
            if is_new { Ok(()) } else { Err(Refusal::Used) }
        };
        let (solved, valid_for) = match work {
            Some(work) => {
                if !challenge.is_solved_by(work) {
                    return Err(Refusal::Wrong);
                }
                burn()?;
                (Solved::Work, times.pass_for)
            }
            None => {
                if challenge.age(now) < times.wait {
                    return Err(Refusal::Early);
                }
                // A wrong answer uses it up as well: there are few that could be right.
                burn()?;
                let client = visit.network(policy.client_bits());
                let taken = lock(&self.questions).take(client, times.questions, now.steady);
                taken.map_err(|_| Refusal::Often)?;
                let (a, b) = challenge.question();
                if form::only(fields, "sum").map(str::trim) != Some(&(a + b).to_string()) {
                    return Err(Refusal::Wrong);
                }
                (Solved::Question, times.pass_for / QUESTION_PART)
            }
        };
        self.metrics.count_solved(solved);
        let cookie = pass::set_cookie(keys, visit, &owner, valid_for, now);
        HeaderValue::from_str(&cookie).map_err(|_| Refusal::Forged)
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
