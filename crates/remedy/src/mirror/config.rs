//! What the mirror is told: the file that the blocklist mirror of the ecosystem reads, and sections of our own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use testudo_client::Settings;
use testudo_config::{Document, Secret, Variable};
use testudo_event::Prefix;
use testudo_mirror::{Choice, Family, Format};

use super::book::Limits;
use super::keys::{Consumer, Guard};
use crate::access::{Access, AccessError, period};
use crate::follow::Wanted;

/// Where the file is, if none is named: the first that is there.
pub const DEFAULT_PATHS: [&str; 2] =
    ["/etc/testudo/mirror.yaml", "/etc/crowdsec/bouncers/crowdsec-blocklist-mirror.yaml"];

/// Who stays when there is room for some: people's decisions, then this machine's, then lists.
const PRIORITY: [&str; 4] = ["cscli", "crowdsec", "lists", "CAPI"];

/// The greatest share of addresses that nobody decided about.
const FALSE_SHARE_MOST: f64 = 0.5;

/// A key that is there for others.
type Ignored = serde::de::IgnoredAny;

/// The file. Keys that say how others log are read and mean nothing here.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    crowdsec_config: Api,
    blocklists: Vec<Blocklist>,
    listen_uri: String,
    tls: TlsSection,
    metrics: Metrics,
    log_level: String,
    testudo: Own,
    config_version: Ignored,
    log_media: Ignored,
    log_mode: Ignored,
    log_dir: Ignored,
    log_compression: Ignored,
    compress_logs: Ignored,
    log_max_size: Ignored,
    log_max_backups: Ignored,
    log_max_files: Ignored,
    log_max_age: Ignored,
    log_format: Ignored,
    enable_access_logs: Ignored,
    #[serde(rename = "access_log_file")]
    access_logs: Ignored,
}

impl Default for File {
    fn default() -> Self {
        File {
            crowdsec_config: Api::default(),
            blocklists: Vec::new(),
            listen_uri: "127.0.0.1:41412".to_owned(),
            tls: TlsSection::default(),
            metrics: Metrics::default(),
            log_level: "info".to_owned(),
            testudo: Own::default(),
            config_version: Ignored::default(),
            log_media: Ignored::default(),
            log_mode: Ignored::default(),
            log_dir: Ignored::default(),
            log_compression: Ignored::default(),
            compress_logs: Ignored::default(),
            log_max_size: Ignored::default(),
            log_max_backups: Ignored::default(),
            log_max_files: Ignored::default(),
            log_max_age: Ignored::default(),
            log_format: Ignored::default(),
            enable_access_logs: Ignored::default(),
            access_logs: Ignored::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Api {
    lapi_url: String,
    lapi_key: Secret,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    ca_cert_path: Option<PathBuf>,
    insecure_skip_verify: bool,
    update_frequency: String,
    include_scenarios_containing: Vec<String>,
    exclude_scenarios_containing: Vec<String>,
    only_include_decisions_from: Vec<String>,
    supported_decisions_types: Vec<String>,
    scopes: Vec<String>,
    retry_initial_connect: Ignored,
}

impl Default for Api {
    fn default() -> Self {
        Api {
            lapi_url: String::new(),
            lapi_key: Secret::default(),
            cert_path: None,
            key_path: None,
            ca_cert_path: None,
            insecure_skip_verify: false,
            update_frequency: "10s".to_owned(),
            include_scenarios_containing: Vec::new(),
            exclude_scenarios_containing: Vec::new(),
            only_include_decisions_from: Vec::new(),
            supported_decisions_types: Vec::new(),
            scopes: Vec::new(),
            retry_initial_connect: Ignored::default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Blocklist {
    format: String,
    endpoint: String,
    aggregate: bool,
    authentication: Authentication,
    testudo: OwnList,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Authentication {
    #[serde(rename = "type")]
    kind: String,
    user: String,
    password: Secret,
    trusted_ips: Vec<String>,
}

/// Of one list, what is ours.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OwnList {
    false_share: f64,
    name: Option<String>,
    types: Vec<String>,
    origins: Vec<String>,
    scenarios_containing: Vec<String>,
    scenarios_not_containing: Vec<String>,
    lists: Vec<String>,
    max_items: Option<usize>,
    priority: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TlsSection {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Metrics {
    enabled: bool,
    endpoint: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { enabled: false, endpoint: "/metrics".to_owned() }
    }
}

/// The section of our own.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    consumers: Vec<ConsumerSection>,
    stale_after: Option<String>,
    least_bits_v4: u8,
    least_bits_v6: u8,
    never_list: Vec<String>,
    status_from: Vec<String>,
    max_connections: usize,
    max_connections_per_address: usize,
}

impl Default for Own {
    fn default() -> Self {
        let Limits { least_bits_v4, least_bits_v6, .. } = Limits::default();
        Own {
            consumers: Vec::new(),
            stale_after: None,
            least_bits_v4,
            least_bits_v6,
            never_list: Vec::new(),
            status_from: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            max_connections: 512,
            max_connections_per_address: 64,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConsumerSection {
    name: String,
    key: String,
    key_file: Option<PathBuf>,
}

/// A list that is served.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) endpoint: String,
    pub(super) format: Format,
    pub(super) aggregate: Option<f64>,
    pub(super) name: Option<String>,
    pub(super) choice: Choice,
    pub(super) guard: Guard,
}

/// What the mirror is told.
#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// Where the API is, and as whom it is asked.
    pub client: Settings,
    /// What is asked of it.
    pub wanted: Wanted,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificate and key, if it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    pub(super) lists: Vec<List>,
    pub(super) consumers: Vec<Consumer>,
    /// Where metrics are, if they are served.
    pub(super) metrics: Option<String>,
    /// What no list has.
    pub(super) limits: Limits,
    /// Who may see the status page.
    pub(super) status_from: Vec<Prefix>,
    /// After so long without the API, lists are no longer served.
    pub stale_after: Option<Duration>,
    pub(super) connections: usize,
    pub(super) connections_per_address: usize,
    /// `error`, `warning`, `info`, `debug` or `trace`.
    pub log_level: String,
}

impl MirrorConfig {
    /// Reads a file, and its `.local` companion over it.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<MirrorConfig, AccessError> {
        MirrorConfig::of(Document::with_local(path, variable)?.decode()?)
    }

    fn of(file: File) -> Result<MirrorConfig, AccessError> {
        let value = |key, problem: String| AccessError::Value { key, problem };
        let api = file.crowdsec_config;
        let every = period("update_frequency", &api.update_frequency)?;
        let access = Access {
            url: api.lapi_url,
            key: api.lapi_key,
            certificate: api.cert_path,
            certificate_key: api.key_path,
            authority: api.ca_cert_path,
            insecure: api.insecure_skip_verify,
        };
        let client = access.settings("mirror").map_err(|error| match error {
            AccessError::Value { key: "api_url", problem } => value("crowdsec_config.lapi_url", problem),
            AccessError::Value { key: "api_key", problem } => value("crowdsec_config.lapi_key", problem),
            error => error,
        })?;
        if file.blocklists.is_empty() {
            return Err(value(
                "blocklists",
                "there is none: a `format` and an `endpoint` make one".to_owned(),
            ));
        }
        let types = api.supported_decisions_types;
        let mut lists: Vec<List> = Vec::new();
        for section in file.blocklists {
            let list = list(section, &types)?;
            if lists.iter().any(|known| known.endpoint == list.endpoint) {
                return Err(value("blocklists.endpoint", format!("{} is there twice", list.endpoint)));
            }
            lists.push(list);
        }
        let metrics = file.metrics.enabled.then_some(file.metrics.endpoint);
        if let Some(endpoint) = &metrics {
            path("metrics.endpoint", endpoint)?;
            if lists.iter().any(|list| list.endpoint == *endpoint) {
                return Err(value("metrics.endpoint", format!("{endpoint} is that of a list")));
            }
        }
        let own = file.testudo;
        let limits = Limits {
            least_bits_v4: own.least_bits_v4,
            least_bits_v6: own.least_bits_v6,
            never: networks("testudo.never_list", &own.never_list)?,
        };
        let covers = lists.iter().find(|list| list.aggregate.is_some_and(|share| share > 0.0));
        if let Some(list) = covers.filter(|_| !limits.never.is_empty()) {
            let problem = format!("{} has a `false_share`, which may cover what is here", list.endpoint);
            return Err(value("testudo.never_list", problem));
        }
        let mut consumers: Vec<Consumer> = Vec::new();
        for section in own.consumers {
            let consumer = consumer(section).map_err(|problem| value("testudo.consumers", problem))?;
            if consumers.iter().any(|known| known.name == consumer.name) {
                return Err(value("testudo.consumers", format!("{:?} is there twice", consumer.name)));
            }
            consumers.push(consumer);
        }
        let listed = |name: &str, values: &[String]| (name.to_owned(), values.join(","));
        let mut parameters = vec![
            listed("origins", &api.only_include_decisions_from),
            listed("scenarios_containing", &api.include_scenarios_containing),
            listed("scenarios_not_containing", &api.exclude_scenarios_containing),
        ];
        for (name, values) in [("scopes", &api.scopes), ("types", &types)] {
            if !values.is_empty() {
                parameters.push(listed(name, values));
            }
        }
        let tls = match (file.tls.cert_file, file.tls.key_file) {
            (cert, key) if cert.as_os_str().is_empty() && key.as_os_str().is_empty() => None,
            (cert, key) if cert.as_os_str().is_empty() || key.as_os_str().is_empty() => {
                let one = if key.as_os_str().is_empty() { "key_file" } else { "cert_file" };
                return Err(value("tls", format!("`{one}` is missing")));
            }
            both => Some(both),
        };
        Ok(MirrorConfig {
            client,
            wanted: Wanted { parameters, every },
            listen: listen(&file.listen_uri)?,
            tls,
            lists,
            consumers,
            metrics,
            limits,
            status_from: networks("testudo.status_from", &own.status_from)?,
            stale_after: own
                .stale_after
                .as_deref()
                .map(|text| period("testudo.stale_after", text))
                .transpose()?,
            connections: own.max_connections.max(1),
            connections_per_address: own.max_connections_per_address.max(1),
            log_level: file.log_level,
        })
    }
}

fn list(section: Blocklist, types: &[String]) -> Result<List, AccessError> {
    let value = |key, problem: String| AccessError::Value { key, problem };
    let format = Format::from_name(&section.format).ok_or_else(|| {
        let names: Vec<_> = Format::all().map(Format::name).collect();
        value("blocklists.format", format!("{:?} is not offered: {}", section.format, names.join(", ")))
    })?;
    path("blocklists.endpoint", &section.endpoint)?;
    let own = section.testudo;
    if !(0.0..=FALSE_SHARE_MOST).contains(&own.false_share) {
        let problem = format!("{} is not between 0 and {FALSE_SHARE_MOST}", own.false_share);
        return Err(value("testudo.false_share", problem));
    }
    let aggregates = section.aggregate || own.false_share > 0.0;
    let auth = section.authentication;
    let guard = match auth.kind.as_str() {
        "" | "none" => Guard::None,
        "basic" if auth.user.is_empty() || auth.password.is_empty() => {
            return Err(value("authentication", "`basic` needs a `user` and a `password`".to_owned()));
        }
        "basic" => Guard::Basic { user: auth.user, password: auth.password },
        "ip_based" => Guard::Networks(networks("authentication.trusted_ips", &auth.trusted_ips)?),
        other => {
            let problem = format!("{other:?} is none of `none`, `basic` and `ip_based`");
            return Err(value("authentication.type", problem));
        }
    };
    let priority = own.priority.unwrap_or_else(|| PRIORITY.map(str::to_owned).to_vec());
    Ok(List {
        endpoint: section.endpoint,
        format,
        aggregate: aggregates.then_some(own.false_share),
        name: own.name,
        choice: Choice {
            family: Family::Both,
            types: if own.types.is_empty() { types.to_vec() } else { own.types },
            origins: own.origins,
            scenarios_containing: own.scenarios_containing,
            scenarios_not_containing: own.scenarios_not_containing,
            lists: own.lists,
            most: own.max_items,
            priority,
            unsorted: false,
        },
        guard,
    })
}

fn consumer(section: ConsumerSection) -> Result<Consumer, String> {
    let ConsumerSection { name, key, key_file } = section;
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(format!("{name:?} is no name of at most 64 bytes"));
    }
    match key_file {
        Some(_) if !key.is_empty() => Err(format!("{name:?} has both `key` and `key_file`")),
        Some(path) => Consumer::from_file(name, &path),
        None => Consumer::from_hash(name, &key),
    }
}

/// A path such as `/security/blocklist`, which is not the status page.
fn path(key: &'static str, text: &str) -> Result<(), AccessError> {
    let is_path = text.len() > 1 && text.starts_with('/') && !text.contains(['?', '#', ' ']);
    let problem = format!("{text:?} is no path, such as /security/blocklist");
    if is_path { Ok(()) } else { Err(AccessError::Value { key, problem }) }
}

fn networks(key: &'static str, texts: &[String]) -> Result<Vec<Prefix>, AccessError> {
    let one = |text: &String| {
        let single = || text.parse::<IpAddr>().ok().map(Prefix::single);
        let net = Prefix::parse(text).or_else(single).map(|net| net.canonical().network());
        let problem = format!("{text:?} is no address and no network");
        net.ok_or(AccessError::Value { key, problem })
    };
    texts.iter().map(one).collect()
}

/// Where it listens: `:41412` is everywhere.
fn listen(text: &str) -> Result<SocketAddr, AccessError> {
    let everywhere = if text.starts_with(':') { format!("[::]{text}") } else { String::new() };
    let text = if everywhere.is_empty() { text } else { &everywhere };
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| {
        let problem = format!("{text:?} is no address with a port, such as 127.0.0.1:41412");
        AccessError::Value { key: "listen_uri", problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MirrorConfig, AccessError> {
        MirrorConfig::of(Document::from_text("mirror.yaml", text)?.decode()?)
    }

    #[test]
    fn the_file_of_the_ecosystem() {
        let config = read(
            "config_version: v1.0\ncrowdsec_config:\n  lapi_key: secret\n  lapi_url: http://127.0.0.1:8080/\n  update_frequency: 10s\n\
             \x20 include_scenarios_containing: []\n  exclude_scenarios_containing: [crawl]\n\
             \x20 only_include_decisions_from: [cscli]\n  insecure_skip_verify: false\n\
             blocklists:\n  - format: plain_text\n    endpoint: /security/blocklist\n    aggregate: true\n    authentication:\n\
             \x20     type: ip_based\n      user:\n      password:\n      trusted_ips: [127.0.0.1, '::1', 10.0.0.0/8]\n\
             \x20 - {format: mikrotik, endpoint: /m, authentication: {type: basic, user: u, password: p}}\n\
             listen_uri: 127.0.0.1:41412\ntls:\n  cert_file:\n  key_file:\nmetrics:\n  enabled: true\n  endpoint: /metrics\n\
             log_media: stdout\nlog_dir: /var/log/\nlog_level: info\nlog_max_size: 40\nlog_max_age: 30\nlog_max_backups: 3\n\
             enable_access_logs: true\ncompress_logs: true\n",
        )
        .expect("it is read");
        assert_eq!((config.lists.len(), config.metrics.as_deref()), (2, Some("/metrics")));
        assert_eq!((config.lists[0].aggregate, config.lists[1].aggregate), (Some(0.0), None));
        assert!(matches!(&config.lists[0].guard, Guard::Networks(nets) if nets.len() == 3));
        assert!(config.tls.is_none());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |text: &str| read(text).expect_err(text).to_string();
        assert!(told("").starts_with("crowdsec_config.lapi_url: it is missing"));
        let base = "crowdsec_config: {lapi_url: 'http://127.0.0.1:8080/', lapi_key: k}\n";
        assert!(told(base).starts_with("blocklists: there is none"));
        let with = |list: &str| format!("{base}blocklists: [{list}]\n");
        assert!(told(&with("{format: text, endpoint: /x}")).contains("plain_text, mikrotik"));
        assert!(told(&with("{format: f5, endpoint: x}")).contains("no path"));
        assert!(told(&with("{format: f5, endpoint: /}")).contains("no path"));
        assert!(told(&with("{format: f5, endpoint: /x}, {format: f5, endpoint: /x}")).contains("twice"));
        assert!(told(&with("{format: f5, endpoint: /x, authentication: {type: basic}}")).contains("`user`"));
        assert!(
            told(&with("{format: f5, endpoint: /x, authentication: {type: token}}")).contains("ip_based")
        );
        assert!(told(&with("{format: f5, endpoint: /x, testudo: {false_share: 0.6}}")).contains("between"));
        assert!(told(&with("{format: f5, endpoint: /x, agregate: true}")).contains("aggregate"));
        let with_share = with("{format: f5, endpoint: /x, testudo: {false_share: 0.1}}");
        let base = with("{format: f5, endpoint: /x}");
        let never = "testudo: {never_list: [192.0.2.0/24]}\n";
        assert!(told(&format!("{base}{}", never.replace("192", "x"))).contains("no network"));
        assert_eq!(read(&format!("{base}{never}")).expect("it is read").limits.never.len(), 1);
        assert!(told(&(with_share + never)).contains("`false_share`"));
        assert!(told(&format!("{base}listen_uri: here\n")).contains("no address with a port"));
        assert!(
            told(&format!("{base}metrics: {{enabled: true, endpoint: /x}}\n")).contains("that of a list")
        );
        assert!(told(&format!("{base}tls: {{cert_file: a}}\n")).contains("`key_file` is missing"));
        assert!(
            told(&format!("{base}testudo: {{consumers: [{{name: a, key: b}}]}}\n")).contains("--new-key")
        );
        assert_eq!(read(&format!("{base}listen_uri: ':41412'\n")).expect("it is read").listen.port(), 41412);
    }
}
