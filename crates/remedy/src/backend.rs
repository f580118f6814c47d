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
    /// moment in between in which what was there before and still is to be there is not.
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
