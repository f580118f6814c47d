//! A thread that follows what other programs write: further nodes on one server, a command on one file.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::sql::{Connection, SqlErrorKind};

use super::{Location, Store};

/// How long news are waited for at once: the end of the thread waits for as long.
const TURN: Duration = Duration::from_millis(200);
/// How often a database that tells its news is asked all the same: news get lost with a connection.
const POLL: Duration = Duration::from_secs(1);
/// How long the thread pauses after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// What the thread has to say about the database.
#[derive(Debug)]
pub enum WatchNews {
    /// It cannot be read any more. Readers are served with what is known.
    Lost(StoreError),
    /// It can be read again, and everything that happened meanwhile is known.
    Back,
}

/// The thread that follows; it ends when this goes.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Starts a thread that calls [`Store::follow`] as soon as others have changed something: on PostgreSQL
    /// they tell, on SQLite a number in shared memory does, on MySQL the counters are looked at several times
    /// a second. `clock` tells the present, in milliseconds since 1970; `report` hears when the database is
    /// lost, once, and when it is back.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn watch(
        self: &Arc<Self>,
        clock: impl Fn() -> i64 + Send + 'static,
        mut report: impl FnMut(WatchNews) + Send + 'static,
    ) -> io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let store = Arc::downgrade(self);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("database watch".to_owned()).spawn(move || {
            let mut lookout = Lookout::default();
            let mut is_lost = false;
            while !stopped.load(Ordering::Acquire) {
                match lookout.turn(&store, &clock) {
                    None => return,
                    Some(Ok(())) if is_lost => {
                        is_lost = false;
                        report(WatchNews::Back);
                    }
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        lookout = Lookout::default();
                        if !is_lost {
                            is_lost = true;
                            report(WatchNews::Lost(error));
                        }
                        thread::park_timeout(PAUSE);
                    }
                }
            }
        })?;
        Ok(Watch { stop, thread: Some(thread) })
    }
}

/// A connection that waits for news, and when it was last looked without any.
#[derive(Default)]
struct Lookout {
    connection: Option<Box<dyn Connection>>,
    looked: Option<Instant>,
}

impl Lookout {
    /// Waits a little, and follows if there is reason to. `None` when the store is gone.
    fn turn(&mut self, store: &Weak<Store>, clock: &impl Fn() -> i64) -> Option<Result<(), StoreError>> {
        let heard = match &mut self.connection {
            Some(connection) => match connection.wait_for_news(TURN) {
                Ok(heard) => heard,
                Err(error) => return Some(Err(StoreError::doing("look out for changes")(error))),
            },
            None => {
                let made = store.upgrade()?.pool.connect().and_then(|mut connection| {
                    connection.look_out().map_err(StoreError::doing("look out for changes"))?;
                    Ok(connection)
                });
                match made {
                    Ok(connection) => self.connection = Some(connection),
                    Err(error) => return Some(Err(error)),
                }
                true
            }
        };
        let store = store.upgrade()?;
        let poll = if store.options.location.tells_news() { POLL } else { TURN };
        if !heard && self.looked.is_some_and(|looked| looked.elapsed() < poll) {
            return Some(Ok(()));
        }
        self.looked = Some(Instant::now());
        match store.follow(clock()) {
            // A command that writes for long keeps us waiting, no more.
            Err(error) if error.sql_kind() == Some(SqlErrorKind::Busy) => Some(Ok(())),
            followed => Some(followed.map(drop)),
        }
    }
}

impl Location {
    /// Whether whoever looks out hears of commits.
    fn tells_news(&self) -> bool {
        !matches!(self, Location::MySql(_))
    }
}
