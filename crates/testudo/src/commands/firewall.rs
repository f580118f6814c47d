//! `testudo firewall`: decisions in the packet filter of this machine.

use std::{path::PathBuf, process::ExitCode};

use testudo_config::environment;
use testudo_node::logs::{self, Format, LogSettings, Media};
use testudo_remedy::firewall::{self, DEFAULT_PATHS, FirewallConfig, Lock, OnExit, Stop};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{
    args::FirewallArgs,
    failure::{self, Failure},
};

pub(crate) fn run(args: &FirewallArgs) -> Result<ExitCode, Failure> {
    let path = match &args.config {
        Some(path) => path.clone(),
        None => DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Failure::new(format!("there is no configuration: {} is missing", DEFAULT_PATHS[0]))
                .hint("name one with --config; `api_url` and `api_key` are all that it must have")
        })?,
    };
    let config = match FirewallConfig::load(&path, &environment) {
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
    let mut filter = firewall::open(&config).map_err(|error| Failure::new(error.to_string()))?;
    let _lock = Lock::take(&config).map_err(|error| Failure::new(error.to_string()))?;
    if args.remove {
        filter.remove().map_err(|error| Failure::new(error.to_string()))?;
        eprintln!("what was in force is removed");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(error.to_string()))?;
    let ended = runtime.block_on(async {
        let (sender, stops) = mpsc::channel(1);
        let mut signals = Signals::new().map_err(|error| Failure::new(error.to_string()))?;
        tokio::spawn(async move { while sender.send(signals.next().await).await.is_ok() {} });
        firewall::run(&config, filter, stops).await.map_err(|error| Failure::new(error.to_string()))
    });
    let mut filter = ended?;
    if config.on_exit == OnExit::Flush {
        filter.remove().map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Logs to the standard output, from a level on that is named as the ecosystem does.
pub(super) fn begin_logs(level: &str) -> Result<(), Failure> {
    let level = match level {
        "error" | "fatal" | "panic" => tracing::Level::ERROR,
        "warning" | "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        "trace" => tracing::Level::TRACE,
        _ => tracing::Level::INFO,
    };
    logs::begin(&LogSettings { media: Media::Stdout, format: Format::Text, level })
        .map_err(|error| Failure::new(error.to_string()))
}

/// What the process is told.
pub(super) struct Signals {
    end: Signal,
    interrupt: Signal,
    audit: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Signals {
            end: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            audit: signal(SignalKind::user_defined1())?,
        })
    }

    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.end.recv() => Stop::Now,
            _ = self.interrupt.recv() => Stop::Now,
            _ = self.audit.recv() => Stop::AfterAudit,
        }
    }
}
