//! Lists, rules and pairs at work: decisions come in, and one request after the other goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use testudo_cloudflare::{
    Api, Chosen, Decisions, Failure, Kind, Lists, Step, Store, StoreState, Subject, Transport, Update,
    ZonePlan, Zones, choose, expression,
};

use super::config::{CloudflareConfig, List};
use super::disk::{Disk, State};
use super::page::Board;
use crate::clock::now_ms;
use crate::metrics::{family, line};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// What was spent is written down this often, if nothing else is.
const SAVE_EVERY: Duration = Duration::from_mins(1);

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Decisions of each origin, about IPv4, IPv6 and anything else.
pub(super) type Counts = BTreeMap<String, [u64; 3]>;

/// What is told from outside.
pub(super) enum Message {
    /// Decisions.
    News(Update),
    /// Everything is to be read and compared.
    Audit,
    /// How many decisions are held is asked for.
    Count(tokio::sync::oneshot::Sender<Counts>),
}

/// Everything that is kept at Cloudflare.
pub(super) struct Work<'w, T> {
    config: &'w CloudflareConfig,
    api: &'w Api<T>,
    disk: &'w Disk,
    board: Board,
    decisions: Decisions,
    lists: Lists,
    zones: Zones,
    store: Option<Store>,
    chosen: Vec<Chosen>,
    /// Whom the rules are about, by list; and systems and countries that they have no room for.
    expressions: Vec<(String, usize)>,
    /// The API has told everything at least once: before, nothing is taken away.
    is_told: bool,
    is_dirty: bool,
    planned_at: Option<Instant>,
    saved_at: Instant,
    is_saved: bool,
    failing: BTreeSet<&'static str>,
}

impl<'w, T: Transport> Work<'w, T> {
    pub(super) fn new(
        config: &'w CloudflareConfig,
        api: &'w Api<T>,
        disk: &'w Disk,
        known: State,
        board: Board,
    ) -> Self {
        let plans = config.lists.iter().map(|list| list.plan.clone()).collect();
        let zones: Vec<String> = config.zones.iter().map(|zone| zone.id.clone()).collect();
        let store = config.kv.as_ref().map(|kv| {
            let state = if known.namespace == kv.namespace { known.kv } else { StoreState::default() };
            Store::new(&config.account, &kv.namespace, state)
        });
        Work {
            config,
            api,
            disk,
            board,
            decisions: Decisions::default(),
            lists: Lists::new(config.account.clone(), plans, &known.lists),
            zones: Zones::new(&zones, &known.zones),
            store,
            chosen: vec![Chosen::default(); config.lists.len()],
            expressions: Vec::new(),
            is_told: false,
            is_dirty: false,
            planned_at: None,
            saved_at: Instant::now(),
            is_saved: true,
            failing: BTreeSet::new(),
        }
    }

    /// Works until nobody tells anything any more.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        let mut audit_at = Instant::now() + self.config.audit_every;
        self.show();
        loop {
            let pause = if self.is_told && !self.config.dry_run { self.step() } else { TICK };
            let mut message = messages.recv_timeout(pause);
            loop {
                match message {
                    Ok(Message::News(update)) => self.take(update),
                    Ok(Message::Audit) => audit_at = Instant::now(),
                    Ok(Message::Count(answer)) => {
                        let counts = self.decisions.counts().into_iter();
                        // Whoever asked may be gone.
                        let _ =
                            answer.send(counts.map(|(origin, counts)| (origin.to_owned(), counts)).collect());
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        self.save();
                        return;
                    }
                }
                message = messages.recv_timeout(Duration::ZERO);
            }
            if Instant::now() >= audit_at {
                audit_at = Instant::now() + self.config.audit_every;
                self.lists.audit();
                self.zones.audit();
                self.store.iter_mut().for_each(Store::audit);
            }
            self.is_dirty |= self.decisions.expire(now_ms());
            self.plan();
            if !self.is_saved || self.saved_at.elapsed() >= SAVE_EVERY {
                self.save();
            }
        }
    }

    fn take(&mut self, update: Update) {
        self.is_told |= update.full;
        self.decisions.take(update);
        self.is_dirty = true;
    }

    /// Says what should be there: at once after a while of quiet, else not more often than the configuration wants.
    fn plan(&mut self) {
        let is_time = self.planned_at.is_none_or(|at| at.elapsed() >= self.config.sync_every);
        if !self.is_dirty || !self.is_told || !is_time {
            return;
        }
        self.is_dirty = false;
        self.planned_at = Some(Instant::now());
        for (at, list) in self.config.lists.iter().enumerate() {
            let room = self.lists.room(at);
            let is_there = |net| self.lists.holds(at, net);
            let bits = self.config.ipv6_bits;
            let chosen = choose(self.decisions.iter(), &list.kinds, bits, room, is_there);
            if chosen.left_out > 0 && self.chosen[at].left_out == 0 {
                tracing::warn!(
                    list = list.plan.name,
                    left_out = chosen.left_out,
                    room,
                    "there is no room for all; the most dangerous and longest kept are in the list"
                );
            }
            self.lists.want(at, &chosen);
            self.chosen[at] = chosen;
        }
        self.expressions = self.config.lists.iter().map(|list| self.about(list)).collect();
        if let (Some(store), Some(kv)) = (&mut self.store, &self.config.kv) {
            store.want(self.decisions.iter(), &kv.kinds, now_ms(), wall_ms());
        }
        if self.config.dry_run {
            let items: Vec<usize> = self.chosen.iter().map(|chosen| chosen.nets.len()).collect();
            tracing::info!(decisions = self.decisions.len(), ?items, "a dry run: nothing is sent");
        }
        self.show();
    }

    /// Does one thing; says how long there is nothing to do.
    fn step(&mut self) -> Duration {
        let now = wall_ms();
        let mut pause = TICK;
        if !self.config.lists.is_empty() {
            let step = self.lists.step(self.api, now);
            pause = pause.min(self.done("lists", step, now));
            if self.lists.is_known() {
                self.plan_rules();
                let step = self.zones.step(self.api, now);
                pause = pause.min(self.done("rules", step, now));
            }
        }
        if let Some(store) = &mut self.store {
            let step = store.step(self.api, now);
            pause = pause.min(self.done("kv", step, now));
        }
        let told = self.lists.told().into_iter().chain(self.zones.told());
        told.chain(self.store.iter_mut().flat_map(Store::told)).for_each(|told| tracing::warn!("{told}"));
        pause
    }

    fn done(&mut self, part: &'static str, step: Result<Step, Failure>, now: u64) -> Duration {
        match step {
            Ok(step) => {
                if step != Step::Idle && !matches!(step, Step::Wait(_)) {
                    if self.failing.remove(part) {
                        tracing::info!(part, "Cloudflare takes it again");
                    }
                    self.show();
                }
                match step {
                    Step::Done => Duration::ZERO,
                    Step::Keep => {
                        self.save();
                        Duration::ZERO
                    }
                    Step::Wait(until) => Duration::from_millis(until.saturating_sub(now)),
                    Step::Idle => TICK,
                }
            }
            Err(failure) => {
                if self.failing.insert(part) {
                    tracing::warn!(part, %failure, "Cloudflare does not take it; it is tried again");
                    if failure.is_permission() {
                        tracing::warn!(part, "look at the permissions of the token, see docs/cloudflare.md");
                    }
                }
                tracing::debug!(part, %failure, "a request came to nothing");
                self.save();
                self.show();
                TICK
            }
        }
    }

    /// Whom the rule of a list is about.
    fn about(&self, list: &List) -> (String, usize) {
        let (mut systems, mut countries) = (BTreeSet::new(), BTreeSet::new());
        for decision in self.decisions.iter().filter(|decision| decision.is_one_of(&list.kinds)) {
            match decision.subject {
                Subject::System(number) => drop(systems.insert(number)),
                Subject::Country(letters) => drop(countries.insert(letters)),
                Subject::Net(_) => {}
            }
        }
        let (systems, countries) = (Vec::from_iter(systems), Vec::from_iter(countries));
        expression(Some(&list.plan.name), &systems, &countries)
    }

    /// The rules of all zones, as far as the lists are there.
    fn plan_rules(&mut self) {
        let plan = |zone: &super::config::Zone| {
            let mut plan = ZonePlan { zone: zone.id.clone(), rules: Vec::new() };
            for (at, (list, (expression, _))) in self.config.lists.iter().zip(&self.expressions).enumerate() {
                if let Some(action) = zone.actions.get(&list.kinds[0]).filter(|_| self.lists.is_there(at)) {
                    plan.add(&list.plan.name, action, expression.clone());
                }
            }
            plan
        };
        let plans = self.config.zones.iter().map(plan).collect();
        self.zones.want(plans);
    }

    fn save(&mut self) {
        let names = self.config.lists.iter().map(|list| list.plan.name.clone());
        let state = State {
            account: self.config.account.clone(),
            url: self.config.url.clone(),
            lists: self.lists.states(),
            zones: self.zones.states(),
            namespace: self.config.kv.as_ref().map(|kv| kv.namespace.clone()).unwrap_or_default(),
            kv: self.store.as_ref().map(|store| store.state().clone()).unwrap_or_default(),
            budget: self.api.gauge().budget().clone(),
            left_out: names.zip(self.chosen.iter().map(|chosen| chosen.left_out)).collect(),
        };
        self.saved_at = Instant::now();
        match self.disk.save(&state) {
            Ok(()) => {
                if !std::mem::replace(&mut self.is_saved, true) {
                    tracing::info!("what is known is kept again");
                }
            }
            // What was sent without it is found out by reading the lists: enforcing goes on.
            Err(error) => {
                if std::mem::replace(&mut self.is_saved, false) {
                    tracing::warn!(%error, "what is known cannot be kept for the next start");
                }
            }
        }
    }

    fn show(&self) {
        let mut out = Sheet(String::new());
        out.gauge("decisions", "Decisions that are held.", self.decisions.len() as u64);
        let rows = |pick: fn(&Lists, usize, &Chosen) -> usize| {
            let lists = self.config.lists.iter().zip(&self.chosen).enumerate();
            lists
                .map(|(at, (list, chosen))| (list.plan.name.as_str(), pick(&self.lists, at, chosen) as u64))
                .collect::<Vec<_>>()
        };
        let items = rows(|lists, at, _| lists.sizes(at).0);
        out.rows("list_items", "Items of ours in a list.", "list", &items);
        let foreign = rows(|lists, at, _| lists.sizes(at).1);
        out.rows("list_foreign_items", "Items of others in a list.", "list", &foreign);
        let wanted = rows(|_, _, chosen| chosen.nets.len());
        out.rows("list_wanted", "Items that should be there.", "list", &wanted);
        let left_out = rows(|_, _, chosen| chosen.left_out);
        out.rows("list_left_out", "Items for which there is no room.", "list", &left_out);
        let too_wide = rows(|_, _, chosen| chosen.too_wide);
        out.rows("list_too_wide", "Networks that are too wide for a list.", "list", &too_wide);
        let counts = self.lists.counts();
        out.counter("list_added_total", "Items that were added.", counts.added);
        out.counter("list_removed_total", "Items that were removed.", counts.removed);
        out.counter("list_failed_total", "Requests and changes that failed.", counts.failed);
        out.counter("list_refused_total", "Items that are not taken.", counts.refused);
        out.counter("drifted_total", "Items that were not as they should be.", counts.drifted);
        out.counter("rules_changed_total", "Changes of rules.", self.zones.changed());
        let left_out: usize = self.expressions.iter().map(|(_, left_out)| left_out).sum();
        out.gauge("rules_left_out", "Systems and countries that no rule has room for.", left_out as u64);
        if let Some(store) = &self.store {
            let counts = store.counts();
            out.gauge("kv_pairs", "Pairs of ours.", store.state().pairs.len() as u64);
            out.gauge("kv_left_out", "Pairs that wait for a budget.", counts.left_out);
            out.counter("kv_written_total", "Pairs that were written.", counts.written);
            out.counter("kv_deleted_total", "Pairs that were deleted.", counts.deleted);
            out.counter("kv_failed_total", "Requests that failed.", counts.failed);
            out.counter("kv_refused_total", "Pairs that were not written.", counts.refused);
            out.counter("kv_drifted_total", "Pairs that were not as they should be.", counts.drifted);
        }
        let now = wall_ms();
        let left: Vec<(&str, u64)> = {
            let mut gauge = self.api.gauge();
            let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| gauge.most(*kind).is_some()).collect();
            kinds.into_iter().map(|kind| (kind.name(), gauge.left(kind, 0, now))).collect()
        };
        out.rows("budget_left", "What may be spent now.", "kind", &left);
        self.board.sync(out.0);
    }

    /// Takes our rules away, then our lists and pairs. Says how many of each.
    pub(super) fn take_away(&mut self) -> Result<(u64, usize, usize), Failure> {
        let taken = self.try_take_away();
        if taken.is_err() {
            // The next try goes on from here.
            self.save();
        }
        taken
    }

    fn try_take_away(&mut self) -> Result<(u64, usize, usize), Failure> {
        let now = wall_ms();
        let plan = |zone: &super::config::Zone| ZonePlan { zone: zone.id.clone(), rules: Vec::new() };
        self.zones.want(self.config.zones.iter().map(plan).collect());
        self.zones.audit();
        while self.zones.step(self.api, now)? != Step::Idle {}
        let lists = if self.config.lists.is_empty() { 0 } else { self.lists.take_away(self.api, now)? };
        let (mut pairs, mut are_all) = (0, true);
        if let Some(store) = &mut self.store {
            (pairs, are_all) = store.take_away(self.api, now)?;
        }
        if !are_all {
            let free_at = self.api.gauge().free_at(Kind::KvDeletes, now);
            return Err(Failure::Spent { kind: Kind::KvDeletes.name(), free_at });
        }
        Ok((self.zones.changed(), lists, pairs))
    }
}

/// Metrics, as they are written one after the other.
struct Sheet(String);

impl Sheet {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        let name = format!("testudo_cloudflare_{name}");
        family(&mut self.0, &name, kind, help);
        line(&mut self.0, &name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "counter", help, value);
    }

    fn rows(&mut self, name: &str, help: &str, label: &str, rows: &[(&str, u64)]) {
        let name = format!("testudo_cloudflare_{name}");
        family(&mut self.0, &name, "gauge", help);
        rows.iter().for_each(|(key, value)| line(&mut self.0, &name, &[(label, key)], *value));
    }
}
