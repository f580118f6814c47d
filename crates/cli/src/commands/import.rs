//! `decisions import`: reading files with values, and sending them.

use std::path::Path;

use serde::Deserialize;
use testudo_event::alert::{SCOPE_IP, SCOPE_RANGE, normalise_scope};
use testudo_wire::PostedDecision;
use testudo_wire::alert::PostedSource;

use crate::args::ImportDecisions;
use crate::context::{Api, Context, without_days};
use crate::failure::{Done, Failure};
use crate::output::csv;

use super::decisions::{by_hand, check};

/// One entry of a file. What is not given comes from the flags.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Entry {
    duration: String,
    reason: String,
    scope: String,
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

const FIELDS: [&str; 5] = ["duration", "reason", "scope", "type", "value"];

pub(crate) fn run(cx: &mut Context<'_, '_>, args: &ImportDecisions) -> Done {
    let format = format_of(args)?;
    // Said before the file is read, even if every item has its own.
    without_days(&args.duration)?;
    let text = cx.read(&args.input)?;
    let entries = match format {
        "csv" => from_csv(&text)?,
        "json" => from_json(&text)?,
        _ => from_lines(&text),
    };
    let mut decisions = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        let decision = decision(args, entry);
        let decision = decision.map_err(|error| Failure::text(format!("item {}: {error}", at + 1)))?;
        decisions.push(decision);
    }
    let api = cx.api()?;
    drop_allowed(cx, &api, &mut decisions)?;
    if decisions.is_empty() {
        cx.note("Imported 0 decisions");
        return Ok(());
    }
    let count = decisions.len();
    let batch = if args.batch == 0 { count } else { args.batch };
    let file = Path::new(&args.input).file_name().map(|name| name.to_string_lossy().into_owned());
    let file = file.filter(|_| args.input != "-").unwrap_or_else(|| "stdin".to_owned());
    for portion in decisions.chunks(batch) {
        let what = format!("import {file}: {} IPs", portion.len());
        let mut alert = by_hand(cx.io.now_ms, &what, portion.to_vec());
        alert.source = Some(PostedSource {
            scope: Some(String::new()),
            value: Some(String::new()),
            ..PostedSource::default()
        });
        api.call(api.client.post(&[alert]))?;
    }
    cx.note(format_args!("Imported {count} decisions"));
    Ok(())
}

fn format_of(args: &ImportDecisions) -> Result<&'static str, Failure> {
    let extension = Path::new(&args.input).extension().unwrap_or_default();
    match args.format.as_str() {
        "csv" => Ok("csv"),
        "json" => Ok("json"),
        "values" => Ok("values"),
        "" if extension == "csv" => Ok("csv"),
        "" if extension == "json" => Ok("json"),
        "" => Err(Failure::text(
            "unable to guess format from file extension, please provide a format with --format flag",
        )),
        other => {
            Err(Failure::text(format!("invalid format '{other}', expected one of 'json', 'csv', 'values'")))
        }
    }
}

fn from_csv(text: &str) -> Result<Vec<Entry>, Failure> {
    let records = csv::records(text);
    let records = records
        .map_err(|line| Failure::text(format!("unable to parse csv: line {line}: a quote is not closed")))?;
    let mut records = records.into_iter();
    let Some(head) = records.next() else { return Ok(Vec::new()) };
    let head: Vec<String> = head.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    if let Some(unknown) = head.iter().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(Failure::text(format!(
            "unable to parse csv: unknown field '{unknown}': there are {}",
            FIELDS.join(", ")
        )));
    }
    if !head.iter().any(|name| name == "value") {
        return Err(Failure::text("unable to parse csv: the first line has no field 'value'"));
    }
    let entries = records.map(|record| {
        let mut entry = Entry::default();
        for (name, text) in head.iter().zip(record) {
            let field = match name.as_str() {
                "duration" => &mut entry.duration,
                "reason" => &mut entry.reason,
                "scope" => &mut entry.scope,
                "type" => &mut entry.kind,
                _ => &mut entry.value,
            };
            text.trim().clone_into(field);
        }
        entry
    });
    Ok(entries.collect())
}

fn from_json(text: &str) -> Result<Vec<Entry>, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::text(format!("unable to parse json: {error}")))
}

/// One value a line; what follows `#` is a comment.
fn from_lines(text: &str) -> Vec<Entry> {
    let value = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let values = text.lines().map(value).filter(|value| !value.is_empty());
    values.map(|value| Entry { value, ..Entry::default() }).collect()
}

/// A value that somebody lists. What the file does not tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedValue {
    /// What sort of value it is.
    pub scope: String,
    /// The address, range, country ….
    pub value: String,
    /// Who lists it.
    pub origin: String,
    /// The scenario, the list, or why.
    pub reason: String,
    /// `ban`, `captcha`, ….
    pub kind: String,
}

/// The values of a list: of the files that `decisions import` reads, and of the JSON that `decisions list` and the
/// API write. The ending of the name tells CSV and JSON from lines of values.
///
/// # Errors
/// The text is not what it should be; in words.
pub fn read_listed(path: &Path, text: &str) -> Result<Vec<ListedValue>, String> {
    let extension = path.extension().unwrap_or_default();
    if extension == "json" {
        let json = serde_json::from_str(text).map_err(|error| format!("unable to parse json: {error}"))?;
        let mut values = Vec::new();
        listed_in(&json, &mut values)?;
        return Ok(values);
    }
    let entries = if extension == "csv" {
        from_csv(text).map_err(|error| error.to_string())?
    } else {
        from_lines(text)
    };
    let value = |entry: Entry| ListedValue {
        scope: entry.scope,
        value: entry.value,
        origin: String::new(),
        reason: entry.reason,
        kind: entry.kind,
    };
    Ok(entries.into_iter().map(value).collect())
}

/// Decisions, or alerts that hold some.
fn listed_in(json: &serde_json::Value, values: &mut Vec<ListedValue>) -> Result<(), String> {
    match json {
        serde_json::Value::Null => Ok(()),
        serde_json::Value::Array(items) => items.iter().try_for_each(|item| listed_in(item, values)),
        serde_json::Value::Object(object) => {
            if let Some(decisions) = object.get("decisions") {
                return listed_in(decisions, values);
            }
            let text = |name: &str| object.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
            if text("value").is_empty() {
                return Err(format!("item {} has no `value`", values.len() + 1));
            }
            if object.get("simulated") == Some(&true.into()) {
                return Ok(());
            }
            let reason = if text("reason").is_empty() { text("scenario") } else { text("reason") };
            values.push(ListedValue {
                scope: text("scope").to_owned(),
                value: text("value").to_owned(),
                origin: text("origin").to_owned(),
                reason: reason.to_owned(),
                kind: text("type").to_owned(),
            });
            Ok(())
        }
        _ => Err("a list of decisions is a JSON array of objects with a `value` each".to_owned()),
    }
}

fn decision(args: &ImportDecisions, entry: Entry) -> Result<PostedDecision, Failure> {
    let or = |given: String, default: &str| if given.is_empty() { default.to_owned() } else { given };
    if entry.value.is_empty() {
        return Err(Failure::text("value is required"));
    }
    // A range among addresses is what it looks like.
    let looks = if entry.value.contains('/') && args.scope.eq_ignore_ascii_case(SCOPE_IP) {
        SCOPE_RANGE
    } else {
        &args.scope
    };
    let scope = or(entry.scope, looks);
    let scope = normalise_scope(&scope).to_owned();
    check(&scope, &entry.value)?;
    let duration = without_days(&or(entry.duration, &args.duration))?;
    Ok(PostedDecision {
        duration: Some(duration),
        origin: Some("cscli-import".to_owned()),
        scenario: Some(or(entry.reason, &args.reason)),
        scope: Some(scope),
        simulated: None,
        kind: Some(or(entry.kind, &args.kind)),
        value: Some(entry.value),
    })
}

/// Leaves out what allowlists cover.
fn drop_allowed(cx: &mut Context<'_, '_>, api: &Api, decisions: &mut Vec<PostedDecision>) -> Done {
    let is_network = |one: &PostedDecision| matches!(one.scope.as_deref(), Some(scope) if scope == SCOPE_IP || scope == SCOPE_RANGE);
    let targets: Vec<String> =
        decisions.iter().filter(|one| is_network(one)).filter_map(|one| one.value.clone()).collect();
    if targets.is_empty() {
        return Ok(());
    }
    let allowed = match api.call(api.client.check_many_allowlists(&targets)) {
        Ok(allowed) => allowed,
        // Servers that know no allowlists.
        Err(Failure::Client(error)) if error.status() == Some(404) => return Ok(()),
        Err(error) => return Err(error),
    };
    for one in &allowed {
        cx.note(format_args!("Value {} is allowlisted by {}", one.target, one.allowlists.join(", ")));
    }
    let allowed: std::collections::HashSet<&str> = allowed.iter().map(|one| one.target.as_str()).collect();
    decisions.retain(|one| !is_network(one) || !allowed.contains(one.value.as_deref().unwrap_or_default()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ImportDecisions {
        ImportDecisions {
            input: "list.csv".to_owned(),
            duration: "4h".to_owned(),
            scope: "Ip".to_owned(),
            reason: "manual".to_owned(),
            kind: "ban".to_owned(),
            batch: 0,
            format: String::new(),
        }
    }

    #[test]
    fn files_of_each_kind() {
        let one = |value: &str, duration: &str| Entry {
            value: value.to_owned(),
            duration: duration.to_owned(),
            ..Entry::default()
        };
        let csv = from_csv("duration,value\n2h,192.0.2.1\n\n# no more\n,\"192.0.2.2\"\n").expect("CSV");
        assert_eq!(csv, [one("192.0.2.1", "2h"), one("192.0.2.2", "")]);
        let json =
            from_json(r#"[{"value":"192.0.2.1","duration":"2h"},{"value":"192.0.2.2"}]"#).expect("JSON");
        assert_eq!(json, csv);
        assert_eq!(from_lines("192.0.2.2 # why\n\n"), [one("192.0.2.2", "")]);
        assert!(from_csv("duration,colour\n").is_err());
        assert!(from_csv("duration\n1h\n").is_err());
        assert!(from_json("{}").is_err());
    }

    #[test]
    fn lists_of_each_kind() {
        let read = |name: &str, text: &str| read_listed(Path::new(name), text);
        let values = |name: &str, text: &str| -> Vec<String> {
            let listed = read(name, text).expect("a list");
            listed
                .into_iter()
                .map(|one| format!("{} {} {} {}", one.value, one.origin, one.reason, one.kind))
                .collect()
        };
        assert_eq!(
            values("list.txt", "# drop\n192.0.2.1\n192.0.2.0/24 # all\n"),
            ["192.0.2.1   ", "192.0.2.0/24   "]
        );
        assert_eq!(values("list.csv", "value,reason\n192.0.2.1,scan\n"), ["192.0.2.1  scan "]);
        let import = r#"[{"value":"192.0.2.1","type":"captcha"}]"#;
        assert_eq!(values("list.json", import), ["192.0.2.1   captcha"]);
        let listed = r#"[{"id":1,"decisions":[
            {"id":7,"origin":"CAPI","scenario":"http-bf","scope":"Ip","type":"ban","value":"192.0.2.1","duration":"3h"},
            {"origin":"lists","scenario":"x","type":"ban","value":"192.0.2.2","simulated":true}]}, {"decisions":null}]"#;
        assert_eq!(values("list.json", listed), ["192.0.2.1 CAPI http-bf ban"]);
        assert_eq!(values("list.json", "null"), [""; 0]);
        for bad in ["{}", "[1]", "[", r#"[{"value":7}]"#] {
            assert!(read("list.json", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_fill_in() {
        let with = |value: &str, scope: &str| {
            let entry = Entry { value: value.to_owned(), scope: scope.to_owned(), ..Entry::default() };
            decision(&args(), entry)
                .map(|one| format!("{}:{}", one.scope.unwrap_or_default(), one.value.unwrap_or_default()))
        };
        assert_eq!(with("192.0.2.1", "").expect("good"), "Ip:192.0.2.1");
        assert_eq!(with("192.0.2.0/24", "").expect("good"), "Range:192.0.2.0/24");
        assert_eq!(with("NL", "country").expect("good"), "Country:NL");
        assert!(with("", "").is_err());
        assert!(with("nonsense", "").is_err());
        assert!(format_of(&ImportDecisions { input: "-".to_owned(), ..args() }).is_err());
    }
}
