//! What an expression runs against: the data it names, and the world behind its helpers.

use std::{net::IpAddr, ops::ControlFlow, sync::Arc};

use regex::Regex;
use testudo_event::{net::Prefix, time::Timestamp};

use crate::{error::EvalError, value::Value};

/// A text cell whose place was fixed when the expression was compiled, e.g. `evt.Parsed.program`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A record or writable map inside the host. The host alone knows what the numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The sort of thing.
    pub kind: u16,
    /// Which one.
    pub a: u32,
    /// Which part of it.
    pub b: u32,
}

impl Handle {
    /// The only thing of its kind.
    pub const fn of(kind: u16) -> Self {
        Handle { kind, a: 0, b: 0 }
    }
}

/// The data that one evaluation sees. Names were checked against the [`Schema`](crate::Schema)
/// before, so a host answers only for what its schema promises.
pub trait Host {
    /// The text in a slot; `""` where it is absent, as every text map answers.
    fn text(&self, slot: Slot) -> &str;

    /// Whether the slot is present; present with `""` is not absent.
    fn has(&self, slot: Slot) -> bool;

    /// A variable of the schema, by its index there.
    fn variable(&self, index: u16) -> Result<Value, EvalError>;

    /// A field of a record.
    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError>;

    /// The entry of a host map; `None` where the key is absent.
    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError>;

    /// All entries of a host map, ordered by key.
    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError>;

    /// A method call on a record. May change the host.
    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError>;

    /// Stores an entry in a host map (`UnmarshalJSON`, `ParseKV`).
    fn store(&mut self, object: Handle, key: &str, value: Value) -> Result<(), EvalError>;

    /// The world behind the helpers.
    fn services(&self) -> &dyn Services;
}

/// One line of a `map` data file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRow {
    /// The text to compare with.
    pub pattern: String,
    /// What a hit means.
    pub tag: String,
    /// `equals`, `contains` or `regex`.
    pub kind: String,
}

/// Place of an address as a city database knows it; what is unknown is empty or zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct City {
    /// ISO code of the country, as the enricher picks it.
    pub iso_code: String,
    /// Whether the country is in the European Union.
    pub in_eu: bool,
    /// Name of the city in English.
    pub city: String,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
}

/// Autonomous system of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asn {
    /// Number; 0 where unknown.
    pub number: u32,
    /// Name of its organisation.
    pub organisation: String,
}

/// A decision in force about an address: what a list, or somebody, says of it. Decisions for show are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing<'l> {
    /// Who decided: `CAPI`, `lists`, `cscli-import`, ….
    pub origin: &'l str,
    /// The scenario or list behind it.
    pub scenario: &'l str,
    /// `ban`, `captcha`, ….
    pub kind: &'l str,
    /// When it was made, in seconds since 1970.
    pub since: i64,
    /// When it ends, in seconds since 1970.
    pub until: i64,
}

/// Knows who is listed. Asked on the way of lines: it must not wait, and keeps nobody waiting.
pub trait Listings: Send + Sync {
    /// Tells each decision in force that covers all of a network, until `tell` breaks off. An IPv6 host has a whole
    /// /64 at hand: what is narrower, in the question or in a list, stands for the /64 around it.
    fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>);
}

/// Services that helpers need from outside. Every default answers as an empty world does:
/// no files, no databases, no names, nothing stored, time standing at the epoch.
#[expect(unused_variables, reason = "the names of the parameters document the defaults")]
pub trait Services: Send + Sync {
    /// `TimeNow()`, `now()` and dates without a year.
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    /// `Hostname()`.
    fn hostname(&self) -> Arc<str> {
        Arc::from("")
    }

    /// `File(name)`: lines of a `string` data file; `None` where it is not loaded.
    fn file(&self, name: &str) -> Option<Arc<Vec<Arc<str>>>> {
        None
    }

    /// The patterns of a data file, any of which may match; `None` where the file is not loaded.
    fn patterns(&self, name: &str) -> Option<Arc<Vec<Regex>>> {
        None
    }

    /// `RegexpInFile(text, name)`; `None` where the file is not loaded.
    fn regexp_in_file(&self, text: &str, name: &str) -> Option<bool> {
        Some(self.patterns(name)?.iter().any(|regex| regex.is_match(text)))
    }

    /// `LookupFile(text, name)`: the tag of the row that hits, `""` where none does.
    fn lookup_file(&self, text: &str, name: &str) -> Option<Arc<str>> {
        None
    }

    /// `FileMap(name)`.
    fn file_map(&self, name: &str) -> Option<Arc<Vec<MapRow>>> {
        None
    }

    /// `MatchKnownBot(ip, user agent, path, name)` against one `bots` file.
    fn match_known_bot(&self, ip: &str, user_agent: &str, path: &str, name: &str) -> bool {
        false
    }

    /// `LookupHost(name)`: addresses as text. Answers from a cache on the way of a line.
    fn lookup_host(&self, name: &str) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// `GeoIPEnrich`, `IPToCountry`; `None` where no database is loaded.
    fn city(&self, address: IpAddr) -> Option<City> {
        None
    }

    /// `GeoIPASNEnrich`; `None` where no database is loaded.
    fn asn(&self, address: IpAddr) -> Option<Asn> {
        None
    }

    /// `GeoIPRangeEnrich`: the network of the record, as CIDR text.
    fn range(&self, address: IpAddr) -> Option<Arc<str>> {
        None
    }

    /// `GetFromStash(cache, key)`.
    fn stash_get(&self, cache: &str, key: &str) -> Option<Arc<str>> {
        None
    }

    /// `SetInStash(cache, key, value)`.
    fn stash_set(&self, cache: &str, key: &str, value: &str) {}

    /// `GetDecisionsCount(value)`.
    fn decisions_count(&self, value: &str) -> i64 {
        0
    }

    /// `GetDecisionsSinceCount(value, since)`, the age in nanoseconds.
    fn decisions_since_count(&self, value: &str, since: i64) -> i64 {
        0
    }

    /// `GetActiveDecisionsCount(value)`.
    fn active_decisions_count(&self, value: &str) -> i64 {
        0
    }

    /// `GetActiveDecisionsTimeLeft(value)` in nanoseconds.
    fn active_decisions_time_left(&self, value: &str) -> i64 {
        0
    }

    /// `IsListed`, `ListedBy`, `Reputation`: as [`Listings::listings`].
    fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {}

    /// `CrowdsecCTI(ip)`: the JSON of the item; `None` where the service is off.
    fn cti(&self, ip: &str) -> Option<Value> {
        None
    }

    /// `HTTPGet` and its kin; `None` where the network is off.
    fn http(
        &self,
        method: &str,
        url: &str,
        headers: &[(Arc<str>, Arc<str>)],
        body: &str,
    ) -> Option<HttpAnswer> {
        None
    }

    /// `LogInfo(…)`.
    fn log(&self, message: &str) {}
}

/// Answer to an HTTP helper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Body, cut at the helper's limit.
    pub body: Arc<str>,
    /// Headers, in order.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
}

/// The empty world.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

impl Services for NoServices {}

/// A host that holds nothing: for constants and for values that need no host.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn field(&self, _: Handle, _: &str) -> Result<Value, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn entry(&self, _: Handle, _: &str) -> Result<Option<Value>, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn entries(&self, _: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn method(&mut self, _: Handle, _: &str, _: &[Value]) -> Result<Value, EvalError> {
        Err(EvalError::NilAccess)
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        Err(EvalError::NilAccess)
    }

    fn services(&self) -> &dyn Services {
        &NoServices
    }
}
