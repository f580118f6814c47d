//! The schemas of the bodies that the API takes and gives, and what its parameters mean.

use serde_json::{Map, Value, json};

/// An object whose fields in the first list are always there.
fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    let fields = required.iter().chain(optional);
    let properties: Map<String, Value> =
        fields.map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "required": names, "properties": properties})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn integer() -> Value {
    json!({"type": "integer"})
}

fn boolean() -> Value {
    json!({"type": "boolean"})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn list_or_null(items: Value) -> Value {
    json!({"type": ["array", "null"], "items": items})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A list of texts, each with its schema.
fn texts(names: &[&'static str]) -> Vec<(&'static str, Value)> {
    names.iter().map(|name| (*name, text())).collect()
}

fn pairs() -> Value {
    list(object(&[], &[("key", text()), ("value", text())]))
}

fn source() -> Value {
    let number = || json!({"type": "number"});
    let optional = [
        texts(&["as_name", "as_number", "cn", "ip", "range"]),
        vec![("latitude", number()), ("longitude", number())],
    ];
    object(&texts(&["scope", "value"]), &optional.concat())
}

fn event() -> Value {
    object(&[("meta", pairs()), ("timestamp", text())], &[])
}

/// What alerts have that are shown and that are posted.
fn of_every_alert() -> Vec<(&'static str, Value)> {
    [
        vec![
            ("capacity", integer()),
            ("events_count", integer()),
            ("simulated", boolean()),
            ("source", reference("Source")),
        ],
        texts(&[
            "leakspeed",
            "message",
            "scenario",
            "scenario_hash",
            "scenario_version",
            "start_at",
            "stop_at",
        ]),
    ]
    .concat()
}

fn of_some_alerts() -> Vec<(&'static str, Value)> {
    vec![("kind", text()), ("meta", pairs()), ("remediation", boolean()), ("uuid", text())]
}

fn shown_alert() -> Value {
    let also = vec![
        ("created_at", text()),
        ("decisions", list_or_null(reference("AlertDecision"))),
        ("events", list_or_null(event())),
        ("id", integer()),
        ("labels", list_or_null(text())),
        ("machine_id", text()),
    ];
    object(&[of_every_alert(), also].concat(), &of_some_alerts())
}

fn posted_alert() -> Value {
    let contributor = object(&[("value", text()), ("count", integer()), ("last_seen", text())], &[]);
    let bystanders = object(&[("network", text()), ("count", integer())], &[]);
    let optional = vec![
        ("decisions", list_or_null(reference("PostedDecision"))),
        ("labels", list_or_null(text())),
        ("contributors", list(contributor)),
        ("bystanders", list(bystanders)),
    ];
    object(
        &[of_every_alert(), vec![("events", list(event()))]].concat(),
        &[of_some_alerts(), optional].concat(),
    )
}

fn decision_texts() -> Vec<(&'static str, Value)> {
    texts(&["duration", "origin", "scenario", "scope", "type", "value"])
}

fn usage_metrics() -> Value {
    let os = object(&texts(&["name", "version"]), &[("family", text())]);
    let counter = object(
        &[("name", text()), ("unit", text()), ("value", json!({"type": "number"}))],
        &[("labels", json!({"type": "object", "additionalProperties": text()}))],
    );
    let meta = object(&[("window_size_seconds", integer()), ("utc_now_timestamp", integer())], &[]);
    let batches = list_or_null(object(&[("meta", meta)], &[("items", list_or_null(counter))]));
    let required = [("version", text()), ("utc_startup_timestamp", integer())];
    let optional = [
        ("feature_flags", list_or_null(text())),
        ("metrics", batches),
        ("os", os),
        ("name", text()),
        ("last_pull", integer()),
        ("last_push", integer()),
        ("last_update", integer()),
    ];
    let bouncer = object(&required, &[&optional[..5], &[("type", text())]].concat());
    let of_agent = [
        ("datasources", json!({"type": "object", "additionalProperties": integer()})),
        ("hub_items", json!({"type": "object"})),
    ];
    let agent = object(&[&required[..], &of_agent].concat(), &[&optional[..4], &optional[5..]].concat());
    object(&[], &[("log_processors", list_or_null(agent)), ("remediation_components", list_or_null(bouncer))])
}

fn allowlist() -> Value {
    let item = object(&texts(&["created_at", "expiration", "value"]), &[("description", text())]);
    let required = [texts(&["created_at", "name", "updated_at"]), vec![("items", list(item))]];
    object(
        &required.concat(),
        &[("allowlist_id", text()), ("console_managed", boolean()), ("description", text())],
    )
}

/// All schemas by their names.
pub(crate) fn all() -> Map<String, Value> {
    let new_item = object(&[("value", text())], &texts(&["description", "expiration"]));
    let checked = object(&[("allowlists", list(text())), ("target", text())], &[]);
    let shown_decision = [decision_texts(), vec![("id", integer())]].concat();
    let in_alert = [shown_decision.clone(), vec![("simulated", boolean())]].concat();
    let listed = texts(&["name", "auth_type", "ip_address", "version", "created_at"]);
    let bouncer = [listed.clone(), texts(&["type", "last_pull"])].concat();
    let machine = [listed, texts(&["last_push", "last_heartbeat"]), vec![("validated", boolean())]].concat();
    let changes = list(reference("Decision"));
    let named = [
        ("Error", object(&[("message", text())], &[("code", integer()), ("errors", text())])),
        ("Health", object(&[("status", text())], &[])),
        ("Deleted", object(&[("nbDeleted", text())], &[])),
        ("Registration", object(&texts(&["machine_id", "password"]), &texts(&["registration_token"]))),
        (
            "Login",
            object(&[], &[texts(&["machine_id", "password"]), vec![("scenarios", list(text()))]].concat()),
        ),
        ("Token", object(&[("code", integer()), ("expire", text()), ("token", text())], &[])),
        ("Source", source()),
        ("Alert", shown_alert()),
        ("PostedAlert", posted_alert()),
        ("Decision", object(&shown_decision, &[("uuid", text())])),
        ("AlertDecision", object(&in_alert, &[])),
        ("PostedDecision", object(&decision_texts(), &[("simulated", boolean())])),
        ("Changes", object(&[("new", changes.clone()), ("deleted", changes)], &[])),
        ("UsageMetrics", usage_metrics()),
        ("Allowlist", allowlist()),
        ("NewAllowlist", object(&texts(&["name"]), &texts(&["description"]))),
        ("NewItems", object(&[("items", list(new_item))], &[])),
        ("AddedItems", object(&[("added", list(text())), ("known", list(text()))], &[])),
        ("CheckAnswer", object(&[], &[("allowlisted", boolean()), ("reason", text())])),
        ("BulkCheck", object(&[("targets", list(text()))], &[])),
        ("BulkCheckAnswer", object(&[("results", list(checked))], &[])),
        ("ListedBouncer", object(&bouncer, &[("auto_created", boolean())])),
        ("NewBouncer", object(&texts(&["name"]), &texts(&["key"]))),
        ("MadeBouncer", object(&texts(&["name", "key"]), &[])),
        ("ListedMachine", object(&machine, &[])),
        ("NewMachine", object(&texts(&["name"]), &texts(&["password"]))),
        ("MadeMachine", object(&texts(&["name", "password"]), &[])),
    ];
    named.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// What a parameter means, and its schema.
pub(crate) fn parameter(name: &str) -> (&'static str, Value) {
    let described = match name {
        "scope" => "The scope is this, or one of these; ip, range, country and as in any case",
        "scopes" => "The scope is one of these, separated by commas",
        "value" => "The value has exactly this text; may be given several times where items are deleted",
        "type" => "The type is this",
        "types" => "The type is one of these, separated by commas; * for all. By default ban and captcha",
        "origin" => "The origin is this",
        "origins" => "The origin is one of these, separated by commas",
        "scenario" => "The scenario is this",
        "scenarios_containing" => {
            "The scenario contains one of these words, separated by commas, in any case"
        }
        "scenarios_not_containing" => "The scenario contains none of these words",
        "ip" => "About this address",
        "range" => "About this range, in CIDR notation",
        "contains" => "With ip or range: true for what covers it, false for what lies inside it",
        "simulated" => {
            "Decisions: anything but false for simulated ones, too. Alerts: false for none of these"
        }
        "limit" => "At most so many; alerts: 100 by default, 0 for all",
        "offset" => "Passes over so many",
        "id_gt" => "Only larger numbers",
        "startup" => "true for everything in force instead of what has changed",
        "dedup" => "false for every decision, not only those that end last",
        "since" => "A duration ago: alerts that began after it. Events: the cursor that was reached",
        "until" => "A duration ago: alerts that began before it",
        "created_before" => "A duration ago: alerts that were stored before it",
        "decision_type" => "The type of one of its decisions",
        "include_capi" => "false for no alerts about lists of others",
        "has_active_decision" => "true: a decision is in force; false: there never was one",
        "kind" => "The kind is this",
        "sort" => "ASC for the oldest first",
        "with_decisions" => "false to leave decisions out",
        "with_content" => "true for the items, too",
        "uuid" => "The identity is this",
        _ => "",
    };
    let schema = match name {
        "limit" | "offset" | "id_gt" => integer(),
        "contains" | "dedup" | "startup" | "with_decisions" | "with_content" | "has_active_decision" => {
            boolean()
        }
        _ => text(),
    };
    (described, schema)
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use testudo_wire::decision::{AlertDecision, Decision, PostedDecision};
    use testudo_wire::stream::StreamBody;
    use testudo_wire::{Alert, ApiError, Deleted, PostedAlert, admin, alert, allowlist, metrics, watcher};

    use super::*;

    /// Every field that a value is written with is described, and every field that has to be there is.
    fn agrees<T: Serialize>(name: &str, value: &T) {
        let value = serde_json::to_value(value).expect("JSON");
        let schema = &all()[name];
        for key in value.as_object().expect("an object").keys() {
            assert!(schema["properties"].get(key).is_some(), "{name}.{key} is not described");
        }
        for required in schema["required"].as_array().expect("a list") {
            let required = required.as_str().expect("a name");
            assert!(value.get(required).is_some(), "{name}.{required} need not be there");
        }
    }

    #[test]
    fn schemas_are_those_of_the_types() {
        agrees("Error", &ApiError { code: Some(401), ..ApiError::default() });
        agrees("Deleted", &Deleted::new(3));
        agrees("Registration", &watcher::Registration::default());
        agrees("Login", &watcher::Login { machine_id: Some(String::new()), ..Default::default() });
        agrees("Token", &watcher::Token::default());
        agrees("Alert", &Alert { kind: "x".into(), uuid: "x".into(), remediation: true, ..Alert::default() });
        agrees("Source", &alert::Source { ip: "x".into(), latitude: 1.0, ..alert::Source::default() });
        let posted = PostedAlert {
            bystanders: vec![testudo_event::Bystanders {
                network: testudo_event::Prefix::parse("192.0.2.0/24").expect("a network"),
                count: 1,
            }],
            uuid: "x".into(),
            ..PostedAlert::default()
        };
        agrees("PostedAlert", &posted);
        agrees("Decision", &Decision { uuid: "x".into(), ..Decision::default() });
        agrees("AlertDecision", &AlertDecision::default());
        agrees("PostedDecision", &PostedDecision { simulated: Some(true), ..PostedDecision::default() });
        agrees("Changes", &StreamBody::default());
        agrees("UsageMetrics", &metrics::UsageMetrics::default());
        agrees("Allowlist", &allowlist::Allowlist { console_managed: true, ..Default::default() });
        agrees("CheckAnswer", &allowlist::CheckAnswer { allowlisted: true, reason: "x".into() });
        agrees("BulkCheck", &allowlist::BulkCheck::default());
        agrees("BulkCheckAnswer", &allowlist::BulkCheckAnswer::default());
        agrees("NewAllowlist", &admin::NewAllowlist { description: "x".into(), ..Default::default() });
        agrees("NewItems", &admin::NewItems::default());
        agrees("AddedItems", &admin::AddedItems::default());
        agrees("ListedBouncer", &admin::ListedBouncer { auto_created: true, ..Default::default() });
        agrees("NewBouncer", &admin::NewBouncer { key: "x".into(), ..Default::default() });
        agrees("MadeBouncer", &admin::MadeBouncer::default());
        agrees("ListedMachine", &admin::ListedMachine::default());
        agrees("NewMachine", &admin::NewMachine { password: "x".into(), ..Default::default() });
        agrees("MadeMachine", &admin::MadeMachine::default());
    }
}
