//! Operators: which types they take, what they give, and the special forms of `in`, `matches` and logic.

use std::sync::Arc;

use crate::{
    ast::{self, Expr, ExprKind, Unary},
    check::{Checked, Checker, constant, pure, types},
    core::{Binary, Kind, Node},
    error::{Span, SyntaxError},
    schema::Type,
    value::Value,
};

/// The operator as it is written.
fn symbol(operator: ast::Binary) -> &'static str {
    match operator {
        ast::Binary::Eq => "==",
        ast::Binary::Ne => "!=",
        ast::Binary::Lt => "<",
        ast::Binary::Le => "<=",
        ast::Binary::Gt => ">",
        ast::Binary::Ge => ">=",
        ast::Binary::In => "in",
        ast::Binary::Matches => "matches",
        ast::Binary::Contains => "contains",
        ast::Binary::StartsWith => "startsWith",
        ast::Binary::EndsWith => "endsWith",
        ast::Binary::Range => "..",
        ast::Binary::Add => "+",
        ast::Binary::Sub => "-",
        ast::Binary::Mul => "*",
        ast::Binary::Div => "/",
        ast::Binary::Rem => "%",
        ast::Binary::Pow => "**",
        ast::Binary::Coalesce => "??",
    }
}

/// The type of `left operator right`; `None` where that can never succeed. Not for `in`.
fn result(operator: ast::Binary, left: &Type, right: &Type) -> Option<Type> {
    use Type::{Any, Bool, Bytes, Duration, Float, Int, String, Time};
    use ast::Binary as Op;
    Some(match (operator, left, right) {
        (Op::Eq | Op::Ne, _, _) if types::comparable(left, right) => Bool,
        (Op::Lt | Op::Le | Op::Gt | Op::Ge, _, _) if orderable(left, right) => Bool,
        (Op::Contains | Op::StartsWith | Op::EndsWith, String | Any, String | Any) => Bool,
        (Op::Matches, String | Bytes | Any, String | Any) => Bool,
        (Op::Range, Int | Any, Int | Any) => Type::List(Box::new(Int)),

        (Op::Add | Op::Sub | Op::Mul, Int, Int) => Int,
        (Op::Add | Op::Sub | Op::Mul, Int | Float, Int | Float) => Float,
        (Op::Add, String, String) => String,
        (Op::Add | Op::Sub, Time, Duration) | (Op::Add, Duration, Time) => Time,
        (Op::Sub, Time, Time) => Duration,
        (Op::Add | Op::Sub | Op::Mul, Duration, Duration) => Duration,
        (Op::Mul, Duration, Int | Float) | (Op::Mul, Int | Float, Duration) => Duration,
        (_, Any, other) | (_, other, Any) if may_calculate(operator, other) => Any,
        (Op::Div | Op::Pow, Int | Float | Any, Int | Float | Any) => Float,
        (Op::Rem, Int | Any, Int | Any) => Int,

        (Op::Coalesce, _, _) => types::either(left, right),
        _ => return None,
    })
}

/// Whether `<` and its kin may ever succeed.
fn orderable(left: &Type, right: &Type) -> bool {
    use Type::{Any, Duration, Float, Int, String, Time};
    matches!(
        (left, right),
        (Int | Float | Any, Int | Float | Any)
            | (String | Any, String | Any)
            | (Time | Any, Time | Any)
            | (Duration | Any, Duration | Any)
    )
}

/// Whether `+`, `-` or `*` between an untyped value and one of this type may succeed.
fn may_calculate(operator: ast::Binary, ty: &Type) -> bool {
    use Type::{Any, Duration, Float, Int, String, Time};
    match operator {
        ast::Binary::Add => matches!(ty, Any | Int | Float | Duration | Time | String),
        ast::Binary::Sub => matches!(ty, Any | Int | Float | Duration | Time),
        ast::Binary::Mul => matches!(ty, Any | Int | Float | Duration),
        _ => false,
    }
}

/// The checked operator of those that map one to one.
fn plain(operator: ast::Binary) -> Option<Binary> {
    Some(match operator {
        ast::Binary::Eq => Binary::Eq,
        ast::Binary::Ne => Binary::Ne,
        ast::Binary::Lt => Binary::Lt,
        ast::Binary::Le => Binary::Le,
        ast::Binary::Gt => Binary::Gt,
        ast::Binary::Ge => Binary::Ge,
        ast::Binary::In => Binary::In,
        ast::Binary::Matches => Binary::Matches,
        ast::Binary::Contains => Binary::Contains,
        ast::Binary::StartsWith => Binary::StartsWith,
        ast::Binary::EndsWith => Binary::EndsWith,
        ast::Binary::Range => Binary::Range,
        ast::Binary::Add => Binary::Add,
        ast::Binary::Sub => Binary::Sub,
        ast::Binary::Mul => Binary::Mul,
        ast::Binary::Div => Binary::Div,
        ast::Binary::Rem => Binary::Rem,
        ast::Binary::Pow => Binary::Pow,
        ast::Binary::Coalesce => return None,
    })
}

impl Checker<'_> {
    pub(super) fn unary(&mut self, operator: Unary, operand: &Expr, span: Span) -> Checked {
        let operand = self.expr(operand)?;
        if operator == Unary::Not {
            self.must_be_bool(&operand, "what stands after `not`").map_err(|error| {
                error
                    .hint("`not` binds tighter than a comparison: for the opposite of one write not (a == b)")
            })?;
            return Ok(pure(Kind::Not(Box::new(operand)), Type::Bool, span));
        }
        let minus = operator == Unary::Negate;
        let ty = match operand.ty {
            Type::Int | Type::Float | Type::Any => operand.ty.clone(),
            _ => {
                let (sign, found) = (if minus { "-" } else { "+" }, self.describe(&operand.ty));
                let message = format!("`{sign}` before a value takes a number, this is {found}");
                return Err(SyntaxError::new(message, operand.span));
            }
        };
        Ok(pure(Kind::Negate(minus, Box::new(operand)), ty, span))
    }

    pub(super) fn binary(&mut self, operator: ast::Binary, left: &Expr, right: &Expr, span: Span) -> Checked {
        let literals = operator == ast::Binary::In && only_texts(right);
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        if operator == ast::Binary::In {
            return self.membership(left, right, literals, span);
        }
        self.operation(operator, left, right, span)
    }

    /// A binary operator, but not `in`, on checked operands.
    fn operation(&self, operator: ast::Binary, left: Node, right: Node, span: Span) -> Checked {
        let Some(ty) = result(operator, &left.ty, &right.ty) else {
            return Err(self.mismatch(operator, &left, &right, span));
        };
        if operator == ast::Binary::Matches
            && let Kind::Const(Value::Str(pattern)) = &right.kind
        {
            let regex = testudo_pattern::compile(pattern).map_err(|error| {
                let wrong =
                    SyntaxError::new(format!("this is not a regular expression: {error}"), right.span);
                match error.hint() {
                    Some(hint) => wrong.hint(hint),
                    None => wrong,
                }
            })?;
            return Ok(pure(Kind::Matches(Box::new(left), regex), ty, span));
        }
        if operator == ast::Binary::Rem && matches!(right.kind, Kind::Const(Value::Int(0))) {
            return Err(SyntaxError::new("this divides by zero", right.span));
        }
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = match plain(operator) {
            Some(operator) => Kind::Binary(operator, left, right),
            None => Kind::Coalesce(left, right),
        };
        Ok(pure(kind, ty, span))
    }

    fn mismatch(&self, operator: ast::Binary, left: &Node, right: &Node, span: Span) -> SyntaxError {
        use ast::Binary::{Add, Contains, EndsWith, Eq, Ge, Gt, Le, Lt, Ne, StartsWith};
        let (l, r) = (self.describe(&left.ty), self.describe(&right.ty));
        let symbol = symbol(operator);
        let message = match operator {
            Eq | Ne => format!("{l} and {r} are never equal"),
            _ => format!("`{symbol}` does not take {l} and {r}"),
        };
        let error = SyntaxError::new(message, span);
        let number = |ty: &Type| matches!(ty, Type::Int | Type::Float);
        match (operator, &left.ty, &right.ty) {
            (Eq | Ne | Lt | Le | Gt | Ge, Type::String, ty)
            | (Eq | Ne | Lt | Le | Gt | Ge, ty, Type::String)
                if number(ty) =>
            {
                error.hint("quote the number, or make one of the text with int(x)")
            }
            (Add, Type::String, ty) | (Add, ty, Type::String) if number(ty) => {
                error.hint("string(x) makes text of a number")
            }
            (Contains, Type::List(_), _) => error.hint("a list is searched with: 'value' in list"),
            (Contains | StartsWith | EndsWith, Type::Map(_), _) => {
                error.hint("a key of a map is found with: 'key' in map")
            }
            (Eq | Ne, Type::List(_), Type::String) => error.hint("write 'value' in list"),
            (Eq | Ne, Type::String, Type::List(_)) => {
                error.hint("write `in` instead of ==, `not in` instead of !=")
            }
            _ => error,
        }
    }

    /// `left in right`; `literals`: the right side is a list of text literals.
    fn membership(&self, left: Node, right: Node, literals: bool, span: Span) -> Checked {
        let wrong = |what: String, hint: &str| {
            let error = SyntaxError::new(what, span);
            Err(if hint.is_empty() { error } else { error.hint(hint) })
        };
        let found = self.describe(&left.ty);
        match &right.ty {
            Type::Any => {}
            Type::List(of) if types::comparable(&left.ty, of) => {}
            Type::List(of) => {
                let (element, list) = (self.describe(of), self.describe(&right.ty));
                return wrong(format!("{found} is never in {list}: its elements are {element} each"), "");
            }
            Type::Bytes if matches!(left.ty, Type::Any | Type::Int) => {}
            Type::Map(item) if types::is_key(&left.ty, item) => {}
            Type::Map(_) => return wrong(format!("the keys of a map are texts, this is {found}"), ""),
            Type::Record { index, .. } if matches!(left.ty, Type::Any | Type::String) => {
                // The names of fields are known now; a computed name is a matter of run time.
                if let (Kind::Const(Value::Str(name)), Some(record)) =
                    (&left.kind, self.schema.records.get(usize::from(*index)))
                {
                    let known = record.fields.iter().any(|f| *f.name == **name);
                    return Ok(constant(Value::Bool(known), Type::Bool, span));
                }
            }
            Type::String => {
                return wrong(
                    "`in` does not look into a text".to_owned(),
                    "turn it round: text contains 'part'",
                );
            }
            other => {
                let container = self.describe(other);
                return wrong(
                    format!("`in` takes a list or a map on its right side, this is {container}"),
                    "",
                );
            }
        }
        // A literal list of texts is a set that takes nothing but text; any other list is walked
        // and compared, which for text is the same.
        if (literals || left.ty == Type::String)
            && let Kind::Const(Value::List(items)) = &right.kind
            && !items.is_empty()
            && let Some(texts) = texts(items)
        {
            return Ok(pure(Kind::InStrings(Box::new(left), Arc::new(texts)), Type::Bool, span));
        }
        Ok(pure(Kind::Binary(Binary::In, Box::new(left), Box::new(right)), Type::Bool, span))
    }

    /// `a < b < c` as `a < b && b < c`.
    pub(super) fn compare(&mut self, first: &Expr, rest: &[(ast::Binary, Expr)], span: Span) -> Checked {
        let mut left_ast = first;
        let mut parts = Vec::with_capacity(rest.len());
        for (operator, right_ast) in rest {
            let left = self.expr(left_ast)?;
            let right = self.expr(right_ast)?;
            let part_span = left.span.to(right.span);
            parts.push(self.operation(*operator, left, right, part_span)?);
            left_ast = right_ast;
        }
        Ok(conjunction(parts, true, span))
    }

    /// `&&` where `all`, else `||`.
    pub(super) fn logic(&mut self, operands: &[Expr], all: bool, span: Span) -> Checked {
        let operands = self.exprs(operands)?;
        let what = if all { "an operand of `&&`" } else { "an operand of `||`" };
        for operand in &operands {
            self.must_be_bool(operand, what)?;
        }
        Ok(conjunction(operands, all, span))
    }
}

/// Whether it is a list of nothing but text literals.
fn only_texts(ast: &Expr) -> bool {
    match &ast.kind {
        ExprKind::List(items) => items.iter().all(|item| matches!(item.kind, ExprKind::Str(_))),
        _ => false,
    }
}

fn texts(items: &[Value]) -> Option<Vec<Arc<str>>> {
    items
        .iter()
        .map(|item| match item {
            Value::Str(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

/// The operands joined by `&&` (`all`) or `||`, nested ones of the same operator made one, without
/// the operands that decide nothing and those that are never reached.
fn conjunction(operands: Vec<Node>, all: bool, span: Span) -> Node {
    let mut flat = Vec::with_capacity(operands.len());
    for operand in operands {
        match operand.kind {
            Kind::And(inner) if all => flat.extend(inner),
            Kind::Or(inner) if !all => flat.extend(inner),
            kind => flat.push(Node { kind, ..operand }),
        }
    }
    flat.retain(|node| !matches!(node.kind, Kind::Const(Value::Bool(b)) if b == all));
    if let Some(at) = flat.iter().position(|node| matches!(node.kind, Kind::Const(Value::Bool(_)))) {
        flat.truncate(at + 1);
    }
    match &flat[..] {
        [] => constant(Value::Bool(all), Type::Bool, span),
        // An untyped operand must still be asked whether it is a boolean: there the node stays.
        [only] if only.ty == Type::Bool => flat.swap_remove(0),
        _ if all => pure(Kind::And(flat), Type::Bool, span),
        _ => pure(Kind::Or(flat), Type::Bool, span),
    }
}
