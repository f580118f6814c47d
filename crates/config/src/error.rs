//! Why a configuration cannot be used.

use std::{fmt, io, path::PathBuf};

use testudo_rules::Diagnostic;

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// What is in the files is wrong.
    #[error("{0}")]
    Invalid(Diagnostics),
    /// What is asked for cannot be.
    #[error("{0}")]
    Unusable(String),
}

/// Everything that is wrong, at least one thing; shown one a line, with place and hint.
#[derive(Clone)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Debug for Diagnostics {
    /// Without the texts of the files, in which there are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let place = &diagnostic.place;
            write!(f, "{}:{}:{}: {}", place.file.path, place.line, place.column, diagnostic.message)?;
            if let Some(hint) = &diagnostic.hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl From<Vec<Diagnostic>> for ConfigError {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Invalid(Diagnostics(diagnostics))
    }
}

impl From<Box<Diagnostic>> for ConfigError {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Self::Invalid(Diagnostics(vec![*diagnostic]))
    }
}

impl From<Diagnostic> for ConfigError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(Diagnostics(vec![diagnostic]))
    }
}
