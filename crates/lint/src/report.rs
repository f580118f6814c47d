//! What was found, written for people and for programs.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;
use testudo_rules::{Diagnostic, Severity, render, render_within};

use crate::{
    Input,
    junit::{self, Case, Details, Outcome, Suite},
};

/// Where the codes are explained, from the root of the documentation.
fn page(code: &str) -> &'static str {
    if code.starts_with('L') { "docs/lint.md" } else { "docs/codes.md" }
}

/// For people: each finding with the line it is about, and how many there are. `columns`: those of the terminal.
///
/// # Errors
/// The writer's.
pub fn human(
    checked: usize,
    found: &[Diagnostic],
    colour: bool,
    columns: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    for diagnostic in found {
        writeln!(out, "{}\n", render_within(diagnostic, colour, columns))?;
    }
    let (errors, advice) = crate::count(found);
    let number = |count: usize, one: &str, many: &str| match count {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    writeln!(
        out,
        "{} checked: {}, {}",
        number(checked, "file", "files"),
        number(errors, "error", "errors"),
        number(advice, "piece of advice", "pieces of advice"),
    )
}

#[derive(Serialize)]
struct Report<'d> {
    /// The version of this form; a key that goes away or changes its meaning raises it.
    schema: u32,
    files: usize,
    errors: usize,
    advice: usize,
    findings: Vec<Finding<'d>>,
}

#[derive(Serialize)]
struct Finding<'d> {
    code: &'d str,
    severity: &'static str,
    file: &'d str,
    line: u32,
    column: u32,
    /// Bytes of the file.
    offset: u32,
    length: u32,
    message: &'d str,
    hint: Option<&'d str>,
    page: &'static str,
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "advice",
    }
}

/// For programs: one JSON document.
///
/// # Errors
/// The writer's.
pub fn json(checked: usize, found: &[Diagnostic], out: &mut dyn Write) -> io::Result<()> {
    let (errors, advice) = crate::count(found);
    let findings = found.iter().map(|diagnostic| Finding {
        code: diagnostic.code,
        severity: severity(diagnostic),
        file: &diagnostic.place.file.path,
        line: diagnostic.place.line,
        column: diagnostic.place.column,
        offset: diagnostic.place.offset,
        length: diagnostic.place.length,
        message: &diagnostic.message,
        hint: diagnostic.hint.as_deref(),
        page: page(diagnostic.code),
    });
    let report = Report { schema: 1, files: checked, errors, advice, findings: findings.collect() };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

/// For build servers: a case for each file that was checked. Advice fails a case only if `deny_advice`.
///
/// # Errors
/// The writer's.
pub fn junit(
    inputs: &[Input],
    found: &[Diagnostic],
    deny_advice: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut by_file: BTreeMap<&str, Vec<&Diagnostic>> = BTreeMap::new();
    for input in inputs {
        by_file.entry(&input.file.path).or_default();
    }
    for diagnostic in found {
        by_file.entry(&diagnostic.place.file.path).or_default().push(diagnostic);
    }
    let cases = by_file.into_iter().map(|(path, found)| {
        let counts = |diagnostic: &&&Diagnostic| deny_advice || diagnostic.severity == Severity::Error;
        let first = found.iter().find(counts);
        let outcome = first.map_or(Outcome::Passed, |first| {
            Outcome::Failed(Details {
                kind: first.code.to_owned(),
                message: first.message.clone(),
                text: found
                    .iter()
                    .map(|diagnostic| render(diagnostic, false))
                    .collect::<Vec<_>>()
                    .join("\n\n"),
            })
        });
        Case {
            class: "lint".to_owned(),
            name: path.to_owned(),
            file: Some(path.to_owned()),
            line: first.map(|first| first.place.line),
            took: None,
            outcome,
        }
    });
    junit::write(&[Suite { name: "testudo lint".to_owned(), cases: cases.collect() }], out)
}
