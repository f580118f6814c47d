//! The agent part: from sources to alerts that the API has acknowledged.
//!
//! Three places work hand in hand. The feed (a task) brings batches of the sources, ticks and checkpoints
//! into one order. The lane (a thread) runs the engine over them; its end, [`lane::Lane`], turns overflows
//! into alerts. The delivery (a task) hands alerts over. Between them stand bounded channels and the outbox.

mod banned;
mod counts;
mod deliver;
mod feed;
mod identity;
mod lane;
mod names;
mod overload;
mod saver;
mod under_way;
mod usage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use testudo_api::DeadLetters;
use testudo_config::Config;
use testudo_engine::{Board, Engine, Input, Live, Skip, Tallies};
use testudo_guard::{BlastRadius, Budget, GoodTraffic, Limits};
use testudo_intake::{Source, Status};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::clock;
use crate::outbox::Outbox;
use crate::rules::Items;
use crate::state::{State, StateError};
use crate::trace::{Fate, Overflowed, Trace, Tracer};

pub(crate) use counts::Counts;
pub(crate) use deliver::{Delivery, Target};
pub(crate) use lane::{Policy, Watched};
pub(crate) use names::NameMemory;
pub use names::Resolve;

use banned::Banned;
use feed::{Feed, Feeder, Order, Statuses};
use lane::Lane;
use names::Names;
use overload::Overload;
use saver::{Saver, clients_of};
use under_way::UnderWay;
use usage::Usage;

/// Inputs that may wait for the lane. With the size of a batch this bounds what is in memory.
const WAITING_INPUTS: usize = 32;

/// How often the API hears what was read.
const USAGE_EVERY: Duration = Duration::from_mins(30);

/// How long sources and the lane may take to end: what is on the way is a few MiB, and a disk may be slow.
const LANE_WITHIN: Duration = Duration::from_secs(20);

/// How long alerts are handed over at the end of the process.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// Why the agent part cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state of the last run.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system refuses a thread or a file.
    #[error("cannot {attempt}: {source}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// What the agent part needs.
pub(crate) struct Setup {
    pub(crate) engine: Arc<Engine>,
    pub(crate) sources: Vec<Arc<dyn Source>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) target: Target,
    pub(crate) dead: Arc<DeadLetters>,
    pub(crate) machine: String,
    /// What the rules are, and the version of the program: for reports to the API.
    pub(crate) items: Items,
    pub(crate) version: &'static str,
    /// What engines know of names, and who finds out more; none: nobody is asked.
    pub(crate) names: Option<(Arc<NameMemory>, Resolve)>,
}

/// The agent part, running.
pub(crate) struct Agent {
    orders: mpsc::Sender<Order>,
    pub(crate) statuses: Statuses,
    pub(crate) counts: Arc<Counts>,
    pub(crate) watched: Arc<RwLock<Watched>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) tracer: Arc<Tracer>,
    /// Whether a checkpoint is due though no line came.
    unsaved: Arc<AtomicBool>,
    board: Arc<RwLock<Board>>,
    /// Is told when everything that was to be read once is read.
    pub(crate) ended: Arc<Notify>,
    delivering: JoinHandle<()>,
    end_delivery: oneshot::Sender<()>,
    /// Closed when nothing is read any more.
    reading: watch::Receiver<()>,
    tasks: JoinSet<()>,
    lane: thread::JoinHandle<State>,
    state_file: PathBuf,
}

fn limits(config: &Config) -> Limits {
    let blast = &config.own.blast_radius;
    Limits {
        share: blast.share,
        least: u32::try_from(blast.least).unwrap_or(u32::MAX),
        window_s: u32::try_from(blast.window.as_secs()).unwrap_or(u32::MAX),
    }
}

/// Deletes a state and what stands beside it.
pub(crate) fn forget_state(state_file: &Path) {
    for path in [state_file.to_owned(), clients_of(state_file)] {
        // It may not be there.
        let _ = std::fs::remove_file(path);
    }
}

/// Reads the state of the last run. One that cannot be used is set aside: a damaged file must not keep the
/// machine unguarded. One of a newer program stops the start, so that nothing of it is lost.
fn last_state(path: &Path) -> Result<Option<State>, StateError> {
    match State::read(path) {
        Err(error @ StateError::Damaged { .. }) => {
            match crate::state::set_aside(path) {
                Ok(aside) => tracing::error!(
                    %error,
                    aside = %aside.display(),
                    "the state of the last run cannot be used: sources begin at their ends, buckets empty"
                ),
                Err(source) => {
                    return Err(StateError::Io { attempt: "set aside", path: path.to_owned(), source });
                }
            }
            Ok(None)
        }
        read => read,
    }
}

/// The table of good clients, with what was known before. It is of use, not of need: what cannot be read is
/// told, and left.
fn good_clients(state_file: &Path, window_s: u32) -> GoodTraffic {
    let mut traffic = GoodTraffic::new(Budget { window_s, ..Budget::default() });
    let path = clients_of(state_file);
    match std::fs::read(&path) {
        Ok(bytes) => match traffic.restore(&bytes, clock::now_ms().div_euclid(1000)) {
            Ok(clients) => tracing::debug!(clients, "good clients are known from before"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "good clients are not known from before");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "good clients are not known from before");
        }
    }
    traffic
}

impl Agent {
    /// Starts everything. Must be called on a runtime.
    pub(crate) fn start(config: &Config, setup: Setup) -> Result<Agent, AgentError> {
        let state_file =
            config.own.state_file.clone().unwrap_or_else(|| config.paths.data_dir.join("testudo.state"));
        let last = last_state(&state_file)?;
        let is_first = last.is_none();
        let last = last.unwrap_or_default();
        // An API elsewhere may not know the identities of alerts.
        let journal = matches!(setup.target, Target::Remote(_)).then(|| {
            let mut path = state_file.clone().into_os_string();
            path.push(".delivered");
            PathBuf::from(path)
        });
        let outbox =
            Outbox::new(journal).map_err(|source| AgentError::Io { attempt: "open the journal", source })?;
        match outbox.restore(&last.outbox) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "alerts of the last run are sent once more"),
            Err(error) => tracing::error!(%error, "the alerts of the last run cannot be understood"),
        }
        let (outbox, counts) = (Arc::new(outbox), Arc::new(Counts::default()));
        let saver = Saver::start(state_file.clone(), Arc::clone(&outbox), Arc::clone(&counts))
            .map_err(|source| AgentError::Io { attempt: "start a thread", source })?;
        let (saving, unsaved) = (saver.busy(), saver.unsaved());
        let tracer = Arc::new(Tracer::default());
        let options = testudo_intake::Options::default();
        let sources = setup.sources.len();
        let (intake, lines) = testudo_intake::start(setup.sources, last.positions.clone(), &options);
        let (to_lane, feed) = mpsc::channel(WAITING_INPUTS);
        let (orders, taken) = mpsc::channel(4);
        let under_way = Arc::new(UnderWay::default());
        let statuses = Statuses::default();
        let watched = Arc::new(RwLock::new(Watched::default()));
        let board = Arc::new(RwLock::new(Board::default()));
        let window_s = limits(config).window_s;
        let names = setup
            .names
            .map(|(memory, resolve)| Names::start(memory, &resolve, &outbox, &counts, &tracer))
            .transpose()
            .map_err(|source| AgentError::Io { attempt: "start a thread", source })?;
        let lane = Lane {
            names,
            under_way: Arc::clone(&under_way),
            outbox: Arc::clone(&outbox),
            policy: Arc::clone(&setup.policy),
            counts: Arc::clone(&counts),
            watched: Arc::clone(&watched),
            dead: Arc::clone(&setup.dead),
            machine: setup.machine.clone(),
            saver,
            positions: last.positions,
            traffic: good_clients(&state_file, window_s),
            clients_saved: Instant::now(),
            blast: BlastRadius::new(limits(config)),
            limits: limits(config),
            events_most: config.own.max_alert_events,
            tracer: Arc::clone(&tracer),
            traced: false,
        };
        let workers =
            config.own.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let (pressed, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        // Who is banned is known where the API is.
        let skip: Option<Arc<dyn Skip>> = match &setup.target {
            Target::Local { service, .. } => {
                Some(Arc::new(Banned::new(Arc::clone(service.store()), Arc::clone(&pressed))))
            }
            Target::Remote(_) => None,
        };
        let lane = {
            let (engine, board) = (setup.engine, Arc::clone(&board));
            let run = move || run_lane(engine, last.buckets, lane, feed, workers, &board, skip.as_ref());
            thread::Builder::new()
                .name("lane".to_owned())
                .spawn(run)
                .map_err(|source| AgentError::Io { attempt: "start a thread", source })?
        };
        let feeder = Feeder {
            intake,
            lines,
            options,
            orders: taken,
            lane: to_lane,
            under_way,
            counts: Arc::clone(&counts),
            statuses: Arc::clone(&statuses),
            checkpoint_every: config.own.checkpoint_interval.max(Duration::from_millis(50)),
            saving,
            unsaved: Arc::clone(&unsaved),
            overload: Overload::new(config.own.overload.skip_after),
            pressed,
            ended: Arc::clone(&ended),
            outbox: Arc::clone(&outbox),
            tracer: Arc::clone(&tracer),
        };
        let report = {
            let (statuses, board, target) = (Arc::clone(&statuses), Arc::clone(&board), setup.target.clone());
            let (items, version) = (setup.items, setup.version);
            async move { report_usage(statuses, board, target, items, version).await }
        };
        let delivery = Delivery {
            outbox: Arc::clone(&outbox),
            target: setup.target,
            counts: Arc::clone(&counts),
            dead: setup.dead,
            machine: setup.machine,
            tracer: Arc::clone(&tracer),
        };
        let (end_delivery, end) = oneshot::channel();
        let delivering = tokio::spawn(async move { delivery.run(end).await });
        let mut tasks = JoinSet::new();
        let (reads, reading) = watch::channel(());
        tasks.spawn(async move {
            // However it ends.
            let _reads = reads;
            feeder.run().await;
        });
        tasks.spawn(report);
        tracing::info!(sources, goes_on = !is_first, "logs are read");
        Ok(Agent {
            orders,
            statuses,
            counts,
            watched,
            policy: setup.policy,
            outbox,
            tracer,
            unsaved,
            board,
            ended,
            delivering,
            end_delivery,
            reading,
            tasks,
            lane,
            state_file,
        })
    }

    /// Waits until no line can be handled any more, though nobody has stopped it: the lane, or what feeds it, has failed.
    pub(crate) async fn failed(&self) {
        let mut reading = self.reading.clone();
        while reading.changed().await.is_ok() {}
    }

    /// What the engine has counted since it last began.
    pub(crate) fn tallies(&self) -> Arc<Tallies> {
        self.board.read().unwrap_or_else(PoisonError::into_inner).read()
    }

    /// How the sources are.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.statuses.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends what is traced. Alerts of it that the API does not have are taken back. Returns what was seen.
    pub(crate) fn end_trace(&self) -> Option<Trace> {
        let mut trace = self.tracer.end()?;
        let open = |found: &&mut Overflowed| {
            !found.uuid.is_empty()
                && found.acknowledged_us == 0
                && matches!(found.fate, Fate::Alert | Fate::Held)
        };
        for found in trace.overflows.iter_mut().filter(open) {
            if self.outbox.withdraw(&[&found.uuid]) > 0 {
                found.fate = Fate::Withdrawn;
                // Or it would come back with the last checkpoint.
                self.unsaved.store(true, Ordering::Release);
            }
        }
        Some(trace)
    }

    /// Takes other rules, and other sources if there are any. Buckets of scenarios that did not change go
    /// on, and so does every line.
    pub(crate) async fn reload(&self, engine: Arc<Engine>, sources: Option<Vec<Arc<dyn Source>>>) {
        if let Some(sources) = sources {
            let (done, ended) = oneshot::channel();
            if self.orders.send(Order::Sources(sources, done)).await.is_ok() {
                // An error says that the feed has ended, and then nothing is left to wait for.
                let _ = ended.await;
            }
        }
        let _ = self.orders.send(Order::Engine(engine)).await;
    }

    /// Stops: what the sources have handed out goes through, alerts are handed over as far as it goes in a
    /// few seconds, and the rest is written down.
    pub(crate) async fn stop(mut self) -> Result<(), AgentError> {
        let _ = self.orders.send(Order::Stop).await;
        let lane = self.lane;
        let joined = tokio::task::spawn_blocking(move || lane.join());
        let state = tokio::time::timeout(LANE_WITHIN, joined).await;
        self.tasks.shutdown().await;
        let _ = self.end_delivery.send(());
        if tokio::time::timeout(FLUSH_WITHIN, &mut self.delivering).await.is_err() {
            tracing::warn!(
                waiting = self.outbox.len(),
                "the API takes no alerts now: they are sent after the next start"
            );
            self.delivering.abort();
        }
        let mut state = match state {
            Ok(Ok(Ok(state))) => state,
            Ok(_) => {
                tracing::error!("the lane failed: the next start goes on from the last checkpoint");
                return Ok(());
            }
            Err(_) => {
                tracing::error!(
                    "a source or the disk does not end: the next start goes on from the last checkpoint"
                );
                return Ok(());
            }
        };
        let (outbox, generation) = self.outbox.save();
        state.outbox = outbox;
        let path = self.state_file;
        let written = tokio::task::spawn_blocking(move || state.write(&path)).await;
        if let Ok(written) = written {
            written?;
            let forgotten = self.outbox.saved(generation);
            forgotten.map_err(|source| AgentError::Io { attempt: "remove the old journal", source })?;
        }
        Ok(())
    }
}

/// Reports to the API what is read, again and again.
async fn report_usage(
    statuses: Statuses,
    board: Arc<RwLock<Board>>,
    target: Target,
    items: Items,
    version: &'static str,
) {
    let started_s = clock::now_ms().div_euclid(1000);
    let mut usage = Usage::default();
    let mut interval = tokio::time::interval(USAGE_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let sources = statuses.read().unwrap_or_else(PoisonError::into_inner).clone();
        let tallies = board.read().unwrap_or_else(PoisonError::into_inner).read();
        let now_s = clock::now_ms().div_euclid(1000);
        target.report(usage.report(&sources, &tallies, &items, version, started_s, now_s)).await;
    }
}

/// What comes to the lane, until it ends or other rules come.
struct Inputs<'f> {
    feed: &'f mut mpsc::Receiver<Feed>,
    next: &'f mut Option<Arc<Engine>>,
}

impl Iterator for Inputs<'_> {
    type Item = Input;

    fn next(&mut self) -> Option<Input> {
        match self.feed.blocking_recv()? {
            Feed::Input(input) => Some(input),
            Feed::Engine(engine) => {
                *self.next = Some(engine);
                None
            }
        }
    }
}

fn run_lane(
    mut engine: Arc<Engine>,
    mut buckets: Vec<u8>,
    mut lane: Lane,
    mut feed: mpsc::Receiver<Feed>,
    workers: usize,
    board: &RwLock<Board>,
    skip: Option<&Arc<dyn Skip>>,
) -> State {
    loop {
        let current = engine;
        if let Some(names) = &lane.names {
            names.set_engine(&current);
        }
        let mut live = Live::new(&current);
        live.set_skip(skip.cloned());
        *board.write().unwrap_or_else(PoisonError::into_inner) = live.board();
        if !buckets.is_empty() {
            match live.restore(&buckets) {
                Ok(restored) => tracing::info!(
                    buckets = restored.buckets,
                    dropped = restored.dropped_buckets,
                    "buckets go on where they were"
                ),
                Err(error) => {
                    tracing::error!(%error, "the buckets of before cannot be used: they begin empty");
                }
            }
        }
        let mut next = None;
        live.run(workers, Inputs { feed: &mut feed, next: &mut next }, &mut lane);
        buckets = live.save();
        match next {
            Some(other) => {
                engine = other;
                lane.blast = BlastRadius::new(lane.limits);
            }
            None => return lane.end(buckets),
        }
    }
}
