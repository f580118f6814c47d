//! Administration over HTTP, and the description of the API against the API.

use std::collections::BTreeMap;

use testudo_event::Prefix;

use super::*;

#[test]
fn allowlists_are_changed() {
    let api = Api::start();
    let check = |method: &str, path: &str, body: &str, status: u16, answer: &str| {
        let reply = api.machine(method, &format!("/v1/allowlists{path}"), body);
        assert_eq!((reply.status, reply.text()), (status, answer), "{method} {path} {body}");
    };
    let exists = r#"{"message":"allowlist 'office' already exists"}"#;
    check("POST", "", r#"{"name":"office","description":"vpn"}"#, 201, "");
    check("POST", "", r#"{"name":"office"}"#, 409, exists);
    let missing = r#"{"message":"validation failure list:\nname in body is required"}"#;
    check("POST", "", "{}", 422, missing);
    for name in ["check", "testudo-protected"] {
        let refused = format!(r#"{{"message":"an allowlist cannot be named '{name}'"}}"#);
        check("POST", "", &format!(r#"{{"name":"{name}"}}"#), 400, &refused);
    }
    // What is allowed now is no longer banned.
    api.ban(&["ban 192.0.2.1", "ban 192.0.2.200"]);
    let items = r#"{"items":[{"value":"192.0.2.0/28","description":"exits"},{"value":"10.0.0.1","expiration":"7d"},{"value":"10.0.0.1"}]}"#;
    check(
        "POST",
        "/office/items",
        items,
        201,
        r#"{"added":["192.0.2.0/28","10.0.0.1"],"known":["10.0.0.1"]}"#,
    );
    check(
        "POST",
        "/office/items",
        items,
        201,
        r#"{"added":[],"known":["192.0.2.0/28","10.0.0.1","10.0.0.1"]}"#,
    );
    assert_eq!(api.stream("startup=true"), ["+ban 192.0.2.200", "-ban 192.0.2.1"]);
    let list = api.machine("GET", "/v1/allowlists/office?with_content=true", "").json();
    assert_eq!(list["items"][1]["expiration"], "2026-11-28T21:00:00.000Z");
    // One that is bad spoils all.
    let bad = r#"{"items":[{"value":"10.0.0.2"},{"value":"nobody"}]}"#;
    check("POST", "/office/items", bad, 400, r#"{"message":"items.1: invalid ip address 'nobody'"}"#);
    let bad = r#"{"items":[{"value":"10.0.0.2","expiration":"soon"}]}"#;
    assert_eq!(api.machine("POST", "/v1/allowlists/office/items", bad).status, 400);
    check("GET", "/check/10.0.0.2", "", 200, "{}");
    check("POST", "/nowhere/items", items, 404, r#"{"message":"allowlist 'nowhere' not found"}"#);
    check("DELETE", "/office/items?value=10.0.0.1&value=10.0.0.9", "", 200, r#"{"nbDeleted":"1"}"#);
    assert_eq!(api.machine("DELETE", "/v1/allowlists/office/items", "").status, 400);
    assert_eq!(api.machine("DELETE", "/v1/allowlists/office/items?values=x", "").status, 400);
    check("DELETE", "/office", "", 200, r#"{"nbDeleted":"1"}"#);
    check("DELETE", "/office", "", 404, r#"{"message":"allowlist 'office' not found"}"#);
    // Those that others manage stay as they are.
    let protected = vec![(Prefix::parse("192.0.2.9/32").expect("an address"), "ours".to_owned())];
    api.service.set_protected(protected).expect("protected");
    let console = testudo_store::Allowlist { name: "hq".into(), from_console: true, ..Default::default() };
    api.service.store().add_allowlist(&console, START).expect("stored");
    for name in ["testudo-protected", "hq"] {
        for (method, path) in [("DELETE", ""), ("DELETE", "/items?value=192.0.2.9"), ("POST", "/items")] {
            let reply = api.machine(method, &format!("/v1/allowlists/{name}{path}"), items);
            assert_eq!(reply.status, 403, "{method} {name}{path}");
        }
    }
}

#[test]
fn clients_are_made_and_deleted() {
    let api = Api::start();
    let made = api.machine("POST", "/v1/testudo/bouncers", r#"{"name":"fw2"}"#);
    let made = (made.status, made.json());
    assert_eq!((made.0, &made.1["name"]), (201, &"fw2".into()));
    let key = made.1["key"].as_str().expect("a key").to_owned();
    let ask = |key: &str| api.ask("GET", "/v1/decisions", &[("x-api-key", key)], b"").status;
    assert_eq!(ask(&key), 200);
    assert_eq!(api.machine("POST", "/v1/testudo/bouncers", r#"{"name":"fw2"}"#).status, 409);
    api.machine("POST", "/v1/testudo/bouncers", r#"{"name":"fw3","key":"k"}"#)
        .is(201, r#"{"name":"fw3","key":"k"}"#);
    let listed = api.machine("GET", "/v1/testudo/bouncers", "");
    let names: Vec<_> =
        listed.json().as_array().expect("a list").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["fw", "fw2", "fw3"]);
    assert!(!listed.text().contains("key_hash") && !listed.text().contains(&hash_key(&key)));
    // The rows of a key go together, from the first on.
    let store = api.service.store();
    let child = Bouncer {
        name: "fw2@192.0.2.1".to_owned(),
        key_hash: hash_key(&key),
        auth_type: "api-key".to_owned(),
        auto_created: true,
        ..Bouncer::default()
    };
    store.bouncers().insert(child).expect("stored");
    let reply = api.machine("DELETE", "/v1/testudo/bouncers/fw2%40192.0.2.1", "");
    assert_eq!(reply.status, 409);
    assert!(reply.text().contains("delete parent bouncer 'fw2' instead"), "{}", reply.text());
    api.machine("DELETE", "/v1/testudo/bouncers/fw2", "").is(200, r#"{"nbDeleted":"2"}"#);
    assert_eq!((ask(&key), ask("k")), (403, 200));
    assert_eq!(api.machine("DELETE", "/v1/testudo/bouncers/fw2", "").status, 404);

    let login = |name: &str, password: &str| {
        let body = serde_json::json!({"machine_id": name, "password": password}).to_string();
        api.ask("POST", "/v1/watchers/login", &[], body.as_bytes()).status
    };
    let made = api.machine("POST", "/v1/testudo/machines", r#"{"name":"edge-08"}"#).json();
    assert_eq!(login("edge-08", made["password"].as_str().expect("a password")), 200);
    assert_eq!(api.machine("POST", "/v1/testudo/machines", r#"{"name":"edge-08"}"#).status, 409);
    let long = format!(r#"{{"name":"edge-09","password":"{}"}}"#, "x".repeat(73));
    assert_eq!(api.machine("POST", "/v1/testudo/machines", &long).status, 400);
    api.ask("POST", "/v1/watchers", &[], br#"{"machine_id":"new","password":"p"}"#).is(201, "");
    assert_eq!(login("new", "p"), 401);
    api.machine("POST", "/v1/testudo/machines/new/validate", "").is(204, "");
    assert_eq!(login("new", "p"), 200);
    let listed = api.machine("GET", "/v1/testudo/machines", "").json();
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    assert!(listed.as_array().expect("a list").iter().all(|row| row["validated"] == true));
    api.machine("DELETE", "/v1/testudo/machines/new", "").is(200, r#"{"nbDeleted":"1"}"#);
    assert_eq!(login("new", "p"), 401);
    assert_eq!(api.machine("POST", "/v1/testudo/machines/new/validate", "").status, 404);
}

#[test]
fn only_from_where_it_is_trusted() {
    let trusted = Prefix::parse("198.51.100.0/24").expect("a network");
    let proxy = Prefix::parse("127.0.0.0/8").expect("a network");
    let api = Api::with(Config {
        trusted_ips: vec![trusted],
        trusted_proxies: Some(vec![proxy]),
        ..Config::default()
    });
    let token = format!("Bearer {}", api.token());
    let asked = [
        ("POST", "/v1/allowlists", r#"{"name":"a"}"#),
        ("POST", "/v1/allowlists/a/items", r#"{"items":[]}"#),
        ("DELETE", "/v1/allowlists/a/items?value=x", ""),
        ("DELETE", "/v1/allowlists/a", ""),
        ("POST", "/v1/testudo/bouncers", r#"{"name":"b"}"#),
        ("GET", "/v1/testudo/bouncers", ""),
        ("DELETE", "/v1/testudo/bouncers/b", ""),
        ("POST", "/v1/testudo/machines", r#"{"name":"m"}"#),
        ("GET", "/v1/testudo/machines", ""),
        ("POST", "/v1/testudo/machines/m/validate", ""),
        ("DELETE", "/v1/testudo/machines/m", ""),
    ];
    for (method, path, body) in asked {
        let from = |address: &str| {
            let headers = [("authorization", token.as_str()), ("x-forwarded-for", address)];
            api.ask(method, path, &headers, body.as_bytes())
        };
        let refused = from("192.0.2.1");
        assert_eq!(refused.status, 403, "{method} {path}");
        assert!(refused.text().contains("(192.0.2.1)"), "{}", refused.text());
        // The last address that no proxy of ours vouches for counts, whatever stands before it.
        assert_eq!(from("198.51.100.7, 192.0.2.1").status, 403, "{method} {path}");
        assert!(from("198.51.100.7").status < 300, "{method} {path}");
        assert_eq!(api.ask(method, path, &[("x-api-key", KEY)], body.as_bytes()).status, 401);
    }
}

#[test]
fn the_description_is_that_of_this_api() {
    let api = Api::start();
    let reply = api.ask("GET", "/openapi.json", &[], b"");
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json; charset=utf-8"));
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut refused: BTreeMap<u16, usize> = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let asked = path.replace(['{', '}'], "");
        for method in ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"] {
            let status = api.ask(method, &asked, &[], b"").status;
            let Some(operation) = operations.get(method.to_lowercase()) else {
                assert_eq!(status, 405, "{method} {path} is answered and not described");
                continue;
            };
            // Without a key or a token, everything says so, and with the status that is described.
            if operation["security"].as_array().is_some_and(Vec::is_empty) {
                assert!(!matches!(status, 403..=405), "{method} {path}: {status}");
            } else {
                assert!(matches!(status, 401 | 403), "{method} {path}: {status}");
                assert!(
                    operation["responses"].get(status.to_string()).is_some(),
                    "{method} {path}: {status}"
                );
            }
            *refused.entry(status).or_default() += 1;
        }
    }
    assert!(refused.len() >= 4, "{refused:?}");
}
