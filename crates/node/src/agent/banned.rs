//! Under overload, lines of addresses that are banned already are parsed and counted, and lead to nothing more: what
//! is left of the time belongs to those about whom nothing is decided yet.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testudo_engine::Skip;
use testudo_store::{Filter, Page, Store, Target};

/// Knows who is banned, and whether that counts just now.
pub(crate) struct Banned {
    store: Arc<Store>,
    pressed: Arc<AtomicBool>,
}

impl Banned {
    /// Asks the decisions of the API in this process while `pressed` is set.
    pub(crate) fn new(store: Arc<Store>, pressed: Arc<AtomicBool>) -> Banned {
        Banned { store, pressed }
    }
}

impl Skip for Banned {
    fn skips(&self, address: IpAddr) -> bool {
        if !self.pressed.load(Ordering::Relaxed) {
            return false;
        }
        let Ok(target) = Target::parse(&address.to_string(), true) else { return false };
        let ban = Filter { types: Some(vec!["ban".to_owned()]), target: Some(target), ..Filter::default() };
        let mut found = false;
        let first = Page { limit: 1, ..Page::default() };
        self.store.index_as_it_is().query(&ban, first, |_| found = true);
        found
    }
}

#[cfg(test)]
mod tests {
    use testudo_event::{Alert, Decision, Source, Timestamp};
    use testudo_store::{Location, NewAlert, NewDecision, StoreOptions};

    use super::*;

    #[test]
    fn only_who_is_banned_only_under_pressure() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = StoreOptions {
            location: Location::Sqlite { path: folder.path().join("db"), wal: true },
            keep_ms: 1_000,
            prepare: testudo_api::prepare_label,
        };
        let store = Arc::new(Store::open(options, 0).expect("it opens"));
        let decision = Decision {
            kind: "ban".to_owned(),
            scope: "Range".to_owned(),
            value: "192.0.2.0/24".to_owned(),
            until: Timestamp::from_unix(3_600, 0),
            ..Decision::default()
        };
        let alert = Alert {
            source: Source { scope: "Ip".to_owned(), value: "192.0.2.1".to_owned(), ..Source::default() },
            ..Alert::default()
        };
        let decisions = vec![NewDecision { uuid: 1, decision }];
        let new = NewAlert { uuid: String::new(), machine: None, alert, decisions };
        store.add_alerts(&[new], 0).expect("it is stored");
        let pressed = Arc::new(AtomicBool::new(false));
        let banned = Banned::new(store, Arc::clone(&pressed));
        let asks = |address: [u8; 4]| banned.skips(IpAddr::from(address));
        assert!(!asks([192, 0, 2, 7]));
        pressed.store(true, Ordering::Relaxed);
        assert!(asks([192, 0, 2, 7]));
        assert!(!asks([192, 0, 3, 7]));
    }
}
