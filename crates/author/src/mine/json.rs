//! The keys of a log whose lines are objects of JSON.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value};
use testudo_event::{YearClock, parse_date};

use super::field::{is_client_word, is_own_word};

/// Lines that are looked at.
const LOOKED_AT: usize = 2000;

/// Keys that are told apart, and how deep they lie.
const MAX_KEYS: usize = 500;
const MAX_DEPTH: usize = 4;

/// Most different events that get a log type of their own.
const MAX_EVENTS: usize = 20;

/// What the value of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The address of the client.
    Source,
    /// The name of a user.
    User,
    /// When it happened, as text.
    Time,
    /// When it happened, as a number.
    Unix,
    /// What happened, by a few words that come again.
    Event,
    /// The answer of a web server.
    Status,
    /// What was asked of it.
    Request,
    /// How.
    Method,
    /// By what program.
    Agent,
}

/// A key with its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The way to it: `["request", "remote_ip"]`.
    pub path: Vec<String>,
    /// Its meaning.
    pub role: Role,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys, each role once.
    pub keys: Vec<Key>,
    /// The events, with an example line of each, those of most lines first; one without a name where there is no such key.
    pub events: Vec<(Option<String>, Vec<String>)>,
}

impl Keys {
    /// The way to the key with this role.
    pub fn path(&self, role: Role) -> Option<&[String]> {
        self.keys.iter().find(|key| key.role == role).map(|key| key.path.as_slice())
    }
}

/// The text of a value in a line.
pub fn text(line: &str, path: &[String]) -> Option<String> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    for name in path {
        value = value.as_object_mut()?.remove(name)?;
    }
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What is noted of a key.
#[derive(Default)]
struct Seen {
    count: usize,
    addresses: usize,
    dates: usize,
    statuses: usize,
    numbers: usize,
    texts: BTreeMap<String, usize>,
}

/// Looks at the lines.
pub(super) fn keys(lines: &[&str]) -> Keys {
    let mut seen: BTreeMap<Vec<String>, Seen> = BTreeMap::new();
    let mut objects = 0;
    for line in lines.iter().take(LOOKED_AT) {
        let Ok(object) = serde_json::from_str::<Map<String, Value>>(line) else { continue };
        objects += 1;
        note(&object, &mut Vec::new(), &mut seen);
    }
    // A key that is missing now and then is none to build upon.
    seen.retain(|_, seen| seen.count * 100 >= objects * 95);
    let mut keys = Vec::new();
    let mut take = |role: Role, path: Option<Vec<String>>| {
        keys.extend(path.map(|path| Key { path, role }));
    };
    let source = |(path, seen): &(&Vec<String>, &Seen)| {
        let name = path.last().map_or("", String::as_str);
        let is_forwarded = name.contains("forward") || name.contains("x_") || name.contains("real");
        (seen.addresses * 10 >= seen.count * 9 && !is_own_word(name) && !is_forwarded)
            .then_some((is_client_word(name), seen.texts.len()))
    };
    let best =
        seen.iter().filter_map(|key| Some((source(&key)?, key.0.clone()))).max_by(|a, b| a.0.cmp(&b.0));
    take(Role::Source, best.map(|(_, path)| path));
    let named = |names: &[&str], fits: &dyn Fn(&Seen) -> bool| {
        names.iter().find_map(|wanted| {
            let is = |path: &&Vec<String>| path.last().is_some_and(|name| name == wanted);
            seen.iter().find(|(path, seen)| is(path) && fits(seen)).map(|(path, _)| path.clone())
        })
    };
    let is_text = |seen: &Seen| !seen.texts.is_empty();
    take(
        Role::User,
        named(
            &["username", "user", "user_name", "remote_user", "account", "login", "user_id", "email"],
            &is_text,
        ),
    );
    let times = ["time", "timestamp", "ts", "date", "datetime", "time_iso8601", "time_local"];
    take(Role::Time, named(&times, &|seen| seen.dates == seen.count));
    take(Role::Unix, named(&times, &|seen| seen.numbers == seen.count));
    take(
        Role::Status,
        named(&["status", "status_code", "code", "response"], &|seen| seen.statuses == seen.count),
    );
    take(Role::Request, named(&["request_uri", "uri", "path", "url"], &is_text));
    take(Role::Method, named(&["request_method", "method", "verb"], &is_text));
    take(Role::Agent, named(&["http_user_agent", "user_agent", "agent"], &is_text));
    let few = |seen: &Seen| (1..=MAX_EVENTS).contains(&seen.texts.len());
    let event = named(&["event", "event_type", "action", "msg", "message", "reason", "type"], &few);
    let events = events(lines, event.as_deref());
    take(Role::Event, event);
    Keys { keys, events }
}

fn note(object: &Map<String, Value>, path: &mut Vec<String>, seen: &mut BTreeMap<Vec<String>, Seen>) {
    for (name, value) in object {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        path.push(name.clone());
        if let Value::Object(inner) = value {
            if path.len() < MAX_DEPTH {
                note(inner, path, seen);
            }
        } else if seen.len() < MAX_KEYS || seen.contains_key(&*path) {
            let seen = seen.entry(path.clone()).or_default();
            seen.count += 1;
            match value {
                Value::String(text) => {
                    seen.addresses += usize::from(text.parse::<IpAddr>().is_ok());
                    seen.statuses += usize::from(is_status(text.parse().ok()));
                    seen.dates += usize::from(parse_date(text, None, &YearClock::Current(2026)).is_some());
                    // One more than the most that count is enough to tell that there are too many.
                    if seen.texts.len() <= MAX_EVENTS || seen.texts.contains_key(text) {
                        *seen.texts.entry(text.clone()).or_default() += 1;
                    }
                }
                Value::Number(number) => {
                    seen.numbers += 1;
                    seen.statuses += usize::from(is_status(number.as_u64()));
                }
                _ => {}
            }
        }
        path.pop();
    }
}

fn is_status(number: Option<u64>) -> bool {
    number.is_some_and(|number| (100..600).contains(&number))
}

fn events(lines: &[&str], path: Option<&[String]>) -> Vec<(Option<String>, Vec<String>)> {
    let mut counts: BTreeMap<Option<String>, (usize, Vec<String>)> = BTreeMap::new();
    for line in lines.iter().take(LOOKED_AT) {
        let event = path.and_then(|path| text(line, path));
        if path.is_some() && event.is_none() || !super::envelope::is_object(line) {
            continue;
        }
        let (count, examples) = counts.entry(event).or_default();
        *count += 1;
        if examples.len() < 2 && !examples.iter().any(|known| known.as_str() == *line) {
            examples.push((*line).to_owned());
        }
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    sorted.into_iter().map(|(event, (_, examples))| (event, examples)).collect()
}
