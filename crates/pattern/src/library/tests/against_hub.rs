//! Differential tests over real rules, logs and the definitions that the rules were written for. They need the
//! material that `TESTUDO_SHARED` points to and say so when it is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::library::{OWN, lines as definitions};
use crate::{Grok, GrokCache, Library};

/// The folder with the material, if it is there.
fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("TESTUDO_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no folder {}", path.display());
    None
}

/// Files below `folder` with one of these extensions, sorted.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The library made of the definitions that rules were written for, in the order in which they are loaded.
fn reference_library(shared: &Path) -> Library {
    let mut library = Library::default();
    let mut paths: Vec<_> =
        fs::read_dir(shared.join("patterns")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort_by_key(|path| (!path.ends_with("base"), path.clone()));
    for path in paths {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((name, body)) = line.split_once(char::is_whitespace) else { continue };
            if name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                library
                    .define(name, body.trim_start())
                    .unwrap_or_else(|e| panic!("{}: {name}: {e}", path.display()));
            }
        }
    }
    library
}

/// All lines of the logs of the hub's tests, and their words.
fn texts(shared: &Path) -> (Vec<String>, Vec<String>) {
    let mut lines = BTreeSet::new();
    let mut words = BTreeSet::new();
    for path in files(&shared.join("hub/.tests"), &["log"]) {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        for line in text.lines() {
            for separators in [&[' ', '\t'][..], &[' ', '\t', '"', '\'', '=', ',', ';', '(', ')', '[', ']']] {
                words.extend(line.split(separators).filter(|word| word.len() < 120).map(str::to_owned));
            }
            lines.insert(line.to_owned());
        }
    }
    // Shapes that logs rarely show.
    let rare = "2001:db8::1 ::1 :: fe80::1%eth0 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:: 1:2:3:4:5:6:1.2.3.4 ::ffff:10.0.0.1 \
        1::2:3.4.5.6 ::1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1.2.3 256.1.2.3 1.2.3.256 01.02.03.04 299.1.1.1 .5 -.5 +1.5e 0x1F -0xa.b. \
        a.b. -a.b host-1.example.org. foo:80 /a\\ b /x/y\\ \\\\srv\\share C:\\dir\\x? svn+ssh://u:p@h:1/p?q Mär März Dez \
        Oct Okt Mai Ma December Sept 12:30:60.5 24:00:00 99 007 2020/13/40 10/10/10 31.12.99 12-31-2020 Z +01:00 -0530 \
        'it\\'s' `x` \"\" \"a\\\"b\" \"open KITCHEN 3:04PM 13:4AM";
    words.extend(rare.split(' ').map(str::to_owned));
    (lines.into_iter().collect(), words.into_iter().collect())
}

/// What stands around a definition when it is compared. What follows makes it give up its first choices, so that
/// the order of the others shows.
const SURROUNDINGS: [(&str, &str); 7] =
    [("", ""), ("^", "$"), ("", r"\d"), ("", r"\w$"), ("", "[.:/]"), ("", r"[^\w]"), ("", "..$")];

/// A pattern with the whole match as its first field.
struct Probe {
    grok: Grok,
    cache: GrokCache,
    spans: Vec<Option<(u32, u32)>>,
}

impl Probe {
    fn new(library: &Library, name: &str, around: (&str, &str)) -> Self {
        let (before, behind) = around;
        let expanded = library.expand(&format!("{before}%{{{name}:whole_match}}{behind}")).unwrap();
        let grok = Grok::new(&expanded, &|_| true).unwrap();
        let cache = grok.create_cache();
        Self { grok, cache, spans: Vec::new() }
    }

    /// The spans by name; empty without a match.
    fn fields(&mut self, text: &str) -> Vec<(&str, Option<(u32, u32)>)> {
        self.grok.find(&mut self.cache, text, &mut self.spans);
        let mut fields: Vec<_> =
            self.grok.fields().iter().zip(&self.spans).map(|(name, span)| (&**name, *span)).collect();
        fields.sort_unstable();
        fields
    }
}

#[test]
fn definitions_agree_with_those_that_rules_were_written_for() {
    let Some(shared) = shared() else { return };
    let (reference, ours) = (reference_library(&shared), Library::standard());
    let names: BTreeSet<&str> = reference.names().collect();
    assert_eq!(names, ours.names().collect::<BTreeSet<_>>());
    let (lines, words) = texts(&shared);
    let basic: BTreeSet<&str> = OWN[..2]
        .iter()
        .flat_map(|text| definitions(text))
        .filter_map(|line| Some(line.split_once(' ')?.0))
        .collect();
    let mut matches = 0;
    for name in names {
        // The same text needs no comparison if all that it refers to is the same.
        let expansion = |library: &Library| library.expand(library.get(name).unwrap()).unwrap();
        if expansion(&reference).regex == expansion(&ours).regex {
            continue;
        }
        for around in SURROUNDINGS {
            let (mut expected, mut actual) =
                (Probe::new(&reference, name, around), Probe::new(&ours, name, around));
            // Those on which all others stand are compared thoroughly.
            let first = around == SURROUNDINGS[0];
            if !first && !basic.contains(name) {
                break;
            }
            let lines = if first { &lines[..] } else { &[] };
            for text in lines.iter().chain(&words) {
                let (expected, actual) = (expected.fields(text), actual.fields(text));
                matches += usize::from(!expected.is_empty());
                assert_eq!(expected, actual, "{name} between {around:?} on {text:?}");
            }
        }
    }
    assert!(matches > 100_000, "only {matches} matches were compared");
}

/// Adds the `pattern_syntax` of a node and calls `check` with its grok, then the same for its children.
fn walk(node: &Value, library: &mut Library, check: &mut dyn FnMut(&Library, &str)) {
    for (name, body) in node["pattern_syntax"].as_object().into_iter().flatten() {
        let body = body.as_str().unwrap();
        library.define(name, body).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let grok = &node["grok"];
    if let Some(text) = grok["pattern"].as_str().filter(|text| !text.is_empty()) {
        check(library, text);
    } else if let Some(name) = grok["name"].as_str() {
        let body = library.get(name).unwrap_or_else(|| panic!("unknown grok name {name}")).to_owned();
        check(library, &body);
    }
    for child in node["nodes"].as_array().into_iter().flatten() {
        walk(child, library, check);
    }
}

#[test]
fn every_grok_of_the_hub_agrees_with_its_reference() {
    let Some(shared) = shared() else { return };
    let (reference, ours) = (reference_library(&shared), Library::standard());
    let (lines, _) = texts(&shared);
    let mut groks = 0;
    for folder in ["hub/parsers", "hub/postoverflows"] {
        for path in files(&shared.join(folder), &["yaml", "yml"]) {
            let text = fs::read_to_string(&path).unwrap();
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            for document in documents {
                let mut expected = Vec::new();
                let mut compile = |library: &Library, text: &str| {
                    let expanded =
                        library.expand(text).unwrap_or_else(|e| panic!("{}: {text}: {e}", path.display()));
                    let grok = Grok::new(&expanded, &|_| true).unwrap();
                    expected.push((text.to_owned(), grok.create_cache(), grok));
                };
                walk(&document, &mut reference.clone(), &mut compile);
                let mut expected = expected.into_iter();
                walk(&document, &mut ours.clone(), &mut |library, text| {
                    let (reference_text, mut reference_cache, reference) = expected.next().unwrap();
                    let grok = Grok::new(&library.expand(text).unwrap(), &|_| true).unwrap();
                    let mut cache = grok.create_cache();
                    groks += 1;
                    assert_eq!(grok.fields(), reference.fields(), "{reference_text}");
                    let literals = grok.required_literals();
                    let (mut a, mut b) = (Vec::new(), Vec::new());
                    for line in lines.iter().step_by(7) {
                        let found = grok.find(&mut cache, line, &mut a);
                        assert_eq!(
                            found,
                            reference.find(&mut reference_cache, line, &mut b),
                            "{text} on {line}"
                        );
                        assert_eq!(a, b, "{text} on {line}");
                        assert_eq!(found, grok.is_match(&mut cache, line));
                        let possible =
                            literals.is_none_or(|set| set.iter().any(|literal| line.contains(literal)));
                        assert!(possible || !found, "{text} matches {line} without any of {literals:?}");
                    }
                });
            }
        }
    }
    assert!(groks > 280, "only {groks} groks were found");
}
