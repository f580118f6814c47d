//! What running live costs, next to a replay of the same lines: processor time, latency of a line that comes
//! alone, and saving. `live RULES LOG TYPE [replay]`: a folder with `parsers` and `scenarios`, a log, its label `type`;
//! only a replay, to be watched from outside.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use testudo_engine::{
    Batch, Engine, Input, Line, Live, LiveBatch, LiveSink, LiveSource, NoData, Options, Replay, Sink, Source,
    Spot,
};
use testudo_event::{Overflow, Timestamp, YearClock};
use testudo_rules::{SourceFile, load_parsers, load_scenarios, set::RuleSet};

/// Bytes of a batch, as files are read.
const BATCH_BYTES: usize = 32 << 10;

/// Lines that are sent one by one.
const ALONE: usize = 2_000;

/// Each way is measured so often; the least is told.
const ROUNDS: usize = 5;

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rules, log, kind, only @ ..] = arguments.as_slice() else {
        return Err("usage: live RULES LOG TYPE [replay]".into());
    };
    let engine = engine(Path::new(rules))?;
    let text = fs::read_to_string(log)?;
    let source = Source {
        name: log.clone(),
        module: "file".to_owned(),
        labels: [("type".to_owned(), kind.clone())].into(),
    };
    let batches = batches(&text);
    let lines: usize = batches.iter().map(|batch| batch.ends.len()).sum();
    println!("{lines} lines in {} batches", batches.len());
    if only.first().is_some_and(|only| only == "replay") {
        println!("{} overflows", replay(&engine, &source, &batches));
        return Ok(());
    }
    let live = Arc::new(LiveSource { source: source.clone(), time_machine: false });
    let end = Timestamp::from_unix(2_000_000_000, 0);
    let mut least = [f64::MAX; 3];
    let mut overflows = [0; 3];
    for _ in 0..ROUNDS {
        let ways: [&dyn Fn() -> usize; 3] = [
            &|| replay(&engine, &source, &batches),
            &|| run(&engine, inputs(&live, &batches, |_| end)).0,
            &|| run(&engine, inputs(&live, &batches, |at| Timestamp::from_unix(1_600_000_000 + at, 0))).0,
        ];
        for (at, way) in ways.iter().enumerate() {
            let before = processor_seconds()?;
            overflows[at] = way();
            least[at] = least[at].min(processor_seconds()? - before);
        }
    }
    for (at, name) in ["replay", "live, a backlog", "live, up to date"].into_iter().enumerate() {
        let per_line = least[at] * 1e9 / lines as f64;
        let ratio = least[at] / least[0];
        println!("{name}: {per_line:.0} ns a line, {ratio:.3} of a replay, {} overflows", overflows[at]);
    }
    for workers in [1, 2] {
        latency(&engine, &live, &text, workers)?;
    }
    save(&engine, inputs(&live, &batches, |_| end))
}

fn engine(folder: &Path) -> Fallible<Engine> {
    let mut rules = RuleSet::default();
    let mut stages: Vec<PathBuf> =
        fs::read_dir(folder.join("parsers"))?.map(|entry| Ok(entry?.path())).collect::<Fallible<_>>()?;
    stages.sort();
    for stage in stages {
        let name = stage.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for file in files(&stage)? {
            rules.parsers.extend(load_parsers(file, &name).items);
        }
    }
    for file in files(&folder.join("scenarios"))? {
        rules.scenarios.extend(load_scenarios(file).items);
    }
    let (engine, _) = Engine::new(&rules, &NoData, Options::new(YearClock::Current(2026)));
    println!("{} parsers, {} scenarios", rules.parsers.len(), rules.scenarios.len());
    Ok(engine)
}

/// The YAML files below a folder, in order.
fn files(folder: &Path) -> Fallible<Vec<Arc<SourceFile>>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Fallible<_>>()?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path)?;
            found.push(Arc::new(SourceFile { path: path.display().to_string(), text }));
        }
    }
    Ok(found)
}

fn batches(text: &str) -> Vec<Batch> {
    let mut batches = vec![Batch { first_line: 1, ..Batch::default() }];
    for (number, line) in (1..).zip(text.lines()) {
        if batches.last().is_none_or(|batch| batch.text.len() >= BATCH_BYTES) {
            batches.push(Batch { first_line: number, ..Batch::default() });
        }
        if let Some(batch) = batches.last_mut() {
            batch.text.push_str(line);
            batch.ends.push(batch.text.len() as u32);
        }
    }
    batches
}

fn inputs(source: &Arc<LiveSource>, batches: &[Batch], arrival: impl Fn(i64) -> Timestamp) -> Vec<Input> {
    let batch = |(number, batch): (u64, &Batch)| {
        Input::Lines(LiveBatch {
            number,
            source: Arc::clone(source),
            arrival: arrival(number as i64),
            text: batch.text.clone(),
            ends: batch.ends.clone(),
        })
    };
    (0..).zip(batches).map(batch).collect()
}

struct Count(usize);

impl Sink for Count {
    fn overflow(&mut self, _: &Overflow, _: Line<'_>) {
        self.0 += 1;
    }
}

impl LiveSink for Count {
    fn overflow(&mut self, _: &Overflow, _: Spot) {
        self.0 += 1;
    }
}

fn replay(engine: &Engine, source: &Source, batches: &[Batch]) -> usize {
    let mut count = Count(0);
    let sources = std::slice::from_ref(source);
    let batches = batches.to_vec();
    Replay::new(engine, sources, Timestamp::default()).run_with(
        1,
        batches.into_iter(),
        &mut count,
        &mut |_| {},
    );
    count.0
}

fn run(engine: &Engine, inputs: Vec<Input>) -> (usize, Live<'_>) {
    let (mut live, mut count) = (Live::new(engine), Count(0));
    live.run(1, inputs.into_iter(), &mut count);
    (count.0, live)
}

/// Seconds that the calling thread has had a processor.
fn processor_seconds() -> Fallible<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_ascii_whitespace().next().ok_or("no time in schedstat")?;
    Ok(nanos.parse::<u64>()? as f64 / 1e9)
}

/// Tells when a batch is done.
struct Told(mpsc::Sender<Instant>);

impl LiveSink for Told {
    fn overflow(&mut self, _: &Overflow, _: Spot) {}

    fn done(&mut self, _: LiveBatch) {
        let _ = self.0.send(Instant::now());
    }
}

/// The time from a line that is sent alone to its end.
fn latency(engine: &Engine, source: &Arc<LiveSource>, text: &str, workers: usize) -> Fallible<()> {
    let (give, take) = mpsc::channel::<Input>();
    let (tell, told) = mpsc::channel();
    let mut took = Vec::with_capacity(ALONE);
    thread::scope(|scope| -> Fallible<()> {
        scope.spawn(move || Live::new(engine).run(workers, take.into_iter(), &mut Told(tell)));
        for (number, line) in (0..).zip(text.lines()).take(ALONE) {
            let batch = LiveBatch {
                number,
                source: Arc::clone(source),
                arrival: Timestamp::from_unix(1_600_000_000 + number as i64, 0),
                text: line.to_owned(),
                ends: vec![line.len() as u32],
            };
            let sent = Instant::now();
            give.send(Input::Lines(batch))?;
            took.push(told.recv()?.duration_since(sent).as_nanos());
        }
        drop(give);
        Ok(())
    })?;
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 1_000).min(took.len() - 1)] as f64 / 1e3;
    println!(
        "a line alone, {workers} workers: median {:.0} µs, 99 % {:.0} µs, 99.9 % {:.0} µs",
        at(500),
        at(990),
        at(999)
    );
    Ok(())
}

/// What saving and restoring costs after all lines.
fn save(engine: &Engine, inputs: Vec<Input>) -> Fallible<()> {
    let (_, live) = run(engine, inputs);
    let mut least = [f64::MAX; 2];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let before = Instant::now();
        let state = live.save();
        least[0] = least[0].min(before.elapsed().as_secs_f64());
        bytes = state.len();
    }
    let (state, buckets) = (live.save(), live.open_buckets());
    for _ in 0..ROUNDS {
        let mut again = Live::new(engine);
        let before = Instant::now();
        again.restore(&state)?;
        least[1] = least[1].min(before.elapsed().as_secs_f64());
    }
    println!(
        "{buckets} buckets: saved in {:.1} ms, {bytes} bytes ({:.0} each), restored in {:.1} ms",
        least[0] * 1e3,
        bytes as f64 / buckets.max(1) as f64,
        least[1] * 1e3
    );
    Ok(())
}
