//! Expressions, evaluated straight off their syntax tree with dynamic values.
//!
//! Nothing is folded, hoisted or typed beforehand. The one thing that dynamic values lose against the
//! reference, whether a list was made as a list of texts or as a list of anything, is kept beside them:
//! see [`Outcome::typed`].

mod loops;
mod operators;
mod times;

use std::sync::Arc;

use testudo_expr::{
    EvalError, Handle, Host, Type, Value,
    ast::{Binary, Expr, ExprKind, Unary},
    functions::{self, Function},
};

use crate::scene::{NO_SOURCE, Scene, kind};

/// What an expression gave.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) value: Value,
    /// The value is a list or map whose element type is fixed (`[]string`, `map[string]string` …),
    /// as opposed to one that may hold anything.
    pub(crate) typed: bool,
}

/// Evaluates an expression.
pub(crate) fn evaluate(expr: &Expr, scene: &mut Scene<'_>) -> Result<Value, EvalError> {
    Ok(outcome(expr, scene)?.value)
}

/// Evaluates an expression where it matters what its collections are made of.
pub(crate) fn outcome(expr: &Expr, scene: &mut Scene<'_>) -> Result<Outcome, EvalError> {
    let mut eval =
        Eval { scene, locals: Vec::new(), elements: Vec::new(), typed: Vec::new(), budget: BUDGET };
    match eval.value(expr) {
        Ok(value) => Ok(Outcome { typed: eval.is_typed(&value), value }),
        Err(Halt::Landed) => Ok(Outcome { value: Value::Nil, typed: false }),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// Elements that the lists, maps and loops of one evaluation may hold together, as in the reference.
const BUDGET: usize = 1_000_000;

/// Why an evaluation does not go on.
enum Halt {
    /// A `?.` met nil: the chain around it is nil.
    Landed,
    /// It failed.
    Failed(EvalError),
}

impl From<EvalError> for Halt {
    fn from(error: EvalError) -> Self {
        Halt::Failed(error)
    }
}

type Step = Result<Value, Halt>;

/// The element of a predicate.
struct Element {
    value: Value,
    index: i64,
    accumulator: Value,
}

struct Eval<'s, 'w> {
    scene: &'s mut Scene<'w>,
    locals: Vec<(Arc<str>, Value)>,
    elements: Vec<Element>,
    /// Every collection of a fixed element type that came up, kept so that it can be recognised.
    typed: Vec<Value>,
    budget: usize,
}

fn fail<T>(what: &'static str, value: &Value) -> Result<T, Halt> {
    Err(Halt::Failed(EvalError::Kind { what, got: value.kind() }))
}

fn boolean(value: &Value, what: &'static str) -> Result<bool, Halt> {
    match value {
        Value::Bool(b) => Ok(*b),
        other => fail(what, other),
    }
}

impl Eval<'_, '_> {
    fn value(&mut self, expr: &Expr) -> Step {
        match &expr.kind {
            ExprKind::Nil => Ok(Value::Nil),
            ExprKind::Bool(b) => Ok(Value::Bool(*b)),
            ExprKind::Int(i) => Ok(Value::Int(*i)),
            ExprKind::Float(x) => Ok(Value::Float(*x)),
            ExprKind::Str(s) => Ok(Value::Str(s.clone())),
            ExprKind::Bytes(b) => Ok(Value::Bytes(b.clone())),
            ExprKind::List(items) => {
                self.spend(items.len())?;
                Ok(Value::list(self.values(items)?))
            }
            ExprKind::Map(pairs) => {
                self.spend(pairs.len())?;
                let mut map = testudo_expr::value::Map::new();
                for (key, value) in pairs {
                    let key = self.value(key)?;
                    let value = self.value(value)?;
                    match key {
                        Value::Str(key) => map.insert(key, value),
                        other => return fail("a map key", &other),
                    };
                }
                Ok(Value::Map(Arc::new(map)))
            }
            ExprKind::Name(name) => self.name(name),
            ExprKind::Env => Ok(Value::Map(Arc::new(
                ["evt", "queue", "leaky", "signal"]
                    .into_iter()
                    .filter_map(|name| Some((Arc::from(name), self.scene.named(name)?)))
                    .collect(),
            ))),
            ExprKind::Element => self.element().map(|e| e.value.clone()),
            ExprKind::ElementIndex => self.element().map(|e| Value::Int(e.index)),
            ExprKind::Accumulator => self.element().map(|e| e.accumulator.clone()),
            ExprKind::Member { of, name, optional } => {
                let of = self.value(of)?;
                if *optional && of.is_nil() {
                    return Err(Halt::Landed);
                }
                self.member(&of, name)
            }
            ExprKind::Index { of, key, optional } => {
                let of = self.value(of)?;
                if *optional && of.is_nil() {
                    return Err(Halt::Landed);
                }
                let key = self.value(key)?;
                self.index(&of, &key)
            }
            ExprKind::Slice { of, from, to } => {
                let of = self.value(of)?;
                let from = from.as_ref().map(|e| self.value(e)).transpose()?;
                let to = to.as_ref().map(|e| self.value(e)).transpose()?;
                self.slice(&of, from.as_ref(), to.as_ref())
            }
            ExprKind::Chain(inner) => match self.value(inner) {
                Err(Halt::Landed) => Ok(Value::Nil),
                other => other,
            },
            ExprKind::Call { function, arguments } => match &function.kind {
                ExprKind::Name(name) => self.call(name, arguments),
                ExprKind::Member { of, name, optional } => {
                    let receiver = self.value(of)?;
                    if *optional && receiver.is_nil() {
                        return Err(Halt::Landed);
                    }
                    let arguments = self.values(arguments)?;
                    let named = times::names_a_part_of_time(of);
                    self.method(&receiver, name, &arguments, named)
                }
                _ => Err(EvalError::Input("only functions and methods can be called").into()),
            },
            ExprKind::Builtin { name, arguments } => self.call(name, arguments),
            ExprKind::Closure(_) => Err(EvalError::Input("a predicate stands alone").into()),
            ExprKind::Unary(operator, of) => {
                let of = self.value(of)?;
                match (operator, &of) {
                    (Unary::Not, _) => Ok((!boolean(&of, "not")?).into()),
                    (Unary::Negate, Value::Int(i)) => Ok(i.wrapping_neg().into()),
                    (Unary::Negate, Value::Float(x)) => Ok((-x).into()),
                    (Unary::Negate, Value::Duration(d)) => Ok(Value::Duration(d.wrapping_neg())),
                    (Unary::Plus, Value::Int(_) | Value::Float(_)) => Ok(of),
                    _ => fail("a sign", &of),
                }
            }
            ExprKind::Binary(Binary::Coalesce, left, right) => {
                let left = self.value(left)?;
                if left.is_nil() { self.value(right) } else { Ok(left) }
            }
            ExprKind::Binary(Binary::In, left, right) => {
                let needle = self.value(left)?;
                let haystack = self.value(right)?;
                let all_texts = matches!(&right.kind, ExprKind::List(items)
                    if !items.is_empty() && items.iter().all(|i| matches!(i.kind, ExprKind::Str(_))));
                self.is_in(&needle, &haystack, all_texts)
            }
            ExprKind::Binary(operator, left, right) => {
                let left = self.value(left)?;
                let right = self.value(right)?;
                self.binary(*operator, &left, &right)
            }
            ExprKind::Compare { first, rest } => {
                // `a < b < c` is `a < b && b < c`, with b evaluated twice.
                let mut left: &Expr = first;
                for (operator, right) in rest {
                    let (a, b) = (self.value(left)?, self.value(right)?);
                    if !boolean(&self.binary(*operator, &a, &b)?, "a comparison")? {
                        return Ok(false.into());
                    }
                    left = right;
                }
                Ok(true.into())
            }
            ExprKind::And(operands) => {
                for operand in operands {
                    if !boolean(&self.value(operand)?, "&&")? {
                        return Ok(false.into());
                    }
                }
                Ok(true.into())
            }
            ExprKind::Or(operands) => {
                for operand in operands {
                    if boolean(&self.value(operand)?, "||")? {
                        return Ok(true.into());
                    }
                }
                Ok(false.into())
            }
            ExprKind::Cond { test, yes, no } => {
                let test = self.value(test)?;
                match (boolean(&test, "a condition")?, yes) {
                    (true, Some(yes)) => self.value(yes),
                    (true, None) => Ok(test),
                    (false, _) => self.value(no),
                }
            }
            ExprKind::Let { name, value, body } => {
                let value = self.value(value)?;
                self.locals.push((name.clone(), value));
                let result = self.value(body);
                self.locals.pop();
                result
            }
            ExprKind::Sequence(steps) => {
                let mut last = Value::Nil;
                for step in steps {
                    last = self.value(step)?;
                }
                Ok(last)
            }
        }
    }

    fn values(&mut self, exprs: &[Expr]) -> Result<Vec<Value>, Halt> {
        exprs.iter().map(|e| self.value(e)).collect()
    }

    fn spend(&mut self, cells: usize) -> Result<(), Halt> {
        self.budget = self.budget.checked_sub(cells).ok_or(Halt::Failed(EvalError::Budget))?;
        Ok(())
    }

    fn element(&self) -> Result<&Element, Halt> {
        self.elements.last().ok_or(Halt::Failed(EvalError::Input("there is no element here")))
    }

    fn name(&self, name: &str) -> Step {
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| **local == *name) {
            return Ok(value.clone());
        }
        self.scene.named(name).ok_or_else(|| EvalError::other(format!("{name} is unknown")).into())
    }

    // ---- what is fixed in type

    fn note_typed(&mut self, value: &Value) {
        if matches!(value, Value::List(_) | Value::Map(_)) {
            self.typed.push(value.clone());
        }
    }

    fn is_typed(&self, value: &Value) -> bool {
        match value {
            Value::List(a) => self.typed.iter().any(|t| matches!(t, Value::List(b) if Arc::ptr_eq(a, b))),
            Value::Map(a) => self.typed.iter().any(|t| matches!(t, Value::Map(b) if Arc::ptr_eq(a, b))),
            Value::Object(handle) => !matches!(handle.kind, kind::UNMARSHALED | kind::MATCH),
            _ => false,
        }
    }

    // ---- members and elements

    fn member(&mut self, of: &Value, name: &str) -> Step {
        match of {
            Value::Nil => Err(EvalError::NilAccess.into()),
            Value::Object(handle) => self.entry(*handle, name),
            Value::Map(map) => Ok(map.get(name).cloned().unwrap_or_default()),
            other => fail("a member", other),
        }
    }

    /// A field of a record or an entry of a map, which what the map holds decides when it is missing.
    fn entry(&mut self, handle: Handle, name: &str) -> Step {
        let value = match handle.kind {
            kind::LABELS | kind::PARSED | kind::ENRICHED | kind::META | kind::VARS => {
                self.scene.entry(handle, name)?.unwrap_or_else(|| "".into())
            }
            kind::SOURCES => self.scene.entry(handle, name)?.unwrap_or(Value::Object(Handle {
                kind: kind::SOURCE,
                b: NO_SOURCE,
                ..handle
            })),
            kind::UNMARSHALED | kind::MATCH => {
                return Ok(self.scene.entry(handle, name)?.unwrap_or_default());
            }
            _ => self.scene.field(handle, name)?,
        };
        self.note_typed(&value);
        Ok(value)
    }

    fn index(&mut self, of: &Value, key: &Value) -> Step {
        match (of, key) {
            (Value::Nil, _) => Err(EvalError::NilAccess.into()),
            (Value::Object(_) | Value::Map(_), Value::Str(name)) => self.member(of, name),
            // As the zero of the key's type.
            (Value::Object(_) | Value::Map(_), Value::Nil) => self.member(of, ""),
            (Value::List(items), _) => Ok(items[position(key, items.len())?].clone()),
            (Value::Str(text), _) => Ok(Value::Int(i64::from(text.as_bytes()[position(key, text.len())?]))),
            (Value::Bytes(bytes), _) => Ok(Value::Int(i64::from(bytes[position(key, bytes.len())?]))),
            (other, _) => fail("an index", other),
        }
    }

    fn slice(&mut self, of: &Value, from: Option<&Value>, to: Option<&Value>) -> Step {
        let length = match of {
            Value::List(items) => items.len(),
            Value::Str(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            other => return fail("a slice", other),
        };
        let end = to.map_or(Ok(length), |to| bound(to, length))?;
        let start = from.map_or(Ok(0), |from| bound(from, length))?.min(end);
        Ok(match of {
            Value::List(items) => {
                let part = Value::list(items[start..end].to_vec());
                if self.is_typed(of) {
                    self.note_typed(&part);
                }
                part
            }
            Value::Str(text) => String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned().into(),
            Value::Bytes(bytes) => Value::Bytes(bytes[start..end].into()),
            _ => Value::Nil,
        })
    }

    // ---- calls

    fn method(
        &mut self,
        receiver: &Value,
        name: &str,
        arguments: &[Value],
        named: Option<times::Named>,
    ) -> Step {
        let value = match receiver {
            Value::Nil => return Err(EvalError::NilAccess.into()),
            Value::Object(handle) => self.scene.method(*handle, name, arguments)?,
            other => times::method(other, name, arguments, named)?,
        };
        self.note_typed(&value);
        Ok(value)
    }

    fn call(&mut self, name: &str, arguments: &[Expr]) -> Step {
        if loops::is_loop(name) {
            return self.run_loop(name, arguments);
        }
        let Some(function) = functions::lookup(name) else {
            return Err(EvalError::other(format!("there is no function {name}")).into());
        };
        let mut values = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.iter().enumerate() {
            let value = self.value(argument)?;
            values.push(as_declared(function, at, argument, value));
        }
        let value = (function.call)(self.scene, &values)?;
        if fixed(&function.returns) {
            self.note_typed(&value);
        }
        Ok(value)
    }
}

/// Whether a type is a collection of a fixed element type.
fn fixed(ty: &Type) -> bool {
    matches!(ty, Type::List(of) | Type::Map(of) if **of != Type::Any)
}

/// An argument as the function declares it: a whole literal becomes a float where a float is wanted.
fn as_declared(function: &Function, at: usize, written: &Expr, value: Value) -> Value {
    fn literal(expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Int(_) => true,
            ExprKind::Unary(Unary::Negate | Unary::Plus, of) => literal(of),
            _ => false,
        }
    }
    match (function.parameters.get(at).or(function.variadic.as_ref()), &value) {
        (Some(Type::Float), Value::Int(i)) if literal(written) => Value::Float(*i as f64),
        _ => value,
    }
}

/// An index as a place in something of `length` elements.
fn position(index: &Value, length: usize) -> Result<usize, Halt> {
    let index = whole(index, "an index")?;
    let from_start = if index < 0 { index.saturating_add(length as i64) } else { index };
    usize::try_from(from_start).ok().filter(|&at| at < length).ok_or(Halt::Failed(EvalError::OutOfRange))
}

/// A bound of a slice, clamped.
fn bound(index: &Value, length: usize) -> Result<usize, Halt> {
    let index = whole(index, "a slice")?;
    let from_start = if index < 0 { index.saturating_add(length as i64) } else { index };
    Ok(usize::try_from(from_start).unwrap_or(0).min(length))
}

fn whole(value: &Value, what: &'static str) -> Result<i64, Halt> {
    match value {
        Value::Int(i) => Ok(*i),
        Value::Float(x) => Ok(*x as i64),
        other => fail(what, other),
    }
}

#[cfg(test)]
mod tests;
