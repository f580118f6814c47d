//! What can go wrong: when an expression is read, and when it runs.

use std::{fmt, ops::Range};

/// A place in the source text of an expression, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of `range`.
    pub fn new(range: Range<usize>) -> Self {
        Span { start: range.start as u32, end: range.end as u32 }
    }

    /// The smallest span that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// As a byte range.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// An expression that cannot be used: it does not parse, or does not type-check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong: a lower-case fragment without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SyntaxError {
    /// An error without a hint.
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        SyntaxError { message: message.into(), span, hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// A failure at run time. Common and cheap: rules use failing expressions as tests
/// ("is this line JSON"), so the common ones carry no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// A field, element or method of nil was asked for.
    NilAccess,
    /// An operand or argument is of a kind that the operation does not take.
    Kind {
        /// The operation.
        what: &'static str,
        /// The kind it got.
        got: &'static str,
    },
    /// A list or string index outside its bounds.
    OutOfRange,
    /// A helper refused its input (`not JSON`, `not base64` …).
    Input(&'static str),
    /// The memory or step budget of one evaluation is used up.
    Budget,
    /// Anything rarer, in words.
    Other(Box<str>),
}

impl EvalError {
    /// A failure in words.
    pub fn other(message: impl Into<String>) -> Self {
        EvalError::Other(message.into().into_boxed_str())
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::NilAccess => f.write_str("cannot look into nil"),
            EvalError::Kind { what, got } => write!(f, "{what} does not take a value of kind {got}"),
            EvalError::OutOfRange => f.write_str("index out of range"),
            EvalError::Input(what) => f.write_str(what),
            EvalError::Budget => f.write_str("the evaluation used up its budget"),
            EvalError::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for EvalError {}
