//! Scenarios: buckets that count the wrong thing, alerts without end, keys without effect.

use testudo_expr::{Value, core::Kind as Core};
use testudo_rules::{
    Diagnostic,
    plan::{BucketKind, Scenario, Scope},
};

use super::{advice, conditions, key_place, patterns};
use crate::{codes, documents, facts::Facts};

/// Looks at a scenario.
pub(crate) fn check(scenario: &Scenario, facts: &Facts, into: &mut Vec<Diagnostic>) {
    let constant = matches!(scenario.filter.node.kind, Core::Const(Value::Bool(_)));
    conditions::filter(&scenario.filter, "the filter", facts, into);
    // Overflows are few, and have no text that could be looked up.
    let of_overflows =
        scenario.filter.text.contains("evt.Overflow") || scenario.filter.text.contains("evt.GetType");
    if !constant && !of_overflows && !conditions::is_indexed(&scenario.filter) {
        into.push(advice(
            codes::EVERY_EVENT,
            scenario.filter.place.clone(),
            "the filter has to be asked for every event: nothing in it can be looked up",
            "begin it with a comparison with fixed text, e.g. `evt.Meta.log_type == 'http_access-log' && …`",
        ));
    }
    for expression in documents::of_scenario(scenario) {
        conditions::reads(expression, facts, into);
        patterns::matches(expression, into);
    }
    buckets(scenario, into);
    unused(scenario, into);
}

fn buckets(scenario: &Scenario, into: &mut Vec<Diagnostic>) {
    let counts = scenario.kind != BucketKind::Trigger;
    let of_sources = matches!(scenario.scope, Scope::Ip | Scope::Range(_));
    if counts && of_sources && scenario.group_by.is_none() && scenario.remediation {
        into.push(advice(
            codes::ONE_BUCKET,
            scenario.place.clone(),
            "without `groupby` one bucket counts the events of all sources: whoever comes last is banned for what \
             others did",
            "add `groupby: evt.Meta.source_ip`",
        ));
    }
    if !counts && scenario.remediation && scenario.blackhole == 0 && !scenario.reprocess {
        into.push(advice(
            codes::EVERY_ALERT,
            scenario.place.clone(),
            "every event of a source is an alert and a decision of its own, however many it sends",
            "add `blackhole: 1m`: after an alert the source is silent for that long",
        ));
    }
}

/// Keys that mean nothing to the type of the scenario.
fn unused(scenario: &Scenario, into: &mut Vec<Diagnostic>) {
    let kind = scenario.kind;
    let name = match kind {
        BucketKind::Leaky => "leaky",
        BucketKind::Trigger => "trigger",
        BucketKind::Counter => "counter",
        BucketKind::Conditional => "conditional",
        BucketKind::Bayesian => "bayesian",
    };
    let mut tell = |key: &str, hint: &str| {
        into.push(advice(
            codes::UNUSED_KEY,
            key_place(&scenario.place, key),
            format!("`{key}` has no effect in a {name} scenario"),
            hint,
        ));
    };
    if scenario.leak_speed != 0 && matches!(kind, BucketKind::Trigger | BucketKind::Counter) {
        tell("leakspeed", "remove it; a counter takes `duration`, and a `leaky` scenario leaks");
    }
    if scenario.duration != 0 && kind != BucketKind::Counter {
        tell("duration", "remove it; only a counter takes one");
    }
    if scenario.condition.is_some() && kind != BucketKind::Conditional {
        tell("condition", "make the type `conditional`, or use `filter` or `overflow_filter`");
    }
}
