//! The gate: enforces decisions on HTTP beside any web server.
//!
//! A web server asks the gate about each request before it answers it ([`Server`]), and shows what the gate says to visitors
//! who may not pass: a page, a challenge that a browser answers by itself, or a wait. What is done with whom says a
//! [`Policy`]; who is known for what, [`Decisions`]. [`Gate`] is the whole of it without sockets and clocks.
//!
//! *Invariants:* a client's address comes from nobody but trusted proxies. A ban holds whatever pass a visitor shows. Every
//! table, body and header is bounded. Secrets are compared in constant time.

mod action;
mod address;
#[cfg(unix)]
mod answered;
mod challenge;
mod cookie;
mod decisions;
mod form;
mod gate;
mod identity;
mod judge;
mod kept;
mod keys;
mod metrics;
mod mfa;
mod moment;
mod outside;
mod page;
mod pass;
mod path;
mod policy;
mod provider;
mod replay;
mod seal;
mod server;
mod snippet;
#[cfg(test)]
mod tests;
mod throttle;
mod visit;

pub use self::{
    action::{Action, MFA_KINDS},
    address::{AddressSource, Peer},
    challenge::Refusal,
    decisions::{Decisions, Match},
    gate::{Gate, Random, Verdict},
    identity::User,
    keys::{KeyError, Keys},
    metrics::{Metrics, Outcome},
    mfa::{Enrolled, Enrolment, Method, MfaPolicy, OidcPolicy, Unknown, Vault, VaultError},
    moment::Moment,
    page::OWN_PATH,
    policy::{ChallengePolicy, Failure, Host, Policy, Restriction, Section},
    provider::{Fallback, ProviderPolicy, Service},
    server::{Listen, ServeError, Server, ServerConfig, TlsFiles, Upstream, serve},
    snippet::{Place, WebServer, snippet},
    throttle::Rate,
    visit::{Untold, Visit, Way},
};
