//! Takes alerts out of the outbox to the API: the one in this process, or another over the network. What is
//! not acknowledged stays in the outbox.

use std::sync::Arc;
use std::time::Duration;

use testudo_api::{DeadLetters, PushError, Pushed, Service};
use testudo_client::{Client, ClientError};
use testudo_event::Alert;
use testudo_wire::PostedAlert;
use testudo_wire::metrics::{LogProcessor, UsageMetrics};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::spawn_blocking;

use crate::agent::counts::Counts;
use crate::clock;
use crate::outbox::{Outbox, Waiting};
use crate::steady::Steady;
use crate::trace::{Fate, Tracer};

/// Alerts that are handed over together.
const TOGETHER_MOST: usize = 500;

/// The first pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often the API hears that we are alive.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_mins(1);

/// Where alerts go.
#[derive(Clone)]
pub(crate) enum Target {
    /// The API in this process.
    Local {
        /// The API.
        service: Arc<Service>,
        /// As whom.
        machine: String,
        /// The time of the API.
        steady: Arc<Steady>,
    },
    /// An API elsewhere.
    Remote(Arc<Client>),
}

/// Why alerts were not taken.
enum Refused {
    /// They may be sent again.
    Later(String),
    /// They will never be taken.
    Never(String),
}

impl Target {
    async fn send(&self, waiting: &[Waiting]) -> Result<(), Refused> {
        let alerts = waiting.iter().map(|waiting| waiting.alert.clone());
        match self {
            Target::Local { service, machine, steady } => {
                let ahead_ns = steady.ahead_ms().saturating_mul(1_000_000);
                let alerts = alerts.map(|alert| in_time_of_api(alert, ahead_ns)).collect();
                let (service, machine, now_ms) = (Arc::clone(service), machine.clone(), steady.now_ms());
                let pushed = spawn_blocking(move || service.push(&machine, alerts, now_ms)).await;
                match pushed {
                    // What the database refuses is among its dead letters.
                    Ok(Ok(outcomes)) => {
                        let decisions: usize = outcomes
                            .iter()
                            .map(|outcome| match outcome {
                                Pushed::Stored { decisions, .. } => *decisions,
                                _ => 0,
                            })
                            .sum();
                        tracing::debug!(alerts = outcomes.len(), decisions, "alerts are stored");
                        Ok(())
                    }
                    Ok(Err(PushError::Store(error))) => {
                        Err(Refused::Later(format!("{error}; {}", error.hint())))
                    }
                    Ok(Err(error)) => Err(Refused::Later(error.to_string())),
                    Err(error) => Err(Refused::Never(format!("storing failed: {error}"))),
                }
            }
            Target::Remote(client) => {
                let alerts: Vec<_> = alerts.collect();
                client.post_alerts(&alerts).await.map(drop).map_err(|error| refused(&error))
            }
        }
    }

    async fn heartbeat(&self) {
        match self {
            Target::Local { service, machine, steady } => {
                service.heartbeat(machine, steady.now_ms());
            }
            Target::Remote(client) => {
                if let Err(error) = client.heartbeat().await {
                    tracing::warn!(%error, "the API did not take the heartbeat");
                }
            }
        }
    }
}

impl Target {
    /// Reports how much was read. An API that does not want to know it is not bothered with errors.
    pub(crate) async fn report(&self, report: LogProcessor) {
        let failed: Option<String> = match self {
            Target::Local { service, machine, steady } => {
                let (service, machine, now_ms) = (Arc::clone(service), machine.clone(), steady.now_ms());
                let reported = spawn_blocking(move || service.report_usage(&machine, &report, now_ms)).await;
                match reported {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(error) => Some(error.to_string()),
                }
            }
            Target::Remote(client) => {
                let report = UsageMetrics { log_processors: vec![report], ..UsageMetrics::default() };
                client.usage_metrics(&report).await.err().map(|error| error.to_string())
            }
        };
        if let Some(error) = failed {
            tracing::debug!(error, "the API did not take the report of usage");
        }
    }
}

/// An alert in the time of the API: lines have that of the machine.
fn in_time_of_api(mut alert: Alert, ahead_ns: i64) -> Alert {
    alert.start_at = alert.start_at.add_nanos(-ahead_ns);
    alert.stop_at = alert.stop_at.add_nanos(-ahead_ns);
    alert
}

/// Only what the other side says of the content is final: credentials may be mended, servers come back.
fn refused(error: &ClientError) -> Refused {
    match error.status() {
        Some(400 | 413 | 422) => Refused::Never(error.to_string()),
        Some(401 | 403) => Refused::Later(format!(
            "{error}; the API does not know this machine or its password, or has not accepted it: look there with \
             `testudo machines list`, and register it anew with `testudo lapi register`"
        )),
        _ => Refused::Later(error.to_string()),
    }
}

/// Everything that delivering needs.
pub(crate) struct Delivery {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) target: Target,
    pub(crate) counts: Arc<Counts>,
    pub(crate) dead: Arc<DeadLetters>,
    pub(crate) machine: String,
    pub(crate) tracer: Arc<Tracer>,
}

impl Delivery {
    /// Delivers until `end` comes, and then what still waits, as far as it goes without a failure. What is under way
    /// is not broken off by the end: an API that does not know the identities of alerts would get it twice.
    pub(crate) async fn run(&self, end: oneshot::Receiver<()>) {
        tokio::select! {
            () = self.deliver(end) => {}
            () = self.beat() => {}
        }
    }

    /// Tells the API that we are alive, however much there is to deliver and however long that takes. Never ends.
    async fn beat(&self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_EVERY);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            heartbeat.tick().await;
            self.target.heartbeat().await;
        }
    }

    async fn deliver(&self, mut end: oneshot::Receiver<()>) {
        let mut pause = FIRST_PAUSE;
        let mut failing = false;
        while end.try_recv() == Err(TryRecvError::Empty) {
            if self.outbox.ready() == 0 {
                tokio::select! {
                    () = self.outbox.news() => {}
                    _ = &mut end => break,
                }
                continue;
            }
            match self.step().await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("alerts reach the API again");
                    }
                    pause = FIRST_PAUSE;
                }
                Err(reason) => {
                    self.counts.failed_deliveries.add(1);
                    if !std::mem::replace(&mut failing, true) {
                        let waiting = self.outbox.len();
                        tracing::error!(
                            reason,
                            waiting,
                            "alerts cannot be handed over; they are kept and sent again"
                        );
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = &mut end => break,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        // What is left is in the state file.
        while self.outbox.ready() > 0 && self.step().await.is_ok() {}
    }

    /// Hands over the first that wait.
    async fn step(&self) -> Result<(), String> {
        let first = self.outbox.first(TOGETHER_MOST);
        match self.send(&first).await {
            Ok(()) => self.delivered(&first),
            Err(Refused::Later(reason)) => return Err(reason),
            // One bad alert must not hold up the others.
            Err(Refused::Never(reason)) if first.len() == 1 => self.bury(&first, &reason),
            Err(Refused::Never(_)) => {
                for one in &first {
                    let one = std::slice::from_ref(one);
                    match self.send(one).await {
                        Ok(()) => self.delivered(one),
                        Err(Refused::Later(reason)) => return Err(reason),
                        Err(Refused::Never(reason)) => self.bury(one, &reason),
                    }
                }
            }
        }
        Ok(())
    }

    async fn send(&self, alerts: &[Waiting]) -> Result<(), Refused> {
        self.tracer.sent(alerts);
        let sent = self.target.send(alerts).await;
        if let Err(Refused::Later(reason) | Refused::Never(reason)) = &sent {
            self.tracer.failed(alerts, reason);
        }
        sent
    }

    fn delivered(&self, done: &[Waiting]) {
        let now = clock::now();
        for arrived in done.iter().filter_map(|waiting| waiting.arrived) {
            self.counts
                .seen_after(Duration::from_nanos(u64::try_from(now.nanos_since(arrived)).unwrap_or(0)));
        }
        self.tracer.acknowledged(done);
        self.acknowledge(done);
    }

    fn bury(&self, refused: &[Waiting], reason: &str) {
        for waiting in refused {
            self.counts.dead.add(1);
            self.tracer.fate(&waiting.alert.uuid, Fate::Refused, reason);
            self.dead.add(&self.machine, reason, &PostedAlert::from(&waiting.alert), clock::now_ms());
        }
        self.acknowledge(refused);
    }

    fn acknowledge(&self, done: &[Waiting]) {
        if let Err(error) = self.outbox.acknowledge(done) {
            tracing::error!(%error, "the journal of delivered alerts cannot be written: after a crash some may come twice");
        }
    }
}
