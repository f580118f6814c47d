//! Alerts from the same process, alerts that come twice, protected addresses, and dead letters.

use std::ops::ControlFlow;

use testudo_event::{Alert, Prefix, Source, Timestamp};
use testudo_expr::Services as _;
use testudo_expr::host::{Listing, Listings};

use super::*;
use crate::gauges::ActiveDecisions;
use crate::helpers::IndexServices;
use crate::push::Pushed;

fn time(millis: i64) -> Timestamp {
    Timestamp::from_unix(millis / 1000, 0)
}

/// An alert of an agent about an address.
fn seen(uuid: &str, value: &str) -> Alert {
    Alert {
        uuid: uuid.to_owned(),
        kind: "crowdsec".to_owned(),
        scenario: "demo/ssh-bf".to_owned(),
        remediation: true,
        source: Source { scope: "ip".to_owned(), value: value.to_owned(), ..Source::default() },
        start_at: time(START - 10 * SECOND),
        stop_at: time(START - 5 * SECOND),
        ..Alert::default()
    }
}

fn protect(api: &Api, networks: &[&str]) -> u64 {
    let protected = networks.iter().map(|text| (Prefix::parse(text).expect(text), "ours".to_owned()));
    api.service.set_protected(protected.collect()).expect("protected")
}

#[test]
fn the_same_process_pushes() {
    let api = Api::start();
    let service = &api.service;
    service.machine_ready("local", START).expect("ready");
    service.machine_ready("local", START + SECOND).expect("still ready");
    let machine = service.store().machines().get("local").expect("it is there");
    assert!(machine.validated && machine.created_ms == START);
    assert!(service.heartbeat("local", START + SECOND));
    assert!(!service.heartbeat("nobody", START));
    // No password is that of such a machine.
    for password in ["", "!", "none"] {
        let body = format!(r#"{{"machine_id":"local","password":"{password}"}}"#);
        assert_eq!(api.ask("POST", "/v1/watchers/login", &[], body.as_bytes()).status, 401);
    }
    let batch = || vec![seen("one", "192.0.2.1"), seen("two", "192.0.2.2"), seen("one", "192.0.2.1")];
    let stored = |id| Pushed::Stored { id, decisions: 1 };
    let first = service.push("local", batch(), START).expect("taken");
    assert_eq!(first, [stored(1), stored(2), Pushed::Known { id: 1 }]);
    let again = service.push("local", batch(), START + SECOND).expect("taken");
    assert_eq!(again, [Pushed::Known { id: 1 }, Pushed::Known { id: 2 }, Pushed::Known { id: 1 }]);
    assert_eq!(service.push("local", Vec::new(), START).expect("taken"), []);
    assert_eq!(api.stream("startup=true"), ["+ban 192.0.2.1", "+ban 192.0.2.2"]);
    // Four hours from the time of the overflow.
    assert!(api.bouncer("GET", "/v1/decisions?ip=192.0.2.1").text().contains(r#""duration":"3h59m55s""#));
    let alert = api.machine("GET", "/v1/alerts/1", "").json();
    assert_eq!((&alert["uuid"], &alert["machine_id"]), (&"one".into(), &"local".into()));
    assert_eq!(service.store().machines().get("local").and_then(|machine| machine.last_push_ms), Some(START));
    // Without an identity each is another one.
    let twice = service.push("local", vec![seen("", "192.0.2.3"), seen("", "192.0.2.3")], START);
    assert_eq!(twice.expect("taken"), [stored(3), stored(4)]);
}

#[test]
fn decisions_that_are_pushed_keep_their_end_unless_the_clock_is_ahead() {
    let api = Api::start();
    let decided = |stop: i64, value: &str| Alert {
        stop_at: time(stop),
        decisions: vec![testudo_event::Decision {
            kind: "ban".to_owned(),
            scope: "ip".to_owned(),
            value: value.to_owned(),
            duration_ns: 3_600_000_000_000,
            until: time(stop + HOUR),
            ..Default::default()
        }],
        ..seen("", value)
    };
    let batch = vec![decided(START - HOUR / 2, "192.0.2.1"), decided(START + 9 * HOUR, "192.0.2.2")];
    api.service.push(MACHINE, batch, START).expect("taken");
    let left = |value: &str| {
        let decisions = api.bouncer("GET", &format!("/v1/decisions?ip={value}")).json();
        decisions[0]["duration"].as_str().map(str::to_owned)
    };
    assert_eq!(left("192.0.2.1").as_deref(), Some("30m0s"));
    assert_eq!(left("192.0.2.2").as_deref(), Some("1h0m0s"));
}

#[test]
fn identities_are_taken_from_programs_of_ours() {
    let api = Api::start();
    let mut batch = report("Ip", "192.0.2.10");
    batch[0]["uuid"] = "abc".into();
    batch[0]["contributors"] =
        serde_json::json!([{"value": "192.0.2.11", "count": 3, "last_seen": "2026-11-21T20:59:59Z"}]);
    batch[0]["bystanders"] = "of another meaning".into();
    let post = |agent: &str| {
        let token = format!("Bearer {}", api.token());
        let headers = [("authorization", token.as_str()), ("user-agent", agent)];
        api.ask("POST", "/v1/alerts", &headers, batch.to_string().as_bytes())
    };
    post("crowdsec/v1.7.8-linux").is(201, r#"["1"]"#);
    post("crowdsec/v1.7.8-linux").is(201, r#"["2"]"#);
    post("testudo/0.1.0").is(201, r#"["3"]"#);
    post("testudo/0.1.0").is(201, "[]");
    let uuid = |id: u32| api.machine("GET", &format!("/v1/alerts/{id}"), "").json()["uuid"].clone();
    assert_eq!(uuid(3), "abc");
    assert_eq!(uuid(1).as_str().map(str::len), Some(36));
}

#[test]
fn protected_addresses() {
    let api = Api::start();
    api.ban(&["ban 192.0.2.0/24", "ban 198.51.100.1", "ban 10.1.2.3"]);
    api.stream("startup=true");
    assert_eq!(protect(&api, &["192.0.2.1/32", "10.0.0.0/8"]), 2);
    assert_eq!(api.stream(""), ["-ban 192.0.2.0/24", "-ban 10.1.2.3"]);
    assert_eq!(protect(&api, &["192.0.2.1/32", "10.0.0.0/8"]), 0);
    // What agents report about them is passed over, what tools decide is refused.
    api.machine("POST", "/v1/alerts", &report("Ip", "192.0.2.1").to_string()).is(201, "[]");
    let post = |decisions: &[&str]| {
        let decisions: Vec<_> = decisions.iter().map(|text| decision(text)).collect();
        api.machine("POST", "/v1/alerts", &alert(&decisions).to_string())
    };
    post(&["ban 192.0.2.0/28"]).is(
        400,
        r#"{"message":"0.decisions: 192.0.2.0/28 must not be decided about: 192.0.2.1 is protected (ours)"}"#,
    );
    assert_eq!(post(&["ban 10.9.9.9", "ban 203.0.113.9"]).status, 201);
    assert_eq!(api.stream(""), ["+ban 203.0.113.9"]);
    // From the same process, too, and about a source of another scope.
    let mut own = seen("x", "10.9.9.9");
    let pushed = |alert: Alert| api.service.push(MACHINE, vec![alert], START).expect("taken");
    assert_eq!(pushed(own.clone()), [Pushed::Allowed]);
    own.decisions = vec![testudo_event::Decision {
        kind: "ban".to_owned(),
        scope: "range".to_owned(),
        value: "10.0.0.0/7".to_owned(),
        until: time(START + HOUR),
        duration_ns: 3_600_000_000_000,
        ..Default::default()
    }];
    assert!(matches!(pushed(own).as_slice(), [Pushed::Dropped(reason)] if reason.contains("10.0.0.0/8")));
    // They can be seen as a list.
    let lists = api.machine("GET", "/v1/allowlists?with_content=true", "").json();
    assert_eq!(
        (&lists[0]["name"], lists[0]["items"].as_array().map(Vec::len)),
        (&"testudo-protected".into(), Some(2))
    );
    assert_eq!(api.machine("GET", "/v1/allowlists/testudo-protected", "").status, 200);
    api.machine("GET", "/v1/allowlists/check/192.0.2.1", "")
        .is(200, r#"{"allowlisted":true,"reason":"192.0.2.1 from testudo-protected (ours)"}"#);
    assert_eq!(protect(&api, &[]), 0);
    api.machine("GET", "/v1/allowlists/testudo-protected", "")
        .is(404, r#"{"message":"allowlist 'testudo-protected' not found"}"#);
    assert_eq!(post(&["ban 10.9.9.9"]).status, 201);
}

#[test]
fn what_cannot_be_stored_is_kept_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dead.jsonl");
    let api = Api::with(Config { dead_letters: Some(path.clone()), ..Config::default() });
    let database = rusqlite::Connection::open(api.folder.path().join("api.db")).expect("it opens");
    let trigger = "CREATE TRIGGER poison BEFORE INSERT ON alerts WHEN NEW.scenario = 'poison' \
        BEGIN SELECT RAISE(ABORT, 'the poison works'); END";
    database.execute_batch(trigger).expect("made");
    let mut batch = report("Ip", "192.0.2.1");
    let mut add = |scenario: serde_json::Value| {
        let mut alert = report("Ip", "192.0.2.2")[0].clone();
        alert["scenario"] = scenario;
        batch.as_array_mut().expect("a list").push(alert);
    };
    add("poison".into());
    add(serde_json::Value::Null);
    add("demo/other".into());
    // Its source is no address, so that nothing can be decided about it.
    add("demo/nobody".into());
    batch[4]["source"]["value"] = "nobody".into();
    api.machine("POST", "/v1/alerts", &batch.to_string()).is(201, r#"["1","2"]"#);
    let text = std::fs::read_to_string(path).expect("it is there");
    let letters: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().expect("a reason")).collect();
    assert!(reasons[0].contains("the poison works"), "{reasons:?}");
    assert_eq!(reasons[1], "invalid ip address 'nobody'");
    assert!(reasons[2].contains("2.scenario in body is required"), "{reasons:?}");
    assert_eq!(letters[0]["alert"]["source"]["value"], "192.0.2.2");
    assert_eq!(api.service.dead_letter_count(), 3);
    // Where nothing can be stored at all, the sender keeps what it has.
    let trigger = "CREATE TRIGGER no_insert BEFORE INSERT ON config_items \
        BEGIN SELECT RAISE(ABORT, 'nothing works'); END;
        CREATE TRIGGER no_update BEFORE UPDATE ON config_items \
        BEGIN SELECT RAISE(ABORT, 'nothing works'); END";
    database.execute_batch(trigger).expect("made");
    assert_eq!(api.machine("POST", "/v1/alerts", &batch.to_string()).status, 500);
    assert_eq!(api.service.dead_letter_count(), 3);
}

#[test]
fn figures_for_an_exporter() {
    let api = Api::start();
    api.machine("GET", "/v1/heartbeat", "");
    api.ban(&[
        "ban 192.0.2.1 4h crowdsec demo/a",
        "ban 192.0.2.0/24 4h crowdsec demo/a",
        "captcha 192.0.2.1",
    ]);
    api.machine("POST", "/v1/alerts", &report("Ip", "192.0.2.9").to_string());
    api.machine("POST", "/v1/alerts", &report("lists:one", "x").to_string());
    api.bouncer("GET", "/v1/decisions?ip=192.0.2.1");
    let gauges = api.service.gauges();
    let active = |reason: &str, origin: &str, action: &str, count| ActiveDecisions {
        reason: reason.into(),
        origin: origin.into(),
        action: action.into(),
        count,
    };
    assert_eq!(
        gauges.active_decisions,
        [
            active("demo/a", "crowdsec", "ban", 2),
            active("demo/ssh-bf", "crowdsec", "ban", 1),
            active("manual", "cscli", "captcha", 1),
        ]
    );
    assert_eq!(*gauges.alerts, [("demo/ssh-bf".to_owned(), 1), ("manual".to_owned(), 1)]);
    assert_eq!(gauges.last_heartbeats, [(MACHINE.to_owned(), START / 1000)]);
    assert_eq!(gauges.last_pulls, [("fw".to_owned(), START / 1000)]);
    let kinds: Vec<_> = api.service.durations().iter().map(|kind| (kind.endpoint, kind.count)).collect();
    assert_eq!(kinds, [("/v1/alerts", 3), ("/v1/decisions", 1), ("/v1/heartbeat", 1)]);
}

#[test]
fn profiles_ask_about_decisions_and_pass_over_what_is_allowed() {
    let api = Api::start();
    let profiles = |text: &str| {
        let file = testudo_rules::SourceFile { path: "profiles.yaml".into(), text: text.into() };
        let loaded = testudo_rules::load_profiles(Arc::new(file));
        assert_eq!(loaded.items.len(), 1, "{text}");
        api.service.set_profiles(Profiles::new(loaded.items));
    };
    let push = |alert: Alert| {
        let pushed = api.service.push(MACHINE, vec![alert], START).expect("taken");
        match pushed.as_slice() {
            [Pushed::Stored { decisions, .. }] => *decisions,
            other => panic!("{other:?}"),
        }
    };
    profiles(
        "name: p\nfilters:\n - GetActiveDecisionsCount(Alert.GetValue()) == 0\n - Alert.Remediation == true && GetDecisionsCount(Alert.GetValue()) == 0\ndecisions:\n - type: ban\n   duration: 4h\n",
    );
    // Two filters hold the first time: it is decided once all the same. The second time none does.
    assert_eq!(push(seen("", "192.0.2.1")), 1);
    assert_eq!(push(seen("", "192.0.2.1")), 0);
    profiles(
        "name: p\nfilters:\n - Alert.Remediation == true\nattribution: contributors\ndecisions:\n - type: ban\n   duration: 4h\n",
    );
    protect(&api, &["198.51.100.1/32"]);
    let contributor = |value: &str| testudo_event::Contributor {
        value: value.to_owned(),
        count: 1,
        last_seen: time(START - SECOND),
    };
    let contributors = ["192.0.2.7", "198.51.100.1", "192.0.2.8"].map(contributor).to_vec();
    push(Alert { contributors, ..seen("", "192.0.2.7") });
    let banned = api.stream("startup=true");
    assert_eq!(banned, ["+ban 192.0.2.1", "+ban 192.0.2.7", "+ban 192.0.2.8"]);
}

#[test]
fn profiles_ask_who_is_listed() {
    /// Lists 192.0.2.0/24, and 198.51.100.1 as an engine's own ban.
    struct Lists;
    impl Listings for Lists {
        fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
            let all = [("192.0.2.0/24", "lists"), ("198.51.100.1/32", "crowdsec")];
            for (network, origin) in all {
                if Prefix::parse(network).is_some_and(|network| network.contains(about.addr())) {
                    let _ = tell(Listing { origin, scenario: "x", kind: "ban", since: 0, until: i64::MAX });
                }
            }
        }
    }
    let api = Api::start();
    let text = "name: listed\nfilters: ['IsListed(Alert.GetValue())']\ndecisions: [{type: ban, duration: 48h}]\n\
                on_success: break\n---\nname: p\nfilters: [Alert.Remediation]\ndecisions: [{type: captcha, duration: 4h}]\n";
    let file = testudo_rules::SourceFile { path: "profiles.yaml".into(), text: text.into() };
    let profiles = Profiles::new(testudo_rules::load_profiles(Arc::new(file)).items);
    assert!(profiles.ask_lists());
    assert!(!Profiles::new(testudo_decide::default_profiles()).ask_lists());
    api.service.set_profiles(profiles);
    let push = |value: &str| drop(api.service.push(MACHINE, vec![seen("", value)], START).expect("taken"));
    push("192.0.2.1");
    api.service.set_listings(Arc::new(Lists));
    push("192.0.2.2");
    push("198.51.100.1");
    let decided = api.stream("startup=true");
    assert_eq!(decided, ["+captcha 192.0.2.1", "+ban 192.0.2.2", "+captcha 198.51.100.1"]);
}

#[test]
fn what_profiles_ask() {
    let api = Api::start();
    api.ban(&["ban 192.0.2.1 1h", "captcha 192.0.2.0/24 4h", "ban 192.0.2.99 4h"]);
    api.pass(2 * HOUR);
    api.ban(&["ban 192.0.2.1 3h"]);
    let now = START + 2 * HOUR;
    let helpers = IndexServices::new(api.service.store(), now);
    let hour = 3_600_000_000_000;
    assert_eq!(helpers.decisions_count("192.0.2.1"), 3);
    assert_eq!(helpers.decisions_since_count("192.0.2.1", hour), 1);
    assert_eq!(helpers.active_decisions_count("192.0.2.1"), 2);
    assert_eq!(helpers.active_decisions_time_left("192.0.2.1"), 2 * hour);
    assert_eq!(helpers.active_decisions_time_left("198.51.100.1"), 0);
    assert_eq!(helpers.decisions_count("nobody"), 0);
    assert_eq!(helpers.now(), time(now));
}
