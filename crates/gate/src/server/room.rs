//! Room for visitors who send something to the gate itself. Whoever sends slowly takes the places of others like him, and
//! not the connections over which web servers ask.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use testudo_event::Prefix;

/// What may be on its way at once: an eighth of the connections of a port.
const MOST: usize = 128;

/// Of these, what one visitor may have: an address of IPv4, a network of 64 bits of IPv6.
const MOST_OF_ONE: usize = 8;

/// Who is sending.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<HashMap<IpAddr, usize>>);

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'r> {
    room: &'r Room,
    client: IpAddr,
}

impl Room {
    /// A place for a visitor; none where there is no room.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place<'_>> {
        let client = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(_) => Prefix::covering(address, 64).map_or(address, |net| net.network().addr()),
        };
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = held.values().sum();
        let of_one = held.entry(client).or_default();
        if all >= MOST || *of_one >= MOST_OF_ONE {
            if *of_one == 0 {
                held.remove(&client);
            }
            return None;
        }
        *of_one += 1;
        drop(held);
        Some(Place { room: self, client })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = held.get_mut(&self.client) {
            *of_one -= 1;
            if *of_one == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_of_it() {
        let room = Room::default();
        let one = |text: &str| room.enter(text.parse().expect(text));
        let mut held: Vec<_> = (0..MOST_OF_ONE).map(|_| one("192.0.2.1").expect("room")).collect();
        assert!(one("192.0.2.1").is_none());
        held.push(one("2001:db8::1").expect("room"));
        held.extend((1..MOST_OF_ONE).map(|n| one(&format!("2001:db8::{n}")).expect("room")));
        assert!(one("2001:db8::ff").is_none(), "it is the same customer");
        held.extend((0..MOST - held.len()).map(|n| one(&format!("198.51.100.{n}")).expect("room")));
        assert!(one("203.0.113.1").is_none(), "it is full");
        held.clear();
        assert!(room.0.lock().expect("a lock").is_empty());
        assert!(one("192.0.2.1").is_some());
    }
}
