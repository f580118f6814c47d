//! `why` and `status`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use testudo_event::{Alert, AlertEvent, Source, Timestamp};
use testudo_store::NewAlert;

use super::*;

#[test]
fn why_an_address_is_banned() {
    let node = Node::start();
    node.go("bouncers add fw -k key").good();
    node.go("decisions add -i 192.0.2.7 -R first").good();
    node.go("decisions delete --all").good();
    node.go("decisions add -i 192.0.2.7 -R second").good();
    node.go("decisions add -r 192.0.2.0/24 -R around -t captcha").good();
    let told = steady(&node.go("why 192.0.2.7").good());
    assert_eq!(
        told,
        "\
192.0.2.7

Decisions in force
| ID | Action | Ends in | Scope:Value | Source | Reason | Alert ID |
| 2 | ban | LEFT | Ip:192.0.2.7 | cscli | second | 2 |
| 3 | captcha | LEFT | Range:192.0.2.0/24 | cscli | around | 3 |

Decisions that have ended
| ID | Action | Ended before | Scope:Value | Source | Reason | Alert ID |
| 1 | ban | LEFT | Ip:192.0.2.7 | cscli | first | 1 |

Alerts
| ID | Time | Scenario | About | Events | Seen by | Where |
| 3 | TIME | around | Range:192.0.2.0/24 | 1 | edge-07 | |
| 2 | TIME | second | Ip:192.0.2.7 | 1 | edge-07 | |
| 1 | TIME | first | Ip:192.0.2.7 | 1 | edge-07 | |

Bouncers, some seconds ago
| Name | Last pull | Knows of it |
| fw | never | not yet |

What to do next
- see the events of an alert: cscli alerts inspect -d 3
- lift it: cscli unban 192.0.2.7
- never ban it again: cscli allowlists add NAME 192.0.2.7
- look after bouncers that have not asked since: fw
"
    );
    let known = node.go("why 192.0.2.7 -o json").json();
    assert_eq!((&known["schema"], &known["decisions"][0]["value"]), (&1.into(), &"192.0.2.7".into()));
    assert_eq!(known["bouncers"][0]["has_pulled_since"], false);
}

#[test]
fn why_tells_what_was_seen() {
    let node = Node::start();
    let log = node.path("auth.log");
    std::fs::write(&log, "one from 203.0.113.9\ntwo from 203.0.113.90\nthree from 203.0.113.9\n")
        .expect("written");
    let event = |user: &str| AlertEvent {
        meta: [("datasource_path", log.as_str()), ("source_ip", "203.0.113.9"), ("target_user", user)]
            .as_slice()
            .into(),
        timestamp: "2026-11-21T20:49:58Z".to_owned(),
    };
    let alert = Alert {
        scenario: "demo/ssh-bf".to_owned(),
        stop_at: Timestamp::from_unix(now_ms() / 1000, 0),
        events: [event("root"), event("admin"), event("root")].into(),
        context: vec![("method".to_owned(), r#"["ssh2"]"#.to_owned())],
        source: Source {
            scope: "Ip".to_owned(),
            value: "203.0.113.9".to_owned(),
            ip: "203.0.113.9".to_owned(),
            cn: "NL".to_owned(),
            as_number: "64500".to_owned(),
            ..Source::default()
        },
        ..Alert::default()
    };
    let new = NewAlert { uuid: String::new(), machine: None, alert, decisions: Vec::new() };
    node.service.store().add_alerts(&[new], now_ms()).expect("stored");
    let told = node.go("why 203.0.113.9").good();
    assert!(told.starts_with("203.0.113.9 (NL 64500)\n"), "{told}");
    for part in [
        "What was seen last\n method             ssh2\n target_user        root, admin\n",
        &format!("Last lines in {log}\n one from 203.0.113.9\n three from 203.0.113.9\n"),
        &format!("| N/A     | {log} |"),
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn why_among_many() {
    let node = Node::start();
    let values: Vec<String> = (0..60).map(|number| format!("192.0.2.{number}")).collect();
    let values = values.join("\n");
    node.with_input(&["decisions", "import", "-i", "-", "--format", "values"], &values).good();
    let told = steady(&node.go("why 192.0.2.7").good());
    for part in [
        "| 8 | ban | LEFT | Ip:192.0.2.7 | cscli-import | manual | 1 |\n\n",
        "Whom else these alerts are about\n| Alert ID | Others | Such as |\n| 1 | 59 | 192.0.2.0, 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 |\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = node.go("why 192.0.2.0/24").good();
    assert!(told.contains("… and 10 more\n"), "{told}");
    // The same from the API, where there is no database.
    let config = std::fs::read_to_string(node.path("config.yaml")).expect("read");
    let config = config.replace("  server:\n", "  server:\n    enable: false\n");
    std::fs::write(node.path("config.yaml"), config).expect("written");
    let known = node.go("why 192.0.2.7 -o json").json();
    assert_eq!(known["decisions"].as_array().map(Vec::len), Some(1));
    assert_eq!(known["others"][0]["count"], 59);
}

#[test]
fn why_an_address_is_not() {
    let node = Node::start();
    node.go("allowlists create office -d exits").good();
    node.go("allowlists add office 203.0.113.7 -d us").good();
    let told = node.go("why 203.0.113.7").good();
    for part in [
        "No decision is in force.",
        "No alert is known.",
        "Allowed by\n - 203.0.113.7 from office (us)",
        "Never banned by this daemon\n - 203.0.113.0/24 in testudo.protect.never_ban",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = node.go("why nobody").good();
    assert_eq!(told, "nobody\n\nNo decision is in force.\n\nNo alert is known.\n");
}

/// A daemon, as far as its control socket shows one.
fn control(node: &Node, status: &'static str) {
    let listener = UnixListener::bind(node.path("control.sock")).expect("it listens");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let length = status.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{status}"
            );
        }
    });
}

#[test]
fn a_node_that_is_well() {
    let node = Node::start();
    control(
        &node,
        r#"{"schema":1,"version":"0.1.0","pid":7,"uptime_seconds":3661,"reload_refused":null,"agent":{
            "sources":[{"kind":"file","title":"/var/log/auth.log","type":"syslog","state":"running","reason":null,"problem":null,"restarts":0,"lines":12,"unread_bytes":0,"skipped":0}],
            "streams":[{"name":"/var/log/auth.log","type":"syslog","lines":12,"parsed":10,"lag_seconds":0.25}],
            "scenarios":21,"buckets":3,"alerts":1,"outbox":0,"delivery_failures":0,"dead_letters":0,"stopped":[],
            "protected_addresses":[{"address":"198.51.100.7/32","reason":"a session of root"}]}}"#,
    );
    node.go("decisions add -i 192.0.2.7").good();
    let told = steady(&node.go("status").good());
    for line in [
        "Daemon version 0.1.0, process 7, up for LEFT\n",
        "Local API answers at ",
        "Detection 21 scenarios, 3 buckets, 1 alerts so far\n",
        "Decisions 1 in force (1 ban)\n",
        "| file /var/log/auth.log | syslog | running | 12 | 0 |\n",
        "| /var/log/auth.log | 12 | 10 | 0.2s |\n",
        "Everything is well.\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let told = node.go("why 198.51.100.7").good();
    assert!(told.contains(" - 198.51.100.7/32: a session of root\n"), "{told}");
}

#[test]
fn a_node_that_is_not() {
    let mut node = Node::start();
    node.go("bouncers add fw -k key").good();
    let store = node.service.store();
    store.bouncers().update("fw", |one| one.last_pull_ms = Some(now_ms() - 3_600_000)).expect("changed");
    store
        .machines()
        .update(MACHINE, |one| one.last_heartbeat_ms = Some(now_ms() - 600_000))
        .expect("changed");
    node.end_api();
    let outcome = node.go("status");
    assert!(!outcome.ok && outcome.err.is_empty(), "{outcome:?}");
    let told = steady(&outcome.out);
    for part in [
        "! the daemon does not run, or this user may not ask it: nobody answers at /",
        "! the local API cannot be used: cannot reach",
        "! bouncer fw has not asked for LEFT\n",
        "! machine edge-07 gave no heartbeat for LEFT\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let found = node.go("status -o json");
    assert!(!found.ok);
    let found: serde_json::Value = serde_json::from_str(&found.out).expect("JSON");
    assert_eq!(found["warnings"].as_array().map(Vec::len), Some(4));
}
