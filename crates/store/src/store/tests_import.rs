//! Databases of other installations, made by hand and by the real thing.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::tests::{DAY, START, open, values};
use super::*;
use crate::index::Page;
use crate::sql::{Connection as _, SqlErrorKind};

/// The SHA-512 of `demo-key-for-tests`.
const KEY_HASH: &str = "46bf8457903e7d904ba27a05d08bfd5e0c46211df2d713358a34e93a4e07bbed7c9f0cd7169c33a7e5a01f504cd577d60efbc8da05368f8d926611b753a278d2";

/// The tables that every version has, with the columns that matter, and columns that nobody knows any more.
const OLD: &str = "
CREATE TABLE alerts (id INTEGER PRIMARY KEY, created_at datetime, scenario text NOT NULL, message text, events_count integer, started_at datetime, stopped_at datetime, source_ip text, source_scope text, source_value text, source_latitude real, capacity integer, leak_speed text, simulated bool NOT NULL DEFAULT false, machine_alerts integer, dead text);
CREATE TABLE bouncers (id INTEGER PRIMARY KEY, name text, api_key text, revoked bool, ip_address text, until datetime, last_pull datetime, auth_type text);
CREATE TABLE decisions (id INTEGER PRIMARY KEY, created_at datetime, until datetime, scenario text, type text, scope text, value text, origin text, simulated bool, alert_decisions integer);
CREATE TABLE events (id INTEGER PRIMARY KEY, time datetime, serialized text, alert_events integer);
CREATE TABLE machines (id INTEGER PRIMARY KEY, created_at datetime, machine_id text, password text, ip_address text, is_validated bool, auth_type text);
CREATE TABLE meta (id INTEGER PRIMARY KEY, key text, value text, alert_metas integer);
INSERT INTO machines VALUES (7, '2026-11-01 10:00:00+00:00', 'edge', '$2a$10$abc', '127.0.0.1', 1, 'password');
INSERT INTO bouncers VALUES (3, 'fw', 'KEY_HASH', 0, '192.0.2.7', NULL, '2026-11-21 20:00:00+00:00', 'api-key');
INSERT INTO alerts VALUES (11, '2026-11-21 19:50:01.5+00:00', 'demo/ssh-bf', 'm', 6, '2026-11-21 19:49:00+00:00', '2026-11-21 19:50:00+00:00', '192.0.2.10', 'Ip', '192.0.2.10', 52.5, 5, '10s', 0, 7, 'x');
INSERT INTO alerts VALUES (12, '2026-11-21 19:55:00+00:00', 'old news', '', 1, NULL, NULL, '', '', '', 0, 0, '', 0, 99, 'x');
INSERT INTO decisions VALUES (1, '2026-11-21 19:50:01+00:00', '2026-11-22 23:50:00+00:00', 'demo/ssh-bf', 'ban', 'Ip', '192.0.2.10', 'crowdsec', 0, 11);
INSERT INTO decisions VALUES (2, '2026-11-21 19:50:01+00:00', '2026-11-22 23:50:00+02:00', 'demo/ssh-bf', 'ban', 'Ip', 'nonsense', 'crowdsec', 0, 11);
INSERT INTO decisions VALUES (3, '2026-11-21 19:50:01+00:00', '2026-11-21 20:00:00+00:00', 'demo/ssh-bf', 'ban', 'Ip', '192.0.2.11', 'crowdsec', 0, 12);
INSERT INTO decisions VALUES (4, '2026-11-21 19:50:01+00:00', '2026-12-21 20:00:00+00:00', 'list', 'captcha', 'Range', '198.51.100.0/24', 'lists', 0, NULL);
INSERT INTO events VALUES (1, '2026-11-21 19:49:00+00:00', '[{\"key\":\"service\",\"value\":\"ssh\"}]', 11);
INSERT INTO events VALUES (2, '2026-11-21 19:49:00+00:00', 'cut o', 11);
INSERT INTO meta VALUES (1, 'target_user', '[\"root\"]', 11);
";

/// What newer versions have more.
const NEW: &str = "
ALTER TABLE alerts ADD COLUMN uuid text; ALTER TABLE alerts ADD COLUMN kind text; ALTER TABLE alerts ADD COLUMN remediation bool;
ALTER TABLE decisions ADD COLUMN uuid text; ALTER TABLE bouncers ADD COLUMN auto_created bool;
ALTER TABLE machines ADD COLUMN hubstate json; ALTER TABLE machines ADD COLUMN osname text;
UPDATE alerts SET uuid = 'a-' || id, kind = 'crowdsec', remediation = 1;
UPDATE decisions SET uuid = '00000000-0000-0000-0000-00000000000' || id;
UPDATE machines SET hubstate = '{}', osname = 'debian';
CREATE TABLE allow_lists (id INTEGER PRIMARY KEY, created_at datetime, updated_at datetime, name text, from_console bool, description text, allowlist_id text);
CREATE TABLE allow_list_items (id INTEGER PRIMARY KEY, created_at datetime, expires_at datetime, comment text, value text);
CREATE TABLE allow_list_allowlist_items (allow_list_id integer, allow_list_item_id integer);
INSERT INTO allow_lists VALUES (1, '2026-11-01 10:00:00Z', '2026-11-01 10:00:00Z', 'office', 0, 'exits', NULL);
INSERT INTO allow_list_items VALUES (5, '2026-11-01 10:00:00Z', NULL, 'vpn', '192.0.2.0/28'), (6, '2026-11-01 10:00:00Z', '2027-11-01 10:00:00Z', '', '203.0.113.1');
INSERT INTO allow_list_allowlist_items VALUES (1, 5), (1, 6);
";

fn make(path: &Path, scripts: &[&str]) {
    let mut file = Sqlite::open(path, false).expect("it opens");
    for script in scripts {
        file.run_script(&script.replace("KEY_HASH", KEY_HASH)).expect("it runs");
    }
}

#[test]
fn old_files_are_taken_over() {
    let (folder, store) = open();
    let path = folder.path().join("old");
    make(&path, &[OLD]);
    let expected =
        Imported { machines: 1, bouncers: 1, alerts: 3, decisions: 2, dropped: 1, ..Imported::default() };
    assert_eq!(store.import_upstream(&path, START).expect("it is imported"), expected);
    assert_eq!(values(&store, START), ["198.51.100.0/24", "192.0.2.10"]);
    let machine = store.machines().get("edge").expect("it is there");
    assert_eq!((machine.password.as_str(), machine.validated), ("$2a$10$abc", true));
    let bouncer = store.bouncers().get("fw").expect("it is there");
    assert_eq!(
        (bouncer.key_hash.as_str(), bouncer.ip.as_str(), bouncer.stream),
        (KEY_HASH, "192.0.2.7", None)
    );
    let stored = store.alert(2, START).expect("it reads").expect("it is there");
    assert_eq!(stored.created_ms, 1_795_290_601_500);
    let alert = stored.alert;
    assert_eq!((alert.machine_id.as_str(), alert.scenario.as_str()), ("edge", "demo/ssh-bf"));
    assert_eq!((alert.events_count, alert.capacity, alert.source.latitude), (6, 5, 52.5));
    assert!(alert.remediation);
    assert_eq!(alert.context, [("target_user".to_owned(), "[\"root\"]".to_owned())]);
    assert_eq!(alert.events.len(), 2);
    assert_eq!(alert.events[0].meta("service"), "ssh");
    assert_eq!(alert.events[0].timestamp, "2026-11-21T19:49:00Z");
    assert_eq!(stored.decisions[0].end_ms, 1_795_391_400_000);
    let other = store.alert(3, START).expect("it reads").expect("it is there");
    assert_eq!((other.decisions.len(), other.alert.machine_id.as_str()), (0, ""));
    // Once more: nothing is there twice.
    let again = store.import_upstream(&path, START).expect("it is imported");
    assert_eq!(again, Imported { known: 5, ..Imported::default() });
    assert_eq!(values(&store, START).len(), 2);
}

#[test]
fn new_files_are_taken_over() {
    let (folder, store) = open();
    let path = folder.path().join("new");
    make(&path, &[OLD, NEW]);
    let imported = store.import_upstream(&path, START).expect("it is imported");
    assert_eq!((imported.alerts, imported.decisions, imported.allowlists), (3, 2, 1));
    // The allowlist has lifted what it allows.
    assert_eq!(values(&store, START), ["198.51.100.0/24"]);
    let list = store.allowlist("office").expect("it is there");
    assert_eq!(list.items.len(), 2);
    assert_eq!((list.items[0].description.as_str(), list.items[0].expires_ms), ("vpn", None));
    assert!(list.items[1].expires_ms.is_some());
    let alert = store.alert(2, START).expect("it reads").expect("it is there").alert;
    assert_eq!((alert.uuid.as_str(), alert.kind.as_str()), ("a-11", "crowdsec"));
    let machine = store.machines().get("edge").expect("it is there");
    assert_eq!((machine.os.name.as_str(), machine.hub_state.as_str()), ("debian", "{}"));
    let mut uuids = Vec::new();
    store.index(START).query(&Filter::default(), Page::default(), |view| uuids.push(view.uuid()));
    assert_eq!(uuids, [4]);
}

/// The configuration of an installation names its database, and is not changed.
#[test]
fn ours_is_beside_the_one_of_an_installation() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("crowdsec.db");
    make(&path, &[OLD]);
    let before = std::fs::read(&path).expect("it is there");
    let options = || {
        let location = Location::Sqlite { path: path.clone(), wal: true };
        StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() }
    };
    let early = Store::open_without_decisions(options(), START).expect("it opens");
    assert!(early.taken_over().is_none() && early.bouncers().get("fw").is_none());
    let store = Store::open(options(), START).expect("it opens");
    let (from, imported) = store.taken_over().expect("everything");
    assert_eq!((from, imported.bouncers, imported.decisions), (path.as_path(), 1, 2));
    assert_eq!(values(&store, START), ["198.51.100.0/24", "192.0.2.10"]);
    store.bouncers().delete("fw").expect("it goes");
    drop(store);
    let store = Store::open(options(), START).expect("it opens");
    assert!(store.taken_over().is_none(), "once");
    assert!(store.bouncers().get("fw").is_none(), "what was deleted does not come back");
    assert_eq!(values(&store, START).len(), 2);
    assert_eq!(std::fs::read(&path).expect("it is there"), before, "theirs stays as it is");
}

#[test]
fn what_is_no_such_database_is_told() {
    let (folder, store) = open();
    let path = folder.path().join("other");
    make(&path, &["CREATE TABLE decisions (x)"]);
    let error = store.import_upstream(&path, START).expect_err("it is something else");
    assert_eq!(error.sql_kind(), Some(SqlErrorKind::Corrupt), "{error}");
    std::fs::write(&path, "some text that is no database ".repeat(100)).expect("a file");
    assert!(store.import_upstream(&path, START).is_err());
    let error = store.import_upstream(&folder.path().join("none"), START).expect_err("there is none");
    assert!(matches!(error, StoreError::Import { .. }), "{error}");
}

/// A local API of the reference with a database of its own, stopped at the end.
struct Reference {
    folder: tempfile::TempDir,
    cscli: String,
    server: Child,
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It is not needed any more, however it ends.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Reference {
    fn start(cscli: String, server: &str) -> Reference {
        let folder = tempfile::tempdir().expect("a folder");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let at = folder.path().display();
        let write =
            |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
        write(
            "config.yaml",
            format!(
                "common: {{daemonize: false, log_media: stdout, log_level: info, working_dir: {at}}}
config_paths: {{config_dir: {at}, data_dir: {at}, simulation_path: {at}/simulation.yaml, hub_dir: {at}, index_path: {at}/index.json, notification_dir: {at}/none, plugin_dir: {at}/none}}
crowdsec_service: {{enable: false}}
cscli: {{output: human}}
db_config: {{log_level: info, type: sqlite, db_path: {at}/old.db}}
api:
  client: {{credentials_path: {at}/credentials.yaml}}
  server: {{log_level: info, listen_uri: 127.0.0.1:{port}, profiles_path: {at}/profiles.yaml}}
prometheus: {{enabled: false}}
"
            ),
        );
        write("credentials.yaml", format!("url: http://127.0.0.1:{port}\n"));
        write("simulation.yaml", "simulation: off\n".to_owned());
        write("index.json", "{}".to_owned());
        write(
            "profiles.yaml",
            "name: p\nfilters: [\"true\"]\ndecisions: [{type: ban, duration: 4h}]\non_success: break\n"
                .to_owned(),
        );
        std::fs::create_dir(folder.path().join("none")).expect("a folder");
        let run = Command::new(&cscli)
            .args(["-c", "config.yaml", "machines", "add", "edge", "-p", "word", "-f", "credentials.yaml"])
            .args(["-u", &format!("http://127.0.0.1:{port}")])
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let server = Command::new(server)
            .args(["-c", "config.yaml", "-no-cs"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let reference = Reference { folder, cscli, server };
        let end = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "it never listens");
            // There is nothing to wait for but the port.
            std::thread::sleep(Duration::from_millis(20));
        }
        reference
    }

    fn run(&self, words: &str) {
        let run = Command::new(&self.cscli)
            .args(["-c", "config.yaml"])
            .args(words.split(' '))
            .current_dir(self.folder.path())
            .output()
            .expect("it starts");
        assert!(run.status.success(), "{words}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

/// The database of the oldest version that is still in use, made by itself, and read while it runs.
#[test]
fn a_real_file_is_taken_over() {
    let (Ok(cscli), Ok(server)) = (std::env::var("TESTUDO_CSCLI"), std::env::var("TESTUDO_CROWDSEC")) else {
        println!("skipped: TESTUDO_CSCLI and TESTUDO_CROWDSEC name no programs");
        return;
    };
    let reference = Reference::start(cscli, &server);
    reference.run("bouncers add fw -k demo-key-for-tests");
    reference.run("decisions add -i 192.0.2.10 -d 48h");
    reference.run("decisions add -r 198.51.100.0/24 -d 1000h --type captcha");
    reference.run("decisions add --scope user -v bob -d 1h");
    reference.run("decisions add -i 2001:db8::7 -d 30m");
    reference.run("decisions delete -i 2001:db8::7");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let now = i64::try_from(now.as_millis()).expect("a date");
    let folder = tempfile::tempdir().expect("a folder");
    let location = Location::Sqlite { path: folder.path().join("db"), wal: true };
    let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
    let store = Store::open(options, now).expect("it opens");
    let imported =
        store.import_upstream(&reference.folder.path().join("old.db"), now).expect("it is imported");
    let expected = Imported { machines: 1, bouncers: 1, alerts: 4, decisions: 3, ..Imported::default() };
    assert_eq!(imported, expected);
    assert_eq!(values(&store, now), ["192.0.2.10", "198.51.100.0/24", "bob"]);
    assert_eq!(store.bouncers().get("fw").expect("it is there").key_hash, KEY_HASH);
    assert!(store.machines().get("edge").expect("it is there").password.starts_with("$2a$"));
}
