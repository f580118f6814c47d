//! `api`: the local API as server and as client, and the reputation service.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use testudo_event::net::Prefix;

use crate::value::{self, LogLevel, Secret};

/// The section `api`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// The client part.
    pub client: Option<ApiClient>,
    /// The server part; none: no local API is served.
    pub server: Option<ApiServer>,
    /// Reputation of addresses.
    pub cti: Option<Cti>,
}

/// `api.client`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiClient {
    /// The file with URL and credentials, see [`crate::Credentials`].
    pub credentials_path: Option<PathBuf>,
    /// The server's certificate is not verified.
    pub insecure_skip_verify: bool,
    /// The machine is deleted when the process ends.
    pub unregister_on_exit: bool,
}

/// `api.server`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiServer {
    /// The API is served.
    pub enable: bool,
    /// `host:port` to listen on.
    pub listen_uri: Option<String>,
    /// Unix socket to listen on.
    pub listen_socket: Option<PathBuf>,
    /// The profiles file.
    pub profiles_path: Option<PathBuf>,
    /// What is shared; filled in when it is not written.
    pub console_path: Option<PathBuf>,
    /// How much is logged; none: as `common` says.
    pub log_level: Option<LogLevel>,
    /// The same for orders from the console.
    pub papi_log_level: Option<LogLevel>,
    /// `X-Forwarded-For` and `X-Real-IP` are believed.
    pub use_forwarded_for_headers: bool,
    /// Who is believed; none: nobody.
    #[serde(deserialize_with = "value::optional_prefixes")]
    pub trusted_proxies: Option<Vec<Prefix>>,
    /// Who may delete alerts.
    #[serde(deserialize_with = "value::prefixes")]
    pub trusted_ips: Vec<Prefix>,
    /// TLS; none: plain HTTP.
    pub tls: Option<Tls>,
    /// The central API.
    pub online_client: Option<OnlineClient>,
    /// Only this machine may register new ones.
    pub disable_remote_lapi_registration: bool,
    /// Registration with a token.
    pub auto_registration: Option<AutoRegistration>,
    /// Old form of allowlists for the community's list.
    pub capi_whitelists_path: Option<PathBuf>,
    /// Usage metrics are not passed on.
    pub disable_usage_metrics_export: bool,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self {
            enable: true,
            listen_uri: None,
            listen_socket: None,
            profiles_path: None,
            console_path: None,
            log_level: None,
            papi_log_level: None,
            use_forwarded_for_headers: false,
            trusted_proxies: None,
            trusted_ips: Vec::new(),
            tls: None,
            online_client: None,
            disable_remote_lapi_registration: false,
            auto_registration: None,
            capi_whitelists_path: None,
            disable_usage_metrics_export: false,
        }
    }
}

/// Whether clients must show a certificate, by the names that Go uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientVerification {
    /// None is asked for.
    NoClientCert,
    /// One is asked for and not verified.
    RequestClientCert,
    /// Any one is required.
    RequireAnyClientCert,
    /// One that is shown is verified.
    #[default]
    VerifyClientCertIfGiven,
    /// A good one is required.
    RequireAndVerifyClientCert,
}

choice!(ClientVerification, "unknown TLS client_verification value", {
    "NoClientCert" => NoClientCert,
    "RequestClientCert" => RequestClientCert,
    "RequireAnyClientCert" => RequireAnyClientCert,
    "VerifyClientCertIfGiven" => VerifyClientCertIfGiven,
    "RequireAndVerifyClientCert" => RequireAndVerifyClientCert,
});

/// `api.server.tls`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Who signs the certificates of clients, beside the system's authorities.
    pub ca_cert_path: Option<PathBuf>,
    /// Whether clients must show a certificate.
    pub client_verification: ClientVerification,
    /// The name that a client of this server expects.
    pub server_name: Option<String>,
    /// Organisational units of machines; empty: no machine comes in by certificate.
    pub agents_allowed_ou: Vec<String>,
    /// The same of bouncers.
    pub bouncers_allowed_ou: Vec<String>,
    /// Certificates that were withdrawn.
    pub crl_path: Option<PathBuf>,
    /// How long a certificate that was found good is taken as good.
    #[serde(deserialize_with = "value::duration")]
    pub cache_expiration: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert_file: None,
            key_file: None,
            ca_cert_path: None,
            client_verification: ClientVerification::default(),
            server_name: None,
            agents_allowed_ou: Vec::new(),
            bouncers_allowed_ou: Vec::new(),
            crl_path: None,
            cache_expiration: Duration::from_hours(1),
        }
    }
}

/// `api.server.online_client`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnlineClient {
    /// The file with the credentials.
    pub credentials_path: Option<PathBuf>,
    /// Signals are sent.
    pub sharing: bool,
    /// What is fetched.
    pub pull: Pull,
}

impl Default for OnlineClient {
    fn default() -> Self {
        Self { credentials_path: None, sharing: true, pull: Pull::default() }
    }
}

/// `api.server.online_client.pull`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pull {
    /// The community's list.
    pub community: bool,
    /// Lists that were subscribed to.
    pub blocklists: bool,
}

impl Default for Pull {
    fn default() -> Self {
        Self { community: true, blocklists: true }
    }
}

/// `api.server.auto_registration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoRegistration {
    /// Machines may register themselves.
    pub enabled: bool,
    /// With this token, of at least 32 characters.
    pub token: Secret,
    /// From these networks.
    #[serde(deserialize_with = "value::prefixes")]
    pub allowed_ranges: Vec<Prefix>,
}

/// `api.cti`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cti {
    /// The key of the service.
    pub key: Option<Secret>,
    /// It is asked; none: when there is a key.
    pub enabled: Option<bool>,
    /// How long answers are remembered.
    #[serde(deserialize_with = "value::duration")]
    pub cache_timeout: Duration,
    /// How many answers are remembered.
    pub cache_size: usize,
    /// How much is logged.
    pub log_level: Option<LogLevel>,
}

impl Default for Cti {
    fn default() -> Self {
        Self {
            key: None,
            enabled: None,
            cache_timeout: Duration::from_mins(10),
            cache_size: 100,
            log_level: None,
        }
    }
}
