//! Calls of functions: which function a name means, how many arguments of which types it takes.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    ast::{Expr, ExprKind},
    check::{Checked, Checker, fold, loops, types},
    core::{Kind, Node},
    error::{Span, SyntaxError},
    functions,
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
        self.first_argument(function.name, &arguments)?;
        let ty = returns(function.name, &arguments).unwrap_or_else(|| function.returns.clone());
        Ok(fold::node(Kind::Call { function, arguments }, ty, span, function.effects))
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

    /// What the signatures of the polymorphic built-in functions cannot say about their first argument.
    fn first_argument(&self, name: &str, arguments: &[Node]) -> Result<(), SyntaxError> {
        let Some(first) = arguments.first() else { return Ok(()) };
        let (list, map, number, text) = (
            matches!(first.ty, Type::List(_) | Type::Bytes),
            matches!(first.ty, Type::Map(_)),
            first.ty.may_be_number(),
            first.ty == Type::String,
        );
        let (fits, wanted) = match name {
            "len" => (list || map || text, "a text, a list or a map"),
            "first" | "last" | "take" | "reverse" | "uniq" | "concat" | "flatten" | "sort" | "join"
            | "fromPairs" => (list, "a list"),
            "keys" | "values" | "toPairs" => (map, "a map"),
            "abs" | "ceil" | "floor" | "round" => (number, "a number"),
            "min" | "max" | "mean" | "median" => (number || list, "a number or a list"),
            "int" | "float" => (number || text, "a number or a text"),
            _ => return Ok(()),
        };
        if fits || first.ty == Type::Any {
            return Ok(());
        }
        let found = self.describe(&first.ty);
        Err(SyntaxError::new(format!("`{name}` takes {wanted}, this is {found}"), first.span))
    }
}

/// The result of polymorphic built-in functions whose arguments tell it.
fn returns(name: &str, arguments: &[Node]) -> Option<Type> {
    let first = &arguments.first()?.ty;
    match (name, first) {
        ("first" | "last", Type::List(item)) => Some((**item).clone()),
        ("take" | "reverse" | "uniq" | "sort", Type::List(_)) => Some(first.clone()),
        ("values", Type::Map(item)) => Some(Type::List(item.clone())),
        ("keys", Type::Map(_)) => Some(Type::List(Box::new(Type::String))),
        ("get", Type::List(item) | Type::Map(item)) => Some((**item).clone()),
        ("abs", Type::Int | Type::Float) => Some(first.clone()),
        _ => None,
    }
}
