//! How many decisions there are of each kind: counting them takes a while, and whoever asks for metrics may ask often.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::book::Book;

/// So long, in milliseconds, what was counted is good enough.
const FRESH_MS: u64 = 1_000;

/// By origin and kind of address.
type Counts = Arc<BTreeMap<(String, &'static str), u64>>;

/// What was counted last, and when.
pub(super) struct Counted {
    book: Arc<RwLock<Book>>,
    last: Arc<Mutex<Option<(u64, Counts)>>>,
}

impl Counted {
    pub(super) fn new(book: Arc<RwLock<Book>>) -> Self {
        Counted { book, last: Arc::default() }
    }

    /// How many there are, or were a second ago. One counts at a time, even if those who ask go away meanwhile.
    pub(super) async fn get(&self, now_ms: u64) -> Counts {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((at_ms, counts)) = &*last
            && now_ms < at_ms.saturating_add(FRESH_MS)
        {
            return Arc::clone(counts);
        }
        let book = Arc::clone(&self.book);
        let counting = spawn_blocking(move || {
            let counts = Arc::new(book.read().unwrap_or_else(PoisonError::into_inner).counts());
            *last = Some((now_ms, Arc::clone(&counts)));
            counts
        });
        // It ends before that only where the program does.
        counting.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_second() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let counted = Counted::new(Arc::default());
            let first = counted.get(5_000).await;
            assert!(Arc::ptr_eq(&first, &counted.get(5_999).await));
            assert!(!Arc::ptr_eq(&first, &counted.get(6_000).await));
        });
    }
}
