//! Allowlists: what is on them, and whether an address is.

use hyper::StatusCode;
use testudo_store::{Allowlist as Stored, Target};
use testudo_wire::allowlist::{
    Allowlist, AllowlistItem, BulkCheck, BulkCheckAnswer, BulkCheckResult, CheckAnswer, NEVER, reason,
};

use crate::answer::{self, Answer, Answered, Refusal};
use crate::instant;
use crate::protected;
use crate::request::Ask;
use crate::service::Service;

use super::read;

/// RFC 3339 with milliseconds.
pub(super) fn time(millis: i64) -> String {
    let seconds = instant(millis).to_rfc3339();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), millis.rem_euclid(1000))
}

fn shown(list: Stored, ask: &Ask) -> Allowlist {
    let with_content = ask.query.get("with_content") == Some("true");
    let is_in_force = |ends: Option<i64>| ends.is_none_or(|end| end >= ask.now_ms);
    let items = list.items.into_iter().filter(|item| with_content && is_in_force(item.expires_ms));
    Allowlist {
        allowlist_id: list.console_id,
        console_managed: list.from_console,
        created_at: time(list.created_ms),
        description: list.description,
        items: items
            .map(|item| AllowlistItem {
                created_at: time(item.created_ms),
                description: item.description,
                expiration: item.expires_ms.map_or_else(|| NEVER.to_owned(), time),
                value: item.value,
            })
            .collect(),
        name: list.name,
        updated_at: time(list.updated_ms),
    }
}

/// GET /v1/allowlists.
pub(super) fn list(service: &Service, ask: &Ask) -> Answer {
    let lists = service.store().allowlists().into_iter().chain(service.protected_list());
    let lists: Vec<Allowlist> = lists.map(|list| shown(list, ask)).collect();
    answer::json(StatusCode::OK, &lists)
}

/// GET /v1/allowlists/{name}.
pub(super) fn one(service: &Service, name: &str, ask: &Ask) -> Answered {
    let list = match name {
        protected::NAME => service.protected_list(),
        name => service.store().allowlist(name),
    };
    let list = list.ok_or_else(|| Refusal::not_found(format!("allowlist '{name}' not found")))?;
    Ok(answer::json(StatusCode::OK, &shown(list, ask)))
}

/// The items that allow an address or range, with their lists.
fn allowed(service: &Service, text: &str, now_ms: i64) -> Result<Vec<String>, Refusal> {
    let target = Target::parse(text, true).map_err(|error| Refusal::bad(error.to_string()))?;
    let found = service.allowed_by(target, now_ms);
    Ok(found.iter().map(|found| reason(&found.item.value, &found.list, &found.item.description)).collect())
}

/// GET, HEAD /v1/allowlists/check/{address or range}.
pub(super) fn check_one(service: &Service, ask: &Ask) -> Answered {
    let reasons = allowed(service, &ask.parameter, ask.now_ms)?;
    let allowlisted = !reasons.is_empty();
    if ask.is_head() {
        return Ok(answer::head(if allowlisted { StatusCode::OK } else { StatusCode::NO_CONTENT }));
    }
    Ok(answer::json(StatusCode::OK, &CheckAnswer { allowlisted, reason: reasons.join(", ") }))
}

/// POST /v1/allowlists/check.
pub(super) fn check_many(service: &Service, ask: &Ask) -> Answered {
    let check: BulkCheck = read(ask)?;
    if check.targets.is_empty() {
        return Err(Refusal::bad("targets list cannot be empty"));
    }
    let mut results = Vec::new();
    for target in check.targets {
        let allowlists = allowed(service, &target, ask.now_ms)?;
        if !allowlists.is_empty() {
            results.push(BulkCheckResult { allowlists, target });
        }
    }
    Ok(answer::json(StatusCode::OK, &BulkCheckAnswer { results }))
}
