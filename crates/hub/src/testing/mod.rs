//! The functional tests of a hub: logs, rules, and assertions on what the rules make of the logs.
//!
//! [`run_tests`] gives a [`TestResult`] for each, with the lenient verdict of the reference and
//! every assertion that is false. What only these tests need (their sorting, their detour through
//! YAML, their holes) stays in here.

mod asserts;
mod config;
mod dump;
mod items;
mod results;
mod run;
mod sort;
#[cfg(test)]
mod tests;

pub use asserts::FalseLine;
pub use run::{TestResult, Way, run_tests};
