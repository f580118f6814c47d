//! Second factors: what a user shows beside a password, because a decision asks for it.
//!
//! The user is whom the policy's `identity` says (see [`crate::identity`]). A code of an authenticator app is asked for on a
//! page, or a provider of OpenID Connect is, or the application is told to ask. *Invariant:* a code counts once, and a
//! pass belongs to one user, host, network and browser, and ends with the decision that asked for it.

mod code;
mod guesses;
mod login;
pub(crate) mod oidc;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod totp;
mod vault;

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};
use testudo_config::Secret;

use self::guesses::Guesses;
pub use self::vault::{Enrolled, Enrolment, Vault, VaultError};
pub(crate) use self::{code::Looked, code::ask as ask_for_code, login::ask as ask_for_login};
use crate::{
    challenge::Challenge,
    gate::{Random, Rules},
    identity::User,
    moment::Moment,
    page::Facts,
    replay::Replay,
    visit::Visit,
};

/// How long a page can be answered: who has to look for a telephone needs time.
const VALID_FOR: Duration = Duration::from_mins(15);

/// Users and clients whose wrong guesses are remembered at once.
const MAX_GUESSING: usize = 16_384;

/// Pages that were answered and are remembered at once.
const MAX_ANSWERED: usize = 16_384;

/// How a second factor is asked for.
#[derive(Clone, Debug)]
pub struct MfaPolicy {
    /// Who asks, and for what.
    pub method: Method,
    /// What is done where nobody knows who the user is.
    pub unknown: Unknown,
    /// How long a pass lets its user through, unless the decision ends before.
    pub pass_for: Duration,
    /// Wrong guesses after which the next one has to wait.
    pub free_guesses: u32,
    /// What an authenticator app shows beside the user's name.
    pub issuer: Option<String>,
}

impl Default for MfaPolicy {
    fn default() -> Self {
        Self {
            method: Method::Totp,
            unknown: Unknown::Deny,
            pass_for: Duration::from_hours(8),
            free_guesses: 5,
            issuer: None,
        }
    }
}

/// Who asks for a second factor, and for what.
#[derive(Clone, Debug)]
pub enum Method {
    /// The gate, for a code that changes with time.
    Totp,
    /// A provider of OpenID Connect, for whatever it asks.
    Oidc(Box<OidcPolicy>),
    /// The application: requests pass, and it is told.
    Application,
}

/// What is done where a second factor is asked for and nobody knows whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The request is refused.
    Deny,
    /// A challenge has to be answered.
    Captcha,
    /// As if the decision were not there.
    Pass,
}

/// A provider of OpenID Connect.
#[derive(Clone, Debug)]
pub struct OidcPolicy {
    /// Its name, which is where its description is found.
    pub issuer: String,
    /// Whom it knows the gate as.
    pub client_id: String,
    /// What the gate shows to it; none for a public client.
    pub secret: Option<Secret>,
    /// What it is asked for.
    pub scopes: Vec<String>,
    /// The claim that has the user's name.
    pub claim: String,
    /// How the user has to be authenticated; if any are said, one of them has to be told.
    pub acr_values: Vec<String>,
    /// Where it sends users back to, where that is not the host of the visit.
    pub redirect_uri: Option<String>,
    /// How long it is waited for.
    pub timeout: Duration,
}

/// What became of attempts to show a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A code was right.
    Code,
    /// A recovery code was right.
    Recovery,
    /// A provider says that the user was there.
    Login,
    /// A code was wrong, or was used before.
    Wrong,
    /// Somebody had to wait.
    Waited,
    /// A login did not lead to a user, or to another one.
    LoginFailed,
}

impl Event {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Code, "code"),
        (Self::Recovery, "recovery"),
        (Self::Login, "login"),
        (Self::Wrong, "wrong"),
        (Self::Waited, "waited"),
        (Self::LoginFailed, "login_failed"),
    ];
}

/// What is remembered of second factors.
#[derive(Debug)]
pub(crate) struct Factors {
    vault: RwLock<Arc<Vault>>,
    guesses: Mutex<Guesses>,
    /// The step of the last code of each user.
    used: Mutex<HashMap<String, u64>>,
    /// Codes up to this step may have been used before the gate was started.
    closed_until: u64,
    answered: Mutex<Replay>,
    events: [AtomicU64; Event::ALL.len()],
}

impl Factors {
    /// Nothing is known before `start`.
    pub(crate) fn new(start: Moment) -> Self {
        Self {
            vault: RwLock::default(),
            guesses: Mutex::new(Guesses::new(MAX_GUESSING)),
            used: Mutex::default(),
            closed_until: totp::step(start.wall),
            answered: Mutex::new(Replay::new(MAX_ANSWERED, start)),
            events: Default::default(),
        }
    }

    /// Replaces the users who are enrolled.
    pub(crate) fn set_vault(&self, vault: Vault) {
        *self.vault.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(vault);
    }

    fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Relaxed);
    }

    /// Whether a code is that of a user and was not used before. Uses it up.
    fn is_right(&self, user: &User, text: &str, now: Moment) -> bool {
        let present = totp::step(now.wall);
        // Who is not enrolled takes as long as who is.
        let secret = self.vault().secret(user);
        let found = totp::matching(&secret.unwrap_or_default(), text, present).filter(|_| secret.is_some());
        let Some(step) = found.filter(|step| *step > self.closed_until) else { return false };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, step| *step + 2 >= present);
        let last = used.entry_ref(user.key.as_str()).or_default();
        let is_new = step > *last;
        *last = step.max(*last);
        is_new
    }

    /// Figures for Prometheus.
    pub(crate) fn text(&self) -> String {
        let name = "testudo_gate_second_factors_total";
        let mut text = format!("# HELP {name} Attempts to show a second factor.\n# TYPE {name} counter\n");
        for (event, result) in Event::ALL {
            let count = self.events[event as usize].load(Relaxed);
            let _ = writeln!(text, "{name}{{result=\"{result}\"}} {count}");
        }
        let guessing = self.guesses.lock().unwrap_or_else(PoisonError::into_inner).len();
        let name = "testudo_gate_guessing";
        let _ = write!(
            text,
            "# HELP {name} Users and networks with wrong codes.\n# TYPE {name} gauge\n{name} {guessing}\n"
        );
        text
    }
}

/// Where and when somebody is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'s> {
    pub(crate) rules: &'s Rules,
    pub(crate) visit: &'s Visit<'s>,
    pub(crate) now: Moment,
    pub(crate) random: Random,
}

impl Scene<'_> {
    /// What is shown of a decision, and whom a visitor may ask.
    fn facts(&self, decision: Option<u64>) -> Facts<'_> {
        Facts { decision, contact: self.rules.policy.host(&self.visit.host).contact.as_deref() }
    }

    /// A page that this visitor can answer, for this purpose.
    fn challenge(&self, what: &[u8; 32]) -> Challenge {
        let owner = self.visit.owner(self.rules.policy.client_bits());
        Challenge::new(&self.rules.keys, &owner, what, 0, self.random.challenge, self.now)
    }
}

/// Whom a pass belongs to: a user beside the host, the network and the browser.
pub(crate) fn owner(visitor: &[u8; 32], user: &User) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(visitor);
    hash.update(&user.key);
    hash.finalize().into()
}

/// What a page is for: so that one for a user is none for another one, and none for a plain challenge.
fn purpose(method: &str, user: Option<&User>, what: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((method.len() as u64).to_be_bytes());
    hash.update(method);
    hash.update(what);
    if let Some(user) = user {
        hash.update(&user.name);
    }
    hash.finalize().into()
}
