//! The daemon: sources, engine, decisions, store and API as one process that goes on where it was.
//!
//! [`test()`] reads and compiles everything that a configuration names. [`run`] runs it: the agent part reads
//! logs and makes alerts, the API part keeps decisions and answers; either may run alone. State is written
//! as a whole every few seconds ([`Options`] say where), so that no line counts twice or is lost.

mod agent;
mod clock;
mod control;
mod credentials;
mod daemon;
mod doors;
mod lists;
mod lock;
pub mod logs;
mod metrics;
mod outbox;
mod page;
mod plan;
mod process;
mod prom;
mod protect;
mod rules;
mod serve;
mod signals;
mod state;
mod steady;
mod trace;

pub use agent::{AgentError, Resolve};
pub use control::control_path;
pub use daemon::{NodeError, Tested, client_settings, run, test};
pub use lock::LockError;
pub use plan::{Once, Options, PlanError, configuration};
pub use rules::{OwnRules, RuleSources};
pub use serve::ServeError;
pub use state::StateError;
pub use trace::{Fate, Handled, Met, Overflowed, Poured, Trace};
