//! The index and the database as one: a change is durable before it is seen, and seen before the call
//! that made it returns.

mod alerts;
mod allowlists;
mod clients;
mod counts;
mod flush;
mod follow;
mod import;
mod pool;
mod takeover;
mod watch;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_import;
#[cfg(test)]
mod tests_nodes;

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use crate::db::{Counters, decisions, items};
use crate::error::StoreError;
use crate::index::{Cursor, Filter, Index, label::Prepare};
use crate::records::{Bouncer, Machine, Metrics};
use crate::server::Server;
use crate::sql::{Connection, SqlError, Sqlite, finish, migrate};

use allowlists::Allowlists;
use clients::Registry;

pub use alerts::AlertPage;
pub use allowlists::Allowed;
pub use clients::{Bouncers, Machines};
pub use flush::{FlushPolicy, Flushed};
pub use import::Imported;
use pool::Pool;
pub use watch::{Watch, WatchNews};

/// Connections to a file: more would only wait for the same disk.
const FILE_CONNECTIONS: usize = 16;

/// The clock of the index goes in steps of at least so much: each takes the lock of a writer.
const CLOCK_STEP_MS: i64 = 50;
/// By how much the clock of the index may lag while others hold the lock.
const CLOCK_LAG_MS: i64 = 1000;

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of SQLite.
    Sqlite {
        /// The file; it is made when it is not there.
        path: PathBuf,
        /// Whether writes go to a log first, so that nobody who reads waits for them. Not for network file
        /// systems.
        wal: bool,
    },
    /// A database of MySQL or MariaDB. Needs the feature `mysql`.
    MySql(Server),
    /// A database of PostgreSQL. Needs the feature `postgres`.
    Postgres(Server),
}

impl Location {
    fn connect(&self) -> Result<Box<dyn Connection>, StoreError> {
        let opened: Result<Box<dyn Connection>, SqlError> = match self {
            Location::Sqlite { path, wal } => Sqlite::open(path, *wal).map(|file| Box::new(file) as _),
            #[cfg(feature = "mysql")]
            Location::MySql(server) => crate::sql::MySql::open(server).map(|server| Box::new(server) as _),
            #[cfg(feature = "postgres")]
            Location::Postgres(server) => {
                crate::sql::Postgres::open(server).map(|server| Box::new(server) as _)
            }
            #[cfg(not(all(feature = "mysql", feature = "postgres")))]
            _ => {
                let source = "this program was built without databases of that kind".into();
                Err(SqlError { kind: crate::sql::SqlErrorKind::Other, source })
            }
        };
        opened.map_err(|source| StoreError::Open { path: self.shown(), source })
    }

    /// Its name, without secrets.
    fn shown(&self) -> PathBuf {
        match self {
            Location::Sqlite { path, .. } => path.clone(),
            Location::MySql(server) => PathBuf::from(format!("MySQL {server}")),
            Location::Postgres(server) => PathBuf::from(format!("PostgreSQL {server}")),
        }
    }

    /// How many connections are used at once.
    fn connections_most(&self) -> usize {
        match self {
            Location::Sqlite { .. } => FILE_CONNECTIONS,
            Location::MySql(server) | Location::Postgres(server) => server.connections_most,
        }
    }
}

/// How a store is run.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where its database is.
    pub location: Location,
    /// How long decisions that have ended are kept in memory, in milliseconds: clients that were away for
    /// longer begin anew.
    pub keep_ms: i64,
    /// Makes the bytes that the index keeps with each kind of decision.
    pub prepare: Prepare,
}

/// Everything that the local API knows.
///
/// Functions that return a [`StoreError`] wait for the disk or a server: asynchronous programs call them
/// where waiting is allowed. All others are answered from memory.
pub struct Store {
    options: StoreOptions,
    index: RwLock<Index>,
    writer: Mutex<Option<Box<dyn Connection>>>,
    pool: Pool,
    machines: RwLock<Registry<Machine>>,
    bouncers: RwLock<Registry<Bouncer>>,
    allowlists: RwLock<Allowlists>,
    alert_counts: Mutex<counts::AlertCounts>,
    /// The last commit that readers can see, for those who wait for one.
    published: Mutex<u64>,
    news: Condvar,
    taken_over: Option<(PathBuf, Imported)>,
}

impl Drop for Store {
    /// Closing a connection to a server waits for it, which is not allowed on the threads of asynchronous programs.
    fn drop(&mut self) {
        let connections = (lock(&self.writer).take(), self.pool.take_idle());
        if let Ok(closing) =
            thread::Builder::new().name("database close".to_owned()).spawn(|| drop(connections))
        {
            // One that panicked has nothing left to close.
            let _ = closing.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the database, brings it to the newest schema, and reads what has to be in memory. Where there is a
    /// SQLite database of the reference, that is left as it is: ours is beside it, with the ending `testudo.db`,
    /// and takes over once what is in it ([`Store::taken_over`]).
    ///
    /// # Errors
    /// The database cannot be opened or read, or is that of a newer program.
    pub fn open(options: StoreOptions, now_ms: i64) -> Result<Store, StoreError> {
        let (mut store, old) = Store::open_with(options, now_ms, load)?;
        if let Some(old) = old {
            store.take_over(&old, now_ms)?;
        }
        Ok(store)
    }

    /// As [`Store::open`], without any decision in memory: for a command that is about machines, bouncers,
    /// configuration items or alerts, which need not wait until a million decisions are read. What it
    /// changes is seen by others as ever; its own index knows only what it adds itself.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_without_decisions(options: StoreOptions, now_ms: i64) -> Result<Store, StoreError> {
        Store::open_with(options, now_ms, load_nothing).map(|(store, _)| store)
    }

    fn open_with(
        mut options: StoreOptions,
        now_ms: i64,
        load: fn(&mut dyn Connection, &StoreOptions, i64) -> Result<Index, SqlError>,
    ) -> Result<(Store, Option<PathBuf>), StoreError> {
        let old = options.location.step_aside();
        let pool = Pool::new(options.location.clone());
        let mut connection = pool.connect()?;
        migrate::migrate(connection.as_mut(), migrate::MIGRATIONS)?;
        let index =
            load(connection.as_mut(), &options, now_ms).map_err(StoreError::doing("load decisions"))?;
        let store = Store {
            writer: Mutex::new(None),
            pool,
            machines: RwLock::default(),
            bouncers: RwLock::default(),
            allowlists: RwLock::default(),
            alert_counts: Mutex::default(),
            published: Mutex::new(index.now().seq),
            news: Condvar::new(),
            index: RwLock::new(index),
            taken_over: None,
            options,
        };
        store.reload_clients(connection.as_mut()).map_err(StoreError::doing("load clients"))?;
        *lock(&store.writer) = Some(connection);
        Ok((store, old))
    }

    /// The decisions in memory as of now, give or take a second. What is asked should be short (a page of
    /// a stream: a few thousand rows), since writers wait for it, and other readers for them.
    pub fn index(&self, now_ms: i64) -> RwLockReadGuard<'_, Index> {
        let index = read(&self.index);
        let lag = now_ms.saturating_sub(index.now().at);
        if lag < CLOCK_STEP_MS {
            return index;
        }
        drop(index);
        if lag < CLOCK_LAG_MS {
            // Whoever is reading or writing just now is not waited for.
            if let Ok(mut index) = self.index.try_write() {
                index.advance(now_ms);
            }
        } else {
            write(&self.index).advance(now_ms);
        }
        read(&self.index)
    }

    /// The decisions in memory as they were last looked at: for the further pages of an answer.
    pub fn index_as_it_is(&self) -> RwLockReadGuard<'_, Index> {
        read(&self.index)
    }

    /// Waits until a later commit than `seq` can be seen, or the time is over; returns the last commit.
    /// A thread that waits here can wake everyone to whom changes are pushed.
    pub fn wait(&self, seq: u64, timeout: Duration) -> u64 {
        let published = lock(&self.published);
        let waited = self.news.wait_timeout_while(published, timeout, |published| *published <= seq);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Makes a commit visible, and wakes who waits for it.
    fn publish(&self, seq: u64) {
        write(&self.index).publish(seq);
        let mut published = lock(&self.published);
        if seq > *published {
            *published = seq;
            self.news.notify_all();
        }
    }

    /// Ends decisions before their time; returns how many of these were in force.
    ///
    /// # Errors
    /// The database fails.
    pub fn end_decisions(&self, ids: &[i64], now_ms: i64) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        self.change("end decisions", now_ms, |connection, counters| {
            counters.commit += 1;
            let ended = decisions::end(connection, ids, counters.commit, now_ms)?;
            Ok((ended, Change { ended: ids.to_vec(), ..Change::default() }))
        })
    }

    /// Ends all decisions in force that a filter asks for; returns how many they were.
    ///
    /// # Errors
    /// The database fails.
    pub fn end_matching(&self, filter: &Filter, now_ms: i64) -> Result<u64, StoreError> {
        let ids = self.index(now_ms).ids(filter);
        self.end_decisions(&ids, now_ms)
    }

    /// The value of a configuration item: a token, a secret, the time of a pull.
    ///
    /// # Errors
    /// The database fails.
    pub fn config_item(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.ask("read a configuration item", |connection| items::get(connection, name))
    }

    /// Sets a configuration item; `None` deletes it.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_config_item(&self, name: &str, value: Option<&str>, now_ms: i64) -> Result<(), StoreError> {
        self.commit("set a configuration item", |connection, _| items::set(connection, name, value, now_ms))
    }

    /// Sets a configuration item unless it is there; returns the value that holds. Of several programs that
    /// do so at once, all get the same.
    ///
    /// # Errors
    /// The database fails.
    pub fn config_item_or(&self, name: &str, value: &str, now_ms: i64) -> Result<String, StoreError> {
        self.commit("set a configuration item", |connection, _| {
            if let Some(found) = items::get(connection, name)? {
                return Ok(found);
            }
            items::set(connection, name, Some(value), now_ms)?;
            Ok(value.to_owned())
        })
    }

    /// Stores a report of usage metrics; its number is given here. Returns it.
    ///
    /// # Errors
    /// The database fails.
    pub fn add_metrics(&self, report: &Metrics) -> Result<i64, StoreError> {
        self.commit("store usage metrics", |connection, _| items::insert_metrics(connection, report))
    }

    /// Reports of usage metrics, oldest first: all, or those that have not been passed on.
    ///
    /// # Errors
    /// The database fails.
    pub fn metrics(&self, unpushed: bool) -> Result<Vec<Metrics>, StoreError> {
        self.ask("read usage metrics", |connection| items::list_metrics(connection, unpushed))
    }

    /// Notes that reports of usage metrics were passed on.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_metrics_pushed(&self, ids: &[i64], now_ms: i64) -> Result<(), StoreError> {
        self.commit("note that usage metrics were passed on", |connection, _| {
            items::set_pushed(connection, ids, now_ms)
        })
    }

    fn ask<T>(
        &self,
        doing: &'static str,
        question: impl FnMut(&mut dyn Connection) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        self.pool.ask(doing, question)
    }

    /// Makes a change durable that has nothing to do with decisions.
    fn commit<T>(
        &self,
        doing: &'static str,
        change: impl FnOnce(&mut dyn Connection, &mut Counters) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        self.commit_with(&mut writer, doing, change).map(|(done, ..)| done)
    }

    /// Makes a change durable; returns the counters before and after it.
    fn commit_with<T>(
        &self,
        writer: &mut Option<Box<dyn Connection>>,
        doing: &'static str,
        change: impl FnOnce(&mut dyn Connection, &mut Counters) -> Result<T, SqlError>,
    ) -> Result<(T, Counters, Counters), StoreError> {
        let mut begun = self.writing(writer)?.begin();
        if begun.as_ref().is_err_and(SqlError::is_lost) {
            // Nothing was written yet: a connection that went away in the meantime is replaced.
            *writer = None;
            begun = self.writing(writer)?.begin();
        }
        begun.map_err(StoreError::doing(doing))?;
        let done = finish(self.writing(writer)?, |connection| {
            let before = Counters::lock(connection)?;
            let mut counters = before;
            let done = change(connection, &mut counters)?;
            counters.save(before, connection)?;
            if counters != before {
                connection.announce()?;
            }
            Ok((done, before, counters))
        });
        if done.as_ref().is_err_and(SqlError::is_lost) {
            // The next writer connects anew.
            *writer = None;
        }
        done.map_err(StoreError::doing(doing))
    }

    fn writing<'w>(
        &self,
        writer: &'w mut Option<Box<dyn Connection>>,
    ) -> Result<&'w mut dyn Connection, StoreError> {
        let connection = match writer.take() {
            Some(connection) => connection,
            None => self.pool.connect()?,
        };
        Ok(writer.insert(connection).as_mut())
    }

    /// Makes a change of decisions durable, then seen.
    fn change<'c, T>(
        &self,
        doing: &'static str,
        now_ms: i64,
        change: impl FnOnce(&mut dyn Connection, &mut Counters) -> Result<(T, Change<'c>), SqlError>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        let ((done, change), before, after) = self.commit_with(&mut writer, doing, change)?;
        let known = read(&self.index).now().seq;
        if before.commit == known as i64 {
            self.show(&change, after.commit as u64, now_ms);
        } else {
            // Others have written in between: what they did comes first.
            let connection = self.writing(&mut writer)?;
            self.catch_up(connection, now_ms).map_err(StoreError::doing("follow other writers"))?;
        }
        Ok(done)
    }
}

/// What a commit did to decisions.
#[derive(Default)]
struct Change<'c> {
    added: Vec<crate::index::DecisionRef<'c>>,
    ended: Vec<i64>,
}

impl Store {
    /// Brings a commit into the index. Until it is published nobody sees it, so that it may come in portions
    /// between which readers get their turn.
    fn show(&self, change: &Change<'_>, commit: u64, now_ms: i64) {
        for portion in change.added.chunks(follow::PORTION) {
            let mut index = write(&self.index);
            for decision in portion {
                // Its value was checked before it was stored.
                let _ = index.insert(commit, decision);
            }
        }
        for portion in change.ended.chunks(follow::PORTION) {
            let mut index = write(&self.index);
            for &id in portion {
                index.end(commit, now_ms, id);
            }
        }
        self.publish(commit);
    }
}

/// An index that is up to date, but knows nothing of what was before.
fn load_nothing(
    connection: &mut dyn Connection,
    options: &StoreOptions,
    now_ms: i64,
) -> Result<Index, SqlError> {
    let mut index = Index::new(options.prepare);
    let known = Cursor { seq: Counters::read(connection)?.commit as u64, at: now_ms };
    index.loaded(known.seq, known);
    index.advance(now_ms);
    Ok(index)
}

/// Reads the decisions that have to be in memory.
fn load(connection: &mut dyn Connection, options: &StoreOptions, now_ms: i64) -> Result<Index, SqlError> {
    let mut index = Index::new(options.prepare);
    let floor_ms = now_ms.saturating_sub(options.keep_ms);
    let counters = Counters::read(connection)?;
    decisions::load(connection, floor_ms, &mut |stored| {
        // A row that cannot be understood must not keep all others from being enforced.
        let _ = index.load(stored.born, stored.gone, &stored.decision);
        Ok(())
    })?;
    let floor = counters.floor.max(decisions::last_gone_before(connection, floor_ms)?);
    index.loaded(counters.commit as u64, Cursor { seq: floor as u64, at: floor_ms });
    index.advance(now_ms);
    Ok(index)
}
