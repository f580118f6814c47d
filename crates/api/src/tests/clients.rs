//! Machines and bouncers: how they register, log in, and are told apart.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request as HyperRequest;
use testudo_event::Prefix;

use super::*;
use crate::config::AutoRegistration;
use crate::request::{Origin, PeerCertificate};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn range(text: &str) -> Prefix {
    Prefix::parse(text).expect(text)
}

fn behind_a_proxy(config: Config) -> Api {
    Api::with(Config { trusted_proxies: Some(vec![range("127.0.0.0/8")]), ..config })
}

#[test]
fn registration() {
    let api = behind_a_proxy(Config {
        auto_registration: Some(AutoRegistration {
            token: TOKEN.into(),
            ranges: vec![range("198.51.100.0/24")],
        }),
        ..Config::default()
    });
    let check = |from: &str, body: &str, status: u16, answer: &str| {
        let reply = api.ask("POST", "/v1/watchers", &[("x-forwarded-for", from)], body.as_bytes());
        assert_eq!((reply.status, reply.text()), (status, answer), "{body}");
    };
    let with_token = |name: &str, token: &str| {
        format!(r#"{{"machine_id":"{name}","password":"p","registration_token":"{token}"}}"#)
    };
    check("192.0.2.1", r#"{"machine_id":"a","password":"p"}"#, 201, "");
    check(
        "192.0.2.1",
        r#"{"machine_id":"a","password":"p"}"#,
        403,
        r#"{"message":"user 'a': user already exist"}"#,
    );
    check("198.51.100.7", &with_token("b", TOKEN), 202, "");
    check(
        "192.0.2.1",
        &with_token("c", TOKEN),
        401,
        r#"{"message":"IP not in allowed range for auto registration"}"#,
    );
    check(
        "198.51.100.7",
        &with_token("c", &TOKEN.replace('0', "1")),
        401,
        r#"{"message":"invalid token for auto registration"}"#,
    );
    check("192.0.2.1", "", 400, r#"{"message":"EOF"}"#);
    check(
        "192.0.2.1",
        "{}",
        422,
        r#"{"message":"validation failure list:\nmachine_id in body is required\npassword in body is required"}"#,
    );
    let long = format!(r#"{{"machine_id":"d","password":"{}"}}"#, "x".repeat(73));
    check("192.0.2.1", &long, 400, r#"{"message":"hashing the password of 'd': unable to hash"}"#);
    let validated = |name: &str| api.service.store().machines().get(name).map(|machine| machine.validated);
    assert_eq!([validated("a"), validated("b"), validated("c")], [Some(false), Some(true), None]);
}

#[test]
fn registration_from_afar_can_be_forbidden() {
    let api = behind_a_proxy(Config { local_registration_only: true, ..Config::default() });
    let body = br#"{"machine_id":"a","password":"p"}"#;
    let from = |from: &str| api.ask("POST", "/v1/watchers", &[("x-forwarded-for", from)], body);
    from("192.0.2.1").is(403, r#"{"message":"access forbidden"}"#);
    from("::1").is(201, "");
}

#[test]
fn login() {
    let api = Api::start();
    let register = |name: &str| {
        let body = format!(r#"{{"machine_id":"{name}","password":"a secret"}}"#);
        api.ask("POST", "/v1/watchers", &[], body.as_bytes()).is(201, "");
    };
    register("new");
    register("known");
    let machines = api.service.store().machines();
    machines.update("known", |machine| machine.validated = true).expect("changed");
    let login = |body: &str| {
        let agent = ("user-agent", "crowdsec/v1.7.8-linux");
        api.ask("POST", "/v1/watchers/login", &[agent], body.as_bytes())
    };
    let check = |body: &str, message: &str| {
        let expected = serde_json::json!({"code": 401, "message": message}).to_string();
        login(body).is(401, &expected);
    };
    check(r#"{"machine_id":"new","password":"a secret"}"#, "machine new not validated");
    check(r#"{"machine_id":"new","password":"wrong"}"#, "incorrect Username or Password");
    check(r#"{"machine_id":"none","password":"wrong"}"#, "incorrect Username or Password");
    check(r#"{"machine_id":"none","password":""}"#, "incorrect Username or Password");
    check(r#"{"machine_id":"known"}"#, "validation failure list:\npassword in body is required");
    check("", "missing: EOF");
    let reply = login(r#"{"machine_id":"known","password":"a secret","scenarios":["a/b","c/d"]}"#);
    let answer = reply.json();
    assert_eq!((reply.status, &answer["code"]), (200, &serde_json::json!(200)));
    assert_eq!(answer["expire"], "2026-11-21T22:00:00Z");
    let known = machines.get("known").expect("it is there");
    assert_eq!(
        (known.scenarios.as_str(), known.version.as_str(), known.ip.as_str()),
        ("a/b,c/d", "v1.7.8-linux", "127.0.0.1")
    );
    let bearer = format!("Bearer {}", answer["token"].as_str().expect("a token"));
    let refresh = || api.ask("GET", "/v1/refresh_token", &[("authorization", &bearer)], b"");
    api.pass(HOUR - SECOND);
    let second = refresh().json();
    assert_eq!(second["expire"], "2026-11-21T22:59:59Z");
    api.pass(SECOND);
    refresh().is(401, r#"{"code":401,"message":"Token is expired"}"#);
}

/// A command adds or accepts a client in the database, and the client comes at once.
#[test]
fn who_was_added_a_moment_ago_is_let_in() {
    let api = Api::start();
    let location = Location::Sqlite { path: api.folder.path().join("api.db"), wal: true };
    let options = StoreOptions { location, keep_ms: 24 * HOUR, prepare: prepare_label };
    let command = Store::open(options, START).expect("it opens");
    let asks = |method: &str, key: &str| api.ask(method, "/v1/decisions", &[("X-Api-Key", key)], b"").status;
    let add = |name: &str| {
        let bouncer = Bouncer {
            name: name.to_owned(),
            key_hash: hash_key(name),
            auth_type: "api-key".to_owned(),
            ..Bouncer::default()
        };
        command.bouncers().insert(bouncer).expect("a bouncer");
    };
    add("one");
    assert_eq!(asks("GET", "one"), 200);
    assert_eq!(asks("GET", "one"), 200);
    api.pass(SECOND);
    add("two");
    assert_eq!(asks("HEAD", "two"), 200);
    api.pass(SECOND);
    assert_eq!(asks("GET", "nobody"), 403);
    add("three");
    assert_eq!(asks("GET", "three"), 403, "guesses get few looks");
    api.pass(SECOND);
    assert_eq!(asks("GET", "three"), 200);

    let credentials = r#"{"machine_id":"new","password":"a long password"}"#;
    let login = || api.ask("POST", "/v1/watchers/login", &[], credentials.as_bytes()).status;
    assert_eq!(api.ask("POST", "/v1/watchers", &[], credentials.as_bytes()).status, 201);
    assert_eq!(login(), 401);
    command.follow(START).expect("it follows");
    command.machines().update("new", |machine| machine.validated = true).expect("accepted");
    assert_eq!(login(), 200);
}

#[test]
fn each_address_of_a_key_has_a_row() {
    let api = behind_a_proxy(Config::default());
    let from = |address: &str, method: &str| {
        let headers = [
            ("x-api-key", KEY),
            ("x-forwarded-for", address),
            ("user-agent", "crowdsec-firewall-bouncer/v0.0.34"),
        ];
        assert_eq!(api.ask(method, "/v1/decisions", &headers, b"").status, 200);
    };
    let rows = || -> Vec<String> {
        let rows = api.service.store().bouncers().list();
        rows.iter().map(|row| format!("{} {} {} {}", row.name, row.ip, row.kind, row.auto_created)).collect()
    };
    from("192.0.2.1", "HEAD");
    assert_eq!(rows(), ["fw   false"]);
    from("192.0.2.1", "GET");
    assert_eq!(rows(), ["fw 192.0.2.1 crowdsec-firewall-bouncer false"]);
    for _ in 0..2 {
        from("192.0.2.2", "GET");
    }
    from("2001:db8::1", "GET");
    assert_eq!(
        rows(),
        [
            "fw 192.0.2.1 crowdsec-firewall-bouncer false",
            "fw@192.0.2.2 192.0.2.2 crowdsec-firewall-bouncer true",
            "fw@2001:db8::1 2001:db8::1 crowdsec-firewall-bouncer true",
        ]
    );
    // An address that nobody vouches for changes nothing.
    let api = Api::start();
    for _ in 0..2 {
        let headers = [("x-api-key", KEY), ("x-forwarded-for", "192.0.2.9")];
        assert_eq!(api.ask("GET", "/v1/decisions", &headers, b"").status, 200);
    }
    let rows = api.service.store().bouncers().list();
    assert_eq!(rows.iter().map(|row| row.ip.as_str()).collect::<Vec<_>>(), ["127.0.0.1"]);
}

#[test]
fn each_row_has_its_own_position() {
    let api = behind_a_proxy(Config::default());
    let poll = |address: &str, parameters: &str| {
        let path = format!("/v1/decisions/stream?{parameters}");
        let reply = api.ask("GET", &path, &[("x-api-key", KEY), ("x-forwarded-for", address)], b"");
        reply.json()["new"].as_array().map(Vec::len)
    };
    api.ban(&["ban 192.0.2.66"]);
    assert_eq!(poll("198.51.100.1", "startup=true"), Some(1));
    assert_eq!(poll("198.51.100.1", ""), Some(0));
    // Never seen before: a delta is answered as a start.
    assert_eq!(poll("198.51.100.2", ""), Some(1));
    assert_eq!(poll("198.51.100.2", ""), Some(0));
}

#[test]
fn certificates() {
    let config = Config {
        agents_allowed_ou: vec!["agents".to_owned()],
        bouncers_allowed_ou: vec!["bouncers".to_owned()],
        ..Config::default()
    };
    let api = Api::with(config);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ask = |method: &str, path: &str, unit: &str, body: &'static str| {
        let certificate =
            PeerCertificate { common_name: "node".into(), organizational_units: vec![unit.into()] };
        let origin = Origin {
            certificate: Some(Arc::new(certificate)),
            ..Origin::tcp("192.0.2.1".parse().expect("an address"))
        };
        let request = HyperRequest::builder().method(method).uri(path).header("x-api-key", KEY);
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        runtime.block_on(async {
            let answer = api.service.answer(request, origin).await;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
        })
    };
    let (status, body) = ask("GET", "/v1/decisions", "bouncers", "");
    assert_eq!((status, body.as_str()), (200, "null"));
    let row = api.service.store().bouncers().get("node@192.0.2.1").expect("it was made");
    assert_eq!((row.auth_type.as_str(), row.auto_created), ("tls", true));
    // The key does not count where there is a certificate.
    assert_eq!(ask("GET", "/v1/decisions", "agents", "").0, 403);
    let (status, body) = ask("POST", "/v1/watchers/login", "agents", r#"{"scenarios":["a/b"]}"#);
    assert_eq!(status, 200, "{body}");
    let machine = api.service.store().machines().get("node@192.0.2.1").expect("it was made");
    assert_eq!((machine.auth_type.as_str(), machine.validated), ("tls", true));
    let (status, body) = ask("POST", "/v1/watchers/login", "x", r#"{"scenarios":[]}"#);
    assert_eq!(status, 401);
    assert!(body.contains("client certificate OU [x] doesn't match expected OU [agents]"), "{body}");
    let (_, body) = ask("POST", "/v1/watchers/login", "agents", "");
    assert!(body.contains("missing scenarios list in login request for TLS auth: EOF"), "{body}");
    let by_password = br#"{"machine_id":"node@192.0.2.1","password":"x"}"#;
    let reply = api.ask("POST", "/v1/watchers/login", &[], by_password);
    assert!(reply.text().contains("attempted to auth with password but it is configured to use tls"));
}

#[test]
fn configurations_are_checked() {
    let auto = |token: &str, ranges: Vec<Prefix>| Config {
        auto_registration: Some(AutoRegistration { token: token.into(), ranges }),
        ..Config::default()
    };
    let check = |config: Config, message: &str| {
        let text = config.check().map_or_else(|error| error.to_string(), |()| String::new());
        assert!(text.contains(message) && text.is_empty() == message.is_empty(), "{text}");
    };
    check(Config::default(), "");
    check(auto("short", vec![range("::/0")]), "fewer than 32 characters");
    check(auto(TOKEN, Vec::new()), "needs the ranges");
    check(auto(TOKEN, vec![range("::/0")]), "");
    check(Config { agents_allowed_ou: vec![String::new()], ..Config::default() }, "empty string");
    check(Config { token_secret: Some(vec![0; 63]), ..Config::default() }, "not strong enough");
    check(Config { token_secret: Some(vec![0; 64]), ..Config::default() }, "");
}
