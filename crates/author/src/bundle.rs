//! Rule files and files of samples that somebody names on a command line, gathered for a run.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use testudo_config::{ConfigError, Document, tree::Value};
use testudo_hub::Selection;
use testudo_rules::{Diagnostic, SourceFile, load_parsers, load_postoverflows, load_scenarios, set::RuleSet};

/// Deepest folder of samples.
const MAX_DEPTH: usize = 16;

/// The folder of samples beside `parsers`, `scenarios` and `postoverflows`.
pub const SAMPLES: &str = "samples";

/// The stage of a parser whose path names none.
pub const DEFAULT_STAGE: &str = "s01-parse";

/// Largest file that is read: rules have at most half of that, samples as much.
const MAX_BYTES: u64 = 8 << 20;

/// What was named.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// The rules.
    pub rules: RuleSet,
    /// What is wrong with them.
    pub diagnostics: Vec<Diagnostic>,
    /// Files of samples, each once.
    pub samples: Vec<PathBuf>,
}

/// A named path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is no YAML.
    #[error("{0}")]
    Yaml(#[from] ConfigError),
    /// A folder without rules and samples.
    #[error("{} has no rules and no samples", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
}

impl Bundle {
    /// Adds a folder (`parsers/STAGE`, `scenarios`, `postoverflows/STAGE`, `samples` in it), a rule file or a file of
    /// samples. With a rule file come the samples that stand beside it.
    ///
    /// # Errors
    /// The path cannot be read, or there is nothing of use in it.
    pub fn add(&mut self, path: &Path) -> Result<(), BundleError> {
        let read = |error| BundleError::Read { path: path.to_owned(), error };
        let meta = fs::metadata(path).map_err(read)?;
        if meta.is_dir() {
            return self.folder(path);
        }
        if is_samples(path)? {
            self.sample_file(path);
            // Its rule is near, if it is not in the context.
            if let Some(rule) = rule_beside(path) {
                self.rule_file(&rule)?;
            }
            return Ok(());
        }
        self.rule_file(path)?;
        if let Some(samples) = samples_beside(path) {
            self.sample_file(&samples);
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> Result<(), BundleError> {
        let mut selection = Selection::default();
        let has_rules = selection.directory(path, None).is_ok();
        if has_rules {
            let loaded = selection.load();
            self.diagnostics.extend(loaded.diagnostics);
            self.extend(loaded.rules);
        }
        let below = path.join(SAMPLES);
        let own = if below.is_dir() { below } else { path.to_owned() };
        let mut found = Vec::new();
        if own != path || !has_rules {
            walk(&own, 0, &mut found);
        }
        for file in &found {
            if is_samples(file)? {
                self.sample_file(file);
            }
        }
        if !has_rules && self.samples.is_empty() {
            return Err(BundleError::Nothing { path: path.to_owned() });
        }
        Ok(())
    }

    fn sample_file(&mut self, path: &Path) {
        let same = |other: &PathBuf| fs::canonicalize(other).ok() == fs::canonicalize(path).ok();
        if !self.samples.iter().any(same) {
            self.samples.push(path.to_owned());
        }
    }

    fn rule_file(&mut self, path: &Path) -> Result<(), BundleError> {
        let (rules, diagnostics) = load(path, read(path)?);
        self.diagnostics.extend(diagnostics);
        self.extend(rules);
        Ok(())
    }

    /// Adds rules, each in place of one with the same name.
    fn extend(&mut self, rules: RuleSet) {
        let old = std::mem::take(&mut self.rules);
        self.rules = over(old, rules);
    }
}

/// The rules of `base`, but for those for which `above` has one of the same name, and all of `above`.
pub fn over(mut base: RuleSet, above: RuleSet) -> RuleSet {
    base.parsers.retain(|old| above.parsers.iter().all(|new| new.node.name != old.node.name));
    base.postoverflows.retain(|old| above.postoverflows.iter().all(|new| new.node.name != old.node.name));
    base.scenarios.retain(|old| above.scenarios.iter().all(|new| new.name != old.name));
    base.parsers.extend(above.parsers);
    base.parsers.sort_by(|a, b| a.stage.cmp(&b.stage));
    base.postoverflows.extend(above.postoverflows);
    base.postoverflows.sort_by(|a, b| a.stage.cmp(&b.stage));
    base.scenarios.extend(above.scenarios);
    base.patterns.extend(above.patterns);
    base.origins.extend(above.origins);
    for (name, expressions) in above.context.fields {
        base.context.fields.entry(name).or_default().extend(expressions);
    }
    base
}

/// Loads a rule file by itself. Its kind is told by the folder in which it lies (`scenarios/`, `postoverflows/STAGE/`,
/// `parsers/STAGE/`) or, elsewhere, by its key `type`, which scenarios have.
pub fn load(path: &Path, text: String) -> (RuleSet, Vec<Diagnostic>) {
    let mut rules = RuleSet::default();
    let folders: Vec<String> = path
        .parent()
        .map(|folder| folder.iter().map(|part| part.to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let stage_of = |kind: &str| {
        let at = folders.iter().rposition(|folder| folder == kind)?;
        Some(folders.get(at + 1).cloned().unwrap_or_else(|| DEFAULT_STAGE.to_owned()))
    };
    let file = Arc::new(SourceFile { path: path.display().to_string(), text });
    let has_type = |line: &str| line.starts_with("type:");
    let diagnostics = if let Some(stage) = stage_of("postoverflows") {
        let loaded = load_postoverflows(file, &stage);
        rules.postoverflows = loaded.items;
        loaded.diagnostics
    } else if stage_of("scenarios").is_some()
        || stage_of("parsers").is_none() && file.text.lines().any(has_type)
    {
        let loaded = load_scenarios(file);
        rules.scenarios = loaded.items;
        loaded.diagnostics
    } else {
        let stage = stage_of("parsers").unwrap_or_else(|| DEFAULT_STAGE.to_owned());
        let loaded = load_parsers(file, &stage);
        rules.parsers = loaded.items;
        loaded.diagnostics
    };
    (rules, diagnostics)
}

/// The text of a file.
fn read(path: &Path) -> Result<String, BundleError> {
    let failed = |error| BundleError::Read { path: path.to_owned(), error };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_BYTES {
        let message = format!("it has {length} bytes, more than {MAX_BYTES}: split it");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    String::from_utf8(fs::read(path).map_err(failed)?).map_err(|_| {
        let message = "it is no text in UTF-8: save it as such";
        failed(io::Error::new(io::ErrorKind::InvalidData, message))
    })
}

/// Whether a file is one of samples: it says of which rule.
fn is_samples(path: &Path) -> Result<bool, BundleError> {
    let text = read(path)?;
    if !text.lines().any(|line| line.starts_with("rule:")) {
        return Ok(false);
    }
    let document = Document::from_text(&path.display().to_string(), &text)?;
    let Value::Map(entries) = &document.root.value else { return Ok(false) };
    Ok(entries.iter().any(|entry| entry.key == "rule"))
}

/// Where samples of a rule file stand: `samples/x.yaml` beside `parsers` or `scenarios`, else `x.samples.yaml` beside it.
pub fn samples_path(rule: &Path) -> PathBuf {
    let name = rule.file_name().map(PathBuf::from).unwrap_or_default();
    let kinds = ["parsers", "scenarios", "postoverflows"];
    let mut folders = rule.ancestors().skip(1).take(3);
    let kind =
        folders.find(|folder| folder.file_name().is_some_and(|name| kinds.iter().any(|kind| name == *kind)));
    match kind.and_then(Path::parent) {
        Some(root) => root.join(SAMPLES).join(name),
        None => rule.with_extension("samples.yaml"),
    }
}

fn samples_beside(rule: &Path) -> Option<PathBuf> {
    Some(samples_path(rule)).filter(|path| path.is_file())
}

/// The rule file of a file of samples, by its place.
fn rule_beside(samples: &Path) -> Option<PathBuf> {
    let name = samples.file_name()?.to_string_lossy().into_owned();
    if let Some(stem) = name.strip_suffix(".samples.yaml") {
        return Some(samples.with_file_name(format!("{stem}.yaml"))).filter(|path| path.is_file());
    }
    let root =
        samples.parent().filter(|folder| folder.file_name().is_some_and(|name| name == SAMPLES))?.parent()?;
    let mut found = Vec::new();
    for kind in ["parsers", "scenarios", "postoverflows"] {
        walk(&root.join(kind), 0, &mut found);
    }
    found.into_iter().find(|path| path.file_name().is_some_and(|file| file == name.as_str()))
}

/// YAML files below a folder, sorted.
fn walk(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) {
    if depth > MAX_DEPTH {
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, depth + 1, into);
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            into.push(path);
        }
    }
}
