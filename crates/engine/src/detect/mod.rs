//! From events to overflows: which scenarios an event reaches, the buckets it is poured into, and
//! the alerts of those that run over.

mod alert;
mod bucket;
mod limiter;
mod select;
mod store;
pub(crate) mod tally;

use std::{collections::HashMap, sync::Arc};

use sha1::{Digest, Sha1};
use testudo_expr::{Node, program::Program};
use testudo_rules::{
    plan::{self, BucketKind},
    set::Origin,
};

pub(crate) use alert::{Alerts, ContextField, mapkey};
pub(crate) use bucket::Queue;
pub(crate) use limiter::Rate;
pub(crate) use select::{DEFAULT_V6_KEY_BITS, Frozen, Held, Pours, Selector};
pub(crate) use store::{BucketCounts, Buckets, Clocks, DEFAULT_BUCKET_BYTES, Emission, Pouring};

use crate::{
    dispatch::{Decider, Dispatch},
    keys::Keys,
    reads::{EventResolver, NoSlots, Reads},
    snapshot::Kept,
    world::World,
};

/// A scenario of a set.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Its plan.
    pub(crate) plan: plan::Scenario,
    pub(crate) origin: Origin,
    /// Same filter, same name: such scenarios share their buckets.
    pub(crate) class: u32,
    /// Equal for scenarios whose buckets can take each other's place.
    pub(crate) identity: u64,
    pub(crate) filter: Program,
    pub(crate) group_by: Option<Program>,
    pub(crate) distinct: Option<Program>,
    pub(crate) cancel_on: Option<Program>,
    pub(crate) scope: Option<Program>,
    /// Whether the scope expression says what the key does.
    pub(crate) scope_is_group: bool,
    pub(crate) condition: Option<Program>,
    /// The condition with its looks at the queue replaced by what the bucket knows of it.
    pub(crate) quick_condition: Option<Program>,
    /// What it asks of the queue.
    pub(crate) tally: tally::Plan,
    pub(crate) overflow_filter: Option<Program>,
    pub(crate) bayesian: Vec<Program>,
    pub(crate) rate: Rate,
    /// Nanoseconds that a bucket lives after its last event; a counter's, after its first.
    pub(crate) lifetime: i64,
    /// Whether a bucket overflows when its time is up, where others are forgotten.
    pub(crate) timed: bool,
    /// Events that a bucket keeps besides the newest; `None`: all.
    pub(crate) bound: Option<usize>,
    /// Whether the filter or the key may write the event.
    pub(crate) writes: bool,
}

impl Scenario {
    /// The sort of its buckets, as rules name it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.plan.kind {
            BucketKind::Leaky => "leaky",
            BucketKind::Trigger => "trigger",
            BucketKind::Counter => "counter",
            BucketKind::Conditional => "conditional",
            BucketKind::Bayesian => "bayesian",
        }
    }
}

/// All scenarios of a set.
#[derive(Debug, Default)]
pub(crate) struct Scenarios {
    pub(crate) all: Vec<Scenario>,
    pub(crate) dispatch: Dispatch,
    /// Slots that decide which scenarios are asked.
    pub(crate) guards: Vec<Decider>,
    pub(crate) context: Vec<ContextField>,
    pub(crate) kept: Kept,
    /// See [`Options::v6_key_bits`](crate::Options::v6_key_bits).
    pub(crate) v6_key_bits: u8,
}

/// Compiles the scenarios and the alert context of a set.
pub(crate) fn compile(
    plans: &[plan::Scenario],
    context: &plan::Context,
    origins: &HashMap<String, Origin>,
    keys: &mut Keys,
    world: &World,
) -> Scenarios {
    let mut classes: HashMap<(Arc<str>, Arc<str>), u32> = HashMap::new();
    let mut kept = Kept::default();
    let mut all: Vec<Scenario> = Vec::with_capacity(plans.len());
    for plan in plans {
        let next = classes.len() as u32;
        let class = *classes.entry((plan.filter.text.clone(), plan.name.clone())).or_insert(next);
        let mut early = |expression: &plan::Expression| {
            Reads::new(keys).add(&expression.node);
            compiled(&expression.node, keys, world)
        };
        let filter = early(&plan.filter);
        let group_by = plan.group_by.as_ref().map(&mut early);
        let distinct = plan.distinct.as_ref().map(&mut early);
        let cancel_on = plan.cancel_on.as_ref().map(&mut early);
        let scope = match &plan.scope {
            plan::Scope::Ip | plan::Scope::Range(None) => None,
            plan::Scope::Range(Some(expression)) | plan::Scope::Custom(_, expression) => {
                Some(early(expression))
            }
        };
        let mut late = |expression: &plan::Expression| {
            let mut reads = Reads::new(keys);
            reads.add(&expression.node);
            let more = reads.kept;
            merge(&mut kept, &more);
            compiled(&expression.node, keys, world)
        };
        let condition = plan.condition.as_ref().map(&mut late);
        let overflow_filter = plan.overflow_filter.as_ref().map(|expression| {
            late(expression);
            Program::new(&expression.node, &mut NoSlots, world)
        });
        let bayesian = plan.bayesian.iter().flat_map(|b| &b.conditions).map(|c| late(&c.condition)).collect();
        let mut tally = tally::Plan::default();
        let quick_condition = plan
            .condition
            .as_ref()
            .and_then(|expression| tally.rewrite(&expression.node))
            .map(|node| compiled(&Arc::new(node), keys, world));
        tally.compile(|predicate| compiled(predicate, keys, world));
        all.push(Scenario {
            origin: origins.get(&plan.place.file.path).cloned().unwrap_or_default(),
            class,
            identity: identity(plan),
            filter,
            group_by,
            distinct,
            cancel_on,
            scope_is_group: scope_is_group(plan),
            scope,
            condition,
            quick_condition,
            tally,
            overflow_filter,
            bayesian,
            rate: Rate::new(
                if plan.kind == BucketKind::Trigger { 0 } else { plan.capacity },
                plan.leak_speed,
            ),
            lifetime: lifetime(plan),
            timed: plan.duration > 0,
            bound: bound(plan),
            writes: [Some(&plan.filter), plan.group_by.as_ref()]
                .into_iter()
                .flatten()
                .any(|expression| expression.node.effects.mutates),
            plan: plan.clone(),
        });
    }
    let context = context
        .fields
        .iter()
        .map(|(name, expressions)| ContextField {
            name: name.clone(),
            expressions: expressions
                .iter()
                .map(|expression| {
                    let mut reads = Reads::new(keys);
                    reads.add(&expression.node);
                    let more = reads.kept;
                    merge(&mut kept, &more);
                    compiled(&expression.node, keys, world)
                })
                .collect(),
        })
        .collect();
    // A filter that comes later could change what an event says.
    if all.iter().any(|scenario| scenario.writes) {
        all.iter_mut().for_each(|scenario| scenario.scope_is_group = false);
    }
    let filters: Vec<Option<&Program>> = all.iter().map(|scenario| Some(&scenario.filter)).collect();
    let dispatch = Dispatch::new(&filters);
    let guards = dispatch.deciders();
    Scenarios { all, dispatch, guards, context, kept, v6_key_bits: DEFAULT_V6_KEY_BITS }
}

/// Whether the scope expression of a scenario is that of its key.
fn scope_is_group(plan: &plan::Scenario) -> bool {
    let (plan::Scope::Range(Some(scope)) | plan::Scope::Custom(_, scope)) = &plan.scope else { return false };
    plan.group_by.as_ref().is_some_and(|group| {
        group.text == scope.text && !group.node.effects.mutates && !group.node.effects.impure
    })
}

/// A hash of everything that the state of a scenario's buckets depends on, and that does not change from one
/// version of the program to the next.
fn identity(plan: &plan::Scenario) -> u64 {
    let text = |expression: &Option<plan::Expression>| expression.as_ref().map(|e| e.text.to_string());
    let scope = match &plan.scope {
        plan::Scope::Range(Some(expression)) | plan::Scope::Custom(_, expression) => {
            Some(expression.text.to_string())
        }
        plan::Scope::Ip | plan::Scope::Range(None) => None,
    };
    let evidence = plan.bayesian.iter().flat_map(|bayesian| &bayesian.conditions);
    let evidence: Vec<String> = evidence.map(|evidence| evidence.condition.text.to_string()).collect();
    let parts = (
        (plan.kind as u8, plan.capacity, plan.leak_speed, plan.duration, plan.cache_size),
        (plan.filter.text.to_string(), text(&plan.group_by), text(&plan.distinct), text(&plan.condition)),
        (plan.scope.name().to_owned(), scope, evidence),
    );
    let hash = Sha1::digest(format!("{parts:?}").as_bytes());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn compiled(node: &Arc<Node>, keys: &mut Keys, world: &World) -> Program {
    Program::new(node, &mut EventResolver { keys, overflow: false }, world)
}

fn merge(kept: &mut Kept, more: &Kept) {
    if kept.slots.len() < more.slots.len() {
        kept.slots.resize(more.slots.len(), false);
    }
    for (to, from) in kept.slots.iter_mut().zip(&more.slots) {
        *to |= from;
    }
    for (to, from) in kept.spaces.iter_mut().zip(&more.spaces) {
        *to |= from;
    }
    kept.unmarshaled |= more.unmarshaled;
}

fn lifetime(plan: &plan::Scenario) -> i64 {
    match plan.kind {
        BucketKind::Conditional | BucketKind::Bayesian => plan.leak_speed,
        _ if plan.duration > 0 => plan.duration,
        BucketKind::Leaky => plan.leak_speed.saturating_mul(plan.capacity.saturating_add(1)),
        BucketKind::Counter | BucketKind::Trigger => 0,
    }
}

fn bound(plan: &plan::Scenario) -> Option<usize> {
    let capacity = if plan.kind == BucketKind::Trigger { 0 } else { plan.capacity };
    let cache_size = plan.cache_size;
    if cache_size > 0 && (cache_size <= capacity || capacity == -1) {
        return usize::try_from(cache_size).ok();
    }
    usize::try_from(capacity).ok()
}
