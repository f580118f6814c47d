//! What is to be done so that some items are installed, gone, or of their latest version.

use std::collections::BTreeSet;
use std::fmt;

use super::removed::Removed;
use super::{InstallError, Installation, Local};
use crate::{Hub, Item, ItemKind};

/// An item by its type and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Its type.
    pub kind: ItemKind,
    /// Its name.
    pub name: String,
}

impl From<&Item> for Named {
    fn from(item: &Item) -> Self {
        Named { kind: item.kind, name: item.name.clone() }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its file is fetched.
    Download {
        /// The item.
        item: Named,
        /// The version that is there; nothing where none is, `?` where it was changed.
        from: Option<String>,
        /// The version that comes.
        to: String,
    },
    /// It is put into use.
    Enable(Named),
    /// It is used no longer.
    Disable(Named),
    /// Its file is deleted.
    Purge(Named),
}

impl Step {
    /// What it is about.
    pub fn item(&self) -> &Named {
        match self {
            Step::Download { item, .. } | Step::Enable(item) | Step::Disable(item) | Step::Purge(item) => {
                item
            }
        }
    }
}

/// Why something is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It was changed here.
    Changed(Named),
    /// A file of the user's own is in its place.
    Own(Named),
    /// It was removed by name, though a collection in use holds it.
    Removed(Named),
    /// It is not installed.
    Absent(Named),
    /// A collection names it, but the index does not know it.
    Unknown {
        /// The item.
        item: Named,
        /// The collection.
        by: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Changed(item) => {
                write!(f, "{item} was changed on this machine and stays as it is; `--force` takes the hub's")
            }
            Note::Own(item) => write!(f, "{item}: a file of your own is in its place, and stays"),
            Note::Removed(item) => {
                write!(f, "{item} was removed here and stays away; install it by name to have it again")
            }
            Note::Absent(item) => write!(f, "{item} is not installed"),
            Note::Unknown { item, by } => {
                write!(f, "{by} asks for {item}, which the index does not know; `hub update` may bring it")
            }
        }
    }
}

/// What is to be done, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are done.
    pub steps: Vec<Step>,
    /// What is left as it is though one might expect otherwise.
    pub notes: Vec<Note>,
}

impl Plan {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds what another plan says.
    pub fn extend(&mut self, other: Plan) {
        other.steps.into_iter().for_each(|step| self.add(step));
        other.notes.into_iter().for_each(|note| self.note(note));
    }

    fn add(&mut self, step: Step) {
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }

    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// How items are removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remove {
    /// Their files are deleted, too.
    pub purge: bool,
    /// Even if they were changed, or a collection holds them.
    pub force: bool,
}

/// Which items are upgraded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upgrade {
    /// Those that were changed here, too.
    pub force: bool,
}

impl Installation {
    /// What installs items with all that they hold. `download_only`: they are not put into use. `force`: what was
    /// changed here is replaced, and what was removed from a collection comes back.
    ///
    /// # Errors
    /// The hub does not have one of them.
    pub fn plan_install(
        &self,
        hub: &Hub,
        kind: ItemKind,
        names: &[String],
        download_only: bool,
        force: bool,
    ) -> Result<Plan, InstallError> {
        let mut plan = Plan::default();
        let removed = Removed::read(&self.hub);
        for name in names {
            let wanted = hub.require(kind, name)?;
            for item in with_parts(hub, wanted, &mut plan) {
                let is_unwanted =
                    removed.contains(item.kind, &item.name) && item.name != wanted.name && !force;
                self.plan_item(&mut plan, item, is_unwanted, !download_only, force);
            }
        }
        Ok(plan)
    }

    /// What brings items in use to their latest versions, all of some types if none is named.
    ///
    /// # Errors
    /// The hub does not have one of them.
    pub fn plan_upgrade(
        &self,
        hub: &Hub,
        kinds: &[ItemKind],
        names: &[String],
        how: Upgrade,
    ) -> Result<Plan, InstallError> {
        let mut plan = Plan::default();
        let removed = Removed::read(&self.hub);
        for &kind in kinds {
            let wanted: Vec<&Item> = if names.is_empty() {
                hub.items(kind).filter(|item| self.status(item).is_enabled).collect()
            } else {
                names.iter().map(|name| hub.require(kind, name)).collect::<Result<_, _>>()?
            };
            for wanted in wanted {
                if !self.status(wanted).is_enabled {
                    plan.note(Note::Absent(wanted.into()));
                    continue;
                }
                for item in with_parts(hub, wanted, &mut plan) {
                    let is_unwanted = removed.contains(item.kind, &item.name);
                    self.plan_item(&mut plan, item, is_unwanted, true, how.force);
                }
            }
        }
        Ok(plan)
    }

    fn plan_item(&self, plan: &mut Plan, item: &Item, is_unwanted: bool, enable: bool, force: bool) {
        let status = self.status(item);
        if is_unwanted && !status.is_enabled {
            return plan.note(Note::Removed(item.into()));
        }
        // A file in the place of a link would have to go.
        if status.is_own {
            return plan.note(Note::Own(item.into()));
        }
        let download = |from: Option<&str>| Step::Download {
            item: item.into(),
            from: from.map(str::to_owned),
            to: item.version.clone(),
        };
        match &status.local {
            Local::Nothing => plan.add(download(None)),
            Local::Version(version) if *version == item.version => {}
            Local::Version(version) => plan.add(download(Some(version))),
            Local::Changed if force => plan.add(download(Some("?"))),
            // What is not the hub's is not put into use by its name either.
            Local::Changed => return plan.note(Note::Changed(item.into())),
        }
        if enable && !status.is_enabled {
            plan.add(Step::Enable(item.into()));
        }
    }

    /// What removes items, all of a type if none is named, with the parts of collections that no other one needs.
    ///
    /// # Errors
    /// The hub does not have one of them, or a collection in use holds it.
    pub fn plan_remove(
        &self,
        hub: &Hub,
        kind: ItemKind,
        names: &[String],
        how: Remove,
    ) -> Result<Plan, InstallError> {
        let mut plan = Plan::default();
        let wanted: Vec<&Item> = if names.is_empty() {
            hub.items(kind).filter(|item| self.status(item).is_enabled).collect()
        } else {
            names.iter().map(|name| hub.require(kind, name)).collect::<Result<_, _>>()?
        };
        let mut going: BTreeSet<Named> = wanted.iter().map(|item| Named::from(*item)).collect();
        let users = |item: &Item, going: &BTreeSet<Named>| -> Option<String> {
            let named = Named::from(item);
            let mut in_use = hub.items(ItemKind::Collection).filter(|collection| {
                !going.contains(&Named::from(*collection)) && self.status(collection).is_enabled
            });
            in_use
                .find(|user| user.dependencies.contains(&(named.kind, named.name.clone())))
                .map(|user| user.name.clone())
        };
        for item in &wanted {
            if let Some(by) = users(item, &going).filter(|_| !how.force) {
                return Err(InstallError::Required { kind: item.kind, name: item.name.clone(), by });
            }
        }
        let mut unused = Plan::default();
        for item in wanted {
            // What stays keeps what it holds.
            if let Some(note) = self.stays(item, how) {
                plan.note(note);
                continue;
            }
            // Outer collections first: what they hold is free when they are gone.
            for part in with_parts(hub, item, &mut unused) {
                if Named::from(part) != Named::from(item) {
                    if users(part, &going).is_some() {
                        continue;
                    }
                    going.insert(part.into());
                }
                self.plan_removal(&mut plan, part, how);
            }
        }
        Ok(plan)
    }

    /// Why an item is not removed.
    fn stays(&self, item: &Item, how: Remove) -> Option<Note> {
        let status = self.status(item);
        match status.local {
            _ if status.is_own => Some(Note::Own(item.into())),
            Local::Changed if !how.force => Some(Note::Changed(item.into())),
            _ => None,
        }
    }

    fn plan_removal(&self, plan: &mut Plan, item: &Item, how: Remove) {
        if let Some(note) = self.stays(item, how) {
            return plan.note(note);
        }
        let status = self.status(item);
        if status.is_enabled {
            plan.add(Step::Disable(item.into()));
        }
        if how.purge && status.local != Local::Nothing {
            plan.add(Step::Purge(item.into()));
        }
        if !status.is_enabled && !how.purge {
            plan.note(Note::Absent(item.into()));
        }
    }
}

/// An item, and all that it holds at any depth, itself first.
fn with_parts<'h>(hub: &'h Hub, item: &'h Item, plan: &mut Plan) -> Vec<&'h Item> {
    let mut all = vec![item];
    let mut at = 0;
    while let Some(holder) = all.get(at).copied() {
        for (kind, name) in &holder.dependencies {
            match hub.item(*kind, name) {
                Some(part) if all.iter().any(|known| known.kind == part.kind && known.name == part.name) => {}
                Some(part) => all.push(part),
                None => plan.note(Note::Unknown {
                    item: Named { kind: *kind, name: name.clone() },
                    by: holder.name.clone(),
                }),
            }
        }
        at += 1;
    }
    all
}
