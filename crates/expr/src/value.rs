//! The dynamic values of the language.

use std::{collections::BTreeMap, fmt, sync::Arc};

use testudo_event::time::Timestamp;

use crate::host::Handle;

/// A map value. Ordered by key, so that whatever walks it is deterministic.
pub type Map = BTreeMap<Arc<str>, Value>;

/// What an expression computes with. Cheap to clone: everything large is shared.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing: an absent key of an untyped map, an unset pointer.
    #[default]
    Nil,
    /// A boolean.
    Bool(bool),
    /// A 64-bit signed integer; every integer width of the reference becomes this one.
    Int(i64),
    /// A 64-bit float; also every number that came out of JSON.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A byte array (`b"…"`).
    Bytes(Arc<[u8]>),
    /// An instant with the offset it was written with.
    Time(Timestamp),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A map with text keys.
    Map(Arc<Map>),
    /// A record or a writable map that belongs to the [`Host`](crate::Host).
    Object(Handle),
}

impl Value {
    /// Text from anything that is text.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Value::Str(text.into())
    }

    /// A list value.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(Arc::new(items))
    }

    /// A list of text values.
    pub fn strings<S: Into<Arc<str>>>(items: impl IntoIterator<Item = S>) -> Self {
        Value::list(items.into_iter().map(|s| Value::Str(s.into())).collect())
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// True for [`Value::Nil`].
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// The kind as messages name it: `string`, `int`, `list` …
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Time(_) => "time",
            Value::Duration(_) => "duration",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Object(_) => "object",
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Value::Int(i)
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Self {
        Value::Float(f)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::Str(s.into())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::Str(s.into())
    }
}

impl fmt::Display for Value {
    /// For messages only; the language's own conversions live in [`crate::functions`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Str(s) => write!(f, "{s:?}"),
            Value::Int(i) => write!(f, "{i}"),
            Value::Float(x) => write!(f, "{x}"),
            Value::Bool(b) => write!(f, "{b}"),
            other => f.write_str(other.kind()),
        }
    }
}
