//! A stand-in of a provider that answers as it likes, asked over loopback.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use super::*;

/// What it answers to a path: a status and a body. None is no answer at all.
type Answers = Arc<Mutex<HashMap<&'static str, Option<(u16, String)>>>>;

struct StandIn {
    issuer: String,
    answers: Answers,
    /// The paths that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it listens");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let (answers, asked) = (Answers::default(), Arc::new(Mutex::new(Vec::new())));
        let (shared, heard) = (Arc::clone(&answers), Arc::clone(&asked));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let mut first = String::new();
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap_or(0) > 2 {
                    if first.is_empty() {
                        first.clone_from(&line);
                    }
                    line.clear();
                }
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer = shared.lock().expect("answers").get(path.as_str()).cloned();
                heard.lock().expect("paths").push(path);
                let (status, body) = match answer {
                    Some(Some(answer)) => answer,
                    None => (404, String::new()),
                    Some(None) => {
                        // The other end gives up.
                        std::thread::spawn(move || {
                            std::thread::sleep(Duration::from_secs(5));
                            drop(reader);
                        });
                        continue;
                    }
                };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = reader.into_inner().write_all(format!("{head}{body}").as_bytes());
            }
        });
        let stand_in = Self { issuer, answers, asked };
        stand_in.says("/.well-known/openid-configuration", 200, &stand_in.description().to_string());
        stand_in
    }

    fn description(&self) -> serde_json::Value {
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{}/auth", self.issuer),
            "token_endpoint": format!("{}/token", self.issuer),
            "jwks_uri": format!("{}/keys", self.issuer),
        })
    }

    fn says(&self, path: &'static str, status: u16, body: &str) {
        self.answers.lock().expect("answers").insert(path, Some((status, body.to_owned())));
    }

    fn says_nothing(&self, path: &'static str) {
        self.answers.lock().expect("answers").insert(path, None);
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().expect("paths").iter().filter(|asked| *asked == path).count()
    }

    fn policy(&self) -> OidcPolicy {
        OidcPolicy {
            issuer: self.issuer.clone(),
            client_id: "gate".to_owned(),
            secret: None,
            scopes: vec!["openid".to_owned()],
            claim: "sub".to_owned(),
            acr_values: vec!["a b".to_owned(), "c".to_owned()],
            redirect_uri: None,
            timeout: Duration::from_millis(500),
        }
    }
}

fn once() -> Once {
    Once { state: "s".to_owned(), nonce: "n".to_owned(), verifier: "v".to_owned() }
}

#[test]
fn what_a_provider_says_about_itself_is_remembered_for_an_hour() {
    let (provider, caller, directory) = (StandIn::start(), Caller::new(), Directory::default());
    let ask = |millis| directory.description(&caller, &provider.policy(), Moment::at(millis)).map(drop);
    assert_eq!((ask(0), ask(3_599_999)), (Ok(()), Ok(())));
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 1);
    assert_eq!(ask(3_600_000), Ok(()));
    assert_eq!(provider.asked("/.well-known/openid-configuration"), 2);
}

#[test]
fn a_description_that_is_wrong_is_told_and_not_remembered() {
    let (provider, caller, directory) = (StandIn::start(), Caller::new(), Directory::default());
    let path = "/.well-known/openid-configuration";
    let check = |expected: &str| {
        let found = directory.description(&caller, &provider.policy(), Moment::at(0));
        let error = found.expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    let with = |name: &str, value: &str| {
        let mut description = provider.description();
        description[name] = value.into();
        description.to_string()
    };
    for (status, body, expected) in [
        (500, "no\x1b[31m", "answers 500: no[31m"),
        // A way that leads elsewhere is not gone.
        (302, "", "answers 302"),
        (200, "<html>", "describes no provider"),
        (200, "{}", "describes no provider"),
        (200, &*" ".repeat(300_000), "openid-configuration"),
        (200, &*with("issuer", "https://evil.org"), "describes \"https://evil.org\""),
    ] {
        provider.says(path, status, body);
        check(expected);
    }
    provider.says_nothing(path);
    check("timeout");
    assert_eq!(provider.asked("/elsewhere"), 0);
    provider.says(path, 200, &provider.description().to_string());
    assert!(directory.description(&caller, &provider.policy(), Moment::at(0)).is_ok());
}

#[test]
fn a_browser_is_sent_with_everything_that_binds_the_answer() {
    let provider = StandIn::start();
    let description = Description {
        issuer: provider.issuer.clone(),
        authorization_endpoint: "https://login.example.org/auth?tenant=a".to_owned(),
        token_endpoint: String::new(),
        jwks_uri: String::new(),
        token_endpoint_auth_methods_supported: Vec::new(),
    };
    let url = authorization_url(
        &provider.policy(),
        &description,
        &once(),
        "https://example.org/back",
        Some("a&b=c"),
    );
    let (start, query) = url.split_once("?tenant=a&").expect("more of a query");
    assert_eq!(start, "https://login.example.org/auth");
    let fields = crate::form::fields(query.as_bytes()).expect("fields");
    let field = |name: &str| crate::form::only(&fields, name).unwrap_or_default();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "gate"),
        ("redirect_uri", "https://example.org/back"),
        ("state", "s"),
        ("nonce", "n"),
        ("code_challenge_method", "S256"),
        ("prompt", "login"),
        ("max_age", "0"),
        ("acr_values", "a b c"),
        ("login_hint", "a&b=c"),
        // The SHA-256 of the letter v.
        ("code_challenge", "TJRIXgwhrmxBzh3-e2v6zupato5AokdvUCCOUm9QYIA"),
    ] {
        assert_eq!(field(name), value, "{name}");
    }
    assert!(!query.contains("verifier"));
}

#[test]
fn a_code_that_leads_to_no_token_is_nobody() {
    let (provider, caller, directory) = (StandIn::start(), Caller::new(), Directory::default());
    let expected = Expected { once: once(), begun: 0 };
    let check = |millis, part: &str| {
        let place = ("code", "https://example.org/back");
        let found = claims(&caller, &directory, &provider.policy(), place, &expected, Moment::at(millis));
        let error = found.expect_err(part);
        assert!(error.contains(part), "{error}");
    };
    provider.says("/token", 400, r#"{"error":"invalid_grant"}"#);
    check(0, "the token endpoint answers 400: {\"error\":\"invalid_grant\"}");
    provider.says("/token", 200, "{}");
    check(0, "gives no token");
    provider.says_nothing("/token");
    check(0, "timeout");
    provider.says("/token", 200, r#"{"id_token":"nonsense"}"#);
    check(0, "no token");
    // {"alg":"ES256","kid":"a"}
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.e30.AAAA";
    provider.says("/token", 200, &json!({ "id_token": token }).to_string());
    check(0, "/keys answers 404");
    provider.says("/keys", 200, "[]");
    check(0, "has no keys");
    provider.says("/keys", 200, r#"{"keys":[]}"#);
    check(0, "is not signed");
    let asked = provider.asked("/keys");
    // A name that is not known is asked for, but not all the time.
    check(29_000, "is not signed");
    assert_eq!(provider.asked("/keys"), asked);
    check(30_000, "is not signed");
    assert_eq!(provider.asked("/keys"), asked + 1);
}
