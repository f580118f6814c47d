//! The one error type of the crate: what is wrong, where in the text that was given, and what to do about it.

use thiserror::Error;

/// Why a pattern was refused. Offsets are bytes into the text that the caller handed in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The text is no valid RE2 expression.
    #[error("{problem}")]
    Syntax {
        /// Where the offending piece begins.
        offset: usize,
        /// What is wrong with it.
        problem: String,
        /// How it can be written instead; empty when there is nothing to add.
        hint: &'static str,
    },
    /// A grok refers to a name that the library does not know (yet).
    #[error("unknown pattern `{name}`")]
    UnknownReference {
        /// Where the reference begins.
        offset: usize,
        /// The name that was not found.
        name: String,
        /// A known name that looks much like it.
        suggestion: Option<String>,
    },
    /// References go deeper than [`MAX_REFERENCE_DEPTH`](crate::MAX_REFERENCE_DEPTH).
    #[error("pattern references are nested more than {limit} deep")]
    TooDeep {
        /// Where the outermost reference begins.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// The expanded text is longer than [`MAX_EXPANDED_BYTES`](crate::MAX_EXPANDED_BYTES).
    #[error("the pattern expands to more than {limit} bytes")]
    TooLong {
        /// Where the reference begins that went over the limit.
        offset: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The regex is valid but its automaton is larger than [`REGEX_SIZE_LIMIT`](crate::REGEX_SIZE_LIMIT).
    #[error("the compiled pattern is too big: {reason}")]
    TooBig {
        /// What the compiler said.
        reason: String,
    },
}

impl PatternError {
    /// A syntax error at `offset`.
    pub(crate) fn syntax(offset: usize, problem: impl Into<String>, hint: &'static str) -> Self {
        Self::Syntax { offset, problem: problem.into(), hint }
    }

    /// Byte offset into the pattern that was given; 0 where the pattern as a whole is meant.
    pub fn offset(&self) -> usize {
        match self {
            Self::Syntax { offset, .. }
            | Self::UnknownReference { offset, .. }
            | Self::TooDeep { offset, .. }
            | Self::TooLong { offset, .. } => *offset,
            Self::TooBig { .. } => 0,
        }
    }

    /// What the author of the pattern can do, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { hint: "", .. } => None,
            Self::Syntax { hint, .. } => Some((*hint).to_owned()),
            Self::UnknownReference { suggestion: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::UnknownReference { suggestion: None, .. } => {
                Some("a pattern must be defined before it is used, and cannot refer to itself".to_owned())
            }
            Self::TooDeep { .. } | Self::TooLong { .. } => {
                Some("split the pattern, or refer to fewer definitions".to_owned())
            }
            Self::TooBig { .. } => Some("lower the repeat counts or the number of alternatives".to_owned()),
        }
    }

    /// The same error with its offset passed through `map`: used where a text was derived from another one.
    pub(crate) fn map_offset(mut self, map: impl Fn(usize) -> usize) -> Self {
        match &mut self {
            Self::Syntax { offset, .. }
            | Self::UnknownReference { offset, .. }
            | Self::TooDeep { offset, .. }
            | Self::TooLong { offset, .. } => *offset = map(*offset),
            Self::TooBig { .. } => {}
        }
        self
    }
}
