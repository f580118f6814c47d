//! Which decisions go into a list.

use std::sync::Arc;

use testudo_event::Prefix;

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An address or a network, without bits after the prefix.
    Net(Prefix),
    /// Something else: a country, a user ….
    Other {
        /// The scope.
        scope: Arc<str>,
        /// The value, as it was told.
        value: Arc<str>,
    },
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is about.
    pub value: Value,
    /// `ban`, `captcha` ….
    pub kind: Arc<str>,
    /// Who decided.
    pub origin: Arc<str>,
    /// The scenario, or the name of the list.
    pub scenario: Arc<str>,
    /// Its number.
    pub id: i64,
    /// When it ends, in seconds since 1970.
    pub until: i64,
}

/// Of which families addresses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// Both.
    #[default]
    Both,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Which decisions go into a list. Lists that are empty choose all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Families of addresses.
    pub family: Family,
    /// Types.
    pub types: Vec<String>,
    /// Origins.
    pub origins: Vec<String>,
    /// What a scenario contains one of.
    pub scenarios_containing: Vec<String>,
    /// What a scenario contains none of.
    pub scenarios_not_containing: Vec<String>,
    /// Names of lists (scenarios of decisions of the origin `lists`); decisions of other origins are not held to it.
    pub lists: Vec<String>,
    /// The most values; those of the first origins of `priority` stay.
    pub most: Option<usize>,
    /// Origins, the most important first; those that are not named come after them.
    pub priority: Vec<String>,
    /// Values stay in the order of their decisions, the oldest first.
    pub unsorted: bool,
}

/// What goes into a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// One decision for each value: the one that lasts longest.
    pub items: Vec<Item>,
    /// Values that are left out, as they are too many.
    pub left_out: usize,
}

impl Choice {
    /// Whether a decision goes into the list.
    pub fn takes(&self, item: &Item) -> bool {
        let among = |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
        let has = |parts: &[String]| parts.iter().any(|part| item.scenario.contains(part.as_str()));
        let is_family = match (&item.value, self.family) {
            (_, Family::Both) => true,
            (Value::Net(net), family) => net.addr().is_ipv4() == (family == Family::V4),
            (Value::Other { .. }, _) => false,
        };
        is_family
            && among(&self.types, &item.kind)
            && among(&self.origins, &item.origin)
            && (self.scenarios_containing.is_empty() || has(&self.scenarios_containing))
            && !has(&self.scenarios_not_containing)
            && (&*item.origin != "lists" || among(&self.lists, &item.scenario))
    }

    fn rank(&self, item: &Item) -> usize {
        self.priority.iter().position(|origin| **origin == *item.origin).unwrap_or(self.priority.len())
    }
}

/// Takes what a choice says; items that it does not take may be among those that are given.
pub fn choose(items: impl IntoIterator<Item = Item>, choice: &Choice) -> Chosen {
    let mut items: Vec<Item> = items.into_iter().filter(|item| choice.takes(item)).collect();
    items.sort_unstable_by(|a, b| {
        let ends = b.until.cmp(&a.until).then(b.id.cmp(&a.id));
        a.value.cmp(&b.value).then(ends)
    });
    items.dedup_by(|next, before| next.value == before.value);
    let mut left_out = 0;
    if let Some(most) = choice.most
        && items.len() > most
    {
        left_out = items.len() - most;
        items.sort_by(|a, b| choice.rank(a).cmp(&choice.rank(b)).then(b.until.cmp(&a.until)));
        items.truncate(most);
        items.sort_unstable_by(|a, b| a.value.cmp(&b.value));
    }
    if choice.unsorted {
        items.sort_by_key(|item| item.id);
    }
    Chosen { items, left_out }
}
