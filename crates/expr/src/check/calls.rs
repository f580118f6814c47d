//! Calls of functions: which function a name means, how many arguments of which types it takes.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    ast::{Expr, ExprKind},
    check::{Checked, Checker, fold, loops, types},
    core::{Kind, Node},
    error::{Span, SyntaxError},
    functions::{self, Function, helpers::reputation},
    schema::Type,
    value::Value,
};

/// What a function or method takes.
pub(super) struct Signature<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: &'a [Type],
    /// How many of the parameters must be given.
    pub(super) required: usize,
    /// Type of any number of further arguments.
    pub(super) variadic: Option<&'a Type>,
}

impl Checker<'_> {
    pub(super) fn call(&mut self, function: &Expr, arguments: &[Expr], span: Span) -> Checked {
        let name = match &function.kind {
            ExprKind::Name(name) => name,
            ExprKind::Member { .. } => return self.method(function, arguments, span),
            _ => {
                let node = self.expr(function)?;
                let found = self.describe(&node.ty);
                return Err(SyntaxError::new(
                    format!("only functions can be called, this is {found}"),
                    node.span,
                ));
            }
        };
        if let Some(function) = self.schema.functions.iter().find(|f| *f.name == **name) {
            let signature = Signature {
                name: &function.name,
                parameters: &function.parameters,
                required: function.parameters.len(),
                variadic: None,
            };
            let arguments = self.arguments(&signature, arguments, span)?;
            let kind = Kind::HostCall { name: name.clone(), arguments };
            return Ok(fold::node(kind, function.returns.clone(), span, function.effects));
        }
        let variable = self.schema.variable(name).is_some() || self.locals.iter().any(|(n, _)| n == name);
        if variable {
            return Err(SyntaxError::new(format!("`{name}` is a variable, not a function"), function.span));
        }
        self.builtin(name, arguments, span, function.span)
    }

    /// A call of a built-in function or helper; its name stands in `at`.
    pub(super) fn builtin(&mut self, name: &Arc<str>, arguments: &[Expr], span: Span, at: Span) -> Checked {
        if let Some(which) = loops::which(name) {
            return self.run_over(which, name, arguments, span);
        }
        let Some(function) = functions::lookup(name) else {
            return Err(self.unknown_function(name, at));
        };
        let signature = Signature {
            name: function.name,
            parameters: &function.parameters,
            required: function.required,
            variadic: function.variadic.as_ref(),
        };
        let arguments = self.arguments(&signature, arguments, span)?;
        self.polymorphic(function.name, &arguments)?;
        let ty = self.returns(function, &arguments);
        Ok(fold::node(Kind::Call { function, arguments }, ty, span, function.effects))
    }

    fn returns(&self, function: &Function, arguments: &[Node]) -> Type {
        // A signature cannot name a record, since records are those of a schema.
        let record = match function.name {
            reputation::RECORD => self.schema.record(reputation::RECORD),
            name => returns(name, arguments),
        };
        record.unwrap_or_else(|| function.returns.clone())
    }

    fn unknown_function(&self, name: &str, span: Span) -> SyntaxError {
        let error = SyntaxError::new(format!("there is no function `{name}`"), span);
        let known = functions::names()
            .into_iter()
            .chain(loops::NAMES)
            .chain(self.schema.functions.iter().map(|f| &*f.name));
        match types::closest(name, known) {
            Some(close) => error.hint(format!("did you mean `{close}`?")),
            None => error,
        }
    }

    /// Checks the arguments of a call that stands at `span`.
    pub(super) fn arguments(
        &mut self,
        signature: &Signature<'_>,
        arguments: &[Expr],
        span: Span,
    ) -> Result<Vec<Node>, SyntaxError> {
        let given = arguments.len();
        let most = if signature.variadic.is_some() { usize::MAX } else { signature.parameters.len() };
        if given < signature.required || given > most {
            let count = |n: usize| match n {
                0 => "no arguments".to_owned(),
                1 => "1 argument".to_owned(),
                _ => format!("{n} arguments"),
            };
            let wanted = if most == signature.required {
                count(most)
            } else if given < signature.required {
                format!("at least {}", count(signature.required))
            } else {
                format!("at most {}", count(most))
            };
            let message = format!("`{}` takes {wanted}, this call has {given}", signature.name);
            return Err(SyntaxError::new(message, span).hint(self.usage(signature)));
        }
        let mut checked = Vec::with_capacity(given);
        for (at, argument) in arguments.iter().enumerate() {
            let mut node = self.expr(argument)?;
            let Some(want) = signature.parameters.get(at).or(signature.variadic) else { continue };
            // An integer literal becomes the float that is asked for; a computed one does not.
            if *want == Type::Float
                && let Kind::Const(Value::Int(number)) = node.kind
            {
                node = Node { kind: Kind::Const(Value::Float(number as f64)), ty: Type::Float, ..node };
            }
            let fits = types::fits(&node.ty, want) && !(*want == Type::Float && node.ty == Type::Int);
            if !fits {
                return Err(self.wrong_argument(signature, at, &node, want));
            }
            checked.push(node);
        }
        Ok(checked)
    }

    fn wrong_argument(&self, signature: &Signature<'_>, at: usize, node: &Node, want: &Type) -> SyntaxError {
        let (wanted, found) = (self.describe(want), self.describe(&node.ty));
        let message =
            format!("argument {} of `{}` must be {wanted}, this is {found}", at + 1, signature.name);
        let hint = match (want, &node.ty) {
            (Type::Float, Type::Int) => "float(x) makes a float of it".to_owned(),
            (Type::Int, Type::Float | Type::String) => "int(x) makes an int of it".to_owned(),
            (Type::String, Type::Int | Type::Float | Type::Bool) => "string(x) makes text of it".to_owned(),
            (Type::Duration, Type::String) => "duration(x) makes a duration of it".to_owned(),
            _ => self.usage(signature),
        };
        SyntaxError::new(message, node.span).hint(hint)
    }

    /// The signature as one writes it.
    fn usage(&self, signature: &Signature<'_>) -> String {
        let mut usage = format!("usage: {}(", signature.name);
        let further = signature.variadic.iter().map(|ty| (usize::MAX, *ty));
        for (at, ty) in signature.parameters.iter().enumerate().chain(further) {
            let separator = if usage.ends_with('(') { "" } else { ", " };
            let name = types::name(self.schema, ty);
            let (open, close) = match at {
                usize::MAX => ("", " …"),
                _ if at >= signature.required => ("[", "]"),
                _ => ("", ""),
            };
            // Writing to a text cannot fail.
            let _ = write!(usage, "{separator}{open}{name}{close}");
        }
        usage + ")"
    }

    /// What the signatures of the polymorphic built-in functions cannot say about their arguments.
    fn polymorphic(&self, name: &str, arguments: &[Node]) -> Result<(), SyntaxError> {
        let list = |ty: &Type| matches!(ty, Type::List(_) | Type::Bytes);
        let number = |ty: &Type| matches!(ty, Type::Int | Type::Float | Type::Duration);
        let wrong = arguments.iter().enumerate().find_map(|(at, argument)| {
            let ty = &argument.ty;
            let (fits, wanted) = match (name, at) {
                ("len", 0) => {
                    (list(ty) || matches!(ty, Type::String | Type::Map(_)), "a text, a list or a map")
                }
                (
                    "first" | "last" | "take" | "reverse" | "uniq" | "flatten" | "sort" | "join"
                    | "fromPairs",
                    0,
                )
                | ("concat", _) => (list(ty), "a list"),
                ("keys" | "values" | "toPairs", 0) => (matches!(ty, Type::Map(_)), "a map"),
                ("abs" | "ceil" | "floor" | "round", 0) => (number(ty), "a number"),
                ("min" | "max" | "mean" | "median", _) => (number(ty) || list(ty), "a number or a list"),
                ("int" | "float", 0) => (number(ty) || *ty == Type::String, "a number or a text"),
                ("get", 0) => (list(ty) || matches!(ty, Type::Map(_)), "a list or a map"),
                ("get", 1) if list(&arguments[0].ty) => (*ty == Type::Int, "an int as position"),
                ("get", 1) if matches!(arguments[0].ty, Type::Map(_)) => {
                    (*ty == Type::String, "a string as key")
                }
                _ => (true, ""),
            };
            (!fits && *ty != Type::Any).then_some((argument, wanted))
        });
        let Some((argument, wanted)) = wrong else { return Ok(()) };
        let found = self.describe(&argument.ty);
        Err(SyntaxError::new(format!("`{name}` takes {wanted}, this is {found}"), argument.span))
    }
}

/// The result of built-in functions that hand out what they are given.
///
/// What the reference leaves untyped stays untyped, unless it has members: the type decides what an
/// absent one is, `""` in a map of texts, nil elsewhere.
fn returns(name: &str, arguments: &[Node]) -> Option<Type> {
    let members = |ty: &Type| matches!(ty, Type::Record { .. } | Type::Map(_));
    match (name, &arguments.first()?.ty) {
        ("abs", ty @ (Type::Int | Type::Float)) => Some(ty.clone()),
        ("mean" | "median", Type::List(_)) => Some(Type::Any),
        ("get", Type::List(item) | Type::Map(item)) => Some((**item).clone()),
        ("first" | "last", Type::List(item)) if members(item) => Some((**item).clone()),
        ("take" | "reverse" | "uniq", ty @ Type::List(item)) if members(item) => Some(ty.clone()),
        _ => None,
    }
}
