//! Alerts: what is shown of them, and who may delete them.

use hyper::StatusCode;
use testudo_event::{alert::normalise_scope, duration};
use testudo_store::{AlertFilter, AlertPage, StoredAlert, Target};
use testudo_wire::decision::{round_to_seconds, seconds_text};
use testudo_wire::{Alert, AlertDecision, Deleted, answer::NOTHING, body};

use crate::answer::{self, Answered, Refusal};
use crate::query::{Query, parse_bool};
use crate::request::Ask;
use crate::service::Service;

use super::decisions::no_empty_value;

/// How many alerts are shown to those who do not say.
const DEFAULT_LIMIT: u64 = 100;

/// The parameters with which alerts are asked for.
pub(crate) const PARAMETERS: &[&str] = &[
    "scope",
    "value",
    "scenario",
    "ip",
    "range",
    "contains",
    "since",
    "until",
    "created_before",
    "decision_type",
    "origin",
    "include_capi",
    "has_active_decision",
    "simulated",
    "kind",
    "limit",
    "sort",
    "with_decisions",
    "uuid",
];

fn truth(query: &Query, name: &str) -> Result<Option<bool>, Refusal> {
    let Some(text) = query.filled(name) else { return Ok(None) };
    let refusal = || {
        Refusal::bad(format!(
            "'{text}' is not a boolean: strconv.ParseBool: parsing \"{text}\": invalid syntax: unable to parse type"
        ))
    };
    parse_bool(text).map(Some).ok_or_else(refusal)
}

/// The moment so long ago as a parameter says.
fn ago(query: &Query, name: &str, now_ms: i64) -> Result<Option<i64>, Refusal> {
    let Some(text) = query.filled(name) else { return Ok(None) };
    let nanos = duration::parse_with_days(text).map_err(|error| {
        Refusal::bad(format!("while parsing duration: {error}: unable to parse duration"))
    })?;
    Ok(Some(now_ms.saturating_sub(nanos / 1_000_000)))
}

fn filter(query: &Query, now_ms: i64) -> Result<AlertFilter, Refusal> {
    if let Some((name, value)) = query.unknown(PARAMETERS) {
        let message = format!("filter parameter '{name}' is unknown (={value}): invalid filter");
        return Err(Refusal::bad(message));
    }
    let contains = truth(query, "contains")?.unwrap_or(true);
    let target = query
        .filled("ip")
        .or_else(|| query.filled("range"))
        .map(|text| Target::parse(text, contains).map_err(|error| Refusal::bad(error.to_string())))
        .transpose()?;
    let text = |name: &str| query.filled(name).map(str::to_owned);
    Ok(AlertFilter {
        ids: None,
        uuid: text("uuid"),
        scope: query.filled("scope").map(|scope| normalise_scope(scope).to_owned()),
        value: text("value"),
        scenario: text("scenario"),
        kind: text("kind"),
        target,
        started_from_ms: ago(query, "since", now_ms)?,
        started_to_ms: ago(query, "until", now_ms)?,
        created_to_ms: ago(query, "created_before", now_ms)?,
        decision_type: text("decision_type"),
        origin: text("origin"),
        without_lists: query.get("include_capi") == Some("false") && query.filled("origin").is_none(),
        without_simulated: query.get("simulated") == Some("false"),
        has_active_decision: truth(query, "has_active_decision")?,
    })
}

fn page(query: &Query) -> Result<AlertPage, Refusal> {
    let limit = match query.filled("limit") {
        None => DEFAULT_LIMIT,
        Some(text) => {
            let number: i64 = text
                .parse()
                .map_err(|_| Refusal::bad(format!("bad limit in parameters: [{text}]: unable to query")))?;
            u64::try_from(number).ok().filter(|&number| number > 0).unwrap_or(u64::MAX)
        }
    };
    Ok(AlertPage {
        limit,
        ascending: query.get("sort") == Some("ASC"),
        with_decisions: truth(query, "with_decisions")?.unwrap_or(true),
    })
}

fn shown(stored: StoredAlert, now_ms: i64) -> Alert {
    let decisions = stored.decisions.into_iter().map(|decision| AlertDecision {
        duration: seconds_text(round_to_seconds(decision.end_ms.saturating_sub(now_ms))),
        id: decision.id,
        origin: decision.origin,
        scenario: decision.scenario,
        scope: decision.scope,
        simulated: decision.simulated,
        kind: decision.kind,
        value: decision.value,
    });
    Alert::shown(&stored.alert, decisions.collect())
}

/// GET, HEAD /v1/alerts.
pub(super) fn list(service: &Service, ask: &Ask) -> Answered {
    let filter = filter(&ask.query, ask.now_ms)?;
    let page = page(&ask.query)?;
    let mut out = Vec::new();
    let mut failure = None;
    service.store().alerts(&filter, page, ask.now_ms, |stored| {
        out.push(if out.is_empty() { b'[' } else { b',' });
        failure = failure.take().or(body::append(&mut out, &shown(stored, ask.now_ms)).err());
    })?;
    if let Some(error) = failure {
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
    }
    if ask.is_head() {
        return Ok(answer::head(StatusCode::OK));
    }
    if out.is_empty() {
        return Ok(answer::json_text(StatusCode::OK, NOTHING));
    }
    out.push(b']');
    Ok(answer::json_text(StatusCode::OK, out))
}

fn id(ask: &Ask) -> Result<i64, Refusal> {
    ask.parameter.parse().map_err(|_| Refusal::bad("alert_id must be valid integer"))
}

/// GET, HEAD /v1/alerts/{id}.
pub(super) fn one(service: &Service, ask: &Ask) -> Answered {
    let found = service.store().alert(id(ask)?, ask.now_ms)?;
    let stored = found.ok_or_else(|| Refusal::not_found("object not found"))?;
    if ask.is_head() {
        return Ok(answer::head(StatusCode::OK));
    }
    Ok(answer::json(StatusCode::OK, &shown(stored, ask.now_ms)))
}

/// DELETE /v1/alerts: all that a filter asks for; their decisions end.
pub(super) fn delete_many(service: &Service, ask: &Ask) -> Answered {
    if ask.query.is_empty() && !ask.body.trim_ascii().is_empty() {
        // A client that puts its conditions there would lose everything.
        return Err(Refusal::bad("filters have to be parameters of the query, not a body: invalid filter"));
    }
    no_empty_value(&ask.query)?;
    let filter = filter(&ask.query, ask.now_ms)?;
    let ids = service.store().alert_ids(&filter, ask.now_ms)?;
    let count = service.store().delete_alerts(&ids, ask.now_ms)?;
    Ok(answer::json(StatusCode::OK, &Deleted::new(count)))
}

/// DELETE /v1/alerts/{id}.
pub(super) fn delete_one(service: &Service, ask: &Ask) -> Answered {
    match service.store().delete_alerts(&[id(ask)?], ask.now_ms)? {
        0 => Err(Refusal::not_found("ent: alert not found")),
        count => Ok(answer::json(StatusCode::OK, &Deleted::new(count))),
    }
}
