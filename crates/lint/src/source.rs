//! Which files are rules, of what kind, and what runs beside them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use testudo_rules::{Diagnostic, Place, Severity, SourceFile, keys};
use thiserror::Error;

use crate::{codes, schema::keys_of_source};

/// Largest rule file that is read: a hundred times the largest public one.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// How deep folders are walked: rules lie three deep at most, links may add some.
const MAX_DEPTH: usize = 12;
/// How many files and folders one walk looks at: fifty times the public hub.
const MAX_FILES: usize = 100_000;

/// The kinds of rule files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What reads lines.
    Parser,
    /// What looks at overflows: a parser, but nothing waits for it.
    Postoverflow,
    /// What counts.
    Scenario,
    /// What alerts carry along.
    Context,
    /// Which items belong together.
    Collection,
    /// Which alerts get which decisions.
    Profiles,
    /// Which scenarios decide nothing.
    Simulation,
    /// Where lines come from.
    Acquisition,
    /// What a rule must do, and what it must not.
    Samples,
    /// What a backtest is compared with.
    Expectations,
    /// A functional test of a hub.
    HubTest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Parser,
        Kind::Postoverflow,
        Kind::Scenario,
        Kind::Context,
        Kind::Collection,
        Kind::Profiles,
        Kind::Simulation,
        Kind::Acquisition,
        Kind::Samples,
        Kind::Expectations,
        Kind::HubTest,
    ];

    /// Its name, in the singular.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Parser => "parser",
            Kind::Postoverflow => "postoverflow",
            Kind::Scenario => "scenario",
            Kind::Context => "context",
            Kind::Collection => "collection",
            Kind::Profiles => "profiles",
            Kind::Simulation => "simulation",
            Kind::Acquisition => "acquisition",
            Kind::Samples => "samples",
            Kind::Expectations => "expectations",
            Kind::HubTest => "hub-test",
        }
    }

    /// The folder in which such files lie.
    pub(crate) fn folder(self) -> Option<&'static str> {
        match self {
            Kind::Parser => Some("parsers"),
            Kind::Postoverflow => Some("postoverflows"),
            Kind::Scenario => Some("scenarios"),
            Kind::Context => Some("contexts"),
            Kind::Collection => Some("collections"),
            Kind::Profiles
            | Kind::Simulation
            | Kind::Acquisition
            | Kind::Samples
            | Kind::Expectations
            | Kind::HubTest => None,
        }
    }
}

/// A rule file.
#[derive(Clone, Debug)]
pub struct Input {
    /// What it holds.
    pub kind: Kind,
    /// The stage that it runs in; empty for kinds without stages.
    pub stage: String,
    /// Its path and its text.
    pub file: Arc<SourceFile>,
}

/// What was gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The files that were asked for, in the order in which they run.
    pub inputs: Vec<Input>,
    /// The files that run beside them.
    pub beside: Vec<Input>,
    /// What could not be read, or is nothing that is known.
    pub diagnostics: Vec<Diagnostic>,
}

/// A path that leads nowhere.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct GatherError {
    path: PathBuf,
    source: io::Error,
}

/// Gathers the rule files at some paths, and those that run beside them: the rest of the folders that
/// hold them (those with `parsers`, `scenarios` and so on in them), and what `with` names.
///
/// # Errors
/// A path does not exist.
pub fn gather(paths: &[PathBuf], with: &[PathBuf]) -> Result<Gathered, GatherError> {
    let mut gathered = Gathered::default();
    let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
    let mut roots: BTreeSet<PathBuf> = BTreeSet::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| GatherError { path: path.clone(), source })?;
        roots.extend(root_of(path));
        if metadata.is_dir() {
            walk(path, &mut gathered.diagnostics, &mut |file| {
                add(file, false, &mut seen, &mut gathered.inputs)
            });
        } else if let Some(diagnostic) = add(path, true, &mut seen, &mut gathered.inputs) {
            gathered.diagnostics.push(diagnostic);
        }
    }
    // What is wrong beside the files that were asked for is not their matter.
    let mut ignored = Vec::new();
    for path in with {
        fs::metadata(path).map_err(|source| GatherError { path: path.clone(), source })?;
        roots.insert(path.clone());
    }
    for root in &roots {
        let folders = folders_of(root);
        let start = if folders.is_empty() { vec![root.clone()] } else { folders };
        for folder in start {
            walk(&folder, &mut ignored, &mut |file| {
                add(file, false, &mut seen, &mut gathered.beside);
                None
            });
        }
    }
    gathered.inputs.sort_by(order);
    gathered.beside.sort_by(order);
    Ok(gathered)
}

/// By stage and path, as the engine runs them.
fn order(a: &Input, b: &Input) -> std::cmp::Ordering {
    (a.kind, &a.stage, &a.file.path).cmp(&(b.kind, &b.stage, &b.file.path))
}

/// Adds a file once. `named`: somebody asked for this very file, and wants to know why it is left out.
fn add(path: &Path, named: bool, seen: &mut BTreeSet<PathBuf>, into: &mut Vec<Input>) -> Option<Diagnostic> {
    if !named && !is_yaml(path) {
        return None;
    }
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !seen.insert(real.clone()) {
        return None;
    }
    let text = match read(path) {
        Ok(text) => text,
        Err((reason, hint)) => {
            return Some(about_file(path, codes::UNREADABLE, Severity::Error, reason, hint));
        }
    };
    // A link lies where it leads to, unless its own place says what it is.
    let found = recognise(path, &text).or_else(|| recognise(&real, &text));
    match found {
        Some((kind, stage)) => {
            let file = Arc::new(SourceFile { path: path.display().to_string(), text });
            into.push(Input { kind, stage, file });
            None
        }
        None if named => {
            let hint = "put it where such rules lie, e.g. below `parsers/s01-parse` or `scenarios`";
            let message = "it is no kind of rule that can be told from its place or its keys".to_owned();
            Some(about_file(path, codes::UNKNOWN_KIND, Severity::Error, message, hint))
        }
        None => None,
    }
}

/// Reads a rule file; else says in words why not, and what to do.
fn read(path: &Path) -> Result<String, (String, &'static str)> {
    let unreadable = |error| (format!("it cannot be read: {error}"), "check that it may be read");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(("it is no file".to_owned(), "name files and folders"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        let message = format!("it has {} bytes; a rule file has at most {MAX_FILE_BYTES}", metadata.len());
        return Err((message, "split it; long lists belong in a data file"));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let no_text = "save it as text in UTF-8";
    String::from_utf8(bytes)
        .map_err(|error| (format!("it is no UTF-8 text: {}", error.utf8_error()), no_text))
}

fn about_file(
    path: &Path,
    code: &'static str,
    severity: Severity,
    message: String,
    hint: &str,
) -> Diagnostic {
    let file = Arc::new(SourceFile { path: path.display().to_string(), text: String::new() });
    let place = Place { file, line: 1, column: 1, offset: 0, length: 0 };
    Diagnostic { code, severity, message, place, hint: Some(hint.to_owned()) }
}

fn is_yaml(path: &Path) -> bool {
    matches!(path.extension().and_then(|extension| extension.to_str()), Some("yaml" | "yml"))
}

/// Calls `visit` for the files of a folder, in the order of their names, through links. Names that begin
/// with a dot are left out.
fn walk(
    folder: &Path,
    diagnostics: &mut Vec<Diagnostic>,
    visit: &mut dyn FnMut(&Path) -> Option<Diagnostic>,
) {
    let mut left = MAX_FILES;
    enter(folder, 0, &mut left, diagnostics, visit);
}

fn enter(
    folder: &Path,
    depth: usize,
    left: &mut usize,
    diagnostics: &mut Vec<Diagnostic>,
    visit: &mut dyn FnMut(&Path) -> Option<Diagnostic>,
) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let (message, hint) = (format!("it cannot be read: {error}"), "mend or remove it");
            diagnostics.push(about_file(folder, codes::UNREADABLE, Severity::Error, message, hint));
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden || *left == 0 {
            continue;
        }
        // Not the entry's own type: that would be the one of the link.
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && depth + 1 < MAX_DEPTH => {
                // Links that lead back up would multiply otherwise.
                *left -= 1;
                enter(&path, depth + 1, left, diagnostics, visit);
            }
            Ok(metadata) if metadata.is_file() => {
                *left -= 1;
                diagnostics.extend(visit(&path));
            }
            Ok(_) => {}
            Err(error) if is_yaml(&path) => {
                let (message, hint) = (format!("it cannot be read: {error}"), "mend or remove it");
                diagnostics.push(about_file(&path, codes::UNREADABLE, Severity::Error, message, hint));
            }
            Err(_) => {}
        }
    }
}

/// The folder that holds the kinds of rules, of a path in it: what is above its `parsers`,
/// `scenarios` and so on; of a folder that holds them, itself.
pub fn root_of(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    if has_kinds(&path) {
        return Some(path);
    }
    let kind = path.ancestors().find(|above| {
        let name = above.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| Kind::ALL.iter().any(|kind| kind.folder() == Some(name)))
    });
    kind?.parent().map(Path::to_owned)
}

fn has_kinds(folder: &Path) -> bool {
    !folders_of(folder).is_empty()
}

/// The folders of a folder that hold kinds of rules.
pub fn folders_of(root: &Path) -> Vec<PathBuf> {
    let folders = Kind::ALL.iter().filter_map(|kind| Some(root.join(kind.folder()?)));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// What a file holds, and in which stage: by its place, else by its keys.
pub fn recognise(path: &Path, text: &str) -> Option<(Kind, String)> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let (file, folders) = parts.split_last()?;
    for (at, folder) in folders.iter().enumerate().rev() {
        // Rules of a firewall for web applications are another matter.
        if folder.starts_with("appsec-") {
            return None;
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.folder() == Some(folder)) else { continue };
        return match kind {
            Kind::Parser | Kind::Postoverflow => {
                let stage = folders.get(at + 1)?;
                Some((kind, (*stage).to_owned()))
            }
            _ => Some((kind, String::new())),
        };
    }
    let kind = match *file {
        "profiles.yaml" => Kind::Profiles,
        "simulation.yaml" => Kind::Simulation,
        "acquis.yaml" => Kind::Acquisition,
        _ if folders.last() == Some(&"acquis.d") => Kind::Acquisition,
        // Others have such folders, too.
        _ if folders.last() == Some(&"samples") && may_be(&keys::SAMPLES, text) => Kind::Samples,
        _ => by_keys(text)?,
    };
    let stage = match kind {
        Kind::Parser if text.contains("whitelist:") => "s02-enrich",
        Kind::Parser => "s01-parse",
        Kind::Postoverflow => "s01-whitelist",
        _ => "",
    };
    Some((kind, stage.to_owned()))
}

/// The keys of the documents of a text, which may be no YAML yet.
fn top_keys(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .filter(|key| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .collect()
}

/// Whether a text has one of some keys, or none at all yet.
fn may_be(known: &keys::Keys, text: &str) -> bool {
    let keys = top_keys(text);
    keys.is_empty() || keys.iter().any(|key| known.get(key).is_some())
}

/// What a text holds by the keys of its documents.
fn by_keys(text: &str) -> Option<Kind> {
    let keys = top_keys(text);
    let has = |names: &[&str]| names.iter().any(|name| keys.contains(name));
    if has(&["filters", "decisions", "duration_expr"]) {
        return Some(Kind::Profiles);
    }
    if has(&["simulation"]) {
        return Some(Kind::Simulation);
    }
    if has(&["rule"]) && has(&["matches", "refuses", "hostile", "overflows", "quiet", "lets_off", "blames"]) {
        return Some(Kind::Samples);
    }
    if has(&[
        "min_hits",
        "min_overflows",
        "max_overflows",
        "max_suspected",
        "max_banned",
        "banned",
        "not_banned",
    ]) {
        return Some(Kind::Expectations);
    }
    if has(&[
        "leakspeed",
        "groupby",
        "capacity",
        "blackhole",
        "distinct",
        "overflow_filter",
        "bayesian_prior",
    ]) {
        return Some(Kind::Scenario);
    }
    if has(&["type"]) && has(&["filter"]) {
        return Some(Kind::Scenario);
    }
    if has(&["onsuccess", "nodes", "grok", "statics", "pattern_syntax", "stash", "whitelist"]) {
        let overflow = text.contains("evt.Overflow");
        return Some(if overflow { Kind::Postoverflow } else { Kind::Parser });
    }
    if has(&["context"]) {
        return Some(Kind::Context);
    }
    // Other programs have files with such keys as well.
    let source = text.lines().find_map(|line| line.strip_prefix("source:")).unwrap_or_default();
    let is_kind = keys_of_source(source.split('#').next().unwrap_or_default().trim()).is_some();
    if is_kind || (has(&["filename", "filenames", "journalctl_filter"]) && has(&["labels"])) {
        return Some(Kind::Acquisition);
    }
    (has(&["name"]) && has(&["parsers", "scenarios", "postoverflows", "collections", "contexts"]))
        .then_some(Kind::Collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_keys_tell_the_kind() {
        let check = |path: &str, text: &str, expected: Option<(Kind, &str)>| {
            let found = recognise(Path::new(path), text);
            assert_eq!(found.as_ref().map(|(kind, stage)| (*kind, &**stage)), expected, "{path} {text}");
        };
        check("a/parsers/s01-parse/me/x.yaml", "", Some((Kind::Parser, "s01-parse")));
        check("parsers/x.yaml", "", None);
        check("hub/scenarios/me/x.yaml", "", Some((Kind::Scenario, "")));
        check("scenarios/parsers/s00-raw/x.yaml", "", Some((Kind::Parser, "s00-raw")));
        check("hub/appsec-rules/me/x.yaml", "name: x", None);
        check("/etc/testudo/profiles.yaml", "", Some((Kind::Profiles, "")));
        check("x.yaml", "type: leaky\nname: x\nfilter: [", Some((Kind::Scenario, "")));
        check("x.yaml", "name: x\nnodes:\n  - grok", Some((Kind::Parser, "s01-parse")));
        check("x.yaml", "name: x\nwhitelist:\n  ip: []", Some((Kind::Parser, "s02-enrich")));
        check(
            "x.yaml",
            "whitelist:\n  expression: [evt.Overflow.Reprocess]",
            Some((Kind::Postoverflow, "s01-whitelist")),
        );
        check("x.yaml", "name: a/b\nparsers:\n  - c/d", Some((Kind::Collection, "")));
        check("x.yaml", "source: docker\nlabels:\n  type: nginx", Some((Kind::Acquisition, "")));
        check("x.yaml", "filenames:\n  - /var/log/x\nlabels: {}\nname: x", Some((Kind::Acquisition, "")));
        check("x.yaml", "source: https://example.org\nfilename: x", None);
        check("etc/acquis.d/x.yaml", "", Some((Kind::Acquisition, "")));
        check("x.yaml", "rule: a/b\ntype: x\nmatches: []", Some((Kind::Samples, "")));
        check("rules/samples/x.yaml", "", Some((Kind::Samples, "")));
        check("rules/samples/x.yaml", "quiet:\nruel: x", Some((Kind::Samples, "")));
        check("charts/samples/x.yaml", "apiVersion: v1\nkind: x", None);
        check("expect.yaml", "max_banned: 1", Some((Kind::Expectations, "")));
        check("config.yaml", "common: {}", None);
        check("x.yaml", "\0\u{feff}\n:::", None);
    }

    #[test]
    fn the_rest_of_the_folder_runs_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("parsers/s01-parse/a.yaml", "name: a"),
            ("scenarios/me/b.yaml", "name: b"),
            ("scenarios/me/notes.txt", "no rule"),
            (".hidden/scenarios/c.yaml", "name: c"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("written");
        }
        let gathered = gather(&[folder.path().join("scenarios")], &[]).expect("it is there");
        let names = |list: &[Input]| list.iter().map(|input| input.file.text.clone()).collect::<Vec<_>>();
        assert_eq!(names(&gathered.inputs), ["name: b"]);
        assert_eq!(names(&gathered.beside), ["name: a"]);
        assert!(gathered.diagnostics.is_empty());
        // A named file that is nothing is told; a path that leads nowhere is refused.
        let gathered = gather(&[folder.path().join("scenarios/me/notes.txt")], &[]).expect("it is there");
        assert_eq!(gathered.inputs.len(), 1, "its place tells");
        assert!(gather(&[folder.path().join("nothing")], &[]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let scenarios = folder.path().join("scenarios");
        fs::create_dir_all(&scenarios).expect("a folder");
        fs::write(scenarios.join("a.yaml"), "name: a").expect("written");
        for name in ["up", "again"] {
            std::os::unix::fs::symlink("..", scenarios.join(name)).expect("a link");
        }
        let gathered = gather(&[folder.path().to_owned()], &[]).expect("it is there");
        assert_eq!(gathered.inputs.len(), 1);
    }
}
