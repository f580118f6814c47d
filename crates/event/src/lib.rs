//! What travels through Testudo, and the arithmetic on it that has to agree with Go: instants and their
//! texts, date layouts, durations, addresses and ranges, number formatting, and the records of an alert.
//!
//! Nothing here reads a clock, a file or the environment: the current time is an argument.

pub mod alert;
mod civil;
pub mod dates;
pub mod duration;
pub mod layout;
pub mod net;
mod pairs;
pub mod text;
pub mod time;

pub use alert::{Alert, AlertEvent, Bystanders, Contributor, Decision, Overflow, Source};
pub use dates::{YearClock, parse_date};
pub use layout::{Layout, ParsedTime};
pub use net::{Prefix, PrefixSet};
pub use pairs::Pairs;
pub use time::Timestamp;
