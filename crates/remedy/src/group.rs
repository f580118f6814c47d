//! What decisions have in common that are enforced alike and counted together.

use std::fmt;

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
}

/// Lists are named by whoever publishes them; more groups than this share the last one.
const MOST: usize = 150;

/// The origin whose decisions are kept apart by the list that they come from.
const ORIGIN_LISTS: &str = "lists";

impl Groups {
    /// The number of the group of an origin, which for lists is told apart by the scenario.
    pub fn id(&mut self, origin: &str, scenario: &str, action: Action) -> GroupId {
        let is_it = |group: &Group| {
            group.action == action
                && match group.origin.strip_prefix("lists:") {
                    Some(list) => origin == ORIGIN_LISTS && list == scenario,
                    None => group.origin == origin,
                }
        };
        if let Some(at) = self.groups.iter().position(is_it) {
            return GroupId(at as u16);
        }
        let origin = match origin {
            _ if self.groups.len() >= MOST => "others".to_owned(),
            ORIGIN_LISTS => format!("{ORIGIN_LISTS}:{scenario}"),
            _ => origin.to_owned(),
        };
        let group = Group { origin, action };
        let at = self.groups.iter().position(|known| *known == group).unwrap_or_else(|| {
            self.groups.push(group);
            self.groups.len() - 1
        });
        GroupId(at as u16)
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
        assert_eq!(groups.all().len(), MOST + 1);
    }
}
