//! Runs the samples in `content/samples` through the embedded rules, as `testudo rule test` does.

use std::{
    fs,
    path::{Path, PathBuf},
};

use testudo_author::{Case, Part, Samples, Trial};
use testudo_engine::NoData;

use super::{FILES, rules};

mod afterwards;
mod collections;

/// Lines with hostile texts that must be tried at least.
const LEAST_HOSTILE_LINES: usize = 300;

fn content() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content")
}

/// Paths of files below a folder, relative to `content/`, sorted.
fn files(folder: &str) -> Vec<String> {
    fn walk(path: &Path, root: &Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, into);
            } else {
                into.push(path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let root = content();
    let mut paths = Vec::new();
    walk(&root.join(folder), &root, &mut paths);
    paths.sort();
    paths
}

fn samples() -> Vec<Samples> {
    let read = |path: &String| Samples::read(&content().join(path)).unwrap_or_else(|error| panic!("{error}"));
    files("samples").iter().map(read).collect()
}

#[test]
fn the_list_is_the_folder() {
    let mut expected = files("parsers");
    expected.extend(files("postoverflows"));
    expected.extend(files("scenarios"));
    expected.sort();
    let listed: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(listed, expected);
}

/// Whatever a hub is told of them: each file is an item, and a collection names what is there.
#[test]
fn all_files_are_items_of_a_hub() {
    let items = testudo_hub::embedded::items(&super::files(), "1.0");
    assert_eq!(items.len(), super::files().len());
    let mut collections = files("collections");
    collections.sort();
    let listed: Vec<&str> = super::COLLECTIONS.iter().map(|(path, _)| *path).collect();
    assert_eq!(listed, collections);
    for item in &items {
        for (kind, name) in &item.dependencies {
            let is_it = |other: &testudo_hub::Item| other.kind == *kind && other.name == *name;
            assert!(items.iter().any(is_it), "{} names {name}", item.name);
        }
        assert_eq!(
            item.dependencies.is_empty(),
            item.kind != testudo_hub::ItemKind::Collection,
            "{}",
            item.name
        );
    }
}

#[test]
fn names_follow_the_files() {
    let (rules, diagnostics) = rules();
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let names = rules.parsers.iter().chain(&rules.postoverflows).map(|parser| &*parser.node.name);
    let names: Vec<&str> = names.chain(rules.scenarios.iter().map(|scenario| &*scenario.name)).collect();
    let stems = FILES.iter().map(|(path, _)| Path::new(path).file_stem().unwrap().to_string_lossy());
    let expected: Vec<String> = stems.map(|stem| format!("testudo/{stem}")).collect();
    assert_eq!(names, expected, "one document per file, named like it");
}

#[test]
fn every_rule_has_samples_of_both_kinds() {
    let (rules, _) = rules();
    let samples = samples();
    let of = |name: &str| -> &Samples {
        let mut found = samples.iter().filter(|samples| samples.rule == name);
        let first = found.next().unwrap_or_else(|| panic!("no samples for {name}"));
        assert!(found.next().is_none(), "two files of samples for {name}");
        first
    };
    for parser in &rules.parsers {
        let samples = of(&parser.node.name);
        assert!(!samples.matches.is_empty() && !samples.refuses.is_empty(), "{}", samples.rule);
        let reads = &*parser.stage == "s01-parse";
        assert!(!reads || !samples.hostile.is_empty(), "{} has no hostile lines", samples.rule);
    }
    for scenario in &rules.scenarios {
        let samples = of(&scenario.name);
        assert!(!samples.overflows.is_empty() && !samples.quiet.is_empty(), "{}", samples.rule);
    }
    for postoverflow in &rules.postoverflows {
        let samples = of(&postoverflow.node.name);
        assert!(!samples.lets_off.is_empty() && !samples.blames.is_empty(), "{}", samples.rule);
    }
    let expected = rules.parsers.len() + rules.postoverflows.len() + rules.scenarios.len();
    assert_eq!(samples.len(), expected, "samples of no rule");
}

#[test]
fn rules_do_as_their_samples_say() {
    let (rules, _) = rules();
    let (trial, diagnostics) = Trial::new(&rules, &NoData);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let mut hostile_lines = 0;
    let mut wrong = Vec::new();
    for samples in samples() {
        for Case { file, line, part, about, lines, failures, .. } in trial.run(&samples) {
            hostile_lines += if part == Part::Hostile { lines } else { 0 };
            wrong.extend(failures.iter().map(|failure| format!("{file}:{line}: {failure}: {about}")));
        }
    }
    println!("{hostile_lines} hostile lines");
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(hostile_lines >= LEAST_HOSTILE_LINES, "only {hostile_lines} lines");
}
