//! What a configuration comes down to: read, checked and compiled, before anything runs. A start, a reload
//! and a test of the configuration all begin here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use testudo_config::{Config, ConfigError, Credentials, Roles, environment};
use testudo_decide::{Profiles, default_profiles};
use testudo_engine::{Engine, Listed};
use testudo_intake::Transform;
use testudo_intake::config::{Acquisition, DsnError, LoadError, one_shot_labels, parse_dsn};
use testudo_rules::plan::Simulation;
use testudo_rules::{Diagnostic, Severity, SourceFile, load_profiles};

use crate::agent::NameMemory;
use crate::rules::{self, Items, RuleSources};
use crate::serve::ServeError;

/// What is to be run.
#[derive(Clone)]
pub struct Options {
    /// The configuration file; none: [`Options::data_dir`] holds everything.
    pub config: Option<PathBuf>,
    /// The folder of a run without a configuration file.
    pub data_dir: PathBuf,
    /// `host:port` on which the API listens, where no file says it.
    pub listen: Option<String>,
    /// Log files to follow with their types, beside what the configuration names.
    pub files: Vec<(PathBuf, String)>,
    /// Read this once and end, in place of everything that follows logs.
    pub once: Option<Once>,
    /// No logs are read.
    pub no_agent: bool,
    /// No API is served.
    pub no_api: bool,
    /// From which level on is logged, whatever the configuration says.
    pub log_level: Option<tracing::Level>,
    /// The rules.
    pub rules: RuleSources,
}

/// Something that is read once.
#[derive(Clone, Debug)]
pub struct Once {
    /// `file://…`, `journalctl://…`, `docker://…` with parameters.
    pub dsn: String,
    /// The label `type`.
    pub kind: String,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// An expression that makes other lines of each.
    pub transform: Option<String>,
}

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Files with sources.
    #[error(transparent)]
    Sources(#[from] LoadError),
    /// The API.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// What is to be read once.
    #[error(transparent)]
    Dsn(#[from] DsnError),
    /// The expression for it.
    #[error("the transformation does not compile: {0}")]
    Transform(String),
    /// No source would be read.
    #[error("no datasource enabled")]
    NoSource,
    /// Documents that cannot be used.
    #[error("{0}")]
    Documents(String),
}

/// Everything about a run.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) agent: Option<AgentPlan>,
    pub(crate) api: Option<ApiPlan>,
    /// What is wrong and does no harm to the rest.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The part that reads logs.
pub(crate) struct AgentPlan {
    pub(crate) engine: Arc<Engine>,
    pub(crate) items: Items,
    pub(crate) sources: Vec<Acquisition>,
    pub(crate) simulation: Simulation,
    /// How the API is reached; none: it is in this process.
    pub(crate) credentials: Option<Credentials>,
    /// Our name at the API.
    pub(crate) machine: String,
}

/// The part that serves the API.
pub(crate) struct ApiPlan {
    pub(crate) profiles: Profiles,
}

impl Plan {
    /// Whether a rule or a profile asks who is listed.
    pub(crate) fn asks_lists(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.engine.asks_lists())
            || self.api.as_ref().is_some_and(|api| api.profiles.ask_lists())
    }
}

/// The configuration alone.
pub fn configuration(options: &Options) -> Result<Config, ConfigError> {
    match &options.config {
        Some(path) => Config::load(path, &environment),
        None => Ok(Config::standalone(&options.data_dir, options.listen.as_deref())),
    }
}

impl Plan {
    /// Reads and checks everything that a run needs. Takes a second or so of processor time.
    pub(crate) fn make(
        options: &Options,
        names: &Arc<NameMemory>,
        listed: &Arc<Listed>,
    ) -> Result<Plan, PlanError> {
        let config = configuration(options)?;
        let mut diagnostics = config.warnings.clone();
        let (agent, api) = (config.reads_logs() && !options.no_agent, config.serves_api() && !options.no_api);
        config.check(Roles { agent, api })?;
        let api = if api { Some(ApiPlan { profiles: profiles(&config, &mut diagnostics)? }) } else { None };
        let agent = if agent {
            Some(AgentPlan::make(&config, options, names, listed, api.is_some(), &mut diagnostics)?)
        } else {
            None
        };
        Ok(Plan { config, agent, api, diagnostics })
    }
}

/// Loads the profiles; one that is wrong stops the start, since it would decide otherwise than meant.
fn profiles(config: &Config, diagnostics: &mut Vec<Diagnostic>) -> Result<Profiles, PlanError> {
    let mut all = Vec::new();
    for file in config.profiles()? {
        let loaded = load_profiles(file);
        let errors: Vec<&Diagnostic> =
            loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        if !errors.is_empty() {
            let texts: Vec<String> = errors.iter().map(|found| testudo_rules::render(found, false)).collect();
            return Err(PlanError::Documents(texts.join("\n")));
        }
        diagnostics.extend(loaded.diagnostics);
        all.extend(loaded.items);
    }
    let is_configured = config.api.server.as_ref().is_some_and(|server| server.profiles_path.is_some());
    if !is_configured {
        all = default_profiles();
    }
    if all.is_empty() {
        return Err(PlanError::Documents("zero profiles loaded for LAPI".to_owned()));
    }
    Ok(Profiles::new(all))
}

impl AgentPlan {
    fn make(
        config: &Config,
        options: &Options,
        names: &Arc<NameMemory>,
        listed: &Arc<Listed>,
        has_api: bool,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<AgentPlan, PlanError> {
        let sources = match &options.once {
            Some(once) => vec![once.source()?],
            None => followed(config, options, diagnostics)?,
        };
        if sources.is_empty() {
            return Err(PlanError::NoSource);
        }
        let simulation = testudo_config::load_simulation(&config.paths.simulation_path, &environment)?;
        let (credentials, machine) = api_of(config, has_api)?;
        let (engine, more, items) = rules::engine(config, &options.rules, names, listed);
        diagnostics.extend(more);
        if engine.counts().0 == 0 {
            return Err(PlanError::Documents(
                "no parser is left to run: install the collection of the service, or set \
                 `testudo.own_rules: true`"
                    .to_owned(),
            ));
        }
        Ok(AgentPlan { engine: Arc::new(engine), items, sources, simulation, credentials, machine })
    }
}

impl Once {
    fn source(&self) -> Result<Acquisition, PlanError> {
        let transform = self.transform.as_deref().map(Transform::new).transpose();
        let transform = transform.map_err(|error| PlanError::Transform(error.message))?;
        Ok(parse_dsn(&self.dsn, one_shot_labels(&self.kind, self.labels.clone()), transform)?)
    }
}

/// The sources that the configuration and the command line name.
fn followed(
    config: &Config,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Vec<Acquisition>, PlanError> {
    let section = config.agent.clone().unwrap_or_default();
    let loaded = testudo_intake::config::load(
        section.acquisition_path.as_deref(),
        section.acquisition_dir.as_deref(),
        &environment,
    )?;
    let mut sources = loaded.sources;
    diagnostics.extend(loaded.diagnostics);
    if !options.files.is_empty() {
        let named = testudo_intake::config::load_text(named_files(&options.files), &|_| None);
        sources.extend(named.sources);
        diagnostics.extend(named.diagnostics);
    }
    Ok(sources)
}

/// An acquisition file for files that were named otherwise.
fn named_files(files: &[(PathBuf, String)]) -> SourceFile {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let documents: Vec<String> = files
        .iter()
        .map(|(path, kind)| {
            let path = quoted(&path.display().to_string());
            format!("source: file\nfilenames:\n  - {path}\nlabels:\n  type: {}\n", quoted(kind))
        })
        .collect();
    SourceFile { path: "the command line".to_owned(), text: documents.join("---\n") }
}

/// How the API is reached, and our name there.
fn api_of(config: &Config, has_api: bool) -> Result<(Option<Credentials>, String), PlanError> {
    let path = config.api.client.as_ref().and_then(|client| client.credentials_path.as_deref());
    let missing = || {
        ConfigError::Unusable(
            "missing local API credentials for crowdsec agent, abort: name their file in \
             `api.client.credentials_path`; `testudo lapi register` makes one"
                .to_owned(),
        )
    };
    let credentials = match path {
        Some(path) if path.exists() => Some(Credentials::load(path, &environment)?),
        _ if has_api => None,
        _ => return Err(missing().into()),
    };
    let Some(credentials) = credentials else { return Ok((None, "localhost".to_owned())) };
    let machine =
        if credentials.login.is_empty() { "localhost".to_owned() } else { credentials.login.clone() };
    let own = has_api && is_own(config, &credentials);
    Ok((Some(credentials).filter(|_| !own), machine))
}

/// Whether a URL leads to the API in this very process.
fn is_own(config: &Config, credentials: &Credentials) -> bool {
    let Some(server) = &config.api.server else { return false };
    if credentials.is_socket() {
        return server
            .listen_socket
            .as_deref()
            .is_some_and(|path| path.as_os_str() == credentials.url.as_str());
    }
    let Some(uri) = server.listen_uri.as_deref() else { return false };
    let asked = credentials.url.split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/');
    let port = |text: &str| text.rsplit_once(':').map(|(_, port)| port.to_owned());
    let host = |text: &str| text.rsplit_once(':').map_or("", |(host, _)| host).to_owned();
    let is_here = |host: &str| matches!(host, "127.0.0.1" | "localhost" | "[::1]" | "::1");
    let anywhere = matches!(host(uri).as_str(), "" | "0.0.0.0" | "[::]");
    asked == uri || port(asked) == port(uri) && is_here(&host(asked)) && (anywhere || is_here(&host(uri)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_own_api_is_known_by_its_address() {
        let check = |listen: &str, url: &str, expected: bool| {
            let config = Config::standalone(Path::new("/data"), Some(listen));
            let credentials = Credentials { url: url.to_owned(), ..Credentials::default() };
            assert_eq!(is_own(&config, &credentials), expected, "{listen} {url}");
        };
        check("127.0.0.1:8080", "http://127.0.0.1:8080/", true);
        check("127.0.0.1:8080", "http://localhost:8080/", true);
        check("0.0.0.0:8080", "http://127.0.0.1:8080/", true);
        check(":8080", "https://localhost:8080/", true);
        check("127.0.0.1:8080", "http://127.0.0.1:8081/", false);
        check("127.0.0.1:8080", "http://192.0.2.1:8080/", false);
        check("192.0.2.1:8080", "http://192.0.2.1:8080/", true);
        check("127.0.0.1:8080", "/data/testudo.sock", true);
        check("127.0.0.1:8080", "/other.sock", false);
    }
}
