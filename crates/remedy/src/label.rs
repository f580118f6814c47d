//! What many decisions have in common, held once.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use testudo_wire::DecisionRef;

/// What many decisions have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// `ban`, `captcha` ….
    pub(crate) kind: Arc<str>,
    /// Who decided.
    pub(crate) origin: Arc<str>,
    /// The scenario or list behind it.
    pub(crate) scenario: Arc<str>,
}

impl Label {
    fn is_of(&self, told: &DecisionRef<'_>) -> bool {
        *self.kind == *told.kind && *self.origin == *told.origin && *self.scenario == *told.scenario
    }
}

/// The number of a label among its [`Labels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelId(pub(crate) u32);

/// All labels of some decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    all: Vec<Label>,
    /// By what they say.
    known: HashTable<LabelId>,
    hasher: DefaultHashBuilder,
    /// Of the decision before: lists come in one piece.
    last: Option<LabelId>,
}

impl Labels {
    /// The label of a decision.
    pub(crate) fn id(&mut self, told: &DecisionRef<'_>) -> LabelId {
        if let Some(last) = self.last
            && self.get(last).is_of(told)
        {
            return last;
        }
        let hash = self.hasher.hash_one((&told.kind, &told.origin, &told.scenario));
        let found = self.known.find(hash, |id| self.get(*id).is_of(told)).copied();
        let id = found.unwrap_or_else(|| {
            let id = LabelId(self.all.len() as u32);
            self.all.push(Label {
                kind: (*told.kind).into(),
                origin: (*told.origin).into(),
                scenario: (*told.scenario).into(),
            });
            let (labels, hasher) = (&self.all, &self.hasher);
            self.known.insert_unique(hash, id, |LabelId(at)| {
                let label = &labels[*at as usize];
                hasher.hash_one((&label.kind, &label.origin, &label.scenario))
            });
            id
        });
        self.last = Some(id);
        id
    }

    /// The same label among these.
    pub(crate) fn same(&mut self, label: &Label) -> LabelId {
        self.id(&DecisionRef {
            kind: (&*label.kind).into(),
            origin: (&*label.origin).into(),
            scenario: (&*label.scenario).into(),
            ..DecisionRef::default()
        })
    }

    /// A label by its number.
    ///
    /// # Panics
    /// There is none: it comes from elsewhere.
    pub(crate) fn get(&self, id: LabelId) -> &Label {
        &self.all[id.0 as usize]
    }

    /// All of them, by their numbers.
    pub(crate) fn all(&self) -> &[Label] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_held_once() {
        let mut labels = Labels::default();
        let mut id = |kind: &'static str, number: usize| {
            let scenario = format!("demo/{number}");
            labels.id(&DecisionRef { kind: kind.into(), scenario: scenario.into(), ..DecisionRef::default() })
        };
        let first: Vec<LabelId> = (0..1_000).map(|number| id("ban", number)).collect();
        assert_eq!((0..1_000).map(|number| id("ban", number)).collect::<Vec<_>>(), first);
        assert_ne!(id("captcha", 7), first[7]);
        assert_eq!(labels.all().len(), 1_001);
        assert_eq!(&*labels.get(first[7]).scenario, "demo/7");
    }
}
