//! `bouncers`: in the database.

use serde::Serialize;
use testudo_api::{hash_key, new_key};
use testudo_config::Output;
use testudo_store::{Bouncer, Store, StoreError};

use crate::args::{AddBouncer, BouncersVerb, DeleteClients, PruneBouncers};
use crate::context::{Context, nanos};
use crate::failure::{Done, Failure};
use crate::output::{Table, instant, maybe_seconds, seconds};

use super::{listed, may_prune, os_text};

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &BouncersVerb) -> Done {
    match verb {
        BouncersVerb::List => {
            let bouncers = cx.clients_store()?.bouncers().list();
            list(cx, &bouncers)
        }
        BouncersVerb::Add(args) => add(cx, args),
        BouncersVerb::Delete(args) => delete(cx, args),
        BouncersVerb::Prune(args) => prune(cx, args),
        BouncersVerb::Inspect(args) => inspect(cx, &args.name),
    }
}

/// A bouncer as JSON has it.
#[derive(Serialize)]
struct Shown<'b> {
    created_at: String,
    updated_at: String,
    name: &'b str,
    revoked: bool,
    ip_address: &'b str,
    #[serde(rename = "type")]
    kind: &'b str,
    version: &'b str,
    last_pull: Option<String>,
    auth_type: &'b str,
    os: String,
    featureflags: Vec<&'b str>,
    auto_created: bool,
}

impl<'b> From<&'b Bouncer> for Shown<'b> {
    fn from(bouncer: &'b Bouncer) -> Self {
        let time = |millis| instant(millis).to_rfc3339_nano();
        Shown {
            created_at: time(bouncer.created_ms),
            updated_at: time(bouncer.updated_ms),
            name: &bouncer.name,
            // Nothing revokes a bouncer but its deletion.
            revoked: false,
            ip_address: &bouncer.ip,
            kind: &bouncer.kind,
            version: &bouncer.version,
            last_pull: bouncer.last_pull_ms.map(time),
            auth_type: &bouncer.auth_type,
            os: os_text(&bouncer.os),
            featureflags: listed(&bouncer.feature_flags),
            auto_created: bouncer.auto_created,
        }
    }
}

fn table(bouncers: &[Bouncer]) -> Table {
    let mut table =
        Table::new(["Name", "IP Address", "Valid", "Last API pull", "Type", "Version", "Auth Type"]);
    for bouncer in bouncers {
        table.row([
            bouncer.name.clone(),
            bouncer.ip.clone(),
            "✔️".to_owned(),
            maybe_seconds(bouncer.last_pull_ms),
            bouncer.kind.clone(),
            bouncer.version.clone(),
            bouncer.auth_type.clone(),
        ]);
    }
    table
}

fn list(cx: &mut Context<'_, '_>, bouncers: &[Bouncer]) -> Done {
    match cx.output() {
        Output::Json => cx.json(&bouncers.iter().map(Shown::from).collect::<Vec<_>>(), 2),
        Output::Raw => {
            cx.csv(["name", "ip", "revoked", "last_pull", "type", "version", "auth_type"])?;
            bouncers.iter().try_for_each(|bouncer| {
                let last_pull = maybe_seconds(bouncer.last_pull_ms);
                cx.csv([
                    bouncer.name.as_str(),
                    bouncer.ip.as_str(),
                    "validated",
                    last_pull.as_str(),
                    bouncer.kind.as_str(),
                    bouncer.version.as_str(),
                    bouncer.auth_type.as_str(),
                ])
            })
        }
        Output::Human => cx.table(&table(bouncers)),
    }
}

fn add(cx: &mut Context<'_, '_>, args: &AddBouncer) -> Done {
    let store = cx.clients_store()?;
    let key = if args.key.is_empty() {
        new_key()
            .ok_or_else(|| Failure::text("unable to generate api key: the system gives no random numbers"))?
    } else {
        args.key.clone()
    };
    let now_ms = cx.io.now_ms;
    let bouncer = Bouncer {
        name: args.name.clone(),
        key_hash: hash_key(&key),
        auth_type: "api-key".to_owned(),
        created_ms: now_ms,
        updated_ms: now_ms,
        ..Bouncer::default()
    };
    store.bouncers().insert(bouncer).map_err(|error| match error {
        StoreError::Exists { .. } => {
            Failure::text(format!("unable to create bouncer: bouncer {} already exists", args.name))
        }
        error => error.into(),
    })?;
    match cx.output() {
        Output::Json => cx.json(&key, 1),
        Output::Raw => cx.line(key),
        Output::Human => {
            cx.line(format_args!("API key for '{}':\n\n   {key}\n", args.name))?;
            cx.line("Please keep this key since you will not be able to retrieve it!")
        }
    }
}

/// The name of the bouncer whose key an auto-created one shows.
fn parent(store: &Store, child: &Bouncer) -> Option<String> {
    let mut found = store.bouncers().find(|one| !one.auto_created && one.key_hash == child.key_hash);
    found.pop().map(|parent| parent.name)
}

/// Deletes a bouncer and those that came to be from its key; returns how many.
fn delete_one(store: &Store, name: &str) -> Result<usize, Failure> {
    let missing = || Failure::text(format!("unable to delete bouncer: '{name}' does not exist"));
    let bouncer = store.bouncers().get(name).ok_or_else(missing)?;
    if bouncer.auto_created
        && bouncer.auth_type != "tls"
        && let Some(parent) = parent(store, &bouncer)
    {
        return Err(Failure::text(format!(
            "bouncer '{name}' is auto-created and cannot be deleted, delete parent bouncer '{parent}' instead"
        )));
    }
    let is_child = |one: &Bouncer| {
        one.auto_created && one.auth_type != "tls" && one.key_hash == bouncer.key_hash && one.name != name
    };
    let children = store.bouncers().find(is_child);
    store.bouncers().delete(name)?;
    for child in &children {
        store.bouncers().delete(&child.name)?;
    }
    Ok(1 + children.len())
}

fn delete(cx: &mut Context<'_, '_>, args: &DeleteClients) -> Done {
    let store = cx.clients_store()?;
    for name in &args.names {
        if args.ignore_missing && store.bouncers().get(name).is_none() {
            continue;
        }
        delete_one(&store, name)?;
        cx.note(format_args!("bouncer '{name}' deleted successfully"));
    }
    Ok(())
}

fn prune(cx: &mut Context<'_, '_>, args: &PruneBouncers) -> Done {
    let store = cx.clients_store()?;
    let millis = nanos(&args.duration)? / 1_000_000;
    let before = cx.io.now_ms.saturating_sub(millis);
    let old = store.bouncers().find(|one| one.last_pull_ms.unwrap_or(one.created_ms) < before);
    if old.is_empty() {
        return cx.line("No bouncers to prune.");
    }
    cx.table(&table(&old))?;
    if !may_prune(cx, "bouncers", args.force)? {
        return Ok(());
    }
    for bouncer in &old {
        store.bouncers().delete(&bouncer.name)?;
    }
    cx.line(format_args!("Successfully deleted {} bouncers", old.len()))
}

fn inspect(cx: &mut Context<'_, '_>, name: &str) -> Done {
    let store = cx.clients_store()?;
    let bouncer = store.bouncers().get(name);
    let bouncer = bouncer
        .ok_or_else(|| Failure::text(format!("unable to read bouncer data '{name}': it does not exist")))?;
    match cx.output() {
        Output::Json => cx.json(&Shown::from(&bouncer), 2),
        Output::Raw => Err(Failure::text("output format 'raw' not supported for this command")),
        Output::Human => {
            let mut table = Table::new(["Bouncer", bouncer.name.as_str()]);
            for (key, value) in [
                ("Created At", seconds(bouncer.created_ms)),
                ("Last Update", seconds(bouncer.updated_ms)),
                ("Revoked?", "false".to_owned()),
                ("IP Address", bouncer.ip.clone()),
                ("Type", bouncer.kind.clone()),
                ("Version", bouncer.version.clone()),
                ("Last Pull", maybe_seconds(bouncer.last_pull_ms)),
                ("Auth type", bouncer.auth_type.clone()),
                ("OS", os_text(&bouncer.os)),
                ("Auto Created", bouncer.auto_created.to_string()),
            ] {
                table.row([key.to_owned(), value]);
            }
            for flag in listed(&bouncer.feature_flags) {
                table.row(["Feature Flags", flag]);
            }
            cx.table(&table)
        }
    }
}
