//! Why a command could not run, in words that say what to do next.

use std::{fmt, io};

use testudo_hub::HubError;

/// Exit code: the command ran and found something.
pub(crate) const FINDINGS: u8 = 1;
/// Exit code: the command could not run.
pub(crate) const COULD_NOT_RUN: u8 = 2;

/// A command that could not run.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Failure {
        let hint = error.hint();
        Failure::new(error.to_string()).hint(hint)
    }
}

/// Writing the report failed.
pub(crate) fn output(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write the report: {error}"))
}
