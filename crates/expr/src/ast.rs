//! The syntax tree of an expression: what was written, where, and nothing about what it means.
//!
//! Only three things are already simplified: a pipe is the call that it stands for, `.field` inside
//! a predicate is `#.field`, and `a && b && c` is one node with three operands (so that a rule with
//! eight thousand alternatives is a wide tree, not a deep one).
//!
//! Every tree that [`parse`](crate::parser::parse) gives is at most
//! [`MAX_DEPTH`](crate::parser::MAX_DEPTH) nodes deep, so it may be walked recursively.

use std::sync::Arc;

use crate::error::Span;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands in the source.
    pub span: Span,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `not x`, `!x`; also the `not` of `a not in b`.
    Not,
    /// `-x`
    Negate,
    /// `+x`
    Plus,
}

/// Infix operators, except `&&` and `||`, which are nodes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `in`
    In,
    /// `matches`
    Matches,
    /// `contains`
    Contains,
    /// `startsWith`
    StartsWith,
    /// `endsWith`
    EndsWith,
    /// `..`, both ends included
    Range,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `**` or `^`
    Pow,
    /// `??`
    Coalesce,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// An integer literal, never negative: `-1` is a [`Unary`].
    Int(i64),
    /// A float literal.
    Float(f64),
    /// A text literal, its escapes resolved.
    Str(Arc<str>),
    /// A byte literal, its escapes resolved.
    Bytes(Arc<[u8]>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{key: value}`. A key that is not written in parentheses is a [`ExprKind::Str`].
    Map(Vec<(Expr, Expr)>),
    /// A variable, a `let` variable, or the function of a [`ExprKind::Call`].
    Name(Arc<str>),
    /// `$env`
    Env,
    /// `#`, the element of the innermost predicate.
    Element,
    /// `#index`
    ElementIndex,
    /// `#acc`
    Accumulator,
    /// `x.name`, `x?.name`
    Member {
        /// What has the member.
        of: Box<Expr>,
        /// Its name.
        name: Arc<str>,
        /// `?.`: where `of` is nil, the value of the whole [`ExprKind::Chain`] is nil.
        optional: bool,
    },
    /// `x[key]`, `x?.[key]`
    Index {
        /// The container.
        of: Box<Expr>,
        /// The key or position.
        key: Box<Expr>,
        /// `?.`: where `of` is nil, the value of the whole [`ExprKind::Chain`] is nil.
        optional: bool,
    },
    /// `x[from:to]`
    Slice {
        /// The list or text.
        of: Box<Expr>,
        /// First element; the beginning if not written.
        from: Option<Box<Expr>>,
        /// One past the last element; the end if not written.
        to: Option<Box<Expr>>,
    },
    /// A whole postfix chain (`a?.b.c[d]`) that holds at least one `?.`; this is where it lands.
    Chain(Box<Expr>),
    /// `f(a, b)`, or `x.m(a, b)` where `function` is a [`ExprKind::Member`], or `a | f(b)`.
    Call {
        /// What is called.
        function: Box<Expr>,
        /// The arguments.
        arguments: Vec<Expr>,
    },
    /// `::f(a, b)`: the built-in of that name, whatever else has the name.
    Builtin {
        /// Its name.
        name: Arc<str>,
        /// The arguments.
        arguments: Vec<Expr>,
    },
    /// A predicate, in braces or bare: only as the second argument of `any`, `map` …
    Closure(Box<Expr>),
    /// A prefix operator.
    Unary(Unary, Box<Expr>),
    /// An infix operator; `a not in b` is `not (a in b)`.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `a < b <= c`, which means `a < b && b <= c`: at least two comparisons, each of `<`, `<=`, `>`, `>=`.
    Compare {
        /// The leftmost operand.
        first: Box<Expr>,
        /// The operators and their right operands.
        rest: Vec<(Binary, Expr)>,
    },
    /// `a && b && c`, `a and b`; at least two operands.
    And(Vec<Expr>),
    /// `a || b || c`, `a or b`; at least two operands.
    Or(Vec<Expr>),
    /// `test ? yes : no`, `if test { yes } else { no }`.
    Cond {
        /// The question.
        test: Box<Expr>,
        /// The value where it is true; for `test ?: no` there is none and `test` itself is the value.
        yes: Option<Box<Expr>>,
        /// The value where it is false.
        no: Box<Expr>,
    },
    /// `let name = value; body`
    Let {
        /// The variable.
        name: Arc<str>,
        /// Its value.
        value: Box<Expr>,
        /// Where it is known.
        body: Box<Expr>,
    },
    /// `a; b; c`: all are evaluated, the last is the value; at least two.
    Sequence(Vec<Expr>),
}
