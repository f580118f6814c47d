//! Help for those who write rules.
//!
//! [`Samples`] are what a rule must understand and what it must not; a [`Trial`] runs them.

pub mod bundle;
mod hostile;
pub mod junit;
pub mod samples;
mod trial;

pub use self::{
    bundle::{Bundle, BundleError},
    hostile::WAYS,
    samples::Samples,
    trial::{Case, Part, SAMPLE_YEAR, Trial},
};
