//! Connections: a bounded number of them, made when they are needed, and not tried in vain all the time.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::sql::{Connection, SqlError, SqlErrorKind};

use super::{Location, lock};

/// Connections for reading that are kept when they are not in use.
const IDLE: usize = 4;
/// Connections that are not for reading: the writer's, and that of the thread that looks out.
const OTHERS: usize = 2;
/// How long a reader waits until another one gives its connection back.
const TURN: Duration = Duration::from_secs(10);
/// After the first failure to connect the next attempt waits for so long, then twice as long each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// And never longer than this, so that a server that came back is soon in use.
const RETRY_MOST: Duration = Duration::from_secs(2);

/// The way to the database.
pub(super) struct Pool {
    location: Location,
    readers: Mutex<Readers>,
    returned: Condvar,
    away: Mutex<Option<Away>>,
}

#[derive(Default)]
struct Readers {
    idle: Vec<Box<dyn Connection>>,
    /// Those in use.
    busy: usize,
}

/// A server that did not answer.
struct Away {
    wait: Duration,
    until: Instant,
    said: String,
}

impl Pool {
    pub(super) fn new(location: Location) -> Pool {
        Pool { location, readers: Mutex::default(), returned: Condvar::new(), away: Mutex::new(None) }
    }

    /// A new connection. A server that has just failed to answer is not asked again at once: then this fails
    /// without a wait.
    pub(super) fn connect(&self) -> Result<Box<dyn Connection>, StoreError> {
        if let Some(away) = lock(&self.away).as_ref().filter(|away| Instant::now() < away.until) {
            let said = format!("it did not answer a moment ago: {}", away.said);
            let source = SqlError { kind: SqlErrorKind::Disconnected, source: said.into() };
            return Err(StoreError::Open { path: self.location.shown(), source });
        }
        let opened = self.location.connect();
        let mut away = lock(&self.away);
        match &opened {
            Err(StoreError::Open { source, .. }) if source.kind == SqlErrorKind::Disconnected => {
                let wait = away.as_ref().map_or(RETRY_FIRST, |away| (away.wait * 2).min(RETRY_MOST));
                *away = Some(Away { wait, until: Instant::now() + wait, said: source.to_string() });
            }
            _ => *away = None,
        }
        opened
    }

    /// The connections that nobody uses.
    pub(super) fn take_idle(&self) -> Vec<Box<dyn Connection>> {
        std::mem::take(&mut lock(&self.readers).idle)
    }

    /// Asks the database something, once more when the connection turns out to be gone.
    pub(super) fn ask<T>(
        &self,
        doing: &'static str,
        mut question: impl FnMut(&mut dyn Connection) -> Result<T, SqlError>,
    ) -> Result<T, StoreError> {
        let idle = self.take_turn()?;
        let _turn = Turn(self);
        if let Some(mut connection) = idle {
            let answer = question(connection.as_mut());
            if !answer.as_ref().is_err_and(SqlError::is_lost) {
                self.keep(connection);
                return answer.map_err(StoreError::doing(doing));
            }
            // The others went the same way.
            lock(&self.readers).idle.clear();
        }
        let mut connection = self.connect()?;
        let answer = question(connection.as_mut());
        if !answer.as_ref().is_err_and(SqlError::is_lost) {
            self.keep(connection);
        }
        answer.map_err(StoreError::doing(doing))
    }

    /// Waits until one more reader is allowed; returns a connection that is idle.
    fn take_turn(&self) -> Result<Option<Box<dyn Connection>>, StoreError> {
        let most = self.location.connections_most().saturating_sub(OTHERS).max(1);
        let readers = lock(&self.readers);
        let waited = self.returned.wait_timeout_while(readers, TURN, |readers| readers.busy >= most);
        let (mut readers, waited) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        if waited.timed_out() && readers.busy >= most {
            let said = format!("all {most} connections for reading are in use");
            let source = SqlError { kind: SqlErrorKind::Busy, source: said.into() };
            return Err(StoreError::Open { path: self.location.shown(), source });
        }
        readers.busy += 1;
        Ok(readers.idle.pop())
    }

    fn keep(&self, connection: Box<dyn Connection>) {
        let mut readers = lock(&self.readers);
        if readers.idle.len() < IDLE {
            readers.idle.push(connection);
        }
    }
}

/// The permission to read, given back when it goes.
struct Turn<'p>(&'p Pool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.readers).busy -= 1;
        self.0.returned.notify_one();
    }
}
