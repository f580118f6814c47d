//! Whether the table stands as it was laid out.

use rustix::io::Errno;
use testudo_event::Prefix;

use crate::blueprint::{Blueprint, Chain, OBJECT_COUNTER};
use crate::error::Error;
use crate::layout::Layout;
use crate::lookup;
use crate::netlink::{Attributes, INET, Message, Socket, attr, be_u32, flag, op, text};
use crate::nft::user_data;
use crate::place::Places;

/// What is left of a table that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of it.
    AsLaidOut,
    /// Nothing.
    Gone,
    /// Something is missing or different: what, first of all.
    Changed(String),
}

/// Compares the table with its layout.
pub(crate) fn of(
    socket: &mut Socket,
    table: &str,
    layout: &Layout,
    allow_sets: &Places,
    allowed: Vec<Prefix>,
) -> Result<Standing, Error> {
    let mut flags = 0;
    let found = socket.ask(
        Message::plain(op::GET_TABLE, INET),
        |message| message.text(attr::TABLE_NAME, table),
        |answer| flags = Attributes::new(answer).get(attr::TABLE_FLAGS).and_then(be_u32).unwrap_or(0),
    );
    match found {
        Ok(()) if flags & flag::TABLE_DORMANT != 0 => {
            return Ok(Standing::Changed("the table is dormant".to_owned()));
        }
        Ok(()) => {}
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(Standing::Gone),
        Err(error) => return Err(error),
    }
    let print = Blueprint::new(layout);
    let mut changed = sets(socket, table, &print)?;
    if changed.is_none() {
        changed = counters(socket, table, &print)?;
    }
    if changed.is_none() {
        changed = chains(socket, table, &print)?;
    }
    if changed.is_none() {
        changed = passing(socket, allow_sets, allowed)?;
    }
    Ok(changed.map_or(Standing::AsLaidOut, Standing::Changed))
}

fn sets(socket: &mut Socket, table: &str, print: &Blueprint) -> Result<Option<String>, Error> {
    let found = socket.dump(
        Message::plain(op::GET_SET, INET),
        |message| message.text(attr::SET_TABLE, table),
        |answer, list| {
            let set = Attributes::new(answer);
            list.extend(named(answer, attr::SET_TABLE, attr::SET_NAME, table).map(|name| {
                let number = |kind| set.get(kind).and_then(be_u32);
                (name, number(attr::SET_FLAGS), number(attr::SET_KEY_TYPE), number(attr::SET_DATA_TYPE))
            }));
        },
    )?;
    Ok(print.sets.iter().find_map(|set| {
        let Some((_, flags, key, data)) = found.iter().find(|(name, ..)| *name == set.name) else {
            return Some(format!("the set {} is missing", set.name));
        };
        let same = *flags == Some(set.flags)
            && *key == Some(set.key_type)
            && *data == set.data.map(|(kind, _)| kind);
        (!same).then(|| format!("the set {} is another", set.name))
    }))
}

fn counters(socket: &mut Socket, table: &str, print: &Blueprint) -> Result<Option<String>, Error> {
    let found: Vec<String> = socket.dump(
        Message::plain(op::GET_OBJECT, INET),
        |message| {
            message.text(attr::OBJECT_TABLE, table);
            message.u32(attr::OBJECT_TYPE, OBJECT_COUNTER);
        },
        |answer, list| list.extend(named(answer, attr::OBJECT_TABLE, attr::OBJECT_NAME, table)),
    )?;
    let missing = print.counters.iter().find(|name| !found.contains(name));
    Ok(missing.map(|name| format!("the counter {name} is missing")))
}

/// The hook of a chain that the kernel holds: its number and its priority.
type HookNumbers = Option<(u32, i32)>;

fn chains(socket: &mut Socket, table: &str, print: &Blueprint) -> Result<Option<String>, Error> {
    let found = socket.dump(
        Message::plain(op::GET_CHAIN, INET),
        |message| message.text(attr::CHAIN_TABLE, table),
        |answer, list| {
            let name = named(answer, attr::CHAIN_TABLE, attr::CHAIN_NAME, table);
            list.extend(name.map(|name| (name, hook(answer))));
        },
    )?;
    let rules = socket.dump(
        Message::plain(op::GET_RULE, INET),
        |message| message.text(attr::RULE_TABLE, table),
        |answer, list| {
            let data = Attributes::new(answer).get(attr::RULE_USERDATA).unwrap_or_default().to_vec();
            list.extend(named(answer, attr::RULE_TABLE, attr::RULE_CHAIN, table).map(|chain| (chain, data)));
        },
    )?;
    Ok(print.chains.iter().find_map(|chain| difference(chain, &found, &rules)))
}

fn hook(chain: &[u8]) -> HookNumbers {
    let hook = Attributes::new(chain).nested(attr::CHAIN_HOOK);
    let number = hook.get(attr::HOOK_NUMBER).and_then(be_u32)?;
    let priority = hook.get(attr::HOOK_PRIORITY).and_then(be_u32)?;
    Some((number, priority.cast_signed()))
}

fn difference(
    chain: &Chain,
    chains: &[(String, HookNumbers)],
    rules: &[(String, Vec<u8>)],
) -> Option<String> {
    let name = &chain.name;
    let Some((_, hook)) = chains.iter().find(|(found, _)| found == name) else {
        return Some(format!("the chain {name} is missing"));
    };
    if *hook != chain.hook.map(|hook| (hook.at.number(), hook.priority)) {
        return Some(format!("the chain {name} is hooked in elsewhere"));
    }
    let found = rules.iter().filter(|(of, _)| of == name).map(|(_, data)| data);
    let expected = chain.rules.iter().map(|rule| user_data(&rule.comment()));
    if found.eq(expected.collect::<Vec<_>>().iter()) {
        return None;
    }
    Some(format!("the rules of chain {name} are others"))
}

fn passing(socket: &mut Socket, sets: &Places, allowed: Vec<Prefix>) -> Result<Option<String>, Error> {
    let mut found: Vec<_> = lookup::list(socket, sets)?.into_iter().map(|held| held.net).collect();
    found.sort_unstable();
    let mut allowed = allowed;
    allowed.sort_unstable();
    Ok((found != allowed).then(|| "the set of addresses that are never blocked is another".to_owned()))
}

/// The name of a thing, if it is in our table.
fn named(answer: &[u8], table: u16, name: u16, ours: &str) -> Option<String> {
    let thing = Attributes::new(answer);
    thing.get(table).and_then(text).filter(|found| *found == ours)?;
    thing.get(name).and_then(text).map(str::to_owned)
}
