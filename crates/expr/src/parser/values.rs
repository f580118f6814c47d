//! Values: literals, names, calls with their predicates, and the chain of members, elements and calls
//! that may follow any of them.

use std::sync::Arc;

use crate::{
    ast::{Expr, ExprKind},
    error::{Span, SyntaxError},
    lexer::{KEYWORDS, Token, TokenKind},
    parser::{Parsed, Parser, Tree},
};

/// Which built-in functions take a predicate as their second argument: whether it may be left out,
/// and whether a third argument may follow.
fn takes_predicate(name: &str) -> Option<(bool, bool)> {
    Some(match name {
        "all" | "none" | "any" | "one" | "filter" | "map" | "find" | "findIndex" | "findLast"
        | "findLastIndex" | "groupBy" => (false, false),
        "count" | "sum" => (true, false),
        "sortBy" | "reduce" => (false, true),
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn primary(&mut self, token: Token) -> Parsed {
        let span = token.span;
        let tree = match token.kind {
            // Nothing can be asked of a number, a boolean or nil.
            TokenKind::Int(number) => return self.literal(ExprKind::Int(number), span),
            TokenKind::Float(number) => return self.literal(ExprKind::Float(number), span),
            TokenKind::Str(text) => self.literal(ExprKind::Str(text), span)?,
            TokenKind::Bytes(bytes) => self.literal(ExprKind::Bytes(bytes), span)?,
            TokenKind::Name => {
                self.advance();
                match self.source(span) {
                    "true" => return self.leaf(ExprKind::Bool(true), span),
                    "false" => return self.leaf(ExprKind::Bool(false), span),
                    "nil" => return self.leaf(ExprKind::Nil, span),
                    "$env" => self.leaf(ExprKind::Env, span)?,
                    _ if self.current().is("(") => self.call(span, None, false)?,
                    name => {
                        let name = name.into();
                        self.leaf(ExprKind::Name(name), span)?
                    }
                }
            }
            TokenKind::Pointer => {
                self.advance();
                self.pointer(span)?
            }
            TokenKind::Op("(") => {
                self.advance();
                let inner = self.sequence()?;
                self.close(")", span)?;
                inner
            }
            TokenKind::Op("[") => {
                self.advance();
                self.list(span)?
            }
            TokenKind::Op("{") => {
                self.advance();
                self.map(span)?
            }
            TokenKind::Op("::") => {
                self.advance();
                if self.current().kind != TokenKind::Name {
                    return Err(self.unexpected("the name of a built-in function"));
                }
                let name = self.advance().span;
                self.call(name, None, true)?
            }
            // `.field` in a predicate: the dot is read as a postfix of an element that is not written.
            TokenKind::Op("." | "?.") if self.predicates > 0 => {
                self.leaf(ExprKind::Element, Span { end: span.start, ..span })?
            }
            TokenKind::Op("." | "?.") => {
                return Err(SyntaxError::new("a member of nothing", span)
                    .hint("`.field` without a name before it stands for `#.field` in a predicate only"));
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.postfix(tree)
    }

    fn literal(&mut self, kind: ExprKind, span: Span) -> Parsed {
        self.advance();
        self.leaf(kind, span)
    }

    fn pointer(&mut self, span: Span) -> Parsed {
        let kind = match self.source(span) {
            "#" => ExprKind::Element,
            "#index" => ExprKind::ElementIndex,
            "#acc" => ExprKind::Accumulator,
            other => {
                return Err(SyntaxError::new(format!("`{other}` is unknown"), span).hint(
                    "there are `#` (the element), `#index` and `#acc`; # does not begin a comment, // does",
                ));
            }
        };
        if self.predicates == 0 {
            return Err(SyntaxError::new("this belongs to a predicate, and there is none around it", span)
                .hint("it is the element of a list, as in any(list, { # == 'x' })"));
        }
        self.leaf(kind, span)
    }

    fn list(&mut self, open: Span) -> Parsed {
        let mut items = Vec::new();
        let height = self.items("]", &mut items)?;
        let close = self.close("]", open)?;
        self.node(ExprKind::List(items), open.to(close), height)
    }

    /// Expressions and commas up to a closing bracket; gives the height of the highest.
    fn items(&mut self, bracket: &str, items: &mut Vec<Expr>) -> Result<u32, SyntaxError> {
        let mut height = 0;
        while !self.current().is(bracket) {
            let item = self.expression(0)?;
            height = height.max(item.height);
            items.push(item.expr);
            if !self.accept(",") {
                break;
            }
        }
        Ok(height)
    }

    fn map(&mut self, open: Span) -> Parsed {
        let mut pairs = Vec::new();
        let mut height = 0;
        while !self.current().is("}") {
            let token = self.current().clone();
            let key = match token.kind {
                TokenKind::Str(text) => self.literal(ExprKind::Str(text), token.span)?,
                TokenKind::Name | TokenKind::Int(_) | TokenKind::Float(_) => {
                    let text: Arc<str> = self.source(token.span).into();
                    self.literal(ExprKind::Str(text), token.span)?
                }
                TokenKind::Op("(") => self.expression(0)?,
                _ => {
                    return Err(self
                        .unexpected("a key")
                        .hint("a key is a name, a text, a number, or an expression in parentheses"));
                }
            };
            self.expect(":")?;
            let value = self.expression(0)?;
            height = height.max(key.height).max(value.height);
            pairs.push((key.expr, value.expr));
            if !self.accept(",") {
                break;
            }
        }
        let close = self.close("}", open)?;
        self.node(ExprKind::Map(pairs), open.to(close), height)
    }

    /// The call of a function by its name, which stands at `name` and is already read.
    /// `piped` is its first argument.
    pub(super) fn call(&mut self, name: Span, piped: Option<Tree>, builtin: bool) -> Parsed {
        let open = self.expect("(")?;
        let text: Arc<str> = self.source(name).into();
        let mut height = piped.as_ref().map_or(0, |p| p.height);
        let mut arguments: Vec<Expr> = piped.into_iter().map(|p| p.expr).collect();
        let inside = match takes_predicate(&text) {
            Some((optional, extra)) => self.predicate_arguments(&text, &mut arguments, optional, extra)?,
            None => self.items(")", &mut arguments)?,
        };
        height = height.max(inside);
        let span = name.to(self.close(")", open)?);
        if builtin {
            return self.node(ExprKind::Builtin { name: text, arguments }, span, height);
        }
        let function = Box::new(self.leaf(ExprKind::Name(text), name)?.expr);
        self.node(ExprKind::Call { function, arguments }, span, height.max(1))
    }

    /// `list, predicate, extra` of a built-in function that takes a predicate.
    fn predicate_arguments(
        &mut self,
        name: &str,
        arguments: &mut Vec<Expr>,
        optional: bool,
        extra: bool,
    ) -> Result<u32, SyntaxError> {
        let usage = format!("write {name}(list, {{ … # … }})");
        let mut height = 0;
        if arguments.is_empty() {
            if self.current().is(")") {
                return Err(self.unexpected("a list").hint(usage));
            }
            let list = self.expression(0)?;
            height = list.height;
            arguments.push(list.expr);
            if !self.current().is(")") {
                self.expect(",")?;
            }
        }
        if self.current().is(")") && !optional {
            return Err(self.unexpected("a predicate").hint(usage));
        }
        if !self.current().is(")") {
            let predicate = self.predicate()?;
            height = height.max(predicate.height);
            arguments.push(predicate.expr);
            if self.accept(",") && extra && !self.current().is(")") {
                let third = self.expression(0)?;
                height = height.max(third.height);
                arguments.push(third.expr);
                self.accept(",");
            }
        }
        Ok(height)
    }

    fn predicate(&mut self) -> Parsed {
        self.predicates += 1;
        let body = if self.current().is("{") {
            let open = self.current().span;
            self.block().map(|(body, close)| (body, open.to(close)))
        } else {
            self.expression(0).map(|body| {
                let span = body.expr.span;
                (body, span)
            })
        };
        self.predicates -= 1;
        let (body, span) = body?;
        if self.current().is(";") {
            return Err(self
                .unexpected("`)`")
                .hint("a predicate of several steps stands in braces: { a; b }"));
        }
        self.node(ExprKind::Closure(Box::new(body.expr)), span, body.height)
    }

    // ---- members, elements, calls

    /// The members, elements and calls that follow a value.
    pub(super) fn postfix(&mut self, mut tree: Tree) -> Parsed {
        let mut chained = false;
        loop {
            let token = self.current();
            let (optional, member, element) = match token.kind {
                TokenKind::Op(".") => (false, true, false),
                TokenKind::Op("?.") => (true, true, false),
                TokenKind::Op("[") => (false, false, true),
                TokenKind::Op("(") => (false, false, false),
                _ => break,
            };
            let mut open = token.span;
            self.advance();
            // A chain goes on where it was interrupted by parentheses.
            if let ExprKind::Chain(inner) = tree.expr.kind {
                tree = Tree { expr: *inner, height: tree.height - 1 };
                chained = true;
            }
            chained |= optional;
            tree = if element || (optional && self.current().is("[")) {
                if optional {
                    open = self.advance().span;
                }
                self.element(tree, open, optional)?
            } else if member {
                self.member(tree, optional)?
            } else {
                self.call_of(tree, open)?
            };
        }
        if !chained {
            return Ok(tree);
        }
        let (span, height) = (tree.expr.span, tree.height);
        self.node(ExprKind::Chain(Box::new(tree.expr)), span, height)
    }

    pub(super) fn name(&mut self, wanted: &str) -> Result<Arc<str>, SyntaxError> {
        if self.current().kind != TokenKind::Name {
            return Err(self.unexpected(wanted));
        }
        let span = self.advance().span;
        Ok(self.source(span).into())
    }

    fn member(&mut self, of: Tree, optional: bool) -> Parsed {
        let token = self.current();
        let end = token.span;
        let named = match token.kind {
            TokenKind::Name => true,
            TokenKind::Op(word) => KEYWORDS.contains(&word),
            _ => false,
        };
        if !named {
            return Err(self.unexpected("a name after the dot"));
        }
        self.advance();
        let name = self.source(end).into();
        let (span, height) = (of.expr.span.to(end), of.height);
        self.node(ExprKind::Member { of: Box::new(of.expr), name, optional }, span, height)
    }

    fn element(&mut self, of: Tree, open: Span, optional: bool) -> Parsed {
        let mut height = of.height;
        let from = if self.current().is(":") { None } else { Some(self.expression(0)?) };
        height = height.max(from.as_ref().map_or(0, |f| f.height));
        let mut to = None;
        let slice = self.accept(":");
        if slice && !self.current().is("]") {
            let end = self.expression(0)?;
            height = height.max(end.height);
            to = Some(Box::new(end.expr));
        }
        let start = of.expr.span;
        let span = start.to(self.close("]", open)?);
        let of = Box::new(of.expr);
        let kind = match from.map(|f| Box::new(f.expr)) {
            Some(key) if !slice => ExprKind::Index { of, key, optional },
            from => ExprKind::Slice { of, from, to },
        };
        self.node(kind, span, height)
    }

    fn call_of(&mut self, function: Tree, open: Span) -> Parsed {
        let mut arguments = Vec::new();
        let height = self.items(")", &mut arguments)?.max(function.height);
        let span = function.expr.span.to(self.close(")", open)?);
        self.node(ExprKind::Call { function: Box::new(function.expr), arguments }, span, height)
    }
}
