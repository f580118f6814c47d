//! `testudo cloudflare`: decisions at the edge of the network, and zones under attack.

use std::{path::Path, process::ExitCode, time::Duration};

use testudo_config::environment;
use testudo_remedy::cloudflare::{self, CloudflareConfig, CloudflareError};
use tokio::sync::mpsc;

use crate::{
    args::{CloudflareCommand, CloudflareRunArgs},
    commands::firewall::{Signals, begin_logs},
    failure::{self, Failure},
};

/// Levels are put back before anything is taken away; for so long it is tried.
const RESTORE_MOST: Duration = Duration::from_secs(80);

pub(crate) fn run(command: &CloudflareCommand) -> Result<ExitCode, Failure> {
    let path = match command {
        CloudflareCommand::Run(args) => &args.common.config,
        CloudflareCommand::Restore(args) => &args.common.config,
        CloudflareCommand::Remove(args) | CloudflareCommand::Status(args) => &args.config,
    };
    let Some(config) = load(path) else { return Ok(ExitCode::from(failure::FINDINGS)) };
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

fn load(path: &Path) -> Option<CloudflareConfig> {
    match CloudflareConfig::load(path, &environment) {
        Ok(config) => Some(config),
        Err(error) => {
            eprintln!("{}", Failure::new(format!("{}: {error}", path.display())));
            None
        }
    }
}

fn failed(error: CloudflareError) -> Failure {
    Failure::new(error.to_string())
}

fn serve(args: &CloudflareRunArgs, config: &CloudflareConfig) -> Result<ExitCode, Failure> {
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
    runtime.block_on(async {
        let (sender, stops) = mpsc::channel(1);
        let mut signals = Signals::new().map_err(|error| Failure::new(error.to_string()))?;
        tokio::spawn(async move { while sender.send(signals.next().await).await.is_ok() {} });
        cloudflare::run(config, stops).await.map_err(failed)
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
