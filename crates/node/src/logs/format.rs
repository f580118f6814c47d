//! How an event becomes a line.

use std::fmt::{self, Write as _};

use testudo_event::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// What an event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Whether a value can stand without quotes.
fn is_bare(text: &str) -> bool {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"-._/@^+:".contains(&b);
    !text.is_empty() && text.bytes().all(bare)
}

/// Appends a value; quotes, line ends and what moves a cursor are escaped, since logs hold what attackers
/// have written.
fn push_value(out: &mut String, text: &str) {
    if is_bare(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Line {
        let mut line = Line::default();
        event.record(&mut line);
        line
    }

    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" { self.message = value } else { self.fields.push((field.name(), value)) }
    }

    /// `time="…" level=… msg="…" key=value`.
    pub(super) fn text(&self, level: Level, time: Timestamp) -> String {
        let mut out = format!("time=\"{}\" level={} msg=", time.to_rfc3339(), name(level));
        push_value(&mut out, &self.message);
        self.push_fields(&mut out);
        out
    }

    /// An object with `level`, `msg`, `time` and the fields.
    pub(super) fn json(&self, level: Level, time: Timestamp) -> String {
        let mut object = serde_json::Map::new();
        for (key, value) in &self.fields {
            object.insert((*key).to_owned(), value.as_str().into());
        }
        object.insert("level".to_owned(), name(level).into());
        object.insert("msg".to_owned(), self.message.as_str().into());
        object.insert("time".to_owned(), time.to_rfc3339().into());
        serde_json::Value::Object(object).to_string()
    }

    /// The message and its fields.
    pub(super) fn plain(&self) -> String {
        let mut out = self.message.replace(|c: char| c.is_control(), " ");
        self.push_fields(&mut out);
        out
    }

    fn push_fields(&self, out: &mut String) {
        for (key, value) in &self.fields {
            out.push(' ');
            out.push_str(key);
            out.push('=');
            push_value(out, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cannot_be_forged() {
        let line = Line {
            message: "a\nlevel=error".to_owned(),
            fields: vec![("user", "x\" y=\u{1b}[2J".to_owned())],
        };
        let time = Timestamp::from_unix(0, 0);
        let text = line.text(Level::WARN, time);
        let expected =
            "time=\"1970-01-01T00:00:00Z\" level=warning msg=\"a\\nlevel=error\" user=\"x\\\" y=\\u001b[2J\"";
        assert_eq!(text, expected);
        let json = line.json(Level::WARN, time);
        let back: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(back["msg"], "a\nlevel=error");
        assert_eq!(back["level"], "warning");
        assert!(!line.plain().contains('\n'));
    }

    #[test]
    fn simple_values_stand_bare() {
        let line = Line { message: "ready".to_owned(), fields: vec![("path", "/a/b.c".to_owned())] };
        let text = line.text(Level::INFO, Timestamp::from_unix(0, 0));
        assert_eq!(text, "time=\"1970-01-01T00:00:00Z\" level=info msg=ready path=/a/b.c");
    }
}
