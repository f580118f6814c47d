//! Cloudflare's part at work: decisions of our API, and two threads that ask Cloudflare and wait.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use testudo_client::{Client, SettingsError};
use testudo_cloudflare::{Api, Budget, Danger, Decision, Failure, Gauge, Subject, Thresholds, Update};
use testudo_wire::DecisionRef;
use testudo_wire::metrics::{Batch, BatchMeta, Counter, Os, RemediationComponent, UsageMetrics};
use testudo_wire::stream::Side;
use tokio::sync::mpsc as news;
use tokio::time::{MissedTickBehavior, interval_at};

use super::config::{Attack, CloudflareConfig};
use super::disk::{Disk, DiskError, State};
use super::figures::Rate;
use super::guards;
use super::http::{HttpError, Https};
use super::page::Board;
use super::sync::{Counts, Message, Work};
use crate::batch::{Collect, SIMULATED, left_ms};
use crate::clock::{now_ms, wall_secs};
use crate::firewall::Stop;
use crate::follow::{News, follow};
use crate::metrics;

/// News that may wait.
const NEWS_MOST: usize = 16;

/// Between two reports to the API, as the bouncers of the ecosystem do.
const REPORT_EVERY: Duration = Duration::from_mins(15);

/// A change of a level without an answer may still be carried out for so long, where the configuration says nothing.
const SETTLE_MS: u64 = 60_000;

/// The origin of decisions that were made here because of what was seen here.
const ORIGIN_SEEN: &str = "crowdsec";

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum CloudflareError {
    /// The client of our API cannot be made.
    #[error("api_url: {0}")]
    Client(#[from] SettingsError),
    /// The client of Cloudflare cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The folder of the state cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something that was made could not be taken away.
    #[error("not everything is taken away: {0}")]
    Left(Failure),
    /// A thread cannot be made.
    #[error("no thread can be made: {0}")]
    Thread(std::io::Error),
}

/// What is known of this account; nothing where it is about another one.
pub(super) fn known(disk: &Disk, config: &CloudflareConfig) -> State {
    let state = disk.state();
    let is_it = state.account == config.account && state.url == config.url;
    // What was spent is the user's, whatever the account.
    if is_it { state } else { State { budget: state.budget, ..State::default() } }
}

pub(super) fn gauge(config: &CloudflareConfig, budget: Budget) -> Arc<Mutex<Gauge>> {
    Arc::new(Mutex::new(Gauge::new(config.limits.clone(), budget)))
}

/// Enforces until it is told to stop, or nobody could tell it any more. Raised security levels are put back at the end.
///
/// # Errors
/// It cannot begin.
pub async fn run(config: &CloudflareConfig, mut stops: news::Receiver<Stop>) -> Result<(), CloudflareError> {
    let client = Arc::new(Client::new(config.client.clone())?);
    let disk = Disk::open(&config.state_dir)?;
    let _lock = disk.lock()?;
    let (records, broken) = disk.levels()?;
    for problem in broken {
        tracing::error!(%problem, "a saved security level cannot be read, and is not put back");
    }
    let state = known(&disk, config);
    let gauge = gauge(config, state.budget.clone());
    let (board, rate) = (Board::default(), Rate::default());
    let (work_sender, work_receiver) = mpsc::channel();
    let (end_sender, end_receiver) = mpsc::channel::<()>();
    let syncing = {
        let (config, disk, board) = (config.clone(), disk.clone(), board.clone());
        let api = Api::new(Https::new(&config)?, Arc::clone(&gauge));
        let body = move || Work::new(&config, &api, &disk, state, board).run(&work_receiver);
        thread::Builder::new().name("cloudflare".to_owned()).spawn(body).map_err(CloudflareError::Thread)?
    };
    // Without zones to watch, there may still be levels to put back.
    let no_attack = || Attack {
        thresholds: only_back(config),
        every: Duration::from_secs(5),
        dry_run: false,
        figures: Vec::new(),
        zones: Vec::new(),
    };
    let attack = config.attack.clone().or_else(|| (!records.is_empty()).then(no_attack));
    let watching = match attack {
        Some(mut attack) => {
            attack.dry_run |= config.dry_run;
            let (disk, board, rate) = (disk.clone(), board.clone(), rate.clone());
            let api = Api::new(Https::new(config)?, gauge).urgent();
            let body = move || guards::watch(&attack, &api, &disk, records, rate, &board, &end_receiver);
            Some(
                thread::Builder::new()
                    .name("levels".to_owned())
                    .spawn(body)
                    .map_err(CloudflareError::Thread)?,
            )
        }
        None => None,
    };
    let served = config.metrics.clone().map(|place| tokio::spawn(metrics::serve(place, board.page.clone())));
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "the service manager does not listen");
    }
    tracing::info!(
        lists = config.lists.len(),
        kv = config.kv.is_some(),
        zones = config.zones.len(),
        attack = config.attack.is_some(),
        dry_run = config.dry_run,
        "decisions go to Cloudflare"
    );
    let (sender, mut received) = news::channel(NEWS_MOST);
    let following = follow(&client, &config.wanted, 0, &sender);
    tokio::pin!(following);
    let mut reports = interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = wall_secs();
    let mut is_lost = false;
    loop {
        tokio::select! {
            () = &mut following => {}
            Some(told) = received.recv() => {
                if let Some(update) = hear(told, &mut is_lost, &rate) && work_sender.send(Message::News(update)).is_err() {
                    tracing::error!("the thread that speaks to Cloudflare is gone");
                    break;
                }
            }
            _ = reports.tick() => report(&client, &work_sender, started),
            stop = stops.recv() => match stop {
                // A thread that is gone is noticed with the next news.
                Some(Stop::AfterAudit) => drop(work_sender.send(Message::Audit)),
                Some(Stop::Now) | None => break,
            },
        }
    }
    drop((work_sender, end_sender));
    let ended = tokio::task::spawn_blocking(move || {
        let levels = watching.map(thread::JoinHandle::join);
        (levels, syncing.join())
    });
    if !matches!(ended.await, Ok((None | Some(Ok(())), Ok(())))) {
        tracing::error!("a thread has failed");
    }
    if let Some(served) = served {
        served.abort();
    }
    tracing::info!("what is in lists and pairs stays there; `testudo cloudflare remove` takes it away");
    Ok(())
}

/// Levels are put back, and none is raised.
pub(super) fn only_back(config: &CloudflareConfig) -> Thresholds {
    let settle_ms = config.attack.as_ref().map_or(SETTLE_MS, |attack| attack.thresholds.settle_ms);
    Thresholds {
        level: String::new(),
        sustained_ms: u64::MAX,
        dwell_ms: 0,
        calm_ms: 0,
        look_ms: 5_000,
        settle_ms,
    }
}

/// Decisions of an answer, taken as they come.
#[derive(Debug, Default)]
struct Heard {
    new: Vec<Decision>,
    deleted: Vec<(Subject, i64)>,
    /// Of the new ones, those that were made here because of what was seen here.
    seen: u64,
    /// Types and origins, each held once.
    texts: HashSet<Arc<str>>,
}

impl Heard {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }

    fn update(self, full: bool) -> Update {
        // Of everything that there is, what is over is not a part.
        Update { full, new: self.new, deleted: if full { Vec::new() } else { self.deleted } }
    }
}

impl Collect for Heard {
    fn take(&mut self, side: Side, told: &DecisionRef<'_>) {
        // Users and the like are for others to enforce.
        let Some(subject) = Subject::parse(&told.scope, &told.value) else { return };
        if side == Side::Deleted {
            self.deleted.push((subject, told.id));
            return;
        }
        if told.kind.starts_with(SIMULATED) {
            return;
        }
        let Ok(left) = left_ms(&told.duration) else { return };
        self.seen += u64::from(told.origin == ORIGIN_SEEN);
        let origin = match &*told.origin {
            "lists" => self.text(&format!("lists:{}", told.scenario)),
            other => self.text(other),
        };
        let kind = self.text(&told.kind);
        let danger = Danger::of(&told.origin);
        let until_ms = now_ms().saturating_add(left);
        self.new.push(Decision { id: told.id, subject, kind, origin, danger, until_ms });
    }

    fn new_len(&self) -> usize {
        self.new.len()
    }
}

fn hear(told: News<Heard>, is_lost: &mut bool, rate: &Rate) -> Option<Update> {
    let (full, heard) = match told {
        News::Failed(error) => {
            if !std::mem::replace(is_lost, true) {
                tracing::warn!(%error, "the API cannot be asked; what is held stays in force");
            }
            return None;
        }
        News::All(heard) => (true, heard),
        News::Changed(heard) => (false, heard),
    };
    if std::mem::take(is_lost) {
        tracing::info!("the API answers again");
    }
    if full {
        tracing::info!(decisions = heard.new.len(), "decisions are held");
    } else {
        // Those that people make, or import, tell nothing about the load.
        rate.add(heard.seen, Instant::now());
    }
    Some(heard.update(full))
}

/// Reports what is held; servers that do not know reports do without.
fn report(client: &Arc<Client>, work: &mpsc::Sender<Message>, started: i64) {
    let (answer, asked) = tokio::sync::oneshot::channel();
    if work.send(Message::Count(answer)).is_err() {
        return;
    }
    let client = Arc::clone(client);
    tokio::spawn(async move {
        let Ok(counts) = asked.await else { return };
        if let Err(error) = client.usage_metrics(&usage(&counts, started)).await {
            tracing::debug!(%error, "the API takes no report");
        }
    });
}

fn usage(counts: &Counts, started: i64) -> UsageMetrics {
    let mut items = Vec::new();
    for (origin, counts) in counts {
        for (kind, count) in ["ipv4", "ipv6"].iter().zip(counts) {
            if *count > 0 {
                let labels = [("origin", origin.as_str()), ("ip_type", *kind)]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()));
                items.push(Counter {
                    labels: BTreeMap::from(labels),
                    name: Some("active_decisions".to_owned()),
                    unit: Some("ip".to_owned()),
                    value: Some(*count as f64),
                });
            }
        }
    }
    let meta = BatchMeta {
        utc_now_timestamp: Some(wall_secs()),
        window_size_seconds: Some(REPORT_EVERY.as_secs() as i64),
    };
    UsageMetrics {
        remediation_components: vec![RemediationComponent {
            kind: "testudo-cloudflare".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            os: Some(Os {
                name: Some(std::env::consts::OS.to_owned()),
                version: Some(std::env::consts::ARCH.to_owned()),
                ..Os::default()
            }),
            utc_startup_timestamp: Some(started),
            metrics: vec![Batch { items, meta: Some(meta) }],
            ..RemediationComponent::default()
        }],
        ..UsageMetrics::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<'d>(scope: &'d str, value: &'d str, kind: &'d str, origin: &'d str) -> DecisionRef<'d> {
        DecisionRef {
            id: 7,
            scope: scope.into(),
            value: value.into(),
            kind: kind.into(),
            duration: "1h".into(),
            origin: origin.into(),
            scenario: "demo".into(),
            ..DecisionRef::default()
        }
    }

    #[test]
    fn what_is_taken() {
        let taken = |told: &DecisionRef<'_>| {
            let mut heard = Heard::default();
            heard.take(Side::New, told);
            heard.new.pop().map(|d| (d.subject.to_string(), d.origin.to_string(), d.until_ms))
        };
        let before = now_ms();
        let (net, origin, until) = taken(&told("Ip", "192.0.2.1", "ban", "lists")).expect("it is one");
        assert_eq!((net.as_str(), origin.as_str()), ("192.0.2.1", "lists:demo"));
        assert!((before..=now_ms()).contains(&(until - 3_600_000)));
        assert_eq!(taken(&told("Country", "fr", "captcha", "cscli")).map(|d| d.0).as_deref(), Some("FR"));
        assert_eq!(taken(&told("Ip", "192.0.2.1", "simulation:ban", "crowdsec")), None);
        assert_eq!(taken(&told("username", "eve", "ban", "crowdsec")), None);
        assert_eq!(
            taken(&DecisionRef { duration: "soon".into(), ..told("Ip", "192.0.2.1", "ban", "x") }),
            None
        );
    }

    #[test]
    fn only_what_was_seen_here_tells_about_the_load() {
        let heard = || {
            let mut heard = Heard::default();
            heard.take(Side::New, &told("Ip", "192.0.2.1", "ban", "crowdsec"));
            heard.take(Side::New, &told("Ip", "192.0.2.2", "ban", "cscli"));
            heard.take(Side::New, &told("Ip", "192.0.2.3", "ban", "CAPI"));
            heard.take(Side::Deleted, &told("Ip", "192.0.2.9", "ban", "crowdsec"));
            assert_eq!((heard.new_len(), heard.texts.len()), (3, 4));
            heard
        };
        let (rate, mut is_lost) = (Rate::default(), true);
        let all = hear(News::All(heard()), &mut is_lost, &rate).expect("it is an update");
        assert!(all.full && all.deleted.is_empty() && all.new.len() == 3 && !is_lost);
        assert_eq!(rate.in_a_minute(Instant::now()), 0);
        let some = hear(News::Changed(heard()), &mut is_lost, &rate).expect("it is an update");
        assert_eq!(some.deleted.len(), 1);
        assert_eq!(rate.in_a_minute(Instant::now()), 1);
    }
}
