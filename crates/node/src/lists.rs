//! Who is listed, for rules and profiles that ask: a table of the decisions in force, beside the store, so that no
//! line waits for a writer. It is made only where somebody asks.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use testudo_engine::{ListBuilder, Listed};
use testudo_expr::host::Listing;
use testudo_store::{Filter, Page, Store};

/// How long changes are waited for at once: the end of the thread waits for as long.
const TURN: Duration = Duration::from_millis(200);
/// The least time between two tables.
const PAUSE_LEAST: Duration = Duration::from_secs(1);
/// A table is made anew after so many times what the last one took, so that it takes a fiftieth of a processor at most.
const PAUSE_FACTOR: u32 = 50;
/// Decisions that are read under one lock.
const PAGE: usize = 4_096;

/// Who is listed, and whether anybody wants to know.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    listed: Arc<Listed>,
    asked: AtomicBool,
    /// The last commit that was there when the table was made.
    seq: AtomicU64,
}

impl Lists {
    /// What engines and profiles ask.
    pub(crate) fn listed(&self) -> &Arc<Listed> {
        &self.listed
    }

    /// Whether rules or profiles ask from now on. Where they did not before, the table is made at once. Takes a second
    /// or so for some million decisions.
    pub(crate) fn set_asked(&self, asked: bool, store: &Store, now_ms: i64) {
        if asked && !self.asked.load(Ordering::Acquire) {
            self.read(store, now_ms);
        }
        self.asked.store(asked, Ordering::Release);
    }

    fn read(&self, store: &Store, now_ms: i64) {
        let begun = Instant::now();
        self.seq.store(store.index(now_ms).now().seq, Ordering::Release);
        let mut builder = ListBuilder::default();
        let mut page = Page { limit: PAGE, ..Page::default() };
        loop {
            let mut seen = 0;
            store.index(now_ms).query(&Filter::default(), page, |view| {
                seen += 1;
                page.id_gt = view.id();
                let Some(network) = view.network() else { return };
                let label = view.label();
                builder.add(
                    network,
                    &Listing {
                        origin: label.origin,
                        scenario: label.scenario,
                        kind: label.kind,
                        since: view.created_secs(),
                        until: view.end_ms().div_euclid(1000),
                    },
                );
            });
            if seen < PAGE {
                break;
            }
        }
        let table = builder.build();
        tracing::debug!(
            decisions = table.len(),
            millis = begun.elapsed().as_millis() as u64,
            "lists are read"
        );
        self.listed.set_now(now_ms.div_euclid(1000));
        self.listed.set(table);
    }

    /// Follows the decisions of a store, until what is returned goes. `clock` tells the present, in milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn follow(
        self: &Arc<Self>,
        store: &Arc<Store>,
        clock: impl Fn() -> i64 + Send + 'static,
    ) -> io::Result<Following> {
        let stop = Arc::new(AtomicBool::new(false));
        let (lists, store, stopped) = (Arc::clone(self), Arc::downgrade(store), Arc::clone(&stop));
        let thread = thread::Builder::new().name("lists".to_owned()).spawn(move || {
            let mut turn = Turn { lists, store, next: Instant::now() };
            while !stopped.load(Ordering::Acquire) && turn.take(clock()).is_some() {}
        })?;
        Ok(Following { stop, thread: Some(thread) })
    }
}

/// The thread that follows; it ends when this goes.
#[derive(Debug)]
pub(crate) struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

struct Turn {
    lists: Arc<Lists>,
    store: Weak<Store>,
    next: Instant,
}

impl Turn {
    /// Waits a little for changes, and takes them when it is time. `None` when the store is gone.
    fn take(&mut self, now_ms: i64) -> Option<()> {
        let store = self.store.upgrade()?;
        self.lists.listed.set_now(now_ms.div_euclid(1000));
        let early = self.next.saturating_duration_since(Instant::now()).min(TURN);
        if !early.is_zero() {
            thread::sleep(early);
            return Some(());
        }
        let known = self.lists.seq.load(Ordering::Acquire);
        if store.wait(known, TURN) > known && self.lists.asked.load(Ordering::Acquire) {
            let begun = Instant::now();
            self.lists.read(&store, now_ms);
            self.next = Instant::now() + PAUSE_LEAST.max(begun.elapsed() * PAUSE_FACTOR);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use testudo_event::{Alert, Decision, Prefix, Source, Timestamp};
    use testudo_expr::host::Listings as _;
    use testudo_store::{Location, NewAlert, NewDecision, StoreOptions};

    use super::*;

    /// The machine may be busy.
    const PATIENCE: Duration = Duration::from_mins(1);

    fn decide(store: &Store, decisions: &[(&str, &str, bool)]) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let decision = |(value, origin, simulated): &(&str, &str, bool)| NewDecision {
            uuid: NEXT.fetch_add(1, Ordering::Relaxed).into(),
            decision: Decision {
                kind: "ban".to_owned(),
                scope: if value.contains('/') { "Range" } else { "Ip" }.to_owned(),
                value: (*value).to_owned(),
                origin: (*origin).to_owned(),
                scenario: "list".to_owned(),
                simulated: *simulated,
                until: Timestamp::from_unix(3_600, 0),
                ..Decision::default()
            },
        };
        let source = Source { scope: "Ip".to_owned(), value: "192.0.2.1".to_owned(), ..Source::default() };
        let new = NewAlert {
            uuid: String::new(),
            machine: None,
            alert: Alert { source, ..Alert::default() },
            decisions: decisions.iter().map(decision).collect(),
        };
        store.add_alerts(&[new], 0).expect("it is stored");
    }

    fn origins(lists: &Lists, about: &str) -> Vec<String> {
        let about = Prefix::single(about.parse().expect("an address"));
        let mut found = Vec::new();
        lists.listed().listings(about, &mut |listing| {
            assert_eq!((listing.scenario, listing.kind, listing.until), ("list", "ban", 3_600));
            found.push(listing.origin.to_owned());
            ControlFlow::Continue(())
        });
        found.sort();
        found
    }

    #[test]
    fn the_table_follows_the_store_where_somebody_asks() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = StoreOptions {
            location: Location::Sqlite { path: folder.path().join("db"), wal: true },
            keep_ms: 1_000,
            prepare: testudo_api::prepare_label,
        };
        let store = Arc::new(Store::open(options, 0).expect("it opens"));
        decide(
            &store,
            &[("192.0.2.1", "lists", false), ("192.0.2.0/24", "CAPI", false), ("192.0.2.1", "x", true)],
        );
        let lists = Arc::new(Lists::default());
        lists.set_asked(false, &store, 0);
        assert!(lists.listed().is_empty(), "nobody asks");
        lists.set_asked(true, &store, 0);
        assert_eq!(origins(&lists, "192.0.2.1"), ["CAPI", "lists"], "decisions for show are none");
        assert_eq!(origins(&lists, "192.0.2.2"), ["CAPI"]);
        let time = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let clock = Arc::clone(&time);
        let following = lists.follow(&store, move || clock.load(Ordering::Relaxed)).expect("a thread");
        decide(&store, &[("198.51.100.1", "cscli-import", false)]);
        let until = |holds: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !holds() {
                assert!(begun.elapsed() < PATIENCE, "waited in vain");
                thread::sleep(Duration::from_millis(20));
            }
        };
        until(&|| origins(&lists, "198.51.100.1") == ["cscli-import"]);
        assert_eq!(origins(&lists, "192.0.2.1"), ["CAPI", "lists"]);
        // What is over does not count, though nothing was written.
        time.store(3_600_000, Ordering::Relaxed);
        until(&|| origins(&lists, "192.0.2.1").is_empty());
        drop(following);
        assert_eq!(Arc::strong_count(&store), 1, "the thread is gone");
    }

    /// Many pages of the index, each under its own lock.
    #[test]
    fn every_decision_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = StoreOptions {
            location: Location::Sqlite { path: folder.path().join("db"), wal: true },
            keep_ms: 1_000,
            prepare: testudo_api::prepare_label,
        };
        let store = Store::open(options, 0).expect("it opens");
        let values: Vec<String> = (0..=2 * PAGE).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
        let all: Vec<(&str, &str, bool)> =
            values.iter().map(|value| (value.as_str(), "lists", false)).collect();
        decide(&store, &all);
        let lists = Lists::default();
        lists.set_asked(true, &store, 0);
        assert_eq!(lists.listed().len(), all.len());
    }
}
