//! Compiled expressions: typed forms of what rules are mostly made of, and the dynamic evaluator
//! for the rest.
//!
//! A [`Program`] answers without allocating for the common shapes: does this test hold
//! ([`Program::test`]), what text is this ([`Program::answer`]), and what can it not do without
//! ([`Program::guards`], [`Program::needs`]), so that the engine can index rules by it. Only pure
//! parts are taken out of order or fused; a part that writes keeps its place.

mod lists;
mod needs;
mod pure;
mod text;

use std::{borrow::Cow, sync::Arc};

pub use lists::ListTest;
pub use needs::{Guard, Need};
pub use pure::Pure;
pub use text::Text;

use crate::{
    core::{Binary, Kind, Loop, Node},
    error::EvalError,
    eval::eval,
    host::{Host, Services, Slot},
    value::Value,
};

/// Gives text cells their slots while an expression is compiled.
pub trait Resolver {
    /// The slot of a text cell, named by the schema variable it starts from and the names below
    /// it, e.g. variable 0 and `["Parsed", "program"]`, or `["GetType", "()"]` for a method without
    /// arguments; `None` where it is no plain text cell.
    fn slot(&mut self, variable: u16, path: &[&str]) -> Option<Slot>;
}

/// A compiled expression. Cheap to clone, shared between threads.
#[derive(Clone, Debug)]
pub struct Program {
    node: Arc<Node>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Test(Arc<Filter>),
    Text(Arc<Text>),
    /// `len(text)`
    Length(Arc<Text>),
    Dynamic,
}

/// A test whose parts may write or fail.
#[derive(Debug)]
enum Test {
    Pure(Pure),
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Cond(Box<[Test; 3]>),
    /// A predicate over a data file that writes on a hit: the pure test tells whether there is one.
    OnHit(Pure, Arc<Node>),
    Dynamic(Arc<Node>),
}

/// A test as a conjunction. What comes first in the text and is pure may be asked in any order; the rest
/// is asked after it, in its own.
#[derive(Debug)]
struct Filter {
    /// Those of the pure conjuncts that compare one slot with constants.
    guards: Vec<Pure>,
    /// The other pure ones, the cheap ones first.
    pure: Vec<Pure>,
    rest: Option<Test>,
}

/// What a [`Program`] gives where text is wanted.
#[derive(Clone, Debug)]
pub enum Answer<'h> {
    /// Text that lives in the host or in the program.
    Text(Cow<'h, str>),
    /// Anything else.
    Value(Value),
}

impl Program {
    /// Compiles a checked expression. Data files are asked from `services` now, once.
    pub fn new(node: &Arc<Node>, resolver: &mut dyn Resolver, services: &dyn Services) -> Program {
        let mut compiler = Compiler { resolver, services, locals: Vec::new() };
        let form = match compiler.test(node) {
            Some(test) => Form::Test(Arc::new(Filter::new(test))),
            None => match compiler.text(node) {
                Some(text) => Form::Text(Arc::new(text)),
                None => match &node.kind {
                    Kind::Call { function, arguments } if function.name == "len" && arguments.len() == 1 => {
                        compiler.text(&arguments[0]).map_or(Form::Dynamic, |t| Form::Length(Arc::new(t)))
                    }
                    _ => Form::Dynamic,
                },
            },
        };
        Program { node: node.clone(), form }
    }

    /// The checked expression.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Runs the expression as a test.
    ///
    /// # Errors
    /// The expression failed, or its value is not a boolean.
    pub fn test<H: Host>(&self, host: &mut H) -> Result<bool, EvalError> {
        match &self.form {
            Form::Test(test) => test.run(host),
            Form::Text(_) => Err(EvalError::Kind { what: "a test", got: "string" }),
            Form::Length(_) => Err(EvalError::Kind { what: "a test", got: "int" }),
            Form::Dynamic => boolean(eval(&self.node, host)?),
        }
    }

    /// Runs the expression as a test whose [`Program::guards`] are known to hold.
    ///
    /// # Errors
    /// Those of [`Program::test`].
    pub fn test_after_guards<H: Host>(&self, host: &mut H) -> Result<bool, EvalError> {
        match &self.form {
            Form::Test(filter) => filter.run_after_guards(host),
            _ => self.test(host),
        }
    }

    /// Runs the expression where text is wanted.
    ///
    /// # Errors
    /// The expression failed.
    pub fn answer<'h, H: Host>(&'h self, host: &'h mut H) -> Result<Answer<'h>, EvalError> {
        Ok(match &self.form {
            Form::Text(text) => Answer::Text(text.get(host)),
            Form::Length(text) => Answer::Value(Value::Int(text.get(host).chars().count() as i64)),
            Form::Test(test) => Answer::Value(Value::Bool(test.run(host)?)),
            Form::Dynamic => Answer::Value(eval(&self.node, host)?),
        })
    }

    /// Runs the expression where text is wanted, and adds it to `into`; false where it gives anything else.
    ///
    /// # Errors
    /// The expression failed.
    pub fn write<H: Host>(&self, host: &mut H, into: &mut String) -> Result<bool, EvalError> {
        if let Form::Text(text) = &self.form {
            text.write(host, into);
            return Ok(true);
        }
        match self.answer(host)? {
            Answer::Text(text) => into.push_str(&text),
            Answer::Value(Value::Str(text)) => into.push_str(&text),
            Answer::Value(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Runs the expression for its value.
    ///
    /// # Errors
    /// The expression failed.
    pub fn value<H: Host>(&self, host: &mut H) -> Result<Value, EvalError> {
        Ok(match self.answer(host)? {
            Answer::Text(text) => Value::str(text.as_ref()),
            Answer::Value(value) => value,
        })
    }

    /// The slot that the expression copies, if that is all it does.
    pub fn slot(&self) -> Option<Slot> {
        match &self.form {
            Form::Text(text) => match **text {
                Text::Slot(slot) => Some(slot),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it runs without the dynamic evaluator.
    pub fn is_compiled(&self) -> bool {
        fn compiled(test: &Test) -> bool {
            match test {
                Test::Pure(_) | Test::OnHit(..) => true,
                Test::And(parts) | Test::Or(parts) => parts.iter().all(compiled),
                Test::Not(part) => compiled(part),
                Test::Cond(parts) => parts.iter().all(compiled),
                Test::Dynamic(_) => false,
            }
        }
        match &self.form {
            Form::Test(filter) => filter.rest.as_ref().is_none_or(compiled),
            Form::Text(_) | Form::Length(_) => true,
            Form::Dynamic => false,
        }
    }

    /// Conjuncts that one slot alone decides. Where one does not hold the test does not, and does nothing.
    pub fn guards(&self) -> impl Iterator<Item = Guard<'_>> {
        let guards = match &self.form {
            Form::Test(filter) => filter.guards.as_slice(),
            _ => &[],
        };
        guards.iter().filter_map(|test| Some(Guard { slot: test.guarded_slot()?, test }))
    }

    /// Whether it is a search for one fixed text that settles most of what [`Program::needs`] is asked for.
    pub fn seeks_one_text(&self) -> bool {
        let Form::Test(filter) = &self.form else { return false };
        matches!(filter.pure.as_slice(), [Pure::ContainsFixed(Text::Slot(_), _), ..])
    }

    /// Alternatives of which one is met wherever the test holds or does anything; `None` where nothing of the
    /// kind is known.
    pub fn needs(&self) -> Option<Vec<Need>> {
        let Form::Test(filter) = &self.form else { return None };
        let hit = match &filter.rest {
            Some(Test::OnHit(pure, _)) => Some(pure),
            Some(Test::And(parts)) => match parts.first() {
                Some(Test::OnHit(pure, _)) => Some(pure),
                _ => None,
            },
            _ => None,
        };
        needs::best(filter.pure.iter().chain(hit))
    }
}

fn boolean(value: Value) -> Result<bool, EvalError> {
    match value {
        Value::Bool(b) => Ok(b),
        other => Err(EvalError::Kind { what: "a test", got: other.kind() }),
    }
}

impl Filter {
    fn new(test: Test) -> Filter {
        let mut conjuncts = Vec::new();
        test.split(&mut conjuncts);
        let mut filter = Filter { guards: Vec::new(), pure: Vec::new(), rest: None };
        let mut rest = Vec::new();
        for conjunct in conjuncts {
            match conjunct {
                Test::Pure(pure) if rest.is_empty() => {
                    let is_guard = pure.guarded_slot().is_some();
                    if is_guard { &mut filter.guards } else { &mut filter.pure }.push(pure);
                }
                other => rest.push(other),
            }
        }
        filter.pure.sort_by_key(Pure::cost);
        filter.rest = if rest.len() > 1 { Some(Test::And(rest)) } else { rest.pop() };
        filter
    }

    fn run<H: Host>(&self, host: &mut H) -> Result<bool, EvalError> {
        if self.guards.iter().all(|guard| guard.holds(host)) {
            self.run_after_guards(host)
        } else {
            Ok(false)
        }
    }

    fn run_after_guards<H: Host>(&self, host: &mut H) -> Result<bool, EvalError> {
        if !self.pure.iter().all(|pure| pure.holds(host)) {
            return Ok(false);
        }
        self.rest.as_ref().map_or(Ok(true), |rest| rest.run(host))
    }
}

impl Test {
    /// The parts that must all hold, in order.
    fn split(self, into: &mut Vec<Test>) {
        match self {
            Test::And(parts) => parts.into_iter().for_each(|part| part.split(into)),
            Test::Pure(Pure::And(parts)) => {
                parts.into_iter().for_each(|part| Test::Pure(part).split(into));
            }
            Test::Pure(Pure::Cond(parts)) if matches!(parts[2], Pure::Const(false)) => {
                let [test, yes, _] = *parts;
                Test::Pure(test).split(into);
                Test::Pure(yes).split(into);
            }
            // `if a { b } else { false }` holds where both do.
            Test::Cond(parts) if matches!(parts[2], Test::Pure(Pure::Const(false))) => {
                let [test, yes, _] = *parts;
                test.split(into);
                yes.split(into);
            }
            other => into.push(other),
        }
    }

    fn run<H: Host>(&self, host: &mut H) -> Result<bool, EvalError> {
        Ok(match self {
            Test::Pure(pure) => pure.holds(host),
            Test::And(parts) => {
                for part in parts {
                    if !part.run(host)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Or(parts) => {
                for part in parts {
                    if part.run(host)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::Not(part) => !part.run(host)?,
            Test::Cond(parts) => {
                if parts[0].run(host)? {
                    parts[1].run(host)?
                } else {
                    parts[2].run(host)?
                }
            }
            Test::OnHit(pure, node) => pure.holds(host) && boolean(eval(node, host)?)?,
            Test::Dynamic(node) => boolean(eval(node, host)?)?,
        })
    }
}

/// Builds the typed forms. Every function answers `None` for what stays dynamic.
struct Compiler<'c> {
    resolver: &'c mut dyn Resolver,
    services: &'c dyn Services,
    /// Values of the `let` variables around, where they are pure: they are put in place of the name.
    locals: Vec<Option<Arc<Node>>>,
}

impl Compiler<'_> {
    /// A test that is worth having: at least one of its parts is typed.
    fn test(&mut self, node: &Node) -> Option<Test> {
        if let Some(pure) = self.pure(node) {
            return Some(Test::Pure(pure));
        }
        match &node.kind {
            Kind::And(parts) => {
                let mut tests: Vec<Test> = Vec::with_capacity(parts.len());
                for part in parts {
                    match (tests.last_mut(), self.part(part)?) {
                        // Neighbouring pure conjuncts become one.
                        (Some(Test::Pure(Pure::And(run))), Test::Pure(pure)) => run.push(pure),
                        (_, Test::Pure(pure)) => tests.push(Test::Pure(Pure::And(vec![pure]))),
                        (_, other) => tests.push(other),
                    }
                }
                Some(Test::And(tests))
            }
            Kind::Or(parts) => Some(Test::Or(parts.iter().map(|p| self.part(p)).collect::<Option<_>>()?)),
            Kind::Not(part) => Some(Test::Not(Box::new(self.part(part)?))),
            Kind::Cond(test, yes, no) if node.ty == crate::Type::Bool => {
                Some(Test::Cond(Box::new([self.part(test)?, self.part(yes)?, self.part(no)?])))
            }
            Kind::Let(local, value, body) if !value.effects.mutates => {
                self.bind(*local, value);
                let test = self.test(body);
                self.unbind(*local);
                // What stays dynamic inside would miss its variable.
                test.filter(|t| !t.has_dynamic())
            }
            Kind::Loop { which: Loop::Any, list, predicate: Some(predicate), .. } => {
                let pure = self.hit_test(list, predicate)?;
                Some(Test::OnHit(pure, Arc::new(node.clone())))
            }
            _ => None,
        }
    }

    /// A part of a test: typed where possible.
    fn part(&mut self, node: &Node) -> Option<Test> {
        Some(match self.test(node) {
            Some(test) => test,
            // A part that reads a substituted variable cannot run alone.
            None if self.locals.iter().any(Option::is_some) => return None,
            None => Test::Dynamic(Arc::new(node.clone())),
        })
    }

    fn bind(&mut self, local: u16, value: &Node) {
        let at = local as usize;
        if self.locals.len() <= at {
            self.locals.resize(at + 1, None);
        }
        self.locals[at] = Some(Arc::new(value.clone()));
    }

    fn unbind(&mut self, local: u16) {
        if let Some(slot) = self.locals.get_mut(local as usize) {
            *slot = None;
        }
    }

    /// The node itself, or what its variable stands for.
    fn through(&self, node: &Node) -> Option<Arc<Node>> {
        match node.kind {
            Kind::Local(local) => self.locals.get(local as usize).cloned().flatten(),
            _ => None,
        }
    }

    /// The condition under which a writing predicate over a file does anything at all:
    /// `any(File("f"), { X contains E(#) ? write : false })` and `{ X contains E(#) && write }`.
    fn hit_test(&mut self, list: &Node, predicate: &Node) -> Option<Pure> {
        let condition = match &predicate.kind {
            Kind::Cond(test, _, no) if matches!(no.kind, Kind::Const(Value::Bool(false))) => test,
            Kind::And(parts) => parts.first()?,
            _ => return None,
        };
        if condition.effects.mutates {
            return None;
        }
        self.any_line(list, condition)
    }
}

impl Test {
    fn has_dynamic(&self) -> bool {
        match self {
            Test::Pure(_) => false,
            Test::And(parts) | Test::Or(parts) => parts.iter().any(Test::has_dynamic),
            Test::Not(part) => part.has_dynamic(),
            Test::Cond(parts) => parts.iter().any(Test::has_dynamic),
            Test::OnHit(..) | Test::Dynamic(_) => true,
        }
    }
}

/// Operators of [`Binary`] that compare two texts.
pub(crate) fn compares_text(operator: Binary) -> bool {
    matches!(operator, Binary::Eq | Binary::Ne | Binary::Contains | Binary::StartsWith | Binary::EndsWith)
}
