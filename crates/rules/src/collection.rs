//! Collections: which items of a hub belong together.

use std::sync::Arc;

use crate::{
    codes,
    keys::{self, Key, Shape},
    load::{self, Fields, Loaded},
    place::SourceFile,
    plan::{Collection, ItemList},
};

/// Reads a collection file.
pub fn load_collection(file: Arc<SourceFile>) -> Loaded<Collection> {
    load::documents(file, |load, document| {
        let fields = Fields::read(load, document, &keys::COLLECTION);
        fields.ignore(load, &["description", "author"], &[], &["tags", "references"]);
        if let Some(labels) = fields.get("labels") {
            load.map(labels, "`labels`");
        }
        let name = fields.text(load, "name").map_or("", |name| name.text).into();
        let lists: Vec<ItemList> = keys::COLLECTION
            .keys
            .iter()
            .filter(|key| matches!(key.shape, Shape::List(Shape::Item(_))))
            .filter_map(|&Key { name: key, .. }| {
                let items = load.texts(fields.get(key)?, key);
                let items = items.into_iter().map(|item| (item.text.into(), load.place(item.span))).collect();
                Some(ItemList { key, items })
            })
            .collect();
        if lists.iter().all(|list| list.items.is_empty()) {
            let hint = "list items below `parsers`, `scenarios` and so on".to_owned();
            load.warn(codes::NO_EFFECT, document.span.clone(), "the collection lists nothing", hint);
        }
        Some(Collection { name, place: load.place(&fields.span), lists })
    })
}
