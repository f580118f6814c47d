//! The profiles file: which alerts get which decisions.

use std::sync::Arc;

use testudo_event::duration;

use crate::{
    codes,
    expression::{self, Usage},
    keys,
    load::{self, Fields, Loaded, Loading},
    place::SourceFile,
    plan::{Attribution, DecisionTemplate, OnError, OnMatch, Profile},
    yaml::{Kind, Node},
};

/// Reads a profiles file, one profile a document.
pub fn load_profiles(file: Arc<SourceFile>) -> Loaded<Profile> {
    load::documents(file, |load, document| {
        if document.is_null() {
            return None;
        }
        let errors = load.errors();
        let fields = Fields::read(load, document, &keys::PROFILE);
        let profile = profile(load, &fields);
        if profile.filters.is_empty() && load.errors() == errors {
            let hint = "add one, e.g. `- Alert.Remediation == true`".to_owned();
            load.warn(codes::NO_EFFECT, fields.span, "a profile without `filters` never matches", hint);
        }
        Some(profile)
    })
}

fn profile(load: &mut Loading, fields: &Fields<'_>) -> Profile {
    const CONTINUE: (&str, OnMatch) = ("continue", OnMatch::Continue);
    const BREAK: (&str, OnMatch) = ("break", OnMatch::Break);
    const NONE: (&str, OnMatch) = ("", OnMatch::Continue);
    fields.ignore(load, &[], &["debug"], &[]);
    let filters = fields.get("filters").map_or(Vec::new(), |list| load.texts(list, "filters"));
    let decisions = fields.get("decisions").map_or(&[][..], |list| load.list(list, "`decisions`"));
    Profile {
        name: fields.text(load, "name").map_or("", |name| name.text).into(),
        place: load.place(&fields.span),
        filters: filters
            .into_iter()
            .filter_map(|text| expression::compile(load, text, &Usage::PROFILE))
            .collect(),
        decisions: decisions.iter().filter_map(|node| decision(load, node)).collect(),
        duration_expr: expression::optional(load, fields, "duration_expr", &Usage::PROFILE_DURATION),
        on_success: fields.choice(load, "on_success", &[NONE, CONTINUE, BREAK]),
        on_failure: fields.choice(load, "on_failure", &[NONE, CONTINUE, BREAK, ("apply", OnMatch::Apply)]),
        on_error: fields.choice(
            load,
            "on_error",
            &[
                ("", OnError::Fail),
                ("continue", OnError::Continue),
                ("ignore", OnError::Continue),
                ("break", OnError::Continue),
                ("apply", OnError::Apply),
            ],
        ),
        notifications: fields
            .get("notifications")
            .map_or(Vec::new(), |list| load.texts(list, "notifications"))
            .into_iter()
            .map(|name| name.text.into())
            .collect(),
        attribution: fields.get("attribution").map_or(Attribution::Sources, |node| attribution(load, node)),
    }
}

/// A name, or a map from it to its parameters: `prefixes`, `prefixes: {budget: 3}`.
fn attribution(load: &mut Loading, node: &Node) -> Attribution {
    let (name, parameters) = if matches!(node.kind, Kind::Map(_)) {
        let entries = load.map(node, "`attribution`");
        let [(name, parameters)] = entries[..] else {
            let hint = "write one of them, e.g. `attribution: {prefixes: {budget: 0}}`".to_owned();
            load.error(codes::WRONG_TYPE, node.span.clone(), "`attribution` takes one name", hint);
            return Attribution::Sources;
        };
        (name, Some(parameters).filter(|parameters| !parameters.is_null()))
    } else {
        let Some(name) = load.text(node, "`attribution`") else { return Attribution::Sources };
        (name, None)
    };
    match name.text {
        "sources" => {
            if let Some(parameters) = parameters {
                Fields::read(load, parameters, &keys::SOURCES);
            }
            Attribution::Sources
        }
        "contributors" => {
            let fields = parameters.map(|node| Fields::read(load, node, &keys::CONTRIBUTORS));
            Attribution::Contributors { least: count(load, fields.as_ref(), "least", 1, 1) }
        }
        "prefixes" => {
            let fields = parameters.map(|node| Fields::read(load, node, &keys::PREFIXES));
            Attribution::Prefixes {
                budget: count(load, fields.as_ref(), "budget", 0, 0),
                least: count(load, fields.as_ref(), "least", 1, 2),
            }
        }
        other => {
            let message = format!("`attribution` cannot be `{other}`");
            let hint = load::suggestion(other, &keys::ATTRIBUTION.names());
            load.error(codes::UNKNOWN_VALUE, name.span.clone(), message, hint);
            Attribution::Sources
        }
    }
}

/// A count of at least `least`, `default` where none is given.
fn count(load: &mut Loading, fields: Option<&Fields<'_>>, key: &str, least: u32, default: u32) -> u32 {
    let Some((fields, node)) = fields.and_then(|fields| Some((fields, fields.get(key)?))) else {
        return default;
    };
    let Some(number) = fields.integer(load, key) else { return default };
    match u32::try_from(number) {
        Ok(count) if count >= least => count,
        _ => {
            let message = format!("`{key}` cannot be {number}");
            let hint = format!("write a whole number from {least} to {}", u32::MAX);
            load.error(codes::NUMBER, node.span.clone(), message, hint);
            default
        }
    }
}

fn decision(load: &mut Loading, node: &Node) -> Option<DecisionTemplate> {
    /// The duration of a decision that gives none.
    const DEFAULT: &str = "4h";
    let fields = Fields::read(load, node, &keys::DECISION);
    let kind = fields.require(load, "type", "the decision", "e.g. `type: ban`");
    fields.ignore(load, &["uuid", "scenario", "until"], &[], &[]);
    fields.integer(load, "id");
    if let Some(value) = fields.text(load, "value") {
        let hint = "decisions take the value of the alert's source".to_owned();
        load.warn(codes::NO_EFFECT, value.span.clone(), "`value` has no effect in a profile", hint);
    }
    let [duration, scope, origin] = ["duration", "scope", "origin"].map(|key| fields.text(load, key));
    let simulated = fields.flag(load, "simulated");
    let text = duration.map_or(DEFAULT, |duration| duration.text);
    let Ok(nanoseconds) = duration::parse_with_days(text) else {
        let span = duration.map_or(fields.span, |duration| duration.span.clone());
        let hint = "write a number and a unit, e.g. `30m`, `4h`, `7d`".to_owned();
        load.error(codes::DURATION, span, format!("`duration` is no duration: `{text}`"), hint);
        return None;
    };
    let owned = |text: load::Text<'_>| -> Arc<str> { text.text.into() };
    Some(DecisionTemplate {
        kind: kind?.text.into(),
        duration: text.into(),
        nanoseconds,
        scope: scope.map(owned),
        origin: origin.map(owned),
        simulated,
        place: load.place(&node.span),
    })
}
