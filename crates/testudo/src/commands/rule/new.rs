//! Placeholder.
use std::process::ExitCode;
use crate::{args::RuleNewArgs, failure::Failure};
pub(crate) fn run(_: &RuleNewArgs) -> Result<ExitCode, Failure> { Err(Failure::new("x")) }
