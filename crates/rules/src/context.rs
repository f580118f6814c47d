//! Alert context: which values of events an alert carries along.

use std::sync::Arc;

use crate::{
    codes,
    expression::{self, Usage},
    load::{self, Loaded, Loading},
    place::SourceFile,
    plan::Context,
    yaml::Node,
};

/// Reads a context file. In a hub item the map stands below the key `context`, beside keys that
/// mean nothing here; in the console's own file it is the whole document.
pub fn load_context(file: Arc<SourceFile>, item: bool) -> Loaded<Context> {
    load::documents(file, |load, document| {
        if !item {
            return Some(context(load, document, "the context"));
        }
        let entries = load.map(document, "the context item");
        let found = entries.iter().find(|(key, _)| key.text == "context").map(|(_, node)| *node);
        let Some(node) = found.filter(|node| !node.is_null()) else {
            let hint = "add `context:` with names and lists of expressions below it".to_owned();
            load.warn(codes::EMPTY_DOCUMENT, document.span.clone(), "the item holds no context", hint);
            return None;
        };
        Some(context(load, node, "`context`"))
    })
}

fn context(load: &mut Loading, node: &Node, what: &str) -> Context {
    let mut context = Context::default();
    for (name, list) in load.map(node, what) {
        let mut expressions = Vec::new();
        for text in load.texts(list, name.text) {
            let Some(expression) = expression::compile(load, text, &Usage::CONTEXT) else { continue };
            if !expressions.iter().any(|known: &crate::plan::Expression| known.text == expression.text) {
                expressions.push(expression);
            }
        }
        context.fields.insert(name.text.to_owned(), expressions);
    }
    context
}
