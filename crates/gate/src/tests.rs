use std::{fmt::Write as _, net::IpAddr, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{COOKIE, HeaderName, HeaderValue, LOCATION, SET_COOKIE},
};
use proptest::prelude::*;

use crate::{
    Decisions, Gate, Keys, Match, Moment, Outcome, Peer, Policy, Random, Visit, Way, challenge::Challenge,
};

const POLICY: &str = "
contact: abuse@example.org
challenge: {difficulty: 8, keep_body: 100}
throttle: {rate: 1/s, burst: 2}
hosts:
  - {names: [closed.org], fail: closed}
  - {names: ['*'], fail: open}
";

/// The same decisions for everybody.
struct Fixed {
    kinds: Vec<&'static str>,
    is_ready: bool,
}

impl Decisions for Fixed {
    fn find(&self, _: IpAddr, matches: &mut Vec<Match>) {
        matches.extend(self.kinds.iter().map(|kind| Match {
            kind: (*kind).into(),
            origin: "local".into(),
            scenario: "example/probing".into(),
            id: 4_711,
            remaining: Duration::from_mins(1),
        }));
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }
}

fn known(kinds: &[&'static str]) -> Fixed {
    Fixed { kinds: kinds.to_vec(), is_ready: true }
}

fn gate() -> Gate {
    let policy = Policy::from_text("policy.yaml", POLICY).expect("a policy");
    Gate::new(policy, Keys::new(&[[1; 32]]).expect("a key"), Moment::at(1_000_000))
}

fn random(seed: u8) -> Random {
    Random { challenge: [seed; 16], nonce: [seed; 16] }
}

/// A visitor with a browser.
#[derive(Clone)]
struct Visitor {
    address: &'static str,
    headers: HeaderMap,
}

impl Visitor {
    fn new() -> Self {
        let visitor = Self { address: "198.51.100.1", headers: HeaderMap::new() };
        visitor
            .with("host", "example.org")
            .with("user-agent", "browser/1")
            .with("accept", "text/html,*/*")
            .with("content-type", "application/x-www-form-urlencoded")
            .with("origin", "https://example.org")
            .with("x-forwarded-proto", "https")
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a value");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    fn at(self, address: &'static str) -> Self {
        Self { address, ..self }
    }

    fn ask<T>(&self, gate: &Gate, method: &str, target: &str, then: impl FnOnce(&Visit<'_>) -> T) -> T {
        let mut headers = self.headers.clone();
        headers.insert("x-forwarded-for", HeaderValue::from_static(self.address));
        let visit = Visit::read(Way::Own, Peer::Local, &gate.policy(), (method, target), &headers);
        then(&visit.expect("it is told"))
    }

    fn check(&self, gate: &Gate, decisions: &Fixed, millis: u64) -> Outcome {
        self.ask(gate, "GET", "/", |visit| gate.check(visit, decisions, Moment::at(millis)).outcome)
    }

    fn page(
        &self,
        gate: &Gate,
        kind: &'static str,
        (method, body): (&str, &str),
        millis: u64,
    ) -> Response<Bytes> {
        self.ask(gate, method, "/shop?a=1", |visit| {
            gate.page(visit, Some(body.as_bytes()), &known(&[kind]), Moment::at(millis), random(3))
        })
    }

    /// Gives an answer to a challenge.
    fn answer(&self, gate: &Gate, fields: &str, millis: u64) -> Response<Bytes> {
        let body = Some(fields.as_bytes());
        self.ask(gate, "POST", "/x", |visit| gate.answer(visit, body, Moment::at(millis), random(9)))
    }
}

fn text(response: &Response<Bytes>) -> &str {
    str::from_utf8(response.body()).expect("text")
}

fn header<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// The value of a hidden field as it stands in a page.
fn field(response: &Response<Bytes>, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let rest = text(response).split_once(&start).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().replace("&amp;", "&")
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02x}");
        encoded
    })
}

/// The fields of a right answer to the challenge of a page.
fn solved(page: &Response<Bytes>) -> String {
    let token = field(page, "challenge");
    let challenge = Challenge::parse(&token).expect("a challenge");
    let number =
        (0_u32..1_000_000).find(|number| challenge.is_solved_by(&number.to_string())).expect("an answer");
    let mut fields = format!("challenge={token}&answer={number}&target={}", encoded(&field(page, "target")));
    if text(page).contains("name=\"form\"") {
        let _ = write!(fields, "&form={}", encoded(&field(page, "form")));
    }
    fields
}

/// The cookie that an answer sets, as a browser sends it.
fn cookie(response: &Response<Bytes>) -> String {
    header(response, "set-cookie").split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn outcomes() {
    let check = |kinds: &[&'static str], expected| {
        assert_eq!(Visitor::new().check(&gate(), &known(kinds), 1_000_000), expected, "{kinds:?}");
    };
    check(&[], Outcome::Clean);
    check(&["ban", "captcha"], Outcome::Banned);
    check(&["ban", "allow"], Outcome::Allowed);
    check(&["captcha"], Outcome::Challenged);
    check(&["header"], Outcome::Marked);
    check(&["restrict"], Outcome::Harmless);
    check(&["throttle"], Outcome::Slow);
    check(&["something"], Outcome::Banned);
    check(&["enforce_mfa"], Outcome::Unidentified);
    check(&["mfa", "captcha"], Outcome::Unidentified);
    check(&["mfa", "ban"], Outcome::Banned);
    check(&["mfa", "allow"], Outcome::Allowed);
}

#[test]
fn a_method_in_a_header_is_not_harmless() {
    let hidden = Visitor::new().with("x-http-method-override", "DELETE");
    assert_eq!(hidden.check(&gate(), &known(&["restrict"]), 1_000_000), Outcome::Restricted);
}

#[test]
fn a_failure_is_open_or_closed() {
    let unready = Fixed { kinds: vec!["ban"], is_ready: false };
    assert_eq!(Visitor::new().check(&gate(), &unready, 1_000_000), Outcome::Unchecked);
    let closed = Visitor::new().with("host", "closed.org");
    assert_eq!(closed.check(&gate(), &unready, 1_000_000), Outcome::Unavailable);
    let response = closed.ask(&gate(), "GET", "/", |visit| {
        gate().check_and_answer(visit, None, &unready, Moment::at(1_000_000), random(1))
    });
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_ban_is_a_page_or_json() {
    let page = Visitor::new().with("accept-language", "fr-CH, de;q=0.5").page(
        &gate(),
        "ban",
        ("GET", ""),
        1_000_000,
    );
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    for part in ["<html lang=\"fr\">", "Accès refusé", "198.51.100.1", "4711", "mailto:abuse@example.org"] {
        assert!(text(&page).contains(part), "{part}");
    }
    assert!(!text(&page).contains("<script"));
    assert_eq!(header(&page, "cache-control"), "no-store");
    assert_eq!(header(&page, "x-testudo-outcome"), "banned");
    assert!(!page.headers().contains_key("x-testudo-scenario"), "it is not for the visitor");
    let json = Visitor::new().with("accept", "application/json").page(&gate(), "ban", ("GET", ""), 1_000_000);
    let value: serde_json::Value = serde_json::from_slice(json.body()).expect("JSON");
    assert_eq!(value["error"], "banned");
    assert_eq!(value["decision"], 4_711);
}

#[test]
fn what_the_web_server_refuses_itself_stays_refused() {
    let (gate, visitor) = (gate(), Visitor::new().with("x-testudo-outcome", "clean"));
    let page = visitor.page(&gate, "header", ("GET", ""), 1_000_000);
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert!(text(&page).contains("not open to you"));
    // A check that refused a moment ago: it may be tried again.
    let page = visitor.with("x-testudo-outcome", "challenged").page(&gate, "header", ("GET", ""), 1_000_000);
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_throttle_counts_checks_and_not_pages() {
    let (gate, visitor, throttled) = (gate(), Visitor::new(), known(&["throttle"]));
    assert_eq!(visitor.check(&gate, &throttled, 1_000_000), Outcome::Slow);
    assert_eq!(visitor.check(&gate, &throttled, 1_000_000), Outcome::Slow);
    for _ in 0..3 {
        assert_eq!(visitor.check(&gate, &throttled, 1_000_000), Outcome::Throttled);
        let page = visitor.page(&gate, "throttle", ("GET", ""), 1_000_000);
        assert_eq!(page.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(header(&page, "retry-after"), "1");
    }
    assert_eq!(visitor.clone().at("198.51.100.2").check(&gate, &throttled, 1_000_000), Outcome::Slow);
    assert_eq!(visitor.check(&gate, &throttled, 1_001_000), Outcome::Slow);
}

#[test]
fn a_challenge_is_answered_once() {
    let (gate, visitor, challenged) = (gate(), Visitor::new(), known(&["captcha"]));
    let page = visitor.page(&gate, "captcha", ("GET", ""), 1_000_000);
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    assert_eq!(field(&page, "target"), "/shop?a=1");
    let answer = solved(&page);
    let good = visitor.answer(&gate, &answer, 1_001_000);
    assert_eq!(good.status(), StatusCode::SEE_OTHER);
    assert_eq!(good.headers()[LOCATION], "/shop?a=1");
    let line = header(&good, "set-cookie");
    assert!(
        line.starts_with("__Host-testudo-pass=") && line.ends_with("; HttpOnly; SameSite=Lax; Secure"),
        "{line}"
    );
    let again = visitor.answer(&gate, &answer, 1_002_000);
    assert!(!again.headers().contains_key(SET_COOKIE), "it was answered before");
    let with_pass = visitor.clone().with("cookie", &format!("a=b; {}", cookie(&good)));
    assert_eq!(with_pass.check(&gate, &challenged, 1_002_000), Outcome::Passed);
    assert_eq!(with_pass.check(&gate, &known(&["captcha", "ban"]), 1_002_000), Outcome::Banned);
    assert_eq!(with_pass.check(&gate, &challenged, 1_001_000 + 4 * 3_600_000), Outcome::Challenged);
    let check_stolen =
        |visitor: Visitor| assert_eq!(visitor.check(&gate, &challenged, 1_002_000), Outcome::Challenged);
    check_stolen(with_pass.clone().at("198.51.100.2"));
    check_stolen(with_pass.clone().with("user-agent", "browser/2"));
    check_stolen(with_pass.clone().with("host", "other.org"));
}

#[test]
fn keys_are_rotated() {
    let (gate, visitor) = (gate(), Visitor::new());
    let good =
        visitor.answer(&gate, &solved(&visitor.page(&gate, "captcha", ("GET", ""), 1_000_000)), 1_001_000);
    let with_pass = visitor.with("cookie", &cookie(&good));
    gate.replace(gate.policy(), Keys::new(&[[2; 32], [1; 32]]).expect("keys"));
    assert_eq!(with_pass.check(&gate, &known(&["captcha"]), 1_002_000), Outcome::Passed);
    gate.replace(gate.policy(), Keys::new(&[[2; 32]]).expect("a key"));
    assert_eq!(with_pass.check(&gate, &known(&["captcha"]), 1_002_000), Outcome::Challenged);
}

#[test]
fn answers_that_are_not_taken() {
    let (gate, visitor) = (gate(), Visitor::new());
    let page = visitor.page(&gate, "captcha", ("GET", ""), 1_000_000);
    let answer = solved(&page);
    let check = |visitor: &Visitor, fields: &str, millis| {
        let response = visitor.answer(&gate, fields, millis);
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{fields}");
        assert!(!response.headers().contains_key(SET_COOKIE), "{fields}");
        assert!(text(&response).contains("role=\"alert\""), "a new challenge is shown");
    };
    check(&visitor, "", 1_001_000);
    check(&visitor, "challenge=x&answer=1", 1_001_000);
    check(&visitor, &answer.replace("answer=", "answer=99999"), 1_001_000);
    check(&visitor, &format!("{answer}&answer=1"), 1_001_000);
    check(&visitor, &answer.replace("target=", "target=%2fx"), 1_001_000);
    check(&visitor, &format!("{answer}&form=a"), 1_001_000);
    check(&visitor, &answer, 1_300_001);
    check(&visitor.clone().at("198.51.100.2"), &answer, 1_001_000);
    check(&visitor.clone().with("user-agent", "browser/2"), &answer, 1_001_000);
    check(&visitor.clone().with("content-type", "text/plain"), &answer, 1_001_000);
    assert_eq!(visitor.answer(&gate, &answer, 1_001_000).status(), StatusCode::SEE_OTHER, "it is a good one");
}

#[test]
fn a_question_costs_time() {
    let (gate, visitor) = (gate(), Visitor::new());
    let mut number = 0;
    let mut answer = |wrong: u8, age: u64| {
        number += 1;
        let page = visitor.ask(&gate, "GET", "/", |visit| {
            gate.page(visit, Some(b""), &known(&["captcha"]), Moment::at(1_000_000), random(number))
        });
        let token = field(&page, "challenge");
        let (a, b) = Challenge::parse(&token).expect("a challenge").question();
        let fields = format!("challenge={token}&answer=&target=%2f&sum={}", a + b + wrong);
        (visitor.answer(&gate, &fields, 1_000_000 + age), fields)
    };
    let (early, _) = answer(0, 19_999);
    assert_eq!(early.status(), StatusCode::FORBIDDEN);
    let (good, fields) = answer(0, 20_000);
    assert_eq!(good.status(), StatusCode::SEE_OTHER);
    assert!(header(&good, "set-cookie").contains("Max-Age=3600;"), "a quarter of the time");
    assert_eq!(visitor.answer(&gate, &fields, 1_020_000).status(), StatusCode::FORBIDDEN, "once");
    assert_eq!(answer(1, 20_000).0.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer(0, 20_000).0.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer(0, 20_000).0.status(), StatusCode::FORBIDDEN, "three in fifteen minutes");
}

#[test]
fn a_form_survives() {
    let (gate, visitor) = (gate(), Visitor::new());
    let body = "name=J%C3%B6rg+%26+%22Co%22&text=a%0D%0Ab&empty=";
    let page = visitor.page(&gate, "captcha", ("POST", body), 1_000_000);
    assert!(!text(&page).contains("role=\"alert\""), "nothing is lost");
    let good = visitor.answer(&gate, &solved(&page), 1_001_000);
    assert_eq!(good.status(), StatusCode::OK);
    assert!(good.headers().contains_key(SET_COOKIE));
    for part in [
        "action=\"/shop?a=1\"",
        "name=\"name\" value=\"Jörg &amp; &quot;Co&quot;\"",
        "name=\"text\" value=\"a&#13;&#10;b\"",
        "name=\"empty\" value=\"\"",
    ] {
        assert!(text(&good).contains(part), "{part} in {}", text(&good));
    }
}

#[test]
fn a_form_from_elsewhere_does_not() {
    let (gate, visitor) = (gate(), Visitor::new());
    let page =
        visitor.clone().with("origin", "https://evil.org").page(&gate, "captcha", ("POST", "a=b"), 1_000_000);
    assert!(text(&page).contains("role=\"alert\"") && !text(&page).contains("name=\"form\""));
    // Nor if only the answer comes from elsewhere: the visitor gets a pass and nothing is sent.
    let page = visitor.page(&gate, "captcha", ("POST", "a=b"), 1_000_000);
    let from_elsewhere = visitor.clone().with("sec-fetch-site", "cross-site");
    let response = from_elsewhere.answer(&gate, &solved(&page), 1_001_000);
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    for body in ["a=%ff", "a=%00", "a=%0a", "a=é", "_charset_=x", &"a".repeat(101)] {
        let page = visitor.page(&gate, "captcha", ("POST", body), 1_000_000);
        assert!(text(&page).contains("role=\"alert\""), "{body} is lost, and that is told");
    }
}

#[test]
fn nothing_of_a_visitor_is_html() {
    let visitor = Visitor::new();
    let page = visitor.page(&gate(), "captcha", ("POST", "a=%22%3E%3Cscript%3E"), 1_000_000);
    assert_eq!(text(&page).matches("<script").count(), 1);
    let page = visitor.ask(&gate(), "GET", "/\"><script>alert(1)</script>", |visit| {
        gate().page(visit, Some(b""), &known(&["captcha"]), Moment::at(1_000_000), random(1))
    });
    assert_eq!(text(&page).matches("<script").count(), 1);
}

#[test]
fn applications_are_told() {
    let report = gate().report(
        (Some(IpAddr::from([198, 51, 100, 1])), None),
        "example.org",
        ("GET", "/"),
        &known(&["captcha"]),
        Moment::at(1_000_000),
    );
    assert_eq!(report["outcome"], "challenged");
    assert_eq!(report["pass"], false);
    assert_eq!(report["decisions"][0]["type"], "captcha");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is sent, nobody gets a pass for it.
    #[test]
    fn no_answer_is_forged(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        names in proptest::collection::vec(("(challenge|answer|target|form|sum)", "[ -~]{0,90}"), 0..6),
    ) {
        let fields: Vec<String> = names.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        for body in [body, fields.join("&").into_bytes()] {
            let response = Visitor::new().ask(&gate(), "POST", "/", |visit| {
                gate().answer(visit, Some(&body), Moment::at(1_000_000), random(1))
            });
            prop_assert!(!response.headers().contains_key(SET_COOKIE));
        }
    }

    /// Whatever is in the cookies, it is no pass.
    #[test]
    fn no_cookie_is_forged(value in "[ -~]{0,120}") {
        let mut visitor = Visitor::new();
        let text = format!("__Host-testudo-pass={value}; testudo-pass={value}");
        visitor.headers.insert(COOKIE, HeaderValue::from_str(&text).expect("a value"));
        prop_assert_eq!(visitor.check(&gate(), &known(&["captcha"]), 1_000_000), Outcome::Challenged);
    }
}
