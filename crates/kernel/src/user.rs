//! Sets that belong to the user, who has rules of his own for them.

use std::net::IpAddr;

use rustix::io::Errno;
use testudo_event::Prefix;

use crate::apply::{Applied, Change, apply};
use crate::element::{Element, Held, Set};
use crate::error::Error;
use crate::lookup;
use crate::netlink::{Attributes, Message, Socket, attr, be_u32, flag, op};
use crate::place::{Places, flush, no_set, normal};
use crate::rule::Family;
use crate::standing::Standing;

/// The family of the table that a set is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetFamily {
    /// `ip`
    Ip,
    /// `ip6`
    Ip6,
    /// `inet`
    Inet,
    /// `bridge`
    Bridge,
    /// `netdev`
    Netdev,
}

impl SetFamily {
    fn number(self) -> u8 {
        match self {
            SetFamily::Inet => 1,
            SetFamily::Ip => 2,
            SetFamily::Netdev => 5,
            SetFamily::Bridge => 7,
            SetFamily::Ip6 => 10,
        }
    }
}

/// Where a set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetName {
    /// The family of its table.
    pub family: SetFamily,
    /// Its table.
    pub table: String,
    /// Its name.
    pub set: String,
}

/// Sets of the user's own that are filled, and nothing else: no table, chain or rule is made or changed.
///
/// A set is declared as `type ipv4_addr` or `type ipv6_addr`, with `flags timeout`, and with `flags
/// interval,timeout` if ranges are to be put in it.
#[derive(Debug)]
pub struct UserSets {
    socket: Socket,
    names: Vec<SetName>,
    places: Places,
}

impl UserSets {
    /// Connects with the kernel and looks at the sets. There may be two of a family: one that holds ranges, and
    /// one for single addresses.
    pub fn open(names: &[SetName]) -> Result<UserSets, Error> {
        if names.is_empty() {
            return Err(Error::NoSets);
        }
        let mut socket = Socket::open()?;
        let sets = names.iter().map(|name| look(&mut socket, name)).collect::<Result<_, _>>()?;
        Ok(UserSets { socket, names: names.to_vec(), places: Places::of_user(sets) })
    }

    /// Puts these elements, which share no address, in the place of all that is in the sets, in one transaction.
    pub fn replace(&mut self, elements: impl IntoIterator<Item = Element>) -> Result<(), Error> {
        let elements: Vec<Element> = elements.into_iter().collect();
        let all: Vec<usize> = (0..self.names.len()).collect();
        self.fill(&all, &elements)
    }

    /// The same, of which the first are the last that there is no room for: a set that is full has as many as fit, and the
    /// others are told. Elements without a set are told, too.
    pub fn replace_fitting(&mut self, elements: &[Element]) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let mut of: Vec<Vec<Element>> = vec![Vec::new(); self.places.sets().count()];
        for element in elements {
            match self.places.index(normal(element.net)) {
                Some(set) => of[set].push(*element),
                None => applied.failed.push((element.net, no_set(element.net))),
            }
        }
        let all: Vec<usize> = (0..of.len()).collect();
        match self.fill(&all, of.iter().flatten()) {
            Ok(()) => applied.done = of.iter().map(Vec::len).sum(),
            Err(Error::Full) => {
                for (set, elements) in of.iter().enumerate() {
                    let fit = self.fill_fitting(set, elements)?;
                    applied.done += fit;
                    applied.failed.extend(elements[fit..].iter().map(|element| (element.net, Error::Full)));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(applied)
    }

    /// Fills a set with as many elements as fit; how many these are. Only the kernel knows how it counts.
    fn fill_fitting(&mut self, set: usize, elements: &[Element]) -> Result<usize, Error> {
        let (mut fit, mut too_many) = (0, elements.len() + 1);
        let mut count = elements.len();
        loop {
            match self.fill(&[set], &elements[..count]) {
                Ok(()) => fit = count,
                Err(Error::Full) => too_many = count,
                Err(error) => return Err(error),
            }
            if fit + 1 >= too_many {
                return Ok(fit);
            }
            count = usize::midpoint(fit, too_many);
        }
    }

    /// Puts elements in the place of all that is in some sets.
    fn fill<'e>(
        &mut self,
        sets: &[usize],
        elements: impl IntoIterator<Item = &'e Element>,
    ) -> Result<(), Error> {
        let mut batch = self.socket.batch();
        for (_, set) in self.places.sets().enumerate().filter(|(at, _)| sets.contains(at)) {
            flush(&mut batch, set);
        }
        self.places.fill(&mut batch, elements.into_iter().copied())?;
        let refusals = self.socket.commit(batch)?;
        refusals.first().map_or(Ok(()), |first| {
            Err(match Error::element("filling the sets", first.errno) {
                Error::Io { .. } if first.errno == Errno::NOENT => {
                    Error::NotThere("one of the sets".to_owned())
                }
                error => error,
            })
        })
    }

    /// Whether there is a set that may hold a range, or an address.
    pub fn holds(&self, net: Prefix) -> bool {
        self.places.find(normal(net)).is_some()
    }

    /// Whether the sets are there as they were.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn standing(&mut self) -> Result<Standing, Error> {
        for name in &self.names {
            match look(&mut self.socket, name) {
                Ok((_, set)) if self.places.sets().any(|known| known.is_like(&set)) => {}
                Ok(_) => return Ok(Standing::Changed(format!("the set {} is another", name.set))),
                Err(Error::NotThere(_)) => return Ok(Standing::Gone),
                Err(Error::Set { set, problem }) => {
                    return Ok(Standing::Changed(format!("the set '{set}' {problem}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Standing::AsLaidOut)
    }

    /// Changes elements, in their order, in transactions of some thousands. Changes that fail do so by themselves.
    /// An error says that the changes from some point on are not in effect.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Applied, Error> {
        apply(&mut self.socket, &self.places, changes)
    }

    /// The element with exactly this range, if the kernel holds it.
    pub fn get(&mut self, net: Prefix) -> Result<Option<Held>, Error> {
        lookup::get(&mut self.socket, &self.places, net)
    }

    /// The element that an address is in, if the kernel holds one.
    pub fn covering(&mut self, addr: IpAddr) -> Result<Option<Held>, Error> {
        lookup::covering(&mut self.socket, &self.places, addr)
    }

    /// All elements. To be asked rarely: the kernel's time for it grows with the square of their number.
    pub fn list(&mut self) -> Result<Vec<Held>, Error> {
        lookup::list(&mut self.socket, &self.places)
    }
}

fn look(socket: &mut Socket, name: &SetName) -> Result<(Family, Set), Error> {
    let family = name.family.number();
    let (mut flags, mut key_bytes) = (0, 0);
    socket
        .ask(
            Message::plain(op::GET_SET, family),
            |message| {
                message.text(attr::SET_TABLE, &name.table);
                message.text(attr::SET_NAME, &name.set);
            },
            |answer| {
                let number = |kind| Attributes::new(answer).get(kind).and_then(be_u32).unwrap_or_default();
                (flags, key_bytes) = (number(attr::SET_FLAGS), number(attr::SET_KEY_LEN));
            },
        )
        .map_err(|error| match error.errno() {
            Some(Errno::NOENT) => {
                Error::NotThere(format!("the set '{}' of table '{}'", name.set, name.table))
            }
            _ => error,
        })?;
    let problem = |problem| Error::Set { set: name.set.clone(), problem };
    let of = match key_bytes {
        4 => Family::V4,
        16 => Family::V6,
        _ => return Err(problem("is not of type ipv4_addr or ipv6_addr")),
    };
    if flags & flag::SET_MAP != 0 {
        return Err(problem("is a map; a plain set is needed"));
    }
    if flags & flag::SET_TIMEOUT == 0 {
        return Err(problem("lets nothing expire; declare it with 'flags timeout'"));
    }
    let set = Set {
        family,
        table: name.table.clone(),
        name: name.set.clone(),
        interval: flags & flag::SET_INTERVAL != 0,
        map: false,
        timed: true,
    };
    Ok((of, set))
}
