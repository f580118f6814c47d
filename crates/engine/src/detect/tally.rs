//! Conditions that look at the whole queue, without walking it at every event.
//!
//! `len(filter(queue.Queue, {…}))`, `count(…)`, `any(…)`, `queue.Queue[-4:]` and the like are found
//! when rules load. Their predicates are asked once for each event that enters a queue; the bucket
//! keeps the count of those that hold and the newest of them, and the condition reads these. A
//! condition that looks at the queue in any other way runs as written.

use std::{collections::VecDeque, sync::Arc};

use testudo_expr::{
    EvalError, Handle, Node, Type, Value,
    core::{Binary, Kind, Local, Loop},
};

/// Predicates of one scenario; more are left as written.
const MAX_PREDICATES: usize = 64;

/// Newest events that are kept for each predicate.
const MAX_NEWEST: usize = 64;

/// Functions that stand for what a bucket knows of its queue.
const COUNT: &str = "tally count";
const NEWEST: &str = "tally newest";
const LENGTH: &str = "tally length";
const TAIL: &str = "tally tail";
const AT: &str = "tally at";

/// What a scenario's conditions ask of the queue.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Predicates over one event, as `any([evt], predicate)`.
    pub(crate) predicates: Vec<Node>,
    /// How many of the newest events are asked for, of each.
    newest: Vec<usize>,
}

/// What a bucket knows of one predicate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Events in the queue for which it holds.
    count: u64,
    /// Their numbers, the newest last.
    newest: VecDeque<u64>,
}

/// What a bucket knows of its queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies {
    each: Vec<Tally>,
    /// Number of the next event.
    next: u64,
    /// Number of the oldest event in the queue.
    oldest: u64,
    /// Events in the queue for which a predicate failed: while there are any, conditions run as written.
    failing: u64,
}

/// What the predicates said of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    held: u64,
    failed: bool,
}

impl Tallies {
    /// Whether conditions may read the tallies.
    pub(crate) fn are_good(&self) -> bool {
        self.failing == 0
    }

    /// Takes in what the predicates say of the newest event.
    pub(crate) fn enter(&mut self, plan: &Plan, mut ask: impl FnMut(&Node) -> Option<bool>) -> Marks {
        self.each.resize(plan.predicates.len(), Tally::default());
        let mut marks = Marks::default();
        for (at, (predicate, tally)) in plan.predicates.iter().zip(&mut self.each).enumerate() {
            match ask(predicate) {
                Some(true) => {
                    marks.held |= 1 << at;
                    tally.count += 1;
                    tally.newest.push_back(self.next);
                    if tally.newest.len() > plan.newest[at] {
                        tally.newest.pop_front();
                    }
                }
                Some(false) => {}
                None => marks.failed = true,
            }
        }
        self.failing += u64::from(marks.failed);
        self.next += 1;
        marks
    }

    /// Forgets the oldest event.
    pub(crate) fn leave(&mut self, marks: Marks) {
        for (at, tally) in self.each.iter_mut().enumerate() {
            if marks.held >> at & 1 == 1 {
                tally.count -= 1;
                if tally.newest.front() == Some(&self.oldest) {
                    tally.newest.pop_front();
                }
            }
        }
        self.failing -= u64::from(marks.failed);
        self.oldest += 1;
    }

    /// Answers the functions that conditions were rewritten to. `element` gives the event at a
    /// position of the queue.
    pub(crate) fn answer(
        &self,
        name: &str,
        arguments: &[Value],
        element: impl Fn(usize) -> Value,
    ) -> Result<Value, EvalError> {
        let number = |at: usize| match arguments.get(at) {
            Some(Value::Int(number)) => usize::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let length = (self.next - self.oldest) as usize;
        // Before the first event enters the queue nothing holds.
        let tally = self.each.get(number(0));
        Ok(match name {
            COUNT => Value::Int(tally.map_or(0, |tally| tally.count as i64)),
            NEWEST => {
                let newest = || tally.into_iter().flat_map(|tally| &tally.newest);
                let skip = newest().count().saturating_sub(number(1));
                Value::list(newest().skip(skip).map(|n| element((n - self.oldest) as usize)).collect())
            }
            LENGTH => Value::Int(length as i64),
            TAIL => Value::list((length.saturating_sub(number(0))..length).map(element).collect()),
            AT => {
                let Some(Value::Int(at)) = arguments.first() else { return Err(EvalError::OutOfRange) };
                let at = if *at < 0 { length as i64 + at } else { *at };
                match usize::try_from(at) {
                    Ok(at) if at < length => element(at),
                    _ => return Err(EvalError::OutOfRange),
                }
            }
            _ => return Err(EvalError::other(format!("there is no function `{name}` here"))),
        })
    }
}

/// Handle on which the functions are called.
pub(crate) fn is_function(object: Handle) -> bool {
    object == testudo_expr::Schema::FUNCTIONS
}

impl Plan {
    /// The condition with its looks at the queue replaced; `None`: it runs as written.
    pub(crate) fn rewrite(&mut self, condition: &Node) -> Option<Node> {
        let before = (self.predicates.len(), self.newest.clone());
        let mut rewriter = Rewriter { plan: self, filtered: Vec::new() };
        let rewritten = rewriter.node(condition);
        if rewritten.is_none() {
            self.predicates.truncate(before.0);
            self.newest = before.1;
        }
        rewritten
    }

    fn predicate(&mut self, predicate: &Node) -> Option<usize> {
        if !over_one_element(predicate) || predicate.ty != Type::Bool {
            return None;
        }
        if self.predicates.len() >= MAX_PREDICATES {
            return None;
        }
        // The newest event of the queue is the one that the condition sees as `evt`.
        let event = like(predicate, Kind::Variable(0), Type::Any);
        let newest = like(predicate, Kind::List(vec![event]), Type::List(Box::new(Type::Any)));
        let kind = Kind::Loop {
            which: Loop::Any,
            list: Box::new(newest),
            predicate: Some(Box::new(predicate.clone())),
            extra: None,
        };
        self.predicates.push(like(predicate, kind, Type::Bool));
        self.newest.push(0);
        Some(self.predicates.len() - 1)
    }
}

struct Rewriter<'p> {
    plan: &'p mut Plan,
    /// `let` variables that stand for `filter(queue.Queue, predicate)`, with the predicate's number.
    filtered: Vec<(Local, usize)>,
}

impl Rewriter<'_> {
    /// The node without looks at the queue; `None`: there is one that cannot be replaced.
    fn node(&mut self, node: &Node) -> Option<Node> {
        if let Some(replaced) = self.look(node) {
            return Some(replaced);
        }
        match &node.kind {
            Kind::Local(local) if self.filtered.iter().any(|(l, _)| l == local) => return None,
            Kind::Variable(1 | 2) | Kind::Env => return None,
            Kind::Let(local, value, body) => {
                if let Some(predicate) = self.filter(value) {
                    self.filtered.push((*local, predicate));
                    let body = self.node(body);
                    self.filtered.pop();
                    return body;
                }
            }
            _ => {}
        }
        let mut whole = true;
        let mut copy = node.clone();
        copy.for_each_child_mut(&mut |child| match self.node(child) {
            Some(rewritten) => *child = rewritten,
            None => whole = false,
        });
        whole.then_some(copy)
    }

    /// What a look at the queue is replaced by.
    fn look(&mut self, node: &Node) -> Option<Node> {
        match &node.kind {
            Kind::Call { function, arguments } if function.name == "len" => {
                let [of] = arguments.as_slice() else { return None };
                if is_queue(of) {
                    return Some(call(LENGTH, Vec::new(), Type::Int, node));
                }
                let predicate = self.filter(of)?;
                Some(call(COUNT, vec![number(predicate, node)], Type::Int, node))
            }
            Kind::Loop { which: Loop::Count, list, predicate: Some(predicate), extra: None }
                if is_queue(list) =>
            {
                let predicate = self.plan.predicate(predicate)?;
                Some(call(COUNT, vec![number(predicate, node)], Type::Int, node))
            }
            Kind::Loop { which: Loop::Any, list, predicate: Some(predicate), extra: None }
                if is_queue(list) =>
            {
                let predicate = self.plan.predicate(predicate)?;
                let count = call(COUNT, vec![number(predicate, node)], Type::Int, node);
                let kind = Kind::Binary(Binary::Gt, Box::new(count), Box::new(int(0, node)));
                Some(like(node, kind, Type::Bool))
            }
            Kind::Slice { of, from: Some(from), to: None } => {
                let newest =
                    usize::try_from(-constant(from)?).ok().filter(|n| (1..=MAX_NEWEST).contains(n))?;
                if is_queue(of) {
                    return Some(call(TAIL, vec![number(newest, node)], node.ty.clone(), node));
                }
                let predicate = self.filter(of)?;
                let kept = &mut self.plan.newest[predicate];
                *kept = (*kept).max(newest);
                Some(call(NEWEST, vec![number(predicate, node), number(newest, node)], node.ty.clone(), node))
            }
            Kind::Index { of, key, optional: false } if is_queue(of) => {
                Some(call(AT, vec![int(constant(key)?, node)], node.ty.clone(), node))
            }
            _ => None,
        }
    }

    /// The number of the predicate of `filter(queue.Queue, predicate)`, or of a variable for it.
    fn filter(&mut self, node: &Node) -> Option<usize> {
        match &node.kind {
            Kind::Local(local) => self.filtered.iter().rev().find(|(l, _)| l == local).map(|(_, p)| *p),
            Kind::Loop { which: Loop::Filter, list, predicate: Some(predicate), .. } if is_queue(list) => {
                self.plan.predicate(predicate)
            }
            _ => None,
        }
    }
}

/// `queue.Queue`: the second variable of the schema of conditions.
fn is_queue(node: &Node) -> bool {
    matches!(&node.kind, Kind::Field { of, name, optional: false }
        if &**name == "Queue" && matches!(of.kind, Kind::Variable(1)))
}

/// Whether a predicate looks at its element and constants alone.
fn over_one_element(predicate: &Node) -> bool {
    if predicate.effects.mutates || predicate.effects.impure {
        return false;
    }
    match &predicate.kind {
        Kind::Variable(_)
        | Kind::Env
        | Kind::Local(_)
        | Kind::Let(..)
        | Kind::ElementIndex(_)
        | Kind::Accumulator(_)
        | Kind::Loop { .. } => false,
        _ => {
            let mut alone = true;
            predicate.for_each_child(&mut |child| alone &= over_one_element(child));
            alone
        }
    }
}

fn constant(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Const(Value::Int(number)) => Some(*number),
        Kind::Negate(true, of) => Some(-constant(of)?),
        _ => None,
    }
}

fn like(node: &Node, kind: Kind, ty: Type) -> Node {
    Node { kind, ty, span: node.span, effects: node.effects }
}

fn int(value: i64, at: &Node) -> Node {
    like(at, Kind::Const(Value::Int(value)), Type::Int)
}

fn number(value: usize, at: &Node) -> Node {
    int(value as i64, at)
}

fn call(name: &'static str, arguments: Vec<Node>, ty: Type, at: &Node) -> Node {
    like(at, Kind::HostCall { name: Arc::from(name), arguments }, ty)
}
