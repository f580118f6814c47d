//! `transform`: an expression that rewrites or splits a line before any parser sees it.

use std::{fmt, sync::Arc};

use testudo_event::Timestamp;
use testudo_expr::{EvalError, Handle, Host, Node, Services, Slot, SyntaxError, Value, eval};
use testudo_rules::schema;

use crate::batch::{Labels, Mapped, Stream};

/// Bytes that the lines made from one may have beyond four times its own: an expression that blows
/// lines up is a mistake.
const MAX_GROWTH_BYTES: usize = 64 << 10;

/// A compiled `transform`.
#[derive(Clone)]
pub struct Transform {
    text: Arc<str>,
    node: Arc<Node>,
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transform").field(&self.text).finish()
    }
}

impl Transform {
    /// Compiles an expression over `evt`.
    ///
    /// # Errors
    /// It does not parse, or names something that an event does not have.
    pub fn new(text: &str) -> Result<Transform, SyntaxError> {
        let (_, node) = testudo_expr::compile_text(text, &schema::EVENT, None)?;
        Ok(Transform { text: text.into(), node: Arc::new(node) })
    }

    /// The expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a line becomes. On a failure it stays what it is, and the failure is told.
    pub(crate) fn apply(
        &self,
        line: &str,
        stream: &Stream,
        arrival: Timestamp,
        services: &dyn Services,
    ) -> Result<Mapped, String> {
        let mut event = Event { line, stream, arrival, services };
        let value = eval::eval(&self.node, &mut event).map_err(|error| error.to_string())?;
        let lines = match value {
            Value::Str(text) => vec![text],
            Value::List(items) => {
                let texts = items.iter().map(|item| match item {
                    Value::Str(text) => Ok(Arc::clone(text)),
                    other => Err(format!("it gave a list with a value that is no text but {}", other.kind())),
                });
                texts.collect::<Result<_, _>>()?
            }
            other => return Err(format!("it gave neither text nor a list of texts but {}", other.kind())),
        };
        if lines.iter().map(|line| line.len()).sum::<usize>() > MAX_GROWTH_BYTES + 4 * line.len() {
            return Err("what it gave is much longer than the line".to_owned());
        }
        Ok(Mapped::Lines(lines))
    }
}

const EVENT: u16 = 1;
const LINE: u16 = 2;
const LABELS: u16 = 3;
/// A map of the event that parsers will fill.
const NOTHING: u16 = 4;

/// `evt` before the first stage: a line, and nothing else.
struct Event<'e> {
    line: &'e str,
    stream: &'e Stream,
    arrival: Timestamp,
    services: &'e dyn Services,
}

impl Event<'_> {
    fn labels(&self) -> &Labels {
        &self.stream.labels
    }
}

fn unknown(name: &str) -> EvalError {
    EvalError::other(format!("a line that was not parsed yet has no `{name}`"))
}

impl Host for Event<'_> {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        Ok(Value::Object(Handle::of(EVENT)))
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        Ok(match (object.kind, name) {
            (EVENT, "Line") => Value::Object(Handle::of(LINE)),
            (EVENT, "Parsed" | "Meta" | "Enriched" | "Unmarshaled") => Value::Object(Handle::of(NOTHING)),
            (EVENT, "Type") => Value::Int(0),
            (EVENT, "ExpectMode") => Value::Int(i64::from(self.stream.time_machine)),
            (EVENT, "Whitelisted") => Value::Bool(false),
            (EVENT | LINE, "Process") => Value::Bool(true),
            (EVENT | LINE, "Time") => Value::Time(self.arrival),
            (EVENT, "StrTime" | "StrTimeFormat" | "MarshaledTime" | "WhitelistReason" | "Stage") => {
                Value::str("")
            }
            (LINE, "Raw") => Value::str(self.line),
            (LINE, "Src") => Value::Str(Arc::clone(&self.stream.src)),
            (LINE, "Module") => Value::str(self.stream.kind.name()),
            (LINE, "Labels") => Value::Object(Handle::of(LABELS)),
            _ => return Err(unknown(name)),
        })
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        Ok(match object.kind {
            LABELS => self.labels().get(key).map(|value| Value::str(value.as_str())),
            _ => None,
        })
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        Ok(match object.kind {
            LABELS => self
                .labels()
                .iter()
                .map(|(key, value)| (key.as_str().into(), Value::str(value.as_str())))
                .collect(),
            _ => Vec::new(),
        })
    }

    fn method(&mut self, _: Handle, name: &str, _: &[Value]) -> Result<Value, EvalError> {
        match name {
            "GetMeta" => Ok(Value::str("")),
            "GetType" => Ok(Value::str("log")),
            "ParseIPSources" => Ok(Value::list(Vec::new())),
            _ => Err(unknown(name)),
        }
    }

    fn store(&mut self, _: Handle, key: &str, _: Value) -> Result<(), EvalError> {
        Err(EvalError::other(format!("`{key}` cannot be stored: only a parser can write to an event")))
    }

    fn services(&self) -> &dyn Services {
        self.services
    }
}

#[cfg(test)]
mod tests {
    use testudo_expr::host::NoServices;

    use super::*;
    use crate::{kind::Kind, testing};

    fn lines(expression: &str, line: &str) -> Result<Vec<String>, String> {
        let transform = Transform::new(expression).map_err(|error| error.message)?;
        let stream = testing::stream(Kind::Http, "10.0.0.1", "");
        match transform.apply(line, &stream, Timestamp::from_unix(0, 0), &NoServices)? {
            Mapped::Same => Ok(vec![line.to_owned()]),
            Mapped::Lines(lines) => Ok(lines.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn text_replaces_and_lists_split() {
        let check = |expression: &str, line: &str, expected: &[&str]| {
            assert_eq!(lines(expression, line).expect(expression), expected, "{expression}");
        };
        check("evt.Line.Raw", "a b", &["a b"]);
        check("evt.Line.Labels.type + ' ' + Upper(evt.Line.Raw)", "a", &["syslog A"]);
        check("evt.Line.Src + evt.Line.Module + evt.Parsed.message", "a", &["10.0.0.1http"]);
        check("Split(evt.Line.Raw, ',')", "a,b,c", &["a", "b", "c"]);
        check("[]", "a", &[]);
        // The usual one: a line for each record of a JSON array.
        check(
            "map(JsonExtractSlice(evt.Line.Raw, \"Records\"), ToJsonString(#))",
            r#"{"Records":[{"ip":"192.0.2.1"},{"ip":"192.0.2.2"}]}"#,
            &[r#"{"ip":"192.0.2.1"}"#, r#"{"ip":"192.0.2.2"}"#],
        );
    }

    #[test]
    fn failures_are_told() {
        let check = |expression: &str, part: &str| {
            let error = lines(expression, "a").expect_err(expression);
            assert!(error.contains(part), "{expression}: {error}");
        };
        check("evt.Nothing", "Nothing");
        check("evt.Line.Raw +", "");
        check("1 + 1", "neither text");
        check("[1, 2]", "no text");
        check("nil", "neither text");
        check("repeat(evt.Line.Raw, 100000)", "longer");
    }
}
