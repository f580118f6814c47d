//! A process that is killed in the middle of its writes has lost nothing that it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use testudo_event::{Alert, Decision, Source, Timestamp};
use testudo_store::{
    AlertFilter, AlertPage, Filter, Location, NewAlert, NewDecision, Page, Store, StoreOptions,
};

/// Names the database to the process that is to be killed.
const VARIABLE: &str = "TESTUDO_STORE_CRASH_DATABASE";
const START: i64 = 1_795_294_800_000;
const DAY: i64 = 86_400_000;
const ROUNDS: usize = 8;

fn open(path: &Path) -> Store {
    let location = Location::Sqlite { path: path.to_owned(), wal: true };
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

fn start(path: &Path) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "writer", "--nocapture"])
        .env(VARIABLE, path)
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
    for round in 0..ROUNDS {
        let mut child = start(&path);
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
