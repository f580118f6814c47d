//! What expressions see: a record on its way through the parsers, or a frozen event with its
//! bucket.

use std::{
    net::IpAddr,
    ops::ControlFlow,
    sync::{Arc, LazyLock, atomic::Ordering},
};

use testudo_event::{Overflow, Prefix, Timestamp, net};
use testudo_expr::{
    EvalError, Handle, Host, Services, Slot, Value,
    host::{Asn, City, HttpAnswer, Listing, MapRow},
    value::Map,
};
use testudo_rules::objects;

use crate::{
    detect::tally,
    keys::{self, Keys, Space},
    record::{EventKind, Mode, Record},
    snapshot::Snapshot,
    world::World,
};

const EVENT: u16 = 1;
const LINE: u16 = 2;
/// A text map; `b` is its [`Space`].
const TEXTS: u16 = 3;
const UNMARSHALED: u16 = 4;
const APPSEC: u16 = 5;
const QUEUE: u16 = 6;
const LEAKY: u16 = 7;
const FACTORY: u16 = 8;
const SPEC: u16 = 9;
/// An empty text map.
const NOTHING: u16 = 10;
/// An empty HTTP request, and its header.
const REQUEST: u16 = 11;
const HEADER: u16 = 12;

/// Whether a handle is a map whose entries are of no fixed type.
pub(crate) fn is_open_map(object: Handle) -> bool {
    matches!(object.kind, UNMARSHALED | NOTHING)
}

/// The event of a handle: 0 the current one, else the queue's, counted from 1.
fn handle(kind: u16, a: u32, b: u32) -> Value {
    Value::Object(Handle { kind, a, b })
}

fn unknown(name: &str) -> EvalError {
    EvalError::other(format!("there is no `{name}` here"))
}

/// What an event has that is no overflow.
static NO_OVERFLOW: LazyLock<Overflow> = LazyLock::new(Overflow::default);

/// A field of `evt.Overflow` or of something below it. Without an overflow there is an empty one, and no alert.
fn overflow_field(of: Option<&Overflow>, object: Handle, name: &str) -> Result<Value, EvalError> {
    match of {
        Some(overflow) => objects::field(overflow, object, name),
        None if name == "Alert" => Ok(Value::Nil),
        None if name == "APIAlerts" => Ok(Value::list(Vec::new())),
        None => objects::field(&NO_OVERFLOW, object, name),
    }
}

/// An event that expressions can look at.
trait View {
    fn fixed(&self, slot: Slot) -> &str;
    fn key(&self, keys: &Keys, space: Space, key: &str) -> Option<&str>;
    fn entries<'v>(&'v self, keys: &'v Keys, space: Space) -> Vec<(&'v str, &'v str)>;
    fn unmarshaled(&self) -> Option<&Map>;
    fn kind(&self) -> EventKind;
    fn mode(&self) -> Mode;
    fn time(&self) -> Timestamp;
    fn arrival(&self) -> Timestamp;
    fn flags(&self) -> (bool, bool);
    fn overflow(&self) -> Option<&Overflow>;

    fn field(&self, a: u32, name: &str) -> Result<Value, EvalError> {
        Ok(match name {
            "Parsed" => handle(TEXTS, a, Space::Parsed as u32),
            "Meta" => handle(TEXTS, a, Space::Meta as u32),
            "Enriched" => handle(TEXTS, a, Space::Enriched as u32),
            "Unmarshaled" => handle(UNMARSHALED, a, 0),
            "Line" => handle(LINE, a, 0),
            "Overflow" if a as usize > objects::MAX_NUMBERED => return Err(EvalError::OutOfRange),
            "Overflow" => objects::numbered(Value::Object(objects::overflow()), a as u16),
            "Appsec" => handle(APPSEC, a, 0),
            "Type" => Value::Int(self.kind() as i64),
            "ExpectMode" => Value::Int(self.mode() as i64),
            "Whitelisted" => Value::Bool(self.flags().0),
            "Process" => Value::Bool(self.flags().1),
            "Time" => Value::Time(self.time()),
            "StrTime" => Value::str(self.fixed(keys::STR_TIME)),
            "StrTimeFormat" => Value::str(self.fixed(keys::STR_TIME_FORMAT)),
            "MarshaledTime" => Value::str(self.fixed(keys::MARSHALED_TIME)),
            "WhitelistReason" => Value::str(self.fixed(keys::WHITELIST_REASON)),
            "Stage" => Value::str(self.fixed(keys::STAGE)),
            _ => return Err(unknown(name)),
        })
    }

    fn line_field(&self, a: u32, name: &str) -> Result<Value, EvalError> {
        Ok(match name {
            "Raw" => Value::str(self.fixed(keys::LINE_RAW)),
            "Src" => Value::str(self.fixed(keys::LINE_SRC)),
            "Module" => Value::str(self.fixed(keys::LINE_MODULE)),
            "Labels" => handle(TEXTS, a, Space::Labels as u32),
            "Time" => Value::Time(self.arrival()),
            "Process" => Value::Bool(true),
            _ => return Err(unknown(name)),
        })
    }

    fn get_meta(&self, keys: &Keys, key: &str) -> Value {
        match self.kind() {
            EventKind::Log => Value::str(self.key(keys, Space::Meta, key).unwrap_or("")),
            EventKind::Overflow => Value::str(self.overflow().map_or("", |o| o.event_meta(key))),
            EventKind::Appsec => Value::str(""),
        }
    }

    fn ip_sources(&self, keys: &Keys) -> Vec<IpAddr> {
        match self.kind() {
            EventKind::Log => {
                self.key(keys, Space::Meta, "source_ip").and_then(net::parse_addr).into_iter().collect()
            }
            EventKind::Overflow => self
                .overflow()
                .map_or_else(Vec::new, |o| o.sources.keys().filter_map(|key| net::parse_addr(key)).collect()),
            EventKind::Appsec => Vec::new(),
        }
    }

    fn call(&self, keys: &Keys, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        match name {
            "GetMeta" => Ok(self.get_meta(keys, argument(arguments, 0)?)),
            "GetType" => Ok(Value::str(keys::type_name(self.kind()))),
            "ParseIPSources" => Ok(Value::strings(self.ip_sources(keys).iter().map(ToString::to_string))),
            _ => Err(unknown(name)),
        }
    }

    fn text_entry(&self, keys: &Keys, space: u32, key: &str) -> Option<Value> {
        self.key(keys, space_of(space), key).map(Value::str)
    }

    fn map_entries(&self, keys: &Keys, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        match object.kind {
            TEXTS => Ok(self
                .entries(keys, space_of(object.b))
                .into_iter()
                .map(|(key, text)| (Arc::from(key), Value::str(text)))
                .collect()),
            UNMARSHALED => {
                Ok(self.unmarshaled().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            NOTHING => Ok(Vec::new()),
            _ => Err(EvalError::Kind { what: "a walk over entries", got: "record" }),
        }
    }

    fn map_entry(&self, keys: &Keys, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        match object.kind {
            TEXTS => Ok(self.text_entry(keys, object.b, key)),
            UNMARSHALED => Ok(self.unmarshaled().and_then(|map| map.get(key)).cloned()),
            NOTHING => Ok(None),
            _ => Err(EvalError::Kind { what: "a look-up by key", got: "record" }),
        }
    }
}

fn space_of(number: u32) -> Space {
    Space::ALL.get(number as usize).copied().unwrap_or(Space::Parsed)
}

fn argument(arguments: &[Value], at: usize) -> Result<&str, EvalError> {
    let value = arguments.get(at).unwrap_or(&Value::Nil);
    value.as_str().ok_or(EvalError::Kind { what: "a method of evt", got: value.kind() })
}

/// The firewall's part of an event: empty in events that come from logs.
fn appsec_field(name: &str) -> Result<Value, EvalError> {
    match name {
        "HasInBandMatches" | "HasOutBandMatches" => Ok(Value::Bool(false)),
        "Vars" | "HookVars" => Ok(handle(NOTHING, 0, 0)),
        "MatchedRules" => Ok(handle(APPSEC, 0, 0)),
        _ => Err(unknown(name)),
    }
}

fn appsec_method(object: Handle, name: &str) -> Result<Value, EvalError> {
    match name {
        "GetVar" | "GetURI" | "GetHash" | "GetVersion" | "GetName" | "GetMethod" | "GetHighestSeverity" => {
            Ok(Value::str(""))
        }
        "GetField" | "GetNames" | "GetRuleIDs" | "Kinds" | "GetMatchedZones" => Ok(Value::list(Vec::new())),
        _ if name.starts_with("By") => Ok(Value::Object(object)),
        _ => Err(unknown(name)),
    }
}

impl View for Record {
    fn fixed(&self, slot: Slot) -> &str {
        self.text(slot)
    }

    fn key(&self, keys: &Keys, space: Space, key: &str) -> Option<&str> {
        Record::key(self, keys, space, key)
    }

    fn entries<'v>(&'v self, keys: &'v Keys, space: Space) -> Vec<(&'v str, &'v str)> {
        Record::entries(self, keys, space)
    }

    fn unmarshaled(&self) -> Option<&Map> {
        Some(&self.unmarshaled)
    }

    fn kind(&self) -> EventKind {
        self.kind
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn time(&self) -> Timestamp {
        self.time.unwrap_or_else(|| {
            // Without a date of its own the event's time is "now", which in replay is the time of
            // the lines before it.
            self.needs_clock.store(true, Ordering::Relaxed);
            self.now
        })
    }

    fn arrival(&self) -> Timestamp {
        // In replay a line is read when the lines before it are done.
        self.needs_clock.store(true, Ordering::Relaxed);
        self.arrival
    }

    fn flags(&self) -> (bool, bool) {
        (self.whitelisted, self.process)
    }

    fn overflow(&self) -> Option<&Overflow> {
        self.overflow.as_deref()
    }
}

impl View for Snapshot {
    fn fixed(&self, slot: Slot) -> &str {
        self.text(slot)
    }

    fn key(&self, keys: &Keys, space: Space, key: &str) -> Option<&str> {
        Snapshot::key(self, keys, space, key)
    }

    fn entries<'v>(&'v self, keys: &'v Keys, space: Space) -> Vec<(&'v str, &'v str)> {
        Snapshot::entries(self, keys, space)
    }

    fn unmarshaled(&self) -> Option<&Map> {
        Snapshot::unmarshaled(self)
    }

    fn kind(&self) -> EventKind {
        Snapshot::kind(self)
    }

    fn mode(&self) -> Mode {
        Snapshot::mode(self)
    }

    fn time(&self) -> Timestamp {
        Snapshot::time(self)
    }

    fn arrival(&self) -> Timestamp {
        Snapshot::arrival(self)
    }

    fn flags(&self) -> (bool, bool) {
        (false, self.process())
    }

    fn overflow(&self) -> Option<&Overflow> {
        Snapshot::overflow(self)
    }
}

/// A record with the world around it.
pub(crate) struct RecordHost<'e> {
    pub(crate) record: &'e mut Record,
    pub(crate) keys: &'e Keys,
    pub(crate) world: &'e World,
    /// Whether all lines before this one have been handled: what depends on them may be asked.
    pub(crate) ordered: bool,
}

impl RecordHost<'_> {
    pub(crate) fn ip_sources(&self) -> Vec<IpAddr> {
        View::ip_sources(&*self.record, self.keys)
    }

    fn wants_order(&self) -> bool {
        self.record.needs_order.store(true, Ordering::Relaxed);
        self.ordered
    }
}

impl Host for RecordHost<'_> {
    #[inline]
    fn text(&self, slot: Slot) -> &str {
        self.record.text(slot)
    }

    #[inline]
    fn has(&self, slot: Slot) -> bool {
        self.record.has(slot)
    }

    fn variable(&self, index: u16) -> Result<Value, EvalError> {
        match index {
            0 => Ok(handle(EVENT, 0, 0)),
            _ => self.record.contributor.as_deref().map(Value::str).ok_or(EvalError::NilAccess),
        }
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        if objects::owns(object) {
            return overflow_field(self.record.overflow.as_deref(), object, name);
        }
        match object.kind {
            EVENT => View::field(&*self.record, 0, name),
            LINE => self.record.line_field(0, name),
            APPSEC => appsec_field(name),
            _ => Err(unknown(name)),
        }
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        if objects::owns(object) {
            return match self.record.overflow.as_deref() {
                Some(overflow) => objects::entry(overflow, object, key),
                None => Ok(None),
            };
        }
        self.record.map_entry(self.keys, object, key)
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        if objects::owns(object) {
            return match self.record.overflow.as_deref() {
                Some(overflow) => objects::entries(overflow, object),
                None => Ok(Vec::new()),
            };
        }
        self.record.map_entries(self.keys, object)
    }

    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        if objects::owns(object) {
            let overflow = self.record.overflow.as_deref().unwrap_or(&NO_OVERFLOW);
            return objects::method(overflow, object, name, arguments);
        }
        match (object.kind, name) {
            (EVENT, "SetMeta" | "SetParsed") => {
                let space = if name == "SetMeta" { Space::Meta } else { Space::Parsed };
                let (key, text) = (argument(arguments, 0)?, argument(arguments, 1)?);
                self.record.set_key(self.keys, space, key, text);
                Ok(Value::Bool(true))
            }
            (EVENT, _) => self.record.call(self.keys, name, arguments),
            (APPSEC, _) => appsec_method(object, name),
            _ => Err(unknown(name)),
        }
    }

    fn store(&mut self, object: Handle, key: &str, value: Value) -> Result<(), EvalError> {
        match object.kind {
            UNMARSHALED => {
                self.record.unmarshaled.insert(key.into(), value);
                Ok(())
            }
            TEXTS => match value {
                Value::Str(text) => {
                    self.record.set_key(self.keys, space_of(object.b), key, &text);
                    Ok(())
                }
                other => Err(EvalError::Kind { what: "a text map", got: other.kind() }),
            },
            _ => Err(EvalError::Kind { what: "a store", got: "record" }),
        }
    }

    fn services(&self) -> &dyn Services {
        self
    }
}

macro_rules! world_services {
    () => {
        fn hostname(&self) -> Arc<str> {
            self.world.hostname()
        }

        fn file(&self, name: &str) -> Option<Arc<Vec<Arc<str>>>> {
            self.world.file(name)
        }

        fn patterns(&self, name: &str) -> Option<Arc<Vec<regex::Regex>>> {
            self.world.patterns(name)
        }

        fn lookup_file(&self, text: &str, name: &str) -> Option<Arc<str>> {
            self.world.lookup_file(text, name)
        }

        fn file_map(&self, name: &str) -> Option<Arc<Vec<MapRow>>> {
            self.world.file_map(name)
        }

        fn match_known_bot(&self, ip: &str, user_agent: &str, path: &str, name: &str) -> bool {
            self.world.match_known_bot(ip, user_agent, path, name)
        }

        fn lookup_host(&self, name: &str) -> Vec<Arc<str>> {
            self.world.lookup_host(name)
        }

        fn city(&self, address: IpAddr) -> Option<City> {
            self.world.city(address)
        }

        fn asn(&self, address: IpAddr) -> Option<Asn> {
            self.world.asn(address)
        }

        fn range(&self, address: IpAddr) -> Option<Arc<str>> {
            self.world.range(address)
        }

        fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
            self.world.listings(about, tell);
        }

        fn decisions_count(&self, value: &str) -> i64 {
            self.world.decisions_count(value)
        }

        fn decisions_since_count(&self, value: &str, since: i64) -> i64 {
            self.world.decisions_since_count(value, since)
        }

        fn active_decisions_count(&self, value: &str) -> i64 {
            self.world.active_decisions_count(value)
        }

        fn active_decisions_time_left(&self, value: &str) -> i64 {
            self.world.active_decisions_time_left(value)
        }

        fn cti(&self, ip: &str) -> Option<Value> {
            self.world.cti(ip)
        }

        fn http(
            &self,
            method: &str,
            url: &str,
            headers: &[(Arc<str>, Arc<str>)],
            body: &str,
        ) -> Option<HttpAnswer> {
            self.world.http(method, url, headers, body)
        }

        fn log(&self, message: &str) {
            self.world.log(message);
        }
    };
}

impl Services for RecordHost<'_> {
    world_services!();

    fn now(&self) -> Timestamp {
        self.record.needs_clock.store(true, Ordering::Relaxed);
        self.record.now
    }

    fn stash_get(&self, cache: &str, key: &str) -> Option<Arc<str>> {
        if !self.wants_order() {
            return None;
        }
        self.world.lock_stashes().get(cache, key, self.record.clock())
    }

    fn stash_set(&self, cache: &str, key: &str, value: &str) {
        if self.wants_order() {
            self.world.lock_stashes().set(cache, key, value, i64::MAX, self.record.clock());
        }
    }
}

/// What conditions see of a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketView<'b> {
    pub(crate) scenario: &'b crate::detect::Scenario,
    pub(crate) queue: &'b crate::detect::Queue,
    pub(crate) bound: i64,
    pub(crate) group: &'b str,
    pub(crate) tallies: &'b tally::Tallies,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) overflowed: Timestamp,
    pub(crate) count: u64,
    pub(crate) mode: Mode,
}

/// A frozen event, the bucket it was poured into, and the overflow of that bucket.
pub(crate) struct BucketHost<'e> {
    pub(crate) event: Option<&'e Snapshot>,
    pub(crate) bucket: Option<BucketView<'e>>,
    pub(crate) signal: Option<&'e Overflow>,
    pub(crate) keys: &'e Keys,
    pub(crate) world: &'e World,
    pub(crate) now: Timestamp,
    /// The variables of the expression's schema, in order.
    pub(crate) variables: &'static [&'static str],
}

/// Variables of conditions and overflow filters.
pub(crate) const BUCKET_VARIABLES: &[&str] = &["evt", "queue", "leaky", "signal"];
/// Variables of alert context.
pub(crate) const CONTEXT_VARIABLES: &[&str] = &["evt", "req", "match"];

impl<'e> BucketHost<'e> {
    fn view(&self, a: u32) -> Result<&'e Snapshot, EvalError> {
        match a.checked_sub(1) {
            None => self.event.ok_or(EvalError::NilAccess),
            Some(at) => {
                let bucket = self.bucket.ok_or(EvalError::NilAccess)?;
                bucket.queue.get(at as usize).ok_or(EvalError::OutOfRange)
            }
        }
    }

    /// The overflow with this number: 0 the one under way or the current event's, else the queue's, counted
    /// from 1.
    fn overflow(&self, number: u16) -> Result<Option<&'e Overflow>, EvalError> {
        match number {
            0 => Ok(self.signal.or_else(|| self.event?.overflow())),
            number => Ok(self.view(number.into())?.overflow()),
        }
    }

    fn leaky_field(bucket: &BucketView<'_>, name: &str) -> Result<Value, EvalError> {
        Ok(match name {
            "Name" => Value::str(&*bucket.scenario.plan.name),
            "Mode" => Value::Int(bucket.mode as i64),
            "Queue" => handle(QUEUE, 0, 0),
            "Mapkey" => Value::str(crate::detect::mapkey(bucket.scenario, bucket.group)),
            "Uuid" => Value::str(""),
            "First_ts" => Value::Time(bucket.first),
            "Last_ts" => Value::Time(bucket.last),
            "Ovflw_ts" => Value::Time(bucket.overflowed),
            "Total_count" => Value::Int(bucket.count as i64),
            "Duration" => Value::Duration(bucket.scenario.lifetime),
            "SerializedState" => Value::Nil,
            "Factory" => handle(FACTORY, 0, 0),
            _ => return Err(unknown(name)),
        })
    }

    fn spec_field(bucket: &BucketView<'_>, name: &str) -> Result<Value, EvalError> {
        let plan = &bucket.scenario.plan;
        let given = |nanos| if nanos == 0 { String::new() } else { testudo_event::duration::format(nanos) };
        let source = |e: &Option<testudo_rules::plan::Expression>| {
            Value::str(e.as_ref().map_or("", |expression| &*expression.text))
        };
        Ok(match name {
            "Name" => Value::str(&*plan.name),
            "Type" => Value::str(bucket.scenario.type_name()),
            "Description" => Value::str(plan.description.as_str()),
            "Capacity" => Value::Int(plan.capacity),
            "LeakSpeed" => Value::str(given(plan.leak_speed)),
            "Duration" => Value::str(given(plan.duration)),
            "GroupBy" => source(&plan.group_by),
            "Distinct" => source(&plan.distinct),
            "Filter" => Value::str(&*plan.filter.text),
            _ => return Err(unknown(name)),
        })
    }
}

impl Host for BucketHost<'_> {
    fn text(&self, slot: Slot) -> &str {
        self.event.map_or("", |event| event.text(slot))
    }

    fn has(&self, slot: Slot) -> bool {
        self.event.is_some_and(|event| event.get(slot).is_some())
    }

    fn variable(&self, index: u16) -> Result<Value, EvalError> {
        match self.variables.get(index as usize).copied() {
            Some("evt") if self.event.is_some() => Ok(handle(EVENT, 0, 0)),
            Some("queue") => Ok(handle(QUEUE, 0, 0)),
            Some("leaky") => Ok(handle(LEAKY, 0, 0)),
            Some("signal") => Ok(Value::Object(objects::overflow())),
            Some("match") => Ok(Value::Map(Arc::default())),
            Some("req") => Ok(handle(REQUEST, 0, 0)),
            _ => Ok(Value::Nil),
        }
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        if let Some((number, object)) = objects::number_of(object) {
            let value = overflow_field(self.overflow(number)?, object, name)?;
            return Ok(objects::numbered(value, number));
        }
        match object.kind {
            EVENT => View::field(self.view(object.a)?, object.a, name),
            LINE => self.view(object.a)?.line_field(object.a, name),
            APPSEC => appsec_field(name),
            QUEUE => {
                let bucket = self.bucket.as_ref().ok_or(EvalError::NilAccess)?;
                match name {
                    "Queue" => Ok(Value::list(
                        (1..=bucket.queue.len() as u32).map(|a| handle(EVENT, a, 0)).collect(),
                    )),
                    "L" => Ok(Value::Int(bucket.bound)),
                    _ => Err(unknown(name)),
                }
            }
            LEAKY => Self::leaky_field(self.bucket.as_ref().ok_or(EvalError::NilAccess)?, name),
            FACTORY if name == "Spec" => Ok(handle(SPEC, 0, 0)),
            SPEC => Self::spec_field(self.bucket.as_ref().ok_or(EvalError::NilAccess)?, name),
            REQUEST => match name {
                "Host" | "Method" | "Proto" | "RequestURI" | "RemoteAddr" => Ok(Value::str("")),
                "ContentLength" => Ok(Value::Int(0)),
                "URL" => Ok(Value::Nil),
                "Header" => Ok(handle(HEADER, 0, 0)),
                _ => Err(unknown(name)),
            },
            _ => Err(unknown(name)),
        }
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        if let Some((number, object)) = objects::number_of(object) {
            let value = objects::entry(self.overflow(number)?.unwrap_or(&NO_OVERFLOW), object, key)?;
            return Ok(value.map(|value| objects::numbered(value, number)));
        }
        self.view(object.a)?.map_entry(self.keys, object, key)
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        if let Some((number, object)) = objects::number_of(object) {
            let entries = objects::entries(self.overflow(number)?.unwrap_or(&NO_OVERFLOW), object)?;
            return Ok(entries.into_iter().map(|(k, v)| (k, objects::numbered(v, number))).collect());
        }
        self.view(object.a)?.map_entries(self.keys, object)
    }

    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        if let Some((number, object)) = objects::number_of(object) {
            let overflow = self.overflow(number)?.unwrap_or(&NO_OVERFLOW);
            let value = objects::method(overflow, object, name, arguments)?;
            return Ok(objects::numbered(value, number));
        }
        match (object.kind, name) {
            (EVENT, _) => self.view(object.a)?.call(self.keys, name, arguments),
            _ if tally::is_function(object) => {
                let bucket = self.bucket.as_ref().ok_or(EvalError::NilAccess)?;
                let plan = &bucket.scenario.tally;
                if let Some(program) = plan.distinct(name, arguments) {
                    let mut hosts: Vec<BucketHost<'_>> =
                        bucket.queue.iter().map(|event| BucketHost { event: Some(event), ..*self }).collect();
                    return Ok(Value::Int(tally::distinct(program, &mut hosts)? as i64));
                }
                bucket.tallies.answer(plan, name, arguments, |at| handle(EVENT, at as u32 + 1, 0))
            }
            (QUEUE, "GetQueue") => self.field(object, "Queue"),
            (REQUEST, "UserAgent" | "Referer") | (HEADER, "Get") => Ok(Value::str("")),
            (HEADER, "Values") => Ok(Value::list(Vec::new())),
            (APPSEC, _) => appsec_method(object, name),
            _ => Err(unknown(name)),
        }
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        Err(EvalError::Input("the event is frozen here: nothing can be stored in it"))
    }

    fn services(&self) -> &dyn Services {
        self
    }
}

impl Services for BucketHost<'_> {
    world_services!();

    fn now(&self) -> Timestamp {
        self.now
    }

    fn stash_get(&self, cache: &str, key: &str) -> Option<Arc<str>> {
        self.world.lock_stashes().get(cache, key, self.now)
    }
}
