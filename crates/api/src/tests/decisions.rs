//! What bouncers are told, and what machines lift.

use super::*;

#[test]
fn a_list_to_the_byte() {
    let api = Api::start();
    api.bouncer("GET", "/v1/decisions").is(200, "null");
    api.bouncer("GET", "/v1/decisions?ip=192.0.2.10").is(200, "null");
    api.ban(&["ban 192.0.2.10 4h crowdsec demo/ssh-bf"]);
    api.pass(118 * SECOND);
    let reply = api.bouncer("GET", "/v1/decisions?ip=192.0.2.10");
    reply.is(
        200,
        r#"[{"duration":"3h58m2s","id":1,"origin":"crowdsec","scenario":"demo/ssh-bf","scope":"Ip","type":"ban","value":"192.0.2.10"}]"#,
    );
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    let head = api.bouncer("HEAD", "/v1/decisions?ip=192.0.2.10");
    head.is(200, "");
    assert_eq!(head.header("content-type"), "text/plain; charset=utf-8");
}

#[test]
fn filters_of_lists() {
    let api = Api::start();
    api.ban(&[
        "ban 192.0.2.10 4h crowdsec demo/ssh-bf",
        "captcha 192.0.2.0/24 4h lists firehol",
        "ban 2001:DB8::1 4h CAPI demo/HTTP-probing",
        "ban NL 4h cscli manual",
        "throttle 192.0.2.11",
        "allow 192.0.2.12",
    ]);
    let check = |parameters: &str, expected: &[&str]| {
        let reply = api.bouncer("GET", &format!("/v1/decisions?{parameters}"));
        assert_eq!(reply.status, 200, "{parameters}: {}", reply.text());
        let body = reply.json();
        let values: Vec<_> = body
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item["value"].as_str().expect("a value"))
            .collect();
        assert_eq!(values, expected, "{parameters}");
    };
    let known = ["192.0.2.10", "192.0.2.0/24", "2001:DB8::1", "NL"];
    check("", &known);
    check("unknown=1&simulated=false", &known);
    check("origins=&scopes=&ip=&type=", &known);
    check("ip=192.0.2.10", &["192.0.2.10", "192.0.2.0/24"]);
    check("ip=%3A%3Affff%3A192.0.2.99", &["192.0.2.0/24"]);
    check("range=192.0.2.0/25", &["192.0.2.0/24"]);
    check("range=192.0.0.0/16&contains=false", &["192.0.2.10", "192.0.2.0/24"]);
    check("range=192.0.0.0/16", &[]);
    check("ip=2001:db8::1", &["2001:DB8::1"]);
    check("value=2001:db8::1", &[]);
    check("value=2001:DB8::1", &["2001:DB8::1"]);
    check("scope=COUNTRY&value=NL", &["NL"]);
    check("scopes=ip,range&scope=range", &["192.0.2.0/24"]);
    check("type=captcha", &["192.0.2.0/24"]);
    check("type=throttle", &["192.0.2.11"]);
    check("types=ban,throttle,allow", &["192.0.2.10", "2001:DB8::1", "NL", "192.0.2.11", "192.0.2.12"]);
    check("types=ban,captcha&type=captcha", &["192.0.2.0/24"]);
    check("types=*", &["192.0.2.10", "192.0.2.0/24", "2001:DB8::1", "NL", "192.0.2.11", "192.0.2.12"]);
    check("types=ban,*&type=throttle", &["192.0.2.11"]);
    check("origins=lists,CAPI", &["192.0.2.0/24", "2001:DB8::1"]);
    check("origins=Lists", &[]);
    check("scenarios_containing=SSH,http", &["192.0.2.10", "2001:DB8::1"]);
    check("scenarios_not_containing=ssh,manual", &["192.0.2.0/24", "2001:DB8::1"]);
    check("limit=2", &["192.0.2.10", "192.0.2.0/24"]);
    check("limit=1&offset=2", &["2001:DB8::1"]);
    check("id_gt=2&limit=1", &["2001:DB8::1"]);
    check("ip=192.0.2.10&ip=192.0.2.99", &["192.0.2.10", "192.0.2.0/24"]);
}

#[test]
fn bad_parameters() {
    let api = Api::start();
    for path in ["/v1/decisions", "/v1/decisions/stream"] {
        let check = |parameters: &str, message: &str| {
            let reply = api.bouncer("GET", &format!("{path}?{parameters}"));
            let expected = serde_json::json!({ "message": message }).to_string();
            assert_eq!((reply.status, reply.text()), (400, expected.as_str()), "{path}?{parameters}");
        };
        check(
            "ip=foo",
            "unable to convert 'foo' to int: invalid ip address 'foo': invalid ip address / range",
        );
        check(
            "range=x/24",
            "unable to convert 'x/24' to int: invalid ip range 'x/24': invalid CIDR address: x/24: invalid ip address / range",
        );
        check(
            "contains=maybe",
            r#"invalid contains value: strconv.ParseBool: parsing "maybe": invalid syntax: invalid filter"#,
        );
    }
    let reply = api.bouncer("GET", "/v1/decisions?limit=x");
    reply.is(400, r#"{"message":"invalid limit value: strconv.Atoi: parsing \"x\": invalid syntax"}"#);
}

#[test]
fn the_stream_to_the_byte() {
    let api = Api::start();
    let poll = |parameters: &str| api.bouncer("GET", &format!("/v1/decisions/stream{parameters}"));
    let empty = r#"{"new": [], "deleted": []}"#;
    let reply = poll("?startup=true");
    reply.is(200, empty);
    assert_eq!((reply.header("content-type"), reply.header("content-length")), ("application/json", ""));
    api.ban(&["ban 192.0.2.77 4h"]);
    let id = {
        let body = poll("").json();
        let uuid = body["new"][0]["uuid"].as_str().expect("an identity").to_owned();
        assert_eq!(uuid.len(), 36);
        uuid
    };
    let decision = |duration: &str| {
        format!(
            r#"{{"duration":"{duration}","id":1,"origin":"cscli","scenario":"manual","scope":"Ip","type":"ban","uuid":"{id}","value":"192.0.2.77"}}"#
        )
    };
    poll("").is(200, empty);
    api.pass(10 * SECOND);
    poll("?startup=true").is(200, &format!(r#"{{"new": [{}], "deleted": []}}"#, decision("3h59m50s")));
    api.pass(4 * HOUR);
    poll("?startup=false").is(200, &format!(r#"{{"new": [], "deleted": [{}]}}"#, decision("-10s")));
    poll("").is(200, empty);
    poll("?startup=TRUE").is(200, empty);
}

#[test]
fn the_stream_tells_what_changes() {
    let api = Api::start();
    let nothing: [&str; 0] = [];
    api.ban(&[
        "ban 192.0.2.1 1h",
        "ban 192.0.2.1 4h",
        "captcha 192.0.2.1 1h",
        "ban NL",
        "throttle 192.0.2.2",
        "allow 192.0.2.3",
    ]);
    assert_eq!(api.stream("startup=true"), ["+ban 192.0.2.1", "+captcha 192.0.2.1"]);
    assert_eq!(api.stream("startup=false"), nothing);
    // A shorter one says nothing new, a longer one does.
    api.ban(&["ban 192.0.2.1 2h"]);
    assert_eq!(api.stream(""), nothing);
    api.ban(&["ban 192.0.2.1 5h"]);
    assert_eq!(api.stream("additional_pull=false&community_pull=false"), ["+ban 192.0.2.1"]);
    // What ends is lifted when nothing else holds it.
    api.pass(HOUR + SECOND);
    assert_eq!(api.stream(""), ["-captcha 192.0.2.1"]);
    api.machine("DELETE", "/v1/decisions?ip=192.0.2.1", "").is(200, r#"{"nbDeleted":"3"}"#);
    assert_eq!(api.stream("").last().map(String::as_str), Some("-ban 192.0.2.1"));
    assert_eq!(api.stream(""), nothing);
}

#[test]
fn what_the_stream_is_asked_for() {
    let api = Api::start();
    api.ban(&[
        "ban 192.0.2.1 24h lists firehol",
        "ban 192.0.2.1 4h crowdsec demo/ssh-bf",
        "ban 198.51.100.0/24 4h cscli manual",
        "ban NL 4h cscli manual",
        "throttle 192.0.2.2 4h cscli manual",
        "allow 192.0.2.3 4h cscli manual",
    ]);
    let check = |parameters: &str, expected: &[&str]| {
        assert_eq!(api.stream(&format!("startup=true&{parameters}")), expected, "{parameters}");
    };
    check("", &["+ban 192.0.2.1", "+ban 198.51.100.0/24"]);
    check("dedup=false", &["+ban 192.0.2.1", "+ban 192.0.2.1", "+ban 198.51.100.0/24"]);
    // Of what it asks for, not of everything, only the longest is told.
    check("origins=crowdsec", &["+ban 192.0.2.1"]);
    check("origins=crowdsec,lists", &["+ban 192.0.2.1"]);
    check("scenarios_containing=SSH", &["+ban 192.0.2.1"]);
    check("scenarios_not_containing=ssh,firehol", &["+ban 198.51.100.0/24"]);
    check("scopes=country", &["+ban NL"]);
    check("scope=country", &[]);
    check("scope=range", &["+ban 198.51.100.0/24"]);
    check("scopes=ip,range,country", &["+ban 192.0.2.1", "+ban 198.51.100.0/24", "+ban NL"]);
    check("type=throttle", &["+throttle 192.0.2.2"]);
    check("types=throttle,allow", &["+throttle 192.0.2.2"]);
    check("types=allow", &[]);
    check("ip=192.0.2.1", &["+ban 192.0.2.1"]);
}

#[test]
fn simulated_decisions_are_for_those_who_ask() {
    let api = Api::start();
    let mut batch = alert(&[decision("ban 192.0.2.1")]);
    batch[0]["simulated"] = true.into();
    assert_eq!(api.machine("POST", "/v1/alerts", &batch.to_string()).status, 201);
    assert_eq!(api.stream("startup=true").len(), 0);
    assert_eq!(api.stream("startup=true&simulated=true"), ["+ban 192.0.2.1"]);
    api.bouncer("GET", "/v1/decisions").is(200, "null");
    assert_eq!(api.bouncer("GET", "/v1/decisions?simulated=all").json().as_array().map(Vec::len), Some(1));
}

#[test]
fn a_question_does_not_move_the_stream() {
    let api = Api::start();
    api.stream("startup=true");
    api.ban(&["ban 192.0.2.1"]);
    api.pass(2 * 60 * SECOND);
    assert_eq!(api.bouncer("GET", "/v1/decisions?ip=192.0.2.1").json().as_array().map(Vec::len), Some(1));
    assert_eq!(api.bouncer("HEAD", "/v1/decisions/stream").status, 200);
    assert_eq!(api.stream(""), ["+ban 192.0.2.1"]);
}

#[test]
fn long_answers_come_in_pages() {
    let api = Api::start();
    let texts: Vec<String> =
        (0..7000).map(|at| format!("ban 10.0.{}.{} {}h", at / 250, at % 250, 1 + at % 3)).collect();
    api.ban(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(api.stream("startup=true").len(), 7000);
    let list = api.bouncer("GET", "/v1/decisions").json();
    let ids: Vec<_> =
        list.as_array().into_iter().flatten().map(|item| item["id"].as_i64().expect("a number")).collect();
    assert_eq!(ids, (1..=7000).collect::<Vec<_>>());
    assert_eq!(api.bouncer("GET", "/v1/decisions?limit=4000").json().as_array().map(Vec::len), Some(4000));
    assert_eq!(
        api.bouncer("GET", "/v1/decisions?limit=2000&offset=6000").json().as_array().map(Vec::len),
        Some(1000)
    );
    api.machine("DELETE", "/v1/decisions", "").is(200, r#"{"nbDeleted":"7000"}"#);
    let lifted = api.stream("");
    assert_eq!(lifted.len(), 7000);
    assert!(lifted.iter().all(|text| text.starts_with('-')));
}

#[test]
fn decisions_are_lifted() {
    let api = Api::start();
    api.ban(&[
        "ban 192.0.2.1 4h crowdsec demo/ssh-bf",
        "captcha 192.0.2.1 4h cscli manual",
        "ban 192.0.2.0/24 4h cscli manual",
        "ban NL 4h cscli manual",
    ]);
    let check = |path: &str, status: u16, body: &str| {
        let reply = api.machine("DELETE", &format!("/v1/decisions{path}"), "");
        assert_eq!((reply.status, reply.text()), (status, body), "{path}");
    };
    check("?foo=1", 400, r#"{"message":"'foo' doesn't exist: invalid filter"}"#);
    check("?value=", 400, r#"{"message":"'value' has no value: invalid filter"}"#);
    check(
        "?ip=foo",
        400,
        r#"{"message":"unable to convert 'foo' to int: invalid ip address 'foo': invalid ip address / range"}"#,
    );
    check("/x", 400, r#"{"message":"decision_id must be valid integer"}"#);
    check("/100", 404, r#"{"message":"decision with id '100' doesn't exist: unable to delete"}"#);
    check("?type=captcha&ip=192.0.2.99", 200, r#"{"nbDeleted":"0"}"#);
    check("?type=captcha", 200, r#"{"nbDeleted":"1"}"#);
    check("?scopes=Country", 200, r#"{"nbDeleted":"1"}"#);
    check("?scope=Range&range=192.0.0.0/16&contains=false", 200, r#"{"nbDeleted":"1"}"#);
    check("?uuid=5b0c7f2e-3a55-4f55-9d0e-2f4a7a1b9c11", 200, r#"{"nbDeleted":"0"}"#);
    check("/1", 200, r#"{"nbDeleted":"1"}"#);
    check("/1", 200, r#"{"nbDeleted":"1"}"#);
    check("", 200, r#"{"nbDeleted":"0"}"#);
    api.bouncer("GET", "/v1/decisions").is(200, "null");
}
