//! A tree into the types of a configuration, strictly: keys that a type does not have are errors.
//! A key whose value is null counts as one that is not there.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor, value::StringDeserializer,
    },
    forward_to_deserialize_any,
};
use testudo_rules::{Diagnostic, yaml::Resolved};

use crate::{
    codes,
    tree::{Entry, Node, Spot, Value},
};

/// Decodes a tree.
///
/// # Errors
/// Everything that is wrong with it: all keys that are not known, or the first value that does not fit.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Diagnostic>> {
    T::deserialize(Reader(node)).map_err(|fault| fault.diagnostics(&node.spot))
}

/// The keys that a structure takes, as its type names them: tables of keys are held to it.
pub fn keys_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It ends with an error: there is nothing to read.
    let _: Result<T, de::value::Error> = T::deserialize(Asked(&mut keys));
    keys
}

/// Takes down the keys that it is asked for.
struct Asked<'k>(&'k mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("it is no structure"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = keys;
        Err(de::Error::custom("there is nothing to read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A value with its place: the range in the text of its file with the variables put in, see
/// [`Spot::with_span`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// The range.
    pub span: Range<usize>,
}

/// The name by which [`At`] asks for a place.
const AT: &str = "testudo::At";
/// The keys that it reads.
const AT_KEYS: &[&str] = &["start", "end", "value"];

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<At<T>, A::Error> {
                let missing = || de::Error::custom("a place is known only in a file");
                let start = access.next_element()?.ok_or_else(missing)?;
                let end = access.next_element()?.ok_or_else(missing)?;
                let value = access.next_element()?.ok_or_else(missing)?;
                Ok(At { value, span: start..end })
            }
        }
        deserializer.deserialize_struct(AT, AT_KEYS, AtVisitor(std::marker::PhantomData))
    }
}

/// What is wrong, with its place once that is known.
#[derive(Debug)]
struct Fault(Vec<Issue>);

#[derive(Debug)]
struct Issue {
    code: &'static str,
    message: String,
    hint: Option<String>,
    spot: Option<Spot>,
}

impl Fault {
    fn new(code: &'static str, message: String, hint: Option<String>) -> Self {
        Self(vec![Issue { code, message, hint, spot: None }])
    }

    /// Gives the place to what has none yet.
    fn at(mut self, spot: &Spot) -> Self {
        for issue in &mut self.0 {
            issue.spot.get_or_insert_with(|| spot.clone());
        }
        self
    }

    fn diagnostics(self, spot: &Spot) -> Vec<Diagnostic> {
        self.0
            .into_iter()
            .map(|issue| issue.spot.as_ref().unwrap_or(spot).complain(issue.code, issue.message, issue.hint))
            .collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<_> = self.0.iter().map(|issue| issue.message.as_str()).collect();
        f.write_str(&messages.join("; "))
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(codes::VALUE, message.to_string(), None)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let hint = matches!(unexpected, Unexpected::Str(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_))
            .then(|| expected.to_string())
            .filter(|expected| expected.contains("sequence"))
            .map(|_| "write it as a list: `- value`".to_owned());
        Self::new(codes::VALUE, format!("{unexpected} stands where {expected} is expected"), hint)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let number = match unexpected {
            Unexpected::Signed(number) => Some(number.to_string()),
            Unexpected::Unsigned(number) => Some(number.to_string()),
            _ => None,
        };
        if let Some(number) = number {
            return Self::new(codes::VALUE, format!("{number} is too small or too large here"), None);
        }
        Self::invalid_type(unexpected, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(codes::MISSING_KEY, format!("missing `{field}`"), Some(format!("add `{field}:`")))
    }
}

/// A hint for a name that is not known: the closest one, or all of them.
pub fn suggestion(name: &str, known: &[&str]) -> Option<String> {
    let closest = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), other)).min()?;
    if closest.0 <= name.chars().count().div_ceil(4) {
        return Some(format!("did you mean `{}`?", closest.1));
    }
    let mut names = known.to_vec();
    names.sort_unstable();
    Some(format!("known here: {}", names.join(", ")))
}

struct Reader<'n>(&'n Node);

impl Reader<'_> {
    fn wrong(&self, expected: &str) -> Fault {
        let hint = (expected == "a list" && matches!(self.0.value, Value::Scalar(..)))
            .then(|| "write it as a list: `- value`".to_owned());
        let message = format!("{} stands where {expected} is expected", self.0.kind_name());
        Fault::new(codes::VALUE, message, hint).at(&self.0.spot)
    }

    /// A number: what YAML takes for one.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar(_, Resolved::Int(number)) => visitor.visit_i64(*number),
            Value::Scalar(_, Resolved::Float(number)) => visitor.visit_f64(*number),
            _ => return Err(self.wrong("a number")),
        }
        .map_err(|fault: Fault| fault.at(&self.0.spot))
    }
}

macro_rules! numbers {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Scalar(_, Resolved::Null) => visitor.visit_unit(),
            Value::Scalar(_, Resolved::Bool(value)) => visitor.visit_bool(*value),
            Value::Scalar(_, Resolved::Int(_) | Resolved::Float(_)) => self.number(visitor),
            Value::Scalar(text, Resolved::Text) => {
                visitor.visit_str(text).map_err(|fault: Fault| fault.at(&self.0.spot))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Scalar(_, Resolved::Bool(value)) => visitor.visit_bool(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            // Whatever YAML takes it for: a password may consist of digits.
            Value::Scalar(text, _) => visitor.visit_str(text),
            _ => return Err(self.wrong("text")),
        }
        .map_err(|fault: Fault| fault.at(&self.0.spot))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::List(items) => {
                visitor.visit_seq(Items(items)).map_err(|fault: Fault| fault.at(&self.0.spot))
            }
            _ => Err(self.wrong("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Map(entries) => visitor
                .visit_map(Entries { left: entries.iter(), value: None, with_nulls: true })
                .map_err(|fault: Fault| fault.at(&self.0.spot)),
            _ => Err(self.wrong("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == AT {
            return visitor.visit_seq(Placed { node: self.0, step: 0 });
        }
        let entries = match &self.0.value {
            Value::Map(entries) => entries.as_slice(),
            // An empty document has no keys.
            _ if self.0.is_null() => &[],
            _ => return Err(self.wrong("a map")),
        };
        let unknown: Vec<Issue> = entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
            .map(|entry| Issue {
                code: codes::UNKNOWN_KEY,
                message: format!("unknown key `{}`", entry.key),
                hint: suggestion(&entry.key, known),
                spot: Some(entry.spot.clone()),
            })
            .collect();
        if !unknown.is_empty() {
            return Err(Fault(unknown));
        }
        visitor
            .visit_map(Entries { left: entries.iter(), value: None, with_nulls: false })
            .map_err(|fault: Fault| fault.at(&self.0.spot))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

struct Items<'n>(&'n [Node]);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((first, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        self.0 = rest;
        seed.deserialize(Reader(first)).map(Some).map_err(|fault| fault.at(&first.spot))
    }
}

struct Entries<'n> {
    left: std::slice::Iter<'n, Entry>,
    value: Option<&'n Node>,
    with_nulls: bool,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.left.find(|entry| self.with_nulls || !entry.value.is_null()) else {
            return Ok(None);
        };
        self.value = Some(&entry.value);
        let key: StringDeserializer<Fault> = entry.key.clone().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.at(&entry.spot))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(node) = self.value.take() else {
            return Err(de::Error::custom("a value without its key"));
        };
        seed.deserialize(Reader(node)).map_err(|fault| fault.at(&node.spot))
    }
}

/// What [`At`] reads: start, end, value.
struct Placed<'n> {
    node: &'n Node,
    step: u8,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.step += 1;
        let number = |number: usize| IntoDeserializer::<Fault>::into_deserializer(number);
        let span = &self.node.spot.span;
        match self.step {
            1 => seed.deserialize(number(span.start)).map(Some),
            2 => seed.deserialize(number(span.end)).map(Some),
            3 => seed.deserialize(Reader(self.node)).map(Some),
            _ => Ok(None),
        }
    }
}
