//! What decisions have in common that are enforced alike and counted together.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};

/// What is done about traffic. The later one is the stronger one, and wins where several apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Some packets pass.
    Throttle,
    /// Nothing passes.
    Deny,
}

impl Action {
    /// What a type of decisions asks a packet filter for; nothing for those that are for others to enforce.
    pub fn of(kind: &str) -> Option<Action> {
        match kind {
            "ban" => Some(Action::Deny),
            "throttle" => Some(Action::Throttle),
            _ => None,
        }
    }
}

/// Decisions of one origin, or list, with one action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The origin; for lists `lists:` and the name of the list.
    pub origin: String,
    /// What is done.
    pub action: Action,
}

impl Group {
    /// How much its decisions weigh where there is no room for all of them: first what does more, then what people have
    /// decided, then what was seen here, then what others tell.
    pub(crate) fn weight(&self) -> (Action, u8) {
        let origin = match self.origin.as_str() {
            "cscli" | "cscli-import" | "console" => 2,
            "crowdsec" => 1,
            _ => 0,
        };
        (self.action, origin)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Deny => f.write_str(&self.origin),
            Action::Throttle => write!(f, "{} (throttled)", self.origin),
        }
    }
}

/// The number of a group: its place in [`Groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

/// All groups that ever were, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    /// Whose decisions belong where.
    known: Vec<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    origin: String,
    /// The scenario of lists; empty for other origins.
    list: String,
    action: Action,
    id: GroupId,
}

/// Lists are named by whoever publishes them; more groups than this share the last ones.
const MOST: usize = 150;

/// The longest name of a group, in bytes: packet filters and their logs take no long ones.
const NAME_MOST: usize = 48;

/// Whoever is in no group of his own.
const OTHERS: &str = "others";

/// The origin whose decisions are kept apart by the list that they come from.
const ORIGIN_LISTS: &str = "lists";

impl Groups {
    /// The number of the group of an origin, which for lists is told apart by the scenario.
    pub fn id(&mut self, origin: &str, scenario: &str, action: Action) -> GroupId {
        let list = if origin == ORIGIN_LISTS { scenario } else { "" };
        let is_it = |known: &&Known| known.action == action && known.origin == origin && known.list == list;
        if let Some(known) = self.known.iter().find(is_it) {
            return known.id;
        }
        let is_full = self.groups.len() >= MOST;
        let name = match (is_full, list.is_empty()) {
            (true, _) => OTHERS.to_owned(),
            (false, true) => legal(origin),
            (false, false) => legal(&format!("{ORIGIN_LISTS}:{list}")),
        };
        let group = Group { origin: name, action };
        let at = self.groups.iter().position(|known| *known == group).unwrap_or_else(|| {
            self.groups.push(group);
            self.groups.len() - 1
        });
        let id = GroupId(at as u16);
        if !is_full {
            self.known.push(Known { origin: origin.to_owned(), list: list.to_owned(), action, id });
        }
        id
    }

    /// A group by its number.
    ///
    /// # Panics
    /// There is none: it comes from elsewhere.
    pub fn get(&self, id: GroupId) -> &Group {
        &self.groups[usize::from(id.0)]
    }

    /// All of them, by their numbers.
    pub fn all(&self) -> &[Group] {
        &self.groups
    }
}

/// A name as packet filters take it: not empty, without control characters, and not too long; what is cut off is told
/// apart by a number.
fn legal(name: &str) -> String {
    let mut legal: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    if legal.is_empty() {
        OTHERS.clone_into(&mut legal);
    }
    if legal.len() > NAME_MOST {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_bytes());
        let end = (0..=NAME_MOST - 9).rev().find(|&at| legal.is_char_boundary(at)).unwrap_or(0);
        legal.truncate(end);
        // Writing to a text cannot fail.
        let _ = write!(legal, "~{:08x}", hasher.finish() as u32);
    }
    legal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_apart() {
        let mut groups = Groups::default();
        let ban = groups.id("crowdsec", "demo/ssh-bf", Action::Deny);
        let one = groups.id("lists", "one", Action::Deny);
        assert_eq!(groups.id("crowdsec", "demo/other", Action::Deny), ban);
        assert_eq!(groups.id("lists", "one", Action::Deny), one);
        assert_ne!(groups.id("lists", "two", Action::Deny), one);
        assert_ne!(groups.id("crowdsec", "demo/ssh-bf", Action::Throttle), ban);
        assert_eq!(groups.get(one).to_string(), "lists:one");
    }

    #[test]
    fn there_are_not_too_many() {
        let mut groups = Groups::default();
        for number in 0..MOST * 2 {
            groups.id("lists", &number.to_string(), Action::Deny);
        }
        // One for whoever came too late.
        assert_eq!(groups.all().len(), MOST + 1);
        assert_eq!(groups.all()[MOST].origin, OTHERS);
    }

    #[test]
    fn names_are_legal() {
        let mut groups = Groups::default();
        let mut name = |origin: &str, scenario: &str| {
            let id = groups.id(origin, scenario, Action::Deny);
            assert_eq!(groups.id(origin, scenario, Action::Deny), id);
            groups.get(id).origin.clone()
        };
        assert_eq!(name("", ""), "others");
        assert_eq!(name("a\0b", ""), "a_b");
        let long = "\u{e9}".repeat(40);
        let (one, two) = (name("lists", &format!("{long}1")), name("lists", &format!("{long}2")));
        assert!(one.len() <= NAME_MOST && one.starts_with("lists:\u{e9}") && one != two, "{one} {two}");
    }
}
