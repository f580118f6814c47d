//! The description of the API, OpenAPI 3.1, made of the table of operations.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use testudo_wire::snapshot::MEDIA_TYPE;

use crate::operations::{Access, Content, OPERATIONS, Operation};
use crate::schemas;

/// The document, made once.
pub(crate) fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| describe().to_string().into()).clone()
}

fn describe() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let methods = paths.entry(path(operation)).or_insert_with(|| json!({}));
        methods[operation.verb.name()] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Testudo: local API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What agents, command-line tools and bouncers ask a node. Numbers in `nbDeleted` and ids of posted alerts are texts; lists of alerts and decisions without anything in them are `null`.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    })
}

/// `/v1/alerts/:alert_id` as `/v1/alerts/{alert_id}`.
fn path(operation: &Operation) -> String {
    let parts = operation.route.template().split('/').map(|part| match part.strip_prefix(':') {
        Some(name) => format!("{{{name}}}"),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

fn described(operation: &Operation) -> Value {
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation_id(operation),
        "security": security(operation.access),
        "responses": responses(operation),
    });
    let in_path = operation
        .route
        .template()
        .split('/')
        .filter_map(|part| part.strip_prefix(':'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = operation.query.iter().map(|name| {
        let (description, schema) = schemas::parameter(name);
        json!({"name": name, "in": "query", "description": description, "schema": schema})
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(content) = content(operation.body) {
        described["requestBody"] = json!({"required": true, "content": content});
    }
    described
}

/// `get_v1_alerts_alert_id`.
fn operation_id(operation: &Operation) -> String {
    let path: String = operation.route.template().replace(':', "");
    let words = path.split(['/', '-', '.']).filter(|word| !word.is_empty());
    std::iter::once(operation.verb.name()).chain(words).collect::<Vec<_>>().join("_")
}

fn security(access: Access) -> Value {
    match access {
        Access::Anyone => json!([]),
        Access::Machine | Access::TrustedMachine => json!([{"token": []}]),
        Access::Bouncer => json!([{"key": []}, {"certificate": []}]),
        Access::Either => json!([{"key": []}, {"certificate": []}, {"token": []}]),
    }
}

fn responses(operation: &Operation) -> Value {
    let mut all = Map::new();
    for (status, found) in operation.answers {
        let mut answer = json!({"description": if *status == 304 { "Nothing has changed" } else { "Done" }});
        if let Some(content) = content(*found) {
            answer["content"] = content;
        }
        all.insert(status.to_string(), answer);
    }
    let refusals: &[(&str, &str)] = match operation.access {
        Access::Anyone => &[],
        Access::Machine => &[("401", "There is no good token")],
        Access::TrustedMachine => &[
            ("401", "There is no good token"),
            ("403", "The address is not trusted, or it may not be changed"),
        ],
        Access::Bouncer => &[("403", "There is no good key or certificate")],
        Access::Either => {
            &[("401", "There is no good token"), ("403", "There is no good key or certificate")]
        }
    };
    let error = json!({"application/json": {"schema": reference("Error")}});
    for (status, description) in refusals.iter().chain(&[("default", "It failed, for this reason")]) {
        all.insert((*status).to_owned(), json!({"description": description, "content": error}));
    }
    all.into()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn content(content: Content) -> Option<Value> {
    let json = |schema: Value| Some(json!({"application/json": {"schema": schema}}));
    match content {
        Content::Nothing => None,
        Content::One(name) => json(reference(name)),
        Content::Many(name) => json(json!({"type": "array", "items": reference(name)})),
        Content::ManyOrNull(name) => json(json!({"type": ["array", "null"], "items": reference(name)})),
        Content::Numbers => json(json!({"type": "array", "items": {"type": "string"}})),
        Content::Json => json(json!({"type": "object"})),
        Content::Events => Some(json!({"text/event-stream": {"schema": {"type": "string"}}})),
        Content::Snapshot => {
            Some(json!({MEDIA_TYPE: {"schema": {"type": "string", "contentEncoding": "binary"}}}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_slice(&document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let count: usize = paths.values().map(|methods| methods.as_object().map_or(0, Map::len)).sum();
        assert_eq!(count, OPERATIONS.len());
        let mut ids = Vec::new();
        for operation in OPERATIONS {
            let described = &paths[&path(operation)][operation.verb.name()];
            assert!(described["summary"].is_string(), "{}", path(operation));
            ids.push(described["operationId"].as_str().expect("an id"));
            for parameter in described["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["schema"].is_object(), "{parameter}");
                let is_path = parameter["in"] == "path";
                assert!(is_path || parameter["description"] != "", "{parameter}");
            }
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPERATIONS.len());
        let text = document.to_string();
        let known = document["components"]["schemas"].as_object().expect("schemas");
        let mut used = Vec::new();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().expect("a name");
            assert!(known.contains_key(name), "{name}");
            used.push(name);
        }
        for name in known.keys() {
            assert!(used.contains(&name.as_str()), "{name} is described, and used by nobody");
        }
    }
}
