//! The small files beside `config.yaml`: simulation, console, features.

use std::{fmt::Write as _, io, path::Path};

use serde::Deserialize;
use testudo_rules::plan::Simulation;

use crate::{
    ConfigError, Variable,
    file::{self, Document},
    write::quoted,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SimulationFile {
    simulation: bool,
    exclusions: Vec<String>,
}

/// Reads a simulation file and its companion. One that is missing simulates nothing.
pub fn load_simulation(path: &Path, variable: Variable<'_>) -> Result<Simulation, ConfigError> {
    let Some(document) = if_there(Document::with_local(path, variable))? else {
        return Ok(Simulation::default());
    };
    let file: SimulationFile = document.decode()?;
    Ok(Simulation { simulation: file.simulation, exclusions: file.exclusions.into_iter().collect() })
}

/// Writes a simulation file. A companion is left as it is.
pub fn save_simulation(path: &Path, simulation: &Simulation) -> Result<(), ConfigError> {
    let mut text = format!("simulation: {}\n", simulation.simulation);
    text.push_str(if simulation.exclusions.is_empty() { "exclusions: []\n" } else { "exclusions:\n" });
    for name in &simulation.exclusions {
        let _ = writeln!(text, "  - {}", quoted(name));
    }
    file::replace(path, &text)
}

/// What `console.yaml` says: what is shared with the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Console {
    /// Decisions that people made.
    pub share_manual_decisions: bool,
    /// Alerts of scenarios that are in no hub.
    pub share_custom: bool,
    /// Alerts of scenarios that were changed here.
    pub share_tainted: bool,
    /// The context of alerts.
    pub share_context: bool,
    /// Orders from the console are taken.
    pub console_management: bool,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            share_manual_decisions: false,
            share_custom: true,
            share_tainted: true,
            share_context: false,
            console_management: false,
        }
    }
}

impl Console {
    /// Reads the file; one that is missing has the defaults.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<Self, ConfigError> {
        match if_there(Document::alone(path, variable))? {
            Some(document) => document.decode(),
            None => Ok(Self::default()),
        }
    }

    /// Writes the file.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = [
            ("share_manual_decisions", self.share_manual_decisions),
            ("share_custom", self.share_custom),
            ("share_tainted", self.share_tainted),
            ("share_context", self.share_context),
            ("console_management", self.console_management),
        ]
        .map(|(key, value)| format!("{key}: {value}\n"));
        file::replace(path, &text.concat())
    }
}

/// Features that can be switched on, and whether they are past.
const FEATURES: &[(&str, bool)] = &[
    ("disable_http_retry_backoff", false),
    ("pprof_block_profile", false),
    ("re2_disable_grok_support", false),
    ("re2_regexp_in_file_support", false),
    ("chunked_decisions_stream", true),
    ("papi_client", true),
    ("re2_grok_support", true),
];

/// What `feature.yaml` and the environment switch on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The names, in the order of the list of all.
    pub enabled: Vec<&'static str>,
    /// What is not known or past, in words.
    pub warnings: Vec<String>,
}

impl Features {
    /// The names that there are; those that are past if asked for.
    pub fn names(is_past: bool) -> impl Iterator<Item = &'static str> {
        FEATURES.iter().filter(move |(_, past)| *past == is_past).map(|(name, _)| *name)
    }

    /// Reads the file, which may be missing, and `CROWDSEC_FEATURE_<NAME>` of the environment.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<Self, ConfigError> {
        let listed: Vec<String> = match if_there(Document::alone(path, variable))? {
            Some(document) if !document.root.is_null() => document.decode()?,
            _ => Vec::new(),
        };
        let mut features = Self::default();
        for name in &listed {
            if !FEATURES.iter().any(|(known, _)| known == name) {
                features.warnings.push(format!("{}: unknown feature '{name}'", path.display()));
            }
        }
        for (name, is_past) in FEATURES {
            let key = format!("CROWDSEC_FEATURE_{}", name.to_ascii_uppercase());
            let is_on = match variable(&key).as_deref() {
                Some("true") => true,
                Some("false") => false,
                Some(other) => {
                    let message = format!("{key}: '{other}' is neither 'true' nor 'false'");
                    features.warnings.push(message);
                    false
                }
                None => listed.iter().any(|listed| listed == name),
            };
            match (is_on, is_past) {
                (true, true) => features.warnings.push(format!("the feature '{name}' is past: remove it")),
                (true, false) => features.enabled.push(name),
                (false, _) => {}
            }
        }
        Ok(features)
    }
}

/// A file that may be missing.
fn if_there(read: Result<Document, ConfigError>) -> Result<Option<Document>, ConfigError> {
    match read {
        Ok(document) => Ok(Some(document)),
        Err(ConfigError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
