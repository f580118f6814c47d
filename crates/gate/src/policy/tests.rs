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
    assert_eq!(action("other.org", "/", "enforce_mfa", "local"), Some(Action::Mfa));
    assert!(policy.needs_users());
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

/// A file in a folder, with a mode.
fn file(folder: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("it is written");
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    #[cfg(not(unix))]
    let _ = mode;
    path.display().to_string()
}

#[test]
fn what_is_asked_of_a_host_stands_over_what_is_asked_of_all() {
    let policy = read(
        "captcha: {provider: turnstile, site_key: 1x, secret: s}\n\
         identity: {header: X-Remote-User}\n\
         mfa: {pass_for: 1h, issuer: Site}\n\
         hosts:\n  \
         - {names: [a.org], fail: open, captcha: {provider: builtin}, identity: {cookie: s, secret: x}}\n  \
         - {names: [b.org], fail: open, mfa: {unknown: pass}}\n  \
         - {names: [c.org], fail: open, identity: {oidc: true}, mfa: {oidc: {issuer: 'https://i', client_id: c}}}\n  \
         - {names: ['*'], fail: open}\n",
    );
    let second = |host: &str| policy.host(host).second.clone();
    assert!(second("x.org").provider.is_some() && second("a.org").provider.is_none());
    assert!(
        matches!(second("x.org").identity.as_deref(), Some(Identity::Header(name)) if name == "x-remote-user")
    );
    assert!(matches!(second("a.org").identity.as_deref(), Some(Identity::Cookie(_))));
    assert_eq!(second("a.org").mfa.pass_for, Duration::from_hours(1));
    assert_eq!(second("b.org").mfa.pass_for, Duration::from_hours(8), "one replaces the other");
    let third = second("c.org");
    let Method::Oidc(oidc) = &third.mfa.method else { panic!("{:?}", third.mfa) };
    assert_eq!(
        (oidc.claim.as_str(), oidc.scopes.join(" ")),
        ("preferred_username", "openid profile".to_owned())
    );
    assert!(policy.needs_users() && policy.authenticator_name().as_deref() == Some("Site"));
    assert!(!read("hosts: [{names: ['*'], fail: open}]").needs_users());
}

#[test]
fn secrets_are_read_from_files_and_shown_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = file(&folder, "secret", " 5ecret\n", 0o600);
    let keys = file(&folder, "keys.json", r#"{"keys":[]}"#, 0o644);
    let policy = read(&format!(
        "captcha: {{provider: hcaptcha, site_key: k, secret_file: '{secret}'}}\n\
         identity: {{cookie: c, jwks_file: '{keys}'}}\n\
         hosts: [{{names: ['*'], fail: open}}]\n"
    ));
    let second = &policy.host("").second;
    assert_eq!(second.provider.as_ref().expect("a provider").secret.expose(), "5ecret");
    assert_eq!(policy.files.len(), 2);
    assert!(!format!("{policy:?}").contains("5ecret"));
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = "\nhosts: [{names: ['*'], fail: open}]\n";
    let check = |path: &str, expected: &str| {
        let text = format!("captcha: {{provider: hcaptcha, site_key: k, secret_file: '{path}'}}{all}");
        let error = Policy::from_text("p.yaml", &text).expect_err("it is wrong").to_string();
        assert!(error.starts_with("p.yaml:1:") && error.contains(expected), "{error}");
    };
    check(&file(&folder, "open", "s", 0o640), "others than its owner can use");
    check(&file(&folder, "empty", " \n", 0o600), "there is nothing in");
    check(&file(&folder, "large", &"s".repeat(300_000), 0o600), "cannot read");
    check("/does/not/exist", "cannot read");
}

#[test]
fn what_is_wrong_with_second_factors_is_told_with_its_place() {
    let mut others = Vec::new();
    let mut check = |text: &str, expected: &str| {
        let text = format!("{text}\nhosts: [{{names: ['*'], fail: open}}]\n");
        let error = Policy::from_text("p.yaml", &text).expect_err("it is wrong").to_string();
        if !error.starts_with(&format!("p.yaml:1:{expected}")) {
            others.push(error);
        }
    };
    check("captcha: {provider: turnstyle}", "21: `turnstyle` is no provider (did you mean `turnstile`?)");
    check("captcha: {provider: turnstile}", "21: missing `site_key`");
    check("captcha: {provider: turnstile, site_key: k}", "21: the secret is missing");
    check("captcha: {provider: turnstile, site_key: '\"<', secret: s}", "42: this is no site key");
    check("captcha: {provider: turnstile, site_key: k, secret: s, min_score: 0.5}", "67: only reCAPTCHA v3");
    check("captcha: {provider: recaptcha-v3, site_key: k, secret: s, min_score: 5}", "70: 5 is not possible");
    check(
        "captcha: {provider: turnstile, site_key: k, secret: s, fallback: never}",
        "66: `never` is neither",
    );
    check(
        "captcha: {provider: turnstile, site_key: k, secret: s, timeout: 1m}",
        "65: web servers do not wait",
    );
    check(
        "captcha: {provider: turnstile, site_key: k, secret: s, verify_url: 'http://x.org/'}",
        "68: `http://x.org/` is no",
    );
    check(
        "captcha: {provider: turnstile, site_key: k, secret: s, script_url: \"https://x/; script-src *\"}",
        "68: `https://x/;",
    );
    check("identity: {}", "11: nothing says who knows the user");
    check("identity: {header: a, cookie: b}", "12: nothing says who knows the user, or too much does");
    check("identity: {header: 'a b'}", "20: `a b` is no header");
    check("identity: {cookie: 'a;b', secret: s}", "20: `a;b` is no name of a cookie");
    check("identity: {cookie: a}", "20: the secret is missing");
    check("identity: {oidc: true}", "12: users are known by OpenID Connect, and nothing says where");
    check("mfa: {method: sms}", "15: `sms` is no method");
    check("mfa: {method: oidc}", "7: missing `oidc`");
    check(
        "mfa: {method: totp, oidc: {issuer: 'https://i', client_id: c}}",
        "28: `oidc` beside another method",
    );
    check("mfa: {oidc: {client_id: c}}", "14: missing `issuer`");
    check("mfa: {oidc: {issuer: 'http://i.org', client_id: c}}", "22: `http://i.org` is no address");
    check("mfa: {unknown: ask}", "16: `ask` is nothing that can be done");
    check("mfa: {free_guesses: 0}", "21: 0 is not possible here");
    check("mfa: {secrets: x}", "7: unknown key `secrets`");
    assert!(others.is_empty(), "{others:#?}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z:\\[\\]{}*/ ,\\n'-]{0,120}") {
        let _ = Policy::from_text("p.yaml", &text);
    }
}
