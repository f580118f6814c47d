//! Rules of the program and of a hub that judge the same: a source would get a ban from each.

use std::collections::BTreeSet;
use std::sync::Arc;

use testudo_rules::{SourceFile, load_scenarios};

use super::{ITEM_MOST, Installation};
use crate::{Hub, Item, ItemKind, files};

/// The label of a scenario that says what it judges, such as `ssh:bruteforce`.
const BEHAVIOR: &str = "behavior";

impl Installation {
    /// What scenarios in use judge that the program carries, and others that are of a hub; by their label `behavior`.
    pub fn judged_twice(&self, hub: &Hub) -> BTreeSet<String> {
        let (mut carried, mut others) = (BTreeSet::new(), BTreeSet::new());
        for item in hub.items(ItemKind::Scenario).filter(|item| self.status(item).is_enabled) {
            let judged = self.judged(item);
            if item.is_embedded { carried.extend(judged) } else { others.extend(judged) }
        }
        carried.intersection(&others).cloned().collect()
    }

    fn judged(&self, item: &Item) -> Vec<String> {
        let bytes = files::read(&self.place(item), ITEM_MOST).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let loaded = load_scenarios(Arc::new(SourceFile { path: item.path.clone(), text }));
        let labels = loaded.items.iter().filter_map(|scenario| scenario.labels.get(BEHAVIOR)?.as_str());
        labels.map(str::to_owned).collect()
    }
}
