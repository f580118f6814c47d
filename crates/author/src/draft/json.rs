//! A parser and samples for a log whose lines are objects of JSON.

use std::fmt::Write as _;

use super::{Event, Names, kind_of_event, parser::expression_text, samples, yaml};
use crate::mine::{Mined, Role, json_text};

/// Texts of the draft.
pub(super) struct Texts {
    pub(super) rule: String,
    pub(super) samples: String,
    pub(super) log_type: Option<String>,
}

/// Writes both.
pub(super) fn texts(mined: &Mined, names: &Names) -> Texts {
    let keys = &mined.keys;
    // A name of the language: it begins with a letter.
    let object = format!("log_{}", names.service.replace(['-', '.'], "_"));
    let value = |path: &[String]| format!("evt.Unmarshaled.{object}.{}", path.join("."));
    let mut rule = format!(
        "# Drafted by `testudo rule new` from {} lines of the type {}, which are objects of JSON.\n#\n\
         # Check before it bans anybody:\n\
         # - Is source_ip the address of the connection, and not one that the client or a proxy tells?\n\
         # - Is log_type right? Scenarios ask for it.\n\
         # Then: `testudo rule test`, and `testudo rule backtest` on a log of some weeks.\n",
        mined.lines, mined.kind
    );
    let _ = writeln!(rule, "name: {}", names.rule);
    let _ = writeln!(
        rule,
        "description: {}",
        yaml(&format!("{}: drafted from its log; say here what is read", mined.program))
    );
    let mut filter = format!(
        "evt.Parsed.program == {}\n  && evt.Parsed.message startsWith '{{'\n",
        expression_text(&mined.program)
    );
    let source = keys.path(Role::Source);
    if let Some(name) = source.and_then(<[String]>::last) {
        // Where nothing escapes what clients send, they can write keys of their own.
        let quoted = expression_text(&format!("\"{name}\""));
        let _ = writeln!(filter, "  && len(Split(evt.Parsed.message, {quoted})) == 2");
    }
    let _ =
        writeln!(filter, "  && UnmarshalJSON(evt.Parsed.message, evt.Unmarshaled, '{object}') in ['', nil]");
    if let Some(path) = source {
        let _ = writeln!(filter, "  && {} != nil", value(path));
    }
    let _ = write!(rule, "filter: >-\n  {filter}onsuccess: next_stage\n");
    let event = keys.path(Role::Event);
    let is_http = keys.path(Role::Status).is_some() && keys.path(Role::Request).is_some();
    let fallback = if is_http { "http_access-log".to_owned() } else { format!("{}_event", names.service) };
    let log_type = |event: Option<&str>| {
        event.map_or_else(|| fallback.clone(), |event| of_event(names, event, source.is_some()))
    };
    if let Some(path) = event {
        rule.push_str("nodes:\n");
        for (event, _) in &keys.events {
            let Some(event) = event else { continue };
            let filter = yaml(&format!("{} == {}", value(path), expression_text(event)));
            let kind = log_type(Some(event));
            let _ = write!(
                rule,
                "  - filter: {filter}\n    statics:\n      - meta: log_type\n        value: {}\n",
                yaml(&kind)
            );
            if kind == "auth_success" {
                rule.push_str("      - meta: auth_status\n        value: success\n");
            }
        }
    }
    let service: &str = if is_http { "http" } else { &names.service };
    let _ = write!(rule, "statics:\n  - meta: service\n    value: {}\n", yaml(service));
    if event.is_none() {
        let _ = write!(rule, "  - meta: log_type\n    value: {}\n", yaml(&fallback));
    }
    let texts = [
        (Role::Source, "meta: source_ip"),
        (Role::User, "meta: username"),
        (Role::Method, "meta: http_verb"),
        (Role::Request, "meta: http_path"),
        (Role::Agent, "meta: http_user_agent"),
        (Role::Time, "target: evt.StrTime"),
    ];
    for (role, target) in texts {
        if let Some(path) = keys.path(role) {
            let _ = write!(rule, "  - {target}\n    expression: {}\n", value(path));
        }
    }
    // Numbers are taken as they are written.
    for (role, target) in [(Role::Status, "meta: http_status"), (Role::Unix, "target: evt.StrTime")] {
        let path = keys.path(role).filter(|_| role != Role::Unix || keys.path(Role::Time).is_none());
        if let Some(path) = path {
            let path = expression_text(&path.join("."));
            let _ = write!(rule, "  - {target}\n    expression: JsonExtract(evt.Parsed.message, {path})\n");
        }
    }
    let first = keys.events.iter().map(|(event, _)| log_type(event.as_deref()));
    let failure = first.clone().find(|kind| kind.ends_with("failed-auth"));
    let log_type_of_source = source.and_then(|_| failure.or_else(|| first.clone().next()));
    Texts { samples: sample_text(mined, names, service, &log_type), rule, log_type: log_type_of_source }
}

/// A log type for an event.
fn of_event(names: &Names, event: &str, has_source: bool) -> String {
    let lower = event.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    match kind_of_event(&words) {
        Some(Event::Success) => "auth_success".to_owned(),
        Some(Event::Failure) if has_source => format!("{}_failed-auth", names.service),
        _ => {
            let some: Vec<&str> = words.iter().copied().filter(|word| word.is_ascii()).take(3).collect();
            format!("{}_{}", names.service, if some.is_empty() { "event".to_owned() } else { some.join("-") })
        }
    }
}

fn sample_text(
    mined: &Mined,
    names: &Names,
    service: &str,
    log_type: &dyn Fn(Option<&str>) -> String,
) -> String {
    let keys = &mined.keys;
    let mut out = samples::head(names, &mined.kind);
    out.push_str("matches:\n");
    for (event, examples) in &keys.events {
        for example in examples {
            let mut meta =
                format!("service: {}, log_type: {}", yaml(service), yaml(&log_type(event.as_deref())));
            for (role, key) in [(Role::Source, "source_ip"), (Role::User, "username")] {
                if let Some(value) = keys.path(role).and_then(|path| json_text(example, path)) {
                    let _ = write!(meta, ", {key}: {}", yaml(&value));
                }
            }
            let _ = writeln!(out, "  - line: {}\n    meta: {{{meta}}}", yaml(example));
        }
    }
    out.push_str("refuses:\n  - line: '{not JSON}'\n");
    let hostile: Vec<String> =
        keys.events.iter().filter_map(|(_, examples)| hostile(mined, examples.first()?)).collect();
    if !hostile.is_empty() {
        out.push_str(
            "# {truth} is the address of the client, {json} a text of its choice as JSON has it.\nhostile:\n",
        );
        for line in hostile {
            let _ = writeln!(out, "  - line: {}", yaml(&line));
        }
    }
    out
}

/// A line with places for the texts that clients choose.
fn hostile(mined: &Mined, line: &str) -> Option<String> {
    let keys = &mined.keys;
    let mut line = replaced(line, keys.path(Role::Source)?.last()?, "{truth}")?;
    let mut any = false;
    for role in [Role::User, Role::Request, Role::Agent] {
        let changed = keys.path(role).and_then(|path| replaced(&line, path.last()?, "{json}"));
        any |= changed.is_some();
        line = changed.unwrap_or(line);
    }
    any.then_some(line)
}

/// The line with another text as the value of a key that it has once.
fn replaced(line: &str, key: &str, with: &str) -> Option<String> {
    let name = format!("\"{key}\"");
    let mut places = line.match_indices(&name);
    let (at, _) = places.next().filter(|_| places.next().is_none())?;
    let after = &line[at + name.len()..];
    let value = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let start = line.len() - value.len();
    let mut escaped = false;
    let end = value.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some(format!("{}{with}{}", &line[..start], &line[start + end..]))
}
