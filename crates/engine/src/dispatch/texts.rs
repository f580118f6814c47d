//! Fixed texts that are looked up for every event: a table whose hash looks at the length and three bytes, not at the
//! whole text. The texts come from rules, so that nobody who writes logs can make them collide.

/// Places for each text: most texts that are not in the table meet an empty place at once.
const PLACES_EACH: usize = 4;

/// Texts, each with what belongs to it.
#[derive(Debug)]
pub(super) struct Texts<T> {
    /// A text stands at the place that its hash gives, or after it: the next one free. At least one is free.
    places: Box<[Place<T>]>,
}

type Place<T> = Option<(Box<str>, T)>;

impl<T> Texts<T> {
    /// The texts must differ.
    pub(super) fn new(texts: Vec<(Box<str>, T)>) -> Texts<T> {
        let count = (texts.len() * PLACES_EACH).next_power_of_two();
        let mut places: Box<[_]> = std::iter::repeat_with(|| None).take(count).collect();
        for (text, of) in texts {
            let mut at = place(&text, count);
            while places[at].is_some() {
                at = (at + 1) & (count - 1);
            }
            places[at] = Some((text, of));
        }
        Texts { places }
    }

    /// What belongs to a text.
    pub(super) fn get(&self, text: &str) -> Option<&T> {
        let mut at = place(text, self.places.len());
        while let Some((known, of)) = &self.places[at] {
            if **known == *text {
                return Some(of);
            }
            at = (at + 1) & (self.places.len() - 1);
        }
        None
    }

    /// The texts, in no order of theirs.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.places.iter().flatten().map(|(text, _)| &**text)
    }
}

/// Where a text belongs among so many places, a power of two: by its length, its ends and its middle.
fn place(text: &str, places: usize) -> usize {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().map_or(0, u64::from);
    let last = bytes.len().saturating_sub(1);
    let four = byte(0) | byte(last / 2) << 8 | byte(last) << 16 | (bytes.len() as u64) << 24;
    // The multiplier of Fibonacci hashing: 2^64 divided by the golden ratio (Knuth, volume 3, 6.4). The upper bits are
    // those that depend on all others.
    (four.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Like a map, also for texts that differ in no byte that the hash sees.
        #[test]
        fn it_is_a_map(
            texts in prop::collection::btree_map("[ab]{0,6}", 0..1_000, 0..40),
            asked in prop::collection::vec("[ab]{0,6}|.{0,9}", 0..40),
        ) {
            let texts: BTreeMap<String, i32> = texts;
            let table = Texts::new(texts.iter().map(|(text, of)| (text.as_str().into(), *of)).collect());
            for text in asked.iter().chain(texts.keys()) {
                prop_assert_eq!(table.get(text), texts.get(text));
            }
            let mut all: Vec<&str> = table.iter().collect();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(texts.keys().map(String::as_str)));
        }
    }
}
