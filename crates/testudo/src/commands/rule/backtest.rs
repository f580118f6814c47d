//! Placeholder.
use std::process::ExitCode;
use crate::{args::BacktestArgs, failure::Failure};
pub(crate) fn run(_: &BacktestArgs) -> Result<ExitCode, Failure> { Err(Failure::new("x")) }
