//! The gate's decisions: those of an API, looked up for each request.

mod book;
mod config;
mod daemon;

pub use config::{DEFAULT_PATHS, GateConfig};
pub use daemon::{GateError, run};
