//! What an overflow tells: whom it is about, which events it saw, and context for people.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};
use testudo_event::{Alert, AlertEvent, Overflow, Prefix, Source, Timestamp, alert::message, duration, net};
use testudo_expr::{
    Value, functions,
    program::{Answer, Program},
};
use testudo_rules::plan::Scope;

use super::{
    Scenario,
    bucket::{Bucket, Scoped},
};
use crate::{
    host::{BucketHost, CONTEXT_VARIABLES},
    keys::{self, Keys, Space},
    parse::{WellKnown, is_untyped},
    record::EventKind,
    snapshot::Snapshot,
    world::World,
};

/// Bytes that the JSON text of one context field may have.
const CONTEXT_VALUE_BYTES: usize = 4_000;

/// A field of alert context.
#[derive(Debug)]
pub(crate) struct ContextField {
    pub(crate) name: String,
    pub(crate) expressions: Vec<Program>,
}

/// What building an alert needs besides the bucket.
pub(crate) struct Alerts<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) world: &'a World,
    pub(crate) known: &'a WellKnown,
    pub(crate) context: &'a [ContextField],
    pub(crate) now: Timestamp,
}

/// The key of a bucket as the ecosystem writes it.
pub(crate) fn mapkey(scenario: &Scenario, group: &str) -> String {
    let mut hash = Sha1::new();
    for part in
        [scenario.plan.filter.text.as_bytes(), b"\0", group.as_bytes(), b"\0", scenario.plan.name.as_bytes()]
    {
        hash.update(part);
    }
    let digits = hash.finalize().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(HEX[digit as usize])).collect()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Alerts<'_> {
    /// Whether building an alert changes nothing and asks for nothing that could change.
    pub(crate) fn are_pure(&self) -> bool {
        self.context.iter().flat_map(|field| &field.expressions).all(is_pure)
    }

    /// The overflow of a bucket that ran over at `stop`; `None` where it is about nobody.
    pub(crate) fn build(
        &self,
        scenario: &Scenario,
        bucket: &Bucket,
        stop: Timestamp,
        mapkey: impl FnOnce() -> String,
    ) -> Option<Overflow> {
        let mut sources: BTreeMap<String, Source> = BTreeMap::new();
        let mut before: Option<(&Snapshot, Scoped<&str>)> = None;
        for (event, scope) in bucket.events() {
            // Nearly all events of a bucket say the same of their source.
            let same = before
                .is_some_and(|(other, said)| said == scope && self.is_same_source(scenario, other, event));
            if !same {
                self.sources_of(scenario, event, scope, &mut sources)?;
            }
            before = Some((event, scope));
        }
        let count = i32::try_from(bucket.count).unwrap_or(i32::MAX);
        let lasted = stop.nanos_since(bucket.first);
        let alert = Alert {
            kind: "crowdsec".to_owned(),
            message: message(&sources, &scenario.plan.name, count, lasted, bucket.last),
            scenario: scenario.plan.name.to_string(),
            scenario_hash: scenario.origin.hash.to_string(),
            scenario_version: scenario.origin.version.to_string(),
            capacity: i32::try_from(scenario.plan.capacity).unwrap_or(i32::MAX),
            leakspeed: duration::format(scenario.plan.leak_speed),
            events_count: count,
            start_at: bucket.first,
            stop_at: stop,
            remediation: scenario.plan.remediation,
            events: bucket.queue.iter().map(|event| self.event(event)).collect(),
            context: self.context(bucket),
            contributors: bucket.contributors(),
            ..Alert::default()
        };
        let mut overflow = Overflow::new(mapkey(), sources, alert)?;
        overflow.reprocess = scenario.plan.reprocess;
        Some(overflow)
    }

    fn event(&self, event: &Snapshot) -> AlertEvent {
        let marshaled = event.text(keys::MARSHALED_TIME);
        AlertEvent {
            meta: event.entries(self.keys, Space::Meta).as_slice().into(),
            timestamp: if marshaled.is_empty() {
                event.time().to_rfc3339_nano()
            } else {
                marshaled.to_owned()
            },
        }
    }

    /// Adds the sources of one event; `None`: the alert cannot be built.
    fn sources_of(
        &self,
        scenario: &Scenario,
        event: &Snapshot,
        scope: Scoped<&str>,
        sources: &mut BTreeMap<String, Source>,
    ) -> Option<()> {
        let name = scenario.plan.scope.name();
        // Whether it failed matters only where it is asked for.
        let said = || match scope {
            Scoped::None => Ok(None),
            Scoped::Text(text) => Ok(Some(text.to_owned())),
            Scoped::Failed => Err(()),
        };
        if event.kind() == EventKind::Overflow {
            let Some(overflow) = event.overflow() else { return Some(()) };
            for source in overflow.sources.values() {
                if let Some(source) = converted(source, name, said).ok()? {
                    sources.insert(source.value.clone(), source);
                }
            }
            return Some(());
        }
        let source = match &scenario.plan.scope {
            Scope::Custom(..) => Source {
                scope: name.to_owned(),
                value: said().ok()?.unwrap_or_default(),
                ..Source::default()
            },
            kind => {
                let mut source = self.address_source(event)?;
                name.clone_into(&mut source.scope);
                source.value = match kind {
                    Scope::Range(_) => said().ok()?.unwrap_or_else(|| source.range.clone()),
                    _ => source.ip.clone(),
                };
                source
            }
        };
        sources.insert(source.value.clone(), source);
        Some(())
    }

    /// Whether two events of which the scope expression says the same have the same source, as far as an alert
    /// tells it.
    fn is_same_source(&self, scenario: &Scenario, one: &Snapshot, other: &Snapshot) -> bool {
        let is_log = |event: &Snapshot| event.kind() != EventKind::Overflow;
        if !is_log(one) || !is_log(other) {
            return false;
        }
        matches!(scenario.plan.scope, Scope::Custom(..))
            || self.known.of_sources().iter().all(|slot| one.get(*slot) == other.get(*slot))
    }

    fn address_source(&self, event: &Snapshot) -> Option<Source> {
        let known = self.known;
        // Stricter than where buckets are counted: nothing can be decided about an address with a zone.
        net::parse_ip_go(event.text(known.source_ip))?;
        let text = |slot| event.text(slot).to_owned();
        let range = match event.text(known.source_range) {
            "" => String::new(),
            range => Prefix::parse(range)?.network().to_string(),
        };
        Some(Source {
            ip: text(known.source_ip),
            as_number: event.get(known.as_number).unwrap_or_else(|| event.text(known.asn_number)).to_owned(),
            as_name: text(known.asn_org),
            cn: text(known.iso_code),
            latitude: event.text(known.latitude).parse().unwrap_or(0.0),
            longitude: event.text(known.longitude).parse().unwrap_or(0.0),
            range,
            ..Source::default()
        })
    }

    /// Context: for each field the distinct values over all events, as a JSON list.
    fn context(&self, bucket: &Bucket) -> Vec<(String, String)> {
        let mut context = Vec::new();
        for field in self.context {
            let mut values = Values::default();
            let pure = field.expressions.iter().all(is_pure);
            for event in bucket.queue.iter() {
                let mut host = BucketHost {
                    event: Some(event),
                    bucket: None,
                    signal: None,
                    keys: self.keys,
                    world: self.world,
                    now: self.now,
                    variables: CONTEXT_VARIABLES,
                };
                for expression in &field.expressions {
                    match expression.answer(&mut host) {
                        Ok(Answer::Text(text)) => values.add(&text),
                        Ok(Answer::Value(value)) => {
                            texts(value, expression).iter().for_each(|text| values.add(text));
                        }
                        Err(_) => {}
                    }
                }
                if pure && values.are_full() {
                    break;
                }
            }
            if !values.texts.is_empty() {
                context.push((field.name.clone(), bounded_json(values.texts)));
            }
        }
        context
    }
}

/// Whether an expression changes nothing and asks for nothing that could change.
fn is_pure(expression: &Program) -> bool {
    let effects = expression.node().effects;
    !effects.impure && !effects.mutates
}

/// Distinct texts, no more of them than their JSON text may have bytes.
#[derive(Default)]
struct Values {
    texts: Vec<String>,
    /// The least that the JSON text will have: quotes and a comma each.
    bytes: usize,
}

impl Values {
    fn add(&mut self, text: &str) {
        if !text.is_empty() && !self.are_full() && !self.texts.iter().any(|known| known == text) {
            self.bytes += text.len() + 3;
            self.texts.push(text.to_owned());
        }
    }

    /// Whether what comes next would only be cut off again.
    fn are_full(&self) -> bool {
        self.bytes > CONTEXT_VALUE_BYTES
    }
}

/// The texts that a context value stands for: those of a list of texts or numbers are its own, a list of
/// anything is one text.
fn texts(value: Value, expression: &Program) -> Vec<String> {
    match value {
        Value::Str(text) => vec![text.to_string()],
        Value::List(items) if !is_untyped(&Value::List(items.clone()), expression) => items
            .iter()
            .filter_map(|item| match item {
                Value::Str(text) => Some(text.to_string()),
                Value::Int(number) => Some(number.to_string()),
                _ => None,
            })
            .collect(),
        Value::Nil | Value::Bool(false) => Vec::new(),
        Value::Float(0.0) => Vec::new(),
        other => vec![functions::display(&other)],
    }
}

/// JSON text of the values, shortened until it fits: values go from the end, then the last one is halved.
fn bounded_json(mut values: Vec<String>) -> String {
    loop {
        let json = functions::encode_json(&Value::strings(values.iter().map(String::as_str)));
        if json.len() <= CONTEXT_VALUE_BYTES {
            return json;
        }
        if values.len() > 1 {
            values.pop();
        } else if let Some(only) = values.first_mut() {
            let mut half = only.len() / 2;
            while !only.is_char_boundary(half) {
                half -= 1;
            }
            only.truncate(half);
            only.push_str("...");
        }
    }
}

/// A source of an overflow for a scenario of another scope: only an address can become its range, for which
/// the scope expression is asked.
fn converted(
    source: &Source,
    scope: &str,
    said: impl Fn() -> Result<Option<String>, ()>,
) -> Result<Option<Source>, ()> {
    if source.scope == scope {
        return Ok(Some(source.clone()));
    }
    if source.scope != "Ip" || scope != "Range" {
        return Ok(None);
    }
    let value = said()?.unwrap_or_else(|| source.range.clone());
    if value.is_empty() {
        return Ok(None);
    }
    Ok(Some(Source { scope: scope.to_owned(), value, ip: String::new(), ..source.clone() }))
}
