//! What profiles ask about decisions, answered from the index.

use std::ops::ControlFlow;

use testudo_event::{Prefix, Timestamp};
use testudo_expr::Services;
use testudo_expr::host::{Listing, Listings};
use testudo_store::{Store, Target, View};

use crate::instant;

/// Answers the helpers of expressions about decisions: all that cover a value, of every type and origin,
/// simulated or not. Those that ended count as long as the index remembers them.
pub struct IndexServices<'s> {
    store: &'s Store,
    now_ms: i64,
    listings: Option<&'s dyn Listings>,
}

impl<'s> IndexServices<'s> {
    /// Answers from this store, as of now.
    pub fn new(store: &'s Store, now_ms: i64) -> IndexServices<'s> {
        IndexServices { store, now_ms, listings: None }
    }

    /// The same; who is listed is asked of `listings`.
    #[must_use]
    pub fn with_listings(self, listings: Option<&'s dyn Listings>) -> IndexServices<'s> {
        IndexServices { listings, ..self }
    }

    fn each(&self, value: &str, visit: impl FnMut(View<'_>)) {
        // Nothing covers what is neither address nor range.
        if let Ok(target) = Target::parse(value, true) {
            self.store.index(self.now_ms).covering(target, visit);
        }
    }

    fn count(&self, value: &str, wanted: impl Fn(&View<'_>) -> bool) -> i64 {
        let mut count = 0;
        self.each(value, |view| count += i64::from(wanted(&view)));
        count
    }
}

impl Services for IndexServices<'_> {
    fn now(&self) -> Timestamp {
        instant(self.now_ms)
    }

    fn listings(&self, about: Prefix, tell: &mut dyn FnMut(Listing<'_>) -> ControlFlow<()>) {
        if let Some(listings) = self.listings {
            listings.listings(about, tell);
        }
    }

    fn decisions_count(&self, value: &str) -> i64 {
        self.count(value, |_| true)
    }

    fn decisions_since_count(&self, value: &str, since: i64) -> i64 {
        let oldest = self.now_ms.saturating_sub(since / 1_000_000).div_euclid(1000);
        self.count(value, |view| view.created_secs() >= oldest)
    }

    fn active_decisions_count(&self, value: &str) -> i64 {
        self.count(value, |view| view.is_active())
    }

    fn active_decisions_time_left(&self, value: &str) -> i64 {
        let mut left_ms = 0;
        self.each(value, |view| {
            if view.is_active() {
                left_ms = left_ms.max(view.end_ms().saturating_sub(self.now_ms));
            }
        });
        left_ms.saturating_mul(1_000_000)
    }
}
