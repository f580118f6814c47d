//! The dynamic evaluator: walks a checked expression and gives its value.
//!
//! It knows every construct of the language and is the reference for the typed fast paths. Growth
//! is bounded by a budget of cells, nesting of values by a depth, so no expression can take the
//! process down.

use std::{borrow::Cow, sync::Arc};

use crate::{
    core::{Kind, Local, Node},
    error::EvalError,
    functions::{Function, arguments::wrong},
    host::Host,
    schema::Schema,
    value::{Map, Value},
};

pub(crate) mod access;
mod loops;
mod methods;
pub(crate) mod operators;

pub(crate) use access::{lookup, position, whole};
pub(crate) use loops::descending;

/// Cells (elements of lists, entries of maps) that one evaluation may create.
pub(crate) const CELLS_MAX: usize = 1_000_000;

/// Bytes of kept text that count as one cell.
const TEXT_BYTES_PER_CELL: usize = 64;

/// The value of `node` for `host`.
///
/// # Errors
/// The first failure in the order of evaluation; effects of what ran before it stay.
pub fn eval(node: &Node, host: &mut dyn Host) -> Result<Value, EvalError> {
    let mut run = Run { host, locals: Vec::new(), scopes: Vec::new(), cells: 0 };
    match run.value(node) {
        Ok(value) => Ok(value),
        Err(Stop::Skipped) => Ok(Value::Nil),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Why a node has no value.
enum Stop {
    /// A `?.` met nil: the rest of its chain is skipped.
    Skipped,
    /// A failure.
    Failed(EvalError),
}

impl From<EvalError> for Stop {
    fn from(error: EvalError) -> Self {
        Stop::Failed(error)
    }
}

/// What the predicate of a loop sees.
struct Scope {
    element: Value,
    index: usize,
    accumulator: Value,
}

/// One evaluation.
struct Run<'h> {
    host: &'h mut dyn Host,
    locals: Vec<Value>,
    scopes: Vec<Scope>,
    cells: usize,
}

impl Run<'_> {
    fn value(&mut self, node: &Node) -> Result<Value, Stop> {
        Ok(match &node.kind {
            Kind::Const(value) => value.clone(),
            Kind::Variable(index) => self.host.variable(*index)?,
            Kind::Env => Value::Object(Schema::FUNCTIONS),
            Kind::Local(local) => self.local(*local)?,
            Kind::Element(depth) => self.scope(*depth)?.element.clone(),
            Kind::ElementIndex(depth) => Value::Int(self.scope(*depth)?.index as i64),
            Kind::Accumulator(depth) => self.scope(*depth)?.accumulator.clone(),
            Kind::Field { of, name, optional } => {
                let of = self.receiver(of, *optional)?;
                access::field(self.host, &of, name)?
            }
            Kind::Index { of, key, optional } => {
                let container = self.operand(of)?;
                if *optional && container.is_nil() {
                    return Err(Stop::Skipped);
                }
                let key = self.operand(key)?;
                access::member(self.host, &container, &key, &of.ty)?
            }
            Kind::Slice { of, from, to } => {
                let container = self.operand(of)?;
                let from = from.as_deref().map(|n| self.operand(n)).transpose()?;
                let to = to.as_deref().map(|n| self.operand(n)).transpose()?;
                let part = access::slice(&container, from.as_deref(), to.as_deref())?;
                self.charge(size(&part))?;
                part
            }
            Kind::Chain(inner) => match self.value(inner) {
                Err(Stop::Skipped) => Value::Nil,
                other => return other,
            },
            Kind::Call { function, arguments } => self.call(function, arguments)?,
            Kind::HostCall { name, arguments } => {
                let arguments = self.values(arguments)?;
                self.host.method(Schema::FUNCTIONS, name, &arguments)?
            }
            Kind::Method { of, name, arguments, optional } => {
                let receiver = self.receiver(of, *optional)?;
                let arguments = self.values(arguments)?;
                match &*receiver {
                    Value::Object(handle) => self.host.method(*handle, name, &arguments)?,
                    value => methods::call(of, value, name, &arguments)?,
                }
            }
            Kind::Negate(minus, operand) => {
                let operand = self.value(operand)?;
                if *minus { operators::negate(&operand)? } else { operand }
            }
            Kind::Not(operand) => Value::Bool(!self.boolean(operand, "not")?),
            Kind::Binary(operator, left, right) => {
                let left = self.operand(left)?;
                let right = self.operand(right)?;
                let value = operators::binary(self.host, *operator, &left, &right)?;
                if let Value::List(items) = &value {
                    self.charge(items.len())?;
                }
                value
            }
            Kind::Matches(operand, regex) => match &*self.operand(operand)? {
                Value::Nil => Value::Bool(false),
                Value::Str(text) => Value::Bool(regex.is_match(text)),
                Value::Bytes(bytes) => Value::Bool(regex.is_match(&String::from_utf8_lossy(bytes))),
                other => return Err(wrong("matches", other).into()),
            },
            Kind::InStrings(operand, texts) => match &*self.operand(operand)? {
                Value::Nil => Value::Bool(texts.iter().any(|t| t.is_empty())),
                Value::Str(text) => Value::Bool(texts.contains(text)),
                other => return Err(wrong("in", other).into()),
            },
            Kind::And(operands) => {
                for operand in operands {
                    if !self.boolean(operand, "&&")? {
                        return Ok(Value::Bool(false));
                    }
                }
                Value::Bool(true)
            }
            Kind::Or(operands) => {
                for operand in operands {
                    if self.boolean(operand, "||")? {
                        return Ok(Value::Bool(true));
                    }
                }
                Value::Bool(false)
            }
            Kind::Cond(test, yes, no) => {
                let chosen = if self.boolean(test, "?:")? { yes } else { no };
                return self.value(chosen);
            }
            Kind::Coalesce(first, second) => match self.value(first)? {
                Value::Nil => return self.value(second),
                value => value,
            },
            Kind::List(items) => {
                self.charge(items.len())?;
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let value = self.value(item)?;
                    self.keep(&value)?;
                    list.push(value);
                }
                Value::list(list)
            }
            Kind::Map(pairs) => self.map(pairs)?,
            Kind::Let(local, value, body) => {
                let value = self.value(value)?;
                let at = usize::from(*local);
                if self.locals.len() <= at {
                    self.locals.resize(at + 1, Value::Nil);
                }
                self.locals[at] = value;
                return self.value(body);
            }
            Kind::Sequence(nodes) => {
                let mut last = Value::Nil;
                for node in nodes {
                    last = self.value(node)?;
                }
                last
            }
            Kind::Loop { which, list, predicate, extra } => {
                self.run_loop(*which, list, predicate.as_deref(), extra.as_deref())?
            }
        })
    }

    /// The value of a node that is only looked at: constants are not cloned.
    fn operand<'n>(&mut self, node: &'n Node) -> Result<Cow<'n, Value>, Stop> {
        match &node.kind {
            Kind::Const(value) => Ok(Cow::Borrowed(value)),
            _ => self.value(node).map(Cow::Owned),
        }
    }

    /// The left side of a `.`; nil is a failure, after `?.` the end of the chain.
    fn receiver<'n>(&mut self, node: &'n Node, optional: bool) -> Result<Cow<'n, Value>, Stop> {
        let value = self.operand(node)?;
        match (value.is_nil(), optional) {
            (false, _) => Ok(value),
            (true, true) => Err(Stop::Skipped),
            (true, false) => Err(EvalError::NilAccess.into()),
        }
    }

    fn boolean(&mut self, node: &Node, what: &'static str) -> Result<bool, Stop> {
        match &*self.operand(node)? {
            Value::Bool(b) => Ok(*b),
            other => Err(wrong(what, other).into()),
        }
    }

    fn values(&mut self, nodes: &[Node]) -> Result<Vec<Value>, Stop> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    fn call(&mut self, function: &Function, arguments: &[Node]) -> Result<Value, Stop> {
        // The usual counts of arguments do without a list.
        let result = match arguments {
            [] => (function.call)(self.host, &[]),
            [only] => {
                let value = self.value(only)?;
                if let Some(name) = methods::calendar_name(function.name, only, &value) {
                    return Ok(name);
                }
                (function.call)(self.host, &[value])
            }
            [first, second] => {
                let values = [self.value(first)?, self.value(second)?];
                (function.call)(self.host, &values)
            }
            more => {
                let values = self.values(more)?;
                (function.call)(self.host, &values)
            }
        }?;
        // What comes from the world outside is shared and was bounded when it was loaded.
        if !function.effects.impure {
            self.charge(size(&result))?;
        }
        Ok(result)
    }

    fn map(&mut self, pairs: &[(Node, Node)]) -> Result<Value, Stop> {
        self.charge(pairs.len())?;
        let mut map = Map::new();
        for (key, value) in pairs {
            let key = match &*self.operand(key)? {
                Value::Str(key) => key.clone(),
                other => return Err(wrong("key of a map", other).into()),
            };
            let value = self.value(value)?;
            self.keep(&value)?;
            // Of equal keys the first one counts.
            map.entry(key).or_insert(value);
        }
        Ok(Value::Map(Arc::new(map)))
    }

    fn local(&self, local: Local) -> Result<Value, EvalError> {
        let value = self.locals.get(usize::from(local));
        value.cloned().ok_or_else(|| EvalError::other("variable used outside its let"))
    }

    fn scope(&self, depth: u16) -> Result<&Scope, EvalError> {
        let at = self.scopes.len().checked_sub(1 + usize::from(depth));
        let scope = at.and_then(|at| self.scopes.get(at));
        scope.ok_or_else(|| EvalError::other("element used outside a predicate"))
    }

    /// Counts `cells` against the budget.
    fn charge(&mut self, cells: usize) -> Result<(), EvalError> {
        self.cells = self.cells.saturating_add(cells);
        if self.cells >= CELLS_MAX { Err(EvalError::Budget) } else { Ok(()) }
    }

    /// Counts the text of a value that is kept in a list or map.
    fn keep(&mut self, value: &Value) -> Result<(), EvalError> {
        match value {
            Value::Str(text) if text.len() >= TEXT_BYTES_PER_CELL => {
                self.charge(text.len() / TEXT_BYTES_PER_CELL)
            }
            _ => Ok(()),
        }
    }
}

/// How many cells a fresh value takes.
fn size(value: &Value) -> usize {
    match value {
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
