//! Rules of the house that no compiler checks: which crate may use which, what a file looks like,
//! and that the papers say what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longest Rust file, in lines. A longer one holds two ideas.
const MAX_FILE_LINES: usize = 900;

/// Longest way through the crates, counted in crates.
const MAX_CHAIN: usize = 8;

/// Runtimes and networks: they belong to the edges.
const EDGES: &[&str] =
    &["tokio", "async-std", "smol", "futures", "hyper", "reqwest", "axum", "ureq", "rustls"];

/// Crates that may use [`EDGES`].
const AT_THE_EDGE: &[&str] =
    &["api", "cli", "client", "gate", "intake", "node", "remedy", "store", "testudo"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of the project below a folder, as paths from the root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder").flatten() {
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = if folder == "." { name.clone() } else { format!("{folder}/{name}") };
            if entry.path().is_dir() {
                if !["target", ".git", "corpus"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn with_ending(folder: &str, ending: &str) -> Vec<String> {
    files(folder).into_iter().filter(|path| path.ends_with(ending)).collect()
}

/// Names in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The table of crates in ARCHITECTURE.md: what each may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    read("ARCHITECTURE.md")
        .lines()
        .skip_while(|line| !line.starts_with("| crate "))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            let name = quoted(cells[1]).pop_first().unwrap_or_else(|| panic!("no crate in {row}"));
            (name, quoted(cells[cells.len() - 2]))
        })
        .collect()
}

/// The dependencies of each crate, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifests = with_ending("crates", "/Cargo.toml");
    manifests
        .iter()
        .map(|path| {
            let text = read(path);
            let lines = text.lines().skip_while(|line| *line != "[dependencies]").skip(1);
            let names = lines
                .take_while(|line| !line.starts_with('['))
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split(['.', ' ', '=']).next())
                .filter(|name| !name.is_empty());
            let name = path.trim_start_matches("crates/").trim_end_matches("/Cargo.toml");
            (name.to_owned(), names.map(str::to_owned).collect())
        })
        .collect()
}

/// Of some dependencies those that are crates of ours, by the names of their folders.
fn ours(dependencies: &BTreeSet<String>) -> BTreeSet<String> {
    dependencies.iter().filter_map(|name| name.strip_prefix("testudo-")).map(str::to_owned).collect()
}

#[test]
fn crates_use_what_the_table_allows() {
    let (allowed, dependencies) = (allowed(), dependencies());
    let names = |table: &BTreeMap<String, BTreeSet<String>>| table.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&allowed), names(&dependencies), "the table of ARCHITECTURE.md and the folder crates/");
    for (name, used) in &dependencies {
        let extra: Vec<_> = ours(used).difference(&allowed[name]).cloned().collect();
        assert!(
            extra.is_empty(),
            "`{name}` uses {extra:?}, which the table of ARCHITECTURE.md does not allow"
        );
    }
    // The longest way from a crate down; one that does not end is a cycle.
    fn depth(name: &str, table: &BTreeMap<String, BTreeSet<String>>, above: usize) -> usize {
        assert!(above < MAX_CHAIN, "a way through the crates is too long, or a circle, at `{name}`");
        1 + table[name].iter().map(|next| depth(next, table, above + 1)).max().unwrap_or(0)
    }
    for name in allowed.keys() {
        depth(name, &allowed, 0);
    }
}

#[test]
fn the_core_is_synchronous() {
    for (name, used) in dependencies() {
        if AT_THE_EDGE.contains(&name.as_str()) {
            continue;
        }
        let edges: Vec<_> = EDGES.iter().filter(|edge| used.contains(**edge)).collect();
        assert!(edges.is_empty(), "`{name}` uses {edges:?}");
    }
}

#[test]
fn every_file_says_what_it_is() {
    for path in with_ending("crates", ".rs") {
        let text = read(&path);
        // The tests of a module are described by the module.
        assert!(path.ends_with("/tests.rs") || text.starts_with("//!"), "{path}: it has no head");
        let lines = text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{path}: {lines} lines; two ideas make two files");
    }
}

#[test]
fn nothing_is_left_lying_about() {
    // In two parts, so that this file does not find itself.
    let words =
        [("TO", "DO"), ("FIX", "ME"), ("XX", "X:"), ("dbg", "!("), ("todo", "!("), ("unimplemented", "!(")]
            .map(|(a, b)| format!("{a}{b}"));
    let places =
        [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/tm", "p/bash")].map(|(a, b)| format!("{a}{b}"));
    for path in files(".") {
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        let code = path == ".ci/run" || path == "fuzz/run" || ["rs", "toml"].contains(&ending);
        if !code && !["md", "json", "yaml"].contains(&ending) {
            continue;
        }
        let text = read(&path);
        for word in words.iter().filter(|_| code) {
            assert!(!text.contains(word.as_str()), "{path}: {word}");
        }
        for place in &places {
            assert!(!text.contains(place.as_str()), "{path}: {place}");
        }
    }
}

/// Codes such as `E001` in the text of a `codes.rs`.
fn codes_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2).filter(|text| {
        text.len() == 4
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text[1..].parse::<u16>().is_ok()
    })
}

#[test]
fn every_code_is_explained() {
    let page = read("docs/codes.md");
    // Advice stands on a page of its own; a test of `lint` holds it to its codes.
    let advice = read("docs/lint.md");
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for path in with_ending("crates", "/codes.rs") {
        for code in codes_in(&read(&path)) {
            let row = format!("\n| {code} |");
            assert!(page.contains(&row) || advice.contains(&row), "{path}: {code} is in no page of docs/");
            let other = owners.insert(code.to_owned(), path.clone());
            assert!(other.is_none(), "{code} is given twice: {path} and {other:?}");
        }
    }
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let code = row.split(' ').next().unwrap_or_default();
        let known = owners.contains_key(code) || ["code", "---"].contains(&code);
        assert!(known, "docs/codes.md explains {code}, which no crate gives");
    }
}

/// The commands in the blocks of README.md.
fn commands() -> Vec<String> {
    let text = read("README.md");
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    blocks.flat_map(|block| block.lines()).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_checks_run_the_commands_of_the_readme() {
    let (commands, script) = (commands(), read(".ci/run"));
    let mut of_start =
        commands.iter().filter(|line| line.starts_with("cargo run") || line.starts_with("cargo test"));
    let (run, test) = (of_start.next().expect("it runs"), of_start.next().expect("it is tested"));
    assert!(run.starts_with("cargo run") && test.starts_with("cargo test"), "{run}, {test}");
    for command in [run, test] {
        assert!(script.contains(command.as_str()), "`{command}` is not in .ci/run");
    }
}

#[test]
fn links_between_papers_lead_somewhere() {
    for path in with_ending(".", ".md") {
        let text = read(&path);
        let folder = Path::new(&path).parent().map_or_else(PathBuf::new, Path::to_owned);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            assert!(root().join(&folder).join(link).exists(), "{path}: there is no {link}");
        }
    }
}
