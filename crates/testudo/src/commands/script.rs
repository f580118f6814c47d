//! `testudo script`: a program of the user's own is told of decisions.

use std::process::ExitCode;

use testudo_config::environment;
use testudo_remedy::script::{self, DEFAULT_PATHS, ScriptConfig};

use super::enforcing::{Signals, begin_logs, find, good, serve};
use crate::{
    args::ScriptArgs,
    failure::{self, Failure},
};

/// It waits for the script most of the time.
const WORKERS: usize = 2;

pub(crate) fn run(args: &ScriptArgs) -> Result<ExitCode, Failure> {
    let least = "`bin_path`, `api_url` and `api_key` are all that it must have";
    let path = find(args.config.as_ref(), &DEFAULT_PATHS, least)?;
    let read = ScriptConfig::load(&path, &environment);
    let read = read.and_then(|config| config.check_program().map(|()| config));
    let Some(config) = good(&path, read) else { return Ok(ExitCode::from(failure::FINDINGS)) };
    if args.test {
        eprintln!("Configuration test done");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    serve(Some(WORKERS), async |signals: Signals| script::run(&config, signals.end()).await)?;
    Ok(ExitCode::SUCCESS)
}
