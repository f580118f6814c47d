//! What the gate is told: where the API is, where it listens, and its policy.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use testudo_client::Settings;
use testudo_config::{Document, Secret, Variable};
use testudo_gate::{Listen, MFA_KINDS};

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
    policy: PathBuf,
    log_level: String,
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
            policy: file.policy,
            log_level: file.log_level,
        })
    }
}
