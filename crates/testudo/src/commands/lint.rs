//! `testudo lint`: checks of rule files.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use testudo_lint::{check, count, facts, gather, report, sarif, schema};

use crate::{
    args::{LintArgs, LintOutput},
    failure::{self, FINDINGS, Failure},
    foreign, terminal,
};

/// Checks the files, and says what was found.
pub(crate) fn run(args: &LintArgs) -> Result<ExitCode, Failure> {
    if let Some(kind) = args.schema {
        println!("{:#}", schema::schema(kind));
        return Ok(ExitCode::SUCCESS);
    }
    let gathered = gather(&args.paths, &args.with)
        .map_err(|error| Failure::new(error.to_string()).hint("name files or folders that exist"))?;
    if gathered.inputs.is_empty() && gathered.diagnostics.is_empty() {
        return Err(Failure::new("there is no rule file at these paths")
            .hint("rules lie in folders such as `parsers/s01-parse` and `scenarios`, and end in `.yaml`"));
    }
    let mut found = gathered.diagnostics;
    found.extend(check(&gathered.inputs, &facts(&gathered.beside), foreign::check));
    let (errors, advice) = count(&found);
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = io::BufWriter::new(stdout.lock());
    match args.output {
        LintOutput::Human => {
            report::human(gathered.inputs.len(), &found, colour, terminal::columns(&stdout), &mut out)
        }
        LintOutput::Json => report::json(gathered.inputs.len(), &found, &mut out),
        LintOutput::Junit => report::junit(&gathered.inputs, &found, args.deny_advice, &mut out),
        LintOutput::Sarif => {
            let here = std::env::current_dir().unwrap_or_default();
            sarif::write(&found, args.deny_advice, &here, &mut out)
        }
    }
    .and_then(|()| out.flush())
    .or_else(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(failure::output(&error)) }
    })?;
    let fails = errors > 0 || (args.deny_advice && advice > 0);
    Ok(if fails { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
}
