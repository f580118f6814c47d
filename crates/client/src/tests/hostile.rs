//! Peers that break off, are silent, send too much, or are something else.

use std::time::Duration;

use testudo_event::Alert;

use super::*;
use crate::error::ClientError;
use crate::settings::Timeouts;

fn key() -> Login {
    Login::Key("a key".to_owned())
}

#[tokio::test]
async fn answers_that_break_off_are_errors() {
    let whole = r#"{"new": [{"duration":"1h","id":1,"origin":"a","scenario":"b","scope":"Ip","type":"ban","value":"192.0.2.1"}], "deleted": []}"#;
    let chunked = |rest: &str| {
        let size = whole.len();
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{whole}\r\n{rest}")
            .into_bytes()
    };
    let short = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{whole}", whole.len() + 1).into_bytes();
    // The JSON is whole in both cases: it is the protocol that tells that there was more to come.
    let answers = vec![chunked("0\r\n\r\n"), chunked(""), short, Vec::new()];
    let (address, _) = peer([answers.clone(), answers].concat()).await;
    let client = client(address, key());
    assert_eq!(client.stream(true, "").await.expect("a stream").new.len(), 1);
    for _ in 0..3 {
        let error = client.stream(true, "").await.expect_err("it broke off");
        assert!(matches!(error, ClientError::Broken { .. }) && error.is_temporary(), "{error}");
    }
    let mut told = 0;
    client.stream_each(true, "", |_, _| told += 1).await.expect("a stream");
    assert_eq!(told, 1);
    for _ in 0..3 {
        let error = client.stream_each(true, "", |_, _| ()).await.expect_err("it broke off");
        assert!(matches!(error, ClientError::Broken { .. }) && error.is_temporary(), "{error}");
    }
}

#[tokio::test]
async fn silence_ends() {
    let slow = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec();
    for (answer, place) in [(Vec::new(), "the answer"), (slow, "the next part of the answer")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
        let address = listener.local_addr().expect("an address");
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(&answer).await.expect("written");
            // Reads until the client gives up.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        let short = Duration::from_millis(200);
        let timeouts = Timeouts { connect: Duration::from_secs(10), answer: short, silence: short };
        let client = Client::new(Settings { timeouts, ..settings(address, key()) }).expect("a client");
        let error = client.decisions("").await.expect_err("it is silent");
        assert!(matches!(&error, ClientError::Timeout { doing, .. } if *doing == place), "{error}");
        silent.await.expect("it has hung up");
    }
}

#[tokio::test]
async fn too_much_is_not_read() {
    let claims = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n[".to_vec();
    let (address, _) = peer(vec![claims]).await;
    let error = client(address, key()).decisions("").await.expect_err("it is too much");
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
    // Of a failure only the beginning is read and shown.
    let page = format!("<html>{}</html>", "x".repeat(1 << 20));
    let (address, _) = peer(vec![answer("502 Bad Gateway", &page)]).await;
    let error = client(address, key()).decisions("").await.expect_err("a failure");
    assert_eq!(error.status(), Some(502));
    assert!(error.to_string().len() < 400, "{error}");
}

#[tokio::test]
async fn others_than_an_api() {
    let redirect = b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
    let cases = [
        (redirect, "API error: http code 301, it is elsewhere: https://elsewhere/"),
        (answer("404 Not Found", ""), "API error: http code 404, no response body"),
        (answer("500 No", r#"{"message":"m","errors":"more"}"#), "API error: m (more)"),
        (answer("500 No", "a page"), "API error: http code 500, response: a page"),
        (answer("403 Forbidden", r#"{"message":"access forbidden"}"#), "API error: access forbidden"),
        (answer("200 OK", "<html>"), "cannot be understood"),
        (answer("200 OK", ""), "cannot be understood: EOF"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "broke off"),
    ];
    for (bytes, expected) in cases {
        let (address, _) = peer(vec![bytes.clone()]).await;
        let error = client(address, key()).decisions("").await.expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        let (address, _) = peer(vec![bytes]).await;
        let error = client(address, key()).stream_each(true, "", |_, _| ()).await.expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let (address, _) = peer(vec![answer("200 OK", "null")]).await;
    assert_eq!(client(address, key()).decisions("").await.expect("none"), []);
}

#[tokio::test]
async fn nobody_there() {
    let address =
        TcpListener::bind("127.0.0.1:0").await.expect("it listens").local_addr().expect("an address");
    let error = client(address, key()).health().await.expect_err("nobody listens any more");
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("check that it runs"), "{text}");
    let settings = Settings::new("/nowhere/api.sock", machine());
    let error = Client::new(settings).expect("a client").heartbeat().await.expect_err("no socket");
    assert!(error.to_string().contains("/nowhere/api.sock"), "{error}");
    assert!(error.is_transport());
}

#[tokio::test]
async fn a_refused_token_is_replaced_twice_at_most() {
    let refused = || answer("401 Unauthorized", r#"{"code":401,"message":"Token is expired"}"#);
    let (address, asked) = peer(vec![token(), refused(), token(), answer("200 OK", "")]).await;
    client(address, machine()).heartbeat().await.expect("the second token is good");
    let beat = ["POST /v1/watchers/login HTTP/1.1", "GET /v1/heartbeat HTTP/1.1"];
    assert_eq!(lines(&asked), [beat, beat].concat());
    assert!(asked.lock().expect("a lock")[1].contains("authorization: Bearer a.b.c"));
    let never = (0..10).flat_map(|_| [token(), refused()]).collect();
    let (address, asked) = peer(never).await;
    let error = client(address, machine()).heartbeat().await.expect_err("it never is");
    assert!(matches!(error, ClientError::Refused { status: 401, .. }), "{error}");
    assert_eq!(lines(&asked), [beat, beat, beat].concat());
}

#[tokio::test]
async fn busy_servers_are_asked_again() {
    let busy = || answer("503 Busy", "");
    let now = || vec![Duration::ZERO; 2];
    let start = |address| {
        let settings =
            Settings { retries: Retries { ask: now(), login: now() }, ..settings(address, machine()) };
        Client::new(settings).expect("a client")
    };
    let (address, asked) = peer(vec![busy(), token(), busy(), busy(), answer("200 OK", "")]).await;
    start(address).heartbeat().await.expect("it is there in the end");
    assert_eq!(lines(&asked).len(), 5);
    let (address, asked) = peer((0..9).map(|_| busy()).collect()).await;
    let error = start(address).heartbeat().await.expect_err("it is never there");
    assert_eq!((error.status(), lines(&asked).len()), (Some(503), 3));
    let (address, asked) = peer(vec![answer("401 No", r#"{"message":"wrong"}"#), token()]).await;
    let error = start(address).login().await.expect_err("a wrong password is not tried again");
    assert_eq!((error.status(), lines(&asked).len()), (Some(401), 1));
}

#[tokio::test]
async fn large_bodies_are_compressed_only_for_those_who_understand() {
    let large = || {
        let alert = Alert { scenario: "x".repeat(10_000), ..Alert::default() };
        [alert]
    };
    let stored = || answer("201 Created", r#"["7"]"#);
    let is_small =
        |asked: &Asked, at: usize| asked.lock().expect("a lock")[at].contains("content-encoding: gzip");
    let knows = || answer("200 OK", r#"{"results":[]}"#);
    let (address, asked) = peer(vec![token(), knows(), stored(), stored()]).await;
    let posting = client(address, machine());
    assert_eq!(posting.post_alerts(&large()).await.expect("stored"), ["7"]);
    assert_eq!(posting.post_alerts(&[Alert::default()]).await.expect("stored"), ["7"]);
    assert_eq!([2, 3].map(|at| is_small(&asked, at)), [true, false]);
    // An old one.
    let (address, asked) = peer(vec![token(), answer("404 No", ""), stored(), stored()]).await;
    let posting = client(address, machine());
    for _ in 0..2 {
        posting.post_alerts(&large()).await.expect("stored");
    }
    assert_eq!([2, 3].map(|at| is_small(&asked, at)), [false, false]);
    // Something on the way does not understand.
    let bad = answer("400 Bad", r#"{"message":"invalid character '\u001f'"}"#);
    let (address, asked) = peer(vec![token(), knows(), bad, stored(), stored()]).await;
    let posting = client(address, machine());
    for _ in 0..2 {
        posting.post_alerts(&large()).await.expect("stored");
    }
    assert_eq!([2, 3, 4].map(|at| is_small(&asked, at)), [true, false, false]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            // Says that it stays, and goes.
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await.expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull").await.expect("written");
        }
    });
    let client = client(address, key());
    for _ in 0..3 {
        assert_eq!(client.decisions("").await.expect("none"), []);
    }
    server.await.expect("it was asked three times");
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "nothing").expect("written");
    let with = |tls: crate::TlsFiles| Client::new(Settings { tls, ..Settings::new("https://a/", key()) });
    for tls in [
        crate::TlsFiles { ca: Some(path.clone()), ..Default::default() },
        crate::TlsFiles { certificate: Some(path.clone()), ..Default::default() },
        crate::TlsFiles { certificate: Some(path.clone()), key: Some(path.clone()), ..Default::default() },
    ] {
        let error = with(tls).err().expect("it is refused");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
    let key = Login::Key("a\nkey".to_owned());
    assert!(Client::new(Settings::new("http://a/", key)).is_err());
}
