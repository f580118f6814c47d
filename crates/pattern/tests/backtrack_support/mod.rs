//! The patterns and log lines of the real rules, read from the shared material, for comparing and measuring the fast
//! matcher. Reads as much YAML as it needs to.

use std::fs;
use std::path::{Path, PathBuf};

use testudo_pattern::{Expanded, Library};

/// The shared material, if it is there.
pub(crate) fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("TESTUDO_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    path.join("hub").is_dir().then_some(path)
}

/// Where patterns come from and what they are: every definition of the library, then every grok of the parsers.
/// The name of a grok is that of its file without extension and its place in the file, like `sshd-logs#0`.
pub(crate) fn patterns(shared: &Path) -> Vec<(String, Expanded)> {
    let library = Library::standard();
    let mut patterns: Vec<(String, Expanded)> = library
        .names()
        .filter_map(|name| Some((name.to_owned(), library.expand(&format!("%{{{name}}}")).ok()?)))
        .collect();
    for file in files(&shared.join("hub/parsers"), "yaml") {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut library = Library::standard();
        let scalars = scalars(&fs::read_to_string(&file).unwrap_or_default());
        for (key, value) in &scalars {
            if key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                // Not everything in capitals is a definition.
                let _ = library.define(key, value);
            }
        }
        let groks = scalars.iter().filter(|(key, _)| key == "pattern");
        for (place, (_, grok)) in groks.enumerate() {
            if let Ok(expanded) = library.expand(grok) {
                patterns.push((format!("{name}#{place}"), expanded));
            }
        }
    }
    patterns
}

/// Single-line `key: value` pairs of a YAML file, quotes removed.
fn scalars(yaml: &str) -> Vec<(String, String)> {
    yaml.lines()
        .filter_map(|line| {
            let (key, value) = line.trim_start_matches([' ', '-']).split_once(':')?;
            let value = value.trim();
            let quoted = |quote| value.strip_prefix(quote)?.rsplit_once(quote).map(|(inside, _)| inside);
            let value = match (quoted('\''), quoted('"')) {
                (Some(inside), _) => inside.replace("''", "'"),
                (_, Some(inside)) => inside.replace("\\\\", "\0").replace("\\\"", "\"").replace('\0', "\\"),
                _ => value.to_owned(),
            };
            (!value.is_empty()).then(|| (key.trim().to_owned(), value))
        })
        .collect()
}

/// Every line of the rules' own tests, and what follows a syslog prefix in it, because that is what most patterns
/// are applied to.
pub(crate) fn lines(shared: &Path) -> Vec<String> {
    let mut lines: Vec<String> = files(&shared.join("hub/.tests"), "log")
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let messages: Vec<String> =
        lines.iter().filter_map(|line| Some(line.split_once("]: ")?.1.to_owned())).collect();
    lines.extend(messages);
    lines.sort();
    lines.dedup();
    lines
}

/// Files with an extension below a folder, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
