//! Brings everything into the lane in one order: lines, the passing of time, checkpoints, new rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testudo_engine::{Engine, Input};
use testudo_intake::{Batch, Intake, Mode, Positions, Source as Sources, Status};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::agent::counts::Counts;
use crate::agent::overload::{Change, Overload};
use crate::agent::under_way::{Entrance, UnderWay};
use crate::clock;
use crate::outbox::{ALERTS_MOST, Outbox};
use crate::trace::Tracer;

/// How often the lane is told that time passes.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// When so many alerts wait for the API, with the lines that are in the lane, no line is read: it stands in its file as
/// safely as its alert would here. A line can lead to an alert, so each counts as one.
const WAITING_MOST: usize = ALERTS_MOST / 2;

/// How often is looked whether there is room again.
const ROOM_EVERY: Duration = Duration::from_millis(5);

/// Something for the lane.
pub(crate) enum Feed {
    /// For the engine.
    Input(Input),
    /// Another engine from here on.
    Engine(Arc<Engine>),
}

/// What others ask of the feed.
pub(crate) enum Order {
    /// Other rules.
    Engine(Arc<Engine>),
    /// Other sources, from the positions where the present ones end.
    Sources(Vec<Arc<dyn Sources>>, oneshot::Sender<()>),
    /// The end: sources stop, what they have handed out goes through.
    Stop,
}

/// The state of the sources, for others to look at.
pub(crate) type Statuses = Arc<std::sync::RwLock<Vec<Status>>>;

/// When a batch brings a position without lines, a file was found: whoever is killed before that is noted begins as if he
/// had never seen it. So a checkpoint follows soon, whatever the interval.
const SOON: Duration = Duration::from_millis(20);

/// Brings lines into the lane.
pub(crate) struct Feeder {
    pub(crate) intake: Intake,
    pub(crate) lines: mpsc::Receiver<Batch>,
    pub(crate) options: testudo_intake::Options,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) lane: mpsc::Sender<Feed>,
    pub(crate) under_way: Arc<UnderWay>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) statuses: Statuses,
    pub(crate) checkpoint_every: Duration,
    /// Whether a checkpoint is being written.
    pub(crate) saving: Arc<AtomicBool>,
    /// Whether the last one is not on the disk, and another is due though nothing is new.
    pub(crate) unsaved: Arc<AtomicBool>,
    pub(crate) overload: Overload,
    /// Whether a source falls behind.
    pub(crate) pressed: Arc<AtomicBool>,
    /// Is told when everything that was to be read once is read.
    pub(crate) ended: Arc<Notify>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) tracer: Arc<Tracer>,
}

impl Feeder {
    /// Runs until it is told to stop, or until all sources have ended and none of them follows anything;
    /// returns when everything is in the lane.
    pub(crate) async fn run(mut self) {
        let mut entrance = Entrance::default();
        let mut tick = tokio::time::interval(TICK_EVERY);
        let mut checkpoint = tokio::time::interval(self.checkpoint_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checkpoint.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        let (mut dirty, mut open, mut waits) = (false, true, false);
        // Whether the next checkpoint is moved forward: it is moved once, or a stream of news would put it off for ever.
        let mut soon = false;
        self.tell();
        loop {
            let room = self.has_room(&mut waits);
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Engine(engine)) => {
                        if self.lane.send(Feed::Engine(engine)).await.is_err() { return }
                    }
                    Some(Order::Sources(sources, done)) => {
                        self.change_sources(sources, &mut entrance).await;
                        open = true;
                        dirty = true;
                        let _ = done.send(());
                    }
                    Some(Order::Stop) | None => break,
                },
                _ = checkpoint.tick(), if dirty || self.unsaved.load(Ordering::Acquire) => {
                    soon = false;
                    if !self.saving.load(Ordering::Acquire) {
                        dirty = false;
                        if self.lane.send(Feed::Input(Input::Checkpoint)).await.is_err() { return }
                    }
                }
                _ = tick.tick() => {
                    self.tell();
                    self.look(looked.elapsed());
                    looked = Instant::now();
                    if self.lane.send(Feed::Input(Input::Tick(clock::now()))).await.is_err() { return }
                }
                () = tokio::time::sleep(ROOM_EVERY), if open && !room => {}
                batch = self.lines.recv(), if open && room => match batch {
                    Some(batch) => {
                        dirty = true;
                        if batch.is_empty() && !std::mem::replace(&mut soon, true) {
                            checkpoint.reset_after(SOON);
                        }
                        if self.enter(batch, &mut entrance).await.is_err() { return }
                    }
                    None => {
                        open = false;
                        tracing::info!("all sources have ended");
                        let once = |status: &Status| status.settings.mode == Mode::Cat;
                        if self.intake.statuses().iter().all(once) {
                            self.ended.notify_one();
                        }
                    }
                },
            }
        }
        self.intake.stop();
        while let Some(batch) = self.lines.recv().await {
            if self.enter(batch, &mut entrance).await.is_err() {
                return;
            }
        }
        self.intake.ended().await;
    }

    /// Whether what another batch may lead to finds room. `waits`: it did not, and that was told.
    fn has_room(&self, waits: &mut bool) -> bool {
        let waiting = self.outbox.len();
        if waiting >= WAITING_MOST && !std::mem::replace(waits, true) {
            tracing::error!(
                waiting,
                "too many alerts wait for the API: logs are read no further until it takes them"
            );
        }
        if waiting < WAITING_MOST / 2 && std::mem::take(waits) {
            tracing::info!("the API takes alerts: logs are read on");
        }
        waiting + self.under_way.lines() < WAITING_MOST
    }

    async fn enter(&mut self, mut batch: Batch, entrance: &mut Entrance) -> Result<(), ()> {
        let skipped = self.overload.skips(batch.stream.source);
        if self.tracer.is_on() {
            self.tracer.read(&batch, skipped);
        }
        if skipped {
            self.counts.skipped.add(batch.len() as u64);
            // Its position counts all the same.
            batch.text.clear();
            batch.ends.clear();
        }
        let live = entrance.enter(batch, &self.under_way);
        self.lane.send(Feed::Input(Input::Lines(live))).await.map_err(drop)
    }

    /// Ends the present sources, lets everything that they read into the lane, and starts others.
    async fn change_sources(&mut self, sources: Vec<Arc<dyn Sources>>, entrance: &mut Entrance) {
        self.intake.stop();
        while let Some(batch) = self.lines.recv().await {
            if self.enter(batch, entrance).await.is_err() {
                return;
            }
        }
        let (none, _) = testudo_intake::start(Vec::new(), Positions::default(), &self.options);
        let positions = std::mem::replace(&mut self.intake, none).ended().await;
        (self.intake, self.lines) = testudo_intake::start(sources, positions, &self.options);
        self.overload.forget();
        self.tell();
    }

    fn tell(&self) {
        *self.statuses.write().unwrap_or_else(std::sync::PoisonError::into_inner) = self.intake.statuses();
    }

    /// Looks for sources that are too far behind.
    fn look(&mut self, passed: Duration) {
        for (at, status) in self.intake.statuses().iter().enumerate() {
            let counters = &status.counters;
            match self.overload.look(at, counters.bytes.get(), counters.lag_bytes.get(), passed) {
                Change::None => {}
                Change::Begins(behind) => tracing::error!(
                    source = status.settings.title,
                    behind_seconds = behind.as_secs(),
                    "a source is too far behind: its lines are skipped until it has caught up"
                ),
                Change::Ends => tracing::warn!(
                    source = status.settings.title,
                    skipped = self.counts.skipped.get(),
                    "a source has caught up; its lines count again"
                ),
            }
        }
        let pressed = self.overload.is_pressed();
        if self.pressed.swap(pressed, Ordering::Relaxed) != pressed {
            let what = if pressed {
                "fall behind: lines of who is banned lead to nothing more"
            } else {
                "have caught up"
            };
            tracing::warn!("sources {what}");
        }
    }
}
