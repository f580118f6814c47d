//! The packet filters that there are, each as a backend.

use std::path::Path;

use testudo_event::Prefix;
use testudo_kernel::ProgramError;

use super::config::{FirewallConfig, Mode};
use super::pf::PfFilter;
#[cfg(target_os = "linux")]
use super::{ipset::IpsetFilter, nft, sets::SetFilter, xdp::XdpFilter, xtables::XtablesFilter};
use crate::backend::Backend;
use crate::clock::now_ms;
use crate::flat::Flat;

/// Why a packet filter does not do it.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// nftables.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Kernel(#[from] testudo_kernel::Error),
    /// XDP.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Xdp(#[from] testudo_xdp::Error),
    /// A program that drives one.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A set that the user has to make.
    #[error("{problem}; make it with: {command}")]
    Set {
        /// What is wrong with it.
        problem: String,
        /// The command that makes it.
        command: String,
    },
    /// It is none of this system.
    #[error("`mode: {0}` is for Linux")]
    Foreign(&'static str),
}

/// A packet filter.
pub trait Filter: Backend<Error = FilterError> + Send {
    /// Takes everything away that is in force by it.
    ///
    /// # Errors
    /// It is not allowed.
    fn remove(&mut self) -> Result<(), FilterError>;
}

/// Any of them.
pub type AnyFilter = Box<dyn Filter>;

/// The packet filter that is asked for. Nothing is changed yet.
///
/// # Errors
/// It is not there, or the process may not use it.
pub fn open(config: &FirewallConfig) -> Result<AnyFilter, FilterError> {
    let passing: Vec<Prefix> = config.protect.now().into_iter().map(|(net, _)| net).collect();
    Ok(match &config.mode {
        #[cfg(target_os = "linux")]
        Mode::Nftables { hooks } => Box::new(nft::open(config, hooks, passing)?),
        #[cfg(target_os = "linux")]
        Mode::SetOnly { v4, v6 } => flat(SetFilter::open(v4, v6.as_ref())?, &passing),
        #[cfg(target_os = "linux")]
        Mode::Iptables(mode) => Box::new(XtablesFilter::open(config, mode, passing)?),
        #[cfg(target_os = "linux")]
        Mode::Ipset(sets) => flat(IpsetFilter::open(Path::new("ipset"), sets)?, &passing),
        #[cfg(target_os = "linux")]
        Mode::Xdp(own) => Box::new(XdpFilter::open(config, own, passing)?),
        Mode::Pf { anchor, tables } => {
            flat(PfFilter::open(Path::new("pfctl"), anchor.as_deref(), tables)?, &passing)
        }
        #[cfg(not(target_os = "linux"))]
        Mode::Nftables { .. } | Mode::SetOnly { .. } => return Err(FilterError::Foreign("nftables")),
        #[cfg(not(target_os = "linux"))]
        Mode::Iptables(_) => return Err(FilterError::Foreign("iptables")),
        #[cfg(not(target_os = "linux"))]
        Mode::Ipset(_) => return Err(FilterError::Foreign("ipset")),
        #[cfg(not(target_os = "linux"))]
        Mode::Xdp(_) => return Err(FilterError::Foreign("xdp")),
    })
}

/// Rules of the user's own let nobody pass who is listed: nobody who is to pass is listed.
fn flat<F: Filter + 'static>(filter: F, passing: &[Prefix]) -> AnyFilter {
    Box::new(Flat::new(filter, passing, now_ms as fn() -> u64))
}

impl<F: Filter, C: Fn() -> u64 + Send> Filter for Flat<F, C> {
    fn remove(&mut self) -> Result<(), FilterError> {
        self.inner_mut().remove()
    }
}
