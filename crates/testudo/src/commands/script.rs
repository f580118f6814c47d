//! `testudo script`: a program of the user's own is told of decisions.

use std::{path::PathBuf, process::ExitCode};

use testudo_config::environment;
use testudo_remedy::{
    firewall::Stop,
    script::{self, DEFAULT_PATHS, ScriptConfig},
};

use crate::{
    args::ScriptArgs,
    commands::firewall::{Signals, begin_logs},
    failure::{self, Failure},
};

pub(crate) fn run(args: &ScriptArgs) -> Result<ExitCode, Failure> {
    let path = match &args.config {
        Some(path) => path.clone(),
        None => DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Failure::new(format!("there is no configuration: {} is missing", DEFAULT_PATHS[0]))
                .hint("name one with --config; `bin_path`, `api_url` and `api_key` are all that it must have")
        })?,
    };
    let config =
        ScriptConfig::load(&path, &environment).and_then(|config| config.check_program().map(|()| config));
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{}", Failure::new(format!("{}: {error}", path.display())));
            return Ok(ExitCode::from(failure::FINDINGS));
        }
    };
    if args.test {
        eprintln!("Configuration test done");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut signals = {
        let _guard = runtime.enter();
        Signals::new().map_err(|error| Failure::new(error.to_string()))?
    };
    let shutdown = async move { while signals.next().await != Stop::Now {} };
    runtime.block_on(script::run(&config, shutdown)).map_err(|error| Failure::new(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
