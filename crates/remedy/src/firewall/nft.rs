//! nftables as a backend.

use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{
    Action as Fate, Applied, Change as KernelChange, Element as KernelElement, Error, Group as KernelGroup,
    Layout, Log, Nft, Standing,
};

use super::config::{Deny, FirewallConfig};
use crate::backend::{Backend, Change, Element, Failed, Found, Traffic};
use crate::group::{Action, Group, GroupId};

/// Lines that the kernel logs of one group in a second.
const LOGGED_PER_SECOND: u32 = 5;

/// The table of this machine that is ours.
pub struct NftFilter {
    nft: Nft,
    deny: Fate,
    throttle: Fate,
    log: Option<Log>,
}

/// Speaks to the kernel. Nothing is changed yet.
///
/// # Errors
/// There is no nftables here, or the process may not use it.
pub fn nft(config: &FirewallConfig) -> Result<NftFilter, Error> {
    let allow = config.protect.now().into_iter().map(|(net, _)| net).collect();
    let layout = Layout { table: config.table.clone(), allow, ..Layout::default() };
    Ok(NftFilter {
        nft: Nft::open(layout)?,
        deny: match config.deny {
            Deny::Drop => Fate::Drop,
            Deny::Reject => Fate::Reject,
        },
        throttle: Fate::Throttle { packets_per_second: config.throttle, burst: config.throttle },
        log: config.log_prefix.clone().map(|prefix| Log { prefix, per_second: LOGGED_PER_SECOND }),
    })
}

impl NftFilter {
    /// Takes everything away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.nft.remove_table()
    }

    fn group(&self, group: &Group) -> KernelGroup {
        let action = match group.action {
            Action::Deny => self.deny,
            Action::Throttle => self.throttle,
        };
        KernelGroup { name: group.to_string(), action, log: self.log.clone() }
    }
}

fn element(element: Element) -> KernelElement {
    KernelElement {
        net: element.net,
        group: u32::from(element.group.0),
        timeout: Duration::from_millis(element.left_ms),
    }
}

fn failed(applied: Applied) -> Vec<Failed> {
    let failed = applied.failed.into_iter();
    failed.map(|(net, error)| Failed { net, problem: error.to_string() }).collect()
}

impl Backend for NftFilter {
    type Error = Error;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, Error> {
        let groups: Vec<KernelGroup> = groups.iter().map(|group| self.group(group)).collect();
        if self.nft.layout().groups != groups {
            self.nft = Nft::open(Layout { groups, ..self.nft.layout().clone() })?;
        }
        self.nft.replace(elements.iter().copied().map(element)).map(failed)
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, Error> {
        let changes: Vec<KernelChange> = changes
            .iter()
            .map(|change| match *change {
                Change::Add(new) => KernelChange::Add(element(new)),
                Change::Replace(new) => KernelChange::Refresh(element(new)),
                Change::Remove(net) => KernelChange::Remove(net),
            })
            .collect();
        self.nft.apply(&changes).map(failed)
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, Error> {
        let held = self.nft.get(net)?;
        Ok(held.map(|held| Found {
            group: u16::try_from(held.group).ok().map(GroupId),
            left_ms: held.remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }))
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), Error> {
        self.nft.allow(nets.to_vec())
    }

    fn traffic(&mut self) -> Result<Traffic, Error> {
        let counters = self.nft.counters()?;
        let pair = |count: testudo_kernel::Count| (count.packets, count.bytes);
        Ok(Traffic {
            processed: counters.processed.map(pair),
            denied: counters.blocked.into_iter().map(|families| families.map(pair)).collect(),
        })
    }

    fn is_whole(&mut self) -> Result<bool, Error> {
        Ok(matches!(self.nft.standing()?, Standing::AsLaidOut))
    }
}
