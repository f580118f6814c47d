//! Changes of the elements while the table stands.

use std::collections::HashMap;

use rustix::io::Errno;
use testudo_event::Prefix;

use crate::element::{Element, Set};
use crate::error::Error;
use crate::netlink::{Batch, Message, Socket, attr, op};
use crate::place::{Places, no_set, normal, single};

/// How many changes are one transaction. The kernel answers each that fails, and the answers of all must find room.
pub(crate) const CHANGES_MAX: usize = 4_096;

/// How often a transaction is tried again without what failed. Each round, only what expired since the last one
/// can fail anew.
const ROUNDS_MAX: u32 = 8;

/// A change of what is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An element comes that is not there, as far as is known.
    Add(Element),
    /// An element that is there, as far as is known, gets this group and begins its time anew. Kernels before 6.12
    /// leave the time as it is when an element is only added again.
    Refresh(Element),
    /// The element with exactly this range goes.
    Remove(Prefix),
}

/// What became of changes.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many are in effect, or were overtaken by a later change of the same element.
    pub done: usize,
    /// What was to be removed and was not there: it had expired.
    pub gone: Vec<Prefix>,
    /// What failed, each by itself; the others are in effect.
    pub failed: Vec<(Prefix, Error)>,
}

impl Applied {
    pub(crate) fn extend(&mut self, mut more: Applied) {
        self.done += more.done;
        self.gone.append(&mut more.gone);
        self.failed.append(&mut more.failed);
    }
}

/// What is still to be done for a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Add,
    Renew,
    Delete,
    Nothing,
}

struct Item<'p> {
    element: Element,
    set: &'p Set,
    step: Step,
    /// Whether a deletion before the addition was tried.
    renewed: bool,
}

/// A message of a transaction: which change it belongs to, and whether it deletes.
struct Sent {
    item: usize,
    deletes: bool,
}

/// Carries out changes in their order, in transactions of some thousands.
pub(crate) fn apply(socket: &mut Socket, places: &Places, changes: &[Change]) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    let mut rest = changes;
    let mut size = CHANGES_MAX;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(size.min(rest.len()));
        match transaction(socket, places, part, &mut applied) {
            Ok(()) => rest = after,
            Err(error) if error.is_amount() && part.len() > 1 => size = part.len() / 2,
            Err(error) => return Err(error),
        }
    }
    Ok(applied)
}

fn transaction(
    socket: &mut Socket,
    places: &Places,
    changes: &[Change],
    applied: &mut Applied,
) -> Result<(), Error> {
    let mut outcome = Applied::default();
    let mut items: Vec<Item> = Vec::with_capacity(changes.len());
    let mut known: HashMap<Prefix, usize> = HashMap::with_capacity(changes.len());
    for change in changes {
        let mut item = match item(places, change)? {
            Ok(item) => item,
            Err(failed) => {
                outcome.failed.push(failed);
                continue;
            }
        };
        // Only the last change of an element counts: the kernel's trees do not find one that was deleted and added
        // in the same transaction.
        if let Some(before) = known.insert(item.element.net, items.len()) {
            items[before].step = Step::Nothing;
            outcome.done += 1;
            if item.step == Step::Add {
                (item.step, item.renewed) = (Step::Renew, true);
            }
        }
        items.push(item);
    }
    for _ in 0..ROUNDS_MAX {
        let mut batch = socket.batch();
        let sent = write(&mut batch, &items);
        if sent.is_empty() {
            break;
        }
        let first = batch.answered();
        let refusals = socket.commit(batch)?;
        if refusals.is_empty() {
            outcome.done += items.iter().filter(|item| item.step != Step::Nothing).count();
            applied.extend(outcome);
            return Ok(());
        }
        let refused = refusals.iter().filter_map(|refusal| {
            // The messages are numbered one after the other.
            let sent = sent.get(refusal.seq.wrapping_sub(first) as usize)?;
            Some((sent, refusal.errno))
        });
        learn(socket, &mut items, refused, &mut outcome)?;
    }
    if items.iter().any(|item| item.step != Step::Nothing) {
        return Err(Error::Restless);
    }
    applied.extend(outcome);
    Ok(())
}

fn item<'p>(places: &'p Places, change: &Change) -> Result<Result<Item<'p>, (Prefix, Error)>, Error> {
    let (element, step) = match *change {
        Change::Add(element) => (places.checked(element)?, Step::Add),
        Change::Refresh(element) => (places.checked(element)?, Step::Renew),
        Change::Remove(net) => {
            (Element { net: normal(net), group: 0, timeout: std::time::Duration::ZERO }, Step::Delete)
        }
    };
    Ok(match places.find(element.net) {
        Some(set) => Ok(Item { element, set, step, renewed: step == Step::Renew }),
        None => Err((element.net, no_set(element.net))),
    })
}

/// One message for each deletion and addition, so that the kernel's answers tell which failed.
fn write(batch: &mut Batch, items: &[Item]) -> Vec<Sent> {
    let mut sent = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let Item { element, set, .. } = item;
        if matches!(item.step, Step::Renew | Step::Delete) {
            let message = Message::plain(op::DEL_ELEMENT, set.family);
            single(batch, message, set, |list| set.put_key(list, element.net));
            sent.push(Sent { item: index, deletes: true });
        }
        if matches!(item.step, Step::Renew | Step::Add) {
            let message = Message::create(op::NEW_ELEMENT, set.family);
            single(batch, message, set, |list| set.put(list, element));
            sent.push(Sent { item: index, deletes: false });
        }
    }
    sent
}

/// Takes what failed out of the next round, or has it done in another way.
fn learn<'s>(
    socket: &mut Socket,
    items: &mut [Item],
    refused: impl Iterator<Item = (&'s Sent, Errno)>,
    outcome: &mut Applied,
) -> Result<(), Error> {
    let mut there: Vec<&str> = Vec::new();
    for (sent, errno) in refused {
        let item = &mut items[sent.item];
        if errno == Errno::NOENT && !there.contains(&item.set.name.as_str()) {
            require(socket, item.set)?;
            there.push(&item.set.name);
        }
        match (sent.deletes, errno) {
            (true, Errno::NOENT) if item.step == Step::Delete => {
                outcome.gone.push(item.element.net);
                item.step = Step::Nothing;
            }
            (true, Errno::NOENT) if item.step == Step::Renew => item.step = Step::Add,
            // It is there, in another group perhaps.
            (false, Errno::EXIST | Errno::NOTEMPTY | Errno::BUSY) if !item.renewed => {
                item.step = Step::Renew;
                item.renewed = true;
            }
            (_, Errno::NOMEM) => return Err(Error::NoMemory),
            (_, errno) => fail(item, errno, outcome),
        }
    }
    Ok(())
}

fn fail(item: &mut Item, errno: Errno, outcome: &mut Applied) {
    if item.step != Step::Nothing {
        item.step = Step::Nothing;
        outcome.failed.push((item.element.net, Error::element("changing an element", errno)));
    }
}

/// That the set is there at all: "no such entry" is said of sets and of elements.
fn require(socket: &mut Socket, set: &Set) -> Result<(), Error> {
    let found = socket.ask(
        Message::plain(op::GET_SET, set.family),
        |message| {
            message.text(attr::SET_TABLE, &set.table);
            message.text(attr::SET_NAME, &set.name);
        },
        |_| (),
    );
    found.map_err(|error| match error.errno() {
        Some(Errno::NOENT) => Error::NotThere(format!("the set '{}' of table '{}'", set.name, set.table)),
        _ => error,
    })
}
