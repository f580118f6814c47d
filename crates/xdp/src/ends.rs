//! When elements end, so that those that have ended can be removed: the program takes no notice of them, but they take
//! room, and a network that has ended hides a wider one.
//!
//! Each element is noted at its end or before. Whoever comes to a note asks the table for the real end: an element that
//! was prolonged is noted anew, one that was removed is forgotten. So nothing is to be done when an element goes or stays
//! longer, which is the usual case.

use std::collections::BTreeMap;
use std::net::IpAddr;

use testudo_event::Prefix;

/// Ends of the same second, in nanoseconds, are noted together.
const SECOND_NS: u64 = 1_000_000_000;

/// Single addresses of IPv4 are nearly all; they take four bytes each.
#[derive(Debug, Default)]
struct Notes {
    addresses: Vec<[u8; 4]>,
    others: Vec<Prefix>,
}

/// The notes, by the second in which the end is.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    by_second: BTreeMap<u64, Notes>,
}

impl Ends {
    /// Notes an element that did not end so early until now.
    pub(crate) fn note(&mut self, net: Prefix, end_ns: u64) {
        let notes = self.by_second.entry(end_ns / SECOND_NS).or_default();
        match net.addr() {
            IpAddr::V4(addr) if net.bits() == 32 => notes.addresses.push(addr.octets()),
            _ => notes.others.push(net),
        }
    }

    /// Takes away everything that is noted at a time, in nanoseconds, or before, and maybe a little later.
    pub(crate) fn due(&mut self, now_ns: u64) -> Vec<Prefix> {
        let mut due = Vec::new();
        while let Some(first) = self.by_second.first_entry()
            && *first.key() <= now_ns / SECOND_NS
        {
            let notes = first.remove();
            due.extend(notes.addresses.into_iter().map(|octets| Prefix::single(octets.into())));
            due.extend(notes.others);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_due_and_the_rest_is_not() {
        let net = |text: &str| Prefix::parse(text).expect(text);
        let mut ends = Ends::default();
        ends.note(net("192.0.2.1/32"), 5 * SECOND_NS + 7);
        ends.note(net("192.0.2.0/24"), 5 * SECOND_NS + 9);
        ends.note(net("2001:db8::1/128"), 4 * SECOND_NS);
        ends.note(net("192.0.2.2/32"), 6 * SECOND_NS);
        assert_eq!(ends.due(4 * SECOND_NS - 1), []);
        assert_eq!(ends.due(5 * SECOND_NS).len(), 3);
        assert_eq!(ends.due(6 * SECOND_NS), [net("192.0.2.2/32")]);
        assert_eq!(ends.due(u64::MAX), []);
    }
}
