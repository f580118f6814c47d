//! The firewall at work: news of the API, the clock, audits, and the end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use testudo_client::{Client, ClientError, SettingsError};
use testudo_event::Prefix;
use testudo_wire::Decision as Told;
use testudo_wire::stream::StreamBody;
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval, interval_at};

use super::config::FirewallConfig;
use super::page::{self, Page};
use super::usage::Usage;
use crate::backend::Backend;
use crate::enforcer::{Enforcer, Outcome, Rules};
use crate::follow::{News, follow};
use crate::group::Action;
use crate::held::{Decision, Refusal, Update};
use crate::keep;

/// News that may wait.
const NEWS_MOST: usize = 16;

/// Whose decisions most machines have.
const USUAL_ORIGINS: [&str; 3] = ["crowdsec", "cscli", "CAPI"];

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// What is held is written to the disk this often, if it changed.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Between two reports to the API, as the bouncers of the ecosystem do.
const REPORT_EVERY: Duration = Duration::from_mins(15);

/// Refusals that one answer of the API is worth in the log.
const REFUSALS_TOLD: usize = 5;

/// Why the firewall does not run.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The client cannot be made.
    #[error("api_url: {0}")]
    Client(#[from] SettingsError),
    /// The packet filter does not work.
    #[error("the packet filter: {0}")]
    Backend(String),
    /// Metrics cannot be served.
    #[error("metrics cannot be served at {place}: {source}")]
    Metrics {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
}

/// What the process is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// End.
    Now,
    /// Go on, after an audit of everything.
    AfterAudit,
}

/// Milliseconds of a clock that only goes forward, and does so while the machine sleeps where the system tells that.
struct Clock {
    begun: Instant,
}

impl Clock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Enforces until it is told to stop, or nobody could tell it any more; returns the backend, for whoever cleans up.
///
/// # Errors
/// It cannot begin.
pub async fn run<B: Backend + Send>(
    config: &FirewallConfig,
    backend: B,
    mut stops: mpsc::Receiver<Stop>,
) -> Result<B, FirewallError> {
    let client = Arc::new(Client::new(config.client.clone())?);
    let page = Page::default();
    let served = match &config.metrics {
        Some(place) => Some(
            page::serve(place, page.clone())
                .await
                .map_err(|source| FirewallError::Metrics { place: place.clone(), source })?,
        ),
        None => None,
    };
    let mut work = Work {
        config,
        rules: config.rules.clone(),
        enforcer: Enforcer::new(backend),
        clock: Clock { begun: Instant::now() },
        page,
        is_api_lost: false,
        is_backend_lost: false,
        is_kept: true,
        usage: Usage::new(),
    };
    work.begin()?;
    let (sender, mut news) = mpsc::channel(NEWS_MOST);
    let following = follow(&client, &config.wanted, &sender);
    tokio::pin!(following);
    let mut ticks = interval(TICK);
    let mut audits = interval(config.audit_every);
    let mut keeps = interval(KEEP_EVERY);
    let mut reports = interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    for timer in [&mut ticks, &mut audits, &mut keeps, &mut reports] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = &mut following => {}
            Some(told) = news.recv() => block_in_place(|| work.hear(told)),
            _ = ticks.tick() => block_in_place(|| work.tick()),
            _ = audits.tick() => block_in_place(|| {
                work.protect();
                work.audit(config.audit_sample);
            }),
            _ = keeps.tick() => block_in_place(|| work.keep()),
            _ = reports.tick() => block_in_place(|| work.report(&client)),
            stop = stops.recv() => match stop {
                Some(Stop::AfterAudit) => block_in_place(|| work.audit(usize::MAX)),
                Some(Stop::Now) | None => break,
            },
        }
    }
    work.keep();
    if let Some(served) = served {
        served.abort();
    }
    tracing::info!(on_exit = ?config.on_exit, "the firewall ends");
    Ok(work.enforcer.into_backend())
}

struct Work<'c, B> {
    config: &'c FirewallConfig,
    /// Those of the configuration, with whoever is protected now.
    rules: Rules,
    enforcer: Enforcer<B>,
    clock: Clock,
    page: Page,
    /// The last question to the API failed.
    is_api_lost: bool,
    /// The last step of the packet filter did.
    is_backend_lost: bool,
    /// What is held is on the disk.
    is_kept: bool,
    usage: Usage,
}

impl<B: Backend> Work<'_, B> {
    /// Enforces what was held when the program ended last.
    fn begin(&mut self) -> Result<(), FirewallError> {
        let now = self.clock.now_ms();
        let path = &self.config.state_file;
        // A group that comes later has everything put into force anew.
        for origin in USUAL_ORIGINS {
            self.enforcer.groups_mut().id(origin, "", Action::Deny);
        }
        let known = keep::load(path, self.enforcer.groups_mut(), &self.rules, now, wall_ms());
        let update = known.unwrap_or_else(|error| {
            tracing::warn!(%error, "what was held before is not known; the API is asked for it");
            None
        });
        let held = update.as_ref().map_or(0, |update| update.new.len());
        let outcome = self.enforcer.update(update.unwrap_or_default(), now);
        outcome.map_err(|error| FirewallError::Backend(error.to_string()))?;
        tracing::info!(held, table = self.config.table, "the firewall enforces");
        self.show();
        Ok(())
    }

    fn hear(&mut self, news: News) {
        let (full, body) = match news {
            News::Failed(error) => return self.lost(&error),
            News::All(body) => (true, body),
            News::Changed(body) => (false, body),
        };
        if std::mem::take(&mut self.is_api_lost) {
            tracing::info!("the API answers again");
        }
        let now = self.clock.now_ms();
        let update = self.read(full, &body, now);
        let (new, deleted) = (update.new.len(), update.deleted.len());
        let begun = Instant::now();
        let outcome = self.enforcer.update(update, now);
        self.is_kept = false;
        if let Some(outcome) = self.done(outcome)
            && (full || outcome.added + outcome.removed > 0)
        {
            tracing::info!(
                full,
                new,
                deleted,
                added = outcome.added,
                removed = outcome.removed,
                held = self.enforcer.held().len(),
                millis = begun.elapsed().as_millis() as u64,
                "decisions are enforced"
            );
        }
        self.show();
    }

    fn lost(&mut self, error: &ClientError) {
        if std::mem::replace(&mut self.is_api_lost, true) {
            return;
        }
        let held = self.enforcer.held().len();
        tracing::warn!(%error, held, "the API cannot be asked; what is held stays in force");
        self.show();
    }

    fn read(&mut self, full: bool, body: &StreamBody, now: u64) -> Update {
        let mut refused = 0;
        let mut read = |told: &Told| {
            match Decision::read(told, self.enforcer.groups_mut(), &self.rules, now) {
                Ok(decision) => return Some(decision),
                Err(Refusal::Foreign(_)) => {}
                Err(refusal) => {
                    refused += 1;
                    if refused <= REFUSALS_TOLD {
                        tracing::warn!(id = told.id, origin = told.origin, "{refusal}");
                    }
                }
            }
            None
        };
        let deleted = body.deleted.iter().filter_map(&mut read).collect();
        let new = body.new.iter().filter_map(&mut read).collect();
        if refused > REFUSALS_TOLD {
            tracing::warn!(refused, "decisions were refused; the first are told above");
        }
        Update { full, new, deleted }
    }

    fn tick(&mut self) {
        let now = self.clock.now_ms();
        let outcome = self.enforcer.tick(now);
        if self.done(outcome).is_some_and(|outcome| outcome.added + outcome.removed > 0) {
            self.show();
        }
    }

    /// Lets those pass who have become the machine's own, or have logged in; and no longer those who have not.
    fn protect(&mut self) {
        let protected = self.config.protect.now();
        if protected == self.rules.protected {
            return;
        }
        let nets: Vec<Prefix> = protected.iter().map(|(net, _)| *net).collect();
        match self.enforcer.backend_mut().allow(&nets) {
            Ok(()) => self.rules.protected = protected,
            Err(error) => tracing::warn!(%error, "who must stay reachable cannot be let through yet"),
        }
    }

    fn audit(&mut self, most: usize) {
        let now = self.clock.now_ms();
        let outcome = self.enforcer.audit(most, now);
        self.done(outcome);
        if most == usize::MAX {
            let enforced = self.enforcer.enforced().unwrap_or(1.0);
            tracing::info!(expected = self.enforcer.expected(), enforced, "everything was audited");
        }
        self.show();
    }

    /// What became of a step of the packet filter.
    fn done(&mut self, outcome: Result<Outcome, B::Error>) -> Option<Outcome> {
        match outcome {
            Ok(outcome) => {
                if std::mem::take(&mut self.is_backend_lost) {
                    tracing::info!("the packet filter works again");
                }
                outcome.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
                Some(outcome)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_backend_lost, true) {
                    tracing::error!(%error, "the packet filter does not do it; it is tried again every second");
                }
                None
            }
        }
    }

    fn keep(&mut self) {
        if self.is_kept {
            return;
        }
        let path = &self.config.state_file;
        match save(path, &self.enforcer, self.clock.now_ms()) {
            Ok(()) => self.is_kept = true,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "what is held cannot be kept for the next start");
            }
        }
    }

    /// Reports to the API what was done; servers that do not know reports do without.
    fn report(&mut self, client: &Arc<Client>) {
        let traffic = self.enforcer.backend_mut().traffic().unwrap_or_default();
        let report = self.usage.report(&self.enforcer, traffic);
        let client = Arc::clone(client);
        // Enforcing does not wait for it.
        tokio::spawn(async move {
            if let Err(error) = client.usage_metrics(&report).await {
                tracing::debug!(%error, "the API takes no report");
            }
        });
    }

    fn show(&mut self) {
        let traffic = self.enforcer.backend_mut().traffic().unwrap_or_default();
        self.page.set(page::text(&self.enforcer, &traffic, self.is_api_lost));
    }
}

fn save<B: Backend>(path: &Path, enforcer: &Enforcer<B>, now_ms: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    keep::save(path, enforcer.held(), enforcer.groups(), now_ms, wall_ms())
}
