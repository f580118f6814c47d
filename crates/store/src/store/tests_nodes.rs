//! Several stores on one database, and a database that goes away.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use super::tests::{DAY, START, alert, ban, decision, location, open_at, source, told, values};
use super::*;
use crate::index::{Side, Since};
use crate::records::{Allowlist, AllowlistItem, Machine, NewAlert};

const HOUR_S: i64 = 3600;
const LONG: Duration = Duration::from_mins(1);

fn shared(path: &Path) -> Arc<Store> {
    Arc::new(open_at(path, START))
}

/// A store that follows, and what its thread reports.
fn watched(store: &Arc<Store>) -> (Watch, Receiver<WatchNews>) {
    let (sender, news) = mpsc::channel();
    // The test is over when nobody listens any more.
    let watch = store.watch(|| START, move |said| drop(sender.send(said))).expect("a thread");
    (watch, news)
}

#[test]
fn what_one_does_wakes_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let (one, other) = (shared(&path), shared(&path));
    let _watches = (watched(&one), watched(&other));
    for n in 1..20 {
        let (from, to) = if n % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let seq = to.index(START).now().seq;
        ban(from, &[&format!("192.0.2.{n}")]);
        assert!(to.wait(seq, LONG) > seq);
        assert_eq!(values(to, START).len(), n);
    }
}

/// The store of a daemon goes where its tasks run.
#[cfg(feature = "server")]
#[test]
fn a_store_may_be_let_go_by_asynchronous_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = shared(&folder.path().join("db"));
    ban(&store, &["192.0.2.1"]);
    assert_eq!(store.config_item("nothing").expect("it is read"), None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { drop(store) });
}

#[test]
fn clients_and_secrets_are_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let (one, other) = (shared(&path), shared(&path));
    let secret = one.config_item_or("secret", "one", START).expect("it is stored");
    assert_eq!(other.config_item_or("secret", "two", START).expect("it is there"), secret);
    one.machines().insert(Machine { name: "m".to_owned(), ..Machine::default() }).expect("it is stored");
    one.bouncers()
        .insert(crate::Bouncer { name: "b".to_owned(), ..Default::default() })
        .expect("it is stored");
    let cursor = Cursor { seq: 7, at: START };
    one.bouncers().touch("b", |bouncer| bouncer.stream = Some(cursor));
    one.save().expect("it is saved");
    assert!(other.follow(START).expect("it follows"));
    assert!(other.machines().get("m").is_some());
    assert_eq!(other.bouncers().get("b").expect("it is known").stream, Some(cursor));
}

/// A command that has no use for decisions does not wait for them, and what it does is seen all the same.
#[test]
fn commands_open_without_decisions() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let node = open_at(&path, START);
    ban(&node, &["192.0.2.1", "192.0.2.2"]);
    let location = location(&path);
    let options = StoreOptions { location, keep_ms: 0, prepare: |_| Box::default() };
    let command = Store::open_without_decisions(options, START).expect("it opens");
    assert!(command.index(START).is_empty());
    command.machines().insert(Machine { name: "m".to_owned(), ..Machine::default() }).expect("it is stored");
    assert!(command.index(START).is_empty());
    assert_eq!(ban(&command, &["192.0.2.3"]), 2);
    assert_eq!(command.delete_alerts(&[1], START).expect("it is deleted"), 1);
    node.follow(START).expect("it follows");
    assert!(node.machines().get("m").is_some());
    assert_eq!(values(&node, START), ["192.0.2.3"]);
}

/// A node that bans an address in the moment in which another one allows it.
#[test]
fn allowlists_win_over_decisions_of_the_same_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let (one, other) = (open_at(&path, START), open_at(&path, START));
    ban(&one, &["192.0.2.7"]);
    other.follow(START).expect("it follows");
    let item = AllowlistItem { value: "192.0.2.0/28".to_owned(), ..AllowlistItem::default() };
    let list = Allowlist { name: "office".to_owned(), items: vec![item], ..Allowlist::default() };
    one.add_allowlist(&list, START).expect("it is stored");
    ban(&other, &["192.0.2.5", "192.0.2.99"]);
    other.follow(START).expect("it follows");
    one.follow(START).expect("it follows");
    for store in [&one, &other, &open_at(&path, START)] {
        assert_eq!(values(store, START), ["192.0.2.99"]);
    }
}

/// A client of one node that asks the other, which has not heard of the last change yet.
#[test]
fn positions_hold_on_all_nodes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let (one, other) = (open_at(&path, START), open_at(&path, START));
    ban(&one, &["192.0.2.1"]);
    let position = one.index(START).now();
    assert!(other.index(START).is_stale(position));
    other.follow_to(position.seq, START).expect("it follows");
    assert!(!other.index(START).is_stale(position));
    assert_eq!(told(&other, Since::Delta(position), START), []);
    ban(&other, &["192.0.2.2"]);
    assert_eq!(told(&other, Since::Delta(position), START), [(Side::New, "192.0.2.2".to_owned())]);
}

/// Numbers in no order that are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// A client of a store that polls.
struct Client {
    since: Since,
    known: BTreeSet<String>,
}

impl Client {
    fn new() -> Client {
        Client { since: Since::Start(None), known: BTreeSet::new() }
    }

    fn poll(&mut self, store: &Store) {
        let cursor = store.index(START).now();
        let mut told = told(store, self.since, START);
        told.sort_by_key(|(side, _)| std::cmp::Reverse(*side));
        for (side, value) in told {
            match side {
                Side::Deleted => self.known.remove(&value),
                Side::New => self.known.insert(value),
            };
        }
        self.since = Since::Delta(cursor);
    }
}

fn do_something(store: &Store, who: u64, n: u64, chance: &mut Chance) {
    let value = |at: u64| format!("10.{who}.{at}.1");
    let back = chance.below(6).min(n);
    match chance.below(6) {
        0..3 => {
            let second = format!("10.{who}.{n}.2");
            let decisions = vec![decision("Ip", &value(n), HOUR_S), decision("Ip", &second, HOUR_S)];
            let new = NewAlert { uuid: format!("{who}-{n}"), ..alert(source("Ip", &value(n)), decisions) };
            store.add_alerts(&[new], START).expect("it is stored");
        }
        3 => {
            let filter = Filter { value: Some(value(n - back)), ..Filter::default() };
            store.end_matching(&filter, START).expect("it ends");
        }
        4 => {
            let filter =
                crate::AlertFilter { uuid: Some(format!("{who}-{}", n - back)), ..Default::default() };
            let ids = store.alert_ids(&filter, START).expect("it reads");
            store.delete_alerts(&ids, START).expect("they are deleted");
        }
        _ => {
            let item = AllowlistItem { value: value(n - back), ..AllowlistItem::default() };
            let name = format!("{who}-{n}");
            let list = Allowlist { name, items: vec![item], ..Allowlist::default() };
            store.add_allowlist(&list, START).expect("it is stored");
        }
    }
}

/// Two nodes add, end, delete and allow at the same time. In the end both know what the database knows, and
/// so does a client of each that only ever asked for changes.
#[test]
fn nodes_agree_whatever_they_do_at_once() {
    for seed in 1..4 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db");
        let stores = [shared(&path), shared(&path)];
        let _watches = [watched(&stores[0]), watched(&stores[1])];
        let mut clients = [Client::new(), Client::new()];
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2_u64)
                .map(|who| {
                    let store = &stores[who as usize];
                    scope.spawn(move || {
                        let mut chance = Chance(seed * 2 + who);
                        (0..40).for_each(|n| do_something(store, who, n, &mut chance));
                    })
                })
                .collect();
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                for (client, store) in clients.iter_mut().zip(&stores) {
                    client.poll(store);
                }
            }
        });
        let truth: BTreeSet<String> = values(&open_at(&path, START), START).into_iter().collect();
        assert!(!truth.is_empty());
        for (client, store) in clients.iter_mut().zip(&stores) {
            store.follow(START).expect("it follows");
            client.poll(store);
            assert_eq!(values(store, START).into_iter().collect::<BTreeSet<_>>(), truth);
            assert_eq!(client.known, truth);
            assert_eq!(store.allowlists().len(), stores[0].allowlists().len());
        }
    }
}

/// A node that was cut off for so long that others have purged what ended reads everything anew.
#[test]
fn who_was_away_for_long_begins_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let (one, other) = (open_at(&path, START), open_at(&path, START));
    ban(&one, &["192.0.2.1", "192.0.2.2"]);
    other.follow(START).expect("it follows");
    let id = one.index(START).ids(&Filter { value: Some("192.0.2.1".to_owned()), ..Filter::default() })[0];
    // A decision for longer than everything else here.
    one.add_alerts(
        &[alert(source("Ip", "192.0.2.3"), vec![decision("Ip", "192.0.2.3", 10 * 86_400)])],
        START,
    )
    .expect("it is stored");
    one.end_decisions(&[id], START).expect("it ends");
    let later = START + 3 * DAY;
    let policy = FlushPolicy { decisions_age_ms: Some(0), ..FlushPolicy::default() };
    assert_eq!(one.flush(&policy, later).expect("it flushes").decisions, 2);
    other.follow(later).expect("it follows");
    assert_eq!(values(&other, later), ["192.0.2.3"]);
    assert!(other.index(later).is_stale(Cursor { seq: 1, at: later }));
}

#[cfg(feature = "server")]
mod on_servers {
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

    use super::super::tests::{MYSQL_SERVER, SERVER, server};
    use super::*;
    use crate::server::{ServerTls, TlsMode};
    use crate::sql::SqlErrorKind;

    /// A way to a server that can be cut.
    struct Wire {
        address: SocketAddr,
        state: Arc<Mutex<(bool, Vec<TcpStream>)>>,
    }

    impl Wire {
        fn to(host: &str, port: u16) -> Wire {
            let target = (host, port).to_socket_addrs().expect("it resolves").next().expect("an address");
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let wire = Wire { address: listener.local_addr().expect("it has one"), state: Arc::default() };
            let state = Arc::clone(&wire.state);
            std::thread::spawn(move || {
                for near in listener.incoming().map_while(Result::ok) {
                    let mut state = lock(&state);
                    if state.0 {
                        continue;
                    }
                    let far = TcpStream::connect(target).expect("the server answers");
                    for (from, to) in [(&near, &far), (&far, &near)] {
                        let mut ends = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                        std::thread::spawn(move || {
                            // It ends when either side does.
                            let _ = std::io::copy(&mut ends.0, &mut ends.1);
                            let _ = ends.1.shutdown(Shutdown::Both);
                        });
                    }
                    state.1.extend([near, far]);
                }
            });
            wire
        }

        /// Cuts all connections. New ones are refused until it is mended.
        fn cut(&self) {
            let mut state = lock(&self.state);
            state.0 = true;
            for stream in state.1.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }

        fn mend(&self) {
            lock(&self.state).0 = false;
        }
    }

    /// The server of the tests, with a change to how it is reached.
    fn changed(location: Location, change: impl FnOnce(&mut Server)) -> Option<Location> {
        Some(match location {
            Location::Sqlite { .. } => {
                println!("skipped: {SERVER} and {MYSQL_SERVER} name no server");
                return None;
            }
            Location::MySql(mut server) => {
                change(&mut server);
                Location::MySql(server)
            }
            Location::Postgres(mut server) => {
                change(&mut server);
                Location::Postgres(server)
            }
        })
    }

    #[test]
    fn a_server_that_goes_away_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut wire = None;
        let location = changed(location(&folder.path().join("db")), |server| {
            let new = Wire::to(&server.host, server.port);
            (server.host, server.port) = (new.address.ip().to_string(), new.address.port());
            wire = Some(new);
        });
        let (Some(location), Some(wire)) = (location, wire) else { return };
        let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
        let store = Arc::new(Store::open(options, START).expect("it opens"));
        assert_eq!(ban(&store, &["192.0.2.1"]), 1);
        let (watch, news) = watched(&store);
        for round in 1..4 {
            wire.cut();
            assert!(matches!(news.recv_timeout(LONG), Ok(WatchNews::Lost(_))));
            let sent = [NewAlert {
                uuid: format!("u{round}"),
                ..alert(source("Ip", "192.0.2.9"), vec![decision("Ip", "192.0.2.9", HOUR_S)])
            }];
            for _ in 0..3 {
                let error = store.add_alerts(&sent, START).expect_err("there is no server");
                assert_eq!(error.sql_kind(), Some(SqlErrorKind::Disconnected), "{error}");
                assert!(store.alert(1, START).is_err());
                // Who reads decisions notices nothing.
                assert_eq!(values(&store, START).len(), round);
            }
            wire.mend();
            assert!(matches!(news.recv_timeout(LONG), Ok(WatchNews::Back)));
            assert_eq!(ban(&store, &[&format!("192.0.2.{}", round + 1)]), round as i64 + 1);
            assert!(store.alert(1, START).expect("it reads").is_some());
        }
        // Connections that were cut while nobody looked are replaced without an error.
        drop(watch);
        wire.cut();
        wire.mend();
        ban(&store, &["192.0.2.200"]);
        assert_eq!(values(&store, START).len(), 5);
    }

    /// A writer that does not get its turn fails, and gets it the next time.
    #[cfg(feature = "postgres")]
    #[test]
    fn who_waits_too_long_for_the_lock_may_try_again() {
        use crate::sql::Connection as _;
        let folder = tempfile::tempdir().expect("a folder");
        let location = location(&folder.path().join("db"));
        let Location::Postgres(server) = &location else {
            println!("skipped: {SERVER} names no server");
            return;
        };
        let open = || crate::sql::Postgres::open(server).expect("the server answers");
        drop(Store::open(
            StoreOptions { location: location.clone(), keep_ms: DAY, prepare: |_| Box::default() },
            START,
        ));
        let (mut holder, mut waiter) = (open(), open());
        holder.begin().expect("it has the lock");
        waiter.run_script("SET lock_timeout = '50ms'").expect("it is set");
        for _ in 0..2 {
            assert_eq!(waiter.begin().expect_err("it is taken").kind, SqlErrorKind::Busy);
        }
        holder.rollback().expect("it ends");
        waiter.begin().expect("it has the lock");
        waiter.rollback().expect("it ends");
    }

    #[test]
    fn connections_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(location) =
            changed(location(&folder.path().join("db")), |server| server.connections_most = 3)
        else {
            return;
        };
        let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
        let store = Store::open(options, START).expect("it opens");
        ban(&store, &["192.0.2.1"]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(store.alert(1, START).expect("it reads").is_some()));
            }
        });
    }

    /// Whether a connection is encrypted, as the server sees it.
    fn is_encrypted(location: &Location) -> Result<bool, StoreError> {
        let mut connection = location.connect()?;
        let question = match location {
            Location::Sqlite { .. } => return Ok(false),
            Location::MySql(_) => {
                "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_version'"
            }
            Location::Postgres(_) => {
                "SELECT COALESCE(version, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            }
        };
        let mut version = String::new();
        connection.query(question, &[], &mut |row| {
            row.text(0)?.clone_into(&mut version);
            Ok(())
        })?;
        Ok(version.starts_with("TLS"))
    }

    #[test]
    fn encryption_is_as_demanded() {
        let Ok(authority) = std::env::var("TESTUDO_TEST_AUTHORITY") else {
            println!("skipped: TESTUDO_TEST_AUTHORITY names no certificate");
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let plain = location(&folder.path().join("db"));
        let check = |host: &str, mode, is_known: bool, expected: Option<bool>| {
            let location = changed(plain.clone(), |server| {
                host.clone_into(&mut server.host);
                let authority = is_known.then(|| authority.clone().into());
                server.tls = ServerTls { mode, authority, ..ServerTls::default() };
            });
            let Some(location) = location else { return };
            let found = is_encrypted(&location);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{mode:?} {host} {is_known}: {found:?}");
        };
        // The certificate is for `localhost`.
        check("127.0.0.1", TlsMode::Off, false, Some(false));
        check("127.0.0.1", TlsMode::Preferred, false, Some(true));
        check("127.0.0.1", TlsMode::Required, false, Some(true));
        check("127.0.0.1", TlsMode::Authority, true, Some(true));
        check("127.0.0.1", TlsMode::Authority, false, None);
        check("127.0.0.1", TlsMode::Full, true, None);
        check("localhost", TlsMode::Full, true, Some(true));
        check("localhost", TlsMode::Full, false, None);
    }

    #[test]
    fn sockets_are_used_without_a_host() {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = location(&folder.path().join("db"));
        let variable = match &plain {
            Location::MySql(_) => format!("{MYSQL_SERVER}_SOCKET"),
            _ => format!("{SERVER}_SOCKET"),
        };
        let Ok(socket) = std::env::var(&variable) else {
            println!("skipped: {variable} names no socket");
            return;
        };
        let place = changed(plain, |server| {
            (server.host, server.port) = (String::new(), 0);
            server.socket = Some(socket.into());
            // There is nothing to encrypt.
            server.tls.mode = TlsMode::Full;
        });
        let Some(location) = place else { return };
        assert!(!is_encrypted(&location).expect("it connects"));
        let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
        ban(&Store::open(options, START).expect("it opens"), &["192.0.2.1"]);
    }

    #[test]
    fn passwords_are_in_no_message() {
        let folder = tempfile::tempdir().expect("a folder");
        let wrong = |server: &mut Server| "not-the-word".clone_into(&mut server.password);
        let Some(location) = changed(location(&folder.path().join("db")), wrong) else { return };
        let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
        let error = Store::open(options.clone(), START).err().expect("nobody is let in so");
        let told = format!("{error} {error:?} {options:?}");
        assert!(!told.contains("not-the-word"), "{told}");
        assert!(told.contains("testudo@"), "{told}");
    }

    /// A migration that was broken off on a server that cannot take a change of the schema back.
    #[cfg(feature = "mysql")]
    #[test]
    fn migrations_are_run_again() {
        use crate::sql::Connection as _;
        let folder = tempfile::tempdir().expect("a folder");
        let place = location(&folder.path().join("db"));
        let Location::MySql(server) = &place else {
            println!("skipped: {MYSQL_SERVER} names no server");
            return;
        };
        let script = migrate::MIGRATIONS[0].script;
        let statements: Vec<&str> = script.split(';').collect();
        for count in [3, 8, statements.len()] {
            let mut connection = crate::sql::MySql::open(server).expect("the server answers");
            connection.run_script(&statements[..count].join(";")).expect("it runs");
        }
        let options = StoreOptions { location: place, keep_ms: DAY, prepare: |_| Box::default() };
        let store = Store::open(options, START).expect("it opens");
        assert_eq!(ban(&store, &["192.0.2.1"]), 1);
    }

    #[test]
    fn words_name_servers() {
        let found = server("host=h port=1 user=u password=p dbname=d");
        assert_eq!((found.to_string().as_str(), found.password.as_str()), ("u@h:1/d", "p"));
    }
}
