use std::{fmt::Write as _, net::IpAddr};

use hyper::HeaderMap;
use proptest::prelude::*;
use testudo_event::text::url_part;

use super::*;
use crate::{Keys, Match, Outcome, Peer, Policy, Way};

const POLICY: &str = "
identity: {oidc: true}
mfa: {oidc: {issuer: 'https://login.example.org', client_id: gate}}
hosts: [{names: [named.org], fail: open, identity: {header: X-Remote-User}}, {names: ['*'], fail: open}]
";

const START: u64 = 1_700_000_000_000;

/// Asks everybody from one address, and bans a user.
struct Known;

impl Decisions for Known {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        if address == IpAddr::from([198, 51, 100, 1]) {
            matches.push(decision("mfa"));
        }
    }

    fn find_user(&self, user: &str, matches: &mut Vec<Match>) {
        if user == "mallory" {
            matches.push(decision("ban"));
        }
    }
}

fn decision(kind: &str) -> Match {
    Match {
        kind: kind.into(),
        origin: "local".into(),
        scenario: "s".into(),
        id: 1,
        remaining: Duration::from_hours(1),
    }
}

#[derive(Clone)]
struct Browser {
    address: &'static str,
    headers: HeaderMap,
}

impl Browser {
    fn new() -> Self {
        let headers = [
            ("host", "example.org:8443"),
            ("user-agent", "browser/1"),
            ("accept", "text/html"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", "https://example.org:8443"),
            ("x-forwarded-proto", "https"),
        ];
        let headers = headers.map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        Self { address: "198.51.100.1", headers: headers.into_iter().collect() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a value"));
        self
    }

    fn ask<T>(&self, gate: &Gate, method: &str, then: impl FnOnce(&Visit<'_>) -> T) -> T {
        let mut headers = self.headers.clone();
        headers.insert("x-forwarded-for", HeaderValue::from_static(self.address));
        let policy = gate.policy();
        let visit = Visit::read(Way::Own, Peer::Local, &policy, (method, "/shop?a=1"), &headers);
        then(&visit.expect("it is told"))
    }

    /// From the page up to the provider. Gives the cookie and the query of the address there.
    fn begin(&self, gate: &Gate, millis: u64) -> (String, Vec<(String, String)>) {
        let seed = (millis % 251) as u8;
        let page = self
            .ask(gate, "GET", |visit| gate.page(visit, Some(b""), &Known, Moment::at(millis), random(seed)));
        let text = str::from_utf8(page.body()).expect("text");
        let field = |name: &str| {
            let rest = text.split_once(&format!("name=\"{name}\" value=\"")).map_or("", |(_, rest)| rest);
            rest.split('"').next().unwrap_or_default().replace("&amp;", "&")
        };
        let mut body = format!("challenge={}&target={}", field("challenge"), url_part(&field("target")));
        if !field("user").is_empty() {
            let _ = write!(body, "&user={}", field("user"));
        }
        let sent = self.ask(gate, "POST", |visit| {
            let login =
                gate.begin_login(visit, Some(body.as_bytes()), &Known, Moment::at(millis), random(seed));
            let login = login.expect("it begins");
            gate.send_to_provider(
                visit,
                &login,
                &Ok(Arc::new(description())),
                Moment::at(millis),
                random(seed),
            )
        });
        assert_eq!(sent.status(), StatusCode::SEE_OTHER);
        let url = sent.headers()[LOCATION].to_str().expect("text").to_owned();
        let (start, query) = url.split_once('?').expect("a query");
        assert_eq!(start, "https://login.example.org/auth");
        (cookie(&sent, "__Host-testudo-login"), form::fields(query.as_bytes()).expect("fields"))
    }

    fn back(&self, gate: &Gate, query: &str, millis: u64) -> Result<Returned, Box<Response<Bytes>>> {
        self.ask(gate, "GET", |visit| gate.returned(visit, query, Moment::at(millis), random(5)))
    }
}

fn description() -> Description {
    Description {
        issuer: "https://login.example.org".to_owned(),
        authorization_endpoint: "https://login.example.org/auth".to_owned(),
        token_endpoint: String::new(),
        jwks_uri: String::new(),
        token_endpoint_auth_methods_supported: Vec::new(),
    }
}

fn gate() -> Gate {
    let policy = Policy::from_text("policy.yaml", POLICY).expect("a policy");
    Gate::new(policy, Keys::new(&[[1; 32]]).expect("a key"), Moment::at(START - 1_000))
}

fn random(seed: u8) -> Random {
    Random { challenge: [seed; 16], nonce: [seed; 16] }
}

fn cookie(response: &Response<Bytes>, name: &str) -> String {
    let lines = response.headers().get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.filter_map(|line| line.split(';').next());
    pairs.find(|pair| pair.split('=').next() == Some(name)).unwrap_or_default().to_owned()
}

fn query(fields: &[(String, String)]) -> String {
    format!("code=abc&state={}", form::only(fields, "state").expect("a state"))
}

fn claims(name: &str) -> Result<Claims, String> {
    Ok(Claims { user: User::new(name).expect("a user") })
}

#[test]
fn there_and_back() {
    let (gate, browser) = (gate(), Browser::new());
    let (login, fields) = browser.begin(&gate, START);
    let redirect = form::only(&fields, "redirect_uri");
    assert_eq!(redirect, Some("https://example.org:8443/.well-known/testudo/oidc"));
    let with_login = browser.clone().with("cookie", &login);
    let returned = with_login.back(&gate, &query(&fields), START + 60_000).expect("it is back");
    assert_eq!((returned.code.as_str(), returned.target.as_str()), ("abc", "/shop?a=1"));
    let nonce = form::only(&fields, "nonce").expect("a nonce");
    assert!(returned.expected.once.nonce == nonce && returned.expected.begun == START);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&returned.expected.once.verifier));
    assert_eq!(form::only(&fields, "code_challenge"), Some(challenge.as_str()));
    assert!(!login.contains(nonce), "it is sealed");
    let done = with_login.ask(&gate, "GET", |visit| {
        gate.logged_in(visit, &returned, claims("Alice"), &Known, Moment::at(START + 61_000), random(6))
    });
    assert_eq!(
        (done.status(), done.headers()[LOCATION].as_bytes()),
        (StatusCode::SEE_OTHER, &b"/shop?a=1"[..])
    );
    assert_eq!(cookie(&done, "__Host-testudo-login"), "__Host-testudo-login=", "it is taken away");
    let (user, pass) = (cookie(&done, "__Host-testudo-user"), cookie(&done, "__Host-testudo-mfa"));
    let check = |browser: &Browser, cookies: &str, millis| {
        let browser = browser.clone().with("cookie", cookies);
        browser.ask(&gate, "GET", |visit| gate.check(visit, &Known, Moment::at(millis)).outcome)
    };
    let both = format!("{user}; {pass}");
    assert_eq!(check(&browser, &both, START + 62_000), Outcome::Confirmed);
    assert_eq!(check(&browser, &user, START + 62_000), Outcome::Unconfirmed, "who it is is not enough");
    assert_eq!(check(&browser, &pass, START + 62_000), Outcome::Unconfirmed, "nor a pass of nobody");
    assert_eq!(check(&browser.clone().with("user-agent", "x"), &both, START + 62_000), Outcome::Unconfirmed);
    assert_eq!(
        check(&browser, &both, START + 61_000 + 3_600_000),
        Outcome::Unconfirmed,
        "the decision's end"
    );
}

#[test]
fn only_the_browser_that_began_it_comes_back_and_once() {
    let (gate, browser) = (gate(), Browser::new());
    let (login, fields) = browser.begin(&gate, START);
    let with_login = browser.clone().with("cookie", &login);
    let refused = |browser: &Browser, query: &str, millis| {
        let response = browser.back(&gate, query, millis).expect_err("it is refused");
        assert!(cookie(&response, "__Host-testudo-mfa").is_empty());
    };
    let good = query(&fields);
    refused(&browser, &good, START + 1);
    refused(&Browser { address: "198.51.100.2", ..with_login.clone() }, &good, START + 1);
    refused(&with_login.clone().with("user-agent", "x"), &good, START + 1);
    refused(&with_login.clone().with("host", "other.org"), &good, START + 1);
    refused(&with_login, "code=abc&state=x", START + 1);
    refused(&with_login, "code=abc", START + 1);
    refused(&with_login, &format!("{good}&state=x"), START + 1);
    // Another login of the same browser is another one.
    let (_, others) = browser.begin(&gate, START + 7);
    refused(&with_login, &query(&others), START + 8);
    assert!(with_login.back(&gate, &good, START + 600_000).is_ok());
    refused(&with_login, &good, START + 1);
}

#[test]
fn what_a_login_does_not_survive() {
    let browser = Browser::new();
    for (more, after) in [("", 600_001), ("&iss=https%3A%2F%2Fevil.org", 1), ("&code=x", 1)] {
        let gate = gate();
        let (login, fields) = browser.begin(&gate, START);
        let with_login = browser.clone().with("cookie", &login);
        let query = format!("{}{more}", query(&fields));
        let response = with_login.back(&gate, &query, START + after).expect_err(more);
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{more}: it is asked once more");
        if after == 1 {
            assert!(with_login.back(&gate, &self::query(&fields), START + 2).is_err(), "{more}: and used up");
        }
    }
    let gate = gate();
    let (login, fields) = browser.begin(&gate, START);
    let with_login = browser.with("cookie", &login);
    let state = form::only(&fields, "state").expect("a state");
    let response =
        with_login.back(&gate, &format!("error=access_denied&state={state}"), START + 1).expect_err("no");
    assert!(str::from_utf8(response.body()).expect("text").contains("That did not work"));
}

#[test]
fn another_user_is_not_the_one_who_was_asked_for() {
    let (gate, browser) = (gate(), Browser::new().with("host", "named.org").with("x-remote-user", "alice"));
    let (login, fields) = browser.begin(&gate, START);
    assert_eq!(form::only(&fields, "login_hint"), Some("alice"));
    let with_login = browser.with("cookie", &login);
    let returned = with_login.back(&gate, &query(&fields), START + 1).expect("it is back");
    let answer = |claims| {
        with_login.ask(&gate, "GET", |visit| {
            gate.logged_in(visit, &returned, claims, &Known, Moment::at(START + 2), random(6))
        })
    };
    for claims in [claims("bob"), Err("no token".to_owned())] {
        let response = answer(claims);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(cookie(&response, "__Host-testudo-mfa").is_empty());
    }
    let response = answer(claims("ALICE"));
    assert!(!cookie(&response, "__Host-testudo-mfa").is_empty());
    assert!(cookie(&response, "__Host-testudo-user").is_empty(), "others say who it is here");
}

#[test]
fn a_ban_of_the_user_who_comes_back_holds() {
    let (gate, browser) = (gate(), Browser::new());
    let (login, fields) = browser.begin(&gate, START);
    let with_login = browser.with("cookie", &login);
    let returned = with_login.back(&gate, &query(&fields), START + 1).expect("it is back");
    let response = with_login.ask(&gate, "GET", |visit| {
        gate.logged_in(visit, &returned, claims("Mallory"), &Known, Moment::at(START + 2), random(6))
    });
    assert!(str::from_utf8(response.body()).expect("text").contains("Access refused"));
    assert!(cookie(&response, "__Host-testudo-mfa").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is sent, nobody comes back from a login that was not begun.
    #[test]
    fn no_login_is_forged(value in "[ -~&&[^;,\"\\\\]]{0,120}", query in "[ -~]{0,80}", body in "[ -~]{0,200}") {
        let (gate, browser) = (gate(), Browser::new());
        let with = browser.with("cookie", &format!("__Host-testudo-login={value}; __Host-testudo-user={value}"));
        prop_assert!(with.back(&gate, &query, START).is_err());
        let begun = with.ask(&gate, "POST", |visit| gate.begin_login(visit, Some(body.as_bytes()), &Known, Moment::at(START), random(1)).is_ok());
        prop_assert!(!begun);
        let user = with.ask(&gate, "GET", |visit| gate.check(visit, &Known, Moment::at(START)).user);
        prop_assert_eq!(user, None);
    }
}
