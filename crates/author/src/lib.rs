//! Help for those who write rules.
//!
//! [`Samples`] are what a rule must understand and what it must not; a [`Trial`] runs them.

pub mod backtest;
pub mod bundle;
pub mod draft;
mod hostile;
pub mod mine;
pub mod samples;
pub mod suggest;
mod trial;

pub use self::{
    bundle::{Bundle, BundleError},
    samples::Samples,
    trial::{Case, Part, Trial},
};
