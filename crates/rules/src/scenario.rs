//! Scenario files: documents that describe buckets.

use std::{collections::BTreeMap, sync::Arc};

use testudo_expr::Value;

use crate::{
    codes, data,
    expression::{self, Usage},
    keys,
    load::{self, Fields, Loaded, Loading},
    place::SourceFile,
    plan::{Bayesian, BayesianCondition, BucketKind, Expression, Scenario, Scope},
    yaml::{Kind, Node, Resolved, Scalar},
};

/// Reads a scenario file.
pub fn load_scenarios(file: Arc<SourceFile>) -> Loaded<Scenario> {
    load::documents(file, |load, document| {
        if document.is_null() {
            let hint = "write a scenario after the `---`, or remove it".to_owned();
            load.error(codes::MISSING_KEY, document.span.clone(), "the document is empty", hint);
            return None;
        }
        let fields = Fields::read(load, document, &keys::SCENARIO);
        scenario(load, &fields)
    })
}

fn scenario(load: &mut Loading, fields: &Fields<'_>) -> Option<Scenario> {
    load.format(fields);
    fields.ignore(load, &["version"], &["debug"], &["references"]);
    let what = "the scenario";
    let name = fields.require(load, "name", what, "add one, e.g. `name: me/my-scenario`");
    let description = fields.require(load, "description", what, "say in one line what it detects");
    let kind = kind(load, fields);
    let filter =
        fields.require(load, "filter", what, "say which events it takes, or write `filter: \"true\"`");
    let filter = filter.and_then(|text| expression::compile(load, text, &Usage::TEST));
    let [leak_speed, duration, blackhole] = ["leakspeed", "duration", "blackhole"]
        .map(|key| fields.text(load, key).and_then(|text| load.duration(text, key)));
    let mut optional = |key: &str, usage: &Usage| expression::optional(load, fields, key, usage);
    let group_by = optional("groupby", &Usage::GROUP_BY);
    let distinct = optional("distinct", &Usage::DISTINCT);
    let cancel_on = optional("cancel_on", &Usage::CANCEL_ON);
    let condition = optional("condition", &Usage::CONDITION);
    let overflow_filter = optional("overflow_filter", &Usage::OVERFLOW_FILTER);
    let written = fields.integer(load, "capacity");
    let capacity = written.unwrap_or(0);
    let cache_size = fields.integer(load, "cache_size").unwrap_or(0);
    let bayesian = bayesian(load, fields, kind);
    let scope = scope(load, fields);
    let (labels, remediation) = labels(load, fields);
    let reprocess = fields.flag(load, "reprocess");
    let data = data::read(load, fields);
    match kind? {
        BucketKind::Leaky => {
            capacity_is(
                load,
                fields,
                "leaky",
                written,
                capacity > 0,
                "a capacity above 0, e.g. `capacity: 5`",
            );
            positive(load, fields, "leaky", "leakspeed", leak_speed);
        }
        BucketKind::Trigger => {
            capacity_is(load, fields, "trigger", written, capacity == 0, "no capacity");
        }
        BucketKind::Counter => {
            capacity_is(load, fields, "counter", written, capacity == -1, "`capacity: -1`");
            positive(load, fields, "counter", "duration", duration);
        }
        BucketKind::Conditional => {
            fields.require(load, "condition", "the conditional scenario", "say when it overflows");
            positive(load, fields, "conditional", "leakspeed", leak_speed);
            if capacity != -1 {
                let message = "a conditional scenario with a capacity overflows when that is full, too";
                let hint = "write `capacity: -1` if only the condition counts".to_owned();
                let span = fields.get("capacity").map_or(fields.span.clone(), |node| node.span.clone());
                load.warn(codes::NUMBER, span, message, hint);
            }
        }
        BucketKind::Bayesian => {
            capacity_is(load, fields, "bayesian", written, capacity == -1, "`capacity: -1`");
        }
    }
    Some(Scenario {
        name: name?.text.into(),
        place: load.place(&fields.span),
        description: description?.text.to_owned(),
        kind: kind?,
        capacity,
        leak_speed: leak_speed.unwrap_or(0),
        duration: duration.unwrap_or(0),
        filter: filter?,
        group_by,
        distinct,
        cancel_on,
        condition,
        overflow_filter,
        blackhole: blackhole.unwrap_or(0),
        cache_size,
        scope: scope?,
        reprocess,
        labels,
        remediation,
        bayesian,
        data,
    })
}

fn kind(load: &mut Loading, fields: &Fields<'_>) -> Option<BucketKind> {
    const KINDS: &[(&str, Option<BucketKind>)] = &[
        ("", None),
        ("leaky", Some(BucketKind::Leaky)),
        ("trigger", Some(BucketKind::Trigger)),
        ("counter", Some(BucketKind::Counter)),
        ("conditional", Some(BucketKind::Conditional)),
        ("bayesian", Some(BucketKind::Bayesian)),
    ];
    let hint = "write one of leaky, trigger, counter, conditional, bayesian";
    fields.require(load, "type", "the scenario", hint)?;
    fields.choice(load, "type", KINDS)
}

/// The capacity that a type of scenario takes.
fn capacity_is(
    load: &mut Loading,
    fields: &Fields<'_>,
    kind: &str,
    capacity: Option<i64>,
    fits: bool,
    wants: &str,
) {
    if fits {
        return;
    }
    let (span, message) = match (fields.get("capacity"), capacity) {
        (Some(node), Some(capacity)) => {
            (node.span.clone(), format!("a {kind} scenario cannot have capacity {capacity}"))
        }
        // It is no number, which was reported.
        (Some(_), None) => return,
        (None, _) => (fields.span.clone(), format!("a {kind} scenario needs a capacity")),
    };
    load.error(codes::NUMBER, span, message, format!("it takes {wants}"));
}

/// A duration that a type of scenario must have.
fn positive(load: &mut Loading, fields: &Fields<'_>, kind: &str, key: &str, value: Option<i64>) {
    match (fields.get(key), value) {
        (None, _) => {
            let hint = format!("add one, e.g. `{key}: 10s`");
            load.error(
                codes::MISSING_KEY,
                fields.span.clone(),
                format!("the {kind} scenario has no `{key}`"),
                hint,
            );
        }
        (Some(node), Some(..=0)) => {
            let message = format!("the `{key}` of a {kind} scenario must be above 0");
            load.error(codes::NUMBER, node.span.clone(), message, format!("e.g. `{key}: 10s`"));
        }
        _ => {}
    }
}

/// Whom overflows are about: `Ip` without, `Range` with or without, anything else with an expression.
fn scope(load: &mut Loading, fields: &Fields<'_>) -> Option<Scope> {
    let Some(node) = fields.get("scope") else { return Some(Scope::Ip) };
    let fields = Fields::read(load, node, &keys::SCOPE);
    let name = fields.text(load, "type");
    let source = fields.text(load, "expression");
    let expression = source.and_then(|text| expression::compile(load, text, &Usage::SCOPE));
    match (name.map_or("Ip", |name| name.text), source) {
        ("Ip", None) => Some(Scope::Ip),
        ("Ip", Some(source)) => {
            let hint = "leave the expression out, or name another scope with `type`".to_owned();
            load.error(codes::SCOPE, source.span.clone(), "scope `Ip` takes no expression", hint);
            None
        }
        ("Range", _) => Some(Scope::Range(expression)),
        (name, Some(_)) => Some(Scope::Custom(name.into(), expression?)),
        (custom, None) => {
            let hint = match custom.to_lowercase().as_str() {
                "ip" => "did you mean `Ip`? capitals count".to_owned(),
                "range" => "did you mean `Range`? capitals count".to_owned(),
                _ => "say what the overflow is about, e.g. `expression: evt.Meta.username`".to_owned(),
            };
            let span = name.map_or(fields.span, |name| name.span.clone());
            load.error(codes::SCOPE, span, format!("scope `{custom}` needs an expression"), hint);
            None
        }
    }
}

/// The labels, and whether `remediation` among them is the boolean true.
fn labels(load: &mut Loading, fields: &Fields<'_>) -> (BTreeMap<String, Value>, bool) {
    let Some(node) = fields.get("labels") else { return (BTreeMap::new(), false) };
    let entries = load.map(node, "`labels`");
    let remediation = entries.iter().find(|(key, _)| key.text == "remediation").map(|(_, value)| *value);
    if let Some(Node { kind: Kind::Scalar(Scalar { text, resolved: Resolved::Text }), span }) = remediation
        && text == "true"
    {
        let message = "`remediation` is the text `true`, not the boolean: nothing is decided";
        load.warn(codes::NO_EFFECT, span.clone(), message, "write it without quotes".to_owned());
    }
    let labels = entries.into_iter().map(|(key, value)| (key.text.to_owned(), value_of(value))).collect();
    (
        labels,
        remediation.is_some_and(|node| {
            matches!(node.kind, Kind::Scalar(Scalar { resolved: Resolved::Bool(true), .. }))
        }),
    )
}

/// Any YAML as a value; the last of repeated keys counts.
fn value_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(scalar) => match scalar.resolved {
            Resolved::Null => Value::Nil,
            Resolved::Bool(value) => Value::Bool(value),
            Resolved::Int(value) => Value::Int(value),
            Resolved::Float(value) => Value::Float(value),
            Resolved::Text => Value::str(scalar.text.as_str()),
        },
        Kind::List(items) => Value::list(items.iter().map(value_of).collect()),
        Kind::Map(entries) => {
            let entries = entries.iter().filter_map(|(key, value)| match &key.kind {
                Kind::Scalar(key) => Some((key.text.as_str().into(), value_of(value))),
                _ => None,
            });
            Value::Map(Arc::new(entries.collect()))
        }
    }
}

/// Bayesian parameters. A threshold makes any scenario bayesian, whatever its type.
fn bayesian(load: &mut Loading, fields: &Fields<'_>, kind: Option<BucketKind>) -> Option<Bayesian> {
    let prior = fields.float(load, "bayesian_prior").unwrap_or(0.0);
    let threshold = fields.float(load, "bayesian_threshold").unwrap_or(0.0);
    let list = fields.get("bayesian_conditions");
    let list = list.map_or(&[][..], |list| load.list(list, "`bayesian_conditions`"));
    let conditions: Vec<BayesianCondition> = list.iter().filter_map(|entry| evidence(load, entry)).collect();
    if kind == Some(BucketKind::Bayesian) {
        let mut wants = |key: &str, fits: bool, message: &str, hint: &str| {
            if !fits {
                let span = fields.get(key).map_or(fields.span.clone(), |node| node.span.clone());
                load.error(codes::NUMBER, span, message, hint.to_owned());
            }
        };
        wants(
            "bayesian_prior",
            prior > 0.0 && prior <= 1.0,
            "a bayesian scenario needs a prior above 0, at most 1",
            "e.g. `bayesian_prior: 0.5`",
        );
        wants(
            "bayesian_threshold",
            threshold != 0.0 && threshold <= 1.0,
            "a bayesian scenario needs a threshold that is not 0 and at most 1",
            "e.g. `bayesian_threshold: 0.8`",
        );
        wants(
            "bayesian_conditions",
            !list.is_empty(),
            "a bayesian scenario needs conditions",
            "list them below `bayesian_conditions`",
        );
    } else if threshold == 0.0 {
        return None;
    }
    Some(Bayesian { prior: prior as f32, threshold: threshold as f32, conditions })
}

fn evidence(load: &mut Loading, node: &Node) -> Option<BayesianCondition> {
    let fields = Fields::read(load, node, &keys::EVIDENCE);
    let text = fields.require(load, "condition", "the bayesian condition", "say when the evidence is seen");
    let condition: Option<Expression> =
        text.and_then(|text| expression::compile(load, text, &Usage::CONDITION));
    let given_evil = fields.float(load, "prob_given_evil").unwrap_or(0.0) as f32;
    let given_benign = fields.float(load, "prob_given_benign").unwrap_or(0.0) as f32;
    let guillotine = fields.flag(load, "guillotine");
    Some(BayesianCondition { condition: condition?, given_evil, given_benign, guillotine })
}
