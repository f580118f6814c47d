//! Every input that is kept in `fuzz/corpus` still holds what its target asks of it.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use testudo_fuzzing::TARGETS;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a corpus; names every input that fails.
fn replay(target: &str) {
    let run = TARGETS.iter().find(|(name, _)| *name == target).expect("a target").1;
    let folder = corpora().join(target);
    let inputs = names(&folder);
    assert!(!inputs.is_empty(), "{target} has no corpus");
    let failed: Vec<_> = inputs
        .into_iter()
        .filter(|name| {
            let bytes = fs::read(folder.join(name)).expect("an input");
            catch_unwind(AssertUnwindSafe(|| run(&bytes))).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "inputs of {target} that fail: {failed:?}");
}

#[test]
fn every_corpus_has_its_target() {
    let mut targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    assert_eq!(names(&corpora()), targets);
}

#[test]
fn expressions() {
    replay("expressions");
}

#[test]
fn patterns() {
    replay("patterns");
}

#[test]
fn rules() {
    replay("rules");
}

#[test]
fn dates() {
    replay("dates");
}

#[test]
fn lines() {
    replay("lines");
}

#[test]
fn plain() {
    replay("plain");
}

#[test]
fn helpers() {
    replay("helpers");
}

#[test]
fn states() {
    replay("states");
}
