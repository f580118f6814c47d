//! From arguments to a command, and from its outcome to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use testudo_hub::ItemKind;

use crate::args::{Cscli, CscliCommand, Extras, Globals, Group, Groups, HubVerb, Named};
use crate::commands::{
    alerts, allowlists, bouncers, central, config, decisions, hub, lapi, machines, metrics, simulation,
    status, support, unban, why,
};
use crate::context::{Context, Io};
use crate::failure::{Done, Failure};

/// Something went wrong, or was asked wrongly: there is no other code.
const FAILED: u8 = 1;

/// Does what a program called `cscli` is asked. The first argument is the name of the program.
pub fn cscli(arguments: impl IntoIterator<Item = OsString>, io: &mut Io<'_>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cscli::try_parse_from(&arguments) {
        Ok(Cscli { command: None, .. }) => help(&[], io),
        Ok(Cscli { command: Some(command), .. }) => run_command(&command, io),
        Err(error) => wrong(&error, &arguments, io),
    }
}

/// Tells about arguments that cannot be understood: the usage as a result, the error beside it.
fn wrong(error: &clap::Error, arguments: &[OsString], io: &mut Io<'_>) -> ExitCode {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = io.out.write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let mut command = Cscli::command();
    command.build();
    let mut path = io.program.to_owned();
    let names = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    for name in names.filter(|name| !name.starts_with('-')) {
        let Some(found) = command.find_subcommand(name).cloned() else { break };
        path = format!("{path} {}", found.get_name());
        command = found;
    }
    let usage = command.render_help().to_string();
    // On one line: what is wrong, and what may be meant.
    let wrong = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let tip = text.lines().map(str::trim).find(|line| line.starts_with("tip: "));
    let cause = wrong.chain(tip).collect::<Vec<_>>().join(" ");
    let cause = cause.trim_start_matches("error: ");
    // Nobody can be told that nobody can be told.
    let _ = io.out.write_all(usage.as_bytes());
    let _ = writeln!(io.err, "Error: {path}: {cause}");
    ExitCode::from(FAILED)
}

/// Does what a command of [`Cscli`] says.
pub fn run_command(command: &CscliCommand, io: &mut Io<'_>) -> ExitCode {
    match command {
        CscliCommand::Groups(groups) => run(groups, io),
        CscliCommand::Extras(Extras::Hub(group)) => {
            let Some(verb) = &group.verb else { return help(&["hub"], io) };
            hub_of(&group.globals, verb, io)
        }
        CscliCommand::Extras(Extras::Completion(single)) => {
            let mut text = Vec::new();
            clap_complete::generate(single.args.shell, &mut Cscli::command(), "cscli", &mut text);
            end(io.out.write_all(&text).map_err(Failure::from), "completion", io)
        }
        CscliCommand::Extras(Extras::Version(_)) => {
            end(io.out.write_all(crate::version().as_bytes()).map_err(Failure::from), "version", io)
        }
    }
}

/// Does what a verb of `hub` says.
pub fn hub_of(globals: &Globals, verb: &HubVerb, io: &mut Io<'_>) -> ExitCode {
    perform(globals, &format!("hub {}", verb.name()), io, |cx| hub::run(cx, verb))
}

/// Does what a command says; the configuration is read before.
pub fn run(groups: &Groups, io: &mut Io<'_>) -> ExitCode {
    match groups {
        Groups::Alerts(group) => verb(group, "alerts", io, alerts::run),
        Groups::Decisions(group) => verb(group, "decisions", io, decisions::run),
        Groups::Allowlists(group) => verb(group, "allowlists", io, allowlists::run),
        Groups::Bouncers(group) => verb(group, "bouncers", io, bouncers::run),
        Groups::Machines(group) => verb(group, "machines", io, machines::run),
        Groups::Metrics(args) => perform(&args.globals, "metrics", io, |cx| metrics::run(cx, args)),
        Groups::Simulation(group) => verb(group, "simulation", io, simulation::run),
        Groups::Lapi(group) => verb(group, "lapi", io, lapi::run),
        Groups::Capi(group) => verb(group, "capi", io, |_, verb| central::capi(verb)),
        Groups::Papi(group) => verb(group, "papi", io, |_, verb| central::papi(verb)),
        Groups::Console(group) => verb(group, "console", io, central::console),
        Groups::Notifications(group) => verb(group, "notifications", io, central::notifications),
        Groups::Config(group) => verb(group, "config", io, config::run),
        Groups::Support(group) => {
            verb(group, "support", io, |cx, verb| support::run(cx, verb, &group.globals))
        }
        Groups::Collections(group) => items(group, ItemKind::Collection, io),
        Groups::Parsers(group) => items(group, ItemKind::Parser, io),
        Groups::Scenarios(group) => items(group, ItemKind::Scenario, io),
        Groups::Postoverflows(group) => items(group, ItemKind::Postoverflow, io),
        Groups::Contexts(group) => items(group, ItemKind::Context, io),
        Groups::AppsecConfigs(group) => items(group, ItemKind::AppsecConfig, io),
        Groups::AppsecRules(group) => items(group, ItemKind::AppsecRule, io),
        Groups::Dashboard(_) => {
            let text = "command 'dashboard' has been removed: the metrics are for Prometheus and Grafana";
            end(Err(Failure::text(text)), "dashboard", io)
        }
        Groups::Why(single) => perform(&single.globals, "why", io, |cx| why::run(cx, &single.args)),
        Groups::Status(single) => perform(&single.globals, "status", io, |cx| status::run(cx, &single.args)),
        Groups::Unban(single) => perform(&single.globals, "unban", io, |cx| unban::run(cx, &single.args)),
    }
}

fn items(group: &Group<crate::args::ItemsVerb>, kind: ItemKind, io: &mut Io<'_>) -> ExitCode {
    verb(group, kind.folder(), io, |cx, verb| hub::items_of(cx, kind, verb))
}

/// A verb of a group, or the help of the group.
fn verb<V: clap::Subcommand + Named>(
    group: &Group<V>,
    name: &str,
    io: &mut Io<'_>,
    command: impl FnOnce(&mut Context<'_, '_>, &V) -> Done,
) -> ExitCode {
    let Some(verb) = &group.verb else { return help(&[name], io) };
    perform(&group.globals, &format!("{name} {}", verb.name()), io, |cx| command(cx, verb))
}

/// Runs a command with the configuration.
fn perform(
    globals: &Globals,
    path: &str,
    io: &mut Io<'_>,
    command: impl FnOnce(&mut Context<'_, '_>) -> Done,
) -> ExitCode {
    let mut cx = Context::new(io, globals);
    let done = cx.load().and_then(|()| command(&mut cx));
    end(done, path, io)
}

fn end(done: Done, path: &str, io: &mut Io<'_>) -> ExitCode {
    let flushed = io.out.flush().map_err(Failure::from);
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_broken_pipe() && !matches!(error, Failure::Said) {
                let _ = writeln!(io.err, "Error: {} {path}: {error}", io.program);
            }
            ExitCode::from(FAILED)
        }
    }
}

/// The help of a group.
fn help(path: &[&str], io: &mut Io<'_>) -> ExitCode {
    let mut command = Cscli::command().name(io.program).bin_name(io.program);
    command.build();
    for name in path {
        let Some(found) = command.find_subcommand(name).cloned() else { break };
        command = found;
    }
    let text = command.render_help().to_string();
    end(io.out.write_all(text.as_bytes()).map_err(Failure::from), &path.join(" "), io)
}
