//! From a line to an event: stages, node trees, patterns, assignments, whitelists, enrichers.

mod compile;
mod counts;
mod enrich;
mod plan;
mod run;

pub(crate) use compile::{Context, Open, compile_stages, finish_groks};
pub(crate) use counts::NODE_COUNTS;
pub use plan::Node;
pub(crate) use plan::{Stages, WellKnown};
pub use run::{NoObserver, Observer, Step};
pub(crate) use run::{Parser, Worker, is_untyped};
