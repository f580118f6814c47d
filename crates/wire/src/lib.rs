//! The JSON of the local API, as agents, bouncers and command-line tools of the ecosystem read and write it:
//! which fields there are, when they are left out or `null`, and how numbers and times are spelled.
//!
//! Nothing here reads a clock, a socket or a store. What a client sends is read leniently (unknown fields,
//! `null` for "not given") into types whose required fields are checked in a second step, because the API
//! answers a broken document and an incomplete one differently. [`snapshot`] is the one form that is not JSON.

pub mod admin;
pub mod alert;
pub mod allowlist;
pub mod answer;
pub mod body;
mod convert;
pub mod decision;
pub mod invalid;
pub mod metrics;
pub mod snapshot;
mod spelling;
pub mod stream;
pub mod watcher;

pub use alert::{Alert, Pair, PostedAlert};
pub use answer::{ApiError, Deleted};
pub use convert::{NO_MACHINE, posted_alerts};
pub use decision::{AlertDecision, Decision, DecisionRef, PostedDecision};
pub use invalid::Invalid;
