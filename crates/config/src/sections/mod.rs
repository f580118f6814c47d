//! The sections of `config.yaml`, one a file: every key with its type and its default.

/// A closed set of names, as a value of the configuration. The first text begins the message about
/// any other name.
macro_rules! choice {
    ($type:ident, $unknown:literal, { $($name:literal => $variant:ident),* $(,)? }) => {
        impl $type {
            /// The names that files may use.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The value of a name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::from_name(&name).ok_or_else(|| {
                    let known = Self::NAMES.join(", ");
                    serde::de::Error::custom(format!("{} '{name}'; known are {known}", $unknown))
                })
            }
        }
    };
}

mod agent;
mod api;
mod commands;
mod common;
mod database;
mod own;
mod paths;
mod prometheus;

pub(crate) use self::paths::WrittenPaths;
pub use self::{
    agent::{Agent, DnsCache, MAX_CONTEXT_VALUE},
    api::{Api, ApiClient, ApiServer, AutoRegistration, ClientVerification, Cti, OnlineClient, Pull, Tls},
    commands::{Color, Commands, Output},
    common::{Common, LogFormat, LogMedia},
    database::{AgentsAutodelete, BouncersAutodelete, Database, DatabaseKind, Flush, MAX_BULK},
    own::{BlastRadius, Overload, Own, Protect},
    paths::Paths,
    prometheus::{MetricsLevel, Prometheus},
};

use serde::Deserialize;

/// `plugin_config`: as whom notification plugins run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}
