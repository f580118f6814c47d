//! Buckets: who is poured where, when a bucket overflows, expires or is cancelled. In replay time only.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    net::IpAddr,
};

use sha1::{Digest, Sha1};
use testudo_event::{Overflow, Prefix, Timestamp, duration, net};
use testudo_expr::{EvalError, Services, Value};
use testudo_rules::{
    plan::{BucketKind, Context, Expression, Scenario, Scope},
    set::{Origin, RuleSet},
};

use crate::{
    eval,
    event::{Event, EventKind, EventLine},
    limiter::Limiter,
    overflow::{self, NoAlert},
    scene::{BucketView, Scene},
    world::{World, WorldFiles},
};

/// Sources that a bucket remembers as its contributors.
pub const MAX_CONTRIBUTORS: usize = 1024;

/// What identifies a bucket: two scenarios that agree in all three share it.
type Key = (String, String, String);

/// One bucket.
pub(crate) struct Bucket {
    /// The scenario that created it and that it behaves by.
    pub(crate) scenario: usize,
    pub(crate) mapkey: String,
    /// Events poured, whatever of them the queue still holds.
    pub(crate) count: i64,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
    pub(crate) overflow: Option<Timestamp>,
    pub(crate) queue: VecDeque<Queued>,
    /// Accepted pours by address, and the time of the last.
    pub(crate) contributors: BTreeMap<String, (u64, Timestamp)>,
    /// The source of the last event that it was offered.
    source: String,
    /// When it overflows by itself: on the clock of this source, in the order in which this was decided.
    deadline: Option<(String, Timestamp, u64)>,
    limiter: Limiter,
    seen: BTreeSet<String>,
    guillotined: Vec<bool>,
}

/// A scenario that takes an event, and what its expressions say of it when all filters have run.
pub(crate) struct Selected {
    scenario: usize,
    group: String,
    /// The value of `distinct`; `None`: there is none, or it failed.
    distinct: Option<String>,
    cancel: bool,
    /// The value of `scope.expression`, if there is one.
    scope: Option<Result<String, NoAlert>>,
}

/// An event in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) event: Event,
    /// What the scope expression of the bucket's scenario said of it.
    pub(crate) scope: Option<Result<String, NoAlert>>,
}

/// What became of a bucket after an event.
enum After {
    Lives,
    /// Destroyed without a word.
    Cancelled,
    Overflows,
}

/// All scenarios and buckets.
pub(crate) struct Detector {
    scenarios: Vec<Scenario>,
    origins: Vec<Origin>,
    context: Context,
    /// Leading bits of an IPv6 address that count in a bucket's key.
    pub(crate) v6_bits: u8,
    buckets: BTreeMap<Key, Bucket>,
    /// For each scenario: keys that are silent, and until when.
    blackholes: Vec<Vec<(String, Timestamp)>>,
    /// How many lines there were.
    lines: u64,
    /// How many deadlines were set.
    deadlines: u64,
}

/// Lines between two searches for buckets that are long over.
const SWEEP_EVERY: u64 = 8192;

/// How long a bucket is kept beyond its life, for lines out of order, in nanoseconds.
const GRACE: i64 = 60_000_000_000;

fn run(expression: &Expression, event: &Event, world: &World) -> Result<Value, EvalError> {
    // A copy: nothing that runs after the filters can change an event.
    eval::evaluate(&expression.ast, &mut Scene::of(&mut event.clone(), world))
}

/// The value of `groupby` as it stands in a bucket's key.
fn group_key(group: &str, v6_bits: u8) -> String {
    let Ok(written) = group.parse::<IpAddr>() else { return group.to_owned() };
    match net::canonical(written) {
        IpAddr::V4(v4) if written.is_ipv6() => v4.to_string(),
        v6 @ IpAddr::V6(_) if v6_bits < 128 => {
            Prefix::covering(v6, v6_bits).map_or(group.to_owned(), |range| range.addr().to_string())
        }
        _ => group.to_owned(),
    }
}

fn mapkey((filter, group, name): &Key) -> String {
    let mut hash = Sha1::new();
    for (at, part) in [filter, group, name].into_iter().enumerate() {
        if at > 0 {
            hash.update([0]);
        }
        hash.update(part.as_bytes());
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Most events that the queue keeps beside the newest; `None`: all.
pub(crate) fn queue_bound(scenario: &Scenario) -> Option<usize> {
    let (capacity, cache) = (scenario.capacity, scenario.cache_size);
    let bound = match scenario.kind {
        BucketKind::Trigger => 0,
        _ if cache > 0 && (cache <= capacity || capacity == -1) => cache,
        _ => capacity,
    };
    usize::try_from(bound).ok()
}

/// How long after its last event a bucket expires (a counter: after its first), in nanoseconds.
pub(crate) fn lifetime(scenario: &Scenario) -> i64 {
    match scenario.kind {
        BucketKind::Counter => scenario.duration,
        BucketKind::Conditional | BucketKind::Bayesian => scenario.leak_speed,
        BucketKind::Leaky | BucketKind::Trigger if scenario.duration > 0 => scenario.duration,
        BucketKind::Leaky => scenario.capacity.saturating_add(1).saturating_mul(scenario.leak_speed),
        BucketKind::Trigger => 0,
    }
}

/// Whether a bucket overflows when its time is up, where others are forgotten.
fn is_timed(scenario: &Scenario) -> bool {
    scenario.duration > 0
}

impl Bucket {
    fn new(scenario: usize, plan: &Scenario, key: &Key) -> Bucket {
        let conditions = plan.bayesian.as_ref().map_or(0, |b| b.conditions.len());
        Bucket {
            scenario,
            mapkey: mapkey(key),
            count: 0,
            first: None,
            last: None,
            overflow: None,
            queue: VecDeque::new(),
            contributors: BTreeMap::new(),
            source: String::new(),
            deadline: None,
            limiter: Limiter::new(plan.capacity, plan.leak_speed),
            seen: BTreeSet::new(),
            guillotined: vec![false; conditions],
        }
    }

    fn append(&mut self, event: &Event, hooks: &Selected, plan: &Scenario, time: Timestamp) {
        if let Some(bound) = queue_bound(plan) {
            while self.queue.len() > bound {
                self.queue.pop_front();
            }
        }
        self.queue.push_back(Queued { event: event.clone(), scope: hooks.scope.clone() });
        // Only lines have an address of their own. The first that come are counted, the others are not.
        let address =
            event.ip_sources().first().filter(|_| event.kind == EventKind::Log).map(IpAddr::to_string);
        let Some(address) = address else { return };
        if self.contributors.len() < MAX_CONTRIBUTORS || self.contributors.contains_key(&address) {
            let entry = self.contributors.entry(address).or_insert((0, time));
            entry.0 += 1;
            entry.1 = time;
        }
    }

    /// What conditions see of the bucket.
    fn view(&self, plan: &Scenario) -> BucketView {
        let text = |expression: &Option<Expression>| {
            expression.as_ref().map_or(String::new(), |e| e.text.to_string())
        };
        let written = |nanos: i64| if nanos == 0 { String::new() } else { duration::format(nanos) };
        BucketView {
            name: plan.name.to_string(),
            kind: match plan.kind {
                BucketKind::Leaky => "leaky",
                BucketKind::Trigger => "trigger",
                BucketKind::Counter => "counter",
                BucketKind::Conditional => "conditional",
                BucketKind::Bayesian => "bayesian",
            },
            description: plan.description.clone(),
            filter: plan.filter.text.to_string(),
            group_by: text(&plan.group_by),
            distinct: text(&plan.distinct),
            capacity: plan.capacity,
            leak_speed: written(plan.leak_speed),
            duration_text: written(plan.duration),
            lifetime: lifetime(plan),
            mode: 1,
            mapkey: self.mapkey.clone(),
            first: self.first.unwrap_or(Timestamp::zero()),
            last: self.last.unwrap_or(Timestamp::zero()),
            overflow: self.overflow.unwrap_or(Timestamp::zero()),
            count: self.count,
            bound: queue_bound(plan).map_or(-1, |bound| bound as i64),
            queue: self.queue.iter().map(|queued| queued.event.clone()).collect(),
        }
    }
}

impl Detector {
    pub(crate) fn new(rules: &RuleSet, world: &mut World, files: &WorldFiles) -> Detector {
        for scenario in &rules.scenarios {
            for file in &scenario.data {
                world.load(file, files);
            }
        }
        let origin = |s: &Scenario| rules.origins.get(&s.place.file.path).cloned().unwrap_or_default();
        Detector {
            origins: rules.scenarios.iter().map(origin).collect(),
            scenarios: rules.scenarios.clone(),
            context: rules.context.clone(),
            v6_bits: 64,
            buckets: BTreeMap::new(),
            blackholes: vec![Vec::new(); rules.scenarios.len()],
            lines: 0,
            deadlines: 0,
        }
    }

    /// Forgets all buckets.
    pub(crate) fn restart(&mut self) {
        self.buckets.clear();
        self.blackholes.iter_mut().for_each(Vec::clear);
        self.lines = 0;
    }

    /// The names of scenarios.
    pub(crate) fn names(&self, selected: &[Selected]) -> Vec<String> {
        selected.iter().map(|selected| self.scenarios[selected.scenario].name.to_string()).collect()
    }

    /// Which scenarios take the event, each with the value of its `groupby`. Filters may change the event, and
    /// see what earlier ones changed.
    pub(crate) fn select(&self, event: &mut Event, world: &World) -> Vec<Selected> {
        let mut selected = Vec::new();
        for (at, scenario) in self.scenarios.iter().enumerate() {
            let filter = eval::evaluate(&scenario.filter.ast, &mut Scene::of(event, world));
            if !matches!(filter, Ok(Value::Bool(true))) {
                continue;
            }
            let group = match &scenario.group_by {
                None => Ok("".into()),
                Some(group) => eval::evaluate(&group.ast, &mut Scene::of(event, world)),
            };
            if let Ok(Value::Str(group)) = group {
                let group = group_key(&group, self.v6_bits);
                selected.push(Selected { scenario: at, group, distinct: None, cancel: false, scope: None });
            }
        }
        // Nothing changes the event any more.
        for selected in &mut selected {
            let plan = &self.scenarios[selected.scenario];
            selected.distinct =
                plan.distinct.as_ref().and_then(|distinct| match run(distinct, event, world) {
                    Ok(Value::Str(text)) => Some(text.to_string()),
                    Ok(_) => Some(String::new()),
                    Err(_) => None,
                });
            let cancel = plan.cancel_on.as_ref().map(|cancel| run(cancel, event, world));
            selected.cancel = matches!(cancel, Some(Ok(Value::Bool(true))));
            let scope = match &plan.scope {
                Scope::Ip | Scope::Range(None) => None,
                Scope::Range(Some(expression)) | Scope::Custom(_, expression) => Some(expression),
            };
            selected.scope = scope.map(|scope| match run(scope, event, world) {
                Ok(Value::Str(text)) => Ok(text.to_string()),
                Ok(_) => Ok(String::new()),
                Err(_) => Err(NoAlert),
            });
        }
        selected
    }

    /// A line of a source was parsed, and it is this time there: gives the overflows of the buckets whose
    /// deadline is not later. Now and then forgets buckets that are long over.
    pub(crate) fn advance(
        &mut self,
        source: &str,
        time: Option<Timestamp>,
        clocks: &BTreeMap<String, Timestamp>,
        world: &World,
    ) -> Vec<Event> {
        let mut due: Vec<(Timestamp, u64, Key)> = Vec::new();
        for (key, bucket) in &self.buckets {
            if let (Some((of, deadline, number)), Some(time)) = (&bucket.deadline, time)
                && of == source
                && *deadline <= time
            {
                due.push((*deadline, *number, key.clone()));
            }
        }
        due.sort();
        let mut overflows = Vec::new();
        for (deadline, _, key) in due {
            if let Some(mut bucket) = self.buckets.remove(&key) {
                bucket.overflow = Some(deadline);
                overflows.extend(self.emit(&bucket, world));
            }
        }
        self.lines += 1;
        if self.lines.is_multiple_of(SWEEP_EVERY) {
            let scenarios = &self.scenarios;
            self.buckets.retain(|_, bucket| {
                let plan = &scenarios[bucket.scenario];
                let end = bucket.last.unwrap_or(Timestamp::zero()).add_nanos(lifetime(plan)).add_nanos(GRACE);
                is_timed(plan) || clocks.get(&bucket.source).is_none_or(|clock| *clock <= end)
            });
        }
        overflows
    }

    /// Pours an event of a source into the bucket of one of the scenarios that take it; gives the overflow.
    pub(crate) fn pour(
        &mut self,
        one: &Selected,
        all: &[Selected],
        event: &Event,
        source: &str,
        world: &World,
    ) -> Option<Event> {
        let plan = &self.scenarios[one.scenario];
        let key = (plan.filter.text.to_string(), one.group.clone(), plan.name.to_string());
        let found = self.buckets.remove(&key).filter(|bucket| {
            let plan = &self.scenarios[bucket.scenario];
            let end = bucket.last.map(|last| last.add_nanos(lifetime(plan)));
            is_timed(plan) || event.date().zip(end).is_none_or(|(now, end)| now <= end)
        });
        let mut bucket = found.unwrap_or_else(|| Bucket::new(one.scenario, plan, &key));
        source.clone_into(&mut bucket.source);
        let count = bucket.count;
        // The bucket may be another document's of the same name, whose expressions count then.
        let hooks = all.iter().find(|other| other.scenario == bucket.scenario).unwrap_or(one);
        match step(&mut bucket, hooks, &self.scenarios, event, world) {
            After::Lives => {
                let plan = &self.scenarios[bucket.scenario];
                let accepted = bucket.count > count;
                // Every event puts the deadline off, but for a counter's.
                if is_timed(plan) && accepted && (plan.kind != BucketKind::Counter || count == 0) {
                    let last = bucket.last.unwrap_or(Timestamp::zero());
                    bucket.deadline =
                        Some((source.to_owned(), last.add_nanos(lifetime(plan)), self.deadlines));
                    self.deadlines += 1;
                }
                self.buckets.insert(key, bucket);
                None
            }
            After::Cancelled => None,
            After::Overflows => self.emit(&bucket, world),
        }
    }

    /// Makes the alert of a bucket that is over, and asks whether it may be told.
    fn emit(&mut self, bucket: &Bucket, world: &World) -> Option<Event> {
        let plan = &self.scenarios[bucket.scenario];
        let time = bucket.overflow.unwrap_or(Timestamp::zero());
        let origin = &self.origins[bucket.scenario];
        let alert = overflow::build(plan, bucket, origin, &self.context, world);
        if let Some(filter) = &plan.overflow_filter {
            let none = Overflow::default();
            let view = bucket.view(plan);
            let mut scene = Scene {
                event: None,
                bucket: Some(&view),
                signal: Some(alert.as_ref().unwrap_or(&none)),
                contributor: None,
                world,
            };
            if matches!(eval::evaluate(&filter.ast, &mut scene), Ok(Value::Bool(false))) {
                return None;
            }
        }
        if plan.blackhole > 0 {
            let silent = &mut self.blackholes[bucket.scenario];
            silent.retain(|(_, until)| *until > time);
            if silent.iter().any(|(key, _)| *key == bucket.mapkey) {
                return None;
            }
            silent.push((bucket.mapkey.clone(), time.add_nanos(plan.blackhole)));
        }
        Some(Event {
            kind: EventKind::Overflow,
            replay: true,
            overflow: alert?,
            line: EventLine { time, ..EventLine::default() },
            time: Some(time),
            marshaled_time: time.to_rfc3339_nano(),
            ..Event::default()
        })
    }
}

/// Lets one event act on a bucket.
fn step(
    bucket: &mut Bucket,
    hooks: &Selected,
    scenarios: &[Scenario],
    event: &Event,
    world: &World,
) -> After {
    let plan = &scenarios[bucket.scenario];
    let date = event.date();
    // Before the pour: trigger, distinct, cancel_on.
    if plan.kind == BucketKind::Trigger {
        let time = date.unwrap_or_else(|| world.now());
        bucket.count = 1;
        bucket.first = Some(time);
        bucket.last = Some(time);
        bucket.overflow = Some(time);
        bucket.append(event, hooks, plan, time);
        return After::Overflows;
    }
    if let Some(value) = &hooks.distinct
        && !bucket.seen.insert(value.clone())
    {
        return After::Lives;
    }
    if hooks.cancel {
        return After::Cancelled;
    }
    // The pour. An event without a date is neither counted nor queued.
    if let Some(now) = date {
        bucket.count += 1;
        bucket.first.get_or_insert(now);
        bucket.last = Some(now);
        let granted = bucket.limiter.take(now);
        bucket.append(event, hooks, plan, now);
        if !granted && plan.kind != BucketKind::Conditional {
            bucket.overflow = Some(now);
            return After::Overflows;
        }
    }
    // After the pour: condition, bayesian.
    if let Some(condition) = &plan.condition
        && holds(condition, bucket, plan, event, world) == Some(true)
    {
        bucket.overflow = bucket.last;
        return After::Overflows;
    }
    if let Some(bayesian) = &plan.bayesian {
        let mut belief = bayesian.prior;
        for (at, condition) in bayesian.conditions.iter().enumerate() {
            let seen = if condition.guillotine && bucket.guillotined[at] {
                Some(true)
            } else {
                holds(&condition.condition, bucket, plan, event, world)
            };
            let (evil, benign) = match seen {
                Some(true) => (condition.given_evil, condition.given_benign),
                Some(false) => (1.0 - condition.given_evil, 1.0 - condition.given_benign),
                None => continue,
            };
            bucket.guillotined[at] |= seen == Some(true);
            belief = evil * belief / (evil * belief + benign * (1.0 - belief));
        }
        if belief > bayesian.threshold {
            bucket.overflow = bucket.last;
            return After::Overflows;
        }
    }
    After::Lives
}

/// The answer of a condition; `None` where it fails or is no boolean.
fn holds(
    condition: &Expression,
    bucket: &Bucket,
    plan: &Scenario,
    event: &Event,
    world: &World,
) -> Option<bool> {
    let view = bucket.view(plan);
    let mut event = event.clone();
    let mut scene = Scene { bucket: Some(&view), ..Scene::of(&mut event, world) };
    match eval::evaluate(&condition.ast, &mut scene) {
        Ok(Value::Bool(answer)) => Some(answer),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
