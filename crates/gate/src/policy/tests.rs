use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const WHOLE: &str = include_str!("../../examples/policy.yaml");

fn read(text: &str) -> Policy {
    Policy::from_text("policy.yaml", text).expect("a policy")
}

fn decision(kind: &str, origin: &str) -> Match {
    Match {
        kind: kind.into(),
        origin: origin.into(),
        scenario: "example/probing".into(),
        id: 1,
        remaining: Duration::from_mins(1),
    }
}

#[test]
fn the_example_means_what_it_says() {
    let policy = read(WHOLE);
    let action = |host: &str, path: &str, kind: &str, origin: &str| {
        let sections = policy.host(&host_name(host)).sections(&path::readings(path));
        sections.iter().filter_map(|section| section.action(&decision(kind, origin))).max()
    };
    assert_eq!(action("other.org", "/", "ban", "local"), Some(Action::Ban));
    assert_eq!(action("other.org", "/", "ban", "lists:tor"), Some(Action::Captcha));
    assert_eq!(action("other.org", "/", "something", "local"), Some(Action::Ban));
    assert_eq!(action("SHOP.example.org:8443", "/", "captcha", "local"), Some(Action::Captcha));
    assert_eq!(action("shop.example.org", "/static/a.css", "captcha", "local"), None);
    assert_eq!(action("shop.example.org", "/static/../cart", "captcha", "local"), Some(Action::Captcha));
    assert_eq!(action("shop.example.org", "/static/a.css", "ban", "local"), Some(Action::Ban));
    assert_eq!(action("a.b.example.org.", "/", "captcha", "local"), Some(Action::Header));
    assert_eq!(policy.host("shop.example.org").fail, Failure::Closed);
    assert_eq!(policy.host("").fail, Failure::Open);
    assert!(policy.proxies.iter().any(|proxy| proxy.contains(IpAddr::from([127, 0, 0, 1]))));
}

#[test]
fn a_friend_is_only_whom_a_decision_calls_one() {
    let policy = read("hosts: [{names: ['*'], fail: open, actions: [{types: [ban], action: allow}]}]");
    let sections = policy.host("x").sections(&["/"]);
    assert_eq!(sections[0].action(&decision("ban", "x")), None);
    assert_eq!(sections[0].action(&decision("allow", "x")), Some(Action::Allow));
}

#[test]
fn restrictions_hold_in_every_reading() {
    let restriction = Restriction {
        methods: vec!["GET".to_owned()],
        paths: vec!["/".to_owned()],
        except: vec!["/login".to_owned()],
    };
    let allows = |method: &str, path: &str| restriction.allows(method, &path::readings(path));
    assert!(allows("GET", "/"));
    assert!(allows("GET", "/logins"));
    assert!(!allows("POST", "/"));
    assert!(!allows("get", "/"));
    for path in ["/login", "/login/x?y", "//login", "/x/../login", "/%6cogin", "/%256cogin", "/x/..%2flogin"]
    {
        assert!(!allows("GET", path), "{path}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let check = |text: &str, expected: &str| {
        let error = Policy::from_text("p.yaml", text).expect_err("it is wrong").to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let all = "\nhosts:\n  - {names: ['*'], fail: open}\n";
    check("", "p.yaml:1:1: missing `hosts` (add `hosts:`)");
    check("hosts:\n  - names: ['*']\n", "p.yaml:2:5: missing `fail` (add `fail:`)");
    check("hosts:\n  - names: ['*']\n    fail: maybe\n", "p.yaml:3:11: `maybe` is neither (write `open`");
    check(
        "hosts:\n  - names: [a.org]\n    fail: open\n",
        "p.yaml:2:3: nothing says what holds for other hosts",
    );
    check("hosts:\n  - {names: ['*', '*'], fail: open}\n", "p.yaml:2:19: `*` is there twice");
    check("hosts:\n  - {names: [], fail: open}\n", "p.yaml:2:13: a host without a name");
    check("hosts:\n  - {names: ['a*'], fail: open}\n", "p.yaml:2:14: `a*` is no name of a host");
    check(&format!("trusted: []{all}"), "p.yaml:1:1: unknown key `trusted`");
    check(&format!("trusted_proxies: [10.0.0.0/40]{all}"), "p.yaml:1:19: `10.0.0.0/40` is no network");
    check(&format!("client_address: x-real{all}"), "p.yaml:1:17: `x-real` is no place for an address");
    check(
        &format!("actions:\n  - {{types: [ban], action: bann}}{all}"),
        "p.yaml:2:28: `bann` is no action (did you mean `ban`?)",
    );
    check(&format!("throttle: {{rate: fast}}{all}"), "p.yaml:1:12: `fast` is no rate");
    check(&format!("throttle: {{rate: 1/m, burst: 0}}{all}"), "p.yaml:1:12: a burst of 0");
    check(&format!("challenge: {{difficulty: 60}}{all}"), "p.yaml:1:25: 60 is not possible here");
    check(&format!("challenge: {{pass_for: 4}}{all}"), "p.yaml:1:23: `4` is no time span");
    check(&format!("challenge: {{wait: 10m}}{all}"), "p.yaml:1:19: a challenge expires before");
    check(
        &format!("restrict: {{except: [/a/../b]}}{all}"),
        "p.yaml:1:21: `/a/../b` is no beginning of paths",
    );
    check(
        "hosts:\n  - {names: ['*'], fail: open, paths: [{prefix: a}]}\n",
        "p.yaml:2:49: `a` is no beginning",
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z:\\[\\]{}*/ ,\\n'-]{0,120}") {
        let _ = Policy::from_text("p.yaml", &text);
    }
}
