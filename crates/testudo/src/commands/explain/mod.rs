//! `testudo explain`: the way of a line through every stage and node, what each changed, which scenarios it reached, and
//! for a pattern that failed the furthest point it came to and what would help. Many lines are grouped by what became of
//! them.

mod groups;
mod way;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
};

use serde::Serialize;
use testudo_author::suggest::Catalogue;
use testudo_engine::{Options, Replay, Source};
use testudo_event::YearClock;

use self::{groups::Collector, way::Way};
use super::replay::present;
use crate::{
    args::{ExplainArgs, HumanOrJson},
    failure::{self, Failure},
    replay::{
        guess,
        input::{self, Batches, Tally},
    },
    rules, terminal,
};

/// Lines of a file whose way is shown.
const MAX_LINES: usize = 100;

/// Ways, for programs.
#[derive(Serialize)]
struct Ways<'w> {
    schema: u32,
    lines: &'w [Way],
}

pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    let now = args.now.unwrap_or_else(present);
    let options = Options { capture_all: true, ..Options::new(YearClock::NotAfter(now)) };
    let (rules, engine) = rules::compiled(&args.rules, options)?;
    let catalogue = Catalogue::new(&rules);
    let path = Path::new(&args.input);
    let is_file = path == Path::new("-") || path.is_file();
    let lines = if is_file && path != Path::new("-") {
        input::first_lines(path, MAX_LINES + 1)
    } else if is_file {
        Vec::new()
    } else {
        vec![args.input.clone()]
    };
    if lines.is_empty() && path != Path::new("-") {
        return Err(Failure::new(format!("there is no line in {} that can be read", args.input)));
    }
    // What comes by the standard input is read once: its type cannot be guessed.
    let kind = match &args.kind {
        Some(kind) => kind.clone(),
        None => guess::guess(&engine, path, &lines).unwrap_or_else(|| "syslog".to_owned()),
    };
    let labels = BTreeMap::from([("type".to_owned(), kind)]);
    let sources = [Source { name: "explain".to_owned(), module: "file".to_owned(), labels }];
    if is_file && !args.each && lines.len() != 1 {
        let stages = || rules.parsers.iter().map(|parser| &*parser.stage);
        let ends = (stages().min().unwrap_or_default(), stages().max().unwrap_or_default());
        let collector = Collector::new(&engine, ends, &sources, now);
        return in_groups(args, path, collector, &catalogue);
    }
    let mut replay = Replay::new(&engine, &sources, now);
    let ways: Vec<Way> = (1..)
        .zip(lines.iter().take(MAX_LINES))
        .map(|(number, line)| way::follow(&mut replay, &catalogue, &sources, number, line))
        .collect();
    let all_parsed = ways.iter().all(Way::is_parsed);
    let shown: Vec<Way> = ways.into_iter().filter(|way| !args.failures || !way.is_parsed()).collect();
    let text = match args.output {
        HumanOrJson::Json => json(&Ways { schema: 1, lines: &shown })?,
        HumanOrJson::Human => {
            let columns = terminal::columns(&io::stdout());
            let mut text: String = shown.iter().map(|way| way.render(args.all_nodes, columns)).collect();
            if lines.len() > MAX_LINES {
                let _ = writeln!(text, "Only the first {MAX_LINES} lines are explained.");
            }
            text
        }
    };
    print(&text, all_parsed)
}

/// All lines of a file, in groups.
fn in_groups(
    args: &ExplainArgs,
    path: &Path,
    mut collector: Collector<'_>,
    catalogue: &Catalogue,
) -> Result<ExitCode, Failure> {
    let tally = Arc::new(Tally::default());
    for batch in Batches::new([PathBuf::from(path)], tally.clone()) {
        for (number, line) in batch.lines().filter(|(_, line)| !line.is_empty()) {
            collector.line(number, line);
        }
    }
    for problem in tally.problems() {
        eprintln!("warning: {}: {}", problem.path, problem.message);
    }
    let too_long = tally.too_long.load(Ordering::Relaxed);
    if too_long > 0 {
        eprintln!("note: {too_long} lines were longer than {} bytes and are left out", input::MAX_LINE_BYTES);
    }
    let groups = collector.finish(&args.input, catalogue);
    let text = match args.output {
        HumanOrJson::Json => json(&groups)?,
        HumanOrJson::Human => groups.render(args.failures, terminal::columns(&io::stdout())),
    };
    print(&text, groups.unparsed == 0)
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(format!("cannot write the report: {error}")))
}

fn print(text: &str, all_parsed: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| failure::output(&error))?;
    Ok(if all_parsed { ExitCode::SUCCESS } else { ExitCode::from(failure::FINDINGS) })
}
