//! What the engine tells, in the order of the lines: positions move, good clients are noted, overflows
//! become alerts in the outbox, and all of it together becomes a checkpoint.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use testudo_api::DeadLetters;
use testudo_decide::is_simulated;
use testudo_engine::{LiveBatch, LiveSink, Seen, Spot};
use testudo_event::{Alert, Overflow, Timestamp, net::parse_addr};
use testudo_guard::{BlastRadius, GoodTraffic, Limits, Protected, Ruling};
use testudo_intake::Positions;
use testudo_rules::plan::Simulation;
use testudo_wire::PostedAlert;

use crate::agent::counts::Counts;
use crate::agent::identity::{Place, identity};
use crate::agent::names::Names;
use crate::agent::saver::Saver;
use crate::agent::under_way::UnderWay;
use crate::clock;
use crate::outbox::{Outbox, Put};
use crate::state::State;
use crate::trace::{Fate, Tracer};

/// How often the table of good clients is written.
const CLIENTS_EVERY: Duration = Duration::from_mins(5);

/// What reloads and the passing of time change while the lane runs.
#[derive(Default)]
pub(crate) struct Policy {
    protected: RwLock<Arc<Protected>>,
    simulation: RwLock<Arc<Simulation>>,
}

impl Policy {
    pub(crate) fn set_protected(&self, protected: Protected) {
        *self.protected.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(protected);
    }

    pub(crate) fn set_simulation(&self, simulation: Simulation) {
        *self.simulation.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(simulation);
    }

    pub(crate) fn protected(&self) -> Arc<Protected> {
        Arc::clone(&self.protected.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn simulation(&self) -> Arc<Simulation> {
        Arc::clone(&self.simulation.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the lane tells of itself to other threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    /// Scenarios that are stopped, with the seconds since 1970 at which each acts again.
    pub(crate) stopped: Vec<(String, i64)>,
    /// Clients that are remembered.
    pub(crate) clients: usize,
    /// How often a scenario was stopped.
    pub(crate) trips: u64,
}

/// The end of the lane.
pub(crate) struct Lane {
    pub(crate) under_way: Arc<UnderWay>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) watched: Arc<RwLock<Watched>>,
    pub(crate) dead: Arc<DeadLetters>,
    /// Our name at the API.
    pub(crate) machine: String,
    pub(crate) saver: Saver,
    /// Finds out names; none where nobody is asked.
    pub(crate) names: Option<Names>,
    pub(crate) positions: Positions,
    pub(crate) traffic: GoodTraffic,
    /// When the table of clients was last written.
    pub(crate) clients_saved: Instant,
    pub(crate) blast: BlastRadius,
    /// How far a rule may reach: after a reload all begin anew.
    pub(crate) limits: Limits,
    /// The most events that an alert carries; none: all.
    pub(crate) events_most: Option<usize>,
    pub(crate) tracer: Arc<Tracer>,
    /// Whether the line that was told last is one that is traced.
    pub(crate) traced: bool,
}

fn addresses(alert: &Alert) -> Vec<IpAddr> {
    let of_source = parse_addr(&alert.source.ip).or_else(|| parse_addr(&alert.source.value));
    let of_others = alert.contributors.iter().filter_map(|contributor| parse_addr(&contributor.value));
    let mut all: Vec<IpAddr> = of_source.into_iter().chain(of_others).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Lane {
    /// The alerts of an overflow; those about protected addresses are left out.
    fn alerts(&mut self, overflow: &Overflow, now_s: i64) -> Vec<Alert> {
        let protected = self.policy.protected();
        let simulated = is_simulated(&self.policy.simulation(), &overflow.alert.scenario);
        let mut alerts = overflow.clone().into_alerts();
        // The first alert tells of everyone who contributed, each of the others of its own source. Where there was only
        // one, that goes without saying.
        let contributors = overflow.alert.contributors.clone();
        if contributors.len() < 2 {
            alerts.iter_mut().for_each(|alert| alert.contributors.clear());
        }
        alerts.retain(|alert| {
            let reason = parse_addr(&alert.source.ip)
                .or_else(|| parse_addr(&alert.source.value))
                .and_then(|address| protected.reason(address));
            if let Some(reason) = reason {
                self.counts.protected.add(1);
                tracing::warn!(
                    scenario = alert.scenario,
                    source = alert.source.value,
                    reason,
                    "an alert about a protected address is dropped"
                );
            }
            reason.is_none()
        });
        let Some(first) = alerts.first_mut() else { return alerts };
        if contributors.len() > 1 {
            first.contributors = contributors;
            first.contributors.retain(|contributor| {
                parse_addr(&contributor.value).is_none_or(|address| protected.reason(address).is_none())
            });
            first.bystanders = self.traffic.bystanders(&addresses(first), now_s);
        }
        for alert in &mut alerts {
            alert.simulated = simulated;
            if let Some(most) = self.events_most {
                let extra = alert.events.len().saturating_sub(most);
                if extra > 0 {
                    alert.events = alert.events[extra..].into();
                }
            }
        }
        alerts
    }

    /// Tells of an overflow, if anybody wants to know. `is_dropped`: no alert comes of it, since it is about protected
    /// addresses.
    fn trace(&self, overflow: &Overflow, is_dropped: bool) {
        if !self.tracer.is_on() {
            return;
        }
        let protected = self.policy.protected();
        let reason = addresses(&overflow.alert).into_iter().find_map(|address| protected.reason(address));
        self.tracer.overflow(overflow, reason.filter(|_| is_dropped));
    }

    /// Takes the remedy away from alerts of a rule that reaches too far.
    fn judge(&mut self, alerts: &mut [Alert], now_s: i64) {
        let Some(first) = alerts.first() else { return };
        let mut hit: Vec<IpAddr> = alerts.iter().flat_map(addresses).collect();
        hit.sort_unstable();
        hit.dedup();
        let ruling = self.blast.judge(&first.scenario, &hit, &mut self.traffic, now_s);
        if let Ruling::Spare(Some(trip)) = &ruling {
            tracing::error!(
                scenario = trip.scenario,
                "{trip}; it acts again in an hour or so, after `testudo reload`, or never if it is wrong: \
                 look at it with `testudo alerts list -s {}`",
                trip.scenario
            );
        }
        if !ruling.remedies() {
            for alert in alerts.iter_mut() {
                alert.remediation = false;
                self.counts.stopped.add(1);
            }
        }
        for address in hit {
            self.traffic.bad(address, now_s);
        }
    }

    /// Puts an alert into the outbox; returns its number there.
    fn put(
        &self,
        mut alert: Alert,
        key: &str,
        place: &Place<'_>,
        arrived: Option<Timestamp>,
        held: bool,
    ) -> Option<u64> {
        alert.uuid = identity(&alert, key, place);
        tracing::info!("{}", alert.message);
        if self.tracer.is_on() {
            self.tracer.alert(&alert, held);
        }
        match self.outbox.put(alert.clone(), arrived, held) {
            Put::Waits(number) => {
                self.counts.alerts.add(1);
                return Some(number);
            }
            Put::Known => {
                self.counts.repeated.add(1);
                self.tracer.fate(&alert.uuid, Fate::Known, "");
            }
            Put::Full => {
                self.counts.dead.add(1);
                let reason = "too many alerts wait for the API";
                self.tracer.fate(&alert.uuid, Fate::NoRoom, reason);
                self.dead.add(&self.machine, reason, &PostedAlert::from(&alert), clock::now_ms());
            }
        }
        None
    }

    /// Positions, buckets and outbox as they are together.
    fn state(&self, buckets: Vec<u8>) -> (State, u64) {
        let (outbox, generation) = self.outbox.save();
        (State { positions: self.positions.clone(), buckets, outbox }, generation)
    }

    /// Tells others what is watched.
    fn tell(&mut self) {
        let now_s = clock::now_ms().div_euclid(1000);
        let watched = Watched {
            stopped: self
                .blast
                .stopped(now_s)
                .into_iter()
                .map(|(name, until)| (name.to_owned(), until))
                .collect(),
            clients: self.traffic.counts().clients,
            trips: self.blast.trips(),
        };
        *self.watched.write().unwrap_or_else(PoisonError::into_inner) = watched;
    }
}

impl LiveSink for Lane {
    fn line(&mut self, batch: &LiveBatch, _: usize, seen: Seen) {
        if let Some(address) = seen.source_ip {
            // A line that tells of the future must not make its source good for longer.
            let at = seen.time.unwrap_or(batch.arrival).unix().min(batch.arrival.unix());
            self.traffic.seen(address, at);
        }
        self.traced = self.tracer.is_on() && self.tracer.line(&seen);
    }

    fn poured(&mut self, scenario: &str) {
        if self.traced {
            self.tracer.poured(scenario);
        }
    }

    fn overflow(&mut self, overflow: &Overflow, spot: Spot) {
        let asked = self.names.as_ref().map(Names::missed).unwrap_or_default();
        if overflow.whitelisted {
            self.counts.whitelisted.add(1);
            tracing::info!(reason = overflow.whitelist_reason, "{} [whitelisted]", overflow.alert.message);
            self.trace(overflow, false);
            return;
        }
        let now_s = overflow.alert.stop_at.unix();
        let mut alerts = self.alerts(overflow, now_s);
        self.trace(overflow, alerts.is_empty());
        self.judge(&mut alerts, now_s);
        // What a name may take back waits until it is known.
        let held = !asked.is_empty();
        let mut numbers = Vec::new();
        for alert in alerts {
            let told = match spot {
                Spot::Line { batch, line } => self.under_way.with(batch, |found| {
                    let place = Place::Line(found, line);
                    self.put(alert.clone(), &overflow.mapkey, &place, Some(found.arrival), held)
                }),
                Spot::Time => None,
            };
            numbers.extend(match told {
                Some(number) => number,
                None => self.put(alert, &overflow.mapkey, &Place::Time, None, held),
            });
        }
        if held
            && !numbers.is_empty()
            && let Some(names) = &self.names
            && !names.park(overflow, asked, numbers.clone())
        {
            self.outbox.let_go(&numbers);
        }
    }

    fn done(&mut self, batch: LiveBatch) {
        let Some(done) = self.under_way.leave(batch.number, batch.ends.len()) else { return };
        if let Some(progress) = done.progress() {
            self.positions.apply(progress);
        }
    }

    fn checkpoint(&mut self, buckets: Vec<u8>) {
        let begun = Instant::now();
        let (state, generation) = self.state(buckets);
        self.saver.save(state, generation);
        if self.clients_saved.elapsed() >= CLIENTS_EVERY {
            self.clients_saved = begun;
            self.saver.save_clients(self.traffic.save());
        }
        self.tell();
        tracing::trace!(micros = begun.elapsed().as_micros() as u64, "a checkpoint is on its way");
    }
}

impl Lane {
    /// What is left when the lane ends: the last state, to be written once the outbox is as empty as it
    /// gets. Waits for a checkpoint that is being written.
    pub(crate) fn end(self, buckets: Vec<u8>) -> State {
        let Lane { positions, saver, traffic, .. } = self;
        saver.save_clients(traffic.save());
        drop(saver);
        State { positions, buckets, outbox: Vec::new() }
    }
}
