//! `lapi`: the connection of this machine to a local API, and the context of alerts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use testudo_client::{Login, Registered};
use testudo_config::{ConfigError, Credentials, Document, Output, Secret, quoted};
use testudo_rules::{Severity, SourceFile, load_context};
use testudo_wire::watcher::Registration;

use crate::args::{AddContext, ContextVerb, LapiVerb, Register};
use crate::context::{Api, Context};
use crate::failure::{Done, Failure};

use super::machines::{new_name, new_password};
use super::unavailable;

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &LapiVerb) -> Done {
    match verb {
        LapiVerb::Register(args) => register(cx, args),
        LapiVerb::Status => status(cx),
        LapiVerb::Context(group) => match &group.verb {
            Some(ContextVerb::Add(args)) => add(cx, args),
            None | Some(ContextVerb::Status) => context_status(cx),
            Some(ContextVerb::Detect(_)) => {
                unavailable("detecting fields is not available: 'explain' shows what a line has in evt.Meta")
            }
            Some(ContextVerb::Delete(_)) => {
                unavailable("command 'delete' has been removed, please manually edit the context file")
            }
        },
    }
}

/// A URL as the credentials have it: with a scheme, and a slash at its end.
fn whole(url: &str) -> String {
    if url.starts_with('/') {
        return url.to_owned();
    }
    let scheme = if url.contains("://") { "" } else { "http://" };
    let slash = if url.ends_with('/') { "" } else { "/" };
    format!("{scheme}{url}{slash}")
}

fn register(cx: &mut Context<'_, '_>, args: &Register) -> Done {
    // Credentials that are there, even if they are of no use, tell where the API is.
    let url = if args.url.is_empty() {
        let known = cx.credentials().map(|credentials| credentials.url);
        let server = cx.config()?.api.server.as_ref();
        let listen = server.and_then(|server| server.listen_uri.clone());
        known.ok().or(listen).ok_or_else(|| {
            Failure::text(
                "no Local API URL. Please provide it in your configuration or with the -u parameter",
            )
        })?
    } else {
        args.url.clone()
    };
    let url = whole(&url);
    let name = if args.machine.is_empty() { new_name()? } else { args.machine.clone() };
    let password = new_password()?;
    let file = match args.file.as_str() {
        "" => Some(cx.credentials_path()?),
        "-" => None,
        path => Some(PathBuf::from(path)),
    };
    let api = Api::new(cx.settings(&url, Login::Nobody))?;
    let registration = Registration {
        machine_id: Some(name.clone()),
        password: Some(password.clone()),
        registration_token: Some(args.token.clone()).filter(|token| !token.is_empty()),
    };
    let registered = api
        .call(api.client.register(&registration))
        .map_err(|error| Failure::text(format!("api client register: {error}")))?;
    cx.note(format_args!("Successfully registered to Local API (LAPI) at {url}"));
    let credentials =
        Credentials { url, login: name.clone(), password: Secret::new(password), ..Credentials::default() };
    match &file {
        None => cx.text(&credentials.to_yaml())?,
        Some(path) => {
            credentials.save(path)?;
            cx.note(format_args!("Local API credentials written to '{}'", path.display()));
        }
    }
    if registered == Registered::Pending {
        cx.note(format_args!("The machine has to be let in there: cscli machines validate {name}"));
    }
    cx.hint_reload();
    Ok(())
}

fn status(cx: &mut Context<'_, '_>) -> Done {
    let path = cx.credentials_path()?;
    let credentials = cx.credentials()?;
    cx.line(format_args!("Loaded credentials from {}", path.display()))?;
    if credentials.login.is_empty() {
        cx.line(format_args!("Trying to authenticate with a certificate on {}", credentials.url))?;
    } else {
        let (login, url) = (&credentials.login, &credentials.url);
        cx.line(format_args!("Trying to authenticate with username {login} on {url}"))?;
    }
    let api = cx.api()?;
    api.call(api.client.login())
        .map_err(|error| Failure::text(format!("failed to authenticate to Local API (LAPI): {error}")))?;
    cx.line("You can successfully interact with Local API (LAPI)")
}

type Fields = BTreeMap<String, Vec<String>>;

/// The file with the context of alerts.
fn context_path(cx: &Context<'_, '_>) -> Result<PathBuf, Failure> {
    let agent = cx.config()?.agent.as_ref();
    let agent =
        agent.ok_or_else(|| Failure::text("no crowdsec_service section: nothing makes alerts here"))?;
    agent.console_context_path.clone().ok_or_else(|| {
        Failure::text(format!(
            "no context file: set crowdsec_service.console_context_path in {}",
            cx.config_path.display()
        ))
    })
}

fn load(cx: &Context<'_, '_>, path: &Path) -> Result<Fields, Failure> {
    match Document::alone(path, cx.io.variable) {
        Ok(document) => Ok(document.decode()?),
        Err(ConfigError::Read { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Fields::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn to_yaml(fields: &Fields) -> String {
    let mut text = String::new();
    for (key, values) in fields {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}:", quoted(key));
        for value in values {
            let _ = writeln!(text, "  - {}", quoted(value));
        }
    }
    text
}

fn add(cx: &mut Context<'_, '_>, args: &AddContext) -> Done {
    let path = context_path(cx)?;
    let mut fields = load(cx, &path)?;
    for value in args.values.iter().flat_map(|value| value.split(',')).map(str::trim) {
        let last = value.rsplit('.').next().unwrap_or(value);
        let key = if args.key.is_empty() { last } else { &args.key };
        let values = fields.entry(key.to_owned()).or_default();
        if values.iter().any(|known| known == value) {
            cx.note(format_args!("value '{value}' is already in key '{key}'"));
            continue;
        }
        values.push(value.to_owned());
        cx.note(format_args!("added value '{value}' to key '{key}'"));
    }
    let text = to_yaml(&fields);
    let file = SourceFile { path: path.display().to_string(), text: text.clone() };
    let loaded = load_context(Arc::new(file), false);
    if let Some(wrong) = loaded.diagnostics.iter().find(|one| one.severity == Severity::Error) {
        return Err(Failure::text(format!("nothing is added: {}", wrong.message)));
    }
    std::fs::write(&path, text).map_err(|error| ConfigError::Write { path, error })?;
    cx.hint_reload();
    Ok(())
}

fn context_status(cx: &mut Context<'_, '_>) -> Done {
    let path = context_path(cx)?;
    let fields = load(cx, &path)?;
    if cx.output() == Output::Json {
        return cx.json(&fields, 1);
    }
    if fields.is_empty() {
        return cx.line("No context found on this agent. You can use 'cscli lapi context add' to add context to your alerts.");
    }
    cx.text(&to_yaml(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (given, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("https://lapi.example/", "https://lapi.example/"),
            ("/run/api.sock", "/run/api.sock"),
        ] {
            assert_eq!(whole(given), expected);
        }
    }
}
