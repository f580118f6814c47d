//! `testudo gate`: decisions in front of web servers.

mod mfa;

use std::process::ExitCode;

use testudo_config::environment;
use testudo_gate::{Place, Policy, WebServer, snippet};
use testudo_remedy::gate::{self, GateConfig};

use super::enforcing::{self, Signals, begin_logs, good};
use crate::{
    args::{GateArgs, GateCommand, SnippetArgs},
    failure::{self, Failure},
};

pub(crate) fn run(command: &GateCommand) -> Result<ExitCode, Failure> {
    match command {
        GateCommand::Run(args) => serve(args),
        GateCommand::Snippet(args) => print(args),
        GateCommand::Mfa(command) => mfa::run(command),
    }
}

fn serve(args: &GateArgs) -> Result<ExitCode, Failure> {
    let Some(config) = good(&args.config, GateConfig::load(&args.config, &environment)) else {
        return Ok(ExitCode::from(failure::FINDINGS));
    };
    if args.test {
        if let Err(error) = Policy::load(&config.policy) {
            eprintln!("{}", Failure::new(error.to_string()));
            return Ok(ExitCode::from(failure::FINDINGS));
        }
        eprintln!("Configuration test done");
        return Ok(ExitCode::SUCCESS);
    }
    begin_logs(&config.log_level)?;
    enforcing::serve(None, async |signals: Signals| gate::run(&config, signals.end()).await)?;
    Ok(ExitCode::SUCCESS)
}

fn print(args: &SnippetArgs) -> Result<ExitCode, Failure> {
    let server = WebServer::from_name(&args.server).ok_or_else(|| {
        Failure::new(format!("'{}' is no web server that is known", args.server))
            .hint("nginx, apache, lighttpd, caddy, haproxy, traefik, varnish, envoy, envoy-http")
    })?;
    let place = match args.place.strip_prefix('/') {
        Some(_) => Place::Unix((&args.place).into()),
        None => Place::Tcp(args.place.clone()),
    };
    print!("{}", snippet(server, &place));
    Ok(ExitCode::SUCCESS)
}
