//! The store on files of its own.

use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use testudo_event::{Alert, AlertEvent, Decision, Source, Timestamp};

use super::*;
use crate::db::alerts::AlertFilter;
use crate::index::{Side, Since, StreamOptions};
use crate::place::Target;
use crate::records::{Allowlist, AllowlistItem, NewAlert, NewDecision, StoredAlert};
use crate::sql::SqlErrorKind;

pub(super) const START: i64 = 1_795_294_800_000;
pub(super) const SECOND: i64 = 1000;
pub(super) const HOUR: i64 = 3600 * SECOND;
pub(super) const DAY: i64 = 24 * HOUR;

/// A server that is named by words as `host=… port=…`.
#[cfg(feature = "server")]
pub(super) fn server(words: &str) -> Server {
    let mut server = Server::default();
    for (word, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        let text = || value.to_owned();
        match word {
            "host" => server.host = text(),
            "port" => server.port = value.parse().expect("a port"),
            "user" => server.user = text(),
            "password" => server.password = text(),
            "dbname" => server.database = text(),
            _ => panic!("unknown word {word}"),
        }
    }
    server
}

/// A file; or, when a server is named for the tests, a schema of its own there with the name of the file's
/// folder.
pub(super) fn location(path: &Path) -> Location {
    #[cfg(feature = "server")]
    let name = {
        let folder = path.parent().and_then(Path::file_name).expect("a folder").to_string_lossy();
        let name: String = folder.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("test_{}", name.to_ascii_lowercase())
    };
    #[cfg(feature = "postgres")]
    if let Ok(words) = std::env::var(SERVER) {
        let server = server(&words);
        let mut connection = crate::sql::Postgres::open(&server).expect("the server answers");
        connection.run_script(&format!("CREATE SCHEMA IF NOT EXISTS {name}")).expect("it is made");
        return Location::Postgres(Server { schema: name, ..server });
    }
    #[cfg(feature = "mysql")]
    if let Ok(words) = std::env::var(MYSQL_SERVER) {
        let server = server(&words);
        let mut connection = crate::sql::MySql::open(&server).expect("it answers");
        connection.run_script(&format!("CREATE DATABASE IF NOT EXISTS {name}")).expect("it is made");
        return Location::MySql(Server { database: name, ..server });
    }
    Location::Sqlite { path: path.to_owned(), wal: true }
}

/// Names a server of PostgreSQL for the tests.
pub(super) const SERVER: &str = "TESTUDO_TEST_POSTGRES";
/// Names a server of MySQL or MariaDB for the tests.
pub(super) const MYSQL_SERVER: &str = "TESTUDO_TEST_MYSQL";

/// Whether the tests run on a server: those about files have nothing to do then.
pub(super) fn on_server() -> bool {
    (cfg!(feature = "postgres") && std::env::var_os(SERVER).is_some())
        || (cfg!(feature = "mysql") && std::env::var_os(MYSQL_SERVER).is_some())
}

pub(super) fn open_at(path: &Path, now_ms: i64) -> Store {
    let location = location(path);
    let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
    Store::open(options, now_ms).expect("it opens")
}

pub(super) fn open() -> (TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_at(&folder.path().join("db"), START);
    (folder, store)
}

fn time(millis: i64) -> Timestamp {
    Timestamp::default().add_nanos(millis * 1_000_000)
}

pub(super) fn decision(scope: &str, value: &str, seconds: i64) -> NewDecision {
    NewDecision {
        uuid: 7,
        decision: Decision {
            kind: "ban".to_owned(),
            scope: scope.to_owned(),
            value: value.to_owned(),
            origin: "crowdsec".to_owned(),
            scenario: "demo/ssh-bf".to_owned(),
            until: time(START + seconds * SECOND),
            ..Decision::default()
        },
    }
}

pub(super) fn source(scope: &str, value: &str) -> Source {
    Source { scope: scope.to_owned(), value: value.to_owned(), ..Source::default() }
}

pub(super) fn alert(source: Source, decisions: Vec<NewDecision>) -> NewAlert {
    let alert = Alert {
        scenario: "demo/ssh-bf".to_owned(),
        kind: "crowdsec".to_owned(),
        message: "m".to_owned(),
        capacity: -1,
        events_count: 6,
        start_at: time(START - 10 * SECOND),
        stop_at: time(START),
        remediation: true,
        source,
        events: [AlertEvent {
            meta: [("k", "v'\"é")].as_slice().into(),
            timestamp: "2026-11-21T20:49:58Z".to_owned(),
        }]
        .into(),
        context: vec![("target_user".to_owned(), "[\"root\"]".to_owned())],
        ..Alert::default()
    };
    NewAlert { uuid: String::new(), machine: None, alert, decisions }
}

/// Adds one alert with decisions about these values; returns its number.
pub(super) fn ban(store: &Store, values: &[&str]) -> i64 {
    let decisions = values.iter().map(|value| decision("Ip", value, 3600)).collect();
    let added = store.add_alerts(&[alert(source("Ip", values[0]), decisions)], START).expect("it is stored");
    added[0].id.expect("it has a number")
}

pub(super) fn values(store: &Store, now_ms: i64) -> Vec<String> {
    let mut found = Vec::new();
    let filter = Filter { simulated: true, ..Filter::default() };
    store.index(now_ms).query(&filter, crate::index::Page::default(), |view| found.push(view.value()));
    found
}

pub(super) fn told(store: &Store, since: Since, now_ms: i64) -> Vec<(Side, String)> {
    let index = store.index(now_ms);
    let mut stream = index.stream(Filter::default(), StreamOptions::default(), since);
    let mut found = Vec::new();
    index.page(&mut stream, usize::MAX, |side, view, _| found.push((side, view.value())));
    found
}

#[test]
fn alerts_come_back_as_they_were() {
    let (_folder, store) = open();
    let machine = store.machines().insert(Machine { name: "edge-07".to_owned(), ..Machine::default() });
    let machine = machine.expect("it is stored");
    let place = Source {
        ip: "192.0.2.10".to_owned(),
        range: "192.0.2.0/24".to_owned(),
        as_number: "64500".to_owned(),
        as_name: "EXAMPLE-AS".to_owned(),
        cn: "NL".to_owned(),
        latitude: 52.3,
        longitude: -4.9,
        ..source("Ip", "192.0.2.10")
    };
    let new = NewAlert {
        uuid: "5b0c7f2e-3a55-4f55-9d0e-2f4a7a1b9c11".to_owned(),
        machine: Some(machine.id),
        ..alert(place, vec![decision("Ip", "192.0.2.10", 3600)])
    };
    let added = store.add_alerts(std::slice::from_ref(&new), START).expect("it is stored");
    let stored = store.alert(added[0].id.expect("a number"), START).expect("it reads").expect("it is there");
    let expected = Alert {
        id: 1,
        uuid: new.uuid.clone(),
        machine_id: "edge-07".to_owned(),
        created_at: time(START).to_rfc3339(),
        ..new.alert.clone()
    };
    assert_eq!(stored.alert, expected);
    let decision = &stored.decisions[0];
    assert_eq!((decision.value.as_str(), decision.end_ms, decision.uuid), ("192.0.2.10", START + HOUR, 7));
    assert_eq!((decision.alert, decision.created_ms), (Some(1), START));
    store.machines().delete("edge-07").expect("it is deleted");
    let stored = store.alert(1, START).expect("it reads").expect("it is there");
    assert_eq!(stored.alert.machine_id, "");
    assert_eq!(store.alert(2, START).expect("it reads"), None);
}

#[test]
fn bad_values_are_dropped_and_the_rest_is_stored() {
    let (_folder, store) = open();
    let batch = [
        alert(source("Ip", "a"), vec![decision("Ip", "xxx2", 60), decision("Ip", "192.0.2.1", 60)]),
        alert(source("Ip", "b"), vec![decision("range", "xxx/24", 60)]),
        alert(source("Ip", "c"), vec![]),
        alert(source("user", "d"), vec![decision("user", "xxx2", 60)]),
    ];
    let added = store.add_alerts(&batch, START).expect("it is stored");
    let ids: Vec<_> = added.iter().map(|added| added.id).collect();
    assert_eq!(ids, [Some(1), None, Some(2), Some(3)]);
    let dropped: Vec<_> = added.iter().flat_map(|added| &added.dropped).map(ToString::to_string).collect();
    assert_eq!(
        dropped,
        ["invalid ip address 'xxx2'", "invalid ip range 'xxx/24': invalid CIDR address: xxx/24"]
    );
    assert_eq!(values(&store, START), ["192.0.2.1", "xxx2"]);
    assert_eq!(store.add_alerts(&[], START).expect("nothing to do"), []);
}

#[test]
fn a_new_start_finds_everything() {
    let (folder, store) = open();
    ban(&store, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    let known = store.index(START).now();
    ban(&store, &["192.0.2.3"]);
    assert_eq!(store.end_decisions(&[2, 99], START + SECOND).expect("it ends"), 1);
    drop(store);
    let store = open_at(&folder.path().join("db"), START + 2 * SECOND);
    assert_eq!(values(&store, START), ["192.0.2.1", "2001:db8::1", "192.0.2.3"]);
    let expected = [(Side::New, "192.0.2.3".to_owned()), (Side::Deleted, "192.0.2.2".to_owned())];
    assert_eq!(told(&store, Since::Delta(known), START + 2 * SECOND), expected);
    // Numbers go on where they were.
    assert_eq!(ban(&store, &["192.0.2.4"]), 3);
    assert_eq!(store.index(START).last_id(), 5);
}

#[test]
fn what_ended_long_ago_is_left_on_disk() {
    let (folder, store) = open();
    ban(&store, &["192.0.2.1"]);
    drop(store);
    let store = open_at(&folder.path().join("db"), START + 3 * DAY);
    assert_eq!(store.index_as_it_is().len(), 0);
    assert!(store.index_as_it_is().is_stale(Cursor { seq: 1, at: START }));
    let stored = store.alert(1, START + 3 * DAY).expect("it reads").expect("it is there");
    assert_eq!(stored.decisions.len(), 1);
}

#[test]
fn a_deleted_alert_lifts_its_decisions() {
    let (folder, store) = open();
    let id = ban(&store, &["192.0.2.1", "192.0.2.2"]);
    ban(&store, &["192.0.2.3"]);
    let known = store.index(START).now();
    assert_eq!(store.delete_alerts(&[id, 77], START + SECOND).expect("it is deleted"), 1);
    let expected = [(Side::Deleted, "192.0.2.1".to_owned()), (Side::Deleted, "192.0.2.2".to_owned())];
    assert_eq!(told(&store, Since::Delta(known), START + SECOND), expected);
    drop(store);
    let store = open_at(&folder.path().join("db"), START + 2 * SECOND);
    assert_eq!(told(&store, Since::Delta(known), START + 2 * SECOND), expected);
    assert_eq!(store.alert(id, START).expect("it reads"), None);
}

#[test]
fn conditions_on_alerts() {
    let (_folder, store) = open();
    let list = |origin: &str, values: &[&str]| -> Vec<NewDecision> {
        let with_origin = |value: &&str| {
            let mut new = decision("Ip", value, 3600);
            new.decision.origin = origin.to_owned();
            new
        };
        values.iter().map(with_origin).collect()
    };
    let mut captcha = decision("Range", "198.51.100.0/24", 60);
    captcha.decision.kind = "captcha".to_owned();
    captcha.decision.scenario = "other".to_owned();
    let mut simulated = alert(source("username", "alice"), vec![]);
    simulated.alert.simulated = true;
    simulated.alert.kind = "waf".to_owned();
    simulated.alert.start_at = time(START - HOUR);
    let batch = [
        alert(source("Ip", "192.0.2.1"), vec![decision("Ip", "192.0.2.1", 3600)]),
        alert(source("Ip", "198.51.100.7"), vec![captcha]),
        simulated,
        alert(source("lists:one", "x"), list("lists", &["10.0.0.1", "203.0.113.9"])),
        alert(source("lists:two", "x"), vec![]),
        alert(source("crowdsecurity/community-blocklist", ""), vec![]),
        alert(source("Ip", "192.0.2.99"), vec![]),
    ];
    store.add_alerts(&batch, START).expect("they are stored");
    let check = |filter: AlertFilter, expected: &[i64]| {
        let ids = store.alert_ids(&filter, START + 90 * SECOND).expect("it reads");
        assert_eq!(ids, expected, "{filter:?}");
        let mut found = Vec::new();
        let page = AlertPage { ascending: true, ..AlertPage::default() };
        store
            .alerts(&filter, page, START + 90 * SECOND, |stored| found.push(stored.alert.id))
            .expect("it reads");
        assert_eq!(found, expected, "{filter:?}");
    };
    let all = AlertFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let target = |text: &str, contains| Some(Target::parse(text, contains).expect("a target"));
    check(all(), &[1, 2, 3, 4, 5, 6, 7]);
    check(AlertFilter { scope: text("username"), ..all() }, &[3]);
    check(AlertFilter { value: text("192.0.2.1"), ..all() }, &[1]);
    check(AlertFilter { kind: text("waf"), ..all() }, &[3]);
    check(AlertFilter { scenario: text("other"), ..all() }, &[2]);
    check(AlertFilter { ids: Some(vec![2, 4, 9]), ..all() }, &[2, 4]);
    check(AlertFilter { ids: Some(vec![]), ..all() }, &[]);
    check(AlertFilter { target: target("192.0.2.1", true), ..all() }, &[1]);
    check(AlertFilter { target: target("198.51.100.200", true), ..all() }, &[2]);
    check(AlertFilter { target: target("192.0.2.0/24", false), ..all() }, &[1, 7]);
    // Both bounds have to hold for the same decision.
    check(AlertFilter { target: target("100.0.0.1", true), ..all() }, &[]);
    check(AlertFilter { target: target("203.0.113.9", true), ..all() }, &[4]);
    check(AlertFilter { target: target("::/0", false), ..all() }, &[]);
    check(AlertFilter { started_from_ms: Some(START - 60 * SECOND), kind: text("waf"), ..all() }, &[]);
    check(AlertFilter { started_to_ms: Some(START - 60 * SECOND), ..all() }, &[3]);
    check(AlertFilter { created_to_ms: Some(START - 1), ..all() }, &[]);
    check(AlertFilter { decision_type: text("captcha"), ..all() }, &[2]);
    check(AlertFilter { origin: text("lists"), ..all() }, &[4]);
    check(AlertFilter { without_lists: true, ..all() }, &[1, 2, 3, 7]);
    check(AlertFilter { without_simulated: true, ..all() }, &[1, 2, 4, 5, 6, 7]);
    check(AlertFilter { has_active_decision: Some(true), ..all() }, &[1, 4]);
    check(AlertFilter { has_active_decision: Some(false), ..all() }, &[3, 5, 6, 7]);
    check(AlertFilter { has_active_decision: Some(true), target: target("192.0.2.1", true), ..all() }, &[1]);
    check(AlertFilter { has_active_decision: Some(true), target: target("192.0.2.2", true), ..all() }, &[]);
}

#[test]
fn answers_about_alerts_come_in_portions() {
    let (_folder, store) = open();
    let batch: Vec<NewAlert> = (0..250)
        .map(|n| alert(source("Ip", &format!("10.0.0.{n}")), vec![decision("Ip", "10.1.1.1", 60)]))
        .collect();
    store.add_alerts(&batch, START).expect("they are stored");
    let check = |page: AlertPage, expected: &[i64]| {
        let mut found: Vec<StoredAlert> = Vec::new();
        store.alerts(&AlertFilter::default(), page, START, |stored| found.push(stored)).expect("it reads");
        assert_eq!(found.iter().map(|stored| stored.alert.id).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|stored| stored.decisions.len() == usize::from(page.with_decisions)));
    };
    let newest: Vec<i64> = (1..=250).rev().collect();
    check(AlertPage::default(), &newest);
    check(AlertPage { limit: 150, with_decisions: false, ..AlertPage::default() }, &newest[..150]);
    check(AlertPage { limit: 2, ascending: true, ..AlertPage::default() }, &[1, 2]);
    check(AlertPage { limit: 0, ..AlertPage::default() }, &[]);
}

#[test]
fn two_programs_on_one_file_see_each_other() {
    let (folder, one) = open();
    let two = open_at(&folder.path().join("db"), START);
    ban(&one, &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(values(&two, START), Vec::<String>::new());
    assert!(two.follow(START).expect("it follows"));
    assert_eq!(values(&two, START), ["192.0.2.1", "192.0.2.2"]);
    assert!(!two.follow(START).expect("nothing new"));
    // A change of its own brings what it had not seen.
    two.end_decisions(&[1], START).expect("it ends");
    ban(&one, &["192.0.2.3"]);
    assert_eq!(values(&one, START), ["192.0.2.2", "192.0.2.3"]);
    one.machines()
        .insert(Machine { name: "edge-07".to_owned(), ..Machine::default() })
        .expect("it is stored");
    assert!(two.follow(START).expect("it follows"));
    assert_eq!(values(&two, START), ["192.0.2.2", "192.0.2.3"]);
    assert!(two.machines().get("edge-07").is_some());
    let taken = two.machines().insert(Machine { name: "edge-07".to_owned(), ..Machine::default() });
    assert!(matches!(taken, Err(StoreError::Exists { what: "machine", .. })));
}

#[test]
fn names_are_taken_also_by_those_not_yet_seen() {
    let (folder, one) = open();
    let two = open_at(&folder.path().join("db"), START);
    let bouncer = || Bouncer { name: "fw".to_owned(), ..Bouncer::default() };
    one.bouncers().insert(bouncer()).expect("it is stored");
    assert!(matches!(two.bouncers().insert(bouncer()), Err(StoreError::Exists { what: "bouncer", .. })));
}

#[test]
fn clients_are_kept() {
    let (folder, store) = open();
    let bouncers = store.bouncers();
    let bouncer = Bouncer { name: "fw".to_owned(), key_hash: "h".to_owned(), ..Bouncer::default() };
    assert_eq!(bouncers.insert(bouncer.clone()).expect("it is stored").id, 1);
    let child = Bouncer { name: "fw@192.0.2.1".to_owned(), auto_created: true, ..bouncer.clone() };
    assert_eq!(bouncers.insert(child).expect("it is stored").id, 2);
    assert_eq!(bouncers.find(|bouncer| bouncer.key_hash == "h").len(), 2);
    let position = Cursor { seq: 3, at: START };
    assert!(bouncers.touch("fw", |bouncer| {
        bouncer.stream = Some(position);
        bouncer.name = "never".to_owned();
    }));
    assert!(!bouncers.touch("unknown", |_| {}));
    bouncers.update("fw@192.0.2.1", |bouncer| bouncer.version = "v1".to_owned()).expect("it is stored");
    assert_eq!((store.save().expect("it saves"), store.save().expect("it saves")), (1, 0));
    assert!(!store.follow(START).expect("all of it is known"));
    let unknown = bouncers.update("unknown", |_| {});
    assert!(matches!(unknown, Err(StoreError::Unknown { what: "bouncer", .. })));
    let all = bouncers.list();
    drop(store);
    let store = open_at(&folder.path().join("db"), START);
    assert_eq!(store.bouncers().list(), all);
    assert_eq!(store.bouncers().get("fw").and_then(|bouncer| bouncer.stream), Some(position));
    store.bouncers().delete("fw").expect("it is deleted");
    assert_eq!(store.bouncers().get("fw"), None);
}

#[test]
fn what_is_not_yet_saved_survives_the_news_of_others() {
    let (folder, one) = open();
    let two = open_at(&folder.path().join("db"), START);
    for name in ["a", "b"] {
        one.machines().insert(Machine { name: name.to_owned(), ..Machine::default() }).expect("it is stored");
    }
    two.follow(START).expect("it follows");
    assert!(two.machines().touch("a", |machine| machine.last_heartbeat_ms = Some(START)));
    assert!(two.machines().touch("b", |machine| machine.last_heartbeat_ms = Some(START)));
    one.machines().delete("b").expect("it is deleted");
    assert!(two.follow(START).expect("it follows"));
    assert_eq!(two.machines().get("a").and_then(|machine| machine.last_heartbeat_ms), Some(START));
    assert_eq!(two.machines().get("b"), None);
    assert_eq!(two.save().expect("it saves"), 1);
    one.follow(START).expect("it follows");
    assert_eq!(one.machines().get("a").and_then(|machine| machine.last_heartbeat_ms), Some(START));
}

#[test]
fn allowlists_win() {
    let (folder, store) = open();
    ban(&store, &["192.0.2.1", "192.0.2.200", "198.51.100.1"]);
    let item = |value: &str, expires_ms| AllowlistItem {
        value: value.to_owned(),
        expires_ms,
        ..AllowlistItem::default()
    };
    let office = Allowlist {
        name: "office".to_owned(),
        description: "d".to_owned(),
        items: vec![item("192.0.2.0/28", None), item("198.51.100.1", Some(START - 1))],
        ..Allowlist::default()
    };
    store.add_allowlist(&office, START).expect("it is stored");
    assert_eq!(values(&store, START), ["192.0.2.200", "198.51.100.1"]);
    assert!(matches!(store.add_allowlist(&office, START), Err(StoreError::Exists { what: "allowlist", .. })));
    let add = |list: &mut Allowlist| list.items.push(item("192.0.2.200", Some(START + HOUR)));
    store.update_allowlist("office", START, add).expect("it is stored");
    assert_eq!(values(&store, START), ["198.51.100.1"]);
    let check = |store: &Store, text: &str, now_ms, expected: &[&str]| {
        let target = Target::parse(text, true).expect(text);
        let found = store.allowed_by(target, now_ms);
        assert_eq!(
            found.iter().map(|allowed| allowed.item.value.as_str()).collect::<Vec<_>>(),
            expected,
            "{text}"
        );
    };
    drop(store);
    let store = open_at(&folder.path().join("db"), START);
    check(&store, "192.0.2.5", START, &["192.0.2.0/28"]);
    check(&store, "192.0.0.0/16", START, &["192.0.2.0/28", "192.0.2.200"]);
    check(&store, "192.0.2.200", START + 2 * HOUR, &[]);
    check(&store, "198.51.100.1", START, &[]);
    assert_eq!(store.flush(&FlushPolicy::default(), START).expect("it flushes").allowlist_items, 1);
    assert!(store.follow(START).expect("it reads them again"));
    assert_eq!(store.allowlist("office").map(|list| list.items.len()), Some(2));
    store.delete_allowlist("office").expect("it is deleted");
    assert!(matches!(store.delete_allowlist("office"), Err(StoreError::Unknown { .. })));
    check(&store, "192.0.2.5", START, &[]);
}

#[test]
fn what_is_sent_again_is_not_stored_again() {
    let (folder, store) = open();
    let sent = |uuid: &str, value: &str| NewAlert {
        uuid: uuid.to_owned(),
        ..alert(source("Ip", value), vec![decision("Ip", value, 3600)])
    };
    let add = |store: &Store, alerts: &[NewAlert]| {
        let added = store.add_alerts(alerts, START).expect("it is stored");
        added.iter().map(|added| (added.id, added.known)).collect::<Vec<_>>()
    };
    let batch =
        [sent("a", "192.0.2.1"), sent("", "192.0.2.2"), sent("a", "192.0.2.3"), sent("b", "192.0.2.4")];
    assert_eq!(add(&store, &batch), [(Some(1), false), (Some(2), false), (Some(1), true), (Some(3), false)]);
    assert_eq!(values(&store, START), ["192.0.2.1", "192.0.2.2", "192.0.2.4"]);
    let seq = store.index(START).now().seq;
    // The answer was lost: the same batch comes again, with something new.
    let again = [sent("b", "192.0.2.4"), sent("a", "192.0.2.1")];
    assert_eq!(add(&store, &again), [(Some(3), true), (Some(1), true)]);
    assert_eq!(store.index(START).now().seq, seq, "nothing changed, so there is no commit");
    assert_eq!(add(&store, &[sent("", "192.0.2.2")]), [(Some(4), false)]);
    // What was deleted does not come back, in another program neither.
    assert_eq!(store.delete_alerts(&[1, 2, 3], START).expect("they are deleted"), 3);
    let other = open_at(&folder.path().join("db"), START);
    assert_eq!(
        add(&other, &[sent("a", "192.0.2.1"), sent("c", "192.0.2.5")]),
        [(Some(1), true), (Some(5), false)]
    );
    assert_eq!(values(&other, START), ["192.0.2.2", "192.0.2.5"]);
    let later = START + 31 * DAY;
    other.flush(&FlushPolicy::default(), later).expect("it flushes");
    assert!(!other.add_alerts(&[sent("a", "192.0.2.1")], later).expect("it is stored")[0].known);
}

#[test]
fn configuration_items() {
    let (_folder, store) = open();
    assert_eq!(store.config_item("secret").expect("it reads"), None);
    assert_eq!(store.config_item_or("secret", "one", START).expect("it is stored"), "one");
    assert_eq!(store.config_item_or("secret", "two", START).expect("it is there"), "one");
    store.set_config_item("secret", Some("three"), START).expect("it is stored");
    assert_eq!(store.config_item("secret").expect("it reads").as_deref(), Some("three"));
    store.set_config_item("secret", None, START).expect("it is deleted");
    assert_eq!(store.config_item("secret").expect("it reads"), None);
}

#[test]
fn usage_metrics() {
    let (_folder, store) = open();
    let report = |received_ms| Metrics {
        id: 0,
        kind: "LP".to_owned(),
        sender: "edge-07".to_owned(),
        received_ms,
        pushed_ms: None,
        payload: "{}".to_owned(),
    };
    for received in [START - 8 * DAY, START] {
        store.add_metrics(&report(received)).expect("it is stored");
    }
    store.set_metrics_pushed(&[1], START).expect("it is stored");
    let unpushed = store.metrics(true).expect("it reads");
    assert_eq!(unpushed, [Metrics { id: 2, ..report(START) }]);
    let policy = FlushPolicy { metrics_age_ms: Some(7 * DAY), ..FlushPolicy::default() };
    assert_eq!(store.flush(&policy, START).expect("it flushes").metrics, 1);
    assert_eq!(store.metrics(false).expect("it reads"), unpushed);
}

#[test]
fn old_alerts_are_flushed_unless_they_still_ban() {
    let (_folder, store) = open();
    for seconds in [3600, 60, 60] {
        let new = alert(source("Ip", "192.0.2.1"), vec![decision("Ip", "192.0.2.1", seconds)]);
        store.add_alerts(&[new], START).expect("it is stored");
    }
    let left = |store: &Store| store.alert_ids(&AlertFilter::default(), START).expect("it reads");
    let later = START + 120 * SECOND;
    let policy = FlushPolicy { alerts_most: Some(1), ..FlushPolicy::default() };
    assert_eq!(store.flush(&policy, later).expect("it flushes").alerts, 0);
    store.add_alerts(&[alert(source("user", "x"), vec![])], later).expect("it is stored");
    assert_eq!(store.flush(&policy, later).expect("it flushes").alerts, 1);
    assert_eq!(left(&store), [1, 3, 4]);
    let policy = FlushPolicy { alerts_age_ms: Some(60 * SECOND), ..FlushPolicy::default() };
    assert_eq!(store.flush(&policy, later).expect("it flushes").alerts, 1);
    assert_eq!(left(&store), [1, 4]);
    assert_eq!(values(&store, later), ["192.0.2.1"]);
    let policy = FlushPolicy { decisions_age_ms: Some(0), ..policy };
    assert_eq!(store.flush(&policy, START + DAY).expect("it is too early").decisions, 0);
    assert_eq!(store.flush(&policy, START + DAY + 2 * HOUR).expect("it flushes").decisions, 3);
}

#[test]
fn counts_by_cause() {
    let (_folder, store) = open();
    let with = |value: &str, scenario: &str, seconds| {
        let mut new = decision("Ip", value, seconds);
        scenario.clone_into(&mut new.decision.scenario);
        let mut new = alert(source("Ip", value), vec![new]);
        scenario.clone_into(&mut new.alert.scenario);
        new
    };
    let new = [with("192.0.2.1", "a", 60), with("192.0.2.2", "a", 3600), with("192.0.2.3", "b", 3600)];
    store.add_alerts(&new, START).expect("it is stored");
    let mut range = decision("Range", "198.51.100.0/24", 3600);
    "a".clone_into(&mut range.decision.scenario);
    store.add_alerts(&[alert(source("user", "x"), vec![range])], START).expect("it is stored");
    assert_eq!(
        *store.alert_counts(),
        [("a".to_owned(), 2), ("b".to_owned(), 1), ("demo/ssh-bf".to_owned(), 1)]
    );
    let active = |now_ms| {
        let index = store.index(now_ms);
        let counts = index.active_counts();
        let mut counts: Vec<String> = counts
            .map(|active| format!("{} {} {}", active.label.scope, active.label.scenario, active.count))
            .collect();
        counts.sort();
        counts
    };
    assert_eq!(active(START), ["Ip a 2", "Ip b 1", "Range a 1"]);
    assert_eq!(active(START + 61 * SECOND), ["Ip a 1", "Ip b 1", "Range a 1"]);
    store.delete_alerts(&[3], START).expect("it is deleted");
    assert_eq!(active(START + 61 * SECOND), ["Ip a 1", "Range a 1"]);
    // They need not be of this moment.
    assert_eq!(store.alert_counts().len(), 3);
}

#[test]
fn silent_clients_are_flushed() {
    let (_folder, store) = open();
    let machine = |name: &str, ip: &str, heartbeat| Machine {
        name: name.to_owned(),
        ip: ip.to_owned(),
        auth_type: "password".to_owned(),
        last_heartbeat_ms: heartbeat,
        ..Machine::default()
    };
    for client in [
        machine("silent", "192.0.2.1", Some(START - DAY)),
        machine("local", "127.0.0.1", Some(START - DAY)),
        machine("new", "192.0.2.1", None),
        machine("owner", "192.0.2.1", Some(START - DAY)),
    ] {
        store.machines().insert(client).expect("it is stored");
    }
    let owner = store.machines().get("owner").map(|machine| machine.id);
    store
        .add_alerts(&[NewAlert { machine: owner, ..alert(source("user", "x"), vec![]) }], START)
        .expect("it is stored");
    for (name, auth_type, pull) in [
        ("silent", "api-key", Some(START - DAY)),
        ("tls", "tls", Some(START - DAY)),
        ("never", "api-key", None),
    ] {
        let bouncer = Bouncer {
            name: name.to_owned(),
            auth_type: auth_type.to_owned(),
            last_pull_ms: pull,
            ..Bouncer::default()
        };
        store.bouncers().insert(bouncer).expect("it is stored");
    }
    let policy = FlushPolicy {
        password_machines_age_ms: Some(HOUR),
        key_bouncers_age_ms: Some(HOUR),
        ..FlushPolicy::default()
    };
    let flushed = store.flush(&policy, START).expect("it flushes");
    assert_eq!((flushed.machines, flushed.bouncers), (1, 1));
    let names = |machines: Vec<Machine>| machines.into_iter().map(|machine| machine.name).collect::<Vec<_>>();
    assert_eq!(names(store.machines().list()), ["local", "new", "owner"]);
    assert_eq!(store.bouncers().list().len(), 2);
}

#[test]
fn a_full_disk_refuses_and_changes_nothing() {
    if on_server() {
        return;
    }
    let (_folder, store) = open();
    ban(&store, &["192.0.2.1"]);
    let run = |script: &str| {
        let mut writer = lock(&store.writer);
        writer.as_mut().expect("a writer").run_script(script).expect("it runs");
    };
    run("PRAGMA max_page_count = 1");
    let big: Vec<NewDecision> = (0..20_000).map(|n| decision("user", &format!("user {n}"), 3600)).collect();
    let error = store.add_alerts(&[alert(source("user", "x"), big)], START).expect_err("there is no room");
    assert_eq!(error.sql_kind(), Some(SqlErrorKind::Full), "{error}");
    assert!(error.hint().contains("room"));
    assert_eq!(values(&store, START), ["192.0.2.1"]);
    assert_eq!(store.alert_ids(&AlertFilter::default(), START).expect("it reads"), [1]);
    run("PRAGMA max_page_count = 1000000");
    assert_eq!(ban(&store, &["192.0.2.2"]), 2);
    assert_eq!(values(&store, START), ["192.0.2.1", "192.0.2.2"]);
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    if on_server() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let (folder, store) = open();
    ban(&store, &["192.0.2.1"]);
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("its data").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let location = Location::Sqlite { path: folder.path().join("none").join("db"), wal: true };
    let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
    let error = Store::open(options, START).err().expect("there is no folder");
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

/// Three programs write at once. A client that polls one of them knows at the end what is in force.
#[test]
fn no_change_is_missed_under_concurrent_writers() {
    let (folder, reader) = open();
    let path = folder.path().join("db");
    let mut known = std::collections::BTreeSet::new();
    let mut since = Since::Start(None);
    let mut poll = |known: &mut std::collections::BTreeSet<String>| {
        reader.follow(START).expect("it follows");
        let cursor = reader.index(START).now();
        let mut told = told(&reader, since, START);
        told.sort_by_key(|(side, _)| std::cmp::Reverse(*side));
        for (side, value) in told {
            match side {
                Side::Deleted => known.remove(&value),
                Side::New => known.insert(value),
            };
        }
        since = Since::Delta(cursor);
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let path = &path;
                scope.spawn(move || {
                    let store = open_at(path, START);
                    for n in 0..25 {
                        let value = |at| format!("10.{writer}.{n}.{at}");
                        let values: Vec<String> = (0..5).map(value).collect();
                        ban(&store, &values.iter().map(String::as_str).collect::<Vec<_>>());
                        let filter = Filter { value: Some(value(n % 5)), ..Filter::default() };
                        assert_eq!(store.end_matching(&filter, START).expect("it ends"), 1);
                    }
                })
            })
            .collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            poll(&mut known);
        }
    });
    poll(&mut known);
    let expected: std::collections::BTreeSet<String> = values(&reader, START).into_iter().collect();
    assert_eq!(expected.len(), 3 * 25 * 4);
    assert_eq!(known, expected);
}

#[test]
fn many_programs_may_make_the_database_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    location(&path);
    std::thread::scope(|scope| {
        let opening: Vec<_> = (0..4).map(|_| scope.spawn(|| drop(open_at(&path, START)))).collect();
        opening.into_iter().for_each(|opening| opening.join().expect("it opens"));
    });
}

#[test]
fn news_wake_those_who_wait() {
    let (_folder, store) = open();
    assert_eq!(store.wait(0, Duration::ZERO), 0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.wait(0, Duration::from_mins(1)));
        ban(&store, &["192.0.2.1"]);
        assert_eq!(waiting.join().expect("it wakes"), 1);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Ban { store: usize, value: u8, seconds: i64 },
    End { store: usize, back: usize },
    Delete { store: usize, back: i64 },
    Follow { store: usize },
    Reopen { store: usize },
    Wait { seconds: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2_usize, any::<u8>(), 1_i64..40).prop_map(|(store, value, seconds)| Step::Ban { store, value, seconds }),
        1 => (0..2_usize, 0..6_usize).prop_map(|(store, back)| Step::End { store, back }),
        1 => (0..2_usize, 0..6_i64).prop_map(|(store, back)| Step::Delete { store, back }),
        1 => (0..2_usize).prop_map(|store| Step::Follow { store }),
        1 => (0..2_usize).prop_map(|store| Step::Reopen { store }),
        1 => (1_i64..20).prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Two programs on one file, each of which may start anew at any time, end with the same decisions.
    #[test]
    fn programs_agree_with_a_list(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db");
        let mut now = START;
        let mut stores = [open_at(&path, now), open_at(&path, now)];
        // Numbers of decisions and alerts are the same here: each alert has one decision.
        let mut plain: Vec<(String, i64)> = Vec::new();
        for step in steps {
            match step {
                Step::Ban { store, value, seconds } => {
                    let value = format!("10.0.0.{value}");
                    let until = (now - START) / SECOND + seconds;
                    let new = alert(source("Ip", &value), vec![decision("Ip", &value, until)]);
                    let added = stores[store].add_alerts(&[new], now).expect("it is stored");
                    prop_assert_eq!(added[0].id, Some(plain.len() as i64 + 1));
                    plain.push((value, now + seconds * SECOND));
                }
                Step::End { store, back } => {
                    let Some(at) = plain.len().checked_sub(1 + back) else { continue };
                    let ended = stores[store].end_decisions(&[at as i64 + 1], now).expect("it ends");
                    prop_assert_eq!(ended, u64::from(plain[at].1 > now));
                    plain[at].1 = plain[at].1.min(now);
                }
                Step::Delete { store, back } => {
                    let id = plain.len() as i64 - back;
                    stores[store].delete_alerts(&[id], now).expect("it is deleted");
                    if let Some(plain) = usize::try_from(id - 1).ok().and_then(|at| plain.get_mut(at)) {
                        plain.1 = plain.1.min(now);
                    }
                }
                Step::Follow { store } => drop(stores[store].follow(now).expect("it follows")),
                Step::Reopen { store } => stores[store] = open_at(&path, now),
                Step::Wait { seconds } => now += seconds * SECOND,
            }
        }
        let expected: Vec<String> =
            plain.iter().filter(|(_, until)| *until > now).map(|(value, _)| value.clone()).collect();
        for store in &stores {
            store.follow(now).expect("it follows");
            prop_assert_eq!(&values(store, now), &expected);
        }
        prop_assert_eq!(&values(&open_at(&path, now), now), &expected);
    }
}
