//! POST /v1/alerts: what agents and tools report.
//!
//! Agents send a batch again and again until it is taken. So what an agent reports is never refused as a
//! whole: what cannot be kept is left out, logged, and written to the file of dead letters. People wait for
//! the verdict about alerts that bring their decisions along: those are refused with the reason.

use hyper::StatusCode;
use hyper::header::USER_AGENT;
use testudo_event::Alert;
use testudo_wire::{Invalid, PostedAlert};

use crate::answer::{self, Answered, Refusal};
use crate::instant;
use crate::push::{PushError, Pushed, Verdict};
use crate::request::Ask;
use crate::service::{OUR_AGENTS, Service};

use super::read;

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Store(error) => error.into(),
            PushError::Random => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

/// Takes a batch of alerts.
pub(super) fn post(service: &Service, machine: &str, ask: &Ask) -> Answered {
    let posted: Vec<PostedAlert> = read(ask)?;
    let is_ours = ask.header(&USER_AGENT).starts_with(OUR_AGENTS);
    let mut batch = Vec::with_capacity(posted.len());
    let mut incomplete = Vec::new();
    for (at, posted) in posted.iter().enumerate() {
        if let Err(invalid) = Invalid::check(posted.problems(at)) {
            if !posted.decisions.is_empty() {
                return Err(Refusal::bad(invalid.to_string()));
            }
            tracing::error!(machine, %invalid, "an alert is incomplete and was left out");
            incomplete.push((posted, invalid));
            continue;
        }
        match service.judge(record(posted, at, is_ours, ask.now_ms)?, ask.now_ms)? {
            Verdict::Take(new) => batch.push(*new),
            Verdict::Allowed => {}
            Verdict::Protected(reason) => return Err(Refusal::bad(format!("{at}.decisions: {reason}"))),
        }
    }
    let taken = service.take(machine, batch, ask.now_ms)?;
    for (posted, invalid) in incomplete {
        service.dead_letters().add(machine, &invalid.to_string(), posted, ask.now_ms);
    }
    let ids = taken.iter().filter_map(|pushed| match pushed {
        Pushed::Stored { id, .. } => Some(id.to_string()),
        Pushed::Known { .. } | Pushed::Allowed | Pushed::Dropped(_) => None,
    });
    Ok(answer::json(StatusCode::CREATED, &ids.collect::<Vec<_>>()))
}

/// The record of a posted alert with its decisions. Identities are taken from senders of ours only.
fn record(posted: &PostedAlert, at: usize, is_ours: bool, now_ms: i64) -> Result<Alert, Refusal> {
    let now = instant(now_ms);
    let mut alert = posted.record(now);
    if !is_ours {
        alert.uuid.clear();
    }
    // The end of a decision is counted from here.
    if alert.stop_at.nanos_since(now) > 0 {
        alert.stop_at = now;
    }
    for (place, decision) in posted.decisions.iter().enumerate() {
        let record = decision.record(alert.stop_at, alert.simulated).map_err(|error| {
            let text = decision.duration.as_deref().unwrap_or_default();
            Refusal::bad(format!(
                "{at}.decisions.{place}: decision duration '{text}': {error}: unable to parse duration"
            ))
        })?;
        alert.decisions.push(record);
    }
    Ok(alert)
}
