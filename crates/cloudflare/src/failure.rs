//! Why a request came to nothing, and what may have become of it.

use std::fmt;

/// One of the errors of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The number that the API gives it.
    pub code: i64,
    /// What it says.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

fn listed(problems: &[Problem]) -> String {
    match problems {
        [] => "no reason is given".to_owned(),
        problems => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too much was asked, or another bulk operation is pending (429).
    #[error("the API wants a pause: {}", listed(.problems))]
    Busy {
        /// How long, if it says so.
        seconds: Option<u64>,
        /// What it says.
        problems: Vec<Problem>,
    },
    /// The API has understood and does not do it (other answers from 400 to 499, or `success: false`).
    #[error("the API refuses ({status}): {}", listed(.problems))]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What it says.
        problems: Vec<Problem>,
    },
    /// The API has a fault of its own (500 and above).
    #[error("the API has a fault ({status})")]
    Server {
        /// The status of the answer.
        status: u16,
    },
    /// The answer is not what the API promises.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// There was no answer.
    #[error("there is no answer: {0}")]
    Unreachable(String),
    /// Our share of the API's limits is used up.
    #[error("the share of {kind} is used up")]
    Spent {
        /// Of what.
        kind: &'static str,
        /// When there is something again: milliseconds since 1970.
        free_at: u64,
    },
}

impl Failure {
    /// Whether the request may have been carried out all the same.
    pub fn is_unsure(&self) -> bool {
        matches!(self, Failure::Server { .. } | Failure::Unreadable(_) | Failure::Unreachable(_))
    }

    /// The token is not taken, or lacks a permission: what to do is up to a person.
    pub fn is_permission(&self) -> bool {
        matches!(self, Failure::Refused { status: 401 | 403, .. })
    }

    /// There is no such thing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Failure::Refused { status: 404, .. })
    }
}
