//! Configuration files: strict YAML with places for every complaint, the environment, `.local` companions;
//! `config.yaml` and the files that it names.
//!
//! [`Config::load`] reads a `config.yaml`; [`Config::check`] says whether a daemon can start with it.
//! The generic part ([`tree`], [`merge`], [`decode`], [`Document`]) serves other files as well.

mod check;
pub mod codes;
mod companions;
mod config;
mod credentials;
pub mod decode;
mod error;
mod expand;
mod file;
mod merge;
mod sections;
mod show;
#[cfg(test)]
mod tests;
pub mod tree;
mod value;
mod write;

/// Where the value of a variable of the environment comes from.
pub type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

/// The environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub use self::{
    check::Roles,
    companions::{Console, Features, load_simulation, save_simulation},
    config::{Config, DEFAULT_PATHS},
    credentials::Credentials,
    error::{ConfigError, Diagnostics},
    expand::{Expanded, expand},
    file::{Document, local_of, with_local_in_front},
    merge::merge,
    sections::{
        Agent, AgentsAutodelete, Api, ApiClient, ApiServer, AutoRegistration, BlastRadius,
        BouncersAutodelete, ClientVerification, Color, Commands, Common, Cti, Database, DatabaseKind,
        DnsCache, Flush, LogFormat, LogMedia, MAX_BULK, MAX_CONTEXT_VALUE, MetricsLevel, OnlineClient,
        Output, Overload, Own, Paths, Plugins, Prometheus, Protect, Pull, Tls,
    },
    value::{LogLevel, Secret},
    write::{quoted, to_yaml},
};
