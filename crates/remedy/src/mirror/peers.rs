//! What one address may have at once.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

/// How many places each address has: connections, or turns to wait.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A place of an address; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Peers>, IpAddr);

impl Peers {
    /// One more of at most so many.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Place> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(peers);
        Some(Place(Arc::clone(self), peer))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_an_address() {
        let peers = Arc::new(Peers::default());
        let peer = "192.0.2.1".parse().expect("an address");
        let one = peers.enter(peer, 2);
        let two = peers.enter(peer, 2);
        assert!(one.is_some() && two.is_some() && peers.enter(peer, 2).is_none());
        assert!(peers.enter("192.0.2.2".parse().expect("an address"), 2).is_some());
        drop((one, two));
        assert!(peers.0.lock().expect("a lock").is_empty());
    }
}
