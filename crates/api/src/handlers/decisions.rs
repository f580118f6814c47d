//! Decisions: what bouncers ask, and what machines lift.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderName;
use testudo_store::{Filter, Page, Since, StreamOptions, Target};
use testudo_wire::{Deleted, answer::NOTHING, decision::parse_uuid, snapshot::MEDIA_TYPE};

use crate::answer::{self, Answered, Refusal};
use crate::counts::Counted;
use crate::etag::Tag;
use crate::events::Hub;
use crate::pages::{ListPages, Pages as _, SnapshotPages, StreamPages};
use crate::query::{Query, parse_bool};
use crate::rendered::Question;
use crate::request::Ask;
use crate::service::Service;

/// The types that every client understands. Others, which old clients take for a ban, are sent to those
/// that ask for them.
const KNOWN_TYPES: [&str; 2] = ["ban", "captcha"];

/// In the list of types: all there are.
const ANY_TYPE: &str = "*";

/// A type that lifts what others impose. Clients of the stream would take it for a ban.
const ALLOW: &str = "allow";

/// A bouncer that asks about single addresses is noted as seen this often, in milliseconds.
const SEEN_EVERY_MS: i64 = 60_000;

/// Where a client of events got to.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The parameters with which decisions are deleted.
pub(crate) const DELETE_PARAMETERS: &[&str] =
    &["ip", "range", "contains", "value", "type", "scenario", "origin", "scopes", "scope", "uuid"];

/// The parameters with which decisions are asked for; others are passed over.
pub(crate) const LIST_PARAMETERS: &[&str] = &[
    "ip",
    "range",
    "contains",
    "value",
    "scope",
    "scopes",
    "type",
    "types",
    "origins",
    "scenarios_containing",
    "scenarios_not_containing",
    "simulated",
    "limit",
    "offset",
    "id_gt",
];

/// Those with which changes are asked for.
pub(crate) const STREAM_PARAMETERS: &[&str] = &[
    "startup",
    "ip",
    "range",
    "contains",
    "value",
    "scope",
    "scopes",
    "type",
    "types",
    "origins",
    "scenarios_containing",
    "scenarios_not_containing",
    "simulated",
    "dedup",
];

/// Those with which changes are listened to.
pub(crate) const EVENT_PARAMETERS: &[&str] = &[
    "since",
    "ip",
    "range",
    "contains",
    "value",
    "scope",
    "scopes",
    "type",
    "types",
    "origins",
    "scenarios_containing",
    "scenarios_not_containing",
    "simulated",
    "dedup",
];

/// The address or range of a query.
pub(super) fn target(query: &Query) -> Result<Option<Target>, Refusal> {
    let contains = match query.filled("contains") {
        None => true,
        Some(text) => parse_bool(text).ok_or_else(|| {
            Refusal::bad(format!(
                "invalid contains value: strconv.ParseBool: parsing \"{text}\": invalid syntax: invalid filter"
            ))
        })?,
    };
    let Some(text) = query.filled("ip").or_else(|| query.filled("range")) else { return Ok(None) };
    let target = Target::parse(text, contains).map_err(|error| {
        Refusal::bad(format!("unable to convert '{text}' to int: {error}: invalid ip address / range"))
    })?;
    Ok(Some(target))
}

/// The conditions of a bouncer. Unknown parameters are passed over, empty ones count as absent.
fn filter(query: &Query) -> Result<Filter, Refusal> {
    Ok(Filter {
        scopes: query.scopes("scopes"),
        scope: query.scopes("scope"),
        value: query.filled("value").map(str::to_owned),
        types: types(query),
        types_not: Vec::new(),
        origins: query.list("origins"),
        scenarios: None,
        scenarios_containing: query.list("scenarios_containing"),
        scenarios_not_containing: query.list("scenarios_not_containing"),
        target: target(query)?,
        uuids: None,
        simulated: query.filled("simulated").is_some_and(|text| text != "false"),
    })
}

/// The types that are asked for; `None` for all.
fn types(query: &Query) -> Option<Vec<String>> {
    let several = query.list("types").map(|types| Some(types).filter(|types| !types.iter().any(is_any)));
    match (several, query.filled("type")) {
        (Some(Some(types)), Some(one)) => Some(types.into_iter().filter(|kind| kind == one).collect()),
        (_, Some(one)) => Some(vec![one.to_owned()]),
        (Some(types), None) => types,
        (None, None) => Some(KNOWN_TYPES.map(str::to_owned).to_vec()),
    }
}

fn is_any(kind: &String) -> bool {
    kind == ANY_TYPE
}

fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, Refusal> {
    let Some(text) = query.filled(name) else { return Ok(None) };
    let refusal =
        |_| Refusal::bad(format!("invalid {name} value: strconv.Atoi: parsing \"{text}\": invalid syntax"));
    text.parse().map(Some).map_err(refusal)
}

/// GET, HEAD /v1/decisions: what is in force.
pub(super) fn list(service: &Arc<Service>, bouncer: &str, ask: &Ask) -> Answered {
    let filter = filter(&ask.query)?;
    let page = Page {
        id_gt: number(&ask.query, "id_gt")?.unwrap_or(i64::MIN),
        offset: number(&ask.query, "offset")?.unwrap_or(0),
        limit: number(&ask.query, "limit")?.unwrap_or(usize::MAX),
    };
    if ask.is_head() {
        return Ok(answer::head(StatusCode::OK));
    }
    let bouncers = service.store().bouncers();
    let seen = bouncers.get(bouncer).and_then(|row| row.last_pull_ms);
    if seen.is_none_or(|at| ask.now_ms.saturating_sub(at) >= SEEN_EVERY_MS) {
        bouncers.touch(bouncer, |row| row.last_pull_ms = Some(ask.now_ms));
    }
    // Lets time pass; the pages are about the moment in which they are made.
    let tag = Tag::new(service, &service.store().index(ask.now_ms), &(&filter, page));
    if tag.is_held(ask) {
        // Only answers with something in them have a tag.
        service.count(Counted::Decisions { bouncer: bouncer.to_owned(), found: true });
        return Ok(tag.unchanged());
    }
    let mut pages = ListPages::new(Arc::clone(service), filter, page);
    let first = pages.next_page();
    service.count(Counted::Decisions { bouncer: bouncer.to_owned(), found: first.is_some() });
    Ok(match first {
        None => answer::json_text(StatusCode::OK, NOTHING),
        Some(whole) if pages.is_over() => tag.put(answer::json_text(StatusCode::OK, whole)),
        first => tag.put(answer::json_pages((first, pages), true)),
    })
}

/// What a client of the stream asks for.
fn changes(query: &Query) -> Result<(Filter, StreamOptions), Refusal> {
    let mut filter = filter(query)?;
    let default_scopes = || vec!["Ip".to_owned(), "Range".to_owned()];
    filter.scopes = Some(filter.scopes.unwrap_or_else(default_scopes));
    filter.types_not = vec![ALLOW.to_owned()];
    let dedup = query.get("dedup") != Some("false");
    Ok((filter, StreamOptions { dedup, ..StreamOptions::default() }))
}

/// GET, HEAD /v1/decisions/stream: what has changed since the last poll.
pub(super) fn stream(service: &Arc<Service>, bouncer: &str, ask: &Ask) -> Answered {
    let (filter, options) = changes(&ask.query)?;
    if ask.is_head() {
        return Ok(answer::head(StatusCode::OK));
    }
    let bouncers = service.store().bouncers();
    let position = bouncers.get(bouncer).and_then(|row| row.stream);
    let is_start = ask.query.get("startup") == Some("true");
    let since = match position {
        Some(cursor) if !is_start => Since::Delta(cursor),
        position => Since::Start(position),
    };
    let index = service.store().index(ask.now_ms);
    let tag = is_start.then(|| Tag::new(service, &index, &(&filter, options)));
    if let Some(tag) = tag.as_ref().filter(|tag| tag.is_held(ask)) {
        let here = index.now();
        bouncers.touch(bouncer, |row| {
            row.stream = Some(here);
            row.last_pull_ms = Some(ask.now_ms);
        });
        return Ok(tag.unchanged());
    }
    let question = matches!(since, Since::Start(_)).then(|| Question::new(filter.clone(), options, &index));
    let opened = index.stream(filter, options, since);
    drop(index);
    let shared = question.and_then(|question| service.renderings().join(question));
    let pages = StreamPages::new(Arc::clone(service), opened, bouncer.to_owned(), ask.now_ms).sharing(shared);
    let answer = answer::json_pages(pages, false);
    Ok(match tag {
        Some(tag) => tag.put(answer),
        None => answer,
    })
}

/// GET /v1/decisions/events: what changes, as it happens.
pub(super) fn events(service: &Arc<Service>, bouncer: &str, ask: &Ask) -> Answered {
    let (filter, options) = changes(&ask.query)?;
    let last = ask.header(&LAST_EVENT_ID);
    let since = Some(last).filter(|last| !last.is_empty()).or_else(|| ask.query.filled("since"));
    service.store().bouncers().touch(bouncer, |row| row.last_pull_ms = Some(ask.now_ms));
    let listening = Hub::listen(service, bouncer, filter, options, since)?;
    Ok(answer::events(listening))
}

/// GET /v1/decisions/snapshot: everything in force, in the compact form.
pub(super) fn snapshot(service: &Arc<Service>, bouncer: &str, ask: &Ask) -> Answered {
    let (filter, options) = changes(&ask.query)?;
    service.store().bouncers().touch(bouncer, |row| row.last_pull_ms = Some(ask.now_ms));
    let index = service.store().index(ask.now_ms);
    let tag = Tag::new(service, &index, &(MEDIA_TYPE, &filter, options));
    if tag.is_held(ask) {
        return Ok(tag.unchanged());
    }
    // What ended before is of no interest here.
    let opened = index.stream(filter, options, Since::Start(Some(index.now())));
    drop(index);
    Ok(tag.put(answer::pages(SnapshotPages::new(Arc::clone(service), opened), MEDIA_TYPE)))
}

/// DELETE /v1/decisions: ends all that a filter asks for.
pub(super) fn delete_many(service: &Service, ask: &Ask) -> Answered {
    let query = &ask.query;
    if let Some((name, _)) = query.unknown(DELETE_PARAMETERS) {
        return Err(Refusal::bad(format!("'{name}' doesn't exist: invalid filter")));
    }
    no_empty_value(query)?;
    let one = |name: &str| query.get(name).map(|text| vec![text.to_owned()]);
    let uuids: Vec<u128> = query.all("uuid").filter_map(parse_uuid).collect();
    let filter = Filter {
        scopes: one("scopes"),
        scope: one("scope"),
        value: query.get("value").map(str::to_owned),
        types: one("type"),
        origins: one("origin"),
        scenarios: one("scenario"),
        target: target(query)?,
        uuids: query.get("uuid").map(|_| uuids),
        simulated: true,
        ..Filter::default()
    };
    let count = service.store().end_matching(&filter, ask.now_ms)?;
    Ok(answer::json(StatusCode::OK, &Deleted::new(count)))
}

/// A parameter that was to narrow what is deleted, and says nothing, must not widen it to everything.
pub(super) fn no_empty_value(query: &Query) -> Result<(), Refusal> {
    match query.empty_value() {
        Some(name) => Err(Refusal::bad(format!("'{name}' has no value: invalid filter"))),
        None => Ok(()),
    }
}

/// DELETE /v1/decisions/{id}: ends one.
pub(super) fn delete_one(service: &Service, ask: &Ask) -> Answered {
    let id: i64 = ask.parameter.parse().map_err(|_| Refusal::bad("decision_id must be valid integer"))?;
    if service.store().index(ask.now_ms).get(id).is_none() {
        let message = format!("decision with id '{id}' doesn't exist: unable to delete");
        return Err(Refusal::not_found(message));
    }
    service.store().end_decisions(&[id], ask.now_ms)?;
    Ok(answer::json(StatusCode::OK, &Deleted::new(1)))
}
