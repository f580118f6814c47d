use proptest::prelude::*;

use super::*;
use crate::temp::Folder;

const GOOD: &str = r#"{
    "parsers": {
        "us/lines": {
            "path": "parsers/s00-raw/us/lines.yaml", "stage": "s00-raw", "version": "0.10",
            "author": "us", "labels": null, "content": "bm90IHJlYWQ=",
            "versions": {
                "0.1": {"digest": "aa", "deprecated": true},
                "0.10": {"digest": "bb", "deprecated": false},
                "0.9": {"digest": "bb", "deprecated": false}
            }
        }
    },
    "scenarios": {"us/knock": {"path": "scenarios/us/knock.yaml"}},
    "collections": {
        "us/house": {"path": "collections/us/house.yaml", "parsers": ["us/lines"], "collections": ["us/door"]},
        "us/door": {
            "path": "collections/us/door.yaml", "scenarios": ["us/knock", "us/gone"],
            "parsers": ["us/lines"], "collections": ["us/house"]
        }
    },
    "taxonomy": {"of": "a later day"}
}"#;

fn open(index: &str) -> Result<Hub, HubError> {
    let folder = Folder::with(&[(INDEX, index)]);
    Hub::open(folder.path())
}

#[test]
fn items_are_read() {
    let hub = open(GOOD).unwrap();
    let lines = hub.item(ItemKind::Parser, "us/lines").unwrap();
    assert_eq!((lines.stage.as_str(), lines.file_name(), lines.author()), ("s00-raw", "lines.yaml", "us"));
    assert_eq!(lines.version_of("AA"), Some("0.1"));
    assert_eq!(lines.version_of("bb"), Some("0.10"));
    assert_eq!(lines.version_of("cc"), None);
    assert!(hub.item(ItemKind::Scenario, "us/lines").is_none());
    assert_eq!(hub.items(ItemKind::Collection).count(), 2);
    assert_eq!(hub.items(ItemKind::Context).count(), 0);
}

#[test]
fn collections_are_followed_to_their_end() {
    let hub = open(GOOD).unwrap();
    let CollectionContents { items, unknown } = hub.contents(&["us/house"]).unwrap();
    let names: Vec<_> = items.iter().map(|item| (item.kind, item.name.as_str())).collect();
    assert_eq!(names, [(ItemKind::Parser, "us/lines"), (ItemKind::Scenario, "us/knock")]);
    assert_eq!(unknown, [(ItemKind::Scenario, "us/gone".to_owned())]);
    assert!(hub.contents::<&str>(&[]).unwrap().items.is_empty());
}

#[test]
fn unknown_names_get_a_suggestion() {
    let hub = open(GOOD).unwrap();
    let check = |name: &str, hint: &str| {
        let error = hub.contents(&[name]).unwrap_err();
        assert!(matches!(&error, HubError::UnknownItem { name: given, .. } if given == name));
        assert!(error.hint().contains(hint), "{}", error.hint());
    };
    check("house", "did you mean `us/house`?");
    check("you/door", "did you mean `us/door`?");
    check("us/cellar", "author/name");
}

#[test]
fn hostile_indexes_are_refused() {
    let check = |index: &str, problem: &str| {
        let error = open(index).unwrap_err();
        assert!(error.to_string().contains(problem), "{index}: {error}");
        assert!(!error.hint().is_empty());
    };
    check("", "is no hub index");
    check("[]", "is no hub index");
    check(&GOOD[..GOOD.len() / 2], "is no hub index");
    check(r#"{"parsers": {"a/b": null}}"#, "parser `a/b`: it is null");
    check(r#"{"scenarios": {"a/b": {}}}"#, "it has no `path`");
    check(r#"{"scenarios": {"a/b": {"path": ""}}}"#, "it has no `path`");
    check(r#"{"scenarios": {"a/b": {"path": "../x.yaml"}}}"#, "leads out of the hub");
    check(r#"{"scenarios": {"a/b": {"path": "scenarios/../../x.yaml"}}}"#, "leads out of the hub");
    check(r#"{"scenarios": {"a/b": {"path": "/etc/shadow"}}}"#, "leads out of the hub");
    check(r#"{"parsers": {"a/b": {"path": "parsers/s00-raw/a/b.yaml"}}}"#, "it has no `stage`");
    check(r#"{"postoverflows": {"a/b": {"path": "p/a/b.yaml", "stage": ".."}}}"#, "no name of a folder");
    check(r#"{"postoverflows": {"a/b": {"path": "p/a/b.yaml", "stage": "a/b"}}}"#, "no name of a folder");
    // Files of the installation itself, and of other items.
    check(r#"{"scenarios": {"a/b": {"path": ".removed.json"}}}"#, "a part that begins with a dot");
    check(r#"{"scenarios": {"a/b": {"path": "./.originals/b.yaml"}}}"#, "a part that begins with a dot");
    let two = |first: &str, second: &str| {
        format!(r#"{{"scenarios": {{"a/b": {{"path": "{first}"}}, "{second}}}}}}}"#)
    };
    check(&two("s/b.yaml", r#"c/d": {"path": "s/b.yaml""#), "`s/b.yaml` is that of another item");
    check(&two("s/b.yaml", r#"a/d": {"path": "t/b.yaml""#), "another item of its author has a file `b.yaml`");
    assert!(open(&two("s/b.yaml", r#"c/d": {"path": "t/b.yaml""#)).is_ok());
    // What a terminal would obey.
    check(r#"{"scenarios": {"a/\u001b[2J": {"path": "s.yaml"}}}"#, "scenario `a/\\u{1b}[2J`: a name");
    check(r#"{"scenarios": {"a/b": {"path": "s.yaml", "version": "1\r2"}}}"#, "control characters");
    check(r#"{"collections": {"a/b": {"path": "s.yaml", "scenarios": ["a\u0000"]}}}"#, "control characters");
    let error = Hub::open("/nonexistent/hub").unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error}");
}

#[test]
fn descriptions_are_text() {
    let index = r#"{"scenarios": {"a/b": {"path": "s.yaml", "description": "one\ntwo\u001b[2J"}}}"#;
    let hub = open(index).unwrap();
    assert_eq!(hub.item(ItemKind::Scenario, "a/b").unwrap().description, "one\ntwo[2J");
}

#[test]
fn an_index_has_an_end() {
    let parts = vec!["\"x/y\""; MAX_NAMES].join(",");
    let index = format!(r#"{{"collections": {{"a/b": {{"path": "c.yaml", "scenarios": [{parts}]}}}}}}"#);
    let refused = |index: &str, what: &str| {
        let told = open(index).unwrap_err().to_string();
        assert!(told.ends_with(what), "{told}");
    };
    refused(&index, "has more than 50000 items and parts of collections");
    let items = |count: usize| {
        let items: Vec<String> =
            (0..count).map(|n| format!(r#""a/{n}": {{"path": "scenarios/a/{n}.yaml"}}"#)).collect();
        format!(r#"{{"scenarios": {{{}}}}}"#, items.join(","))
    };
    assert_eq!(open(&items(MAX_NAMES)).unwrap().items(ItemKind::Scenario).count(), MAX_NAMES);
    refused(&items(MAX_NAMES + 1), "has more than 50000 items and parts of collections");
    let texts = vec!["\"\""; MAX_TEXTS].join(",");
    refused(&format!(r#"{{"others": [{texts}]}}"#), "has more than 1000000 texts");
}

#[test]
fn versions_compare_by_number() {
    let check = |a: &str, b: &str, expected| assert_eq!(compare_versions(a, b), expected, "{a} {b}");
    check("0.9", "0.10", Ordering::Less);
    check("1.0", "1.0.0", Ordering::Equal);
    check("v2.1", "2.0.9", Ordering::Greater);
    check("", "0.0.1", Ordering::Less);
}

#[test]
fn tests_are_the_folders() {
    let folder = Folder::with(&[
        (INDEX, "{}"),
        (".tests/b/config.yaml", ""),
        (".tests/a/config.yaml", ""),
        (".tests/template.yaml", ""),
        (".tests/.git/x", ""),
    ]);
    assert_eq!(Hub::open(folder.path()).unwrap().tests().unwrap(), ["a", "b"]);
}

proptest! {
    #[test]
    fn damaged_indexes_do_no_harm(cut in 0..GOOD.len(), at in 0..GOOD.len(), byte: u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        prop_assert!(parse(&bytes[..cut], Path::new("index")).is_err());
        bytes[at] = byte;
        if let Ok(index) = parse(&bytes, Path::new("index")) {
            for item in index.values().flat_map(BTreeMap::values) {
                prop_assert!(files::is_safe(&item.path));
            }
        }
    }
}
