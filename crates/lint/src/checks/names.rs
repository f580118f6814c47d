//! Names of items: whose they are, whether there are two, and whether they are there.

use std::{collections::HashMap, sync::Arc};

use testudo_rules::{Diagnostic, Place, plan::Collection};

use super::{advice, key_place, similar};
use crate::{Kind, codes, facts::Facts};

/// Looks at the name of an item.
pub(crate) fn author(name: &str, document: &Place, into: &mut Vec<Diagnostic>) {
    if !name.is_empty() && !name.contains('/') {
        into.push(advice(
            codes::AUTHOR,
            key_place(document, "name"),
            format!("the name `{name}` does not say whose it is"),
            format!("write it as `me/{name}`: hubs, collections and commands know items by author and name"),
        ));
    }
}

/// The names that were seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<(Kind, Arc<str>), Place>);

impl Seen {
    /// Looks for an earlier document of the same name in another file. Variants of a rule may share a name.
    pub(crate) fn check(
        &mut self,
        kind: Kind,
        name: &Arc<str>,
        document: &Place,
        into: &mut Vec<Diagnostic>,
    ) {
        if name.is_empty() {
            return;
        }
        let earlier = self.0.insert((kind, name.clone()), document.clone());
        let Some(earlier) = earlier.filter(|earlier| earlier.file.path != document.file.path) else { return };
        into.push(advice(
            codes::SAME_NAME,
            key_place(document, "name"),
            format!("another {} is called `{name}`: {}:{}", kind.name(), earlier.file.path, earlier.line),
            "rename one of them: alerts, metrics and simulation cannot tell them apart",
        ));
    }
}

/// Looks for the items of a collection.
pub(crate) fn items(collection: &Collection, facts: &Facts, into: &mut Vec<Diagnostic>) {
    for list in &collection.lists {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.folder() == Some(list.key)) else { continue };
        // Items of contexts have no names in their files; and a set without any such item is not the whole of it.
        if kind == Kind::Context || facts.items(kind).next().is_none() {
            continue;
        }
        for (name, place) in &list.items {
            if facts.place_of(kind, name).is_none() {
                let hint = match similar(name, facts.items(kind)) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "correct the name, or add the item".to_owned(),
                };
                into.push(advice(
                    codes::NO_ITEM,
                    place.clone(),
                    format!("there is no {} `{name}` here", kind.name()),
                    hint,
                ));
            }
        }
    }
}
