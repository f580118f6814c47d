//! `config.yaml` as a whole: loading it, and what follows from it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use testudo_event::net::Prefix;
use testudo_rules::{Diagnostic, SourceFile};

use crate::{
    ConfigError, Variable, codes,
    file::{self, Document},
    sections::{
        Agent, Api, ApiClient, ApiServer, Commands, Common, Database, DatabaseKind, Flush, MAX_BULK,
        MAX_CONTEXT_VALUE, Own, Paths, Plugins, Prometheus, WrittenPaths,
    },
    value::Secret,
};

/// Where a configuration is looked for, in this order.
pub const DEFAULT_PATHS: [&str; 2] = ["/etc/testudo/config.yaml", "/etc/crowdsec/config.yaml"];

/// A configuration: what is written, and the defaults for what is not. All paths are as absolute as
/// the path that it was loaded from.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was loaded from; none for [`Config::standalone`].
    pub file: Option<PathBuf>,
    /// Logs of the process.
    pub common: Common,
    /// Where files are.
    pub paths: Paths,
    /// Reading logs; none: not configured.
    pub agent: Option<Agent>,
    /// The commands.
    pub commands: Commands,
    /// The database; none: not configured.
    pub database: Option<Database>,
    /// As whom notification plugins run.
    pub plugins: Plugins,
    /// The local API, as server and as client.
    pub api: Api,
    /// The endpoint of metrics.
    pub prometheus: Prometheus,
    /// What other daemons do not have.
    pub own: Own,
    /// `CS_LAPI_SECRET`: what the tokens of machines are signed with.
    pub token_secret: Option<Secret>,
    /// What may not be as its author means.
    pub warnings: Vec<Diagnostic>,
    /// What was read; checks ask it for places.
    pub(crate) document: Document,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    common: Common,
    config_paths: Option<WrittenPaths>,
    crowdsec_service: Option<Agent>,
    cscli: Commands,
    db_config: Option<Database>,
    plugin_config: Plugins,
    api: Api,
    prometheus: Option<Prometheus>,
    testudo: Own,
}

impl Config {
    /// The file where a configuration is by default: the first of [`DEFAULT_PATHS`] that exists.
    pub fn find() -> Option<PathBuf> {
        DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists())
    }

    /// Loads a file, with its `.local` companion over it and the environment in it. What a daemon needs
    /// beyond is asked by [`Config::check`].
    ///
    /// # Errors
    /// A file cannot be read, is no YAML, has unknown keys or values that do not fit.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<Self, ConfigError> {
        let document = Document::with_local(path, variable)?;
        let written: Written = document.decode()?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let secret = variable("CS_LAPI_SECRET").filter(|secret| !secret.is_empty()).map(Secret::new);
        let mut config = Self::filled(written, document, &folder)?;
        config.file = Some(path.to_owned());
        config.token_secret = secret;
        Ok(config)
    }

    /// A good configuration without any file: everything is kept in one folder, the API is served on a
    /// Unix socket there and, if asked for, on `listen` (`host:port`).
    pub fn standalone(data_dir: &Path, listen: Option<&str>) -> Self {
        let document = Document::empty();
        let server = ApiServer {
            listen_uri: listen.map(str::to_owned),
            listen_socket: Some(data_dir.join("testudo.sock")),
            console_path: Some(data_dir.join("console.yaml")),
            ..ApiServer::default()
        };
        let flush = Flush {
            max_items: Some(5000),
            max_age: Some(std::time::Duration::from_hours(7 * 24)),
            ..Flush::default()
        };
        let database = Database {
            kind: DatabaseKind::Sqlite,
            db_path: Some(data_dir.join("testudo.db")),
            flush: Some(flush),
            ..Database::default()
        };
        let client =
            ApiClient { credentials_path: Some(data_dir.join("credentials.yaml")), ..ApiClient::default() };
        let mut config = Self {
            file: None,
            common: Common::default(),
            paths: Paths::new(data_dir, data_dir),
            agent: Some(Agent::default()),
            commands: Commands::default(),
            database: Some(database),
            plugins: Plugins::default(),
            api: Api { client: Some(client), server: Some(server), cti: None },
            prometheus: Prometheus::default(),
            own: Own { own_rules: Some(true), ..Own::default() },
            token_secret: None,
            warnings: Vec::new(),
            document,
        };
        config.fill_own();
        config
    }

    /// The merged file as YAML, with variables as they are written.
    pub fn show_yaml(path: &Path) -> Result<String, ConfigError> {
        Document::with_local(path, &|_| None).map(|document| document.to_yaml())
    }

    /// The files of profiles, in the order in which they are asked. Without a path there is none, and the defaults are
    /// for the caller to take.
    pub fn profiles(&self) -> Result<Vec<Arc<SourceFile>>, ConfigError> {
        match self.api.server.as_ref().and_then(|server| server.profiles_path.as_deref()) {
            Some(path) => file::with_local_in_front(path),
            None => Ok(Vec::new()),
        }
    }

    /// Whether the rules in the binary are used: as `testudo.own_rules` says, else when no rule of a hub
    /// is installed.
    pub fn own_rules(&self) -> bool {
        self.own.own_rules.unwrap_or_else(|| !self.has_installed_rules())
    }

    /// Whether there are rules of a hub, or of the user's own, in the folder of the configuration.
    pub fn has_installed_rules(&self) -> bool {
        let folders = ["parsers", "scenarios", "postoverflows"];
        folders.iter().any(|folder| holds_rules(&self.paths.config_dir.join(folder), 2))
    }

    /// The local API is served.
    pub fn serves_api(&self) -> bool {
        self.api.server.as_ref().is_some_and(|server| server.enable)
    }

    /// Logs are read.
    pub fn reads_logs(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.enable)
    }

    fn filled(written: Written, document: Document, folder: &Path) -> Result<Self, ConfigError> {
        let mut warnings = Vec::new();
        let root = &document.root;
        let Some(mut paths) = written.config_paths else {
            let hint = "add `config_paths:` with at least `data_dir`".to_owned();
            let message = "no configuration paths provided";
            return Err(root.spot.complain(codes::MISSING_KEY, message, Some(hint)).into());
        };
        // A path that is not absolute starts at the folder of the file, wherever the process was started.
        let mut resolve = |path: &mut Option<PathBuf>, keys: [&str; 2]| {
            *path = path.take().filter(|path| !path.as_os_str().is_empty());
            let Some(path) = path.as_mut().filter(|path| path.is_relative()) else {
                return;
            };
            let message = format!("`{}` is a relative path, which is deprecated", keys[1]);
            let absolute = folder.join(&*path);
            let hint = format!("write `{}`", absolute.display());
            warnings.push(root.spot_of(&keys).warn(codes::NO_EFFECT, message, Some(hint)));
            *path = absolute;
        };
        resolve(&mut paths.config_dir, ["config_paths", "config_dir"]);
        resolve(&mut paths.data_dir, ["config_paths", "data_dir"]);
        resolve(&mut paths.simulation_path, ["config_paths", "simulation_path"]);
        resolve(&mut paths.hub_dir, ["config_paths", "hub_dir"]);
        resolve(&mut paths.index_path, ["config_paths", "index_path"]);
        resolve(&mut paths.notification_dir, ["config_paths", "notification_dir"]);
        resolve(&mut paths.pattern_dir, ["config_paths", "pattern_dir"]);
        resolve(&mut paths.plugin_dir, ["config_paths", "plugin_dir"]);
        let mut agent = written.crowdsec_service;
        if let Some(agent) = &mut agent {
            resolve(&mut agent.acquisition_path, ["crowdsec_service", "acquisition_path"]);
            resolve(&mut agent.acquisition_dir, ["crowdsec_service", "acquisition_dir"]);
            resolve(&mut agent.console_context_path, ["crowdsec_service", "console_context_path"]);
            let length = &mut agent.console_context_value_length;
            if *length == 0 || *length > MAX_CONTEXT_VALUE {
                *length = MAX_CONTEXT_VALUE;
            }
        }
        let mut api = written.api;
        if let Some(client) = &mut api.client {
            relative_to(folder, &mut client.credentials_path);
        }
        let mut database = written.db_config;
        if let Some(database) = &mut database {
            let in_memory = database.db_path.as_deref() == Some(Path::new(":memory:"));
            if database.kind == DatabaseKind::Sqlite && !in_memory {
                resolve(&mut database.db_path, ["db_config", "db_path"]);
            }
            if database.decision_bulk_size == 0 {
                database.decision_bulk_size = 1000;
            }
            database.decision_bulk_size = database.decision_bulk_size.min(MAX_BULK);
            if database.max_open_conns == 0 {
                database.max_open_conns = 100;
            }
        }
        let Some(data_dir) = paths.data_dir.take() else {
            let message = "please provide a data directory with the 'data_dir' directive in the \
                           'config_paths' section";
            let spot = root.spot_of(&["config_paths"]);
            return Err(spot.complain(codes::MISSING_KEY, message, None).into());
        };
        let config_dir = paths.config_dir.take().unwrap_or_else(|| folder.to_owned());
        if let Some(server) = &mut api.server {
            fill_server(server, folder, &config_dir);
        }
        let mut common = written.common;
        let defaults = Common::default();
        for (value, default) in [
            (&mut common.log_max_size, defaults.log_max_size),
            (&mut common.log_max_age, defaults.log_max_age),
            (&mut common.log_max_files, defaults.log_max_files),
        ] {
            if *value == 0 {
                *value = default;
            }
        }
        without_effect(root, &mut warnings);
        let prometheus = written.prometheus.unwrap_or_default();
        let mut commands = written.cscli;
        commands.prometheus_uri.get_or_insert_with(|| {
            format!("http://{}:{}/metrics", prometheus.listen_addr, prometheus.listen_port)
        });
        let mut own = written.testudo;
        relative_to(folder, &mut own.state_file);
        relative_to(folder, &mut own.dead_letters);
        let mut config = Self {
            file: None,
            common,
            paths: paths.filled(&config_dir, &data_dir),
            agent,
            commands,
            database,
            plugins: written.plugin_config,
            api,
            prometheus,
            own,
            token_secret: None,
            warnings,
            document,
        };
        config.fill_own();
        Ok(config)
    }

    fn fill_own(&mut self) {
        let data_dir = &self.paths.data_dir;
        self.own.state_file.get_or_insert_with(|| data_dir.join("testudo.state"));
        self.own.dead_letters.get_or_insert_with(|| data_dir.join("dead-letters.jsonl"));
    }
}

fn fill_server(server: &mut ApiServer, folder: &Path, config_dir: &Path) {
    server.listen_uri = server.listen_uri.take().filter(|uri| !uri.is_empty());
    relative_to(folder, &mut server.listen_socket);
    relative_to(folder, &mut server.profiles_path);
    relative_to(folder, &mut server.console_path);
    relative_to(folder, &mut server.capi_whitelists_path);
    server.console_path.get_or_insert_with(|| config_dir.join("console.yaml"));
    if let Some(tls) = &mut server.tls {
        for path in [&mut tls.cert_file, &mut tls.key_file, &mut tls.ca_cert_path, &mut tls.crl_path] {
            relative_to(folder, path);
        }
    }
    if let Some(online) = &mut server.online_client {
        relative_to(folder, &mut online.credentials_path);
    }
    if server.use_forwarded_for_headers && server.trusted_proxies.is_none() {
        server.trusted_proxies = Prefix::parse("0.0.0.0/0").map(|all| vec![all]);
    }
}

fn relative_to(folder: &Path, path: &mut Option<PathBuf>) {
    *path = path.take().filter(|path| !path.as_os_str().is_empty()).map(|path| folder.join(path));
}

/// Keys that are accepted and do nothing, with what does it instead.
const WITHOUT_EFFECT: &[(&[&str], Option<&str>)] = &[
    (&["common", "pid_dir"], None),
    (&["crowdsec_service", "state_input_file"], Some("`testudo.state_file` is kept over a restart")),
    (&["crowdsec_service", "state_output_dir"], Some("`testudo.state_file` is kept over a restart")),
    (&["api", "server", "capi_whitelists_path"], Some("use allowlists")),
];

fn without_effect(root: &crate::tree::Node, warnings: &mut Vec<Diagnostic>) {
    for (keys, instead) in WITHOUT_EFFECT {
        let mut node = Some(root);
        for key in *keys {
            node = node.and_then(|node| node.get(key));
        }
        if node.is_some() {
            let message = format!("`{}` is accepted and has no effect", keys.join("."));
            let hint = instead.map_or_else(|| "remove it".to_owned(), str::to_owned);
            warnings.push(root.spot_of(keys).warn(codes::NO_EFFECT, message, Some(hint)));
        }
    }
}

/// Whether there is a rule file in a folder, or so many folders below.
fn holds_rules(folder: &Path, depth: u8) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        let is_rule = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        is_rule && path.is_file() || depth > 0 && path.is_dir() && holds_rules(&path, depth - 1)
    })
}
