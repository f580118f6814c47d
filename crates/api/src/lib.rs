//! The local API: the HTTP server that agents, command-line tools and bouncers of the ecosystem talk to
//! without noticing the difference.
//!
//! A [`Service`] holds what every answer needs: the store, the profiles, who may ask. A [`Server`] brings it
//! to sockets. Requests become answers in one place, [`Service::answer`], which knows nothing of sockets.
//! Answers about decisions come from memory; what waits for the database runs where waiting is allowed.

mod access;
mod address;
mod answer;
mod body;
mod certificates;
mod config;
mod counts;
mod dead;
mod durations;
mod encoding;
mod etag;
mod events;
mod gauges;
mod handlers;
mod helpers;
mod keys;
mod machines;
mod openapi;
mod operations;
mod pages;
mod passwords;
mod protected;
mod push;
mod query;
mod rendered;
mod request;
mod routes;
mod schemas;
mod server;
mod service;
mod setup;
mod tls;
mod token;

pub use answer::{AnswerBody, BodyError};
pub use config::{AutoRegistration, Config, ConfigError};
pub use counts::Counted;
pub use dead::DeadLetters;
pub use durations::{DURATION_BOUNDS, Durations};
pub use gauges::{ActiveDecisions, Gauges};
pub use helpers::IndexServices;
pub use keys::{hash_key, new_key};
pub use passwords::{HashError, hash_password};
pub use push::{PushError, Pushed};
pub use request::{Origin, PeerCertificate};
pub use server::{Listen, ListenError, Server};
pub use service::{Clock, Service, StartError, prepare_label, system_clock};
pub use setup::{LocationError, location};
pub use tls::{ClientVerification, Tls, TlsConfig, TlsError};

use testudo_event::Timestamp;

/// Milliseconds since 1970 as an instant, in UTC.
fn instant(millis: i64) -> Timestamp {
    Timestamp::from_unix(millis.div_euclid(1000), millis.rem_euclid(1000) as u32 * 1_000_000)
}

#[cfg(test)]
mod tests;
