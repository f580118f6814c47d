//! Runs the stages over one event, in the exact order that rules rely on.

use hashbrown::HashMap;
use testudo_event::{Contributor, Overflow, YearClock, net};
use testudo_expr::{EvalError, Program, Type, Value, core::Kind, program::Answer};
use testudo_pattern::GrokCache;
use testudo_rules::plan::{OnSuccess, TextField};

use super::counts::NodeCounts;
use super::plan::{
    Hopeless, Node, NodeGrok, Source, Stages, Stash, Static, Target, Value as StaticValue, WellKnown,
};
use crate::{
    counters::Counters,
    dispatch::BitSet,
    host::{self, RecordHost},
    keys::{self, Keys},
    record::{EventKind, Record, Span},
    stash::Notes,
    world::World,
};

/// What happened inside a node, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The filter was false, failed, or gave no boolean.
    Filtered,
    /// The source of the pattern is absent or failed.
    NoSource,
    /// The pattern did not match.
    NoMatch,
    /// The pattern matched.
    Matched,
    /// The whitelist matched.
    Whitelisted,
}

/// Watches events on their way. The default watches nothing and costs nothing.
#[expect(unused_variables, reason = "the names of the parameters document the hooks")]
pub trait Observer {
    /// Whether nodes that were skipped without being asked are told too.
    const ACTIVE: bool = false;

    /// A node begins; `depth` 0 for top-level ones.
    fn enter(&mut self, stage: &str, node: &Node, depth: usize) {}

    /// Something happened inside a node. `text` is what its pattern was applied on, if anything.
    fn step(&mut self, node: &Node, step: Step, text: Option<&str>) {}

    /// A node is done.
    fn leave(&mut self, stage: &str, node: &Node, depth: usize, ok: bool, record: &Record, keys: &Keys) {}

    /// An event was handed to a scenario's bucket.
    fn poured(&mut self, scenario: &str) {}

    /// A line went through the parsers, as far as it came, and through the filters of scenarios:
    /// nothing writes its event any more. What is poured after this are overflows of its buckets.
    fn done(&mut self, record: &Record, keys: &Keys) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    pub(crate) record: Record,
    /// The source whose name and labels the record's base holds.
    pub(crate) source: Option<u32>,
    caches: Vec<Option<GrokCache>>,
    spans: Vec<Option<(u32, u32)>>,
    candidates: BitSet,
    spare: BitSet,
    /// Expressions of a whitelist that may hold.
    listed: BitSet,
    /// Children of a node that cannot match.
    missing: BitSet,
    guards: Vec<Span>,
    text: String,
    pub(crate) enricher: super::enrich::Memory,
    pub(crate) counters: Counters,
    pub(crate) nodes: NodeCounts,
    /// What the line stores, unless it is its turn already.
    pub(crate) notes: Notes,
}

impl Worker {
    pub(crate) fn new(keys: &Keys) -> Worker {
        Worker { record: Record::new(keys), ..Worker::default() }
    }

    /// Hands over what the line stores, the one of a batch with this number.
    #[inline]
    pub(crate) fn hand_over(&mut self, notes: &mut Notes, line: usize) {
        if !self.notes.is_empty() {
            notes.take(&mut self.notes, line, self.record.time);
        }
    }

    /// Begins anew after a panic has left it in the middle of something, which is counted.
    pub(crate) fn recover(&mut self, keys: &Keys) {
        let counters = Counters { panics: self.counters.panics + 1, ..self.counters };
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.end_line(false);
        *self = Worker { counters, nodes, ..Worker::new(keys) };
    }
}

/// The event must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;

/// What every node needs besides the event.
pub(crate) struct Parser<'p> {
    pub(crate) stages: &'p Stages,
    pub(crate) keys: &'p Keys,
    pub(crate) world: &'p World,
    pub(crate) known: &'p WellKnown,
    pub(crate) layouts: &'p HashMap<Box<str>, testudo_event::Layout>,
    pub(crate) years: YearClock,
    pub(crate) ordered: bool,
    /// Whether name look-ups may be waited for: after an overflow only.
    pub(crate) may_wait: bool,
    /// Whether `evt.Stage` is read by anything.
    pub(crate) shows_stage: bool,
}

/// A stage that a rule named and that does not exist.
const NOWHERE: usize = usize::MAX;

/// Children that fail before the others are looked at all at once: where the first ones match, as they do for
/// most lines of a web server, it would be work for nothing.
const WORTH_A_SCAN: usize = 2;

/// The way of one event: where it is and what it met.
struct Walk<'w, O> {
    worker: &'w mut Worker,
    observer: &'w mut O,
    stage: usize,
}

impl Parser<'_> {
    /// Sends the worker's record through the stages. `Ok(true)`: it went through all of them.
    pub(crate) fn run<O: Observer>(&self, worker: &mut Worker, observer: &mut O) -> Result<bool, Dropped> {
        let mut walk = Walk { worker, observer, stage: 0 };
        walk.worker.record.process = false;
        let mut candidates = std::mem::take(&mut walk.worker.candidates);
        let through = self.stages_of(&mut walk, &mut candidates);
        walk.worker.candidates = candidates;
        let through = through?;
        walk.worker.record.process = through;
        Ok(through)
    }

    fn stages_of<O: Observer>(
        &self,
        walk: &mut Walk<'_, O>,
        candidates: &mut BitSet,
    ) -> Result<bool, Dropped> {
        self.show_stage(walk);
        for (at, stage) in self.stages.stages.iter().enumerate() {
            if walk.stage < at || walk.stage == NOWHERE {
                return Ok(false);
            }
            if walk.stage > at {
                continue;
            }
            let mut any = false;
            let mut next = 0;
            self.select(walk, at, candidates);
            while let Some(index) = candidates.next(next) {
                if O::ACTIVE {
                    self.tell_skipped(walk, at, next..index);
                }
                next = index + 1;
                let node = &stage.nodes[index];
                let ok = self.top_node(walk, &stage.name, node)?;
                any |= ok;
                if (ok && node.on_success == OnSuccess::NextStage) || walk.stage != at {
                    next = stage.nodes.len();
                    break;
                }
                if self.guards_changed(walk, at, next) {
                    self.select(walk, at, candidates);
                }
            }
            if O::ACTIVE && walk.stage == at && next < stage.nodes.len() {
                self.tell_skipped(walk, at, next..stage.nodes.len());
            }
            if !any {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn show_stage<O>(&self, walk: &mut Walk<'_, O>) {
        if self.shows_stage
            && let Some(stage) = self.stages.stages.get(walk.stage)
        {
            walk.worker.record.set(keys::STAGE, &stage.name);
        }
    }

    /// Asks the index which nodes of a stage the event can reach.
    fn select<O>(&self, walk: &mut Walk<'_, O>, at: usize, candidates: &mut BitSet) {
        let stage = &self.stages.stages[at];
        let Worker { record, guards, spare, .. } = &mut *walk.worker;
        stage.dispatch.candidates(|slot| record.text(slot), candidates, spare);
        guards.clear();
        guards.extend(stage.guards.iter().map(|guard| record.span(guard.slot)));
    }

    /// Whether a value that the index was asked with is another one now, for nodes from `next` on.
    fn guards_changed<O>(&self, walk: &Walk<'_, O>, at: usize, next: usize) -> bool {
        let mut guards = self.stages.stages[at].guards.iter().zip(&walk.worker.guards);
        guards.any(|(guard, &span)| guard.concerns(next) && walk.worker.record.span(guard.slot) != span)
    }

    fn tell_skipped<O: Observer>(&self, walk: &mut Walk<'_, O>, at: usize, nodes: std::ops::Range<usize>) {
        let stage = &self.stages.stages[at];
        for node in &stage.nodes[nodes] {
            walk.observer.enter(&stage.name, node, 0);
            walk.observer.step(node, Step::Filtered, None);
            walk.observer.leave(&stage.name, node, 0, false, &walk.worker.record, self.keys);
        }
    }

    fn top_node<O: Observer>(
        &self,
        walk: &mut Walk<'_, O>,
        stage: &str,
        node: &Node,
    ) -> Result<bool, Dropped> {
        let ok = self.node(walk, stage, node, 0)?;
        walk.observer.leave(stage, node, 0, ok, &walk.worker.record, self.keys);
        Ok(ok)
    }

    fn host<'h>(&'h self, record: &'h mut Record) -> RecordHost<'h> {
        RecordHost { record, keys: self.keys, world: self.world, ordered: self.ordered }
    }

    /// One node, in the order: filter, whitelist, pattern, stash, children, statics, next stage.
    fn node<O: Observer>(
        &self,
        walk: &mut Walk<'_, O>,
        stage: &str,
        node: &Node,
        depth: usize,
    ) -> Result<bool, Dropped> {
        walk.observer.enter(stage, node, depth);
        if let Some(filter) = &node.filter {
            let mut host = self.host(&mut walk.worker.record);
            // The index has asked the guards of a top-level node's filter.
            let holds = if depth == 0 { filter.test_after_guards(&mut host) } else { filter.test(&mut host) };
            match holds {
                Ok(true) => {}
                Ok(false) => {
                    walk.observer.step(node, Step::Filtered, None);
                    return Ok(false);
                }
                Err(_) => {
                    walk.worker.counters.failed_expressions += 1;
                    walk.observer.step(node, Step::Filtered, None);
                    return Ok(false);
                }
            }
        }
        let ok = self.inside(walk, stage, node, depth);
        walk.worker.nodes.done(node.id, ok == Ok(true));
        ok
    }

    /// What comes after the filter of a node.
    #[inline]
    fn inside<O: Observer>(
        &self,
        walk: &mut Walk<'_, O>,
        stage: &str,
        node: &Node,
        depth: usize,
    ) -> Result<bool, Dropped> {
        let whitelisted = node.whitelist.is_some() && self.whitelist(walk, node);
        if whitelisted {
            walk.observer.step(node, Step::Whitelisted, None);
            walk.worker.nodes.whitelisted(node.id);
        }
        let matched = match &node.grok {
            Some(grok) => self.grok(walk, node, grok)?,
            None => false,
        };
        if !node.stash.is_empty() && (matched || node.grok.is_none()) {
            self.stash(walk.worker, &node.stash);
        }
        let mut ok = matched || node.grok.is_none();
        // A watcher is told how far each pattern came.
        let hopeless = node.hopeless.as_ref().filter(|_| !O::ACTIVE);
        let mut failed = 0;
        let mut scanned: Option<(Span, BitSet)> = None;
        for (at, child) in node.nodes.iter().enumerate() {
            // What the cell held may be another text by now.
            if let (Some(hopeless), Some((span, missing))) = (hopeless, &scanned)
                && missing.contains(at)
                && walk.worker.record.span(hopeless.slot) == *span
            {
                ok &= matched;
                continue;
            }
            let child_ok = self.node(walk, stage, child, depth + 1)?;
            walk.observer.leave(stage, child, depth + 1, child_ok, &walk.worker.record, self.keys);
            if child_ok {
                ok = true;
                if node.on_success == OnSuccess::NextStage {
                    break;
                }
            } else {
                failed += 1;
                if failed == WORTH_A_SCAN {
                    scanned = hopeless.map(|hopeless| Self::scan(walk.worker, hopeless));
                }
                ok &= matched;
            }
        }
        if let Some((_, missing)) = scanned {
            walk.worker.missing = missing;
        }
        if !ok {
            return Ok(false);
        }
        if node.whitelist.is_none() || whitelisted {
            self.statics(walk, &node.statics)?;
        }
        if node.on_success == OnSuccess::NextStage && walk.stage < self.stages.stages.len().saturating_sub(1)
        {
            walk.stage += 1;
            self.show_stage(walk);
        }
        Ok(true)
    }

    /// The children of a node that cannot match what a cell holds now.
    fn scan(worker: &mut Worker, hopeless: &Hopeless) -> (Span, BitSet) {
        let mut missing = std::mem::take(&mut worker.missing);
        let record = &worker.record;
        let span = record.span(hopeless.slot);
        missing.copy_from(hopeless.scan.members());
        hopeless.scan.find(record.slice(span), &mut missing);
        (span, missing)
    }

    fn whitelist<O: Observer>(&self, walk: &mut Walk<'_, O>, node: &Node) -> bool {
        let Some(list) = &node.whitelist else { return false };
        let Worker { record, counters, listed, spare, .. } = &mut *walk.worker;
        let mut hit = false;
        if !list.ips.is_empty() || !list.cidrs.is_empty() {
            // Mapped addresses are IPv4 here; those of the list are so since it was compiled.
            let listed = |address| {
                let address = net::canonical(address);
                list.ips.contains(&address) || list.cidrs.iter().any(|cidr| cidr.contains(address))
            };
            hit = match record.kind {
                EventKind::Log => net::parse_addr(record.text(self.known.source_ip)).is_some_and(listed),
                _ => self.host(record).ip_sources().into_iter().any(listed),
            };
            // Where an alert is about something else, those who contributed are let off one by one.
            if let Some(overflow) = &mut record.overflow {
                let guilty = |by: &Contributor| !net::parse_addr(&by.value).is_some_and(listed);
                overflow.alert.contributors.retain(guilty);
            }
        }
        if !list.contributors.is_empty() {
            self.let_off(record, counters, &list.contributors);
        }
        if !hit {
            match &list.dispatch {
                Some(dispatch) => dispatch.candidates(|slot| record.text(slot), listed, spare),
                None => listed.fill(list.expressions.len()),
            }
            let mut host = self.host(record);
            let mut next = 0;
            while let Some(at) = listed.next(next) {
                next = at + 1;
                let expression = &list.expressions[at];
                let holds = match list.dispatch {
                    Some(_) => expression.test_after_guards(&mut host),
                    None => expression.test(&mut host),
                };
                match holds {
                    Ok(true) => {
                        hit = true;
                        break;
                    }
                    Ok(false) => {}
                    Err(EvalError::Kind { what: "a test", .. }) => counters.failed_expressions += 1,
                    Err(_) => {
                        counters.failed_expressions += 1;
                        break;
                    }
                }
            }
        }
        if hit && !record.whitelisted {
            record.whitelisted = true;
            record.set(keys::WHITELIST_REASON, &list.reason);
            if let Some(overflow) = &mut record.overflow {
                overflow.whitelisted = true;
                overflow.whitelist_reason = list.reason.to_string();
            }
        }
        hit
    }

    /// Takes those out of the contributors of an overflow for whom one of the expressions holds.
    #[inline(never)]
    fn let_off(&self, record: &mut Record, counters: &mut Counters, expressions: &[Program]) {
        let Some(overflow) = &mut record.overflow else { return };
        let mut contributors = std::mem::take(&mut overflow.alert.contributors);
        contributors.retain_mut(|by| {
            record.contributor = Some(std::mem::take(&mut by.value));
            let mut holds = |expression: &Program| {
                expression.test(&mut self.host(record)).unwrap_or_else(|_| {
                    counters.failed_expressions += 1;
                    false
                })
            };
            let is_let_off = expressions.iter().any(&mut holds);
            by.value = record.contributor.take().unwrap_or_default();
            !is_let_off
        });
        if let Some(overflow) = &mut record.overflow {
            overflow.alert.contributors = contributors;
        }
    }

    /// The span that a pattern is applied on.
    fn source<O>(&self, walk: &mut Walk<'_, O>, source: &Source) -> Option<Span> {
        let Worker { record, text, counters, .. } = &mut *walk.worker;
        match source {
            Source::Line => {
                let span = record.span(keys::LINE_RAW);
                Some(if span.is_present() { span } else { Span::EMPTY })
            }
            Source::Slot(slot) => Some(record.span(*slot)).filter(|span| span.is_present()),
            Source::Expression(program) => {
                text.clear();
                match program.answer(&mut self.host(record)) {
                    Ok(Answer::Text(answer)) => text.push_str(&answer),
                    Ok(Answer::Value(Value::Str(answer))) => text.push_str(&answer),
                    Ok(Answer::Value(Value::Int(number))) => text.push_str(&number.to_string()),
                    Ok(Answer::Value(Value::Float(number))) => {
                        text.push_str(&testudo_event::text::go_f(number));
                    }
                    Ok(Answer::Value(_)) => counters.failed_expressions += 1,
                    Err(_) => {
                        counters.failed_expressions += 1;
                        return None;
                    }
                }
                Some(record.push(text))
            }
        }
    }

    fn grok<O: Observer>(
        &self,
        walk: &mut Walk<'_, O>,
        node: &Node,
        grok: &NodeGrok,
    ) -> Result<bool, Dropped> {
        let Some(source) = self.source(walk, &grok.source) else {
            walk.observer.step(node, Step::NoSource, None);
            return Ok(false);
        };
        let Worker { record, caches, spans, .. } = &mut *walk.worker;
        if caches.len() <= grok.id {
            caches.resize_with(grok.id + 1, || None);
        }
        let cache = caches[grok.id].get_or_insert_with(|| grok.grok.create_cache());
        let matched = grok.grok.find(cache, record.slice(source), spans);
        let step = if matched { Step::Matched } else { Step::NoMatch };
        walk.observer.step(node, step, Some(record.slice(source)));
        if !matched {
            return Ok(false);
        }
        for (slot, span) in grok.slots.iter().zip(spans.iter()) {
            let span = match span {
                Some((start, end)) => Span { start: source.start + start, len: end - start },
                None => Span::EMPTY,
            };
            record.assign(*slot, span);
        }
        self.statics(walk, &grok.statics)?;
        Ok(true)
    }

    #[inline(never)]
    fn stash(&self, worker: &mut Worker, all: &[Stash]) {
        let Worker { record, counters, text, notes, .. } = worker;
        for stash in all {
            text.clear();
            let mut host = self.host(record);
            let value = stash.value.write(&mut host, text);
            let middle = text.len();
            let key = stash.key.write(&mut host, text);
            if !matches!((value, key), (Ok(true), Ok(true))) {
                counters.failed_expressions += 1;
                continue;
            }
            let (value, key) = text.split_at(middle);
            if self.ordered {
                record.needs_order.store(true, std::sync::atomic::Ordering::Relaxed);
                self.world.lock_stashes().set(&stash.name, key, value, stash.ttl, record.clock());
            } else {
                notes.add(&stash.name, key, value, stash.ttl);
            }
        }
    }

    fn statics<O>(&self, walk: &mut Walk<'_, O>, statics: &[Static]) -> Result<(), Dropped> {
        for item in statics {
            let may_be_empty = matches!(item.target, Target::Method(super::plan::Method::ParseDate));
            let Some(span) = self.value(walk, &item.value)? else { continue };
            if span.len == 0 && !may_be_empty {
                continue;
            }
            self.apply(walk, &item.target, span);
        }
        Ok(())
    }

    /// The value of a static as text; `None`: skip it.
    fn value<O>(&self, walk: &mut Walk<'_, O>, value: &StaticValue) -> Result<Option<Span>, Dropped> {
        let Worker { record, text, counters, .. } = &mut *walk.worker;
        let program = match value {
            StaticValue::Constant(span) => return Ok(Some(*span)),
            StaticValue::Slot(slot) => {
                let span = record.span(*slot);
                return Ok(Some(if span.is_present() { span } else { Span::EMPTY }));
            }
            StaticValue::Program(program) => program,
        };
        text.clear();
        match program.answer(&mut self.host(record)) {
            Ok(Answer::Text(answer)) => text.push_str(&answer),
            Ok(Answer::Value(Value::Str(answer))) => text.push_str(&answer),
            Ok(Answer::Value(Value::Int(number))) => {
                use std::fmt::Write as _;
                let _ = write!(text, "{number}");
            }
            Ok(Answer::Value(Value::Float(number))) => text.push_str(&testudo_event::text::go_f(number)),
            // Nil, and maps and lists of anything, leave the target as it is.
            Ok(Answer::Value(Value::Nil)) => return Ok(None),
            Ok(Answer::Value(value)) if is_untyped(&value, program) => {
                counters.failed_expressions += 1;
                return Ok(None);
            }
            Ok(Answer::Value(_)) => return Err(Dropped),
            Err(_) => {
                counters.failed_expressions += 1;
                return Ok(None);
            }
        }
        Ok(Some(record.push(text)))
    }

    fn apply<O>(&self, walk: &mut Walk<'_, O>, target: &Target, span: Span) {
        match target {
            Target::Slot(slot) => walk.worker.record.assign(*slot, span),
            Target::Unmarshaled(key) => {
                let text = Value::str(walk.worker.record.slice(span));
                walk.worker.record.unmarshaled.insert(key.clone(), text);
            }
            Target::Method(method) => self.enrich(walk.worker, *method, span),
            Target::Stage => {
                let name = walk.worker.record.slice(span);
                let known = self.stages.stages.iter().position(|stage| *stage.name == *name);
                walk.stage = known.unwrap_or(NOWHERE);
                walk.worker.record.assign(keys::STAGE, span);
            }
            Target::Overflow(field) => {
                let text = walk.worker.record.slice(span).to_owned();
                if *field == TextField::SourceIp {
                    walk.worker.record.assign(keys::OVERFLOW_SOURCE_IP, span);
                }
                if let Some(overflow) = &mut walk.worker.record.overflow {
                    set_overflow_text(overflow, *field, text);
                }
            }
            Target::Nowhere => {}
        }
    }
}

/// Whether the reference would have this as a list or map of anything: those are skipped, where those
/// of a fixed type drop the event.
pub(crate) fn is_untyped(value: &Value, program: &testudo_expr::Program) -> bool {
    match value {
        Value::List(_) | Value::Map(_) => !has_fixed_elements(program.node()),
        Value::Object(object) => host::is_open_map(*object),
        _ => false,
    }
}

/// Whether a list or map that an expression gives has elements of one fixed type. What the language itself
/// puts together may hold anything, whatever it was put together from.
fn has_fixed_elements(node: &testudo_expr::Node) -> bool {
    let fixed = |ty: &Type| matches!(ty, Type::List(of) | Type::Map(of) if **of != Type::Any);
    match &node.kind {
        Kind::Const(_) | Kind::List(_) | Kind::Map(_) | Kind::Loop { .. } => false,
        Kind::Call { function, .. } => fixed(&function.returns),
        Kind::Slice { of, .. } | Kind::Chain(of) | Kind::Let(_, _, of) => has_fixed_elements(of),
        Kind::Cond(_, a, b) | Kind::Coalesce(a, b) => has_fixed_elements(a) || has_fixed_elements(b),
        Kind::Sequence(parts) => parts.last().is_some_and(has_fixed_elements),
        _ => fixed(&node.ty),
    }
}

fn set_overflow_text(overflow: &mut Overflow, field: TextField, text: String) {
    let alert = &mut overflow.alert;
    match field {
        TextField::SourceValue => alert.source.value = text,
        TextField::SourceScope => alert.source.scope = text,
        TextField::SourceIp => alert.source.ip = text,
        TextField::SourceRange => alert.source.range = text,
        TextField::SourceAsName => alert.source.as_name = text,
        TextField::SourceAsNumber => alert.source.as_number = text,
        TextField::SourceCn => alert.source.cn = text,
        TextField::AlertScenario => alert.scenario = text,
        TextField::AlertMessage => alert.message = text,
        TextField::OverflowMapkey => overflow.mapkey = text,
        _ => {}
    }
}
