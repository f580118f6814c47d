//! *syslog*: a server for UDP, TCP and TLS.
//!
//! Datagrams and streams cannot be read again: what is not taken in time is lost, and no position is
//! kept.

mod frame;
mod message;
mod serve;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

pub(crate) use self::message::write_time;
use crate::{
    outlet::Outlet,
    source::{Run, Settings, Source},
    tls::TlsConfig,
};

/// Where a *syslog* source listens, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogConfig {
    /// `listen_addr`.
    pub(crate) address: IpAddr,
    /// `listen_port`.
    pub(crate) port: u16,
    /// `max_message_len` in bytes; what is longer is cut.
    pub(crate) max_message: usize,
    /// `protocol`.
    pub(crate) udp: bool,
    /// `protocol`, with TLS where [`SyslogConfig::tls`] is given.
    pub(crate) tcp: bool,
    /// `tls`.
    pub(crate) tls: Option<TlsConfig>,
    /// `disable_rfc_parser`: only the priority is taken off.
    pub(crate) raw: bool,
}

/// A *syslog* source.
#[derive(Debug)]
pub struct SyslogSource {
    settings: Settings,
    config: SyslogConfig,
}

impl SyslogSource {
    /// A source of what `config` says.
    pub fn new(settings: Settings, config: SyslogConfig) -> Self {
        SyslogSource { settings, config }
    }
}

impl Source for SyslogSource {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn run(self: Arc<Self>, outlet: Outlet) -> Run {
        Box::pin(async move {
            let address = SocketAddr::new(self.config.address, self.config.port);
            tokio::select! {
                () = outlet.stopped() => Ok(()),
                result = serve::serve(&self.config, address, &outlet) => result,
            }
        })
    }
}
