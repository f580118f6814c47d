//! Keys and values, in two pieces of memory however many there are.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keys and values in the order in which they were given; a key may stand there more than once. As JSON a
/// list of `{"key": …, "value": …}`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// The texts one after the other, a key before its value.
    texts: String,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Pairs {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key and the value at a position.
    pub fn get(&self, at: usize) -> Option<(&str, &str)> {
        let ends = self.ends.chunks_exact(2).nth(at)?;
        let start = if at == 0 { 0 } else { self.ends[2 * at - 1] };
        Some((&self.texts[start..ends[0]], &self.texts[ends[0]..ends[1]]))
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.len()).map(|at| self.get(at).unwrap_or_default())
    }

    /// The first value of a key, empty where there is none.
    pub fn value(&self, key: &str) -> &str {
        self.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value)
    }

    fn push(&mut self, key: &str, value: &str) {
        for text in [key, value] {
            self.texts.push_str(text);
            self.ends.push(self.texts.len());
        }
    }
}

impl<K: AsRef<str>, V: AsRef<str>> From<&[(K, V)]> for Pairs {
    fn from(pairs: &[(K, V)]) -> Self {
        let bytes = pairs.iter().map(|(key, value)| key.as_ref().len() + value.as_ref().len()).sum();
        let mut made =
            Pairs { texts: String::with_capacity(bytes), ends: Vec::with_capacity(2 * pairs.len()) };
        pairs.iter().for_each(|(key, value)| made.push(key.as_ref(), value.as_ref()));
        made
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut made = Pairs::default();
        pairs.into_iter().for_each(|(key, value)| made.push(key.as_ref(), value.as_ref()));
        made
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Item<T> {
    pub(crate) key: T,
    pub(crate) value: T,
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(key, value)| Item { key, value }))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<Item<Cow<'de, str>>>::deserialize(deserializer)?;
        Ok(items.iter().map(|item| (&item.key, &item.value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_was_given(given: Vec<(String, String)>) {
            let pairs: Pairs = given.iter().map(|(key, value)| (key, value)).collect();
            prop_assert_eq!(&pairs, &Pairs::from(given.as_slice()));
            prop_assert_eq!(pairs.len(), given.len());
            prop_assert_eq!(pairs.is_empty(), given.is_empty());
            prop_assert!(pairs.iter().eq(given.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
            prop_assert_eq!(pairs.get(given.len()), None);
            for (key, _) in &given {
                let first = given.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
                prop_assert_eq!(Some(pairs.value(key)), first);
            }
            let json = serde_json::to_string(&pairs).expect("texts are JSON");
            prop_assert_eq!(serde_json::from_str::<Pairs>(&json).expect("they come back"), pairs);
        }
    }

    #[test]
    fn as_json_they_are_a_list() {
        let pairs = Pairs::from([("a", "é\n"), ("a", "")].as_slice());
        let json = r#"[{"key":"a","value":"é\n"},{"key":"a","value":""}]"#;
        assert_eq!(serde_json::to_string(&pairs).expect("texts are JSON"), json);
        assert_eq!(pairs.value("b"), "");
    }
}
