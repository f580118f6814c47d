//! Snapshots, tags, and compressed answers.

use testudo_wire::snapshot::{MEDIA_TYPE, Snapshot};

use super::*;

fn get(api: &Api, path: &str, headers: &[(&str, &str)]) -> Reply {
    let headers = [&[("x-api-key", KEY)][..], headers].concat();
    api.ask("GET", path, &headers, b"")
}

fn snapshot(api: &Api, parameters: &str) -> (Snapshot, Vec<String>) {
    let reply = get(api, &format!("/v1/decisions/snapshot{parameters}"), &[]);
    assert_eq!((reply.status, reply.header("content-type")), (200, MEDIA_TYPE));
    let snapshot = Snapshot::read(reply.body).expect("a snapshot");
    let mut told: Vec<String> =
        snapshot.entries().map(|entry| format!("{} {}", entry.kind.kind, entry.value)).collect();
    told.sort();
    (snapshot, told)
}

#[test]
fn what_a_snapshot_holds() {
    let api = Api::start();
    assert_eq!(snapshot(&api, "").1, Vec::<String>::new());
    api.ban(&[
        "ban 192.0.2.1 4h lists firehol",
        "ban 192.0.2.1 8h",
        "captcha 2001:DB8::1",
        "ban 192.0.2.0/24",
        "throttle 192.0.2.2",
        "allow 192.0.2.3",
        "ban NL",
    ]);
    let (whole, told) = snapshot(&api, "");
    assert_eq!(told, ["ban 192.0.2.0/24", "ban 192.0.2.1", "captcha 2001:DB8::1"]);
    assert_eq!((whole.seq(), whole.at_ms()), (1, START));
    let longest = whole.entries().find(|entry| entry.value.to_string() == "192.0.2.1").expect("it is there");
    assert_eq!((longest.kind.origin, longest.end_secs), ("cscli", (START + 8 * HOUR) / 1000));
    assert_eq!(snapshot(&api, "?types=*&scopes=ip,country").1.len(), 4);
    assert_eq!(snapshot(&api, "?origins=lists").1, ["ban 192.0.2.1"]);
    assert_eq!(get(&api, "/v1/decisions/snapshot?ip=foo", &[]).status, 400);
    assert_eq!(api.ask("GET", "/v1/decisions/snapshot", &[], b"").status, 403);
    // It does not move the position of the bouncer.
    assert_eq!(api.stream("").len(), 3);
}

#[test]
fn a_snapshot_of_many_blocks() {
    let api = Api::start();
    let values: Vec<String> =
        (0..40_000_u32).map(|n| format!("ban {}", std::net::Ipv4Addr::from_bits(n * 65_537 + 7))).collect();
    api.ban(&values.iter().map(String::as_str).collect::<Vec<_>>());
    api.machine("DELETE", "/v1/decisions?ip=0.0.0.7", "");
    let plain = get(&api, "/v1/decisions/snapshot", &[]);
    let bytes = plain.body.len();
    let whole = Snapshot::read(plain.body).expect("a snapshot");
    assert_eq!(whole.len(), 39_999);
    println!("{} bytes for {} entries", bytes, whole.len());
    assert!(bytes < whole.len() * 4);
    let packed = get(
        &api,
        "/v1/decisions/snapshot",
        &[("user-agent", "testudo/1"), ("accept-encoding", "gzip, zstd")],
    );
    assert_eq!(packed.header("content-encoding"), "zstd");
    assert_eq!(zstd::decode_all(packed.body.as_slice()).expect("zstd").len(), bytes);
}

#[test]
fn compressed_streams_are_whole() {
    let api = Api::start();
    let values: Vec<String> = (0..3000).map(|n| format!("ban 10.0.{}.{}", n / 250, n % 250)).collect();
    api.ban(&values.iter().map(String::as_str).collect::<Vec<_>>());
    let path = "/v1/decisions/stream?startup=true";
    let plain = get(&api, path, &[]);
    let packed = get(&api, path, &[("user-agent", "testudo/1"), ("accept-encoding", "zstd")]);
    assert_eq!(zstd::decode_all(packed.body.as_slice()).expect("zstd"), plain.body);
    assert!(packed.body.len() * 4 < plain.body.len());
    assert_eq!(packed.header("vary"), "Accept-Encoding");
    // Short ones are not worth it.
    let short =
        get(&api, "/v1/decisions?ip=10.0.0.1", &[("user-agent", "testudo/1"), ("accept-encoding", "zstd")]);
    assert_eq!(short.header("content-encoding"), "");
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let api = Api::start();
    api.ban(&["ban 192.0.2.1 1h", "ban 192.0.2.2 4h"]);
    for path in ["/v1/decisions/stream?startup=true", "/v1/decisions", "/v1/decisions/snapshot"] {
        let reply = get(&api, path, &[]);
        let tag = reply.header("etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{path} {tag}");
        assert_eq!(reply.header("cache-control"), "no-store");
        let asked = |value: &str| {
            let reply = get(&api, path, &[("if-none-match", value)]);
            assert_eq!(reply.body.is_empty(), reply.status == 304, "{path}");
            (reply.status, reply.header("etag").to_owned())
        };
        assert_eq!(asked(&tag), (304, tag.clone()));
        assert_eq!(asked(&format!("\"x\", {tag}")), (304, tag.clone()));
        assert_eq!(asked(tag.trim_start_matches("W/")).0, 304);
        for other in ["\"x\"", "W/\"\"", "", "x"] {
            assert_eq!(asked(other), (200, tag.clone()), "{other}");
        }
        // Another question has another tag.
        let other = if path.contains('?') { "&" } else { "?" };
        let narrower = get(&api, &format!("{path}{other}origins=cscli"), &[("if-none-match", &tag)]);
        assert_eq!(narrower.status, 200);
    }
    // Only the start of a stream has one, and only a list with something in it.
    assert_eq!(get(&api, "/v1/decisions/stream", &[]).header("etag"), "");
    assert_eq!(get(&api, "/v1/decisions?ip=10.0.0.1", &[]).header("etag"), "");
}

#[test]
fn tags_change_with_every_decision() {
    let api = Api::start();
    let path = "/v1/decisions/stream?startup=true";
    let mut tag = String::new();
    let mut changed = || {
        let reply = get(&api, path, &[("if-none-match", &tag)]);
        let is_changed = reply.status == 200;
        reply.header("etag").clone_into(&mut tag);
        is_changed
    };
    assert!(changed() && !changed());
    api.ban(&["ban 192.0.2.1 1h", "ban 192.0.2.2 4h"]);
    assert!(changed() && !changed());
    api.pass(HOUR);
    assert!(changed() && !changed());
    api.machine("DELETE", "/v1/decisions?ip=192.0.2.2", "");
    assert!(changed() && !changed());
    api.ban(&["ban 192.0.2.2 4h"]);
    assert!(changed() && !changed());
    // A start that changed nothing moves the position all the same.
    api.pass(10 * SECOND);
    assert!(!changed());
    let row = api.service.store().bouncers().get("fw").expect("it is there");
    let now = api.service.store().index(api.clock.load(Ordering::Relaxed)).now();
    assert_eq!((row.stream, row.last_pull_ms), (Some(now), Some(now.at)));
    assert_eq!(api.stream(""), Vec::<String>::new());
}
