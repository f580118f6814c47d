//! nftables as a backend.

use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{
    Action as Fate, Applied, Change as KernelChange, Counters, Element as KernelElement, Error,
    Group as KernelGroup, Held, Hook as KernelHook, HookPoint as KernelHookPoint, Layout, Log, Nft, Standing,
};

use super::config::{Deny, FirewallConfig, Hook, HookPoint};
use super::filter::{Filter, FilterError};
use crate::backend::{Backend, Change, Element, Failed, Found, Traffic};
use crate::group::{Action, Group, GroupId};

/// Lines that the kernel logs of one group in a second.
const LOGGED_PER_SECOND: u32 = 5;

/// The table of this machine that is ours.
pub(super) struct NftFilter {
    nft: Nft,
    fates: Fates,
    log: Option<Log>,
}

/// What becomes of packets.
#[derive(Clone, Copy)]
pub(super) struct Fates {
    deny: Fate,
    throttle: Fate,
}

impl Fates {
    pub(super) fn of(config: &FirewallConfig) -> Fates {
        Fates {
            deny: match config.deny {
                Deny::Drop => Fate::Drop,
                Deny::Reject => Fate::Reject,
            },
            throttle: Fate::Throttle { packets_per_second: config.throttle, burst: config.throttle },
        }
    }

    pub(super) fn of_group(self, group: &Group) -> Fate {
        match group.action {
            Action::Deny => self.deny,
            Action::Throttle => self.throttle,
        }
    }
}

/// What the kernel logs, if anything.
pub(super) fn log(config: &FirewallConfig) -> Option<Log> {
    config.log_prefix.clone().map(|prefix| Log { prefix, per_second: LOGGED_PER_SECOND })
}

/// Speaks to the kernel. Nothing is changed yet.
pub(super) fn open(config: &FirewallConfig, hooks: &[Hook], allow: Vec<Prefix>) -> Result<NftFilter, Error> {
    let hooks = hooks
        .iter()
        .map(|hook| KernelHook {
            at: match hook.at {
                HookPoint::Prerouting => KernelHookPoint::Prerouting,
                HookPoint::Input => KernelHookPoint::Input,
                HookPoint::Forward => KernelHookPoint::Forward,
            },
            priority: hook.priority,
        })
        .collect();
    let layout = Layout { table: config.table.clone(), hooks, allow, ..Layout::default() };
    Ok(NftFilter { nft: Nft::open(layout)?, fates: Fates::of(config), log: log(config) })
}

impl NftFilter {
    fn group(&self, group: &Group) -> KernelGroup {
        KernelGroup { name: group.to_string(), action: self.fates.of_group(group), log: self.log.clone() }
    }
}

fn element(element: Element) -> KernelElement {
    KernelElement {
        net: element.net,
        group: u32::from(element.group.0),
        timeout: Duration::from_millis(element.left_ms),
    }
}

/// What is there.
pub(super) fn held(held: &Held) -> Found {
    Found {
        group: u16::try_from(held.group).ok().map(GroupId),
        left_ms: held.remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// What was counted.
pub(super) fn traffic(counters: Counters) -> Traffic {
    let pair = |count: testudo_kernel::Count| (count.packets, count.bytes);
    Traffic {
        processed: counters.processed.map(pair),
        denied: counters.blocked.into_iter().map(|families| families.map(pair)).collect(),
    }
}

/// The same steps as the kernel takes them.
pub(super) fn kernel_changes(changes: &[Change], element: fn(Element) -> KernelElement) -> Vec<KernelChange> {
    let step = |change: &Change| match *change {
        Change::Add(new) => KernelChange::Add(element(new)),
        Change::Replace(new) => KernelChange::Refresh(element(new)),
        Change::Remove(net) => KernelChange::Remove(net),
    };
    changes.iter().map(step).collect()
}

/// What could not be done.
pub(super) fn failed(applied: Applied) -> Vec<Failed> {
    let failed = applied.failed.into_iter();
    failed
        .map(|(net, error)| Failed { net, problem: error.to_string(), is_full: matches!(error, Error::Full) })
        .collect()
}

impl Backend for NftFilter {
    type Error = FilterError;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, FilterError> {
        let groups: Vec<KernelGroup> = groups.iter().map(|group| self.group(group)).collect();
        if self.nft.layout().groups != groups {
            self.nft = Nft::open(Layout { groups, ..self.nft.layout().clone() })?;
        }
        Ok(failed(self.nft.replace(elements.iter().copied().map(element))?))
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, FilterError> {
        Ok(failed(self.nft.apply(&kernel_changes(changes, element))?))
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, FilterError> {
        Ok(self.nft.get(net)?.as_ref().map(held))
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), FilterError> {
        Ok(self.nft.allow(nets.to_vec())?)
    }

    fn traffic(&mut self) -> Result<Traffic, FilterError> {
        Ok(traffic(self.nft.counters()?))
    }

    fn is_whole(&mut self) -> Result<bool, FilterError> {
        Ok(matches!(self.nft.standing()?, Standing::AsLaidOut))
    }
}

impl Filter for NftFilter {
    fn remove(&mut self) -> Result<(), FilterError> {
        Ok(self.nft.remove_table()?)
    }
}
