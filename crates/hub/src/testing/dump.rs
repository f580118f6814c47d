//! Collects what every top-level node made of every event, as the assertions on parsers see it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use testudo_engine::{Dump, Keys, Node, Observer, Record};

/// One evaluation of a top-level node.
#[derive(Debug)]
pub(super) struct Entry {
    /// Rank of the node's first appearance in its stage, from 1.
    pub(super) index: i64,
    pub(super) success: bool,
    /// The event as it was right after the node.
    pub(super) event: Dump,
}

/// Evaluations by stage and by name of the node; nodes of one name share a list.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub(super) stages: BTreeMap<String, HashMap<Arc<str>, Vec<Entry>>>,
}

impl Observer for Collector {
    const ACTIVE: bool = true;

    fn leave(&mut self, stage: &str, node: &Node, depth: usize, ok: bool, record: &Record, keys: &Keys) {
        if depth > 0 {
            return;
        }
        if !self.stages.contains_key(stage) {
            self.stages.insert(stage.to_owned(), HashMap::new());
        }
        let Some(nodes) = self.stages.get_mut(stage) else { return };
        let next = nodes.len() as i64 + 1;
        let entries = nodes.entry(node.name.clone()).or_default();
        let index = entries.first().map_or(next, |first| first.index);
        entries.push(Entry { index, success: ok, event: record.dump(keys) });
    }
}
