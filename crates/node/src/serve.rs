//! The API part: the database, the service over it, its sockets, and what has to be done now and then.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use testudo_api::{
    ClientVerification as ApiVerification, Clock, Config as ApiConfig, Listen, LocationError, Service,
    StartError, Tls, TlsConfig, TlsError, location, prepare_label,
};
use testudo_config::{ClientVerification, Config, Flush};
use testudo_decide::Profiles;
use testudo_event::Prefix;
use testudo_store::{FlushPolicy, Location, Store, StoreError, StoreOptions, Watch, WatchNews};
use tokio::task::spawn_blocking;

use crate::lists::{Following, Lists};
use crate::steady::Steady;

/// How long decisions that have ended are kept: clients that were away for longer begin anew.
const KEEP_ENDED: Duration = Duration::from_hours(7 * 24);

/// How often what is old goes.
const FLUSH_EVERY: Duration = Duration::from_mins(1);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration does not say how.
    #[error("{0}")]
    Config(String),
    /// The configuration does not lead to a database.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The database cannot be used.
    #[error("{source}; {}", source.hint())]
    Store {
        /// Why.
        #[from]
        source: StoreError,
    },
    /// There is no folder for the database.
    #[error("cannot make the folder {}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The service cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread can be started.
    #[error("cannot start a thread that follows the database: {0}")]
    Thread(std::io::Error),
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn flush_policy(flush: &Flush) -> FlushPolicy {
    FlushPolicy {
        alerts_most: flush.max_items.and_then(|most| u64::try_from(most).ok()),
        alerts_age_ms: flush.max_age.map(millis),
        decisions_age_ms: Some(millis(KEEP_ENDED)),
        metrics_age_ms: Some(millis(flush.metrics_max_age)),
        key_bouncers_age_ms: flush.bouncers_autodelete.api_key.map(millis),
        tls_bouncers_age_ms: flush.bouncers_autodelete.cert.map(millis),
        password_machines_age_ms: flush.agents_autodelete.login_password.map(millis),
        tls_machines_age_ms: flush.agents_autodelete.cert.map(millis),
    }
}

/// Options for a store with decisions as the API writes them.
pub(crate) fn store_options(config: &Config) -> Result<StoreOptions, ServeError> {
    let missing = || ServeError::Config("no database configuration provided".to_owned());
    let location = location(config.database.as_ref().ok_or_else(missing)?)?;
    Ok(StoreOptions { location, keep_ms: millis(KEEP_ENDED), prepare: prepare_label })
}

/// The addresses of `host:port`.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, ServeError> {
    // As Go: without a host, all of them.
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    let bad = |why: String| ServeError::Config(format!("api.server.listen_uri: `{text}`: {why}"));
    let found: Vec<SocketAddr> =
        full.to_socket_addrs().map_err(|error| bad(error.to_string()))?.take(1).collect();
    if found.is_empty() { Err(bad("it has no address".to_owned())) } else { Ok(found) }
}

/// Where the API listens.
pub(crate) fn listeners(config: &Config) -> Result<Vec<Listen>, ServeError> {
    let server = config.api.server.as_ref();
    let mut listen = Vec::new();
    if let Some(uri) = server.and_then(|server| server.listen_uri.as_deref()) {
        listen.extend(addresses(uri)?.into_iter().map(Listen::Tcp));
    }
    if let Some(socket) = server.and_then(|server| server.listen_socket.clone()) {
        listen.push(Listen::Unix(socket));
    }
    if listen.is_empty() {
        return Err(ServeError::Config("no listen_uri or listen_socket specified".to_owned()));
    }
    Ok(listen)
}

/// How the service is run.
fn api_config(config: &Config) -> ApiConfig {
    let Some(server) = &config.api.server else { return ApiConfig::default() };
    let everyone_v4 = || Prefix::new(IpAddr::from([0, 0, 0, 0]), 0).into_iter().collect();
    let proxies =
        server.trusted_proxies.clone().or_else(|| server.use_forwarded_for_headers.then(everyone_v4));
    let tls = server.tls.clone().unwrap_or_default();
    let auto = server.auto_registration.as_ref().filter(|auto| auto.enabled);
    ApiConfig {
        trusted_proxies: proxies,
        trusted_ips: server.trusted_ips.clone(),
        local_registration_only: server.disable_remote_lapi_registration,
        auto_registration: auto.map(|auto| testudo_api::AutoRegistration {
            token: auto.token.expose().to_owned(),
            ranges: auto.allowed_ranges.clone(),
        }),
        agents_allowed_ou: tls.agents_allowed_ou,
        bouncers_allowed_ou: tls.bouncers_allowed_ou,
        token_secret: config.token_secret.as_ref().map(|secret| secret.expose().as_bytes().to_vec()),
        compress_for: config.own.compress_for.clone(),
        dead_letters: config.own.dead_letters.clone(),
    }
}

/// TLS as the configuration wants it; none where it does not.
fn tls(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    let Some(tls) = config.api.server.as_ref().and_then(|server| server.tls.as_ref()) else {
        return Ok(None);
    };
    // Both are there or none: the configuration was checked.
    let (Some(cert_file), Some(key_file)) = (tls.cert_file.clone(), tls.key_file.clone()) else {
        return Ok(None);
    };
    Tls::new(TlsConfig {
        cert_file,
        key_file,
        client_verification: match tls.client_verification {
            ClientVerification::NoClientCert => ApiVerification::None,
            ClientVerification::RequestClientCert => ApiVerification::Request,
            ClientVerification::RequireAnyClientCert => ApiVerification::RequireAny,
            ClientVerification::VerifyClientCertIfGiven => ApiVerification::VerifyIfGiven,
            ClientVerification::RequireAndVerifyClientCert => ApiVerification::RequireAndVerify,
        },
        ca_cert_path: tls.ca_cert_path.clone(),
        crl_path: tls.crl_path.clone(),
        cache_expiration: Some(tls.cache_expiration),
    })
    .map(Some)
}

/// The clock of the API.
fn clock_of(steady: &Arc<Steady>) -> Clock {
    let steady = Arc::clone(steady);
    Arc::new(move || steady.now_ms())
}

/// The API before it listens.
pub(crate) struct ApiPart {
    pub(crate) service: Arc<Service>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// Its time.
    pub(crate) steady: Arc<Steady>,
    store: Arc<Store>,
    flush: Option<FlushPolicy>,
}

impl ApiPart {
    /// Opens the database, and makes the service over it. Waits for the disk.
    pub(crate) fn open(config: &Config, profiles: Profiles) -> Result<ApiPart, ServeError> {
        let options = store_options(config)?;
        if let Location::Sqlite { path, .. } = &options.location
            && let Some(folder) = path.parent()
        {
            std::fs::create_dir_all(folder)
                .map_err(|source| ServeError::Folder { folder: folder.to_owned(), source })?;
        }
        let steady = Arc::new(Steady::start(&config.paths.data_dir));
        let store = Arc::new(Store::open(options, steady.now_ms())?);
        if steady.ahead_ms() != 0 && store.index(steady.now_ms()).active_counts().next().is_none() {
            steady.adopt(&config.paths.data_dir);
        }
        if let Some((from, taken)) = store.taken_over() {
            let (machines, bouncers, decisions) = (taken.machines, taken.bouncers, taken.decisions);
            let from = from.display();
            tracing::info!(%from, machines, bouncers, decisions, "an installation's database was taken over");
        }
        let service = Service::new(Arc::clone(&store), api_config(config), profiles, clock_of(&steady))?;
        let flush = config.database.as_ref().and_then(|database| database.flush.as_ref()).map(flush_policy);
        Ok(ApiPart { service, tls: tls(config)?, steady, store, flush })
    }

    /// Follows what other nodes and commands write, until it is dropped.
    pub(crate) fn follow(&self) -> Result<Watch, ServeError> {
        let report = |news| match news {
            WatchNews::Lost(error) => tracing::error!(
                %error,
                hint = error.hint(),
                "the database cannot be read: what is known is still served"
            ),
            WatchNews::Back => tracing::info!("the database is back"),
        };
        let steady = Arc::clone(&self.steady);
        self.store.watch(move || steady.now_ms(), report).map_err(ServeError::Thread)
    }

    /// Makes who is listed known, before anybody asks.
    pub(crate) fn ask(&self, lists: &Lists, asked: bool) {
        self.service.set_listings(Arc::clone(lists.listed()) as _);
        lists.set_asked(asked, &self.store, self.steady.now_ms());
    }

    /// Keeps who is listed up to date, until what is returned is dropped.
    pub(crate) fn follow_lists(&self, lists: &Arc<Lists>) -> Result<Following, ServeError> {
        let steady = Arc::clone(&self.steady);
        lists.follow(&self.store, move || steady.now_ms()).map_err(ServeError::Thread)
    }

    /// Lets go of what is old, now and then, as long as it is polled.
    pub(crate) fn tend(&self) -> impl Future<Output = ()> + Send + 'static {
        let (store, policy) = (Arc::clone(&self.store), self.flush.clone());
        let steady = Arc::clone(&self.steady);
        async move {
            let Some(policy) = policy else { return };
            let mut old = tokio::time::interval(FLUSH_EVERY);
            old.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                old.tick().await;
                let (store, policy, now_ms) = (Arc::clone(&store), policy.clone(), steady.now_ms());
                match spawn_blocking(move || store.flush(&policy, now_ms)).await {
                    Ok(Ok(flushed)) if flushed.alerts > 0 => {
                        tracing::info!(alerts = flushed.alerts, "old alerts were let go of");
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "what is old cannot be let go of yet"),
                    Err(error) => tracing::error!(%error, "letting go of what is old failed"),
                    Ok(Ok(_)) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_go_reads_them() {
        let text = |uri: &str| addresses(uri).map(|found| found[0].to_string()).map_err(|e| e.to_string());
        assert_eq!(text("127.0.0.1:8080").as_deref(), Ok("127.0.0.1:8080"));
        assert_eq!(text("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert_eq!(text(":8080").as_deref(), Ok("[::]:8080"));
        let error = text("localhost").expect_err("it has no port");
        assert!(error.starts_with("api.server.listen_uri: `localhost`: "), "{error}");
    }
}
