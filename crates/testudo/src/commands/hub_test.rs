//! `testudo hub test`: the functional tests that a hub carries, run with our own engine.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use serde::Serialize;
use testudo_config::Output;
use testudo_hub::{
    DataFolders, Hub,
    testing::{TestResult, Way, run_tests},
};

use super::replay::present;
use crate::{
    args::HubTestArgs,
    failure::{self, FINDINGS, Failure},
};

/// Failures of one test that are printed.
const SHOWN_FAILURES: usize = 10;

/// The result for programs.
#[derive(Serialize)]
struct Results<'r> {
    schema: u32,
    passed: usize,
    failed: usize,
    assertions: usize,
    /// Every false assertion, also those that the reference forgives.
    strictly_false: usize,
    tests: &'r [TestResult],
}

/// Runs the tests; `output` is as the group's flag says. Raw is what people read: lines without frames.
pub(crate) fn run(args: &HubTestArgs, output: Option<Output>) -> Result<ExitCode, Failure> {
    if args.names.is_empty() && !args.all {
        return Err(Failure::new("no tests are chosen").hint("name some, or run all with --all"));
    }
    let hub = Hub::open(&args.hub)?;
    let data = DataFolders::new(&data_folders(args));
    let names = (!args.all).then_some(args.names.as_slice());
    let tests = run_tests(&hub, names, &data, args.now.unwrap_or_else(present), Way::Watched)?;
    let passed = tests.iter().filter(|test| test.passed).count();
    let results = Results {
        schema: 1,
        passed,
        failed: tests.len() - passed,
        assertions: tests.iter().map(|test| test.assertions).sum(),
        strictly_false: tests.iter().map(|test| test.false_lines.len()).sum(),
        tests: &tests,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match output.unwrap_or_default() {
        Output::Human | Output::Raw => human(&mut out, &results),
        Output::Json => serde_json::to_writer_pretty(&mut out, &results)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    written.and_then(|()| out.flush()).map_err(|error| failure::output(&error))?;
    Ok(if results.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// The folders given, or those of the shared material that tests use.
fn data_folders(args: &HubTestArgs) -> Vec<PathBuf> {
    if !args.data.is_empty() {
        return args.data.clone();
    }
    let shared = env::var_os("TESTUDO_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    vec![shared.join("lists"), shared.join("geo/hub")]
}

fn human(out: &mut impl Write, results: &Results<'_>) -> io::Result<()> {
    for test in results.tests {
        let mark = if test.passed { "ok    " } else { "FAILED" };
        let forgiven = test.false_lines.iter().filter(|line| !line.recorded).count();
        write!(out, "{mark} {}  {} assertions", test.name, test.assertions)?;
        if forgiven > 0 {
            write!(out, ", {forgiven} false ones forgiven")?;
        }
        writeln!(out)?;
        if test.passed {
            continue;
        }
        for error in &test.errors {
            writeln!(out, "         error: {error}")?;
        }
        for line in test.failures().take(SHOWN_FAILURES) {
            writeln!(out, "         {}:{}: {}", line.file, line.line, line.text)?;
            if let Some(actual) = &line.actual {
                writeln!(out, "           it is {actual}")?;
            }
        }
        let more = test.failures().count().saturating_sub(SHOWN_FAILURES);
        if more > 0 {
            writeln!(out, "         … and {more} more")?;
        }
        for warning in &test.warnings {
            writeln!(out, "         warning: {warning}")?;
        }
    }
    writeln!(
        out,
        "\n{} assertions, {} of them false when every line counts",
        results.assertions, results.strictly_false
    )?;
    writeln!(out, "{} passed, {} failed", results.passed, results.failed)
}
