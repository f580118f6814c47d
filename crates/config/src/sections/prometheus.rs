//! `prometheus`: the endpoint of metrics.

use serde::Deserialize;

/// How much is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsLevel {
    /// Everything.
    #[default]
    Full,
    /// Nothing by source, node, machine or bouncer.
    Aggregated,
    /// Nothing.
    None,
}

choice!(MetricsLevel, "unknown metrics level", {
    "full" => Full,
    "aggregated" => Aggregated,
    "none" => None,
});

/// The section `prometheus`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prometheus {
    /// There is an endpoint.
    pub enabled: bool,
    /// How much is measured.
    pub level: MetricsLevel,
    /// Address to listen on.
    pub listen_addr: String,
    /// Port to listen on.
    pub listen_port: u16,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            enabled: false,
            level: MetricsLevel::default(),
            listen_addr: "127.0.0.1".to_owned(),
            listen_port: 6060,
        }
    }
}
