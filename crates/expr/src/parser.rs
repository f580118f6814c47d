//! Tokens to syntax tree: a precedence climber that knows no types and of names only the few whose
//! arguments are predicates.
//!
//! Precedence, loose to tight: `|` · `||` · `&&` · comparisons, `in`, `matches`, `contains` … · `..` ·
//! `+ -` · prefix `not` · `* / %` · prefix `-` · `**` · `??`. Ternary, `let` and `if` stand outside of all.

use crate::{
    ast::{Binary, Expr, ExprKind, Unary},
    error::{Span, SyntaxError},
    lexer::{self, KEYWORDS, Token, TokenKind},
};

mod values;

/// How many nodes deep a tree may be, so that walking one recursively never exhausts a stack.
pub const MAX_DEPTH: u32 = 250;

/// How many nodes an expression may have, as in the reference implementation.
pub const MAX_NODES: u32 = 10_000;

/// Reads an expression.
///
/// # Errors
/// What is not an expression, with its place and, where it is a known mistake, what to write instead;
/// also an expression of more than [`MAX_NODES`] nodes or deeper than [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Expr, SyntaxError> {
    let mut parser = Parser { text, tokens: lexer::tokens(text), at: 0, nodes: 0, depth: 0, predicates: 0 };
    let tree = parser.sequence()?;
    let token = parser.current();
    if token.kind == TokenKind::End {
        return Ok(tree.expr);
    }
    let error = parser.unexpected("an operator or the end");
    if token.is(")") || token.is("]") || token.is("}") {
        return Err(error.hint("it closes nothing that is open: check the brackets before it"));
    }
    Err(error)
}

/// Binding strength of prefix `not` and `!`.
const NOT_LEVEL: u16 = 50;
/// Binding strength of prefix `-` and `+`.
const SIGN_LEVEL: u16 = 90;

/// An infix operator.
#[derive(Clone, Copy)]
enum Infix {
    Pipe,
    Or,
    And,
    Binary(Binary),
}

/// Binding strength and meaning of an infix operator.
fn infix(token: &Token) -> Option<(u16, Infix)> {
    let TokenKind::Op(op) = token.kind else { return None };
    Some(match op {
        "|" => (0, Infix::Pipe),
        "||" | "or" => (10, Infix::Or),
        "&&" | "and" => (15, Infix::And),
        "==" => (20, Infix::Binary(Binary::Eq)),
        "!=" => (20, Infix::Binary(Binary::Ne)),
        "<" => (20, Infix::Binary(Binary::Lt)),
        "<=" => (20, Infix::Binary(Binary::Le)),
        ">" => (20, Infix::Binary(Binary::Gt)),
        ">=" => (20, Infix::Binary(Binary::Ge)),
        "in" => (20, Infix::Binary(Binary::In)),
        "matches" => (20, Infix::Binary(Binary::Matches)),
        "contains" => (20, Infix::Binary(Binary::Contains)),
        "startsWith" => (20, Infix::Binary(Binary::StartsWith)),
        "endsWith" => (20, Infix::Binary(Binary::EndsWith)),
        ".." => (25, Infix::Binary(Binary::Range)),
        "+" => (30, Infix::Binary(Binary::Add)),
        "-" => (30, Infix::Binary(Binary::Sub)),
        "*" => (60, Infix::Binary(Binary::Mul)),
        "/" => (60, Infix::Binary(Binary::Div)),
        "%" => (60, Infix::Binary(Binary::Rem)),
        "**" | "^" => (100, Infix::Binary(Binary::Pow)),
        "??" => (500, Infix::Binary(Binary::Coalesce)),
        _ => return None,
    })
}

/// Whether `not` may stand before this infix operator.
fn may_be_negated(operator: Infix) -> bool {
    use Binary::{Contains, EndsWith, In, Matches, StartsWith};
    matches!(operator, Infix::Binary(In | Matches | Contains | StartsWith | EndsWith))
}

/// Whether comparisons with this operator may be chained.
fn may_be_chained(operator: Binary) -> bool {
    matches!(operator, Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge)
}

/// An expression and how deep it is.
struct Tree {
    expr: Expr,
    height: u32,
}

type Parsed = Result<Tree, SyntaxError>;

struct Parser<'t> {
    text: &'t str,
    /// Never empty; the last one is the end.
    tokens: Vec<Token>,
    at: usize,
    nodes: u32,
    /// Calls of [`Parser::expression`] that are under way.
    depth: u32,
    /// Predicates around the current token.
    predicates: u32,
}

impl Parser<'_> {
    // ---- tokens

    fn current(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.current().clone();
        self.at += 1;
        token
    }

    fn accept(&mut self, op: &str) -> bool {
        let found = self.current().is(op);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, op: &'static str) -> Result<Span, SyntaxError> {
        if self.current().is(op) { Ok(self.advance().span) } else { Err(self.unexpected(&format!("`{op}`"))) }
    }

    /// Expects the bracket that closes the one at `open`.
    fn close(&mut self, bracket: &'static str, open: Span) -> Result<Span, SyntaxError> {
        if self.current().is(bracket) {
            return Ok(self.advance().span);
        }
        if self.current().kind == TokenKind::End {
            let opened = &self.text[open.range()];
            return Err(SyntaxError::new(format!("this `{opened}` is never closed"), open)
                .hint(format!("write `{bracket}` where it ends")));
        }
        Err(self.unexpected(&format!("`{bracket}`")))
    }

    fn source(&self, span: Span) -> &str {
        &self.text[span.range()]
    }

    /// The error of a token that cannot stand where it stands.
    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let token = self.current();
        match &token.kind {
            TokenKind::Bad(error) => return (**error).clone(),
            TokenKind::End => {
                return SyntaxError::new(
                    format!("the expression ends where {wanted} should stand"),
                    token.span,
                );
            }
            _ => {}
        }
        let found = self.source(token.span);
        let shown = match found.char_indices().nth(30) {
            Some((end, _)) => format!("{}…", &found[..end]),
            None => found.to_owned(),
        };
        let error = SyntaxError::new(format!("expected {wanted}, found `{shown}`"), token.span);
        match self.advice(token, found) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// What to do about a misplaced token, where it is a known mistake.
    fn advice(&self, token: &Token, found: &str) -> Option<String> {
        let before = self.at.checked_sub(1).map(|at| &self.tokens[at]);
        if token.is("=") {
            return Some("to compare write ==; to name a value write: let name = value; …".to_owned());
        }
        if token.is(">") && before.is_some_and(|t| t.is("<")) {
            return Some("to compare write !=".to_owned());
        }
        if token.is(":") {
            return Some("a `:` belongs to `cond ? a : b`, to a slice or to a map".to_owned());
        }
        if let TokenKind::Str(_) = token.kind
            && matches!(before.map(|t| &t.kind), Some(TokenKind::Str(_)))
        {
            return Some("a quote inside a text is written with a backslash before it".to_owned());
        }
        if token.kind == TokenKind::Name {
            let word = found.to_lowercase().replace('_', "");
            let keyword = KEYWORDS.iter().find(|k| k.to_lowercase() == word)?;
            return Some(format!("write `{keyword}`"));
        }
        None
    }

    // ---- nodes

    fn too_deep(span: Span) -> SyntaxError {
        SyntaxError::new(format!("this is nested more than {MAX_DEPTH} levels deep"), span)
            .hint("split it with `let`, or into several rules")
    }

    fn count(&mut self, span: Span) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(SyntaxError::new(format!("the expression has more than {MAX_NODES} parts"), span)
            .hint("split it into several rules, or put the texts in a data file"))
    }

    /// A node above parts of which the highest has `height`.
    fn node(&mut self, kind: ExprKind, span: Span, height: u32) -> Parsed {
        self.count(span)?;
        if height >= MAX_DEPTH {
            return Err(Self::too_deep(span));
        }
        Ok(Tree { expr: Expr { kind, span }, height: height + 1 })
    }

    fn leaf(&mut self, kind: ExprKind, span: Span) -> Parsed {
        self.node(kind, span, 0)
    }

    // ---- expressions

    /// `a; b; c`, or one expression.
    fn sequence(&mut self) -> Parsed {
        let first = self.expression(0)?;
        let (mut span, mut height) = (first.expr.span, first.height);
        let mut parts = vec![first.expr];
        while self.accept(";") {
            let last = self.current();
            if last.kind == TokenKind::End || last.is(")") || last.is("}") {
                break;
            }
            let next = self.expression(0)?;
            span = span.to(next.expr.span);
            height = height.max(next.height);
            parts.push(next.expr);
        }
        match parts.len() {
            1 => Ok(Tree { expr: parts.swap_remove(0), height }),
            _ => self.node(ExprKind::Sequence(parts), span, height),
        }
    }

    /// An expression whose operators bind at least as tightly as `level`.
    fn expression(&mut self, level: u16) -> Parsed {
        if self.depth >= MAX_DEPTH {
            return Err(Self::too_deep(self.current().span));
        }
        self.depth += 1;
        let tree = if level > 0 {
            self.operators(level)
        } else if self.current().is("let") {
            self.declaration()
        } else if self.current().is("if") {
            self.conditional_block()
        } else {
            self.operators(0).and_then(|test| self.conditional(test))
        };
        self.depth -= 1;
        tree
    }

    fn declaration(&mut self) -> Parsed {
        let start = self.advance().span;
        let name = self.name("a name")?;
        self.expect("=")?;
        let value = self.expression(0)?;
        self.expect(";")?;
        let body = self.sequence()?;
        let (span, height) = (start.to(body.expr.span), value.height.max(body.height));
        let kind = ExprKind::Let { name, value: Box::new(value.expr), body: Box::new(body.expr) };
        self.node(kind, span, height)
    }

    /// `if test { yes } else { no }`, `else if` included.
    fn conditional_block(&mut self) -> Parsed {
        let start = self.advance().span;
        let test = self.expression(0)?;
        let yes = self.block()?.0;
        if !self.current().is("else") {
            return Err(self.unexpected("`else`").hint("an `if` has a value, so it needs an `else { … }`"));
        }
        self.advance();
        let (no, end) = if self.current().is("if") {
            let no = self.expression(0)?;
            let end = no.expr.span;
            (no, end)
        } else {
            self.block()?
        };
        let height = test.height.max(yes.height).max(no.height);
        let kind = ExprKind::Cond {
            test: Box::new(test.expr),
            yes: Some(Box::new(yes.expr)),
            no: Box::new(no.expr),
        };
        self.node(kind, start.to(end), height)
    }

    fn block(&mut self) -> Result<(Tree, Span), SyntaxError> {
        let open = self.expect("{")?;
        let body = self.sequence()?;
        let close = self.close("}", open)?;
        Ok((body, close))
    }

    /// What follows a question: `? yes : no`, `?: no`, or nothing.
    fn conditional(&mut self, test: Tree) -> Parsed {
        if !self.accept("?") {
            return Ok(test);
        }
        let yes = if self.accept(":") {
            None
        } else {
            let yes = self.expression(0)?;
            self.expect(":")?;
            Some(yes)
        };
        let no = self.expression(0)?;
        let height = test.height.max(no.height).max(yes.as_ref().map_or(0, |y| y.height));
        let span = test.expr.span.to(no.expr.span);
        let kind = ExprKind::Cond {
            test: Box::new(test.expr),
            yes: yes.map(|y| Box::new(y.expr)),
            no: Box::new(no.expr),
        };
        self.node(kind, span, height)
    }

    /// Operands and infix operators, left to right.
    fn operators(&mut self, level: u16) -> Parsed {
        let mut left = self.operand()?;
        let mut after_coalesce = false;
        loop {
            let negated = self.current().is("not");
            let token = self.tokens.get(self.at + usize::from(negated));
            let Some((strength, operator)) = token.and_then(infix) else { return Ok(left) };
            if strength < level || (negated && !may_be_negated(operator)) {
                return Ok(left);
            }
            if after_coalesce && !matches!(operator, Infix::Pipe | Infix::Binary(Binary::Coalesce)) {
                let found = self.source(self.current().span);
                let message = format!("`??` and `{found}` stand side by side");
                return Err(
                    SyntaxError::new(message, self.current().span).hint("put the `a ?? b` in parentheses")
                );
            }
            after_coalesce = matches!(operator, Infix::Binary(Binary::Coalesce));
            self.at += 1 + usize::from(negated);
            left = match operator {
                Infix::Pipe => self.pipe(left)?,
                Infix::Or | Infix::And => self.logic(operator, left, strength)?,
                Infix::Binary(op) if may_be_chained(op) => self.comparison(op, left, strength)?,
                Infix::Binary(op) => {
                    // Only the power is right associative.
                    let right = self.expression(strength + u16::from(op != Binary::Pow))?;
                    let tree = self.binary(op, left, right)?;
                    if negated {
                        let (span, height) = (tree.expr.span, tree.height);
                        self.node(ExprKind::Unary(Unary::Not, Box::new(tree.expr)), span, height)?
                    } else {
                        tree
                    }
                }
            };
        }
    }

    fn binary(&mut self, operator: Binary, left: Tree, right: Tree) -> Parsed {
        let (span, height) = (left.expr.span.to(right.expr.span), left.height.max(right.height));
        self.node(ExprKind::Binary(operator, Box::new(left.expr), Box::new(right.expr)), span, height)
    }

    /// Adds one operand to `left`, which may already be a node of this operator.
    fn logic(&mut self, operator: Infix, left: Tree, strength: u16) -> Parsed {
        let right = self.expression(strength + 1)?;
        let span = left.expr.span.to(right.expr.span);
        let mut height = left.height.max(right.height + 1);
        let kind = match (operator, left.expr.kind) {
            (Infix::And, ExprKind::And(mut operands)) => {
                operands.push(right.expr);
                ExprKind::And(operands)
            }
            (Infix::Or, ExprKind::Or(mut operands)) => {
                operands.push(right.expr);
                ExprKind::Or(operands)
            }
            (_, kind) => {
                height = left.height.max(right.height) + 1;
                let operands = vec![Expr { kind, span: left.expr.span }, right.expr];
                if matches!(operator, Infix::And) { ExprKind::And(operands) } else { ExprKind::Or(operands) }
            }
        };
        // An operand more is a part more, also where it adds no level.
        self.node(kind, span, height - 1)
    }

    /// `a < b`, or the chain `a < b < c`.
    fn comparison(&mut self, operator: Binary, first: Tree, strength: u16) -> Parsed {
        let second = self.expression(strength + 1)?;
        let chained = |token: &Token| match infix(token) {
            Some((_, Infix::Binary(op))) if may_be_chained(op) => Some(op),
            _ => None,
        };
        let Some(mut next) = chained(self.current()) else { return self.binary(operator, first, second) };
        let mut height = first.height.max(second.height);
        let mut span = first.expr.span.to(second.expr.span);
        let mut rest = vec![(operator, second.expr)];
        loop {
            self.advance();
            let operand = self.expression(strength + 1)?;
            self.count(operand.expr.span)?;
            height = height.max(operand.height);
            span = span.to(operand.expr.span);
            rest.push((next, operand.expr));
            match chained(self.current()) {
                Some(op) => next = op,
                None => break,
            }
        }
        // One level more than it looks like: the meaning is a conjunction of comparisons.
        self.node(ExprKind::Compare { first: Box::new(first.expr), rest }, span, height + 1)
    }

    /// `left | f(a)`, the `|` already read.
    fn pipe(&mut self, left: Tree) -> Parsed {
        if self.current().kind != TokenKind::Name {
            return Err(self.unexpected("the name of a function").hint("`a | f(b)` means f(a, b)"));
        }
        let token = self.advance();
        let start = left.expr.span;
        let call = self.call(token.span, Some(left), false)?;
        let call = Tree { expr: Expr { span: start.to(call.expr.span), ..call.expr }, height: call.height };
        self.postfix(call)
    }

    /// An operand with its prefix operators and its postfix chain.
    fn operand(&mut self) -> Parsed {
        let token = self.current().clone();
        let TokenKind::Op(op) = token.kind else { return self.primary(token) };
        let (operator, level) = match op {
            "not" | "!" => (Unary::Not, NOT_LEVEL),
            "-" => (Unary::Negate, SIGN_LEVEL),
            "+" => (Unary::Plus, SIGN_LEVEL),
            _ => return self.primary(token),
        };
        self.advance();
        let of = self.expression(level)?;
        let (span, height) = (token.span.to(of.expr.span), of.height);
        self.node(ExprKind::Unary(operator, Box::new(of.expr)), span, height)
    }
}

#[cfg(test)]
mod tests;
