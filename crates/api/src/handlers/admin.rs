//! Administration over HTTP: allowlists that are changed, bouncers and machines. The table of operations lets
//! in machines with a token that ask from an address that is trusted.

use std::collections::HashSet;

use hyper::StatusCode;
use testudo_event::duration;
use testudo_store::{Allowlist, AllowlistItem, Bouncer, Machine, StoreError, Target};
use testudo_wire::admin::{
    AddedItems, ListedBouncer, ListedMachine, MadeBouncer, MadeMachine, NewAllowlist, NewBouncer, NewItems,
    NewMachine,
};
use testudo_wire::{Deleted, Invalid};

use crate::answer::{self, Answer, Answered, Refusal};
use crate::keys::{hash_key, new_key};
use crate::passwords::hash_password;
use crate::protected;
use crate::request::Ask;
use crate::service::Service;

use super::allowlists::time;
use super::read;

/// Items of an allowlist: each request about an address may have to look at all of them.
const ITEMS_MOST: usize = 50_000;

/// A name that the path of the check of many has.
const CHECK: &str = "check";

fn invalid(invalid: Invalid) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, invalid.to_string())
}

/// Names that are taken and names that nobody has are the caller's business.
fn changed(error: StoreError) -> Refusal {
    match error {
        StoreError::Exists { .. } => Refusal::new(StatusCode::CONFLICT, error.to_string()),
        StoreError::Unknown { .. } => Refusal::not_found(error.to_string()),
        error => error.into(),
    }
}

fn no_randomness() -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers")
}

fn deleted(count: u64) -> Answer {
    answer::json(StatusCode::OK, &Deleted::new(count))
}

/// The allowlist that is to be changed, if it may be.
fn changeable(service: &Service, name: &str) -> Result<Allowlist, Refusal> {
    if name == protected::NAME {
        let message = format!("allowlist '{name}' is made by this node and cannot be changed");
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    let unknown = || Refusal::not_found(format!("allowlist '{name}' not found"));
    let list = service.store().allowlist(name).ok_or_else(unknown)?;
    if list.from_console {
        let message = format!("allowlist '{name}' is managed by a console and cannot be changed here");
        return Err(Refusal::new(StatusCode::FORBIDDEN, message));
    }
    Ok(list)
}

/// POST /v1/allowlists.
pub(super) fn make_allowlist(service: &Service, ask: &Ask) -> Answered {
    let new: NewAllowlist = read(ask)?;
    new.check().map_err(invalid)?;
    let name = new.name.unwrap_or_default();
    if [protected::NAME, CHECK].contains(&name.as_str()) {
        return Err(Refusal::bad(format!("an allowlist cannot be named '{name}'")));
    }
    let list = Allowlist {
        name,
        description: new.description,
        created_ms: ask.now_ms,
        updated_ms: ask.now_ms,
        ..Allowlist::default()
    };
    service.store().add_allowlist(&list, ask.now_ms).map_err(changed)?;
    Ok(answer::empty(StatusCode::CREATED))
}

/// DELETE /v1/allowlists/{name}.
pub(super) fn delete_allowlist(service: &Service, ask: &Ask) -> Answered {
    let list = changeable(service, &ask.parameter)?;
    service.store().delete_allowlist(&list.name).map_err(changed)?;
    Ok(deleted(1))
}

/// POST /v1/allowlists/{name}/items: all of them, or none. Decisions about what is allowed now end.
pub(super) fn add_items(service: &Service, ask: &Ask) -> Answered {
    let list = changeable(service, &ask.parameter)?;
    let new: NewItems = read(ask)?;
    if list.items.len() + new.items.len() > ITEMS_MOST {
        return Err(Refusal::bad(format!("an allowlist has at most {ITEMS_MOST} items")));
    }
    let in_force = |item: &&AllowlistItem| item.expires_ms.is_none_or(|end| end >= ask.now_ms);
    let mut there: HashSet<String> =
        list.items.iter().filter(in_force).map(|item| item.value.clone()).collect();
    let mut told = AddedItems::default();
    let mut items: Vec<AllowlistItem> = Vec::with_capacity(new.items.len());
    for (at, item) in new.items.into_iter().enumerate() {
        let bad = |problem: String| Refusal::bad(format!("items.{at}: {problem}"));
        let value = item.value.ok_or_else(|| bad("value in body is required".to_owned()))?;
        Target::parse(&value, true).map_err(|error| bad(error.to_string()))?;
        let expires_ms = match item.expiration.as_str() {
            "" => None,
            text => {
                let nanos = duration::parse_with_days(text).map_err(|error| bad(error.to_string()))?;
                Some(ask.now_ms.saturating_add(nanos / 1_000_000))
            }
        };
        if !there.insert(value.clone()) {
            told.known.push(value);
            continue;
        }
        told.added.push(value.clone());
        items.push(AllowlistItem {
            value,
            description: item.description,
            expires_ms,
            created_ms: ask.now_ms,
        });
    }
    let add = |list: &mut Allowlist| list.items.extend(items);
    service.store().update_allowlist(&list.name, ask.now_ms, add).map_err(changed)?;
    Ok(answer::json(StatusCode::CREATED, &told))
}

/// DELETE /v1/allowlists/{name}/items?value=…: by their exact texts.
pub(super) fn delete_items(service: &Service, ask: &Ask) -> Answered {
    let list = changeable(service, &ask.parameter)?;
    if let Some((name, _)) = ask.query.unknown(&["value"]) {
        return Err(Refusal::bad(format!("'{name}' doesn't exist: invalid filter")));
    }
    let values: Vec<&str> = ask.query.all("value").collect();
    if values.is_empty() {
        return Err(Refusal::bad("name the items to delete: value=…"));
    }
    let mut count = 0;
    let remove = |list: &mut Allowlist| {
        let before = list.items.len();
        list.items.retain(|item| !values.contains(&item.value.as_str()));
        count = before - list.items.len();
    };
    service.store().update_allowlist(&list.name, ask.now_ms, remove).map_err(changed)?;
    Ok(deleted(count as u64))
}

fn maybe(millis: Option<i64>) -> String {
    millis.map(time).unwrap_or_default()
}

/// GET /v1/testudo/bouncers.
pub(super) fn list_bouncers(service: &Service) -> Answer {
    let listed = service.store().bouncers().list().into_iter().map(|row| ListedBouncer {
        name: row.name,
        auth_type: row.auth_type,
        auto_created: row.auto_created,
        ip_address: row.ip,
        kind: row.kind,
        version: row.version,
        created_at: time(row.created_ms),
        last_pull: maybe(row.last_pull_ms),
    });
    answer::json(StatusCode::OK, &listed.collect::<Vec<_>>())
}

/// POST /v1/testudo/bouncers.
pub(super) fn make_bouncer(service: &Service, ask: &Ask) -> Answered {
    let new: NewBouncer = read(ask)?;
    new.check().map_err(invalid)?;
    let key = match new.key {
        key if key.is_empty() => new_key().ok_or_else(no_randomness)?,
        key => key,
    };
    let made = service.store().bouncers().insert(Bouncer {
        name: new.name.unwrap_or_default(),
        key_hash: hash_key(&key),
        auth_type: "api-key".to_owned(),
        created_ms: ask.now_ms,
        updated_ms: ask.now_ms,
        ..Bouncer::default()
    });
    let name = made.map_err(changed)?.name;
    tracing::info!(bouncer = name, "a bouncer was made");
    Ok(answer::json(StatusCode::CREATED, &MadeBouncer { name, key }))
}

/// DELETE /v1/testudo/bouncers/{name}: with the rows of its key at other addresses.
pub(super) fn delete_bouncer(service: &Service, ask: &Ask) -> Answered {
    let bouncers = service.store().bouncers();
    let unknown = || Refusal::not_found(format!("bouncer '{}' not found", ask.parameter));
    let row = bouncers.get(&ask.parameter).ok_or_else(unknown)?;
    let of_key = bouncers.find(|other| other.auth_type == "api-key" && other.key_hash == row.key_hash);
    let parent = of_key.iter().find(|other| !other.auto_created);
    if let Some(parent) = parent.filter(|_| row.auto_created && row.auth_type == "api-key") {
        let message =
            format!("'{}' shares its key: delete parent bouncer '{}' instead", row.name, parent.name);
        return Err(Refusal::new(StatusCode::CONFLICT, message));
    }
    bouncers.delete(&row.name).map_err(changed)?;
    let mut count = 1;
    for child in of_key.iter().filter(|other| other.auto_created && other.name != row.name) {
        bouncers.delete(&child.name).map_err(changed)?;
        count += 1;
    }
    Ok(deleted(count))
}

/// GET /v1/testudo/machines.
pub(super) fn list_machines(service: &Service) -> Answer {
    let listed = service.store().machines().list().into_iter().map(|row| ListedMachine {
        name: row.name,
        auth_type: row.auth_type,
        validated: row.validated,
        ip_address: row.ip,
        version: row.version,
        created_at: time(row.created_ms),
        last_push: maybe(row.last_push_ms),
        last_heartbeat: maybe(row.last_heartbeat_ms),
    });
    answer::json(StatusCode::OK, &listed.collect::<Vec<_>>())
}

/// POST /v1/testudo/machines.
pub(super) fn make_machine(service: &Service, ask: &Ask) -> Answered {
    let new: NewMachine = read(ask)?;
    new.check().map_err(invalid)?;
    let password = match new.password {
        password if password.is_empty() => new_key().ok_or_else(no_randomness)?,
        password => password,
    };
    let hash = hash_password(&password).map_err(|error| Refusal::bad(error.to_string()))?;
    let made = service.store().machines().insert(Machine {
        name: new.name.unwrap_or_default(),
        password: hash,
        auth_type: "password".to_owned(),
        validated: true,
        created_ms: ask.now_ms,
        updated_ms: ask.now_ms,
        ..Machine::default()
    });
    let name = made.map_err(changed)?.name;
    tracing::info!(machine = name, "a machine was made");
    Ok(answer::json(StatusCode::CREATED, &MadeMachine { name, password }))
}

/// POST /v1/testudo/machines/{name}/validate.
pub(super) fn validate_machine(service: &Service, ask: &Ask) -> Answered {
    let validate = |machine: &mut Machine| {
        machine.validated = true;
        machine.updated_ms = ask.now_ms;
    };
    service.store().machines().update(&ask.parameter, validate).map_err(changed)?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// DELETE /v1/testudo/machines/{name}.
pub(super) fn delete_machine(service: &Service, ask: &Ask) -> Answered {
    service.store().machines().delete(&ask.parameter).map_err(changed)?;
    Ok(deleted(1))
}
