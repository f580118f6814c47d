//! The file by which a machine finds its local API, or the central one.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    ConfigError, Variable,
    file::{self, Document},
    value::Secret,
    write::quoted,
};

/// What `local_api_credentials.yaml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// The URL, which ends in `/`, or the path of a Unix socket.
    pub url: String,
    /// Name of the machine.
    pub login: String,
    /// Its password.
    pub password: Secret,
    /// Who signed the server's certificate.
    pub ca_cert_path: Option<PathBuf>,
    /// Key of this machine.
    pub key_path: Option<PathBuf>,
    /// Certificate of this machine.
    pub cert_path: Option<PathBuf>,
    /// The URL of orders from the console; in the credentials of the central API only.
    pub papi_url: Option<String>,
}

impl Credentials {
    /// Reads the file and its companion.
    ///
    /// # Errors
    /// It cannot be read, or does not say how to come in.
    pub fn load(path: &Path, variable: Variable<'_>) -> Result<Self, ConfigError> {
        let document = Document::with_local(path, variable)?;
        let mut credentials: Self = document.decode()?;
        let has_password = !credentials.login.is_empty() || !credentials.password.is_empty();
        let has_certificate = credentials.cert_path.is_some() || credentials.key_path.is_some();
        if credentials.url.is_empty() || !has_password && !has_certificate {
            return Err(ConfigError::Unusable(format!(
                "no credentials or URL found in api client configuration '{}'",
                path.display()
            )));
        }
        if has_password && has_certificate {
            return Err(ConfigError::Unusable(format!(
                "user/password authentication and TLS authentication are mutually exclusive ('{}')",
                path.display()
            )));
        }
        if credentials.is_socket() {
            if has_certificate || credentials.ca_cert_path.is_some() {
                return Err(ConfigError::Unusable(format!(
                    "cannot use TLS with a unix socket ('{}')",
                    path.display()
                )));
            }
        } else if !credentials.url.ends_with('/') {
            credentials.url.push('/');
        }
        Ok(credentials)
    }

    /// The API is behind a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.url.starts_with('/')
    }

    /// The text of the file; what is not given is left out.
    pub fn to_yaml(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        [
            ("url", text(&self.url)),
            ("login", text(&self.login)),
            ("password", text(self.password.expose())),
            ("ca_cert_path", path(&self.ca_cert_path)),
            ("key_path", path(&self.key_path)),
            ("cert_path", path(&self.cert_path)),
            ("papi_url", self.papi_url.clone()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}: {}\n", quoted(&value?))))
        .collect()
    }

    /// Writes the file, readable by its owner only. A companion is left as it is.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        file::replace(path, &self.to_yaml())
    }
}
