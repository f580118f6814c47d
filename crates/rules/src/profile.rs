//! The profiles file: which alerts get which decisions.

use std::sync::Arc;

use testudo_event::duration;

use crate::{
    codes,
    expression::{self, Usage},
    load::{self, Fields, Loaded, Loading},
    place::SourceFile,
    plan::{DecisionTemplate, OnError, OnMatch, Profile},
    yaml::Node,
};

/// Reads a profiles file, one profile a document.
pub fn load_profiles(file: Arc<SourceFile>) -> Loaded<Profile> {
    const KNOWN: &[&str] = &[
        "name",
        "debug",
        "filters",
        "decisions",
        "duration_expr",
        "on_success",
        "on_failure",
        "on_error",
        "notifications",
    ];
    load::documents(file, |load, document| {
        if document.is_null() {
            return None;
        }
        let errors = load.errors();
        let fields = Fields::read(load, document, "a profile", KNOWN);
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
    }
}

fn decision(load: &mut Loading, node: &Node) -> Option<DecisionTemplate> {
    const KNOWN: &[&str] =
        &["type", "duration", "scope", "value", "origin", "simulated", "id", "uuid", "scenario", "until"];
    /// The duration of a decision that gives none.
    const DEFAULT: &str = "4h";
    let fields = Fields::read(load, node, "a decision", KNOWN);
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
