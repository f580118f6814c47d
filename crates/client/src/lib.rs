//! The client of a local API, ours or another: logging in, heartbeats, alerts, questions; over TCP, TLS and
//! Unix sockets.
//!
//! A [`Client`] keeps its token and renews it in time, and keeps one connection open between calls. Every
//! wait has an end, and every answer a largest size. An answer that breaks off is an error, never a part of
//! the truth.

mod calls;
mod connect;
mod error;
mod events;
mod exchange;
mod session;
mod settings;
mod tls;

pub use calls::{Client, Registered, query};
pub use error::{ClientError, SettingsError};
pub use events::{Event, Listener};
pub use settings::{Login, Retries, Settings, Timeouts, TlsFiles, user_agent};

#[cfg(test)]
mod tests;
