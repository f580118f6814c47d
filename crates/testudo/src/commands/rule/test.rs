//! `testudo rule test`: runs files of samples.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use serde::Serialize;
use testudo_author::{Case, Samples, Trial, bundle};
use testudo_hub::DataFolders;
use testudo_lint::junit::{self, Details, Outcome, Suite};
use testudo_rules::set::RuleSet;

use super::refuse_broken;
use crate::{
    args::{ResultOutput, RuleTestArgs},
    failure::{self, FINDINGS, Failure},
    rules,
    table::{cut, grouped},
};

/// Failures of one entry that are shown to people.
const SHOWN_FAILURES: usize = 3;

/// Characters of a sample that are shown.
const SHOWN_WIDTH: usize = 100;

/// The result for programs.
#[derive(Serialize)]
struct Results<'r> {
    schema: u32,
    passed: usize,
    failed: usize,
    lines: usize,
    samples: Vec<Entry<'r>>,
}

#[derive(Serialize)]
struct Entry<'r> {
    rule: &'r str,
    file: &'r str,
    line: u32,
    part: &'static str,
    about: &'r str,
    lines: usize,
    failed: usize,
    failures: &'r [String],
}

impl<'r> Entry<'r> {
    fn of(case: &'r Case) -> Entry<'r> {
        let Case { rule, file, line, part, about, lines, failures, failed } = case;
        let part = part.name();
        Entry { rule, file, line: *line, part, about, lines: *lines, failed: *failed, failures }
    }
}

pub(crate) fn run(args: &RuleTestArgs) -> Result<ExitCode, Failure> {
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let named = rules::bundle(paths)?;
    if named.samples.is_empty() {
        return Err(Failure::new("there are no samples").hint(
            "write some: samples/NAME.yaml in the folder of rules, or NAME.samples.yaml beside NAME.yaml",
        ));
    }
    refuse_broken(&named.diagnostics)?;
    let (base, diagnostics) =
        if args.alone { (RuleSet::default(), Vec::new()) } else { rules::load(&args.rules)? };
    refuse_broken(&diagnostics)?;
    let all = bundle::over(base, named.rules);
    let (trial, diagnostics) = Trial::new(&all, &DataFolders::new(&args.rules.data));
    refuse_broken(&diagnostics)?;
    let mut cases = Vec::new();
    for path in &named.samples {
        let samples = Samples::read(path).map_err(|error| {
            Failure::new(error.to_string()).hint("docs/rule-tests.md describes files of samples")
        })?;
        cases.extend(trial.run(&samples));
    }
    let failed = cases.iter().filter(|case| !case.passed()).count();
    let mut out = io::BufWriter::new(io::stdout().lock());
    match args.output {
        ResultOutput::Human => human(&mut out, &cases),
        ResultOutput::Json => json(&mut out, &cases, failed),
        ResultOutput::Junit => junit::write(&suites(&cases), &mut out),
    }
    .and_then(|()| out.flush())
    .map_err(|error| failure::output(&error))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

/// A line for each rule, and what failed in full.
fn human(out: &mut impl Write, cases: &[Case]) -> io::Result<()> {
    for cases in cases.chunk_by(|a, b| a.file == b.file) {
        let failed = cases.iter().filter(|case| !case.passed()).count();
        let lines: usize = cases.iter().map(|case| case.lines).sum();
        let mark = if failed == 0 { "ok    " } else { "FAILED" };
        let (rule, lines) = (&cases[0].rule, grouped(lines as u64));
        writeln!(out, "{mark} {rule}  {} samples, {lines} lines", cases.len())?;
        for case in cases.iter().filter(|case| !case.passed()) {
            let about = cut(&case.about, SHOWN_WIDTH);
            writeln!(out, "       {}:{}: {}: {about}", case.file, case.line, case.part.name())?;
            for failure in case.failures.iter().take(SHOWN_FAILURES) {
                writeln!(out, "         {}", cut(failure, 2 * SHOWN_WIDTH))?;
            }
            if case.failed > SHOWN_FAILURES {
                writeln!(out, "         … and {} more", case.failed - SHOWN_FAILURES)?;
            }
        }
    }
    let passed = cases.iter().filter(|case| case.passed()).count();
    writeln!(out, "\n{passed} passed, {} failed", cases.len() - passed)
}

fn json(out: &mut impl Write, cases: &[Case], failed: usize) -> io::Result<()> {
    let results = Results {
        schema: 1,
        passed: cases.len() - failed,
        failed,
        lines: cases.iter().map(|case| case.lines).sum(),
        samples: cases.iter().map(Entry::of).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &results)?;
    writeln!(out)
}

/// A suite for each file.
fn suites(cases: &[Case]) -> Vec<Suite> {
    let case = |case: &Case| junit::Case {
        class: case.rule.clone(),
        name: format!("{} {}: {}", case.part.name(), case.line, case.about),
        file: Some(case.file.clone()),
        line: Some(case.line),
        took: None,
        outcome: if case.passed() {
            Outcome::Passed
        } else {
            let message = case.failures.first().cloned().unwrap_or_default();
            Outcome::Failed(Details {
                kind: case.part.name().to_owned(),
                message,
                text: case.failures.join("\n"),
            })
        },
    };
    let suite = |cases: &[Case]| Suite {
        name: cases.first().map(|case| case.file.clone()).unwrap_or_default(),
        cases: cases.iter().map(case).collect(),
    };
    cases.chunk_by(|a, b| a.file == b.file).map(suite).collect()
}
