//! The checked form of an expression: every name resolved, every node typed, constants folded,
//! sugar removed. The evaluator and the fast paths work on this and on nothing else.

use std::sync::Arc;

use regex::Regex;

use crate::{
    error::Span,
    functions::Function,
    schema::{Effects, Type},
    value::Value,
};

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub kind: Kind,
    /// Type of its value.
    pub ty: Type,
    /// Where it stands in the source.
    pub span: Span,
    /// Effects of evaluating it, its parts included.
    pub effects: Effects,
}

/// Number of a `let` variable, counted from the outermost one.
pub type Local = u16;

/// Operators on two values that are always both evaluated.
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
    /// `..`
    Range,
    /// `contains`
    Contains,
    /// `startsWith`
    StartsWith,
    /// `endsWith`
    EndsWith,
    /// `in`
    In,
    /// `matches` whose pattern is not constant
    Matches,
}

/// Built-in functions that take a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the built-in function of that name")]
pub enum Loop {
    All,
    Any,
    None,
    One,
    Filter,
    Map,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    Count,
    Sum,
    GroupBy,
    SortBy,
    Reduce,
}

/// The kinds of nodes.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A value known at load.
    Const(Value),
    /// A variable of the schema.
    Variable(u16),
    /// The whole environment (`$env`).
    Env,
    /// A `let` variable.
    Local(Local),
    /// `#`: the element of the `depth`-th enclosing predicate, 0 the innermost.
    Element(u16),
    /// `#index`.
    ElementIndex(u16),
    /// `#acc`.
    Accumulator(u16),
    /// A field of a record.
    Field {
        /// The record.
        of: Box<Node>,
        /// The field.
        name: Arc<str>,
        /// `?.`: nil ends the chain.
        optional: bool,
    },
    /// An element: a key of a map (a constant text key for `.name`), a position of a list, a byte of a string;
    /// also a member of an untyped value.
    Index {
        /// The container.
        of: Box<Node>,
        /// The key.
        key: Box<Node>,
        /// `?.`: nil ends the chain.
        optional: bool,
    },
    /// `x[from:to]`.
    Slice {
        /// The list or string.
        of: Box<Node>,
        /// First element.
        from: Option<Box<Node>>,
        /// One past the last.
        to: Option<Box<Node>>,
    },
    /// The end of a postfix chain that holds a `?.`: once one fires, the value of the chain is nil.
    Chain(Box<Node>),
    /// A call of a built-in function or helper.
    Call {
        /// Which.
        function: &'static Function,
        /// Its arguments.
        arguments: Vec<Node>,
    },
    /// A call of a function of the schema.
    HostCall {
        /// Its name.
        name: Arc<str>,
        /// Its arguments.
        arguments: Vec<Node>,
    },
    /// A method call, on a record or on a time, duration … value.
    Method {
        /// The receiver.
        of: Box<Node>,
        /// The method.
        name: Arc<str>,
        /// Its arguments.
        arguments: Vec<Node>,
        /// `?.`: nil ends the chain.
        optional: bool,
    },
    /// `-x` (true) or `+x`.
    Negate(bool, Box<Node>),
    /// `not x`.
    Not(Box<Node>),
    /// Two operands.
    Binary(Binary, Box<Node>, Box<Node>),
    /// `matches` with a constant pattern, already translated and compiled.
    Matches(Box<Node>, Regex),
    /// `x in [constants]`, all of them text, in the order written.
    InStrings(Box<Node>, Arc<Vec<Arc<str>>>),
    /// All true, left to right.
    And(Vec<Node>),
    /// One true, left to right.
    Or(Vec<Node>),
    /// `a ? b : c`.
    Cond(Box<Node>, Box<Node>, Box<Node>),
    /// `a ?? b`.
    Coalesce(Box<Node>, Box<Node>),
    /// A list literal.
    List(Vec<Node>),
    /// A map literal: pairs of key and value.
    Map(Vec<(Node, Node)>),
    /// `let local = value; body`.
    Let(Local, Box<Node>, Box<Node>),
    /// `a; b; c`.
    Sequence(Vec<Node>),
    /// A built-in with a predicate over a list.
    Loop {
        /// Which.
        which: Loop,
        /// The list (for maps: their values).
        list: Box<Node>,
        /// The predicate, if one is given.
        predicate: Option<Box<Node>>,
        /// Third argument: the initial value of `reduce`, the order of `sortBy`.
        extra: Option<Box<Node>>,
    },
}

impl Node {
    /// Calls `visit` for every direct part, in order of evaluation.
    pub fn for_each_child<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        match &self.kind {
            Kind::Const(_)
            | Kind::Variable(_)
            | Kind::Env
            | Kind::Local(_)
            | Kind::Element(_)
            | Kind::ElementIndex(_)
            | Kind::Accumulator(_) => {}
            Kind::Field { of, .. } | Kind::Chain(of) | Kind::Negate(_, of) | Kind::Not(of) => visit(of),
            Kind::Matches(of, _) | Kind::InStrings(of, _) => visit(of),
            Kind::Index { of, key, .. } => {
                visit(of);
                visit(key);
            }
            Kind::Slice { of, from, to } => {
                visit(of);
                from.iter().chain(to).for_each(|n| visit(n));
            }
            Kind::Call { arguments, .. } | Kind::HostCall { arguments, .. } => {
                arguments.iter().for_each(visit);
            }
            Kind::Method { of, arguments, .. } => {
                visit(of);
                arguments.iter().for_each(visit);
            }
            Kind::Binary(_, a, b) | Kind::Coalesce(a, b) | Kind::Let(_, a, b) => {
                visit(a);
                visit(b);
            }
            Kind::And(parts) | Kind::Or(parts) | Kind::List(parts) | Kind::Sequence(parts) => {
                parts.iter().for_each(visit);
            }
            Kind::Cond(a, b, c) => {
                visit(a);
                visit(b);
                visit(c);
            }
            Kind::Map(pairs) => {
                for (key, value) in pairs {
                    visit(key);
                    visit(value);
                }
            }
            Kind::Loop { list, predicate, extra, .. } => {
                visit(list);
                predicate.iter().chain(extra).for_each(|n| visit(n));
            }
        }
    }

    /// Calls `visit` for every direct part, to change it.
    pub fn for_each_child_mut(&mut self, visit: &mut dyn FnMut(&mut Node)) {
        match &mut self.kind {
            Kind::Const(_)
            | Kind::Variable(_)
            | Kind::Env
            | Kind::Local(_)
            | Kind::Element(_)
            | Kind::ElementIndex(_)
            | Kind::Accumulator(_) => {}
            Kind::Field { of, .. } | Kind::Chain(of) | Kind::Negate(_, of) | Kind::Not(of) => visit(of),
            Kind::Matches(of, _) | Kind::InStrings(of, _) => visit(of),
            Kind::Index { of, key, .. } => {
                visit(of);
                visit(key);
            }
            Kind::Slice { of, from, to } => {
                visit(of);
                from.iter_mut().chain(to).for_each(|n| visit(n));
            }
            Kind::Call { arguments, .. } | Kind::HostCall { arguments, .. } => {
                arguments.iter_mut().for_each(visit);
            }
            Kind::Method { of, arguments, .. } => {
                visit(of);
                arguments.iter_mut().for_each(visit);
            }
            Kind::Binary(_, a, b) | Kind::Coalesce(a, b) | Kind::Let(_, a, b) => {
                visit(a);
                visit(b);
            }
            Kind::And(parts) | Kind::Or(parts) | Kind::List(parts) | Kind::Sequence(parts) => {
                parts.iter_mut().for_each(visit);
            }
            Kind::Cond(a, b, c) => {
                visit(a);
                visit(b);
                visit(c);
            }
            Kind::Map(pairs) => {
                for (key, value) in pairs {
                    visit(key);
                    visit(value);
                }
            }
            Kind::Loop { list, predicate, extra, .. } => {
                visit(list);
                predicate.iter_mut().chain(extra).for_each(|n| visit(n));
            }
        }
    }
}
