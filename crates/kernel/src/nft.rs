//! The table that is ours.

use std::net::IpAddr;

use rustix::io::Errno;
use testudo_event::Prefix;

use crate::apply::{Applied, CHANGES_MAX, Change, apply};
use crate::blueprint::{Blueprint, Chain, GROUPS, OBJECT_COUNTER, Set, allow, blocked, processed};
use crate::element::{self, Element, Held, mark};
use crate::error::Error;
use crate::layout::{Layout, legal};
use crate::lookup;
use crate::netlink::{
    Attributes, Batch, Bytes, INET, Message, Refusal, Socket, attr, be_u32, be_u64, flag, op, text,
};
use crate::place::{Places, flush, normal};
use crate::rule::{Family, jump};
use crate::standing::{self, Standing};

const ACCEPT: u32 = 1;

/// Elements of the first transaction of a new table. Each further one has twice as many as the one before, up to the most.
const FILL_FIRST: usize = 4_096;
const FILL_MOST: usize = 32_768;

/// The kind of user data that nft takes for the comment of a rule.
const COMMENT: u8 = 0;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What was counted since the table was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets of IPv4 and of IPv6 that were looked at, those of the loopback interface left out.
    pub processed: [Count; 2],
    /// For each group of the layout: packets of IPv4 and of IPv6 that did not pass.
    pub blocked: Vec<[Count; 2]>,
}

/// Our table in the kernel.
///
/// It has the name that the layout gives, or that and `-b` or `-c`: a new table is made beside the old one, and the old one
/// is deleted when the new one is at work. One transaction would not do, although it is atomic for the rules: a
/// packet on its way then may meet the new table's hook when that has no rules yet, and the old one's when that has
/// none any more.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    layout: Layout,
    table: String,
    places: Places,
}

impl Nft {
    /// Connects with the kernel. Nothing there is changed yet: a table that stands goes on.
    pub fn open(layout: Layout) -> Result<Nft, Error> {
        layout.check()?;
        let mut nft =
            Nft { socket: Socket::open()?, table: String::new(), places: Places::default(), layout };
        let found = nft.standing_tables()?;
        nft.turn_to(found.into_iter().next().unwrap_or_else(|| nft.layout.table.clone()));
        Ok(nft)
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The name of the table that is at work.
    pub fn table(&self) -> &str {
        &self.table
    }

    fn turn_to(&mut self, table: String) {
        self.places = Places::own(&table, self.layout.groups.len());
        self.table = table;
    }

    fn stands(&mut self, table: &str) -> Result<bool, Error> {
        let asked = self.socket.ask(
            Message::plain(op::GET_TABLE, INET),
            |message| message.text(attr::TABLE_NAME, table),
            |_| (),
        );
        match asked {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The tables of ours that are there: one, or more when a replacement was interrupted.
    fn standing_tables(&mut self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for name in self.layout.tables() {
            if self.stands(&name)? {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Makes the table with these elements in the place of one that stands. There is no moment without: the new
    /// table is at work, whole, before the old one is deleted, and when it cannot be made the old one stays. The
    /// counters begin anew.
    ///
    /// The new table is one transaction. Only when the kernel does not take so much at once, or when elements share
    /// an address, they are added in smaller ones, which tell what fails by itself.
    pub fn replace<I>(&mut self, elements: I) -> Result<Applied, Error>
    where
        I: IntoIterator<Item = Element> + Clone,
    {
        let mut old = self.standing_tables()?;
        let names = self.layout.tables();
        let new = match names.iter().find(|name| !old.contains(name)) {
            Some(free) => free.clone(),
            // Two replacements in a row were interrupted: the other tables do the work.
            None => {
                let [.., last] = names;
                self.delete(&last)?;
                old.retain(|name| *name != last);
                last
            }
        };
        let applied = match self.make(&new, elements.clone()) {
            Ok(done) => Applied { done, ..Applied::default() },
            Err(Error::Overlap | Error::TooLarge { .. }) => self.make_in_parts(&new, elements)?,
            Err(error) => return Err(error),
        };
        self.turn_to(new);
        old.iter().try_for_each(|old| self.delete(old))?;
        Ok(applied)
    }

    /// Fills the new table while the old one goes on.
    fn make_in_parts(
        &mut self,
        table: &str,
        elements: impl IntoIterator<Item = Element>,
    ) -> Result<Applied, Error> {
        self.make(table, [])?;
        let places = Places::own(table, self.layout.groups.len());
        let mut additions = elements.into_iter().map(Change::Add);
        let mut applied = Applied::default();
        loop {
            let part: Vec<_> = additions.by_ref().take(CHANGES_MAX).collect();
            if part.is_empty() {
                return Ok(applied);
            }
            match apply(&mut self.socket, &places, &part) {
                Ok(more) => applied.extend(more),
                Err(error) => {
                    self.delete(table)?;
                    return Err(error);
                }
            }
        }
    }

    /// Makes a table; how many elements it has. There is none where it fails.
    fn make(&mut self, table: &str, elements: impl IntoIterator<Item = Element>) -> Result<usize, Error> {
        let mut elements = elements.into_iter();
        let mut batch = self.socket.batch();
        let mut made = Vec::new();
        let name = |message: &mut Bytes| message.text(attr::TABLE_NAME, table);
        made.push((batch.message(Message::create(op::NEW_TABLE, INET), name), "the table".to_owned()));
        self.write(&mut batch, table, &mut made);
        let places = Places::own(table, self.layout.groups.len());
        let count = places.fill(&mut batch, elements.by_ref().take(FILL_FIRST))?;
        let refusals = self.socket.commit(batch)?;
        refusals.first().map_or(Ok(()), |first| Err(refused(*first, &made)))?;
        let filled = self.fill(&places, elements);
        if filled.is_err() {
            self.delete(table)?;
        }
        Ok(count + filled?)
    }

    /// Adds elements to a table that is being made: in several transactions, since the kernel's hash tables grow in
    /// between, and are slow where one transaction brings many times what they have room for.
    fn fill(&mut self, places: &Places, mut elements: impl Iterator<Item = Element>) -> Result<usize, Error> {
        let mut filled = 0;
        let mut most = FILL_FIRST;
        loop {
            let mut batch = self.socket.batch();
            let count = places.fill(&mut batch, elements.by_ref().take(most))?;
            if count == 0 {
                return Ok(filled);
            }
            let refusals = self.socket.commit(batch)?;
            refusals.first().map_or(Ok(()), |first| Err(refused(*first, &[])))?;
            filled += count;
            most = (most * 2).min(FILL_MOST);
        }
    }

    fn delete(&mut self, table: &str) -> Result<(), Error> {
        let mut batch = self.socket.batch();
        batch.message(Message::plain(op::DEL_TABLE, INET), |message| message.text(attr::TABLE_NAME, table));
        match self.socket.commit(batch)?.first() {
            Some(refusal) if refusal.errno != Errno::NOENT => {
                Err(Error::io("deleting a table", refusal.errno))
            }
            _ => Ok(()),
        }
    }

    fn write(&self, batch: &mut Batch, table: &str, made: &mut Vec<(u32, String)>) {
        let print = Blueprint::new(&self.layout);
        for name in &print.counters {
            let seq = batch.message(Message::create(op::NEW_OBJECT, INET), |message| {
                message.text(attr::OBJECT_TABLE, table);
                message.text(attr::OBJECT_NAME, name);
                message.u32(attr::OBJECT_TYPE, OBJECT_COUNTER);
                message.nest(attr::OBJECT_DATA, |data| {
                    data.u64(attr::COUNTER_BYTES, 0);
                    data.u64(attr::COUNTER_PACKETS, 0);
                });
            });
            made.push((seq, format!("the counter {name}")));
        }
        for (set, id) in print.sets.iter().zip(1..) {
            made.push((write_set(batch, table, set, id), format!("the set {}", set.name)));
        }
        for family in Family::BOTH {
            self.write_allowed(batch, table, family);
        }
        let (bases, groups): (Vec<_>, Vec<_>) = print.chains.iter().partition(|chain| chain.hook.is_some());
        for chain in groups {
            write_chain(batch, table, chain, made);
        }
        if !self.layout.groups.is_empty() {
            made.push((self.write_groups(batch, table), "the map of groups".to_owned()));
        }
        for chain in bases {
            write_chain(batch, table, chain, made);
        }
    }

    fn write_groups(&self, batch: &mut Batch, table: &str) -> u32 {
        batch.message(Message::create(op::NEW_ELEMENT, INET), |message| {
            message.text(attr::ELEMENTS_TABLE, table);
            message.text(attr::ELEMENTS_SET, GROUPS);
            message.nest(attr::ELEMENTS_LIST, |list| {
                for (group, number) in self.layout.groups.iter().zip(0_u32..) {
                    list.nest(attr::LIST_ITEM, |item| {
                        item.nest(attr::ELEMENT_KEY, |key| key.raw(attr::DATA_VALUE, &mark(number)));
                        item.nest(attr::ELEMENT_DATA, |data| jump(data, &legal(&group.name)));
                    });
                }
            });
        })
    }

    fn write_allowed(&self, batch: &mut Batch, table: &str, family: Family) {
        let set = allowed_set(table, family);
        for net in disjoint(&self.layout.allow).into_iter().filter(|net| Family::of(*net) == family) {
            let element = Element { net, group: 0, timeout: std::time::Duration::ZERO };
            crate::place::single(batch, Message::create(op::NEW_ELEMENT, INET), &set, |list| {
                set.put(list, &element);
            });
        }
    }

    /// Others pass from now on, whatever is listed.
    pub fn allow(&mut self, allow: Vec<Prefix>) -> Result<(), Error> {
        self.layout.allow = allow;
        let mut batch = self.socket.batch();
        for family in Family::BOTH {
            flush(&mut batch, &allowed_set(&self.table, family));
            self.write_allowed(&mut batch, &self.table, family);
        }
        let refusals = self.socket.commit(batch)?;
        refusals.first().map_or(Ok(()), |first| Err(self.not_there(Error::io("allowing", first.errno))))
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

    /// What was counted.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        let table = self.table.as_str();
        let found = self.socket.dump(
            Message::plain(op::GET_OBJECT, INET),
            |message| {
                message.text(attr::OBJECT_TABLE, table);
                message.u32(attr::OBJECT_TYPE, OBJECT_COUNTER);
            },
            |answer, list| list.extend(counter(answer, table)),
        )?;
        let count = |name: String| {
            let counted = found.iter().find(|(found, _)| *found == name).map(|(_, count)| *count);
            counted.ok_or_else(|| Error::NotThere(format!("the counter '{name}' of table '{table}'")))
        };
        let both = |name: &dyn Fn(Family) -> String| -> Result<[Count; 2], Error> {
            Ok([count(name(Family::V4))?, count(name(Family::V6))?])
        };
        Ok(Counters {
            processed: both(&processed)?,
            blocked: self
                .layout
                .groups
                .iter()
                .map(|group| both(&|family| blocked(group, family)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether the table stands as it was laid out. Elements are not looked at, but for those who pass.
    pub fn standing(&mut self) -> Result<Standing, Error> {
        if self.standing_tables()?.len() > 1 {
            return Ok(Standing::Changed(
                "a replacement was interrupted: its tables are still there".to_owned(),
            ));
        }
        let allowed = disjoint(&self.layout.allow);
        let sets = Family::BOTH.map(|family| (family, allowed_set(&self.table, family))).to_vec();
        standing::of(&mut self.socket, &self.table, &self.layout, &Places::of_user(sets), allowed)
    }

    /// Removes the table with all that is in it; nothing is blocked any more. No error when there is none.
    pub fn remove_table(&mut self) -> Result<(), Error> {
        let tables = self.layout.tables();
        tables.iter().try_for_each(|table| self.delete(table))
    }

    fn not_there(&self, error: Error) -> Error {
        match error.errno() {
            Some(Errno::NOENT) => Error::NotThere(format!("the table '{}'", self.table)),
            _ => error,
        }
    }
}

fn allowed_set(table: &str, family: Family) -> element::Set {
    let (table, name) = (table.to_owned(), allow(family));
    element::Set { family: INET, table, name, interval: true, map: false, timed: false }
}

fn write_set(batch: &mut Batch, table: &str, set: &Set, id: u32) -> u32 {
    batch.message(Message::create(op::NEW_SET, INET), |message| {
        message.text(attr::SET_TABLE, table);
        message.text(attr::SET_NAME, &set.name);
        message.u32(attr::SET_FLAGS, set.flags);
        message.u32(attr::SET_KEY_TYPE, set.key_type);
        message.u32(attr::SET_KEY_LEN, set.key_bytes);
        if let Some((kind, bytes)) = set.data {
            message.u32(attr::SET_DATA_TYPE, kind);
            message.u32(attr::SET_DATA_LEN, bytes);
        }
        if let Some(max) = set.elements_max {
            message.nest(attr::SET_DESC, |desc| desc.u32(attr::DESC_SIZE, max));
        }
        message.u32(attr::SET_ID, id);
        if let Some(timeout) = set.timeout_ms {
            message.u64(attr::SET_TIMEOUT, timeout);
        }
    })
}

fn write_chain(batch: &mut Batch, table: &str, chain: &Chain, made: &mut Vec<(u32, String)>) {
    let seq = batch.message(Message::create(op::NEW_CHAIN, INET), |message| {
        message.text(attr::CHAIN_TABLE, table);
        message.text(attr::CHAIN_NAME, &chain.name);
        if let Some(hook) = chain.hook {
            message.nest(attr::CHAIN_HOOK, |nest| {
                nest.u32(attr::HOOK_NUMBER, hook.at.number());
                nest.u32(attr::HOOK_PRIORITY, hook.priority.cast_unsigned());
            });
            message.u32(attr::CHAIN_POLICY, ACCEPT);
            message.text(attr::CHAIN_TYPE, "filter");
        }
    });
    made.push((seq, format!("the chain {}", chain.name)));
    for rule in &chain.rules {
        let comment = rule.comment();
        let message = Message { op: op::NEW_RULE, family: INET, flags: flag::CREATE | flag::APPEND };
        let seq = batch.message(message, |message| {
            message.text(attr::RULE_TABLE, table);
            message.text(attr::RULE_CHAIN, &chain.name);
            message.raw(attr::RULE_EXPRESSIONS, rule.expressions());
            message.raw(attr::RULE_USERDATA, &user_data(&comment));
        });
        made.push((seq, format!("the rule '{comment}' of chain {}", chain.name)));
    }
}

/// A comment as nft shows it: kind, length, text, zero.
pub(crate) fn user_data(comment: &str) -> Vec<u8> {
    let mut data = vec![COMMENT, (comment.len() + 1) as u8];
    data.extend_from_slice(comment.as_bytes());
    data.push(0);
    data
}

/// What the first failure of a new table means.
fn refused(refusal: Refusal, made: &[(u32, String)]) -> Error {
    let Some((_, what)) = made.iter().find(|(seq, _)| *seq == refusal.seq) else {
        return Error::element("adding elements", refusal.errno);
    };
    match Error::io("making the table", refusal.errno) {
        Error::Io { source, .. } => Error::Unsupported { what: what.clone(), source },
        error => error,
    }
}

fn counter(answer: &[u8], table: &str) -> Option<(String, Count)> {
    let object = Attributes::new(answer);
    // Old kernels tell of all tables.
    object.get(attr::OBJECT_TABLE).and_then(text).filter(|found| *found == table)?;
    object.get(attr::OBJECT_TYPE).and_then(be_u32).filter(|kind| *kind == OBJECT_COUNTER)?;
    let data = object.nested(attr::OBJECT_DATA);
    let packets = data.get(attr::COUNTER_PACKETS).and_then(be_u64)?;
    let bytes = data.get(attr::COUNTER_BYTES).and_then(be_u64)?;
    Some((object.get(attr::OBJECT_NAME).and_then(text)?.to_owned(), Count { packets, bytes }))
}

/// The prefixes without those that are in others, in their order.
fn disjoint(nets: &[Prefix]) -> Vec<Prefix> {
    let mut nets: Vec<_> = nets.iter().copied().map(normal).collect();
    // A wider one comes before those in it.
    nets.sort_unstable_by_key(|net| (net.addr(), net.bits()));
    let mut apart: Vec<Prefix> = Vec::new();
    for net in nets {
        if !apart.last().is_some_and(|last| last.contains(net.addr())) {
            apart.push(net);
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_within_others_are_left_out() {
        let nets =
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/24", "192.0.3.0/24", "::ffff:10.2.0.0/112", "::/0"];
        let nets: Vec<_> = nets.iter().map(|text| Prefix::parse(text).expect(text)).collect();
        let shown: Vec<_> = disjoint(&nets).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.0/24", "192.0.3.0/24", "::/0"]);
    }
}
