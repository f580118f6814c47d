//! Bodies that are sent to hurt.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

const TOO_LARGE: &str = r#"{"message":"http: request body too large"}"#;

fn spaces(count: usize, text: &str) -> Vec<u8> {
    let mut body = vec![b' '; count];
    body.extend_from_slice(text.as_bytes());
    body
}

#[test]
fn compressed_bodies() {
    let api = Api::start();
    let token = format!("Bearer {}", api.token());
    let post = |path: &str, encoding: &str, body: &[u8]| {
        let headers = [("authorization", token.as_str()), ("content-encoding", encoding)];
        api.ask("POST", path, &headers, body)
    };
    let batch = report("Ip", "192.0.2.10").to_string();
    post("/v1/alerts", "gzip", &gzip(batch.as_bytes())).is(201, r#"["1"]"#);
    post("/v1/alerts", "identity", batch.as_bytes()).is(201, r#"["2"]"#);
    // Compressed well below the limit, decompressed beyond it.
    let bomb = gzip(&spaces(51 << 20, &batch));
    assert!(bomb.len() < 1 << 20);
    post("/v1/alerts", "gzip", &bomb).is(400, TOO_LARGE);
    let body = r#"{"machine_id":"a","password":"b"}"#;
    let bomb = gzip(&spaces(3 << 20, body));
    post("/v1/watchers", "gzip", &bomb).is(400, TOO_LARGE);
    post("/v1/watchers/login", "gzip", &bomb)
        .is(401, r#"{"code":401,"message":"http: request body too large"}"#);
    post("/v1/watchers", "gzip", &gzip(&spaces(1 << 20, body))).is(201, "");
    assert_eq!(post("/v1/alerts", "gzip", batch.as_bytes()).status, 400);
    assert_eq!(post("/v1/alerts", "gzip", &gzip(batch.as_bytes())[..40]).status, 400);
    assert_eq!(post("/v1/alerts", "br", batch.as_bytes()).status, 400);
}

#[test]
fn bodies_of_other_shapes() {
    let api = Api::start();
    let deep = "[".repeat(1 << 20);
    let nested = format!(r#"[{{"events":{}"#, "[".repeat(100_000));
    for body in [
        "",
        " ",
        "{",
        "nope",
        "{}",
        "[3]",
        r#"[{"capacity":"5"}]"#,
        r#"[{"source":3}]"#,
        &deep,
        &nested,
        "\u{0}",
    ] {
        for path in ["/v1/alerts", "/v1/allowlists/check"] {
            if path.ends_with("check") && body == "{}" {
                continue;
            }
            let reply = api.machine("POST", path, body);
            assert_eq!(reply.status, 400, "{path} {}", body.get(..20).unwrap_or(body));
            assert!(reply.json()["message"].is_string());
        }
        for path in ["/v1/watchers", "/v1/watchers/login"] {
            let status = api.ask("POST", path, &[], body.as_bytes()).status;
            let expected: &[u16] = if path.ends_with("login") { &[401] } else { &[400, 422] };
            assert!(expected.contains(&status), "{path} {status} {}", body.get(..20).unwrap_or(body));
        }
    }
    // What follows the first value is not looked at.
    let batch = report("Ip", "192.0.2.10");
    api.machine("POST", "/v1/alerts", &format!("{batch} rubbish")).is(201, r#"["1"]"#);
}

#[test]
fn the_unknown_are_not_listened_to() {
    let api = Api::start();
    // Nobody waits for a body of those who may not send one.
    let mut stream = TcpStream::connect(api.address).expect("connected");
    let head = "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("written");
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 401");
    // Nor for one that says itself that it is too large.
    let mut stream = TcpStream::connect(api.address).expect("connected");
    let head = "POST /v1/watchers HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("written");
    stream.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 400");
}

#[test]
fn those_who_are_refused_learn_why() {
    let api = Api::start();
    // Each is refused while its body is still on its way; the connection goes on.
    let mut stream = TcpStream::connect(api.address).expect("connected");
    for _ in 0..3 {
        let head = "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("written");
        for _ in 0..3 {
            stream.write_all(&vec![b' '; 100_000]).expect("written");
        }
        let mut reply = Vec::new();
        while !reply.ends_with(b"cookie token is empty\"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            reply.push(byte[0]);
        }
        assert!(reply.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&reply));
    }
    // One that waits to be told to go on is told at once.
    let head = "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("written");
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 401");
}

#[test]
fn odd_paths_and_headers() {
    let api = Api::start();
    for path in [
        "/v1/allowlists/check/%",
        "/v1/allowlists/check/%00",
        "/v1/decisions/9223372036854775808",
        "/v1/alerts/-",
    ] {
        let method = if path.contains("decisions") { "DELETE" } else { "GET" };
        assert_eq!(api.machine(method, path, "").status, 400, "{path}");
    }
    assert_eq!(api.bouncer("GET", "/v1/decisions?ip=%ff%fe&&&=&%zz=1").status, 400);
    assert_eq!(api.bouncer("GET", "/v1/decisions?limit=-1").status, 400);
    assert_eq!(api.bouncer("GET", "/v1/decisions?limit=0").text(), "null");
}

#[test]
fn new_doors_for_strange_guests() {
    let api = Api::start();
    api.machine("POST", "/v1/allowlists", r#"{"name":"office"}"#).is(201, "");
    let deep = format!(r#"{{"items":{}"#, "[".repeat(100_000));
    let bodies = ["", "{", "7", r#"{"items":7}"#, r#"{"items":[7]}"#, r#"{"items":[{}]}"#, &deep];
    for body in bodies {
        assert_eq!(api.machine("POST", "/v1/allowlists/office/items", body).status, 400, "{body:.20}");
    }
    for path in ["/v1/allowlists", "/v1/testudo/bouncers", "/v1/testudo/machines"] {
        for body in ["", "{", "[]", "{}", r#"{"name":7}"#, r#"{"name":null}"#, r#"{"name":"a\u0000b"}"#] {
            let status = api.machine("POST", path, body).status;
            assert!(matches!(status, 400 | 422), "{path} {body}: {status}");
        }
    }
    for path in ["/v1/allowlists/%00/items", "/v1/testudo/machines/%2F", "/v1/testudo/bouncers/%ff"] {
        let method = if path.ends_with("items") { "POST" } else { "DELETE" };
        assert_eq!(api.machine(method, path, "{}").status, 404, "{path}");
    }
    // Ten megabytes of blanks in a few kilobytes are read, and say nothing.
    let token = format!("Bearer {}", api.token());
    let headers = [("authorization", token.as_str()), ("content-encoding", "gzip")];
    let items = gzip(&spaces(10 << 20, r#"{"items":[]}"#));
    assert_eq!(api.ask("POST", "/v1/allowlists/office/items", &headers, &items).status, 201);
    let bomb = gzip(&spaces(51 << 20, r#"{"items":[]}"#));
    api.ask("POST", "/v1/allowlists/office/items", &headers, &bomb).is(400, TOO_LARGE);
    // Tags and positions that are long, or none.
    let long = format!("W/\"{}\"", "x,".repeat(4000));
    for tag in [long.as_str(), ",,,", "W/", "\"", "*"] {
        let headers = [("x-api-key", KEY), ("if-none-match", tag)];
        assert_eq!(api.ask("GET", "/v1/decisions/snapshot", &headers, b"").status, 200);
    }
}
