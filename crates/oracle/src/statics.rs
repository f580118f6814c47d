//! Assignments, and the enrichers that some of them call.

use testudo_event::{Layout, Timestamp, YearClock, net, parse_date, text};
use testudo_expr::{
    Services, Value,
    functions::{self, Reputation},
};
use testudo_rules::plan::{Static, StaticValue, Target, TextField};

use crate::{eval, event::Event, parse::Dropped, scene::Scene, world::World};

/// What enrichers work with.
pub(crate) struct Enricher<'w> {
    pub(crate) world: &'w World,
    /// The year of dates that have none.
    pub(crate) years: YearClock,
}

impl Enricher<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        self.world.now()
    }
}

/// Applies a list of statics in order.
pub(crate) fn apply(statics: &[Static], event: &mut Event, enricher: &Enricher<'_>) -> Result<(), Dropped> {
    for entry in statics {
        let Some(value) = value(&entry.value, event, enricher)? else { continue };
        let is_date = matches!(&entry.target, Target::Method(name) if name == "ParseDate");
        if value.is_empty() && !is_date {
            continue;
        }
        assign(&entry.target, value, event, enricher);
    }
    Ok(())
}

/// The text to assign; `None`: this static is skipped.
fn value(of: &StaticValue, event: &mut Event, enricher: &Enricher<'_>) -> Result<Option<String>, Dropped> {
    let expression = match of {
        StaticValue::Text(text) => return Ok(Some(text.to_string())),
        StaticValue::Expression(expression) => expression,
    };
    let Ok(outcome) = eval::outcome(&expression.ast, &mut Scene::of(event, enricher.world)) else {
        return Ok(None);
    };
    match outcome.value {
        Value::Str(text) => Ok(Some(text.to_string())),
        Value::Int(number) => Ok(Some(number.to_string())),
        Value::Float(number) => Ok(Some(text::go_f(number))),
        Value::Nil => Ok(None),
        Value::List(_) | Value::Map(_) | Value::Object(_) if !outcome.typed => Ok(None),
        _ => Err(Dropped),
    }
}

fn assign(target: &Target, value: String, event: &mut Event, enricher: &Enricher<'_>) {
    match target {
        Target::Method(name) => {
            for (key, value) in enrich(name, &value, event, enricher) {
                event.enriched.insert(key.to_owned(), value);
            }
        }
        Target::Parsed(key) => drop(event.parsed.insert(key.to_string(), value)),
        Target::Meta(key) => drop(event.meta.insert(key.to_string(), value)),
        Target::Enriched(key) => drop(event.enriched.insert(key.to_string(), value)),
        Target::Unmarshaled(key) => drop(event.unmarshaled.insert(key.clone(), value.into())),
        Target::Label(key) => drop(event.line.labels.insert(key.to_string(), value)),
        Target::Field(field) => {
            if let Some(place) = text_field(event, *field) {
                *place = value;
            }
        }
        Target::Nowhere(_) => {}
    }
}

/// The text that a field names; `None` where the way to it leads through nil.
fn text_field(event: &mut Event, field: TextField) -> Option<&mut String> {
    // What comes from a line has no overflow that could be written.
    let has_alert = event.has_alert();
    let overflow = has_alert.then_some(&mut event.overflow);
    Some(match field {
        TextField::StrTime => &mut event.str_time,
        TextField::StrTimeFormat => &mut event.str_time_format,
        TextField::MarshaledTime => &mut event.marshaled_time,
        TextField::WhitelistReason => &mut event.whitelist_reason,
        TextField::Stage => &mut event.stage,
        TextField::LineRaw => &mut event.line.raw,
        TextField::LineSrc => &mut event.line.src,
        TextField::LineModule => &mut event.line.module,
        TextField::OverflowMapkey => &mut overflow?.mapkey,
        TextField::OverflowBucketId => &mut event.bucket_id,
        TextField::SourceValue => &mut overflow?.alert.source.value,
        TextField::SourceScope => &mut overflow?.alert.source.scope,
        TextField::SourceIp => &mut overflow?.alert.source.ip,
        TextField::SourceRange => &mut overflow?.alert.source.range,
        TextField::SourceAsName => &mut overflow?.alert.source.as_name,
        TextField::SourceAsNumber => &mut overflow?.alert.source.as_number,
        TextField::SourceCn => &mut overflow?.alert.source.cn,
        TextField::AlertScenario => &mut overflow?.alert.scenario,
        TextField::AlertMessage => &mut overflow?.alert.message,
    })
}

/// Runs an enricher and gives what it has to add to `Enriched`.
fn enrich(
    method: &str,
    input: &str,
    event: &mut Event,
    enricher: &Enricher<'_>,
) -> Vec<(&'static str, String)> {
    let world = enricher.world;
    match method {
        "ParseDate" => vec![("MarshaledTime", date(input, event, enricher).to_rfc3339_nano())],
        "GeoIpCity" => match net::parse_ip_go(input).and_then(|address| world.city(address)) {
            None => Vec::new(),
            Some(city) => vec![
                ("IsoCode", city.iso_code),
                ("IsInEU", city.in_eu.to_string()),
                ("Latitude", text::go_f(city.latitude)),
                ("Longitude", text::go_f(city.longitude)),
            ],
        },
        "GeoIpASN" => match net::parse_ip_go(input).and_then(|address| world.asn(address)) {
            None => Vec::new(),
            Some(asn) => vec![
                ("ASNNumber", asn.number.to_string()),
                ("ASNumber", asn.number.to_string()),
                ("ASNOrg", asn.organisation),
            ],
        },
        "IpToRange" => match net::parse_ip_go(input).and_then(|address| world.range(address)) {
            None => Vec::new(),
            Some(range) => vec![("SourceRange", range.to_string())],
        },
        "UnmarshalJSON" => {
            let line = Value::str(event.line.raw.as_str());
            let decode = functions::lookup("fromJSON");
            let decoded = decode.map(|f| (f.call)(&mut Scene::of(event, world), &[line]));
            if let Some(Ok(Value::Map(map))) = decoded {
                event.unmarshaled.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            Vec::new()
        }
        "Reputation" => Reputation::of(world, input, &[])
            .map_or_else(Vec::new, |reputation| reputation.texts().into_iter().collect()),
        // There are no names without a network: `reverse_dns` answers as where the name is unknown.
        _ => Vec::new(),
    }
}

/// Reads a date; now, where it cannot be read. A date that was read is the event's time in replay.
fn date(input: &str, event: &mut Event, enricher: &Enricher<'_>) -> Timestamp {
    let layout = (!event.str_time_format.is_empty()).then(|| Layout::new(&event.str_time_format));
    match parse_date(input, layout.as_ref(), &enricher.years) {
        None => enricher.now().utc(),
        Some(time) => {
            if event.replay {
                event.time = Some(time);
            }
            event.dated = Some(time);
            time
        }
    }
}
