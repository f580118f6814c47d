//! What the tables of facts about expressions do not reach.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::functions::{builtins::base64, helpers, lookup, names};

/// Every function of the language that takes no predicate.
const FUNCTIONS: &str = "trim trimPrefix trimSuffix upper lower split splitAfter replace repeat join \
    indexOf lastIndexOf hasPrefix hasSuffix max min mean median abs ceil floor round int float string \
    type toJSON fromJSON toBase64 fromBase64 toPairs fromPairs first last take reverse uniq concat \
    flatten sort keys values now duration date timezone len get bitand bitor bitxor bitnand bitnot \
    bitshl bitshr bitushr";

#[test]
fn all_are_there() {
    for name in FUNCTIONS.split_whitespace() {
        assert!(lookup(name).is_some(), "{name}");
    }
    let lower = names().into_iter().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    assert_eq!(lower.count(), FUNCTIONS.split_whitespace().count());
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeMap::new();
    for function in super::table().into_iter().chain(helpers::table()) {
        *seen.entry(function.name).or_insert(0) += 1;
    }
    let twice: Vec<_> = seen.into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Only the clock makes a function of the language impure, and none writes.
#[test]
fn effects() {
    for function in super::table() {
        assert!(!function.effects.mutates && !function.effects.blocks, "{}", function.name);
        assert_eq!(function.effects.impure, function.name == "now", "{}", function.name);
    }
}

proptest! {
    #[test]
    fn base64_decodes_to_what_was_encoded(bytes: Vec<u8>) {
        let text = base64::encode(&bytes);
        prop_assert_eq!(text.len(), bytes.len().div_ceil(3) * 4);
        prop_assert_eq!(helpers::base64::decode(&text), Some(bytes));
    }
}
