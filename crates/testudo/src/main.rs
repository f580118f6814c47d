//! Testudo: watches the logs of a machine, recognises hostile behaviour, and says what to do.
//!
//! This binary holds the commands and what they print; everything else is in the libraries.

mod args;
mod commands;
mod content;
mod failure;
mod foreign;
mod listed;
mod names;
mod replay;
mod rules;
mod table;
mod terminal;

use std::{path::Path, process::ExitCode};

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut all = std::env::args_os();
    let called = all.next().unwrap_or_default();
    if Path::new(&called).file_stem().is_some_and(|name| name == "cscli") {
        return commands::administer::cscli(all);
    }
    let args = args::Args::parse();
    let outcome = match &args.command {
        args::Command::Run(args) => commands::run::run(args),
        args::Command::Firewall(args) => commands::firewall::run(args),
        args::Command::Gate(command) => commands::gate::run(command),
        args::Command::Script(args) => commands::script::run(args),
        args::Command::Mirror(args) => commands::mirror::run(args),
        args::Command::Cloudflare(command) => commands::cloudflare::run(command),
        args::Command::Reload(args) => commands::reload::run(args),
        args::Command::Selftest(args) => commands::selftest::run(args),
        args::Command::Replay(args) => commands::replay::run(args),
        args::Command::Hub(group) => match &group.command {
            args::HubCommand::Test(args) => commands::hub_test::run(args, group.globals.output),
            args::HubCommand::Installed(verb) => Ok(commands::administer::hub(&group.globals, verb)),
        },
        args::Command::Rule(command) => commands::rule::run(command),
        args::Command::Explain(args) => commands::explain::run(args),
        args::Command::Lint(args) => commands::lint::run(args),
        args::Command::Lsp => commands::lsp::run(),
        args::Command::Administer(groups) => Ok(commands::administer::run(groups)),
        args::Command::Cscli(rest) => Ok(commands::administer::cscli(rest.arguments.iter().cloned())),
        args::Command::Completion(args) => commands::administer::completion(args),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure::COULD_NOT_RUN)
        }
    }
}
