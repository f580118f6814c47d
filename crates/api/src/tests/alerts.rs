//! What is reported, what is decided about it, and what is shown of it.

use serde_json::{Value, json};
use testudo_event::Prefix;
use testudo_rules::{SourceFile, load_profiles};
use testudo_store::{Allowlist, AllowlistItem};

use super::*;

fn post(api: &Api, batch: &Value) -> Reply {
    api.machine("POST", "/v1/alerts", &batch.to_string())
}

/// The values of the decisions in force.
fn banned(api: &Api) -> Vec<String> {
    let body = api.bouncer("GET", "/v1/decisions").json();
    let text = |item: &Value| item["value"].as_str().expect("a value").to_owned();
    body.as_array().into_iter().flatten().map(text).collect()
}

#[test]
fn profiles_decide_what_an_agent_reports() {
    let api = Api::start();
    post(&api, &report("ip", "192.0.2.10")).is(201, r#"["1"]"#);
    post(&api, &report("Range", "198.51.100.0/24")).is(201, r#"["2"]"#);
    post(&api, &report("username", "root")).is(201, r#"["3"]"#);
    let body = api.bouncer("GET", "/v1/decisions").json();
    let told: Vec<String> = body
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| {
            ["type", "scope", "value", "duration", "origin", "scenario"]
                .map(|key| item[key].as_str().expect(key))
                .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "ban Ip 192.0.2.10 4h0m0s crowdsec demo/ssh-bf",
            "ban Range 198.51.100.0/24 4h0m0s crowdsec demo/ssh-bf"
        ]
    );
    assert_eq!(
        api.service.store().machines().get(MACHINE).and_then(|machine| machine.last_push_ms),
        Some(START)
    );
}

#[test]
fn profiles_can_be_exchanged_and_may_fail() {
    let api = Api::start();
    let profiles = |text: &str| {
        let file = SourceFile { path: "profiles.yaml".into(), text: text.into() };
        Profiles::new(load_profiles(Arc::new(file)).items)
    };
    let decisions = "decisions:\n - type: captcha\n   duration: 1h\n";
    api.service.set_profiles(profiles(&format!(
        "name: p\nfilters:\n - Alert.GetScenario() == 'demo/ssh-bf'\n{decisions}"
    )));
    post(&api, &report("Ip", "192.0.2.10")).is(201, r#"["1"]"#);
    assert_eq!(api.bouncer("GET", "/v1/decisions").json()[0]["type"], "captcha");
    // The alert is kept, and the agent does not send it for ever.
    api.service.set_profiles(profiles(&format!(
        "name: p\nfilters:\n - Alert.Decisions[7].Value == 'x'\n{decisions}"
    )));
    post(&api, &report("Ip", "192.0.2.11")).is(201, r#"["2"]"#);
    assert_eq!(api.machine("GET", "/v1/alerts/2", "").json()["decisions"], Value::Null);
}

#[test]
fn allowlists_win() {
    let api = Api::start();
    let item = |value: &str, expires_ms| AllowlistItem {
        value: value.to_owned(),
        expires_ms,
        ..AllowlistItem::default()
    };
    let list = Allowlist {
        name: "office".to_owned(),
        items: vec![item("192.0.2.0/28", None), item("192.0.2.99", Some(START - 1))],
        ..Allowlist::default()
    };
    api.service.store().add_allowlist(&list, START).expect("stored");
    let batch: Vec<Value> = ["192.0.2.10", "192.0.2.99", "192.0.2.0/24"]
        .iter()
        .map(|value| report(if value.contains('/') { "Range" } else { "Ip" }, value)[0].clone())
        .collect();
    post(&api, &Value::Array(batch)).is(201, r#"["1"]"#);
    assert_eq!(banned(&api), ["192.0.2.99"]);
    // Whoever brings decisions along has asked before.
    api.ban(&["ban 192.0.2.10"]);
    assert_eq!(banned(&api), ["192.0.2.99", "192.0.2.10"]);
}

#[test]
fn an_alert_is_shown_as_clients_know_it() {
    let api = Api::start();
    let mut batch = report("Ip", "192.0.2.10");
    batch[0]["events"] =
        json!([{"timestamp": "2026-11-21T20:49:58Z", "meta": [{"key": "log_type", "value": "<a>"}]}]);
    batch[0]["labels"] = json!(["dropped"]);
    batch[0]["machine_id"] = "spoofed".into();
    batch[0]["id"] = 77.into();
    batch[0]["meta"] = json!([{"key": "target_user", "value": "[\"root\"]"}]);
    post(&api, &batch).is(201, r#"["1"]"#);
    api.pass(2 * SECOND);
    let reply = api.machine("GET", "/v1/alerts/1", "");
    let uuid = reply.json()["uuid"].as_str().expect("an identity").to_owned();
    reply.is(
        200,
        &format!(
            r#"{{"capacity":0,"created_at":"2026-11-21T21:00:00Z","decisions":[{{"duration":"3h59m58s","id":1,"origin":"crowdsec","scenario":"demo/ssh-bf","scope":"Ip","simulated":false,"type":"ban","value":"192.0.2.10"}}],"events":[{{"meta":[{{"key":"log_type","value":"\u003ca\u003e"}}],"timestamp":"2026-11-21 20:49:58 +0000 UTC"}}],"events_count":1,"id":1,"kind":"crowdsec","labels":null,"leakspeed":"0","machine_id":"edge-07","message":"m","meta":[{{"key":"target_user","value":"[\"root\"]"}}],"remediation":true,"scenario":"demo/ssh-bf","scenario_hash":"","scenario_version":"","simulated":false,"source":{{"as_number":"64500","cn":"NL","scope":"Ip","value":"192.0.2.10"}},"start_at":"2026-11-21T21:00:00Z","stop_at":"2026-11-21T21:00:00Z","uuid":"{uuid}"}}"#
        ),
    );
    let list = api.machine("GET", "/v1/alerts", "");
    assert_eq!(list.text(), format!("[{}]", reply.text()));
    assert_eq!(api.machine("GET", "/v1/alerts?with_decisions=false", "").json()[0]["decisions"], Value::Null);
    api.machine("HEAD", "/v1/alerts/1", "").is(200, "");
    api.machine("GET", "/v1/alerts/2", "").is(404, r#"{"message":"object not found"}"#);
    api.machine("GET", "/v1/alerts/x", "").is(400, r#"{"message":"alert_id must be valid integer"}"#);
    api.service.store().machines().delete(MACHINE).expect("deleted");
    assert_eq!(
        api.service.store().alert(1, START).expect("read").map(|stored| stored.alert.machine_id),
        Some(String::new())
    );
}

#[test]
fn ends_count_from_the_overflow() {
    let api = Api::start();
    let mut late = report("Ip", "192.0.2.10");
    late[0]["stop_at"] = "2026-11-21T21:00:00+02:00".into();
    let mut early = report("Ip", "192.0.2.11");
    early[0]["stop_at"] = "2026-12-21T21:00:00Z".into();
    let mut old = report("Ip", "192.0.2.12");
    old[0]["stop_at"] = "2026-11-20T21:00:00Z".into();
    for batch in [late, early, old] {
        assert_eq!(post(&api, &batch).status, 201);
    }
    let body = api.bouncer("GET", "/v1/decisions").json();
    let told: Vec<_> = body
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item["duration"].as_str().expect("a duration"))
        .collect();
    assert_eq!(told, ["2h0m0s", "4h0m0s"]);
    assert!(
        api.machine("GET", "/v1/alerts/3", "").json()["decisions"][0]["duration"]
            .as_str()
            .expect("a text")
            .starts_with("-20h")
    );
}

#[test]
fn one_bad_alert_does_not_hold_up_others() {
    let api = Api::start();
    let good = report("Ip", "192.0.2.10")[0].clone();
    let mut bad = report("Ip", "192.0.2.11")[0].clone();
    bad.as_object_mut().expect("an object").remove("scenario");
    post(&api, &json!([bad, good])).is(201, r#"["1"]"#);
    post(&api, &json!([])).is(201, "[]");
    // Whoever brings decisions along waits for the verdict.
    let mut bad = alert(&[decision("ban 192.0.2.12")])[0].clone();
    bad.as_object_mut().expect("an object").remove("scenario");
    post(&api, &json!([good, bad]))
        .is(400, r#"{"message":"validation failure list:\n1.scenario in body is required"}"#);
    let reply = post(&api, &alert(&[decision("ban 192.0.2.12"), decision("ban 192.0.2.13 4hours")]));
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("0.decisions.1: decision duration '4hours'"), "{}", reply.text());
    assert!(reply.text().contains("unable to parse duration"), "{}", reply.text());
    // A value that is no address is dropped, and an alert that loses all of its decisions so.
    post(&api, &alert(&[decision("ban 192.0.2.300"), decision("ban 192.0.2.14")])).is(201, r#"["2"]"#);
    post(&api, &alert(&[decision("ban 192.0.2.300")])).is(201, "[]");
    assert_eq!(banned(&api), ["192.0.2.10", "192.0.2.14"]);
}

#[test]
fn filters_of_alerts() {
    let api = Api::start();
    post(&api, &report("Ip", "192.0.2.10"));
    api.pass(HOUR);
    api.ban(&["ban 198.51.100.7 1h lists firehol"]);
    api.ban(&["captcha 203.0.113.0/24"]);
    post(&api, &report("username", "root"));
    let check = |parameters: &str, expected: &[i64]| {
        let reply = api.machine("GET", &format!("/v1/alerts?{parameters}"), "");
        assert_eq!(reply.status, 200, "{parameters}: {}", reply.text());
        let body = reply.json();
        let ids: Vec<_> = body
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item["id"].as_i64().expect("a number"))
            .collect();
        assert_eq!(ids, expected, "{parameters}");
    };
    check("", &[4, 3, 2, 1]);
    check("sort=ASC&limit=2", &[1, 2]);
    check("limit=0", &[4, 3, 2, 1]);
    check("scope=IP&value=192.0.2.10", &[1]);
    check("ip=203.0.113.9", &[3]);
    check("ip=203.0.113.9&contains=false", &[]);
    check("range=203.0.0.0/16&contains=false", &[3]);
    check("decision_type=captcha", &[3]);
    check("origin=lists&include_capi=false", &[2]);
    check("include_capi=false", &[4, 3, 1]);
    check("include_capi=true", &[4, 3, 2, 1]);
    check("has_active_decision=false", &[4]);
    check("has_active_decision=true&include_capi=false", &[3, 1]);
    check("created_before=30m0s", &[1]);
    check("since=30m", &[]);
    check("since=1d", &[4, 3, 2, 1]);
    check("kind=cscli", &[3, 2]);
    check("scenario=firehol", &[2]);
    check("simulated=false", &[4, 3, 2, 1]);
    let refused = |parameters: &str, message: &str| {
        let reply = api.machine("GET", &format!("/v1/alerts?{parameters}"), "");
        let expected = json!({ "message": message }).to_string();
        assert_eq!((reply.status, reply.text()), (400, expected.as_str()), "{parameters}");
    };
    refused("test=test", "filter parameter 'test' is unknown (=test): invalid filter");
    refused("ip=gruueq", "invalid ip address 'gruueq'");
    refused("limit=zz", "bad limit in parameters: [zz]: unable to query");
    refused(
        "has_active_decision=x",
        r#"'x' is not a boolean: strconv.ParseBool: parsing "x": invalid syntax: unable to parse type"#,
    );
    let reply = api.machine("GET", "/v1/alerts?since=soon", "");
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("while parsing duration: "), "{}", reply.text());
    api.machine("GET", "/v1/alerts?value=none", "").is(200, "null");
}

#[test]
fn alerts_are_deleted_by_those_who_may() {
    let range = |text: &str| Prefix::parse(text).expect(text);
    let api = Api::with(Config {
        trusted_proxies: Some(vec![range("127.0.0.0/8")]),
        trusted_ips: vec![range("198.51.100.7/32")],
        ..Config::default()
    });
    for at in 0..4 {
        post(&api, &report("Ip", &format!("192.0.2.{at}")));
    }
    let token = format!("Bearer {}", api.token());
    let delete = |from: &str, path: &str, body: &str| {
        let headers = [("authorization", token.as_str()), ("x-forwarded-for", from)];
        api.ask("DELETE", path, &headers, body.as_bytes())
    };
    assert_eq!(api.stream("startup=true").len(), 4);
    for path in ["/v1/alerts", "/v1/alerts/1"] {
        delete("203.0.113.9", path, "")
            .is(403, r#"{"message":"access forbidden from this IP (203.0.113.9)"}"#);
    }
    delete("198.51.100.7", "/v1/alerts/1", "").is(200, r#"{"nbDeleted":"1"}"#);
    delete("198.51.100.7", "/v1/alerts/1", "").is(404, r#"{"message":"ent: alert not found"}"#);
    delete("::1", "/v1/alerts?value=192.0.2.1&limit=100", "").is(200, r#"{"nbDeleted":"1"}"#);
    assert_eq!(delete("::1", "/v1/alerts", r#"{"value":"192.0.2.9"}"#).status, 400);
    assert_eq!(delete("::1", "/v1/alerts?value=", "").status, 400);
    // What is deleted is lifted, too.
    assert_eq!(api.stream(""), ["-ban 192.0.2.0", "-ban 192.0.2.1"]);
    delete("::1", "/v1/alerts", "").is(200, r#"{"nbDeleted":"2"}"#);
    api.machine("GET", "/v1/alerts", "").is(200, "null");
}
