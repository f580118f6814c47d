//! Paths, methods and what is answered to those who may not ask.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn anyone() {
    let api = Api::start();
    let check = |method: &str, path: &str, status: u16, body: &str| {
        let reply = api.ask(method, path, &[], b"");
        assert_eq!((reply.status, reply.text()), (status, body), "{method} {path}");
        reply
    };
    let health = check("GET", "/health", 200, r#"{"status":"up"}"#);
    assert_eq!(health.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(health.header("cache-control"), "no-cache");
    assert_eq!(health.header("content-length"), "15");
    check("HEAD", "/health", 405, "");
    for path in ["/", "/v1", "/v2/alerts", "/v1/papi", "/v1/alerts/1/2", "/metrics"] {
        check("GET", path, 404, "");
    }
    for (method, path) in [
        ("PUT", "/v1/alerts"),
        ("OPTIONS", "/v1/decisions"),
        ("GET", "/v1/watchers"),
        ("HEAD", "/v1/allowlists/office"),
        ("POST", "/v1/decisions"),
        ("POST", "/v1/heartbeat"),
    ] {
        check(method, path, 405, "");
    }
    let moved = check("GET", "/v1/decisions/?ip=192.0.2.1", 301, "");
    assert_eq!(moved.header("location"), "/v1/decisions?ip=192.0.2.1");
    check("POST", "/v1/alerts/", 307, "");
}

#[test]
fn those_who_may_not() {
    let api = Api::start();
    let token = api.token();
    let refused = |message: &str| format!(r#"{{"code":401,"message":"{message}"}}"#);
    let check = |header: (&str, &str), message: &str| {
        let reply = api.ask("GET", "/v1/alerts", &[header], b"");
        assert_eq!((reply.status, reply.text()), (401, refused(message).as_str()), "{header:?}");
        assert_eq!(reply.header("www-authenticate"), "JWT realm=Crowdsec API local");
    };
    check(("x-none", ""), "cookie token is empty");
    check(("authorization", &format!("bearer {token}")), "cookie token is empty");
    check(("authorization", "Bearer x"), "token contains an invalid number of segments");
    check(("authorization", &format!("Bearer {token}x")), "signature is invalid");
    check(("x-api-key", KEY), "cookie token is empty");
    let good = api.ask("GET", "/v1/alerts", &[("cookie", &format!("a=b; jwt={token}"))], b"");
    good.is(200, "null");
    api.pass(HOUR);
    check(("authorization", &format!("Bearer {token}")), "Token is expired");
    let forbidden = r#"{"message":"access forbidden"}"#;
    for method in ["GET", "HEAD"] {
        for path in ["/v1/decisions", "/v1/decisions/stream?startup=true"] {
            for headers in
                [&[][..], &[("x-api-key", "")], &[("x-api-key", "wrong")], &[("authorization", "Bearer x")]]
            {
                let reply = api.ask(method, path, headers, b"");
                let body = if method == "GET" { forbidden } else { "" };
                assert_eq!((reply.status, reply.text()), (403, body), "{method} {path} {headers:?}");
            }
        }
    }
}

#[test]
fn a_machine_that_is_gone_is_refused_at_once() {
    let api = Api::start();
    let token = format!("Bearer {}", api.token());
    let bearer = [("authorization", token.as_str())];
    api.ask("GET", "/v1/heartbeat", &bearer, b"").is(200, "");
    assert_eq!(
        api.service.store().machines().get(MACHINE).and_then(|machine| machine.last_heartbeat_ms),
        Some(START)
    );
    api.ask("DELETE", "/v1/watchers/self", &bearer, b"").is(204, "");
    assert_eq!(api.ask("GET", "/v1/heartbeat", &bearer, b"").status, 401);
    assert_eq!(api.ask("DELETE", "/v1/watchers/self", &bearer, b"").status, 401);
}

#[test]
fn tokens_survive_a_restart() {
    let api = Api::start();
    let token = api.token();
    let again = open(api.folder.path(), &api.clock, Config::default());
    assert_eq!(again.secret(), api.service.secret());
    assert!(crate::token::verify(again.secret(), &token, START / 1000).is_ok());
}

#[test]
fn a_unix_socket_is_the_machine_itself() {
    let api = Api::start();
    let mut socket = UnixStream::connect(api.folder.path().join("api.sock")).expect("it is there");
    let request = format!(
        "DELETE /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        api.token()
    );
    socket.write_all(request.as_bytes()).expect("written");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("an answer");
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with(r#"{"nbDeleted":"0"}"#), "{reply}");
}

#[test]
fn answers_are_compressed_for_known_agents_only() {
    let api = Api::with(Config { compress_for: vec!["testudo/".to_owned()], ..Config::default() });
    let values: Vec<String> = (0..200).map(|at| format!("ban 192.0.2.{at}")).collect();
    api.ban(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let get = |agent: &str, accept: &str| {
        let headers = [("x-api-key", KEY), ("user-agent", agent), ("accept-encoding", accept)];
        api.ask("GET", "/v1/decisions/stream?startup=true", &headers, b"")
    };
    let plain = get("old-bouncer/v1", "gzip");
    assert_eq!((plain.header("content-encoding"), plain.header("content-type")), ("", "application/json"));
    let packed = get("testudo/1", "br, gzip;q=0.5");
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, plain.text());
    assert!(packed.body.len() * 2 < plain.body.len());
    for accept in ["gzip;q=0", "br", "identity"] {
        assert_eq!(get("testudo/1", accept).header("content-encoding"), "", "{accept}");
    }
}
