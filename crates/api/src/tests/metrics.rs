//! Usage metrics, counts and allowlists.

use testudo_store::{Allowlist, AllowlistItem};

use super::*;
use crate::counts::Counted;

const BOUNCER: &str = r#"{"type":"crowdsec-firewall-bouncer","version":"v0.0.34","os":{"name":"debian","version":"12"},"feature_flags":["a","b"],"utc_startup_timestamp":1795290000,"metrics":[{"meta":{"window_size_seconds":900,"utc_now_timestamp":1795294800},"items":[{"name":"dropped","unit":"packet","value":48,"labels":{"origin":"CAPI"}}]}]}"#;
const AGENT: &str = r#"{"version":"v1.7.8","os":{"name":"debian","version":"12","family":"linux"},"feature_flags":[],"utc_startup_timestamp":1795290000,"datasources":{"file":2},"hub_items":{"scenarios":[{"name":"demo/ssh-bf","version":"0.3","status":"official"}]},"metrics":[]}"#;

#[test]
fn reports_are_kept() {
    let api = Api::start();
    let token = format!("Bearer {}", api.token());
    let key: &[(&str, &str)] = &[("x-api-key", KEY), ("user-agent", "x/y")];
    let bearer: &[(&str, &str)] = &[("authorization", token.as_str())];
    let bouncer = |items: &str| format!(r#"{{"remediation_components":[{items}],"log_processors":null}}"#);
    let agent = |items: &str| format!(r#"{{"log_processors":[{items}]}}"#);
    let check = |headers: &[(&str, &str)], body: &str, status: u16, message: &str| {
        let reply = api.ask("POST", "/v1/usage-metrics", headers, body.as_bytes());
        let expected = if message.is_empty() {
            String::new()
        } else {
            serde_json::json!({ "message": message }).to_string()
        };
        assert_eq!((reply.status, reply.text()), (status, expected.as_str()), "{body}");
    };
    check(key, &bouncer(BOUNCER), 201, "");
    check(bearer, &agent(AGENT), 201, "");
    check(key, &agent(AGENT), 400, "Missing remediation component data");
    check(bearer, &bouncer(BOUNCER), 400, "Missing log processor data");
    check(
        key,
        &bouncer(&format!("{BOUNCER},{BOUNCER}")),
        400,
        "Payload has more than one remediation component",
    );
    check(bearer, &agent(&format!("{AGENT},{AGENT}")), 400, "Payload has more than one log processor");
    check(
        bearer,
        &agent(&AGENT.replace(r#""datasources":{"file":2},"#, "")),
        422,
        "validation failure list:\nlog_processors.0.datasources in body is required",
    );
    check(&[], "{}", 403, "access forbidden");
    check(&[("user-agent", "crowdsec/crowdsec-js"), ("x-api-key", KEY)], &bouncer(BOUNCER), 201, "");
    assert_eq!(api.ask("POST", "/v1/usage-metrics", &[("user-agent", "crowdsec/v1")], b"{}").status, 401);
    assert_eq!(api.ask("POST", "/v1/usage-metrics", key, br#"{"log_processors":{}}"#).status, 400);
    let reports = api.service.store().metrics(true).expect("read");
    let told: Vec<_> = reports.iter().map(|report| (report.kind.as_str(), report.sender.as_str())).collect();
    assert_eq!(told, [("RC", "fw"), ("LP", MACHINE), ("RC", "fw")]);
    assert!(reports[0].payload.starts_with(r#"{"metrics":[{"#), "{}", reports[0].payload);
    assert!(reports[0].payload.ends_with(r#""type":"crowdsec-firewall-bouncer"}"#), "{}", reports[0].payload);
    assert_eq!(reports[1].payload, r#"{"metrics":[]}"#);
    let row = api.service.store().bouncers().get("fw").expect("it is there");
    assert_eq!((row.os.name.as_str(), row.feature_flags.as_str()), ("debian", "a,b"));
    let machine = api.service.store().machines().get(MACHINE).expect("it is there");
    assert_eq!((machine.datasources.as_str(), machine.version.as_str()), (r#"{"file":2}"#, "v1.7.8"));
}

#[test]
fn allowlists() {
    let api = Api::start();
    api.machine("GET", "/v1/allowlists", "").is(200, "[]");
    let item = |value: &str, description: &str, expires_ms| AllowlistItem {
        value: value.to_owned(),
        description: description.to_owned(),
        expires_ms,
        created_ms: START + 123,
    };
    let add = |name: &str, items: Vec<AllowlistItem>| {
        let list = Allowlist {
            name: name.to_owned(),
            created_ms: START,
            updated_ms: START,
            items,
            ..Allowlist::default()
        };
        api.service.store().add_allowlist(&list, START).expect("stored");
    };
    add("partners", vec![item("192.0.2.10", "", Some(START + HOUR)), item("10.0.0.1", "", Some(START - 1))]);
    add("office", vec![item("192.0.2.0/28", "vpn exits", None)]);
    let check = |path: &str, status: u16, body: &str| {
        let reply = api.machine("GET", &format!("/v1/allowlists{path}"), "");
        assert_eq!((reply.status, reply.text()), (status, body), "{path}");
    };
    check(
        "/partners",
        200,
        r#"{"created_at":"2026-11-21T21:00:00.000Z","items":[],"name":"partners","updated_at":"2026-11-21T21:00:00.000Z"}"#,
    );
    check(
        "/office?with_content=true",
        200,
        r#"{"created_at":"2026-11-21T21:00:00.000Z","items":[{"created_at":"2026-11-21T21:00:00.123Z","description":"vpn exits","expiration":"0001-01-01T00:00:00.000Z","value":"192.0.2.0/28"}],"name":"office","updated_at":"2026-11-21T21:00:00.000Z"}"#,
    );
    check("/none", 404, r#"{"message":"allowlist 'none' not found"}"#);
    let content = api.machine("GET", "/v1/allowlists?with_content=true", "").json();
    assert_eq!(content.as_array().map(Vec::len), Some(2));
    check("/check/10.0.0.1", 200, "{}");
    check(
        "/check/192.0.2.10",
        200,
        r#"{"allowlisted":true,"reason":"192.0.2.0/28 from office (vpn exits), 192.0.2.10 from partners"}"#,
    );
    check(
        "/check/192.0.2.8%2F29",
        200,
        r#"{"allowlisted":true,"reason":"192.0.2.0/28 from office (vpn exits), 192.0.2.10 from partners"}"#,
    );
    check("/check/x", 400, r#"{"message":"invalid ip address 'x'"}"#);
    assert_eq!(api.machine("HEAD", "/v1/allowlists/check/192.0.2.1", "").status, 200);
    assert_eq!(api.machine("HEAD", "/v1/allowlists/check/192.0.2.99", "").status, 204);
    let bulk = |body: &str, status: u16, answer: &str| {
        let reply = api.machine("POST", "/v1/allowlists/check", body);
        assert_eq!((reply.status, reply.text()), (status, answer), "{body}");
    };
    bulk(
        r#"{"targets":["192.0.2.1","198.51.100.0/24"]}"#,
        200,
        r#"{"results":[{"allowlists":["192.0.2.0/28 from office (vpn exits)"],"target":"192.0.2.1"}]}"#,
    );
    bulk(r#"{"targets":["198.51.100.0/24"]}"#, 200, r#"{"results":[]}"#);
    bulk(r#"{"targets":[]}"#, 400, r#"{"message":"targets list cannot be empty"}"#);
    bulk(r#"{"targets":["192.0.2.1","x"]}"#, 400, r#"{"message":"invalid ip address 'x'"}"#);
}

#[test]
fn requests_are_counted() {
    let api = Api::start();
    api.ask("GET", "/health", &[], b"");
    api.ask("GET", "/v1/nowhere", &[], b"");
    api.ask("BREW", "/v1/alerts", &[], b"");
    api.ask("GET", "/v1/decisions", &[], b"");
    api.machine("GET", "/v1/alerts/7", "");
    api.bouncer("GET", "/v1/decisions?ip=192.0.2.1");
    api.ban(&["ban 192.0.2.1"]);
    api.bouncer("GET", "/v1/decisions?ip=192.0.2.1");
    let route = |route, method| Counted::Route { route, method };
    let machine = |route, method| Counted::Machine { machine: MACHINE.to_owned(), route, method };
    let bouncer = || "fw".to_owned();
    assert_eq!(
        api.service.counts(),
        [
            (route("/v1/alerts", "POST"), 1),
            (route("/v1/alerts", "other"), 1),
            (route("/v1/alerts/:alert_id", "GET"), 1),
            (route("/v1/decisions", "GET"), 3),
            (route("invalid-endpoint", "GET"), 1),
            (machine("/v1/alerts", "POST"), 1),
            (machine("/v1/alerts/:alert_id", "GET"), 1),
            (Counted::Bouncer { bouncer: bouncer(), route: "/v1/decisions", method: "GET" }, 2),
            (Counted::Decisions { bouncer: bouncer(), found: false }, 1),
            (Counted::Decisions { bouncer: bouncer(), found: true }, 1),
        ]
    );
}
