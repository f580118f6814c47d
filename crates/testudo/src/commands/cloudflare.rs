//! `testudo cloudflare`: decisions at the edge of the network, and zones under attack.

use std::{process::ExitCode, time::Duration};

use testudo_config::environment;
use testudo_remedy::cloudflare::{self, CloudflareConfig, CloudflareError};

use super::enforcing::{self, Signals, begin_logs, failed, good};
use crate::{
    args::{CloudflareCommand, CloudflareRunArgs},
    failure::{self, Failure},
};

/// It waits for Cloudflare most of the time.
const WORKERS: usize = 2;

/// Levels are put back before anything is taken away; for so long it is tried.
const RESTORE_MOST: Duration = Duration::from_secs(80);

pub(crate) fn run(command: &CloudflareCommand) -> Result<ExitCode, Failure> {
    let path = match command {
        CloudflareCommand::Run(args) => &args.common.config,
        CloudflareCommand::Restore(args) => &args.common.config,
        CloudflareCommand::Remove(args) | CloudflareCommand::Status(args) => &args.config,
    };
    let Some(config) = good(path, CloudflareConfig::load(path, &environment)) else {
        return Ok(ExitCode::from(failure::FINDINGS));
    };
    match command {
        CloudflareCommand::Run(args) => serve(args, &config),
        CloudflareCommand::Restore(args) => restore(&config, Duration::from_secs(args.seconds)),
        CloudflareCommand::Remove(_) => remove(&config),
        CloudflareCommand::Status(_) => {
            print!("{}", cloudflare::status(&config).map_err(failed)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn serve(args: &CloudflareRunArgs, config: &CloudflareConfig) -> Result<ExitCode, Failure> {
    if args.test {
        eprintln!("Configuration test done");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    enforcing::serve(Some(WORKERS), async |signals: Signals| {
        cloudflare::run(config, signals.channel()).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn restore(config: &CloudflareConfig, most: Duration) -> Result<ExitCode, Failure> {
    begin_logs(&config.log_level)?;
    let restored = cloudflare::restore(config, most).map_err(failed)?;
    for zone in &restored.left {
        eprintln!("zone {zone}: the saved security level is not back yet; try again");
    }
    for problem in &restored.broken {
        eprintln!("a saved security level cannot be read: {problem}");
    }
    for zone in &restored.settling {
        eprintln!(
            "zone {zone}: the saved security level is back, but a change that was sent before may still come; try again, \
             with more --seconds"
        );
    }
    let is_done = restored.left.is_empty() && restored.settling.is_empty() && restored.broken.is_empty();
    if is_done && restored.done.is_empty() {
        eprintln!("no security level is to be put back");
    }
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(failure::FINDINGS) })
}

fn remove(config: &CloudflareConfig) -> Result<ExitCode, Failure> {
    let code = restore(config, RESTORE_MOST)?;
    let taken = match cloudflare::remove(config) {
        Err(error @ CloudflareError::Left(_)) => {
            eprintln!("{}", failed(error));
            return Ok(ExitCode::from(failure::FINDINGS));
        }
        taken => taken.map_err(failed)?,
    };
    eprintln!("taken away: {} rules, {} lists, {} keys", taken.rules, taken.lists, taken.pairs);
    Ok(code)
}
