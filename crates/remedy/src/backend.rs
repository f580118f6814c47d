//! What enforces: the packet filter of a kernel, or another one.

use testudo_event::Prefix;

use crate::group::{Group, GroupId};

/// A network whose traffic is dealt with until some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// An address, or a network that overlaps no other of the same backend.
    pub net: Prefix,
    /// As a part of what.
    pub group: GroupId,
    /// Milliseconds that are left; at least 1.
    pub left_ms: u64,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An element that is not there.
    Add(Element),
    /// An element takes the place of one with the same network.
    Replace(Element),
    /// A network is dealt with no longer. It may be gone already.
    Remove(Prefix),
}

impl Change {
    /// The network that it is about.
    pub fn net(&self) -> Prefix {
        match self {
            Change::Add(element) | Change::Replace(element) => element.net,
            Change::Remove(net) => *net,
        }
    }
}

/// A change that could not be made; the others were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The network that it was about.
    pub net: Prefix,
    /// Why.
    pub problem: String,
    /// Whether it was for want of room.
    pub is_full: bool,
}

/// What is there about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// As a part of what; nothing where that cannot be told.
    pub group: Option<GroupId>,
    /// Milliseconds that are left; nothing where it has no end.
    pub left_ms: Option<u64>,
}

/// Packets and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What was looked at: of IPv4, of IPv6.
    pub processed: [(u64, u64); 2],
    /// What was denied of IPv4 and of IPv6, by the numbers of groups; some may be missing at the end.
    pub denied: Vec<[(u64, u64); 2]>,
}

/// What enforces.
pub trait Backend {
    /// Why nothing of a call was done.
    type Error: std::error::Error;

    /// Puts exactly these elements into force, in place of whatever was, and tells those that could not be. There is no
    /// moment in between in which what was there before and still is to be there is not. Where there may be no room for all
    /// ([`Backend::is_bounded`]), the first weigh most, and stay.
    ///
    /// # Errors
    /// What was in force before stays so, as far as it was.
    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, Self::Error>;

    /// Makes changes, and tells those that could not be made. The groups are those of the last call of
    /// [`Backend::replace`].
    ///
    /// # Errors
    /// None was made, or it cannot be told which.
    fn apply(&mut self, groups: &[Group], changes: &[Change]) -> Result<Vec<Failed>, Self::Error>;

    /// What is really there about one network.
    ///
    /// # Errors
    /// It cannot be asked.
    fn find(&mut self, net: Prefix) -> Result<Option<Found>, Self::Error>;

    /// What is really there about some networks, in their order.
    ///
    /// # Errors
    /// It cannot be asked.
    fn find_each(&mut self, nets: &[Prefix]) -> Result<Vec<Option<Found>>, Self::Error> {
        nets.iter().map(|net| self.find(*net)).collect()
    }

    /// The fewest networks that it is worth asking about at once: more than one where an answer costs as much for many.
    fn sample_least(&self) -> usize {
        1
    }

    /// The longest time that an element can have. One that is to stay longer has this time, and is put again before it
    /// has run out.
    fn longest_ms(&self) -> u64 {
        u64::MAX
    }

    /// Whether elements end by themselves. Where they do not, each that is over is removed.
    fn ends_by_itself(&self) -> bool {
        true
    }

    /// Whether there may be no room for all elements.
    fn is_bounded(&self) -> bool {
        false
    }

    /// The number of the room that an element takes up: one of the same number may give way to it.
    fn room(&self, net: Prefix, group: GroupId) -> u32 {
        let _ = group;
        u32::from(net.addr().is_ipv6())
    }

    /// These pass from now on, whatever is in force. Not every backend can do that.
    ///
    /// # Errors
    /// Others pass, as before.
    fn allow(&mut self, nets: &[Prefix]) -> Result<(), Self::Error> {
        let _ = nets;
        Ok(())
    }

    /// What was counted since the elements were put into force. Not everything that enforces counts.
    ///
    /// # Errors
    /// It cannot be asked.
    fn traffic(&mut self) -> Result<Traffic, Self::Error> {
        Ok(Traffic::default())
    }

    /// Whether everything around the elements is there: without it they do nothing.
    ///
    /// # Errors
    /// It cannot be asked.
    fn is_whole(&mut self) -> Result<bool, Self::Error>;
}

impl<B: Backend + ?Sized> Backend for Box<B> {
    type Error = B::Error;

    fn replace(&mut self, groups: &[Group], elements: &[Element]) -> Result<Vec<Failed>, Self::Error> {
        (**self).replace(groups, elements)
    }

    fn apply(&mut self, groups: &[Group], changes: &[Change]) -> Result<Vec<Failed>, Self::Error> {
        (**self).apply(groups, changes)
    }

    fn find(&mut self, net: Prefix) -> Result<Option<Found>, Self::Error> {
        (**self).find(net)
    }

    fn find_each(&mut self, nets: &[Prefix]) -> Result<Vec<Option<Found>>, Self::Error> {
        (**self).find_each(nets)
    }

    fn sample_least(&self) -> usize {
        (**self).sample_least()
    }

    fn longest_ms(&self) -> u64 {
        (**self).longest_ms()
    }

    fn ends_by_itself(&self) -> bool {
        (**self).ends_by_itself()
    }

    fn is_bounded(&self) -> bool {
        (**self).is_bounded()
    }

    fn room(&self, net: Prefix, group: GroupId) -> u32 {
        (**self).room(net, group)
    }

    fn allow(&mut self, nets: &[Prefix]) -> Result<(), Self::Error> {
        (**self).allow(nets)
    }

    fn traffic(&mut self) -> Result<Traffic, Self::Error> {
        (**self).traffic()
    }

    fn is_whole(&mut self) -> Result<bool, Self::Error> {
        (**self).is_whole()
    }
}
