//! Syntax tree to checked tree: names and types resolved against a [`Schema`], mistakes reported
//! with their place and a hint, sugar removed, constants computed.
//!
//! The rules are those of the reference implementation, where everything that is not statically
//! untyped is checked when a rule loads. Where it refuses more than it must, this is more lenient.

use std::sync::Arc;

use crate::{
    ast::{Expr, ExprKind},
    core::{Kind, Local, Node},
    error::{Span, SyntaxError},
    functions,
    parser::MAX_NODES,
    schema::{Effects, Schema, Type},
    value::Value,
};

mod calls;
mod fold;
mod loops;
mod members;
mod operators;
mod schema_text;
mod types;

pub(crate) use schema_text::parse_schema;

/// How many nodes a checked expression may have. More than [`MAX_NODES`], because the middle
/// operands of chained comparisons and the question of `?:` stand for two.
const MAX_CHECKED: u32 = 4 * MAX_NODES;

type Checked = Result<Node, SyntaxError>;

/// Checks `ast` against `schema`. With `want`, its value must be of that type, or untyped.
///
/// The type of a node is what its value is *if it is not nil*: a chain with `?.`, an element that
/// is searched for, or a conditional with a `nil` branch may be nil whatever its type.
///
/// # Errors
/// An unknown name, field, method or function; a wrong number of arguments; an operand, argument or
/// result whose static type can never be right; a constant pattern that is no regular expression.
pub fn check(ast: &Expr, schema: &Schema, want: Option<&Type>) -> Result<Node, SyntaxError> {
    let mut checker = Checker { schema, locals: Vec::new(), scopes: Vec::new(), nodes: 0 };
    let node = checker.expr(ast)?;
    if let Some(want) = want
        && !types::fits(&node.ty, want)
    {
        return Err(checker.not_wanted(&node, want));
    }
    Ok(node)
}

/// What a predicate may name.
struct Scope {
    /// Type of `#`.
    element: Type,
    /// Whether there is `#index`.
    index: bool,
    /// Whether there is `#acc`.
    accumulator: bool,
}

struct Checker<'s> {
    schema: &'s Schema,
    /// `let` variables in sight, outermost first.
    locals: Vec<(Arc<str>, Type)>,
    /// Predicates around the current node, outermost first.
    scopes: Vec<Scope>,
    nodes: u32,
}

fn constant(value: Value, ty: Type, span: Span) -> Node {
    Node { kind: Kind::Const(value), ty, span, effects: Effects::PURE }
}

/// A node without effects of its own; folded where everything below it is constant.
fn pure(kind: Kind, ty: Type, span: Span) -> Node {
    fold::node(kind, ty, span, Effects::PURE)
}

impl Checker<'_> {
    fn expr(&mut self, ast: &Expr) -> Checked {
        self.nodes += 1;
        if self.nodes > MAX_CHECKED {
            return Err(SyntaxError::new("the expression is too large once it is written out", ast.span)
                .hint("name the parts of nested chained comparisons with `let`"));
        }
        let span = ast.span;
        match &ast.kind {
            ExprKind::Nil => Ok(constant(Value::Nil, Type::Nil, span)),
            ExprKind::Bool(b) => Ok(constant(Value::Bool(*b), Type::Bool, span)),
            ExprKind::Int(i) => Ok(constant(Value::Int(*i), Type::Int, span)),
            ExprKind::Float(x) => Ok(constant(Value::Float(*x), Type::Float, span)),
            ExprKind::Str(s) => Ok(constant(Value::Str(s.clone()), Type::String, span)),
            ExprKind::Bytes(b) => Ok(constant(Value::Bytes(b.clone()), Type::Bytes, span)),
            ExprKind::List(items) => self.list(items, span),
            ExprKind::Map(pairs) => self.map(pairs, span),
            ExprKind::Name(name) => self.name(name, span),
            ExprKind::Env => Ok(pure(Kind::Env, Type::Map(Box::new(Type::Any)), span)),
            ExprKind::Element | ExprKind::ElementIndex | ExprKind::Accumulator => self.pointer(ast),
            ExprKind::Member { of, name, optional } => self.member(of, name, *optional, span),
            ExprKind::Index { of, key, optional } => self.index(of, key, *optional, span),
            ExprKind::Slice { of, from, to } => self.slice(of, from.as_deref(), to.as_deref(), span),
            ExprKind::Chain(inner) => {
                let inner = self.expr(inner)?;
                let ty = inner.ty.clone();
                Ok(pure(Kind::Chain(Box::new(inner)), ty, span))
            }
            ExprKind::Call { function, arguments } => self.call(function, arguments, span),
            ExprKind::Builtin { name, arguments } => self.builtin(name, arguments, span, span),
            ExprKind::Closure(_) => Err(SyntaxError::new("a predicate cannot stand here", span)),
            ExprKind::Unary(operator, operand) => self.unary(*operator, operand, span),
            ExprKind::Binary(operator, left, right) => self.binary(*operator, left, right, span),
            ExprKind::Compare { first, rest } => self.compare(first, rest, span),
            ExprKind::And(operands) => self.logic(operands, true, span),
            ExprKind::Or(operands) => self.logic(operands, false, span),
            ExprKind::Cond { test, yes, no } => self.conditional(test, yes.as_deref(), no, span),
            ExprKind::Let { name, value, body } => self.declaration(name, value, body, span),
            ExprKind::Sequence(parts) => self.sequence(parts, span),
        }
    }

    fn exprs(&mut self, items: &[Expr]) -> Result<Vec<Node>, SyntaxError> {
        items.iter().map(|item| self.expr(item)).collect()
    }

    // ---- literals

    fn list(&mut self, items: &[Expr], span: Span) -> Checked {
        let items = self.exprs(items)?;
        let element = match items.split_first() {
            Some((first, rest)) if rest.iter().all(|n| n.ty == first.ty) && first.ty != Type::Nil => {
                first.ty.clone()
            }
            _ => Type::Any,
        };
        Ok(pure(Kind::List(items), Type::List(Box::new(element)), span))
    }

    fn map(&mut self, pairs: &[(Expr, Expr)], span: Span) -> Checked {
        let mut checked = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let mut key = self.expr(key)?;
            match (&key.kind, &key.ty) {
                (_, Type::String | Type::Any) => {}
                (Kind::Const(number @ (Value::Int(_) | Value::Float(_) | Value::Bool(_))), _) => {
                    key = constant(Value::str(number.to_string()), Type::String, key.span);
                }
                _ => {
                    let found = self.describe(&key.ty);
                    return Err(SyntaxError::new(
                        format!("a key of a map is text, this is {found}"),
                        key.span,
                    )
                    .hint("string(x) makes text of it"));
                }
            }
            checked.push((key, self.expr(value)?));
        }
        Ok(pure(Kind::Map(checked), Type::Map(Box::new(Type::Any)), span))
    }

    // ---- names

    fn name(&mut self, name: &str, span: Span) -> Checked {
        if let Some(at) = self.locals.iter().position(|(local, _)| **local == *name) {
            let ty = self.locals[at].1.clone();
            return Ok(pure(Kind::Local(at as Local), ty, span));
        }
        if let Some((index, ty)) = self.schema.variable(name) {
            return Ok(pure(Kind::Variable(index), ty.clone(), span));
        }
        if self.is_function(name) {
            return Err(
                SyntaxError::new(format!("`{name}` is a function"), span).hint(format!("call it: {name}(…)"))
            );
        }
        Err(self.unknown_name(name, span))
    }

    fn is_function(&self, name: &str) -> bool {
        loops::which(name).is_some()
            || functions::lookup(name).is_some()
            || self.schema.functions.iter().any(|f| f.name == name)
    }

    fn unknown_name(&self, name: &str, span: Span) -> SyntaxError {
        let error = SyntaxError::new(format!("there is no variable `{name}` here"), span);
        match name {
            "null" | "None" | "none" | "undefined" | "NULL" => return error.hint("write nil"),
            "True" | "TRUE" | "False" | "FALSE" => {
                return error.hint(format!("write {}", name.to_lowercase()));
            }
            _ => {}
        }
        let known =
            self.locals.iter().map(|(n, _)| &**n).chain(self.schema.variables.iter().map(|v| &*v.name));
        if let Some(close) = types::closest(name, known.clone()) {
            return error.hint(format!("did you mean `{close}`?"));
        }
        let known: Vec<_> = known.map(|n| format!("`{n}`")).collect();
        if known.is_empty() {
            return error.hint("text stands in quotes");
        }
        error.hint(format!("known here: {}; text stands in quotes", known.join(", ")))
    }

    fn pointer(&self, ast: &Expr) -> Checked {
        let span = ast.span;
        let Some(scope) = self.scopes.last() else {
            return Err(SyntaxError::new("there is no predicate around this", span));
        };
        match ast.kind {
            ExprKind::ElementIndex if scope.index => Ok(pure(Kind::ElementIndex(0), Type::Int, span)),
            ExprKind::ElementIndex => Err(SyntaxError::new("`#index` is not known here", span)
                .hint("it is known directly inside `map` and `reduce` only")),
            ExprKind::Accumulator if scope.accumulator => Ok(pure(Kind::Accumulator(0), Type::Any, span)),
            ExprKind::Accumulator => Err(SyntaxError::new("`#acc` is not known here", span)
                .hint("it is known directly inside `reduce` only")),
            _ => Ok(pure(Kind::Element(0), scope.element.clone(), span)),
        }
    }

    // ---- control

    fn declaration(&mut self, name: &Arc<str>, value: &Expr, body: &Expr, span: Span) -> Checked {
        let taken = if self.schema.variable(name).is_some() {
            Some("a variable of the environment")
        } else if self.is_function(name) {
            Some("a function")
        } else if self.locals.iter().any(|(local, _)| local == name) {
            Some("an outer variable")
        } else {
            None
        };
        if let Some(what) = taken {
            return Err(SyntaxError::new(format!("`{name}` is already the name of {what}"), span)
                .hint("choose another name"));
        }
        let value = self.expr(value)?;
        self.locals.push((name.clone(), value.ty.clone()));
        let body = self.expr(body);
        self.locals.pop();
        let body = body?;
        let ty = body.ty.clone();
        Ok(pure(Kind::Let(self.locals.len() as Local, Box::new(value), Box::new(body)), ty, span))
    }

    fn sequence(&mut self, parts: &[Expr], span: Span) -> Checked {
        let parts = self.exprs(parts)?;
        let ty = parts.last().map_or(Type::Nil, |last| last.ty.clone());
        Ok(pure(Kind::Sequence(parts), ty, span))
    }

    fn conditional(&mut self, test: &Expr, yes: Option<&Expr>, no: &Expr, span: Span) -> Checked {
        let question = self.expr(test)?;
        self.must_be_bool(&question, "the question of a conditional")?;
        let yes = self.expr(yes.unwrap_or(test))?;
        let no = self.expr(no)?;
        let ty = types::either(&yes.ty, &no.ty);
        match question.kind {
            Kind::Const(Value::Bool(true)) => Ok(Node { ty, ..yes }),
            Kind::Const(Value::Bool(false)) => Ok(Node { ty, ..no }),
            _ => Ok(pure(Kind::Cond(Box::new(question), Box::new(yes), Box::new(no)), ty, span)),
        }
    }

    // ---- errors

    fn describe(&self, ty: &Type) -> String {
        types::describe(self.schema, ty)
    }

    fn must_be_bool(&self, node: &Node, what: &str) -> Result<(), SyntaxError> {
        if matches!(node.ty, Type::Bool | Type::Any) {
            return Ok(());
        }
        let found = self.describe(&node.ty);
        Err(SyntaxError::new(format!("{what} must be true or false, this is {found}"), node.span)
            .hint(to_bool(&node.ty)))
    }

    fn not_wanted(&self, node: &Node, want: &Type) -> SyntaxError {
        let found = self.describe(&node.ty);
        let wanted = if *want == Type::Bool { "true or false".to_owned() } else { self.describe(want) };
        let error = SyntaxError::new(format!("this must be {wanted}, it is {found}"), node.span);
        match (want, &node.ty) {
            (Type::Bool, ty) => error.hint(to_bool(ty)),
            (Type::String, Type::Int | Type::Float | Type::Bool | Type::Duration | Type::Time) => {
                error.hint("string(x) makes text of it")
            }
            (Type::String, Type::List(_)) => error.hint("join(x, ',') makes one text of a list"),
            (Type::Int | Type::Float, Type::String) => error.hint("int(x) makes a number of a text"),
            _ => error,
        }
    }
}

/// How to make true or false of something else.
fn to_bool(ty: &Type) -> &'static str {
    match ty {
        Type::String => "compare it, as in x == 'value' or x != ''",
        Type::Int | Type::Float => "compare it, as in x > 0",
        Type::List(_) => "ask for something in it, as in 'value' in x or len(x) > 0",
        Type::Map(_) => "ask for a key, as in 'key' in x",
        _ => "compare it, as in x != nil",
    }
}

#[cfg(test)]
mod tests;
