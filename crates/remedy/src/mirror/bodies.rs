//! The bodies of lists: made when somebody asks, kept until something changes, compressed once.

use std::io::Write as _;
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
use super::query::Query;
use crate::clock::{now_ms, wall_ms};

/// Bodies that are kept, in bytes, with what they were compressed to.
const KEPT_MOST: usize = 256 << 20;
/// And how many.
const KEPT_COUNT: usize = 256;

/// A body that is so young is good enough, whatever has changed: many changes in a row do not make many bodies.
const FRESH: Duration = Duration::from_secs(1);

/// Requests that may wait for a body to be made.
const WAITING_MOST: usize = 64;

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
            Encoding::Gzip => self.gzip.get_or_init(|| gzip(&self.plain)).clone(),
            Encoding::Zstd => self.zstd.get_or_init(|| zstd(&self.plain)).clone(),
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

fn gzip(plain: &[u8]) -> Bytes {
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::fast());
    // Writing to memory cannot fail.
    let _ = packer.write_all(plain);
    packer.finish().unwrap_or_default().into()
}

fn zstd(plain: &[u8]) -> Bytes {
    // Compressing into memory cannot fail.
    zstd::encode_all(plain, ZSTD_LEVEL).unwrap_or_default().into()
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
    maker: Semaphore,
    waiting: Semaphore,
}

impl Bodies {
    pub(super) fn new(book: Arc<RwLock<Book>>, lists: Arc<[List]>) -> Self {
        Bodies {
            book,
            lists,
            kept: Mutex::default(),
            maker: Semaphore::new(1),
            waiting: Semaphore::new(WAITING_MOST),
        }
    }

    /// The body of a list as it is now, with its bytes in an encoding.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: Key,
        encoding: Encoding,
    ) -> Result<(Arc<Body>, Bytes), Busy> {
        if let Some(body) = self.find(&key)
            && body.has(encoding)
        {
            let bytes = body.bytes(encoding);
            return Ok((body, bytes));
        }
        let _place = self.waiting.try_acquire().map_err(|_| Busy)?;
        let _turn = self.maker.acquire().await.map_err(|_| Busy)?;
        let bodies = Arc::clone(self);
        // Whoever was before may have made it.
        let made = tokio::task::spawn_blocking(move || {
            let body = bodies.find(&key).unwrap_or_else(|| bodies.make(key));
            let bytes = body.bytes(encoding);
            (body, bytes)
        });
        made.await.map_err(|_| Busy)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        let plain = Bytes::from(rendered.body);
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
