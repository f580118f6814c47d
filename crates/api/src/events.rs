//! Server push: changes of decisions as events, to any number of listeners.
//!
//! One thread waits for commits and for the time at which decisions end. Listeners with equal filters form a
//! group: what changed is rendered once for the group, and its listeners share the bytes. A listener that
//! does not keep up is let go, and comes back with the position that it got to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use testudo_store::{Cursor, Filter, Since, Stream, StreamOptions};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::answer::Refusal;
use crate::pages::delta_piece;
use crate::service::Service;

/// Listeners at one time.
const LISTENERS_MOST: usize = 4096;

/// Events that wait for a listener; one with more is let go.
const WAITING_MOST: usize = 64;

/// Rows that are looked at for one event, so that no event is larger than a megabyte or so.
const EVENT_ROWS: usize = 4000;

/// How often it is looked whether decisions have ended.
const TICK: Duration = Duration::from_secs(1);

/// How often something is sent, so that a connection that is gone is noticed.
const BEAT: Duration = Duration::from_secs(15);

/// By how much the clocks of two nodes may differ, in milliseconds: what ended in between is told again.
const CLOCKS_APART_MS: i64 = 60_000;

/// After so many beats, an hour, a listener has to show its key again.
const BEATS_MOST: u32 = 240;

/// Everybody who listens.
#[derive(Default)]
pub(crate) struct Hub(Mutex<State>);

#[derive(Default)]
struct State {
    groups: Vec<Group>,
    /// Whether there is a thread.
    is_running: bool,
    /// What was told last: the commit, and how many decisions were in force.
    told: Option<(u64, u64)>,
}

/// Listeners that ask for the same.
struct Group {
    filter: Filter,
    options: StreamOptions,
    cursor: Cursor,
    listeners: Vec<Listener>,
}

struct Listener {
    bouncer: String,
    sender: Sender<Bytes>,
    beats: u32,
}

impl Group {
    /// Sends an event to all who take it.
    fn send(&mut self, event: &Bytes) {
        self.listeners.retain(|listener| {
            let is_sent = listener.sender.try_send(event.clone()).is_ok();
            if !is_sent {
                tracing::debug!(bouncer = listener.bouncer, "a listener is gone, or too slow");
            }
            is_sent
        });
    }

    /// Tells what has changed since the last time.
    fn tell(&mut self, service: &Service, now_ms: i64, is_beat: bool) {
        let index = service.store().index(now_ms);
        if index.is_stale(self.cursor) {
            self.cursor = index.now();
            drop(index);
            self.send(&reset(self.cursor));
            return;
        }
        let mut stream = index.stream(self.filter.clone(), self.options, Since::Delta(self.cursor));
        drop(index);
        let mut held = None;
        while !stream.is_done() {
            let Some(piece) = delta_piece(service, &mut stream, EVENT_ROWS) else { continue };
            if let Some(piece) = held.replace(piece) {
                self.send(&event("decisions", None, &piece));
            }
        }
        self.cursor = stream.cursor();
        match held {
            Some(piece) => self.send(&event("decisions", Some(self.cursor), &piece)),
            None if is_beat => self.send(&beat(self.cursor)),
            None => {}
        }
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all listening.
    pub(crate) fn close(&self) {
        self.state().groups.clear();
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.state().groups.iter().map(|group| group.listeners.len()).sum()
    }

    /// One more listener. `since` is the position that it got to, if it has one; that may be of another node
    /// on the same database. May wait for the database.
    pub(crate) fn listen(
        service: &Arc<Service>,
        bouncer: &str,
        filter: Filter,
        options: StreamOptions,
        since: Option<&str>,
    ) -> Result<Listening, Refusal> {
        let busy = |text: &str| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text);
        let since = since.map(parse_cursor);
        if let Some(Some(at)) = since
            && let Err(error) = service.store().follow_to(at.seq, service.now_ms())
        {
            tracing::debug!(%error, "a listener comes from further on than is known here");
        }
        let mut state = service.events().state();
        let count: usize = state.groups.iter().map(|group| group.listeners.len()).sum();
        if count >= LISTENERS_MOST {
            return Err(busy("too many listeners"));
        }
        let index = service.store().index(service.now_ms());
        let here = index.now();
        let is_known = |at: &Cursor| !index.is_stale(*at) && at.at <= here.at.saturating_add(CLOCKS_APART_MS);
        let known = since.map(|at| at.filter(is_known).map(|at| Cursor { at: at.at.min(here.at), ..at }));
        let (first, catching_up) = match known {
            None => (position(here), None),
            Some(None) => (reset(here), None),
            Some(Some(at)) => (position(at), Some(index.stream(filter.clone(), options, Since::Delta(at)))),
        };
        drop(index);
        if !state.is_running {
            let weak = Arc::downgrade(service);
            let named = thread::Builder::new().name("api-events".to_owned());
            named.spawn(move || run(&weak)).map_err(|_| busy("no thread for events"))?;
            state.is_running = true;
        }
        let (sender, receiver) = channel(WAITING_MOST);
        let listener = Listener { bouncer: bouncer.to_owned(), sender, beats: 0 };
        let is_same = |group: &&mut Group| group.filter == filter && group.options == options;
        match state.groups.iter_mut().find(is_same) {
            Some(group) => group.listeners.push(listener),
            None => state.groups.push(Group { filter, options, cursor: here, listeners: vec![listener] }),
        }
        Ok(Listening {
            service: Arc::clone(service),
            bouncer: bouncer.to_owned(),
            ready: VecDeque::from([first]),
            catching_up,
            receiver,
        })
    }

    /// Tells everybody what has changed. Returns whether anybody is left.
    pub(crate) fn turn(&self, service: &Service, is_beat: bool) -> bool {
        let mut state = self.state();
        if is_beat {
            for group in &mut state.groups {
                group.listeners.retain_mut(|listener| {
                    listener.beats += 1;
                    let is_known = service.store().bouncers().get(&listener.bouncer).is_some();
                    is_known && listener.beats <= BEATS_MOST
                });
            }
        }
        state.groups.retain(|group| !group.listeners.is_empty());
        if state.groups.is_empty() {
            state.is_running = false;
            return false;
        }
        let now_ms = service.now_ms();
        let index = service.store().index(now_ms);
        let now = Some((index.now().seq, index.active()));
        drop(index);
        if now != state.told || is_beat {
            state.told = now;
            state.groups.iter_mut().for_each(|group| group.tell(service, now_ms, is_beat));
        }
        true
    }
}

/// Notes that the thread is over, however it ends.
struct Running<'s>(&'s Weak<Service>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(service) = self.0.upgrade()
        {
            let mut state = service.events().state();
            state.groups.clear();
            state.is_running = false;
        }
    }
}

fn run(service: &Weak<Service>) {
    let _running = Running(service);
    let mut seq = 0;
    let mut beaten = Instant::now();
    while let Some(service) = service.upgrade() {
        let is_beat = beaten.elapsed() >= BEAT;
        if is_beat {
            beaten = Instant::now();
        }
        if !service.events().turn(&service, is_beat) {
            return;
        }
        seq = service.store().wait(seq, TICK);
    }
}

/// The body of the answer to a listener.
pub(crate) struct Listening {
    service: Arc<Service>,
    bouncer: String,
    ready: VecDeque<Bytes>,
    /// What happened between the position that it got to and its coming.
    catching_up: Option<Stream>,
    receiver: Receiver<Bytes>,
}

impl Listening {
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while self.ready.is_empty() && self.catching_up.is_some() {
            self.catch_up();
        }
        if let Some(event) = self.ready.pop_front() {
            return Poll::Ready(Some(event));
        }
        let received = ready!(self.receiver.poll_recv(context));
        if received.is_some() {
            let now_ms = self.service.now_ms();
            self.service.store().bouncers().touch(&self.bouncer, |row| row.last_pull_ms = Some(now_ms));
        }
        Poll::Ready(received)
    }

    /// Makes the next event of what was missed; the last one has the position that is reached with it.
    fn catch_up(&mut self) {
        let Some(stream) = &mut self.catching_up else { return };
        let piece = delta_piece(&self.service, stream, EVENT_ROWS);
        if !stream.is_done() {
            self.ready.extend(piece.map(|piece| event("decisions", None, &piece)));
            return;
        }
        let cursor = stream.cursor();
        self.catching_up = None;
        self.ready.push_back(match piece {
            Some(piece) => event("decisions", Some(cursor), &piece),
            None => beat(cursor),
        });
    }
}

fn cursor_text(cursor: Cursor) -> String {
    format!("{}-{}", cursor.seq, cursor.at)
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let (seq, at) = text.split_once('-')?;
    Some(Cursor { seq: seq.parse().ok()?, at: at.parse().ok()? })
}

/// An event; `data` must have no line ends.
fn event(name: &str, id: Option<Cursor>, data: &[u8]) -> Bytes {
    let id = id.map(|cursor| format!("id: {}\n", cursor_text(cursor))).unwrap_or_default();
    [format!("event: {name}\n{id}data: ").as_bytes(), data, b"\n\n"].concat().into()
}

fn at_cursor(name: &str, cursor: Cursor) -> Bytes {
    let data = format!(r#"{{"cursor":"{}"}}"#, cursor_text(cursor));
    event(name, Some(cursor), data.as_bytes())
}

/// Where the listener stands.
fn position(cursor: Cursor) -> Bytes {
    at_cursor("position", cursor)
}

/// The position that it named is of no use: it has to start anew, and stands here.
fn reset(cursor: Cursor) -> Bytes {
    at_cursor("reset", cursor)
}

/// A comment, with the position that is reached.
fn beat(cursor: Cursor) -> Bytes {
    format!(":\nid: {}\n\n", cursor_text(cursor)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_texts() {
        let cursor = Cursor { seq: 12, at: 1_795_294_800_000 };
        assert_eq!(cursor_text(cursor), "12-1795294800000");
        assert_eq!(parse_cursor("12-1795294800000"), Some(cursor));
        for text in ["", "12", "-", "12-", "x-1", "1-x", "-1-5", "99999999999999999999999-1"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }

    #[test]
    fn events_are_texts() {
        let cursor = Cursor { seq: 1, at: 2 };
        assert_eq!(position(cursor), "event: position\nid: 1-2\ndata: {\"cursor\":\"1-2\"}\n\n");
        assert_eq!(event("decisions", None, b"{}"), "event: decisions\ndata: {}\n\n");
        assert_eq!(beat(cursor), ":\nid: 1-2\n\n");
    }
}
