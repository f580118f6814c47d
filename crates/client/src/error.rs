//! What can go wrong between a client and its API.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is none.
    #[error("'{url}' is no address of a local API: {problem}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file with a certificate or key cannot be used.
    #[error("cannot use {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The user agent or key has characters that headers cannot have.
    #[error("the {0} has characters that cannot be sent")]
    Header(&'static str),
}

/// Why a call did not bring what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("cannot reach the local API at {address}: {source}; {}", reach_hint(source))]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// It took too long.
    #[error("the local API at {address} is silent: {doing} took more than {}s", after.as_secs_f32())]
    Timeout {
        /// Where.
        address: String,
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection was lost before the end of the answer.
    #[error("the answer of the local API at {address} broke off: {source}")]
    Broken {
        /// Where.
        address: String,
        /// How.
        source: hyper::Error,
    },
    /// The answer is larger than any should be.
    #[error("the answer of the local API at {address} has more than {limit} bytes")]
    TooLarge {
        /// Where.
        address: String,
        /// The largest size.
        limit: usize,
    },
    /// It does not accept who we are.
    #[error("API error: {message}")]
    Refused {
        /// 401 or 403.
        status: u16,
        /// What it says.
        message: String,
    },
    /// It answers with a failure.
    #[error("API error: {message}")]
    Answered {
        /// The status of the answer.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The answer is not what the API answers.
    #[error("the answer of {address} to {call} cannot be understood: {problem}; is it a local API?")]
    Unreadable {
        /// Where.
        address: String,
        /// Method and path.
        call: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The call makes no sense with this login.
    #[error("{0}")]
    Login(&'static str),
}

impl ClientError {
    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Refused { status, .. } | ClientError::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether nothing arrived there, or no answer came: the same call may succeed later.
    pub fn is_transport(&self) -> bool {
        matches!(
            self,
            ClientError::Unreachable { .. } | ClientError::Timeout { .. } | ClientError::Broken { .. }
        )
    }

    /// Whether the same call can be expected to succeed later: the network or the server is at fault, not
    /// what was sent.
    pub fn is_temporary(&self) -> bool {
        self.is_transport() || matches!(self.status(), Some(429 | 500..=599))
    }
}

fn reach_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "check that it runs, and that it listens there"
        }
        io::ErrorKind::PermissionDenied => "check who may use this socket",
        io::ErrorKind::InvalidData => "check its certificate and the authority that is trusted",
        _ => "check the url in the credentials file, and the network",
    }
}
