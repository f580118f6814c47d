//! Pages that starting bouncers share. When many start at once, what is new is the same for all who ask for the
//! same: whoever comes first to a page makes it, the others take it.
//!
//! Nobody depends on anybody: each client has a stream of its own, which makes the pages that are not there
//! (any more). What is kept is bounded, and goes with those who share it. A client that starts alone keeps nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use testudo_store::{Filter, Index, StreamOptions};

/// By how much the moments may differ that pages are about, in milliseconds: durations are told in seconds.
const APART_MOST_MS: u64 = 1000;

/// Bytes of pages that are kept at once, of all questions together: the decisions of a node with 150,000 take 25 MB,
/// and those who read about as fast as each other need only what is between them.
const KEPT_MOST: usize = 64 * 1024 * 1024;

/// Questions for which pages are kept at once; others are answered without.
const QUESTIONS_MOST: usize = 8;

/// How long pages are kept: a client that takes longer is not worth the memory.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// One page of what is new.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    /// The decisions, each with a comma before it. May be empty for the last page.
    pub(crate) bytes: Bytes,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<i64>,
}

/// What starts have to have in common to share pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) filter: Filter,
    pub(crate) options: StreamOptions,
    /// The last commit and the number of decisions in force, which falls only by commits and as decisions end:
    /// where both are the same, the same decisions are in force.
    state: (u64, u64),
    at_ms: i64,
}

impl Question {
    /// A start about this moment.
    pub(crate) fn new(filter: Filter, options: StreamOptions, index: &Index) -> Question {
        let now = index.now();
        Question { filter, options, state: (now.seq, index.active()), at_ms: now.at }
    }

    fn has_answer_of(&self, other: &Question) -> bool {
        self.at_ms.abs_diff(other.at_ms) <= APART_MOST_MS
            && self.state == other.state
            && self.options == other.options
            && self.filter == other.filter
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The questions that are being answered just now.
#[derive(Default)]
pub(crate) struct Renderings {
    open: Mutex<Vec<Weak<Rendering>>>,
    kept: Arc<AtomicUsize>,
}

impl Renderings {
    /// Takes part in what those who ask the same share. `None` when too many different questions are asked.
    pub(crate) fn join(&self, question: Question) -> Option<Sharer> {
        let mut open = lock(&self.open);
        open.retain(|rendering| rendering.strong_count() > 0);
        let mut found = None;
        for rendering in open.iter().filter_map(Weak::upgrade) {
            if rendering.is_old() {
                lock(&rendering.pages).let_go();
            } else if rendering.question.has_answer_of(&question) {
                found = Some(rendering);
            }
        }
        if found.is_none() && open.len() < QUESTIONS_MOST {
            let kept = Arc::clone(&self.kept);
            let pages = Mutex::new(Pages { kept, sharers: 0, by_place: BTreeMap::new(), from: i64::MIN });
            let rendering = Arc::new(Rendering { question, begun: Instant::now(), pages });
            open.push(Arc::downgrade(&rendering));
            found = Some(rendering);
        }
        let rendering = found?;
        lock(&rendering.pages).sharers += 1;
        Some(Sharer(rendering))
    }

    /// Bytes of the pages that are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

/// One of those who share the pages of a question.
pub(crate) struct Sharer(Arc<Rendering>);

impl Drop for Sharer {
    fn drop(&mut self) {
        let mut pages = lock(&self.0.pages);
        pages.sharers -= 1;
        if pages.sharers <= 1 {
            // Whoever is left may take its time, and is not waited for.
            while pages.let_first_go() {}
        }
    }
}

/// The pages of one question.
struct Rendering {
    question: Question,
    begun: Instant,
    pages: Mutex<Pages>,
}

struct Pages {
    kept: Arc<AtomicUsize>,
    sharers: usize,
    /// By the place at which they begin.
    by_place: BTreeMap<i64, Rows>,
    /// Before this place nothing is kept any more.
    from: i64,
}

impl Pages {
    /// Keeps a page. When there is no room, those before it go, or it is not kept.
    fn keep(&mut self, place: i64, rows: Rows) {
        let size = rows.bytes.len();
        while self.kept.load(Ordering::Relaxed) + size > KEPT_MOST {
            if self.by_place.first_key_value().is_none_or(|(&first, _)| first > place) {
                return;
            }
            self.let_first_go();
        }
        self.kept.fetch_add(size, Ordering::Relaxed);
        self.by_place.insert(place, rows);
    }

    fn let_first_go(&mut self) -> bool {
        let Some((place, rows)) = self.by_place.pop_first() else { return false };
        self.kept.fetch_sub(rows.bytes.len(), Ordering::Relaxed);
        self.from = place.saturating_add(1);
        true
    }

    /// From now on, everybody makes pages for himself.
    fn let_go(&mut self) {
        while self.let_first_go() {}
        self.from = i64::MAX;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Rendering {
    fn is_old(&self) -> bool {
        self.begun.elapsed() > KEPT_FOR
    }
}

impl Sharer {
    /// The page that begins at a place: that of another client, or else what `make` makes.
    pub(crate) fn page(&self, place: i64, make: impl FnOnce() -> Rows) -> Rows {
        let mut pages = lock(&self.0.pages);
        if self.0.is_old() {
            pages.let_go();
        }
        if let Some(rows) = pages.by_place.get(&place) {
            return rows.clone();
        }
        // Who is alone has nobody to keep it for.
        if pages.sharers == 1 || place < pages.from {
            drop(pages);
            return make();
        }
        // Whoever needs the same page waits here rather than make it too.
        let rows = make();
        pages.keep(place, rows.clone());
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = KEPT_MOST / 4;

    fn question(at_ms: i64) -> Question {
        let (filter, options) = (Filter::default(), StreamOptions::default());
        Question { filter, options, state: (1, 1), at_ms }
    }

    /// Whether this page had to be made.
    fn is_made(sharer: &Sharer, place: i64, bytes: &Bytes) -> bool {
        let mut is_made = false;
        let rows = sharer.page(place, || {
            is_made = true;
            Rows { bytes: bytes.clone(), next: Some(place + 1) }
        });
        assert_eq!(rows.next, Some(place + 1));
        is_made
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let renderings = Renderings::default();
        let large = Bytes::from(vec![b','; LARGE]);
        let join = |at_ms| renderings.join(question(at_ms)).expect("few questions");
        let (first, second) = (join(0), join(APART_MOST_MS as i64));
        for place in 0..6 {
            assert!(is_made(&first, place, &large));
            assert!(renderings.kept() <= KEPT_MOST);
        }
        // The first ones had to go; who is late makes them, and they are not kept again.
        for place in [0, 1, 0, 1] {
            assert!(is_made(&second, place, &large));
        }
        assert!((2..6).all(|place| !is_made(&second, place, &large)));
        // Others get no room by it, and take none away.
        let others = [join(10_000), join(10_000)];
        assert!((0..2).all(|_| is_made(&others[0], 0, &large)));
        assert!(!is_made(&first, 5, &large));
        drop(first);
        assert_eq!(renderings.kept(), 0, "who is left alone keeps nothing");
        assert!((0..2).all(|_| is_made(&second, 6, &large)));
        assert!(is_made(&others[0], 0, &large) && !is_made(&others[1], 0, &large));
        drop((second, others));
        assert_eq!(renderings.kept(), 0);
    }

    #[test]
    fn questions_are_bounded() {
        let renderings = Renderings::default();
        let joined = |at| renderings.join(question(at * 10_000));
        let mut open: Vec<_> = (0..QUESTIONS_MOST as i64).map(joined).collect();
        assert!(open.iter().all(Option::is_some));
        assert!(joined(-1).is_none() && joined(0).is_some());
        open.pop();
        assert!(joined(-1).is_some());
    }
}
