//! `testudo rule backtest`: what rules would have done to the logs of the past.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
};

use serde::Serialize;
use testudo_author::{
    backtest::{Backtest, Banned, Check, Cost, Expectations, Findings, Subjects, Suspicion, cost},
    bundle,
};
use testudo_engine::{Batch, Engine, Options, Replay, Source};
use testudo_event::Prefix;
use testudo_hub::DataFolders;
use testudo_lint::junit::{self, Details, Outcome, Suite};
use testudo_rules::set::RuleSet;

use super::refuse_broken;
use crate::{
    args::{BacktestArgs, ResultOutput},
    commands::replay::{present, years},
    failure::{self, FINDINGS, Failure},
    listed,
    replay::{
        guess,
        input::{self, Batches, Tally},
    },
    rules,
    table::{Align, Table, grouped, printable},
};

/// Bytes of lines over which the cost is measured: so many are held in memory.
const MEASURED_BYTES: usize = 16 << 20;

/// Sources that are shown to people.
const SHOWN_SOURCES: usize = 30;

/// The report for programs.
#[derive(Serialize)]
struct Report<'r> {
    schema: u32,
    rules: Vec<&'r str>,
    #[serde(flatten)]
    findings: &'r Findings,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    expectations: &'r [Check],
    problems: Vec<String>,
}

pub(crate) fn run(args: &BacktestArgs) -> Result<ExitCode, Failure> {
    let expectations = args.expect.as_deref().map(read_expectations).transpose()?;
    let allowlist = allowlist(&args.allowlist)?;
    let tried = rules::bundle(&args.paths)?;
    refuse_broken(&tried.diagnostics)?;
    let subjects = Subjects::of(&tried.rules);
    if subjects.parsers.is_empty() && subjects.scenarios.is_empty() {
        return Err(
            Failure::new("there is no rule in what was named").hint("name rule files, or a folder of rules")
        );
    }
    let (base, diagnostics) = rules::load(&args.rules)?;
    refuse_broken(&diagnostics)?;
    let now = args.now.unwrap_or_else(present);
    let options = Options::new(years(&args.logs, args.now, now));
    let data = DataFolders::new(&args.rules.data);
    let listed = listed::read(&args.rules.decisions)?;
    let (mut with, diagnostics) = Engine::new(&bundle::over(base.clone(), tried.rules), &data, options);
    refuse_broken(&diagnostics)?;
    let (mut without, _) = Engine::new(&without(base, &subjects), &data, options);
    for engine in [&mut with, &mut without] {
        if let Some(listed) = &listed {
            engine.world_mut().set_listed(Arc::clone(listed));
        }
    }

    let tally = Arc::new(Tally::default());
    let sources = sources(args, &with)?;
    let mut replay = Replay::new(&with, &sources, now);
    let mut backtest = Backtest::new(subjects.clone(), allowlist);
    let mut kept: Vec<Batch> = Vec::new();
    let mut bytes = 0;
    for batch in Batches::new(args.logs.iter().cloned(), tally.clone()) {
        for (number, line) in batch.lines().filter(|(_, line)| !line.is_empty()) {
            backtest.line(&mut replay, batch.source, number, line);
        }
        if !args.no_cost && bytes < MEASURED_BYTES {
            bytes += batch.text.len();
            kept.push(batch);
        }
    }
    let findings = backtest.finish();
    let mut problems: Vec<String> = tally
        .problems()
        .into_iter()
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    let too_long = tally.too_long.load(Ordering::Relaxed);
    if too_long > 0 {
        eprintln!("note: {too_long} lines were longer than {} bytes and are left out", input::MAX_LINE_BYTES);
    }
    if findings.lines == 0 && problems.is_empty() {
        problems.push("there is no line in the logs that can be read".to_owned());
    }
    for problem in &problems {
        eprintln!("warning: {problem}");
    }
    if let Some(idle) = idle(&subjects, &findings) {
        eprintln!("note: {idle}");
    }
    let cost = cost(&without, &with, &sources, now, &kept);
    let checks = expectations.as_ref().map_or_else(Vec::new, |expectations| expectations.check(&findings));
    let names: Vec<&str> = subjects.parsers.iter().chain(&subjects.scenarios).map(String::as_str).collect();
    let text = match args.output {
        ResultOutput::Human => human(&names, &findings, cost, &checks),
        ResultOutput::Junit => {
            let suite = suite(&names, expectations.as_ref(), &checks, &findings);
            let mut xml = Vec::new();
            junit::write(&[suite], &mut xml).map_err(|error| failure::output(&error))?;
            String::from_utf8_lossy(&xml).into_owned()
        }
        ResultOutput::Json => {
            let problems = problems.clone();
            let report = Report {
                schema: 1,
                rules: names,
                findings: &findings,
                cost,
                expectations: &checks,
                problems,
            };
            serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::new(format!("cannot write the report: {error}")))?
                + "\n"
        }
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| failure::output(&error))?;
    Ok(match (problems.is_empty(), checks.iter().all(|check| check.failure.is_none())) {
        (false, _) => ExitCode::from(failure::COULD_NOT_RUN),
        (true, false) => ExitCode::from(FINDINGS),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn read_expectations(path: &Path) -> Result<Expectations, Failure> {
    Expectations::read(path).map_err(|error| {
        Failure::new(error.to_string()).hint("docs/rule-tests.md describes files of expectations")
    })
}

/// The rules of the context alone.
fn without(mut base: RuleSet, subjects: &Subjects) -> RuleSet {
    base.parsers.retain(|parser| !subjects.parsers.contains(&*parser.node.name));
    base.postoverflows.retain(|parser| !subjects.parsers.contains(&*parser.node.name));
    base.scenarios.retain(|scenario| !subjects.scenarios.contains(&*scenario.name));
    base
}

/// Entries of allowlists: an address or a network a line; `#` begins a comment.
fn allowlist(paths: &[PathBuf]) -> Result<Vec<(Prefix, String)>, Failure> {
    let mut entries = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
        for (number, line) in (1..).zip(text.lines()) {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let single = || entry.parse::<IpAddr>().ok().map(Prefix::single);
            let prefix = Prefix::parse(entry).or_else(single).ok_or_else(|| {
                Failure::new(format!(
                    "{}:{number}: `{}` is no address and no network",
                    path.display(),
                    printable(entry)
                ))
                .hint("write one a line, like 203.0.113.7 or 203.0.113.0/24")
            })?;
            entries.push((prefix, entry.to_owned()));
        }
    }
    Ok(entries)
}

/// The logs with their types.
fn sources(args: &BacktestArgs, engine: &Engine) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in &args.logs {
        let lines = input::first_lines(path, guess::SAMPLE_LINES);
        let kind = args.kind.clone().or_else(|| guess::guess(engine, path, &lines));
        if kind.is_none() && !lines.is_empty() {
            return Err(Failure::new(format!("no parser understands the first lines of {}", path.display()))
                .hint("give its type with --type; `testudo explain` shows why a line is not read"));
        }
        let labels = BTreeMap::from([("type".to_owned(), kind.unwrap_or_else(|| "syslog".to_owned()))]);
        sources.push(Source { name: path.display().to_string(), module: "file".to_owned(), labels });
    }
    Ok(sources)
}

/// Why nothing came of it, where rules did nothing at all.
fn idle(subjects: &Subjects, findings: &Findings) -> Option<&'static str> {
    if findings.lines == 0 {
        return None;
    }
    if !subjects.parsers.is_empty() && findings.hits == 0 {
        return Some(
            "none of these parsers reads a line; `testudo explain --with RULES LOG` shows how far they come",
        );
    }
    (!subjects.scenarios.is_empty() && findings.poured == 0).then_some(
        "no event fits the filter of these scenarios; `testudo lint` finds slips, and `testudo explain --each --with RULES LOG` \
         shows what events hold",
    )
}

fn human(rules: &[&str], findings: &Findings, cost: Option<Cost>, checks: &[Check]) -> String {
    let mut text = format!("{}\n\n", rules.join(", "));
    let _ = writeln!(
        text,
        "lines        {} read, {} understood, {} by these parsers",
        grouped(findings.lines),
        grouped(findings.parsed),
        grouped(findings.hits)
    );
    let _ = writeln!(text, "events       {} for these scenarios", grouped(findings.poured));
    let total: u64 = findings.overflows.values().sum();
    let _ = write!(text, "overflows    {}", grouped(total));
    for (scenario, count) in &findings.overflows {
        let _ = write!(text, "  {scenario} {}", grouped(*count));
    }
    if findings.whitelisted > 0 {
        let _ = write!(text, "  and {} that a whitelist took back", grouped(findings.whitelisted));
    }
    let _ = writeln!(
        text,
        "\nwould ban    {} in {} (/24, /48)",
        counted(findings.banned.len(), "source", "sources"),
        counted(findings.networks, "network", "networks")
    );
    let _ = writeln!(text, "suspected    {} of them may be honest", findings.suspected);
    match cost {
        Some(cost) if cost.is_clear() => {
            let _ = writeln!(
                text,
                "cost         {:.0} ns a line (± {:.0}): {:.0} with the rules, {:.0} without",
                cost.difference, cost.noise, cost.with, cost.without
            );
        }
        Some(cost) => {
            let _ = writeln!(
                text,
                "cost         less than can be measured here: {:.0} ns a line with the rules, ± {:.0}",
                cost.with, cost.noise
            );
        }
        None => {}
    }
    if findings.unwatched > 0 {
        let _ = writeln!(
            text,
            "note         {} events of more sources than are watched",
            grouped(findings.unwatched)
        );
    }
    if !findings.banned.is_empty() {
        let mut table = Table::new(&[
            ("WOULD BE BANNED", Align::Left),
            ("LINES", Align::Right),
            ("OVERFLOWS", Align::Right),
            ("SUSPICION", Align::Left),
        ]);
        let mut shown: Vec<&Banned> = findings.banned.iter().collect();
        shown.sort_by_key(|banned| (banned.suspicions.is_empty(), std::cmp::Reverse(banned.hits)));
        for banned in shown.iter().take(SHOWN_SOURCES) {
            let suspicions: Vec<String> = banned.suspicions.iter().map(sentence).collect();
            table.row(vec![
                banned.value.clone(),
                grouped(banned.hits),
                grouped(banned.overflows),
                suspicions.join("; "),
            ]);
        }
        let _ = write!(text, "\n{}", table.render());
        let more = shown.len().saturating_sub(SHOWN_SOURCES);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more; -o json has all of them");
        }
    }
    if !checks.is_empty() {
        text.push_str("\nexpected\n");
    }
    for check in checks {
        let _ = match &check.failure {
            None => writeln!(text, "  ok      {}", check.name),
            Some(failure) => writeln!(text, "  FAILED  {}: {failure}", check.name),
        };
    }
    text
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A suspicion in words.
fn sentence(suspicion: &Suspicion) -> String {
    let names = |users: &std::collections::BTreeSet<String>| {
        let names: Vec<String> = users.iter().map(|name| printable(name)).collect();
        if names.is_empty() { String::new() } else { format!(" as {}", names.join(", ")) }
    };
    match suspicion {
        Suspicion::LoggedIn { times, users, hits_before } => {
            format!("logged in {times} times{}, first after {hits_before} failures", names(users))
        }
        Suspicion::KnownUser { users } => format!("known to the web server{}", names(users)),
        Suspicion::OrdinaryVisitor { requests, answered } => {
            format!("{answered} of {requests} requests were answered well")
        }
        Suspicion::Allowlisted { entry } => format!("on the allowlist: {entry}"),
        Suspicion::Private => "a private address".to_owned(),
        Suspicion::Whitelisted { lines } => format!("a whitelist let {lines} of its lines pass"),
    }
}

/// For build servers: the expectations or, without any, each source that would be banned.
fn suite(
    rules: &[&str],
    expectations: Option<&Expectations>,
    checks: &[Check],
    findings: &Findings,
) -> Suite {
    let class = rules.join(", ");
    let case = |name: String, kind: &str, failure: Option<String>| junit::Case {
        class: class.clone(),
        name,
        outcome: failure.map_or(Outcome::Passed, |text| {
            Outcome::Failed(Details { kind: kind.to_owned(), message: text.clone(), text })
        }),
        ..junit::Case::default()
    };
    let cases = match expectations {
        Some(expectations) => checks
            .iter()
            .map(|check| junit::Case {
                file: Some(expectations.path.clone()),
                line: Some(check.line),
                ..case(check.name.clone(), "expectation", check.failure.clone())
            })
            .collect(),
        None => findings
            .banned
            .iter()
            .map(|banned| {
                let suspicions: Vec<String> = banned.suspicions.iter().map(sentence).collect();
                let failure = (!suspicions.is_empty()).then(|| suspicions.join("; "));
                case(format!("would ban {}", banned.value), "suspicion", failure)
            })
            .collect(),
    };
    Suite { name: "testudo rule backtest".to_owned(), cases }
}
