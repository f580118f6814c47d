//! iptables as a backend: a chain of our own, and sets of ipset.

use std::time::{Duration, Instant};

use testudo_event::Prefix;
use testudo_kernel::{
    Action as Fate, Element as KernelElement, Group as KernelGroup, IPSET_TIMEOUT_MAX, IpsetApplied,
    IpsetKind, Log, OwnIpsets, ProgramError, Xtables, XtablesLayout, XtablesPrograms,
};

use super::config::{FirewallConfig, IptablesMode};
use super::filter::{Filter, FilterError};
use super::nft::{Fates, traffic};
use crate::backend::{Backend, Change, Element, Failed, Found, Traffic};
use crate::group::{Group, GroupId};

/// All elements are read to find any: as many are looked for at once.
pub(super) const SAMPLE_LEAST: usize = 50_000;

/// Counts are as old as this: they are asked for with each change.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The chain and the sets that are ours.
pub(super) struct XtablesFilter {
    tables: Xtables,
    fates: Fates,
    log: Option<Log>,
    /// Chains that are not there, of which it was told.
    absent: Vec<String>,
    /// Chains in which others come before ours, of which it was told.
    preceded: Vec<String>,
    /// What was counted, and when.
    counted: Option<(Instant, Traffic)>,
}

impl XtablesFilter {
    pub(super) fn open(
        config: &FirewallConfig,
        mode: &IptablesMode,
        allow: Vec<Prefix>,
    ) -> Result<Self, ProgramError> {
        let [chains_v4, chains_v6] = mode.chains.clone();
        let layout = XtablesLayout {
            name: config.table.clone(),
            chains_v4,
            chains_v6,
            ipv6: config.rules.ipv6,
            sets: OwnIpsets {
                prefix: config.table.clone(),
                kind: if mode.hosts_only { IpsetKind::Hosts } else { IpsetKind::Nets },
                room: mode.size[0],
                room_most: mode.size[1],
                ipv6: config.rules.ipv6,
            },
            groups: Vec::new(),
            allow,
            comments: mode.comments,
        };
        let tables = Xtables::open(layout, &XtablesPrograms::default())?;
        Ok(XtablesFilter {
            tables,
            fates: Fates::of(config),
            log: super::nft::log(config),
            absent: Vec::new(),
            preceded: Vec::new(),
            counted: None,
        })
    }

    fn group(&self, group: &Group) -> KernelGroup {
        let action: Fate = self.fates.of_group(group);
        KernelGroup { name: group.to_string(), action, log: self.log.clone() }
    }

    /// Tells of chains that are named and not there: those of Docker come with it.
    fn tell_absent(&mut self) -> Result<(), ProgramError> {
        let absent = self.tables.absent()?;
        if absent != self.absent {
            if !absent.is_empty() {
                let chains = absent.join(", ");
                tracing::warn!(
                    chains,
                    "chains are not there; packets of theirs are looked at as soon as they are"
                );
            }
            self.absent = absent;
        }
        Ok(())
    }

    /// Tells of chains in which rules of others stand before the one that leads to ours.
    fn tell_preceded(&mut self) -> Result<(), ProgramError> {
        let preceded = self.tables.preceded()?;
        if preceded != self.preceded {
            if !preceded.is_empty() {
                let chains = preceded.join(", ");
                tracing::warn!(
                    chains,
                    "rules of others stand before ours, and may let pass who is banned; a restart puts ours first"
                );
            }
            self.preceded = preceded;
        }
        Ok(())
    }
}

pub(super) fn element(element: &Element) -> KernelElement {
    KernelElement {
        net: element.net,
        group: u32::from(element.group.0),
        timeout: Duration::from_millis(element.left_ms),
    }
}

pub(super) fn failed(applied: IpsetApplied) -> Vec<Failed> {
    let full = applied.full.into_iter().map(|(net, problem)| Failed { net, problem, is_full: true });
    full.chain(applied.failed.into_iter().map(|(net, problem)| Failed { net, problem, is_full: false }))
        .collect()
}

/// Elements that come, and networks that go.
pub(super) fn parted(changes: &[Change]) -> (Vec<Element>, Vec<Prefix>) {
    let (mut come, mut go) = (Vec::new(), Vec::new());
    for change in changes {
        match *change {
            Change::Add(element) | Change::Replace(element) => come.push(element),
            Change::Remove(net) => go.push(net),
        }
    }
    (come, go)
}

pub(super) const LONGEST_MS: u64 = IPSET_TIMEOUT_MAX.as_secs() * 1_000;

impl Backend for XtablesFilter {
    type Error = FilterError;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, FilterError> {
        let groups: Vec<KernelGroup> = groups.iter().map(|group| self.group(group)).collect();
        let elements: Vec<KernelElement> = elements.iter().map(element).collect();
        let applied = self.tables.replace(&groups, &elements)?;
        self.tell_absent()?;
        Ok(failed(applied))
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, FilterError> {
        let (come, go) = parted(changes);
        let come: Vec<KernelElement> = come.iter().map(element).collect();
        Ok(failed(self.tables.apply(&come, &go)?))
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, FilterError> {
        Ok(self.find_each(&[net])?.pop().flatten())
    }

    fn find_each(&mut self, nets: &[Prefix]) -> Result<Vec<Option<Found>>, FilterError> {
        let found = self.tables.find(nets)?;
        Ok(found.iter().map(|found| found.as_ref().map(super::nft::held)).collect())
    }

    fn sample_least(&self) -> usize {
        SAMPLE_LEAST
    }

    fn longest_ms(&self) -> u64 {
        LONGEST_MS
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn room(&self, net: Prefix, group: GroupId) -> u32 {
        u32::from(group.0) * 2 + u32::from(net.addr().is_ipv6())
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), FilterError> {
        Ok(self.tables.allow(nets.to_vec())?)
    }

    fn traffic(&mut self) -> Result<Traffic, FilterError> {
        if let Some((at, counted)) = &self.counted
            && at.elapsed() < COUNT_EVERY
        {
            return Ok(counted.clone());
        }
        let counted = traffic(self.tables.counters()?);
        self.counted = Some((Instant::now(), counted.clone()));
        Ok(counted)
    }

    fn is_whole(&mut self) -> Result<bool, FilterError> {
        let difference = self.tables.difference()?;
        if let Some(difference) = &difference {
            tracing::warn!("{difference}");
        } else {
            self.tell_preceded()?;
        }
        Ok(difference.is_none())
    }
}

impl Filter for XtablesFilter {
    fn remove(&mut self) -> Result<(), FilterError> {
        Ok(self.tables.remove()?)
    }
}
