//! The firewall at work: news of the API, the clock, audits, and the end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testudo_client::{Client, ClientError, SettingsError};
use testudo_event::Prefix;
use testudo_wire::stream::StreamBody;
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval, interval_at};

use super::config::FirewallConfig;
use super::page;
use super::usage::Usage;
use crate::backend::Backend;
use crate::batch::Batch;
use crate::clock::{now_ms, wall_ms};
use crate::enforcer::{Enforcer, Outcome, Rules};
use crate::expand::{ExpandError, Expander, Refreshed};
use crate::follow::{News, follow};
use crate::group::Action;
use crate::held::Update;
use crate::keep;
use crate::metrics::{self, Page};
use crate::report::REPORT_EVERY;

/// News that may wait.
const NEWS_MOST: usize = 16;

/// Whose decisions most machines have.
const USUAL_ORIGINS: [&str; 3] = ["crowdsec", "cscli", "CAPI"];

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// What is held is written to the disk this often, if it changed; less often where that takes long.
const KEEP_EVERY: Duration = Duration::from_secs(2);
const KEEP_REST: u32 = 20;

/// Between two questions who is logged in.
const PROTECT_EVERY: Duration = Duration::from_secs(5);

/// Between two looks whether a database of countries or providers has changed.
const DATABASES_EVERY: Duration = Duration::from_mins(1);

/// After an audit, so many times as long as it took are left to others; but no more than so many times the pause between
/// audits: a machine that is busy has rules to be put back, too.
const AUDIT_REST: u32 = 20;
const AUDIT_REST_PAUSES: u32 = 3;

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
}

/// What the process is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// End.
    Now,
    /// Go on, after an audit of everything.
    AfterAudit,
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
    let mut work = Work {
        config,
        keep_at: Instant::now(),
        audit_at: Instant::now(),
        expander: Expander::new(config.databases.clone()),
        enforcer: Enforcer::new(backend),
        page: page.clone(),
        passing: config.protect.now(),
        has_answered: false,
        is_auditing: false,
        is_api_lost: false,
        backend: Health::default(),
        is_kept: true,
        is_keep_lost: false,
        is_ipv6_told: false,
        usage: Usage::new(),
    };
    for key in config.idle_keys() {
        let mode = config.mode.name();
        tracing::warn!(
            key,
            mode,
            "it does nothing in this mode: what becomes of packets is up to rules of your own"
        );
    }
    work.begin()?;
    // Whether metrics can be served is no reason not to enforce.
    let served = config.metrics.clone().map(|place| tokio::spawn(metrics::serve(place, page)));
    let (sender, mut news) = mpsc::channel(NEWS_MOST);
    let following = follow(&client, &config.wanted, work.enforcer.held().len(), &sender);
    tokio::pin!(following);
    let mut ticks = interval(TICK);
    let mut audits = interval(config.audit_every);
    let mut keeps = interval(KEEP_EVERY);
    let mut protects = interval(PROTECT_EVERY);
    let mut databases = interval(DATABASES_EVERY);
    let mut reports = interval_at(tokio::time::Instant::now() + REPORT_EVERY, REPORT_EVERY);
    for timer in [&mut ticks, &mut audits, &mut keeps, &mut protects, &mut databases, &mut reports] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            () = &mut following => {}
            Some(told) = news.recv() => block_in_place(|| work.hear(told)),
            _ = ticks.tick() => block_in_place(|| work.tick()),
            _ = protects.tick() => block_in_place(|| work.protect()),
            _ = databases.tick() => block_in_place(|| work.refresh()),
            _ = audits.tick(), if Instant::now() >= work.audit_at => block_in_place(|| work.audit(config.audit_sample)),
            () = tokio::task::yield_now(), if work.is_auditing => block_in_place(|| work.audit(config.audit_sample)),
            _ = keeps.tick() => block_in_place(|| work.keep()),
            _ = reports.tick() => block_in_place(|| work.report(&client)),
            stop = stops.recv() => match stop {
                Some(Stop::AfterAudit) => work.audit_everything(),
                Some(Stop::Now) | None => break,
            },
        }
    }
    work.keep_at = Instant::now();
    work.keep();
    if let Some(served) = served {
        served.abort();
    }
    tracing::info!(on_exit = ?config.on_exit, "the firewall ends");
    Ok(work.enforcer.into_backend())
}

struct Work<'c, B> {
    config: &'c FirewallConfig,
    /// Who passes at the moment, whatever is decided.
    passing: Vec<(Prefix, String)>,
    /// The API has answered at least once.
    has_answered: bool,
    /// A round of the audit that was asked for is under way.
    is_auditing: bool,
    /// Before this, it is too early to write what is held again.
    keep_at: Instant,
    /// The same for audits.
    audit_at: Instant,
    expander: Expander,
    enforcer: Enforcer<B>,
    page: Page,
    /// The last question to the API failed.
    is_api_lost: bool,
    backend: Health,
    /// What is held is on the disk.
    is_kept: bool,
    /// It could not be written there, and that was told.
    is_keep_lost: bool,
    /// It was told that nothing is done about IPv6.
    is_ipv6_told: bool,
    usage: Usage,
}

impl<B: Backend> Work<'_, B> {
    /// Enforces what was held when the program ended last.
    fn begin(&mut self) -> Result<(), FirewallError> {
        let now = now_ms();
        let path = &self.config.state_file;
        // A group that comes later has everything put into force anew.
        for origin in USUAL_ORIGINS {
            self.enforcer.groups_mut().id(origin, "", Action::Deny);
        }
        let known = keep::load(path, self.enforcer.groups_mut(), &self.config.rules, now, wall_ms());
        let update = known.unwrap_or_else(|error| {
            tracing::warn!(%error, "what was held before is not known; the API is asked for it");
            None
        });
        let held = update.as_ref().map_or(0, |update| update.new.len());
        // Without it, what another run has left in force stays until the API tells.
        if let Some(update) = update {
            let outcome = self
                .enforcer
                .update(update, now)
                .map_err(|error| FirewallError::Backend(error.to_string()))?;
            self.done(Ok(outcome));
        }
        tracing::info!(
            held,
            mode = self.config.mode.name(),
            table = self.config.table,
            "the firewall enforces"
        );
        crate::ready();
        self.show();
        Ok(())
    }

    fn hear(&mut self, news: News<Batch>) {
        let (full, body) = match news {
            News::Failed(error) => return self.lost(&error),
            News::All(body) => (true, body),
            News::Changed(body) => (false, body),
        };
        self.has_answered = true;
        if std::mem::take(&mut self.is_api_lost) {
            tracing::info!("the API answers again");
        }
        let now = now_ms();
        let update = self.read(full, body, now);
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

    fn read(&mut self, full: bool, batch: Batch, now: u64) -> Update {
        let mut refused = 0;
        let mut refuse = |id: i64, origin: &str, refusal: &dyn std::fmt::Display| {
            refused += 1;
            if refused <= REFUSALS_TOLD {
                tracing::warn!(id, origin, "{refusal}");
            }
        };
        let expanded = self.expand(full, batch.others(), now, &mut refuse);
        let groups = self.enforcer.groups_mut();
        let rules = Rules { ipv6: true, ..self.config.rules.clone() };
        let mut update =
            batch.update(full, groups, &rules, now, |id, origin, refusal| refuse(id, origin, &refusal));
        if !self.config.rules.ipv6 {
            let decisions = without_ipv6(&mut update);
            if decisions > 0 && !std::mem::replace(&mut self.is_ipv6_told, true) {
                tracing::warn!(decisions, "IPv6 is switched off: decisions about it are not enforced");
            }
        }
        update.new.extend(expanded.new);
        update.deleted.extend(expanded.deleted);
        for decision in &update.new {
            let passes = self
                .passing
                .iter()
                .find(|(net, _)| net.bits() <= decision.net.bits() && net.contains(decision.net.addr()));
            if let Some((_, reason)) = passes {
                let net = format!("{}/{}", decision.net.addr(), decision.net.bits());
                tracing::warn!(net, id = decision.id, reason, "a decision is held, but passes");
            }
        }
        if refused > REFUSALS_TOLD {
            tracing::warn!(refused, "decisions were refused; the first are told above");
        }
        update
    }

    /// What is told about countries and providers, as decisions about networks.
    fn expand(
        &mut self,
        full: bool,
        others: &StreamBody,
        now: u64,
        refuse: &mut dyn FnMut(i64, &str, &dyn std::fmt::Display),
    ) -> Update {
        let mut update = Update::default();
        if full {
            self.expander.begin_anew();
        } else {
            let lifted = others.deleted.iter().filter(|told| self.expander.takes(told));
            let ids: Vec<i64> = lifted.map(|told| told.id).collect();
            update.deleted = ids.into_iter().flat_map(|id| self.expander.lift(id)).collect();
        }
        self.expander.look_up(&others.new);
        for told in others.new.iter().filter(|told| Expander::is_about_many(told)) {
            match self.expander.expand(told, self.enforcer.groups_mut(), &self.config.rules, now) {
                Ok(decisions) => update.new.extend(decisions),
                Err(ExpandError::Foreign) => {}
                Err(refusal) => refuse(told.id, &told.origin, &refusal),
            }
        }
        update
    }

    /// Expands countries and providers anew when the databases have changed.
    fn refresh(&mut self) {
        let now = now_ms();
        let Refreshed { update, failed } = self.expander.refresh(&self.config.rules, now);
        for error in failed {
            tracing::warn!(%error, "what was expanded stays as it is");
        }
        if let Some(update) = update {
            let (new, deleted) = (update.new.len(), update.deleted.len());
            tracing::info!(new, deleted, "a database has changed");
            let outcome = self.enforcer.update(update, now);
            self.is_kept = false;
            self.done(outcome);
            self.show();
        }
    }

    fn tick(&mut self) {
        let now = now_ms();
        let outcome = self.enforcer.tick(now);
        if self.done(outcome).is_some_and(|outcome| outcome.added + outcome.removed > 0) {
            self.show();
        }
    }

    /// Lets those pass who have become the machine's own, or have logged in; and no longer those who have not.
    fn protect(&mut self) {
        let passing = self.config.protect.now();
        if passing == self.passing {
            return;
        }
        let nets: Vec<Prefix> = passing.iter().map(|(net, _)| *net).collect();
        match self.enforcer.backend_mut().allow(&nets) {
            Ok(()) => self.passing = passing,
            Err(error) => tracing::warn!(%error, "who must stay reachable cannot be let through yet"),
        }
    }

    /// Begins a round of the audit that does not wait between two samples.
    fn audit_everything(&mut self) {
        self.enforcer.begin_round();
        self.is_auditing = true;
    }

    fn audit(&mut self, most: usize) {
        let now = now_ms();
        let begun = Instant::now();
        let outcome = self.enforcer.audit(most, now);
        let most_rest = self.config.audit_every * AUDIT_REST_PAUSES;
        self.audit_at = begun + (begun.elapsed() * AUDIT_REST).min(most_rest);
        let outcome = self.told(Task::Audit, outcome);
        let is_over = outcome.as_ref().is_none_or(|outcome| outcome.round_ended);
        if self.is_auditing && is_over {
            self.is_auditing = false;
            let expected = self.enforcer.expected();
            match (outcome, self.enforcer.enforced()) {
                (None, _) => tracing::warn!(expected, "not everything could be audited"),
                (Some(_), None) => {
                    tracing::info!("nothing was audited: what is to be enforced is not known yet");
                }
                (Some(_), Some(enforced)) => tracing::info!(expected, enforced, "everything was audited"),
            }
        }
        self.show();
    }

    /// What became of a step of the packet filter.
    fn done(&mut self, outcome: Result<Outcome, B::Error>) -> Option<Outcome> {
        self.told(Task::Change, outcome)
    }

    fn told(&mut self, task: Task, outcome: Result<Outcome, B::Error>) -> Option<Outcome> {
        match outcome {
            Ok(outcome) => {
                if self.backend.works(task, &outcome) {
                    tracing::info!("the packet filter works again");
                }
                outcome.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
                Some(outcome)
            }
            Err(error) => {
                if self.backend.fails(task) {
                    tracing::error!(%error, "the packet filter does not do it; it is tried again and again");
                }
                None
            }
        }
    }

    fn keep(&mut self) {
        if self.is_kept || Instant::now() < self.keep_at {
            return;
        }
        let begun = Instant::now();
        let path = &self.config.state_file;
        match save(path, &self.enforcer, now_ms()) {
            Ok(()) => {
                self.is_kept = true;
                self.keep_at = begun + begun.elapsed() * KEEP_REST;
                if std::mem::take(&mut self.is_keep_lost) {
                    tracing::info!(path = %path.display(), "what is held is kept again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_keep_lost, true) {
                    tracing::warn!(%error, path = %path.display(), "what is held cannot be kept for the next start");
                }
            }
        }
    }

    /// Reports to the API what was done; servers that do not know reports do without.
    fn report(&mut self, client: &Arc<Client>) {
        let Ok(traffic) = self.enforcer.backend_mut().traffic() else { return };
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
        // What cannot be counted now is shown as it was.
        if let Ok(traffic) = self.enforcer.backend_mut().traffic() {
            let is_reachable = self.has_answered && !self.is_api_lost;
            self.page.set(page::text(&self.enforcer, &traffic, is_reachable));
        }
    }
}

/// What a packet filter is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Change,
    Audit,
}

/// Whether a packet filter does what it is asked to, as far as it was told.
#[derive(Debug, Default)]
struct Health {
    /// Changes fail.
    is_stuck: bool,
    /// It cannot be audited.
    is_silent: bool,
}

impl Health {
    fn is_lost(&self) -> bool {
        self.is_stuck || self.is_silent
    }

    /// It has failed; whether that is news.
    fn fails(&mut self, task: Task) -> bool {
        let is_news = !self.is_lost();
        match task {
            Task::Change => self.is_stuck = true,
            Task::Audit => self.is_silent = true,
        }
        is_news
    }

    /// It has done something; whether it is news that it works. A step without anything to do says nothing about it.
    fn works(&mut self, task: Task, outcome: &Outcome) -> bool {
        let was_lost = self.is_lost();
        if task == Task::Audit {
            *self = Health::default();
        } else if outcome.replaced || outcome.added + outcome.removed > 0 {
            self.is_stuck = false;
        }
        was_lost && !self.is_lost()
    }
}

/// Leaves out whatever is about IPv6; how much that is.
fn without_ipv6(update: &mut Update) -> usize {
    let before = update.new.len();
    update.new.retain(|decision| decision.net.addr().is_ipv4());
    before - update.new.len()
}

fn save<B: Backend>(path: &Path, enforcer: &Enforcer<B>, now_ms: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    keep::save(path, enforcer.held(), enforcer.groups(), now_ms, wall_ms())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GroupId;
    use crate::held::Decision;

    #[test]
    fn what_works_or_does_not_is_told_once() {
        let (idle, busy) = (Outcome::default(), Outcome { added: 1, ..Outcome::default() });
        let mut health = Health::default();
        assert!(!health.works(Task::Change, &idle) && !health.works(Task::Audit, &idle));
        // It cannot be asked; between two audits there is nothing to do, or something that goes well.
        assert!(health.fails(Task::Audit));
        for outcome in [&idle, &busy, &idle] {
            assert!(!health.works(Task::Change, outcome));
            assert!(!health.fails(Task::Audit));
        }
        assert!(health.works(Task::Audit, &idle));
        assert!(!health.works(Task::Audit, &idle));
        // Changes are refused.
        assert!(health.fails(Task::Change) && !health.fails(Task::Change));
        assert!(!health.works(Task::Change, &idle));
        assert!(health.works(Task::Change, &busy));
        assert!(health.fails(Task::Change) && !health.fails(Task::Audit));
        assert!(!health.works(Task::Change, &busy) && health.works(Task::Audit, &idle));
    }

    #[test]
    fn decisions_about_ipv6_are_counted_and_left_out() {
        let decision = |text: &str| {
            let net = Prefix::parse(text).expect(text);
            Decision { id: 1, net, group: GroupId(0), until_ms: 1 }
        };
        let new = ["192.0.2.1/32", "2001:db8::1/128", "2001:db8::/48"].map(decision).to_vec();
        let mut update = Update { full: false, new, deleted: vec![] };
        assert_eq!(without_ipv6(&mut update), 2);
        assert_eq!(update.new, [decision("192.0.2.1/32")]);
    }
}
