//! `crowdsec_service`: the part that reads logs.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::value;

/// The most characters of one value in an alert's context.
pub const MAX_CONTEXT_VALUE: usize = 4000;

/// The section `crowdsec_service`. Without it, no logs are read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// Logs are read.
    pub enable: bool,
    /// A file with sources.
    pub acquisition_path: Option<PathBuf>,
    /// A folder of files with sources.
    pub acquisition_dir: Option<PathBuf>,
    /// A file that says what goes into the context of alerts.
    pub console_context_path: Option<PathBuf>,
    /// The most characters of one value there, from 1 to [`MAX_CONTEXT_VALUE`].
    pub console_context_value_length: usize,
    /// Accepted; `testudo.workers` says how many threads parse.
    pub parser_routines: i64,
    /// Accepted, without effect.
    pub buckets_routines: i64,
    /// Accepted, without effect.
    pub output_routines: i64,
    /// The names of addresses.
    pub dns_cache: DnsCache,
    /// Accepted, without effect: `testudo.state_file` is what is kept over a restart.
    pub state_input_file: Option<PathBuf>,
    /// Accepted, without effect.
    pub state_output_dir: Option<PathBuf>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            enable: true,
            acquisition_path: None,
            acquisition_dir: None,
            console_context_path: None,
            console_context_value_length: MAX_CONTEXT_VALUE,
            parser_routines: 1,
            buckets_routines: 1,
            output_routines: 1,
            dns_cache: DnsCache::default(),
            state_input_file: None,
            state_output_dir: None,
        }
    }
}

/// How long answers of the system's resolver are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsCache {
    /// A name that was found.
    #[serde(deserialize_with = "value::duration")]
    pub ttl: Duration,
    /// That there is none.
    #[serde(deserialize_with = "value::duration")]
    pub negative_ttl: Duration,
    /// How many.
    pub size: usize,
}

impl Default for DnsCache {
    fn default() -> Self {
        Self { ttl: Duration::from_hours(1), negative_ttl: Duration::from_mins(5), size: 16_384 }
    }
}
