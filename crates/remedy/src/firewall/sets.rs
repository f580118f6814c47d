//! Sets of nftables that belong to rules of the user's own, as a backend.

use std::time::Duration;

use testudo_event::Prefix;
use testudo_kernel::{Element as KernelElement, Error, SetFamily, SetName, Standing, UserSets};

use super::config::SetPlace;
use super::filter::{Filter, FilterError};
use super::nft::{failed, held, kernel_changes};
use crate::backend::{Backend, Change, Element, Failed, Found};
use crate::group::Group;

/// A set, and where in it.
pub(super) struct SetFilter {
    v4: SetPlace,
    v6: Option<SetPlace>,
    sets: UserSets,
}

impl SetFilter {
    /// Looks at the sets, which must be there and hold networks that end.
    pub(super) fn open(v4: &SetPlace, v6: Option<&SetPlace>) -> Result<Self, FilterError> {
        let mut names = vec![look(v4, SetFamily::Ip, "ipv4_addr", [10, 0, 0, 0].into())?];
        if let Some(v6) = v6 {
            names.push(look(v6, SetFamily::Ip6, "ipv6_addr", [0xfd00, 0, 0, 0, 0, 0, 0, 0].into())?);
        }
        Ok(SetFilter { v4: v4.clone(), v6: v6.cloned(), sets: UserSets::open(&names)? })
    }
}

/// Finds a set in a table of its family, or in one of both.
fn look(
    place: &SetPlace,
    family: SetFamily,
    kind: &str,
    addr: std::net::IpAddr,
) -> Result<SetName, FilterError> {
    let SetPlace { table, set } = place;
    let name = |family| SetName { family, table: table.clone(), set: set.clone() };
    let named = if family == SetFamily::Ip { "ip" } else { "ip6" };
    let command = |named: &str| {
        format!(
            "nft add table {named} {table}; nft 'add set {named} {table} {set} {{ type {kind}; flags interval, timeout; }}'"
        )
    };
    for (family, named) in [(family, named), (SetFamily::Inet, "inet")] {
        let wrong = |problem: String| FilterError::Set {
            problem: format!("{problem}; delete it (nft delete set {named} {table} {set})"),
            command: command(named),
        };
        match UserSets::open(&[name(family)]) {
            Ok(sets) if sets.holds(Prefix::covering(addr, 8).unwrap_or(Prefix::single(addr))) => {
                return Ok(name(family));
            }
            Ok(sets) if sets.holds(Prefix::single(addr)) => {
                let problem =
                    format!("the set '{set}' of table '{table}' holds no networks ('flags interval')");
                return Err(wrong(problem));
            }
            Ok(_) => return Err(wrong(format!("the set '{set}' of table '{table}' is not of type {kind}"))),
            Err(Error::NotThere(_)) => {}
            Err(error @ Error::Set { .. }) => return Err(wrong(error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    let problem = format!("the set '{set}' of table '{named} {table}', or 'inet {table}', is not there");
    Err(FilterError::Set { problem, command: command(named) })
}

/// Elements of such sets are of no group.
fn element(element: Element) -> KernelElement {
    KernelElement { net: element.net, group: 0, timeout: Duration::from_millis(element.left_ms) }
}

impl Backend for SetFilter {
    type Error = FilterError;

    fn replace(&mut self, _: &[Group], elements: &[Element]) -> Result<Vec<Failed>, FilterError> {
        // The user may have made them anew.
        let again = SetFilter::open(&self.v4, self.v6.as_ref())?;
        self.sets = again.sets;
        let elements: Vec<KernelElement> = elements.iter().copied().map(element).collect();
        Ok(failed(self.sets.replace_fitting(&elements)?))
    }

    fn apply(&mut self, _: &[Group], changes: &[Change]) -> Result<Vec<Failed>, FilterError> {
        Ok(failed(self.sets.apply(&kernel_changes(changes, element))?))
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, FilterError> {
        let found = self.sets.get(net)?;
        Ok(found.map(|found| Found { group: None, ..held(&found) }))
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn is_whole(&mut self) -> Result<bool, FilterError> {
        match self.sets.standing()? {
            Standing::AsLaidOut => Ok(true),
            Standing::Gone => Ok(false),
            Standing::Changed(what) => {
                tracing::warn!("{what}");
                Ok(false)
            }
        }
    }
}

impl Filter for SetFilter {
    fn remove(&mut self) -> Result<(), FilterError> {
        Ok(self.sets.replace([])?)
    }
}
