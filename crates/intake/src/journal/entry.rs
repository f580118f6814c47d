//! An entry of the journal as JSON, and the lines that `journalctl` would print of it.

use serde::Deserialize;
use serde_json::Value;
use testudo_event::Timestamp;

use crate::syslog::write_time;

/// The fields of an entry that matter here. A field may be text, a list of bytes, a list of those, or
/// nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "__CURSOR")]
    cursor: Value,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    received: Value,
    #[serde(rename = "_SOURCE_REALTIME_TIMESTAMP")]
    sent: Value,
    #[serde(rename = "MESSAGE")]
    message: Value,
    #[serde(rename = "_HOSTNAME")]
    host: Value,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Value,
    #[serde(rename = "_COMM")]
    command: Value,
    #[serde(rename = "_PID")]
    pid: Value,
    #[serde(rename = "SYSLOG_PID")]
    syslog_pid: Value,
}

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its cursor.
    pub(super) cursor: Option<String>,
    /// When it was written.
    pub(super) time: Option<Timestamp>,
    /// Its lines, as `journalctl` prints them, but with the time in UTC. The first one has time, host,
    /// program and process; the others are indented.
    pub(super) lines: Vec<String>,
}

/// Reads an entry. Nothing if it is none.
pub(super) fn parse(json: &[u8]) -> Option<Entry> {
    let fields: Fields = serde_json::from_slice(json).ok()?;
    let time = [&fields.sent, &fields.received].into_iter().find_map(microseconds);
    let mut first = String::new();
    if let Some(time) = time {
        write_time(&mut first, time);
        first.push(' ');
    }
    if let Some(host) = text(&fields.host) {
        first.push_str(&host);
        first.push(' ');
    }
    let name = text(&fields.identifier).or_else(|| text(&fields.command));
    first.push_str(name.as_deref().unwrap_or("unknown"));
    if let Some(pid) = text(&fields.pid).or_else(|| text(&fields.syslog_pid)) {
        first.push('[');
        first.push_str(&pid);
        first.push(']');
    }
    first.push_str(": ");
    let indent = " ".repeat(first.chars().count());
    let message = text(&fields.message).unwrap_or_default();
    let mut lines = Vec::new();
    for part in message.split(['\n', '\r']).map(str::trim_end).filter(|part| !part.is_empty()) {
        let prefix = if lines.is_empty() { &first } else { &indent };
        lines.push(format!("{prefix}{part}"));
    }
    Some(Entry { cursor: text(&fields.cursor), time, lines })
}

/// The text of a field; of several values the first one.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => match items.first()? {
            Value::Number(_) => {
                let bytes: Vec<u8> =
                    items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Value::Array(inner) if inner.first().is_some_and(Value::is_number) => text(&items[0])?,
            Value::String(text) => text.clone(),
            _ => return None,
        },
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn microseconds(value: &Value) -> Option<Timestamp> {
    let micros: i64 = text(value)?.parse().ok()?;
    Some(Timestamp::from_unix(micros.div_euclid(1_000_000), (micros.rem_euclid(1_000_000) * 1_000) as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(json: &str, cursor: Option<&str>, lines: &[&str]) {
        let entry = parse(json.as_bytes()).expect(json);
        assert_eq!(entry.cursor.as_deref(), cursor, "{json}");
        assert_eq!(entry.lines, lines, "{json}");
    }

    #[test]
    fn entries() {
        check(
            r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1767323045000000","MESSAGE":"Failed password for root","_HOSTNAME":"web","SYSLOG_IDENTIFIER":"sshd","_COMM":"sshd-session","_PID":"4711","PRIORITY":"6"}"#,
            Some("s=1"),
            &["Jan  2 03:04:05 web sshd[4711]: Failed password for root"],
        );
        check(
            r#"{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1767323046000000","_SOURCE_REALTIME_TIMESTAMP":"1767323045999999","MESSAGE":"a\nb\n","_COMM":"x","SYSLOG_PID":"7"}"#,
            Some("c"),
            &["Jan  2 03:04:05 x[7]: a", "                      b"],
        );
        // Bytes that are no UTF-8, several values, nothing.
        check(r#"{"MESSAGE":[97,255,98],"SYSLOG_IDENTIFIER":["one","two"]}"#, None, &["one: a\u{fffd}b"]);
        check(r#"{"MESSAGE":[[97],[98]]}"#, None, &["unknown: a"]);
        check(r#"{"__CURSOR":"c","MESSAGE":null}"#, Some("c"), &[]);
        check(r#"{"MESSAGE":"x","_PID":4}"#, None, &["unknown: x"]);
        assert_eq!(parse(b"-- no entries --"), None);
        assert_eq!(parse(br#"{"MESSAGE":"#), None);
    }

    proptest! {
        #[test]
        fn any_message(message in "\\PC{0,40}(\n\\PC{0,40})?") {
            let json = serde_json::json!({ "MESSAGE": message, "_COMM": "x" }).to_string();
            let entry = parse(json.as_bytes()).expect("an entry");
            prop_assert!(entry.lines.iter().all(|line| !line.contains('\n')));
        }
    }
}
