//! What the gate is told: where the API is, where it listens, and its policy.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use testudo_client::Settings;
use testudo_config::{Document, Secret, Variable};
use testudo_gate::{Listen, MFA_KINDS, TlsFiles, Upstream};

use crate::access::{Access, AccessError};
use crate::follow::Wanted;

/// Where the file is, if none is named.
pub const DEFAULT_PATHS: [&str; 1] = ["/etc/testudo/gate.yaml"];

/// Where the policy is, if nothing is said.
const POLICY: &str = "/etc/testudo/gate-policy.yaml";

/// Types of decisions that the gate can do something about.
const TYPES: [&str; 7] = ["ban", "mfa", "captcha", "throttle", "restrict", "header", "allow"];

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    api_url: String,
    api_key: Secret,
    cert_path: Option<PathBuf>,
    key_path: Option<PathBuf>,
    ca_cert_path: Option<PathBuf>,
    insecure_skip_verify: bool,
    update_frequency: String,
    origins: Vec<String>,
    scenarios_containing: Vec<String>,
    scenarios_not_containing: Vec<String>,
    listen: Vec<String>,
    listen_fastcgi: Vec<String>,
    listen_spoe: Vec<String>,
    listen_grpc: Vec<String>,
    listen_proxy: Vec<String>,
    listen_proxy_tls: Vec<String>,
    tls: Option<TlsKeys>,
    upstream: Vec<UpstreamKeys>,
    peers: Vec<String>,
    policy: PathBuf,
    log_level: String,
}

/// Where requests for some hosts go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamKeys {
    names: Vec<String>,
    to: Vec<String>,
}

/// The certificate that visitors see.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsKeys {
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl Default for File {
    fn default() -> Self {
        File {
            api_url: String::new(),
            api_key: Secret::default(),
            cert_path: None,
            key_path: None,
            ca_cert_path: None,
            insecure_skip_verify: false,
            update_frequency: "10s".to_owned(),
            origins: Vec::new(),
            scenarios_containing: Vec::new(),
            scenarios_not_containing: Vec::new(),
            listen: vec!["127.0.0.1:9740".to_owned()],
            listen_fastcgi: Vec::new(),
            listen_spoe: Vec::new(),
            listen_grpc: Vec::new(),
            listen_proxy: Vec::new(),
            listen_proxy_tls: Vec::new(),
            tls: None,
            upstream: Vec::new(),
            peers: Vec::new(),
            policy: PathBuf::from(POLICY),
            log_level: "info".to_owned(),
        }
    }
}

/// What the gate is told.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// Where the API is, and as whom it is asked.
    pub client: Settings,
    /// What is asked of it, but for the scopes: those are up to the policy.
    pub wanted: Wanted,
    /// Where web servers find the gate.
    pub listen: Vec<Listen>,
    /// The sites behind the gate, where it is a proxy.
    pub upstreams: Vec<Upstream>,
    /// The certificate that visitors of the proxy see.
    pub tls: Option<TlsFiles>,
    /// Gates on other machines that share the site and the keys.
    pub peers: Vec<String>,
    /// The file with the policy.
    pub policy: PathBuf,
    /// `error`, `warning`, `info`, `debug` or `trace`.
    pub log_level: String,
}

impl GateConfig {
    /// Reads a file, and its `.local` companion over it.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<GateConfig, AccessError> {
        let file: File = Document::with_local(path, variable)?.decode()?;
        let place = |text: &String| {
            text.parse().map_err(|_| {
                let problem = format!("{text:?} is no address with a port, such as 127.0.0.1:9740");
                AccessError::Value { key: "listen", problem }
            })
        };
        let mut listen = Vec::new();
        for text in &file.listen {
            listen.push(match text.strip_prefix('/') {
                #[cfg(unix)]
                Some(_) => Listen::Unix { path: text.into(), mode: 0o660 },
                _ => Listen::Tcp(place(text)?),
            });
        }
        for text in &file.listen_fastcgi {
            listen.push(Listen::FastCgi(place(text)?));
        }
        for text in &file.listen_spoe {
            listen.push(Listen::Spoe(place(text)?));
        }
        for text in &file.listen_grpc {
            listen.push(Listen::Grpc(place(text)?));
        }
        for text in &file.listen_proxy {
            listen.push(Listen::Proxy(place(text)?));
        }
        for text in &file.listen_proxy_tls {
            listen.push(Listen::ProxyTls(place(text)?));
        }
        let upstreams = file.upstream.into_iter().map(|keys| Upstream { names: keys.names, to: keys.to });
        let access = Access {
            url: file.api_url,
            key: file.api_key,
            certificate: file.cert_path,
            certificate_key: file.key_path,
            authority: file.ca_cert_path,
            insecure: file.insecure_skip_verify,
        };
        let list = |name: &str, values: &[String]| (name.to_owned(), values.join(","));
        Ok(GateConfig {
            client: access.settings("gate")?,
            wanted: Wanted {
                parameters: vec![
                    ("types".to_owned(), [&TYPES[..], &MFA_KINDS[..]].concat().join(",")),
                    list("origins", &file.origins),
                    list("scenarios_containing", &file.scenarios_containing),
                    list("scenarios_not_containing", &file.scenarios_not_containing),
                ],
                every: crate::access::period("update_frequency", &file.update_frequency)?,
            },
            listen,
            upstreams: upstreams.collect(),
            tls: file.tls.map(|keys| TlsFiles { cert_file: keys.cert_file, key_file: keys.key_file }),
            peers: file.peers,
            policy: file.policy,
            log_level: file.log_level,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<GateConfig, AccessError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gate.yaml");
        let text = format!("api_url: http://127.0.0.1:8080/\napi_key: key\n{text}");
        std::fs::write(&path, text).expect("it is written");
        GateConfig::load(&path, &|_| None)
    }

    #[test]
    fn doors() {
        let config = load(
            "listen: [\"127.0.0.1:1\"]\nlisten_fastcgi: [\"127.0.0.1:2\"]\nlisten_spoe: [\"127.0.0.1:3\"]\n\
             listen_grpc: [\"127.0.0.1:4\"]\nlisten_proxy: [\"0.0.0.0:5\"]\nlisten_proxy_tls: [\"[::]:6\"]\n\
             tls: {cert_file: /c, key_file: /k}\npeers: [\"192.0.2.2:1\"]\n\
             upstream: [{names: [\"*\"], to: [\"127.0.0.1:7\"]}]\n",
        )
        .expect("it is read");
        let place = |text: &str| text.parse().expect("a place");
        let expected = [
            Listen::Tcp(place("127.0.0.1:1")),
            Listen::FastCgi(place("127.0.0.1:2")),
            Listen::Spoe(place("127.0.0.1:3")),
            Listen::Grpc(place("127.0.0.1:4")),
            Listen::Proxy(place("0.0.0.0:5")),
            Listen::ProxyTls(place("[::]:6")),
        ];
        assert_eq!(config.listen, expected);
        assert_eq!(config.peers, ["192.0.2.2:1"]);
        assert_eq!(config.upstreams[0].to, ["127.0.0.1:7"]);
        assert_eq!(config.tls.expect("TLS").key_file, Path::new("/k"));
        for wrong in [
            "listen_proxy: [x]",
            "upstream: [{names: [a]}]",
            "upstream: [{names: [a], to: [], at: 1}]",
            "tls: {}",
        ] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
    }
}
