//! Members, elements, slices and methods.

use std::{
    iter,
    sync::{Arc, LazyLock},
};

use crate::{
    ast::{Expr, ExprKind},
    check::{Checked, Checker, calls::Signature, constant, fold, pure, schema_text, types},
    core::{Kind, Node},
    error::{Span, SyntaxError},
    schema::{Effects, Method, Schema, Type},
    value::Value,
};

/// The methods of values that are no records.
const METHODS: &str = "
record time
  Year() int
  Month() int
  Day() int
  Hour() int
  Minute() int
  Second() int
  Nanosecond() int
  YearDay() int
  Weekday() int
  Unix() int
  UnixMilli() int
  UnixMicro() int
  UnixNano() int
  Format(string) string
  String() string
  UTC() time
  Local() time
  In(string) time
  Location() string
  Add(duration) time
  AddDate(int, int, int) time
  Sub(time) duration
  Before(time) bool
  After(time) bool
  Equal(time) bool
  Compare(time) int
  IsZero() bool
  Round(duration) time
  Truncate(duration) time
record duration
  Hours() float
  Minutes() float
  Seconds() float
  Milliseconds() int
  Microseconds() int
  Nanoseconds() int
  String() string
  Abs() duration
  Round(duration) duration
  Truncate(duration) duration
record calendar
  String() string
";

static VALUE_METHODS: LazyLock<Schema> = LazyLock::new(|| {
    let parsed = schema_text::parse_schema(METHODS);
    debug_assert!(parsed.is_ok(), "{parsed:?}");
    parsed.unwrap_or_default()
});

fn methods_of(record: &str) -> &'static [Method] {
    VALUE_METHODS.records.iter().find(|r| r.name == record).map_or(&[], |r| &r.methods)
}

/// Whether the value is a day of the week or a month: integers that know their names.
fn is_calendar(node: &Node) -> bool {
    match &node.kind {
        Kind::Method { of, name, .. } => of.ty == Type::Time && matches!(&**name, "Weekday" | "Month"),
        _ => false,
    }
}

/// The place of a name that ends where `span` ends.
fn name_at_end(span: Span, name: &str) -> Span {
    Span { start: span.end.saturating_sub(name.len() as u32).max(span.start), end: span.end }
}

fn element(of: Node, key: Node, optional: bool, ty: Type, span: Span) -> Node {
    pure(Kind::Index { of: Box::new(of), key: Box::new(key), optional }, ty, span)
}

impl Checker<'_> {
    pub(super) fn member(&mut self, of: &Expr, name: &Arc<str>, optional: bool, span: Span) -> Checked {
        let of = self.expr(of)?;
        self.member_of(of, name, optional, span, name_at_end(span, name))
    }

    /// `of.name`, the name standing at `at`.
    fn member_of(&self, of: Node, name: &Arc<str>, optional: bool, span: Span, at: Span) -> Checked {
        if matches!(of.kind, Kind::Env) {
            return self.variable_of_env(of, name, optional, span, at);
        }
        let key = || constant(Value::Str(name.clone()), Type::String, at);
        match &of.ty {
            Type::Any => Ok(element(of, key(), optional, Type::Any, span)),
            Type::Map(value) => {
                let ty = (**value).clone();
                Ok(element(of, key(), optional, ty, span))
            }
            Type::Record { index, .. } => {
                let Some(record) = self.schema.records.get(usize::from(*index)) else {
                    return Err(SyntaxError::new("the schema has no such record", at));
                };
                if let Some(field) = record.fields.iter().find(|f| *f.name == **name) {
                    let kind = Kind::Field { of: Box::new(of), name: name.clone(), optional };
                    return Ok(pure(kind, field.ty.clone(), span));
                }
                let error = SyntaxError::new(format!("{} has no field `{name}`", record.name), at);
                if record.methods.iter().any(|m| *m.name == **name) {
                    return Err(error.hint(format!("it is a method: call it with {name}(…)")));
                }
                let fields = record.fields.iter().map(|f| &*f.name);
                let methods = record.methods.iter().map(|m| &*m.name);
                Err(match types::closest(name, fields.clone().chain(methods)) {
                    Some(close) => error.hint(format!("did you mean `{close}`?")),
                    None => error.hint(format!("its fields: {}", fields.collect::<Vec<_>>().join(", "))),
                })
            }
            other => {
                let error = SyntaxError::new(format!("{} has no field `{name}`", self.describe(other)), at);
                Err(match other {
                    Type::List(_) => error.hint("take an element first: list[0], or any(list, { … })"),
                    Type::Time | Type::Duration => error.hint("it has methods: call them with (…)"),
                    _ => error,
                })
            }
        }
    }

    /// `$env.name`, `$env["name"]`.
    fn variable_of_env(&self, env: Node, name: &Arc<str>, optional: bool, span: Span, at: Span) -> Checked {
        match self.schema.variable(name) {
            Some((index, ty)) => Ok(pure(Kind::Variable(index), ty.clone(), span)),
            None if optional => {
                let key = constant(Value::Str(name.clone()), Type::String, at);
                Ok(element(env, key, true, Type::Any, span))
            }
            None => Err(self.unknown_name(name, at)),
        }
    }

    pub(super) fn index(&mut self, of: &Expr, key: &Expr, optional: bool, span: Span) -> Checked {
        let of = self.expr(of)?;
        let key = self.expr(key)?;
        if let Kind::Const(Value::Str(name)) = &key.kind
            && (matches!(of.ty, Type::Record { .. }) || matches!(of.kind, Kind::Env))
        {
            return self.member_of(of, &name.clone(), optional, span, key.span);
        }
        let (ty, fits, wanted) = match &of.ty {
            Type::Any => (Type::Any, true, ""),
            Type::List(item) => ((**item).clone(), key.ty == Type::Int, "an int"),
            Type::Bytes => (Type::Int, key.ty == Type::Int, "an int"),
            Type::Map(item) => ((**item).clone(), types::is_key(&key.ty, item), "a string"),
            other => {
                let error = SyntaxError::new(format!("{} has no elements", self.describe(other)), span);
                return Err(match other {
                    Type::String => error.hint("a part of a text is taken with x[0:1]"),
                    _ => error,
                });
            }
        };
        if !fits && key.ty != Type::Any {
            let (of, found) = (self.describe(&of.ty), self.describe(&key.ty));
            let message = format!("an element of {of} is chosen by {wanted}, not by {found}");
            return Err(SyntaxError::new(message, key.span));
        }
        Ok(element(of, key, optional, ty, span))
    }

    pub(super) fn slice(&mut self, of: &Expr, from: Option<&Expr>, to: Option<&Expr>, span: Span) -> Checked {
        let of = self.expr(of)?;
        if !matches!(of.ty, Type::Any | Type::String | Type::List(_) | Type::Bytes) {
            let message = format!("[:] takes a list or a text, this is {}", self.describe(&of.ty));
            return Err(SyntaxError::new(message, of.span));
        }
        let untyped = of.ty == Type::Any;
        let mut bound = |bound: Option<&Expr>| -> Result<Option<Box<Node>>, SyntaxError> {
            let Some(bound) = bound else { return Ok(None) };
            let bound = self.expr(bound)?;
            if !untyped && !matches!(bound.ty, Type::Int | Type::Any) {
                let message = format!("the ends of [:] are ints, this is {}", self.describe(&bound.ty));
                return Err(SyntaxError::new(message, bound.span));
            }
            Ok(Some(Box::new(bound)))
        };
        let (from, to) = (bound(from)?, bound(to)?);
        let ty = of.ty.clone();
        Ok(pure(Kind::Slice { of: Box::new(of), from, to }, ty, span))
    }

    /// A method call: `function` is the [`ExprKind::Member`] that names it.
    pub(super) fn method(&mut self, function: &Expr, arguments: &[Expr], span: Span) -> Checked {
        let ExprKind::Member { of, name, optional } = &function.kind else {
            return Err(SyntaxError::new("only a method can be called here", span));
        };
        let optional = *optional;
        let of = self.expr(of)?;
        let at = name_at_end(function.span, name);
        let known: &[Method] = match &of.ty {
            Type::Any => return self.untyped_method(of, name, optional, arguments, span),
            Type::Record { index, .. } => match self.schema.records.get(usize::from(*index)) {
                Some(record) => &record.methods,
                None => &[],
            },
            Type::Time => methods_of("time"),
            Type::Duration => methods_of("duration"),
            Type::Int if is_calendar(&of) => methods_of("calendar"),
            _ => &[],
        };
        let Some(method) = known.iter().find(|m| *m.name == **name) else {
            let error = SyntaxError::new(format!("{} has no method `{name}`", self.describe(&of.ty)), at);
            if let Type::Record { index, .. } = &of.ty
                && self.schema.records[usize::from(*index)].fields.iter().any(|f| *f.name == **name)
            {
                return Err(error.hint("it is a field: write it without parentheses"));
            }
            if let Some(close) = types::closest(name, known.iter().map(|m| &*m.name)) {
                return Err(error.hint(format!("did you mean `{close}`?")));
            }
            if self.is_function(name) {
                return Err(error.hint(format!("`{name}` is a function: write {name}(x)")));
            }
            return Err(error);
        };
        let signature = Signature {
            name: &method.name,
            parameters: &method.parameters,
            required: method.parameters.len(),
            variadic: None,
        };
        let arguments = self.arguments(&signature, arguments, span)?;
        let kind = Kind::Method { of: Box::new(of), name: name.clone(), arguments, optional };
        Ok(fold::node(kind, method.returns.clone(), span, method.effects))
    }

    /// A method of a value whose type is known at run time only. It has the effects of every
    /// method of that name, because it may be any of them.
    fn untyped_method(
        &mut self,
        of: Node,
        name: &Arc<str>,
        optional: bool,
        arguments: &[Expr],
        span: Span,
    ) -> Checked {
        let arguments = self.exprs(arguments)?;
        let effects = iter::once(&*VALUE_METHODS)
            .chain(iter::once(self.schema))
            .flat_map(|schema| &schema.records)
            .flat_map(|record| &record.methods)
            .filter(|method| *method.name == **name)
            .fold(Effects::PURE, |effects, method| effects.and(method.effects));
        let kind = Kind::Method { of: Box::new(of), name: name.clone(), arguments, optional };
        Ok(fold::node(kind, Type::Any, span, effects))
    }
}
