//! What an expression may name: variables, records, methods, and the types of the language.
//!
//! A schema is written as text (see [`Schema::parse`]) because it then reads like the
//! documentation of the environment that it is.

use crate::error::SyntaxError;

/// The static type of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Known only at run time.
    Any,
    /// The literal `nil`.
    Nil,
    /// Boolean.
    Bool,
    /// Integer of any width.
    Int,
    /// Float of any width.
    Float,
    /// Text.
    String,
    /// Byte array.
    Bytes,
    /// Instant.
    Time,
    /// Duration.
    Duration,
    /// List of one type.
    List(Box<Type>),
    /// Map from text to one type.
    Map(Box<Type>),
    /// Record of the schema, by its index in [`Schema::records`]. May be nil where `pointer`.
    Record {
        /// Index in [`Schema::records`].
        index: u16,
        /// Whether it may be nil.
        pointer: bool,
    },
}

impl Type {
    /// Integer, float or unknown.
    pub fn may_be_number(&self) -> bool {
        matches!(self, Type::Any | Type::Int | Type::Float)
    }
}

/// What evaluating an expression may do besides giving a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// Writes the event, a stash, a log … : never folded, hoisted or reordered.
    pub mutates: bool,
    /// May wait for the network: `lint` warns where a line waits for it.
    pub blocks: bool,
    /// Depends on more than its arguments (clock, data files, stash): never folded.
    pub impure: bool,
}

impl Effects {
    /// No effect at all.
    pub const PURE: Effects = Effects { mutates: false, blocks: false, impure: false };

    /// The effects of both.
    #[must_use]
    pub fn and(self, other: Effects) -> Effects {
        Effects {
            mutates: self.mutates || other.mutates,
            blocks: self.blocks || other.blocks,
            impure: self.impure || other.impure,
        }
    }
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A method of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// Types of its parameters.
    pub parameters: Vec<Type>,
    /// Type of its result.
    pub returns: Type,
    /// What calling it does.
    pub effects: Effects,
}

/// A record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name, for messages.
    pub name: String,
    /// Its fields.
    pub fields: Vec<Field>,
    /// Its methods.
    pub methods: Vec<Method>,
}

/// An environment that expressions are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Variables, in the order of their indexes.
    pub variables: Vec<Field>,
    /// Record types.
    pub records: Vec<Record>,
    /// Functions beside the built-in ones, called through [`Host::method`](crate::Host::method)
    /// on [`FUNCTIONS`](Self::FUNCTIONS).
    pub functions: Vec<Method>,
}

impl Schema {
    /// The handle on which a host receives calls of [`Schema::functions`].
    pub const FUNCTIONS: crate::Handle = crate::Handle::of(u16::MAX);

    /// Reads a schema from its text form, one declaration a line:
    ///
    /// ```text
    /// record Line
    ///   Raw string
    ///   Labels map[string]string
    /// record Event
    ///   Line Line
    ///   Alert *Alert
    ///   GetMeta(string) string
    ///   SetMeta(string, string) bool mutates
    /// var evt *Event
    /// func basename(string) string
    /// ```
    ///
    /// Types: `any bool int float string bytes time duration`, `[]T`, `map[string]T`, the name of a
    /// record (also of a later one), `*Record` for one that may be nil. After the result of a
    /// method or function may stand the words `mutates`, `blocks`, `impure`.
    ///
    /// # Errors
    /// The first line that is not of this form, with its span in `text`.
    pub fn parse(text: &str) -> Result<Schema, SyntaxError> {
        crate::check::parse_schema(text)
    }

    /// The same records with other variables.
    #[must_use]
    pub fn with_variables(&self, variables: Vec<Field>) -> Schema {
        Schema { variables, ..self.clone() }
    }

    /// Index of a variable.
    pub fn variable(&self, name: &str) -> Option<(u16, &Type)> {
        let at = self.variables.iter().position(|v| v.name == name)?;
        Some((at as u16, &self.variables[at].ty))
    }

    /// The type of a record by its name.
    pub fn record(&self, name: &str) -> Option<Type> {
        let index = self.records.iter().position(|r| r.name == name)?;
        Some(Type::Record { index: index as u16, pointer: false })
    }
}
