//! The bodies of lists: made when somebody asks, kept until something changes, compressed once.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};
use testudo_mirror::{Choice, Family, Look, choose};
use tokio::sync::Semaphore;

use super::book::Book;
use super::config::List;
use super::peers::Peers;
use super::query::Query;
use crate::clock::{now_ms, wall_ms};

/// Bodies that are kept, in bytes, with what they were compressed to.
const KEPT_MOST: usize = 256 << 20;
/// And how many.
const KEPT_COUNT: usize = 256;

/// A body that is so young is good enough, whatever has changed: many changes in a row do not make many bodies.
const FRESH: Duration = Duration::from_secs(1);

/// Bytes that are no longer kept and still being sent, before no more bodies are made.
const SENDING_MOST: usize = 256 << 20;

/// Requests that may wait for a body to be made.
const WAITING_MOST: usize = 64;
/// And those of one address.
const WAITING_OF_ONE: usize = 8;

/// Quick, and small already for lists that repeat themselves.
const ZSTD_LEVEL: i32 = 1;

/// A body, and what is said about it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) plain: Bytes,
    gzip: OnceLock<Bytes>,
    zstd: OnceLock<Bytes>,
    /// With its quotes.
    pub(super) etag: String,
    /// When it came to be as it is.
    pub(super) modified: SystemTime,
    pub(super) lines: usize,
    pub(super) falsely: u128,
    pub(super) left_out: usize,
    alive: Arc<AtomicUsize>,
}

/// Bytes that are counted for as long as somebody has them.
struct Alive {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Alive {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

fn counted(bytes: Vec<u8>, alive: &Arc<AtomicUsize>) -> Bytes {
    alive.fetch_add(bytes.len(), Ordering::Relaxed);
    Bytes::from_owner(Alive { bytes, alive: Arc::clone(alive) })
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

impl Body {
    /// Its bytes; compressing them takes a while, the first time.
    pub(super) fn bytes(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Plain => self.plain.clone(),
            Encoding::Gzip => self.gzip.get_or_init(|| counted(gzip(&self.plain), &self.alive)).clone(),
            Encoding::Zstd => self.zstd.get_or_init(|| counted(zstd(&self.plain), &self.alive)).clone(),
        }
    }

    /// Whether its bytes are there already.
    pub(super) fn has(&self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Plain => true,
            Encoding::Gzip => self.gzip.get().is_some(),
            Encoding::Zstd => self.zstd.get().is_some(),
        }
    }

    fn size(&self) -> usize {
        let packed = [&self.gzip, &self.zstd].into_iter().filter_map(|packed| packed.get()).map(Bytes::len);
        self.plain.len() + packed.sum::<usize>()
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::fast());
    // Writing to memory cannot fail.
    let _ = packer.write_all(plain);
    packer.finish().unwrap_or_default()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    // Compressing into memory cannot fail.
    zstd::encode_all(plain, ZSTD_LEVEL).unwrap_or_default()
}

/// A list, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) list: usize,
    pub(super) query: Query,
}

#[derive(Debug)]
struct Kept {
    body: Arc<Body>,
    generation: u64,
    made: Instant,
    used: Instant,
}

/// Too many wait already.
#[derive(Debug)]
pub(super) struct Busy;

/// All bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    book: Arc<RwLock<Book>>,
    lists: Arc<[List]>,
    kept: Mutex<HashMap<Key, Kept>>,
    /// One is made at a time.
    maker: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    peers: Arc<Peers>,
    /// Bytes of all bodies that are kept or being sent.
    alive: Arc<AtomicUsize>,
    sending_most: usize,
}

impl Bodies {
    pub(super) fn new(book: Arc<RwLock<Book>>, lists: Arc<[List]>) -> Self {
        Bodies {
            book,
            lists,
            kept: Mutex::default(),
            maker: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(WAITING_MOST)),
            peers: Arc::default(),
            alive: Arc::default(),
            sending_most: SENDING_MOST,
        }
    }

    /// The body of a list as it is now, with its bytes in an encoding.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: Key,
        encoding: Encoding,
        peer: IpAddr,
    ) -> Result<(Arc<Body>, Bytes), Busy> {
        let key = settled(&self.lists[key.list], key);
        if let Some(body) = self.find(&key)
            && body.has(encoding)
        {
            let bytes = body.bytes(encoding);
            return Ok((body, bytes));
        }
        let own = self.peers.enter(peer, WAITING_OF_ONE).ok_or(Busy)?;
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.maker).acquire_owned().await.map_err(|_| Busy)?;
        let bodies = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || {
            // Whoever asks may go away; this goes on, and takes its turn until it has ended.
            let _held = (own, place, turn);
            // Whoever was before may have made it.
            let body = match bodies.find(&key) {
                Some(body) => body,
                None if bodies.sending() > bodies.sending_most => return Err(Busy),
                None => bodies.make(key),
            };
            let bytes = body.bytes(encoding);
            Ok((body, bytes))
        });
        made.await.map_err(|_| Busy)?
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are being sent and no longer kept.
    fn sending(&self) -> usize {
        let kept: usize = self.kept().values().map(|kept| kept.body.size()).sum();
        self.alive.load(Ordering::Relaxed).saturating_sub(kept)
    }

    /// A body that is as young as it has to be.
    fn find(&self, key: &Key) -> Option<Arc<Body>> {
        let generation = self.book.read().unwrap_or_else(PoisonError::into_inner).generation();
        let mut kept = self.kept();
        let found = kept.get_mut(key)?;
        found.used = Instant::now();
        (found.generation == generation || found.made.elapsed() < FRESH).then(|| Arc::clone(&found.body))
    }

    fn make(&self, key: Key) -> Arc<Body> {
        let list = &self.lists[key.list];
        let choice = choice(list, &key.query);
        let wall = wall_ms().div_euclid(1_000);
        let (items, generation) = {
            let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
            (book.items(&choice, now_ms(), wall), book.generation())
        };
        let chosen = choose(items, &choice);
        let look = Look {
            name: key.query.name.clone().or_else(|| list.name.clone()),
            family: choice.family,
            aggregate: list.aggregate,
            now: wall,
        };
        let rendered = list.format.render(&chosen, &look);
        let left_out = chosen.left_out;
        drop(chosen);
        let plain = counted(rendered.body.into_bytes(), &self.alive);
        let hash = Sha256::digest(&plain);
        let etag = format!("\"{:032x}\"", u128::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 16])));
        let mut kept = self.kept();
        let same = kept.get(&key).map(|kept| Arc::clone(&kept.body)).filter(|body| body.etag == etag);
        let body = same.unwrap_or_else(|| {
            Arc::new(Body {
                plain,
                gzip: OnceLock::new(),
                zstd: OnceLock::new(),
                etag,
                modified: SystemTime::now(),
                lines: rendered.lines,
                falsely: rendered.falsely,
                left_out,
                alive: Arc::clone(&self.alive),
            })
        });
        let now = Instant::now();
        kept.insert(key, Kept { body: Arc::clone(&body), generation, made: now, used: now });
        evict(&mut kept);
        body
    }

    /// What was made last of each list, as it is without parameters.
    pub(super) fn plain(&self) -> Vec<Option<Arc<Body>>> {
        let kept = self.kept();
        let key = |list| Key { list, query: Query::default() };
        (0..self.lists.len()).map(|list| kept.get(&key(list)).map(|kept| Arc::clone(&kept.body))).collect()
    }
}

/// Forgets those that nobody asked for longest, until the others have room.
fn evict(kept: &mut HashMap<Key, Kept>) {
    let mut total: usize = kept.values().map(|kept| kept.body.size()).sum();
    while kept.len() > 1 && (total > KEPT_MOST || kept.len() > KEPT_COUNT) {
        let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone()) else {
            break;
        };
        if let Some(gone) = kept.remove(&oldest) {
            total -= gone.body.size();
        }
    }
}

/// A key without what makes no difference to the list: what is the same is made and kept once.
fn settled(list: &List, mut key: Key) -> Key {
    let query = &mut key.query;
    query.name = query.name.take().filter(|_| list.format.is_named());
    // What the list does not have is as good as anything else that it does not have.
    let has = |all: &[String], asked: &str| all.is_empty() || all.iter().any(|one| one == asked);
    if !query.types.is_empty() {
        query.types.retain(|kind| has(&list.choice.types, kind));
        query.types.sort_unstable();
        query.types.dedup();
        if query.types.is_empty() {
            query.types.push(String::new());
        }
    }
    query.origin = query
        .origin
        .take()
        .map(|origin| if has(&list.choice.origins, &origin) { origin } else { String::new() });
    key
}

/// What a list is about, narrowed by what is asked.
fn choice(list: &List, query: &Query) -> Choice {
    let mut choice = list.choice.clone();
    if query.family != Family::Both {
        choice.family = query.family;
    }
    choice.unsorted |= query.unsorted;
    // Nobody gets more than the list has.
    let narrow = |has: &mut Vec<String>, asked: &[String]| {
        if has.is_empty() {
            has.extend_from_slice(asked);
        } else if !asked.is_empty() {
            has.retain(|one| asked.contains(one));
            if has.is_empty() {
                // Of no type and no origin is anything.
                has.push(String::new());
            }
        }
    };
    narrow(&mut choice.types, &query.types);
    narrow(&mut choice.origins, query.origin.as_slice());
    choice
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use testudo_mirror::Format;

    use super::*;
    use crate::mirror::keys::Guard;
    use crate::mirror::query;

    fn list(format: Format, types: &[&str]) -> List {
        let types = types.iter().map(|kind| (*kind).to_owned()).collect();
        List {
            endpoint: "/x".to_owned(),
            format,
            aggregate: None,
            name: None,
            choice: Choice { types, ..Choice::default() },
            guard: Guard::None,
        }
    }

    fn bodies() -> Bodies {
        Bodies::new(Arc::default(), vec![list(Format::Caddy, &[])].into())
    }

    fn key(text: &str) -> Key {
        Key { list: 0, query: query::read(text).expect("a query").0 }
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn what_makes_no_difference_is_made_once() {
        let plain = list(Format::PlainText, &["ban", "captcha"]);
        let same = |one: &str, other: &str| settled(&plain, key(one)) == settled(&plain, key(other));
        assert!(same("listname=a", "listname=b&x=y"));
        assert!(same("supported_decisions_types=ban,captcha,ban", "supported_decisions_types=captcha,x,ban"));
        assert!(same("supported_decisions_types=x", "supported_decisions_types=y,z"));
        assert!(!same("supported_decisions_types=x", ""));
        let named = list(Format::Mikrotik, &[]);
        assert_ne!(settled(&named, key("listname=a")), settled(&named, key("listname=b")));
    }

    #[test]
    fn one_address_does_not_take_all_turns() {
        let bodies = Arc::new(bodies());
        let _turn = Arc::clone(&bodies.maker).try_acquire_owned().expect("a turn");
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        for _ in 0..WAITING_OF_ONE {
            let mut asked = Box::pin(bodies.get(key(""), Encoding::Plain, peer(1)));
            assert!(asked.as_mut().poll(&mut context).is_pending());
            waiting.push(asked);
        }
        let one_more = pin!(bodies.get(key(""), Encoding::Plain, peer(1)));
        assert!(one_more.poll(&mut context).is_ready(), "it is told to come later");
        let another = pin!(bodies.get(key(""), Encoding::Plain, peer(2)));
        assert!(another.poll(&mut context).is_pending());
    }

    #[test]
    fn what_is_being_sent_is_bounded() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let bodies = Arc::new(Bodies { sending_most: 1, ..bodies() });
            let get = |text: &str| {
                let (bodies, key) = (Arc::clone(&bodies), key(text));
                async move { bodies.get(key, Encoding::Gzip, peer(1)).await.map(|(_, bytes)| bytes) }
            };
            let sent = get("listname=a").await.expect("a body");
            get("listname=b").await.expect("what is kept does not count");
            bodies.kept().clear();
            get("listname=c").await.expect_err("somebody still reads");
            drop(sent);
            get("listname=c").await.expect("a body");
            bodies.kept().clear();
            assert_eq!(bodies.alive.load(Ordering::Relaxed), 0);
        });
    }
}
