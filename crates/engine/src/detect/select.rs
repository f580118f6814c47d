//! Which scenarios an event reaches, and with which key: the last thing that runs in the order of
//! the files, and the last that may write the event. After it the event is frozen.

use std::sync::Arc;

use testudo_expr::{Value, program::{Answer, Program}};

use super::Scenarios;
use crate::{
    counters::Counters,
    dispatch::BitSet,
    host::RecordHost,
    keys::Keys,
    parse::{Observer, WellKnown},
    record::Record,
    snapshot::Snapshot,
    world::World,
};

/// What a scenario's scope expression gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeText {
    /// The scenario has no such expression.
    None,
    /// It failed.
    Failed,
    /// Its text, `""` where it gave no text.
    Text(Piece),
}

/// A piece of [`Frozen::text`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    start: u32,
    end: u32,
}

/// One event for one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pour {
    pub(crate) scenario: u32,
    pub(crate) group: Piece,
    /// `None`: no `distinct`, or it failed, which counts as a new value.
    pub(crate) distinct: Option<Piece>,
    pub(crate) cancel: bool,
    pub(crate) scope: ScopeText,
}

/// An event after the freeze, with everything that its buckets need.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) event: Arc<Snapshot>,
    pub(crate) pours: Vec<Pour>,
    text: String,
}

impl Frozen {
    pub(crate) fn piece(&self, piece: Piece) -> &str {
        self.text.get(piece.start as usize..piece.end as usize).unwrap_or("")
    }
}

/// Working memory of the selection.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    candidates: BitSet,
    guards: Vec<crate::record::Span>,
    pours: Vec<Pour>,
    text: String,
}

impl Selector {
    /// Runs the filters and keys of all scenarios that the event can reach, and freezes it. `None`:
    /// no scenario wants it.
    #[expect(clippy::too_many_arguments, reason = "the parts of an engine, borrowed apart")]
    pub(crate) fn select<O: Observer>(
        &mut self,
        scenarios: &Scenarios,
        record: &mut Record,
        keys: &Keys,
        world: &World,
        known: &WellKnown,
        ordered: bool,
        counters: &mut Counters,
        observer: &mut O,
    ) -> Option<Frozen> {
        self.pours.clear();
        self.text.clear();
        self.probe(scenarios, record);
        let mut next = 0;
        while let Some(at) = self.candidates.next(next) {
            next = at + 1;
            let scenario = &scenarios.all[at];
            let mut host = RecordHost { record, keys, world, ordered };
            match scenario.filter.test(&mut host) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => {
                    counters.failed_expressions += 1;
                    continue;
                }
            }
            let group = match &scenario.group_by {
                None => Piece::default(),
                Some(program) => match self.keep(program, &mut host) {
                    Kept::Text(piece) => piece,
                    Kept::Other | Kept::Failed => {
                        counters.failed_expressions += 1;
                        continue;
                    }
                },
            };
            let distinct = scenario.distinct.as_ref().and_then(|program| match self.keep(program, &mut host) {
                Kept::Text(piece) => Some(piece),
                Kept::Other => Some(Piece::default()),
                Kept::Failed => {
                    counters.failed_expressions += 1;
                    None
                }
            });
            let cancel = scenario.cancel_on.as_ref().is_some_and(|p| p.test(&mut host).unwrap_or(false));
            let scope = match &scenario.scope {
                None => ScopeText::None,
                Some(program) => match self.keep(program, &mut host) {
                    Kept::Text(piece) => ScopeText::Text(piece),
                    Kept::Other => ScopeText::Text(Piece::default()),
                    Kept::Failed => ScopeText::Failed,
                },
            };
            counters.poured += 1;
            observer.poured(&scenario.plan.name);
            self.pours.push(Pour { scenario: at as u32, group, distinct, cancel, scope });
            // A filter that writes may have changed what the index was asked with.
            if scenario.filter.node().effects.mutates && self.guards_changed(scenarios, record) {
                self.probe(scenarios, record);
            }
        }
        if self.pours.is_empty() {
            return None;
        }
        let event = Snapshot::take(record, keys, &scenarios.kept, known.source_ip);
        Some(Frozen { event: Arc::new(event), pours: self.pours.clone(), text: self.text.as_str().to_owned() })
    }

    fn probe(&mut self, scenarios: &Scenarios, record: &Record) {
        scenarios.dispatch.candidates(|slot| record.text(slot), &mut self.candidates);
        self.guards.clear();
        self.guards.extend(scenarios.dispatch.slots().map(|slot| record.span(slot)));
    }

    fn guards_changed(&self, scenarios: &Scenarios, record: &Record) -> bool {
        scenarios.dispatch.slots().zip(&self.guards).any(|(slot, &span)| record.span(slot) != span)
    }

    fn keep(&mut self, program: &Program, host: &mut RecordHost<'_>) -> Kept {
        let start = self.text.len() as u32;
        match program.answer(host) {
            Ok(Answer::Text(text)) => self.text.push_str(&text),
            Ok(Answer::Value(Value::Str(text))) => self.text.push_str(&text),
            Ok(Answer::Value(_)) => return Kept::Other,
            Err(_) => return Kept::Failed,
        }
        Kept::Text(Piece { start, end: self.text.len() as u32 })
    }
}

enum Kept {
    Text(Piece),
    Other,
    Failed,
}
