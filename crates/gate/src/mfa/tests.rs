//! A user on the way through a gate without sockets and clocks.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{HeaderName, HeaderValue, SET_COOKIE},
};

use proptest::prelude::*;
use testudo_event::text::url_part;

use super::*;
use crate::{Decisions, Gate, Keys, Match, Outcome, Peer, Policy, Random, Visit, Way};

const POLICY: &str = "
contact: abuse@example.org
identity: {header: X-Remote-User}
mfa: {free_guesses: 3}
hosts:
  - {names: [app.org], fail: open, mfa: {method: application}}
  - {names: [pass.org], fail: open, mfa: {unknown: pass}}
  - {names: [captcha.org], fail: open, mfa: {unknown: captcha}}
  - {names: [cookie.org], fail: open, identity: {cookie: session, secret: 0123456789abcdef0123456789abcdef, issuer: app}}
  - {names: [oidc.org], fail: open, identity: {oidc: true}, mfa: {oidc: {issuer: 'https://login.example.org', client_id: gate}}}
  - {names: ['*'], fail: open}
";

/// 1 700 000 000 s: the beginning of a step of 30 s is 20 s before.
const START: u64 = 1_700_000_000_000;

/// Decisions by address and by user.
#[derive(Default)]
struct Known(Vec<(&'static str, &'static str, u64)>);

impl Known {
    fn about(&self, who: &str, matches: &mut Vec<Match>) {
        matches.extend(self.0.iter().filter(|(about, ..)| *about == who).map(|(_, kind, seconds)| Match {
            kind: (*kind).into(),
            origin: "local".into(),
            scenario: "example/odd".into(),
            id: 4_711,
            remaining: Duration::from_secs(*seconds),
        }));
    }
}

impl Decisions for Known {
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>) {
        self.about(&address.to_string(), matches);
    }

    fn find_user(&self, user: &str, matches: &mut Vec<Match>) {
        self.about(user, matches);
    }
}

fn asked() -> Known {
    Known(vec![("alice", "mfa", 3_600)])
}

struct Place {
    gate: Gate,
    secret: [u8; 20],
    recovery: Vec<String>,
    path: std::path::PathBuf,
    _folder: Option<tempfile::TempDir>,
}

fn keys() -> Keys {
    Keys::new(&[[1; 32]]).expect("a key")
}

/// A gate at which nobody is enrolled.
fn plain_gate() -> Gate {
    let policy = Policy::from_text("policy.yaml", POLICY).expect("a policy");
    Gate::new(policy, keys(), Moment::at(START - 3_600_000))
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gate.mfa");
    let text = format!("mfa_file: '{}'\n{POLICY}", path.display());
    let policy = Policy::from_text("policy.yaml", &text).expect("a policy");
    let gate = Gate::new(policy, keys(), Moment::at(START - 3_600_000));
    let enrolment = Vault::enrol(&path, &keys(), ("Alice", "Site"), false, 0).expect("enrolled");
    let vault = Vault::load(&path, &keys()).expect("users");
    let secret = vault.secret(&User::new("alice").expect("a user")).expect("a secret");
    gate.set_users(vault);
    Place { gate, secret, recovery: enrolment.recovery, path, _folder: Some(folder) }
}

/// A browser.
#[derive(Clone)]
struct Browser {
    address: &'static str,
    headers: HeaderMap,
    peer: Peer,
}

fn random(seed: u8) -> Random {
    Random { challenge: [seed; 16], nonce: [seed; 16] }
}

impl Browser {
    fn new() -> Self {
        let browser = Self { address: "198.51.100.1", headers: HeaderMap::new(), peer: Peer::Local };
        browser
            .with("host", "example.org")
            .with("user-agent", "browser/1")
            .with("accept", "text/html,*/*")
            .with("content-type", "application/x-www-form-urlencoded")
            .with("origin", "https://example.org")
            .with("x-forwarded-proto", "https")
            .with("x-remote-user", "Alice")
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a value");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    fn ask<T>(&self, place: &Place, (method, target): (&str, &str), then: impl FnOnce(&Visit<'_>) -> T) -> T {
        let mut headers = self.headers.clone();
        headers.insert("x-forwarded-for", HeaderValue::from_static(self.address));
        let visit = Visit::read(Way::Own, self.peer, &place.gate.policy(), (method, target), &headers);
        then(&visit.expect("it is told"))
    }

    fn check(&self, place: &Place, known: &Known, millis: u64) -> Outcome {
        self.ask(place, ("GET", "/"), |visit| place.gate.check(visit, known, Moment::at(millis)).outcome)
    }

    fn page(
        &self,
        place: &Place,
        known: &Known,
        (method, body): (&str, &str),
        millis: u64,
    ) -> Response<Bytes> {
        self.ask(place, (method, "/shop?a=1"), |visit| {
            let seed = (millis / 1_000 % 251) as u8;
            place.gate.page(visit, Some(body.as_bytes()), known, Moment::at(millis), random(seed))
        })
    }

    /// Sends a code with the fields of a page.
    fn send(
        &self,
        place: &Place,
        known: &Known,
        page: &Response<Bytes>,
        code: &str,
        millis: u64,
    ) -> Response<Bytes> {
        let mut body = format!("code={}", url_part(code));
        for name in ["challenge", "target", "user", "form"] {
            if let Some(value) = field(page, name) {
                let _ = write!(body, "&{name}={}", url_part(&value));
            }
        }
        self.send_body(place, known, &body, millis)
    }

    fn send_body(&self, place: &Place, known: &Known, body: &str, millis: u64) -> Response<Bytes> {
        let (gate, now) = (&place.gate, Moment::at(millis));
        self.ask(place, ("POST", "/.well-known/testudo/mfa"), |visit| {
            match gate.attempt(visit, Some(body.as_bytes()), known, now, random(9)) {
                Err(response) => *response,
                Ok((attempt, Looked::Known(is_right))) => {
                    gate.attempted(visit, &attempt, (is_right, false), now, random(9))
                }
                Ok((attempt, Looked::Recovery(recovery))) => {
                    gate.attempted(visit, &attempt, (recovery.spend(), true), now, random(9))
                }
            }
        })
    }
}

fn text(response: &Response<Bytes>) -> &str {
    str::from_utf8(response.body()).expect("text")
}

fn header<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

fn field(response: &Response<Bytes>, name: &str) -> Option<String> {
    let (_, rest) = text(response).split_once(&format!("name=\"{name}\" value=\""))?;
    Some(rest.split('"').next()?.replace("&amp;", "&").replace("&quot;", "\""))
}

fn cookie(response: &Response<Bytes>) -> String {
    let line = response.headers().get(SET_COOKIE).map_or("", |value| value.to_str().expect("text"));
    line.split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn a_code_lets_one_user_in_until_the_decision_ends() {
    let (place, browser) = (place(), Browser::new());
    assert_eq!(browser.check(&place, &asked(), START), Outcome::Unconfirmed);
    let page = browser.page(&place, &asked(), ("GET", ""), START);
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert_eq!(page.headers()["x-testudo-outcome"], "unconfirmed");
    assert!(text(&page).contains("<strong>Alice</strong>") && !text(&page).contains("<script"));
    let good = browser.send(&place, &asked(), &page, &totp::code(&place.secret, totp::step(START)), START);
    assert_eq!((good.status(), header(&good, "location")), (StatusCode::SEE_OTHER, "/shop?a=1"));
    let line = good.headers()[SET_COOKIE].to_str().expect("text");
    assert!(
        line.starts_with("__Host-testudo-mfa=") && line.contains("Max-Age=3600;"),
        "the decision's end: {line}"
    );
    let confirmed = browser.clone().with("cookie", &cookie(&good));
    assert_eq!(confirmed.check(&place, &asked(), START + 3_599_000), Outcome::Confirmed);
    assert_eq!(confirmed.check(&place, &asked(), START + 3_600_000), Outcome::Unconfirmed);
    // Not for anybody else, and a ban holds.
    let others = Known(vec![("alice", "mfa", 3_600), ("bob", "mfa", 60), ("198.51.100.9", "ban", 9)]);
    for other in [
        confirmed.clone().with("x-remote-user", "bob"),
        confirmed.clone().with("user-agent", "browser/2"),
        confirmed.clone().with("host", "other.org"),
        Browser { address: "198.51.100.2", ..confirmed.clone() },
    ] {
        assert_eq!(other.check(&place, &others, START), Outcome::Unconfirmed);
    }
    assert_eq!(
        Browser { address: "198.51.100.9", ..confirmed.clone() }.check(&place, &others, START),
        Outcome::Banned
    );
    let banned = Known(vec![("alice", "mfa", 3_600), ("alice", "ban", 5)]);
    assert_eq!(confirmed.check(&place, &banned, START), Outcome::Banned);
    // And it is no pass of another kind, nor another one this.
    let challenged = Known(vec![("alice", "captcha", 60)]);
    let value = cookie(&good).split_once('=').map(|(_, value)| value.to_owned()).expect("a cookie");
    let swapped = browser.with("cookie", &format!("__Host-testudo-pass={value}"));
    assert_eq!(swapped.check(&place, &challenged, START), Outcome::Challenged);
}

#[test]
fn a_code_counts_once() {
    let (place, browser) = (place(), Browser::new());
    let code = totp::code(&place.secret, totp::step(START));
    let send = |code: &str, millis| {
        let page = browser.page(&place, &asked(), ("GET", ""), millis);
        browser.send(&place, &asked(), &page, code, millis + 1).status()
    };
    assert_eq!(send(&code, START), StatusCode::SEE_OTHER);
    assert_eq!(send(&code, START + 1_000), StatusCode::FORBIDDEN);
    let before = totp::code(&place.secret, totp::step(START) - 1);
    assert_eq!(send(&before, START + 2_000), StatusCode::FORBIDDEN, "nor one from before it");
    let next = totp::code(&place.secret, totp::step(START) + 1);
    assert_eq!(send(&next, START + 3_000), StatusCode::SEE_OTHER);
    assert_eq!(send(&next, START + 40_000), StatusCode::FORBIDDEN);
    // A gate that was started anew takes no code that it could have taken before.
    let fresh = Place { gate: Gate::new(place.gate.policy(), keys(), Moment::at(START + 100_000)), ..place };
    fresh.gate.set_users(Vault::load(&fresh.path, &keys()).expect("users"));
    let page = browser.page(&fresh, &asked(), ("GET", ""), START + 100_000);
    let code = totp::code(&fresh.secret, totp::step(START + 100_000));
    assert_eq!(browser.send(&fresh, &asked(), &page, &code, START + 100_001).status(), StatusCode::FORBIDDEN);
}

#[test]
fn a_page_is_answered_once_by_whom_it_was_for() {
    let (place, browser) = (place(), Browser::new());
    let page = browser.page(&place, &asked(), ("GET", ""), START);
    let code = totp::code(&place.secret, totp::step(START));
    // Somebody else, or another user's page.
    let home = |response: Response<Bytes>| {
        assert_eq!((response.status(), header(&response, "location")), (StatusCode::SEE_OTHER, "/"));
        assert!(!response.headers().contains_key(SET_COOKIE));
    };
    home(Browser { address: "198.51.100.2", ..browser.clone() }.send(&place, &asked(), &page, &code, START));
    let token = field(&page, "challenge").expect("a challenge");
    let both = Known(vec![("alice", "mfa", 60), ("bob", "mfa", 60)]);
    home(browser.send_body(
        &place,
        &both,
        &format!("challenge={token}&user=bob&target=%2Fshop%3Fa%3D1&code={code}"),
        START,
    ));
    home(browser.send_body(
        &place,
        &both,
        &format!("challenge={token}&user=Alice&target=%2Fother&code={code}"),
        START,
    ));
    home(browser.send_body(&place, &both, &format!("user=Alice&code={code}"), START));
    home(browser.send_body(&place, &both, "", START));
    // Whoever asks about users without a page for them learns nothing.
    home(browser.send_body(&place, &both, &format!("challenge=x&user=nobody&code={code}"), START));
    // Too late, and then twice.
    let late = browser.send(&place, &asked(), &page, &code, START + 900_001);
    assert_eq!(late.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.send(&place, &asked(), &page, "000000", START).status(), StatusCode::FORBIDDEN);
    assert_eq!(
        browser.send(&place, &asked(), &page, &code, START).status(),
        StatusCode::FORBIDDEN,
        "it was answered"
    );
    // A ban that came meanwhile.
    let page = browser.page(&place, &asked(), ("GET", ""), START + 1_000);
    let banned = Known(vec![("alice", "mfa", 60), ("alice", "ban", 60)]);
    let refused = browser.send(&place, &banned, &page, &code, START + 1_000);
    assert!(text(&refused).contains("Access refused") && !refused.headers().contains_key(SET_COOKIE));
    // A decision that went meanwhile.
    let free = browser.send(&place, &Known::default(), &page, "", START + 1_000);
    assert_eq!((free.status(), header(&free, "location")), (StatusCode::SEE_OTHER, "/shop?a=1"));
}

#[test]
fn guesses_have_to_wait() {
    let (place, browser) = (place(), Browser::new());
    let mut now = START;
    let mut send = |browser: &Browser, code: &str, after: u64| {
        now += after;
        let page = browser.page(&place, &asked(), ("GET", ""), now);
        browser.send(&place, &asked(), &page, code, now)
    };
    assert_eq!(send(&browser, "12", 1_000).status(), StatusCode::FORBIDDEN);
    for _ in 0..3 {
        assert_eq!(send(&browser, "000000", 1_000).status(), StatusCode::FORBIDDEN);
    }
    let waits = send(&browser, "000000", 1_000);
    assert_eq!((waits.status(), header(&waits, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "14"));
    // A right code waits as well: otherwise the answer would tell which one is right. So does another network.
    let right = totp::code(&place.secret, totp::step(START));
    let elsewhere = Browser { address: "203.0.113.1", ..browser.clone() };
    assert_eq!(send(&elsewhere, &right, 1_000).status(), StatusCode::TOO_MANY_REQUESTS);
    let right = totp::code(&place.secret, totp::step(START + 30_000));
    assert_eq!(send(&browser, &right, 20_000).status(), StatusCode::SEE_OTHER);
    let figures = place.gate.metrics_text();
    for line in [
        "testudo_gate_second_factors_total{result=\"code\"} 1\n",
        "testudo_gate_second_factors_total{result=\"wrong\"} 4\n",
        "testudo_gate_second_factors_total{result=\"waited\"} 2\n",
    ] {
        assert!(figures.contains(line), "{line} in {figures}");
    }
}

#[test]
fn a_recovery_code_counts_once_and_guesses_are_counted() {
    let (place, browser) = (place(), Browser::new());
    let mut now = START;
    let mut send = |code: &str| {
        now += 1_000;
        let page = browser.page(&place, &asked(), ("GET", ""), now);
        browser.send(&place, &asked(), &page, code, now).status()
    };
    assert_eq!(send(&place.recovery[0].to_uppercase()), StatusCode::SEE_OTHER);
    assert_eq!(send(&place.recovery[0]), StatusCode::FORBIDDEN);
    assert_eq!(send("aaaa-aaaa-aaaa-aaaa"), StatusCode::FORBIDDEN);
    assert_eq!(send("aaaa-aaaa-aaaa-aaab"), StatusCode::FORBIDDEN);
    assert_eq!(send(&place.recovery[1]), StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn who_is_not_enrolled_sees_the_same_page() {
    let (place, browser) = (place(), Browser::new().with("x-remote-user", "carol"));
    let known = Known(vec![("carol", "mfa", 60)]);
    let page = browser.page(&place, &known, ("GET", ""), START);
    assert!(text(&page).contains("<strong>carol</strong>"));
    let nothing = totp::code(&[0; 20], totp::step(START));
    assert_eq!(browser.send(&place, &known, &page, &nothing, START).status(), StatusCode::FORBIDDEN);
}

#[test]
fn a_form_survives() {
    let (place, browser) = (place(), Browser::new());
    let page = browser.page(&place, &asked(), ("POST", "name=J%C3%B6rg&text=a%0D%0Ab"), START);
    assert!(!text(&page).contains("role=\"alert\""), "nothing is lost");
    let wrong = browser.send(&place, &asked(), &page, "000000", START);
    assert!(field(&wrong, "form").is_some(), "a wrong code loses nothing");
    let good =
        browser.send(&place, &asked(), &wrong, &totp::code(&place.secret, totp::step(START)), START + 1);
    assert_eq!(good.status(), StatusCode::OK);
    for part in
        ["action=\"/shop?a=1\"", "name=\"name\" value=\"Jörg\"", "name=\"text\" value=\"a&#13;&#10;b\""]
    {
        assert!(text(&good).contains(part), "{part}");
    }
    assert!(cookie(&good).starts_with("__Host-testudo-mfa="));
    let from_elsewhere = browser.with("origin", "https://evil.org");
    let page = from_elsewhere.page(&place, &asked(), ("POST", "a=b"), START + 40_000);
    assert!(text(&page).contains("role=\"alert\"") && field(&page, "form").is_none());
}

#[test]
fn only_a_trusted_proxy_names_a_user_in_a_header() {
    let (place, known) =
        (place(), Known(vec![("alice", "mfa", 60), ("198.51.100.1", "mfa", 60), ("bob", "ban", 9)]));
    let browser = Browser::new();
    assert_eq!(
        browser.clone().with("x-remote-user", " ALICE ").check(&place, &known, START),
        Outcome::Unconfirmed
    );
    assert_eq!(browser.clone().with("x-remote-user", "bob").check(&place, &known, START), Outcome::Banned);
    for nobody in ["", "  ", "a\tb"] {
        assert_eq!(
            browser.clone().with("x-remote-user", nobody).check(&place, &known, START),
            Outcome::Unidentified
        );
    }
    assert_eq!(browser.clone().without("x-remote-user").check(&place, &known, START), Outcome::Unidentified);
    let mut twice = browser.clone();
    twice.headers.append("x-remote-user", HeaderValue::from_static("carol"));
    assert_eq!(
        twice.check(&place, &known, START),
        Outcome::Unidentified,
        "one of the two may be the visitor's own"
    );
    let direct = Browser { peer: Peer::Address(IpAddr::from([198, 51, 100, 1])), ..browser };
    assert_eq!(direct.check(&place, &known, START), Outcome::Unidentified);
}

#[test]
fn what_is_done_with_who_is_not_known() {
    let place = place();
    let known = Known(vec![("198.51.100.1", "mfa", 60), ("198.51.100.1", "header", 60)]);
    let nobody = Browser::new().without("x-remote-user");
    let check = |host: &str, expected| {
        assert_eq!(nobody.clone().with("host", host).check(&place, &known, START), expected, "{host}");
    };
    check("example.org", Outcome::Unidentified);
    check("captcha.org", Outcome::Challenged);
    check("pass.org", Outcome::Marked);
    check("app.org", Outcome::Mfa);
    check("oidc.org", Outcome::Unconfirmed);
    let page = nobody.page(&place, &known, ("GET", ""), START);
    assert!(text(&page).contains("Please sign in first"));
    let json = nobody.with("accept", "application/json").page(&place, &known, ("GET", ""), START);
    assert!(text(&json).contains("identity_required"));
    let json = Browser::new().with("accept", "application/json").page(&place, &asked(), ("GET", ""), START);
    assert!(text(&json).contains("mfa_required"));
    assert_eq!(Browser::new().with("host", "app.org").check(&place, &asked(), START), Outcome::Mfa);
}

#[test]
fn a_signed_cookie_names_a_user() {
    use jsonwebtoken::{EncodingKey, Header};
    let place = place();
    let browser = Browser::new().with("host", "cookie.org");
    let check = |claims: serde_json::Value, secret: &str, expected| {
        let key = EncodingKey::from_secret(secret.as_bytes()).expect("a key");
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("a token");
        let browser = browser.clone().with("cookie", &format!("session=x; session={token}"));
        assert_eq!(browser.check(&place, &asked(), START), expected, "{claims}");
    };
    let secret = "0123456789abcdef0123456789abcdef";
    let seconds = START / 1_000;
    let good = serde_json::json!({"sub": "alice", "iss": "app", "exp": seconds + 10});
    check(good.clone(), secret, Outcome::Unconfirmed);
    check(good, "0123456789abcdef0123456789abcdee", Outcome::Clean);
    check(serde_json::json!({"sub": "alice", "iss": "app"}), secret, Outcome::Clean);
    check(serde_json::json!({"sub": "alice", "iss": "other", "exp": seconds + 10}), secret, Outcome::Clean);
    check(serde_json::json!({"sub": "alice", "iss": "app", "exp": seconds - 60}), secret, Outcome::Clean);
    check(serde_json::json!({"sub": 5, "iss": "app", "exp": seconds + 10}), secret, Outcome::Clean);
    check(serde_json::json!({"name": "alice", "iss": "app", "exp": seconds + 10}), secret, Outcome::Clean);
    // The header of the other hosts means nothing here.
    assert_eq!(browser.check(&place, &asked(), START), Outcome::Clean);
}

#[test]
fn applications_ask_about_users() {
    let place = place();
    let report = |address: Option<[u8; 4]>, user: &str, host: &str| {
        let user = User::new(user);
        let who = (address.map(IpAddr::from), user.as_ref());
        place.gate.report(who, host, ("GET", "/"), &asked(), Moment::at(START))
    };
    let found = report(None, "Alice", "");
    assert_eq!((found["outcome"].as_str(), found["pass"].as_bool()), (Some("unconfirmed"), Some(false)));
    assert_eq!(
        (found["user"].as_str(), found["decisions"][0]["type"].as_str()),
        (Some("Alice"), Some("mfa"))
    );
    assert!(found["address"].is_null());
    assert_eq!(report(None, "alice", "app.org")["outcome"], "mfa");
    assert_eq!(report(Some([192, 0, 2, 1]), "bob", "")["outcome"], "clean");
    assert_eq!(report(Some([192, 0, 2, 1]), "", "")["address"], "192.0.2.1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is sent, nobody gets a pass for it.
    #[test]
    fn no_code_is_forged(
        body in "[ -~]{0,200}",
        names in proptest::collection::vec(("(challenge|code|target|form|user)", "[ -~]{0,90}"), 0..6),
    ) {
        let place = Place { gate: plain_gate(), secret: [0; 20], recovery: Vec::new(), path: "none".into(), _folder: None };
        let fields: Vec<String> = names.iter().map(|(name, value)| format!("{name}={}", url_part(value))).collect();
        for body in [body, fields.join("&")] {
            let response = Browser::new().send_body(&place, &asked(), &body, START);
            prop_assert!(!response.headers().contains_key(SET_COOKIE));
        }
    }
}
