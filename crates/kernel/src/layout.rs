//! What our table in the kernel looks like.

mod name;

use testudo_event::Prefix;

use crate::error::LayoutError;

pub(crate) use name::{legal, plain};

/// The most bytes that a name may have that somebody gives.
const NAME_MAX: usize = 64;

/// The map of groups is one message, and their numbers have eight bits.
const GROUPS_MAX: usize = 200;

/// The kernel takes 127 bytes; the name of the group and a space come after what is given.
const LOG_PREFIX_MAX: usize = 120;

/// The table: where it sees packets, and what happens to those from listed addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The name of the table. It and the same with `-b` or `-c` after it belong to us alone: whatever has one of
    /// these names is replaced.
    pub table: String,
    /// Where packets are looked at.
    pub hooks: Vec<Hook>,
    /// What may happen to them; an element names its group by the position here.
    pub groups: Vec<Group>,
    /// Who passes, whatever is listed.
    pub allow: Vec<Prefix>,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout {
            table: "testudo".to_owned(),
            hooks: vec![Hook::default()],
            groups: Vec::new(),
            allow: Vec::new(),
        }
    }
}

/// Where packets are looked at, and before or after whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where.
    pub at: HookPoint,
    /// The lowest is first.
    pub priority: i32,
}

impl Default for Hook {
    /// Before anything else looks at packets: those for this machine, those that it forwards and those for
    /// containers pass here, of established connections too, and the connection tracker never hears of those
    /// that are dropped.
    fn default() -> Hook {
        Hook { at: HookPoint::Prerouting, priority: -310 }
    }
}

/// A place on the way of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// All that arrive.
    Prerouting,
    /// Those for this machine.
    Input,
    /// Those that are passed on.
    Forward,
}

impl HookPoint {
    pub(crate) fn name(self) -> &'static str {
        match self {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Input => "input",
            HookPoint::Forward => "forward",
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            HookPoint::Prerouting => 0,
            HookPoint::Input => 1,
            HookPoint::Forward => 2,
        }
    }
}

/// Addresses that share a fate and are counted together, as those of one origin are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Any text, such as `crowdsec` or `lists:firehol`.
    pub name: String,
    /// What happens to their packets.
    pub action: Action,
    /// Whether some of these packets are logged.
    pub log: Option<Log>,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It vanishes.
    Drop,
    /// It vanishes, and its sender is told: by a reset of a TCP connection, otherwise by "port unreachable".
    Reject,
    /// It vanishes when its sender has sent too many.
    Throttle {
        /// How many of a source pass in a second.
        packets_per_second: u32,
        /// How many pass at once besides, after a pause.
        burst: u32,
    },
}

/// Lines in the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How each line begins; the name of the group comes after it.
    pub prefix: String,
    /// The most lines in a second, of the whole group.
    pub per_second: u32,
}

impl Layout {
    /// The names that the table has by turns.
    pub(crate) fn tables(&self) -> [String; 3] {
        [self.table.clone(), format!("{}-b", self.table), format!("{}-c", self.table)]
    }

    /// Whether it can be laid out.
    pub fn check(&self) -> Result<(), LayoutError> {
        if self.table.len() > NAME_MAX || !plain(&self.table) {
            return Err(LayoutError::Table(self.table.clone()));
        }
        if self.hooks.is_empty() {
            return Err(LayoutError::NoHook);
        }
        for (index, hook) in self.hooks.iter().enumerate() {
            if self.hooks[..index].iter().any(|before| before.at == hook.at) {
                return Err(LayoutError::HookTwice(hook.at.name()));
            }
        }
        if self.groups.len() > GROUPS_MAX {
            return Err(LayoutError::TooManyGroups { groups: self.groups.len(), most: GROUPS_MAX });
        }
        for (index, group) in self.groups.iter().enumerate() {
            if self.groups[..index].iter().any(|before| before.name == group.name) {
                return Err(LayoutError::GroupTwice(group.name.clone()));
            }
            group.check()?;
        }
        Ok(())
    }
}

impl Group {
    fn check(&self) -> Result<(), LayoutError> {
        if self.name.is_empty() || self.name.len() > NAME_MAX || self.name.contains('\0') {
            return Err(LayoutError::Group(self.name.clone()));
        }
        if matches!(self.action, Action::Throttle { packets_per_second: 0, .. }) {
            return Err(LayoutError::Rate(self.name.clone()));
        }
        let Some(log) = &self.log else { return Ok(()) };
        if log.per_second == 0 {
            return Err(LayoutError::Rate(self.name.clone()));
        }
        // A zero would end the text in the kernel.
        if log.prefix.len() + self.name.len() > LOG_PREFIX_MAX || log.prefix.contains('\0') {
            return Err(LayoutError::LogPrefix(self.name.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, action: Action) -> Group {
        Group { name: name.to_owned(), action, log: None }
    }

    #[test]
    fn layouts_that_make_no_sense() {
        let check = |change: &dyn Fn(&mut Layout), expected: Result<(), LayoutError>| {
            let mut layout = Layout { groups: vec![group("a", Action::Drop)], ..Layout::default() };
            change(&mut layout);
            assert_eq!(layout.check(), expected);
        };
        check(&|_| (), Ok(()));
        check(&|l| l.table = "a b".to_owned(), Err(LayoutError::Table("a b".to_owned())));
        check(&|l| l.table = String::new(), Err(LayoutError::Table(String::new())));
        check(&|l| l.hooks.clear(), Err(LayoutError::NoHook));
        check(&|l| l.hooks.push(Hook::default()), Err(LayoutError::HookTwice("prerouting")));
        check(&|l| l.groups.push(group("a", Action::Reject)), Err(LayoutError::GroupTwice("a".to_owned())));
        check(&|l| l.groups.push(group("", Action::Drop)), Err(LayoutError::Group(String::new())));
        let many = |count: usize| (0..count).map(|n| group(&n.to_string(), Action::Drop)).collect();
        check(&|l| l.groups = many(200), Ok(()));
        check(&|l| l.groups = many(201), Err(LayoutError::TooManyGroups { groups: 201, most: 200 }));
        let throttle = Action::Throttle { packets_per_second: 0, burst: 1 };
        check(&|l| l.groups.push(group("b", throttle)), Err(LayoutError::Rate("b".to_owned())));
        let log = |prefix: String, per_second| Some(Log { prefix, per_second });
        check(&|l| l.groups[0].log = log("x".repeat(119), 1), Ok(()));
        let long = Err(LayoutError::LogPrefix("a".to_owned()));
        check(&|l| l.groups[0].log = log("x".repeat(120), 1), long);
        check(&|l| l.groups[0].log = log("x".to_owned(), 0), Err(LayoutError::Rate("a".to_owned())));
    }
}
