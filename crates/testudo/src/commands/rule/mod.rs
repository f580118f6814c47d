//! `testudo rule`: help for those who write rules.

mod backtest;
mod new;
mod test;

use std::{path::PathBuf, process::ExitCode};

use testudo_author::Bundle;
use testudo_rules::{Diagnostic, Severity, set::RuleSet};

use crate::{
    args::{RuleArgs, RuleCommand},
    failure::Failure,
    rules,
};

pub(crate) fn run(command: &RuleCommand) -> Result<ExitCode, Failure> {
    match command {
        RuleCommand::New(args) => new::run(args),
        RuleCommand::Test(args) => test::run(args),
        RuleCommand::Backtest(args) => backtest::run(args),
    }
}

/// What the paths name.
fn bundle(paths: &[PathBuf]) -> Result<Bundle, Failure> {
    let mut bundle = Bundle::default();
    for path in paths {
        bundle.add(path).map_err(|error| {
            Failure::new(error.to_string())
                .hint("name a rule file, a file of samples, or a folder with parsers/, scenarios/ and samples/")
        })?;
    }
    Ok(bundle)
}

/// The rules that run beside those that are tried.
fn context(args: &RuleArgs) -> Result<(RuleSet, Vec<Diagnostic>), Failure> {
    rules::load(args)
}

/// A rule that does not load is no rule to try.
fn refuse_broken(diagnostics: &[Diagnostic]) -> Result<(), Failure> {
    rules::print(diagnostics);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(Failure::new("a rule cannot be used").hint("mend what is told above"));
    }
    Ok(())
}
