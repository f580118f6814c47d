//! A layout in detail: the sets, counters, chains and rules that the kernel is to hold.

use crate::layout::{Action, Group, Hook, Layout, legal};
use crate::netlink::flag;
use crate::rule::{Family, Rule, THROTTLED_MAX};

/// The kernel's number of counters among its objects.
pub(crate) const OBJECT_COUNTER: u32 = 1;

/// The map from the number of a group to its chain.
pub(crate) const GROUPS: &str = "groups";

/// The chain of packets from listed sources.
const LISTED: &str = "listed";

const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_MARK: u32 = 19;
const TYPE_VERDICT: u32 = 0xffff_ff00;

/// All that is in the table but its elements.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) sets: Vec<Set>,
    pub(crate) counters: Vec<String>,
    /// In an order in which none goes to a later one.
    pub(crate) chains: Vec<Chain>,
}

/// A set or map.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) flags: u32,
    pub(crate) key_type: u32,
    pub(crate) key_bytes: u32,
    /// The type of what keys stand for, and how many bytes it has.
    pub(crate) data: Option<(u32, u32)>,
    pub(crate) elements_max: Option<u32>,
    pub(crate) timeout_ms: Option<u64>,
}

/// A chain; the kernel hands packets to those with a hook.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Rule>,
}

/// The map of single addresses.
pub(crate) fn hosts(family: Family) -> String {
    format!("hosts{}", family.digit())
}

/// The map of ranges.
pub(crate) fn nets(family: Family) -> String {
    format!("nets{}", family.digit())
}

/// The set of those who pass.
pub(crate) fn allow(family: Family) -> String {
    format!("allow{}", family.digit())
}

/// The counter of packets that were looked at.
pub(crate) fn processed(family: Family) -> String {
    format!("processed.v{}", family.digit())
}

/// The counter of a group's packets that were not let through.
pub(crate) fn blocked(group: &Group, family: Family) -> String {
    format!("{}.v{}", legal(&group.name), family.digit())
}

impl Blueprint {
    pub(crate) fn new(layout: &Layout) -> Blueprint {
        let mut print = Blueprint { sets: Vec::new(), counters: Vec::new(), chains: Vec::new() };
        for family in Family::BOTH {
            print.counters.push(processed(family));
            print.sets.push(Set::of_addresses(allow(family), family, flag::SET_INTERVAL));
            let timed_map = flag::SET_MAP | flag::SET_TIMEOUT;
            let data = Some((TYPE_MARK, 4));
            let hosts = Set::of_addresses(hosts(family), family, timed_map);
            print.sets.push(Set { data, ..hosts });
            let nets = Set::of_addresses(nets(family), family, timed_map | flag::SET_INTERVAL);
            print.sets.push(Set { data, ..nets });
        }
        let groups = Set::new(GROUPS.to_owned(), TYPE_MARK, 4, flag::SET_MAP);
        print.sets.push(Set { data: Some((TYPE_VERDICT, 16)), ..groups });
        for group in &layout.groups {
            print.group(group);
        }
        print.chains.push(listed());
        for hook in &layout.hooks {
            print.chains.push(base(*hook));
        }
        print
    }

    fn group(&mut self, group: &Group) {
        let name = legal(&group.name);
        self.counters.extend(Family::BOTH.map(|family| blocked(group, family)));
        match group.action {
            Action::Drop | Action::Reject => self.chains.push(blocking(name, group)),
            Action::Throttle { packets_per_second, burst } => {
                let over = format!("{name}.over");
                self.chains.push(blocking(over.clone(), group));
                let mut rules = Vec::new();
                for family in Family::BOTH {
                    let memory = format!("{name}.rate{}", family.digit());
                    rules.push(
                        Rule::new("too many from one source")
                            .source(family)
                            .too_often(&memory, packets_per_second, burst)
                            .go(&over),
                    );
                    let set = Set::of_addresses(memory, family, flag::SET_TIMEOUT | flag::SET_EVAL);
                    let (elements_max, timeout_ms) =
                        (Some(THROTTLED_MAX), Some(crate::rule::THROTTLE_MEMORY_MS));
                    self.sets.push(Set { elements_max, timeout_ms, ..set });
                }
                self.chains.push(Chain { name, hook: None, rules });
            }
        }
    }
}

impl Set {
    fn new(name: String, key_type: u32, key_bytes: u32, flags: u32) -> Set {
        Set { name, flags, key_type, key_bytes, data: None, elements_max: None, timeout_ms: None }
    }

    fn of_addresses(name: String, family: Family, flags: u32) -> Set {
        match family {
            Family::V4 => Set::new(name, TYPE_IPV4, 4, flags),
            Family::V6 => Set::new(name, TYPE_IPV6, 16, flags),
        }
    }
}

/// The chain that counts, logs and blocks whatever comes to it.
fn blocking(name: String, group: &Group) -> Chain {
    let mut rules: Vec<_> = Family::BOTH
        .into_iter()
        .map(|family| Rule::new("count").family(family).counter(&blocked(group, family)))
        .collect();
    if let Some(log) = &group.log {
        rules.push(Rule::new("log some").log(log, &group.name));
    }
    if group.action == Action::Reject {
        rules.push(Rule::new("reset connections").tcp().reset());
        rules.push(Rule::new("reject the rest").unreachable());
    } else {
        rules.push(Rule::new("drop").drop());
    }
    Chain { name, hook: None, rules }
}

/// The chain of packets from listed sources, which their marks hand on to their group. What comes back from there
/// passes, and keeps no mark that others might take for theirs.
fn listed() -> Chain {
    let rules = vec![
        Rule::new("neighbours find each other").neighbour_discovery().unmark().pass(),
        Rule::new("by group").verdict_by_mark(GROUPS),
        Rule::new("passes").unmark(),
    ];
    Chain { name: LISTED.to_owned(), hook: None, rules }
}

/// The chain that the kernel hands packets to.
fn base(hook: Hook) -> Chain {
    let mut rules = vec![Rule::new("the machine itself passes").only_loopback().pass()];
    for family in Family::BOTH {
        rules.push(Rule::new("count").family(family).counter(&processed(family)));
        rules.push(Rule::new("never blocked").source(family).within(&allow(family)).pass());
        for map in [hosts(family), nets(family)] {
            rules.push(Rule::new("listed").source(family).mark_by(&map).visit(LISTED));
        }
    }
    Chain { name: hook.at.name().to_owned(), hook: Some(hook), rules }
}
