//! Who must never be banned here, who is a good client, and how far a rule may reach.
//!
//! [`Protected`] knows the addresses without which the machine or its administrator would be locked out. [`GoodTraffic`]
//! remembers who lately came and did nothing wrong, so that a network can be judged by whom a ban of it would hit.
//! [`BlastRadius`] stops a rule that is about to ban such clients by the dozen.
//!
//! Nothing here uses the network or reads a clock. Only [`protected::collect`] reads files, below folders that it is given.

mod blast;
mod candidates;
mod key;
pub mod protected;
mod traffic;

pub use blast::{BlastRadius, Limits, Ruling, Trip};
pub use protected::{Paths, Protected};
pub use traffic::{Budget, GoodTraffic, NoTable, Standing, TrafficCounts};
