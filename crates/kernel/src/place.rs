//! Which set an element belongs in.

use testudo_event::Prefix;

use crate::blueprint::{hosts, nets};
use crate::element::{Element, Set, Stream};
use crate::error::Error;
use crate::netlink::{Batch, INET, Message, attr, op};
use crate::rule::Family;

/// The sets that are filled.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sets: Vec<(Family, Set)>,
    /// How many groups there are; `None` where elements have none.
    groups: Option<usize>,
}

impl Places {
    /// The maps of our own table.
    pub(crate) fn own(table: &str, groups: usize) -> Places {
        let set = |name, interval| Set {
            family: INET,
            table: table.to_owned(),
            name,
            interval,
            map: true,
            timed: true,
        };
        let sets = Family::BOTH
            .into_iter()
            .flat_map(|family| [(family, set(hosts(family), false)), (family, set(nets(family), true))])
            .collect();
        Places { sets, groups: Some(groups) }
    }

    /// Sets of the user.
    pub(crate) fn of_user(sets: Vec<(Family, Set)>) -> Places {
        Places { sets, groups: None }
    }

    /// All sets.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().map(|(_, set)| set)
    }

    /// The sets of the family of a prefix.
    pub(crate) fn of_family(&self, net: Prefix) -> impl Iterator<Item = &Set> {
        let family = Family::of(net);
        self.sets.iter().filter(move |(found, _)| *found == family).map(|(_, set)| set)
    }

    /// The set of a prefix.
    pub(crate) fn find(&self, net: Prefix) -> Option<&Set> {
        self.index(net).map(|index| &self.sets[index].1)
    }

    /// The place of the set of a prefix.
    pub(crate) fn index(&self, net: Prefix) -> Option<usize> {
        let family = Family::of(net);
        let single = net == Prefix::single(net.addr());
        let fits =
            |interval| self.sets.iter().position(|(found, set)| *found == family && set.interval == interval);
        if single { fits(false).or_else(|| fits(true)) } else { fits(true) }
    }

    /// The element as it is written, if its group is there.
    pub(crate) fn checked(&self, element: Element) -> Result<Element, Error> {
        let element = Element { net: normal(element.net), ..element };
        match self.groups {
            Some(groups) if element.group as usize >= groups => {
                Err(Error::NoSuchGroup { net: element.net, group: element.group, groups })
            }
            _ => Ok(element),
        }
    }

    /// Adds elements to a batch; how many.
    pub(crate) fn fill(
        &self,
        batch: &mut Batch,
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<usize, Error> {
        let mut streams: Vec<_> = self.sets().map(Stream::new).collect();
        let mut count = 0;
        for element in elements {
            count += 1;
            let element = self.checked(element)?;
            let index = self.index(element.net).ok_or_else(|| no_set(element.net))?;
            streams[index].push(batch, &element);
        }
        for stream in streams {
            batch.append(stream.finish());
        }
        Ok(count)
    }
}

/// A prefix without bits after its length; a mapped one is IPv4.
pub(crate) fn normal(net: Prefix) -> Prefix {
    net.canonical().network()
}

/// There is no set for an element.
pub(crate) fn no_set(net: Prefix) -> Error {
    let problem = if net == Prefix::single(net.addr()) {
        "has no set of its family"
    } else {
        "has no set of its family that holds ranges ('flags interval')"
    };
    Error::Set { set: net.to_string(), problem }
}

/// Empties a set.
pub(crate) fn flush(batch: &mut Batch, set: &Set) -> u32 {
    batch.message(Message::plain(op::DEL_ELEMENT, set.family), |message| set.address(message))
}

/// Adds or deletes one element; `put` writes it.
pub(crate) fn single(
    batch: &mut Batch,
    message: Message,
    set: &Set,
    put: impl FnOnce(&mut crate::netlink::Bytes),
) -> u32 {
    batch.message(message, |bytes| {
        set.address(bytes);
        bytes.nest(attr::ELEMENTS_LIST, put);
    })
}
