//! `testudo rule`: help for those who write rules.

mod backtest;
mod new;
mod test;

use std::process::ExitCode;

use testudo_rules::{Diagnostic, Severity};

use crate::{args::RuleCommand, failure::Failure, rules};

pub(crate) fn run(command: &RuleCommand) -> Result<ExitCode, Failure> {
    match command {
        RuleCommand::New(args) => new::run(args),
        RuleCommand::Test(args) => test::run(args),
        RuleCommand::Backtest(args) => backtest::run(args),
    }
}

/// A rule that does not load is no rule to try.
fn refuse_broken(diagnostics: &[Diagnostic]) -> Result<(), Failure> {
    rules::print(diagnostics);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(Failure::new("a rule cannot be used").hint("mend what is told above"));
    }
    Ok(())
}
