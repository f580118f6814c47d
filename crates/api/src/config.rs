//! How the API is run, as the configuration file says.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use testudo_event::{Prefix, net::canonical};

/// The shortest token for automatic registration, in characters.
const TOKEN_LEAST: usize = 32;

/// The shortest secret that tokens may be signed with, in bytes.
const SECRET_LEAST: usize = 64;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The token for automatic registration is too short.
    #[error("the token for automatic registration has fewer than {TOKEN_LEAST} characters")]
    ShortToken,
    /// Automatic registration without networks.
    #[error("automatic registration needs the ranges from which it is allowed")]
    NoRanges,
    /// An empty name among the organisational units.
    #[error("allowed_ou configuration contains invalid empty string")]
    EmptyUnit,
    /// The secret is too short.
    #[error("the secret for tokens is not strong enough: it has fewer than {SECRET_LEAST} bytes")]
    WeakSecret,
}

/// Machines that know a token, and come from these networks, are validated as they register.
#[derive(Clone, PartialEq, Eq)]
pub struct AutoRegistration {
    /// The token, at least 32 characters.
    pub token: String,
    /// From where.
    pub ranges: Vec<Prefix>,
}

impl fmt::Debug for AutoRegistration {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoRegistration").field("ranges", &self.ranges).finish_non_exhaustive()
    }
}

/// How the API is run. The default trusts nobody but the machine itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Proxies whose forwarding headers are believed; `None` ignores these headers.
    pub trusted_proxies: Option<Vec<Prefix>>,
    /// From where alerts may be deleted, besides the machine itself.
    pub trusted_ips: Vec<Prefix>,
    /// Whether only the machine itself may register.
    pub local_registration_only: bool,
    /// Registration that validates at once.
    pub auto_registration: Option<AutoRegistration>,
    /// Organisational units of certificates with which machines log in.
    pub agents_allowed_ou: Vec<String>,
    /// Organisational units of certificates with which bouncers ask.
    pub bouncers_allowed_ou: Vec<String>,
    /// What tokens are signed with, at least 64 bytes; `None` takes the one that the store keeps.
    pub token_secret: Option<Vec<u8>>,
    /// Beginnings of the user agents that get compressed answers when they ask for them. Old clients that
    /// ask and then do not understand are the reason that nobody else does.
    pub compress_for: Vec<String>,
    /// The file for alerts that cannot be stored; `None` keeps none.
    pub dead_letters: Option<PathBuf>,
}

impl fmt::Debug for Config {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("trusted_proxies", &self.trusted_proxies)
            .field("trusted_ips", &self.trusted_ips)
            .field("local_registration_only", &self.local_registration_only)
            .field("auto_registration", &self.auto_registration)
            .field("agents_allowed_ou", &self.agents_allowed_ou)
            .field("bouncers_allowed_ou", &self.bouncers_allowed_ou)
            .field("compress_for", &self.compress_for)
            .field("dead_letters", &self.dead_letters)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Whether it can be run so.
    ///
    /// # Errors
    /// What stands against it.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(auto) = &self.auto_registration {
            if auto.token.chars().count() < TOKEN_LEAST {
                return Err(ConfigError::ShortToken);
            }
            if auto.ranges.is_empty() {
                return Err(ConfigError::NoRanges);
            }
        }
        if self.agents_allowed_ou.iter().chain(&self.bouncers_allowed_ou).any(String::is_empty) {
            return Err(ConfigError::EmptyUnit);
        }
        match &self.token_secret {
            Some(secret) if secret.len() < SECRET_LEAST => Err(ConfigError::WeakSecret),
            _ => Ok(()),
        }
    }
}

/// Whether an address lies in one of these networks; mapped addresses are IPv4.
pub(crate) fn covers(ranges: &[Prefix], addr: IpAddr) -> bool {
    let addr = canonical(addr);
    ranges.iter().any(|range| range.canonical().contains(addr))
}
