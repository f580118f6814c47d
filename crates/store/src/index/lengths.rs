//! Which prefix lengths occur, so that a look-up of everything that covers an address asks for these only.

use crate::place::{Family, Place};

/// Numbers of rows by family and prefix length.
#[derive(Clone)]
pub(super) struct Lengths {
    v4: [u32; 33],
    v6: [u32; 129],
}

impl Default for Lengths {
    fn default() -> Self {
        Lengths { v4: [0; 33], v6: [0; 129] }
    }
}

impl Lengths {
    pub(super) fn add(&mut self, place: Place) {
        let counts: &mut [u32] = match place.family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
            Family::Named => return,
        };
        if let Some(count) = counts.get_mut(usize::from(place.bits)) {
            *count += 1;
        }
    }

    /// The networks that cover a place, and may have rows, the widest first.
    pub(super) fn covering(&self, place: Place) -> impl Iterator<Item = Place> {
        let counts: &[u32] = match place.family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
            Family::Named => &[],
        };
        let lengths = (0..=place.bits).zip(counts).filter(|(_, count)| **count > 0);
        lengths.map(move |(bits, _)| place.widened(bits))
    }
}
