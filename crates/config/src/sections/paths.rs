//! `config_paths`: where the files of an installation are.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The section as it is written: everything may be missing but `data_dir`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WrittenPaths {
    pub(crate) config_dir: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) simulation_path: Option<PathBuf>,
    pub(crate) hub_dir: Option<PathBuf>,
    pub(crate) index_path: Option<PathBuf>,
    pub(crate) notification_dir: Option<PathBuf>,
    pub(crate) pattern_dir: Option<PathBuf>,
    pub(crate) plugin_dir: Option<PathBuf>,
}

/// The section `config_paths`, with everything filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The folder of the configuration: that of `config.yaml` by default.
    pub config_dir: PathBuf,
    /// The folder of data: the database, lists that rules use, our own state.
    pub data_dir: PathBuf,
    /// The simulation file.
    pub simulation_path: PathBuf,
    /// The folder of the hub's items.
    pub hub_dir: PathBuf,
    /// The hub's index.
    pub index_path: PathBuf,
    /// The folder of notifications.
    pub notification_dir: PathBuf,
    /// The folder of grok patterns.
    pub pattern_dir: PathBuf,
    /// The folder of notification plugins, if one is named.
    pub plugin_dir: Option<PathBuf>,
}

impl Paths {
    /// The paths in a folder of configuration and one of data, where nothing else is said.
    pub fn new(config_dir: &Path, data_dir: &Path) -> Self {
        WrittenPaths::default().filled(config_dir, data_dir)
    }
}

impl WrittenPaths {
    /// The paths, with those that are missing filled in.
    pub(crate) fn filled(self, config_dir: &Path, data_dir: &Path) -> Paths {
        let hub_dir = self.hub_dir.unwrap_or_else(|| config_dir.join("hub"));
        Paths {
            simulation_path: self.simulation_path.unwrap_or_else(|| config_dir.join("simulation.yaml")),
            index_path: self.index_path.unwrap_or_else(|| hub_dir.join(".index.json")),
            notification_dir: self.notification_dir.unwrap_or_else(|| config_dir.join("notifications")),
            pattern_dir: self.pattern_dir.unwrap_or_else(|| config_dir.join("patterns")),
            plugin_dir: self.plugin_dir,
            config_dir: config_dir.to_owned(),
            data_dir: data_dir.to_owned(),
            hub_dir,
        }
    }
}
