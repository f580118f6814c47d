//! Acquisition documents: YAML to sources, with places for every complaint.
//!
//! A document that cannot be used is left out and harms no other; what is wrong with it is told with
//! file, line, column and a hint.

pub mod codes;
mod documents;
mod dsn;
mod kinds;
mod load;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use testudo_config::tree::{Node, documents};
use testudo_rules::{Diagnostic, Place, Severity, SourceFile};
use thiserror::Error;
use tracing::Level;

pub use self::dsn::{DsnError, parse_dsn};
use self::{
    documents::{Common, Text},
    load::{Document, Loading, span_of},
};
use crate::{
    batch::Labels,
    file::{FileConfig, FileSource},
    journal::JournalConfig,
    kind::{self, Kind},
    source::{Mode, Settings, Source},
    syslog::SyslogConfig,
    transform::Transform,
};

/// What a source reads, by kind.
#[derive(Clone, Debug)]
pub enum Spec {
    /// Log files.
    File(FileConfig),
    /// The journal.
    Journal(JournalConfig),
    /// A syslog server.
    Syslog(SyslogConfig),
    /// Containers.
    Docker(crate::docker::DockerConfig),
    /// Lines pushed by HTTP.
    Http(crate::http::HttpConfig),
}

/// A source as it is configured.
#[derive(Clone, Debug)]
pub struct Acquisition {
    /// The common settings.
    pub settings: Settings,
    /// Those of its kind.
    pub spec: Spec,
    /// Where its document begins; none for one that was not written in a file.
    pub place: Option<Place>,
}

impl Acquisition {
    /// The source.
    pub fn source(&self) -> Arc<dyn Source> {
        let settings = self.settings.clone();
        match self.spec.clone() {
            Spec::File(config) => Arc::new(FileSource::new(settings, config)),
            Spec::Journal(config) => Arc::new(crate::journal::JournalSource::new(settings, config)),
            Spec::Syslog(config) => Arc::new(crate::syslog::SyslogSource::new(settings, config)),
            #[cfg(all(unix, feature = "docker"))]
            Spec::Docker(config) => Arc::new(crate::docker::DockerSource::new(settings, config)),
            #[cfg(feature = "http")]
            Spec::Http(config) => Arc::new(crate::http::HttpSource::new(settings, config)),
            #[cfg(not(all(unix, feature = "docker", feature = "http")))]
            _ => Arc::new(crate::source::Absent(settings)),
        }
    }
}

/// The sources of one or several files, and everything that was found wrong.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The sources without errors, in the order of files and documents.
    pub sources: Vec<Acquisition>,
    /// Errors and warnings, in the same order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether a document was left out.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Acquisition files cannot be read.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file or folder.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Reads `acquisition_path`, then every `*.yaml` and every `*.yml` in `acquisition_dir` (either may be
/// missing), each group in the order of names. `variable` gives the environment.
///
/// # Errors
/// A file or folder that is there cannot be read. What is wrong inside of files is in
/// [`Loaded::diagnostics`].
pub fn load(
    path: Option<&Path>,
    folder: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| LoadError::Read { path, error }
    };
    let mut paths = Vec::new();
    if let Some(path) = path
        && path.exists()
    {
        paths.push(path.to_owned());
    }
    if let Some(folder) = folder {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => Some(entries),
            // Installations name the folder and make it when there is something to put into it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(folder)(error)),
        };
        let mut names: Vec<PathBuf> =
            entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        names.sort();
        for ending in ["yaml", "yml"] {
            paths.extend(names.iter().filter(|path| path.extension().is_some_and(|e| e == ending)).cloned());
        }
    }
    let mut loaded = Loaded::default();
    for path in paths {
        let bytes = fs::read(&path).map_err(failed(&path))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let file = load_text(SourceFile { path: path.display().to_string(), text }, variable);
        loaded.sources.extend(file.sources);
        loaded.diagnostics.extend(file.diagnostics);
    }
    tell_apart(&mut loaded);
    Ok(loaded)
}

/// Reads one acquisition file from its text.
pub fn load_text(file: SourceFile, variable: &dyn Fn(&str) -> Option<String>) -> Loaded {
    let mut loading = Loading::default();
    let mut sources = Vec::new();
    for root in documents(file, variable) {
        let root = match root {
            Ok(root) if root.is_null() => continue,
            Ok(root) => root,
            Err(wrong) => {
                loading.take(*wrong, "");
                continue;
            }
        };
        let errors = count_errors(&loading);
        let source = document(&mut loading, root);
        if count_errors(&loading) == errors {
            sources.extend(source);
        }
    }
    let mut loaded = Loaded { sources, diagnostics: loading.diagnostics };
    tell_apart(&mut loaded);
    loaded
}

fn count_errors(loading: &Loading) -> usize {
    loading.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
}

/// Two sources that read the same would have the same positions: the second one gets a scope of its
/// own, and a warning, since every line counts twice.
fn tell_apart(loaded: &mut Loaded) {
    let mut seen: HashMap<(Kind, String, String), u32> = HashMap::new();
    for source in &mut loaded.sources {
        let titles: Vec<String> = match &source.spec {
            Spec::File(config) => config.patterns.iter().map(|p| p.text().to_owned()).collect(),
            _ => vec![source.settings.title.clone()],
        };
        let settings = &mut source.settings;
        let mut number = 0;
        for title in titles {
            let count = seen.entry((settings.kind, settings.unique_id.clone(), title)).or_default();
            *count += 1;
            number = number.max(*count);
        }
        settings.scope.clone_from(&settings.unique_id);
        if number > 1 {
            settings.scope = format!("{}#{number}", settings.unique_id);
            if let Some(place) = &source.place {
                let warning = Diagnostic {
                    code: codes::TWICE,
                    severity: Severity::Warning,
                    message: format!(
                        "{} is read by another source already: every line counts twice",
                        settings.title
                    ),
                    place: place.clone(),
                    hint: Some(
                        "remove one of the two, or give each a `unique_id` if this is what you want"
                            .to_owned(),
                    ),
                };
                if !loaded.diagnostics.contains(&warning) {
                    loaded.diagnostics.push(warning);
                }
            }
        }
    }
}

fn document(load: &mut Loading, root: Node) -> Option<Acquisition> {
    let mut document = Document { root, prefix: String::new() };
    let kind = kind_of(load, &document)?;
    document.prefix = format!("datasource of type {kind}: ");
    let place = document.root.spot.place();
    let (settings, spec) = kinds::read(load, &document, kind)?;
    Some(Acquisition { settings, spec, place: Some(place) })
}

fn kind_of(load: &mut Loading, document: &Document) -> Option<Kind> {
    let root = &document.root;
    let Some(source) = root.get("source") else {
        if root.get("filename").is_some() || root.get("filenames").is_some() {
            return Some(Kind::File);
        }
        if root.get("journalctl_filter").is_some() {
            return Some(Kind::Journal);
        }
        let hint = format!("add `source:` with one of {}", names().join(", "));
        load.error(codes::MISSING_KEY, document, None, "missing 'source' field", Some(&hint));
        return None;
    };
    let name = source.text().unwrap_or_default();
    let span = source.spot.span();
    match Kind::from_name(name) {
        Some(kind) if kind.is_built_in() => return Some(kind),
        None if !kind::OTHERS.contains(&name) => {
            let message = format!("unknown data source {name}");
            let hint = load::suggestion(name, &names());
            load.error(codes::KIND, document, Some(&span), &message, hint.as_deref());
        }
        _ => {
            let message = format!("data source {name} is not built in this version of testudo");
            load.error(codes::KIND, document, Some(&span), &message, None);
        }
    }
    None
}

fn names() -> Vec<&'static str> {
    Kind::ALL.into_iter().map(Kind::name).collect()
}

/// The common keys, checked.
fn settings(
    load: &mut Loading,
    document: &Document,
    kind: Kind,
    title: String,
    common: Common,
    modes: &[&str],
) -> Settings {
    let at = |text: &Text| span_of(text);
    let labels: Labels = common
        .labels
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect();
    if labels.is_empty() && kind != Kind::Docker {
        let hint = "add `labels:` with at least `type`, which says who parses the lines";
        load.error(codes::MISSING_KEY, document, None, "missing labels", Some(hint));
    }
    let mut mode = Mode::Tail;
    if let Some(text) = common.mode.filter(|text| !text.value.is_empty()) {
        match text.value.as_str() {
            "cat" if modes.contains(&"cat") => mode = Mode::Cat,
            value if modes.contains(&value) => {}
            value => {
                let message = format!("unsupported mode {value} for {kind} source");
                let hint = format!("known here: {}", modes.join(", "));
                load.error(codes::VALUE, document, Some(&at(&text)), &message, Some(&hint));
            }
        }
    }
    let mut log_level = None;
    if let Some(text) = common.log_level.filter(|text| !text.value.is_empty()) {
        log_level = level(&text.value);
        if log_level.is_none() {
            let message = format!("`log_level` cannot be `{}`", text.value);
            let hint = "known here: trace, debug, info, warning, error";
            load.error(codes::VALUE, document, Some(&at(&text)), &message, Some(hint));
        }
    }
    let mut transform = None;
    if let Some(text) = common.transform.filter(|text| !text.value.trim().is_empty()) {
        match Transform::new(&text.value) {
            Ok(compiled) => transform = Some(compiled),
            Err(error) => {
                let message =
                    format!("`transform` does not compile: {}: {}", text.value.trim(), error.message);
                load.error(codes::TRANSFORM, document, Some(&at(&text)), &message, error.hint.as_deref());
            }
        }
    }
    Settings {
        kind,
        title,
        name: common.name.unwrap_or_default(),
        unique_id: common.unique_id.unwrap_or_default(),
        scope: String::new(),
        labels: Arc::new(labels),
        log_level,
        mode,
        use_time_machine: common.use_time_machine.unwrap_or_default(),
        transform,
    }
}

/// A level by the names that configurations use.
fn level(name: &str) -> Option<Level> {
    Some(match name.to_ascii_lowercase().as_str() {
        "trace" => Level::TRACE,
        "debug" => Level::DEBUG,
        "info" => Level::INFO,
        "warn" | "warning" => Level::WARN,
        "error" | "fatal" | "panic" => Level::ERROR,
        _ => return None,
    })
}

/// The environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The labels of a one-shot run: `type` and what else was given.
pub fn one_shot_labels(kind: &str, others: BTreeMap<String, String>) -> Labels {
    let mut labels = others;
    labels.insert("type".to_owned(), kind.to_owned());
    labels
}
