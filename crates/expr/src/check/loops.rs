//! The built-in functions that run a predicate over a list.

use crate::{
    ast::{Expr, ExprKind},
    check::{Checked, Checker, Scope, pure},
    core::{Kind, Loop, Node},
    error::{Span, SyntaxError},
    schema::Type,
};

/// Their names.
pub(super) const NAMES: [&str; 15] = [
    "all",
    "any",
    "none",
    "one",
    "filter",
    "map",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "count",
    "sum",
    "groupBy",
    "sortBy",
    "reduce",
];

/// The loop of that name.
pub(super) fn which(name: &str) -> Option<Loop> {
    Some(match name {
        "all" => Loop::All,
        "any" => Loop::Any,
        "none" => Loop::None,
        "one" => Loop::One,
        "filter" => Loop::Filter,
        "map" => Loop::Map,
        "find" => Loop::Find,
        "findIndex" => Loop::FindIndex,
        "findLast" => Loop::FindLast,
        "findLastIndex" => Loop::FindLastIndex,
        "count" => Loop::Count,
        "sum" => Loop::Sum,
        "groupBy" => Loop::GroupBy,
        "sortBy" => Loop::SortBy,
        "reduce" => Loop::Reduce,
        _ => return None,
    })
}

/// Whether the predicate answers yes or no, rather than giving a value.
fn asks(which: Loop) -> bool {
    match which {
        Loop::All
        | Loop::Any
        | Loop::None
        | Loop::One
        | Loop::Filter
        | Loop::Find
        | Loop::FindIndex
        | Loop::FindLast
        | Loop::FindLastIndex
        | Loop::Count => true,
        Loop::Map | Loop::Sum | Loop::GroupBy | Loop::SortBy | Loop::Reduce => false,
    }
}

/// Type of the result.
fn result(which: Loop, list: &Type, element: &Type, predicate: Option<&Type>, extra: Option<&Type>) -> Type {
    let list_of = |ty: &Type| Type::List(Box::new(ty.clone()));
    match which {
        Loop::All | Loop::Any | Loop::None | Loop::One => Type::Bool,
        Loop::Count | Loop::FindIndex | Loop::FindLastIndex => Type::Int,
        Loop::Filter => list_of(element),
        Loop::Map => match predicate {
            Some(Type::Nil) | None => list_of(&Type::Any),
            Some(ty) => list_of(ty),
        },
        Loop::Find | Loop::FindLast => element.clone(),
        Loop::Sum => match predicate.unwrap_or(element) {
            ty @ (Type::Int | Type::Float) => ty.clone(),
            _ => Type::Any,
        },
        Loop::GroupBy => Type::Map(Box::new(list_of(element))),
        Loop::SortBy => match list {
            Type::List(_) => list.clone(),
            _ => list_of(&Type::Any),
        },
        // Without an initial value the first element is one; over an empty list there is nothing.
        Loop::Reduce => match (predicate, extra.unwrap_or(element)) {
            (Some(ty), start) if ty == start => ty.clone(),
            _ => Type::Any,
        },
    }
}

impl Checker<'_> {
    /// A call of a built-in function that takes a predicate.
    pub(super) fn run_over(&mut self, which: Loop, name: &str, arguments: &[Expr], span: Span) -> Checked {
        let Some((list, rest)) = arguments.split_first() else {
            return Err(SyntaxError::new(format!("`{name}` takes a list and a predicate"), span));
        };
        let list = self.expr(list)?;
        let element = match &list.ty {
            Type::Any => Type::Any,
            Type::List(of) => (**of).clone(),
            Type::Bytes => Type::Int,
            other => {
                let message = format!("`{name}` takes a list, this is {}", self.describe(other));
                let error = SyntaxError::new(message, list.span);
                return Err(match other {
                    Type::Map(_) => error.hint("take keys(x) or values(x) of a map"),
                    _ => error,
                });
            }
        };
        let predicate = match rest.first() {
            Some(Expr { kind: ExprKind::Closure(body), .. }) => {
                self.scopes.push(Scope {
                    element: element.clone(),
                    index: matches!(which, Loop::Map | Loop::Reduce),
                    accumulator: which == Loop::Reduce,
                });
                let body = self.expr(body);
                self.scopes.pop();
                Some(body?)
            }
            Some(other) => return Err(SyntaxError::new("this is not a predicate", other.span)),
            None if matches!(which, Loop::Count | Loop::Sum) => None,
            None => return Err(SyntaxError::new(format!("`{name}` takes a list and a predicate"), span)),
        };
        if let Some(predicate) = &predicate
            && asks(which)
        {
            self.must_be_bool(predicate, &format!("the predicate of `{name}`"))?;
        }
        let extra = rest.get(1).map(|third| self.expr(third)).transpose()?;
        if let Some(order) = &extra
            && which == Loop::SortBy
            && !matches!(order.ty, Type::String | Type::Any)
        {
            let found = self.describe(&order.ty);
            return Err(SyntaxError::new(
                format!("the order is 'asc' or 'desc', this is {found}"),
                order.span,
            ));
        }
        let type_of = |node: &Option<Node>| node.as_ref().map(|n| n.ty.clone());
        let ty = result(which, &list.ty, &element, type_of(&predicate).as_ref(), type_of(&extra).as_ref());
        let kind = Kind::Loop {
            which,
            list: Box::new(list),
            predicate: predicate.map(Box::new),
            extra: extra.map(Box::new),
        };
        Ok(pure(kind, ty, span))
    }
}
