//! Conditions that look at the whole queue, without walking it at every event.
//!
//! `len(filter(queue.Queue, {…}))`, `count(…)`, `any(…)`, `queue.Queue[-4:]` and the like are found
//! when rules load. Their predicates are asked once for each event that enters a queue; the bucket
//! keeps the count of those that hold and the newest of them, and the condition reads these.
//! `len(uniq(map(queue.Queue, {…})))` walks the queue, but without making lists. A condition that begins
//! with `leaky.Total_count % n == 0` is asked at every n-th event only. A condition that looks at the
//! queue in any other way runs as written.

use std::{borrow::Cow, num::NonZeroU64, ops::Range, sync::Arc};

use hashbrown::HashSet;
use testudo_expr::{
    EvalError, Handle, Host, Node, Type, Value,
    core::{Binary, Kind, Local, Loop},
    program::{Answer, Program},
};

use super::bucket::cost::allocated;

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
const DISTINCT: &str = "tally distinct";

/// Words of [`Tallies`] before those of the predicates.
const HEAD: usize = 3;

/// What a scenario's conditions ask of the queue.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Predicates over the newest event.
    predicates: Vec<Arc<Node>>,
    /// The same, compiled.
    pub(crate) programs: Vec<Program>,
    /// How many of the newest events are asked for, of each.
    newest: Vec<usize>,
    /// Texts of an event of which the different ones are counted.
    texts: Vec<Arc<Node>>,
    /// The same, compiled.
    text_programs: Vec<Program>,
    /// Whether anything is asked of [`Tallies`].
    keeps: bool,
    /// The condition is asked at those events of a bucket whose number this divides; `None`: at all.
    every: Option<NonZeroU64>,
}

/// What a bucket knows of its queue, in one piece of memory: the number of the next event, that of the
/// oldest event in the queue, how many events there are for which a predicate failed; and for each
/// predicate the count of events in the queue for which it holds, and the numbers of the newest of
/// these, as many as are asked for. There are none before the first event.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Box<[u64]>);

/// What the predicates said of one event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    held: u64,
    failed: bool,
}

impl Tallies {
    /// Whether conditions may read the tallies: while there are events for which a predicate failed,
    /// they run as written.
    pub(crate) fn are_good(&self) -> bool {
        self.0.get(2).is_none_or(|failing| *failing == 0)
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        allocated(size_of_val(&*self.0))
    }

    /// Takes in what the predicates say of the newest event; `ask` is given their positions.
    pub(crate) fn enter(&mut self, plan: &Plan, mut ask: impl FnMut(usize) -> Option<bool>) -> Marks {
        if self.0.is_empty() {
            self.0 = vec![0; plan.words()].into();
        }
        let mut marks = Marks::default();
        let next = self.0[0];
        for (at, range) in plan.ranges().enumerate() {
            match ask(at) {
                Some(true) => {
                    marks.held |= 1 << at;
                    let Some((count, newest)) = self.0[range].split_first_mut() else { continue };
                    if *count < newest.len() as u64 {
                        newest[*count as usize] = next;
                    } else if !newest.is_empty() {
                        newest.rotate_left(1);
                        newest[newest.len() - 1] = next;
                    }
                    *count += 1;
                }
                Some(false) => {}
                None => marks.failed = true,
            }
        }
        self.0[0] += 1;
        self.0[2] += u64::from(marks.failed);
        marks
    }

    /// Forgets the oldest event.
    pub(crate) fn leave(&mut self, plan: &Plan, marks: Marks) {
        if self.0.is_empty() {
            return;
        }
        for (at, range) in plan.ranges().enumerate() {
            let Some((count, newest)) = self.0[range].split_first_mut() else { continue };
            if marks.held >> at & 1 == 0 {
                continue;
            }
            // It is among the newest when all are.
            if *count <= newest.len() as u64 {
                newest.rotate_left(1);
            }
            *count -= 1;
        }
        self.0[1] += 1;
        self.0[2] -= u64::from(marks.failed);
    }

    /// Answers the functions that conditions were rewritten to. `element` gives the event at a
    /// position of the queue.
    pub(crate) fn answer(
        &self,
        plan: &Plan,
        name: &str,
        arguments: &[Value],
        element: impl Fn(usize) -> Value,
    ) -> Result<Value, EvalError> {
        let number = |at: usize| match arguments.get(at) {
            Some(Value::Int(number)) => usize::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let (next, oldest) = match &*self.0 {
            [next, oldest, ..] => (*next, *oldest),
            _ => (0, 0),
        };
        let length = (next - oldest) as usize;
        // Before the first event enters the queue nothing holds.
        let tally = plan.ranges().nth(number(0)).and_then(|range| self.0.get(range)?.split_first());
        Ok(match name {
            COUNT => Value::Int(tally.map_or(0, |(count, _)| *count as i64)),
            NEWEST => {
                let newest = tally.map_or(&[][..], |(count, newest)| {
                    let known = usize::try_from(*count).unwrap_or(usize::MAX);
                    &newest[..known.min(newest.len())]
                });
                let skip = newest.len().saturating_sub(number(1));
                Value::list(newest[skip..].iter().map(|n| element((n - oldest) as usize)).collect())
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
    /// Compiles the predicates, once all are known.
    pub(crate) fn compile(&mut self, mut compiled: impl FnMut(&Arc<Node>) -> Program) {
        self.programs = self.predicates.iter().map(&mut compiled).collect();
        self.text_programs = self.texts.iter().map(compiled).collect();
    }

    /// Whether buckets keep [`Tallies`] for it.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Whether the condition is asked at this event of a bucket, counted from 1: at others it does not hold.
    pub(crate) fn asks_at(&self, count: u64) -> bool {
        self.every.is_none_or(|every| count % every == 0)
    }

    /// What the texts are made with of which a function counts the different ones; `None`: it is another one.
    pub(crate) fn distinct(&self, name: &str, arguments: &[Value]) -> Option<&Program> {
        let Some(Value::Int(number)) = arguments.first() else { return None };
        self.text_programs.get(usize::try_from(*number).ok()?).filter(|_| name == DISTINCT)
    }

    /// Where the words of each predicate are.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.newest.iter().scan(HEAD, |start, newest| {
            let range = *start..*start + 1 + newest;
            *start = range.end;
            Some(range)
        })
    }

    fn words(&self) -> usize {
        HEAD + self.newest.iter().map(|newest| 1 + newest).sum::<usize>()
    }

    /// The condition with its looks at the queue replaced; `None`: it runs as written.
    pub(crate) fn rewrite(&mut self, condition: &Node) -> Option<Node> {
        let (every, rest) = match every(condition) {
            Some((every, rest)) => (Some(every), Cow::Owned(rest)),
            None => (None, Cow::Borrowed(condition)),
        };
        let mut plan = Plan { every, ..Plan::default() };
        let rewritten = Rewriter { plan: &mut plan, filtered: Vec::new() }.node(&rest)?;
        *self = plan;
        Some(rewritten)
    }

    fn predicate(&mut self, predicate: &Node) -> Option<usize> {
        if !over_one_element(predicate) || predicate.ty != Type::Bool {
            return None;
        }
        if self.predicates.len() >= MAX_PREDICATES {
            return None;
        }
        self.predicates.push(Arc::new(of_newest(predicate)));
        self.newest.push(0);
        self.keeps = true;
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
            // What a bucket says of itself, but for its queue.
            Kind::Field { of, name, optional: false } if is_bucket(of) && &**name != "Queue" => {
                return Some(node.clone());
            }
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
                    self.plan.keeps = true;
                    return Some(call(LENGTH, Vec::new(), Type::Int, node));
                }
                if let Some(text) = self.distinct(of) {
                    return Some(call(DISTINCT, vec![number(text, node)], Type::Int, node));
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
                    self.plan.keeps = true;
                    return Some(call(TAIL, vec![number(newest, node)], node.ty.clone(), node));
                }
                let predicate = self.filter(of)?;
                let kept = &mut self.plan.newest[predicate];
                *kept = (*kept).max(newest);
                Some(call(NEWEST, vec![number(predicate, node), number(newest, node)], node.ty.clone(), node))
            }
            Kind::Index { of, key, optional: false } if is_queue(of) => {
                self.plan.keeps = true;
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

    /// The number of the text of `uniq(map(queue.Queue, text))`.
    fn distinct(&mut self, node: &Node) -> Option<usize> {
        let Kind::Call { function, arguments } = &node.kind else { return None };
        let ("uniq", [mapped]) = (function.name, arguments.as_slice()) else { return None };
        let Kind::Loop { which: Loop::Map, list, predicate: Some(text), .. } = &mapped.kind else {
            return None;
        };
        if !is_queue(list) || !over_one_element(text) || text.ty != Type::String {
            return None;
        }
        if self.plan.texts.len() >= MAX_PREDICATES {
            return None;
        }
        self.plan.texts.push(Arc::new(of_newest(text)));
        Some(self.plan.texts.len() - 1)
    }
}

/// How many different texts a program makes of these hosts' events.
///
/// # Errors
/// It failed for one of them, or made something else.
pub(crate) fn distinct<H: Host>(program: &Program, hosts: &mut [H]) -> Result<usize, EvalError> {
    let mut seen: HashSet<Cow<'_, str>> = HashSet::with_capacity(hosts.len());
    for host in hosts {
        seen.insert(match program.answer(host)? {
            Answer::Text(text) => text,
            Answer::Value(Value::Str(text)) => Cow::Owned(text.as_ref().to_owned()),
            Answer::Value(other) => return Err(EvalError::Kind { what: "a text", got: other.kind() }),
        });
    }
    Ok(seen.len())
}

/// The number and the rest of `leaky.Total_count % number == 0 && rest`.
fn every(condition: &Node) -> Option<(NonZeroU64, Node)> {
    let Kind::And(parts) = &condition.kind else { return None };
    let (first, rest) = parts.split_first()?;
    let Kind::Binary(Binary::Eq, remainder, zero) = &first.kind else { return None };
    let Kind::Binary(Binary::Rem, count, number) = &remainder.kind else { return None };
    let Kind::Field { of, name, optional: false } = &count.kind else { return None };
    if !is_bucket(of) || &**name != "Total_count" || constant(zero)? != 0 {
        return None;
    }
    let every = NonZeroU64::new(u64::try_from(constant(number)?).ok()?)?;
    let rest = match rest {
        [] => return None,
        [only] => only.clone(),
        more => like(condition, Kind::And(more.to_vec()), Type::Bool),
    };
    Some((every, rest))
}

/// `leaky`: the third variable of the schema of conditions.
fn is_bucket(node: &Node) -> bool {
    matches!(node.kind, Kind::Variable(2))
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

/// The predicate asked of `evt`: the newest event of the queue is the one that the condition sees.
fn of_newest(predicate: &Node) -> Node {
    let mut copy = predicate.clone();
    if let Kind::Element(_) = copy.kind {
        copy.kind = Kind::Variable(0);
    }
    copy.for_each_child_mut(&mut |child| *child = of_newest(child));
    copy
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// The same from the queue itself: what each predicate said of each event.
    #[derive(Default)]
    struct Plain {
        queue: VecDeque<Vec<Option<bool>>>,
    }

    impl Plain {
        fn holding(&self, predicate: usize) -> Vec<usize> {
            (0..self.queue.len()).filter(|at| self.queue[*at][predicate] == Some(true)).collect()
        }
    }

    fn numbers(value: Value) -> Vec<i64> {
        let Value::List(items) = value else { return Vec::new() };
        items.iter().filter_map(|item| if let Value::Int(n) = item { Some(*n) } else { None }).collect()
    }

    proptest! {
        /// Events come and go; the answers are those that a walk over the queue gives.
        #[test]
        fn tells_what_the_queue_holds(
            newest in prop::collection::vec(0..5_usize, 1..4),
            bound in 1..12_usize,
            said in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, any::<bool>()), 3), 0..60),
        ) {
            let plan = Plan { newest: newest.clone(), ..Plan::default() };
            let (mut tallies, mut plain) = (Tallies::default(), Plain::default());
            let mut marks = VecDeque::new();
            let ask = |tallies: &Tallies, name: &str, arguments: &[i64]| {
                let arguments: Vec<Value> = arguments.iter().map(|n| Value::Int(*n)).collect();
                tallies.answer(&plan, name, &arguments, |at| Value::Int(at as i64))
            };
            prop_assert!(matches!(ask(&tallies, COUNT, &[0]), Ok(Value::Int(0))));
            prop_assert!(numbers(ask(&tallies, NEWEST, &[0, 4]).unwrap_or(Value::Nil)).is_empty());
            for said in said {
                if plain.queue.len() == bound {
                    plain.queue.pop_front();
                    tallies.leave(&plan, marks.pop_front().unwrap_or_default());
                }
                marks.push_back(tallies.enter(&plan, |at| said[at]));
                plain.queue.push_back(said);
                let failing = plain.queue.iter().any(|said| said[..newest.len()].contains(&None));
                prop_assert_eq!(tallies.are_good(), !failing);
                let length = plain.queue.len() as i64;
                prop_assert!(matches!(ask(&tallies, LENGTH, &[]), Ok(Value::Int(n)) if n == length));
                for (at, &asked) in newest.iter().enumerate() {
                    let holding = plain.holding(at);
                    let count = holding.len() as i64;
                    prop_assert!(matches!(ask(&tallies, COUNT, &[at as i64]), Ok(Value::Int(n)) if n == count));
                    for asked in 0..=asked {
                        let last: Vec<i64> = holding.iter().map(|at| *at as i64).collect();
                        let last = &last[last.len().saturating_sub(asked)..];
                        let answer = ask(&tallies, NEWEST, &[at as i64, asked as i64]);
                        prop_assert_eq!(numbers(answer.unwrap_or(Value::Nil)), last);
                    }
                }
            }
        }
    }

    #[test]
    fn ends_of_the_queue() {
        let plan = Plan { newest: vec![0], ..Plan::default() };
        let mut tallies = Tallies::default();
        let ask = |tallies: &Tallies, name: &str, at: i64| {
            tallies.answer(&plan, name, &[Value::Int(at)], |at| Value::Int(at as i64))
        };
        assert!(ask(&tallies, AT, 0).is_err());
        assert!(ask(&tallies, AT, -1).is_err());
        assert_eq!(tallies.bytes(), 0);
        for _ in 0..3 {
            tallies.enter(&plan, |_| Some(true));
        }
        assert!(matches!(ask(&tallies, AT, -1), Ok(Value::Int(2))));
        assert!(matches!(ask(&tallies, AT, 2), Ok(Value::Int(2))));
        assert!(ask(&tallies, AT, 3).is_err());
        assert!(ask(&tallies, AT, -4).is_err());
        assert_eq!(numbers(ask(&tallies, TAIL, 2).unwrap_or(Value::Nil)), [1, 2]);
        assert_eq!(numbers(ask(&tallies, TAIL, 9).unwrap_or(Value::Nil)), [0, 1, 2]);
        assert!(ask(&tallies, "another", 0).is_err());
    }
}
