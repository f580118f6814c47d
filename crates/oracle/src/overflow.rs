//! From a bucket that is over to its alert: sources, events, context.

use std::{collections::BTreeMap, fmt::Write as _};

use testudo_event::{Alert, AlertEvent, Contributor, Overflow, Prefix, Source, Timestamp, alert, duration};
use testudo_expr::{Value, functions};
use testudo_rules::{
    plan::{Context, Expression, Scenario, Scope},
    set::Origin,
};

use crate::{
    detect::{Bucket, Queued},
    eval,
    event::{Event, EventKind},
    scene::Scene,
    world::World,
};

/// Longest text of the values of a context key, in bytes.
pub(crate) const CONTEXT_LENGTH: usize = 4000;

/// An alert cannot be made of this bucket.
#[derive(Clone, Debug)]
pub(crate) struct NoAlert;

/// The overflow of a bucket; `None` where no alert can be made of it.
pub(crate) fn build(
    plan: &Scenario,
    bucket: &Bucket,
    origin: &Origin,
    context: &Context,
    world: &World,
) -> Option<Overflow> {
    let mut sources = BTreeMap::new();
    for queued in &bucket.queue {
        for source in sources_of(queued, &plan.scope).ok()? {
            sources.insert(source.value.clone(), source);
        }
    }
    let first = bucket.first.unwrap_or(Timestamp::zero());
    let last = bucket.last.unwrap_or(Timestamp::zero());
    let over = bucket.overflow.unwrap_or(Timestamp::zero());
    let count = i32::try_from(bucket.count).unwrap_or(i32::MAX);
    let events = bucket.queue.iter().map(|Queued { event, .. }| AlertEvent {
        meta: event.meta.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        timestamp: if event.marshaled_time.is_empty() {
            event.time.unwrap_or(Timestamp::zero()).to_rfc3339_nano()
        } else {
            event.marshaled_time.clone()
        },
    });
    let contributors = bucket.contributors.iter().map(|(value, (count, last_seen))| Contributor {
        value: value.clone(),
        count: *count,
        last_seen: *last_seen,
    });
    let alert = Alert {
        kind: "crowdsec".to_owned(),
        scenario: plan.name.to_string(),
        scenario_hash: origin.hash.to_string(),
        scenario_version: origin.version.to_string(),
        message: alert::message(&sources, &plan.name, count, over.nanos_since(first), last),
        capacity: plan.capacity as i32,
        leakspeed: duration::format(plan.leak_speed),
        events_count: count,
        start_at: first,
        stop_at: over,
        remediation: plan.remediation,
        events: events.collect(),
        context: context_of(context, bucket, world),
        contributors: contributors.collect(),
        ..Alert::default()
    };
    let overflow = Overflow::new(bucket.mapkey.clone(), sources, alert)?;
    Some(Overflow { reprocess: plan.reprocess, ..overflow })
}

/// Whom an event is about, as the scope of its scenario sees it.
fn sources_of(queued: &Queued, scope: &Scope) -> Result<Vec<Source>, NoAlert> {
    match queued.event.kind {
        EventKind::Log => source_of_line(queued, scope).map(|source| vec![source]),
        EventKind::Overflow => {
            let mut sources = Vec::new();
            for source in queued.event.overflow.sources.values() {
                sources.extend(source_of_source(queued, source, scope)?);
            }
            Ok(sources)
        }
    }
}

fn source_of_line(Queued { event, scope: said }: &Queued, scope: &Scope) -> Result<Source, NoAlert> {
    if let Scope::Custom(name, _) = scope {
        let value = said.clone().unwrap_or(Ok(String::new()))?;
        return Ok(Source { scope: name.to_string(), value, ..Source::default() });
    }
    let ip = event.meta.get("source_ip").filter(|ip| testudo_event::net::parse_ip_go(ip).is_some());
    let ip = ip.ok_or(NoAlert)?.clone();
    let enriched = |key: &str| event.enriched.get(key).cloned();
    let degrees = |key: &str| event.enriched.get(key).and_then(|text| text.parse().ok()).unwrap_or_default();
    let range = match event.meta.get("SourceRange").map_or("", String::as_str) {
        "" => String::new(),
        text => Prefix::parse(text).ok_or(NoAlert)?.network().to_string(),
    };
    let value = match (scope, said) {
        (Scope::Ip, _) => ip.clone(),
        (_, Some(said)) => said.clone()?,
        (_, None) => range.clone(),
    };
    Ok(Source {
        scope: scope.name().to_owned(),
        value,
        ip,
        range,
        as_number: enriched("ASNumber").or_else(|| enriched("ASNNumber")).unwrap_or_default(),
        as_name: enriched("ASNOrg").unwrap_or_default(),
        cn: enriched("IsoCode").unwrap_or_default(),
        latitude: degrees("Latitude"),
        longitude: degrees("Longitude"),
    })
}

/// A source of an overflow that was poured, turned into the scope of this scenario where it can be.
fn source_of_source(queued: &Queued, source: &Source, scope: &Scope) -> Result<Option<Source>, NoAlert> {
    if source.scope == scope.name() {
        return Ok(Some(source.clone()));
    }
    if !matches!(scope, Scope::Range(_)) || source.scope != alert::SCOPE_IP {
        return Ok(None);
    }
    let value = match &queued.scope {
        Some(said) => said.clone()?,
        None => source.range.clone(),
    };
    let range = Source { scope: scope.name().to_owned(), ip: String::new(), value, ..source.clone() };
    Ok(Some(range).filter(|range| !range.value.is_empty()))
}

/// The context of an alert: for each key the values of all events, each once.
fn context_of(context: &Context, bucket: &Bucket, world: &World) -> Vec<(String, String)> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Queued { event, .. } in &bucket.queue {
        for (key, expressions) in &context.fields {
            let values = found.entry(key).or_default();
            for expression in expressions {
                for text in context_values(expression, event, world) {
                    if !text.is_empty() && !values.contains(&text) {
                        values.push(text);
                    }
                }
            }
        }
    }
    let told = found.into_iter().filter(|(_, values)| !values.is_empty());
    told.map(|(key, values)| (key.to_owned(), truncated(values))).collect()
}

fn context_values(expression: &Expression, event: &Event, world: &World) -> Vec<String> {
    let mut event = event.clone();
    let mut scene = Scene::of(&mut event, world);
    let Ok(outcome) = eval::outcome(&expression.ast, &mut scene) else { return Vec::new() };
    let one = |value: &Value| match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    };
    match &outcome.value {
        value @ (Value::Str(_) | Value::Int(_)) => one(value).into_iter().collect(),
        Value::List(items) if outcome.typed && items.iter().all(|item| one(item).is_some()) => {
            items.iter().filter_map(one).collect()
        }
        Value::Nil | Value::Bool(false) => Vec::new(),
        Value::Float(number) if *number == 0.0 => Vec::new(),
        other => {
            let print = functions::lookup("Sprintf");
            match print.map(|f| (f.call)(&mut scene, &["%v".into(), other.clone()])) {
                Some(Ok(Value::Str(text))) => vec![text.to_string()],
                _ => Vec::new(),
            }
        }
    }
}

/// A JSON list of texts that is not too long: the last values go, then the rest of the last one.
fn truncated(mut values: Vec<String>) -> String {
    loop {
        let text = json(&values);
        if text.len() <= CONTEXT_LENGTH {
            return text;
        }
        if values.len() > 1 {
            values.pop();
        } else if let Some(only) = values.first_mut() {
            // Half of its bytes, but whole characters.
            let bytes = |(at, c): &(usize, char)| at + c.len_utf8() <= only.len() / 2;
            let half: String = only.char_indices().take_while(bytes).map(|(_, c)| c).collect();
            *only = half + "...";
        }
    }
}

/// A list of texts in the JSON of Go.
fn json(values: &[String]) -> String {
    let text: String = serde_json::Value::from(values).to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_cut_from_its_end() {
        assert_eq!(json(&["a<b>&\"c\"".to_owned()]), r#"["a\u003cb\u003e\u0026\"c\""]"#);
        let long = "x".repeat(3000);
        assert_eq!(truncated(vec!["a".to_owned(), long.clone(), long]).len(), 3000 + 8);
        assert_eq!(truncated(vec!["y".repeat(5000)]), format!("[\"{}...\"]", "y".repeat(2500)));
    }
}
