//! From overflows to decisions: simulation, then profiles.
//!
//! [`Profiles::decide`] gives one [`Alert`](testudo_event::Alert) for each source of an overflow, with the decisions of
//! the first profile that matches it. The decisions run from the time of the overflow, not from
//! the time at which they are made: a backlog bans nobody for hours that have passed. A profile may attribute the decisions
//! to all who contributed, or to the networks that they come from.

mod attribution;
mod cover;
mod defaults;
mod profiles;
mod simulation;

pub use defaults::default_profiles;
pub use profiles::{Decided, ProfileError, Profiles};
pub use simulation::is_simulated;
pub use testudo_expr::{Services, host::NoServices};
