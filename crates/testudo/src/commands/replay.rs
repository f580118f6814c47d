//! `testudo replay`: who attacked, how, and what would have been banned.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressStyle};
use testudo_decide::{Profiles, default_profiles};
use testudo_engine::{Engine, Options, Replay, Source};
use testudo_event::{Timestamp, YearClock};
use testudo_rules::{SourceFile, load_profiles, load_simulation, plan::Simulation};

use crate::{
    args::{Output, ReplayArgs, time_or_age},
    failure::{self, Failure},
    names::SystemNames,
    replay::{
        guess,
        human::{self, Times},
        input::{self, Batches, Tally},
        report::{FileCounts, Finding, Report, Stream, Trouble},
    },
    rules,
};

/// The present, as the machine knows it.
pub(crate) fn present() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_unix(since.as_secs() as i64, since.subsec_nanos())
}

pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let now = args.now.unwrap_or_else(present);
    let time = |text: &Option<String>| text.as_deref().map(|t| time_or_age(t, now)).transpose();
    let since = time(&args.since).map_err(Failure::new)?;
    let until = time(&args.until).map_err(Failure::new)?;
    let profiles = profiles(args.profiles.as_deref())?;
    let simulation = simulation(args.simulation.as_deref())?;
    let years = years(&args.files, args.now, now);
    let mut engine = rules::engine(&args.rules, Options::new(years))?;
    if args.dns {
        engine.world_mut().set_reverse_dns(Arc::new(SystemNames::default()));
    }
    let loading = began.elapsed();
    let tally = Arc::new(Tally::default());
    let (files, sources) = sources(args, &engine, &tally)?;
    let paths: Vec<PathBuf> = files.iter().map(|file| PathBuf::from(&file.path)).collect();

    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut writer = Writer { out: &mut stdout, error: None };
    let streams = args.output == Output::Jsonl;
    let keep = args.output == Output::Json;
    let stream: Option<&mut dyn Stream> = if streams { Some(&mut writer) } else { None };
    let listed = engine.world_mut().listed().cloned().unwrap_or_default();
    let mut report = Report::new(&profiles, &simulation, &*listed, files, keep, stream);

    let bar = progress(args, &paths);
    let began = Instant::now();
    let mut replay = Replay::new(&engine, &sources, now).window(since, until);
    let mut lines = 0_u64;
    replay.run(Batches::new(paths, tally.clone()), &mut report, &mut |batch| {
        lines += batch.ends.len() as u64;
        if let Some(bar) = &bar {
            bar.set_position(tally.bytes.load(Ordering::Relaxed));
            let seconds = began.elapsed().as_secs_f64().max(1e-3);
            bar.set_message(format!("{} lines/s", crate::table::grouped((lines as f64 / seconds) as u64)));
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let (parsers, scenarios) = engine.counts();
    let counters = replay.counters();
    let times = Times { loading, running: began.elapsed(), parsers, scenarios, evicted: counters.evicted };
    for error in &report.profile_errors {
        eprintln!("warning: {error}");
    }
    let troubles: Vec<Trouble> = tally
        .problems()
        .into_iter()
        .map(|problem| Trouble { path: problem.path, message: problem.message })
        .collect();
    let text = report_text(args.output, &report, &times, &tally, troubles.clone())?;
    drop(report);
    match writer.error {
        Some(error) => Err(error),
        None => stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()),
    }
    .map_err(|error| failure::output(&error))?;
    Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(failure::COULD_NOT_RUN) })
}

fn report_text(
    output: Output,
    report: &Report<'_>,
    times: &Times,
    tally: &Tally,
    troubles: Vec<Trouble>,
) -> Result<String, Failure> {
    let too_long = tally.too_long.load(Ordering::Relaxed);
    let not_utf8 = tally.not_utf8.load(Ordering::Relaxed);
    Ok(match output {
        Output::Human => human::render(report, times, too_long, &troubles),
        Output::Json | Output::Jsonl => {
            let whole = output == Output::Json;
            let summary = report.summary(whole, too_long, not_utf8, troubles);
            let text = if whole {
                serde_json::to_string_pretty(&summary)
            } else {
                serde_json::to_string(&BTreeMap::from([("summary", summary)]))
            };
            text.map_err(|error| Failure::new(format!("cannot write the report: {error}")))? + "\n"
        }
    })
}

/// Writes findings as they come.
struct Writer<'w, W: Write> {
    out: &'w mut W,
    error: Option<io::Error>,
}

impl<W: Write> Stream for Writer<'_, W> {
    fn finding(&mut self, finding: &Finding) {
        if self.error.is_some() {
            return;
        }
        let written = serde_json::to_writer(&mut *self.out, &BTreeMap::from([("alert", finding)]))
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        self.error = written.err();
    }
}

fn read(path: &Path) -> Result<Arc<SourceFile>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    Ok(Arc::new(SourceFile { path: path.display().to_string(), text }))
}

fn profiles(path: Option<&Path>) -> Result<Profiles, Failure> {
    let Some(path) = path else { return Ok(Profiles::new(default_profiles())) };
    let loaded = load_profiles(read(path)?);
    rules::print(&loaded.diagnostics);
    if loaded.items.is_empty() {
        return Err(Failure::new(format!("no profile in {} can be used", path.display())));
    }
    Ok(Profiles::new(loaded.items))
}

fn simulation(path: Option<&Path>) -> Result<Simulation, Failure> {
    let Some(path) = path else { return Ok(Simulation::default()) };
    let mut loaded = load_simulation(read(path)?);
    rules::print(&loaded.diagnostics);
    loaded.items.pop().ok_or_else(|| Failure::new(format!("{} cannot be used", path.display())))
}

/// How dates without a year get one: not after the latest change of the files, or `--now`'s year.
pub(crate) fn years(files: &[PathBuf], given: Option<Timestamp>, now: Timestamp) -> YearClock {
    if let Some(now) = given {
        return YearClock::NotAfter(now);
    }
    let modified = files.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok());
    let latest = modified.filter_map(|time| time.duration_since(UNIX_EPOCH).ok()).max();
    YearClock::NotAfter(latest.map_or(now, |since| Timestamp::from_unix(since.as_secs() as i64, 0)))
}

/// The files with their types.
fn sources(
    args: &ReplayArgs,
    engine: &Engine,
    tally: &Tally,
) -> Result<(Vec<FileCounts>, Vec<Source>), Failure> {
    let mut files = Vec::new();
    let mut sources = Vec::new();
    for path in &args.files {
        let kind = match &args.kind {
            Some(kind) => kind.clone(),
            None if path == Path::new("-") => {
                return Err(Failure::new("the type of standard input cannot be guessed")
                    .hint("give it with --type, e.g. --type syslog"));
            }
            None => {
                let lines = input::first_lines(path, guess::SAMPLE_LINES);
                match guess::guess(engine, path, &lines) {
                    Some(kind) => kind,
                    None => {
                        if !lines.is_empty() {
                            tally.problem(
                                path,
                                "no parser understands its first lines; give its type with --type",
                            );
                        }
                        "syslog".to_owned()
                    }
                }
            }
        };
        let name = path.display().to_string();
        files.push(FileCounts { path: name.clone(), kind: kind.clone(), ..FileCounts::default() });
        let labels = BTreeMap::from([("type".to_owned(), kind)]);
        sources.push(Source { name, module: "file".to_owned(), labels });
    }
    Ok((files, sources))
}

/// A bar with rate and remaining time, on a terminal only.
fn progress(args: &ReplayArgs, paths: &[PathBuf]) -> Option<ProgressBar> {
    if args.quiet || !io::stderr().is_terminal() {
        return None;
    }
    let total = paths.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum();
    let bar = ProgressBar::new(total);
    let style = "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    Some(bar)
}
