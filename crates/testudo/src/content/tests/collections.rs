//! The collections in `content/collections`: what they name is there, and all that is there is named.

use std::{collections::BTreeSet, fs};

use serde::Deserialize;

use super::{content, files, rules};

/// A collection in the public format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    name: String,
    description: String,
    author: String,
    #[serde(default)]
    parsers: Vec<String>,
    #[serde(default)]
    postoverflows: Vec<String>,
    #[serde(default)]
    scenarios: Vec<String>,
    #[serde(default)]
    collections: Vec<String>,
    tags: Vec<String>,
}

fn collections() -> Vec<Collection> {
    let read = |path: String| -> Collection {
        let text = fs::read_to_string(content().join(&path)).expect(&path);
        let read: Collection =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(path, format!("collections/{}.yaml", read.name.trim_start_matches("testudo/")));
        read
    };
    files("collections").into_iter().map(read).collect()
}

/// The parsers of a collection and of those that it holds.
fn reach<'c>(collections: &'c [Collection], of: &'c Collection, into: &mut BTreeSet<&'c str>) {
    into.extend(of.parsers.iter().map(String::as_str));
    for name in &of.collections {
        reach(collections, collections.iter().find(|c| c.name == *name).expect(name), into);
    }
}

#[test]
fn what_collections_name_is_there_and_all_that_is_there_is_named() {
    let (rules, _) = rules();
    let there = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
    let collections = collections();
    let named = |of: fn(&Collection) -> &Vec<String>| {
        collections.iter().flat_map(of).cloned().collect::<BTreeSet<String>>()
    };
    let parsers = rules.parsers.iter().map(|item| &*item.node.name).collect();
    assert_eq!(named(|collection| &collection.parsers), there(parsers));
    let postoverflows = rules.postoverflows.iter().map(|item| &*item.node.name).collect();
    assert_eq!(named(|collection| &collection.postoverflows), there(postoverflows));
    let scenarios = rules.scenarios.iter().map(|item| &*item.name).collect();
    assert_eq!(named(|collection| &collection.scenarios), there(scenarios));
    let names: BTreeSet<&String> = collections.iter().map(|collection| &collection.name).collect();
    for collection in &collections {
        assert!(names.is_superset(&collection.collections.iter().collect()), "{}", collection.name);
        assert!(!collection.collections.contains(&collection.name), "{} holds itself", collection.name);
        let texts = [&collection.description, &collection.author];
        assert!(texts.into_iter().all(|text| !text.is_empty()), "{}", collection.name);
        assert!(!collection.tags.is_empty(), "{}", collection.name);
    }
}

/// Installed alone, a collection must work: its scenarios see nothing without a parser that feeds them, and no parser
/// sees a line without an envelope.
#[test]
fn a_collection_of_a_service_brings_all_that_it_needs() {
    let collections = collections();
    for collection in &collections {
        let mut parsers = BTreeSet::new();
        reach(&collections, collection, &mut parsers);
        for needed in ["testudo/plain", "testudo/syslog", "testudo/dates"] {
            assert!(parsers.contains(needed), "{} has no {needed}", collection.name);
        }
    }
}
