//! What is done where: the policy of a gate.

mod captcha;
mod identity;
mod mfa;
mod read;
mod secret;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hashbrown::HashMap;
use testudo_event::net::Prefix;

use crate::{
    action::Action,
    address::AddressSource,
    decisions::Match,
    identity::Identity,
    mfa::{Method, MfaPolicy},
    path,
    provider::ProviderPolicy,
    throttle::Rate,
};

/// What is done where. Made from a file by [`Policy::load`], or from a text by [`Policy::from_text`].
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whose word about a client counts.
    pub proxies: Vec<Prefix>,
    /// Where they write it.
    pub address: AddressSource,
    /// The file of the keys.
    pub key_file: PathBuf,
    /// The file of the users who are enrolled for a second factor.
    pub mfa_file: PathBuf,
    /// The challenge.
    pub challenge: ChallengePolicy,
    /// Further files that it was read from.
    pub(crate) files: Vec<(PathBuf, Mark)>,
    hosts: Vec<Host>,
    /// Names of hosts, each with its place in `hosts`.
    exact: HashMap<String, usize>,
    /// Endings of names such as `.example.org`, the longest first.
    endings: Vec<(String, usize)>,
    /// The host for every other name.
    other: usize,
}

/// What tells a file from an older one: when it was changed, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(Option<SystemTime>, u64);

impl Mark {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.modified().ok(), metadata.len())
    }
}

/// The challenge that a browser has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengePolicy {
    /// Leading zero bits of the work.
    pub difficulty: u8,
    /// How long a challenge can be answered.
    pub valid_for: Duration,
    /// How long a pass lets its owner through.
    pub pass_for: Duration,
    /// How long those wait who answer a question because they have no JavaScript.
    pub wait: Duration,
    /// How often such an answer is taken from one client.
    pub questions: Rate,
    /// The largest body of a form that is kept while the challenge is answered, in bytes.
    pub keep_body: usize,
    /// The bits of an IPv4 address by which clients are told apart.
    pub v4_bits: u8,
    /// Those of an IPv6 address.
    pub v6_bits: u8,
}

/// What is done when decisions cannot be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Everybody passes.
    Open,
    /// Nobody does.
    Closed,
}

/// One or several names of hosts.
#[derive(Clone, Debug)]
pub struct Host {
    /// What is done when decisions cannot be looked up.
    pub fail: Failure,
    /// Whom a visitor may ask, as it is shown.
    pub contact: Option<String>,
    /// What is asked of visitors beside what the gate knows itself.
    pub(crate) second: Second,
    /// What holds for paths, the longest prefix first.
    paths: Vec<(String, Section)>,
    whole: Section,
}

/// What is asked of visitors of a host beside what the gate knows itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    /// Who else says whether a visitor is a person.
    pub(crate) provider: Option<Arc<ProviderPolicy>>,
    /// Who says which user sends a request.
    pub(crate) identity: Option<Arc<Identity>>,
    /// How a second factor is asked for.
    pub(crate) mfa: Arc<MfaPolicy>,
}

impl Second {
    /// Who is not known yet is sent to where that is found out.
    pub(crate) fn finds_out_who(&self) -> bool {
        matches!(self.identity.as_deref(), Some(Identity::Oidc))
    }

    /// Users are known by a method that is not there.
    fn lacks_oidc(&self) -> bool {
        self.finds_out_who() && !matches!(self.mfa.method, Method::Oidc(_))
    }
}

/// What holds for a host or a path of it.
#[derive(Clone, Debug)]
pub struct Section {
    rules: Vec<Rule>,
    /// How often a client may come that is throttled.
    pub rate: Rate,
    /// What a client may do that is restricted.
    pub restriction: Restriction,
}

/// Which decisions lead to which action.
#[derive(Clone, Debug)]
struct Rule {
    kinds: Vec<Pattern>,
    origins: Vec<Pattern>,
    scenarios: Vec<Pattern>,
    action: Action,
}

/// A word, or the beginning of words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Word(String),
    Beginning(String),
}

/// What a client may do that is restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// With these methods.
    pub methods: Vec<String>,
    /// Below these paths.
    pub paths: Vec<String>,
    /// But not below these.
    pub except: Vec<String>,
}

impl Policy {
    /// What holds for a host, by its name in lower case and without a port.
    pub fn host(&self, name: &str) -> &Host {
        let at = self.exact.get(name).copied();
        let by_ending = || {
            let found = self.endings.iter().find(|(ending, _)| name.ends_with(ending.as_str()));
            found.map(|(_, at)| *at)
        };
        &self.hosts[at.or_else(by_ending).unwrap_or(self.other)]
    }

    /// What an authenticator app shows beside a user's name, if a host says so.
    pub fn authenticator_name(&self) -> Option<String> {
        self.hosts.iter().find_map(|host| host.second.mfa.issuer.clone())
    }

    /// Whether decisions about users matter anywhere.
    pub fn needs_users(&self) -> bool {
        self.hosts.iter().any(|host| host.second.identity.is_some())
    }

    /// The bits of a client's address that tell it from others.
    pub(crate) fn client_bits(&self) -> (u8, u8) {
        (self.challenge.v4_bits, self.challenge.v6_bits)
    }
}

/// A host's name as policies have it: in lower case, without a port and without a dot at the end.
pub(crate) fn host_name(text: &str) -> String {
    let text = text.trim();
    let end = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => colon,
        _ => text.len(),
    };
    text[..end].trim_end_matches('.').to_ascii_lowercase()
}

impl Host {
    /// What holds for a path, in each of its readings.
    pub(crate) fn sections(&self, readings: &[impl AsRef<str>]) -> Vec<&Section> {
        let of = |reading: &str| {
            let found = self.paths.iter().find(|(prefix, _)| path::is_below(reading, prefix));
            found.map_or(&self.whole, |(_, section)| section)
        };
        let mut sections: Vec<&Section> = Vec::with_capacity(1);
        for reading in readings {
            let section = of(reading.as_ref());
            if !sections.iter().any(|other| std::ptr::eq(*other, section)) {
                sections.push(section);
            }
        }
        sections
    }
}

impl Section {
    /// What a decision leads to; none if it is not enforced here.
    pub(crate) fn action(&self, decision: &Match) -> Option<Action> {
        let rule = self.rules.iter().find(|rule| rule.fits(decision));
        match (rule.map(|rule| rule.action), Action::of_kind(&decision.kind)) {
            // To let pass what something else is decided about is not to say that the client is a friend.
            (Some(Action::Allow), kind) => kind.filter(|kind| *kind == Action::Allow),
            (Some(action), _) => Some(action),
            (None, Some(action)) => Some(action),
            // Nobody writes a decision for nothing.
            (None, None) => Some(Action::Ban),
        }
    }
}

impl Rule {
    fn fits(&self, decision: &Match) -> bool {
        let fits = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(text))
        };
        fits(&self.kinds, &decision.kind)
            && fits(&self.origins, &decision.origin)
            && fits(&self.scenarios, &decision.scenario)
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Beginning(beginning.to_owned()),
            None => Self::Word(text.to_owned()),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Word(word) => word == text,
            Self::Beginning(beginning) => text.starts_with(beginning.as_str()),
        }
    }
}

impl Restriction {
    /// Whether a request may pass, in every reading of its path.
    pub(crate) fn allows(&self, method: &str, readings: &[impl AsRef<str>]) -> bool {
        let is_below = |reading: &str, prefixes: &[String]| {
            prefixes.iter().any(|prefix| path::is_below(reading, prefix))
        };
        self.methods.iter().any(|allowed| allowed == method)
            && readings.iter().all(|reading| {
                is_below(reading.as_ref(), &self.paths) && !is_below(reading.as_ref(), &self.except)
            })
    }
}
