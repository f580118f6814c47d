//! The logs of the hub's functional tests.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use testudo_engine::Source;

use super::WholeHub;

/// The keys of a test's configuration that say what its log is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    log_file: Option<String>,
    log_type: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

/// A log to run.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) lines: Vec<String>,
}

/// The logs of all functional tests.
pub(crate) fn all(hub: &WholeHub) -> Vec<Log> {
    let mut logs = Vec::new();
    for name in hub.hub.tests().unwrap() {
        let folder = hub.hub.folder().join(".tests").join(&name);
        let config = fs::read_to_string(folder.join("config.yaml")).unwrap();
        let config: Option<Config> = serde_saphyr::from_str(&config).unwrap();
        let config = config.unwrap_or_default();
        let Ok(bytes) = fs::read(folder.join(config.log_file.unwrap_or_default())) else { continue };
        let given = config.labels.into_iter().flatten();
        let mut labels: BTreeMap<String, String> =
            given.map(|(key, value)| (key, value.unwrap_or_default())).collect();
        labels.insert("type".to_owned(), config.log_type.unwrap_or_default());
        let source = Source { name: format!("{name}.log"), module: "file".to_owned(), labels };
        let lines = String::from_utf8_lossy(&bytes)
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        logs.push(Log { name, source, lines });
    }
    logs
}
