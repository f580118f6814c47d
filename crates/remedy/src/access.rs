//! Where the API is and as whom it is asked, as the bouncers of the ecosystem are told.

use std::path::PathBuf;
use std::time::Duration;

use testudo_client::{Login, Retries, Settings, TlsFiles};
use testudo_config::{ConfigError, Secret};
use testudo_event::duration;

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read, or has mistakes.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// A value is none that is known.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// The keys of a configuration that say where the API is.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) url: String,
    pub(crate) key: Secret,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) certificate_key: Option<PathBuf>,
    pub(crate) authority: Option<PathBuf>,
    pub(crate) insecure: bool,
}

impl Access {
    /// Settings for a client that calls itself `testudo-NAME`.
    pub(crate) fn settings(self, name: &str) -> Result<Settings, AccessError> {
        let value = |key, problem: String| AccessError::Value { key, problem };
        if self.url.is_empty() {
            let problem = "it is missing: the address of the API, as http://127.0.0.1:8080/";
            return Err(value("api_url", problem.to_owned()));
        }
        let login = match (self.key.is_empty(), &self.certificate) {
            (false, _) => Login::Key(self.key.expose().to_owned()),
            (true, Some(_)) => Login::Certificate,
            (true, None) => {
                let problem =
                    format!("it is missing: make one with `testudo bouncers add {name}`, where the API is");
                return Err(value("api_key", problem));
            }
        };
        let mut settings = Settings::new(self.url, login);
        settings.tls = TlsFiles {
            ca: self.authority,
            certificate: self.certificate,
            key: self.certificate_key,
            insecure_skip_verify: self.insecure,
        };
        settings.retries = Retries::none();
        settings.user_agent = format!("testudo-{name}/v{}", env!("CARGO_PKG_VERSION"));
        Ok(settings)
    }
}

/// A duration of at least a second.
pub(crate) fn period(key: &'static str, text: &str) -> Result<Duration, AccessError> {
    let nanos = duration::parse(text).ok().and_then(|nanos| u64::try_from(nanos).ok());
    match nanos.map(Duration::from_nanos) {
        Some(period) if period >= Duration::from_secs(1) => Ok(period),
        _ => {
            let problem = format!("{text:?} is no duration of a second or more, such as 10s");
            Err(AccessError::Value { key, problem })
        }
    }
}
