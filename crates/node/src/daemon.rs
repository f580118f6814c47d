//! The life of the daemon: start, reload, stop.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::json;
use testudo_api::{DeadLetters, Listen, ListenError, Server, Service, Tls};
use testudo_client::{Client, Login, Settings, SettingsError, TlsFiles};
use testudo_config::{Config, Credentials, LogFormat, LogLevel, LogMedia, Protect};
use testudo_intake::{Source, config::Acquisition};
use testudo_rules::{Diagnostic, Severity};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use crate::agent::{Agent, AgentError, NameMemory, Policy, Resolve, Setup, Target};
use crate::lists::Lists;
use crate::lock::{LockError, lock};
use crate::logs::{self, Format, LogError, LogSettings, Media, Rotation};
use crate::metrics::{self, Measured};
use crate::plan::{AgentPlan, Options, Plan, PlanError};
use crate::serve::{ApiPart, ServeError, listeners};
use crate::signals::{self, Signals, Stop};
use crate::{control, credentials, doors, protect};

/// How long the API may take to end.
const API_END: Duration = Duration::from_secs(8);

/// Why the daemon did not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// What it is to do.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The API.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its sockets.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The agent part.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Another daemon has the data.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The agent part failed while it ran.
    #[error(
        "logs are not read any more, since the part that does so has failed: the log says where; start it again"
    )]
    AgentFailed,
    /// The API part ended by itself.
    #[error("the API failed and does not answer any more: the lines before this one say why")]
    ApiFailed,
    /// How the API elsewhere is reached.
    #[error("the local API cannot be asked: {0}")]
    Client(#[from] SettingsError),
    /// The system.
    #[error("cannot {attempt}: {source}")]
    Io {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        source: io::Error,
    },
}

pub(crate) fn io_error(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> NodeError {
    let attempt = attempt.into();
    move |source| NodeError::Io { attempt, source }
}

/// What a test of the configuration found.
#[derive(Debug, Default)]
pub struct Tested {
    /// What is wrong with documents that are left out, and what may be wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl Tested {
    /// Whether a document was left out.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

/// Tests a configuration as far as it goes without running it: everything is read and compiled, the
/// database is opened and brought to its newest schema.
///
/// # Errors
/// The daemon would not start.
pub fn test(options: &Options) -> Result<Tested, NodeError> {
    let plan = Plan::make(options, &Arc::default(), &Arc::default())?;
    if let Some(api) = plan.api {
        listeners(&plan.config)?;
        ApiPart::open(&plan.config, api.profiles)?;
    }
    Ok(Tested { diagnostics: plan.diagnostics })
}

fn log_settings(config: &Config, level: Option<tracing::Level>) -> LogSettings {
    let common = &config.common;
    let configured = match common.log_level {
        LogLevel::Panic | LogLevel::Fatal | LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warning => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let rotation = Rotation {
        bytes_most: u64::from(common.log_max_size) << 20,
        files_most: common.log_max_files,
        age_most: Duration::from_secs(u64::from(common.log_max_age) * 86_400),
        compress: common.compress_logs,
    };
    LogSettings {
        media: match common.log_media {
            LogMedia::Stdout => Media::Stdout,
            LogMedia::File => Media::Files(common.log_dir.clone(), rotation),
            LogMedia::Syslog => Media::Syslog,
        },
        format: match common.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
        level: level.unwrap_or(configured),
    }
}

fn tell_diagnostics(diagnostics: &[Diagnostic]) {
    for found in diagnostics {
        let place = &found.place;
        let at = format!("{}:{}:{}", place.file.path, place.line, place.column);
        match found.severity {
            Severity::Error => {
                tracing::error!(
                    code = found.code,
                    hint = found.hint.as_deref().unwrap_or(""),
                    "{at}: {}",
                    found.message
                );
            }
            Severity::Warning => {
                tracing::warn!(
                    code = found.code,
                    hint = found.hint.as_deref().unwrap_or(""),
                    "{at}: {}",
                    found.message
                );
            }
        }
    }
}

/// The settings of a client of the local API, as the machine of these credentials.
pub fn client_settings(credentials: &Credentials, config: &Config) -> Settings {
    let login = if credentials.cert_path.is_some() {
        Login::Certificate
    } else {
        Login::Password {
            machine: credentials.login.clone(),
            password: credentials.password.expose().to_owned(),
        }
    };
    let mut settings = Settings::new(credentials.url.clone(), login);
    settings.tls = TlsFiles {
        ca: credentials.ca_cert_path.clone(),
        certificate: credentials.cert_path.clone(),
        key: credentials.key_path.clone(),
        insecure_skip_verify: config.api.client.as_ref().is_some_and(|client| client.insecure_skip_verify),
    };
    settings
}

fn sources(acquisitions: &[Acquisition]) -> Vec<Arc<dyn Source>> {
    acquisitions.iter().map(Acquisition::source).collect()
}

/// What tells sources apart: when it does not change over a reload, they go on undisturbed.
fn shape(acquisitions: &[Acquisition]) -> String {
    let all = acquisitions.iter().map(|one| format!("{:?} {:?}", one.settings, one.spec));
    all.collect::<Vec<_>>().join("\n")
}

/// What a new configuration changes that only a restart takes.
fn fixed_parts(before: &Config, after: &Config) -> Vec<&'static str> {
    // Profiles and certificates are read anew.
    let server = |config: &Config| {
        let mut server = config.api.server.clone().unwrap_or_default();
        server.profiles_path = None;
        server
    };
    let own = |config: &Config| {
        let mut own = config.own.clone();
        (own.own_rules, own.bucket_memory, own.protect) = (None, None, Protect::default());
        own
    };
    let parts = [
        ("api.server", server(before) != server(after)),
        ("api.client", before.api.client != after.api.client),
        ("db_config", before.database != after.database),
        ("prometheus", before.prometheus != after.prometheus),
        ("config_paths.data_dir", before.paths.data_dir != after.paths.data_dir),
        ("testudo", own(before) != own(after)),
    ];
    parts.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// Tells when it goes: a task that ends, however it does.
struct EndTells(Arc<Notify>);

impl Drop for EndTells {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Everything that runs.
pub(crate) struct Node {
    options: Options,
    version: &'static str,
    names: Arc<NameMemory>,
    lists: Arc<Lists>,
    /// The configuration of the start, and that in force.
    first: Arc<Config>,
    config: RwLock<Arc<Config>>,
    agent: Option<Agent>,
    /// What the sources were when they were last started.
    shape: Mutex<String>,
    service: Option<Arc<Service>>,
    /// Where the API listens.
    listen: Vec<Listen>,
    /// Is told when the API does not answer any more.
    api_ended: Arc<Notify>,
    tls: Option<Arc<Tls>>,
    /// What the last reload said, when it was refused.
    refused: Mutex<Option<String>>,
    reloading: tokio::sync::Mutex<()>,
    started: Instant,
    tasks: Mutex<JoinSet<()>>,
    protecting: Mutex<Option<JoinHandle<()>>>,
}

impl Node {
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The agent part, if it runs.
    pub(crate) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// Tells when everything that was to be read once is read; never, where there is nothing of the kind.
    pub(crate) fn read_once(&self) -> Arc<Notify> {
        self.agent.as_ref().map(|agent| Arc::clone(&agent.ended)).unwrap_or_default()
    }

    /// Waits until the agent part has failed.
    pub(crate) async fn agent_failed(&self) {
        match &self.agent {
            Some(agent) => agent.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the API does not answer any more.
    pub(crate) async fn api_failed(&self) {
        self.api_ended.notified().await;
    }

    /// Keeps protecting addresses, as the configuration says now.
    fn protect(&self) {
        let policy = self.agent.as_ref().map(|agent| Arc::clone(&agent.policy));
        let task = tokio::spawn(protect::keep(self.config(), policy, self.service.clone()));
        let before = self.protecting.lock().unwrap_or_else(PoisonError::into_inner).replace(task);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Takes the configuration anew. One that is wrong changes nothing.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<String, String> {
        // Two at a time could end with the rules of one and the sources of the other.
        let _alone = self.reloading.lock().await;
        let begun = Instant::now();
        let (options, names) = (self.options.clone(), Arc::clone(&self.names));
        let lists = Arc::clone(&self.lists);
        let planned = spawn_blocking(move || Plan::make(&options, &names, lists.listed())).await;
        let outcome = match planned {
            Ok(Ok(plan)) => self.take(plan).await,
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(format!("reading the configuration failed: {error}")),
        };
        let counts = self.agent.as_ref().map(|agent| &agent.counts);
        match &outcome {
            Ok(_) => {
                if let Some(counts) = counts {
                    counts.reloads.add(1);
                }
                tracing::info!(millis = begun.elapsed().as_millis() as u64, "Reload is finished");
            }
            Err(error) => {
                if let Some(counts) = counts {
                    counts.refused_reloads.add(1);
                }
                tracing::error!("the configuration is not taken, the old one stays in force: {error}");
            }
        }
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = outcome.clone().err();
        outcome
    }

    async fn take(self: &Arc<Self>, plan: Plan) -> Result<String, String> {
        if plan.agent.is_some() != self.agent.is_some() || plan.api.is_some() != self.service.is_some() {
            return Err("which parts run can only be changed by a restart".to_owned());
        }
        // What may fail comes first.
        if let Some(tls) = &self.tls {
            tls.reload().map_err(|error| error.to_string())?;
        }
        if let Err(error) = logs::begin(&log_settings(&plan.config, self.options.log_level)) {
            tracing::error!("{error}; the log stays where it is");
        }
        tell_diagnostics(&plan.diagnostics);
        let fixed = fixed_parts(&self.first, &plan.config);
        if !fixed.is_empty() {
            tracing::warn!("{} changed: that takes effect after a restart", fixed.join(", "));
        }
        let asked = plan.asks_lists();
        match &self.service {
            Some(service) => {
                let (lists, service) = (Arc::clone(&self.lists), Arc::clone(service));
                let now_ms = service.now_ms();
                let read = spawn_blocking(move || lists.set_asked(asked, service.store(), now_ms)).await;
                read.map_err(|error| format!("reading the lists failed: {error}"))?;
            }
            None => tell_no_lists(asked),
        }
        if let (Some(service), Some(api)) = (&self.service, plan.api) {
            service.set_profiles(api.profiles);
        }
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan.config);
        if let (Some(agent), Some(planned)) = (&self.agent, plan.agent) {
            agent.policy.set_simulation(planned.simulation);
            let new = shape(&planned.sources);
            let same = std::mem::replace(
                &mut *self.shape.lock().unwrap_or_else(PoisonError::into_inner),
                new.clone(),
            ) == new;
            let others = (!same).then(|| sources(&planned.sources));
            agent.reload(planned.engine, others).await;
        }
        self.protect();
        let mut said = vec!["the configuration is in force".to_owned()];
        if !plan.diagnostics.is_empty() {
            said.push(format!("{} documents or keys deserve a look at the log", plan.diagnostics.len()));
        }
        if !fixed.is_empty() {
            said.push(format!("a restart is needed for {}", fixed.join(", ")));
        }
        Ok(said.join("; "))
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let config = self.config();
        json!({
            "schema": 1,
            "version": self.version,
            "pid": std::process::id(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "config": config.file.as_ref().map(|path| path.display().to_string()),
            "reload_refused": refused,
            "agent": self.agent.as_ref().map(control::agent_status),
            "api": self.service.as_ref().map(|_| json!({
                "listen": self.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })),
        })
    }

    pub(crate) fn metrics(&self) -> String {
        metrics::page(&Measured {
            version: self.version,
            level: self.config().prometheus.level,
            agent: self.agent.as_ref(),
            api: self.service.as_deref(),
        })
    }
}

/// Says that nobody is listed here, where rules ask.
fn tell_no_lists(asked: bool) {
    if asked {
        tracing::info!(
            "rules ask who is listed: nobody is here, since decisions are known where the API is; its profiles can ask"
        );
    }
}

/// Runs until a signal says that it is enough. Must not be called within a runtime.
///
/// # Errors
/// Something that is needed from the start cannot be had.
pub fn run(options: Options, version: &'static str) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io_error("start the runtime"))?;
    // Before anything that takes time: who is not listened to yet would end the process.
    let signals = runtime.block_on(async { Signals::new() }).map_err(io_error("listen to signals"))?;
    let names = Arc::new(NameMemory::default());
    let lists = Arc::new(Lists::default());
    let plan = Plan::make(&options, &names, lists.listed())?;
    logs::begin(&log_settings(&plan.config, options.log_level))?;
    tracing::info!(version, "Testudo starts");
    tell_diagnostics(&plan.diagnostics);
    let outcome = live(&runtime, signals, options, version, (names, lists), plan);
    // What waits for a disk that does not answer must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match &outcome {
        Ok(()) => tracing::info!("Testudo has stopped"),
        Err(error) => tracing::error!("{error}"),
    }
    outcome
}

fn live(
    runtime: &Runtime,
    mut signals: Signals,
    options: Options,
    version: &'static str,
    (names, lists): (Arc<NameMemory>, Arc<Lists>),
    plan: Plan,
) -> Result<(), NodeError> {
    std::fs::create_dir_all(&plan.config.paths.data_dir)
        .map_err(io_error(format!("make the folder {}", plan.config.paths.data_dir.display())))?;
    let asked = plan.asks_lists();
    let Plan { mut config, agent, api, .. } = plan;
    // What is read once has nothing to go on from, and must not touch what the daemon goes on from: it may run beside.
    let once = options
        .once
        .as_ref()
        .map(|_| config.paths.data_dir.join(format!("once-{}.state", std::process::id())));
    if once.is_some() {
        config.own.state_file.clone_from(&once);
    }
    let _lock = if once.is_none() { Some(lock(&config.paths.data_dir)?) } else { None };
    let part = api.map(|api| ApiPart::open(&config, api.profiles)).transpose()?;
    match &part {
        Some(part) => part.ask(&lists, asked),
        None => tell_no_lists(asked),
    }
    runtime.block_on(async move {
        let (stop_api, api_stops) = oneshot::channel::<()>();
        let mut serving = None;
        let mut listen: Vec<Listen> = Vec::new();
        let api_ended = Arc::new(Notify::new());
        if let Some(part) = &part {
            listen = listeners(&config)?;
            let mut server = Server::bind(Arc::clone(&part.service), &listen)?;
            if let Some(tls) = &part.tls {
                server = server.with_tls(Arc::clone(tls));
            }
            for place in &listen {
                tracing::info!(%place, "the API listens");
            }
            let tells = EndTells(Arc::clone(&api_ended));
            serving = Some(tokio::spawn(async move {
                let _tells = tells;
                server
                    .run(async {
                        // An error is the end of the process as well.
                        let _ = api_stops.await;
                    })
                    .await;
            }));
        }
        let service = part.as_ref().map(|part| Arc::clone(&part.service));
        if let Some(service) = &service {
            let (config, service) = (config.clone(), Arc::clone(service));
            let made = spawn_blocking(move || credentials::ensure(&config, &service)).await;
            match made {
                Ok(Ok(true)) => tracing::info!("credentials for the commands on this machine were made"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "no credentials for the commands can be made"),
                Err(error) => tracing::error!(%error, "making credentials failed"),
            }
        }
        let first = config.agent_shape(agent.as_ref());
        let asked = options.rules.resolve.clone().map(|resolve| (Arc::clone(&names), resolve));
        let agent =
            agent.map(|agent| start_agent(&config, agent, part.as_ref(), asked, version)).transpose()?;
        let config = Arc::new(config);
        let node = Arc::new(Node {
            options,
            version,
            names,
            lists: Arc::clone(&lists),
            first: Arc::clone(&config),
            config: RwLock::new(config),
            agent,
            shape: Mutex::new(first),
            service,
            listen,
            api_ended,
            tls: part.as_ref().and_then(|part| part.tls.clone()),
            refused: Mutex::new(None),
            reloading: tokio::sync::Mutex::default(),
            started: Instant::now(),
            tasks: Mutex::new(JoinSet::new()),
            protecting: Mutex::new(None),
        });
        node.protect();
        // Others may write from here on, and are followed until the end.
        let _following = part.as_ref().map(ApiPart::follow).transpose()?;
        let _listing = part.as_ref().map(|part| part.follow_lists(&lists)).transpose()?;
        if let Some(part) = &part {
            node.spawn(part.tend());
            let (steady, data_dir) = (Arc::clone(&part.steady), node.config().paths.data_dir.clone());
            node.spawn(async move { steady.watch(&data_dir).await });
        }
        // The doors are those of the daemon.
        if once.is_none() {
            doors::open(&node).await?;
        }
        signals::ready();
        let stop = signals.until_stop(&node).await;
        signals::stopping();
        match stop {
            Stop::Asked => tracing::info!("shutting down"),
            Stop::AgentFailed => tracing::error!("logs are not read any more, shutting down"),
            Stop::ApiFailed => tracing::error!("the API does not answer any more, shutting down"),
        }
        let Some(mut node) = end_tasks(node).await else {
            return failed(stop).map_or(Ok(()), Err);
        };
        // First the lines, then what answers for them.
        let stopped = match node.agent.take() {
            Some(agent) => agent.stop().await,
            None => Ok(()),
        };
        let _ = stop_api.send(());
        if let Some(serving) = serving
            && tokio::time::timeout(API_END, serving).await.is_err()
        {
            tracing::warn!("the API did not end in time");
        }
        match &once {
            Some(state) => crate::agent::forget_state(state),
            // It may not be there.
            None => drop(std::fs::remove_file(control::control_path(&node.config().paths.data_dir))),
        }
        failed(stop).map_or(stopped.map_err(NodeError::from), Err)
    })
}

/// The error that an end is, if it is one.
fn failed(stop: Stop) -> Option<NodeError> {
    match stop {
        Stop::Asked => None,
        Stop::AgentFailed => Some(NodeError::AgentFailed),
        Stop::ApiFailed => Some(NodeError::ApiFailed),
    }
}

/// Ends what runs beside; nobody else holds the node then.
async fn end_tasks(node: Arc<Node>) -> Option<Node> {
    let mut tasks = std::mem::take(&mut *node.tasks.lock().unwrap_or_else(PoisonError::into_inner));
    tasks.shutdown().await;
    let protecting = node.protecting.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(protecting) = protecting {
        protecting.abort();
    }
    let mut node = node;
    // A page that is being made ends soon.
    for _ in 0..200 {
        match Arc::try_unwrap(node) {
            Ok(alone) => return Some(alone),
            Err(shared) => node = shared,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::error!("something still uses the daemon: the next start goes on from the last checkpoint");
    None
}

trait AgentShape {
    fn agent_shape(&self, agent: Option<&AgentPlan>) -> String;
}

impl AgentShape for Config {
    fn agent_shape(&self, agent: Option<&AgentPlan>) -> String {
        agent.map(|agent| shape(&agent.sources)).unwrap_or_default()
    }
}

fn start_agent(
    config: &Config,
    plan: AgentPlan,
    api: Option<&ApiPart>,
    names: Option<(Arc<NameMemory>, Resolve)>,
    version: &'static str,
) -> Result<Agent, NodeError> {
    let AgentPlan { engine, items, sources: acquisitions, simulation, credentials, machine } = plan;
    let target = match (credentials, api) {
        (Some(credentials), _) => {
            Target::Remote(Arc::new(Client::new(client_settings(&credentials, config))?))
        }
        (None, Some(api)) => {
            let (service, steady) = (Arc::clone(&api.service), Arc::clone(&api.steady));
            service
                .machine_ready(&machine, steady.now_ms())
                .map_err(|source| ServeError::Store { source })?;
            Target::Local { service, machine: machine.clone(), steady }
        }
        // The plan has seen to it.
        (None, None) => return Err(PlanError::NoSource.into()),
    };
    let policy = Arc::new(Policy::default());
    policy.set_simulation(simulation);
    policy.set_protected(protect::now(config));
    let dead = config.own.dead_letters.clone();
    let setup = Setup {
        engine,
        sources: sources(&acquisitions),
        policy,
        target,
        dead: Arc::new(DeadLetters::new(dead)),
        machine,
        items,
        version,
        names,
    };
    Ok(Agent::start(config, setup)?)
}
