//! POST /v1/alerts: what agents and tools report, and what is decided about it.
//!
//! Agents send a batch again and again until it is taken. So what an agent reports is never refused as a
//! whole: what cannot be kept is left out and logged. People wait for the verdict about alerts that bring
//! their decisions along: those are refused with the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hyper::StatusCode;
use testudo_event::{Alert, Decision, Overflow, alert::normalise_scope};
use testudo_store::{Added, NewAlert, NewDecision, Target};
use testudo_wire::{Invalid, PostedAlert, allowlist::reason, decision::uuid_text};

use crate::answer::{self, Answered, Refusal};
use crate::request::Ask;
use crate::service::Service;

use super::{instant, read};

/// Decisions of an alert that are logged one by one; of more, only their number is.
const LOGGED_DECISIONS: usize = 100;

/// The origin of imported lists.
const IMPORT: &str = "cscli-import";

/// Takes a batch of alerts.
pub(super) fn post(service: &Service, machine: &str, ask: &Ask) -> Answered {
    let posted: Vec<PostedAlert> = read(ask)?;
    let number = service.store().machines().get(machine).map(|machine| machine.id);
    let mut batch = Vec::with_capacity(posted.len());
    for (at, alert) in posted.iter().enumerate() {
        if let Err(invalid) = Invalid::check(alert.problems(at)) {
            if !alert.decisions.is_empty() {
                return Err(Refusal::bad(invalid.to_string()));
            }
            tracing::error!(machine, %invalid, "an alert is incomplete and was left out");
            continue;
        }
        let Some(mut alert) = decided(service, alert, at, ask)? else { continue };
        let decisions = std::mem::take(&mut alert.decisions);
        let mut identities = Identities::new(decisions.len() + 1)?;
        let uuid = uuid_text(identities.draw());
        let decisions =
            decisions.into_iter().map(|decision| NewDecision { uuid: identities.draw(), decision }).collect();
        batch.push(NewAlert { uuid, machine: number, alert, decisions });
    }
    let added = service.store().add_alerts(&batch, ask.now_ms)?;
    service.store().machines().touch(machine, |machine| machine.last_push_ms = Some(ask.now_ms));
    for (new, added) in batch.iter().zip(&added) {
        log(machine, new, added);
    }
    let ids: Vec<String> = added.iter().filter_map(|added| added.id).map(|id| id.to_string()).collect();
    Ok(answer::json(StatusCode::CREATED, &ids))
}

/// The record of an alert with its decisions. `None` when an allowlist takes it out.
fn decided(service: &Service, posted: &PostedAlert, at: usize, ask: &Ask) -> Result<Option<Alert>, Refusal> {
    let now = instant(ask.now_ms);
    let mut alert = posted.record(now);
    // A clock that is ahead must not prolong a ban.
    for time in [&mut alert.start_at, &mut alert.stop_at] {
        if time.nanos_since(now) > 0 {
            *time = now;
        }
    }
    let scope = normalise_scope(&alert.source.scope).to_owned();
    alert.source.scope = scope;
    if posted.decisions.is_empty() {
        if is_allowed(service, &alert, ask.now_ms) {
            return Ok(None);
        }
        alert.decisions = by_profiles(service, &alert);
        return Ok(Some(alert));
    }
    for (place, decision) in posted.decisions.iter().enumerate() {
        let mut record = decision.record(alert.stop_at, alert.simulated).map_err(|error| {
            let text = decision.duration.as_deref().unwrap_or_default();
            Refusal::bad(format!(
                "{at}.decisions.{place}: decision duration '{text}': {error}: unable to parse duration"
            ))
        })?;
        let scope = normalise_scope(&record.scope).to_owned();
        record.scope = scope;
        alert.decisions.push(record);
    }
    Ok(Some(alert))
}

fn is_allowed(service: &Service, alert: &Alert, now_ms: i64) -> bool {
    let source = &alert.source;
    if !matches!(source.scope.as_str(), "Ip" | "Range") {
        return false;
    }
    let Ok(target) = Target::parse(&source.value, true) else { return false };
    let allowed = service.store().allowed_by(target, now_ms);
    if allowed.is_empty() {
        return false;
    }
    let reasons: Vec<String> = allowed
        .iter()
        .map(|allowed| reason(&allowed.item.value, &allowed.list, &allowed.item.description))
        .collect();
    tracing::info!("alert source {} is allowlisted by {}, skipping", source.value, reasons.join(", "));
    true
}

/// What the profiles decide. One that fails costs the alert its decisions, not its place in the store.
fn by_profiles(service: &Service, alert: &Alert) -> Vec<Decision> {
    let source = alert.source.clone();
    let sources = BTreeMap::from([(source.value.clone(), source)]);
    let Some(overflow) = Overflow::new(String::new(), sources, alert.clone()) else { return Vec::new() };
    match service.profiles().decide(&overflow) {
        Ok(decided) => decided.into_iter().flat_map(|decided| decided.alert.decisions).collect(),
        Err(error) => {
            tracing::error!(scenario = alert.scenario, %error, "a profile failed");
            Vec::new()
        }
    }
}

/// Random identities, version 4; all of a batch are drawn at once.
struct Identities(Vec<u8>);

impl Identities {
    fn new(count: usize) -> Result<Identities, Refusal> {
        let mut bytes = vec![0; count * size_of::<u128>()];
        let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers");
        getrandom::fill(&mut bytes).map_err(failed)?;
        Ok(Identities(bytes))
    }

    /// 0, which is no identity, when more are taken than were drawn.
    fn draw(&mut self) -> u128 {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        let Some(at) = self.0.len().checked_sub(size_of::<u128>()) else { return 0 };
        let bytes = self.0.split_off(at).try_into().unwrap_or_default();
        u128::from_be_bytes(bytes) & !(VERSION | VARIANT) | 4 << 76 | 0b10 << 62
    }
}

/// Tells, in lines that people search for, what was decided.
fn log(machine: &str, new: &NewAlert, added: &Added) {
    let NewAlert { alert, decisions, .. } = new;
    for bad in &added.dropped {
        tracing::error!(machine, scenario = alert.scenario, %bad, "a decision was dropped");
    }
    let source = &alert.source;
    let what = if alert.scenario.is_empty() { &alert.message } else { &alert.scenario };
    let mut who = format!("{} {}", source.scope.to_lowercase(), source.value);
    if !source.cn.is_empty() {
        // Writing to a text cannot fail.
        let _ = write!(who, " ({}/{})", source.cn, source.as_number);
    }
    let count = decisions.len();
    let is_import = decisions.first().is_some_and(|new| new.decision.origin == IMPORT);
    if count == 0 || is_import || count > LOGGED_DECISIONS {
        tracing::info!("({machine}) alert : {what} by {who} with {count} decisions");
        return;
    }
    for (at, NewDecision { decision, .. }) in decisions.iter().enumerate() {
        let Decision { origin, duration, kind, scope, value, .. } = decision;
        let several = if count > 1 { format!(" for {}/{count} decisions", at + 1) } else { String::new() };
        let simulated = if decision.simulated { "(simulated alert) " } else { "" };
        tracing::info!(
            "({machine}/{origin}) {what} by {who}{several} : {simulated}{duration} {kind} on {scope} {value}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_of_version_four() {
        let Ok(mut identities) = Identities::new(2) else { panic!("no random numbers") };
        let (one, other) = (uuid_text(identities.draw()), uuid_text(identities.draw()));
        assert_ne!(one, other);
        for text in [one, other] {
            assert_eq!(text.as_bytes()[14], b'4', "{text}");
            assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        }
        assert_eq!(identities.draw(), 0);
    }
}
