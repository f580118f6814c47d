//! The overflows that the plain interpreter, or the engine, finds in the first lines of a log, one JSON
//! document a line: the same bytes from both. `bench/run` compares them.
//!
//! `plain (--plain | --fast) --hub DIR (--all | --collections NAME,…) [--data DIR]… --type TYPE --lines N
//! [--now TIME] FILE`

use std::{
    collections::BTreeMap,
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::PathBuf,
};

use testudo_engine::{
    ASN_DATABASE, Batch, CITY_DATABASE, DataSource, Engine, Line, Options, Replay, Sink, Source,
};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_hub::{DataFolders, Hub, Selection};
use testudo_oracle::{Plain, WorldFiles};
use testudo_rules::{
    plan::{DataFile, ParserNode},
    set::RuleSet,
};

/// Lines in one batch of the engine: several batches even of a small sample, so that all cores have work.
const BATCH_LINES: usize = 256;

/// The present where `--now` does not tell it.
const NOW: &str = "2026-11-01T00:00:00Z";

/// What runs the lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interpreter {
    Plain,
    Fast,
}

/// The command line.
struct Arguments {
    interpreter: Interpreter,
    hub: PathBuf,
    /// All items of the hub where it is empty.
    collections: Vec<String>,
    data: Vec<PathBuf>,
    kind: String,
    lines: usize,
    now: Timestamp,
    log: PathBuf,
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let (mut interpreter, mut hub, mut kind, mut lines, mut log) = (None, None, None, None, None);
        let mut collections = None;
        let mut data = Vec::new();
        let mut now = NOW.to_owned();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--plain" => interpreter = Some(Interpreter::Plain),
                "--fast" => interpreter = Some(Interpreter::Fast),
                "--hub" => hub = Some(PathBuf::from(value()?)),
                "--all" => collections = Some(Vec::new()),
                "--collections" => collections = Some(value()?.split(',').map(str::to_owned).collect()),
                "--data" => data.push(PathBuf::from(value()?)),
                "--type" => kind = Some(value()?),
                "--lines" => lines = Some(value()?.parse().map_err(|error| format!("--lines: {error}"))?),
                "--now" => now = value()?,
                _ if word.starts_with("--") => return Err(format!("there is no {word}")),
                _ => log = Some(PathBuf::from(word)),
            }
        }
        Ok(Arguments {
            interpreter: interpreter.ok_or("--plain or --fast is missing")?,
            hub: hub.ok_or("--hub is missing")?,
            collections: collections.ok_or("--all or --collections is missing")?,
            data,
            kind: kind.ok_or("--type is missing")?,
            lines: lines.ok_or("--lines is missing")?,
            now: Timestamp::parse_rfc3339(&now).ok_or("--now is no time")?,
            log: log.ok_or("the log is missing")?,
        })
    }

    fn rules(&self) -> Result<RuleSet, Box<dyn Error>> {
        let hub = Hub::open(&self.hub)?;
        let mut selection = Selection::default();
        if self.collections.is_empty() {
            selection.whole_hub(&hub);
        } else {
            selection.collections(&hub, &self.collections)?;
        }
        Ok(selection.load().rules)
    }

    /// The first lines of the log, empty ones left out, as every reader of logs does.
    fn texts(&self) -> io::Result<Vec<String>> {
        let lines = BufReader::new(File::open(&self.log)?).lines();
        lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty)).take(self.lines).collect()
    }

    fn source(&self) -> Source {
        Source {
            name: self.log.display().to_string(),
            module: "file".to_owned(),
            labels: BTreeMap::from([("type".to_owned(), self.kind.clone())]),
        }
    }
}

/// Adds the data files of a node and of those below it.
fn data_of_node<'n>(node: &'n ParserNode, into: &mut Vec<&'n DataFile>) {
    into.extend(&node.data);
    for child in &node.nodes {
        data_of_node(child, into);
    }
}

/// The files that the rules ask for, as far as the folders have them.
fn world_files(rules: &RuleSet, folders: &DataFolders) -> WorldFiles {
    let mut wanted = Vec::new();
    for parser in rules.parsers.iter().chain(&rules.postoverflows) {
        data_of_node(&parser.node, &mut wanted);
    }
    wanted.extend(rules.scenarios.iter().flat_map(|scenario| &scenario.data));
    let found = |file: &DataFile| Some((file.dest_file.to_string(), folders.find(file)?));
    WorldFiles {
        data: wanted.into_iter().filter_map(found).collect(),
        city: folders.database(CITY_DATABASE),
        asn: folders.database(ASN_DATABASE),
    }
}

/// The lines through the plain interpreter.
fn run_plain(
    arguments: &Arguments,
    rules: &RuleSet,
    folders: &DataFolders,
    texts: Vec<String>,
) -> Vec<Overflow> {
    let files = world_files(rules, folders);
    let mut plain = Plain::new(rules, &files, arguments.now).with_years(YearClock::NotAfter(arguments.now));
    let source = arguments.source();
    let mut overflows = Vec::new();
    // One by one: the outcomes of lines are not kept.
    for raw in texts {
        let line = testudo_oracle::Line {
            raw,
            source: source.name.clone(),
            labels: source.labels.clone(),
            module: source.module.clone(),
        };
        overflows.extend(plain.run(&[line]).overflows);
    }
    overflows
}

/// Keeps overflows.
#[derive(Default)]
struct Told(Vec<Overflow>);

impl Sink for Told {
    fn overflow(&mut self, overflow: &Overflow, _: Line<'_>) {
        self.0.push(overflow.clone());
    }
}

/// The lines through the engine, as large logs are run: in batches, on all cores.
fn run_fast(
    arguments: &Arguments,
    rules: &RuleSet,
    folders: &DataFolders,
    texts: &[String],
) -> Vec<Overflow> {
    let (engine, _) = Engine::new(rules, folders, Options::new(YearClock::NotAfter(arguments.now)));
    let sources = [arguments.source()];
    let batches = texts.chunks(BATCH_LINES).enumerate().map(|(at, lines)| {
        let mut batch = Batch { first_line: (at * BATCH_LINES) as u64 + 1, ..Batch::default() };
        for line in lines {
            batch.text.push_str(line);
            batch.ends.push(batch.text.len() as u32);
        }
        batch
    });
    let mut told = Told::default();
    Replay::new(&engine, &sources, arguments.now).run(batches, &mut told, &mut |_| {});
    told.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let rules = arguments.rules()?;
    let folders = DataFolders::new(&arguments.data);
    let texts = arguments.texts()?;
    let overflows = match arguments.interpreter {
        Interpreter::Plain => run_plain(&arguments, &rules, &folders, texts),
        Interpreter::Fast => run_fast(&arguments, &rules, &folders, &texts),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for overflow in &overflows {
        serde_json::to_writer(&mut out, overflow)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}
