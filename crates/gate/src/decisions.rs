//! What the gate asks: which decisions there are about an address.

use std::{net::IpAddr, sync::Arc, time::Duration};

/// A decision that holds for an address now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What is decided: `ban`, `captcha`, `allow` or any other word.
    pub kind: Arc<str>,
    /// Where it comes from.
    pub origin: Arc<str>,
    /// What led to it.
    pub scenario: Arc<str>,
    /// Its number, which a visitor may quote.
    pub id: u64,
    /// How long it still holds.
    pub remaining: Duration,
}

/// Where decisions are looked up.
///
/// It is asked for every request and on the thread that answers it, so it must not wait for anything.
pub trait Decisions: Send + Sync {
    /// Appends every decision that holds for the address: those of ranges, countries and networks as well.
    /// An IPv4 address is never given in its mapped form.
    fn find(&self, address: IpAddr, matches: &mut Vec<Match>);

    /// Appends every decision about a user. Names are compared without upper and lower case: `user` is in lower case.
    fn find_user(&self, user: &str, matches: &mut Vec<Match>) {
        let _ = (user, matches);
    }

    /// Whether the answers can be relied on. Until the first decisions are here, what a host's policy says
    /// for a failure is done.
    fn is_ready(&self) -> bool {
        true
    }
}
