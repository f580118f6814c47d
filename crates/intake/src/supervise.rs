//! Runs sources: each on its own, started again with growing pauses when it fails, so that none
//! takes down another.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use testudo_expr::{Services, host::NoServices};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    batch::Batch,
    counters::{Count, Counters},
    log::Log,
    outlet::Outlet,
    position::Positions,
    source::{Mode, Settings, Source, SourceError},
};

/// Pause before the first new start of a source that failed.
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two starts.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// A source that ran for this long before it failed begins with [`FIRST_PAUSE`] again.
const STEADY: Duration = Duration::from_mins(5);

/// Batches that may wait in the channel. With the size of a batch this bounds what is in memory;
/// sources wait while it is full.
const WAITING_BATCHES: usize = 64;

/// How sources are run.
#[derive(Clone)]
pub struct Options {
    /// Batches that may wait to be taken.
    pub waiting_batches: usize,
    /// Pause before the first new start of a source that failed; it doubles up to [`LONGEST_PAUSE`].
    pub first_pause: Duration,
    /// What the helpers of `transform` expressions ask.
    pub services: Arc<dyn Services>,
}

impl Default for Options {
    fn default() -> Self {
        Options { waiting_batches: WAITING_BATCHES, first_pause: FIRST_PAUSE, services: Arc::new(NoServices) }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("waiting_batches", &self.waiting_batches)
            .field("first_pause", &self.first_pause)
            .finish_non_exhaustive()
    }
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It failed and waits for its next start.
    Waiting {
        /// Why it failed.
        reason: String,
        /// How long the pause is.
        pause: Duration,
    },
    /// It was not started, since something that it needs is not on this machine.
    Skipped {
        /// What is missing.
        reason: String,
    },
    /// It was to be read once and could not be.
    Failed {
        /// Why.
        reason: String,
    },
    /// It has read everything that there was, or was told to stop.
    Finished,
}

/// A source as it is seen from outside.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its settings.
    pub settings: Arc<Settings>,
    /// How it is.
    pub state: State,
    /// The last problem that it told, even if it is over.
    pub problem: Option<String>,
    /// How often it was started again.
    pub restarts: u64,
    /// What it counted.
    pub counters: Arc<Counters>,
}

struct Member {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    log: Arc<Log>,
    state: Mutex<State>,
    restarts: Count,
}

impl Member {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Sources that run.
pub struct Intake {
    members: Vec<Arc<Member>>,
    tasks: JoinSet<()>,
    cancel: CancellationToken,
    delivered: Arc<Mutex<Positions>>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("sources", &self.members.len()).finish_non_exhaustive()
    }
}

/// Starts sources. Their lines come out of the channel, which ends when all sources have. They go
/// on where `positions` says. Must be called on a runtime with I/O and timers.
pub fn start(
    sources: Vec<Arc<dyn Source>>,
    positions: Positions,
    options: &Options,
) -> (Intake, mpsc::Receiver<Batch>) {
    let (sender, receiver) = mpsc::channel(options.waiting_batches.max(1));
    let cancel = CancellationToken::new();
    let delivered = Arc::new(Mutex::new(positions));
    let mut tasks = JoinSet::new();
    let mut members = Vec::new();
    for (at, source) in sources.into_iter().enumerate() {
        let settings = Arc::new(source.settings().clone());
        let title = format!("{} {}", settings.kind, settings.title);
        let title = if settings.name.is_empty() { title } else { format!("{} ({title})", settings.name) };
        let member = Arc::new(Member {
            counters: Arc::default(),
            log: Arc::new(Log::new(title, settings.log_level)),
            state: Mutex::new(State::Running),
            restarts: Count::default(),
            settings,
        });
        members.push(Arc::clone(&member));
        if let Err(reason) = source.available() {
            member
                .log
                .error(format_args!("datasource '{}' is not available: {reason}", member.settings.kind));
            member.set(State::Skipped { reason });
            continue;
        }
        let outlet = Outlet {
            source: at,
            settings: Arc::clone(&member.settings),
            sender: sender.clone(),
            delivered: Arc::clone(&delivered),
            counters: Arc::clone(&member.counters),
            log: Arc::clone(&member.log),
            cancel: cancel.clone(),
            services: Arc::clone(&options.services),
            runtime: tokio::runtime::Handle::current(),
        };
        tasks.spawn(supervise(source, outlet, member, options.first_pause));
    }
    (Intake { members, tasks, cancel, delivered }, receiver)
}

async fn supervise(source: Arc<dyn Source>, outlet: Outlet, member: Arc<Member>, first_pause: Duration) {
    let mut pause = first_pause;
    loop {
        let started = Instant::now();
        // A task of its own: a panic ends that task and is an error like any other.
        let mut run = JoinSet::new();
        run.spawn(Arc::clone(&source).run(outlet.clone()));
        let error = match run.join_next().await {
            None | Some(Ok(Ok(()))) => break,
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => SourceError::Panic(panic_text(error)),
        };
        if outlet.is_stopped() {
            break;
        }
        if member.settings.mode == Mode::Cat {
            member.log.error(&error);
            return member.set(State::Failed { reason: error.to_string() });
        }
        if started.elapsed() >= STEADY {
            pause = first_pause;
        }
        member.log.error(format_args!("{error}; it is started again in {pause:?}"));
        member.set(State::Waiting { reason: error.to_string(), pause });
        tokio::select! {
            () = outlet.stopped() => break,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        member.restarts.add(1);
        member.set(State::Running);
    }
    member.set(State::Finished);
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}

impl Intake {
    /// How the sources are, in their order.
    pub fn statuses(&self) -> Vec<Status> {
        self.members
            .iter()
            .map(|member| Status {
                settings: Arc::clone(&member.settings),
                state: member.state.lock().unwrap_or_else(PoisonError::into_inner).clone(),
                problem: member.log.problem(),
                restarts: member.restarts.get(),
                counters: Arc::clone(&member.counters),
            })
            .collect()
    }

    /// Tells all sources to stop. What they handed out before stays in the channel, to be taken.
    pub fn stop(&self) {
        self.cancel.cancel();
    }

    /// Waits until all sources have ended, and says where they came to: what another start should
    /// go on from, provided that everything in the channel is taken.
    pub async fn ended(mut self) -> Positions {
        while self.tasks.join_next().await.is_some() {}
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        batch::Collector,
        kind::Kind,
        outlet,
        position::{Change, Position},
        source::Run,
        testing,
    };

    /// Gives a line at each start, then fails, panics or ends.
    struct Moody {
        settings: Settings,
        starts: AtomicU32,
        moods: &'static [&'static str],
    }

    impl Source for Moody {
        fn settings(&self) -> &Settings {
            &self.settings
        }

        fn available(&self) -> Result<(), String> {
            if self.moods.is_empty() { Err("no mood".to_owned()) } else { Ok(()) }
        }

        fn run(self: Arc<Self>, outlet: Outlet) -> Run {
            Box::pin(async move {
                let start = self.starts.fetch_add(1, Ordering::Relaxed) as usize;
                let stream = outlet.stream("s", self.settings.key("s"), None);
                let before = outlet.positions().of(&stream.key).to_vec();
                let mut lines = Collector::new(stream);
                lines.push(format!("start {start} after {before:?}").as_bytes());
                let change = Change::At(Position::Journal { cursor: start.to_string() });
                let batch = lines.finish(outlet::now(), Some(change));
                if outlet.send(batch).await.is_err() {
                    return Ok(());
                }
                match self.moods[start.min(self.moods.len() - 1)] {
                    "fail" => Err(SourceError::Missing("bad mood".to_owned())),
                    "panic" => panic!("worse mood"),
                    "wait" => {
                        outlet.stopped().await;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            })
        }
    }

    fn moody(moods: &'static [&'static str]) -> Arc<dyn Source> {
        let settings = testing::settings(Kind::Journal);
        Arc::new(Moody { settings, starts: AtomicU32::new(0), moods })
    }

    fn quick() -> Options {
        Options { first_pause: Duration::from_millis(1), ..Options::default() }
    }

    #[tokio::test]
    async fn what_fails_is_started_again_and_harms_no_other() {
        let sources = vec![moody(&["fail", "panic", "end"]), moody(&["end"]), moody(&[])];
        let (intake, mut lines) = start(sources, Positions::default(), &quick());
        let mut seen = Vec::new();
        while let Some(batch) = lines.recv().await {
            seen.extend(batch.lines().map(|line| format!("{}: {line}", batch.stream.source)));
        }
        let after = |cursor: &str| format!("[Journal {{ cursor: {cursor:?} }}]");
        seen.sort();
        // Both have the same key: what one handed out, the other goes on from. Only the order in
        // time between them is open.
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert!(seen[1].contains("start 1 after [Journal"), "{seen:?}");
        assert_eq!(seen[2], format!("0: start 2 after {}", after("1")), "{seen:?}");
        let statuses = intake.statuses();
        assert_eq!(statuses[0].restarts, 2);
        assert_eq!(statuses[0].state, State::Finished);
        assert!(statuses[0].problem.as_ref().is_some_and(|p| p.contains("worse mood")), "{statuses:?}");
        assert_eq!(statuses[0].counters.lines.get(), 3);
        assert_eq!(statuses[1].restarts, 0);
        assert_eq!(statuses[2].state, State::Skipped { reason: "no mood".to_owned() });
    }

    #[tokio::test]
    async fn stopping_loses_nothing_that_was_handed_out() {
        let options = Options { waiting_batches: 1, ..quick() };
        let (intake, mut lines) =
            start(vec![moody(&["wait"]), moody(&["wait"])], Positions::default(), &options);
        let first = lines.recv().await.expect("a batch");
        intake.stop();
        let positions = intake.ended().await;
        let mut taken = Positions::default();
        taken.apply(first.progress().expect("a position"));
        while let Some(batch) = lines.recv().await {
            taken.apply(batch.progress().expect("a position"));
        }
        assert_eq!(positions, taken);
    }
}
