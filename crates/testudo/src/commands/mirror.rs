//! `testudo mirror`: decisions as blocklists.

use std::{path::PathBuf, process::ExitCode};

use testudo_config::environment;
use testudo_remedy::{
    firewall::Stop,
    mirror::{self, DEFAULT_PATHS, MirrorConfig},
};

use crate::{
    args::MirrorArgs,
    commands::firewall::{Signals, begin_logs},
    failure::{self, Failure},
};

pub(crate) fn run(args: &MirrorArgs) -> Result<ExitCode, Failure> {
    if args.new_key {
        let (key, hash) = mirror::new_key().map_err(|error| Failure::new(error.to_string()))?;
        println!("for the consumer:       {key}\nfor the configuration:  {hash}");
        return Ok(ExitCode::SUCCESS);
    }
    let path = match &args.config {
        Some(path) => path.clone(),
        None => DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Failure::new(format!("there is no configuration: {} is missing", DEFAULT_PATHS[0]))
                .hint("name one with --config; it must have `crowdsec_config` and one of `blocklists`")
        })?,
    };
    let config = match MirrorConfig::load(&path, &environment) {
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
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut signals = {
        let _guard = runtime.enter();
        Signals::new().map_err(|error| Failure::new(error.to_string()))?
    };
    let shutdown = async move { while signals.next().await != Stop::Now {} };
    runtime.block_on(mirror::run(config, shutdown)).map_err(|error| Failure::new(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
