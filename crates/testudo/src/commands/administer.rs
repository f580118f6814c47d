//! The commands that administer a node, and completion scripts.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    iter,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::CommandFactory;
use testudo_cli::{Globals, Groups, Io, args::HubVerb};
use testudo_config::environment;

use crate::{
    args::{Args, CompletionArgs},
    content,
    failure::{self, Failure},
};

/// Hands the streams and the clock of the process to a command.
fn with_io(program: &'static str, command: impl FnOnce(&mut Io<'_>) -> ExitCode) -> ExitCode {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut out, mut err, mut input) = (io::stdout().lock(), io::stderr().lock(), io::stdin().lock());
    command(&mut Io {
        is_terminal: io::stdout().is_terminal(),
        out: &mut out,
        err: &mut err,
        input: &mut input,
        program,
        now_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        embedded: &content::files(),
        variable: &environment,
    })
}

/// A command of our own tree.
pub(crate) fn run(groups: &Groups) -> ExitCode {
    with_io("testudo", |io| testudo_cli::run(groups, io))
}

/// `hub`, which has a command of ours beside those of `cscli`.
pub(crate) fn hub(globals: &Globals, verb: &HubVerb) -> ExitCode {
    with_io("testudo", |io| testudo_cli::hub(globals, verb, io))
}

/// What a program called `cscli` is asked.
pub(crate) fn cscli(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    with_io("cscli", |io| testudo_cli::cscli(iter::once(OsString::from("cscli")).chain(arguments), io))
}

pub(crate) fn completion(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "testudo", &mut text);
    io::Write::write_all(&mut io::stdout(), &text).map_err(|error| failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
