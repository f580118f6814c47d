//! Questions about the elements that the kernel holds.

use std::net::IpAddr;

use rustix::io::Errno;
use testudo_event::Prefix;

use crate::element::{Held, Set, Told, before, cover, end_key, next, ranges, start_key, told};
use crate::error::Error;
use crate::netlink::{Bytes, Message, Socket, attr, op};
use crate::place::{Places, normal};

/// The element with exactly this range.
pub(crate) fn get(socket: &mut Socket, places: &Places, net: Prefix) -> Result<Option<Held>, Error> {
    let net = normal(net);
    let Some(set) = places.find(net) else { return Ok(None) };
    let found = covering_in(socket, set, net.first())?;
    Ok(found.filter(|held| held.net == net))
}

/// The element that an address is in.
pub(crate) fn covering(socket: &mut Socket, places: &Places, addr: IpAddr) -> Result<Option<Held>, Error> {
    let addr = addr.to_canonical();
    for set in places.of_family(Prefix::single(addr)) {
        if let Some(held) = covering_in(socket, set, addr)? {
            return Ok(Some(held));
        }
    }
    Ok(None)
}

/// All elements. The kernel takes long for many: the time grows with the square of their number.
pub(crate) fn list(socket: &mut Socket, places: &Places) -> Result<Vec<Held>, Error> {
    let mut all = Vec::new();
    for set in places.sets() {
        let found: Vec<Told> = socket
            .dump(
                Message::plain(op::GET_ELEMENT, set.family),
                |message| set.address(message),
                |answer, list| list.extend(told(answer)),
            )
            .map_err(|error| missing(error, set))?;
        if set.interval {
            all.append(&mut ranges(found));
        } else {
            all.extend(found.into_iter().map(|told| Held {
                net: Prefix::single(told.addr),
                group: told.group,
                remaining: told.remaining,
            }));
        }
    }
    Ok(all)
}

fn covering_in(socket: &mut Socket, set: &Set, addr: IpAddr) -> Result<Option<Held>, Error> {
    let Some(start) = one(socket, set, |item| start_key(item, addr))?.filter(|told| !told.end) else {
        return Ok(None);
    };
    if !set.interval {
        let net = Prefix::single(start.addr);
        return Ok(Some(Held { net, group: start.group, remaining: start.remaining }));
    }
    let last = last_of(socket, set, start.addr, addr)?;
    let mut found = None;
    cover(start.addr, last, |net| {
        if net.contains(addr) {
            found = Some(Held { net, group: start.group, remaining: start.remaining });
        }
    });
    Ok(found)
}

/// The last address of the range that begins at `start` and has `addr` in it.
///
/// The kernel finds the next end from an address on only if no other range begins at that address, so it is asked
/// with one that is in the range, but not at its beginning.
fn last_of(socket: &mut Socket, set: &Set, start: IpAddr, addr: IpAddr) -> Result<IpAddr, Error> {
    let mut inner = addr;
    if inner == start {
        let Some(second) = next(start) else { return Ok(start) };
        let found = one(socket, set, |item| start_key(item, second))?;
        if found.is_none_or(|told| told.addr != start) {
            return Ok(start);
        }
        inner = second;
    }
    let end = one(socket, set, |item| end_key(item, inner))?;
    Ok(end.map_or_else(|| highest(addr), |end| before(end.addr)))
}

fn highest(addr: IpAddr) -> IpAddr {
    Prefix::covering(addr, 0).map_or(addr, Prefix::last)
}

fn one(socket: &mut Socket, set: &Set, key: impl FnOnce(&mut Bytes)) -> Result<Option<Told>, Error> {
    let mut found = None;
    let asked = socket.ask(
        Message::plain(op::GET_ELEMENT, set.family),
        |message| {
            set.address(message);
            message.nest(attr::ELEMENTS_LIST, |list| list.nest(attr::LIST_ITEM, key));
        },
        |answer| found = told(answer).next(),
    );
    match asked {
        Ok(()) => Ok(found),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn missing(error: Error, set: &Set) -> Error {
    match error.errno() {
        Some(Errno::NOENT) => Error::NotThere(format!("the set '{}' of table '{}'", set.name, set.table)),
        _ => error,
    }
}
