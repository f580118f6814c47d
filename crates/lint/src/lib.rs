//! Checks of rule files: what will not load, and what its author may not mean.
//!
//! [`junit`] writes results as build servers read them.

pub mod junit;
