//! Where an API is, and as whom it is asked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use crate::error::SettingsError;

/// As whom the API is asked.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A machine with its password.
    Password {
        /// Its name.
        machine: String,
        /// Its password.
        password: String,
    },
    /// Whoever the client certificate says: see [`TlsFiles`]. Calls of machines log in with it, calls of
    /// bouncers need nothing else.
    Certificate,
    /// A bouncer with its key.
    Key(String),
    /// Nobody: for registering and for the health of the API.
    Nobody,
}

impl fmt::Debug for Login {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { machine, .. } => {
                f.debug_struct("Password").field("machine", machine).finish_non_exhaustive()
            }
            Login::Certificate => f.write_str("Certificate"),
            Login::Key(_) => f.write_str("Key"),
            Login::Nobody => f.write_str("Nobody"),
        }
    }
}

/// What `https://` needs beyond the authorities that the system trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// An authority that is trusted besides those of the system, PEM.
    pub ca: Option<PathBuf>,
    /// The client certificate and its chain, PEM; together with its key.
    pub certificate: Option<PathBuf>,
    /// The key of the client certificate, PEM.
    pub key: Option<PathBuf>,
    /// Whether any certificate of the server is taken.
    pub insecure_skip_verify: bool,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, its TLS included.
    pub connect: Duration,
    /// From the request to the head of its answer. Storing very many decisions takes other servers half a
    /// minute.
    pub answer: Duration,
    /// Between two parts of a body.
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            answer: Duration::from_mins(2),
            silence: Duration::from_secs(30),
        }
    }
}

/// How often and after which pauses a call is repeated; each pause varies by a fifth, so that many clients do
/// not come back at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// After 429, 503 and 504.
    pub ask: Vec<Duration>,
    /// After 429, 500, 503 and 504 to a login.
    pub login: Vec<Duration>,
}

impl Retries {
    /// None: for people who wait at a terminal.
    pub fn none() -> Self {
        Retries { ask: Vec::new(), login: Vec::new() }
    }
}

impl Default for Retries {
    /// As the agents of the ecosystem do: the servers are made for it.
    fn default() -> Self {
        let seconds = |list: [u64; 5]| list.into_iter().map(Duration::from_secs).collect();
        Retries { ask: seconds([7, 9, 11, 13, 15]), login: seconds([20, 40, 60, 80, 100]) }
    }
}

/// Everything about a client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://…`, `https://…`, or the path of a Unix socket.
    pub url: String,
    /// As whom it is asked.
    pub login: Login,
    /// How the client calls itself; servers of the ecosystem want exactly one slash in it.
    pub user_agent: String,
    /// What TLS needs.
    pub tls: TlsFiles,
    /// How long is waited.
    pub timeouts: Timeouts,
    /// How often is tried again.
    pub retries: Retries,
}

impl Settings {
    /// The usual settings for an API and a login.
    pub fn new(url: impl Into<String>, login: Login) -> Self {
        Settings {
            url: url.into(),
            login,
            user_agent: user_agent(),
            tls: TlsFiles::default(),
            timeouts: Timeouts::default(),
            retries: Retries::default(),
        }
    }
}

/// How clients of this program call themselves: `testudo/0.1.0-linux`.
pub fn user_agent() -> String {
    format!("testudo/{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::OS)
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    /// The `Host` header.
    pub(crate) host: String,
    /// What stands before the paths of calls; ends in a slash.
    pub(crate) base: String,
    /// The address as messages show it.
    pub(crate) shown: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Address, SettingsError> {
        let problem = |problem| SettingsError::Url { url: url.to_owned(), problem };
        if url.starts_with('/') {
            return Ok(Address {
                endpoint: Endpoint::Unix(PathBuf::from(url)),
                host: "unix".to_owned(),
                base: "/".to_owned(),
                shown: url.to_owned(),
            });
        }
        let parsed: Uri = url.parse().map_err(|_| problem("it cannot be read"))?;
        let tls = match parsed.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(problem("it begins with http://, https://, or is the path of a socket")),
        };
        let authority = parsed.authority().ok_or_else(|| problem("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(problem("names and passwords do not belong into it"));
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(problem("it names no host"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let mut base = parsed.path().to_owned();
        if !base.ends_with('/') {
            base.push('/');
        }
        Ok(Address {
            endpoint: Endpoint::Tcp {
                host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
                port,
                tls,
            },
            host: authority.as_str().to_owned(),
            shown: format!("{}://{authority}{base}", if tls { "https" } else { "http" }),
            base,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port, tls| Endpoint::Tcp { host: host.to_owned(), port, tls };
        for (url, endpoint, host, base) in [
            ("http://127.0.0.1:8080", tcp("127.0.0.1", 8080, false), "127.0.0.1:8080", "/"),
            ("http://127.0.0.1:8080/", tcp("127.0.0.1", 8080, false), "127.0.0.1:8080", "/"),
            ("https://lapi.example", tcp("lapi.example", 443, true), "lapi.example", "/"),
            ("http://[::1]:8080/below", tcp("::1", 8080, false), "[::1]:8080", "/below/"),
            ("/run/api.sock", Endpoint::Unix("/run/api.sock".into()), "unix", "/"),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(
                (address.endpoint, address.host.as_str(), address.base.as_str()),
                (endpoint, host, base)
            );
        }
        for url in ["", "127.0.0.1:8080", "ftp://a/", "http://", "http://user:word@host/", "http://a b/"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn secrets_stay_out_of_logs() {
        let password = Login::Password { machine: "edge".to_owned(), password: "hidden".to_owned() };
        for login in [password, Login::Key("hidden".to_owned())] {
            let shown = format!("{:?}", Settings::new("/run/api.sock", login));
            assert!(!shown.contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn one_slash() {
        assert_eq!(user_agent().matches('/').count(), 1);
    }
}
