//! `machines`: in the database.

use std::collections::BTreeMap;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use testudo_api::hash_password;
use testudo_config::{Credentials, Output, Secret};
use testudo_store::{Machine, Store, StoreError};

use crate::args::{AddMachine, DeleteClients, InspectMachine, MachinesVerb, PruneMachines};
use crate::context::{Context, nanos};
use crate::failure::{Done, Failure};
use crate::output::{Table, ago, instant, maybe_seconds, seconds};

use super::{listed, may_prune, os_text};

/// A machine without a heartbeat for so long is late.
pub(crate) const LATE_MS: i64 = 120_000;

/// The longest password, in bytes: hashes of the ecosystem take no more.
const PASSWORD_MOST: usize = 72;

/// Characters of passwords that are made here, and how many. With 62 letters and digits, 64 of them are out of
/// reach of guessing.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const PASSWORD_LETTERS: usize = 64;

/// Characters behind the identity of the system in the name of a machine.
const NAME_LETTERS: usize = 16;

/// Where a system keeps its identity.
const MACHINE_ID: &str = "/etc/machine-id";

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &MachinesVerb) -> Done {
    match verb {
        MachinesVerb::List => {
            let machines = cx.clients_store()?.machines().list();
            list(cx, &machines)
        }
        MachinesVerb::Add(args) => add(cx, args),
        MachinesVerb::Delete(args) => delete(cx, args),
        MachinesVerb::Validate(args) => validate(cx, &args.name),
        MachinesVerb::Prune(args) => prune(cx, args),
        MachinesVerb::Inspect(args) => inspect(cx, args),
    }
}

/// Letters and digits by chance.
pub(crate) fn random_text(length: usize) -> Result<String, Failure> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).map_err(|_| Failure::text("the system gives no random numbers"))?;
        // Bytes beyond the last whole round would make some letters likelier than others.
        let even = bytes.iter().filter(|byte| **byte < 248).map(|byte| LETTERS[usize::from(*byte) % 62]);
        text.extend(even.map(char::from).take(length - text.len()));
    }
    Ok(text)
}

/// A password by chance.
pub(crate) fn new_password() -> Result<String, Failure> {
    random_text(PASSWORD_LETTERS)
}

/// A name for this machine.
pub(crate) fn new_name() -> Result<String, Failure> {
    let mut name = std::fs::read_to_string(MACHINE_ID).unwrap_or_default().trim().to_owned();
    name.push_str(&random_text(NAME_LETTERS)?);
    Ok(name)
}

/// A machine as JSON has it.
#[derive(Serialize)]
struct Shown<'m> {
    created_at: String,
    updated_at: String,
    last_push: Option<String>,
    last_heartbeat: Option<String>,
    #[serde(rename = "machineId")]
    name: &'m str,
    #[serde(rename = "ipAddress")]
    ip: &'m str,
    version: &'m str,
    #[serde(rename = "isValidated")]
    validated: bool,
    auth_type: &'m str,
    os: String,
    featureflags: Vec<&'m str>,
    datasources: BTreeMap<String, i64>,
}

impl<'m> From<&'m Machine> for Shown<'m> {
    fn from(machine: &'m Machine) -> Self {
        let time = |millis| instant(millis).to_rfc3339_nano();
        Shown {
            created_at: time(machine.created_ms),
            updated_at: time(machine.updated_ms),
            last_push: machine.last_push_ms.map(time),
            last_heartbeat: machine.last_heartbeat_ms.map(time),
            name: &machine.name,
            ip: &machine.ip,
            version: &machine.version,
            validated: machine.validated,
            auth_type: &machine.auth_type,
            os: os_text(&machine.os),
            featureflags: listed(&machine.feature_flags),
            datasources: serde_json::from_str(&machine.datasources).unwrap_or_default(),
        }
    }
}

/// How long ago the last heartbeat was, with a sign when that is too long.
fn heartbeat(machine: &Machine, now_ms: i64) -> String {
    match machine.last_heartbeat_ms {
        None => "⚠️ -".to_owned(),
        Some(then) if now_ms - then > LATE_MS => format!("⚠️ {}", ago(then, now_ms)),
        Some(then) => ago(then, now_ms),
    }
}

fn table(machines: &[Machine], now_ms: i64) -> Table {
    let mut table = Table::new([
        "Name",
        "IP Address",
        "Last Update",
        "Status",
        "Version",
        "OS",
        "Auth Type",
        "Last Heartbeat",
    ]);
    for machine in machines {
        table.row([
            machine.name.clone(),
            machine.ip.clone(),
            seconds(machine.updated_ms),
            if machine.validated { "✔️" } else { "🚫" }.to_owned(),
            machine.version.clone(),
            os_text(&machine.os),
            machine.auth_type.clone(),
            heartbeat(machine, now_ms),
        ]);
    }
    table
}

fn list(cx: &mut Context<'_, '_>, machines: &[Machine]) -> Done {
    let now_ms = cx.io.now_ms;
    match cx.output() {
        Output::Json => cx.json(&machines.iter().map(Shown::from).collect::<Vec<_>>(), 2),
        Output::Raw => {
            cx.csv([
                "machine_id",
                "ip_address",
                "updated_at",
                "validated",
                "version",
                "auth_type",
                "last_heartbeat",
                "os",
            ])?;
            machines.iter().try_for_each(|machine| {
                let (updated, os) = (seconds(machine.updated_ms), os_text(&machine.os));
                let beat = machine.last_heartbeat_ms.map_or("-".to_owned(), |then| ago(then, now_ms));
                let validated = machine.validated.to_string();
                cx.csv([
                    machine.name.as_str(),
                    machine.ip.as_str(),
                    updated.as_str(),
                    validated.as_str(),
                    machine.version.as_str(),
                    machine.auth_type.as_str(),
                    beat.as_str(),
                    os.as_str(),
                ])
            })
        }
        Output::Human => {
            let table = table(machines, now_ms);
            cx.table(&table)
        }
    }
}

/// Where the machine finds the API: as it is told, as this machine does, or as the server listens.
fn url_for(cx: &Context<'_, '_>, given: &str) -> Result<String, Failure> {
    if !given.is_empty() {
        return Ok(given.to_owned());
    }
    if let Ok(credentials) = cx.credentials() {
        return Ok(credentials.url);
    }
    let server = cx.config()?.api.server.as_ref();
    let scheme = if server.is_some_and(|server| server.tls.is_some()) { "https" } else { "http" };
    let uri = server.and_then(|server| server.listen_uri.as_ref());
    let socket = server.and_then(|server| server.listen_socket.as_ref());
    uri.map(|uri| format!("{scheme}://{uri}"))
        .or_else(|| socket.map(|path| path.display().to_string()))
        .ok_or_else(|| {
            Failure::text(
                "unable to dump an api URL. Please provide it in your configuration or with the -u parameter",
            )
        })
}

/// Where the credentials go; `None` for standard output.
fn file_for(cx: &Context<'_, '_>, args: &AddMachine) -> Result<Option<PathBuf>, Failure> {
    match args.file.as_str() {
        "-" => Ok(None),
        "" => {
            let path = cx.credentials_path().map_err(|_| {
                Failure::text(
                    "please specify a file to dump credentials to, with -f ('-f -' for standard output)",
                )
            })?;
            let is_taken = path.exists() && std::fs::metadata(&path).is_ok_and(|known| known.len() > 0);
            if is_taken && !args.force {
                return Err(Failure::text(format!(
                    "credentials file '{}' already exists: please remove it, use \"--force\" or specify a different file with \"-f\" (\"-f -\" for standard output)",
                    path.display()
                )));
            }
            Ok(Some(path))
        }
        path => Ok(Some(PathBuf::from(path))),
    }
}

fn add(cx: &mut Context<'_, '_>, args: &AddMachine) -> Done {
    let store = cx.clients_store()?;
    if args.password.len() > PASSWORD_MOST {
        return Err(Failure::text("password too long (max 72 characters)"));
    }
    if args.name.is_none() && !args.auto {
        return Err(Failure::text("please specify a machine name to add, or use --auto"));
    }
    if args.password.is_empty() && !args.auto && !args.interactive {
        return Err(Failure::text("please specify a password with --password or use --auto"));
    }
    let file = file_for(cx, args)?;
    let url = url_for(cx, &args.url)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => new_name()?,
    };
    let password = match args.password.as_str() {
        "" if args.interactive => ask_password(cx)?,
        "" => new_password()?,
        given => given.to_owned(),
    };
    insert(&store, &name, &password, args.force, cx.io.now_ms)?;
    cx.note(format_args!("Machine '{name}' successfully added to the local API."));
    let credentials =
        Credentials { url, login: name, password: Secret::new(password), ..Credentials::default() };
    match file {
        None => cx.text(&credentials.to_yaml()),
        Some(path) => {
            credentials.save(&path)?;
            cx.note(format_args!("API credentials written to '{}'.", path.display()));
            Ok(())
        }
    }
}

fn ask_password(cx: &mut Context<'_, '_>) -> Result<String, Failure> {
    write!(cx.io.err, "Please provide a password for the machine: ")?;
    cx.io.err.flush()?;
    let mut line = String::new();
    cx.io.input.read_line(&mut line)?;
    let password = line.trim_end_matches(['\n', '\r']);
    match password.len() {
        0 => Err(Failure::text("a password is required")),
        length if length > PASSWORD_MOST => Err(Failure::text("password too long (max 72 characters)")),
        _ => Ok(password.to_owned()),
    }
}

fn insert(store: &Store, name: &str, password: &str, force: bool, now_ms: i64) -> Done {
    let hash = hash_password(password)
        .map_err(|error| Failure::text(format!("unable to create machine: {error}")))?;
    let machine = Machine {
        name: name.to_owned(),
        password: hash.clone(),
        auth_type: "password".to_owned(),
        validated: true,
        created_ms: now_ms,
        updated_ms: now_ms,
        ..Machine::default()
    };
    match store.machines().insert(machine) {
        Err(StoreError::Exists { .. }) if force => {
            store.machines().update(name, |machine| {
                machine.password = hash;
                "password".clone_into(&mut machine.auth_type);
                machine.validated = true;
                machine.updated_ms = now_ms;
            })?;
            Ok(())
        }
        Err(StoreError::Exists { .. }) => {
            Err(Failure::text(format!("unable to create machine: user '{name}': user already exist")))
        }
        other => Ok(other.map(drop)?),
    }
}

fn delete(cx: &mut Context<'_, '_>, args: &DeleteClients) -> Done {
    let store = cx.clients_store()?;
    for name in &args.names {
        match store.machines().delete(name) {
            Ok(()) => cx.note(format_args!("machine '{name}' deleted successfully")),
            Err(StoreError::Unknown { .. }) if args.ignore_missing => {}
            Err(StoreError::Unknown { .. }) => {
                return Err(Failure::text(format!("unable to delete machine: '{name}' does not exist")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn validate(cx: &mut Context<'_, '_>, name: &str) -> Done {
    let store = cx.clients_store()?;
    let now_ms = cx.io.now_ms;
    let validated = store.machines().update(name, |machine| {
        machine.validated = true;
        machine.updated_ms = now_ms;
    });
    match validated {
        Ok(_) => {
            cx.note(format_args!("machine '{name}' validated successfully"));
            Ok(())
        }
        Err(StoreError::Unknown { .. }) => {
            Err(Failure::text(format!("unable to validate machine '{name}': it does not exist")))
        }
        Err(error) => Err(error.into()),
    }
}

fn prune(cx: &mut Context<'_, '_>, args: &PruneMachines) -> Done {
    let store = cx.clients_store()?;
    let millis = nanos(&args.duration)? / 1_000_000;
    let now_ms = cx.io.now_ms;
    let before = now_ms.saturating_sub(millis);
    let old = store.machines().find(|one| {
        if args.not_validated_only {
            return !one.validated;
        }
        one.last_heartbeat_ms.unwrap_or(one.created_ms) < before
    });
    if old.is_empty() {
        return cx.line("No machines to prune.");
    }
    cx.table(&table(&old, now_ms))?;
    if !may_prune(cx, "machines", args.force)? {
        return Ok(());
    }
    for machine in &old {
        store.machines().delete(&machine.name)?;
    }
    cx.line(format_args!("successfully deleted {} machines", old.len()))
}

fn inspect(cx: &mut Context<'_, '_>, args: &InspectMachine) -> Done {
    let store = cx.clients_store()?;
    let missing = || Failure::text(format!("unable to read machine data '{}': it does not exist", args.name));
    let machine = store.machines().get(&args.name).ok_or_else(missing)?;
    if args.hub {
        return inspect_hub(cx, &machine);
    }
    match cx.output() {
        Output::Json => cx.json(&Shown::from(&machine), 2),
        Output::Raw => Err(Failure::text("output format 'raw' not supported for this command")),
        Output::Human => {
            let mut table = Table::new(["Machine", machine.name.as_str()]);
            for (key, value) in [
                ("IP Address", machine.ip.clone()),
                ("Created At", seconds(machine.created_ms)),
                ("Last Update", seconds(machine.updated_ms)),
                ("Last Heartbeat", maybe_seconds(machine.last_heartbeat_ms)),
                ("Last Push", maybe_seconds(machine.last_push_ms)),
                ("Validated?", machine.validated.to_string()),
                ("Version", machine.version.clone()),
                ("OS", os_text(&machine.os)),
                ("Auth type", machine.auth_type.clone()),
            ] {
                table.row([key.to_owned(), value]);
            }
            let datasources: BTreeMap<String, i64> =
                serde_json::from_str(&machine.datasources).unwrap_or_default();
            for (kind, count) in datasources {
                table.row(["Datasources".to_owned(), format!("{kind}: {count}")]);
            }
            for flag in listed(&machine.feature_flags) {
                table.row(["Feature Flags", flag]);
            }
            cx.table(&table)
        }
    }
}

fn inspect_hub(cx: &mut Context<'_, '_>, machine: &Machine) -> Done {
    let state: BTreeMap<String, Value> = serde_json::from_str(&machine.hub_state).unwrap_or_default();
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    match cx.output() {
        Output::Json => cx.json(&state, 2),
        Output::Raw => {
            cx.csv(["type", "name", "status", "version"])?;
            for (kind, value) in &state {
                for item in items(value) {
                    let fields =
                        [kind.clone(), text(&item, "name"), text(&item, "status"), text(&item, "version")];
                    cx.csv(fields.iter().map(String::as_str))?;
                }
            }
            Ok(())
        }
        Output::Human if state.is_empty() => cx.line("No hub items found for this machine"),
        Output::Human => {
            for (kind, value) in &state {
                let mut table = Table::new(["Name", "Status", "Version"]).titled(kind.to_uppercase());
                for item in items(value) {
                    table.row([text(&item, "name"), text(&item, "status"), text(&item, "version")]);
                }
                cx.table(&table)?;
                cx.line("")?;
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts() {
        let text = random_text(1000).expect("random");
        assert_eq!(text.len(), 1000);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(random_text(64).expect("random"), random_text(64).expect("random"));
        let name = new_name().expect("random");
        assert!(name.len() >= NAME_LETTERS, "{name}");
    }

    #[test]
    fn late_machines() {
        let now_ms = 1_000_000;
        let beat = |last| heartbeat(&Machine { last_heartbeat_ms: last, ..Machine::default() }, now_ms);
        assert_eq!(beat(None), "⚠️ -");
        assert_eq!(beat(Some(now_ms - 5000)), "5s");
        assert_eq!(beat(Some(now_ms - 121_000)), "⚠️ 2m1s");
    }
}
