//! Scripts at work: news of the API, the clock, and what is told.

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testudo_client::{Client, SettingsError};
use testudo_wire::metrics::Counter;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, block_in_place};
use tokio::time::{MissedTickBehavior, interval, interval_at, sleep_until, timeout};

use super::book::{Book, Job, SELDOM_MS};
use super::config::{Feeding, Form, ScriptConfig};
use super::feed::{self, Event};
use super::invoke::{CallError, call};
use super::journal::{self, Journal, JournalError, LockError, Now};
use super::output::Moderate;
use super::subject::Act;
use crate::clock::{now_ms, wall_ms};
use crate::follow::{News, follow};
use crate::metrics::{self, Page, family, line};
use crate::report::{REPORT_EVERY, Reporter, item};

/// News that may wait.
const NEWS_MOST: usize = 16;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks at the state on the disk, and at what metrics show.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// For scripts that are at work when the program ends.
const FAREWELL: Duration = Duration::from_secs(8);

/// Refusals that one answer of the API is worth in the log.
const REFUSALS_TOLD: usize = 5;

/// Why no script is told.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The client cannot be made.
    #[error("api_url: {0}")]
    Client(#[from] SettingsError),
    /// Another program writes the same file.
    #[error(
        "state_file: another `testudo script` has {0} already; stop it, or give each script a file of its own"
    )]
    Taken(PathBuf),
    /// It has ended too often.
    #[error("the script has ended, and `total_retries` does not let it be begun again: {0}")]
    GaveUp(String),
}

/// Tells a script until `shutdown`.
///
/// # Errors
/// It cannot begin, or the script has ended for good.
pub async fn run(config: &ScriptConfig, shutdown: impl Future<Output = ()>) -> Result<(), ScriptError> {
    let client = Arc::new(Client::new(config.client.clone())?);
    let _alone = config.state_file.as_deref().map(alone).transpose()?;
    let mut work = Work::new(config);
    work.begin();
    let served = config.metrics.clone().map(|place| tokio::spawn(metrics::serve(place, work.page.clone())));
    let mut runner = Runner::new(&config.form);
    let (sender, mut news) = mpsc::channel(NEWS_MOST);
    let following = follow(&client, &config.wanted, work.book.len(), &sender);
    tokio::pin!(following, shutdown);
    let mut ticks = interval(TICK);
    let mut keeps = interval(KEEP_EVERY);
    let mut reports = interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    for timer in [&mut ticks, &mut keeps, &mut reports] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let ended = loop {
        // What was decided before is not known until the API has been asked; what it does not answer counts as before.
        let due = work.begun.then(|| runner.due(&work.book)).flatten();
        tokio::select! {
            () = &mut following => {}
            () = &mut shutdown => break Ok(()),
            Some(told) = news.recv() => block_in_place(|| work.hear(told)),
            _ = ticks.tick() => block_in_place(|| work.book.tick(now_ms())),
            _ = keeps.tick() => block_in_place(|| work.keep()),
            _ = reports.tick() => work.report(&client),
            outcome = runner.outcome() => if let Err(reason) = block_in_place(|| runner.take(outcome, &mut work)) {
                break Err(ScriptError::GaveUp(reason));
            },
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                block_in_place(|| runner.tell(config, &mut work));
            }
        }
    };
    runner.end(&mut work).await;
    block_in_place(|| work.rewrite());
    if let Some(served) = served {
        served.abort();
    }
    tracing::info!("the script is told no more");
    ended
}

/// Nobody else writes the file while what this returns is there.
fn alone(path: &Path) -> Result<Option<File>, ScriptError> {
    match journal::lock(path) {
        Ok(file) => Ok(Some(file)),
        Err(LockError::Taken) => Err(ScriptError::Taken(path.to_owned())),
        // Then it can hardly be written either, and that is told too.
        Err(LockError::Io(error)) => {
            tracing::warn!(%error, path = %path.display(), "the state cannot be locked");
            Ok(None)
        }
    }
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    added: u64,
    deleted: u64,
    failed: u64,
    given_up: u64,
    restarts: u64,
}

struct Work<'c> {
    config: &'c ScriptConfig,
    book: Book,
    journal: Option<Journal>,
    page: Page,
    counts: Counts,
    reported: Counts,
    reporter: Reporter,
    /// The API was asked: what it says, or that it does not answer, is known.
    begun: bool,
    is_api_lost: bool,
    has_answered: bool,
    is_disk_lost: bool,
    moderate: Moderate,
}

fn now() -> Now {
    Now { ms: now_ms(), wall_ms: wall_ms() }
}

impl<'c> Work<'c> {
    fn new(config: &'c ScriptConfig) -> Self {
        Work {
            config,
            book: Book::new(config.habits.clone()),
            journal: config.state_file.as_deref().map(Journal::new),
            page: Page::default(),
            counts: Counts::default(),
            reported: Counts::default(),
            reporter: Reporter::new("testudo-script"),
            begun: false,
            is_api_lost: false,
            has_answered: false,
            is_disk_lost: false,
            moderate: Moderate::default(),
        }
    }

    /// Takes up what earlier runs have told.
    fn begin(&mut self) {
        if let Some(journal) = &self.journal {
            match journal.load(self.config.forget_at_boot, now()) {
                Ok(memories) => {
                    tracing::info!(known = memories.len(), "what the script was told before is known");
                    memories.into_iter().for_each(|memory| self.book.restore(memory));
                }
                Err(error) => {
                    tracing::warn!(%error, path = %journal.path().display(), "what the script was told before is not known; it is told everything");
                    // What a newer program has written is not ours to overwrite.
                    if matches!(error, JournalError::Version(_)) {
                        self.journal = None;
                    }
                }
            }
        }
        self.rewrite();
        tracing::info!(script = %self.config.program.display(), "a script is told of decisions");
        crate::ready();
    }

    fn hear(&mut self, news: News) {
        self.begun = true;
        let (full, body) = match news {
            News::Failed(error) => {
                if !std::mem::replace(&mut self.is_api_lost, true) {
                    let held = self.book.len();
                    tracing::warn!(%error, held, "the API cannot be asked; what is held goes on");
                }
                return;
            }
            News::All(body) => (true, body),
            News::Changed(body) => (false, body),
        };
        self.has_answered = true;
        if std::mem::take(&mut self.is_api_lost) {
            tracing::info!("the API answers again");
        }
        let mut refused = 0;
        self.book.take(full, &body, now_ms(), |told, refusal| {
            refused += 1;
            if refused <= REFUSALS_TOLD {
                tracing::warn!(id = told.id, origin = told.origin, "the script is not told: {refusal}");
            }
        });
        if refused > REFUSALS_TOLD {
            tracing::warn!(refused, "the script was not told of more decisions");
        }
        if full {
            tracing::info!(decisions = body.new.len(), values = self.book.len(), "decisions are held");
        }
    }

    /// Notes what is about to be told.
    fn about_to(&mut self, jobs: &[Job]) {
        if let Some(journal) = &mut self.journal {
            let written = journal.begin(jobs, now());
            self.written(written);
        }
    }

    fn done(&mut self, jobs: &[Job]) {
        for job in jobs {
            self.book.done(job);
            match job.message.act {
                Act::Add => self.counts.added += 1,
                Act::Del => self.counts.deleted += 1,
            }
        }
        if let Some(journal) = &mut self.journal {
            let written = journal.done(jobs);
            self.written(written);
        }
    }

    /// Something was not told. With `counts` that is its own fault, not that of the script as a whole.
    fn failed(&mut self, job: &Job, counts: bool) {
        self.counts.failed += 1;
        if self.book.failed(job, counts, now_ms()) {
            self.counts.given_up += 1;
            let message = &job.message;
            let attempts = self.config.habits.attempts;
            if self.moderate.admits() {
                tracing::warn!(
                    action = message.act.name(),
                    value = message.subject.value,
                    attempts,
                    again_every_secs = SELDOM_MS / 1_000,
                    "it fails each time; it is told again, but seldom"
                );
            }
        }
    }

    fn written(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.is_disk_lost = false,
            Err(error) if !std::mem::replace(&mut self.is_disk_lost, true) => {
                tracing::warn!(%error, "what the script is told cannot be kept for the next start");
            }
            Err(_) => {}
        }
    }

    fn rewrite(&mut self) {
        if let Some(journal) = &mut self.journal {
            let written = journal.rewrite(self.book.known(), now());
            self.written(written);
        }
    }

    fn keep(&mut self) {
        let known = self.book.len();
        if self.journal.as_ref().is_some_and(|journal| journal.is_closed() || journal.is_wasteful(known)) {
            self.rewrite();
        }
        if self.config.metrics.is_some() {
            self.page.set(self.text());
        }
    }

    /// What metrics show. No label is an address.
    fn text(&self) -> String {
        let mut out = String::new();
        let name = "testudo_script_decisions";
        family(&mut out, name, "gauge", "Values that are decided about.");
        for ((origin, kind), count) in self.book.counts() {
            line(&mut out, name, &[("origin", &origin), ("ip_type", kind)], count);
        }
        let told = "testudo_script_told_total";
        family(&mut out, told, "counter", "Messages that the script was told.");
        line(&mut out, told, &[("action", "add")], self.counts.added);
        line(&mut out, told, &[("action", "del")], self.counts.deleted);
        let is_reachable = self.has_answered && !self.is_api_lost;
        for (name, kind, help, value) in [
            ("testudo_script_failed_total", "counter", "Messages that it did not take.", self.counts.failed),
            (
                "testudo_script_given_up_total",
                "counter",
                "Messages that failed as often as `attempts` says; they are told on, but seldom.",
                self.counts.given_up,
            ),
            (
                "testudo_script_restarts_total",
                "counter",
                "Times that it was begun anew.",
                self.counts.restarts,
            ),
            (
                "testudo_script_refused_total",
                "counter",
                "Decisions that no script is told.",
                self.book.refused(),
            ),
            ("testudo_script_waiting", "gauge", "Messages that wait.", self.book.waiting()),
            ("testudo_script_api_reachable", "gauge", "Whether the API answers.", u64::from(is_reachable)),
        ] {
            family(&mut out, name, kind, help);
            line(&mut out, name, &[], value);
        }
        out
    }

    /// Reports to the API what was done; servers that do not know reports do without.
    fn report(&mut self, client: &Arc<Client>) {
        let mut items: Vec<Counter> = Vec::new();
        for ((origin, kind), count) in self.book.counts() {
            let labels = [("origin", origin.as_str()), ("ip_type", kind)];
            items.push(item("active_decisions", "ip", &labels[..if kind.is_empty() { 1 } else { 2 }], count));
        }
        let (now, before) = (self.counts, std::mem::replace(&mut self.reported, self.counts));
        for (name, count) in [
            ("added", now.added - before.added),
            ("deleted", now.deleted - before.deleted),
            ("failed", now.failed - before.failed),
        ] {
            if count > 0 {
                items.push(item(name, "event", &[], count));
            }
        }
        let report = self.reporter.report(items);
        let client = Arc::clone(client);
        tokio::spawn(async move {
            if let Err(error) = client.usage_metrics(&report).await {
                tracing::debug!(%error, "the API takes no report");
            }
        });
    }
}

/// Whoever tells the script.
enum Runner {
    Invoke {
        concurrency: usize,
        calls: JoinSet<(Job, Result<(), CallError>)>,
    },
    Feed {
        feeding: Feeding,
        batches: mpsc::Sender<Vec<Job>>,
        events: mpsc::Receiver<Event>,
        task: JoinHandle<()>,
        /// Closed at the end.
        ending: watch::Sender<()>,
        is_busy: bool,
        /// Something has waited since then.
        since: Option<Instant>,
        /// So many messages are told one by one: one of them has killed the script, perhaps.
        suspects: usize,
    },
}

/// What became of something that was told.
enum Outcome {
    Called(Job, Result<(), CallError>),
    Fed(Event),
}

impl Runner {
    fn new(form: &Form) -> Self {
        match form {
            Form::Invoke { concurrency, .. } => {
                Runner::Invoke { concurrency: *concurrency, calls: JoinSet::new() }
            }
            Form::Feed(feeding) => {
                let (batches, receiver) = mpsc::channel(1);
                let (sender, events) = mpsc::channel(1);
                let (ending, ends) = watch::channel(());
                let task = tokio::spawn(feed::run(feeding.settings.clone(), receiver, sender, ends));
                let feeding = feeding.clone();
                Runner::Feed {
                    feeding,
                    batches,
                    events,
                    task,
                    ending,
                    is_busy: false,
                    since: None,
                    suspects: 0,
                }
            }
        }
    }

    /// When there is something to tell.
    fn due(&mut self, book: &Book) -> Option<Instant> {
        if !book.has_work() {
            return None;
        }
        match self {
            Runner::Invoke { concurrency, calls } => (calls.len() < *concurrency).then(Instant::now),
            Runner::Feed { is_busy: true, .. } => None,
            Runner::Feed { feeding, since, suspects, .. } => {
                let since = *since.get_or_insert_with(Instant::now);
                let is_full = *suspects > 0 || book.waiting() >= feeding.size as u64;
                Some(if is_full { since } else { since + feeding.wait })
            }
        }
    }

    fn tell(&mut self, config: &ScriptConfig, work: &mut Work<'_>) {
        match self {
            Runner::Invoke { concurrency, calls } => {
                let jobs = work.book.next(concurrency.saturating_sub(calls.len()), now_ms());
                work.about_to(&jobs);
                let Form::Invoke { timeout, .. } = config.form else { return };
                for job in jobs {
                    let program = config.program.clone();
                    calls.spawn(async move {
                        let called = call(&program, &job.message, timeout).await;
                        (job, called)
                    });
                }
            }
            Runner::Feed { feeding, batches, is_busy, since, suspects, .. } => {
                *since = None;
                let size = if *suspects > 0 { 1 } else { feeding.size };
                *suspects = suspects.saturating_sub(1);
                let jobs = work.book.next(size, now_ms());
                if jobs.is_empty() {
                    return;
                }
                work.about_to(&jobs);
                // There is room: nothing is under way. Where nobody takes it, an event says why.
                *is_busy = batches.try_send(jobs).is_ok();
            }
        }
    }

    async fn outcome(&mut self) -> Outcome {
        let outcome = match self {
            Runner::Invoke { calls, .. } => match calls.join_next().await {
                Some(Ok((job, called))) => Some(Outcome::Called(job, called)),
                // None was started, or it was cancelled.
                Some(Err(_)) | None => None,
            },
            Runner::Feed { events, .. } => events.recv().await.map(Outcome::Fed),
        };
        match outcome {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }

    /// Takes what has become of something; why the script has ended for good.
    fn take(&mut self, outcome: Outcome, work: &mut Work<'_>) -> Result<(), String> {
        match (self, outcome) {
            (_, Outcome::Called(job, Ok(()))) => work.done(&[job]),
            (_, Outcome::Called(job, Err(error))) => {
                if work.moderate.admits() {
                    let message = &job.message;
                    tracing::warn!(
                        action = message.act.name(),
                        value = message.subject.value,
                        "the script has failed: {error}"
                    );
                }
                work.failed(&job, true);
            }
            (Runner::Feed { feeding, is_busy, suspects, .. }, Outcome::Fed(event)) => match event {
                Event::Done(jobs) => {
                    *is_busy = false;
                    work.done(&jobs);
                }
                Event::Failed(jobs) => {
                    *is_busy = false;
                    if work.moderate.admits() {
                        tracing::warn!(messages = jobs.len(), "the script says that it has failed");
                    }
                    // One of many is to blame, perhaps: they come again one by one.
                    if jobs.len() > 1 {
                        *suspects = jobs.len();
                    }
                    jobs.iter().for_each(|job| work.failed(job, jobs.len() == 1));
                }
                Event::Restarted(jobs) => {
                    work.counts.restarts += 1;
                    if let Some(jobs) = jobs {
                        *is_busy = false;
                        if jobs.len() > 1 {
                            *suspects = jobs.len();
                        }
                        jobs.iter().for_each(|job| work.failed(job, jobs.len() == 1));
                    }
                    if feeding.all_after_restart {
                        work.book.forget();
                    }
                }
                Event::GaveUp(reason) => return Err(reason),
            },
            (Runner::Invoke { .. }, Outcome::Fed(_)) => {}
        }
        Ok(())
    }

    /// Lets the script finish what it does.
    async fn end(self, work: &mut Work<'_>) {
        match self {
            Runner::Invoke { mut calls, .. } => {
                let finish = async {
                    while let Some(ended) = calls.join_next().await {
                        if let Ok((job, Ok(()))) = ended {
                            work.done(&[job]);
                        }
                    }
                };
                if timeout(FAREWELL, finish).await.is_err() {
                    tracing::warn!("a script does not end; it is killed");
                }
                calls.shutdown().await;
            }
            Runner::Feed { batches, mut events, task, ending, .. } => {
                drop((batches, ending));
                let finish = async {
                    while let Some(event) = events.recv().await {
                        if let Event::Done(jobs) = event {
                            work.done(&jobs);
                        }
                    }
                };
                if timeout(FAREWELL, finish).await.is_err() {
                    tracing::warn!("the script does not end; it is killed");
                }
                task.abort();
                // What it held is let go when it has ended.
                let _ = task.await;
            }
        }
    }
}
