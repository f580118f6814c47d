//! What rules would have done to the logs of the past.
//!
//! A [`Backtest`] watches a run with the rules. It counts lines that the rules' parsers read and events that came to their
//! scenarios, collects the sources that would have been banned, and says of which of them it suspects that they are honest:
//! those that also succeeded at something only honest clients do (see [`Suspicion`]).

mod cost;
mod expect;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use serde::Serialize;
use testudo_engine::{Keys, Line, LineOutcome, Node, Observer, Record, Sink, Space};
use testudo_event::{Overflow, Prefix, net::canonical};
use testudo_rules::set::RuleSet;

pub use self::{
    cost::{Cost, cost},
    expect::{Check, Expectations},
};

/// Sources that are remembered; beyond that, new ones are not looked at.
const MAX_SOURCES: usize = 200_000;

/// Names of users that are kept of a source.
const MAX_USERS: usize = 3;

/// Requests over HTTP below which their answers say nothing.
const FEWEST_REQUESTS: u64 = 10;

/// Part of its requests, in percent, that an ordinary visitor gets answered well.
const ORDINARY_PERCENT: u64 = 80;

/// Leading bits of networks that are counted: what one customer of a provider has, and what a provider gives out.
const V4_BITS: u8 = 24;
const V6_BITS: u8 = 48;

/// Names of the rules that are tried.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Parsers.
    pub parsers: BTreeSet<String>,
    /// Scenarios.
    pub scenarios: BTreeSet<String>,
}

impl Subjects {
    /// All rules of a set.
    pub fn of(rules: &RuleSet) -> Subjects {
        let parsers = rules.parsers.iter().chain(&rules.postoverflows);
        Subjects {
            parsers: parsers.map(|parser| parser.node.name.to_string()).collect(),
            scenarios: rules.scenarios.iter().map(|scenario| scenario.name.to_string()).collect(),
        }
    }
}

/// Why a source that would be banned may be honest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Suspicion {
    /// It logged in: an event with `auth_status: success`, or a `log_type` that ends so.
    LoggedIn {
        /// How often.
        times: u64,
        /// As whom; the first few.
        users: BTreeSet<String>,
        /// Lines that count against it, before it first did.
        hits_before: u64,
    },
    /// A web server knew it as a user and answered with 2xx.
    KnownUser {
        /// As whom; the first few.
        users: BTreeSet<String>,
    },
    /// At least ten requests over HTTP, of which 80 % and more were answered with 2xx or 3xx.
    OrdinaryVisitor {
        /// Requests.
        requests: u64,
        /// Those answered well.
        answered: u64,
    },
    /// It is on an allowlist.
    Allowlisted {
        /// The entry.
        entry: String,
    },
    /// An address that is not routed on the Internet.
    Private,
    /// A whitelist let lines of it pass.
    Whitelisted {
        /// How many.
        lines: u64,
    },
}

/// What is known of a source.
#[derive(Clone, Debug, Default)]
struct Standing {
    hits: u64,
    log_ins: u64,
    hits_before_log_in: u64,
    users: BTreeSet<String>,
    known_users: BTreeSet<String>,
    requests: u64,
    answered: u64,
    whitelisted: u64,
}

/// A source that would be banned.
#[derive(Clone, Debug, Serialize)]
pub struct Banned {
    /// Address, network, or what else the scenario counts by.
    pub value: String,
    /// `Ip`, `Range` …
    pub scope: String,
    /// How often.
    pub overflows: u64,
    /// By which scenarios.
    pub scenarios: BTreeSet<String>,
    /// Lines of it that count.
    pub hits: u64,
    /// Why it may be honest.
    pub suspicions: Vec<Suspicion>,
}

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Lines read.
    pub lines: u64,
    /// Lines that any parser understood.
    pub parsed: u64,
    /// Lines that the parsers under test understood.
    pub hits: u64,
    /// Events that came to the scenarios under test.
    pub poured: u64,
    /// Overflows by scenario.
    pub overflows: BTreeMap<String, u64>,
    /// Overflows that a whitelist took back.
    pub whitelisted: u64,
    /// Who would be banned, in order.
    pub banned: Vec<Banned>,
    /// Networks (/24, /48) in which banned addresses are.
    pub networks: usize,
    /// How many of those who would be banned are suspected to be honest.
    pub suspected: usize,
    /// Sources that were not looked at, since there were too many.
    pub unwatched: u64,
}

/// Watches a run.
#[derive(Debug)]
pub struct Backtest {
    subjects: Subjects,
    allowlist: Vec<(Prefix, String)>,
    findings: Findings,
    standings: HashMap<IpAddr, Standing>,
    /// Scenarios that events of the tested parsers came to.
    reached: BTreeSet<String>,
    bans: BTreeMap<(String, String), (u64, BTreeSet<String>)>,
}

impl Backtest {
    /// A run with these rules; who is on the allowlist, with the entries as they were written.
    pub fn new(subjects: Subjects, allowlist: Vec<(Prefix, String)>) -> Backtest {
        Backtest {
            subjects,
            allowlist,
            findings: Findings::default(),
            standings: HashMap::new(),
            reached: BTreeSet::new(),
            bans: BTreeMap::new(),
        }
    }

    /// Handles one line.
    pub fn line(&mut self, replay: &mut testudo_engine::Replay<'_>, source: u32, number: u64, text: &str) {
        let mut watch = Watch::new(&self.subjects);
        let mut told = Told::default();
        replay.line(source, number, text, &mut watch, &mut told);
        let Watch { is_hit, poured, scenarios, event, .. } = watch;
        self.findings.lines += 1;
        let whitelisted = told.outcome == Some(LineOutcome::Whitelisted);
        self.findings.parsed += u64::from(whitelisted || told.outcome == Some(LineOutcome::Parsed));
        self.findings.hits += u64::from(is_hit);
        self.findings.poured += poured;
        if is_hit {
            self.reached.extend(scenarios);
        }
        if let Some(event) = event {
            // A scenario says what counts against somebody; a parser alone reads good and bad.
            let counts = if self.subjects.scenarios.is_empty() { is_hit } else { poured > 0 };
            self.stand(&event, counts, whitelisted);
        }
        for overflow in told.overflows {
            self.overflow(&overflow);
        }
    }

    /// Notes what an event says of its source.
    fn stand(&mut self, event: &Event, counts: bool, whitelisted: bool) {
        let room = self.standings.len() < MAX_SOURCES;
        let standing = match self.standings.get_mut(&event.address) {
            Some(standing) => standing,
            None if room => self.standings.entry(event.address).or_default(),
            None => {
                self.findings.unwatched += 1;
                return;
            }
        };
        let keep = |users: &mut BTreeSet<String>| {
            if users.len() < MAX_USERS && !event.user.is_empty() {
                users.insert(event.user.clone());
            }
        };
        standing.whitelisted += u64::from(whitelisted);
        if event.logged_in {
            if standing.log_ins == 0 {
                standing.hits_before_log_in = standing.hits;
            }
            standing.log_ins += 1;
            keep(&mut standing.users);
        } else {
            standing.hits += u64::from(counts);
        }
        if let Some(status) = event.status {
            standing.requests += 1;
            standing.answered += u64::from((200..400).contains(&status));
            if (200..300).contains(&status) {
                keep(&mut standing.known_users);
            }
        }
    }

    fn overflow(&mut self, overflow: &Overflow) {
        let scenario = &overflow.alert.scenario;
        // Of a parser alone, what its events made of the scenarios that are there.
        let counts = self.subjects.scenarios.contains(scenario)
            || self.subjects.scenarios.is_empty() && self.reached.contains(scenario);
        if !counts {
            return;
        }
        if overflow.whitelisted {
            self.findings.whitelisted += 1;
            return;
        }
        *self.findings.overflows.entry(scenario.clone()).or_default() += 1;
        if !overflow.alert.remediation {
            return;
        }
        for (value, source) in &overflow.sources {
            let (times, scenarios) = self.bans.entry((value.clone(), source.scope.clone())).or_default();
            *times += 1;
            scenarios.insert(scenario.clone());
        }
    }

    /// What came of it.
    pub fn finish(mut self) -> Findings {
        let bans = std::mem::take(&mut self.bans);
        let mut networks = BTreeSet::new();
        for ((value, scope), (overflows, scenarios)) in bans {
            let network = Prefix::parse(&value)
                .or_else(|| value.parse().ok().map(|addr| Prefix::single(canonical(addr))));
            let standing = network.and_then(|network| self.standings.get(&network.addr()));
            let suspicions = network.map_or_else(Vec::new, |network| self.suspicions(network, standing));
            if let Some(network) = network {
                let bits = if network.addr().is_ipv4() { V4_BITS } else { V6_BITS };
                networks.extend(
                    Prefix::covering(network.addr(), bits.min(network.bits()))
                        .map(|prefix| prefix.to_string()),
                );
            }
            let hits = standing.map_or(0, |standing| standing.hits);
            self.findings.suspected += usize::from(!suspicions.is_empty());
            self.findings.banned.push(Banned { value, scope, overflows, scenarios, hits, suspicions });
        }
        self.findings.networks = networks.len();
        self.findings
    }

    fn suspicions(&self, network: Prefix, standing: Option<&Standing>) -> Vec<Suspicion> {
        let mut found = Vec::new();
        let overlaps = |prefix: &Prefix| prefix.contains(network.addr()) || network.contains(prefix.addr());
        if let Some((_, entry)) = self.allowlist.iter().find(|(prefix, _)| overlaps(prefix)) {
            found.push(Suspicion::Allowlisted { entry: entry.clone() });
        }
        if is_private(network.addr()) {
            found.push(Suspicion::Private);
        }
        let Some(standing) = standing else { return found };
        if standing.log_ins > 0 {
            found.push(Suspicion::LoggedIn {
                times: standing.log_ins,
                users: standing.users.clone(),
                hits_before: standing.hits_before_log_in,
            });
        }
        if !standing.known_users.is_empty() {
            found.push(Suspicion::KnownUser { users: standing.known_users.clone() });
        }
        let (requests, answered) = (standing.requests, standing.answered);
        if requests >= FEWEST_REQUESTS && answered * 100 >= requests * ORDINARY_PERCENT {
            found.push(Suspicion::OrdinaryVisitor { requests, answered });
        }
        if standing.whitelisted > 0 {
            found.push(Suspicion::Whitelisted { lines: standing.whitelisted });
        }
        found
    }
}

/// Whether an address is one of a network of one's own.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// What an event says of its source.
#[derive(Debug)]
struct Event {
    address: IpAddr,
    user: String,
    logged_in: bool,
    status: Option<u16>,
}

/// Watches one line.
struct Watch<'s> {
    subjects: &'s Subjects,
    is_hit: bool,
    poured: u64,
    scenarios: Vec<String>,
    event: Option<Event>,
}

impl<'s> Watch<'s> {
    fn new(subjects: &'s Subjects) -> Watch<'s> {
        Watch { subjects, is_hit: false, poured: 0, scenarios: Vec::new(), event: None }
    }
}

impl Observer for Watch<'_> {
    fn leave(&mut self, _: &str, node: &Node, depth: usize, ok: bool, _: &Record, _: &Keys) {
        self.is_hit |= depth == 0 && ok && self.subjects.parsers.contains(&*node.name);
    }

    fn poured(&mut self, scenario: &str) {
        self.poured += u64::from(self.subjects.scenarios.contains(scenario));
        self.scenarios.push(scenario.to_owned());
    }

    fn done(&mut self, record: &Record, keys: &Keys) {
        let meta = |key: &str| record.key(keys, Space::Meta, key).unwrap_or_default();
        let Ok(address) = meta("source_ip").parse::<IpAddr>() else { return };
        let names = ["username", "target_user", "user"];
        let user = names.iter().map(|name| meta(name)).find(|user| !user.is_empty() && *user != "-");
        let logged_in = meta("auth_status") == "success" || meta("log_type").ends_with("auth_success");
        self.event = Some(Event {
            address: canonical(address),
            user: user.unwrap_or_default().to_owned(),
            logged_in,
            status: meta("http_status").parse().ok(),
        });
    }
}

/// What a line led to.
#[derive(Default)]
struct Told {
    outcome: Option<LineOutcome>,
    overflows: Vec<Overflow>,
}

impl Sink for Told {
    fn line(&mut self, _: Line<'_>, outcome: LineOutcome) {
        self.outcome = Some(outcome);
    }

    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.overflows.push(overflow.clone());
    }
}

#[cfg(test)]
mod tests;
