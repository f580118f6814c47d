//! *http*: lines pushed as JSON values.
//!
//! Pushes cannot be read again: a sender that was answered with success does not send again, so that
//! its lines are lost if this program dies before they are dealt with.

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod serve;
#[cfg(all(test, unix, feature = "http"))]
mod tests;
#[cfg(feature = "http")]
mod values;

#[cfg(feature = "http")]
pub use self::serve::HttpSource;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::tls::TlsConfig;

/// Where an *http* source listens, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// `listen_addr`.
    pub(crate) address: Option<String>,
    /// `listen_socket`.
    pub(crate) socket: Option<PathBuf>,
    /// `path`.
    pub(crate) path: String,
    /// `auth_type`, with what it needs.
    pub(crate) auth: Auth,
    /// `tls`.
    pub(crate) tls: Option<TlsConfig>,
    /// `custom_status_code`.
    pub(crate) status: u16,
    /// `custom_headers`.
    pub(crate) headers: BTreeMap<String, String>,
    /// `max_body_size` in bytes.
    pub(crate) max_body: Option<u64>,
    /// `timeout` for reading a request.
    pub(crate) timeout: Option<Duration>,
}

/// How a sender shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `basic_auth`.
    Basic {
        /// `username`.
        user: String,
        /// `password`.
        password: String,
    },
    /// `headers`: all of them, with these values.
    Headers(BTreeMap<String, String>),
    /// `mtls`: a certificate that the authority signed.
    Certificate,
}
