//! A process that is killed in the middle of its writes has lost nothing that it acknowledged, nor does a
//! disk that is full lose anything. On a file, or on the server that the environment names.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testudo_event::{Alert, Decision, Source, Timestamp};
use testudo_store::{
    AlertFilter, AlertPage, Filter, Location, NewAlert, NewDecision, Page, SqlErrorKind, Store, StoreOptions,
};

/// Names the database to the process that is to be killed.
const VARIABLE: &str = "TESTUDO_STORE_CRASH_DATABASE";
const START: i64 = 1_795_294_800_000;
const DAY: i64 = 86_400_000;
const ROUNDS: usize = 8;

/// A file; or a schema or database of the folder's name on a server.
fn location(path: &Path) -> Location {
    #[cfg(feature = "server")]
    {
        use testudo_store::Server;
        let folder = path.parent().and_then(Path::file_name).expect("a folder").to_string_lossy();
        let name: String = folder.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("crash_{}", name.to_ascii_lowercase());
        let server = |words: &str| {
            let word = |wanted: &str| {
                let mut words = words.split_whitespace().filter_map(|word| word.split_once('='));
                words.find(|(word, _)| *word == wanted).expect("all words").1.to_owned()
            };
            Server {
                host: word("host"),
                port: word("port").parse().expect("a port"),
                user: word("user"),
                password: word("password"),
                database: word("dbname"),
                ..Server::default()
            }
        };
        #[cfg(feature = "postgres")]
        if let Ok(words) = env::var("TESTUDO_TEST_POSTGRES") {
            let mut client = postgres::Client::connect(&words, postgres::NoTls).expect("the server answers");
            client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {name}")).expect("it is made");
            return Location::Postgres(Server { schema: name, ..server(&words) });
        }
        #[cfg(feature = "mysql")]
        if let Ok(words) = env::var("TESTUDO_TEST_MYSQL") {
            use mysql::prelude::Queryable;
            let server = server(&words);
            let options = mysql::OptsBuilder::new()
                .ip_or_hostname(Some(&server.host))
                .tcp_port(server.port)
                .user(Some(&server.user))
                .pass(Some(&server.password));
            let mut client = mysql::Conn::new(options).expect("the server answers");
            client.query_drop(format!("CREATE DATABASE IF NOT EXISTS {name}")).expect("it is made");
            return Location::MySql(Server { database: name, ..server });
        }
    }
    Location::Sqlite { path: path.to_owned(), wal: true }
}

fn open(path: &Path) -> Store {
    let location = location(path);
    Store::open(StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() }, START)
        .expect("it opens")
}

/// The alert number `n`: its decisions are 1 to 40.
fn alert(n: u64) -> NewAlert {
    let decisions = (0..=n % 40).map(|at| NewDecision {
        uuid: u128::from(n) + 1,
        decision: Decision {
            kind: "ban".to_owned(),
            scope: "Ip".to_owned(),
            value: format!("10.{}.{}.{at}", n / 256 % 256, n % 256),
            origin: "crowdsec".to_owned(),
            scenario: "demo/ssh-bf".to_owned(),
            until: Timestamp::from_unix(START / 1000 + 3600, 0),
            ..Decision::default()
        },
    });
    let source = Source { scope: "user".to_owned(), value: n.to_string(), ..Source::default() };
    NewAlert {
        uuid: String::new(),
        machine: None,
        alert: Alert { source, ..Alert::default() },
        decisions: decisions.collect(),
    }
}

/// The process that is killed: without the variable it is a test of nothing.
#[test]
fn writer() {
    let Ok(path) = env::var(VARIABLE) else { return };
    let store = open(Path::new(&path));
    let mut out = std::io::stdout();
    let first =
        store.alert_ids(&AlertFilter::default(), START).expect("it reads").last().copied().unwrap_or(0);
    for n in first as u64 + 1.. {
        let added = store.add_alerts(&[alert(n)], START).expect("it is stored");
        let id = added[0].id.expect("it has a number");
        writeln!(out, "added {id} {n}").and_then(|()| out.flush()).expect("it is heard");
        if n.is_multiple_of(3) {
            let last = store.index(START).last_id();
            store.end_decisions(&[last], START).expect("it ends");
            writeln!(out, "ended {last}").and_then(|()| out.flush()).expect("it is heard");
        }
    }
}

fn start(path: &Path, writer: &str, variable: &str) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", writer, "--nocapture"])
        .env(variable, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

#[test]
fn nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let mut added: BTreeMap<i64, u64> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    // Another node, which looks on.
    let survivor = open(&path);
    for round in 0..ROUNDS {
        let mut child = start(&path, "writer", VARIABLE);
        let mut lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        let mut hear = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["added", id, n] => {
                    added.insert(id.parse().expect("a number"), n.parse().expect("a number"));
                }
                ["ended", id] => {
                    ended.insert(id.parse::<i64>().expect("a number"));
                }
                _ => return false,
            }
            true
        };
        let mut heard = 0;
        while heard < 20 + 13 * round {
            let line = lines.next().expect("it goes on").expect("a line");
            heard += usize::from(hear(&line));
        }
        child.kill().expect("it is killed");
        // What it had said before that counts, too. A line may be cut off.
        for line in lines.map_while(Result::ok) {
            hear(&line);
        }
        child.wait().expect("it is gone");

        let store = open(&path);
        let mut active: BTreeSet<i64> = BTreeSet::new();
        store.index(START).query(&Filter::default(), Page::default(), |view| {
            active.insert(view.id());
        });
        assert!(active.is_disjoint(&ended), "an ended decision came back");
        survivor.follow(START).expect("it follows");
        assert_eq!(survivor.index(START).ids(&Filter::default()), active.iter().copied().collect::<Vec<_>>());
        let mut found = BTreeMap::new();
        store
            .alerts(&AlertFilter::default(), AlertPage::default(), START, |stored| {
                let n: u64 = stored.alert.source.value.parse().expect("a number");
                // No alert is there by halves.
                assert_eq!(stored.decisions.len(), alert(n).decisions.len());
                let over: Vec<i64> =
                    stored.decisions.iter().map(|d| d.id).filter(|id| !active.contains(id)).collect();
                // The end of the last decision may have been durable, but not yet acknowledged.
                assert!(
                    over.iter().all(|id| ended.contains(id)) || n == added.len() as u64,
                    "{over:?} of {n}"
                );
                found.insert(stored.alert.id, n);
            })
            .expect("it reads");
        for (id, n) in &added {
            assert_eq!(found.get(id), Some(n), "alert {id} is lost");
        }
        // What was durable but not acknowledged is known from now on.
        assert!(found.len() <= added.len() + 1);
        added = found;
        ended.extend((1..=store.index(START).last_id()).filter(|id| !active.contains(id)));
    }
}

/// Names the database to the process that imports.
const IMPORT: &str = "TESTUDO_STORE_IMPORT_DATABASE";
/// Decisions of an import. Unoptimised, a tenth takes as long.
const IMPORTED: usize = if cfg!(debug_assertions) { 10_000 } else { 100_000 };

fn import(n: u64) -> NewAlert {
    let mut new = alert(n);
    let one = new.decisions.pop().expect("a decision");
    new.uuid = format!("import-{n}");
    new.decisions = (0..IMPORTED)
        .map(|at| {
            let mut new = one.clone();
            new.decision.value = format!("10.{}.{}.{}", n % 256, at / 256, at % 256);
            new
        })
        .collect();
    new
}

/// The process that is killed in its imports: without the variable it is a test of nothing.
#[test]
fn importer() {
    let Ok(path) = env::var(IMPORT) else { return };
    let store = open(Path::new(&path));
    let mut out = std::io::stdout();
    let done = store.alert_ids(&AlertFilter::default(), START).expect("it reads").last().copied();
    for n in done.unwrap_or(0) as u64 + 1.. {
        writeln!(out, "begins {n}").and_then(|()| out.flush()).expect("it is heard");
        let added = store.add_alerts(&[import(n)], START).expect("it is stored");
        writeln!(out, "imported {}", added[0].id.expect("a number"))
            .and_then(|()| out.flush())
            .expect("it is heard");
    }
}

/// An import is there as a whole or not at all, whenever its process is killed, and sending it again when
/// its fate is not known brings it once.
#[test]
fn imports_are_whole_or_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let survivor = open(&path);
    let mut known = BTreeSet::new();
    for round in 0..6_u64 {
        let mut child = start(&path, "importer", IMPORT);
        let mut lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        while !lines.next().expect("it goes on").expect("a line").starts_with("begins") {}
        // Any moment will do: what is tested is that none is special.
        std::thread::sleep(Duration::from_millis(round * round * 37 % 400));
        child.kill().expect("it is killed");
        for line in lines.map_while(Result::ok) {
            if let Some(id) = line.strip_prefix("imported ") {
                known.insert(id.parse::<i64>().expect("a number"));
            }
        }
        child.wait().expect("it is gone");
        let store = open(&path);
        let ids = store.alert_ids(&AlertFilter::default(), START).expect("it reads");
        assert!(known.iter().all(|id| ids.contains(id)), "an import is lost");
        assert_eq!(store.index(START).active(), (ids.len() * IMPORTED) as u64);
        survivor.follow(START).expect("it follows");
        assert_eq!(survivor.index(START).active(), store.index(START).active());
        // Whoever does not know whether it arrived sends it again.
        let next = ids.len() as u64;
        if next > 0 {
            let again = survivor.add_alerts(&[import(next)], START).expect("it is asked");
            assert!(again[0].known && again[0].id == Some(next as i64));
        }
        known.extend(ids);
    }
}

/// Names a small disk to the process that fills it.
const DISK: &str = "TESTUDO_STORE_SMALL_DISK";

/// The process on the small disk: without the variable it is a test of nothing.
#[test]
fn filler() {
    let Ok(folder) = env::var(DISK) else { return };
    let folder = Path::new(&folder);
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).expect("there is room");
    let path = folder.join("db");
    let open = || {
        let location = Location::Sqlite { path: path.clone(), wal: true };
        let options = StoreOptions { location, keep_ms: DAY, prepare: |_| Box::default() };
        Store::open(options, START).expect("it opens")
    };
    let store = open();
    let mut stored = 0;
    let error = loop {
        match store.add_alerts(&[alert(stored + 1)], START) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100_000, "the disk is never full");
    };
    assert_eq!(error.sql_kind(), Some(SqlErrorKind::Full), "{error}");
    let active = store.index(START).active();
    let expected: u64 = (1..=stored).map(|n| alert(n).decisions.len() as u64).sum();
    assert_eq!(active, expected, "readers are served with what was acknowledged");
    assert!(store.add_alerts(&[alert(stored + 1)], START).is_err());
    // Another process finds what was acknowledged, even while there is no room.
    assert_eq!(open().index(START).active(), expected);
    std::fs::remove_file(&ballast).expect("it is deleted");
    store.add_alerts(&[alert(stored + 1)], START).expect("there is room again");
    assert_eq!(open().alert_ids(&AlertFilter::default(), START).expect("it reads").len() as u64, stored + 1);
}

/// On a disk of a few megabytes: a file system in memory, which a name space of its own lets anybody have.
#[test]
fn a_full_disk_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=6m tmpfs \"$1\" || exit 77; exec \"$2\" --exact filler --nocapture";
    let program = env::current_exe().expect("this program");
    let run = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(program)
        .env(DISK, folder.path())
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(run) if run.status.success() => {}
        Ok(run) if String::from_utf8_lossy(&run.stdout).contains("running 1 test") => {
            panic!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr))
        }
        _ => println!("skipped: no file system can be mounted here"),
    }
}
