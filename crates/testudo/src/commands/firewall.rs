//! `testudo firewall`: decisions in the packet filter of this machine.

use std::process::ExitCode;

use testudo_config::environment;
use testudo_remedy::firewall::{self, DEFAULT_PATHS, FirewallConfig, Lock, OnExit};

use super::enforcing::{Signals, begin_logs, failed, find, good, serve};
use crate::{
    args::FirewallArgs,
    failure::{self, Failure},
};

/// A firewall waits more than it works.
const WORKERS: usize = 2;

pub(crate) fn run(args: &FirewallArgs) -> Result<ExitCode, Failure> {
    let least = "`api_url` and `api_key` are all that it must have";
    let path = find(args.config.as_ref(), &DEFAULT_PATHS, least)?;
    let Some(config) = good(&path, FirewallConfig::load(&path, &environment)) else {
        return Ok(ExitCode::from(failure::FINDINGS));
    };
    if args.test {
        eprintln!("Configuration test done");
        return Ok(ExitCode::SUCCESS);
    }
    let mut filter = firewall::open(&config).map_err(failed)?;
    let _lock = Lock::take(&config).map_err(failed)?;
    if args.remove {
        filter.remove().map_err(failed)?;
        eprintln!("what was in force is removed");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    let daemon = async |signals: Signals| firewall::run(&config, filter, signals.channel()).await;
    let mut filter = serve(Some(WORKERS), daemon)?;
    if config.on_exit == OnExit::Flush {
        filter.remove().map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}
